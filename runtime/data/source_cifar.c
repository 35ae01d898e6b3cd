/* source_cifar.c - CIFAR-10 and CIFAR-100 (Krizhevsky 2009), the binary version: files of records of one size.
 *
 *     CIFAR-10    data_batch_1.bin ... data_batch_5.bin, test_batch.bin    1 byte label, 3 x 32 x 32 bytes
 *     CIFAR-100   train.bin, test.bin                                      1 byte superclass, 1 byte label, likewise
 *
 * Names of the classes stand in batches.meta.txt or fine_label_names.txt, one a line, where there is such a file.
 * Opening reads every file once for its labels; pictures are read from the disk (its cache) when they are shown.
 */
#define _GNU_SOURCE
#include "error.h"
#include "files/file.h"
#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHANNELS = 3, SIDE = 32, PICTURE = CHANNELS * SIDE * SIDE, FILES = 5, LONGEST_NAME = 64, LARGEST = 1 << 30 };

#define FETCH "fetch the file again"

typedef struct {
    const char *train[FILES + 1], *test[2], *names;     /* files; NULL at the end */
    int         label_bytes, classes;
} Layout;

static const Layout cifar10 = {{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                                "data_batch_5.bin"}, {"test_batch.bin"}, "batches.meta.txt", 1, 10};
static const Layout cifar100 = {{"train.bin"}, {"test.bin"}, "fine_label_names.txt", 2, 100};

/* The open files: pictures [first[f], first[f + 1]) are in file f. */
typedef struct {
    const Layout *layout;
    int           count, file[FILES];
    size_t        first[FILES + 1];
    char          path[FILES][PATH_MAX];
} Files;

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Opens one more file and counts its records. */
static int add_file(Files *f, const char *folder, const char *name)
{
    const uint64_t record = (uint64_t)f->layout->label_bytes + PICTURE;
    char          *path = f->path[f->count], why[CNN_WHY];
    uint64_t       size;

    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX) {
        cnn_error("%.200s...: the path is too long\nmove the data", folder);
        return 0;
    }
    int file = cnn_file_open(path, &size, why);
    if (file < 0) {
        cnn_error("%s: %s\nput all files of the binary version of CIFAR-%d there", path, why, f->layout->classes);
        return 0;
    }
    f->file[f->count++] = file;
    f->first[f->count] = f->first[f->count - 1] + (size_t)(size / record);
    if (size > 0 && size <= LARGEST && size % record == 0)
        return 1;
    if (size == 0 || size > LARGEST)
        cnn_error("%s: %s\n" FETCH, path, size ? "more than 1 GiB is no file of CIFAR" : "the file is empty");
    else
        cnn_error("%s: %llu bytes are no whole number of records of %llu\n" FETCH, path, (unsigned long long)size,
                  (unsigned long long)record);
    return 0;
}

/* The labels of file `at`, a megabyte of records at a time. */
static int read_labels(cnn_source *s, const Files *f, int at, const cnn_wish *wish)
{
    enum { PIECE = 340 };                       /* records */
    const size_t record = (size_t)f->layout->label_bytes + PICTURE, count = f->first[at + 1] - f->first[at];
    int32_t     *labels = s->labels + f->first[at];
    char         why[CNN_WHY];
    uint8_t     *bytes = malloc(PIECE * record);
    int          good = bytes != NULL;

    if (!good)
        cnn_error("%s: no memory to read it\nclose other programs", f->path[at]);
    for (size_t i = 0; good && i < count; i += PIECE) {
        size_t piece = count - i < PIECE ? count - i : PIECE;

        if (!(good = cnn_file_read(f->file[at], bytes, piece * record, i * record, why)))
            cnn_error("%s: %s\ncheck the disk, or " FETCH, f->path[at], why);
        for (size_t k = 0; good && k < piece; k++) {
            labels[i + k] = bytes[k * record + (size_t)f->layout->label_bytes - 1];
            good = labels[i + k] < f->layout->classes;
            if (!good)
                cnn_error("%s: label %d of picture %zu is beyond the %d classes of CIFAR-%d\n" FETCH, f->path[at],
                          labels[i + k], i + k, f->layout->classes, f->layout->classes);
            good = good && cnn_source_fits_label(wish, f->path[at], i + k, labels[i + k]);
        }
    }
    free(bytes);
    return good;
}

/* The names of the classes, one a line. A file that is not there or has other lines leaves them numbers. */
static void read_names(cnn_source *s, const char *folder, const Layout *layout)
{
    char  path[PATH_MAX], line[LONGEST_NAME + 2];
    FILE *file = cnn_source_has(folder, layout->names, path) ? fopen(path, "re") : NULL;

    s->names = file ? calloc((size_t)layout->classes, sizeof *s->names) : NULL;
    while (s->names && s->name_count < layout->classes && fgets(line, sizeof line, file)) {
        size_t length = strcspn(line, "\r\n");

        if (length == 0 || length == LONGEST_NAME + 1)
            break;
        line[length] = '\0';
        s->names[s->name_count] = strdup(line);
        if (!s->names[s->name_count])
            break;
        s->name_count++;
    }
    if (file)
        fclose(file);
}

/* ---- the format -------------------------------------------------------------------------------------------------- */

static int read_picture(const cnn_source *s, size_t i, cnn_picture *picture)
{
    const Files *f = s->data;
    const size_t record = (size_t)f->layout->label_bytes + PICTURE;
    int          at = 0, status = cnn_picture_size(picture, CHANNELS, SIDE, SIDE, CNN_PICTURE_BYTES);
    char         why[CNN_WHY];

    while (i >= f->first[at + 1])
        at++;
    if (status == 1 && !cnn_file_read(f->file[at], picture->bytes, PICTURE,
                                      (i - f->first[at]) * record + (size_t)f->layout->label_bytes, why))
        status = cnn_picture_fail(picture, "check the disk, or " FETCH, "%s: picture %zu %s", f->path[at],
                                  i - f->first[at], why);
    return status;
}

static void close_files(cnn_source *s)
{
    Files *f = s->data;

    for (int i = 0; f && i < f->count; i++)
        close(f->file[i]);
    free(f);
}

static int open_layout(cnn_source *s, const char *folder, cnn_split split, const cnn_wish *wish, const Layout *layout)
{
    const char *const *names = split == CNN_TRAIN ? layout->train : layout->test;
    Files *f = cnn_source_begin(s, folder, sizeof *f, read_picture, close_files);

    s->channels = CHANNELS;
    s->height = s->width = SIDE;
    if (!f)
        return 0;
    f->layout = layout;
    for (; *names; names++)
        if (!add_file(f, folder, *names))
            return 0;
    if (!cnn_source_room(s, folder, f->first[f->count]))
        return 0;
    for (int i = 0; i < f->count; i++)
        if (!read_labels(s, f, i, wish))
            return 0;
    read_names(s, folder, layout);
    snprintf(s->text, sizeof s->text, "%zu pictures of %dx%dx%d in %s", s->size, CHANNELS, SIDE, SIDE, folder);
    return cnn_source_fits(s, folder, wish);
}

static int holds(const char *folder, const Layout *layout)
{
    char path[PATH_MAX];

    return cnn_source_has(folder, layout->train[0], path) || cnn_source_has(folder, layout->test[0], path);
}

static int holds_cifar10(const char *place)
{
    return holds(place, &cifar10);
}

static int holds_cifar100(const char *place)
{
    return holds(place, &cifar100);
}

static int open_cifar10(cnn_source *s, const char *place, cnn_split split, const cnn_wish *wish)
{
    return open_layout(s, place, split, wish, &cifar10);
}

static int open_cifar100(cnn_source *s, const char *place, cnn_split split, const cnn_wish *wish)
{
    return open_layout(s, place, split, wish, &cifar100);
}

const cnn_format cnn_format_cifar10 = {"the binary version of CIFAR-10: data_batch_1.bin to data_batch_5.bin, "
                                       "test_batch.bin", holds_cifar10, open_cifar10};
const cnn_format cnn_format_cifar100 = {"the binary version of CIFAR-100: train.bin, test.bin", holds_cifar100,
                                        open_cifar100};
