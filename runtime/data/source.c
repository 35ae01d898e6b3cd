/* source.c - finds a data set by its name, opens a split of it, and keeps a share of it for validation.
 *
 * Requires: formats (source.h) that recognise and open what they know. Establishes: an open split, or one error that
 * says what was looked for and where.
 *
 * A share for validation is taken from the train split: the first pictures of a permutation (random.c) that depends on
 * the seed and on the number of pictures, so that it can be asked for again in another process.
 */
#define _GNU_SOURCE
#include "source.h"
#include "error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* All formats, in the order in which they are asked. */
static const cnn_format *const formats[] = {&cnn_format_idx, &cnn_format_cifar10, &cnn_format_cifar100,
                                            &cnn_format_array, &cnn_format_folder};

enum { FORMATS = sizeof formats / sizeof *formats };

/* The names that are looked up; `published` is the folder that the published archive unpacks to, or torchvision's. */
static const char *const fashion_classes[] = {"t-shirt", "trouser", "pullover", "dress", "coat",
                                              "sandal", "shirt", "sneaker", "bag", "ankle boot"};
static const struct known {
    const char *name, *published;
    const cnn_format *format;
    const char *const *classes;
    int         class_count;
    const char *mend;
} known[] = {
    {"fashion-mnist", "FashionMNIST/raw", &cnn_format_idx, fashion_classes, 10,
     "install the Debian package dataset-fashion-mnist, or train on --data synthetic"},
    {"mnist", "MNIST/raw", &cnn_format_idx, NULL, 0,
     "put its four IDX files into one of these, or train on --data synthetic"},
    {"cifar10", "cifar-10-batches-bin", &cnn_format_cifar10, NULL, 0,
     "unpack cifar-10-binary.tar.gz in ./data, or train on --data synthetic"},
    {"imagenet-folder", "imagenet", &cnn_format_folder, NULL, 0,
     "put train/ and val/ there, each with a folder of pictures for each class, or give their folder as --data"},
    {"cifar100", "cifar-100-binary", &cnn_format_cifar100, NULL, 0,
     "unpack cifar-100-binary.tar.gz in ./data, or train on --data synthetic"},
};

enum { KNOWN = sizeof known / sizeof *known };

/* ---- for the formats --------------------------------------------------------------------------------------------- */

void *cnn_source_begin(cnn_source *s, const char *place, size_t bytes,
                       int (*read)(const cnn_source *, size_t, cnn_picture *), void (*close)(cnn_source *))
{
    s->data = calloc(1, bytes);
    s->read = read;
    s->close = close;
    if (!s->data)
        cnn_error("%s: no memory to open it\nclose other programs", place);
    return s->data;
}

int cnn_source_room(cnn_source *s, const char *place, size_t size)
{
    s->size = size;
    s->labels = calloc(size, sizeof *s->labels);
    if (!s->labels)
        cnn_error("%s: no memory for its %zu labels\nclose other programs", place, size);
    return s->labels != NULL;
}

int cnn_source_fits_label(const cnn_wish *wish, const char *file, size_t picture, long long label)
{
    if (label >= 0 && label < wish->classes)
        return 1;
    if (label < 0)
        cnn_error("%s: label %lld of picture %zu is below 0\nlabels count from 0", file, label, picture);
    else
        cnn_error("%s: label %lld of picture %zu is beyond the network's %d classes\n"
                  "the network needs at least %llu outputs for this data set", file, label, picture, wish->classes,
                  (unsigned long long)label + 1);
    return 0;
}

int cnn_source_fits(const cnn_source *s, const char *place, const cnn_wish *wish)
{
    enum { LONGEST_SIDE = 65535 };
    const int *input = wish->input;

    if (s->channels != 1 && s->channels != input[1]) {
        cnn_error("%s: its pictures are %dx%dx%d, the network takes %dx%dx%d\ncompile the network with cnnc --input "
                  "%dx%dx%d, or convert the pictures", place, s->channels, s->height, s->width, input[1], input[2],
                  input[3], s->channels, input[2], input[3]);
        return 0;
    }
    if (s->height > LONGEST_SIDE || s->width > LONGEST_SIDE) {
        cnn_error("%s: its pictures are %d x %d, the largest side that is read is %d\nmake the pictures smaller",
                  place, s->height, s->width, LONGEST_SIDE);
        return 0;
    }
    return 1;
}

int cnn_source_has(const char *folder, const char *name, char path[PATH_MAX])
{
    return snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX && access(path, F_OK) == 0;
}

/* ---- by name ----------------------------------------------------------------------------------------------------- */

/* The i-th place where a known name is looked for, or 0 past the last; a place without a name gives "". */
static int place_of(const struct known *k, int i, char path[PATH_MAX])
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
        return snprintf(path, PATH_MAX, "./data/%s", k->published), 1;
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

static int open_known(cnn_source *s, const struct known *k, cnn_split split, const cnn_wish *wish)
{
    s->class_names = k->classes;
    s->name_count = k->class_count;
    for (int i = 0; place_of(k, i, s->place); i++)
        if (*s->place && k->format->holds(s->place))
            return k->format->open(s, s->place, split, wish);
    cnn_error("%s: not found on this machine; looked in", k->name);
    for (int i = 0; place_of(k, i, s->place); i++)
        if (*s->place)
            cnn_note("%s", s->place);
        else
            cnn_note("%s", i == 0 ? "$CNN_DATA (not set)" : "~/.cache/cnnc ($HOME is not set)");
    cnn_note("help: %s", k->mend);
    return 0;
}

/* A folder or a file of the user's. */
static int open_place(cnn_source *s, const char *place, cnn_split split, const cnn_wish *wish)
{
    struct stat about;

    snprintf(s->place, sizeof s->place, "%s", place);
    if (wish->unlabelled && cnn_files_lie_in(place))
        return cnn_files_open(s, &place, 1, wish);
    for (int i = 0; i < FORMATS; i++)
        if (formats[i]->holds(place))
            return formats[i]->open(s, place, split, wish);
    if (stat(place, &about) < 0) {
        cnn_error("no data set '%s': neither a name that is known nor a folder%s\n"
                  "give fashion-mnist, mnist, cifar10, cifar100, imagenet-folder, synthetic, or a folder%s", place,
                  wish->unlabelled ? " nor a picture" : "", wish->unlabelled ? ", or pictures" : "");
        return 0;
    }
    if (wish->unlabelled && S_ISREG(about.st_mode))
        return cnn_files_open(s, &place, 1, wish);
    if (cnn_files_lie_in(place)) {
        cnn_error("%s: pictures lie in it that have no class\n"
                  "put them into a folder for each class; predict alone takes them as they are", place);
        return 0;
    }
    cnn_error("%s: %s\ngive a place that holds one of these:", place,
              S_ISDIR(about.st_mode) ? "there is no data in it that is known" : "not data that is known");
    for (int i = 0; i < FORMATS; i++)
        cnn_note("%s", formats[i]->what);
    return 0;
}

static int open_named(cnn_source *s, const char *name, cnn_split split, const cnn_wish *wish)
{
    if (wish->files) {
        snprintf(s->place, sizeof s->place, "%s", wish->files[0]);
        return cnn_files_open(s, wish->files, wish->file_count, wish);
    }
    if (strcmp(name, "synthetic") == 0)
        return cnn_synthetic_open(s, split, wish);
    for (int i = 0; i < KNOWN; i++)
        if (strcmp(name, known[i].name) == 0)
            return open_known(s, &known[i], split, wish);
    return open_place(s, name, split, wish);
}

/* ---- validation -------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const size_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Leaves the source with the pictures that are kept for validation, or with the others. */
static int pick(cnn_source *s, cnn_split split, const cnn_wish *wish)
{
    const uint32_t epoch = UINT32_MAX;          /* a permutation that no epoch of training uses */
    size_t kept = (size_t)(wish->validation * (double)s->size + 0.5);

    kept = kept < 1 ? 1 : kept;
    if (kept >= s->size) {
        cnn_error("%s: %.4g of its %zu pictures for validation leave none to train on\ngive a smaller --validation",
                  s->place, wish->validation, s->size);
        return 0;
    }
    s->picked = malloc(s->size * sizeof *s->picked);
    if (!s->picked) {
        cnn_error("%s: no memory for the order of its %zu pictures\nclose other programs", s->place, s->size);
        return 0;
    }
    cnn_shuffle(s->picked, s->size, wish->seed, epoch);
    s->picked_count = split == CNN_VALIDATION ? kept : s->size - kept;
    if (split == CNN_TRAIN)
        memmove(s->picked, s->picked + kept, s->picked_count * sizeof *s->picked);
    qsort(s->picked, s->picked_count, sizeof *s->picked, by_size);
    char all[sizeof s->text];
    memcpy(all, s->text, sizeof all);
    snprintf(s->text, sizeof s->text, "%zu of %.*s", s->picked_count, (int)sizeof all - 32, all);
    return 1;
}

/* Whether the data brings a validation split of its own; 0 after cnn_error. */
static int has_validation(const cnn_source *s)
{
    if (s->validation)
        return 1;
    cnn_error("%s: has no validation split\nkeep a share of the train split for it: --validation 0.1", s->place);
    return 0;
}

/* ---- the public interface ---------------------------------------------------------------------------------------- */

cnn_source *cnn_source_open(const char *name, cnn_split split, const cnn_wish *wish)
{
    cnn_source *s = calloc(1, sizeof *s);

    if (!s) {
        cnn_error("%s: no memory to open it\nclose other programs", name);
        return NULL;
    }
    int shared = wish->validation > 0 && split != CNN_TEST;
    if (!open_named(s, name, shared ? CNN_TRAIN : split, wish) || (shared && !pick(s, split, wish)) ||
        (split == CNN_VALIDATION && !shared && !has_validation(s))) {
        cnn_source_close(s);
        return NULL;
    }
    return s;
}

static size_t which(const cnn_source *s, size_t i)
{
    return s->picked ? s->picked[i] : i;
}

size_t cnn_source_size(const cnn_source *s)
{
    return s->picked ? s->picked_count : s->size;
}

int32_t cnn_source_label(const cnn_source *s, size_t i)
{
    return s->labels ? s->labels[which(s, i)] : 0;
}

const char *cnn_source_class(const cnn_source *s, int label)
{
    if (label < 0 || label >= s->name_count)
        return NULL;
    return s->names ? s->names[label] : s->class_names[label];
}

const char *cnn_source_text(const cnn_source *s)
{
    return s->text;
}

int cnn_source_whole(const cnn_source *s)
{
    return s->whole;
}

int cnn_source_has_validation(const cnn_source *s)
{
    return s->has_validation;
}

int cnn_source_labelled(const cnn_source *s)
{
    return s->labels != NULL;
}

const char *cnn_source_path(const cnn_source *s, size_t i, char path[PATH_MAX])
{
    return s->path && s->path(s, which(s, i), path) ? path : NULL;
}

int cnn_source_read(const cnn_source *s, size_t i, cnn_picture *picture)
{
    return s->read(s, which(s, i), picture);
}

void cnn_source_close(cnn_source *s)
{
    if (!s)
        return;
    if (s->close)
        s->close(s);
    for (int i = 0; s->names && i < s->name_count; i++)
        free(s->names[i]);
    free(s->names);
    free(s->labels);
    free(s->picked);
    free(s);
}
