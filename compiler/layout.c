/* layout.c - how tensors lie in memory at -O2: blocked pictures with a zero border, rows, filters (layout.h).
 *
 * Requires: kernels chosen by schedule.c and joined by fuse.c. Establishes: a layout for every tensor; where a kernel
 * wants another one than the tensor has (a textbook kernel among fast ones, the caller's pictures), it works on a twin,
 * and conversion kernels (kernels/convert.c) stand around it. A twin that is still valid is not converted again.
 *
 * Blocks of channels inside a picture, nChw16c, are those of oneDNN (Georganas et al. 2018, "Anatomy of high-performance
 * deep learning convolutions on SIMD architectures", section II-B).
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

/* A view of a picture as a picture, whole or some channels, lies as its storage does. */
static const Tensor *laid_as(const Tensor *t)
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
    for (int i = laid_dims(rank, param->rank ? param->dim : &one, parameter_layout(rank, target), dims) - 1; i >= 0; i--)
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
    return rank == 5 ? (t->dim[1] + dims[4] - 1) / dims[4] * dims[2] * dims[3] * dims[4] : t->dim[1] * dims[2] * dims[3];
}

/* ---- what lies where --------------------------------------------------------------------------------------------- */

static bool is_parameter(const Tensor *t)
{
    return t->kind == TENSOR_PARAMETER || t->kind == TENSOR_PARAM_GRADIENT || t->kind == TENSOR_FIRST_MOMENT ||
           t->kind == TENSOR_SECOND_MOMENT;
}

/* Parameters lie alike in every program, whoever uses them. */
static LayoutKind usual_layout(const Tensor *t)
{
    if (t->kind == TENSOR_INPUT || t->kind == TENSOR_LABELS)
        return LAYOUT_PLAIN;
    if (t->rank == 4)
        return is_parameter(t) ? LAYOUT_FILTERS : LAYOUT_BLOCKED;
    return t->rank <= 2 ? LAYOUT_ROWS : LAYOUT_PLAIN;
}

static LayoutKind wanted_layout(const Kernel *k, const Operand *o)
{
    if (o->tensor->layout.fixed)
        return o->tensor->layout.kind;
    if (k->def->flat || o->tensor->kind == TENSOR_FIRST_MOMENT)
        return usual_layout(o->tensor);
    if (!k->fast || o->tensor->kind == TENSOR_LABELS)
        return LAYOUT_PLAIN;
    if (k->fast->layout && o->tensor->rank > 1)
        return k->fast->layout(k, o);
    if (o->tensor->kind == TENSOR_INPUT)
        return o->tensor->rank == 4 ? LAYOUT_BLOCKED : LAYOUT_ROWS;
    return usual_layout(o->tensor);
}

/* Do both layouts put the same elements at the same places? */
static bool same_memory(const Tensor *t, LayoutKind a, LayoutKind b, int lanes)
{
    if (a == b)
        return true;
    bool rows = (a == LAYOUT_ROWS || b == LAYOUT_ROWS) && (a == LAYOUT_PLAIN || b == LAYOUT_PLAIN);
    return rows && t->dim[t->rank - 1] % lanes == 0;
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

static void widen(Border *to, Border need)
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
                widen(&t->layout.border, k->fast->border(k, &k->operand[o]));
            if (!is_empty(t->layout.border) && has_row_view(p, t))
                abort();        /* schedule.c asks wants_impossible_border */
        }
    }
}

/* ---- conversions ------------------------------------------------------------------------------------------------- */

/* A tensor's second self in another layout, and which of the tensor's contents it holds. */
typedef struct { Tensor *of, *twin; int version; } Twin;

typedef struct {
    Program       *p;
    LIST(Kernel *) kernels;             /* the new list                                         */
    LIST(Twin)     twins;
    int           *version;             /* by number of the storage in p->tensors: writes so far */
} Conversion;

static int *version_of(Conversion *c, const Tensor *t)
{
    return &c->version[t->storage->number];
}

static const char *layout_name(LayoutKind kind)
{
    static const char *const names[] = {"plain", "blocked", "rows", "filters"};
    return names[kind];
}

static const char *last_part(const char *name)
{
    return strrchr(name, '.') ? strrchr(name, '.') + 1 : name;
}

/* "conv1_plain", "d_conv1_weight_plain", "relu_plain_2": not yet taken by another twin. */
static const char *twin_name(const Conversion *c, const Tensor *t, LayoutKind kind)
{
    const char *base = arena_printf(c->p->arena, "%s%s_%s", t->kind == TENSOR_PARAM_GRADIENT ? "d_" : "",
                                    last_part(t->name), layout_name(kind));
    const char *name = base;
    for (int i = 0, ordinal = 2; i < c->twins.count; i++)
        if (strcmp(c->twins.items[i].twin->name, name) == 0) {
            name = arena_printf(c->p->arena, "%s_%d", base, ordinal++);
            i = -1;
        }
    return name;
}

static int twin_of(Conversion *c, Tensor *t, LayoutKind kind)
{
    for (int i = 0; i < c->twins.count; i++) {
        const Twin *known = &c->twins.items[i];
        if (known->of->storage == t->storage && known->of->rank == t->rank && known->of->slice == t->slice &&
            known->of->dim[1] == t->dim[1] && known->twin->layout.kind == kind)
            return i;
    }
    Tensor *twin = NEW(c->p->arena, Tensor);
    *twin = *t;
    bool gradient = t->kind == TENSOR_PARAM_GRADIENT || t->kind == TENSOR_GRADIENT;
    twin->kind = gradient ? TENSOR_GRADIENT : TENSOR_SAVED;     /* idle.c follows gradients through their twins */
    twin->storage = twin;
    twin->slice = 0;
    twin->lasts = false;
    twin->first = twin->last = -1;
    twin->number = c->p->tensors.count;
    twin->layout = (Layout){.kind = kind, .lanes = c->p->target->lanes};
    twin->name = twin_name(c, t, kind);
    APPEND(c->p->arena, &c->p->tensors, twin);
    Twin pair = {t, twin, -1};
    APPEND(c->p->arena, &c->twins, pair);
    return c->twins.count - 1;
}

static void add_conversion(Conversion *c, Tensor *from, Tensor *to)
{
    Kernel *k = NEW(c->p->arena, Kernel);
    *k = (Kernel){.def = &convert_layout, .fast = convert_layout.fast[0], .layer = from->layer};
    reads(k, "X", from);
    writes(k, "Y", to);
    APPEND(c->p->arena, &c->kernels, k);
}

static bool needs_twin(const Conversion *c, const Kernel *k, const Operand *o)
{
    LayoutKind wanted = wanted_layout(k, o), has = laid_as(o->tensor)->layout.kind;
    if (o->tensor->storage->kind == TENSOR_INPUT)
        has = LAYOUT_PLAIN;
    return o->tensor->kind != TENSOR_LABELS && !same_memory(o->tensor, wanted, has, c->p->target->lanes);
}

static void convert_kernel(Conversion *c, Kernel *k)
{
    int twin[MAX_OPERANDS];
    for (int o = 0; o < k->operand_count; o++) {
        Operand *operand = &k->operand[o];
        twin[o] = needs_twin(c, k, operand) ? twin_of(c, operand->tensor, wanted_layout(k, operand)) : -1;
        if (twin[o] < 0)
            continue;
        Twin *pair = &c->twins.items[twin[o]];
        if (k->fast && k->fast->border && pair->twin->layout.kind == LAYOUT_BLOCKED)
            widen(&pair->twin->layout.border, k->fast->border(k, operand));
        if (operand->access != OPERAND_WRITE && pair->version != *version_of(c, operand->tensor))
            add_conversion(c, operand->tensor, pair->twin);
        pair->version = *version_of(c, operand->tensor);
    }
    APPEND(c->p->arena, &c->kernels, k);
    for (int o = 0; o < k->operand_count; o++) {
        Operand *operand = &k->operand[o];
        bool fixed = operand->tensor->layout.fixed;
        int *version = operand->access == OPERAND_READ || fixed ? NULL : version_of(c, operand->tensor);
        if (version)
            ++*version;
        if (twin[o] < 0)
            continue;
        Twin *pair = &c->twins.items[twin[o]];
        if (version) {
            add_conversion(c, pair->twin, operand->tensor);
            pair->version = *version;
        }
        operand->tensor = pair->twin;
    }
}

static void insert_conversions(Program *p)
{
    Conversion c = {.p = p};
    c.version = NEW_ARRAY(p->arena, int, p->tensors.count + 1);
    int backward_from = p->kernels.count;
    for (int i = 0; i < p->kernels.count; i++) {
        if (i == p->backward_from)
            backward_from = c.kernels.count;
        convert_kernel(&c, p->kernels.items[i]);
    }
    p->backward_from = p->backward_from == p->kernels.count ? c.kernels.count : backward_from;
    p->kernels.items = c.kernels.items;
    p->kernels.count = c.kernels.count;
    p->kernels.capacity = c.kernels.capacity;
    for (int i = 0; i < p->kernels.count; i++)
        p->kernels.items[i]->index = i;
}

/* Whether a layer computes what the last one takes: features that networks of other classes are made from. */
static bool is_feature(const Graph *g, const Layer *l)
{
    const Layer *f = g->output->input_count == 1 ? g->output->input[0] : NULL;
    while (f && f != l && f->op == &op_flatten)
        f = f->input[0];
    return f == l && f->op;
}

/* Prediction keeps every layer's output under --keep-layers, else the features: they live to the end, where a plain copy
 * of them is made. */
static void keep_layers(Program *p)
{
    Conversion c = {.p = p};
    p->kept = NEW_ARRAY(p->arena, Tensor *, p->graph->layers.count);
    for (int i = 0; i < p->graph->layers.count; i++) {
        Tensor *t = p->activation[i];
        if (!p->tuning->keep_layers && !is_feature(p->graph, p->graph->layers.items[i]))
            continue;
        p->kept[i] = t;
        if (!t || t->storage->kind == TENSOR_INPUT)
            continue;
        if (same_memory(t, laid_as(t)->layout.kind, LAYOUT_PLAIN, p->target->lanes)) {
            t->lasts = true;
            continue;
        }
        int at = twin_of(&c, t, LAYOUT_PLAIN);
        p->kept[i] = c.twins.items[at].twin;
        if (p->kept[i]->lasts)          /* a view of what was copied before */
            continue;
        p->kept[i]->lasts = true;
        add_conversion(&c, t, p->kept[i]);
    }
    for (int i = 0; i < c.kernels.count; i++) {
        c.kernels.items[i]->index = p->kernels.count;
        APPEND(p->arena, &p->kernels, c.kernels.items[i]);
    }
    p->backward_from = p->kernels.count;
}

void choose_layouts(Program *p)
{
    settle_kinds(p);
    settle_borders(p);
    insert_conversions(p);
    if (p->mode == PROGRAM_PREDICT)
        keep_layers(p);
}
