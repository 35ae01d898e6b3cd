/* augment.c - random changes of pictures; see augment.h.
 *
 *   flip, padded crop      Krizhevsky 2012; He et al. 2015, section 4.2: 4 pixels around CIFAR's 32 x 32
 *   resized crop           Szegedy et al. 2015, section 6; numbers as in torchvision's RandomResizedCrop
 *   brightness, contrast   torchvision's ColorJitter
 *   cutout                 DeVries and Taylor 2017: a square around a pixel of the picture, so it may hang over the
 * edge mixup                  Zhang et al. 2018; a share for each picture (what timm calls elementwise)
 *
 * Draws are words of Philox (random.c) under key = seed ^ AUGMENT and counter = {block, epoch, picture}: each kind of
 * change has words of its own, so that switching one on leaves the others as they were.
 */
#include "augment.h"
#include "data.h"

#include <math.h>
#include <string.h>

#define AUGMENT 0x6175676d00000000u     /* "augm" */

/* Blocks of four words; the last three are the first of many. */
enum { PLACES, COLOURS, BOXES = 16, FIRST_GAMMA = 0x10000000, SECOND_GAMMA = 0x20000000 };

enum { ATTEMPTS = 10 };                 /* to fit a box, as in torchvision */
static const double narrowest = 3.0 / 4, widest = 4.0 / 3;      /* width / height of a box */

typedef struct { uint64_t key, picture; uint32_t epoch; } Source;

static void draw(const Source *s, uint32_t block, uint32_t words[4])
{
    const uint32_t key[2] = {(uint32_t)s->key, (uint32_t)(s->key >> 32)};
    const uint32_t counter[4] = {block, s->epoch, (uint32_t)s->picture, (uint32_t)(s->picture >> 32)};

    cnn_philox(counter, key, words);
}

/* A whole number in [0, count). */
static int below(uint32_t word, int count)
{
    return (int)((uint64_t)word * (uint64_t)count >> 32);
}

/* A number in [from, to). */
static double between(uint32_t word, double from, double to)
{
    return from + (to - from) * (word * 0x1p-32);
}

/* ---- draws ------------------------------------------------------------------------------------------------------- */

/* The largest box in the middle whose shape is allowed: for pictures so long that no attempt fits. */
static cnn_box middle_box(int height, int width)
{
    double  shape = (double)width / height;
    cnn_box box = {0, 0, height, width};

    if (shape < narrowest)
        box.height = (int)rint(width / narrowest);
    else if (shape > widest)
        box.width = (int)rint(height * widest);
    box.top = (height - box.height) / 2;
    box.left = (width - box.width) / 2;
    return box;
}

/* A box of a random share of the area, a random shape (its logarithm is uniform) and a random place. */
static cnn_box draw_box(const Source *s, double least, double most, int height, int width)
{
    for (uint32_t attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint32_t words[4];

        draw(s, BOXES + attempt, words);
        double area = (double)height * width * between(words[0], least, most);
        double shape = exp(between(words[1], log(narrowest), log(widest)));
        double across = rint(sqrt(area * shape)), down = rint(sqrt(area / shape));
        if (across >= 1 && across <= width && down >= 1 && down <= height)
            return (cnn_box){below(words[2], height - (int)down + 1), below(words[3], width - (int)across + 1),
                             (int)down, (int)across};
    }
    return middle_box(height, width);
}

/* A square of `side` pixels around pixel (y, x), as far as it lies in the picture. */
static cnn_box square(int y, int x, int side, int height, int width)
{
    int top = y - side / 2, left = x - side / 2, low = top + side, right = left + side;

    top = top < 0 ? 0 : top;
    left = left < 0 ? 0 : left;
    low = low > height ? height : low;
    right = right > width ? width : right;
    return (cnn_box){top, left, low - top, right - left};
}

/* The logarithm of a Gamma(alpha) variate: Marsaglia and Tsang 2000, section 2; below 1 by Gamma(alpha + 1) U^(1/alpha)
 * (section 6). Logarithms keep small alphas from vanishing. An attempt takes one block and fails with less than 5 %. */
static double draw_log_gamma(const Source *s, double alpha, uint32_t first)
{
    const double d = (alpha < 1 ? alpha + 1 : alpha) - 1.0 / 3, c = 1 / sqrt(9 * d);

    for (uint32_t attempt = 0;; attempt++) {
        uint32_t words[4];

        draw(s, first + attempt, words);
        double radius = sqrt(-2 * log((words[0] + 1.0) * 0x1p-32));        /* Box and Muller: a normal deviate */
        double x = radius * cos(2 * M_PI * (words[1] * 0x1p-32)), v = 1 + c * x;
        v = v * v * v;
        if (v > 0 && log((words[2] + 1.0) * 0x1p-32) < 0.5 * x * x + d - d * v + d * log(v))
            return log(d * v) + (alpha < 1 ? log((words[3] + 1.0) * 0x1p-32) / alpha : 0);
    }
}

/* Beta(alpha, alpha) as G / (G + H) of two Gamma(alpha). */
static float draw_share(const Source *s, double alpha)
{
    double g = draw_log_gamma(s, alpha, FIRST_GAMMA), h = draw_log_gamma(s, alpha, SECOND_GAMMA);

    return (float)(1 / (1 + exp(h - g)));
}

static double draw_factor(uint32_t word, double strength)
{
    return between(word, strength < 1 ? 1 - strength : 0, 1 + strength);
}

void cnn_augment_draw(const cnn_augment *a, uint64_t seed, uint32_t epoch, size_t picture, const int size[2],
                      int height, int width, cnn_changes *c)
{
    const Source s = {seed ^ AUGMENT, picture, epoch};
    const int    crop = a ? (int)a->crop : 0;
    uint32_t     words[4];

    *c = (cnn_changes){.box = {0, 0, size[0], size[1]}, .brightness = 1, .contrast = 1, .share = 1};
    if (!a)
        return;
    if (a->most > 0)
        c->box = draw_box(&s, a->least, a->most, size[0], size[1]);

    draw(&s, PLACES, words);
    c->flip = a->flip && words[0] >> 31;
    c->down = below(words[1], 2 * crop + 1) - crop;
    c->right = below(words[2], 2 * crop + 1) - crop;

    c->contrast_first = (int)(words[3] >> 31);
    draw(&s, COLOURS, words);
    c->brightness = draw_factor(words[0], a->brightness);
    c->contrast = draw_factor(words[1], a->contrast);
    if (a->cutout > 0)
        c->cut = square(below(words[2], height), below(words[3], width), (int)a->cutout, height, width);
    if (a->mixup > 0)
        c->share = draw_share(&s, a->mixup);
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

int cnn_stays(const cnn_changes *c)
{
    return !c->flip && c->down == 0 && c->right == 0;
}

void cnn_shift(const cnn_changes *c, int height, int width, const cnn_real *in, cnn_real *out)
{
    /* columns [first, last) of the shifted picture have a pixel */
    const int first = c->right < 0 ? -c->right : 0, last = c->right > 0 ? width - c->right : width;

    memset(out, 0, (size_t)height * (size_t)width * sizeof *out);
    for (int y = 0; y < height; y++) {
        if (y + c->down < 0 || y + c->down >= height)
            continue;
        const cnn_real *row = in + (size_t)(y + c->down) * (size_t)width;
        cnn_real       *to = out + (size_t)y * (size_t)width;

        if (!c->flip && first < last)
            memcpy(to + first, row + first + c->right, (size_t)(last - first) * sizeof *to);
        for (int x = first; c->flip && x < last; x++)
            to[width - 1 - x] = row[x + c->right];
    }
}

/* x = factor x + (1 - factor) other, kept in [0, 1]. */
static void blend(cnn_real *x, size_t count, double factor, double other)
{
    const cnn_real times = (cnn_real)factor, plus = (cnn_real)((1 - factor) * other);

    for (size_t i = 0; i < count; i++) {
        cnn_real value = times * x[i] + plus;

        x[i] = value < 0 ? 0 : value > 1 ? 1 : value;
    }
}

static double sum(const cnn_real *x, size_t count)
{
    double total = 0;

    for (size_t i = 0; i < count; i++)
        total += (double)x[i];
    return total;
}

static double mean_grey(int channels, size_t pixels, const cnn_real *x)
{
    if (channels == 3)
        return (0.2989 * sum(x, pixels) + 0.587 * sum(x + pixels, pixels) + 0.114 * sum(x + 2 * pixels, pixels)) /
               (double)pixels;
    return sum(x, (size_t)channels * pixels) / ((double)channels * (double)pixels);
}

void cnn_colour(const cnn_changes *c, int channels, size_t pixels, cnn_real *x)
{
    const size_t count = (size_t)channels * pixels;

    for (int step = 0; step < 2; step++) {
        if (step == c->contrast_first && c->brightness != 1)
            blend(x, count, c->brightness, 0);
        if (step != c->contrast_first && c->contrast != 1)
            blend(x, count, c->contrast, mean_grey(channels, pixels, x));
    }
}

void cnn_cut(const cnn_changes *c, int channels, int height, int width, cnn_real *x)
{
    const cnn_box *cut = &c->cut;

    for (int k = 0; k < channels; k++)
        for (int y = cut->top; y < cut->top + cut->height; y++)
            memset(x + ((size_t)k * (size_t)height + (size_t)y) * (size_t)width + cut->left, 0,
                   (size_t)cut->width * sizeof *x);
}

void cnn_mix(cnn_real *a, cnn_real *b, size_t count, float share_a, float share_b)
{
    const cnn_real p = (cnn_real)share_a, q = (cnn_real)share_b;

    for (size_t i = 0; i < count; i++) {
        cnn_real old = a[i];

        a[i] = p * old + (1 - p) * b[i];
        b[i] = q * b[i] + (1 - q) * old;
    }
}
