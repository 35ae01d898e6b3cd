/* dataset.c - the data sets that a trainer knows by name, folders of IDX files, and the synthetic one.
 *
 * Fashion-MNIST: Xiao, Rasul, Vollgraf, arXiv:1708.07747; MNIST: LeCun, Cortes, Burges. Both are four IDX files of
 * 28x28 bytes. Files are held in memory as they are (45 MiB for 60,000 pictures); each batch is resized anew, which
 * costs little beside a training step (28x28 to 96x96: 45 us a picture) and keeps memory at the data's size.
 * Errors are one line with the file, the cause and the mend.
 */
#define _GNU_SOURCE
#include "data.h"
#include "error.h"

#include <limits.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LONGEST_SIDE = 65535,       /* of a picture in a file, in pixels */
    TRAIN_SIZE = 2048, TEST_SIZE = 512,         /* of the synthetic data set */
    GRID = 5,                   /* a synthetic pattern is GRID x GRID random values a channel, interpolated */
};

struct cnn_dataset {
    int       channels, height, width, classes;         /* of the network */
    size_t    size;
    char      text[PATH_MAX + 64];
    const char *const *names;   /* of the first name_count classes, or NULL */
    int       name_count;
    char    (*numbers)[12];     /* "0", "1", ... for all classes */
    int       threads;

    int       synthetic, train;
    uint64_t  seed;

    cnn_idx     images, labels; /* of a folder */
    int         image_channels, image_height, image_width;
    cnn_resize *resize;
    uint8_t    *scratch;        /* threads x cnn_resize_scratch */
};

static const char *const fashion_classes[] = {"t-shirt", "trouser", "pullover", "dress", "coat",
                                              "sandal", "shirt", "sneaker", "bag", "ankle boot"};

/* The names that are looked up; torchvision keeps its copy of the same files in ./data/FOLDER/raw. */
static const struct known {
    const char *name, *torchvision;
    const char *const *classes;
    int class_count;
} known[] = {
    {"fashion-mnist", "FashionMNIST", fashion_classes, 10},
    {"mnist",         "MNIST",        NULL,            0},
};

/* ---- folders of IDX files ---------------------------------------------------------------------------------------- */

/* The path of a split's images or labels: plain if it is there, else .gz. 0 when neither is. */
static int find_file(const char *folder, int train, const char *what, char path[PATH_MAX])
{
    for (int gz = 0; gz < 2; gz++) {
        int length = snprintf(path, PATH_MAX, "%s/%s-%s-ubyte%s", folder, train ? "train" : "t10k", what,
                              gz ? ".gz" : "");
        if (length < PATH_MAX && access(path, F_OK) == 0)
            return 1;
    }
    return 0;
}

static int find_or_report(const char *folder, int train, const char *what, char path[PATH_MAX])
{
    if (find_file(folder, train, what, path))
        return 1;
    cnn_error("%s: has no %s-%s-ubyte, nor that with .gz\nput the four files of MNIST's format there", folder,
              train ? "train" : "t10k", what);
    return 0;
}

/* Reads a split and compares it with the network: labels first, they are small and say how many pictures to expect. */
static int open_folder(cnn_dataset *d, const char *folder)
{
    char images[PATH_MAX], labels[PATH_MAX];

    if (!find_or_report(folder, d->train, "images-idx3", images) ||
        !find_or_report(folder, d->train, "labels-idx1", labels) || !cnn_idx_read(labels, 1, 1, -1, &d->labels))
        return 0;
    for (size_t i = 0; i < d->labels.count; i++)
        if (d->labels.bytes[i] >= d->classes) {
            cnn_error("%s: label %d of picture %zu is beyond the network's %d classes\n"
                      "the network needs at least %d outputs for this data set", labels, d->labels.bytes[i], i,
                      d->classes, d->labels.bytes[i] + 1);
            return 0;
        }
    if (!cnn_idx_read(images, 3, 4, d->labels.shape[0], &d->images))
        return 0;

    const int *size = d->images.shape + d->images.rank - 2;
    d->size = (size_t)d->images.shape[0];
    d->image_channels = d->images.rank == 4 ? d->images.shape[1] : 1;
    d->image_height = size[0];
    d->image_width = size[1];
    if (d->image_channels != 1 && d->image_channels != d->channels) {
        cnn_error("%s: its pictures have %d channels, the network takes %d\n"
                  "compile the network with --input %dx%dx%d, or convert the pictures", images, d->image_channels,
                  d->channels, d->image_channels, d->height, d->width);
        return 0;
    }
    if (size[0] > LONGEST_SIDE || size[1] > LONGEST_SIDE) {
        cnn_error("%s: its pictures are %d x %d, the largest side that is read is %d\nmake the pictures smaller",
                  images, size[0], size[1], LONGEST_SIDE);
        return 0;
    }
    d->resize = cnn_resize_new(size[0], size[1], d->height, d->width);
    if (d->resize)
        d->scratch = malloc((size_t)d->threads * cnn_resize_scratch(d->resize));
    if (!d->scratch) {
        cnn_error("%s: no memory to resize pictures of %d x %d\nclose other programs", images, size[0], size[1]);
        return 0;
    }
    snprintf(d->text, sizeof d->text, "%zu pictures of %dx%dx%d in %s", d->size, d->image_channels, size[0], size[1],
             folder);
    return 1;
}

/* The i-th place where a known name is looked for, or 0 past the last; a place without a name gives "". */
static int place(const struct known *k, int i, char path[PATH_MAX])
{
    const char *data = getenv("CNN_DATA"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    path[0] = 0;
    switch (i) {
    case 0:
        if (data && *data)
            snprintf(path, PATH_MAX, "%s/%s", data, k->name);
        return 1;
    case 1:
        return snprintf(path, PATH_MAX, "./data/%s", k->name), 1;
    case 2:
        return snprintf(path, PATH_MAX, "./data/%s/raw", k->torchvision), 1;
    case 3:
        if (cache && *cache)
            snprintf(path, PATH_MAX, "%s/cnnc/%s", cache, k->name);
        else if (home && *home)
            snprintf(path, PATH_MAX, "%s/.cache/cnnc/%s", home, k->name);
        return 1;
    case 4:
        return snprintf(path, PATH_MAX, "/usr/share/datasets/%s", k->name), 1;
    }
    return 0;
}

static int open_known(cnn_dataset *d, const struct known *k)
{
    char path[PATH_MAX], file[PATH_MAX];

    d->names = k->classes;
    d->name_count = k->class_count;
    for (int i = 0; place(k, i, path); i++)
        if (*path && find_file(path, d->train, "images-idx3", file))
            return open_folder(d, path);
    cnn_error("%s: not found on this machine; looked in", k->name);
    for (int i = 0; place(k, i, path); i++)
        if (*path)
            cnn_note("%s", path);
        else
            cnn_note("%s", i == 0 ? "$CNN_DATA (not set)" : "~/.cache/cnnc ($HOME is not set)");
    if (k->classes)
        cnn_note("help: install the Debian package dataset-fashion-mnist, or train on --data synthetic");
    else
        cnn_note("help: put its four IDX files into one of these, or train on --data synthetic");
    return 0;
}

/* ---- synthetic --------------------------------------------------------------------------------------------------- */

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
static void paint(const cnn_dataset *d, size_t picture, int class, int channel, cnn_real *out)
{
    float    grid[(GRID * GRID + 3) / 4 * 4];
    uint32_t words[4];
    uint64_t which = (uint64_t)picture << 1 | (uint64_t)d->train;

    for (int i = 0; i < GRID * GRID; i += 4) {
        draw(PATTERN, (uint32_t)i, (uint32_t)channel, (uint64_t)class, words);
        for (int k = 0; k < 4; k++)
            grid[i + k] = (float)(words[k] >> 8) * 0x1p-24f;
    }
    size_t pixel = 0;
    for (int y = 0; y < d->height; y++) {
        float        down;
        const float *row = grid + grid_cell(y, d->height, &down) * GRID;

        for (int x = 0; x < d->width; x++, pixel++) {
            float right;
            int   cell = grid_cell(x, d->width, &right);
            float top = row[cell] + right * (row[cell + 1] - row[cell]);
            float low = row[cell + GRID] + right * (row[cell + GRID + 1] - row[cell + GRID]);

            if (pixel % 16 == 0)
                draw(d->seed ^ NOISE, (uint32_t)(pixel / 16), (uint32_t)channel, which, words);
            float noise = (float)(words[pixel / 4 % 4] >> (8 * (pixel % 4)) & 255) / 256;
            out[pixel] = (cnn_real)(0.2f + 0.6f * (top + down * (low - top)) + 0.4f * (noise - 0.5f));
        }
    }
}

static int open_synthetic(cnn_dataset *d, int batch)
{
    d->synthetic = 1;
    d->size = d->train ? TRAIN_SIZE : TEST_SIZE;
    if (batch > 0 && d->size < (size_t)batch)
        d->size = (size_t)batch;
    snprintf(d->text, sizeof d->text, "%zu synthetic pictures of %dx%dx%d", d->size, d->channels, d->height, d->width);
    return 1;
}

/* ---- the public interface ---------------------------------------------------------------------------------------- */

static int open_named(cnn_dataset *d, const char *name, int batch)
{
    struct stat about;

    if (strcmp(name, "synthetic") == 0)
        return open_synthetic(d, batch);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0)
            return open_known(d, &known[i]);
    if (stat(name, &about) < 0)
        cnn_error("no data set '%s': neither a name that is known nor a folder\n"
                  "give fashion-mnist, mnist, synthetic, or a folder of IDX files", name);
    else if (!S_ISDIR(about.st_mode))
        cnn_error("%s: not a folder\ngive the folder that holds the four IDX files", name);
    else
        return open_folder(d, name);
    return 0;
}

cnn_dataset *cnn_dataset_open(const char *name, int train, const int input[4], int classes, uint64_t seed)
{
    cnn_dataset *d = calloc(1, sizeof *d);

    if (d)
        d->numbers = calloc((size_t)classes, sizeof *d->numbers);
    if (!d || !d->numbers) {
        cnn_error("no memory for a data set of %d classes\nclose other programs", classes);
        free(d);
        return NULL;
    }
    for (int i = 0; i < classes; i++)
        snprintf(d->numbers[i], sizeof d->numbers[i], "%d", i);
    d->channels = input[1];
    d->height = input[2];
    d->width = input[3];
    d->classes = classes;
    d->train = train != 0;
    d->seed = seed;
    d->threads = omp_get_max_threads();
    if (!open_named(d, name, input[0])) {
        cnn_dataset_close(d);
        return NULL;
    }
    return d;
}

size_t cnn_dataset_size(const cnn_dataset *d)
{
    return d->size;
}

const char *cnn_dataset_class(const cnn_dataset *d, int label)
{
    if (label < 0 || label >= d->classes)
        return "?";
    return label < d->name_count ? d->names[label] : d->numbers[label];
}

const char *cnn_dataset_text(const cnn_dataset *d)
{
    return d->text;
}

/* Picture `picture` of a folder into out[channels][height][width]. */
static void read_picture(const cnn_dataset *d, size_t picture, uint8_t *scratch, cnn_real *out)
{
    const size_t from = (size_t)d->image_height * (size_t)d->image_width;
    const size_t to = (size_t)d->height * (size_t)d->width;
    const uint8_t *bytes = d->images.bytes + picture * (size_t)d->image_channels * from;

    for (int c = 0; c < d->channels; c++)
        if (c < d->image_channels)
            cnn_resize_plane(d->resize, bytes + (size_t)c * from, scratch, out + (size_t)c * to);
        else
            memcpy(out + (size_t)c * to, out, to * sizeof *out);        /* grey: the same in every channel */
}

void cnn_dataset_batch(const cnn_dataset *d, const size_t *index, int count, cnn_real *x, int32_t *labels)
{
    const size_t plane = (size_t)d->height * (size_t)d->width;
    const size_t picture = (size_t)d->channels * plane;
    const size_t scratch = d->resize ? cnn_resize_scratch(d->resize) : 0;

#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (int i = 0; i < count; i++) {
        cnn_real *out = x + (size_t)i * picture;
        int       label = d->synthetic ? (int)(index[i] % (size_t)d->classes) : d->labels.bytes[index[i]];

        if (labels)
            labels[i] = label;
        if (!d->synthetic)
            read_picture(d, index[i], d->scratch + (size_t)omp_get_thread_num() * scratch, out);
        else
            for (int c = 0; c < d->channels; c++)
                paint(d, index[i], label, c, out + (size_t)c * plane);
    }
}

void cnn_dataset_close(cnn_dataset *d)
{
    if (!d)
        return;
    cnn_idx_free(&d->images);
    cnn_idx_free(&d->labels);
    cnn_resize_free(d->resize);
    free(d->scratch);
    free(d->numbers);
    free(d);
}
