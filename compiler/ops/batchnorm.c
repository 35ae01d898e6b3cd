/* batchnorm.c - batch normalisation: per channel over n, h, w of pictures; per feature over n of flat tensors.
 *
 * Ioffe and Szegedy 2015, algorithm 1 and section 3.1; Dive into Deep Learning 8.5. Two variances, as in PyTorch: the
 * biased one (divided by M) normalises, the unbiased one (by M - 1) enters the running variance, where
 * running = (1 - momentum) * running + momentum * batch. The variance is taken in a second pass about the mean, and
 * sums are kept in double precision (as PyTorch does on a CPU): a channel of large pictures has millions of terms.
 *
 * In code for one of several processes (Graph.exchanges) a batch may be that of all ranks, as torch.nn.SyncBatchNorm
 * has it: mean and squares are merged before they are applied, and dX takes the sums over all ranks. The gradients of
 * scale and shift stay the rank's own, as all others: what averages them comes behind.
 */
#include <string.h>

#include "../kernels/kernels.h"
#include "helpers.h"

enum { EPS, MOMENTUM };

/* Values a channel is normalised over. */
static int64_t members_of(const Layer *l)
{
    const Shape *s = &l->output;
    return l->graph->batch * (s->rank == 3 ? s->dim[1] * s->dim[2] : 1);
}

static bool batchnorm_shape(Layer *l)
{
    same_shape(l);
    if (members_of(l) == 1) {
        layer_error(l, -1, "batchnorm sees one value a channel: batch 1 of %s has no variance\n"
                    "train with a batch of at least 2, for example --batch 2",
                    shape_text(l->graph->arena, &l->output));
        return false;
    }
    return true;
}

static void batchnorm_params(Layer *l)
{
    const int64_t *channels = l->output.dim;
    add_param(l, "weight", PARAM_SCALE, 1, channels, 0, 0);
    add_param(l, "bias", PARAM_SHIFT, 1, channels, 0, 0);
    add_param(l, "running_mean", PARAM_MEAN, 1, channels, 0, 0);
    add_param(l, "running_var", PARAM_VARIANCE, 1, channels, 0, 0);
    add_param(l, "num_batches_tracked", PARAM_COUNTER, 0, NULL, 0, 0);
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

/* Opens the loops over a channel's values, inside the loop over c; the number of loops. */
static int loop_members(Emitter *e, const Layer *l)
{
    loop(e, "n", l->graph->batch);
    if (l->output.rank == 3) {
        loop(e, "i", l->output.dim[1]);
            loop(e, "j", l->output.dim[2]);
    }
    return l->output.rank == 3 ? 3 : 1;
}

void let_batchnorm(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    bool exchanges = l->graph->exchanges;
    let_int(e, "M", members_of(l));
    let(e, "all", exchanges ? "(%lld.0 * ranks)" : "%lld", (long long)members_of(l));
    let(e, "others", exchanges ? "(%lld.0 * ranks - 1)" : "%lld", (long long)members_of(l) - !exchanges);
    let_number(e, kernel, "eps", l->attr[EPS].real);
    let_number(e, kernel, "momentum", l->attr[MOMENTUM].real);
}

static void let_sizes(Emitter *e, const Kernel *kernel)
{
    let(e, "at", kernel->layer->output.rank == 3 ? "[n][c][i][j]" : "[n][c]");
    let_batchnorm(e, kernel);
}

/* Ends the loop over c that found m and squares, and begins another in which they are those of all ranks. */
static void merge_over_ranks(Emitter *e, const Layer *l)
{
    let_int(e, "C", l->output.dim[0]);
        line(e, "mean[c] = m;");
        line(e, "inverse_deviation[c] = squares;");
    end(e, 1);
    line(e, "const int ranks = merge_ranks(exchange, mean, inverse_deviation, $C, $M);");
    parallel(e);
    loop(e, "c", l->output.dim[0]);
        line(e, "double m = mean[c], squares = inverse_deviation[c];");
}

static void forward_train_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    int depth;
    let_sizes(e, kernel);
    line(e, "const double eps = $eps, momentum = $momentum;");
    line(e, "num_batches_tracked[0] += 1;");
    parallel(e);
    loop(e, "c", l->output.dim[0]);
        line(e, "double sum = 0;");
        depth = loop_members(e, l);
            line(e, "sum += X$at;");
        end(e, depth);
        line(e, "double m = sum / $M;");
        line(e, "");
        line(e, "double squares = 0;");
        depth = loop_members(e, l);
            line(e, "squares += (X$at - m) * (X$at - m);");
        end(e, depth);
        if (l->graph->exchanges)
            merge_over_ranks(e, l);
        line(e, "mean[c] = m;");
        line(e, "inverse_deviation[c] = 1 / sqrt(squares / $all + eps);");
        line(e, "running_mean[c] = (1 - momentum) * running_mean[c] + momentum * m;");
        line(e, "running_var[c] = (1 - momentum) * running_var[c] + momentum * squares / $others;");
        line(e, "");
        depth = loop_members(e, l);
            line(e, "Y$at = scale[c] * (X$at - mean[c]) * inverse_deviation[c] + shift[c];");
        end(e, depth);
    end(e, 1);
}

static void forward_predict_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    let_sizes(e, kernel);
    line(e, "const double eps = $eps;");
    parallel(e);
    loop(e, "c", l->output.dim[0]);
        line(e, "real inverse_deviation = 1 / sqrt(running_var[c] + eps);");
        int depth = loop_members(e, l);
            line(e, "Y$at = scale[c] * (X$at - running_mean[c]) * inverse_deviation + shift[c];");
        end(e, depth);
    end(e, 1);
}

static void sum_gradients(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    let_sizes(e, kernel);
    parallel(e);
    loop(e, "c", l->output.dim[0]);
        line(e, "double sum = 0, product = 0;");
        int depth = loop_members(e, l);
            line(e, "sum += dY$at;");
            line(e, "product += dY$at * (X$at - mean[c]) * inverse_deviation[c];");
        end(e, depth);
        line(e, "dshift[c] = ${shift_too}sum;");
        line(e, "dscale[c] = ${scale_too}product;");
    end(e, 1);
}

static void grad_scale_body(Emitter *e, const Kernel *kernel)
{
    let(e, "shift_too", "");
    let(e, "scale_too", "");
    sum_gradients(e, kernel);
}

/* The mean and the deviation depend on X as well; what that adds is proportional to the two sums found above. */
static void apply_gradients(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    loop(e, "c", l->output.dim[0]);
        line(e, "real factor = scale[c] * inverse_deviation[c];");
        int depth = loop_members(e, l);
            line(e, "real normal = (X$at - mean[c]) * inverse_deviation[c];");
            line(e, "dX$at $set factor * (dY$at - ($dshift + normal * $dscale) / $all);");
        end(e, depth);
    end(e, 1);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    let_sizes(e, kernel);
    let(e, "dshift", "dshift[c]");
    let(e, "dscale", "dscale[c]");
    apply_gradients(e, kernel);
}

/* All three gradients in one kernel: at -O2, where X and dY are then read from memory once (kernels/batchnorm_grad.c),
 * and for one of several processes, where dX takes other sums than the gradients of scale and shift. */
static void grad_body(Emitter *e, const Kernel *kernel)
{
    if (!kernel->layer->graph->exchanges) {
        grad_scale_body(e, kernel);
        grad_input_body(e, kernel);
        return;
    }
    let(e, "shift_too", "sums[0][c] = ");
    let(e, "scale_too", "sums[1][c] = ");
    let(e, "dshift", "sums[0][c]");
    let(e, "dscale", "sums[1][c]");
    let_int(e, "C", kernel->layer->output.dim[0]);
    line(e, "real sums[2][$C];           /* those of all ranks, in the end */");
    sum_gradients(e, kernel);
    line(e, "const int ranks = sum_ranks(exchange, sums[0], 2 * $C);");
    apply_gradients(e, kernel);
}

static void fold_body(Emitter *e, const Kernel *kernel)
{
    let_batchnorm(e, kernel);
    let_int(e, "C", kernel->layer->output.dim[0]);
    line(e, "const double eps = $eps;");
    parallel(e);
    loop(e, "c", kernel->layer->output.dim[0]);
        line(e, "const double factor = scale[c] / sqrt(running_var[c] + eps);");
        line(e, "fold_scale[c] = factor;");
        line(e, has_operand(kernel, "b") ? "fold_shift[c] = shift[c] + (b[c] - running_mean[c]) * factor;"
                                         : "fold_shift[c] = shift[c] - running_mean[c] * factor;");
    end(e, 1);
}

static const KernelDef forward_train = {
    "forward_train",
    "Y[n,c,i,j] = scale[c] * (X[n,c,i,j] - mean[c]) / sqrt(var[c] + eps) + shift[c],  mean and var of this batch",
    .exchanges = true, .textbook = forward_train_body, .fast = batchnorm_train_families};
static const KernelDef forward_predict = {
    "forward_predict",
    "Y[n,c,i,j] = scale[c] * (X[n,c,i,j] - running_mean[c]) / sqrt(running_var[c] + eps) + shift[c]",
    .textbook = forward_predict_body, .fast = batchnorm_predict_families};
static const KernelDef grad_scale = {
    "grad_scale", "dshift = sum dY;  dscale = sum dY * normal,  normal = (X - mean) / sqrt(var + eps),  over n, i, j",
    .textbook = grad_scale_body, .fast = batchnorm_grad_scale_families};
static const KernelDef grad_input = {
    "grad_input", "dX = scale / sqrt(var + eps) / M * (M * dY - dshift - normal * dscale),  M values a channel",
    .textbook = grad_input_body};
static const KernelDef grad = {
    "grad", "dshift = sum dY;  dscale = sum dY * normal,  normal = (X - mean) / sqrt(var + eps),  over n, i, j\n"
    "dX = scale / sqrt(var + eps) / M * (M * dY - dshift - normal * dscale),  M values a channel",
    .exchanges = true, .textbook = grad_body, .fast = batchnorm_grad_families};
const KernelDef batchnorm_fold = {
    "fold", "fold_scale = scale / sqrt(running_var + eps);  fold_shift = shift + (b - running_mean) * fold_scale",
    .textbook = fold_body, .fast = batchnorm_fold_families};

static void apply_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    let_sizes(e, kernel);
    parallel(e);
    loop(e, "c", l->output.dim[0]);
        int depth = loop_members(e, l);
            line(e, "Y$at = scale[c] * (X$at - mean[c]) * inverse_deviation[c] + shift[c];");
        end(e, depth);
    end(e, 1);
}

const KernelDef batchnorm_apply = {
    "apply_again",
    "Y[n,c,i,j] = scale[c] * (X[n,c,i,j] - mean[c]) / sqrt(var[c] + eps) + shift[c],  mean and var of this batch",
    .textbook = apply_body, .fast = batchnorm_apply_families};

/* ---- step program ------------------------------------------------------------------------------------------------ */

static Tensor *statistic(Program *p, const Layer *l, const char *name)
{
    return saved_of(p, l, name, TYPE_REAL, 1, l->output.dim);
}

static void batchnorm_forward(Program *p, const Layer *l)
{
    bool train = p->mode == PROGRAM_TRAIN;
    Kernel *k = add_kernel(p, train ? &forward_train : &forward_predict, l);
    reads(k, "X", activation_of(p, l->input[0]));
    reads(k, "scale", param_of(p, l, "weight"));
    reads(k, "shift", param_of(p, l, "bias"));
    if (train) {
        updates(k, "running_mean", param_of(p, l, "running_mean"));
        updates(k, "running_var", param_of(p, l, "running_var"));
        updates(k, "num_batches_tracked", param_of(p, l, "num_batches_tracked"));
        writes(k, "mean", statistic(p, l, "mean"));
        writes(k, "inverse_deviation", statistic(p, l, "inverse_deviation"));
    } else {
        reads(k, "running_mean", param_of(p, l, "running_mean"));
        reads(k, "running_var", param_of(p, l, "running_var"));
    }
    writes(k, "Y", activation_of(p, l));
}

static void batchnorm_backward(Program *p, const Layer *l)
{
    Tensor *dscale = param_gradient_of(p, l, "weight"), *dshift = param_gradient_of(p, l, "bias");
    bool dx = needs_gradient(p, l->input[0]), together = dx && (p->target || l->graph->exchanges);
    Kernel *k = add_kernel(p, together ? &grad : &grad_scale, l);
    reads(k, "X", activation_of(p, l->input[0]));
    if (together)
        reads(k, "scale", param_of(p, l, "weight"));
    reads(k, "mean", statistic(p, l, "mean"));
    reads(k, "inverse_deviation", statistic(p, l, "inverse_deviation"));
    reads(k, "dY", gradient_of(p, l));
    writes(k, "dscale", dscale);
    writes(k, "dshift", dshift);
    if (together)
        contributes(p, k, "dX", l->input[0]);
    if (!dx || together)
        return;
    k = add_kernel(p, &grad_input, l);
    reads(k, "X", activation_of(p, l->input[0]));
    reads(k, "scale", param_of(p, l, "weight"));
    reads(k, "mean", statistic(p, l, "mean"));
    reads(k, "inverse_deviation", statistic(p, l, "inverse_deviation"));
    reads(k, "dscale", dscale);
    reads(k, "dshift", dshift);
    reads(k, "dY", gradient_of(p, l));
    contributes(p, k, "dX", l->input[0]);
}

Kernel *fold_batchnorm(Program *p, const Layer *l, Tensor *bias)
{
    Kernel *k = add_kernel(p, &batchnorm_fold, l);
    reads(k, "scale", param_of(p, l, "weight"));
    reads(k, "shift", param_of(p, l, "bias"));
    reads(k, "running_mean", param_of(p, l, "running_mean"));
    reads(k, "running_var", param_of(p, l, "running_var"));
    if (bias)
        reads(k, "b", bias);
    writes(k, "fold_scale", statistic(p, l, "fold_scale"));
    writes(k, "fold_shift", statistic(p, l, "fold_shift"));
    return k;
}

void gate_batchnorm(Program *p, Kernel *k, Tensor *relu_gradient)
{
    k->fuses |= FUSE_GATE;
    for (int i = 0; i < k->operand_count; i++)
        if (strcmp(k->operand[i].role, "dY") == 0)
            k->operand[i].tensor = relu_gradient;
    if (!has_operand(k, "scale"))
        reads(k, "scale", param_of(p, k->layer, "weight"));
    reads(k, "shift", param_of(p, k->layer, "bias"));
}

const Op op_batchnorm = {
    .keyword   = "batchnorm",
    .summary   = "normalises each channel over the batch; running statistics in prediction",
    .reference = "Ioffe and Szegedy 2015, algorithm 1; Dive into Deep Learning 8.5",
    .formula   = "Y = scale[c] * (X - mean[c]) / sqrt(var[c] + eps) + shift[c]",
    .grad      = "dX = scale / sqrt(var + eps) / M * (M * dY - sum dY - normal * sum dY * normal),  "
                 "normal = (X - mean) / sqrt(var + eps)",
    .attrs = {
        {"eps",      ATTR_REAL, false, 1e-5, 0, 0, "added to the variance"},
        {"momentum", ATTR_REAL, false, 0.1,  0, 1, "weight of a new batch in the running statistics"},
    },
    .shape = batchnorm_shape, .params = batchnorm_params,
    .forward = batchnorm_forward, .backward = batchnorm_backward,
};
