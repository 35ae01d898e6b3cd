/* direct_plan.c - how a direct convolution works on its shape: register tile, loops shared among threads, cache blocks.
 *
 * Requires: a Direct that says which input pixel and which filter tap meet at an output pixel (direct.h). Establishes:
 * kernel->schedule, and in schedule.more the Direct as direct_loops.c will write it. The costs are cycles of a machine
 * that starts one vector FMA and one load a cycle, which Zen 4 does; where two of each start, the order stays the same.
 */
#include "../unit.h"
#include "direct.h"

enum {
    MAX_BLOCKS = 4,             /* vectors of output channels in a tile                                              */
    LATENCY = 8,                /* FMAs that two pipes of latency 4 have in flight: fewer sums leave them idle       */
    NEAR_CACHE = 512 << 10,     /* bytes of an image that stay in the second-level cache while its planes are made   */
    ROWS_CACHE = 256 << 10,     /* bytes of a block of rows, where an image does not stay                            */
    ROW_BLOCK_PIXELS = 128,     /* fewer would read the filters too often                                            */
    TASKS = 16,                 /* independent pieces of work that serve 1, 2, 4, 8 threads and more                 */
};

/* ---- the schedule ------------------------------------------------------------------------------------------------ */

bool is_empty(const Part *part)
{
    return part->axis[0].taps == 0 || part->axis[1].taps == 0;
}

bool is_stored_along(const Direct *d, const Part *part)
{
    return is_empty(part) && !is_empty(&d->part[0]);
}

/* Cycles of a tile for one input channel and tap: one a product, or one a load where there are more of these. */
static double tile_cycles(int64_t pixels, int blocks)
{
    double work = (double)(pixels * blocks), loads = (double)(pixels + blocks);
    work = work < loads ? loads : work;
    return (work < LATENCY ? LATENCY : work) + 0.5 + 0.25 * blocks;
}

/* Of a part's plane, with smaller tiles for what the whole ones leave. */
static double plane_cycles(const Part *part, Tile tile, int blocks)
{
    double cycles = 0;
    for (int bottom = 0; bottom < 2; bottom++)
        for (int right = 0; right < 2; right++) {
            int64_t rows = bottom ? part->axis[0].count % tile.rows : tile.rows;
            int64_t columns = right ? part->axis[1].count % tile.columns : tile.columns;
            int64_t down = bottom ? rows > 0 : part->axis[0].count / tile.rows;
            int64_t across = right ? columns > 0 : part->axis[1].count / tile.columns;
            if (down > 0 && across > 0)
                cycles += (double)(down * across) * tile_cycles(rows * columns, blocks);
        }
    return is_empty(part) ? cycles : cycles * (double)(part->axis[0].taps * part->axis[1].taps);
}

Tile direct_tile(const Part *part, int64_t pixels, int blocks)
{
    int64_t height = part->axis[0].count, width = part->axis[1].count;
    Tile best = {1, 1};
    double least = plane_cycles(part, best, blocks);
    for (int64_t columns = width < pixels ? width : pixels; columns > 0; columns--)
        for (int64_t rows = 1; rows <= (columns == width ? pixels / width : 1) && rows <= height; rows++) {
            double cycles = plane_cycles(part, (Tile){rows, columns}, blocks);
            if (cycles < least) {
                least = cycles;
                best = (Tile){rows, columns};
            }
        }
    return best;
}

/* Sums that fit into the registers beside `blocks` vectors of the filter, a broadcast value and one to spare. */
static int64_t most_pixels(int registers, int blocks)
{
    return (registers - 1 - blocks) / blocks;
}

static double direct_cycles(const Direct *d, int64_t pixels, int blocks)
{
    double cycles = 0;
    for (int i = 0; i < d->parts; i++)
        cycles += plane_cycles(&d->part[i], direct_tile(&d->part[i], pixels, blocks), blocks);
    return cycles;
}

/* Chooses schedule->blocks and ->pixels: the fewest cycles over all output channels, those left over included. */
static void choose_tile(Schedule *schedule, const Direct *d, int registers)
{
    double least = 0;
    for (int blocks = 1; blocks <= MAX_BLOCKS && blocks <= d->out_blocks; blocks++) {
        int rest = (int)(d->out_blocks % blocks);
        if (rest > 0 && d->groups > 1)
            continue;
        double cycles = (double)(d->out_blocks / blocks) * direct_cycles(d, most_pixels(registers, blocks), blocks);
        if (rest > 0)
            cycles += direct_cycles(d, most_pixels(registers, blocks) * blocks / rest, rest);
        if (schedule->blocks == 0 || cycles < least) {
            least = cycles;
            schedule->blocks = blocks;
            schedule->pixels = (int)most_pixels(registers, blocks);
        }
    }
}

static int64_t taps_of(const Direct *d)
{
    int64_t taps = 0;
    for (int i = 0; i < d->parts; i++)
        taps += d->part[i].axis[0].taps * d->part[i].axis[1].taps;
    return taps;
}

static int64_t filter_bytes(const Direct *d, int64_t blocks)
{
    return blocks * d->lanes * d->in_channels * taps_of(d) * (int64_t)sizeof(float);
}

/* Are the filters of a tile larger than an image? Then a thread keeps them in the cache and goes through the images. */
static bool filters_are_large(const Direct *d, const Schedule *s)
{
    return filter_bytes(d, s->blocks) > d->in_bytes && filter_bytes(d, d->out_blocks * d->groups) > NEAR_CACHE;
}

int64_t direct_rows(const Direct *d)
{
    int64_t most = 0;
    for (int i = 0; i < d->parts; i++)
        most = d->part[i].axis[0].count > most ? d->part[i].axis[0].count : most;
    return most;
}

/* The rows of a tile of part i, for as many output vectors as a tile has or for those left over. */
static int64_t tile_rows(const Direct *d, const Schedule *s, int part, int blocks)
{
    return direct_tile(&d->part[part], (int64_t)s->pixels * s->blocks / blocks, blocks).rows;
}

/* Rounded up to a multiple of every tile's rows, so that a tile lies in one block of rows. */
static int64_t whole_tiles(const Direct *d, const Schedule *s, int64_t rows)
{
    int rest = (int)(d->out_blocks * d->groups % s->blocks);
    int64_t multiple = 1;
    for (int i = 0; i < d->parts; i++)
        for (int left_over = 0; left_over <= (rest > 0); left_over++) {
            int64_t tile = tile_rows(d, s, i, left_over ? rest : s->blocks), step = multiple;
            while (multiple % tile != 0)
                multiple += step;
        }
    return (rows + multiple - 1) / multiple * multiple;
}

/* Threads share rows: enough of them for all pieces of work. */
static void share_rows(Schedule *s, const Direct *d, int64_t units)
{
    int64_t pieces = (2 * TASKS + d->batch * units - 1) / (d->batch * units);
    s->rows = (int)whole_tiles(d, s, (direct_rows(d) + pieces - 1) / pieces);
    s->chunks = (int)units;
}

/* Threads share images, and groups of channels where images are too few to go round evenly. */
static void share_images(Schedule *s, const Direct *d, int64_t units)
{
    s->chunks = 1;
    while (s->chunks < units && d->batch * s->chunks < 4 * TASKS && d->batch * s->chunks % (TASKS / 2) != 0)
        do
            s->chunks++;
        while (units % s->chunks != 0);
    if (d->in_bytes <= NEAR_CACHE || s->chunks == units)
        return;
    const Axis *row = &d->part[0].axis[0], *column = &d->part[0].axis[1];
    int64_t least = (ROW_BLOCK_PIXELS + column->count - 1) / column->count;
    int64_t rows = ROWS_CACHE * direct_rows(d) / d->in_bytes;
    rows = whole_tiles(d, s, rows < least ? least : rows);
    s->rows = 2 * rows <= row->count ? (int)rows : 0;
}

void plan_direct(Program *p, Kernel *kernel, const Direct *shape, bool shares_rows)
{
    Direct *d = NEW(p->arena, Direct);
    *d = *shape;
    Schedule *s = &kernel->schedule;
    s->more = d;
    choose_tile(s, d, p->target->registers);
    int64_t units = d->out_blocks * d->groups / s->blocks;
    const char *shared;
    if (shares_rows) {
        d->share = SHARE_ROWS;
        share_rows(s, d, units);
        shared = arena_printf(p->arena, "images, channels and blocks of %d rows", s->rows);
    } else if (filters_are_large(d, s)) {
        d->share = SHARE_CHANNELS;
        s->chunks = (int)units;
        shared = "channels, then images";
    } else {
        d->share = SHARE_IMAGES;
        share_images(s, d, units);
        shared = s->chunks == 1 ? "images" : arena_printf(p->arena, "images and %d groups of channels", s->chunks);
        if (s->rows > 0)
            shared = arena_printf(p->arena, "%s; cache block %d rows", shared, s->rows);
    }
    Tile tile = direct_tile(&d->part[0], s->pixels, s->blocks);
    s->text = arena_printf(p->arena, "tile %lldx%lld pixels x %d vectors; threads share %s", (long long)tile.rows,
                           (long long)tile.columns, s->blocks, shared);
}

bool direct_has_planes(const Direct *d)
{
    int64_t blocks = d->out_blocks * d->groups;
    return d->batch * ((blocks + 1) / 2) >= TASKS;
}

/* ---- what the operands must be ----------------------------------------------------------------------------------- */

static void reach(const Axis *axis, int64_t size, int64_t *before, int64_t *after)
{
    if (axis->taps == 0)
        return;
    int64_t low = axis->first;
    int64_t high = axis->first + (axis->count - 1) * axis->step + (axis->taps - 1) * axis->tap_step - (size - 1);
    *before = -low > *before ? -low : *before;
    *after = high > *after ? high : *after;
}

Border direct_border(const Direct *d, int64_t height, int64_t width)
{
    Border b = {0, 0, 0, 0};
    for (int i = 0; i < d->parts; i++)
        if (!is_empty(&d->part[i])) {
            reach(&d->part[i].axis[0], height, &b.top, &b.bottom);
            reach(&d->part[i].axis[1], width, &b.left, &b.right);
        }
    return b;
}

bool direct_fits(const Kernel *kernel, const Target *target)
{
    const Layer *l = kernel->layer;
    Window w;
    conv_window(l, &w);
    int64_t groups = conv_groups(l);
    int64_t in_channels = l->input[0]->output.dim[0] / groups, out_channels = l->output.dim[0] / groups;
    if (groups > 1 && (in_channels % target->lanes != 0 || out_channels % target->lanes != 0))
        return false;
    for (int d = 0; d < 2; d++)
        if ((w.kernel[d] - 1) * w.dilation[d] + w.before[d] + w.after[d] > 4 * w.in[d] + 16)
            return false;
    return true;
}
