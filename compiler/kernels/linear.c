/* linear.c - fully connected layers: three matrix products, none of which transposes the weights.
 *
 *   forward       Y[n][k]  = b[k] + sum_c W[k][c] * X[n][c]    images in the lanes, from a transposed copy of X
 *   grad_input    dX[n][c] = sum_k dY[n][k] * W[k][c]          inputs in the lanes
 *   grad_weight   dW[k][c] = sum_n dY[n][k] * X[n][c]          inputs in the lanes
 *
 * Each is sum += scalar * vector with the scalar broadcast from memory, in register tiles of rows x vectors (Goto and
 * van de Geijn 2008, section 5). Big layers are bound by memory: W is read once a pass, dW written once. With few
 * images the forward pass is a row of W times X, with inputs in the lanes and a sum of lanes at the end ("dot").
 *
 * Requires: W, X, Y and their gradients in rows (layout.h): zeros behind the last of C and of K.
 * Establishes: the same, and the same bits at any number of threads: a sum belongs to one thread, which adds in order.
 */
#include <stdlib.h>

#include "kernels.h"

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t round_up(int64_t a, int64_t unit)
{
    return ceil_div(a, unit) * unit;
}

/* N images, C inputs in CB vectors, K outputs in KB vectors, L lanes. */
typedef struct { int64_t N, C, CB, K, KB; int L; } Sizes;

static Sizes sizes_of(const Kernel *k, int lanes)
{
    Sizes s = {.N = k->layer->graph->batch, .C = k->layer->input[0]->output.dim[0], .K = k->layer->output.dim[0],
               .L = lanes};
    s.CB = blocks_of(s.C, lanes);
    s.KB = blocks_of(s.K, lanes);
    return s;
}

/* Weights so large that they come from memory at each pass. */
static bool is_huge(const Sizes *s)
{
    return s->K * s->CB * s->L * 4 > 16 << 20;
}

static Sizes let_sizes(Emitter *e, const Kernel *k, const char *role)
{
    Sizes s = sizes_of(k, operand_of(k, role)->tensor->layout.lanes);
    let_int(e, "C", s.C);
    let_int(e, "CB", s.CB);
    let_int(e, "K", s.K);
    let_int(e, "KB", s.KB);
    return s;
}

/* ---- register tiles ---------------------------------------------------------------------------------------------- */

/* One direction of a product: `name` runs over from..to of `count`, in steps of `step`. */
typedef struct { const char *name, *from, *to; int64_t count, step, now; } Axis;

/* acc[row][vector] = scalar[row] * vector[vector], added up over `index` = begin..stop. In the templates t is the row
 * and v the vector of the tile. `sum`: where it is added; NULL: it is complete and stored as `role`. */
typedef struct {
    Axis        rows, vectors;
    bool        rows_outside;
    bool        from_memory;    /* the vectors: those of the next tile are asked for while this one is computed       */
    bool        to_memory;      /* what is stored is not seen again before it has left the caches                     */
    bool        first;          /* nothing in `sum` yet: it is set                              */
    const char *scalar, *vector, *load, *sum;
    const char *index, *begin, *stop;
    const char *role, *store_row, *store_block;
} Product;

static void write_tile(Emitter *e, const Kernel *kernel, const Product *p)
{
    let_int(e, "rows", p->rows.now);
    let_int(e, "vectors", p->vectors.now);
    let(e, "scalar", "%s", p->scalar);
    let(e, "vector", "%s", p->vector);
    let(e, "load", "%s", p->load);
    let(e, "sum", "%s", p->sum ? substitute(e, p->sum) : "");
    line(e, "vec acc[$rows][$vectors];");
    unrolled(e, "t", p->rows.now);
        unrolled(e, "v", p->vectors.now);
            line(e, "acc[t][v] = zero;");
    end(e, 2);
    loop_between(e, p->index, p->begin, p->stop);
        line(e, "vec factor[$vectors];");
        unrolled(e, "v", p->vectors.now);
            line(e, "factor[v] = $load(&$vector);");
            if (p->from_memory)
                line(e, "prefetch(&$vector + $vectors * L);");
        end(e, 1);
        unrolled(e, "t", p->rows.now);
            unrolled(e, "v", p->vectors.now);
                line(e, "acc[t][v] += splat($scalar) * factor[v];");
    end(e, 3);
    unrolled(e, "t", p->rows.now);
        unrolled(e, "v", p->vectors.now);
            if (p->sum)
                line(e, p->first ? "$sum = acc[t][v];" : "$sum += acc[t][v];");
            else if (p->to_memory)
                line(e, "stream(&dW[k + t][(cb + v) * L], acc[t][v]);");
            else
                store_pixel(e, kernel, p->role, "acc[t][v]", p->store_row, p->store_block, "0", "0");
    end(e, 2);
}

/* "256" -> "256", "last" -> "last / 8 * 8": where whole tiles of 8 end. */
static const char *whole_tiles(Emitter *e, const char *to, int64_t step)
{
    char *stop;
    int64_t number = strtoll(to, &stop, 10);
    let_int(e, "step", step);
    let(e, "to", "%s", to);
    let_int(e, "whole", number / step * step);
    return substitute(e, *stop == 0 ? "$whole" : step == 1 ? "$to" : "$to / $step * $step");
}

/* Covers rows x vectors with tiles: whole ones, then a smaller one for what is left at the end of an axis. A chunk
 * begins and ends at whole tiles, but for the last one, so that the second loop runs only there. */
static void cover(Emitter *e, const Kernel *kernel, Product *p, int axes)
{
    if (axes == 0) {
        write_tile(e, kernel, p);
        return;
    }
    Axis *axis = (axes == 2) == p->rows_outside ? &p->rows : &p->vectors;
    const char *to = substitute(e, axis->to), *whole = axis->count % axis->step ? whole_tiles(e, to, axis->step) : to;
    axis->now = axis->step;
    step_between(e, axis->name, axis->from, whole, axis->step);
        cover(e, kernel, p, axes - 1);
    end(e, 1);
    axis->now = axis->count % axis->step;
    if (axis->now == 0)
        return;
    step_between(e, axis->name, whole, to, axis->now);
        cover(e, kernel, p, axes - 1);
    end(e, 1);
}

/* Binds $first and $last (names given) to the bounds of chunk number `index` of `count` things, `size` a chunk. */
static void let_range(Emitter *e, const char *first, const char *last, const char *index, int64_t size, int64_t count)
{
    let(e, first, "0");
    let_int(e, last, count);
    if (size >= count)
        return;
    let(e, "first_name", "%s", first);
    let(e, "last_name", "%s", last);
    let(e, "index", "%s", index);
    let_int(e, "size", size);
    let_int(e, "count", count);
    line(e, "const int $first_name = $index * $size;");
    line(e, count % size ? "const int $last_name = $first_name + $size < $count ? $first_name + $size : $count;"
                         : "const int $last_name = $first_name + $size;");
    let(e, first, "%s", first);
    let(e, last, "%s", last);
}

/* The caller's pictures lie at any address. */
static const char *load_of(const Kernel *k, const char *role)
{
    return operand_of(k, role)->tensor->storage->kind == TENSOR_INPUT ? "load_unaligned" : "load";
}

/* Rows and vectors of a tile: three quarters of the registers accumulate, the others hold factors. A number of vectors
 * that divides all leaves no narrow tiles, which matter where there are few; rows are shared out evenly. Kept in
 * schedule.pixels and schedule.blocks. */
static void choose_tile(Schedule *s, const Target *target, int64_t rows, int64_t vectors)
{
    int64_t room = target->registers * 3 / 4, wide = 3;
    static const int widths[] = {3, 4, 2};
    for (int i = 2; i >= 0; i--)
        if (vectors % widths[i] == 0 && vectors < 128)
            wide = widths[i];
    wide = smaller(wide, vectors);
    while (rows * wide * 2 <= 8 && wide * 2 <= vectors)
        wide *= 2;
    int64_t tall = smaller(smaller(room / wide, 8), rows);
    if (rows < 4 * tall)
        tall = ceil_div(rows, ceil_div(rows, tall));
    s->pixels = (int)tall;
    s->blocks = (int)wide;
}

enum {
    ITEMS = 16,                 /* pieces of work that a kernel is cut into, where it is large enough               */
    CACHED = 256 << 10,         /* bytes of a block that shall stay in the second cache                             */
    SUMS = 128 << 10,           /* bytes of partial sums on the stack                                               */
};

/* ---- forward, images in the lanes -------------------------------------------------------------------------------- */

/* Images in one vector's lanes would be mostly nothing. */
static bool many_images(const Kernel *k, const Target *target)
{
    return k->layer->graph->batch * 4 > target->lanes;
}

/* schedule: tile of .pixels rows of W x .blocks vectors of images; .rows rows of W a chunk; .chunks chunks. */
static void plan_lanes(Program *p, Kernel *k)
{
    Sizes s = sizes_of(k, p->target->lanes);
    Schedule *plan = &k->schedule;
    int64_t vectors = ceil_div(s.N, s.L), wide = vectors <= 3 ? vectors : vectors % 3 ? 2 : 3;
    int64_t tall = wide * 8 <= p->target->registers * 3 / 4 ? 8 : 4, unit = tall > s.L ? tall : s.L;
    int64_t groups = ceil_div(vectors, wide);
    int64_t most = SUMS / (wide * s.L * 4) / unit * unit;
    plan->pixels = (int)tall;
    plan->blocks = (int)wide;
    plan->rows = (int)smaller(round_up(ceil_div(s.K, ceil_div(ITEMS, groups)), unit), most);
    plan->chunks = (int)ceil_div(s.K, plan->rows);
    plan->text = arena_printf(p->arena, "images in the lanes, tile %d rows x %d vectors, %lld x %d chunks of %d rows "
                              "shared among threads", plan->pixels, plan->blocks, (long long)groups, plan->chunks,
                              plan->rows);
    scratch_of(p, k, "XT", 4, (int64_t[]){groups, s.CB * s.L, wide, s.L});
}

/* XT[group][c][v] = X of images v * L .. of the group, input c. */
static void write_images_to_lanes(Emitter *e, bool whole)
{
    comment(e, "X with images in the lanes");
    parallel_over(e, 3);
    loop_between(e, "group", "0", "$groups");
        loop_between(e, "v", "0", "$wide");
            loop_between(e, "cb", "0", "$CB");
                line(e, "vec x[L];");
                loop_between(e, "l", "0", "L");
                    line(e, "const int n = (group * $wide + v) * L + l;");
                    line(e, whole ? "x[l] = $load(&X[n][cb * L]);" : "x[l] = n < $N ? $load(&X[n][cb * L]) : zero;");
                end(e, 1);
                line(e, "transpose(x);");
                loop_between(e, "l", "0", "L");
                    line(e, "store(XT[group][cb * L + l][v], x[l]);");
    end(e, 4);
}

/* Sums of one chunk, images in the lanes, -> rows of Y. */
static void write_lanes_to_rows(Emitter *e, const Kernel *kernel, const Sizes *s, bool whole)
{
    comment(e, "outputs back into the lanes");
    loop_between(e, "kb", "$first / L", "($last + L - 1) / L");
        loop_between(e, "v", "0", "$wide");
            line(e, "vec y[L];");
            loop_between(e, "l", "0", "L");
                line(e, s->K % s->L ? "y[l] = kb * L + l < $K ? sum[kb * L + l - $first][v] : zero;"
                                    : "y[l] = sum[kb * L + l - $first][v];");
            end(e, 1);
            line(e, "transpose(y);");
            loop_between(e, "l", "0", "L");
                line(e, "const int n = (group * $wide + v) * L + l;");
                if (!whole)
                    when(e, "n < $N");
                store_pixel(e, kernel, "Y", has_operand(kernel, "b") ? "y[l] + load(&b[kb * L])" : "y[l]", "n", "kb",
                            "0", "0");
                if (!whole)
                    end(e, 1);
    end(e, 3);
}

static void lanes_body(Emitter *e, const Kernel *kernel)
{
    Sizes s = let_sizes(e, kernel, "W");
    const Schedule *plan = &kernel->schedule;
    int64_t groups = ceil_div(s.N, s.L * plan->blocks);
    int64_t block = smaller(CACHED / (plan->blocks * s.L * 4) / s.L * s.L, s.CB * s.L);
    bool whole = s.N % (s.L * plan->blocks) == 0, blocked = block < s.CB * s.L;
    let_int(e, "groups", groups);
    let_int(e, "wide", plan->blocks);
    let_int(e, "chunk_rows", plan->rows);
    let_int(e, "chunks", plan->chunks);
    let_int(e, "inputs", s.CB * s.L);
    let(e, "load", "%s", load_of(kernel, "X"));
    write_images_to_lanes(e, whole);
    parallel_over(e, 2);
    loop(e, "group", groups);
        loop(e, "chunk", plan->chunks);
            let_range(e, "first", "last", "chunk", plan->rows, s.K);
            line(e, "vec sum[$chunk_rows][$wide];");
            if (blocked) {
                loop_between(e, "k", "0", "$chunk_rows");
                    loop_between(e, "v", "0", "$wide");
                        line(e, "sum[k][v] = zero;");
                end(e, 2);
                let_int(e, "block", block);
                comment(e, "a block of inputs stays in the second cache");
                step_loop(e, "begin", s.CB * s.L, block);
                line(e, s.CB * s.L % block ? "const int stop = begin + $block < $inputs ? begin + $block : $inputs;"
                                           : "const int stop = begin + $block;");
            }
            Product p = {
                .rows = {"k", "$first", "$last", s.K, plan->pixels, 0},
                .vectors = {"", "", "", 0, 0, plan->blocks},
                .scalar = "W[k + t][c]", .vector = "XT[group][c][v][0]", .load = "load",
                .sum = "sum[k + t - $first][v]", .first = !blocked,
                .index = "c", .begin = blocked ? "begin" : "0", .stop = blocked ? "stop" : "$inputs",
            };
            cover(e, kernel, &p, 1);
            if (blocked)
                end(e, 1);
            write_lanes_to_rows(e, kernel, &s, whole);
    end(e, 2);
}

static const FastKernel forward_lanes = {
    .name = "lanes", .fuses = FUSE_RELU, .fits = many_images, .plan = plan_lanes, .body = lanes_body};

/* ---- forward, few images ----------------------------------------------------------------------------------------- */

static void plan_dot(Program *p, Kernel *k)
{
    int64_t n = k->layer->graph->batch, tall = n * 8 <= p->target->registers * 3 / 4 ? 8 : 4;
    k->schedule = (Schedule){.pixels = (int)smaller(tall, p->target->lanes), .blocks = (int)n};
    k->schedule.text = arena_printf(p->arena, "inputs in the lanes, tile %d rows x %lld images, output vectors shared "
                                    "among threads", k->schedule.pixels, (long long)n);
}

/* Dot products of `rows` rows of W, from row k on, and all images. */
static void write_dots(Emitter *e, int64_t rows, int64_t images)
{
    let_int(e, "rows", rows);
    line(e, "vec acc[$rows][$N];");
    unrolled(e, "t", rows);
        unrolled(e, "n", images);
            line(e, "acc[t][n] = zero;");
    end(e, 2);
    loop_between(e, "cb", "0", "$CB");
        unrolled(e, "t", rows);
            unrolled(e, "n", images);
                line(e, "acc[t][n] += load(&W[k + t][cb * L]) * $load(&X[n][cb * L]);");
    end(e, 3);
    unrolled(e, "t", rows);
        unrolled(e, "n", images);
            line(e, "y[n][k + t - kb * L] = sum_lanes(acc[t][n]);");
    end(e, 2);
}

static void dot_body(Emitter *e, const Kernel *kernel)
{
    Sizes s = let_sizes(e, kernel, "W");
    int64_t rows = kernel->schedule.pixels;
    let(e, "load", "%s", load_of(kernel, "X"));
    parallel(e);
    loop(e, "kb", s.KB);
        line(e, "vec y[$N];");
        loop_between(e, "n", "0", "$N");
            line(e, "y[n] = zero;");
        end(e, 1);
        let_range(e, "first", "last", "kb", s.L, s.K);
        const char *whole = whole_tiles(e, substitute(e, "$last"), rows);
        step_between(e, "k", "$first", whole, rows);
            write_dots(e, rows, s.N);
        end(e, 1);
        if (s.K % rows) {
            step_between(e, "k", whole, "$last", s.K % rows);
                write_dots(e, s.K % rows, s.N);
            end(e, 1);
        }
        loop_between(e, "n", "0", "$N");
            store_pixel(e, kernel, "Y", has_operand(kernel, "b") ? "y[n] + load(&b[kb * L])" : "y[n]", "n", "kb", "0",
                        "0");
    end(e, 2);
}

static const FastKernel forward_dot = {.name = "dot", .fuses = FUSE_RELU, .plan = plan_dot, .body = dot_body};

const FastKernel *const linear_forward_families[] = {&forward_lanes, &forward_dot, NULL};

/* ---- gradient by the inputs -------------------------------------------------------------------------------------- */

/* Rows of W that are added up in registers before the sums are stored. From memory come few at a time, for which
 * hardware prefetches ahead. Rows that lie a large power of two apart meet in few sets of the second cache (2048 of 8
 * ways). */
static int64_t depth_of(const Sizes *s)
{
    int64_t apart = s->CB * s->L * 4, period = 2048 * 64;
    while (apart % period)
        period /= 2;
    return smaller(is_huge(s) ? 24 : 128, 2048 * 64 / period * 8 / 2);
}

/* Images and input vectors of one chunk; the number of groups and chunks. */
typedef struct { int64_t images, groups, width, chunks; } InputChunks;

static InputChunks input_chunks(const Sizes *s, const Schedule *plan)
{
    InputChunks c = {.images = s->N <= 96 ? s->N : round_up(ceil_div(s->N, ceil_div(s->N, 64)), plan->pixels)};
    c.groups = ceil_div(s->N, c.images);
    int64_t most = SUMS / (c.images * s->L * 4) / plan->blocks * plan->blocks;
    c.width = smaller(round_up(ceil_div(s->CB, ceil_div(ITEMS, c.groups)), plan->blocks), most);
    c.chunks = ceil_div(s->CB, c.width);
    return c;
}

static void plan_grad_input(Program *p, Kernel *k)
{
    Sizes s = sizes_of(k, p->target->lanes);
    Schedule *plan = &k->schedule;
    choose_tile(plan, p->target, s.N, s.CB);
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
    Sizes s = let_sizes(e, kernel, "W");
    const Schedule *plan = &kernel->schedule;
    InputChunks c = input_chunks(&s, plan);
    bool blocked = plan->rows < s.K;
    let_int(e, "images", c.images);
    let_int(e, "width", c.width);
    let_int(e, "depth", plan->rows);
    parallel_over(e, 2);
    loop(e, "group", c.groups);
        loop(e, "chunk", c.chunks);
            let_range(e, "image", "last_image", "group", c.images, s.N);
            let_range(e, "first", "last", "chunk", c.width, s.CB);
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
                .from_memory = is_huge(&s),
                .index = "k", .begin = blocked ? "begin" : "0", .stop = blocked ? "stop" : "$K",
                .role = "dX", .store_row = "n + t", .store_block = "(cb + v)",
            };
            cover(e, kernel, &p, 2);
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

static WeightChunks weight_chunks(const Sizes *s, const Schedule *plan)
{
    int64_t most = CACHED / (s->N * s->L * 4) / plan->blocks * plan->blocks;
    WeightChunks c = {.width = smaller(s->CB, most > plan->blocks ? most : plan->blocks)};
    c.chunks = ceil_div(s->CB, c.width);
    c.rows = round_up(ceil_div(s->K, ceil_div(ITEMS, c.chunks)), plan->pixels);
    c.row_chunks = ceil_div(s->K, c.rows);
    return c;
}

static void plan_grad_weight(Program *p, Kernel *k)
{
    Sizes s = sizes_of(k, p->target->lanes);
    Schedule *plan = &k->schedule;
    choose_tile(plan, p->target, s.K, s.CB);
    WeightChunks c = weight_chunks(&s, plan);
    plan->rows = (int)c.rows;
    plan->chunks = (int)(c.row_chunks * c.chunks);
    plan->text = arena_printf(p->arena, "tile %d rows x %d vectors over all images, chunks of %lld rows x %lld vectors "
                              "shared among threads", plan->pixels, plan->blocks, (long long)c.rows,
                              (long long)c.width);
}

static void grad_weight_body(Emitter *e, const Kernel *kernel)
{
    Sizes s = let_sizes(e, kernel, "dW");
    const Schedule *plan = &kernel->schedule;
    WeightChunks c = weight_chunks(&s, plan);
    let_int(e, "chunk_rows", c.rows);
    let_int(e, "width", c.width);
    parallel_over(e, 2);
    loop(e, "chunk", c.chunks);
        loop(e, "part", c.row_chunks);
            let_range(e, "row", "last_row", "part", c.rows, s.K);
            let_range(e, "first", "last", "chunk", c.width, s.CB);
            Product p = {
                .rows = {"k", "$row", "$last_row", s.K, plan->pixels, 0},
                .vectors = {"cb", "$first", "$last", s.CB, plan->blocks, 0}, .rows_outside = true,
                .scalar = "dY[n][k + t]", .vector = "X[n][(cb + v) * L]", .load = load_of(kernel, "X"),
                .index = "n", .begin = "0", .stop = "$N",
                .to_memory = is_huge(&s), .role = "dW", .store_row = "k + t", .store_block = "(cb + v)",
            };
            cover(e, kernel, &p, 2);
            if (p.to_memory)
                line(e, "finish_streams();");
    end(e, 2);
}

static const FastKernel grad_weight = {.name = "rows", .plan = plan_grad_weight, .body = grad_weight_body};

const FastKernel *const linear_grad_weight_families[] = {&grad_weight, NULL};

/* ---- gradient by the bias ---------------------------------------------------------------------------------------- */

static void plan_grad_bias(Program *p, Kernel *k)
{
    (void)p;
    k->schedule.text = "outputs in the lanes, output vectors shared among threads";
}

static void grad_bias_body(Emitter *e, const Kernel *kernel)
{
    Sizes s = let_sizes(e, kernel, "dY");
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
