/* few_grad_weight.c - weight gradient of a convolution with few output channels, as in few_channels.c.
 *
 *   dW[k,c,r,s] = sum_{n,i,j} dY[n,k,i,j] * X[n,c,h,w]     h = i*stride + r*dilation - pad, w likewise
 *
 * Pictures are in the lanes: L pictures of X are transposed into a small array with zeros for the padding beside them,
 * then dY row by row. Each sum is a vector, whose lanes are added in the end. From the registers outwards: the sums of
 * a row of taps x some output channels over a row of pixels; all taps and channels over that row, which stays in the
 * first cache; all rows; the pictures of a chunk; the chunks, added in order.
 *
 * Requires: the batch some multiple of L; X the caller's pictures (plain) or blocked, dY blocked. Establishes: dW,
 * zeros in its spare lanes.
 */
#include "few_channels.h"

enum {
    MAX_TAPS = 11,                      /* in a row of the kernel: in registers together                             */
    CHUNKS = 16,                        /* enough for any number of threads that such a layer keeps busy             */
};

typedef struct {
    Window  w;
    int64_t batch, filters, channels;
    int64_t width;                      /* of a row of x, padding included                                           */
} Problem;

static Problem problem_of(const Kernel *k)
{
    const int64_t *weight = k->layer->param[0].dim;
    Problem p = {.batch = k->layer->graph->batch, .filters = weight[0], .channels = weight[1]};
    conv_window(k->layer, &p.w);
    int64_t needed = (p.w.out[1] - 1) * p.w.stride[1] + (p.w.kernel[1] - 1) * p.w.dilation[1] + 1;
    int64_t padded = p.w.before[1] + p.w.in[1];
    p.width = needed > padded ? needed : padded;
    return p;
}

/* Output channels in a tile: their vectors of dY and one of X are in registers beside the sums. */
static int64_t tile_filters(const Problem *p, const Target *target)
{
    return even_tile(p->filters, (target->registers - 2) / (p->w.kernel[1] + 1));
}

static int64_t sums_of(const Problem *p)
{
    return p->filters * p->channels * p->w.kernel[0] * p->w.kernel[1];
}

static bool fits(const Kernel *k, const Target *target)
{
    Problem p = problem_of(k);
    int64_t pixels = p.w.in[0] * p.w.in[1], outputs = p.w.out[0] * p.w.out[1];
    if (conv_groups(k->layer) != 1 || p.batch % target->lanes != 0 || p.batch < FEW_TASKS * target->lanes ||
        p.filters * 2 > target->lanes || p.w.kernel[1] > MAX_TAPS || p.w.kernel[1] + 3 > target->registers ||
        pixels < target->lanes)
        return false;
    int64_t bytes = (p.w.in[0] * p.width * p.channels + sums_of(&p)) * target->lanes * 4;
    double cycles = (double)(outputs * sums_of(&p)) * 1.1 +
                    (double)(count_transposes(k, "X", p.channels, pixels, target->lanes) + outputs) * TRANSPOSE_CYCLES;
    double direct = (double)(outputs * sums_of(&p) / p.filters * target->lanes);
    return bytes <= target->l2 / 2 && cycles < 0.8 * direct;
}

static void plan(Program *program, Kernel *k)
{
    Problem p = problem_of(k);
    int lanes = program->target->lanes;
    Schedule *s = &k->schedule;
    s->blocks = (int)tile_filters(&p, program->target);
    s->chunks = (int)(p.batch / lanes < CHUNKS ? p.batch / lanes : CHUNKS);
    scratch_of(program, k, "partial", 4, (int64_t[]){s->chunks, p.w.kernel[0], p.w.kernel[1], p.channels * lanes});
    s->text = arena_printf(program->arena, "pictures in the lanes, tile %lld taps x %d channels; %d partial sums",
                           (long long)p.w.kernel[1], s->blocks, s->chunks);
}

/* A row of dY: dy[k][j], lanes are pictures. */
static void write_row_into_lanes(Emitter *e, const Kernel *k, const Problem *p)
{
    let(e, "pixel", "%s", pixel(e, k, "dY", "n + l", "0", "i", "j"));
    line(e, "vec dy[$K][$Q];");
    loop(e, "j", p->w.out[1]);
        line(e, "vec v[L];");
        loop_between(e, "l", "0", "L");
            line(e, "v[l] = load($pixel);");
        end(e, 1);
        line(e, "transpose(v);");
        loop_between(e, "k", "0", "$K");
            line(e, "dy[k][j] = v[k];");
    end(e, 2);
}

static void loop_tile(Emitter *e, const Problem *p, const Tiles *filters)
{
    unrolled(e, "q", filters->size);
        unrolled(e, "s", p->w.kernel[1]);
}

/* Adds the row's products to the sums of a row of taps of input channel c. */
static void write_tile(Emitter *e, const Problem *p, const Tiles *filters)
{
    let_int(e, "B", filters->size);
    let_int(e, "S", p->w.kernel[1]);
    let(e, "at", "%s", sum_text(e, times(e, "j", p->w.stride[1]), "s", p->w.dilation[1], 0));
    open_tiles(e, "k", filters);
        line(e, "vec sum[$B][$S];        /* register tile: $B output channels x $S taps, of L pictures */");
        loop_tile(e, p, filters);
            line(e, "sum[q][s] = sums[r][s][c][k + q];");
        end(e, 2);
        loop(e, "j", p->w.out[1]);
            loop_tile(e, p, filters);
                line(e, "sum[q][s] += dy[k + q][j] * x[h][c][$at];");
        end(e, 3);
        loop_tile(e, p, filters);
            line(e, "sums[r][s][c][k + q] = sum[q][s];");
    end(e, 3);
}

static void add_row(Emitter *e, const Kernel *k, const Problem *p)
{
    Tiles filters[2];
    int parts = even_tiles(p->filters, k->schedule.blocks, filters);
    let_int(e, "height", p->w.in[0]);
    let(e, "row", "%s", sum_text(e, times(e, "i", p->w.stride[0]), "r", p->w.dilation[0], -p->w.before[0]));
    loop(e, "r", p->w.kernel[0]);
        line(e, "const int h = $row;");
        line(e, "if (!inside(h, $height))");
        line(e, "    continue;");
        loop(e, "c", p->channels);
            for (int i = 0; i < parts; i++)
                write_tile(e, p, &filters[i]);
    end(e, 2);
}

/* Transposed, the sums of all output channels are L vectors of channels, one a lane of before: their sum. */
static void add_lanes(Emitter *e, const Problem *p)
{
    loop(e, "r", p->w.kernel[0]);
        loop(e, "s", p->w.kernel[1]);
            loop(e, "c", p->channels);
                line(e, "vec v[L];");
                loop_between(e, "l", "0", "L");
                    line(e, "v[l] = l < $K ? sums[r][s][c][l] : zero;");
                end(e, 1);
                line(e, "transpose(v);");
                loop_between(e, "l", "1", "L");
                    line(e, "v[0] += v[l];");
                end(e, 1);
                line(e, "store(&partial[chunk][r][s][c * L], v[0]);");
    end(e, 3);
}

static void add_chunks(Emitter *e, const Kernel *k, const Problem *p)
{
    comment(e, "the chunks' sums, added in order");
    parallel_over(e, 2);
    loop(e, "r", p->w.kernel[0]);
        loop(e, "s", p->w.kernel[1]);
            loop(e, "c", p->channels);
                line(e, "vec sum = zero;");
                loop(e, "chunk", k->schedule.chunks);
                    line(e, "sum += load(&partial[chunk][r][s][c * L]);");
                end(e, 1);
                store_gradient(e, k, "$T[0][c / L][r][s][c % L]", "sum");
    end(e, 3);
}

static void body(Emitter *e, const Kernel *k)
{
    Problem p = problem_of(k);
    int lanes = operand_of(k, "dY")->tensor->storage->layout.lanes;
    let_int(e, "K", p.filters);
    let_int(e, "Q", p.w.out[1]);
    let_int(e, "H", p.w.in[0]);
    let_int(e, "C", p.channels);
    let_int(e, "R", p.w.kernel[0]);
    let_int(e, "S", p.w.kernel[1]);
    let_int(e, "width", p.width);
    let_int(e, "groups", p.batch / lanes);
    let_int(e, "chunks", k->schedule.chunks);
    parallel(e);
    loop(e, "chunk", k->schedule.chunks);
        line(e, "vec sums[$R][$S][$C][$K], x[$H][$C][$width];        /* lane l is picture n + l */");
        line(e, "memset(sums, 0, sizeof sums);");
        if (p.width > p.w.in[1])
            line(e, "memset(x, 0, sizeof x);         /* the padding stays zero */");
        step_between(e, "n", "chunk * $groups / $chunks * L", "(chunk + 1) * $groups / $chunks * L", lanes);
            write_into_lanes(e, k, &(Lanes){"X", "x", "h", "w", p.w.in[0], p.channels, p.w.in[1], p.w.before[1]},
                             lanes);
            loop(e, "i", p.w.out[0]);
                write_row_into_lanes(e, k, &p);
                add_row(e, k, &p);
        end(e, 2);
        add_lanes(e, &p);
    end(e, 1);
    add_chunks(e, k, &p);
}

const FastKernel few_grad_weight = {
    .name = "few", .fuses = FUSE_SGD, .fits = fits, .plan = plan, .layout = few_layout, .body = body};
