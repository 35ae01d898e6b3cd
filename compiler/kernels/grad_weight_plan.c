/* grad_weight_plan.c - how a direct weight gradient works on its shape: register tile, task, block of pixels, chunks.
 *
 * Requires: a convolution that the family fits. Establishes: the plan of grad_weight.h and the scratch tensor for
 * chunks. The numbers follow from the shape, the registers and the sizes of caches that all targets have.
 */
#include "grad_weight.h"

enum {
    FIRST_CACHE = 28 * 1024,            /* bytes of it for two blocks of pixels                                       */
    SUMMED_PIXELS = 100,                /* at least so many are added up between two stores, in small pictures too    */
    STREAMED_PIXELS = 512,              /* and so many where they may come from the second cache                      */
    WORK_PER_READ = 8,                  /* products for each vector that a tile reads: enough to hide that cache      */
    WORK_PER_VECTOR = 64,               /* products for each vector that a task reads: enough to hide the memory      */
};

GradWeight grad_weight_of(const Kernel *k, int lanes)
{
    const Layer *l = k->layer;
    const int64_t *weight = l->param[0].dim;
    GradWeight p = {.batch = l->graph->batch, .groups = conv_groups(l), .lanes = lanes};
    conv_window(l, &p.w);
    p.filters = blocks_of(weight[0] / p.groups, lanes);
    p.channels = blocks_of(weight[1], lanes);
    p.inner = weight[1] < lanes ? weight[1] : lanes;
    return p;
}

static int64_t count_sums(const GradWeightTile *t)
{
    return t->blocks * t->rows * t->columns * t->channels;
}

/* Cycles a product, roughly: two products a cycle that take four, two loads a cycle, vectors from the second cache. */
static double tile_cost(const GradWeightTile *t)
{
    double sums = (double)count_sums(t), blocks = (double)t->blocks;
    double loads = sums / blocks + blocks, lines = blocks + (double)t->rows;
    return ((sums > 8 ? sums : 8) + loads / 2 + lines + 2) / sums;
}

/* The cheapest tile whose sums, vectors of dY, broadcast element of X and one to spare are in registers together. */
static GradWeightTile choose_tile(const GradWeight *p, int registers)
{
    const int64_t R = p->w.kernel[0], S = p->w.kernel[1];
    GradWeightTile best = {1, 1, 1, 1};
    for (int64_t blocks = 1; blocks <= 4; blocks++)
        for (int shape = 0; shape < 4; shape++)
            for (int64_t channels = 1; channels <= p->inner; channels++) {
                GradWeightTile t = {blocks, shape & 2 ? R : 1, shape & 1 ? S : 1, channels};
                bool divides = p->filters % blocks == 0 && p->inner % channels == 0;
                if (divides && t.rows * t.columns <= registers && count_sums(&t) + blocks + 2 <= registers &&
                    tile_cost(&t) < tile_cost(&best))
                    best = t;
            }
    return best;
}

/* The next larger divisor of n that is a multiple of `unit`; `from` itself where there is none. */
static int64_t larger_divisor(int64_t n, int64_t from, int64_t unit)
{
    for (int64_t d = from + unit; d <= n; d += unit)
        if (n % d == 0)
            return d;
    return from;
}

/* Vectors of X that go with one output pixel: with several taps all pixels under a stride are read. */
static int64_t vectors_under(const GradWeight *p)
{
    return p->w.kernel[0] * p->w.kernel[1] > 1 ? p->w.stride[0] * p->w.stride[1] : 1;
}

static void choose_task(const GradWeight *p, GradWeightPlan *plan)
{
    plan->blocks = plan->tile.blocks;
    plan->channels = 1;
    for (;;) {
        int64_t products = plan->blocks * plan->channels * p->inner * p->w.kernel[0] * p->w.kernel[1];
        int64_t blocks = larger_divisor(p->filters, plan->blocks, plan->tile.blocks);
        int64_t channels = larger_divisor(p->channels, plan->channels, 1);
        bool grows[2] = {blocks > plan->blocks, channels > plan->channels};
        if (products >= WORK_PER_VECTOR * (plan->blocks + plan->channels) || (!grows[0] && !grows[1]))
            return;
        if (grows[0] && (plan->blocks <= plan->channels || !grows[1]))
            plan->blocks = blocks;
        else
            plan->channels = channels;
    }
}

/* Under one tile a block of pixels and the next, fetched meanwhile, fit the first cache. Small pictures may go beyond
 * it, so that their sums are stored less often, where a tile has products enough for each vector that it then reads
 * from the second cache. */
static void choose_pixels(const GradWeight *p, GradWeightPlan *plan)
{
    const GradWeightTile *t = &plan->tile;
    int64_t height = p->w.out[0], width = p->w.out[1], vector = p->lanes * (int64_t)sizeof(float);
    int64_t pixels = FIRST_CACHE / (2 * vector * (t->blocks + vectors_under(p)));
    plan->rows = even_tile(height, least(height, most(pixels / width, 1)));
    plan->row_blocks = ceil_div(height, plan->rows);
    plan->images = 1;
    if (plan->row_blocks == 1) {
        int64_t read = t->blocks + t->rows * least(p->w.stride[1], p->w.kernel[1]);
        bool streams = count_sums(t) >= WORK_PER_READ * read;
        pixels = most(pixels, streams ? STREAMED_PIXELS : SUMMED_PIXELS);
        plan->images = even_tile(p->batch, least(p->batch, most(pixels / (height * width), 1)));
    }
    plan->pixel_blocks = plan->row_blocks * ceil_div(p->batch, plan->images);
}

static void choose_chunks(const GradWeight *p, GradWeightPlan *plan)
{
    int64_t tasks = p->groups * p->filters / plan->blocks * (p->channels / plan->channels);
    plan->chunks = 1;
    while (tasks * plan->chunks % EVEN_TASKS != 0 && tasks * plan->chunks < MANY_TASKS &&
           plan->chunks * 2 <= plan->pixel_blocks)
        plan->chunks *= 2;
}

void plan_grad_weight(Program *program, Kernel *k)
{
    GradWeight p = grad_weight_of(k, program->target->lanes);
    GradWeightPlan *plan = NEW(program->arena, GradWeightPlan);
    plan->tile = choose_tile(&p, program->target->registers);
    choose_task(&p, plan);
    choose_pixels(&p, plan);
    choose_chunks(&p, plan);
    const GradWeightTile *t = &plan->tile;
    int64_t filters = p.groups * p.filters, taps = p.w.kernel[0] * p.w.kernel[1];
    int64_t count = filters * p.channels * taps * p.inner * p.lanes;
    if (plan->chunks > 1)
        scratch_of(program, k, "partial", 2, (int64_t[]){plan->chunks, count});
    k->schedule.more = plan;
    k->schedule.pixels = (int)(t->rows * t->columns * t->channels);
    k->schedule.blocks = (int)t->blocks;
    k->schedule.rows = (int)(plan->rows * plan->images);
    k->schedule.chunks = (int)plan->chunks;
    k->schedule.text = arena_printf(program->arena, "tile %lld vectors x %lldx%lld taps x %lld channels, %lld %s a "
                                    "block, %lld tasks x %lld chunks", (long long)t->blocks, (long long)t->rows,
                                    (long long)t->columns, (long long)t->channels,
                                    (long long)(plan->images > 1 ? plan->images : plan->rows),
                                    plan->images > 1 ? "pictures" : "rows",
                                    (long long)(filters / plan->blocks * (p.channels / plan->channels)),
                                    (long long)plan->chunks);
}
