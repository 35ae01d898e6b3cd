/* shape.c - shapes and their arithmetic, and the rules of one layer: output, parameters, multiply-adds.
 *
 * Requires: a layer with its attributes bound and its inputs inferred. Establishes: layer->output, param and macs, with
 * every product checked, so that later passes may multiply sizes without looking; or one error.
 */
#include <inttypes.h>
#include <string.h>

#include "expand.h"

static const int64_t MAX_ELEMENTS = INT64_C(1) << 40;           /* of one tensor, batch included */

bool multiply_checked(int64_t a, int64_t b, int64_t *product)
{
    return !__builtin_mul_overflow(a, b, product) && *product <= MAX_ELEMENTS && *product >= -MAX_ELEMENTS;
}

int64_t shape_count(const Shape *shape)
{
    int64_t count = shape->rank > 0;
    for (int i = 0; i < shape->rank; i++)
        count *= shape->dim[i];
    return count;
}

bool shape_equal(const Shape *a, const Shape *b)
{
    bool equal = a->rank == b->rank;
    for (int i = 0; equal && i < a->rank; i++)
        equal = a->dim[i] == b->dim[i];
    return equal;
}

char *shape_text(Arena *arena, const Shape *shape)
{
    if (shape->rank == 0)
        return arena_printf(arena, "?");
    char *text = arena_printf(arena, "%" PRId64, shape->dim[0]);
    for (int i = 1; i < shape->rank; i++)
        text = arena_printf(arena, "%sx%" PRId64, text, shape->dim[i]);
    return text;
}

void layer_error(const Layer *l, int attr, const char *format, ...)
{
    Span span = attr >= 0 ? l->attr[attr].span : l->span;
    va_list args;
    va_start(args, format);
    if (l->graph->expander)
        fail_va(l->graph->expander, span, l->origin, format, args);
    else
        error_va(l->graph->diag, span, l->origin, format, args);
    va_end(args);
}

void add_param(Layer *l, const char *name, ParamRole role, int rank, const int64_t *dims, int64_t fan_in,
               int64_t fan_out)
{
    Parameter *p = &l->param[l->param_count++];
    *p = (Parameter){.name = name, .role = role, .rank = rank, .count = 1, .fan_in = fan_in, .fan_out = fan_out};
    p->trainable = role != PARAM_MEAN && role != PARAM_VARIANCE && role != PARAM_COUNTER;
    for (int i = 0; i < rank; i++) {
        p->dim[i] = dims[i];
        if (p->count > 0 && !multiply_checked(p->count, dims[i], &p->count))
            p->count = 0;               /* too large: infer_layer reports it */
    }
}

/* Every size at least 1, and the whole batch at most 2^40 elements. */
static bool check_output(const Layer *l)
{
    const Shape *out = &l->output;
    int64_t count = 1;
    for (int i = 0; i < out->rank; i++) {
        if (out->dim[i] < 1) {
            layer_error(l, -1, "the output of %s would be %s\nevery size must be at least 1", l->op->keyword,
                        shape_text(l->graph->arena, out));
            return false;
        }
        if (!multiply_checked(count, out->dim[i], &count))
            count = MAX_ELEMENTS + 1;
        if (count > MAX_ELEMENTS)
            break;
    }
    if (count <= MAX_ELEMENTS && multiply_checked(count, l->graph->batch, &count))
        return true;
    layer_error(l, -1, "the output of %s, %s for each of %d pictures, has more than 2^40 elements", l->op->keyword,
                shape_text(l->graph->arena, out), l->graph->batch);
    return false;
}

static bool check_params(const Layer *l)
{
    for (int i = 0; i < l->param_count; i++)
        if (l->param[i].count == 0) {
            layer_error(l, -1, "the %s of %s would have more than 2^40 elements", l->param[i].name, l->op->keyword);
            return false;
        }
    return true;
}

/* Operators count their multiply-adds as the output's size times at most a parameter's: that must not overflow. */
static bool check_work(const Layer *l)
{
    int64_t largest = 1, work;
    for (int i = 0; i < l->param_count; i++)
        if (l->param[i].count > largest)
            largest = l->param[i].count;
    if (!__builtin_mul_overflow(shape_count(&l->output), largest, &work) && work <= INT64_MAX / 2)
        return true;
    layer_error(l, -1, "%s would take more than 2^62 multiply-adds a picture", l->op->keyword);
    return false;
}

bool infer_layer(Layer *l)
{
    l->output = (Shape){0};
    l->param_count = 0;
    l->macs = 0;
    for (int i = 0; i < l->input_count; i++)
        if (l->input[i]->output.rank == 0)
            return false;
    bool ok = l->op->shape(l) && check_output(l);
    if (ok && l->op->params)
        l->op->params(l);
    ok = ok && check_params(l) && check_work(l);
    if (ok && l->op->macs)
        l->macs = l->op->macs(l);
    if (!ok)
        l->output = (Shape){0};
    return ok;
}
