/* source_synthetic.c - a data set that needs no file: each class is a fixed pattern, a picture is that and noise.
 *
 * Pictures have the network's size. The patterns are the same for every seed, the noise is not, and test pictures are
 * not train pictures. All of it depends on (seed, split, picture) alone, through Philox (random.c).
 */
#include "error.h"
#include "source.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TRAIN_SIZE = 2048, TEST_SIZE = 512,         /* pictures, or one batch where that is more */
    GRID = 5,                   /* a pattern is GRID x GRID random values a channel, interpolated */
};

/* Which pictures: what the noise is drawn from. */
typedef struct { uint64_t seed, train; } Noise;

#define PATTERN 0x7061747465726e73u     /* keys of Philox: "patterns"; the noise has "nois" over the seed */
#define NOISE   0x6e6f697300000000u

static void draw(uint64_t key, uint32_t a, uint32_t b, uint64_t c, uint32_t out[4])
{
    const uint32_t words[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    const uint32_t counter[4] = {a, b, (uint32_t)c, (uint32_t)(c >> 32)};

    cnn_philox(counter, words, out);
}

/* Where pixel i of n falls in the grid: a cell and the way to the next one. */
static int grid_cell(int i, int n, float *way)
{
    float at = ((float)i + 0.5f) / (float)n * (GRID - 1);
    int   cell = (int)at < GRID - 2 ? (int)at : GRID - 2;

    *way = at - (float)cell;
    return cell;
}

/* One channel of picture `picture`: 0.2 + 0.6 pattern(class, channel) + 0.4 (noise - 1/2), all in [0, 1). */
static void paint(const cnn_source *s, size_t picture, int channel, float *out)
{
    const Noise *from = s->data;
    const uint64_t class = (uint64_t)s->labels[picture];
    float    grid[(GRID * GRID + 3) / 4 * 4];
    uint32_t words[4];
    uint64_t which = (uint64_t)picture << 1 | from->train;

    for (int i = 0; i < GRID * GRID; i += 4) {
        draw(PATTERN, (uint32_t)i, (uint32_t)channel, class, words);
        for (int k = 0; k < 4; k++)
            grid[i + k] = (float)(words[k] >> 8) * 0x1p-24f;
    }
    size_t pixel = 0;
    for (int y = 0; y < s->height; y++) {
        float        down;
        const float *row = grid + grid_cell(y, s->height, &down) * GRID;

        for (int x = 0; x < s->width; x++, pixel++) {
            float right;
            int   cell = grid_cell(x, s->width, &right);
            float top = row[cell] + right * (row[cell + 1] - row[cell]);
            float low = row[cell + GRID] + right * (row[cell + GRID + 1] - row[cell + GRID]);

            if (pixel % 16 == 0)
                draw(from->seed ^ NOISE, (uint32_t)(pixel / 16), (uint32_t)channel, which, words);
            float noise = (float)(words[pixel / 4 % 4] >> (8 * (pixel % 4)) & 255) / 256;
            out[pixel] = 0.2f + 0.6f * (top + down * (low - top)) + 0.4f * (noise - 0.5f);
        }
    }
}

static int read_picture(const cnn_source *s, size_t i, cnn_picture *picture)
{
    int status = cnn_picture_size(picture, s->channels, s->height, s->width, CNN_PICTURE_REALS);

    for (int c = 0; status == 1 && c < s->channels; c++)
        paint(s, i, c, picture->values + (size_t)c * (size_t)s->height * (size_t)s->width);
    return status;
}

static void close_noise(cnn_source *s)
{
    free(s->data);
}

int cnn_synthetic_open(cnn_source *s, cnn_split split, const cnn_wish *wish)
{
    size_t size = split == CNN_TRAIN ? TRAIN_SIZE : TEST_SIZE;
    Noise *noise = cnn_source_begin(s, "synthetic", sizeof *noise, read_picture, close_noise);

    s->channels = wish->input[1];
    s->height = wish->input[2];
    s->width = wish->input[3];
    snprintf(s->place, sizeof s->place, "synthetic");
    if (wish->input[0] > 0 && size < (size_t)wish->input[0])
        size = (size_t)wish->input[0];
    if (!noise || !cnn_source_room(s, s->place, size))
        return 0;
    *noise = (Noise){wish->seed, split == CNN_TRAIN};
    for (size_t i = 0; i < size; i++)
        s->labels[i] = (int32_t)(i % (size_t)wish->classes);
    snprintf(s->text, sizeof s->text, "%zu synthetic pictures of %dx%dx%d", size, s->channels, s->height, s->width);
    return 1;
}
