/* direct_grad_input.c - direct convolution, gradient of the input, on blocked pictures.
 *
 *     dX[n,c,h,w] = sum of W[k,c,r,s] * dY[n,k,i,j] over k and the taps r, s with h = i*stride + r*dilation - pad
 *                   and w = j*stride + s*dilation - pad
 *
 * For stride 1 this is a forward convolution of dY with filters that are rotated by 180 degrees and whose input and
 * output channels are exchanged (Dumoulin and Visin 2016, "A guide to convolution arithmetic", section 4). For stride s
 * the pixels of dX fall into s x s classes by (h + pad) mod s and (w + pad) mod s; each meets its own taps, every
 * s / gcd(s, dilation)-th, and is a forward convolution with those (a parity class without taps is zero). Filters are
 * packed once a call, so that vectors hold input channels: V[cb][kb][tap][k][c], taps rotated.
 * The loops are those of direct_loops.c.
 */
#include "../unit.h"
#include "direct.h"

static const DirectNames names = {
    .in = "dY", .filters = "V", .out = "dX", .out_block = "cb", .in_block = "kb", .in_lane = "k", .row = "h",
    .column = "w", .sum = "dx", .factor = "dy", .channels = "input channels", .merged_taps = true,
};

static int64_t gcd(int64_t a, int64_t b)
{
    return b == 0 ? a : gcd(b, a % b);
}

/* Pixels h = first, first + stride, ... of one direction, and their taps: rotated tap q = kernel - 1 - r meets
 * dY[(h + before - (kernel - 1 - q) * dilation) / stride], where that is whole. */
static Axis class_axis(const Window *w, int a, int64_t first)
{
    int64_t stride = w->stride[a], dilation = w->dilation[a], every = stride / gcd(stride, dilation);
    Axis axis = {
        .count = (w->in[a] - first + stride - 1) / stride, .out_step = stride, .out_first = first,
        .step = 1, .tap_step = every * dilation / stride, .filter_step = every,
    };
    for (int64_t q = 0; q < w->kernel[a]; q++) {
        int64_t reached = first + w->before[a] - (w->kernel[a] - 1 - q) * dilation;
        if (reached % stride != 0)
            continue;
        if (axis.taps++ == 0) {
            axis.filter_first = q;
            axis.first = reached / stride;
        }
    }
    return axis;
}

static void describe(const Kernel *kernel, int lanes, Direct *d)
{
    const Layer *l = kernel->layer;
    const Shape *in = &l->input[0]->output, *out = &l->output;
    Window w;
    conv_window(l, &w);
    *d = (Direct){.names = &names, .lanes = lanes, .batch = l->graph->batch, .groups = conv_groups(l)};
    d->in_channels = out->dim[0] / d->groups;
    d->in_blocks = blocks_of(d->in_channels, lanes);
    d->out_blocks = blocks_of(in->dim[0] / d->groups, lanes);
    d->in_bytes = d->in_blocks * d->groups * lanes * out->dim[1] * out->dim[2] * (int64_t)sizeof(float);
    d->filter_width = w.kernel[1];
    for (int64_t h = 0; h < w.stride[0] && h < w.in[0]; h++)
        for (int64_t v = 0; v < w.stride[1] && v < w.in[1]; v++)
            d->part[d->parts++] = (Part){{class_axis(&w, 0, h), class_axis(&w, 1, v)}};
}

static bool fits(const Kernel *kernel, const Target *target)
{
    Window w;
    conv_window(kernel->layer, &w);
    return direct_fits(kernel, target) && w.stride[0] <= MAX_DIRECT_STRIDE && w.stride[1] <= MAX_DIRECT_STRIDE;
}

static void plan(Program *p, Kernel *kernel)
{
    Direct d;
    describe(kernel, p->target->lanes, &d);
    plan_direct(p, kernel, &d, !direct_has_planes(&d));
    Window w;
    conv_window(kernel->layer, &w);
    int64_t lanes = d.in_channels < d.lanes ? d.in_channels : d.lanes;
    scratch_of(p, kernel, "V", 5, (int64_t[]){d.out_blocks * d.groups, d.in_blocks, w.kernel[0] * w.kernel[1], lanes,
                                              d.lanes});
}

static Border border(const Kernel *kernel, const Operand *operand)
{
    if (operand != operand_of(kernel, "dY"))
        return (Border){0, 0, 0, 0};
    Direct d;
    describe(kernel, 1, &d);
    return direct_border(&d, kernel->layer->output.dim[1], kernel->layer->output.dim[2]);
}

/* "0, 16, 1, 17, ...": which lanes of two vectors interleaving takes, from lane `first` of each. */
static const char *interleaving(Emitter *e, int lanes, int first)
{
    const char *text = "";
    for (int i = first; i < first + lanes / 2; i++)
        text = arena_printf(emitter_arena(e), "%s, %d, %d", text, i, lanes + i);
    return text;
}

/* Transposes the L x L block in rows[]: interleaving its upper with its lower half log2 L times moves element [c][k] to
 * [k][c], as a perfect shuffle of cards rotates the bits of a card's number. */
static void transpose(Emitter *e, int lanes)
{
    int times = 0;
    while (1 << times < lanes)
        times++;
    let_int(e, "half", lanes / 2);
    let(e, "low", "%s", interleaving(e, lanes, 0));
    let(e, "high", "%s", interleaving(e, lanes, lanes / 2));
    unrolled(e, "time", times);
        line(e, "vec next[L];");
        unrolled(e, "t", lanes / 2);
            line(e, "next[2 * t] = __builtin_shufflevector(rows[t], rows[t + $half]$low);");
            line(e, "next[2 * t + 1] = __builtin_shufflevector(rows[t], rows[t + $half]$high);");
        end(e, 1);
        unrolled(e, "t", lanes);
            line(e, "rows[t] = next[t];");
    end(e, 2);
}

/* V[cb][kb][rotated tap][k][c] = W[kb][cb][r][s][c][k]; lanes without a channel are zero. */
static void pack_filters(Emitter *e, const Kernel *kernel, const Direct *d)
{
    Window w;
    conv_window(kernel->layer, &w);
    int64_t channels = kernel->layer->input[0]->output.dim[0] / d->groups;
    let_int(e, "last_tap", w.kernel[0] * w.kernel[1] - 1);
    let_int(e, "S", w.kernel[1]);
    let_int(e, "out_blocks", d->out_blocks);
    let_int(e, "in_blocks", d->in_blocks);
    let_int(e, "channels", channels);
    const char *filters = d->groups == 1 ? "W[kb][cb]" : "W[cb / $out_blocks * $in_blocks + kb][cb % $out_blocks]";
    let(e, "filters", "%s", substitute(e, filters));
    comment(e, "filters rotated by 180 degrees, with input channels in the lanes: each block of L x L is transposed");
    parallel_over(e, 2);
    loop(e, "cb", d->out_blocks * d->groups);
        loop(e, "kb", d->in_blocks);
            loop(e, "r", w.kernel[0]);
                loop(e, "s", w.kernel[1]);
                    line(e, "vec rows[L];");
                    unrolled(e, "c", d->lanes);
                        line(e, channels < d->lanes ? "rows[c] = c < $channels ? load($filters[r][s][c]) : zero;"
                                                    : "rows[c] = load($filters[r][s][c]);");
                    end(e, 1);
                    transpose(e, d->lanes);
                    unrolled(e, "k", d->in_channels < d->lanes ? d->in_channels : d->lanes);
                        line(e, "store(V[cb][kb][$last_tap - r * $S - s][k], rows[k]);");
    end(e, 5);
}

static void body(Emitter *e, const Kernel *kernel)
{
    pack_filters(e, kernel, kernel->schedule.more);
    emit_direct(e, kernel);
}

const FastKernel direct_grad_input = {
    .name = "direct", .fuses = FUSE_ADD | FUSE_MASK, .fits = fits, .plan = plan, .border = border, .body = body,
};
