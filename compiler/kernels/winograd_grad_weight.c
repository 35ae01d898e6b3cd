/* winograd_grad_weight.c - weight gradient of 3x3 and 5x5 convolutions of stride 1 by Winograd's algorithm.
 *
 *     dW = G' [ sum_tiles (B' d B) * (A dY A') ] G       the transpose of the forward pass: winograd.h
 *
 * Requires: X and dY with borders of zeros up to whole tiles. Establishes: dW, by sums over tiles in one fixed order.
 * For a large block of tiles all threads make V = B' d B and D = A dY A' together; then each owns groups of filters and
 * adds the block's products to their sums S, so that no two threads ever add to the same one.
 */
#include "winograd.h"

enum {
    TILES_MOST = 112,           /* tiles of a block: V and D stay in the last cache, a row of D in the first          */
    SLICE      = 64,            /* input channels of a group of filters                                               */
    FEWEST     = 3,             /* groups of 5x5 filters to share among threads: with fewer, direct is faster         */
};

static bool fits(const Kernel *k, const Target *target)
{
    if (!winograd_fits(k, target, false))
        return false;
    Winograd g = winograd_of(k->layer, target->lanes, false);
    int64_t groups = g.out / winograd_group(g.out, target->registers) * ((g.in * g.lanes + SLICE - 1) / SLICE);
    return g.taps == 3 || groups >= FEWEST;
}

/* Schedule: pixels x blocks is the register tile, input channels x vectors of output channels; rows: tiles of a block;
 * chunks: input blocks of a group of filters. */
static void plan(Program *p, Kernel *k)
{
    const int L = p->target->lanes, registers = p->target->registers;
    Winograd g = winograd_of(k->layer, L, false);
    int group = winograd_group(g.out, registers), channels = registers < 32 ? 4 : group > 1 ? 8 : 16;
    channels = channels > L ? L : channels;
    int64_t block = winograd_block(g.tiles, TILES_MOST, 1), slices = (g.in * L + SLICE - 1) / SLICE;
    int64_t slice = (g.in + slices - 1) / slices;
    slices = (g.in + slice - 1) / slice;
    k->schedule = (Schedule){.pixels = channels, .blocks = group, .rows = (int)block, .chunks = (int)slice};
    scratch_of(p, k, "V", 3, (int64_t[]){36, g.in * block + 1, L});
    scratch_of(p, k, "D", 3, (int64_t[]){36, g.out * block + 1, L});
    if (block < g.tiles)
        scratch_of(p, k, "sums", 5, (int64_t[]){g.out / group, slices, 36, slice * L, group * L});
    k->schedule.text = arena_printf(p->arena, "F(%dx%d, %dx%d): %lld of %lld tiles at a time, groups of %lld x %d "
                                    "blocks of channels shared among threads, tile %d x %d vectors",
                                    g.side, g.side, g.taps, g.taps,
                                    (long long)block, (long long)g.tiles, (long long)slice, group, channels, group);
}

static Border border(const Kernel *k, const Operand *o)
{
    if (o == operand_of(k, "X"))
        return winograd_border(k->layer, false);
    return o == operand_of(k, "dY") ? winograd_border_gradient(k->layer) : (Border){0};
}

/* D = A dY A' of tile t, zeros where there is no such tile. */
static void spread_tile(Emitter *e, const Kernel *kernel, const Winograd *g)
{
    let(e, "at", "%s", pixel(e, kernel, "dY", "n", "kb", "i", "j"));
    let(e, "spread_tile", "%s", spread_part(e, g->side));
    let_int(e, "gradient_row", picture_row(kernel, "dY"));
    if (g->ragged) {
        when(e, "!($exists)");
            loop(e, "f", 36);
                line(e, "store(D[f][kb * $block + t], zero);");
            end(e, 1);
            line(e, "continue;");
        end(e, 1);
    }
    line(e, "const int tile = $tile;");
    tile_place(e, g);
    line(e, "$spread_tile($at, $gradient_row, D[0][kb * $block + t], $dplane);");
}

static void body(Emitter *e, const Kernel *k)
{
    const Schedule *s = &k->schedule;
    Winograd g = winograd_of(k->layer, operand_of(k, "X")->tensor->layout.lanes, false);
    const bool looped = s->rows < g.tiles, sliced = s->chunks < g.in, even = g.in % s->chunks == 0;
    winograd_names(e, &g, s->rows, looped);
    let_int(e, "channels", s->pixels);
    let_int(e, "group", s->blocks);
    let(e, "kb", s->blocks == 1 ? "k" : "k * %d + v", s->blocks);
    let(e, "first_out", s->blocks == 1 ? "k" : "k * %d", s->blocks);
    let_int(e, "slice", s->chunks);
    let_int(e, "in", g.in);
    let(e, "sums", looped ? "sums[k][part]" : "S");
    let(e, "stop", even ? "%d" : "stop", s->chunks);
    let(e, "from", "%s", sliced ? substitute(e, "part * $slice") : "0");
    let(e, "block_in", "%s", sliced ? substitute(e, "part * $slice + cb") : "cb");
    let_int(e, "vplane", (g.in * s->rows + 1) * g.lanes);
    let_int(e, "dplane", (g.out * s->rows + 1) * g.lanes);
    let_int(e, "splane", (int64_t)s->chunks * g.lanes * s->blocks * g.lanes);
    let(e, "more", looped ? "first > 0" : "0");
    let(e, "sum_tiles", "%s", sums_part(e, s->pixels, g.lanes, s->blocks));
    let(e, "gather", "%s", gather_part(e, k, g.taps));
    if (looped)
        step_loop(e, "first", g.tiles, s->rows);
    comment(e, "V = B' d B of $block tiles");
    parallel_over(e, 2);
    loop(e, "cb", g.in);
        loop(e, "t", s->rows);
            cut_tile(e, k, &g, "X");
    end(e, 2);
    comment(e, "D = A dY A'");
    parallel_over(e, 2);
    loop(e, "kb", g.out);
        loop(e, "t", s->rows);
            spread_tile(e, k, &g);
    end(e, 2);
    comment(e, "sums += V' D, for $group vectors of output channels and $slice blocks of input channels");
    parallel_over(e, 2);
    loop(e, "k", g.out / s->blocks);
        loop(e, "part", (g.in + s->chunks - 1) / s->chunks);
            if (!even)
                line(e, "const int stop = part * $slice + $slice < $in ? $slice : $in - part * $slice;");
            if (!looped) {
                let_int(e, "rows", (int64_t)s->chunks * g.lanes);
                line(e, "_Alignas(vec) real S[36][$rows][$group * $L];");
            }
            line(e, "$sum_tiles(V[0][$from * $block], $vplane, D[0][$first_out * $block], $dplane, $sums[0][0], "
                    "$splane, $block, $stop, $more);");
            comment(e, looped ? "dW = G' S G, once the sums are complete" : "dW = G' S G");
            if (looped)
                when(e, "first + $block >= $tiles");
            loop_between(e, "cb", "0", "$stop");
                loop(e, "v", s->blocks);
                    line(e, k->fuses & FUSE_SGD
                         ? "$gather(&$sums[0][cb * $L][v * $L], $splane, $group * $L, dW[$kb][$block_in][0][0][0], "
                           "W[$kb][$block_in][0][0][0], velocity[$kb][$block_in][0][0][0], rule);"
                         : "$gather(&$sums[0][cb * $L][v * $L], $splane, $group * $L, dW[$kb][$block_in][0][0][0]);");
            end(e, 2);
    end(e, 2 + 2 * looped);
}

const FastKernel winograd_grad_weight = {
    .name = "winograd", .fuses = FUSE_SGD, .fits = fits, .plan = plan, .border = border, .body = body,
};
