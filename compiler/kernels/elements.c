/* elements.c - loops that element-wise kernels and pooling share (elements.h).
 *
 * Requires: blocked pictures or rows. Establishes: every plane of the output is written by one thread, its border
 * and its spare lanes are zeros.
 *
 * Pooling adds each window's gradient to the pixels it covers, and windows may overlap. A row of the picture is
 * gathered at a time: for each window row that holds it, shares are added to a row in L1 that is as wide as the padded
 * picture, so that neither edges nor overlaps need a test, and each pixel of dX is written once.
 */
#include "elements.h"

enum {
    MAX_ROW_BYTES = 1 << 18,    /* of a row on the stack of a thread, in double precision   */
    MAX_UNROLLED  = 16,         /* taps of a window that are written out                    */
};

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
    let(e, "kept", "%s", substitute(e, value));
    let_int(e, "C", t->dim[1]);
    return "choose(lanes_below($C - cb * $L), $kept, zero)";
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

/* ---- gradients, a row of the picture at a time ------------------------------------------------------------------- */

/* Pixels of the row that windows reach, from the first of the padding on. */
static int64_t row_width(const Window *w)
{
    int64_t reached = (w->out[1] - 1) * w->stride[1] + w->kernel[1], picture = w->before[1] + w->in[1];
    return reached > picture ? reached : picture;
}

bool row_fits(const Window *w, int lanes)
{
    return row_width(w) <= MAX_ROW_BYTES / (8 * lanes);
}

static bool overlaps(const Window *w)
{
    return w->kernel[0] > w->stride[0] || w->kernel[1] > w->stride[1];
}

/* Does exactly one window hold each pixel? */
static bool tiles(const Window *w)
{
    for (int d = 0; d < 2; d++)
        if (w->kernel[d] != w->stride[d] || w->out[d] * w->stride[d] < w->before[d] + w->in[d])
            return false;
    return true;
}

const char *row_set(const Window *w)
{
    return overlaps(w) ? "+=" : "=";
}

void loop_rows(Emitter *e, const Kernel *k, const Window *w)
{
    int64_t before = w->before[0], kernel = w->kernel[0], stride = w->stride[0];
    let_int(e, "width", row_width(w));
    let_int(e, "kernel", kernel);
    let_int(e, "stride", stride);
    let_int(e, "P", w->out[0]);
    let(e, "h", before ? "h + %lld" : "h", (long long)before);
    let(e, "at", before ? "(%s)" : "%s", substitute(e, "$h"));
    share_planes(e, k, "dX");
    loop(e, "h", w->in[0]);
        line(e, "vec row[$width];        /* of dX, padding included */");
        if (!tiles(w)) {
            loop(e, "w", row_width(w));
                line(e, "row[w] = zero;");
            end(e, 1);
        }
        comment(e, "windows that hold row h");
        if (kernel == stride) {
            line(e, "int from = $at / $stride;");
        } else {
            let_int(e, "beyond", before - kernel);
            let(e, "reach", before == kernel ? "h" : before > kernel ? "h + %lld" : "h - %lld",
                (long long)(before > kernel ? before - kernel : kernel - before));
            line(e, stride == 1 ? "int from = $h < $kernel ? 0 : $reach + 1;"
                                : "int from = $h < $kernel ? 0 : ($reach) / $stride + 1;");
        }
        let(e, "last", stride == 1 ? "%s" : "%s / %lld", substitute(e, "$at"), (long long)stride);
        line(e, "int to = $last < $P ? $last + 1 : $P;");
        loop_between(e, "i", "from", "to");
            loop(e, "j", w->out[1]);
}

void store_rows(Emitter *e, const Kernel *k, const Window *w)
{
    end(e, 2);
        loop(e, "w", w->in[1]);
            let(e, "pixel", w->before[1] ? "row[w + %lld]" : "row[w]", (long long)w->before[1]);
            store_pixel(e, k, "dX", "$pixel", "n", "cb", "h", "w");
    end(e, 4);
}
