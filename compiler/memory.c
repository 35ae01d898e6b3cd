/* memory.c - lifetimes -> arena offsets, known before a line is written.
 *
 * Requires: a complete program. Establishes: first and last kernel of every arena tensor, an offset for each such that
 * tensors alive at the same time never overlap, and the arena's size. Placement is greedy, each tensor at the lowest
 * gap that fits: by size (Pisarchyk and Lee 2020, "Efficient memory management for deep neural net inference", section
 * 5.2) and, where that takes more than is alive at once, in two orders more, of which the best is kept.
 *
 * Sizes and offsets are those of the float build. One element of any type takes at most the room of one `real`, and
 * offsets are multiples of 64 bytes, so the double build uses the same plan with every offset doubled.
 */
#include <stdlib.h>

#include "step.h"

enum {
    ALIGNMENT = 64,             /* bytes: a cache line                                            */
    PLAN_LIMIT = 20000,         /* more tensors than this are laid end to end: planning is O(n^2) */
};

bool in_arena(const Tensor *t)
{
    return t->kind == TENSOR_ACTIVATION || t->kind == TENSOR_GRADIENT || t->kind == TENSOR_SAVED;
}

int64_t tensor_bytes(const Tensor *t)
{
    int64_t bytes = physical_count(t) * (t->type == TYPE_BYTE ? 1 : 4);
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void find_lifetimes(Program *p)
{
    for (int i = 0; i < p->kernels.count; i++)
        for (int o = 0; o < p->kernels.items[i]->operand_count; o++) {
            Tensor *view = p->kernels.items[i]->operand[o].tensor, *t = view->storage;
            if (t->first < 0)
                t->first = i;
            if (view->first < 0)
                view->first = i;
            view->last = t->last = i;
        }
    for (int i = 0; i < p->tensors.count; i++)
        if (p->tensors.items[i]->lasts)
            p->tensors.items[i]->storage->last = p->kernels.count;
}

static bool has_room(const Tensor *t)
{
    return in_arena(t) && t->storage == t && t->first >= 0;
}

static int by_size(const void *a, const void *b)
{
    const Tensor *s = *(Tensor *const *)a, *t = *(Tensor *const *)b;
    const int64_t x = s->bytes, y = t->bytes;
    return x != y ? (x < y) - (x > y) : (s->first > t->first) - (s->first < t->first);
}

/* Those that are alive longest first: they lie below what comes and goes. */
static int by_lifetime(const void *a, const void *b)
{
    const Tensor *s = *(Tensor *const *)a, *t = *(Tensor *const *)b;
    const int x = s->last - s->first, y = t->last - t->first;
    return x != y ? (x < y) - (x > y) : by_size(a, b);
}

/* As the kernels run, those that stay longest first. */
static int by_start(const void *a, const void *b)
{
    const Tensor *s = *(Tensor *const *)a, *t = *(Tensor *const *)b;
    return s->first != t->first ? (s->first > t->first) - (s->first < t->first) : by_lifetime(a, b);
}

/* The lowest offset at which t meets none of the placed tensors, sorted by offset, that live at the same time. */
static int64_t lowest_gap(const Tensor *t, Tensor **placed, int count)
{
    int64_t offset = 0;
    for (int i = 0; i < count; i++) {
        const Tensor *rival = placed[i];
        if (rival->first > t->last || t->first > rival->last)
            continue;
        if (offset + t->bytes <= rival->offset)
            break;
        const int64_t after = rival->offset + rival->bytes;
        offset = after > offset ? after : offset;
    }
    return offset;
}

/* Places the tensors in their order, keeping `placed` sorted by offset; returns the arena's size. */
static int64_t place_in_order(Tensor **order, int count, Tensor **placed)
{
    int64_t size = 0;
    for (int i = 0; i < count; i++) {
        Tensor *t = order[i];
        t->offset = count <= PLAN_LIMIT ? lowest_gap(t, placed, i) : size;
        int at = i;
        for (; at > 0 && placed[at - 1]->offset > t->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = t;
        size = t->offset + t->bytes > size ? t->offset + t->bytes : size;
    }
    return size;
}

void plan_memory(Program *p)
{
    static int (*const orders[])(const void *, const void *) = {by_size, by_lifetime, by_start};
    for (int i = 0; i < p->tensors.count; i++)          /* a program may be planned anew */
        p->tensors.items[i]->first = p->tensors.items[i]->last = -1;
    find_lifetimes(p);
    Tensor **order = NEW_ARRAY(p->arena, Tensor *, p->tensors.count + 1);
    Tensor **placed = NEW_ARRAY(p->arena, Tensor *, p->tensors.count + 1);
    int count = 0, best = 0, last = -1;
    for (int i = 0; i < p->tensors.count; i++) {
        Tensor *t = p->tensors.items[i];
        if (has_room(t)) {
            t->bytes = tensor_bytes(t);
            order[count++] = t;
        }
    }
    const int64_t least = least_bytes(p);
    const int tries = count <= PLAN_LIMIT ? (int)(sizeof orders / sizeof *orders) : 0;
    p->arena_bytes = INT64_MAX;
    for (int i = 0; i < tries && p->arena_bytes > least; i++) {
        qsort(order, (size_t)count, sizeof *order, orders[i]);
        const int64_t size = place_in_order(order, count, placed);
        best = size < p->arena_bytes ? i : best;
        last = i;
        p->arena_bytes = size < p->arena_bytes ? size : p->arena_bytes;
    }
    if (last != best) {
        if (tries)
            qsort(order, (size_t)count, sizeof *order, orders[best]);
        p->arena_bytes = place_in_order(order, count, placed);
    }
}

int64_t alive_bytes(const Program *p, int kernel)
{
    int64_t alive = 0;
    for (int i = 0; i < p->tensors.count; i++) {
        const Tensor *t = p->tensors.items[i];
        if (has_room(t) && t->first <= kernel && kernel <= t->last)
            alive += tensor_bytes(t);
    }
    return alive;
}

/* The most bytes alive at once: no plan can need fewer. */
int64_t least_bytes(const Program *p)
{
    int64_t *change = NEW_ARRAY(p->arena, int64_t, p->kernels.count + 2);
    for (int i = 0; i < p->tensors.count; i++) {
        const Tensor *t = p->tensors.items[i];
        if (has_room(t)) {
            change[t->first] += tensor_bytes(t);
            change[t->last + 1] -= tensor_bytes(t);
        }
    }
    int64_t alive = 0, most = 0;
    for (int i = 0; i <= p->kernels.count; i++) {
        alive += change[i];
        most = alive > most ? alive : most;
    }
    return most;
}

void dump_memory(FILE *out, const Program *p)
{
    fprintf(out, "%s: arena %.3f MiB, at least %.3f MiB alive at once\n",
            p->mode == PROGRAM_TRAIN ? "gradients" : "predict", (double)p->arena_bytes / (1 << 20),
            (double)least_bytes(p) / (1 << 20));
    fprintf(out, "  %-32s %14s %14s   %s\n", "tensor", "offset", "bytes", "kernels");
    for (int i = 0; i < p->tensors.count; i++) {
        const Tensor *t = p->tensors.items[i];
        if (has_room(t))
            fprintf(out, "  %-32s %14lld %14lld   %d..%d\n", t->name, (long long)t->offset,
                    (long long)tensor_bytes(t), t->first, t->last);
    }
}
