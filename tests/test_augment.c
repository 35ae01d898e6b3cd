/* test_augment.c - random changes of pictures: what they do against torchvision and Pillow (tests/golden/augment.py),
 * and that their draws have the distributions they claim and depend on what they claim. */
#include "data/augment.h"
#include "data/data.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what they do ------------------------------------------------------------------------------------------------ */

static void read_bytes(FILE *f, uint8_t *bytes, int count)
{
    for (int i = 0; i < count; i++) {
        unsigned byte;
        cr_assert(fscanf(f, i ? "%2x" : " %2x", &byte) == 1);
        bytes[i] = (uint8_t)byte;
    }
}

static void expect_bytes(const char *kind, int number, FILE *f, const cnn_real *out, int count)
{
    uint8_t expected[4096];
    cr_assert(count <= 4096);
    read_bytes(f, expected, count);
    for (int i = 0; i < count; i++)
        cr_assert_eq(out[i], (cnn_real)expected[i] / 255, "%s, case %d: pixel %d is %g, not %d", kind, number, i,
                     (double)out[i] * 255, expected[i]);
}

static void expect_numbers(const char *kind, int number, FILE *f, const cnn_real *out, int count)
{
    for (int i = 0; i < count; i++) {
        double expected;
        cr_assert(fscanf(f, "%lf", &expected) == 1);
        cr_assert_float_eq((double)out[i], expected, 1e-6, "%s, case %d: value %d is %.9g, not %.9g", kind, number, i,
                           (double)out[i], expected);
    }
}

static void resize(const cnn_view *v, int width, const uint8_t *in, cnn_real *out)
{
    cnn_resize *r = cnn_resize_new(v);
    uint8_t    *scratch = malloc(cnn_resize_scratch(r));        /* exactly: sanitizers watch its ends */
    cnn_resize_bytes(r, in, (size_t)width, scratch, out);
    cnn_resize_free(r);
    free(scratch);
}

static void check_case(const char *kind, int number, FILE *f)
{
    int          n[9] = {0}, first_of_three = strcmp(kind, "colour") == 0 || strcmp(kind, "mix") == 0;
    int          numbers = strcmp(kind, "box") == 0 ? 8 : strcmp(kind, "cover") == 0 ? 5 : first_of_three ? 3 : 6;
    uint8_t      bytes[4096];
    cnn_real     in[4096], out[4096];
    cnn_changes  c = {.brightness = 1, .contrast = 1, .share = 1};

    for (int i = 0; i < numbers; i++)
        cr_assert(fscanf(f, "%d", &n[i]) == 1);
    if (strcmp(kind, "colour") == 0)
        cr_assert(fscanf(f, "%lf %lf %d", &c.brightness, &c.contrast, &c.contrast_first) == 3);
    double share[2] = {0};
    if (strcmp(kind, "mix") == 0)
        cr_assert(fscanf(f, "%lf %lf", &share[0], &share[1]) == 2);
    int count = first_of_three ? n[0] * n[1] * n[2] : n[0] * n[1];
    int pictures = strcmp(kind, "mix") == 0 ? 2 : 1;
    read_bytes(f, bytes, pictures * count);
    for (int i = 0; i < pictures * count; i++)
        in[i] = (cnn_real)bytes[i] / 255;

    if (strcmp(kind, "box") == 0) {
        resize(&(cnn_view){{n[2], n[3], n[4], n[5]}, n[6], n[7], 0, 0, n[6], n[7]}, n[1], bytes, out);
        expect_bytes(kind, number, f, out, n[6] * n[7]);
    } else if (strcmp(kind, "cover") == 0) {
        cnn_view v = cnn_view_cover(n[0], n[1], n[3], n[4], n[2]);
        resize(&v, n[1], bytes, out);
        expect_bytes(kind, number, f, out, n[3] * n[4]);
    } else if (strcmp(kind, "shift") == 0) {
        c.down = n[3] - n[2], c.right = n[4] - n[2], c.flip = n[5];
        cr_assert(!cnn_stays(&c));
        cnn_shift(&c, n[0], n[1], in, out);
        expect_bytes(kind, number, f, out, count);
    } else if (strcmp(kind, "colour") == 0) {
        cnn_colour(&c, n[0], (size_t)n[1] * (size_t)n[2], in);
        expect_numbers(kind, number, f, in, count);
    } else {
        cnn_mix(in, in + count, (size_t)count, (float)share[0], (float)share[1]);
        expect_numbers(kind, number, f, in, 2 * count);
    }
}

Test(augment, does_what_torchvision_does)
{
    FILE *f = fopen("tests/golden/augment.txt", "r");
    char  kind[16];
    int   cases = 0;

    cr_assert(f);
    cr_assert(fscanf(f, "#%*[^\n]") == 0);
    for (; fscanf(f, "%15s", kind) == 1; cases++)
        check_case(kind, cases, f);
    cr_assert_eq(cases, 36);
    fclose(f);
}

/* The widest pictures there are cost what their window costs. */
Test(augment, a_cover_of_a_line_is_its_middle)
{
    cnn_view    v = cnn_view_cover(1, 65535, 224, 224, 256);
    cnn_resize *r = cnn_resize_new(&v);
    uint8_t    *line = calloc(65535, 1), *scratch = malloc(cnn_resize_scratch(r));
    cnn_real   *out = malloc(224 * 224 * sizeof *out);

    cr_assert(v.all_height == 256 && v.all_width == 256L * 65535 && v.left == (256L * 65535 - 224) / 2);
    cr_assert_leq(cnn_resize_scratch(r), 224 * sizeof(float));
    line[32767] = 255;                  /* the pixel in the middle is 256 wide, and fades towards both sides */
    cnn_resize_bytes(r, line, 65535, scratch, out);
    for (int i = 0; i < 224 * 224; i++)
        cr_assert_float_eq(out[i], 1 - fabs(i % 224 - 111.5) / 256, 1.01 / 255, "%d: %g", i, (double)out[i]);
    cnn_resize_free(r);
    free(line);
    free(scratch);
    free(out);
}

Test(augment, a_cut_is_zero_and_nothing_else_is)
{
    cnn_real    x[2 * 5 * 4];
    cnn_changes c = {.cut = {3, 1, 2, 2}};

    for (int i = 0; i < 40; i++)
        x[i] = 1;
    cnn_cut(&c, 2, 5, 4, x);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(x[i], i % 20 / 4 >= 3 && (i % 4 == 1 || i % 4 == 2) ? 0 : 1, "%d", i);
}

/* ---- draws ------------------------------------------------------------------------------------------------------- */

enum { DRAWS = 100000 };
static const int SIZE[2] = {40, 60};

static cnn_changes changes(const cnn_augment *a, uint64_t seed, uint32_t epoch, size_t picture)
{
    cnn_changes c;
    memset(&c, 0, sizeof c);
    cnn_augment_draw(a, seed, epoch, picture, SIZE, 32, 32, &c);
    return c;
}

/* Counts of what should be uniform over `bins`: Pearson's chi squared within 5 deviations of its mean. */
static void expect_uniform(const char *what, const int *counts, int bins)
{
    double chi = 0, mean = 0;
    for (int i = 0; i < bins; i++)
        mean += (double)counts[i] / bins;
    for (int i = 0; i < bins; i++)
        chi += (counts[i] - mean) * (counts[i] - mean) / mean;
    cr_expect_lt(fabs(chi - (bins - 1)), 5 * sqrt(2.0 * (bins - 1)), "%s: chi squared is %g of %d bins", what, chi,
                 bins);
}

static void count_share(int *counts, int bins, double share)
{
    cr_assert(share >= 0 && share <= 1, "%g", share);
    counts[share < 1 ? (int)(share * bins) : bins - 1]++;
}

Test(augment, without_options_nothing_changes)
{
    const cnn_augment none = {0};
    const cnn_augment *both[2] = {NULL, &none};
    for (int i = 0; i < 200; i++) {
        cnn_changes c = changes(both[i % 2], 1, 2, (size_t)i);
        cr_assert(cnn_stays(&c) && c.brightness == 1 && c.contrast == 1 && c.share == 1 && c.cut.height == 0);
        cr_assert(c.box.top == 0 && c.box.left == 0 && c.box.height == 40 && c.box.width == 60);
    }
}

Test(augment, flips_and_shifts_are_uniform)
{
    const cnn_augment a = {.flip = 1, .crop = 4};
    int flips[2] = {0}, shifts[81] = {0};
    for (size_t i = 0; i < DRAWS; i++) {
        cnn_changes c = changes(&a, 5, 0, i);
        cr_assert(abs(c.down) <= 4 && abs(c.right) <= 4);
        flips[c.flip]++;
        shifts[(c.down + 4) * 9 + c.right + 4]++;
    }
    expect_uniform("flips", flips, 2);
    expect_uniform("shifts", shifts, 81);
}

Test(augment, colours_are_uniform_in_their_ranges)
{
    const cnn_augment a = {.brightness = 0.4, .contrast = 1.5};
    int brightness[50] = {0}, contrast[50] = {0}, first[2] = {0};
    for (size_t i = 0; i < DRAWS; i++) {
        cnn_changes c = changes(&a, 5, 0, i);
        count_share(brightness, 50, (c.brightness - 0.6) / 0.8);
        count_share(contrast, 50, c.contrast / 2.5);
        first[c.contrast_first]++;
    }
    expect_uniform("brightness", brightness, 50);
    expect_uniform("contrast", contrast, 50);
    expect_uniform("which is first", first, 2);
}

/* Boxes of up to 0.4 of a 40 x 60 picture always fit, so that share and shape come out as they are drawn, but for the
 * rounding of sides; the place is uniform over all places. */
Test(augment, boxes_have_their_share_and_shape)
{
    const cnn_augment a = {.least = 0.2, .most = 0.4};
    int share[8] = {0}, shape[8] = {0}, top[4] = {0}, left[4] = {0};
    for (size_t i = 0; i < DRAWS; i++) {
        int         size[2] = {4000, 6000};
        cnn_changes c;
        cnn_augment_draw(&a, 5, 0, i, size, 32, 32, &c);
        const cnn_box *b = &c.box;
        cr_assert(b->top >= 0 && b->left >= 0 && b->top + b->height <= 4000 && b->left + b->width <= 6000);
        double way = (log((double)b->width / b->height) - log(0.75)) / (2 * log(4.0 / 3));
        count_share(share, 8, fmin(1, fmax(0, ((double)b->height * b->width / 24e6 - 0.2) / 0.2)));
        count_share(shape, 8, fmin(1, fmax(0, way)));
        count_share(top, 4, (b->top + 0.5) / (4001 - b->height));
        count_share(left, 4, (b->left + 0.5) / (6001 - b->width));
    }
    expect_uniform("share of the area", share, 8);
    expect_uniform("shape", shape, 8);
    expect_uniform("top", top, 4);
    expect_uniform("left", left, 4);
}

/* Where no box fits it is the middle, in the nearest shape (torchvision's fallback). */
Test(augment, a_picture_too_long_for_any_box_gives_its_middle)
{
    static const struct { int size[2]; cnn_box box; } known[] = {
        {{10, 1000}, {0, 493, 10, 13}}, {{1000, 10}, {493, 0, 13, 10}}, {{1, 1}, {0, 0, 1, 1}}};
    const cnn_augment a = {.least = 0.9, .most = 1};
    for (int k = 0; k < 3; k++) {
        cnn_changes c;
        cnn_augment_draw(&a, 1, 1, (size_t)k, known[k].size, 32, 32, &c);
        cr_assert_arr_eq(&c.box, &known[k].box, sizeof c.box, "case %d", k);
    }
}

Test(augment, cuts_lie_around_any_pixel_and_within_the_picture)
{
    const cnn_augment a = {.cutout = 7}, whole = {.cutout = 1000};
    int centres[26 * 26] = {0}, clipped = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        cnn_box b = changes(&a, 5, 0, i).cut;
        cr_assert(b.top >= 0 && b.left >= 0 && b.top + b.height <= 32 && b.left + b.width <= 32);
        cr_assert(b.height >= 4 && b.height <= 7 && b.width >= 4 && b.width <= 7);
        if (b.height < 7 || b.width < 7)
            clipped++;
        else
            centres[b.top * 26 + b.left]++;
    }
    cr_expect_float_eq((double)clipped / DRAWS, 1 - 26.0 * 26 / (32 * 32), 0.01);
    expect_uniform("places of whole cuts", centres, 26 * 26);
    cnn_box b = changes(&whole, 5, 0, 0).cut;
    cr_expect(b.top == 0 && b.left == 0 && b.height == 32 && b.width == 32);
}

/* Beta(a, a): mean 1/2, E (x - 1/2)^2 = 1 / (4 (2a + 1)), E (x - 1/2)^4 = 3 / (16 (2a + 1) (2a + 3)). */
Test(augment, shares_of_mixup_are_beta)
{
    static const double alphas[] = {1e-4, 0.2, 0.5, 1, 1.5, 8, 100};
    for (size_t k = 0; k < sizeof alphas / sizeof *alphas; k++) {
        const cnn_augment a = {.mixup = alphas[k]};
        double mean = 0, square = 0, fourth = 0, b = 2 * alphas[k] + 1;
        for (size_t i = 0; i < DRAWS; i++) {
            double share = (double)changes(&a, 5, 0, i).share;
            cr_assert(share >= 0 && share <= 1);
            mean += (share - 0.5) / DRAWS;
            square += pow(share - 0.5, 2) / DRAWS;
            fourth += pow(share - 0.5, 4) / DRAWS;
        }
        double expected = 3 / (16 * b * (b + 2));
        cr_expect_float_eq(mean, 0, 5 * sqrt(1 / (4 * b) / DRAWS), "alpha %g: mean %g", alphas[k], mean);
        cr_expect_float_eq(square * 4 * b, 1, 0.02, "alpha %g: variance %g", alphas[k], square);
        cr_expect_float_eq(fourth / expected, 1, 0.04, "alpha %g: fourth moment %g", alphas[k], fourth);
    }
}

/* Each change has words of its own, and seed, epoch and every bit of the picture's number matter. */
Test(augment, draws_depend_on_seed_epoch_and_picture_alone)
{
    const cnn_augment all = {1, 4, 0.2, 0.4, 0.4, 0.4, 5, 0.3};
    cnn_changes c = changes(&all, 1, 2, 3), again = changes(&all, 1, 2, 3);
    cr_assert_arr_eq(&c, &again, sizeof c);
    const cnn_changes others[] = {changes(&all, 2, 2, 3), changes(&all, 1, 3, 3), changes(&all, 1, 2, 4),
                                  changes(&all, 1, 2, 3 + ((size_t)1 << 32)), changes(&all, 1 + (1ull << 40), 2, 3)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_assert(others[i].share != c.share && others[i].brightness != c.brightness &&
                      others[i].contrast != c.contrast,
                  "%zu", i);

    for (size_t i = 0; i < 50; i++) {
        const cnn_augment flip = {.flip = 1}, crop = {.crop = 4}, box = {.least = 0.2, .most = 0.4},
                          brightness = {.brightness = 0.4}, contrast = {.contrast = 0.4}, cut = {.cutout = 5},
                          mixup = {.mixup = 0.3};
        cnn_box one, both;
        c = changes(&all, 1, 2, i);
        cr_assert_eq(changes(&flip, 1, 2, i).flip, c.flip);
        cr_assert_eq(changes(&crop, 1, 2, i).right, c.right);
        cr_assert_eq(changes(&brightness, 1, 2, i).brightness, c.brightness);
        cr_assert_eq(changes(&contrast, 1, 2, i).contrast, c.contrast);
        cr_assert_eq(changes(&mixup, 1, 2, i).share, c.share);
        one = changes(&box, 1, 2, i).box, both = c.box;
        cr_assert_arr_eq(&one, &both, sizeof one);
        one = changes(&cut, 1, 2, i).cut, both = c.cut;
        cr_assert_arr_eq(&one, &both, sizeof one);
    }
}
