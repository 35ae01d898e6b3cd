/* resize.c - bilinear resizing of 8-bit pictures, bit for bit as Pillow does it, and so torchvision on PIL pictures.
 *
 * Reference: Pillow's src/libImaging/Resample.c. Along each axis, output pixel i stands at the half-pixel centre
 * c = (i + 0.5) * in / out of the input and is the mean of the input weighted by the triangle
 *     w(x) = max(0, 1 - |x + 0.5 - c| / f)        f = max(1, in / out): shrinking widens it, which is the antialiasing
 * normalised to sum 1. Rows are resized first, rounded to bytes, then columns; weights are fixed-point numbers with 22
 * bits behind the point. An axis whose size stays is not touched. At the end a byte b becomes b / 255, as in ToTensor.
 *
 * Pillow 13 resizes columns first where a picture shrinks more in height than in width, which can move a byte by one;
 * square pictures for square inputs come out the same in all versions.
 */
#include "data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINT = 22 };            /* bits behind the point: 32 less 8 for a byte less 2 for the sign and overflow */

/* One axis. Output i is the sum of weight[i * most + k] * in[first[i] + k] for k < taps[i]. */
typedef struct {
    int      in, out, most;     /* most: taps of the widest output */
    int     *first, *taps;
    int32_t *weight;            /* times 2^POINT */
} Axis;

struct cnn_resize {
    Axis across, down;
};

static void free_axis(Axis *a)
{
    free(a->first);
    free(a->taps);
    free(a->weight);
}

/* 1, or 0 when memory is short; free_axis releases either. */
static int make_axis(Axis *a, int in, int out)
{
    const double scale = (double)in / out, filter = scale < 1 ? 1 : scale;

    a->in = in;
    a->out = out;
    a->most = 2 * (int)ceil(filter) + 1;
    a->first = calloc((size_t)out, sizeof *a->first);
    a->taps = calloc((size_t)out, sizeof *a->taps);
    a->weight = calloc((size_t)out * (size_t)a->most, sizeof *a->weight);
    double *w = calloc((size_t)a->most, sizeof *w);
    if (!a->first || !a->taps || !a->weight || !w) {
        free(w);
        return 0;
    }
    for (int i = 0; i < out; i++) {
        double centre = (i + 0.5) * scale, sum = 0;
        int    from = (int)(centre - filter + 0.5), to = (int)(centre + filter + 0.5);

        if (centre - filter + 0.5 < 0)
            from = 0;
        if (to > in)
            to = in;
        for (int k = 0; k < to - from; k++) {
            double distance = fabs((k + from - centre + 0.5) * (1.0 / filter));

            w[k] = distance < 1 ? 1 - distance : 0;
            sum += w[k];
        }
        for (int k = 0; k < to - from; k++)
            a->weight[(size_t)i * (size_t)a->most + (size_t)k] = (int32_t)(0.5 + w[k] / sum * (1 << POINT));
        a->first[i] = from;
        a->taps[i] = to - from;
    }
    free(w);
    return 1;
}

cnn_resize *cnn_resize_new(int in_height, int in_width, int out_height, int out_width)
{
    cnn_resize *r = calloc(1, sizeof *r);

    if (r && !(make_axis(&r->across, in_width, out_width) && make_axis(&r->down, in_height, out_height))) {
        cnn_resize_free(r);
        r = NULL;
    }
    return r;
}

size_t cnn_resize_scratch(const cnn_resize *r)
{
    return (size_t)r->down.in * (size_t)r->across.out;
}

/* Output i of an axis over pixels `stride` bytes apart: rounded and kept in a byte. */
static uint8_t weigh(const Axis *a, int i, const uint8_t *in, size_t stride)
{
    const int32_t *weight = a->weight + (size_t)i * (size_t)a->most;
    const uint8_t *pixel = in + (size_t)a->first[i] * stride;
    int32_t        sum = 1 << (POINT - 1);

    for (int k = 0; k < a->taps[i]; k++)
        sum += pixel[(size_t)k * stride] * weight[k];
    sum >>= POINT;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

void cnn_resize_plane(const cnn_resize *r, const uint8_t *in, uint8_t *scratch, cnn_real *out)
{
    const Axis *across = &r->across, *down = &r->down;
    const size_t width = (size_t)across->out;
    const uint8_t *rows = in;           /* [down->in][width]: resized along the rows */

    if (across->in != across->out) {
        for (int y = 0; y < down->in; y++)
            for (int x = 0; x < across->out; x++)
                scratch[(size_t)y * width + (size_t)x] = weigh(across, x, in + (size_t)y * (size_t)across->in, 1);
        rows = scratch;
    }
    for (int y = 0; y < down->out; y++)
        for (int x = 0; x < across->out; x++) {
            uint8_t byte = down->in == down->out ? rows[(size_t)y * width + (size_t)x]
                                                 : weigh(down, y, rows + x, width);
            out[(size_t)y * width + (size_t)x] = (cnn_real)byte / 255;
        }
}

void cnn_resize_free(cnn_resize *r)
{
    if (!r)
        return;
    free_axis(&r->across);
    free_axis(&r->down);
    free(r);
}
