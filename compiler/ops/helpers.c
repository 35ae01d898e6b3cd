/* helpers.c - what several operators share (helpers.h). */
#include "helpers.h"

#include <stdlib.h>

bool same_shape(Layer *l)
{
    l->output = l->input[0]->output;
    return true;
}

bool expect_picture(const Layer *l)
{
    const Shape *in = &l->input[0]->output;
    if (in->rank == 3)
        return true;
    layer_error(l, -1, "%s needs a picture, but %s features reach it\nput %s before flatten", l->op->keyword,
                shape_text(l->graph->arena, in), l->op->keyword);
    return false;
}

bool pool_window(const Layer *l, int ceil_mode, Window *w)
{
    return window_resolve(l, POOL_KERNEL, POOL_STRIDE, POOL_PAD, -1, ceil_mode, w);
}

bool pool_shape(Layer *l, int ceil_mode)
{
    Window w;
    if (!expect_picture(l) || !pool_window(l, ceil_mode, &w))
        return false;
    for (int d = 0; d < 2; d++) {
        int64_t pad = w.before[d] > w.after[d] ? w.before[d] : w.after[d];
        if (pad >= w.kernel[d]) {
            layer_error(l, POOL_PAD, "pad %lld lets a %lldx%lld window of %s lie outside the picture\n"
                        "pad must be less than the kernel; half of it is usual", (long long)pad,
                        (long long)w.kernel[0], (long long)w.kernel[1], l->op->keyword);
            return false;
        }
    }
    l->output = (Shape){3, {l->input[0]->output.dim[0], w.out[0], w.out[1]}};
    return true;
}

bool window_overhangs(const Window *w, int d)
{
    return (w->out[d] - 1) * w->stride[d] + w->kernel[d] > w->before[d] + w->in[d] + w->after[d];
}

void clear_input_gradient(Emitter *e, const Kernel *kernel)
{
    if (kernel->adds)
        return;
    const Shape *in = &kernel->layer->input[0]->output;
    loop(e, "c", in->dim[0]);
        loop(e, "h", in->dim[1]);
            loop(e, "w", in->dim[2]);
                line(e, "dX[n][c][h][w] = 0;");
    end(e, 3);
}

char *number_text(Arena *arena, double value)
{
    char *text = NULL;
    for (int digits = 1; digits <= 17; digits++) {
        text = arena_printf(arena, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}

void let_number(Emitter *e, const Kernel *kernel, const char *name, double value)
{
    let(e, name, "%s", number_text(kernel->layer->graph->arena, value));
}

void pass_gradient(Program *p, const Layer *l, const KernelDef *copy)
{
    const Layer *in = l->input[0];
    if (!needs_gradient(p, in) || make_gradient_view(p, l, in))
        return;
    Kernel *k = add_kernel(p, copy, l);
    reads(k, "dY", gradient_of(p, l));
    contributes(p, k, "dX", in);
}

static bool has_bias(const Layer *l)
{
    return l->param_count > 1;
}

void forward_weighted(Program *p, const Layer *l, const KernelDef *forward)
{
    Kernel *k = add_kernel(p, forward, l);
    reads(k, "X", activation_of(p, l->input[0]));
    reads(k, "W", param_of(p, l, "weight"));
    if (has_bias(l))
        reads(k, "b", param_of(p, l, "bias"));
    writes(k, "Y", activation_of(p, l));
}

void backward_weighted(Program *p, const Layer *l, const KernelDef *grad_bias, const KernelDef *grad_weight,
                       const KernelDef *grad_input)
{
    Tensor *dY = gradient_of(p, l);
    if (has_bias(l)) {
        Kernel *k = add_kernel(p, grad_bias, l);
        reads(k, "dY", dY);
        writes(k, "db", param_gradient_of(p, l, "bias"));
    }
    Kernel *k = add_kernel(p, grad_weight, l);
    reads(k, "X", activation_of(p, l->input[0]));
    reads(k, "dY", dY);
    writes(k, "dW", param_gradient_of(p, l, "weight"));
    if (needs_gradient(p, l->input[0])) {
        k = add_kernel(p, grad_input, l);
        reads(k, "W", param_of(p, l, "weight"));
        reads(k, "dY", dY);
        contributes(p, k, "dX", l->input[0]);
    }
}
