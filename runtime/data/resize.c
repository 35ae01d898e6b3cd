/* resize.c - bilinear resizing of 8-bit pictures, bit for bit as Pillow does it, and so torchvision on PIL pictures.
 *
 * Reference: Pillow's src/libImaging/Resample.c. Along each axis, output pixel i stands at the half-pixel centre
 * c = (i + 0.5) * in / out of the input and is the mean of the input weighted by the triangle
 *     w(x) = max(0, 1 - |x + 0.5 - c| / f)        f = max(1, in / out): shrinking widens it, which is the antialiasing
 * normalised to sum 1. Rows are resized first, rounded to bytes, then columns; weights are fixed-point numbers with 22
 * bits behind the point. An axis whose size stays is not touched. At the end a byte b becomes b / 255, as in ToTensor.
 * A view names what is resized and which window of that is computed; only the rows and columns that the window needs
 * are worked on, so that the bytes are those of resizing all and cropping then, in the time of the window. Real numbers
 * take the same weights and are not rounded.
 *
 * Pillow 13 resizes columns first where a picture shrinks more in height than in width, which can move a byte by one;
 * square pictures for square inputs come out the same in all versions.
 */
#include "data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINT = 22 };            /* bits behind the point: 32 less 8 for a byte less 2 for the sign and overflow */

/* One axis. Output i of the window is the sum of weight[i * most + k] * in[first[i] + k] for k < taps[i], where in
 * begins with the box. */
typedef struct {
    int      out, most;         /* most: taps of the widest output */
    int      same;              /* the size stays: output i is in[first[i]] */
    int     *first, *taps;
    int32_t *weight;            /* times 2^POINT */
} Axis;

struct cnn_resize {
    cnn_box box;
    Axis    across, down;
    int     first_row, rows;    /* of the box, that the window needs */
};

static void free_axis(Axis *a)
{
    free(a->first);
    free(a->taps);
    free(a->weight);
}

/* Weights of output i, of all outputs of the axis, into row `at` of the table; w has room for `most` numbers. */
static void weigh_output(Axis *a, int at, int in, double scale, double filter, long i, double *w)
{
    double centre = ((double)i + 0.5) * scale, sum = 0;
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
        a->weight[(size_t)at * (size_t)a->most + (size_t)k] = (int32_t)(0.5 + w[k] / sum * (1 << POINT));
    a->first[at] = from;
    a->taps[at] = to - from;
}

/* From `in` pixels to `all`, of which `out` are computed from `first` on. 1, or 0 when memory is short; free_axis
 * releases either. */
static int make_axis(Axis *a, int in, long all, long first, int out)
{
    const double scale = (double)in / (double)all, filter = scale < 1 ? 1 : scale;

    a->out = out;
    a->same = in == all;
    a->most = a->same ? 1 : 2 * (int)ceil(filter) + 1;
    a->first = calloc((size_t)out, sizeof *a->first);
    a->taps = calloc((size_t)out, sizeof *a->taps);
    a->weight = calloc((size_t)out * (size_t)a->most, sizeof *a->weight);
    double *w = calloc((size_t)a->most, sizeof *w);
    int     made = a->first && a->taps && a->weight && w;
    for (int i = 0; made && i < out; i++)
        if (a->same)
            a->first[i] = (int)first + i, a->taps[i] = 1;
        else
            weigh_output(a, i, in, scale, filter, first + i, w);
    free(w);
    return made;
}

cnn_view cnn_view_cover(int in_height, int in_width, int height, int width, int shorter)
{
    const long least = height < width ? height : width, high = (long)height * shorter / least,
               wide = (long)width * shorter / least;
    cnn_view   v = {.box = {0, 0, in_height, in_width}, .height = height, .width = width};

    /* one side is met, the other is longer: whichever keeps height : width */
    int tall = (long)in_height * wide >= (long)in_width * high;
    v.all_height = tall ? wide * in_height / in_width : high;
    v.all_width = tall ? wide : high * in_width / in_height;
    v.top = lrint((double)(v.all_height - height) / 2);
    v.left = lrint((double)(v.all_width - width) / 2);
    return v;
}

cnn_resize *cnn_resize_new(const cnn_view *v)
{
    cnn_resize *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->box = v->box;
    if (!make_axis(&r->across, v->box.width, v->all_width, v->left, v->width) ||
        !make_axis(&r->down, v->box.height, v->all_height, v->top, v->height)) {
        cnn_resize_free(r);
        return NULL;
    }
    const Axis *down = &r->down;
    r->first_row = down->first[0];
    r->rows = down->first[down->out - 1] + down->taps[down->out - 1] - r->first_row;
    return r;
}

size_t cnn_resize_scratch(const cnn_resize *r)
{
    return r->across.same ? 1 : (size_t)r->rows * (size_t)r->across.out * sizeof(float);
}

/* Output i of an axis, whose first tap is `pixel` and whose pixels are `stride` apart: rounded, kept in a byte. */
static uint8_t weigh_bytes(const Axis *a, int i, const uint8_t *pixel, size_t stride)
{
    const int32_t *weight = a->weight + (size_t)i * (size_t)a->most;
    int32_t        sum = 1 << (POINT - 1);

    for (int k = 0; k < a->taps[i]; k++)
        sum += pixel[(size_t)k * stride] * weight[k];
    sum >>= POINT;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static float weigh_values(const Axis *a, int i, const float *pixel, size_t stride)
{
    const int32_t *weight = a->weight + (size_t)i * (size_t)a->most;
    double         sum = 0;

    for (int k = 0; k < a->taps[i]; k++)
        sum += (double)pixel[(size_t)k * stride] * weight[k];
    return (float)(sum / (1 << POINT));
}

/* b / 255, to the bit: 1 / 255 in two parts, of which the first times b is exact (test_resize.c tries all bytes). Two
 * multiplications are a fraction of a division, and vectors do them. */
static inline cnn_real unit(uint8_t b)
{
    return sizeof(cnn_real) == sizeof(float) ? (cnn_real)((float)b * 0x1.01p-8f + (float)b * 0x1.010102p-24f)
                                             : (cnn_real)b / 255;
}

static inline cnn_real itself(float value)
{
    return (cnn_real)value;
}

/* One plane of either kind; scratch[rows][width] takes what is resized along the rows. NUMBER(p) is pixel p as a
 * number. Compilers turn the loops over BLOCK pixels into vectors. */
#define RESIZE_PLANE(NAME, PIXEL, WEIGH, NUMBER)                                                                       \
    static void NAME##_copy(const PIXEL *restrict in, size_t count, cnn_real *restrict out)                            \
    {                                                                                                                  \
        enum { BLOCK = 16 };                                                                                           \
        for (; count >= BLOCK; count -= BLOCK, in += BLOCK, out += BLOCK)                                              \
            for (int i = 0; i < BLOCK; i++)                                                                            \
                out[i] = NUMBER(in[i]);                                                                                \
        for (size_t i = 0; i < count; i++)                                                                             \
            out[i] = NUMBER(in[i]);                                                                                    \
    }                                                                                                                  \
    void NAME(const cnn_resize *r, const PIXEL *in, size_t stride, void *scratch, cnn_real *out)                       \
    {                                                                                                                  \
        const Axis   *across = &r->across, *down = &r->down;                                                           \
        const size_t  width = (size_t)across->out;                                                                     \
        const PIXEL  *rows = in + (size_t)(r->box.top + r->first_row) * stride + (size_t)r->box.left;                  \
        if (across->same) {                                                                                            \
            rows += across->first[0];                                                                                  \
        } else {                                                                                                       \
            PIXEL *to = scratch;                                                                                       \
            for (int y = 0; y < r->rows; y++)                                                                          \
                for (int x = 0; x < across->out; x++)                                                                  \
                    *to++ = WEIGH(across, x, rows + (size_t)y * stride + across->first[x], 1);                         \
            rows = scratch;                                                                                            \
            stride = width;                                                                                            \
        }                                                                                                              \
        if (down->same && stride == width) {                                                                           \
            NAME##_copy(rows, width * (size_t)down->out, out);                                                         \
            return;                                                                                                    \
        }                                                                                                              \
        for (int y = 0; y < down->out; y++, out += width) {                                                            \
            const PIXEL *row = rows + (size_t)(down->first[y] - r->first_row) * stride;                                \
            if (down->same)                                                                                            \
                NAME##_copy(row, width, out);                                                                          \
            else                                                                                                       \
                for (size_t x = 0; x < width; x++)                                                                     \
                    out[x] = NUMBER(WEIGH(down, y, row + x, stride));                                                  \
        }                                                                                                              \
    }
RESIZE_PLANE(cnn_resize_bytes, uint8_t, weigh_bytes, unit)
RESIZE_PLANE(cnn_resize_values, float, weigh_values, itself)

void cnn_resize_free(cnn_resize *r)
{
    if (!r)
        return;
    free_axis(&r->across);
    free_axis(&r->down);
    free(r);
}
