/* depthwise.c - convolutions in which every channel has one filter of its own (Howard et al. 2017, section 3.1).
 *
 * Lanes are channels, so nothing is broadcast or summed across lanes: a pixel of L channels takes one multiply-add a
 * tap. That is so little work that memory decides: each plane of one vector of channels is read once from memory, the
 * taps stay in registers, neighbouring pixels share what they read through the first cache, and whatever is fused into
 * the store saves a pass over memory.
 *
 * Requires: groups = input channels = output channels. Establishes: Y, dX or dW.
 */
#include "kernels.h"

enum {
    MAX_PLACES     = 16,        /* data gradient: places that an input pixel can have in a stride; each has its code */
    MAX_UNROLLED   = 64,        /* multiply-adds in a tile's innermost loops                                         */
    WANTED_PIECES  = 16,        /* enough for any number of threads that such a layer keeps busy                     */
};

static bool is_depthwise(const Kernel *k)
{
    int64_t groups = conv_groups(k->layer);
    return groups > 1 && groups == k->layer->input[0]->output.dim[0] && groups == k->layer->output.dim[0];
}

static bool fits(const Kernel *k, const Target *target)
{
    (void)target;
    return is_depthwise(k);
}

/* ---- forward pass and data gradient: which pixels a tap joins ---------------------------------------------------- */

/* In one direction: pixel i * to_step + to_first of the result, 0 <= i < count, is the sum over r < taps of
 * W[r * tap_step + tap_first] times pixel i * from_step + r * from_move + from_first of what is read. */
typedef struct {
    int64_t count, to_step, to_first;
    int64_t taps, tap_step, tap_first;
    int64_t from_step, from_move, from_first;
} Axis;

static Axis forward_axis(const Window *w, int d)
{
    return (Axis){.count = w->out[d], .to_step = 1, .taps = w->kernel[d], .tap_step = 1,
                  .from_step = w->stride[d], .from_move = w->dilation[d], .from_first = -w->before[d]};
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    return b == 0 ? a : common_divisor(b, a % b);
}

/* The input pixels h = i * stride + place. Tap r of output pixel p meets h if p * stride = h + before - r * dilation,
 * so of the first r for which stride divides that, and of every (stride / gcd(stride, dilation))-th behind it. */
static Axis gradient_axis(const Window *w, int d, int64_t place)
{
    int64_t stride = w->stride[d], dilation = w->dilation[d], divisor = common_divisor(stride, dilation), first = 0;
    Axis a = {.count = (w->in[d] - place + stride - 1) / stride, .to_step = stride, .to_first = place,
              .tap_step = stride / divisor, .from_step = 1, .from_move = -dilation / divisor};
    while (first < a.tap_step && (place + w->before[d] - first * dilation) % stride != 0)
        first++;
    if (first == a.tap_step || first >= w->kernel[d])
        return a;                       /* no tap meets them: the gradient is 0 */
    a.tap_first = first;
    a.taps = (w->kernel[d] - 1 - first) / a.tap_step + 1;
    a.from_first = (place + w->before[d] - first * dilation) / stride;
    return a;
}

/* Zeros that it reads before and after `size` pixels. */
static void axis_border(const Axis *a, int64_t size, int64_t *before, int64_t *after)
{
    if (a->taps == 0 || a->count == 0)
        return;
    int64_t moved = (a->taps - 1) * a->from_move;
    *before = most(*before, -(a->from_first + least(moved, 0)));
    *after = most(*after, (a->count - 1) * a->from_step + a->from_first + most(moved, 0) - (size - 1));
}

static Border forward_border(const Kernel *k, const Operand *o)
{
    Border b = {0};
    if (o->role[0] != 'X')
        return b;
    Window w;
    conv_window(k->layer, &w);
    Axis rows = forward_axis(&w, 0), columns = forward_axis(&w, 1);
    axis_border(&rows, w.in[0], &b.top, &b.bottom);
    axis_border(&columns, w.in[1], &b.left, &b.right);
    return b;
}

static Border grad_input_border(const Kernel *k, const Operand *o)
{
    Border b = {0};
    if (o->role[0] != 'd' || o->role[1] != 'Y')
        return b;
    Window w;
    conv_window(k->layer, &w);
    for (int64_t place = 0; place < w.stride[0]; place++) {
        Axis rows = gradient_axis(&w, 0, place);
        axis_border(&rows, w.out[0], &b.top, &b.bottom);
    }
    for (int64_t place = 0; place < w.stride[1]; place++) {
        Axis columns = gradient_axis(&w, 1, place);
        axis_border(&columns, w.out[1], &b.left, &b.right);
    }
    return b;
}

static bool grad_input_fits(const Kernel *k, const Target *target)
{
    Window w;
    return fits(k, target) && conv_window(k->layer, &w) && w.stride[0] * w.stride[1] <= MAX_PLACES;
}

/* ---- forward pass and data gradient: code ------------------------------------------------------------------------ */

/* Do all taps stay in registers, and leave at least as many for sums? */
static bool keeps_taps(const Kernel *k, int registers)
{
    const int64_t *weight = k->layer->param[0].dim;
    return weight[2] * weight[3] <= registers / 2;
}

static void plan(Program *p, Kernel *k)
{
    const int64_t *weight = k->layer->param[0].dim;
    bool forward = has_operand(k, "X");
    const Shape *to = forward ? &k->layer->output : &k->layer->input[0]->output;
    Window w;
    conv_window(k->layer, &w);
    bool kept = keeps_taps(k, p->target->registers);
    int64_t columns = forward ? to->dim[2] : gradient_axis(&w, 1, 0).count;
    int64_t sums = p->target->registers - 2 - (kept ? weight[2] * weight[3] : 1);
    k->schedule.pixels = (int)even_tile(columns, least(sums, 14));
    k->schedule.rows = kept;
    k->schedule.chunks = (int)pieces_of(forward ? to->dim[1] : gradient_axis(&w, 0, 0).count,
                                        p->graph->batch * blocks_of(to->dim[0], p->target->lanes), WANTED_PIECES);
    k->schedule.text = arena_printf(p->arena, "tile %d pixels, taps in %s; %s shared among threads", k->schedule.pixels,
                                    kept ? "registers" : "memory",
                                    k->schedule.chunks > 1 ? "planes and rows" : "planes");
}

static void loop_taps_of(Emitter *e, const char *variable, int64_t taps, bool whole)
{
    if (whole)
        unrolled(e, variable, taps);
    else
        loop(e, variable, taps);
}

/* One tile of `pixels` pixels of output row i from column j on. */
static void tile(Emitter *e, const Kernel *k, const Axis *rows, const Axis *columns, int64_t pixels)
{
    bool forward = has_operand(k, "X"), kept = k->schedule.rows;
    const char *from_row = sum_text(e, times(e, "i", rows->from_step), "r", rows->from_move, rows->from_first);
    const char *column = columns->from_step == 1 ? "j + t" : times(e, "(j + t)", columns->from_step);
    const char *from_column = sum_text(e, column, "s", columns->from_move, columns->from_first);
    const char *to_column = columns->to_step == 1 ? "j + t" : times(e, "(j + t)", columns->to_step);
    let_int(e, "T", pixels);
    let(e, "tap", kept ? "w[%s][%s]" : "load(W[cb][0][%s][%s][0])",
        sum_text(e, times(e, "r", rows->tap_step), "", 0, rows->tap_first),
        sum_text(e, times(e, "s", columns->tap_step), "", 0, columns->tap_first));
    line(e, "vec sum[$T];        /* register tile: $T pixels */");
    unrolled(e, "t", pixels);
        line(e, forward && has_operand(k, "b") ? "sum[t] = load(&b[cb * $L]);" : "sum[t] = zero;");
    end(e, 1);
    if (rows->taps > 0 && columns->taps > 0) {
        let(e, "pixel", "%s", pixel(e, k, forward ? "X" : "dY", "n", "cb", from_row, from_column));
        loop_taps_of(e, "r", rows->taps, kept);
            loop_taps_of(e, "s", columns->taps, kept || columns->taps * pixels <= MAX_UNROLLED);
                unrolled(e, "t", pixels);
                    line(e, "sum[t] += $tap * load($pixel);");
        end(e, 3);
    }
    unrolled(e, "t", pixels);
        store_pixel(e, k, forward ? "Y" : "dX", "sum[t]", "n", "cb",
                    sum_text(e, times(e, "i", rows->to_step), "", 0, rows->to_first),
                    sum_text(e, to_column, "", 0, columns->to_first));
    end(e, 1);
}

static void row_of_tiles(Emitter *e, const Kernel *k, const Axis *rows, const Axis *columns)
{
    Tiles part[2];
    int parts = even_tiles(columns->count, k->schedule.pixels, part);
    for (int i = 0; i < parts; i++) {
        open_tiles(e, "j", &part[i]);
            tile(e, k, rows, columns, part[i].size);
        end(e, 1);
    }
}

static void loop_rows(Emitter *e, int64_t count, int64_t pieces)
{
    let_int(e, "count", count);
    let_int(e, "pieces", pieces);
    if (pieces > 1)
        loop_between(e, "i", "piece * $count / $pieces", "(piece + 1) * $count / $pieces");
    else
        loop(e, "i", count);
}

/* Opens the loops over planes, or pieces of planes, with the taps in registers where there is room. */
static void open_planes(Emitter *e, const Kernel *k, const char *to, int64_t pieces)
{
    const Tensor *t = operand_of(k, to)->tensor;
    parallel_over(e, pieces > 1 ? 3 : 2);
    loop(e, "n", t->dim[0]);
        loop(e, "cb", blocks_of(t->dim[1], t->layout.lanes));
            if (pieces > 1)
                loop(e, "piece", pieces);
            bool once = pieces > 1 && has_border(k, to) && !k->adds;
            if (once)
                when(e, "piece == 0");
            clear_border(e, k, to, "n", "cb");
            if (once)
                end(e, 1);
            if (!k->schedule.rows)
                return;
            let_int(e, "R", k->layer->param[0].dim[2]);
            let_int(e, "S", k->layer->param[0].dim[3]);
            line(e, "vec w[$R][$S];      /* the taps, in registers */");
            unrolled(e, "r", k->layer->param[0].dim[2]);
                unrolled(e, "s", k->layer->param[0].dim[3]);
                    line(e, "w[r][s] = load(W[cb][0][r][s][0]);");
            end(e, 2);
}

static void forward_body(Emitter *e, const Kernel *k)
{
    int64_t pieces = k->fuses & FUSE_STATS ? 1 : k->schedule.chunks;    /* statistics want whole planes */
    Window w;
    conv_window(k->layer, &w);
    Axis rows = forward_axis(&w, 0), columns = forward_axis(&w, 1);
    open_planes(e, k, "Y", pieces);
        loop_rows(e, rows.count, pieces);
            row_of_tiles(e, k, &rows, &columns);
        end(e, 1);
        finish_plane(e, k, "Y", "n", "cb");
    end(e, pieces > 1 ? 3 : 2);
}

/* Row i of those input pixels that are `down` rows below a stride's first. Where each place across has as many pixels,
 * neighbouring tiles follow each other, so that a row is written from left to right. */
static void grad_input_row(Emitter *e, const Kernel *k, const Window *w, int64_t down)
{
    Axis rows = gradient_axis(w, 0, down), columns = gradient_axis(w, 1, 0);
    if (w->in[1] % w->stride[1] != 0) {
        for (int64_t across = 0; across < least(w->stride[1], w->in[1]); across++) {
            columns = gradient_axis(w, 1, across);
            row_of_tiles(e, k, &rows, &columns);
        }
        return;
    }
    Tiles part[2];
    int parts = even_tiles(columns.count, k->schedule.pixels, part);
    for (int i = 0; i < parts; i++) {
        open_tiles(e, "j", &part[i]);
            for (int64_t across = 0; across < w->stride[1]; across++) {
                columns = gradient_axis(w, 1, across);
                block(e);
                    tile(e, k, &rows, &columns, part[i].size);
                end(e, 1);
            }
        end(e, 1);
    }
}

/* With a stride, an input pixel's place in it decides which taps meet it: each place has its own tiles. */
static void grad_input_body(Emitter *e, const Kernel *k)
{
    int64_t pieces = k->fuses & FUSE_SUMS ? 1 : k->schedule.chunks;     /* sums want whole planes */
    Window w;
    conv_window(k->layer, &w);
    int64_t places = least(w.stride[0], w.in[0]);
    bool together = w.in[0] % w.stride[0] == 0;         /* as many rows of each place: written from top to bottom */
    open_planes(e, k, "dX", pieces);
        for (int64_t down = 0; down < places; down++) {
            if (down == 0 || !together)
                loop_rows(e, gradient_axis(&w, 0, down).count, pieces);
            grad_input_row(e, k, &w, down);
            if (down == places - 1 || !together)
                end(e, 1);
        }
        finish_plane(e, k, "dX", "n", "cb");
    end(e, pieces > 1 ? 3 : 2);
}

/* ---- weight gradient --------------------------------------------------------------------------------------------- */

static bool grad_weight_fits(const Kernel *k, const Target *target)
{
    return fits(k, target) && k->layer->param[0].dim[3] <= target->registers - 3;
}

/* Register tile: the sums of as many rows of taps as there is room for, kept over a plane. */
static void plan_grad_weight(Program *p, Kernel *k)
{
    const int64_t *weight = k->layer->param[0].dim;
    int64_t blocks = blocks_of(weight[0], p->target->lanes);
    k->schedule.rows = (int)even_tile(weight[2], (p->target->registers - 3) / weight[3]);
    k->schedule.chunks = (int)least(p->graph->batch, (WANTED_PIECES + blocks - 1) / blocks);
    scratch_of(p, k, "partial", 5, (int64_t[]){k->schedule.chunks, blocks, weight[2], weight[3], p->target->lanes});
    k->schedule.text = arena_printf(p->arena, "tile %lld taps, summed over planes; %d partial sums",
                                    (long long)(k->schedule.rows * weight[3]), k->schedule.chunks);
}

/* Adds plane (n, cb) to the taps of kernel rows r ... r + tap_rows - 1. */
static void grad_weight_tile(Emitter *e, const Kernel *k, const Window *w, int64_t tap_rows)
{
    const char *tap_row = w->dilation[0] == 1 ? "r + g" : times(e, "(r + g)", w->dilation[0]);
    const char *row = sum_text(e, times(e, "i", w->stride[0]), tap_row, 1, -w->before[0]);
    const char *column = sum_text(e, times(e, "j", w->stride[1]), "s", w->dilation[1], -w->before[1]);
    let_int(e, "G", tap_rows);
    let_int(e, "S", w->kernel[1]);
    let(e, "x", "%s", pixel(e, k, "X", "n", "cb", row, column));
    let(e, "dy", "%s", pixel(e, k, "dY", "n", "cb", "i", "j"));
    line(e, "vec sum[$G][$S];        /* register tile: $G rows of $S taps */");
    unrolled(e, "g", tap_rows);
        unrolled(e, "s", w->kernel[1]);
            line(e, "sum[g][s] = load(partial[chunk][cb][r + g][s]);");
    end(e, 2);
    loop(e, "i", w->out[0]);
        loop(e, "j", w->out[1]);
            line(e, "const vec dy = load($dy);");
            unrolled(e, "g", tap_rows);
                unrolled(e, "s", w->kernel[1]);
                    line(e, "sum[g][s] += dy * load($x);");
    end(e, 4);
    unrolled(e, "g", tap_rows);
        unrolled(e, "s", w->kernel[1]);
            line(e, "store(partial[chunk][cb][r + g][s], sum[g][s]);");
    end(e, 2);
}

static void grad_weight_body(Emitter *e, const Kernel *k)
{
    const Schedule *s = &k->schedule;
    const Tensor *dy = operand_of(k, "dY")->tensor;
    int64_t blocks = blocks_of(dy->dim[1], dy->layout.lanes);
    Window w;
    conv_window(k->layer, &w);
    Tiles part[2];
    int parts = even_tiles(w.kernel[0], s->rows, part);
    let_int(e, "chunks", s->chunks);
    comment(e, "a chunk is some of the pictures");
    parallel_over(e, 2);
    loop(e, "chunk", s->chunks);
        loop(e, "cb", blocks);
            line(e, "memset(partial[chunk][cb], 0, sizeof partial[chunk][cb]);");
            loop_between(e, "n", "chunk * $N / $chunks", "(chunk + 1) * $N / $chunks");
                for (int i = 0; i < parts; i++) {
                    open_tiles(e, "r", &part[i]);
                        grad_weight_tile(e, k, &w, part[i].size);
                    end(e, 1);
                }
    end(e, 3);
    comment(e, "the chunks' sums, added in order");
    parallel(e);
    loop(e, "cb", blocks);
        loop(e, "r", w.kernel[0]);
            loop(e, "s", w.kernel[1]);
                line(e, "vec sum = zero;");
                loop(e, "chunk", s->chunks);
                    line(e, "sum += load(partial[chunk][cb][r][s]);");
                end(e, 1);
                store_gradient(e, k, "$T[cb][0][r][s][0]", "sum");
    end(e, 3);
}

const FastKernel depthwise_forward = {
    .name = "depthwise", .fuses = FUSE_SCALE | FUSE_ADD | FUSE_RELU | FUSE_STATS,
    .fits = fits, .plan = plan, .border = forward_border, .body = forward_body,
};

const FastKernel depthwise_grad_input = {
    .name = "depthwise", .fuses = FUSE_ADD | FUSE_MASK | FUSE_SUMS,
    .fits = grad_input_fits, .plan = plan, .border = grad_input_border, .body = grad_input_body,
};

const FastKernel depthwise_grad_weight = {
    .name = "depthwise", .fuses = FUSE_SGD,
    .fits = grad_weight_fits, .plan = plan_grad_weight, .border = forward_border, .body = grad_weight_body,
};
