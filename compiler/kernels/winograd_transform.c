/* winograd_transform.c - what the Winograd families share: the cost model, and cutting a picture into tiles.
 *
 * Requires: 3x3 or 5x5 windows, stride and dilation 1, one group, pads smaller than the window.
 * Establishes: V = B' d B of some tiles.
 *
 * The points 0, 1, -1, 1/2, -2 follow Barabasz et al. 2020 ("Error analysis and improving the accuracy of Winograd
 * convolution for deep neural networks"), who search for points of small error.
 */
#include "../unit.h"
#include "winograd.h"

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

Winograd winograd_of(const Layer *l, int lanes, bool backward)
{
    Window w;
    conv_window(l, &w);
    int64_t C = blocks_of(l->input[0]->output.dim[0], lanes), K = blocks_of(l->output.dim[0], lanes);
    Winograd g = {.batch = l->graph->batch, .lanes = lanes, .side = 7 - (int)w.kernel[0], .taps = (int)w.kernel[0]};
    g.height = backward ? w.in[0] : w.out[0];
    g.width = backward ? w.in[1] : w.out[1];
    g.down = (g.height + g.side - 1) / g.side;
    g.across = (g.width + g.side - 1) / g.side;
    g.tiles = g.batch * g.down * g.across;
    for (int d = 0; d < 2; d++)
        g.before[d] = backward ? g.taps - 1 - w.before[d] : w.before[d];
    g.in = backward ? K : C;
    g.out = backward ? C : K;
    return g;
}

Border winograd_border(const Layer *l, bool backward)
{
    Window w;
    conv_window(l, &w);
    Winograd g = winograd_of(l, 1, backward);
    const int64_t *size = backward ? w.out : w.in;
    return (Border){.top = g.before[0], .bottom = g.down * g.side + g.taps - 1 - g.before[0] - size[0],
                    .left = g.before[1], .right = g.across * g.side + g.taps - 1 - g.before[1] - size[1]};
}

Border winograd_border_gradient(const Layer *l)
{
    Winograd g = winograd_of(l, 1, false);
    return (Border){.bottom = g.down * g.side - g.height, .right = g.across * g.side - g.width};
}

int winograd_group(int64_t blocks, int registers)
{
    if (blocks % 2 == 0)
        return 2;
    return blocks % 3 == 0 && registers >= 32 ? 3 : 1;
}

int64_t winograd_block(int64_t tiles, int64_t most, int64_t step)
{
    int64_t blocks = (tiles + most - 1) / most, even = (tiles + blocks - 1) / blocks;
    return (even + step - 1) / step * step;
}

/* ---- cost model -------------------------------------------------------------------------------------------------- */

/* In vector multiply-adds, measured on Zen 4: transforms are bound by loads and stores of the 36 elements. What is
 * transformed of the filters passes through the second-level cache, which costs most of their time. */
enum { COST_CUT = 250, COST_JOIN = 170, COST_FILTER = 500, WORTH = 14 /* tenths */ };

bool winograd_fits(const Kernel *k, const Target *target, bool backward)
{
    const Layer *l = k->layer;
    Window w;
    if (conv_groups(l) != 1 || !conv_window(l, &w))
        return false;
    for (int d = 0; d < 2; d++)
        if ((w.kernel[d] != 3 && w.kernel[d] != 5) || w.kernel[d] != w.kernel[0] || w.stride[d] != 1 ||
            w.dilation[d] != 1 || w.before[d] < 0 || w.before[d] >= w.kernel[d] || w.after[d] < 0 ||
            w.after[d] >= w.kernel[d])
            return false;
    int64_t L = target->lanes, C = l->input[0]->output.dim[0], K = l->output.dim[0];
    if (C < 16 || K < 16)
        return false;
    Winograd g = winograd_of(l, target->lanes, backward);
    double in = (double)g.in, out = (double)g.out, tiles = (double)g.tiles;
    double direct = (double)(g.taps * g.taps) * in * (double)L * out * (double)(g.batch * g.height * g.width);
    double winograd = tiles * (36 * in * (double)L * out + COST_CUT * in + COST_JOIN * out) +
                      COST_FILTER * in * (double)L * out;
    return direct * 10 > winograd * WORTH;
}

/* ---- emitters ---------------------------------------------------------------------------------------------------- */

void winograd_names(Emitter *e, Winograd *g, int64_t block, bool looped)
{
    g->ragged = g->tiles % block != 0;
    let_int(e, "tiles", g->tiles);
    let_int(e, "across", g->across);
    let_int(e, "down", g->down);
    let_int(e, "plane", g->down * g->across);
    let_int(e, "block", block);
    let(e, "tile", looped ? "first + t" : "t");
    let(e, "piece", looped ? "first / %lld" : "0", (long long)block);
    let(e, "exists", looped ? "first + t < %lld" : "t < %lld", (long long)g->tiles);
}

void tile_place(Emitter *e, const Winograd *g)
{
    let_int(e, "side", g->side);
    line(e, "const int n = tile / $plane, i = tile / $across % $down * $side, j = tile % $across * $side;");
}

const char *shifted(Emitter *e, const char *index, int64_t by)
{
    return by == 0 ? index : arena_printf(emitter_arena(e), "%s - %lld", index, (long long)by);
}

int64_t picture_row(const Kernel *k, const char *role)
{
    int64_t dims[MAX_PHYSICAL_RANK];
    int rank = physical_dims(operand_of(k, role)->tensor, dims);
    return dims[rank - 2] * dims[rank - 1];
}

void cut_tile(Emitter *e, const Kernel *k, const Winograd *g, const char *role)
{
    let(e, "at", "%s", pixel(e, k, role, "n", "cb", shifted(e, "i", g->before[0]), shifted(e, "j", g->before[1])));
    let(e, "cut_tile", "%s", cut_part(e));
    let_int(e, "picture_row", picture_row(k, role));
    line(e, g->ragged ? "const int tile = $exists ? $tile : $tiles - 1;" : "const int tile = $tile;");
    tile_place(e, g);
    line(e, "$cut_tile($at, $picture_row, V[0][cb * $block + t], $vplane);");
}
