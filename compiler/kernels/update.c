/* update.c - the optimisers' steps on one tensor, whatever its layout: vectors of W, its moments and dW are read once
 * and W and the moments written, which is as fast as memory. Spare lanes hold zeros and keep them.
 *
 * Requires: tensors of whole vectors, aligned to them (interface.c). Tensors do not depend on each other, so that no
 * thread waits at the end of one. The formulas are those of ops/sgd.c, ops/adam.c and ops/rmsprop.c.
 */
#include "kernels.h"

static void plan(Program *p, Kernel *k)
{
    (void)p;
    k->schedule.text = "vectors of the tensor shared among threads";
}

/* The loop over the tensor's vectors, of which `statements` computes one. */
static void each_vector(Emitter *e, const char *const *statements)
{
    raw(e, "#pragma omp for schedule(static) nowait");
    line(e, "for (size_t i = 0; i < count; i += L) {");
    for (; *statements; statements++)
        line(e, *statements);
    line(e, "}");
}

/* As the kernels that complete a gradient do (FUSE_SGD): the same bits. */
static void sgd_body(Emitter *e, const Kernel *kernel)
{
    (void)kernel;
    line(e, "const cnn_rule now = *rule;");
    each_vector(e, (const char *const[]){"    sgd_step(&W[i], &V[i], load(&dW[i]), &now);", NULL});
}

static void adam_body(Emitter *e, const Kernel *kernel)
{
    (void)kernel;
    line(e, "const vec weight_decay = splat(rule->weight_decay), keep = splat(rule->keep), "
            "epsilon = splat(rule->epsilon);");
    line(e, "const vec beta1 = splat(rule->beta1), beta2 = splat(rule->beta2);");
    line(e, "const vec step = splat(rule->lr / rule->first_share), shrink = splat(1 / rule->second_share);");
    each_vector(e, (const char *const[]){
        "    const vec w = load(&W[i]), g = load(&dW[i]) + weight_decay * w;",
        "    const vec v = beta1 * load(&V[i]) + (1 - beta1) * g, s = beta2 * load(&S[i]) + (1 - beta2) * g * g;",
        "    store(&V[i], v);",
        "    store(&S[i], s);",
        "    store(&W[i], keep * w - step * v / (vec_sqrt(s) * shrink + epsilon));", NULL});
}

static void rmsprop_body(Emitter *e, const Kernel *kernel)
{
    (void)kernel;
    line(e, "const vec lr = splat(rule->lr), momentum = splat(rule->momentum), "
            "weight_decay = splat(rule->weight_decay);");
    line(e, "const vec alpha = splat(rule->alpha), epsilon = splat(rule->epsilon);");
    each_vector(e, (const char *const[]){
        "    const vec w = load(&W[i]), g = load(&dW[i]) + weight_decay * w;",
        "    const vec s = alpha * load(&S[i]) + (1 - alpha) * g * g;",
        "    const vec v = momentum * load(&V[i]) + g / (vec_sqrt(s) + epsilon);",
        "    store(&S[i], s);",
        "    store(&V[i], v);",
        "    store(&W[i], w - lr * v);", NULL});
}

static const FastKernel sgd = {.name = "vectors", .plan = plan, .body = sgd_body};
static const FastKernel adam = {.name = "vectors", .plan = plan, .body = adam_body};
static const FastKernel rmsprop = {.name = "vectors", .plan = plan, .body = rmsprop_body};

const FastKernel *const sgd_families[] = {&sgd, NULL};
const FastKernel *const adam_families[] = {&adam, NULL};
const FastKernel *const rmsprop_families[] = {&rmsprop, NULL};
