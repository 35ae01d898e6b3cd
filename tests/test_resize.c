/* test_resize.c - bilinear resizing against Pillow's own results (tests/golden/resize.py), byte for byte. */
#include "data/data.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static uint8_t *read_hex(FILE *f, size_t count)
{
    uint8_t *bytes = malloc(count);
    for (size_t i = 0; i < count; i++) {
        unsigned byte;
        cr_assert(fscanf(f, i ? "%2x" : " %2x", &byte) == 1);
        bytes[i] = (uint8_t)byte;
    }
    return bytes;
}

Test(resize, equals_pillow)
{
    FILE *f = fopen("tests/golden/resize.txt", "r");
    int   h, w, out_h, out_w, cases = 0;

    cr_assert(f);
    cr_assert(fscanf(f, "#%*[^\n]") == 0);
    for (; fscanf(f, "%d %d %d %d", &h, &w, &out_h, &out_w) == 4; cases++) {
        uint8_t    *in = read_hex(f, (size_t)(h * w)), *expected = read_hex(f, (size_t)(out_h * out_w));
        cnn_resize *r = cnn_resize_new(&(cnn_view){{0, 0, h, w}, out_h, out_w, 0, 0, out_h, out_w});
        uint8_t    *scratch = malloc(cnn_resize_scratch(r));        /* exactly: sanitizers watch its ends */
        cnn_real   *out = malloc((size_t)(out_h * out_w) * sizeof *out);

        cnn_resize_bytes(r, in, (size_t)w, scratch, out);
        for (int i = 0; i < out_h * out_w; i++)
            cr_assert_eq(out[i], (cnn_real)expected[i] / 255, "%dx%d to %dx%d: pixel %d is %g, Pillow's %d", h, w,
                         out_h, out_w, i, (double)out[i] * 255, expected[i]);
        cnn_resize_free(r);
        free(in);
        free(expected);
        free(scratch);
        free(out);
    }
    cr_assert_eq(cases, 16);
    fclose(f);
}

/* Real numbers take the weights of bytes: they differ by the two roundings of a byte alone, and a view by nothing. */
Test(resize, real_numbers_are_resized_likewise)
{
    enum { H = 40, W = 23, OUT = 17 };
    uint8_t  bytes[H * W], scratch[4 * H * OUT];
    float    values[H * W];
    cnn_real of_bytes[OUT * OUT], of_values[OUT * OUT], of_window[9 * 5];

    for (int i = 0; i < H * W; i++) {
        bytes[i] = (uint8_t)(i * 2654435761u >> 24);
        values[i] = (float)bytes[i] / 255;
    }
    cnn_resize *r = cnn_resize_new(&(cnn_view){{0, 0, H, W}, OUT, OUT, 0, 0, OUT, OUT});
    cnn_resize_bytes(r, bytes, W, scratch, of_bytes);
    cnn_resize_values(r, values, W, scratch, of_values);
    for (int i = 0; i < OUT * OUT; i++)
        cr_assert_float_eq(of_bytes[i], of_values[i], 1.01 / 255, "%d", i);
    cnn_resize_free(r);
    r = cnn_resize_new(&(cnn_view){{0, 0, H, W}, OUT, OUT, 6, 11, 9, 5});
    cnn_resize_values(r, values, W, scratch, of_window);
    for (int i = 0; i < 9 * 5; i++)
        cr_assert_eq(of_window[i], of_values[(i / 5 + 6) * OUT + i % 5 + 11]);
    cnn_resize_free(r);
}

/* All bytes, in rows of every length: vectors and what is left over. */
Test(resize, a_byte_becomes_itself_over_255)
{
    uint8_t bytes[3 * 256];
    cnn_real out[256];

    for (int i = 0; i < 3 * 256; i++)
        bytes[i] = (uint8_t)i;
    for (int width = 1; width <= 256; width++)
        for (int left = 0; left <= 1; left++) {
            cnn_resize *r = cnn_resize_new(&(cnn_view){{0, left, 1, width}, 1, width, 0, 0, 1, width});
            cnn_resize_bytes(r, bytes, (size_t)width + 1, NULL, out);
            for (int i = 0; i < width; i++)
                cr_assert_eq(out[i], (cnn_real)bytes[left + i] / 255, "%d", left + i);
            cnn_resize_free(r);
        }
}

/* A picture of one colour keeps it at any size, up to the largest side. */
Test(resize, keeps_a_constant)
{
    static const int sizes[][4] = {{65535, 1, 1, 300}, {1, 65535, 28, 28}, {7, 13, 224, 224}, {300, 200, 1, 1}};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int byte = 0; byte < 256; byte += 51) {
            const int  *s = sizes[i];
            cnn_resize *r = cnn_resize_new(&(cnn_view){{0, 0, s[0], s[1]}, s[2], s[3], 0, 0, s[2], s[3]});
            size_t      from = (size_t)s[0] * (size_t)s[1], to = (size_t)s[2] * (size_t)s[3];
            uint8_t    *in = malloc(from), *scratch = malloc(cnn_resize_scratch(r));
            cnn_real   *out = malloc(to * sizeof *out);

            for (size_t k = 0; k < from; k++)
                in[k] = (uint8_t)byte;
            cnn_resize_bytes(r, in, (size_t)s[1], scratch, out);
            for (size_t k = 0; k < to; k++)
                cr_assert_eq(out[k], (cnn_real)byte / 255);
            cnn_resize_free(r);
            free(in);
            free(scratch);
            free(out);
        }
    cnn_resize_free(NULL);
}
