/* fast_networks.c - small random networks for test_fast.c (fast_networks.h).
 *
 * A network holds several configurations, for the C compiler takes longer than the steps: branches from one input, each
 * brought to some number of channels by a small convolution (so that gradients of inputs are needed), then the layers
 * under test, then a linear layer, which makes the gradient differ from pixel to pixel. The branches' scores are joined
 * and end in one more linear layer. Channels lie around the lanes of a vector, sizes are odd, windows of all kinds.
 */
#include "fast_networks.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

const char *const fast_kind_name[FAST_KINDS] = {"conv", "strided", "grouped", "pointwise", "wide",
                                                "pool", "norm", "graph", "flat"};

typedef struct {
    FILE    *out;
    uint32_t state;
    bool     smooth;
    int      c, h, w;           /* the current shape */
} Writer;

/* ---- choices ----------------------------------------------------------------------------------------------------- */

/* From 0 up to n - 1 (xorshift, Marsaglia 2003). */
static int below(Writer *w, int n)
{
    w->state ^= w->state << 13;
    w->state ^= w->state >> 17;
    w->state ^= w->state << 5;
    return (int)(w->state >> 8) % n;
}

static int from_to(Writer *w, int least, int most) { return least + below(w, most - least + 1); }
static bool chance(Writer *w, int percent) { return below(w, 100) < percent; }

/* From 1 to 65; most straddle a vector of 4, 8 or 16 lanes. */
static int channels(Writer *w)
{
    static const int usual[] = {1, 3, 4, 6, 8, 15, 16, 16, 17, 24, 31, 32, 32, 33, 48, 63, 64, 65};
    return chance(w, 70) ? usual[below(w, sizeof usual / sizeof *usual)] : from_to(w, 1, 65);
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static void activation(Writer *w)
{
    static const char *const kinked[] = {"relu", "relu", "relu", "relu6", "leaky_relu"};
    static const char *const smooth[] = {"sigmoid", "tanh", "silu", "silu"};
    if (chance(w, 60))
        fprintf(w->out, " %s;", w->smooth ? smooth[below(w, 4)] : kinked[below(w, 5)]);
}

typedef struct { int kernel[2], stride[2], dilation[2], pad[4]; } Window;      /* pad: top, bottom, left, right */

static int output_size(int size, const Window *v, int axis)
{
    int reach = (v->kernel[axis] - 1) * v->dilation[axis] + 1;
    int all = size + v->pad[2 * axis] + v->pad[2 * axis + 1];
    return all < reach ? 0 : (all - reach) / v->stride[axis] + 1;
}

static void conv(Writer *w, const Window *v, int out, int groups)
{
    int h = output_size(w->h, v, 0), width = output_size(w->w, v, 1);
    cr_assert(h > 0 && width > 0 && w->c % groups == 0 && out % groups == 0, "a window that does not fit");
    fprintf(w->out, " conv(%d, (%d, %d), stride = (%d, %d), pad = (%d, %d, %d, %d), dilation = (%d, %d), groups = %d",
            out, v->kernel[0], v->kernel[1], v->stride[0], v->stride[1], v->pad[0], v->pad[1], v->pad[2], v->pad[3],
            v->dilation[0], v->dilation[1], groups);
    fprintf(w->out, chance(w, 30) ? ", bias = no);" : ");");
    w->c = out, w->h = h, w->w = width;
}

static Window square(int kernel, int stride, int pad)
{
    return (Window){{kernel, kernel}, {stride, stride}, {1, 1}, {pad, pad, pad, pad}};
}

/* Any window that fits: with the usual padding, or odd in every way. */
static Window any_window(Writer *w, int most_stride)
{
    for (;;) {
        Window v = square(from_to(w, 1, 5), from_to(w, 1, most_stride), 0);
        if (chance(w, 60))
            v.pad[0] = v.pad[1] = v.pad[2] = v.pad[3] = v.kernel[0] / 2;
        else
            for (int i = 0; i < 4; i++)
                v.pad[i] = below(w, 3);
        if (chance(w, 30))
            v.kernel[1] = from_to(w, 1, 4), v.stride[1] = from_to(w, 1, most_stride);
        if (chance(w, 20))
            v.dilation[0] = from_to(w, 1, 3), v.dilation[1] = from_to(w, 1, 2);
        if (output_size(w->h, &v, 0) > 0 && output_size(w->w, &v, 1) > 0)
            return v;
    }
}

/* Brings the input to so many channels; a first layer, of few input channels. */
static void stem(Writer *w, int out)
{
    static const int kernels[] = {1, 3, 3, 5};
    int kernel = kernels[below(w, 4)];
    Window v = square(kernel, 1, kernel / 2);
    conv(w, &v, out, 1);
    activation(w);
}

static void pool(Writer *w)
{
    int kind = below(w, 10), kernel = from_to(w, 2, 3), stride = chance(w, 40) ? 1 : chance(w, 70) ? 2 : 3;
    int pad = below(w, kernel == 3 ? 2 : 1), size = from_to(w, 1, 4);
    Window v = square(kernel, stride, pad);
    if (kind == 0 || output_size(w->h, &v, 0) < 1 || output_size(w->w, &v, 1) < 1) {
        fprintf(w->out, " adaptive_avgpool(%d);", size);
        w->h = w->w = size;
    } else if (kind == 1) {
        fprintf(w->out, " global_avgpool;");
        w->h = w->w = 1;
    } else {
        const char *keyword = w->smooth || chance(w, 40) ? "avgpool" : "maxpool";
        const char *count = keyword[0] == 'a' && chance(w, 40) ? ", count_pad = no" : "";
        fprintf(w->out, " %s(%d, stride = %d, pad = %d%s);", keyword, kernel, stride, pad, count);
        w->h = output_size(w->h, &v, 0), w->w = output_size(w->w, &v, 1);
    }
}

/* ---- what each kind tests ---------------------------------------------------------------------------------------- */

static void test_conv(Writer *w)
{
    Window v = chance(w, 50) ? square(3, 1, 1) : any_window(w, 1);
    stem(w, channels(w));
    conv(w, &v, channels(w), 1);
    activation(w);
}

static void test_strided(Writer *w)
{
    stem(w, channels(w));
    Window v = chance(w, 40) ? square(3, 2, 1) : any_window(w, 4);
    conv(w, &v, channels(w), 1);
    activation(w);
}

static void test_grouped(Writer *w)
{
    bool depthwise = chance(w, 60);
    int groups = depthwise ? channels(w) : from_to(w, 2, 4), each = depthwise ? 1 : from_to(w, 1, 18);
    stem(w, groups * each);
    Window v = chance(w, 50) ? square(3, from_to(w, 1, 2), 1) : any_window(w, 3);
    conv(w, &v, groups * (depthwise ? chance(w, 70) ? 1 : 2 : from_to(w, 1, 18)), groups);
    activation(w);
}

static void test_pointwise(Writer *w)
{
    stem(w, channels(w));
    Window v = square(1, chance(w, 60) ? 1 : 2, 0);
    conv(w, &v, channels(w), 1);
    activation(w);
}

/* Whole tiles of pixels and their leftovers: rows of up to 30. */
static void test_wide(Writer *w)
{
    stem(w, from_to(w, 1, 34));
    Window v = square(3, 1, 1);
    conv(w, &v, from_to(w, 1, 66), 1);
    activation(w);
    v = square(chance(w, 50) ? 1 : 3, from_to(w, 1, 2), 0);
    conv(w, &v, from_to(w, 1, 34), 1);
}

static void test_pool(Writer *w)
{
    stem(w, channels(w));
    pool(w);
    if (chance(w, 50)) {
        Window v = square(3, 1, 1);
        conv(w, &v, channels(w), 1);
        activation(w);
        pool(w);
    }
}

static void test_norm(Writer *w)
{
    Window v = square(3, 1, 1);
    int count = channels(w);
    stem(w, count);
    if (chance(w, 50)) {
        fprintf(w->out, " residual {");
        conv(w, &v, channels(w), 1);
        fprintf(w->out, " batchnorm;%s", w->smooth ? " silu;" : " relu;");
        conv(w, &v, count, 1);
        fprintf(w->out, " batchnorm; }%s", w->smooth ? " tanh;" : " relu;");
    } else {
        conv(w, &v, channels(w), 1);
        fprintf(w->out, " batchnorm;");
        activation(w);
    }
    if (chance(w, 40))
        fprintf(w->out, " dropout(0.25);");
}

static void test_graph(Writer *w)
{
    int count = channels(w), a = channels(w), b = channels(w);
    bool identity = chance(w, 30);
    Window v = square(3, 1, 1), one = square(1, 1, 0);
    stem(w, count);
    fprintf(w->out, " concat { {");
    conv(w, &v, a, 1);
    activation(w);
    fprintf(w->out, " } {");
    w->c = count;
    conv(w, &one, b, 1);
    activation(w);
    fprintf(w->out, " }%s }", identity ? " {}" : "");
    w->c = a + b + (identity ? count : 0);
    if (chance(w, 50)) {
        fprintf(w->out, " residual {");
        conv(w, &one, w->c, 1);
        fprintf(w->out, " }");
        activation(w);
    }
    if (chance(w, 30))
        fprintf(w->out, " lrn(5);");
    if (chance(w, 30))
        fprintf(w->out, " dropout(0.5);");
    conv(w, chance(w, 50) ? &v : &one, channels(w), 1);
}

static void test_flat(Writer *w)
{
    if (chance(w, 50))
        stem(w, from_to(w, 1, 20));
    fprintf(w->out, " flatten; linear(%d%s);", from_to(w, 1, 140), chance(w, 30) ? ", bias = no" : "");
    if (chance(w, 40))
        fprintf(w->out, " batchnorm;");
    activation(w);
    if (chance(w, 30))
        fprintf(w->out, " dropout(0.5);");
    fprintf(w->out, " linear(%d);", channels(w));
    activation(w);
}

/* ---- the network ------------------------------------------------------------------------------------------------- */

char *fast_network(FastKind kind, int number, bool smooth)
{
    static void (*const tests[FAST_KINDS])(Writer *) = {
        test_conv, test_strided, test_grouped, test_pointwise, test_wide, test_pool, test_norm, test_graph, test_flat};
    char *text = NULL;
    size_t length;
    uint32_t seed = 2463534242u + 7919u * (unsigned)(FAST_KINDS * number + (int)kind);
    Writer w = {open_memstream(&text, &length), seed, smooth, 0, 0, 0};
    for (int i = 0; i < 10; i++)
        below(&w, 2);
    int input = from_to(&w, 1, 4), branches = kind == FAST_NORM || kind == FAST_GRAPH || kind == FAST_WIDE ? 2 : 3;
    int height = from_to(&w, 5, kind == FAST_WIDE ? 20 : 11), width = from_to(&w, 5, kind == FAST_WIDE ? 30 : 11);
    int batch = chance(&w, 20) ? from_to(&w, 15, 18) : from_to(&w, kind == FAST_NORM || kind == FAST_FLAT ? 3 : 1, 5);
    fprintf(w.out, "network fast {\n    input(%d, %d, %d);\n    as x;\n", input, height, width);
    for (int b = 0; b < branches; b++) {
        w.c = input, w.h = height, w.w = width;
        fprintf(w.out, "    from x;");
        tests[kind](&w);
        fprintf(w.out, kind == FAST_FLAT ? " linear(4);" : " flatten; linear(4);");
        if (b + 1 < branches)
            fprintf(w.out, " as y%d;", b);
        fputc('\n', w.out);
    }
    fprintf(w.out, "    concat(y0%s);\n    linear(5);\n    train { batch = %d; }\n}\n",
            branches == 3 ? ", y1" : "", batch);
    fclose(w.out);
    return text;
}
