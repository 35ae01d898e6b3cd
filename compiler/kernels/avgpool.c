/* avgpool.c - means of windows, and their gradients, on blocked pictures: avgpool, adaptive_avgpool, global_avgpool.
 *
 * Bound by memory; sums are kept in registers, one vector of L channels an output pixel. In the
 * gradient each pixel sums the shares of the windows that hold it (elements.c).
 */
#include "elements.h"

/* ---- avgpool ----------------------------------------------------------------------------------------------------- */

/* Binds `name` to the number of a window's rows or columns that count, and writes what it needs. `index`: i or j. */
static void let_extent(Emitter *e, const Layer *l, const Window *w, int d, const char *name, const char *index)
{
    bool counts_pad = avgpool_counts_pad(l);
    int64_t begin = counts_pad ? 0 : w->before[d], stop = w->before[d] + w->in[d] + (counts_pad ? w->after[d] : 0);
    int64_t last = (w->out[d] - 1) * w->stride[d] + w->kernel[d];
    let_int(e, name, w->kernel[d]);
    if (begin == 0 && last <= stop)
        return;
    let(e, "name", "%s", name);
    let(e, "first", w->stride[d] == 1 ? "%s" : "%s * %lld", index, (long long)w->stride[d]);
    let_int(e, "begin", begin);
    let_int(e, "stop", stop);
    let(e, "end", w->kernel[d] == 1 ? "%s + 1" : "%s + %lld", substitute(e, "$first"), (long long)w->kernel[d]);
    let(e, "lower", begin ? "($first < $begin ? $begin : $first)" : "$first");
    let(e, "upper", last > stop ? "($end > $stop ? $stop : $end)" : "($end)");
    let(e, "lower", "%s", substitute(e, substitute(e, "$lower")));
    let(e, "upper", "%s", substitute(e, substitute(e, "$upper")));
    line(e, "int $name = $upper - $lower;");
    let(e, name, "%s", name);
}

static void write_tap(Emitter *e, const Kernel *k)
{
    let(e, "x", "%s", pixel(e, k, "X", "n", "cb", substitute(e, "$ih"), substitute(e, "$iw")));
    line(e, "sum += load($x);");
}

static void end_window(Emitter *e, const Kernel *k)
{
    store_pixel(e, k, "Y", "sum / splat($rows * $columns)", "n", "cb", "i", "j");
}

static void forward_body(Emitter *e, const Kernel *k)
{
    Window w;
    avgpool_window(k->layer, &w);
    let_window(e, &w);
    share_planes(e, k, "Y");
        loop(e, "i", w.out[0]);
            let_extent(e, k->layer, &w, 0, "rows", "i");
            let_int(e, "columns", w.kernel[1]);
            if (loop_inner_columns(e, &w)) {
                line(e, "vec sum = zero;");
                loop_inner_taps(e, &w);
                    write_tap(e, k);
                end_inner_taps(e, &w);
                end_window(e, k);
                end(e, 1);
            }
            if (loop_edge_columns(e, &w)) {
                let_extent(e, k->layer, &w, 1, "columns", "j");
                line(e, "vec sum = zero;");
                loop_taps(e, &w);
                    write_tap(e, k);
                end_taps(e, &w);
                end_window(e, k);
                end(e, 1);
            }
    end(e, 3);
}

static void write_share(Emitter *e, const Kernel *k, const Window *w, Share share)
{
    if (share == SHARE_ROW) {
        let_extent(e, k->layer, w, 0, "rows", "i");
        return;
    }
    let_int(e, "columns", w->kernel[1]);
    if (share == SHARE_EDGE) {
        line(e, "const int q = $window;");
        let_extent(e, k->layer, w, 1, "columns", "q");
        let(e, "window", "q");
    }
    let(e, "dy", "%s", pixel(e, k, "dY", "n", "cb", "i", substitute(e, "$window")));
    line(e, "$sum += load($dy) * splat((real)1 / ($rows * $columns));");
}

static void grad_input_body(Emitter *e, const Kernel *k)
{
    Window w;
    avgpool_window(k->layer, &w);
    write_gradient(e, k, &w, write_share);
}

/* ---- global_avgpool, and adaptive_avgpool(1) --------------------------------------------------------------------- */

static void global_forward_body(Emitter *e, const Kernel *k)
{
    const Shape *in = &k->layer->input[0]->output;
    let_int(e, "pixels", in->dim[1] * in->dim[2]);
    share_planes(e, k, "Y");
        line(e, "vec sum = zero;");
        loop(e, "h", in->dim[1]);
            loop(e, "w", in->dim[2]);
                let(e, "x", "%s", pixel(e, k, "X", "n", "cb", "h", "w"));
                line(e, "sum += load($x);");
        end(e, 2);
        store_pixel(e, k, "Y", "sum / splat($pixels)", "n", "cb", "0", "0");
    end(e, 2);
}

static void global_grad_input_body(Emitter *e, const Kernel *k)
{
    const Shape *in = &k->layer->input[0]->output;
    let_int(e, "pixels", in->dim[1] * in->dim[2]);
    share_planes(e, k, "dX");
        let(e, "dy", "%s", pixel(e, k, "dY", "n", "cb", "0", "0"));
        line(e, "const vec share = load($dy) / splat($pixels);");
        loop(e, "h", in->dim[1]);
            loop(e, "w", in->dim[2]);
                store_pixel(e, k, "dX", "share", "n", "cb", "h", "w");
    end(e, 4);
}

/* ---- adaptive_avgpool: window i of P over H rows is [floor(i H / P), ceil((i + 1) H / P)) ------------------------ */

/* "int top = i * H / P, bottom = ((i + 1) * H + P - 1) / P;": of n pieces over `over`, what piece `index` covers. The
 * same formula with the sizes exchanged gives the windows that hold a pixel. */
static void write_range(Emitter *e, const char *from, const char *to, const char *index, int64_t over, int64_t n)
{
    let(e, "first", "%s", from);
    let(e, "last", "%s", to);
    let(e, "index", (over + 1) * (n + 1) > INT32_MAX ? "(int64_t)%s" : "%s", index);
    let_int(e, "over", over);
    let_int(e, "n", n);
    let_int(e, "up", n - 1);
    if (over % n == 0) {
        let_int(e, "size", over / n);
        line(e, over == n ? "int $first = $index, $last = $index + 1;"
                          : "int $first = $index * $size, $last = ($index + 1) * $size;");
    } else if (n % over == 0) {
        let_int(e, "size", n / over);
        line(e, "int $first = $index / $size, $last = $first + 1;");
    } else {
        line(e, "int $first = $index * $over / $n, $last = (($index + 1) * $over + $up) / $n;");
    }
}

static bool one_window(const Kernel *k)
{
    return k->layer->output.dim[1] == 1 && k->layer->output.dim[2] == 1;
}

static void adaptive_forward_body(Emitter *e, const Kernel *k)
{
    const Shape *in = &k->layer->input[0]->output, *out = &k->layer->output;
    if (one_window(k)) {
        global_forward_body(e, k);
        return;
    }
    share_planes(e, k, "Y");
        loop(e, "i", out->dim[1]);
            write_range(e, "top", "bottom", "i", in->dim[1], out->dim[1]);
            loop(e, "j", out->dim[2]);
                write_range(e, "left", "right", "j", in->dim[2], out->dim[2]);
                line(e, "vec sum = zero;");
                loop_between(e, "h", "top", "bottom");
                    loop_between(e, "w", "left", "right");
                        let(e, "x", "%s", pixel(e, k, "X", "n", "cb", "h", "w"));
                        line(e, "sum += load($x);");
                end(e, 2);
                store_pixel(e, k, "Y", "sum / splat((bottom - top) * (right - left))", "n", "cb", "i", "j");
    end(e, 4);
}

static void adaptive_grad_input_body(Emitter *e, const Kernel *k)
{
    const Shape *in = &k->layer->input[0]->output, *out = &k->layer->output;
    if (one_window(k)) {
        global_grad_input_body(e, k);
        return;
    }
    share_planes(e, k, "dX");
        loop(e, "h", in->dim[1]);
            write_range(e, "i_from", "i_to", "h", out->dim[1], in->dim[1]);
            loop(e, "w", in->dim[2]);
                write_range(e, "j_from", "j_to", "w", out->dim[2], in->dim[2]);
                line(e, "vec sum = zero;");
                comment(e, "windows that hold pixel h, w");
                loop_between(e, "i", "i_from", "i_to");
                    write_range(e, "top", "bottom", "i", in->dim[1], out->dim[1]);
                    loop_between(e, "j", "j_from", "j_to");
                        write_range(e, "left", "right", "j", in->dim[2], out->dim[2]);
                        let(e, "dy", "%s", pixel(e, k, "dY", "n", "cb", "i", "j"));
                        line(e, "sum += load($dy) / splat((bottom - top) * (right - left));");
                end(e, 2);
                store_pixel(e, k, "dX", "sum", "n", "cb", "h", "w");
    end(e, 4);
}

static const FastKernel forward = {.name = "vectors", .fuses = FUSE_RELU, .plan = plan_planes, .body = forward_body};
static const FastKernel grad_input = {
    .name = "pixels", .fuses = FUSE_MASK | FUSE_SUMS, .plan = plan_planes, .body = grad_input_body};
static const FastKernel adaptive_forward = {
    .name = "grid", .fuses = FUSE_RELU, .plan = plan_planes, .body = adaptive_forward_body};
static const FastKernel adaptive_grad_input = {
    .name = "grid", .fuses = FUSE_MASK, .plan = plan_planes, .body = adaptive_grad_input_body};
static const FastKernel global_forward = {.name = "whole planes", .plan = plan_planes, .body = global_forward_body};
static const FastKernel global_grad_input = {
    .name = "whole planes", .fuses = FUSE_MASK, .plan = plan_planes, .body = global_grad_input_body};

const FastKernel *const avgpool_forward_families[] = {&forward, NULL};
const FastKernel *const avgpool_grad_input_families[] = {&grad_input, NULL};
const FastKernel *const adaptive_avgpool_forward_families[] = {&adaptive_forward, NULL};
const FastKernel *const adaptive_avgpool_grad_input_families[] = {&adaptive_grad_input, NULL};
const FastKernel *const global_avgpool_forward_families[] = {&global_forward, NULL};
const FastKernel *const global_avgpool_grad_input_families[] = {&global_grad_input, NULL};
