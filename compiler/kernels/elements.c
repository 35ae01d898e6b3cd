/* elements.c - loops that element-wise kernels and pooling share (elements.h).
 *
 * Requires: blocked pictures or rows. Establishes: every plane of the output is written by one thread, its border
 * and its spare lanes are zeros.
 *
 * Pooling adds each window's gradient to the pixels it covers, and windows may overlap. Here each pixel looks for its
 * windows instead, so that dX is written once, as it is summed in registers, and by one thread.
 */
#include "elements.h"

enum { MAX_UNROLLED = 16 };     /* taps of a window that are written out */

void plan_planes(Program *p, Kernel *k)
{
    (void)p;
    k->schedule.text = "whole planes, shared among threads";
}

/* ---- element-wise ------------------------------------------------------------------------------------------------ */

int share_planes(Emitter *e, const Kernel *k, const char *role)
{
    const Tensor *t = operand_of(k, role)->tensor;
    parallel_over(e, 2);
    loop(e, "n", t->dim[0]);
        loop(e, "cb", blocks_of(t->dim[1], t->layout.lanes));
            clear_border(e, k, role, "n", "cb");
    return 2;
}

int loop_vectors(Emitter *e, const Kernel *k, const char *role)
{
    const Tensor *t = operand_of(k, role)->tensor;
    int loops = share_planes(e, k, role);
    if (t->rank == 2)
        return loops;
    loop(e, "i", t->dim[2]);
        loop(e, "j", t->dim[3]);
    return loops + 2;
}

const char *vector_of(Emitter *e, const Kernel *k, const char *role)
{
    return pixel(e, k, role, "n", "cb", "i", "j");
}

const char *without_spare(Emitter *e, const Kernel *k, const char *role, const char *value)
{
    const Tensor *t = operand_of(k, role)->tensor;
    if (t->dim[1] % t->layout.lanes == 0)
        return value;
    let(e, "all", "%s", substitute(e, value));
    let_int(e, "C", t->dim[1]);
    line(e, "vec all = $all;");
    return "choose(lanes_below($C - cb * $L), all, zero)";
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

void inner_windows(const Window *w, int d, int64_t *from, int64_t *to)
{
    int64_t room = w->in[d] + w->before[d] - w->kernel[d];      /* where the last of them may start */
    *from = (w->before[d] + w->stride[d] - 1) / w->stride[d];
    *to = room < 0 ? 0 : room / w->stride[d] + 1;
    if (*to > w->out[d])
        *to = w->out[d];
    if (*from >= *to)
        *from = *to = 0;
}

bool loop_inner_columns(Emitter *e, const Window *w)
{
    int64_t from, to;
    inner_windows(w, 1, &from, &to);
    if (from == to)
        return false;
    let_int(e, "from", from);
    let_int(e, "to", to);
    loop_between(e, "j", "$from", "$to");
    return true;
}

bool loop_edge_columns(Emitter *e, const Window *w)
{
    int64_t from, to;
    inner_windows(w, 1, &from, &to);
    if (to - from == w->out[1])
        return false;
    let_int(e, "from", from);
    let_int(e, "inner", to - from);
    comment(e, "windows that reach over the left or the right edge");
    loop(e, "edge", w->out[1] - (to - from));
        line(e, to == from ? "int j = edge;" : from == 0 ? "int j = edge + $inner;"
                                             : "int j = edge < $from ? edge : edge + $inner;");
    return true;
}

static bool leaves_rows(const Window *w)
{
    int64_t from, to;
    inner_windows(w, 0, &from, &to);
    return to - from != w->out[0];
}

void loop_inner_taps(Emitter *e, const Window *w)
{
    bool small = w->kernel[0] * w->kernel[1] <= MAX_UNROLLED;
    (small ? unrolled : loop)(e, "r", w->kernel[0]);
        if (leaves_rows(w)) {
            let_int(e, "H", w->in[0]);
            when(e, "inside($ih, $H)");
        }
        (w->kernel[1] <= MAX_UNROLLED ? unrolled : loop)(e, "s", w->kernel[1]);
}

void end_inner_taps(Emitter *e, const Window *w)
{
    end(e, 2 + leaves_rows(w));
}

/* ---- gradients, a few pixels at a time --------------------------------------------------------------------------- */

/* Group j of a row: the `stride` pixels from where window j begins. Tap s of window j - s / stride lies on the group's
 * pixel s % stride, and no other window holds one. */
typedef struct {
    int64_t first, stop;        /* groups with a pixel in the picture                                   */
    int64_t from, to;           /* those that need no test: their pixels and windows lie in the picture */
} Groups;

static Groups groups_of(const Window *w)
{
    int64_t stride = w->stride[1], before = w->before[1], end = before + w->in[1];
    int64_t windows = (w->kernel[1] + stride - 1) / stride;     /* that a group lies in */
    int64_t inner_from, inner_to;
    inner_windows(w, 1, &inner_from, &inner_to);
    Groups g = {before / stride, (end - 1) / stride + 1, (before + stride - 1) / stride, end / stride};
    if (g.from < inner_from + windows - 1)
        g.from = inner_from + windows - 1;
    if (g.to > inner_to)
        g.to = inner_to;
    if (g.from >= g.to)
        g.from = g.to = g.first;
    return g;
}

/* The windows that hold row h: from, to. */
static void write_window_rows(Emitter *e, const Window *w)
{
    int64_t before = w->before[0], kernel = w->kernel[0], stride = w->stride[0];
    let_int(e, "kernel", kernel);
    let_int(e, "stride", stride);
    let_int(e, "P", w->out[0]);
    let(e, "h", before ? "h + %lld" : "h", (long long)before);
    let(e, "at", before && stride > 1 ? "(%s)" : "%s", substitute(e, "$h"));
    let(e, "last", stride > 1 ? "%s / %lld" : "%s", substitute(e, "$at"), (long long)stride);
    let_int(e, "beyond", kernel - stride - before);
    if (kernel == stride)
        line(e, "int from = $last;");
    else if (kernel == stride + before)
        line(e, stride > 1 ? "int from = $h < $kernel ? 0 : h / $stride;" : "int from = $h < $kernel ? 0 : h;");
    else
        line(e, stride > 1 ? "int from = $h < $kernel ? 0 : (h - $beyond) / $stride;"
                           : "int from = $h < $kernel ? 0 : h - $beyond;");
    line(e, "int to = $last < $P ? $last + 1 : $P;");
}

/* Sums the shares of the windows that hold group j, and stores them. */
static void write_group(Emitter *e, const Kernel *k, const Window *w, WriteShare *write_share, bool tested)
{
    void (*each)(Emitter *, const char *, int64_t) = w->kernel[1] <= MAX_UNROLLED ? unrolled : loop;
    int64_t stride = w->stride[1];
    let(e, "column", stride > 1 ? "j * %lld + p" : "j", (long long)stride);
    if (w->before[1])
        let(e, "column", "%s - %lld", substitute(e, "$column"), (long long)w->before[1]);
    let(e, "window", stride > 1 ? "j - s / %lld" : "j - s", (long long)stride);
    let(e, "sum", stride > 1 ? "sum[s %% %lld]" : "sum", (long long)stride);
    let_int(e, "pixels", stride);
    let_int(e, "Q", w->out[1]);
    let_int(e, "W", w->in[1]);
    line(e, stride > 1 ? "vec sum[$pixels] = {zero};" : "vec sum = zero;");
    loop_between(e, "i", "from", "to");
        write_share(e, k, w, SHARE_ROW);
        each(e, "s", w->kernel[1]);
            if (tested)
                when(e, "inside($window, $Q)");
            write_share(e, k, w, tested ? SHARE_EDGE : SHARE_INNER);
    end(e, 2 + tested);
    if (stride > 1)
        each(e, "p", stride);
    if (tested)
        when(e, "inside($column, $W)");
    store_pixel(e, k, "dX", stride > 1 ? "sum[p]" : "sum", "n", "cb", "h", substitute(e, "$column"));
    end(e, tested + (stride > 1));
}

void write_gradient(Emitter *e, const Kernel *k, const Window *w, WriteShare *write_share)
{
    Groups g = groups_of(w);
    share_planes(e, k, "dX");
        loop(e, "h", w->in[0]);
            comment(e, "windows that hold row h");
            write_window_rows(e, w);
            let_int(e, "from", g.from);
            let_int(e, "to", g.to);
            if (g.from < g.to) {
                loop_between(e, "j", "$from", "$to");
                    write_group(e, k, w, write_share, false);
                end(e, 1);
            }
            if (g.from - g.first + g.stop - g.to > 0) {
                int64_t jump = g.to - g.from;
                let_int(e, "from", g.from);
                let_int(e, "jump", jump);
                comment(e, "pixels at the left or the right edge");
                let_int(e, "first", g.first);
                let_int(e, "stop", g.stop - jump);
                loop_between(e, "edge", "$first", "$stop");
                    line(e, jump == 0 ? "int j = edge;" : g.from == g.first ? "int j = edge + $jump;"
                                                        : "int j = edge < $from ? edge : edge + $jump;");
                    write_group(e, k, w, write_share, true);
                end(e, 1);
            }
        end(e, 1);
        finish_plane(e, k, "dX", "n", "cb");
    end(e, 2);
}
