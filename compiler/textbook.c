/* textbook.c - the loops of a sliding window as a learner writes them: taps r, s of a kernel at output pixel i, j.
 *
 * The input pixel under a tap is ih = i * stride - before + r * dilation (and iw likewise). Where some tap can fall
 * outside the picture a bounds test is written; where none can, a comment says so by its absence and none is.
 */
#include <string.h>

#include "op.h"

/* "i * 2 + r * 3 - 1", leaving out what is 1 or 0. */
static void let_index(Emitter *e, const char *name, const char *pixel, const char *tap, int64_t stride,
                      int64_t dilation, int64_t before)
{
    char text[128];
    int length = snprintf(text, sizeof text, "%s", pixel);
    if (stride != 1)
        length += snprintf(text + length, sizeof text - (size_t)length, " * %lld", (long long)stride);
    length += snprintf(text + length, sizeof text - (size_t)length, " + %s", tap);
    if (dilation != 1)
        length += snprintf(text + length, sizeof text - (size_t)length, " * %lld", (long long)dilation);
    if (before != 0)
        snprintf(text + length, sizeof text - (size_t)length, " - %lld", (long long)before);
    let(e, name, "%s", text);
}

void let_window(Emitter *e, const Window *w)
{
    let_index(e, "ih", "i", "r", w->stride[0], w->dilation[0], w->before[0]);
    let_index(e, "iw", "j", "s", w->stride[1], w->dilation[1], w->before[1]);
}

/* Can a tap fall outside the picture in direction d? */
static bool leaves_picture(const Window *w, int d)
{
    int64_t last = (w->out[d] - 1) * w->stride[d] - w->before[d] + (w->kernel[d] - 1) * w->dilation[d];
    return w->before[d] > 0 || last >= w->in[d];
}

static int bounds_test(Emitter *e, const Window *w)
{
    let_int(e, "H", w->in[0]);
    let_int(e, "W", w->in[1]);
    bool rows = leaves_picture(w, 0), columns = leaves_picture(w, 1);
    if (rows && columns)
        when(e, "inside($ih, $H) && inside($iw, $W)");
    else if (rows)
        when(e, "inside($ih, $H)");
    else if (columns)
        when(e, "inside($iw, $W)");
    return rows || columns;
}

static int bounds_levels(const Window *w)
{
    return leaves_picture(w, 0) || leaves_picture(w, 1);
}

void loop_taps(Emitter *e, const Window *w)
{
    loop(e, "r", w->kernel[0]);
        loop(e, "s", w->kernel[1]);
            bounds_test(e, w);
}

void end_taps(Emitter *e, const Window *w)
{
    end(e, 2 + bounds_levels(w));
}

void loop_pixels(Emitter *e, const Window *w)
{
    loop(e, "i", w->out[0]);
        loop(e, "j", w->out[1]);
            bounds_test(e, w);
}

void end_pixels(Emitter *e, const Window *w)
{
    end(e, 2 + bounds_levels(w));
}
