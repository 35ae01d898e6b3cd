/* add.c - the sum of tensors of one shape: residual connections.
 *
 * He et al. 2015, section 3.2; Dive into Deep Learning 8.6.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

enum { TENSORS };

static bool add_shape(Layer *l)
{
    if (l->input_count < 2) {
        layer_error(l, -1, "add has one tensor only\nname another by `as name;` and write add(name)");
        return false;
    }
    const Layer *first = l->input[0];
    for (int i = 1; i < l->input_count; i++) {
        const Layer *other = l->input[i];
        if (!shape_equal(&first->output, &other->output)) {
            Arena *arena = l->graph->arena;
            layer_error(l, -1, "add needs equal shapes, but '%s' is %s and '%s' is %s\n%s",
                        first->name, shape_text(arena, &first->output), other->name, shape_text(arena, &other->output),
                        first->output.rank == 3 && other->output.rank == 3
                            ? "a 1x1 convolution with a stride on one side (the shortcut of residual) makes them equal"
                            : "put flatten or linear on one side to make them equal");
            return false;
        }
    }
    return same_shape(l);
}

static char *add_describe(Arena *arena, const Layer *l)
{
    return l->input_count == 2 ? "" : arena_printf(arena, "of %d", l->input_count);
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

/* Many tensors are added in several kernels of at most TERMS; each but the first adds to Y. */
enum { TERMS = 11 };
static const char *const term[TERMS] = {"X1", "X2", "X3", "X4", "X5", "X6", "X7", "X8", "X9", "X10", "X11"};

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    int terms = kernel->operand_count - 1;
    let(e, "set", kernel->operand[terms].access == OPERAND_UPDATE ? "+=" : "=");
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        let(e, "sum", "X1%s", substitute(e, "$at"));
        for (int i = 1; i < terms; i++)
            let(e, "sum", "%s + %s%s", substitute(e, "$sum"), term[i], substitute(e, "$at"));
        line(e, "Y$at $set $sum;");
    end(e, depth);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "dX$at $set dY$at;");
    end(e, depth);
}

static const KernelDef forward = {"forward", .textbook = forward_body, .fast = add_forward_families};
static const KernelDef grad_input = {
    "grad_input", .textbook = grad_input_body, .fast = map_families, .vector = "dy"};

/* ---- step program ------------------------------------------------------------------------------------------------ */

static void add_forward(Program *p, const Layer *l)
{
    for (int from = 0; from < l->input_count; from += TERMS) {
        Kernel *k = add_kernel(p, &forward, l);
        k->part = from;
        for (int i = from; i < l->input_count && i < from + TERMS; i++)
            reads(k, term[i - from], activation_of(p, l->input[i]));
        if (from == 0)
            writes(k, "Y", activation_of(p, l));
        else
            updates(k, "Y", activation_of(p, l));
    }
}

static void add_backward(Program *p, const Layer *l)
{
    for (int i = 0; i < l->input_count; i++) {
        if (!needs_gradient(p, l->input[i]))
            continue;
        Kernel *k = add_kernel(p, &grad_input, l);
        k->part = i;
        reads(k, "dY", gradient_of(p, l));
        contributes(p, k, "dX", l->input[i]);
    }
}

const Op op_add = {
    .keyword   = "add",
    .summary   = "sum of the current tensor and those named",
    .reference = "He et al. 2015, section 3.2; Dive into Deep Learning 8.6",
    .formula   = "Y = X1 + X2 + ...",
    .grad      = "dX = dY for each of them",
    .attrs = {
        {"tensors", ATTR_NAMES, true, 0, 0, 0, "tensors of the same shape, named by `as`"},
    },
    .shape = add_shape, .describe = add_describe,
    .forward = add_forward, .backward = add_backward,
};
