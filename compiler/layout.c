/* layout.c - how tensors lie in memory at -O2: blocked pictures with a zero border, rows, filters (layout.h).
 *
 * Requires: kernels chosen by schedule.c and joined by fuse.c. Establishes: a layout for every tensor, and, through
 * conversions.c, kernels that convert where one wants another layout than its tensor has.
 *
 * Blocks of channels inside a picture, nChw16c, are those of oneDNN (Georganas et al. 2018, "Anatomy of
 * high-performance deep learning convolutions on SIMD architectures", section II-B).
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

/* A view of a picture as a picture, whole or some channels, lies as its storage does. */
const Tensor *laid_as(const Tensor *t)
{
    return t->rank == 4 && t->storage->rank == 4 ? t->storage : t;
}

int laid_dims(int rank, const int64_t *d, Layout at, int64_t physical[MAX_PHYSICAL_RANK])
{
    const int64_t L = at.lanes;
    switch (at.kind) {
    case LAYOUT_BLOCKED:
        memcpy(physical, (int64_t[]){d[0], blocks_of(d[1], at.lanes), d[2] + at.border.top + at.border.bottom,
                                     d[3] + at.border.left + at.border.right, L}, 5 * sizeof *physical);
        return 5;
    case LAYOUT_FILTERS: {
        int64_t inner = d[1] < L ? d[1] : L;
        memcpy(physical, (int64_t[]){blocks_of(d[0], at.lanes), (d[1] + inner - 1) / inner, d[2], d[3], inner, L},
               6 * sizeof *physical);
        return 6;
    }
    case LAYOUT_ROWS:
        memcpy(physical, d, sizeof *physical * (size_t)rank);
        physical[rank - 1] = blocks_of(d[rank - 1], at.lanes) * L;
        return rank;
    case LAYOUT_PLAIN:
        break;
    }
    memcpy(physical, d, sizeof *physical * (size_t)rank);
    return rank;
}

int physical_dims(const Tensor *view, int64_t dims[MAX_PHYSICAL_RANK])
{
    const Tensor *t = laid_as(view);
    return laid_dims(t->rank, t->dim, t->layout, dims);
}

int64_t parameter_count(const Parameter *param, const Target *target)
{
    const int64_t one = 1;
    int rank = param->rank ? param->rank : 1;
    int64_t dims[MAX_PHYSICAL_RANK], count = 1;
    for (int i = laid_dims(rank, param->rank ? param->dim : &one, parameter_layout(rank, target), dims) - 1; i >= 0;
         i--)
        count *= dims[i];
    return count;
}

Layout parameter_layout(int rank, const Target *target)
{
    if (!target)
        return (Layout){.kind = LAYOUT_PLAIN};
    return (Layout){.kind = rank == 4 ? LAYOUT_FILTERS : LAYOUT_ROWS, .lanes = target->lanes};
}

int64_t physical_count(const Tensor *t)
{
    int64_t dims[MAX_PHYSICAL_RANK], count = 1;
    int rank = physical_dims(t, dims);
    for (int i = 0; i < rank; i++)
        count *= dims[i];
    return count;
}

int64_t slice_offset(const Tensor *t)
{
    int64_t dims[MAX_PHYSICAL_RANK];
    if (t->slice == 0)
        return 0;
    if (physical_dims(t, dims) == 5)
        return t->slice / dims[4] * dims[2] * dims[3] * dims[4];
    return t->slice * dims[2] * dims[3];
}

int64_t slice_count(const Tensor *t)
{
    int64_t dims[MAX_PHYSICAL_RANK];
    const int rank = physical_dims(t, dims);
    if (t->rank != 4 || t->storage->rank != 4 || t->dim[1] == t->storage->dim[1])
        return physical_count(t);
    return rank == 5 ? (t->dim[1] + dims[4] - 1) / dims[4] * dims[2] * dims[3] * dims[4]
                     : t->dim[1] * dims[2] * dims[3];
}

/* ---- what lies where --------------------------------------------------------------------------------------------- */

static bool is_parameter(const Tensor *t)
{
    return t->kind == TENSOR_PARAMETER || t->kind == TENSOR_PARAM_GRADIENT || t->kind == TENSOR_FIRST_MOMENT ||
           t->kind == TENSOR_SECOND_MOMENT;
}

/* Parameters lie alike in every program, whoever uses them. */
LayoutKind usual_layout(const Tensor *t)
{
    if (t->kind == TENSOR_INPUT || t->kind == TENSOR_LABELS)
        return LAYOUT_PLAIN;
    if (t->rank == 4)
        return is_parameter(t) ? LAYOUT_FILTERS : LAYOUT_BLOCKED;
    return t->rank <= 2 ? LAYOUT_ROWS : LAYOUT_PLAIN;
}

/* Tensors of the arena that only textbook kernels use stay plain, all others lie as fast kernels want them. */
static void settle_kinds(Program *p)
{
    for (int i = 0; i < p->tensors.count; i++) {
        Tensor *t = p->tensors.items[i];
        t->layout.lanes = p->target->lanes;
        if (!t->layout.fixed)
            t->layout.kind = is_parameter(t) && !t->outside ? usual_layout(t) : LAYOUT_PLAIN;
    }
    for (int i = 0; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        for (int o = 0; k->fast && o < k->operand_count; o++) {
            Tensor *t = k->operand[o].tensor;
            if (t->layout.fixed || t->outside || t->kind == TENSOR_INPUT || t->kind == TENSOR_LABELS)
                continue;
            t->layout.kind = usual_layout(t);
            if (t->storage->kind != TENSOR_INPUT)
                t->storage->layout.kind = usual_layout(t->storage);
        }
    }
    for (int i = 0; i < p->tensors.count; i++) {        /* views of other ranks follow their storage */
        Tensor *t = p->tensors.items[i];
        if (t->storage != t && t->storage->kind != TENSOR_INPUT)
            t->layout.kind = t->storage->layout.kind == LAYOUT_PLAIN ? LAYOUT_PLAIN : usual_layout(t);
    }
}

/* ---- borders ----------------------------------------------------------------------------------------------------- */

void widen_border(Border *to, Border need)
{
    *to = (Border){most(to->top, need.top), most(to->bottom, need.bottom), most(to->left, need.left),
                   most(to->right, need.right)};
}

static bool is_empty(Border b)
{
    return b.top == 0 && b.bottom == 0 && b.left == 0 && b.right == 0;
}

/* A picture of one pixel that is also seen as a row has no room for a border. */
static bool has_row_view(const Program *p, const Tensor *storage)
{
    for (int i = 0; i < p->tensors.count; i++)
        if (p->tensors.items[i]->storage == storage && p->tensors.items[i]->rank != storage->rank)
            return true;
    return false;
}

enum { FUSED_LAYERS = 4 };      /* as many as fuse.c may join: convolution, batch norm, add, ReLU */

/* Has a tensor of this layer, or of one that stands at most `hops` before or behind it, a row view? */
static bool row_view_near(const Program *p, const Layer *l, int hops)
{
    const Tensor *own[] = {p->activation[l->index], p->gradient[l->index]};
    for (int i = 0; i < 2; i++)
        if (own[i] && has_row_view(p, own[i]->storage))
            return true;
    for (int i = 0; hops > 0 && i < p->graph->layers.count; i++) {
        const Layer *other = p->graph->layers.items[i];
        for (int k = 0; k < other->input_count; k++)
            if (other->input[k] == l && row_view_near(p, other, hops - 1))
                return true;
    }
    for (int k = 0; hops > 0 && k < l->input_count; k++)
        if (row_view_near(p, l->input[k], hops - 1))
            return true;
    return false;
}

bool wants_impossible_border(const Program *p, const Kernel *k)
{
    for (int o = 0; k->fast->border && o < k->operand_count; o++) {
        const Tensor *t = k->operand[o].tensor;
        if (t->rank == 4 && t->dim[2] * t->dim[3] == 1 && !is_empty(k->fast->border(k, &k->operand[o])) && t->layer &&
            (has_row_view(p, t->storage) || row_view_near(p, t->layer, FUSED_LAYERS)))
            return true;
    }
    return false;
}

static void settle_borders(Program *p)
{
    for (int i = 0; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        for (int o = 0; k->fast && k->fast->border && o < k->operand_count; o++) {
            Tensor *t = k->operand[o].tensor->storage;
            if (t->rank == 4 && t->layout.kind == LAYOUT_BLOCKED)
                widen_border(&t->layout.border, k->fast->border(k, &k->operand[o]));
            if (!is_empty(t->layout.border) && has_row_view(p, t))
                abort();        /* schedule.c asks wants_impossible_border */
        }
    }
}

void choose_layouts(Program *p)
{
    settle_kinds(p);
    settle_borders(p);
    insert_conversions(p);
    if (p->mode == PROGRAM_PREDICT)
        keep_layers(p);
}
