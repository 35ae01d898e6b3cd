/* alias.c - tensors that can share memory: channels of a concatenation, copies that need not be made, work in place.
 *
 * Requires: uses of a program whose kernels are chosen. Establishes: views whose storage is another tensor. Every rule
 * below keeps this: while a tensor's values are still to be read, nobody else writes to the memory that holds them.
 */
#include <string.h>

#include "kernels/kernels.h"
#include "uses.h"

/* A tensor of the arena with memory of its own and no view of another rank (a row has no borders). */
static bool is_movable(const Uses *u, const Tensor *t)
{
    if (!in_arena(t) || t->storage != t || t->type != TYPE_REAL || t->layout.fixed)
        return false;
    for (int i = 0; i < u->p->tensors.count; i++)
        if (u->p->tensors.items[i]->storage == t && u->p->tensors.items[i]->rank != t->rank)
            return false;
    return true;
}

/* ---- concat ------------------------------------------------------------------------------------------------------ */

/* First channel of input `part` in the concatenation, where this and the input are whole blocks; -1 otherwise. */
static int64_t slice_of_part(const Kernel *k, int lanes)
{
    const Layer *l = k->layer;
    int64_t offset = 0;
    for (int i = 0; i < k->part; i++)
        offset += l->input[i]->output.dim[0];
    bool last = k->part == l->input_count - 1;
    return offset % lanes == 0 && (last || l->input[k->part]->output.dim[0] % lanes == 0) ? offset : -1;
}

/* The branch writes its channels of the concatenation itself. */
static void share_input(Uses *u, Kernel *k)
{
    Tensor *X = operand_of(k, "X")->tensor, *Y = operand_of(k, "Y")->tensor;
    int64_t slice = slice_of_part(k, u->p->target->lanes);
    if (slice < 0 || X->rank != 4 || !is_movable(u, X) || !is_movable(u, Y->storage) ||
        X->storage == Y->storage)
        return;
    remove_kernel(u, k, "concat", NULL);
    merge_storage(u, X, Y->storage, Y->slice + slice);
}

/* Does the kernel use some of the channels [from, to) of the storage? */
static bool touches(const Kernel *k, const Tensor *storage, int64_t from, int64_t to)
{
    for (int o = 0; o < k->operand_count; o++) {
        const Tensor *t = k->operand[o].tensor;
        if (t->storage == storage && t->slice < to && from < t->slice + t->dim[1])
            return true;
    }
    return false;
}

/* The branch reads its channels of the concatenation's gradient itself, and what else contributes is added there:
 * nobody else may want these channels any more. */
static void share_gradient(Uses *u, Kernel *k)
{
    Tensor *dY = operand_of(k, "dY")->tensor, *dX = operand_of(k, "dX")->tensor, *storage = dY->storage;
    int64_t slice = slice_of_part(k, u->p->target->lanes);
    if (slice < 0 || k->adds || dX->rank != 4 || !is_movable(u, dX) || !is_movable(u, storage) ||
        dX->storage == storage)
        return;
    slice += dY->slice;
    const UseList *list = &u->of[storage->number];
    for (int i = 0; i < list->count; i++) {
        const Kernel *user = list->items[i].kernel;
        if (!is_removed(user) && user->index > k->index && user->layer != k->layer &&
            touches(user, storage, slice, slice + dX->dim[1]))
            return;
    }
    remove_kernel(u, k, "concat", NULL);
    merge_storage(u, dX, storage, slice);
}

void share_slices(Uses *u)
{
    for (int i = 0; i < u->p->kernels.count; i++) {
        Kernel *k = u->p->kernels.items[i];
        if (is_removed(k) || k->layer->op != &op_concat || k->fuses)      /* it does more than copy */
            continue;
        if (is_kernel_of(k, &op_concat, "forward"))
            share_input(u, k);
        else
            share_gradient(u, k);
    }
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

/* dX = dY needs no copy when everybody has read dY before the first other contribution is added to dX. */
static void share_copy(Uses *u, Kernel *k)
{
    Tensor *dY = operand_of(k, "dY")->tensor, *dX = operand_of(k, "dX")->tensor;
    if (k->adds || !is_movable(u, dX) || dY->storage->rank != dX->rank || !is_movable(u, dY->storage) ||
        dX->storage == dY->storage)
        return;
    int written = first_write(u, dX, k), read = last_use(u, dY->storage, k);
    if ((written >= 0 && read >= written) || first_write(u, dY->storage, k) >= 0)
        return;
    remove_kernel(u, k, "copy", NULL);
    merge_storage(u, dX, dY->storage, dY->slice);
}

void share_copies(Uses *u)
{
    for (int i = 0; i < u->p->kernels.count; i++) {
        Kernel *k = u->p->kernels.items[i];
        if (is_kernel_of(k, &op_add, "grad_input") && !k->fuses)
            share_copy(u, k);
    }
}

/* ---- in place ---------------------------------------------------------------------------------------------------- */

/* Element-wise kernels may write where they read, once nobody else will read it. */
static void share_in_place(Uses *u, Kernel *k, const char *from, const char *to)
{
    if (!has_operand(k, from) || !has_operand(k, to) || k->adds)
        return;
    Tensor *X = operand_of(k, from)->tensor, *Y = operand_of(k, to)->tensor;
    if (X->storage != X || Y->storage == X || X->lasts || !is_movable(u, X) || !is_movable(u, Y) ||
        X->rank != Y->rank || last_use(u, X, k) > k->index ||
        memcmp(X->dim, Y->dim, sizeof *X->dim * (size_t)X->rank) != 0)
        return;
    merge_storage(u, Y, X, 0);
    note_fusion(u->p, "in-place", k, NULL);
}

void work_in_place(Uses *u)
{
    for (int i = 0; i < u->p->kernels.count; i++) {
        Kernel *k = u->p->kernels.items[i];
        if (is_removed(k) || !k->fast || !k->fast->in_place)
            continue;
        share_in_place(u, k, "X", "Y");
        share_in_place(u, k, "dY", "dX");
    }
}
