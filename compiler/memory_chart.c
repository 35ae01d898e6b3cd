/* memory_chart.c - `cnnc show --memory`: the memory plan as a chart over the step.
 *
 * Requires: a placed program. A column is a run of kernels, a row a tensor of the arena, largest first; the top row is
 * how full the arena is at its fullest moment within each column.
 */
#include <stdlib.h>
#include <string.h>

#include "op.h"
#include "unit.h"

enum { COLUMNS = 72, ROWS = 40 };

static const double MIB = 1 << 20;

static int column_of(const Program *p, int kernel)
{
    return (int)((int64_t)kernel * COLUMNS / (p->kernels.count + 1));
}

static int by_size_and_start(const void *a, const void *b)
{
    const Tensor *s = *(Tensor *const *)a, *t = *(Tensor *const *)b;
    int64_t x = tensor_bytes(s), y = tensor_bytes(t);
    return x != y ? (x < y) - (x > y) : (s->first > t->first) - (s->first < t->first);
}

/* Tenths of the arena that are full: '0' to '9', and '#' for all of it. */
static void draw_fill(FILE *out, const Program *p)
{
    char row[COLUMNS + 1];
    memset(row, ' ', COLUMNS);
    row[COLUMNS] = 0;
    for (int k = 0; k < p->kernels.count; k++) {
        int tenths = p->arena_bytes ? (int)(10 * alive_bytes(p, k) / p->arena_bytes) : 0;
        char digit = tenths > 9 ? '#' : (char)('0' + tenths);
        char *cell = &row[column_of(p, k)];
        if (*cell == ' ' || (*cell != '#' && (digit == '#' || digit > *cell)))
            *cell = digit;
    }
    for (int c = 1; c < COLUMNS; c++)           /* fewer kernels than columns */
        row[c] = row[c] == ' ' ? row[c - 1] : row[c];
    fprintf(out, "  %-32s %10s  |%s|\n", "tenths of the arena", "MiB", row);
}

/* From the kernel that writes it to the last that uses it; '|' where the backward pass
 * begins, where nothing covers it. */
static void draw_tensor(FILE *out, const Program *p, const Tensor *t)
{
    char row[COLUMNS + 1];
    memset(row, ' ', COLUMNS);
    row[COLUMNS] = 0;
    if (p->backward_from < p->kernels.count)
        row[column_of(p, p->backward_from)] = ':';
    for (int c = column_of(p, t->first); c <= column_of(p, t->last); c++)
        row[c] = '=';
    fprintf(out, "  %-32.32s %10.3f  |%s|\n", t->name, (double)tensor_bytes(t) / MIB, row);
}

void draw_memory(FILE *out, const Program *p)
{
    Tensor **order = NEW_ARRAY(p->arena, Tensor *, p->tensors.count + 1);
    int count = 0;
    for (int i = 0; i < p->tensors.count; i++) {
        Tensor *t = p->tensors.items[i];
        if (in_arena(t) && t->storage == t && t->first >= 0)
            order[count++] = t;
    }
    qsort(order, (size_t)count, sizeof *order, by_size_and_start);
    fprintf(out, "%s: %d kernels from left to right%s; arena %.3f MiB, at least %.3f MiB alive at once\n",
            p->mode == PROGRAM_TRAIN ? "gradients" : "predict", p->kernels.count,
            p->mode == PROGRAM_TRAIN ? ", ':' where the backward pass begins" : "", (double)p->arena_bytes / MIB,
            (double)least_bytes(p) / MIB);
    draw_fill(out, p);
    double rest = 0;
    for (int i = 0; i < count; i++)
        if (i < ROWS)
            draw_tensor(out, p, order[i]);
        else
            rest += (double)tensor_bytes(order[i]) / MIB;
    if (count > ROWS)
        fprintf(out, "  %-32s %10.3f  (--dump=memory lists all)\n",
                arena_printf(p->arena, "and %d smaller ones", count - ROWS), rest);
}
