/* linear_tiles.c - the register tiles of matrix products (linear.h).
 *
 * Requires: W, X, Y and their gradients in rows (layout.h): zeros behind the last of C and of K.
 * Establishes: each sum is added in order by the thread whose chunk holds it.
 */
#include <stdlib.h>

#include "linear.h"

Linear linear_of(const Kernel *k, int lanes)
{
    Linear s = {.N = k->layer->graph->batch, .C = k->layer->input[0]->output.dim[0], .K = k->layer->output.dim[0],
                .L = lanes};
    s.CB = blocks_of(s.C, lanes);
    s.KB = blocks_of(s.K, lanes);
    return s;
}

Linear let_linear(Emitter *e, const Kernel *k, const char *role)
{
    Linear s = linear_of(k, operand_of(k, role)->tensor->layout.lanes);
    let_int(e, "C", s.C);
    let_int(e, "CB", s.CB);
    let_int(e, "K", s.K);
    let_int(e, "KB", s.KB);
    return s;
}

bool linear_is_huge(const Linear *s)
{
    return s->K * s->CB * s->L * 4 > 16 << 20;
}

static void write_tile(Emitter *e, const Kernel *kernel, const Product *p)
{
    let_int(e, "rows", p->rows.now);
    let_int(e, "vectors", p->vectors.now);
    let(e, "scalar", "%s", p->scalar);
    let(e, "vector", "%s", p->vector);
    let(e, "load", "%s", p->load);
    let(e, "sum", "%s", p->sum ? substitute(e, p->sum) : "");
    line(e, "vec acc[$rows][$vectors];");
    unrolled(e, "t", p->rows.now);
        unrolled(e, "v", p->vectors.now);
            line(e, "acc[t][v] = zero;");
    end(e, 2);
    loop_between(e, p->index, p->begin, p->stop);
        if (p->meanwhile)
            p->meanwhile(e, p);
        line(e, "vec factor[$vectors];");
        unrolled(e, "v", p->vectors.now);
            line(e, "factor[v] = $load(&$vector);");
            if (p->from_memory)
                line(e, "prefetch(&$vector + $vectors * L);");
        end(e, 1);
        unrolled(e, "t", p->rows.now);
            unrolled(e, "v", p->vectors.now);
                line(e, "acc[t][v] += splat($scalar) * factor[v];");
    end(e, 3);
    unrolled(e, "t", p->rows.now);
        unrolled(e, "v", p->vectors.now);
            if (p->sum)
                line(e, p->first ? "$sum = acc[t][v];" : "$sum += acc[t][v];");
            else if (p->to_memory)
                line(e, "stream(&dW[k + t][(cb + v) * L], acc[t][v]);");
            else if (kernel->fuses & FUSE_SGD)
                store_gradient(e, kernel, "&$T[k + t][(cb + v) * L]", "acc[t][v]");
            else
                store_pixel(e, kernel, p->role, "acc[t][v]", p->store_row, p->store_block, "0", "0");
    end(e, 2);
}

const char *whole_tiles(Emitter *e, const char *to, int64_t step)
{
    char *stop;
    int64_t number = strtoll(to, &stop, 10);
    let_int(e, "step", step);
    let(e, "to", "%s", to);
    let_int(e, "whole", number / step * step);
    return substitute(e, *stop == 0 ? "$whole" : step == 1 ? "$to" : "$to / $step * $step");
}

void emit_products(Emitter *e, const Kernel *kernel, Product *p, int axes)
{
    if (axes == 0) {
        write_tile(e, kernel, p);
        return;
    }
    ProductAxis *axis = (axes == 2) == p->rows_outside ? &p->rows : &p->vectors;
    const char *to = substitute(e, axis->to), *whole = axis->count % axis->step ? whole_tiles(e, to, axis->step) : to;
    axis->now = axis->step;
    step_between(e, axis->name, axis->from, whole, axis->step);
        emit_products(e, kernel, p, axes - 1);
        if (axes == 2 && p->after)
            p->after(e, p);
    end(e, 1);
    axis->now = axis->count % axis->step;
    if (axis->now == 0)
        return;
    step_between(e, axis->name, whole, to, axis->now);
        emit_products(e, kernel, p, axes - 1);
        if (axes == 2 && p->after)
            p->after(e, p);
    end(e, 1);
}

void let_chunk(Emitter *e, const char *first, const char *last, const char *index, int64_t size, int64_t count)
{
    let(e, first, "0");
    let_int(e, last, count);
    if (size >= count)
        return;
    let(e, "first_name", "%s", first);
    let(e, "last_name", "%s", last);
    let(e, "index", "%s", index);
    let_int(e, "size", size);
    let_int(e, "count", count);
    line(e, "const int $first_name = $index * $size;");
    line(e, count % size ? "const int $last_name = $first_name + $size < $count ? $first_name + $size : $count;"
                         : "const int $last_name = $first_name + $size;");
    let(e, first, "%s", first);
    let(e, last, "%s", last);
}

const char *linear_load(const Kernel *k, const char *role)
{
    return operand_of(k, role)->tensor->storage->kind == TENSOR_INPUT ? "load_unaligned" : "load";
}

/* Three quarters of the registers accumulate, the others hold factors. A number of vectors that divides all leaves no
 * narrow tiles, which matter where there are few; rows are shared out evenly. */
void choose_linear_tile(Schedule *s, const Target *target, int64_t rows, int64_t vectors)
{
    int64_t room = target->registers * 3 / 4, wide = 3;
    static const int widths[] = {3, 4, 2};
    for (int i = 2; i >= 0; i--)
        if (vectors % widths[i] == 0 && vectors < 128)
            wide = widths[i];
    wide = least(wide, vectors);
    while (rows * wide * 2 <= 8 && wide * 2 <= vectors)
        wide *= 2;
    int64_t tall = least(least(room / wide, 8), rows);
    if (rows < 4 * tall)
        tall = ceil_div(rows, ceil_div(rows, tall));
    s->pixels = (int)tall;
    s->blocks = (int)wide;
}
