/* sgd.c - the optimiser's step on one tensor, whatever its layout: vectors of W, V and dW are read once and W and V
 * written, which is as fast as memory. Spare lanes hold zeros and keep them.
 *
 * Requires: tensors of whole vectors, aligned to them (interface.c). Tensors do not depend on each other, so that no
 * thread waits at the end of one.
 */
#include "kernels.h"

static void plan(Program *p, Kernel *k)
{
    (void)p;
    k->schedule.text = "vectors of the tensor shared among threads";
}

static void body(Emitter *e, const Kernel *kernel)
{
    (void)kernel;
    line(e, "const vec lr = splat(u->lr), momentum = splat(u->momentum), weight_decay = splat(u->weight_decay);");
    line(e, "const int nesterov = u->nesterov;");
    raw(e, "#pragma omp for schedule(static) nowait");
    line(e, "for (size_t i = 0; i < count; i += L) {");
    line(e, "    const vec w = load(&W[i]), g = load(&dW[i]) + weight_decay * w;");
    line(e, "    const vec v = momentum * load(&V[i]) + g;");
    line(e, "    store(&V[i], v);");
    line(e, "    store(&W[i], w - lr * (nesterov ? g + momentum * v : v));");
    line(e, "}");
}

static const FastKernel vectors = {.name = "vectors", .plan = plan, .body = body};

const FastKernel *const sgd_families[] = {&vectors, NULL};
