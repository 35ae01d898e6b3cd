/* sgd.c - one step of stochastic gradient descent on one parameter, as torch.optim.SGD does it.
 *
 * Sutskever et al. 2013, section 2 (momentum, Nesterov). V begins at 0, which makes the first step PyTorch's: V = g.
 * One function serves every parameter: it counts elements in size_t, so its loop is written out here.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

static void update_body(Emitter *e, const Kernel *kernel)
{
    (void)kernel;
    line(e, "const real lr = rule->lr, momentum = rule->momentum, weight_decay = rule->weight_decay;");
    parallel(e);
    line(e, "for (size_t i = 0; i < count; i++) {");
    line(e, "    real g = dW[i] + weight_decay * W[i];");
    line(e, "    V[i] = momentum * V[i] + g;");
    line(e, "    W[i] -= lr * (rule->nesterov ? g + momentum * V[i] : V[i]);");
    line(e, "}");
}

const KernelDef sgd_update = {
    "sgd_update", "g = dW + weight_decay * W;  V = momentum * V + g;  W = W - lr * (nesterov ? g + momentum * V : V)",
    .flat = true, .textbook = update_body, .fast = sgd_families};
