/* linear.c - a fully connected layer: every output is a weighted sum of all inputs.
 *
 * Dive into Deep Learning 3.1 and 5.1. W is [out][in], as in PyTorch.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

enum { FEATURES, BIAS };

static bool linear_shape(Layer *l)
{
    const Shape *in = &l->input[0]->output;
    if (in->rank != 1) {
        layer_error(l, -1, "linear needs flat features, but a %s picture reaches it\nput flatten before linear",
                    shape_text(l->graph->arena, in));
        return false;
    }
    l->output = (Shape){1, {l->attr[FEATURES].n[0], 0, 0}};
    return true;
}

static void linear_params(Layer *l)
{
    int64_t in = l->input[0]->output.dim[0], out = l->attr[FEATURES].n[0];
    add_param(l, "weight", PARAM_WEIGHT, 2, (int64_t[]){out, in}, in, out);
    if (l->attr[BIAS].n[0])
        add_param(l, "bias", PARAM_BIAS, 1, &out, in, out);
}

static int64_t linear_macs(const Layer *l)
{
    return l->output.dim[0] * l->input[0]->output.dim[0];
}

static char *linear_describe(Arena *arena, const Layer *l)
{
    return arena_printf(arena, "%lld%s", (long long)l->output.dim[0], l->attr[BIAS].n[0] ? "" : ", no bias");
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    loop(e, "n", l->graph->batch);
        loop(e, "k", l->output.dim[0]);
            line(e, l->attr[BIAS].n[0] ? "real sum = b[k];" : "real sum = 0;");
            loop(e, "c", l->input[0]->output.dim[0]);
                line(e, "sum += W[k][c] * X[n][c];");
            end(e, 1);
            line(e, "Y[n][k] = sum;");
    end(e, 2);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    loop(e, "n", l->graph->batch);
        loop(e, "c", l->input[0]->output.dim[0]);
            line(e, "real sum = 0;");
            loop(e, "k", l->output.dim[0]);
                line(e, "sum += W[k][c] * dY[n][k];");
            end(e, 1);
            line(e, "dX[n][c] $set sum;");
    end(e, 2);
}

/* Threads own whole rows of W, so the order of the sum over n never changes. */
static void grad_weight_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    loop(e, "k", l->output.dim[0]);
        loop(e, "c", l->input[0]->output.dim[0]);
            line(e, "real sum = 0;");
            loop(e, "n", l->graph->batch);
                line(e, "sum += dY[n][k] * X[n][c];");
            end(e, 1);
            line(e, "dW[k][c] = sum;");
    end(e, 2);
}

static void grad_bias_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    loop(e, "k", l->output.dim[0]);
        line(e, "real sum = 0;");
        loop(e, "n", l->graph->batch);
            line(e, "sum += dY[n][k];");
        end(e, 1);
        line(e, "db[k] = sum;");
    end(e, 1);
}

static const KernelDef forward = {"forward", .counts = true, .textbook = forward_body,
                                  .fast = linear_forward_families};
static const KernelDef grad_input = {
    "grad_input", "dX[n,c] = sum_k W[k,c] * dY[n,k]", .counts = true, .textbook = grad_input_body,
    .fast = linear_grad_input_families};
static const KernelDef grad_weight = {
    "grad_weight", "dW[k,c] = sum_n dY[n,k] * X[n,c]", .counts = true, .textbook = grad_weight_body,
    .fast = linear_grad_weight_families};
static const KernelDef grad_bias = {"grad_bias", "db[k] = sum_n dY[n,k]", .textbook = grad_bias_body,
                                    .fast = linear_grad_bias_families};

/* ---- step program ------------------------------------------------------------------------------------------------ */

static void linear_forward(Program *p, const Layer *l)
{
    forward_weighted(p, l, &forward);
}

static void linear_backward(Program *p, const Layer *l)
{
    backward_weighted(p, l, &grad_bias, &grad_weight, &grad_input);
}

const Op op_linear = {
    .keyword   = "linear",
    .summary   = "fully connected layer",
    .reference = "Dive into Deep Learning 3.1, 5.1",
    .formula   = "Y[n,k] = b[k] + sum_c W[k,c] * X[n,c]",
    .grad      = "db = sum_n dY;  dW = sum_n dY * X;  dX = sum_k W * dY   (same indices)",
    .attrs = {
        {"features", ATTR_INT,  true,  0, 1, 0, "output features"},
        {"bias",     ATTR_FLAG, false, 1, 0, 1, "add a learnt constant to each output feature"},
    },
    .shape = linear_shape, .params = linear_params, .macs = linear_macs, .describe = linear_describe,
    .forward = linear_forward, .backward = linear_backward,
};
