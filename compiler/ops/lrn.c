/* lrn.c - local response normalisation: each value is divided by what its neighbours in the channel direction hold.
 *
 * Krizhevsky et al. 2012 (AlexNet), section 3.3, exactly as torch.nn.LocalResponseNorm computes it: the sum of squares
 * is divided by `size`, and a window of even size reaches one channel further down than up. The paper's k is 2 and its
 * alpha is not divided by size; the default here is PyTorch's k = 1.
 */
#include "helpers.h"

enum { SIZE, ALPHA, BETA, K };

static bool lrn_shape(Layer *l)
{
    return expect_picture(l) && same_shape(l);
}

static char *lrn_describe(Arena *arena, const Layer *l)
{
    return arena_printf(arena, "%lld", (long long)l->attr[SIZE].n[0]);
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

static void write_constants(Emitter *e, const Kernel *kernel)
{
    const Attr *a = kernel->layer->attr;
    let_number(e, kernel, "alpha", a[ALPHA].real);
    let_number(e, kernel, "beta", a[BETA].real);
    let_number(e, kernel, "k", a[K].real);
    let_int(e, "size", a[SIZE].n[0]);
    let_int(e, "C", kernel->layer->output.dim[0]);
}

/* Opens the loop over the channels q from c - below to c + above. */
static void loop_neighbours(Emitter *e, int64_t below, int64_t above)
{
    let_int(e, "below", below);
    let_int(e, "beyond", above + 1);
    line(e, below ? "int from = c > $below ? c - $below : 0;" : "int from = c;");
    line(e, above ? "int to = c + $beyond < $C ? c + $beyond : $C;" : "int to = c + 1;");
    loop_between(e, "q", "from", "to");
}

/* D is what X is divided by before the power; training keeps it for the gradient. */
static void forward(Emitter *e, const Kernel *kernel, bool keep)
{
    const Layer *l = kernel->layer;
    int64_t size = l->attr[SIZE].n[0];
    write_constants(e, kernel);
    line(e, "const real alpha = $alpha, beta = $beta, k = $k;");
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "real squares = 0;");
        loop_neighbours(e, size / 2, (size - 1) / 2);
            line(e, "squares += X[n][q][i][j] * X[n][q][i][j];");
        end(e, 1);
        line(e, "real divisor = k + alpha * squares / $size;");
        if (keep)
            line(e, "D$at = divisor;");
        line(e, "Y$at = X$at * real_pow(divisor, -beta);");
    end(e, depth);
}

static void forward_train_body(Emitter *e, const Kernel *kernel)
{
    forward(e, kernel, true);
}

static void forward_predict_body(Emitter *e, const Kernel *kernel)
{
    forward(e, kernel, false);
}

/* X[c] stands in its own numerator and in the sums of its neighbours q, whose windows are c's reversed. */
static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    int64_t size = l->attr[SIZE].n[0];
    write_constants(e, kernel);
    line(e, "const real alpha = $alpha, beta = $beta;");
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "real sum = 0;");
        loop_neighbours(e, (size - 1) / 2, size / 2);
            line(e, "sum += dY[n][q][i][j] * X[n][q][i][j] * real_pow(D[n][q][i][j], -beta - 1);");
        end(e, 1);
        line(e, "dX$at $set dY$at * real_pow(D$at, -beta) - 2 * alpha * beta / $size * X$at * sum;");
    end(e, depth);
}

static const KernelDef forward_train = {"forward_train", .textbook = forward_train_body};
static const KernelDef forward_predict = {"forward_predict", .textbook = forward_predict_body};
static const KernelDef grad_input = {"grad_input", .textbook = grad_input_body};

/* ---- step program ------------------------------------------------------------------------------------------------ */

static Tensor *divisor_of(Program *p, const Layer *l)
{
    const int64_t *out = l->output.dim;
    return saved_of(p, l, "D", TYPE_REAL, 4, (int64_t[]){l->graph->batch, out[0], out[1], out[2]});
}

static void lrn_forward(Program *p, const Layer *l)
{
    bool keep = p->mode == PROGRAM_TRAIN;
    Kernel *k = add_kernel(p, keep ? &forward_train : &forward_predict, l);
    reads(k, "X", activation_of(p, l->input[0]));
    if (keep)
        writes(k, "D", divisor_of(p, l));
    writes(k, "Y", activation_of(p, l));
}

static void lrn_backward(Program *p, const Layer *l)
{
    if (!needs_gradient(p, l->input[0]))
        return;
    Kernel *k = add_kernel(p, &grad_input, l);
    reads(k, "X", activation_of(p, l->input[0]));
    reads(k, "D", divisor_of(p, l));
    reads(k, "dY", gradient_of(p, l));
    contributes(p, k, "dX", l->input[0]);
}

const Op op_lrn = {
    .keyword   = "lrn",
    .summary   = "local response normalisation across channels",
    .reference = "Krizhevsky et al. 2012, section 3.3; torch.nn.LocalResponseNorm",
    .formula   = "Y[c] = X[c] / D[c]^beta,  D[c] = k + alpha / size * sum_q X[q]^2,  "
                 "q from c - size/2 to c + (size-1)/2",
    .grad      = "dX[c] = dY[c] / D[c]^beta - 2 alpha beta / size * X[c] * sum_q dY[q] X[q] / D[q]^(beta+1),  "
                 "over the q whose window holds c",
    .attrs = {
        {"size",  ATTR_INT,  false, 5,    1, 0, "channels in the window"},
        {"alpha", ATTR_REAL, false, 1e-4, 0, 0, "weight of the window's mean square"},
        {"beta",  ATTR_REAL, false, 0.75, 0, 0, "exponent"},
        {"k",     ATTR_REAL, false, 1,    0, 0, "added to the mean square: 1 as in PyTorch, the paper has 2"},
    },
    .shape = lrn_shape, .describe = lrn_describe,
    .forward = lrn_forward, .backward = lrn_backward,
};
