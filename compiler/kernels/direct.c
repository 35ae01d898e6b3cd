/* direct.c - direct convolution, forward, on blocked pictures.
 *
 *     Y[n,k,i,j] = b[k] + sum_{c,r,s} W[k,c,r,s] * X[n,c,i*stride+r*dilation-pad,...]
 *
 * For any kernel, stride, dilation and padding; one group, or groups of whole vectors of channels. X lies inside a
 * border of zeros as wide as the padding, so that no tap needs a test. The loops are those of direct_loops.c.
 */
#include "direct.h"

static const DirectNames forward_names = {
    .in = "X", .filters = "W", .out = "Y", .out_block = "kb", .in_block = "cb", .in_lane = "c", .row = "i",
    .column = "j", .sum = "y", .factor = "x", .channels = "output channels",
};
static const DirectNames forward_names_with_bias = {
    .in = "X", .filters = "W", .out = "Y", .start = "b", .out_block = "kb", .in_block = "cb", .in_lane = "c",
    .row = "i", .column = "j", .sum = "y", .factor = "x", .channels = "output channels",
};

static void describe(const Kernel *kernel, int lanes, Direct *d)
{
    const Layer *l = kernel->layer;
    const Shape *in = &l->input[0]->output;
    Window w;
    conv_window(l, &w);
    *d = (Direct){
        .names = has_operand(kernel, "b") ? &forward_names_with_bias : &forward_names,
        .lanes = lanes, .batch = l->graph->batch, .groups = conv_groups(l), .parts = 1,
    };
    d->in_channels = in->dim[0] / d->groups;
    d->in_blocks = blocks_of(d->in_channels, lanes);
    d->out_blocks = blocks_of(l->output.dim[0] / d->groups, lanes);
    int64_t read[2];            /* rows and columns: a stride beyond the kernel leaves some out */
    for (int a = 0; a < 2; a++)
        read[a] = least(in->dim[1 + a], w.out[a] * w.kernel[a]);
    d->in_bytes = d->in_blocks * d->groups * lanes * read[0] * read[1] * (int64_t)sizeof(float);
    for (int a = 0; a < 2; a++)
        d->part[0].axis[a] = (Axis){
            .count = w.out[a], .out_step = 1, .step = w.stride[a], .tap_step = w.dilation[a], .first = -w.before[a],
            .taps = w.kernel[a], .filter_step = 1,
        };
}

static bool fits_planes(const Kernel *kernel, const Target *target)
{
    Direct d;
    if (!direct_fits(kernel, target))
        return false;
    describe(kernel, target->lanes, &d);
    return direct_has_planes(&d);
}

static void plan_planes(Program *p, Kernel *kernel)
{
    Direct d;
    describe(kernel, p->target->lanes, &d);
    plan_direct(p, kernel, &d, false);
}

static void plan_rows(Program *p, Kernel *kernel)
{
    Direct d;
    describe(kernel, p->target->lanes, &d);
    plan_direct(p, kernel, &d, true);
}

static Border border(const Kernel *kernel, const Operand *operand)
{
    if (operand != operand_of(kernel, "X"))
        return (Border){0, 0, 0, 0};
    const Shape *in = &kernel->layer->input[0]->output;
    Direct d;
    describe(kernel, 1, &d);
    return direct_border(&d, in->dim[1], in->dim[2]);
}

static void body(Emitter *e, const Kernel *kernel)
{
    Window w;
    conv_window(kernel->layer, &w);
    let_window(e, &w);          /* for the formula above the function */
    emit_direct(e, kernel);
}

/* A thread finishes whole planes: their statistics can follow at once. */
const FastKernel direct_forward = {
    .name = "direct", .fuses = FUSE_SCALE | FUSE_ADD | FUSE_RELU | FUSE_STATS, .fits = fits_planes, .plan = plan_planes,
    .border = border, .body = body,
};
/* Few images and channels: threads share the rows of a plane. */
const FastKernel direct_rows_forward = {
    .name = "direct-rows", .fuses = FUSE_SCALE | FUSE_ADD | FUSE_RELU, .fits = direct_fits, .plan = plan_rows,
    .border = border, .body = body,
};
