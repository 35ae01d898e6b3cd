/* data.h - pictures for a trainer: where they come from, how they become a batch, and the order they are shown in.
 *
 *     source.c    finds a data set by its name and opens a split of it; source_*.c: a file a format
 *     picture.c   one picture as it was read; picture_*.c: a file a picture format
 *     dataset.c   source, resizing, random changes (augment.h) and normalisation: batches for one network
 *
 * Functions that can fail say so after one cnn_error (error.h) by returning NULL or 0; nothing exits.
 */
#ifndef CNN_DATA_H
#define CNN_DATA_H

#include "augment.h"
#include "cnn.h"
#include "names.h"
#include "normal.h"

#include <limits.h>

/* ---- picture.c: one picture, as it was read ---------------------------------------------------------------------- */

/* Planes, channels x height x width: bytes, or real numbers where the data is real; the other pointer is NULL. Zeroed
 * before its first use, then used again for as many pictures as one likes, by one thread at a time; cnn_picture_free
 * releases it. Where reading fails, cause ("PLACE: cause") and mend say why. */
enum { CNN_CAUSE = 1024 };
typedef struct {
    int         channels, height, width;
    uint8_t    *bytes;
    float      *values;
    size_t      room;                           /* bytes that `bytes` or `values` has                                */
    uint8_t    *file;                           /* a file while it is decoded                                        */
    size_t      file_room;
    char        cause[CNN_CAUSE];
    const char *mend;
} cnn_picture;

typedef enum { CNN_PICTURE_BYTES, CNN_PICTURE_REALS } cnn_kind;

/* Makes room for a picture of that size. 1, or -1 with a cause where memory is short. */
int  cnn_picture_size(cnn_picture *, int channels, int height, int width, cnn_kind kind);

/* Notes why the picture cannot be read, `mend` being a constant; 0. */
int  cnn_picture_fail(cnn_picture *, const char *mend, const char *format, ...) __attribute__((format(printf, 3, 4)));
void cnn_picture_free(cnn_picture *);

/* Room for a file in p->file. 1, or -1 with a cause. */
int  cnn_picture_file_room(cnn_picture *, size_t bytes);

/* For decoders: room for a picture of bytes whose size a file says. 1, 0 with a cause where it has more than 2^25 pixels
 * or a side above 65,535, or -1. */
int  cnn_picture_decoded(cnn_picture *, const char *path, int channels, size_t height, size_t width);

/* Puts row y, with the channels side by side, into the picture's planes. */
void cnn_picture_row(cnn_picture *, const uint8_t *row, size_t y);

/* A picture format. decode reads a whole file into the picture, as grey (1 channel) or as red, green, blue: 1, 0 with a
 * cause where the file is bad, -1 with a cause where memory is short. Several threads may decode at once. */
typedef struct cnn_decoder {
    const char *name;                           /* as in cnnc --with=NAME                                            */
    int       (*decode)(const char *path, const uint8_t *file, size_t length, cnn_picture *);
} cnn_decoder;

/* Reads a picture file with the one of `decoders` (NULL at the end, or NULL) that its first bytes call for. channels 1: a
 * colour picture becomes grey, as Pillow's convert("L") does. 1, 0 or -1 as above. */
int  cnn_picture_read(cnn_picture *, const char *path, const cnn_decoder *const *decoders, int channels);

/* ---- source.c: one split of a data set --------------------------------------------------------------------------- */

typedef struct cnn_source cnn_source;
typedef enum { CNN_TRAIN, CNN_VALIDATION, CNN_TEST } cnn_split;

/* What becomes of pictures that cannot be read. */
typedef enum { CNN_SKIP_NONE, CNN_SKIP_NAMED, CNN_SKIP_QUIETLY } cnn_skip;

/* What a trainer wants of a data set. */
typedef struct {
    int      input[4], classes;                 /* of the network: N x C x H x W                                     */
    uint64_t seed;                              /* of the synthetic noise, and of what is kept for validation        */
    double   validation;                        /* share of the train split that is kept for validation; 0: none     */
    const cnn_decoder *const *decoders;         /* what this program can decode, NULL at the end; NULL: nothing      */
    cnn_skip skip_bad;                          /* whether pictures that cannot be read are left out (dataset.c)     */
    int      unlabelled;                        /* pictures without labels will do                                   */
    const char *const *files;                   /* picture files and folders of them, in the place of a name;        */
    int      file_count;                        /* NULL: none                                                        */
    const cnn_names *names;                     /* of the classes, where weights know them; NULL: those of the data  */
    const cnn_augment *augment;                 /* how pictures are changed at random; NULL: they are not            */
    const cnn_normal *normal;                   /* how values are normalised; NULL: they are not                     */
    int      shorter;                           /* side that pictures get before their middle is cut out; 0: H or W  */
} cnn_wish;

/* Opens a split. `name` is
 *     "fashion-mnist", "mnist", "cifar10", "cifar100",    looked up in $CNN_DATA, ./data, ~/.cache/cnnc,
 *     "imagenet-folder"                                   /usr/share/datasets (source.c has the table)
 *     "synthetic"                                         built in (source_synthetic.c)
 *     a folder or file                                    recognised by what it holds (source_*.c)
 * Where unlabelled, also picture files, or a folder in which they lie (source_files.c), or an array x without y.
 * Pictures that cannot be shown to the network are refused: labels must be below `classes`, and channels must be the
 * network's or one. With a share for validation, CNN_TRAIN lacks the pictures that CNN_VALIDATION has; which these are
 * depends on the seed and on the number of pictures alone. NULL after cnn_error. The caller closes it.               */
cnn_source *cnn_source_open(const char *name, cnn_split split, const cnn_wish *wish);

size_t      cnn_source_size(const cnn_source *);                /* pictures; at least 1                               */
int32_t     cnn_source_label(const cnn_source *, size_t i);
const char *cnn_source_class(const cnn_source *, int label);    /* "ankle boot", or NULL; owned by the source         */
const char *cnn_source_text(const cnn_source *);                /* one line about it: "60000 pictures of 1x28x28 in
                                                                   /usr/share/datasets/fashion-mnist"; owned likewise */
/* Whether the data is of one piece: then all splits are the same pictures. */
int         cnn_source_whole(const cnn_source *);
int         cnn_source_has_validation(const cnn_source *);      /* the data has one, which is not its test split      */
int         cnn_source_labelled(const cnn_source *);            /* else every label is 0                              */
/* The file of picture i, in path; NULL where it has none of its own. */
const char *cnn_source_path(const cnn_source *, size_t i, char path[PATH_MAX]);

/* Reads picture i: 1; 0 where the picture is bad; -1 where memory is short; both with a cause in the picture, and
 * nothing printed. Several threads may read at once, each with a picture of its own.                                 */
int         cnn_source_read(const cnn_source *, size_t i, cnn_picture *);
void        cnn_source_close(cnn_source *);                     /* NULL is allowed                                    */

/* ---- resize.c: bilinear, bit for bit as Pillow 3.3 to 12 (and torchvision) --------------------------------------- */

/* A box of a picture is resized to all_height x all_width, of which the window at (top, left) is wanted. Sides of the
 * box and of the window are 1..65535, and the window lies in the whole. */
typedef struct {
    cnn_box box;
    long    all_height, all_width, top, left;
    int     height, width;
} cnn_view;

/* The view that keeps the proportions of an in_height x in_width picture: it is resized until it covers height x width
 * and the middle is cut out, as torchvision's Resize(shorter), CenterCrop((height, width)) with shorter >= the shorter
 * side of the two. Proportions that are equal already keep all of the picture. */
cnn_view cnn_view_cover(int in_height, int in_width, int height, int width, int shorter);

typedef struct cnn_resize cnn_resize;

/* NULL when memory is short (no message). */
cnn_resize *cnn_resize_new(const cnn_view *);
size_t      cnn_resize_scratch(const cnn_resize *);             /* bytes of scratch that the two below need; not 0    */

/* One channel, whose rows are `stride` pixels apart, to out[height][width]: byte / 255, or the numbers themselves. */
void cnn_resize_bytes(const cnn_resize *, const uint8_t *in, size_t stride, void *scratch, cnn_real *out);
void cnn_resize_values(const cnn_resize *, const float *in, size_t stride, void *scratch, cnn_real *out);
void cnn_resize_free(cnn_resize *);                             /* NULL is allowed                                    */

/* ---- dataset.c: pictures for one network ------------------------------------------------------------------------- */

typedef struct cnn_dataset cnn_dataset;

/* Opens a split as a source and prepares to show it: pictures keep their proportions and cover H x W (cnn_view_cover),
 * bytes become byte / 255, and one channel is repeated for a network of several. NULL after cnn_error. The caller closes
 * it.                                                                                                                */
cnn_dataset *cnn_dataset_open(const char *name, cnn_split split, const cnn_wish *wish);

size_t      cnn_dataset_size(const cnn_dataset *);
const char *cnn_dataset_class(const cnn_dataset *, int label);  /* a name, else the number as text; "?" past the last */
const char *cnn_dataset_name(const cnn_dataset *, int label);   /* a name, or NULL */
const char *cnn_dataset_text(const cnn_dataset *);
int         cnn_dataset_whole(const cnn_dataset *);             /* these as cnn_source_... */
int         cnn_dataset_has_validation(const cnn_dataset *);
int         cnn_dataset_labelled(const cnn_dataset *);
const char *cnn_dataset_path(const cnn_dataset *, size_t i, char path[PATH_MAX]);

/* What one thread reads with: zeroed at first, released by cnn_reader_free. */
typedef struct {
    cnn_picture        picture;
    cnn_changes        changes;                 /* of the picture read last                                          */
    cnn_view           view;                    /* of it that is shown, by these weights                             */
    cnn_resize        *resize;
    void              *scratch;
    size_t             room;                    /* of scratch, in bytes                                              */
    cnn_real          *plane;                   /* one channel on its way                                            */
} cnn_reader;
void cnn_reader_free(cnn_reader *);

/* Writes picture i into out, C x H x W, as wish->augment changes it in this epoch, and its label. 1, 0 or -1 as
 * cnn_source_read, with the cause in reader->picture; where wish->skip_bad, a bad picture is black, its label is -1, and
 * 1 is returned; CNN_SKIP_NAMED warns of it the first time. Several threads may read at once, each with its own reader. */
int  cnn_dataset_picture(cnn_dataset *, size_t i, uint32_t epoch, cnn_reader *reader, cnn_real *out, int32_t *label);

int cnn_dataset_left_out(const cnn_dataset *, size_t i);        /* whether picture i was found bad so far             */

void cnn_dataset_close(cnn_dataset *);                          /* NULL is allowed                                    */

/* ---- random.c, for the trainer (the rest is in cnn.h) ------------------------------------------------------------ */

/* Fills index[0..count) with a random permutation of 0..count-1 that depends on nothing but seed and epoch, so that a
 * resumed run needs no generator state (Fisher-Yates).                                                               */
void cnn_shuffle(size_t *index, size_t count, uint64_t seed, uint32_t epoch);

/* Ten rounds of Philox 4x32: four random words for each counter under a key. out may be counter.                    */
void cnn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* ---- idx.c: the format of MNIST, plain or gzip ------------------------------------------------------------------- */

typedef struct {
    int      rank, shape[4];    /* rank 1: labels; 3: count x rows x columns; 4: count x channels x rows x columns   */
    size_t   count;             /* bytes: the product of the shape                                                   */
    uint8_t *bytes;
} cnn_idx;

/* Reads a whole file of unsigned bytes whose rank is in [least, most] (most <= 4) and whose first size is `first`, or
 * any when first is -1. 1 with *out filled, to be released by cnn_idx_free, or 0 after cnn_error with *out zeroed.
 * A size must be 1 or more and the whole at most 4 GiB; a gzip that promises over 64 MiB and over 200 times its own
 * size is refused unread, so a hostile file costs memory in proportion to itself.                                    */
int  cnn_idx_read(const char *path, int least, int most, long first, cnn_idx *out);
void cnn_idx_free(cnn_idx *);

#endif
