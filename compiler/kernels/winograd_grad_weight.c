/* winograd_grad_weight.c - weight gradient of 3x3 convolutions of stride 1 by Winograd's algorithm.
 *
 *     dW = G' [ sum_tiles (B' d B) * (A dY A') ] G       the transpose of F(4x4, 3x3): winograd.h
 *
 * Requires: X and dY with borders of zeros up to whole tiles. Establishes: dW, by sums over tiles in one fixed order.
 * For a large block of tiles all threads make V = B' d B and D = A dY A' together; then each owns groups of filters and
 * adds the block's products to their sums S, so that no two threads ever add to the same one.
 */
#include "winograd.h"

enum {
    TILES_MOST = 112,           /* tiles of a block: V and D stay in the last cache, a row of D in the first          */
    SLICE      = 64,            /* input channels of a group of filters                                               */
};

static bool fits(const Kernel *k, const Target *target)
{
    return winograd_fits(k, target, false);
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
    k->schedule.text = arena_printf(p->arena, "F(4x4, 3x3): %lld of %lld tiles at a time, groups of %lld x %d blocks "
                                    "of channels shared among threads, register tile %d channels x %d vectors",
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
    let(e, "at", "%s", pixel(e, kernel, "dY", "n", "kb", "i + r", "j + s"));
    if (g->ragged) {
        when(e, "!($exists)");
            loop(e, "f", 36);
                line(e, "store(D[f][kb * $block + t], zero);");
            end(e, 1);
            line(e, "continue;");
        end(e, 1);
    }
    line(e, "const int tile = $tile;");
    tile_place(e);
    line(e, "vec d[6][4];");
    unrolled(e, "s", 4);
        line(e, "vec column[4], points[6];");
        unrolled(e, "r", 4);
            line(e, "column[r] = load($at);");
        end(e, 1);
        line(e, "winograd_spread(column, points);");
        unrolled(e, "r", 6);
            line(e, "d[r][s] = points[r];");
    end(e, 2);
    unrolled(e, "r", 6);
        line(e, "vec points[6];");
        line(e, "winograd_spread(d[r], points);");
        unrolled(e, "s", 6);
            line(e, "store(D[r * 6 + s][kb * $block + t], points[s]);");
    end(e, 2);
}

/* S[f] += V[f]' D[f] over the block's tiles. */
static void accumulate(Emitter *e, const Kernel *kernel, const Winograd *g, bool looped)
{
    const Schedule *s = &kernel->schedule;
    loop(e, "f", 36);
        loop_between(e, "cb", "0", "$stop");
            comment(e, "register tile: $channels input channels x $group vectors of output channels");
            step_loop(e, "c", g->lanes, s->pixels);
                line(e, "vec sum[$channels][$group];");
                unrolled(e, "p", s->pixels);
                    unrolled(e, "v", s->blocks);
                        line(e, looped ? "sum[p][v] = first ? load(&$sums[f][cb * $L + c + p][v * $L]) : zero;"
                                       : "sum[p][v] = zero;");
                end(e, 2);
                loop(e, "t", s->rows);
                    line(e, "vec d[$group];");
                    unrolled(e, "v", s->blocks);
                        line(e, "d[v] = load(D[f][$kb_of * $block + t]);");
                    end(e, 1);
                    unrolled(e, "p", s->pixels);
                        unrolled(e, "v", s->blocks);
                            line(e, "sum[p][v] += V[f][$block_in * $block + t][c + p] * d[v];");
                end(e, 3);
                unrolled(e, "p", s->pixels);
                    unrolled(e, "v", s->blocks);
                        line(e, "store(&$sums[f][cb * $L + c + p][v * $L], sum[p][v]);");
    end(e, 5);
}

/* dW = G' S G. */
static void gather_filters(Emitter *e, const Kernel *kernel)
{
    loop_between(e, "cb", "0", "$stop");
        loop_between(e, "c", "0", "$L");
            loop(e, "v", kernel->schedule.blocks);
                line(e, "vec u[3][6];");
                unrolled(e, "s", 6);
                    line(e, "vec column[6], taps[3];");
                    unrolled(e, "r", 6);
                        line(e, "column[r] = load(&$sums[r * 6 + s][cb * $L + c][v * $L]);");
                    end(e, 1);
                    line(e, "winograd_gather(column, taps);");
                    unrolled(e, "r", 3);
                        line(e, "u[r][s] = taps[r];");
                end(e, 2);
                unrolled(e, "r", 3);
                    line(e, "vec taps[3];");
                    line(e, "winograd_gather(u[r], taps);");
                    unrolled(e, "s", 3);
                        line(e, "store(dW[$kb][$block_in][r][s][c], taps[s]);");
    end(e, 5);
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
    let(e, "kb_of", s->blocks == 1 ? "k" : "(k * %d + v)", s->blocks);
    let_int(e, "slice", s->chunks);
    let_int(e, "in", g.in);
    let(e, "sums", looped ? "sums[k][part]" : "S");
    let(e, "stop", even ? "%d" : "stop", s->chunks);
    let(e, "block_in", "%s", sliced ? substitute(e, "(part * $slice + cb)") : "cb");
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
            accumulate(e, k, &g, looped);
            comment(e, looped ? "dW = G' S G, once the sums are complete" : "dW = G' S G");
            if (looped)
                when(e, "first + $block >= $tiles");
            gather_filters(e, k);
    end(e, 2 + 2 * looped);
}

const FastKernel winograd_grad_weight = {
    .name = "winograd", .fits = fits, .plan = plan, .border = border, .body = body,
};
