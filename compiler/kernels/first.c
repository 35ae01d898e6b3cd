/* first.c - convolutions that read the pictures themselves: 1 to 4 input channels, plain NCHW, no border in memory.
 *
 * Lanes are output channels, as in every convolution here, and the sum runs over c, r and s together: vectors of so few
 * input channels would be mostly zeros. The input rows under a block of output rows are copied, with the padding around
 * them, into a small array that stays in the first cache, so that the tiles need no tests at the edges.
 *
 * Requires: X is the graph's input; groups 1. Establishes: Y or dW; there is no data gradient, pictures do not learn.
 */
#include "kernels.h"

enum {
    MAX_CHANNELS    = 4,
    LINE_FLOATS     = 16,               /* floats in a cache line                                                    */
    PIXELS_AHEAD    = 16,               /* weight gradient: so far ahead it fetches what the second cache holds      */
    MAX_ROWS_BYTES  = 40 * 1024,        /* of the copied input rows: most of the first cache                         */
    SUMMED_PIXELS   = 100,              /* weight gradient: at least so many between two stores of the sums          */
    WANTED_PIECES   = 16,               /* enough for any number of threads that such a layer keeps busy             */
};

typedef struct {
    Window  w;
    int64_t channels, blocks;           /* input channels; vectors of output channels                                */
    int64_t width;                      /* of a copied row: from the first pixel's first tap to the last one's last  */
    int64_t copied;                     /* picture columns in it                                                     */
} First;

static First first_of(const Kernel *k, int lanes)
{
    First f;
    conv_window(k->layer, &f.w);
    f.channels = k->layer->input[0]->output.dim[0];
    f.blocks = blocks_of(k->layer->output.dim[0], lanes);
    f.width = (f.w.out[1] - 1) * f.w.stride[1] + (f.w.kernel[1] - 1) * f.w.dilation[1] + 1;
    f.copied = f.width - f.w.before[1] < f.w.in[1] ? f.width - f.w.before[1] : f.w.in[1];
    return f;
}

/* Input rows under `rows` output rows. */
static int64_t rows_under(const First *f, int64_t rows)
{
    return (rows - 1) * f->w.stride[0] + (f->w.kernel[0] - 1) * f->w.dilation[0] + 1;
}

static int64_t rows_bytes(const First *f, int64_t rows)
{
    return f->channels * rows_under(f, rows) * f->width * 4;
}

static bool first_fits(const Kernel *k, const Target *target)
{
    const Tensor *x = operand_of(k, "X")->tensor;
    if (x->kind != TENSOR_INPUT || conv_groups(k->layer) != 1 || x->dim[1] > MAX_CHANNELS)
        return false;
    First f = first_of(k, target->lanes);
    return f.copied > 0 && rows_bytes(&f, 1) <= MAX_ROWS_BYTES;
}

static bool grad_weight_fits(const Kernel *k, const Target *target)
{
    return first_fits(k, target) && k->layer->param[0].dim[3] <= target->registers - 4;
}

static LayoutKind first_layout(const Kernel *k, const Operand *o)
{
    (void)k;
    switch (o->role[0]) {
    case 'X': return LAYOUT_PLAIN;
    case 'W': return LAYOUT_FILTERS;
    case 'b': return LAYOUT_ROWS;
    case 'd': return o->role[1] == 'W' ? LAYOUT_FILTERS : LAYOUT_BLOCKED;
    default:  return LAYOUT_BLOCKED;
    }
}

/* ---- the copied rows --------------------------------------------------------------------------------------------- */

static void declare_rows(Emitter *e, const First *f, int64_t rows)
{
    let_int(e, "C", f->channels);
    let_int(e, "under", rows_under(f, rows));
    let_int(e, "width", f->width);
    let(e, "rows", rows > 1 ? "%lld output rows" : "an output row", (long long)rows);
    line(e, "_Alignas(64) real rows[$C][$under][$width];        /* of X under $rows, with the padding */");
    if (f->copied < f->width)
        line(e, "memset(rows, 0, sizeof rows);");
}

/* rows[c][h] = row `from` + h - padding of picture n, zeros where there is none; the margins beside it stay zero. */
static void copy_rows(Emitter *e, const First *f, int64_t rows, const char *from, int64_t last_row)
{
    int64_t top = f->w.before[0];
    let(e, "row", "%s", sum_text(e, from, "h", 1, -top));
    let(e, "to", f->w.before[1] ? "&rows[c][h][%lld]" : "rows[c][h]", (long long)f->w.before[1]);
    let_int(e, "copied", f->copied);
    let_int(e, "H", f->w.in[0]);
    loop(e, "c", f->channels);
        loop(e, "h", rows_under(f, rows));
        if (top == 0 && last_row < f->w.in[0]) {
            line(e, "memcpy($to, X[n][c][$row], sizeof(real) * $copied);");
        } else {
            line(e, "const int row = $row;");
            when(e, top ? "row >= 0 && row < $H" : "row < $H");
                line(e, "memcpy($to, X[n][c][row], sizeof(real) * $copied);");
            otherwise(e);
                line(e, "memset($to, 0, sizeof(real) * $copied);");
            end(e, 1);
        }
    end(e, 2);
}

/* The rows that the next `rows` output rows add to those at hand come to the cache while these are worked on: columns
 * `from` to `to` (templates) of channel c. */
static void prefetch_rows(Emitter *e, const First *f, int64_t rows, const char *row, const char *from, const char *to)
{
    int64_t next = rows_under(f, rows) - f->w.before[0];
    if (next < 0)
        return;
    let_int(e, "last_row", f->w.in[0] - 1);
    let(e, "next", "%s", sum_text(e, row, "h", 1, next));
    loop(e, "h", rows * f->w.stride[0]);
        step_between(e, "w", from, to, LINE_FLOATS);
            line(e, "prefetch(&X[n][c][$next < $last_row ? $next : $last_row][w]);");
    end(e, 2);
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* Register tile: pixels x vectors of filters. The sums, the vectors of W and one element of X are in registers. */
static void plan_forward(Program *p, Kernel *k)
{
    First f = first_of(k, p->target->lanes);
    Schedule *s = &k->schedule;
    int64_t best = 0;
    for (int blocks = 4; blocks >= 1; blocks--) {
        int64_t pixels = even_tile(f.w.out[1], least((p->target->registers - blocks - 2) / blocks, 28));
        int64_t worth = pixels * blocks * (blocks > 1 ? 4 : 3);     /* one vector: as many loads as multiply-adds */
        if (f.blocks % blocks == 0 && worth > best) {
            best = worth;
            s->pixels = (int)pixels;
            s->blocks = blocks;
        }
    }
    s->chunks = (int)pieces_of(f.w.out[0], p->graph->batch * f.blocks / s->blocks, WANTED_PIECES);
    s->text = arena_printf(p->arena, "tile %d pixels x %d vectors, %s shared among threads", s->pixels, s->blocks,
                           s->chunks > 1 ? "pictures, vectors and rows" : "pictures and vectors");
}

static void forward_tiles(Emitter *e, const Kernel *k, const First *f, const Tiles *tiles)
{
    int blocks = k->schedule.blocks;
    let_int(e, "T", tiles->size);
    let_int(e, "B", blocks);
    let(e, "row", "%s", times(e, "r", f->w.dilation[0]));
    let(e, "column", "%s", sum_text(e, times(e, "j", f->w.stride[1]), "s", f->w.dilation[1], 0));
    let(e, "step", "%s", times(e, "t", f->w.stride[1]));
    let(e, "pixel", "%s", pixel(e, k, "Y", "n", "kb + q", "i", "j + t"));
    let(e, "column_end", f->w.out[1] * f->w.stride[1] > f->w.in[1] ? "%s && w < %lld" : "%s",
        sum_text(e, times(e, "j", f->w.stride[1]), "", 0, tiles->size * f->w.stride[1]), (long long)f->w.in[1]);
    open_tiles(e, "j", tiles);
        comment(e, "meanwhile this tile's share of the next rows and its output's lines come to the cache");
        loop(e, "c", f->channels);
            prefetch_rows(e, f, 1, times(e, "i", f->w.stride[0]), times(e, "j", f->w.stride[1]), "$column_end");
        end(e, 1);
        unrolled(e, "q", blocks);
            unrolled(e, "t", tiles->size);
                line(e, "prefetch($pixel);");
        end(e, 2);
        line(e, "vec sum[$B][$T];        /* register tile: $T pixels x $B vectors of filters */");
        unrolled(e, "q", blocks);
            unrolled(e, "t", tiles->size);
                line(e, has_operand(k, "b") ? "sum[q][t] = load(&b[(kb + q) * $L]);" : "sum[q][t] = zero;");
        end(e, 2);
        loop(e, "r", f->w.kernel[0]);
            loop(e, "s", f->w.kernel[1]);
                unrolled(e, "c", f->channels);
                    line(e, "const real *x = &rows[c][$row][$column];");
                    unrolled(e, "t", tiles->size);
                        unrolled(e, "q", blocks);
                            line(e, "sum[q][t] += splat(x[$step]) * load(W[kb + q][0][r][s][c]);");
                    end(e, 2);
        end(e, 3);
        unrolled(e, "q", blocks);
            unrolled(e, "t", tiles->size);
                store_pixel(e, k, "Y", "sum[q][t]", "n", "kb + q", "i", "j + t");
        end(e, 2);
    end(e, 1);
}

static const char *const block_text[] = {"kb", "kb + 1", "kb + 2", "kb + 3"};

static void open_forward(Emitter *e, const Kernel *k, const First *f, int64_t pieces)
{
    let_int(e, "P", f->w.out[0]);
    let_int(e, "pieces", pieces);
    parallel_over(e, pieces > 1 ? 3 : 2);
    loop(e, "n", k->layer->graph->batch);
        step_loop(e, "kb", f->blocks, k->schedule.blocks);
            if (pieces > 1)
                loop(e, "piece", pieces);
}

static void forward_body(Emitter *e, const Kernel *k)
{
    First f = first_of(k, operand_of(k, "Y")->tensor->layout.lanes);
    Tiles part[2];
    int parts = even_tiles(f.w.out[1], k->schedule.pixels, part);
    int64_t pieces = k->fuses & FUSE_STATS ? 1 : k->schedule.chunks;    /* statistics want whole planes */
    open_forward(e, k, &f, pieces);
        declare_rows(e, &f, 1);
        bool once = pieces > 1 && has_border(k, "Y");
        if (once)
            when(e, "piece == 0");
        for (int q = 0; q < k->schedule.blocks; q++)
            clear_border(e, k, "Y", "n", block_text[q]);
        if (once)
            end(e, 1);
        if (pieces > 1) {
            loop_between(e, "i", "piece * $P / $pieces", "(piece + 1) * $P / $pieces");
        } else {
            loop(e, "i", f.w.out[0]);
        }
            copy_rows(e, &f, 1, times(e, "i", f.w.stride[0]), rows_under(&f, f.w.out[0]) - 1);
            for (int i = 0; i < parts; i++)
                forward_tiles(e, k, &f, &part[i]);
        end(e, 1);
        for (int q = 0; q < k->schedule.blocks; q++)
            finish_plane(e, k, "Y", "n", block_text[q]);
    end(e, pieces > 1 ? 3 : 2);
}

/* ---- weight gradient --------------------------------------------------------------------------------------------- */

/* Register tile: vectors of filters x taps, where the taps are some whole rows of the kernel, in one input channel. */
static void plan_grad_weight(Program *p, Kernel *k)
{
    First f = first_of(k, p->target->lanes);
    Schedule *s = &k->schedule;
    int best = 0;
    for (int blocks = 4; blocks >= 1; blocks--) {
        int64_t most = (p->target->registers - blocks - 1) / blocks / f.w.kernel[1];
        if (f.blocks % blocks != 0 || most == 0)
            continue;
        int64_t rows = even_tile(f.w.kernel[0], most);
        int sums = (int)(rows * f.w.kernel[1]) * blocks;
        if (sums > best) {
            best = sums;
            s->blocks = blocks;
            s->pixels = (int)rows;      /* kernel rows in a tile */
        }
    }
    bool one_tile = f.channels == 1 && s->pixels == f.w.kernel[0];
    int64_t rows = one_tile ? f.w.out[0] : least(f.w.out[0], (SUMMED_PIXELS + f.w.out[1] - 1) / f.w.out[1]);
    while (rows > 1 && rows_bytes(&f, rows) > MAX_ROWS_BYTES)
        rows--;
    s->rows = (int)rows;
    s->chunks = (int)least(WANTED_PIECES, p->graph->batch * ((f.w.out[0] + rows - 1) / rows));
    scratch_of(p, k, "partial", 5, (int64_t[]){s->chunks, f.blocks, f.w.kernel[0], f.w.kernel[1],
                                              f.channels * p->target->lanes});
    s->text = arena_printf(p->arena, "tile %lld taps x %d vectors, summed over %d rows; %d partial sums",
                           (long long)(s->pixels * f.w.kernel[1]), s->blocks, s->rows, s->chunks);
}

/* Opens the loops over the register tile. */
static void loop_tile(Emitter *e, const Kernel *k, int64_t tap_rows)
{
    unrolled(e, "g", tap_rows);
        unrolled(e, "s", k->layer->param[0].dim[3]);
            unrolled(e, "q", k->schedule.blocks);
}

/* Adds the copied rows' products to the taps of kernel rows r ... r + tiles->size - 1. */
static void grad_weight_tiles(Emitter *e, const Kernel *k, const First *f, const Tiles *tiles)
{
    const char *tap_row = f->w.dilation[0] == 1 ? "r + g" : times(e, "(r + g)", f->w.dilation[0]);
    let_int(e, "G", tiles->size);
    let(e, "row", "%s", sum_text(e, times(e, "i", f->w.stride[0]), tap_row, 1, 0));
    let(e, "column", "%s", sum_text(e, times(e, "j", f->w.stride[1]), "s", f->w.dilation[1], 0));
    let(e, "pixel", "%s", pixel(e, k, "dY", "n", "kb + q", "start + i", "j"));
    let(e, "pixel_ahead", "%s", pixel(e, k, "dY", "n", "kb + q", "start + i", "ahead"));
    let_int(e, "A", PIXELS_AHEAD);
    let_int(e, "last", f->w.out[1] - 1);
    bool again = f->channels * f->w.kernel[0] > tiles->size;    /* each tile reads dY, by then from the second cache */
    open_tiles(e, "r", tiles);
        line(e, "vec sum[$B][$G][$S];        /* register tile: $B vectors of filters x $G rows of $S taps */");
        loop_tile(e, k, tiles->size);
            line(e, "sum[q][g][s] = load(&partial[chunk][kb + q][r + g][s][c * $L]);");
        end(e, 3);
        loop_between(e, "i", "0", "count");
            loop(e, "j", f->w.out[1]);
                line(e, "vec dy[$B];");
                if (again)
                    line(e, "const int ahead = j + $A < $last ? j + $A : $last;");
                unrolled(e, "q", k->schedule.blocks);
                    line(e, "dy[q] = load($pixel);");
                    if (again)
                        line(e, "prefetch($pixel_ahead);");
                end(e, 1);
                loop_tile(e, k, tiles->size);
                    line(e, "sum[q][g][s] += dy[q] * splat(rows[c][$row][$column]);");
        end(e, 5);
        loop_tile(e, k, tiles->size);
            line(e, "store(&partial[chunk][kb + q][r + g][s][c * $L], sum[q][g][s]);");
    end(e, 4);
}

/* The chunks' sums, added in order. */
static void add_partial_sums(Emitter *e, const Kernel *k, const First *f)
{
    parallel_over(e, 2);
    loop(e, "kb", f->blocks);
        loop(e, "r", f->w.kernel[0]);
            loop(e, "s", f->w.kernel[1]);
                loop(e, "c", f->channels);
                    line(e, "vec sum = zero;");
                    loop(e, "chunk", k->schedule.chunks);
                        line(e, "sum += load(&partial[chunk][kb][r][s][c * $L]);");
                    end(e, 1);
                    store_gradient(e, k, "$T[kb][0][r][s][c]", "sum");
    end(e, 4);
}

static void grad_weight_body(Emitter *e, const Kernel *k)
{
    First f = first_of(k, operand_of(k, "dY")->tensor->layout.lanes);
    const Schedule *s = &k->schedule;
    int64_t row_blocks = (f.w.out[0] + s->rows - 1) / s->rows;
    Tiles part[2];
    int parts = even_tiles(f.w.kernel[0], s->pixels, part);
    let_int(e, "P", f.w.out[0]);
    let_int(e, "B", s->blocks);
    let_int(e, "S", f.w.kernel[1]);
    let_int(e, "I", s->rows);
    let_int(e, "W", f.w.in[1]);
    let_int(e, "row_blocks", row_blocks);
    let_int(e, "units", k->layer->graph->batch * row_blocks);
    let_int(e, "chunks", s->chunks);
    let(e, "picture", row_blocks > 1 ? "unit / %lld" : "unit", (long long)row_blocks);
    let(e, "start_row", "%s", row_blocks > 1 ? times(e, substitute(e, "unit % $row_blocks"), s->rows) : "0");
    comment(e, "a chunk is some blocks of $I output rows, of all pictures in order");
    parallel_over(e, 2);
    loop(e, "chunk", s->chunks);
        step_loop(e, "kb", f.blocks, s->blocks);
            declare_rows(e, &f, s->rows);
            line(e, "memset(partial[chunk][kb], 0, $B * sizeof partial[chunk][kb]);");
            loop_between(e, "unit", "chunk * $units / $chunks", "(chunk + 1) * $units / $chunks");
                line(e, "const int n = $picture, start = $start_row;");
                line(e, f.w.out[0] % s->rows ? "const int count = $P - start < $I ? $P - start : $I;"
                                             : "const int count = $I;");
                copy_rows(e, &f, s->rows, times(e, "start", f.w.stride[0]), rows_under(&f, row_blocks * s->rows) - 1);
                loop(e, "c", f.channels);
                    if (row_blocks > 1)
                        prefetch_rows(e, &f, s->rows, times(e, "start", f.w.stride[0]), "0", "$W");
                    for (int i = 0; i < parts; i++)
                        grad_weight_tiles(e, k, &f, &part[i]);
    end(e, 4);
    comment(e, "the chunks' sums, added in order");
    add_partial_sums(e, k, &f);
}

const FastKernel first_forward = {
    .name = "first", .fuses = FUSE_SCALE | FUSE_ADD | FUSE_RELU | FUSE_STATS,
    .fits = first_fits, .plan = plan_forward, .layout = first_layout, .body = forward_body,
};

const FastKernel first_grad_weight = {
    .name = "first", .fuses = FUSE_SGD, .fits = grad_weight_fits, .plan = plan_grad_weight,
    .layout = first_layout, .body = grad_weight_body,
};
