/* data.h - pictures for a trainer: data sets, what they are read with, and the order they are shown in.
 *
 * Functions that can fail say so after one cnn_error (error.h) by returning NULL or 0; nothing exits.
 */
#ifndef CNN_DATA_H
#define CNN_DATA_H

#include "cnn.h"

/* ---- dataset.c: one split (train or test) of a data set, as batches for one network ------------------------------ */

typedef struct cnn_dataset cnn_dataset;

/* Opens a split. `name` is
 *     "fashion-mnist" or "mnist"  looked up in $CNN_DATA, ./data, ~/.cache/cnnc, /usr/share/datasets
 *     "synthetic"                 built in: each class a fixed smooth pattern, a picture is that and noise from `seed`;
 *                                 2,048 train and 512 test pictures (or one batch where that is more)
 *     a folder                    of IDX files: {train,t10k}-{images-idx3,labels-idx1}-ubyte, each plain or .gz;
 *                                 pictures count x rows x columns or count x channels x rows x columns
 * `train` is 1 for the train split, 0 for the test split. `input` is the network's NCHW input: pictures are resized to
 * H x W (resize.c), and one channel is repeated for a network of several. Labels must be below `classes`.
 * `seed` matters for "synthetic" alone, where it sets the noise: the patterns are the same for every seed.
 * NULL after cnn_error. The caller closes it. Batches use at most the threads OpenMP allows at this moment.          */
cnn_dataset *cnn_dataset_open(const char *name, int train, const int input[4], int classes, uint64_t seed);

size_t      cnn_dataset_size(const cnn_dataset *);              /* pictures; at least 1                               */
const char *cnn_dataset_class(const cnn_dataset *, int label);  /* "ankle boot" or "7"; owned by the data set         */
const char *cnn_dataset_text(const cnn_dataset *);              /* one line about it: "60000 pictures of 1x28x28 in
                                                                   /usr/share/datasets/fashion-mnist"; owned likewise */

/* Writes pictures index[0..count) into x, count x C x H x W with values in [0, 1] (a byte / 255, no normalisation), and
 * their labels. Every index is below the size. `labels` may be NULL. Cannot fail; the values do not depend on the
 * number of threads. One call at a time for one data set. */
void cnn_dataset_batch(const cnn_dataset *, const size_t *index, int count, cnn_real *x, int32_t *labels);

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

/* ---- resize.c: bilinear, bit for bit as Pillow 3.3 to 12 (and torchvision) --------------------------------------- */

typedef struct cnn_resize cnn_resize;

/* Weights from in_height x in_width to out_height x out_width, all 1..65535. NULL when memory is short (no message). */
cnn_resize *cnn_resize_new(int in_height, int in_width, int out_height, int out_width);
size_t      cnn_resize_scratch(const cnn_resize *);             /* bytes that a caller of cnn_resize_plane brings     */

/* One channel of one picture, in[in_height][in_width], to out[out_height][out_width] with values byte / 255.        */
void cnn_resize_plane(const cnn_resize *, const uint8_t *in, uint8_t *scratch, cnn_real *out);
void cnn_resize_free(cnn_resize *);                             /* NULL is allowed                                    */

#endif
