/* source_array.c - pictures as arrays x, N x C x H x W or N x H x W or N x features, labels as arrays y, N integers.
 *
 *     FOLDER/train_x.npy, train_y.npy, test_x.npy, test_y.npy (validation_x.npy, validation_y.npy)
 *     FOLDER/train.safetensors, test.safetensors (validation.safetensors), each with the tensors x and y
 *     FILE.safetensors with the tensors train_x, train_y, test_x, test_y (validation_x, validation_y)
 *     FOLDER/x.npy, y.npy, or FILE.safetensors with x and y: of one piece
 *     FILE.npy, or any of these without y: pictures without labels, for those who need none
 *
 * Bytes (uint8) are pictures like any others: they become byte / 255. Real numbers (float32, float64) are taken as they
 * are. Labels are read when the split is opened, pictures from the disk (its cache) when they are shown.
 */
#define _GNU_SOURCE
#include "array.h"
#include "error.h"
#include "files/file.h"
#include "source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PICTURES = 1 << 26 };

static const char *const splits[] = {[CNN_TRAIN] = "train", [CNN_VALIDATION] = "validation", [CNN_TEST] = "test"};

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static int ends_in(const char *place, const char *ending)
{
    const char *dot = strrchr(place, '.');
    return dot && strcmp(dot, ending) == 0;
}

static int is_tensors(const char *place)
{
    return ends_in(place, ".safetensors");
}

static int holds(const char *place)
{
    static const char *const names[] = {"x.npy", "train_x.npy", "test_x.npy", "train.safetensors", "test.safetensors"};
    char path[PATH_MAX];

    if (is_tensors(place) || ends_in(place, ".npy"))
        return 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (cnn_source_has(place, names[i], path))
            return 1;
    return 0;
}

/* Whether the data has a validation split of its own. */
static int has_validation(const char *place)
{
    char path[PATH_MAX];

    if (is_tensors(place))
        return cnn_array_has_tensor(place, "validation_x") == 1;
    return cnn_source_has(place, "validation_x.npy", path) || cnn_source_has(place, "validation.safetensors", path);
}

/* Opens x or y. `optional`: it may be missing, and the array then stays zeroed. 1, or 0 after cnn_error. */
static int open_tensor(cnn_source *s, cnn_array *a, const char *file, cnn_split split, char axis, int optional)
{
    char name[32];
    int  has;

    snprintf(name, sizeof name, "%s_%c", splits[split], axis);
    if ((has = cnn_array_has_tensor(file, name)) < 0)
        return 0;
    if (!has) {
        s->whole = cnn_array_has_tensor(file, "x") == 1;
        if (s->whole)
            snprintf(name, sizeof name, "%c", axis);
    }
    if (optional && cnn_array_has_tensor(file, name) == 0)
        return 1;
    return cnn_array_open_tensor(a, file, name);
}

/* Likewise, of a folder. */
static int open_file(cnn_source *s, cnn_array *a, const char *folder, cnn_split split, char axis, int optional)
{
    char name[64], path[PATH_MAX], tensor[] = {axis, '\0'};

    snprintf(name, sizeof name, "%s.safetensors", splits[split]);
    if (cnn_source_has(folder, name, path))
        return (optional && cnn_array_has_tensor(path, tensor) == 0) || cnn_array_open_tensor(a, path, tensor);
    s->whole = cnn_source_has(folder, "x.npy", path);
    snprintf(name, sizeof name, "%c.npy", axis);
    if (!s->whole)
        snprintf(name, sizeof name, "%s_%c.npy", splits[split], axis);
    if (cnn_source_has(folder, name, path))
        return cnn_array_open_npy(a, path);
    if (optional)
        return 1;
    cnn_error("%s: has neither %s nor %s.safetensors\n%s", folder, name, splits[split], s->whole ?
              "put the labels of x.npy there" : "put them there, or keep a share of train for --validation");
    return 0;
}

/* Likewise, of a file of one array, which has no labels. */
static int open_alone(cnn_source *s, cnn_array *a, const char *file, char axis, int optional)
{
    s->whole = 1;
    if (axis == 'x')
        return cnn_array_open_npy(a, file);
    if (!optional)
        cnn_error("%s: has no labels\nput it as x.npy into a folder with them as y.npy, and give that folder", file);
    return optional;
}

static int open_array(cnn_source *s, cnn_array *a, const char *place, cnn_split split, char axis, int optional)
{
    return is_tensors(place)        ? open_tensor(s, a, place, split, axis, optional)
           : ends_in(place, ".npy") ? open_alone(s, a, place, axis, optional)
                                    : open_file(s, a, place, split, axis, optional);
}

/* ---- labels ------------------------------------------------------------------------------------------------------ */

static int read_labels(cnn_source *s, const cnn_array *y, const cnn_wish *wish)
{
    enum { PIECE = 4096 };
    uint8_t bytes[8 * PIECE];
    char    why[CNN_WHY];
    int     good;

    if (y->kind == 'f' || y->shape[0] != y->count || y->count > MOST_PICTURES) {
        cnn_error("%s: labels are integers, one a picture, %d at most\nsave them as int64, of the shape N", y->name,
                  MOST_PICTURES);
        return 0;
    }
    good = cnn_source_room(s, y->name, y->count);
    for (size_t i = 0; good && i < y->count; i++) {
        size_t left = y->count - i, at = i % PIECE;

        if (at == 0 && !(good = cnn_file_read(y->file, bytes, (left < PIECE ? left : PIECE) * (size_t)y->bytes,
                                              y->offset + i * (size_t)y->bytes, why))) {
            cnn_error("%s: %s\ncheck the disk", y->name, why);
            break;
        }
        long long label = cnn_array_integer(y, bytes, at);
        good = cnn_source_fits_label(wish, y->name, i, label);
        s->labels[i] = (int32_t)label;
    }
    return good;
}

/* As many pictures as the array has. */
static int leave_unlabelled(cnn_source *s, const cnn_array *x)
{
    s->size = x->shape[0];
    if (x->shape[0] <= MOST_PICTURES)
        return 1;
    cnn_error("%s: holds %zu pictures, and %d are the most\nsave them in several arrays", x->name, x->shape[0],
              MOST_PICTURES);
    return 0;
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

static const char *shape_text(const cnn_array *a, char room[96])
{
    int length = 0;

    for (int i = 0; i < a->rank; i++)
        length += snprintf(room + length, (size_t)(96 - length), i ? "x%zu" : "%zu", a->shape[i]);
    return room;
}

/* Finds channels, height and width in the array's shape. 1, or 0 after cnn_error. */
static int read_shape(cnn_source *s, const cnn_array *x, const cnn_wish *wish)
{
    const int *input = wish->input;
    char       room[96];
    size_t     values = (size_t)input[1] * (size_t)input[2] * (size_t)input[3];

    if (x->kind != 'f' && !(x->kind == 'u' && x->bytes == 1)) {
        cnn_error("%s: pictures are bytes or real numbers\nsave them as uint8, float32 or float64", x->name);
        return 0;
    }
    if (x->shape[0] != s->size) {
        cnn_error("%s: holds %zu pictures, but there are %zu labels\n"
                  "use pictures and labels of the same split", x->name, x->shape[0], s->size);
        return 0;
    }
    if (x->rank == 2 && x->count / x->shape[0] == values) {     /* features, in the order that the network has them */
        s->channels = input[1];
        s->height = input[2];
        s->width = input[3];
        return 1;
    }
    if (x->rank < 3 || x->shape[1] > INT_MAX || x->shape[2] > INT_MAX || x->shape[x->rank - 1] > INT_MAX) {
        cnn_error("%s: its shape is %s, the network takes %dx%dx%d\ngive pictures N x C x H x W, N x H x W, or N x %zu",
                  x->name, shape_text(x, room), input[1], input[2], input[3], values);
        return 0;
    }
    s->channels = x->rank == 4 ? (int)x->shape[1] : 1;
    s->height = (int)x->shape[x->rank - 2];
    s->width = (int)x->shape[x->rank - 1];
    if (x->rank == 4 && s->channels != input[1] && s->channels != 1 && s->width == input[1]) {
        cnn_error("%s: its shape is %s, which has the channels last\nsave it as N x C x H x W: numpy.transpose(x, "
                  "(0, 3, 1, 2))", x->name, shape_text(x, room));
        return 0;
    }
    return cnn_source_fits(s, x->name, wish);
}

/* Real numbers, as they lie in the file, to the picture's. 0 with a cause where one is not finite. */
static int convert(const cnn_array *x, size_t i, size_t count, cnn_picture *p)
{
    for (size_t k = 0; k < count; k++) {
        if (x->bytes == 8) {
            double value;
            memcpy(&value, p->file + 8 * k, sizeof value);
            p->values[k] = (float)value;
        }
        if (!isfinite(p->values[k]))
            return cnn_picture_fail(p, "mend the array, or leave such pictures out with --skip-bad-pictures",
                                    "%.700s: picture %zu has a value that is not finite", x->name, i);
    }
    return 1;
}

static int read_picture(const cnn_source *s, size_t i, cnn_picture *p)
{
    const cnn_array *x = s->data;
    size_t count = (size_t)s->channels * (size_t)s->height * (size_t)s->width, bytes = count * (size_t)x->bytes;
    char   why[CNN_WHY];
    int    status = cnn_picture_size(p, s->channels, s->height, s->width, x->kind == 'u' ? CNN_PICTURE_BYTES
                                                                                        : CNN_PICTURE_REALS);

    if (status == 1 && x->bytes == 8)
        status = cnn_picture_file_room(p, bytes);
    if (status != 1)
        return status;
    void *to = x->kind == 'u' ? (void *)p->bytes : x->bytes == 8 ? (void *)p->file : (void *)p->values;
    if (!cnn_file_read(x->file, to, bytes, x->offset + i * bytes, why))
        return cnn_picture_fail(p, "check the disk", "%.700s: picture %zu %s", x->name, i, why);
    return x->kind == 'u' ? 1 : convert(x, i, count, p);
}

static void close_array(cnn_source *s)
{
    if (s->data)
        cnn_array_close(s->data);
    free(s->data);
}

static int open_arrays(cnn_source *s, const char *place, cnn_split split, const cnn_wish *wish)
{
    cnn_array  y = {.rank = 0};
    cnn_array *x = cnn_source_begin(s, place, sizeof *x, read_picture, close_array);

    if (!x)
        return 0;
    if (!open_array(s, x, place, split, 'x', 0) || !open_array(s, &y, place, split, 'y', wish->unlabelled))
        return 0;
    s->validation = split == CNN_VALIDATION && !s->whole;
    s->has_validation = !s->whole && has_validation(place);
    int good = (y.rank == 0 ? leave_unlabelled(s, x) : read_labels(s, &y, wish)) && read_shape(s, x, wish);
    cnn_array_close(&y);
    if (good)
        snprintf(s->text, sizeof s->text, "%zu pictures of %dx%dx%d in %s", s->size, s->channels, s->height, s->width,
                 x->name);
    return good;
}

const cnn_format cnn_format_array = {"arrays: train_x.npy, train_y.npy, test_x.npy, test_y.npy; or train.safetensors "
                                     "and test.safetensors with x and y; or FILE.safetensors with these",
                                     holds, open_arrays};
