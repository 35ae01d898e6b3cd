/* linear.c - fully connected layers, forward: Y[n][k] = b[k] + sum_c W[k][c] * X[n][c], without transposing W.
 *
 * Images lie in the lanes, from a transposed copy of X ("lanes"). With few images it is a row of W times X, with inputs
 * in the lanes and a sum of lanes at the end ("dot"). Big layers are bound by memory: W is read once. linear.h has the
 * register tiles.
 *
 * Requires: W, X and Y in rows (layout.h): zeros behind the last of C and of K.
 * Establishes: the same, and the same bits at any number of threads: a sum belongs to one thread, which adds in order.
 */
#include "linear.h"

/* ---- forward, images in the lanes -------------------------------------------------------------------------------- */

/* Images in one vector's lanes would be mostly nothing. */
static bool many_images(const Kernel *k, const Target *target)
{
    return k->layer->graph->batch * 4 > target->lanes;
}

/* schedule: tile of .pixels rows of W x .blocks vectors of images; .rows rows of W a chunk; .chunks chunks. */
static void plan_lanes(Program *p, Kernel *k)
{
    Linear s = linear_of(k, p->target->lanes);
    Schedule *plan = &k->schedule;
    int64_t vectors = ceil_div(s.N, s.L), wide = vectors <= 3 ? vectors : vectors % 3 ? 2 : 3;
    int64_t tall = wide * 8 <= p->target->registers * 3 / 4 ? 8 : 4, unit = tall > s.L ? tall : s.L;
    int64_t groups = ceil_div(vectors, wide);
    int64_t most = LINEAR_SUMS / (wide * s.L * 4) / unit * unit;
    plan->pixels = (int)tall;
    plan->blocks = (int)wide;
    plan->rows = (int)least(round_up(ceil_div(s.K, ceil_div(LINEAR_ITEMS, groups)), unit), most);
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
static void write_lanes_to_rows(Emitter *e, const Kernel *kernel, const Linear *s, bool whole)
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
    Linear s = let_linear(e, kernel, "W");
    const Schedule *plan = &kernel->schedule;
    int64_t groups = ceil_div(s.N, s.L * plan->blocks);
    int64_t block = least(LINEAR_CACHED / (plan->blocks * s.L * 4) / s.L * s.L, s.CB * s.L);
    bool whole = s.N % (s.L * plan->blocks) == 0, blocked = block < s.CB * s.L;
    let_int(e, "groups", groups);
    let_int(e, "wide", plan->blocks);
    let_int(e, "chunk_rows", plan->rows);
    let_int(e, "chunks", plan->chunks);
    let_int(e, "inputs", s.CB * s.L);
    let(e, "load", "%s", linear_load(kernel, "X"));
    write_images_to_lanes(e, whole);
    parallel_over(e, 2);
    loop(e, "group", groups);
        loop(e, "chunk", plan->chunks);
            let_chunk(e, "first", "last", "chunk", plan->rows, s.K);
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
            emit_products(e, kernel, &p, 1);
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
    k->schedule = (Schedule){.pixels = (int)least(tall, p->target->lanes), .blocks = (int)n};
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
    Linear s = let_linear(e, kernel, "W");
    int64_t rows = kernel->schedule.pixels;
    let(e, "load", "%s", linear_load(kernel, "X"));
    parallel(e);
    loop(e, "kb", s.KB);
        line(e, "vec y[$N];");
        loop_between(e, "n", "0", "$N");
            line(e, "y[n] = zero;");
        end(e, 1);
        let_chunk(e, "first", "last", "kb", s.L, s.K);
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
