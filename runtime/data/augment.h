/* augment.h - pictures changed at random while a network trains, so that it sees more than the data set holds.
 *
 * Two halves: cnn_augment_draw decides what happens to a picture in an epoch, and depends on nothing but the seed, the
 * epoch and the picture; the other functions do it, one each, and draw nothing. So the same pictures come out whoever
 * makes them, in whatever order and on however many threads, and after a resume.
 *
 * The order of the steps, as torchvision's users write them:
 *     box -> resized to H x W -> shift, flip -> brightness and contrast -> normalised (dataset.c) -> cutout -> mixup
 */
#ifndef CNN_AUGMENT_H
#define CNN_AUGMENT_H

#include "cnn.h"

typedef struct { int top, left, height, width; } cnn_box;       /* of pixels */

/* What may happen: all zero changes nothing. */
typedef struct {
    int    flip;                /* 1: half of the pictures are mirrored, left to right                                */
    long   crop;                /* black pixels put around a picture, of which a window of H x W is taken             */
    double least, most;         /* share of the picture's area in a box of random place and shape; most 0: off        */
    double brightness, contrast;/* factors are drawn from [max(0, 1 - x), 1 + x)                                      */
    long   cutout;              /* side of a square that is put to 0 in the normalised picture                        */
    double mixup;               /* alpha of Beta(alpha, alpha), a picture's share in a mixture of two                 */
} cnn_augment;

/* What happens to one picture. */
typedef struct {
    cnn_box box;                /* the part that is resized; the whole picture without a resized crop                 */
    int     flip, down, right;  /* pixel (y, x) is that at (y + down, x + right), after which rows are mirrored       */
    double  brightness, contrast;       /* factors; 1: untouched                                                      */
    int     contrast_first;
    cnn_box cut;                /* clipped to the picture; may be empty                                               */
    float   share;              /* of the picture in its mixture; 1: alone                                            */
} cnn_changes;

/* Draws for picture `picture`, which is size[0] x size[1] pixels and goes to a network of height x width. `a` may be
 * NULL: nothing changes. */
void cnn_augment_draw(const cnn_augment *a, uint64_t seed, uint32_t epoch, size_t picture, const int size[2],
                      int height, int width, cnn_changes *);

/* 1 when cnn_shift has nothing to do. */
int  cnn_stays(const cnn_changes *);

/* Shifts and mirrors one channel: in[height][width] to out[height][width], which do not overlap; 0 comes in from
 * outside. */
void cnn_shift(const cnn_changes *, int height, int width, const cnn_real *in, cnn_real *out);

/* Brightness and contrast of x[channels][pixels], values from 0 to 1, in place: as torchvision's adjust_brightness and
 * adjust_contrast on tensors; the mean grey of contrast is 0.2989 R + 0.587 G + 0.114 B for three channels, else the
 * mean of all. */
void cnn_colour(const cnn_changes *, int channels, size_t pixels, cnn_real *x);

/* Puts the cut of x[channels][height][width] to 0. */
void cnn_cut(const cnn_changes *, int channels, int height, int width, cnn_real *x);

/* a = share_a a + (1 - share_a) b and b = share_b b + (1 - share_b) a, both of the old values. */
void cnn_mix(cnn_real *a, cnn_real *b, size_t count, float share_a, float share_b);

#endif
