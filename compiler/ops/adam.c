/* adam.c - one step of Adam or AdamW on one parameter, as torch.optim does it.
 *
 * Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2. Adam adds weight decay to the gradient,
 * AdamW takes it off W beforehand: the rule (runtime/update.c) has weight_decay 0 for the one and keep 1 for the other.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

static void update_body(Emitter *e, const Kernel *kernel)
{
    (void)kernel;
    line(e, "const real beta1 = rule->beta1, beta2 = rule->beta2, step = rule->lr / rule->first_share;");
    parallel(e);
    line(e, "for (size_t i = 0; i < count; i++) {");
    line(e, "    real g = dW[i] + rule->weight_decay * W[i];");
    line(e, "    V[i] = beta1 * V[i] + (1 - beta1) * g;");
    line(e, "    S[i] = beta2 * S[i] + (1 - beta2) * g * g;");
    line(e, "    W[i] = rule->keep * W[i] - step * V[i] / (real_sqrt(S[i]) / rule->second_share + rule->epsilon);");
    line(e, "}");
}

const KernelDef adam_update = {
    "adam_update",
    "Adam: g = dW + weight_decay * W, keep = 1;  AdamW: g = dW, keep = 1 - lr * weight_decay\n"
    "V = beta1 * V + (1 - beta1) * g;  S = beta2 * S + (1 - beta2) * g * g\n"
    "W = keep * W - lr * (V / first_share) / (sqrt(S) / second_share + epsilon)\n"
    "at step t: first_share = 1 - beta1^t, second_share = sqrt(1 - beta2^t)",
    .flat = true, .textbook = update_body, .fast = adam_families};
