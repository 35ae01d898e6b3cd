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

static bool fits_planes(const Kernel *kernel, const Target *target)
{
    Direct d;
    if (!fits(kernel, target))
        return false;
    describe(kernel, target->lanes, &d);
    return direct_has_planes(&d);
}

/* Bytes that pass through the caches before another kernel uses what this one writes. */
static int64_t bytes_until_used(const Program *p, const Kernel *kernel, const Tensor *written)
{
    int64_t bytes = tensor_bytes(written);
    for (int i = kernel->index + 1; i < p->kernels.count; i++)
        for (int o = 0; o < p->kernels.items[i]->operand_count; o++) {
            const Tensor *t = p->kernels.items[i]->operand[o].tensor;
            if (t->storage == written->storage)
                return bytes;
            bytes += tensor_bytes(t);
        }
    return bytes;
}

/* Where most of dX is zeros, storing it takes as long as computing it: the caches are
 * spared what would not stay there. */
static bool is_bound_by_stores(const Program *p, const Kernel *kernel, const Direct *d)
{
    const Tensor *dX = operand_of(kernel, "dX")->tensor;
    return d->parts > 1 && is_stored_along(d, &d->part[d->parts - 1]) && tensor_bytes(dX) > p->target->l2 &&
           bytes_until_used(p, kernel, dX) > p->target->l3;
}

static void plan(Program *p, Kernel *kernel, bool shares_rows)
{
    Direct d;
    describe(kernel, p->target->lanes, &d);
    plan_direct(p, kernel, &d, shares_rows);
    kernel->schedule.streams = is_bound_by_stores(p, kernel, &d);
    Window w;
    conv_window(kernel->layer, &w);
    int64_t lanes = d.in_channels < d.lanes ? d.in_channels : d.lanes;
    scratch_of(p, kernel, "V", 5, (int64_t[]){d.out_blocks * d.groups, d.in_blocks, w.kernel[0] * w.kernel[1], lanes,
                                              d.lanes});
}

static void plan_planes(Program *p, Kernel *kernel)
{
    plan(p, kernel, false);
}

static void plan_rows(Program *p, Kernel *kernel)
{
    plan(p, kernel, true);
}

static Border border(const Kernel *kernel, const Operand *operand)
{
    if (operand != operand_of(kernel, "dY"))
        return (Border){0, 0, 0, 0};
    Direct d;
    describe(kernel, 1, &d);
    return direct_border(&d, kernel->layer->output.dim[1], kernel->layer->output.dim[2]);
}

/* A function that turns one tap of L x L filters: those of `channels` input channels become those of `filters`. */
static const char *turning_part(Emitter *e, int64_t channels, int64_t filters, int lanes)
{
    Emitter *b = part_body(e);
    let_int(b, "channels", channels);
    line(b, "vec rows[L];");
    unrolled(b, "c", lanes);
        line(b, channels < lanes ? "rows[c] = c < $channels ? load(W + c * L) : zero;" : "rows[c] = load(W + c * L);");
    end(b, 1);
    line(b, "transpose(rows);");
    unrolled(b, "k", filters);
        line(b, "store(V + k * L, rows[k]);");
    end(b, 1);
    return shared_part(e, "turn_filters", "One tap of a block of filters, with input channels in the lanes.",
                       "const real *W, real *V", b);
}

/* V[cb][kb][rotated tap][k][c] = W[kb][cb][r][s][c][k]; lanes without a channel are zero. */
static void pack_filters(Emitter *e, const Kernel *kernel, const Direct *d)
{
    Window w;
    conv_window(kernel->layer, &w);
    int64_t channels = least(kernel->layer->input[0]->output.dim[0] / d->groups, d->lanes);
    int64_t taps = w.kernel[0] * w.kernel[1];
    let(e, "turn", "%s", turning_part(e, channels, least(d->in_channels, d->lanes), d->lanes));
    let_int(e, "last_tap", taps - 1);
    let_int(e, "tap_length", channels * d->lanes);
    let_int(e, "out_blocks", d->out_blocks);
    let_int(e, "in_blocks", d->in_blocks);
    const char *filters = d->groups == 1 ? "W[kb][cb]" : "W[cb / $out_blocks * $in_blocks + kb][cb % $out_blocks]";
    let(e, "filters", "%s", substitute(e, filters));
    comment(e, taps > 1 ? "filters rotated by 180 degrees, with input channels in the lanes"
                        : "filters with input channels in the lanes");
    parallel_over(e, 2);
    loop(e, "cb", d->out_blocks * d->groups);
        loop(e, "kb", d->in_blocks);
            if (taps > 1)
                loop(e, "tap", taps);
            line(e, taps > 1 ? "$turn((const real *)${filters} + tap * $tap_length, V[cb][kb][$last_tap - tap][0]);"
                             : "$turn(${filters}[0][0][0], V[cb][kb][0][0]);");
    end(e, 2 + (taps > 1));
}

static void body(Emitter *e, const Kernel *kernel)
{
    pack_filters(e, kernel, kernel->schedule.more);
    emit_direct(e, kernel);
}

/* A thread finishes whole planes: sums over them can follow at once. */
const FastKernel direct_grad_input = {
    .name = "direct", .fuses = FUSE_ADD | FUSE_MASK | FUSE_SUMS, .fits = fits_planes, .plan = plan_planes,
    .border = border, .body = body,
};
/* Few images and channels: threads share the rows of a plane. */
const FastKernel direct_rows_grad_input = {
    .name = "direct-rows", .fuses = FUSE_ADD | FUSE_MASK, .fits = fits, .plan = plan_rows, .border = border,
    .body = body,
};
