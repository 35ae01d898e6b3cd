/* uses.c - who reads and writes each tensor (uses.h). */
#include "uses.h"

#include <string.h>

#include "op.h"

static void note_use(Uses *u, Kernel *k, const Tensor *t, Access access)
{
    Use use = {k, access};
    UseList *list = &u->of[t->storage->number];
    APPEND(u->p->arena, list, use);
    for (int i = list->count - 1; i > 0 && list->items[i - 1].kernel->index > k->index; i--) {
        Use earlier = list->items[i - 1];
        list->items[i - 1] = list->items[i];
        list->items[i] = earlier;
    }
}

Uses *find_uses(Program *p)
{
    Uses *u = NEW(p->arena, Uses);
    u->p = p;
    u->of = NEW_ARRAY(p->arena, UseList, p->tensors.count + p->kernels.count + 1);      /* fusion adds a few */
    for (int i = 0; i < p->kernels.count; i++) {
        Kernel *k = p->kernels.items[i];
        k->index = i;
        for (int o = 0; o < k->operand_count; o++)
            note_use(u, k, k->operand[o].tensor, k->operand[o].access);
    }
    return u;
}

bool is_removed(const Kernel *k)
{
    return k->index < 0;
}

bool is_kernel_of(const Kernel *k, const Op *op, const char *suffix)
{
    return !is_removed(k) && k->layer->op == op && strcmp(k->def->suffix, suffix) == 0;
}

void note_fusion(Program *p, const char *what, const Kernel *k, const Kernel *into)
{
    const char *text = arena_printf(p->arena, "%-14s %s.%s", what, k->layer->name, k->def->suffix);
    if (into)
        text = arena_printf(p->arena, "%s into %s.%s", text, into->layer->name, into->def->suffix);
    APPEND(p->arena, &p->fusions, text);
}

void remove_kernel(Uses *u, Kernel *k, const char *why, const Kernel *into)
{
    note_fusion(u->p, why, k, into);
    k->index = -1;
}

Kernel *last_writer(const Uses *u, const Tensor *storage, const Kernel *before)
{
    Kernel *writer = NULL;
    const UseList *list = &u->of[storage->number];
    for (int i = 0; i < list->count; i++) {
        Kernel *k = list->items[i].kernel;
        if (!is_removed(k) && list->items[i].access != OPERAND_READ && (!before || k->index < before->index))
            writer = !writer || k->index > writer->index ? k : writer;
    }
    return writer;
}

int count_uses(const Uses *u, const Tensor *storage, bool writes)
{
    const UseList *list = &u->of[storage->number];
    int count = 0;
    for (int i = 0; i < list->count; i++)
        count += !is_removed(list->items[i].kernel) && (list->items[i].access != OPERAND_READ) == writes;
    return count;
}

int last_use(const Uses *u, const Tensor *storage, const Kernel *except)
{
    const UseList *list = &u->of[storage->number];
    int last = -1;
    for (int i = 0; i < list->count; i++) {
        const Kernel *k = list->items[i].kernel;
        if (!is_removed(k) && k != except && k->index > last)
            last = k->index;
    }
    return last;
}

int first_write(const Uses *u, const Tensor *storage, const Kernel *after)
{
    const UseList *list = &u->of[storage->number];
    int first = -1;
    for (int i = 0; i < list->count; i++) {
        const Kernel *k = list->items[i].kernel;
        if (!is_removed(k) && list->items[i].access != OPERAND_READ && k->index > after->index &&
            (first < 0 || k->index < first))
            first = k->index;
    }
    return first;
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static void forget_use(Uses *u, const Kernel *k, const Tensor *t)
{
    UseList *list = &u->of[t->storage->number];
    for (int i = 0; i < list->count; i++)
        if (list->items[i].kernel == k) {
            memmove(&list->items[i], &list->items[i + 1], sizeof *list->items * (size_t)(list->count - i - 1));
            list->count--;
            return;
        }
}

void replace_operand(Uses *u, Kernel *k, const char *role, Tensor *t)
{
    for (int o = 0; o < k->operand_count; o++)
        if (strcmp(k->operand[o].role, role) == 0) {
            forget_use(u, k, k->operand[o].tensor);
            k->operand[o].tensor = t;
            note_use(u, k, t, k->operand[o].access);
        }
}

void add_use(Uses *u, Kernel *k, const char *role, Tensor *t, Access access)
{
    if (access == OPERAND_READ)
        reads(k, role, t);
    else
        writes(k, role, t);
    note_use(u, k, t, access);
}

void merge_storage(Uses *u, Tensor *view, Tensor *storage, int64_t slice)
{
    Program *p = u->p;
    UseList *from = &u->of[view->number];
    const bool whole = slice == 0 && view->dim[1] == storage->dim[1];
    for (int i = 0; i < p->tensors.count; i++) {
        Tensor *t = p->tensors.items[i];
        if (t->storage != view)
            continue;
        t->storage = storage;
        t->slice += slice;
        storage->lasts |= t->lasts;
        if (whole && t->slice == storage->slice && t->dim[1] == storage->dim[1])
            t->name = storage->name;
    }
    for (int i = 0; i < from->count; i++) {
        Use use = from->items[i];
        if (!is_removed(use.kernel))
            note_use(u, use.kernel, storage, use.access);
    }
    from->count = 0;
}

void compact_kernels(Uses *u)
{
    Program *p = u->p;
    LIST(Kernel *) kept = {0};
    int backward_from = -1;
    for (int i = 0; i < u->first.count; i++)
        APPEND(p->arena, &kept, u->first.items[i]);
    for (int i = 0; i < p->kernels.count; i++) {
        if (i == p->backward_from)
            backward_from = kept.count;
        if (!is_removed(p->kernels.items[i]))
            APPEND(p->arena, &kept, p->kernels.items[i]);
    }
    p->backward_from = backward_from < 0 ? kept.count : backward_from;
    p->kernels.items = kept.items;
    p->kernels.count = kept.count;
    p->kernels.capacity = kept.capacity;
    for (int i = 0; i < kept.count; i++)
        p->kernels.items[i]->index = i;
}
