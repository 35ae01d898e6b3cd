/* window.c - the sizes of sliding windows, shared by convolution and pooling.
 *
 * Requires: a layer whose kernel, stride, pad and dilation are bound, and a picture that reaches it. Establishes: a
 * Window with paddings resolved and output sizes floor((n - k + p + s) / s) >= 1, after Dumoulin and Visin 2016, "A
 * guide to convolution arithmetic for deep learning", relationship 15; rounded up with `ceil`, but never so that the
 * last window would start in the padding after the picture (as in PyTorch's pooling).
 */
#include <inttypes.h>

#include "expand.h"

static int64_t extent(const Window *w, int d)
{
    return w->dilation[d] * (w->kernel[d] - 1) + 1;
}

static void read_pair(const Layer *l, int attr, int64_t pair[2])
{
    pair[0] = attr >= 0 ? l->attr[attr].n[0] : 1;
    pair[1] = attr >= 0 ? l->attr[attr].n[1] : 1;
}

static void read_window(const Layer *l, int kernel, int stride, int pad, int dilation, int ceil_mode, Window *w)
{
    *w = (Window){.ceil = ceil_mode >= 0 && l->attr[ceil_mode].n[0]};
    read_pair(l, kernel, w->kernel);
    read_pair(l, stride, w->stride);
    read_pair(l, dilation, w->dilation);
    for (int d = 0; d < 2; d++) {
        if (w->stride[d] == 0)
            w->stride[d] = w->kernel[d];
        w->in[d] = l->input[0]->output.dim[1 + d];
        if (pad >= 0 && l->attr[pad].same) {            /* k - 1 in all; the larger half above and to the left */
            w->before[d] = extent(w, d) / 2;
            w->after[d] = extent(w, d) - 1 - w->before[d];
        } else if (pad >= 0) {
            w->before[d] = l->attr[pad].n[2 * d];
            w->after[d] = l->attr[pad].n[2 * d + 1];
        }
    }
}

static int64_t output_size(const Window *w, int d)
{
    int64_t slack = w->in[d] + w->before[d] + w->after[d] - extent(w, d), s = w->stride[d];
    int64_t out = (slack + (w->ceil ? s - 1 : 0)) / s + 1;
    if (w->ceil && (out - 1) * s >= w->in[d] + w->before[d])
        out--;
    return out;
}

/* "3", or "3x5" where the directions differ. */
static char *pair_text(Arena *arena, int64_t height, int64_t width)
{
    return height == width ? arena_printf(arena, "%" PRId64, height)
                           : arena_printf(arena, "%" PRId64 "x%" PRId64, height, width);
}

static void does_not_fit(const Layer *l, const Window *w)
{
    Arena *a = l->graph->arena;
    const char *spread = "", *padded = "", *mend = "use a smaller kernel, more padding, or fewer strides before it";
    if (w->dilation[0] != 1 || w->dilation[1] != 1)
        spread = arena_printf(a, " (%s with its dilation)", pair_text(a, extent(w, 0), extent(w, 1)));
    if (w->before[0] + w->after[0] + w->before[1] + w->after[1] > 0)
        padded = arena_printf(a, " (%" PRId64 " x %" PRId64 " with its padding)", w->in[0] + w->before[0] + w->after[0],
                              w->in[1] + w->before[1] + w->after[1]);
    Shape smallest = smallest_for(l->graph);
    if (smallest.rank)
        mend = arena_printf(a, "the smallest input that works is %s", shape_text(a, &smallest));
    layer_error(l, -1, "kernel %s%s does not fit the %" PRId64 " x %" PRId64 " picture%s that reaches %s\n%s",
                pair_text(a, w->kernel[0], w->kernel[1]), spread, w->in[0], w->in[1], padded, l->op->keyword, mend);
}

bool window_resolve(const Layer *l, int kernel, int stride, int pad, int dilation, int ceil_mode, Window *w)
{
    if (l->input[0]->output.rank != 3) {
        layer_error(l, -1, "%s needs a picture, but %s features reach it\nput %s before flatten", l->op->keyword,
                    shape_text(l->graph->arena, &l->input[0]->output), l->op->keyword);
        return false;
    }
    read_window(l, kernel, stride, pad, dilation, ceil_mode, w);
    for (int d = 0; d < 2; d++) {
        if (w->in[d] + w->before[d] + w->after[d] < extent(w, d)) {
            does_not_fit(l, w);
            return false;
        }
        w->out[d] = output_size(w, d);
    }
    return true;
}

char *window_text(Arena *arena, const Window *w)
{
    char *text = arena_printf(arena, "%" PRId64 "x%" PRId64, w->kernel[0], w->kernel[1]);
    if (w->stride[0] != 1 || w->stride[1] != 1)
        text = arena_printf(arena, "%s, stride %s", text, pair_text(arena, w->stride[0], w->stride[1]));
    if (w->before[0] != w->after[0] || w->before[1] != w->after[1])
        text = arena_printf(arena, "%s, pad (%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ")", text, w->before[0],
                            w->after[0], w->before[1], w->after[1]);
    else if (w->before[0] || w->before[1])
        text = arena_printf(arena, "%s, pad %s", text, pair_text(arena, w->before[0], w->before[1]));
    if (w->dilation[0] != 1 || w->dilation[1] != 1)
        text = arena_printf(arena, "%s, dilation %s", text, pair_text(arena, w->dilation[0], w->dilation[1]));
    return text;
}
