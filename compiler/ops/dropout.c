/* dropout.c - in training, sets a random share p of the values to 0 and scales the others so that the mean stays.
 *
 * Srivastava et al. 2014, section 4, in the inverted form that every framework uses (their section 10): the scaling is
 * done in training, so that prediction is the identity. The mask comes from a counter-based generator: it depends on
 * nothing but the seed, the layer, the training step and the element, so it is the same at any number of threads and
 * after a resume.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

enum { P };

static bool dropout_shape(Layer *l)
{
    if (l->attr[P].real >= 1) {
        layer_error(l, P, "dropout with p = %s would drop everything\np must be less than 1; 0.5 is usual",
                    number_text(l->graph->arena, l->attr[P].real));
        return false;
    }
    return same_shape(l);
}

static char *dropout_describe(Arena *arena, const Layer *l)
{
    return arena_printf(arena, "p %s", number_text(arena, l->attr[P].real));
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

/* The element's number, counted through the batch: 32 bits, so a mask repeats beyond 2^32 elements. */
static void let_element(Emitter *e, const Shape *shape)
{
    let(e, "element", shape->rank == 1 ? "%s * %lld + c" : "((%s * %lld + c) * %lld + i) * %lld + j",
        substitute(e, "$image"), (long long)shape->dim[0], (long long)shape->dim[1], (long long)shape->dim[2]);
}

/* Of several processes, each counts from the place of its pictures in the global batch. */
void dropout_images(Emitter *e, const Kernel *kernel)
{
    let(e, "image", kernel->layer->graph->exchanges ? "(first + (uint32_t)n)" : "(uint32_t)n");
    if (kernel->layer->graph->exchanges)
        line(e, "const uint32_t first = exchange ? (uint32_t)exchange->rank * $N : 0;");
}

void dropout_constants(Emitter *e, const Kernel *kernel)
{
    let_number(e, kernel, "p", kernel->layer->attr[P].real);
    let_int(e, "stream", kernel->layer->index);
}

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    dropout_constants(e, kernel);
    dropout_images(e, kernel);
    let_element(e, &l->output);
    line(e, "const real p = $p;");
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "uint32_t element = $element;");
        line(e, "mask$at = cnn_uniform(seed, $stream, step, element) >= p;");
        line(e, "Y$at = mask$at ? X$at / (1 - p) : 0;");
    end(e, depth);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    dropout_constants(e, kernel);
    line(e, "const real p = $p;");
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "dX$at $set mask$at ? dY$at / (1 - p) : 0;");
    end(e, depth);
}

static void copy_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "dX$at $set dY$at;");
    end(e, depth);
}

static const KernelDef forward = {
    "forward_train", .random = true, .exchanges = true, .textbook = forward_body, .fast = dropout_forward_families};
static const KernelDef grad_input = {
    "grad_input", .textbook = grad_input_body, .fast = dropout_grad_input_families};
static const KernelDef copy = {
    "grad_input", "p = 0:  dX = dY", .textbook = copy_body, .fast = map_families, .vector = "dy"};

/* ---- step program ------------------------------------------------------------------------------------------------ */

static bool drops(const Layer *l)
{
    return l->attr[P].real > 0;
}

/* One byte an element: 1 where the value is kept. */
static Tensor *mask_of(Program *p, const Layer *l)
{
    const int64_t *out = l->output.dim;
    return saved_of(p, l, "mask", TYPE_BYTE, l->output.rank + 1, (int64_t[]){l->graph->batch, out[0], out[1], out[2]});
}

static void dropout_forward(Program *p, const Layer *l)
{
    if (p->mode == PROGRAM_PREDICT || !drops(l)) {
        make_view(p, l, l->input[0]);
        return;
    }
    Kernel *k = add_kernel(p, &forward, l);
    reads(k, "X", activation_of(p, l->input[0]));
    writes(k, "mask", mask_of(p, l));
    writes(k, "Y", activation_of(p, l));
}

static void dropout_backward(Program *p, const Layer *l)
{
    if (!drops(l)) {
        pass_gradient(p, l, &copy);
        return;
    }
    if (!needs_gradient(p, l->input[0]))
        return;
    Kernel *k = add_kernel(p, &grad_input, l);
    reads(k, "mask", mask_of(p, l));
    reads(k, "dY", gradient_of(p, l));
    contributes(p, k, "dX", l->input[0]);
}

const Op op_dropout = {
    .keyword   = "dropout",
    .summary   = "sets a random share of the values to 0 in training; the identity in prediction",
    .reference = "Srivastava et al. 2014, sections 4 and 10 (inverted dropout); Dive into Deep Learning 5.6",
    .formula   = "Y = mask * X / (1 - p),  mask = 1 with probability 1 - p, else 0",
    .grad      = "dX = mask * dY / (1 - p)",
    .attrs = {
        {"p", ATTR_REAL, false, 0.5, 0, 1, "share of the values that is dropped, 0 <= p < 1"},
    },
    .shape = dropout_shape, .describe = dropout_describe,
    .forward = dropout_forward, .backward = dropout_backward,
};
