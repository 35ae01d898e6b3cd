/* dropout.c - dropout in training, on blocked pictures and rows: the same masks as the textbook draws.
 *
 * The generator counts elements as NCHW does, so that neighbouring lanes, which are neighbouring channels, draw numbers
 * a plane apart. Establishes: `mask`, a byte an element as in the textbook, laid out like the picture.
 */
#include "elements.h"

static void let_element(Emitter *e, const Tensor *t)
{
    int64_t plane = t->rank == 2 ? 1 : t->dim[2] * t->dim[3];
    let_int(e, "plane", plane);
    let_int(e, "C", t->dim[1]);
    if (t->rank == 2)
        let(e, "element", "%s * %lld + cb * %d", substitute(e, "$image"), (long long)t->dim[1], t->layout.lanes);
    else
        let(e, "element", "((%s * %lld + cb * %d) * %lld + i) * %lld + j", substitute(e, "$image"),
            (long long)t->dim[1], t->layout.lanes, (long long)t->dim[2], (long long)t->dim[3]);
}

static void forward_body(Emitter *e, const Kernel *k)
{
    const Tensor *t = operand_of(k, "Y")->tensor;
    dropout_constants(e, k);
    dropout_images(e, k);
    let_element(e, t);
    line(e, "const real p = $p;");
    int loops = loop_vectors(e, k, "Y");
        let(e, "x", "%s", vector_of(e, k, "X"));
        let(e, "mask", "%s", vector_of(e, k, "mask"));
        line(e, "const uint32_t element = $element;         /* of the first lane */");
        line(e, "vec kept = choose(uniform_lanes(seed, $stream, step, element, $plane) >= splat(p), splat(1), zero);");
        if (t->dim[1] % t->layout.lanes)
            line(e, "kept = choose(lanes_below($C - cb * $L), kept, zero);");
        line(e, "store_bytes($mask, kept);");
        store_pixel(e, k, "Y", "choose(kept > zero, load($x) / splat(1 - p), zero)", "n", "cb", "i", "j");
    end(e, loops);
}

static void grad_input_body(Emitter *e, const Kernel *k)
{
    dropout_constants(e, k);
    line(e, "const real p = $p;");
    int loops = loop_vectors(e, k, "dX");
        let(e, "dy", "%s", vector_of(e, k, "dY"));
        let(e, "mask", "%s", vector_of(e, k, "mask"));
        line(e, "vec kept = load_bytes($mask);");
        store_pixel(e, k, "dX", "choose(kept > zero, load($dy) / splat(1 - p), zero)", "n", "cb", "i", "j");
    end(e, loops);
}

static const FastKernel forward = {.name = "vectors", .plan = plan_planes, .body = forward_body};
static const FastKernel grad_input = {
    .name = "vectors", .fuses = FUSE_MASK, .plan = plan_planes, .body = grad_input_body};

const FastKernel *const dropout_forward_families[] = {&forward, NULL};
const FastKernel *const dropout_grad_input_families[] = {&grad_input, NULL};
