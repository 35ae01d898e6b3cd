/* direct_loops.c - the loops of a direct convolution on blocked pictures, shared by its forward pass (direct.c) and its
 * data gradient (direct_grad_input.c).
 *
 * Requires: schedule.more, a Direct that says which input pixel and which filter tap meet at an output pixel.
 * Establishes: every output pixel is summed in registers over all channels and taps and stored once. A register tile is
 * some pixels x some vectors of output channels; for each input channel it loads the vectors of the filter, broadcasts
 * each pixel's value and multiplies (Georganas et al. 2018, "Anatomy of high-performance deep learning
 * convolutions on SIMD architectures", sections II-B to II-D). Where a picture is no multiple of the tile, a smaller
 * tile works on what is left, so that no product is computed in vain.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit.h"
#include "direct.h"

/* ---- indices ----------------------------------------------------------------------------------------------------- */

typedef struct { const char *name; int64_t factor; } Term;

/* "i * 2 + r - 1": a sum of terms and a constant. A name that is a number counts as a constant, NULL as nothing. */
static const char *index_text(Emitter *e, const Term *terms, int count, int64_t constant)
{
    const char *text = "";
    for (int i = 0; i < count; i++) {
        const Term *t = &terms[i];
        if (!t->name)
            continue;
        char *stop;
        long long number = strtoll(t->name, &stop, 10);
        if (*stop == 0) {
            constant += number * t->factor;
            continue;
        }
        text = arena_printf(emitter_arena(e), "%s%s%s", text, *text ? " + " : "", times(e, t->name, t->factor));
    }
    if (!*text)
        return arena_printf(emitter_arena(e), "%lld", (long long)constant);
    if (constant == 0)
        return text;
    return arena_printf(emitter_arena(e), "%s %c %lld", text, constant < 0 ? '-' : '+', llabs((long long)constant));
}

static const char *block_text(Emitter *e, const char *block, int v)
{
    return index_text(e, &(Term){block, 1}, 1, v);
}

/* A loop's variable, or "0" without a loop where there is one iteration; *depth counts the loops. */
static const char *loop_unless_one(Emitter *e, const char *variable, int64_t count, int *depth)
{
    if (count == 1)
        return "0";
    loop(e, variable, count);
    ++*depth;
    return variable;
}

/* ---- a register tile --------------------------------------------------------------------------------------------- */

/* Where a tile lies: `tile` pixels from pixel i, j of a part, and `blocks` vectors of channels from `block`. */
typedef struct {
    const Kernel *kernel;
    const Direct *d;
    const Part   *part;
    Tile          tile;
    int           blocks;
    const char   *block, *i, *j;
} Place;

/* Opens the unrolled loops over a tile's pixels and binds $at to their index; returns how many. */
static int loop_tile(Emitter *e, const Place *p)
{
    if (p->tile.rows > 1)
        unrolled(e, "u", p->tile.rows);
    unrolled(e, "t", p->tile.columns);
    let(e, "at", p->tile.rows > 1 ? "[u][t]" : "[t]");
    return p->tile.rows > 1 ? 2 : 1;
}

static const char *down(const Place *p)
{
    return p->tile.rows > 1 ? "u" : NULL;
}

/* y0[t] = ...; y1[t] = ...: the sums before the first product. */
static void start_sums(Emitter *e, const Place *p)
{
    const DirectNames *names = p->d->names;
    const char *sizes = p->tile.rows > 1 ? arena_printf(emitter_arena(e), "[%lld][%lld]", (long long)p->tile.rows,
                                                        (long long)p->tile.columns)
                                         : arena_printf(emitter_arena(e), "[%lld]", (long long)p->tile.columns);
    const char *declared = "vec ";
    for (int v = 0; v < p->blocks; v++)
        declared = arena_printf(emitter_arena(e), "%s%s%s%d%s", declared, v ? ", " : "", names->sum, v, sizes);
    line(e, arena_printf(emitter_arena(e), "%s;", declared));
    int depth = loop_tile(e, p);
        for (int v = 0; v < p->blocks; v++) {
            let_int(e, "v", v);
            if (names->start)
                let(e, "start", "load(&%s[%s])", names->start,
                    index_text(e, &(Term){p->block, p->d->lanes}, 1, v * p->d->lanes));
            else
                let(e, "start", "zero");
            line(e, "$sum$v$at = $start;");
        }
    end(e, depth);
}

/* The loop over the lanes of an input vector: those that hold a channel. */
static void loop_lanes(Emitter *e, const Direct *d, const char *block)
{
    int64_t rest = d->in_channels % d->lanes;
    if (rest == 0 || d->in_blocks == 1) {
        rolled(e);
        loop(e, d->names->in_lane, d->in_blocks == 1 ? d->in_channels : d->lanes);
        return;
    }
    let(e, "block", "%s", block);
    let_int(e, "last", d->in_blocks - 1);
    let_int(e, "rest", rest);
    line(e, "const int lanes = $block < $last ? $L : $rest;");
    rolled(e);
    loop_between(e, d->names->in_lane, "0", "lanes");
}

/* "W[kb + 1][cb][r][s][c]" */
static const char *filter_text(Emitter *e, const Place *p, int v, const char *in_block, const char *r, const char *s)
{
    const DirectNames *names = p->d->names;
    const Axis *row = &p->part->axis[0], *column = &p->part->axis[1];
    const char *taps;
    if (names->merged_taps)
        taps = index_text(e, (Term[]){{r, row->filter_step * p->d->filter_width}, {s, column->filter_step}}, 2,
                        row->filter_first * p->d->filter_width + column->filter_first);
    else
        taps = arena_printf(emitter_arena(e), "%s][%s",
                            index_text(e, &(Term){r, row->filter_step}, 1, row->filter_first),
                            index_text(e, &(Term){s, column->filter_step}, 1, column->filter_first));
    return arena_printf(emitter_arena(e), "%s[%s][%s][%s][%s]", names->filters, block_text(e, p->block, v), in_block,
                        taps, names->in_lane);
}

/* The picture's block that belongs to block `in_block` of a group's input. */
static const char *group_block(Emitter *e, const Place *p, const char *in_block)
{
    if (p->d->groups == 1)
        return in_block;
    const char *first = arena_printf(emitter_arena(e), "%s / %lld * %lld", p->block, (long long)p->d->out_blocks,
                                     (long long)p->d->in_blocks);
    return strcmp(in_block, "0") == 0 ? first : arena_printf(emitter_arena(e), "%s + %s", first, in_block);
}

/* Over input channels and taps: one broadcast and `blocks` products a pixel. */
static void add_products(Emitter *e, const Place *p)
{
    const DirectNames *names = p->d->names;
    const Axis *row = &p->part->axis[0], *column = &p->part->axis[1];
    int depth = 0;
    const char *block = loop_unless_one(e, names->in_block, p->d->in_blocks, &depth);
        const char *r = loop_unless_one(e, "r", row->taps, &depth);
            const char *s = loop_unless_one(e, "s", column->taps, &depth);
                loop_lanes(e, p->d, block);
                    for (int v = 0; v < p->blocks; v++) {
                        let_int(e, "v", v);
                        let(e, "from", "%s", filter_text(e, p, v, block, r, s));
                        line(e, "const vec w$v = load($from);");
                    }
                    int inner = loop_tile(e, p);
                        const char *i = index_text(e, (Term[]){{p->i, row->step}, {down(p), row->step},
                                                               {r, row->tap_step}}, 3, row->first);
                        const char *j = index_text(e, (Term[]){{p->j, column->step}, {"t", column->step},
                                                             {s, column->tap_step}}, 3, column->first);
                        let(e, "pixel", "%s[%s]", pixel(e, p->kernel, names->in, "n", group_block(e, p, block), i, j),
                            names->in_lane);
                        line(e, "const vec $factor = splat($pixel);");
                        for (int v = 0; v < p->blocks; v++) {
                            let_int(e, "v", v);
                            line(e, "$sum$v$at += $factor * w$v;");
                        }
                    end(e, inner);
    end(e, depth + 1);
}

static void store_sums(Emitter *e, const Place *p)
{
    const DirectNames *names = p->d->names;
    const Axis *row = &p->part->axis[0], *column = &p->part->axis[1];
    int depth = loop_tile(e, p);
        const char *i = index_text(e, (Term[]){{p->i, row->out_step}, {down(p), row->out_step}}, 2, row->out_first);
        const char *j = index_text(e, (Term[]){{p->j, column->out_step}, {"t", column->out_step}}, 2,
                                   column->out_first);
        for (int v = 0; v < p->blocks; v++) {
            let_int(e, "v", v);
            store_pixel(e, p->kernel, names->out, "$sum$v$at", "n", block_text(e, p->block, v), i, j);
        }
    end(e, depth);
}

static void emit_tile(Emitter *e, const Place *p)
{
    let(e, "sum", "%s", p->d->names->sum);
    let(e, "factor", "%s", p->d->names->factor);
    int64_t pixels = p->tile.rows * p->tile.columns;
    comment(e, arena_printf(emitter_arena(e), "register tile: %lld pixels x %d vector%s of %s = %lld sums%s",
                            (long long)pixels, p->blocks, p->blocks > 1 ? "s" : "", p->d->names->channels,
                            (long long)pixels * p->blocks, is_empty(p->part) ? "; no tap reaches these pixels" : ""));
    start_sums(e, p);
    if (!is_empty(p->part))
        add_products(e, p);
    store_sums(e, p);
}

/* ---- planes ------------------------------------------------------------------------------------------------------ */

/* `rows` rows of output from row i: whole tiles, then what is left at the right. A tile that is not `alone` in its body
 * and has no loop gets a block, for the names of its sums. */
static void emit_rows(Emitter *e, Place p, int64_t rows, const char *i, bool alone)
{
    int64_t width = p.part->axis[1].count, columns = p.tile.columns, whole = width - width % columns;
    p.tile.rows = rows;
    p.i = i;
    p.j = whole == columns ? "0" : p.d->names->column;
    if (whole > columns)
        step_loop(e, p.j, whole, columns);
    else if (!alone || whole < width)
        block(e);
    emit_tile(e, &p);
    end(e, whole > columns || !alone || whole < width);
    if (whole < width) {
        p.tile.columns = width - whole;
        p.j = arena_printf(emitter_arena(e), "%lld", (long long)whole);
        block(e);
            emit_tile(e, &p);
        end(e, 1);
    }
}

/* One part of the planes of some channels: all of its rows, or those of the cache block that starts at row `top`. */
static void emit_part(Emitter *e, Place p, int64_t block_rows)
{
    int64_t height = p.part->axis[0].count, whole = height - height % p.tile.rows;
    const char *i = p.d->names->row;
    Arena *arena = emitter_arena(e);
    if (!block_rows && whole == p.tile.rows) {
        emit_rows(e, p, p.tile.rows, "0", whole == height && p.d->parts == 1);
    } else {
        bool cut = block_rows && (whole % block_rows != 0 || direct_rows(p.d) > whole);
        let_int(e, "rows", block_rows);
        let_int(e, "whole", whole);
        if (block_rows)
            step_between(e, i, "top", cut ? "(top + $rows < $whole ? top + $rows : $whole)" : "top + $rows",
                         p.tile.rows);
        else
            step_loop(e, i, whole, p.tile.rows);
        emit_rows(e, p, p.tile.rows, i, true);
        end(e, 1);
    }
    if (whole == height)
        return;
    if (block_rows)
        when(e, arena_printf(arena, "top <= %lld && %lld < top + %lld", (long long)whole, (long long)whole,
                             (long long)block_rows));
    emit_rows(e, p, height - whole, arena_printf(arena, "%lld", (long long)whole), block_rows > 0);
    if (block_rows)
        end(e, 1);
}

/* The planes of `blocks` vectors of channels from `channels`: borders, then every part. */
static void emit_planes(Emitter *e, const Kernel *kernel, const Direct *d, const char *channels, int blocks)
{
    const Schedule *s = &kernel->schedule;
    if (has_border(kernel, d->names->out) && !kernel->adds) {
        if (s->rows)
            when(e, "top == 0");
        for (int v = 0; v < blocks; v++)
            clear_border(e, kernel, d->names->out, "n", block_text(e, channels, v));
        if (s->rows)
            end(e, 1);
    }
    for (int i = 0; i < d->parts; i++) {
        if (is_empty(&d->part[i]) && kernel->adds && !kernel->fuses)
            continue;           /* adding nothing */
        int64_t pixels = (int64_t)s->pixels * s->blocks / blocks;
        Place place = {kernel, d, &d->part[i], direct_tile(&d->part[i], pixels, blocks), blocks, channels, NULL, NULL};
        emit_part(e, place, s->rows);
    }
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

/* Statistics of finished planes: those of `count` vectors of channels from `channels`. */
static void emit_statistics(Emitter *e, const Kernel *kernel, const Direct *d, const char *channels, int64_t count)
{
    if (kernel->fuses & FUSE_STATS)
        for (int v = 0; v < count; v++)
            plane_statistics(e, kernel, d->names->out, "n", block_text(e, channels, v));
}

/* A thread takes some planes of an image: planes share the input's rows, which stay in the cache. */
static void emit_by_planes(Emitter *e, const Kernel *kernel, const Direct *d, int64_t first, int64_t units, int blocks)
{
    const Schedule *s = &kernel->schedule;
    int64_t chunks = units == 1 ? 1 : s->chunks, own = units / chunks * blocks;
    const char *channels = d->names->out_block, *group = "group";
    bool images_inside = chunks > 1 && d->share == SHARE_CHANNELS;
    parallel_over(e, chunks > 1 ? 2 : 1);
    if (!images_inside)
        loop(e, "n", d->batch);
    if (chunks == 1)
        group = arena_printf(emitter_arena(e), "%lld", (long long)first);
    else
        step_loop(e, own == blocks ? channels : group, units * blocks, own);
    if (images_inside)
        loop(e, "n", d->batch);
    if (s->rows)
        step_loop(e, "top", direct_rows(d), s->rows);
    if (own > blocks) {
        step_between(e, channels, group, block_text(e, group, (int)own), blocks);
        emit_planes(e, kernel, d, channels, blocks);
        if (!s->rows)
            emit_statistics(e, kernel, d, channels, blocks);
        end(e, 1);
    } else {
        emit_planes(e, kernel, d, chunks == 1 ? group : channels, blocks);
    }
    if (s->rows)
        end(e, 1);
    if (s->rows || own == blocks)
        emit_statistics(e, kernel, d, own > blocks || chunks == 1 ? group : channels, own);
    end(e, chunks > 1 ? 2 : 1);
}

/* A thread takes some rows of some planes: where images and channels are too few. */
static void emit_by_rows(Emitter *e, const Kernel *kernel, const Direct *d, int64_t first, int64_t units, int blocks)
{
    const char *channels = units == 1 ? arena_printf(emitter_arena(e), "%lld", (long long)first) : d->names->out_block;
    int depth = units == 1 ? 2 : 3;
    parallel_over(e, depth);
    loop(e, "n", d->batch);
    if (units > 1)
        step_loop(e, channels, units * blocks, blocks);
    step_loop(e, "top", direct_rows(d), kernel->schedule.rows);
    emit_planes(e, kernel, d, channels, blocks);
    end(e, depth);
}

void emit_direct(Emitter *e, const Kernel *kernel)
{
    const Direct *d = kernel->schedule.more;
    int blocks = kernel->schedule.blocks;
    int64_t all = d->out_blocks * d->groups, whole = all - all % blocks;
    void (*emit)(Emitter *, const Kernel *, const Direct *, int64_t first, int64_t units, int blocks) =
        d->share == SHARE_ROWS ? emit_by_rows : emit_by_planes;
    emit(e, kernel, d, 0, whole / blocks, blocks);
    if (whole < all)
        emit(e, kernel, d, whole, 1, (int)(all - whole));
}
