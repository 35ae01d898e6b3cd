/* rmsprop.c - one step of RMSprop on one parameter, as torch.optim.RMSprop does it.
 *
 * Tieleman and Hinton 2012, lecture 6.5; momentum as in Graves 2013, section 2.4, without its centring.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

static void update_body(Emitter *e, const Kernel *kernel)
{
    (void)kernel;
    line(e, "const real alpha = rule->alpha, momentum = rule->momentum;");
    parallel(e);
    line(e, "for (size_t i = 0; i < count; i++) {");
    line(e, "    real g = dW[i] + rule->weight_decay * W[i];");
    line(e, "    S[i] = alpha * S[i] + (1 - alpha) * g * g;");
    line(e, "    V[i] = momentum * V[i] + g / (real_sqrt(S[i]) + rule->epsilon);");
    line(e, "    W[i] -= rule->lr * V[i];");
    line(e, "}");
}

const KernelDef rmsprop_update = {
    "rmsprop_update",
    "g = dW + weight_decay * W;  S = alpha * S + (1 - alpha) * g * g\n"
    "V = momentum * V + g / (sqrt(S) + epsilon);  W = W - lr * V",
    .flat = true, .textbook = update_body, .fast = rmsprop_families};
