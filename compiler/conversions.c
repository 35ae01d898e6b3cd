/* conversions.c - where a kernel of fast code wants a tensor in another layout than it has.
 *
 * Requires: a layout for every tensor (layout.c). Establishes: where a kernel wants another one (a textbook kernel
 * among fast ones, the caller's pictures), it works on a twin, and conversion kernels (kernels/convert.c) stand around
 * it. A twin that is still valid is not converted again. Likewise for what the caller sees of prediction's layers.
 */
#include <string.h>

#include "kernels/kernels.h"

/* ---- what a kernel wants ----------------------------------------------------------------------------------------- */

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

/* ---- twins ------------------------------------------------------------------------------------------------------- */

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

/* "conv1_plain", "d_conv1_weight_plain", "relu_plain_2": not yet taken by another tensor. */
static const char *twin_name(const Conversion *c, const Tensor *t, LayoutKind kind)
{
    const char *base = arena_printf(c->p->arena, "%s%s_%s", t->kind == TENSOR_PARAM_GRADIENT ? "d_" : "",
                                    last_part(t->name), layout_name(kind));
    const char *name = base;
    for (int i = 0, ordinal = 2; i < c->p->tensors.count; i++)
        if (strcmp(c->p->tensors.items[i]->name, name) == 0) {
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
            widen_border(&pair->twin->layout.border, k->fast->border(k, operand));
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

void insert_conversions(Program *p)
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

/* ---- layers that stay -------------------------------------------------------------------------------------------- */

/* Whether a layer computes what the last one takes: features that networks of other classes are made from. */
static bool is_feature(const Graph *g, const Layer *l)
{
    const Layer *f = g->output->input_count == 1 ? g->output->input[0] : NULL;
    while (f && f != l && f->op == &op_flatten)
        f = f->input[0];
    return f == l && f->op;
}

/* Prediction keeps every layer's output under --keep-layers, else the features: they live to the end, where a
 * plain copy of them is made. */
void keep_layers(Program *p)
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
