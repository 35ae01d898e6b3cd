/* concat.c - tensors one behind the other in the channel direction; flat tensors feature behind feature.
 *
 * Szegedy et al. 2014 (Inception), section 4; Huang et al. 2016 (DenseNet), section 3; Ronneberger et al. 2015 (U-Net).
 */
#include "../kernels/kernels.h"
#include "helpers.h"

enum { TENSORS };

static bool concat_shape(Layer *l)
{
    const Shape *first = &l->input[0]->output;
    int64_t channels = 0;
    for (int i = 0; i < l->input_count; i++) {
        const Shape *other = &l->input[i]->output;
        if (other->rank != first->rank || other->dim[1] != first->dim[1] || other->dim[2] != first->dim[2]) {
            Arena *arena = l->graph->arena;
            layer_error(l, -1, "concat needs equal heights and widths, but '%s' is %s and '%s' is %s\n%s",
                        l->input[0]->name, shape_text(arena, first), l->input[i]->name, shape_text(arena, other),
                        other->rank != first->rank ? "flatten both, or neither"
                                                   : "give their strides and pads so that the pictures end equal");
            return false;
        }
        channels += other->dim[0];
    }
    l->output = *first;
    l->output.dim[0] = channels;
    return true;
}

static char *concat_describe(Arena *arena, const Layer *l)
{
    return arena_printf(arena, "of %d", l->input_count);
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

/* Opens loops over the elements of input number kernel->part, and binds $at to its indices, $place to those in Y. */
static int loop_part(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    int64_t offset = 0;
    for (int i = 0; i < kernel->part; i++)
        offset += l->input[i]->output.dim[0];
    const char *rest = l->output.rank == 3 ? "[i][j]" : "";
    if (offset == 0)
        let(e, "place", "[n][c]%s", rest);
    else
        let(e, "place", "[n][c + %lld]%s", (long long)offset, rest);
    parallel(e);
    return loop_elements(e, l->graph->batch, &l->input[kernel->part]->output, "ncij");
}

static void forward_body(Emitter *e, const Kernel *kernel)
{
    int depth = loop_part(e, kernel);
        line(e, "Y$place = X$at;");
    end(e, depth);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    int depth = loop_part(e, kernel);
        line(e, "dX$at $set dY$place;");
    end(e, depth);
}

static const KernelDef forward = {"forward", .textbook = forward_body, .fast = concat_forward_families};
static const KernelDef grad_input = {
    "grad_input", .textbook = grad_input_body, .fast = concat_grad_input_families};

/* ---- step program ------------------------------------------------------------------------------------------------ */

/* One kernel an input, of which there may be hundreds. Each but the first leaves what is already in Y. */
static void concat_forward(Program *p, const Layer *l)
{
    for (int i = 0; i < l->input_count; i++) {
        Kernel *k = add_kernel(p, &forward, l);
        k->part = i;
        reads(k, "X", activation_of(p, l->input[i]));
        if (i == 0)
            writes(k, "Y", activation_of(p, l));
        else
            updates(k, "Y", activation_of(p, l));
    }
}

static void concat_backward(Program *p, const Layer *l)
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

const Op op_concat = {
    .keyword   = "concat",
    .summary   = "the channels of the current tensor and of those named, one behind the other",
    .reference = "Szegedy et al. 2014 (Inception), section 4; Huang et al. 2016 (DenseNet), section 3",
    .formula   = "Y[n,offset+c,i,j] = X[n,c,i,j],  offset: channels of the tensors before X",
    .grad      = "dX[n,c,i,j] = dY[n,offset+c,i,j]",
    .attrs = {
        {"tensors", ATTR_NAMES, true, 0, 0, 0, "tensors of the same height and width, named by `as`"},
    },
    .shape = concat_shape, .describe = concat_describe,
    .forward = concat_forward, .backward = concat_backward,
};
