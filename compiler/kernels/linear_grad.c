/* linear_grad.c - gradients of fully connected layers, without transposing the weights.
 *
 *   grad_input    dX[n][c] = sum_k dY[n][k] * W[k][c]          inputs in the lanes
 *   grad_weight   dW[k][c] = sum_n dY[n][k] * X[n][c]          inputs in the lanes
 *   grad_bias     db[k]    = sum_n dY[n][k]                    outputs in the lanes
 *
 * Big layers are bound by memory: W is read once, dW written once. linear.h has the register tiles.
 *
 * Requires: W, X, dY and the results in rows (layout.h): zeros behind the last of C and of K.
 * Establishes: the same, and the same bits at any number of threads: a sum belongs to one thread, which adds in order.
 */
#include "linear.h"

/* ---- gradient by the inputs -------------------------------------------------------------------------------------- */

/* Rows of W that are added up in registers before the sums are stored. From memory come few at a time, for which
 * hardware prefetches ahead. Rows that lie a large power of two apart meet in few sets of the second cache (2048 of 8
 * ways). */
static int64_t depth_of(const Linear *s)
{
    int64_t apart = s->CB * s->L * 4, period = 2048 * 64;
    while (apart % period)
        period /= 2;
    return least(linear_is_huge(s) ? 24 : 128, 2048 * 64 / period * 8 / 2);
}

/* Images and input vectors of one chunk; the number of groups and chunks. */
typedef struct { int64_t images, groups, width, chunks; } InputChunks;

static InputChunks input_chunks(const Linear *s, const Schedule *plan)
{
    InputChunks c = {.images = s->N <= 96 ? s->N : round_up(ceil_div(s->N, ceil_div(s->N, 64)), plan->pixels)};
    c.groups = ceil_div(s->N, c.images);
    int64_t most = LINEAR_SUMS / (c.images * s->L * 4) / plan->blocks * plan->blocks;
    c.width = least(round_up(ceil_div(s->CB, ceil_div(LINEAR_ITEMS, c.groups)), plan->blocks), most);
    c.chunks = ceil_div(s->CB, c.width);
    return c;
}

static void plan_grad_input(Program *p, Kernel *k)
{
    Linear s = linear_of(k, p->target->lanes);
    Schedule *plan = &k->schedule;
    choose_linear_tile(plan, p->target, s.N, s.CB);
    InputChunks c = input_chunks(&s, plan);
    plan->rows = s.K <= depth_of(&s) * 3 / 2 ? (int)s.K : (int)depth_of(&s);
    plan->chunks = (int)(c.groups * c.chunks);
    plan->text = arena_printf(p->arena, "tile %d images x %d vectors over %d outputs, chunks of %lld images x %lld "
                              "vectors shared among threads", plan->pixels, plan->blocks, plan->rows,
                              (long long)c.images, (long long)c.width);
}

static void write_sums_to_rows(Emitter *e, const Kernel *kernel)
{
    loop_between(e, "n", "$image", "$last_image");
        loop_between(e, "cb", "$first", "$last");
            store_pixel(e, kernel, "dX", substitute(e, "sum[n - $image][cb - $first]"), "n", "cb", "0", "0");
    end(e, 2);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    Linear s = let_linear(e, kernel, "W");
    const Schedule *plan = &kernel->schedule;
    InputChunks c = input_chunks(&s, plan);
    bool blocked = plan->rows < s.K;
    let_int(e, "images", c.images);
    let_int(e, "width", c.width);
    let_int(e, "depth", plan->rows);
    parallel_over(e, 2);
    loop(e, "group", c.groups);
        loop(e, "chunk", c.chunks);
            let_chunk(e, "image", "last_image", "group", c.images, s.N);
            let_chunk(e, "first", "last", "chunk", c.width, s.CB);
            if (blocked) {
                line(e, "vec sum[$images][$width];");
                loop_between(e, "n", "0", "$images");
                    loop_between(e, "v", "0", "$width");
                        line(e, "sum[n][v] = zero;");
                end(e, 2);
                step_loop(e, "begin", s.K, plan->rows);
                line(e, "const int stop = begin + $depth < $K ? begin + $depth : $K;");
            }
            Product p = {
                .rows = {"n", "$image", "$last_image", s.N, plan->pixels, 0},
                .vectors = {"cb", "$first", "$last", s.CB, plan->blocks, 0},
                .scalar = "dY[n + t][k]", .vector = "W[k][(cb + v) * L]", .load = "load",
                .sum = blocked ? "sum[n + t - $image][cb + v - $first]" : NULL,
                .from_memory = linear_is_huge(&s),
                .index = "k", .begin = blocked ? "begin" : "0", .stop = blocked ? "stop" : "$K",
                .role = "dX", .store_row = "n + t", .store_block = "(cb + v)",
            };
            emit_products(e, kernel, &p, 2);
            if (blocked) {
                end(e, 1);
                write_sums_to_rows(e, kernel);
            }
    end(e, 2);
}

static const FastKernel grad_input = {
    .name = "rows", .fuses = FUSE_MASK, .plan = plan_grad_input, .body = grad_input_body};

const FastKernel *const linear_grad_input_families[] = {&grad_input, NULL};

/* ---- gradient by the weights ------------------------------------------------------------------------------------- */

/* Rows of dW and input vectors of one chunk, and how many chunks there are. */
typedef struct { int64_t rows, row_chunks, width, chunks; } WeightChunks;

static WeightChunks weight_chunks(const Linear *s, const Schedule *plan)
{
    int64_t most = LINEAR_CACHED / (s->N * s->L * 4) / plan->blocks * plan->blocks;
    WeightChunks c = {.width = least(s->CB, most > plan->blocks ? most : plan->blocks)};
    c.chunks = ceil_div(s->CB, c.width);
    c.rows = round_up(ceil_div(s->K, ceil_div(LINEAR_ITEMS, c.chunks)), plan->pixels);
    c.row_chunks = ceil_div(s->K, c.rows);
    return c;
}

static void plan_grad_weight(Program *p, Kernel *k)
{
    Linear s = linear_of(k, p->target->lanes);
    Schedule *plan = &k->schedule;
    choose_linear_tile(plan, p->target, s.K, s.CB);
    WeightChunks c = weight_chunks(&s, plan);
    plan->rows = (int)c.rows;
    plan->chunks = (int)(c.row_chunks * c.chunks);
    plan->text = arena_printf(p->arena, "tile %d rows x %d vectors over all images, chunks of %lld rows x %lld vectors "
                              "shared among threads", plan->pixels, plan->blocks, (long long)c.rows,
                              (long long)c.width);
}

/* Rows of weights that come from memory learn one after the other, in long runs: memory likes it better than tiles. */
static void learn_rows(Emitter *e, const Product *p)
{
    let_int(e, "rows", p->rows.now);
    loop_between(e, "t", "0", "$rows");
        loop_between(e, "cb", "$first", "$last");
            line(e, "real *w = &W[k + t][cb * L], *v = &velocity[k + t][cb * L];");
            line(e, "learn_or_stream(&dW[k + t][cb * L], w, v, sum[t][cb - $first], rule);");
    end(e, 2);
}

/* The weights and momenta of a tile are asked for one by one while its sums are made: memory and products at once. */
static void fetch_rows(Emitter *e, const Product *p)
{
    let_int(e, "tile_vectors", p->rows.now * p->vectors.now);
    let_int(e, "across", p->vectors.now);
    line(e, "for (int at = n; rule && at < $tile_vectors; at += $N) {");
    line(e, "    prefetch_second(&W[k + at / $across][(cb + at % $across) * L]);");
    line(e, "    prefetch_second(&velocity[k + at / $across][(cb + at % $across) * L]);");
    line(e, "}");
}

static void grad_weight_body(Emitter *e, const Kernel *kernel)
{
    Linear s = let_linear(e, kernel, "dW");
    const Schedule *plan = &kernel->schedule;
    WeightChunks c = weight_chunks(&s, plan);
    const bool by_rows = linear_is_huge(&s) && kernel->fuses & FUSE_SGD;
    let_int(e, "chunk_rows", c.rows);
    let_int(e, "width", c.width);
    let_int(e, "tile", plan->pixels);
    parallel_over(e, 2);
    loop(e, "chunk", c.chunks);
        loop(e, "part", c.row_chunks);
            let_chunk(e, "row", "last_row", "part", c.rows, s.K);
            let_chunk(e, "first", "last", "chunk", c.width, s.CB);
            if (by_rows)
                line(e, "vec sum[$tile][$width];");
            Product p = {
                .rows = {"k", "$row", "$last_row", s.K, plan->pixels, 0},
                .vectors = {"cb", "$first", "$last", s.CB, plan->blocks, 0}, .rows_outside = true,
                .scalar = "dY[n][k + t]", .vector = "X[n][(cb + v) * L]", .load = linear_load(kernel, "X"),
                .index = "n", .begin = "0", .stop = "$N",
                .to_memory = linear_is_huge(&s), .role = "dW", .store_row = "k + t", .store_block = "(cb + v)",
                .sum = by_rows ? "sum[t][cb + v - $first]" : NULL, .first = true,
                .meanwhile = by_rows ? fetch_rows : NULL, .after = by_rows ? learn_rows : NULL,
            };
            emit_products(e, kernel, &p, 2);
            if (p.to_memory)
                line(e, "finish_streams();");
    end(e, 2);
}

static const FastKernel grad_weight = {
    .name = "rows", .fuses = FUSE_SGD, .plan = plan_grad_weight, .body = grad_weight_body};

const FastKernel *const linear_grad_weight_families[] = {&grad_weight, NULL};

/* ---- gradient by the bias ---------------------------------------------------------------------------------------- */

static void plan_grad_bias(Program *p, Kernel *k)
{
    (void)p;
    k->schedule.text = "outputs in the lanes, output vectors shared among threads";
}

static void grad_bias_body(Emitter *e, const Kernel *kernel)
{
    Linear s = let_linear(e, kernel, "dY");
    parallel(e);
    loop(e, "kb", s.KB);
        line(e, "vec sum = zero;");
        loop(e, "n", s.N);
            line(e, "sum += load(&dY[n][kb * L]);");
        end(e, 1);
        line(e, "store(&db[kb * L], sum);");
    end(e, 1);
}

static const FastKernel grad_bias = {.name = "rows", .plan = plan_grad_bias, .body = grad_bias_body};

const FastKernel *const linear_grad_bias_families[] = {&grad_bias, NULL};
