/* input.c - what enters the network: pictures of channels x height x width, or flat features. */
#include "../op.h"

enum { CHANNELS, HEIGHT, WIDTH };

static bool input_shape(Layer *l)
{
    const Attr *a = l->attr;
    if (a[HEIGHT].given != a[WIDTH].given) {
        int given = a[HEIGHT].given ? HEIGHT : WIDTH;
        layer_error(l, given, "input has a %s but no %s\nwrite input(channels, height, width) for pictures, "
                    "input(features) for flat data", given == HEIGHT ? "height" : "width",
                    given == HEIGHT ? "width" : "height");
        return false;
    }
    if (a[HEIGHT].given)
        l->output = (Shape){3, {a[CHANNELS].n[0], a[HEIGHT].n[0], a[WIDTH].n[0]}};
    else
        l->output = (Shape){1, {a[CHANNELS].n[0], 0, 0}};
    return true;
}

/* No kernel: the input layer's activation is the caller's array, and nobody asks for its gradient. */
static void no_kernels(Program *p, const Layer *l)
{
    (void)p;
    (void)l;
}

const Op op_input = {
    .keyword   = "input",
    .summary   = "the pictures or the flat features that enter the network; the first statement of every network",
    .reference = "Dive into Deep Learning 7.1",
    .formula   = "X, as the caller gives it: NCHW, contiguous",
    .grad      = "none",
    .attrs = {
        {"channels", ATTR_INT, true,  0, 1, 0, "channels of a picture; alone: the number of flat features"},
        {"height",   ATTR_INT, false, 0, 1, 0, "rows of a picture"},
        {"width",    ATTR_INT, false, 0, 1, 0, "columns of a picture"},
    },
    .shape = input_shape, .forward = no_kernels, .backward = no_kernels,
};
