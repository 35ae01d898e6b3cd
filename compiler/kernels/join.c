/* join.c - kernels that move values: add, concat and flatten.
 *
 * Where the channels before a tensor are a multiple of L, concat copies vectors (or copies nothing: fuse.c); elsewhere
 * each vector is put together from two. flatten turns blocked pictures of several pixels into rows and back; a picture
 * of one pixel is a row already.
 */
#include <stdlib.h>

#include "elements.h"

/* ---- add --------------------------------------------------------------------------------------------------------- */

static void add_forward_body(Emitter *e, const Kernel *k)
{
    const char *sum = "";
    int loops = loop_vectors(e, k, "Y");
        for (int i = 0; i < k->operand_count; i++) {
            const Operand *o = &k->operand[i];
            if (o->role[0] != 'X' && o->access != OPERAND_UPDATE)
                continue;
            let(e, "sum", "%s", sum);
            let(e, "x", "%s", vector_of(e, k, o->role));
            sum = substitute(e, *sum ? "$sum + load($x)" : "load($x)");
        }
        store_pixel(e, k, "Y", sum, "n", "cb", "i", "j");
    end(e, loops);
}

/* ---- concat ------------------------------------------------------------------------------------------------------ */

/* Channels of Y before those of input number k->part. */
static int64_t channels_before(const Kernel *k)
{
    int64_t channels = 0;
    for (int i = 0; i < k->part; i++)
        channels += k->layer->input[i]->output.dim[0];
    return channels;
}

/* "first, first + 1, ..., first + L - 1": lanes of two vectors side by side. */
static const char *lanes_from(const Kernel *k, int first, int lanes)
{
    Arena *arena = k->layer->graph->arena;
    const char *text = arena_printf(arena, "%d", first);
    for (int l = 1; l < lanes; l++)
        text = arena_printf(arena, "%s, %d", text, first + l);
    return text;
}

/* "cb + 3", as an index of blocks; in rows it is a factor. */
static const char *block_text(const Kernel *k, const Tensor *t, int64_t further)
{
    if (further == 0)
        return "cb";
    const char *form = t->rank == 2 ? "(cb %c %lld)" : "cb %c %lld";
    return arena_printf(k->layer->graph->arena, form, further < 0 ? '-' : '+', (long long)llabs(further));
}

static void let_blocks(Emitter *e, const Kernel *k, const Tensor *part)
{
    int lanes = part->layout.lanes;
    int64_t before = channels_before(k);
    let_int(e, "shift", before % lanes);
    let_int(e, "blocks", blocks_of(part->dim[1], lanes));
    let_int(e, "last", blocks_of(part->dim[1], lanes) - 1);
    let(e, "block", "%s", block_text(k, part, before / lanes));
    let(e, "next", "%s", block_text(k, part, before / lanes + 1));
}

/* Threads share the blocks of Y that hold channels of X. Lanes before the first belong to another input and stay. */
static void concat_forward_body(Emitter *e, const Kernel *k)
{
    const Tensor *x = operand_of(k, "X")->tensor;
    int lanes = x->layout.lanes, shift = (int)(channels_before(k) % lanes);
    int64_t inputs = blocks_of(x->dim[1], lanes), blocks = blocks_of(shift + x->dim[1], lanes);
    let_blocks(e, k, x);
    parallel_over(e, 2);
    loop(e, "n", x->dim[0]);
        loop(e, "cb", blocks);
            if (shift)
                when(e, "cb > 0");
            clear_border(e, k, "Y", "n", "$block");
            if (shift)
                end(e, 1);
            if (x->rank == 4) {
                loop(e, "i", x->dim[2]);
                    loop(e, "j", x->dim[3]);
            }
            let(e, "x", "%s", vector_of(e, k, "X"));
            let(e, "y", "%s", pixel(e, k, "Y", "n", substitute(e, "$block"), "i", "j"));
            if (shift == 0) {
                line(e, "store($y, load($x));");
            } else {
                let(e, "before", "%s", pixel(e, k, "X", "n", block_text(k, x, -1), "i", "j"));
                let(e, "lanes", "%s", lanes_from(k, lanes - shift, lanes));
                line(e, "vec low = cb > 0 ? load($before) : zero;");
                line(e, blocks > inputs ? "vec high = cb < $blocks ? load($x) : zero;" : "vec high = load($x);");
                line(e, "vec both =");
                line(e, "    __builtin_shufflevector(low, high, $lanes);");
                line(e, "store($y, cb > 0 ? both : choose(lanes_below($shift), load($y), both));");
            }
    end(e, x->rank);
}

static void concat_grad_input_body(Emitter *e, const Kernel *k)
{
    const Tensor *dx = operand_of(k, "dX")->tensor;
    int lanes = dx->layout.lanes, shift = (int)(channels_before(k) % lanes);
    int64_t inputs = blocks_of(dx->dim[1], lanes), blocks = blocks_of(shift + dx->dim[1], lanes);
    let_blocks(e, k, dx);
    int loops = loop_vectors(e, k, "dX");
        let(e, "dy", "%s", pixel(e, k, "dY", "n", substitute(e, "$block"), "i", "j"));
        let(e, "joined", "load(%s)", substitute(e, "$dy"));
        if (shift) {
            let(e, "next", "%s", pixel(e, k, "dY", "n", substitute(e, "$next"), "i", "j"));
            let(e, "lanes", "%s", lanes_from(k, shift, lanes));
            line(e, "vec low = load($dy);");
            line(e, blocks > inputs ? "vec high = load($next);" : inputs == 1 ? "vec high = zero;"
                                    : "vec high = cb < $last ? load($next) : zero;");
            line(e, "vec joined =");
            line(e, "    __builtin_shufflevector(low, high, $lanes);");
            let(e, "joined", "joined");
        }
        store_pixel(e, k, "dX", without_spare(e, k, "dX", "$joined"), "n", "cb", "i", "j");
    end(e, loops);
}

/* ---- flatten ----------------------------------------------------------------------------------------------------- */

static void let_features(Emitter *e, const Tensor *picture, const Tensor *rows)
{
    int64_t features = rows->dim[1], lanes = picture->layout.lanes;
    let_int(e, "C", picture->dim[1]);
    let_int(e, "H", picture->dim[2]);
    let_int(e, "W", picture->dim[3]);
    let_int(e, "features", features);
    let_int(e, "all", blocks_of(features, (int)lanes) * lanes);
    let_int(e, "last", blocks_of(picture->dim[1], (int)lanes) - 1);
    if (picture->dim[1] % lanes)
        let(e, "channels", "channels");
    else
        let_int(e, "channels", lanes);
}

static void write_channels(Emitter *e, const Tensor *picture)
{
    if (picture->dim[1] % picture->layout.lanes)
        line(e, "int channels = cb < $last ? $L : $C - $last * $L;");
}

static void flatten_forward_body(Emitter *e, const Kernel *k)
{
    const Tensor *x = operand_of(k, "X")->tensor, *y = operand_of(k, "Y")->tensor;
    let_features(e, x, y);
    let(e, "x", "%s", vector_of(e, k, "X"));
    parallel_over(e, 2);
    loop(e, "n", x->dim[0]);
        loop(e, "cb", blocks_of(x->dim[1], x->layout.lanes));
            write_channels(e, x);
            loop_between(e, "c", "0", "$channels");
                loop(e, "i", x->dim[2]);
                    loop(e, "j", x->dim[3]);
                        line(e, "Y[n][((cb * $L + c) * $H + i) * $W + j] = $x[c];");
            end(e, 3);
            if (y->dim[1] % y->layout.lanes) {
                comment(e, "spare features");
                loop_between(e, "f", "$features", "(cb < $last ? $features : $all)");
                    line(e, "Y[n][f] = 0;");
                end(e, 1);
            }
    end(e, 2);
}

static void flatten_grad_input_body(Emitter *e, const Kernel *k)
{
    const Tensor *dx = operand_of(k, "dX")->tensor, *dy = operand_of(k, "dY")->tensor;
    let_features(e, dx, dy);
    let(e, "dx", "%s", vector_of(e, k, "dX"));
    share_planes(e, k, "dX");
        write_channels(e, dx);
        loop(e, "i", dx->dim[2]);
            loop(e, "j", dx->dim[3]);
                loop_between(e, "c", "0", "$channels");
                    line(e, "$dx[c] $set dY[n][((cb * $L + c) * $H + i) * $W + j];");
                end(e, 1);
                if (dx->dim[1] % dx->layout.lanes && !k->adds) {
                    loop_between(e, "c", "channels", "$L");
                        line(e, "$dx[c] = 0;");
                    end(e, 1);
                }
    end(e, 4);
}

static const FastKernel add_forward = {
    .name = "vectors", .fuses = FUSE_RELU, .plan = plan_planes, .body = add_forward_body};
static const FastKernel concat_forward = {.name = "vectors", .plan = plan_planes, .body = concat_forward_body};
static const FastKernel concat_grad_input = {
    .name = "vectors", .fuses = FUSE_MASK, .plan = plan_planes, .body = concat_grad_input_body};
static const FastKernel flatten_forward = {.name = "transpose", .plan = plan_planes, .body = flatten_forward_body};
static const FastKernel flatten_grad_input = {
    .name = "transpose", .plan = plan_planes, .body = flatten_grad_input_body};

const FastKernel *const add_forward_families[] = {&add_forward, NULL};
const FastKernel *const concat_forward_families[] = {&concat_forward, NULL};
const FastKernel *const concat_grad_input_families[] = {&concat_grad_input, NULL};
const FastKernel *const flatten_forward_families[] = {&flatten_forward, NULL};
const FastKernel *const flatten_grad_input_families[] = {&flatten_grad_input, NULL};
