/* winograd.c - Winograd's algorithm for 3x3 and 5x5 convolutions of stride 1: forward pass and data gradient.
 *
 * Requires: X (dY) with a border of zeros up to whole tiles. Establishes: Y (dX), borders cleared. Lavin and Gray 2016
 * (arXiv 1509.09308), section 4; the mathematics stands in winograd.h. The data gradient is the forward pass on dY with
 * filters rotated by 180 degrees and input and output channels exchanged.
 *
 * Two orders of work:
 * - by tiles, where all transformed filters fit the last cache: they are made once; then each thread takes blocks of
 *   tiles, whose V stays in its second-level cache while the filters stream past it;
 * - by filters, where they do not (many channels: the pictures are small): V of a large block of tiles is made by all
 *   threads together; then each thread takes groups of output channels and transforms their filters on the way, some
 *   input channels at a time, so that the transformed filters never leave its cache.
 */
#include "winograd.h"

enum {
    FILTERS_MOST = 12 << 20,    /* bytes of transformed filters that stay in the last cache                           */
    TILES_MOST   = 600 << 10,   /* bytes of V that stay in the second-level cache                                     */
    BY_TILES     = 28,          /* tiles of a block, at most                                                          */
    BY_FILTERS   = 128,
    SLICE        = 64,          /* input channels of filters that are transformed at a time                           */
};

static bool is_backward(const Kernel *k)
{
    return has_operand(k, "dX");
}

/* ---- schedule ---------------------------------------------------------------------------------------------------- */

static bool forward_fits(const Kernel *k, const Target *target)
{
    return winograd_fits(k, target, false);
}

static bool grad_input_fits(const Kernel *k, const Target *target)
{
    return winograd_fits(k, target, true);
}

/* Tiles of a register tile, at most `most` of what fits: the number that leaves the fewest spare ones. */
static int register_tiles(int64_t tiles, int blocks, int registers, int64_t most)
{
    const int64_t fits = registers >= 32 ? (int[]){14, 14, 8}[blocks - 1] : (int[]){10, 6, 3}[blocks - 1];
    int64_t best = most = most < fits ? most : fits, least = INT64_MAX;
    for (int64_t p = most; p > 2 && (p > most / 2 || p >= tiles); p--) {
        int64_t cost = (tiles + p - 1) / p * p * (100 + most - p);     /* a smaller tile loads more: 1 % a step */
        if (cost < least) {
            least = cost;
            best = p;
        }
    }
    return (int)best;
}

/* Schedule: pixels and blocks are the register tile, tiles x vectors; rows: tiles of a block; chunks: input blocks of a
 * slice of filters, 0 where work goes by tiles. */
static void plan_by_tiles(Program *p, Kernel *k, const Winograd *g, int group, int width)
{
    const int L = g->lanes;
    int64_t most = TILES_MOST / (36 * g->in * L * 4);
    most = most > BY_TILES ? BY_TILES : most;
    most = most > g->tiles / 8 ? g->tiles / 8 : most;       /* blocks enough for several threads */
    int64_t block = winograd_block(g->tiles, most < width ? width : most / width * width, width);
    k->schedule = (Schedule){.pixels = width, .blocks = group, .rows = (int)block};
    k->schedule.text = arena_printf(p->arena, "F(%dx%d, %dx%d) by tiles: %lld of %lld shared among threads, "
                                    "tile %d x %d vectors",
                                    g->side, g->side, g->taps, g->taps,
                                    (long long)block, (long long)g->tiles, width, group);
    scratch_of(p, k, "U", 4, (int64_t[]){g->out / group, 36, g->in * L + 1, group * L});
}

static void plan_by_filters(Program *p, Kernel *k, const Winograd *g, int group, int width)
{
    const int L = g->lanes;
    int64_t slices = (g->in * L + SLICE - 1) / SLICE, block = winograd_block(g->tiles, BY_FILTERS * 2 / group, width);
    k->schedule = (Schedule){.pixels = width, .blocks = group, .rows = (int)block,
                             .chunks = (int)((g->in + slices - 1) / slices)};
    k->schedule.text = arena_printf(p->arena, "F(%dx%d, %dx%d) by filters: %lld of %lld tiles at a time, groups "
                                    "of %d blocks of channels shared among threads, tile %d "
                                    "x %d vectors", g->side, g->side, g->taps, g->taps,
                                    (long long)block, (long long)g->tiles, group, width, group);
    scratch_of(p, k, "V", 3, (int64_t[]){36, g->in * block + 1, L});
}

static void plan(Program *p, Kernel *k)
{
    const int registers = p->target->registers;
    Winograd g = winograd_of(k->layer, p->target->lanes, is_backward(k));
    int64_t plane = 36 * g.in * g.lanes * 4, filters = plane * g.out * g.lanes;
    int group = winograd_group(g.out, registers), width = register_tiles(g.tiles, group, registers, INT64_MAX);
    bool few = g.out / group < 4;       /* too few groups of filters to share among threads: smaller tiles are better */
    if (few && plane * width > TILES_MOST && plane * 4 <= TILES_MOST)
        width = register_tiles(g.tiles, group, registers, TILES_MOST / plane);
    bool by_tiles = plane * width <= TILES_MOST && (filters <= FILTERS_MOST || few);
    (by_tiles ? plan_by_tiles : plan_by_filters)(p, k, &g, group, width);
}

static Border border(const Kernel *k, const Operand *o)
{
    bool backward = is_backward(k);
    const Operand *cut = operand_of(k, backward ? "dY" : "X");
    return o == cut ? winograd_border(k->layer, backward) : (Border){0};
}

/* ---- pieces of the body ------------------------------------------------------------------------------------------ */

/* U of the L input channels of block cb, for block k * group + v of the output channels. $filters: U's place;
 * $row: the block's first row there. */
static void transform_filters(Emitter *e, const Kernel *kernel, const Winograd *g)
{
    let(e, "transform", "%s", filters_part(e, g->taps, is_backward(kernel)));
    let(e, "from", "%s", substitute(e, is_backward(kernel) ? "W[cb][$kb][0][0][0]" : "W[$kb][cb][0][0][0]"));
    line(e, "$transform($from, &$filters[0][$row * $L][v * $L], $uplane, $group * $L);");
}

/* Z[f] = U[f] V[f] for some blocks of input channels from $cut on; `sliced`: added to what
 * the slices before have left. */
static void multiply(Emitter *e, const Kernel *kernel, const char *input_blocks, bool sliced)
{
    let(e, "products", "%s", products_part(e, kernel->schedule.pixels, kernel->schedule.blocks));
    let(e, "more", sliced ? "slice > 0" : "0");
    let(e, "blocks", "%s", substitute(e, input_blocks));
    line(e, "$products($filters[0][0], $uplane, V[0][$cut], $vplane, Z[0][0], $zplane, $block, $blocks, $more);");
}

/* ---- what a batch norm needs ------------------------------------------------------------------------------------- */

/* FUSE_STATS, FUSE_SUMS: a block of tiles is a piece, of which partial[piece][kb] gets, for each lane,
 * - the mean of Y, the squares about it and the number of pixels: from distances to a pivot, the first tile's mean;
 * - the sums of dX, which is the gradient of a batch norm's output, and of dX * (X - mean).
 * Sums are floats in a tile, double from tile to tile. */
static bool leaves_statistics(const Kernel *k)
{
    return (k->fuses & FUSE_STATS) != 0;
}

static bool leaves_something(const Kernel *k)
{
    return (k->fuses & (FUSE_STATS | FUSE_SUMS)) != 0;
}

static int64_t pieces(const Kernel *k)
{
    const Winograd g = winograd_of(k->layer, 1, is_backward(k));
    return (g.tiles + k->schedule.rows - 1) / k->schedule.rows;
}

static void begin_sums(Emitter *e, const Kernel *k)
{
    line(e, "wide total = {0}, products = {0};");
    if (leaves_statistics(k)) {
        line(e, "vec pivot = zero;");
        line(e, "int pixels = 0;");
        return;
    }
    line(e, "const vec m = load(&norm_mean[kb * L]);");
    if (has_operand(k, "norm_shift"))
        line(e, "const vec scales = load(&norm_scale[kb * L]) * load(&norm_inverse_deviation[kb * L]), "
                "shifts = load(&norm_shift[kb * L]);");
}

static void begin_tile(Emitter *e, const Kernel *k)
{
    if (leaves_statistics(k)) {
        when(e, "t == 0");
            loop_between(e, "r", "0", "$rows");
                loop_between(e, "s", "0", "$columns");
                    line(e, "pivot += y[r][s] / splat($rows * $columns);");
        end(e, 3);
    }
    line(e, "vec sum[2] = {zero, zero}, product[2] = {zero, zero};");
}

/* After pixel r, s has been stored. */
static void add_pixel(Emitter *e, const Kernel *k)
{
    if (leaves_statistics(k)) {
        line(e, "const vec d = y[r][s] - pivot;");
        line(e, "product[s % 2] += d * d;");
    } else {
        let(e, "x", "%s", pixel(e, k, "norm_X", "n", "kb", "i + r", "j + s"));
        let(e, "dx", "%s", pixel(e, k, "dX", "n", "kb", "i + r", "j + s"));
        line(e, "const vec x = load($x) - m;");
        line(e, has_operand(k, "norm_shift") ? "const vec d = where_positive(x * scales + shifts, load($dx));"
                                             : "const vec d = load($dx);");
        line(e, "product[s % 2] += d * x;");
    }
    line(e, "sum[s % 2] += d;");
}

static void end_tile(Emitter *e, const Kernel *k)
{
    line(e, "total += widen(sum[0] + sum[1]);");
    line(e, "products += widen(product[0] + product[1]);");
    if (leaves_statistics(k))
        line(e, "pixels += $rows * $columns;");
}

static void store_sums(Emitter *e, const Kernel *k)
{
    if (!leaves_statistics(k)) {
        line(e, "store(partial[$piece][kb][0], narrow(total));");
        line(e, "store(partial[$piece][kb][1], narrow(products));");
        return;
    }
    line(e, "const wide apart = total / (double)pixels;");
    line(e, has_operand(k, "b") ? "store(partial[$piece][kb][0], narrow(widen(pivot) + apart) + bias);"
                                : "store(partial[$piece][kb][0], narrow(widen(pivot) + apart));");
    line(e, "store(partial[$piece][kb][1], narrow(products - apart * apart * (double)pixels));");
    line(e, "store(partial[$piece][kb][2], splat(pixels));");
}

/* ---- joining ----------------------------------------------------------------------------------------------------- */

/* The pixels of a tile that lie in the picture, stored. */
static void store_tile(Emitter *e, const Kernel *kernel, const Winograd *g, const char *role, bool edges)
{
    const bool summed = leaves_something(kernel);
    let(e, "rows", edges ? "rows" : "%d", g->side);
    let(e, "columns", edges ? "columns" : "%d", g->side);
    if (edges)
        line(e, "const int rows = $P - i < $side ? $P - i : $side, columns = $Q - j < $side ? $Q - j : $side;");
    if (summed)
        begin_tile(e, kernel);
    loop_between(e, "r", "0", "$rows");
        if (edges && !summed)
            loop_between(e, "s", "0", "$columns");
        else
            unrolled(e, "s", g->side);
        if (edges && summed)
            when(e, "s < columns");
        store_pixel(e, kernel, role, has_operand(kernel, "b") ? "y[r][s] + bias" : "y[r][s]", "n", "kb", "i + r",
                    "j + s");
        if (summed)
            add_pixel(e, kernel);
    end(e, 2 + (edges && summed));
    if (summed)
        end_tile(e, kernel);
}

/* Y = A' Z A of the block's tiles, $group blocks of channels each; pixels beyond the picture are left out. */
static void join_tiles(Emitter *e, const Kernel *kernel, const Winograd *g, const char *role)
{
    let_int(e, "side", g->side);
    let_int(e, "P", g->height);
    let_int(e, "Q", g->width);
    let(e, "join_tile", "%s", join_part(e, g->side));
    loop(e, "v", kernel->schedule.blocks);
        line(e, "const int kb = $kb;");
        if (has_operand(kernel, "b"))
            line(e, "const vec bias = load(&b[kb * $L]);");
        if (leaves_something(kernel))
            begin_sums(e, kernel);
        loop_between(e, "t", "0", g->ragged ? "$block && $exists" : "$block");
            line(e, "const int tile = $tile;");
            tile_place(e, g);
            if (has_border(kernel, role) && !kernel->adds) {
                when(e, "i == 0 && j == 0");
                    clear_border(e, kernel, role, "n", "kb");
                end(e, 1);
            }
            line(e, "vec y[$side][$side];");
            line(e, "$join_tile(Z[0][v * $block + t], $zplane, y);");
            store_tile(e, kernel, g, role, g->height % g->side != 0 || g->width % g->side != 0);
        end(e, 1);
        if (leaves_something(kernel))
            store_sums(e, kernel);
    end(e, 1);
}

/* ---- the two orders ---------------------------------------------------------------------------------------------- */

static void by_tiles(Emitter *e, const Kernel *k, const Winograd *g, const char *from, const char *to)
{
    const Schedule *s = &k->schedule;
    let(e, "filters", "U[k]");
    let(e, "row", "cb");
    let(e, "cut", "0");
    comment(e, "U = G g G'");
    parallel_over(e, 2);
    loop(e, "k", g->out / s->blocks);
        loop(e, "cb", g->in);
            loop(e, "v", s->blocks);
                transform_filters(e, k, g);
    end(e, 3);
    comment(e, "$block tiles at a time; one more column keeps the 36 planes of V and Z apart in the cache's sets");
    parallel(e);
    step_loop(e, "first", g->tiles, s->rows);
        line(e, "_Alignas(vec) real V[36][$vcount][$L], Z[36][$mcount][$L];");
        comment(e, "V = B' d B");
        loop(e, "cb", g->in);
            loop(e, "t", s->rows);
                cut_tile(e, k, g, from);
        end(e, 2);
        loop(e, "k", g->out / s->blocks);
            comment(e, "Z = U V");
            multiply(e, k, "$in", false);
            comment(e, "A' Z A");
            join_tiles(e, k, g, to);
    end(e, 2);
}

static void by_filters(Emitter *e, const Kernel *k, const Winograd *g, const char *from, const char *to)
{
    const Schedule *s = &k->schedule;
    const bool looped = s->rows < g->tiles, sliced = s->chunks < g->in, even = g->in % s->chunks == 0;
    let(e, "filters", "U");
    let(e, "row", sliced ? "(cb - slice)" : "cb");
    let(e, "cut", "%s", sliced ? substitute(e, "slice * $block") : "0");
    let_int(e, "slice", s->chunks);
    if (looped)
        step_loop(e, "first", g->tiles, s->rows);
    {
        comment(e, "V = B' d B of $block tiles");
        parallel_over(e, 2);
        loop(e, "cb", g->in);
            loop(e, "t", s->rows);
                cut_tile(e, k, g, from);
        end(e, 2);
        parallel(e);
        loop(e, "k", g->out / s->blocks);
            comment(e, "one more column keeps the 36 planes apart in the cache's sets");
            line(e, "_Alignas(vec) real U[36][$ucount][$group * $L], Z[36][$mcount][$L];");
            if (sliced)
                step_loop(e, "slice", g->in, s->chunks);
            comment(e, "U = G g G'");
            if (sliced && !even)
                line(e, "const int stop = slice + $slice < $in ? slice + $slice : $in;");
            loop_between(e, "cb", sliced ? "slice" : "0", !sliced ? "$in" : even ? "slice + $slice" : "stop");
                loop(e, "v", s->blocks);
                    transform_filters(e, k, g);
            end(e, 2);
            comment(e, "Z = U V");
            multiply(e, k, even ? "$slice" : "stop - slice", sliced);
            if (sliced)
                end(e, 1);
            comment(e, "A' Z A");
            join_tiles(e, k, g, to);
        end(e, 1);
    }
    if (looped)
        end(e, 1);
}

static void body(Emitter *e, const Kernel *k)
{
    const bool backward = is_backward(k);
    const char *from = backward ? "dY" : "X", *to = backward ? "dX" : "Y";
    const Schedule *s = &k->schedule;
    Winograd g = winograd_of(k->layer, operand_of(k, from)->tensor->layout.lanes, backward);
    winograd_names(e, &g, s->rows, s->chunks == 0 || s->rows < g.tiles);
    let_int(e, "width", s->pixels);
    let_int(e, "group", s->blocks);
    let(e, "kb", s->blocks == 1 ? "k" : "k * %d + v", s->blocks);
    let_int(e, "in", g.in);
    let_int(e, "vcount", g.in * s->rows + 1);
    let_int(e, "mcount", (int64_t)s->blocks * s->rows + 1);
    let_int(e, "ucount", (int64_t)s->chunks * g.lanes + 1);
    let_int(e, "uplane", ((s->chunks ? s->chunks : g.in) * g.lanes + 1) * s->blocks * g.lanes);
    let_int(e, "vplane", (g.in * s->rows + 1) * g.lanes);
    let_int(e, "zplane", ((int64_t)s->blocks * s->rows + 1) * g.lanes);
    (s->chunks ? by_filters : by_tiles)(e, k, &g, from, to);
}

const FastKernel winograd_forward = {
    .name = "winograd", .fuses = FUSE_SCALE | FUSE_ADD | FUSE_RELU | FUSE_STATS, .fits = forward_fits, .plan = plan,
    .pieces = pieces, .border = border, .body = body,
};

const FastKernel winograd_grad_input = {
    .name = "winograd", .fuses = FUSE_ADD | FUSE_MASK | FUSE_SUMS, .fits = grad_input_fits, .plan = plan,
    .pieces = pieces, .border = border, .body = body,
};
