/* cross_entropy.c - the loss: mean softmax cross-entropy of logits X[N][K] and what the pictures should be.
 *
 * That is one class a picture, or a mixture of classes: wanted() (prelude.c) has the
 * formula of label smoothing and mixup.
 *
 * Dive into Deep Learning 4.1.2 and 4.5.2: -log of a softmax is log(sum of exponentials) - logit, computed so, with the
 * largest logit subtracted first. Nothing overflows, and the logarithm never meets a probability that became 0.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

/* One thread: the losses are added in the order of the pictures, and the work is small beside any layer's. */
static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    int64_t classes = l->output.dim[0];
    let_int(e, "K", classes);
    line(e, "real total = 0;");
    loop(e, "n", l->graph->batch);
        line(e, "real largest = X[n][0], sum = 0;");
        loop(e, "k", classes);
            when(e, "X[n][k] > largest");
                line(e, "largest = X[n][k];");
        end(e, 2);
        loop(e, "k", classes);
            line(e, "P[n][k] = real_exp(X[n][k] - largest);");
            line(e, "sum += P[n][k];");
        end(e, 1);
        loop(e, "k", classes);
            line(e, "P[n][k] /= sum;");
        end(e, 1);
        line(e, "real expected = 0;");
        loop(e, "k", classes);
            line(e, "expected += wanted(target, labels, n, k, $K) * X[n][k];");
        end(e, 1);
        line(e, "total += real_log(sum) + largest - expected;");
    end(e, 1);
    line(e, "loss[0] = total / $N;");
}

static void backward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    let_int(e, "K", l->output.dim[0]);
    parallel(e);
    loop(e, "n", l->graph->batch);
        loop(e, "k", l->output.dim[0]);
            line(e, "dX[n][k] $set (P[n][k] - wanted(target, labels, n, k, $K)) / $N;");
    end(e, 2);
}

const KernelDef loss_forward = {
    "forward",
    "P[n,k] = exp(X[n,k] - max X[n]) / sum_j exp(X[n,j] - max X[n]);  loss = -sum_{n,k} q[n,k] log P[n,k] / N\n"
    "q[n,k] = (k == labels[n]) unless a target says otherwise",
    .targets = true, .textbook = forward_body, .fast = loss_forward_families};
const KernelDef loss_backward = {
    "backward", "dX[n,k] = (P[n,k] - q[n,k]) / N", .targets = true, .textbook = backward_body,
    .fast = loss_backward_families};
