/* few_channels.c - convolutions with so few output channels that most lanes of a vector of them would be spare:
 * pictures in the lanes instead, as in LeNet (LeCun et al. 1998), whose layers have 6 and 16.
 *
 *   forward       Y[n,k,i,j]  = b[k] + sum of W[k,c,r,s] * X[n,c,h,w]     h = i*stride + r*dilation - pad, w likewise
 *   grad_input    dX[n,c,h,w] = sum of W[k,c,r,s] * dY[n,k,i,j]           i = h + pad - r*dilation (stride 1)
 *
 * L pictures at a time are transposed into a small array x[h][c][w], whose vectors hold one element of L pictures. A
 * sum is a vector too, W's elements are broadcast, and each product counts: no lane is spare, and no tap outside the
 * picture is multiplied. Finished rows are transposed back.
 *
 * Requires: the batch some multiple of L; X the caller's pictures (plain) or blocked. Establishes: Y or dX, zeros in
 * its spare lanes and its border.
 */
#include <string.h>

#include "few_channels.h"

enum {
    MAX_TAPS = 7,                       /* in a row of the kernel: these are unrolled                                */
    MAX_TILES = 4,                      /* across a picture: code is written for each                                */
};

/* Output pixel o and tap t of one direction meet at input pixel o * step + t * tap_step + first. */
typedef struct { int64_t in, out, taps, step, tap_step, first; } Axis;

typedef struct {
    const char *in_role, *out_role;
    const char *in, *out;               /* the arrays with pictures in the lanes                                     */
    const char *in_channel, *out_channel, *in_row, *out_row, *in_column, *out_column;
    const char *filter;                 /* W's element, in templates; $first: the tile's first output channel        */
    int64_t     in_channels, out_channels;
    Axis        axis[2];                /* down, across                                                              */
} Few;

static Few few_of(const Kernel *k)
{
    const Shape *in = &k->layer->input[0]->output, *out = &k->layer->output;
    bool forward = has_operand(k, "Y");
    Window w;
    conv_window(k->layer, &w);
    Few f = {
        .in_role = "X", .out_role = "Y", .in = "x", .out = "y", .in_channel = "c", .out_channel = "k", .in_row = "h",
        .out_row = "i", .in_column = "w", .out_column = "j", .filter = "W[0][c / L][r][s][c % L][k + q]",
        .in_channels = in->dim[0], .out_channels = out->dim[0],
    };
    if (!forward)
        f = (Few){
            .in_role = "dY", .out_role = "dX", .in = "dy", .out = "dx", .in_channel = "k", .out_channel = "c",
            .in_row = "i", .out_row = "h", .in_column = "j", .out_column = "w",
            .filter = "W[k / L][0][r][s][c + q][k % L]", .in_channels = out->dim[0], .out_channels = in->dim[0],
        };
    for (int a = 0; a < 2; a++)
        f.axis[a] = forward ? (Axis){w.in[a], w.out[a], w.kernel[a], w.stride[a], w.dilation[a], -w.before[a]}
                            : (Axis){w.out[a], w.in[a], w.kernel[a], 1, -w.dilation[a], w.before[a]};
    return f;
}

static bool reads_plain(const Operand *o)
{
    return strcmp(o->role, "X") == 0 && o->tensor->kind == TENSOR_INPUT;
}

int64_t count_transposes(const Kernel *k, const char *role, int64_t channels, int64_t pixels, int lanes)
{
    return reads_plain(operand_of(k, role)) ? channels * blocks_of(pixels, lanes) : pixels * blocks_of(channels, lanes);
}

/* ---- when it is worth it ----------------------------------------------------------------------------------------- */

/* Pairs of an output pixel and a tap that meet in the picture. */
static int64_t meetings(const Axis *a)
{
    int64_t count = 0;
    for (int64_t o = 0; o < a->out; o++)
        for (int64_t t = 0; t < a->taps; t++) {
            int64_t i = o * a->step + t * a->tap_step + a->first;
            count += i >= 0 && i < a->in;
        }
    return count;
}

/* Cycles for L pictures, a vector multiply-add in each. */
static double lanes_cycles(const Kernel *k, const Few *f, int lanes)
{
    int64_t transposes = count_transposes(k, f->in_role, f->in_channels, f->axis[0].in * f->axis[1].in, lanes) +
                         f->axis[0].out * f->axis[1].out;
    return (double)(meetings(&f->axis[0]) * meetings(&f->axis[1]) * f->in_channels * f->out_channels) +
           (double)transposes * TRANSPOSE_CYCLES;
}

/* The same with output channels in the lanes. */
static double direct_cycles(const Few *f, int lanes)
{
    return (double)(f->axis[0].out * f->axis[1].out * f->axis[0].taps * f->axis[1].taps * f->in_channels * lanes);
}

/* Columns of a tile of two output channels, beside these channels' weights and one vector of input. */
static int64_t tile_columns(const Few *f, const Target *target)
{
    return even_tile(f->axis[1].out, (target->registers - 3) / 2);
}

static bool fits(const Kernel *k, const Target *target)
{
    int64_t batch = k->layer->graph->batch;
    if (conv_groups(k->layer) != 1 || batch % target->lanes != 0 || batch < FEW_TASKS * target->lanes)
        return false;
    Window w;
    conv_window(k->layer, &w);
    if (has_operand(k, "dX") && (w.stride[0] != 1 || w.stride[1] != 1))
        return false;
    Few f = few_of(k);
    int64_t pixels = f.axis[0].in * f.axis[1].in;
    return f.out_channels * 2 <= target->lanes && f.axis[1].taps <= MAX_TAPS &&
           pixels * f.in_channels * target->lanes * 4 <= target->l2 / 2 && pixels >= target->lanes &&
           f.axis[1].out <= tile_columns(&f, target) * MAX_TILES &&
           lanes_cycles(k, &f, target->lanes) < 0.8 * direct_cycles(&f, target->lanes);
}

LayoutKind few_layout(const Kernel *k, const Operand *o)
{
    (void)k;
    if (reads_plain(o))
        return LAYOUT_PLAIN;
    switch (o->role[0]) {
    case 'W': return LAYOUT_FILTERS;
    case 'b': return LAYOUT_ROWS;
    case 'd': return o->role[1] == 'W' ? LAYOUT_FILTERS : LAYOUT_BLOCKED;
    default:  return LAYOUT_BLOCKED;
    }
}

static void plan(Program *p, Kernel *k)
{
    Few f = few_of(k);
    k->schedule.pixels = (int)tile_columns(&f, p->target);
    k->schedule.blocks = f.out_channels > 1 ? 2 : 1;
    k->schedule.text = arena_printf(p->arena, "pictures in the lanes, tile %d pixels x %d channels; groups of %d "
                                    "pictures shared among threads", k->schedule.pixels, k->schedule.blocks,
                                    p->target->lanes);
}

/* ---- into the lanes and back ------------------------------------------------------------------------------------- */

/* Of the caller's pictures, L neighbouring pixels at a time; the last ones end with the picture. */
static void plain_to_lanes(Emitter *e, const Lanes *a, int lanes)
{
    int64_t pixels = a->rows * a->columns;
    let_int(e, "pixels", pixels);
    let(e, "row", a->rows > 1 ? "(p + l) / %lld" : "0", (long long)a->columns);
    let(e, "at", a->rows > 1 ? "(p + l) %% %lld" : "p + l", (long long)a->columns);
    let(e, "at", "%s", sum_text(e, substitute(e, "$at"), "", 0, a->shift));
    loop(e, "c", a->channels);
        step_between(e, "start", "0", "$pixels", lanes);
            line(e, pixels % lanes ? "const int p = start < $pixels - L ? start : $pixels - L;"
                                   : "const int p = start;");
            line(e, "vec v[L];");
            loop_between(e, "l", "0", "L");
                line(e, "v[l] = load_unaligned(&X[n + l][c][0][0] + p);");
            end(e, 1);
            line(e, "transpose(v);");
            loop_between(e, "l", "0", "L");
                line(e, "$array[$row][c][$at] = v[l];");
    end(e, 3);
}

static void blocked_to_lanes(Emitter *e, const Kernel *k, const Lanes *a, int lanes)
{
    int64_t blocks = blocks_of(a->channels, lanes);
    bool whole = a->channels % lanes == 0;
    let_int(e, "channels", a->channels);
    let(e, "pixel", "%s", pixel(e, k, a->role, "n + l", blocks > 1 ? "block" : "0", a->row, a->column));
    let(e, "channel", blocks > 1 ? "block * L + l" : "l");
    let(e, "row", "%s", a->row);
    let(e, "at", "%s", sum_text(e, a->column, "", 0, a->shift));
    loop(e, a->row, a->rows);
        loop(e, a->column, a->columns);
            if (blocks > 1)
                loop(e, "block", blocks);
            line(e, "vec v[L];");
            loop_between(e, "l", "0", "L");
                line(e, "v[l] = load($pixel);");
            end(e, 1);
            line(e, "transpose(v);");
            loop_between(e, "l", "0", whole || blocks > 1 ? "L" : "$channels");
                if (blocks > 1 && !whole)
                    when(e, "$channel < $channels");
                line(e, "$array[$row][$channel][$at] = v[l];");
                if (blocks > 1 && !whole)
                    end(e, 1);
    end(e, blocks > 1 ? 4 : 3);
}

void write_into_lanes(Emitter *e, const Kernel *k, const Lanes *a, int lanes)
{
    const Operand *o = operand_of(k, a->role);
    let(e, "array", "%s", a->array);
    if (reads_plain(o))
        plain_to_lanes(e, a, lanes);
    else
        blocked_to_lanes(e, k, a, lanes);
}

/* A finished row of L pictures. */
static void row_to_channels(Emitter *e, const Kernel *k, const Few *f)
{
    let_int(e, "K", f->out_channels);
    loop(e, f->out_column, f->axis[1].out);
        line(e, "vec v[L];");
        loop_between(e, "l", "0", "L");
            line(e, "v[l] = l < $K ? $out[l][$j] : zero;");
        end(e, 1);
        line(e, "transpose(v);");
        loop_between(e, "l", "0", "L");
            store_pixel(e, k, f->out_role, "v[l]", "n + l", "0", f->out_row, f->out_column);
    end(e, 2);
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

/* A tile's first column is a constant, so that each tap outside the picture is known when this is compiled. */
static void write_tile(Emitter *e, const Kernel *k, const Few *f, const Tiles *channels, int64_t column,
                       int64_t columns)
{
    const Axis *down = &f->axis[0], *across = &f->axis[1];
    let_int(e, "B", channels->size);
    let_int(e, "T", columns);
    let_int(e, "R", down->taps);
    let_int(e, "column", column);
    let_int(e, "height", down->in);
    let_int(e, "width", across->in);
    let(e, "row", "%s", sum_text(e, times(e, f->out_row, down->step), "r", down->tap_step, down->first));
    let(e, "at", "%s", sum_text(e, times(e, "t", across->step), "s", across->tap_step,
                                across->first + column * across->step));
    let(e, "filter", "%s", substitute(e, f->filter));
    open_tiles(e, f->out_channel, channels);
        line(e, "vec sum[$B][$T];        /* register tile: $B channels x $T pixels, of L pictures */");
        unrolled(e, "q", channels->size);
            unrolled(e, "t", columns);
                line(e, has_operand(k, "b") ? "sum[q][t] = splat(b[k + q]);" : "sum[q][t] = zero;");
        end(e, 2);
        loop(e, "r", down->taps);
            line(e, "const int $h = $row;");
            line(e, "if (!inside($h, $height))");
            line(e, "    continue;");
            loop(e, f->in_channel, f->in_channels);
                unrolled(e, "s", across->taps);
                    line(e, "vec weight[$B];");
                    unrolled(e, "q", channels->size);
                        line(e, "weight[q] = splat($filter);");
                    end(e, 1);
                    unrolled(e, "t", columns);
                        unrolled(e, "q", channels->size);
                            when(e, "inside($at, $width)");
                                line(e, "sum[q][t] += weight[q] * $in[$h][$c][$at];");
        end(e, 6);
        unrolled(e, "q", channels->size);
            unrolled(e, "t", columns);
                line(e, column ? "$out[$k + q][t + $column] = sum[q][t];" : "$out[$k + q][t] = sum[q][t];");
    end(e, 3);
}

static void write_row(Emitter *e, const Kernel *k, const Few *f)
{
    Tiles channels[2], columns[2];
    int channel_parts = even_tiles(f->out_channels, k->schedule.blocks, channels);
    int column_parts = even_tiles(f->axis[1].out, k->schedule.pixels, columns);
    for (int i = 0; i < channel_parts; i++)
        for (int j = 0; j < column_parts; j++)
            for (int64_t tile = 0; tile < columns[j].count; tile++)
                write_tile(e, k, f, &channels[i], columns[j].first + tile * columns[j].size, columns[j].size);
}

static void body(Emitter *e, const Kernel *k)
{
    Few f = few_of(k);
    int lanes = operand_of(k, f.out_role)->tensor->layout.lanes;
    let(e, "in", "%s", f.in);
    let(e, "out", "%s", f.out);
    let(e, "c", "%s", f.in_channel);
    let(e, "k", "%s", f.out_channel);
    let(e, "h", "%s", f.in_row);
    let(e, "w", "%s", f.in_column);
    let(e, "j", "%s", f.out_column);
    let_int(e, "H", f.axis[0].in);
    let_int(e, "C", f.in_channels);
    let_int(e, "W", f.axis[1].in);
    let_int(e, "K", f.out_channels);
    let_int(e, "Q", f.axis[1].out);
    parallel(e);
    step_between(e, "n", "0", "$N", lanes);
        line(e, "vec $in[$H][$C][$W];        /* an element of L pictures in each vector: lane l is picture n + l */");
        write_into_lanes(e, k, &(Lanes){f.in_role, f.in, f.in_row, f.in_column, f.axis[0].in, f.in_channels,
                                        f.axis[1].in, 0}, lanes);
        if (has_border(k, f.out_role) && !k->adds) {
            loop_between(e, "l", "0", "L");
                clear_border(e, k, f.out_role, "n + l", "0");
            end(e, 1);
        }
        loop(e, f.out_row, f.axis[0].out);
            line(e, "vec $out[$K][$Q];");
            write_row(e, k, &f);
            row_to_channels(e, k, &f);
        end(e, 1);
        if (k->fuses & FUSE_STATS) {
            loop_between(e, "l", "0", "L");
                finish_plane(e, k, f.out_role, "n + l", "0");
            end(e, 1);
        }
        finish_stores(e, k, f.out_role);
    end(e, 1);
}

const FastKernel few_forward = {
    .name = "few", .fuses = FUSE_SCALE | FUSE_ADD | FUSE_RELU | FUSE_STATS, .fits = fits, .plan = plan,
    .layout = few_layout, .body = body,
};

const FastKernel few_grad_input = {
    .name = "few", .fuses = FUSE_ADD | FUSE_MASK, .fits = fits, .plan = plan, .layout = few_layout, .body = body,
};
