/* source_idx.c - MNIST and its like: a folder of four IDX files (idx.c), {train,t10k}-{images-idx3,labels-idx1}-ubyte,
 * each plain or with .gz. Pictures count x rows x columns, or count x channels x rows x columns.
 *
 * Fashion-MNIST: Xiao, Rasul, Vollgraf, arXiv:1708.07747; MNIST: LeCun, Cortes, Burges. Files are held in memory as
 * they are: 45 MiB for 60,000 pictures.
 */
#include "error.h"
#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The path of a split's images or labels: plain if it is there, else .gz. 0 when neither is. */
static int find_file(const char *folder, const char *split, const char *what, char path[PATH_MAX])
{
    for (int gz = 0; gz < 2; gz++) {
        char name[64];
        snprintf(name, sizeof name, "%s-%s-ubyte%s", split, what, gz ? ".gz" : "");
        if (cnn_source_has(folder, name, path))
            return 1;
    }
    return 0;
}

static int find_or_report(const char *folder, const char *split, const char *what, char path[PATH_MAX])
{
    if (find_file(folder, split, what, path))
        return 1;
    cnn_error("%s: has no %s-%s-ubyte, nor that with .gz\nput the four files of MNIST's format there", folder, split,
              what);
    return 0;
}

static int holds(const char *place)
{
    char path[PATH_MAX];

    return find_file(place, "train", "images-idx3", path) || find_file(place, "train", "labels-idx1", path) ||
           find_file(place, "t10k", "images-idx3", path) || find_file(place, "t10k", "labels-idx1", path);
}

static int read_picture(const cnn_source *s, size_t i, cnn_picture *picture)
{
    const cnn_idx *images = s->data;
    int            status = cnn_picture_size(picture, s->channels, s->height, s->width, CNN_PICTURE_BYTES);
    size_t         bytes = (size_t)s->channels * (size_t)s->height * (size_t)s->width;

    if (status == 1)
        memcpy(picture->bytes, images->bytes + i * bytes, bytes);
    return status;
}

static void close_images(cnn_source *s)
{
    if (s->data)
        cnn_idx_free(s->data);
    free(s->data);
}

/* Labels come first: they are small and say how many pictures to expect. */
static int read_labels(cnn_source *s, const char *path, const cnn_wish *wish)
{
    cnn_idx labels;
    int     good;

    if (!cnn_idx_read(path, 1, 1, -1, &labels))
        return 0;
    good = cnn_source_room(s, path, labels.count);
    for (size_t i = 0; good && i < labels.count; i++) {
        s->labels[i] = labels.bytes[i];
        good = cnn_source_fits_label(wish, path, i, s->labels[i]);
    }
    cnn_idx_free(&labels);
    return good;
}

static int open_folder(cnn_source *s, const char *folder, cnn_split split, const cnn_wish *wish)
{
    const char *name = split == CNN_TRAIN ? "train" : "t10k";
    char        path[PATH_MAX], labels[PATH_MAX];
    cnn_idx    *images = cnn_source_begin(s, folder, sizeof *images, read_picture, close_images);

    if (!images)
        return 0;
    if (!find_or_report(folder, name, "images-idx3", path) || !find_or_report(folder, name, "labels-idx1", labels) ||
        !read_labels(s, labels, wish) || !cnn_idx_read(path, 3, 4, (long)s->size, images))
        return 0;
    s->channels = images->rank == 4 ? images->shape[1] : 1;
    s->height = images->shape[images->rank - 2];
    s->width = images->shape[images->rank - 1];
    snprintf(s->text, sizeof s->text, "%zu pictures of %dx%dx%d in %s", s->size, s->channels, s->height, s->width,
             folder);
    return cnn_source_fits(s, path, wish);
}

const cnn_format cnn_format_idx = {"the four IDX files of MNIST's format, plain or .gz: train-images-idx3-ubyte, "
                                   "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte",
                                   holds, open_folder};
