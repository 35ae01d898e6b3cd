/* batchnorm.h - what the batch normalisation's files share: the forward passes and the gradients. */
#ifndef BATCHNORM_H
#define BATCHNORM_H

#include "kernels.h"

/* A channel's values lie in planes: one an image and block of channels for pictures, `rows` x `columns` pixels each;
 * one a block for flat tensors, where every image is a row of one pixel. */
typedef struct {
    bool    flat;
    int64_t channels, blocks;           /* blocks = ceil(channels / L)                          */
    int64_t images, rows, columns;      /* planes a block; their size                           */
} Planes;

Planes      planes_of(const Kernel *);

/* Binds what the templates of this family use: $C $M $others $eps $momentum, $partial (the two sums of a plane), and
 * the first pixels of vectors: $x $dy (of pixel i, j) and those of store_pixel: $n. */
void        let_planes(Emitter *, const Kernel *);

/* Opens the loop over groups of `schedule.blocks` blocks of channels, where there is more than one, and binds $first
 * and $last to a group's; returns the number of loops. */
int         loop_groups(Emitter *, const Kernel *);

/* Opens loops over a group's planes (n, cb) or its blocks (cb), shared among threads; returns their number. */
int         loop_planes(Emitter *, const Kernel *);
int         loop_blocks(Emitter *, const Kernel *);

/* Opens loops over a plane's pixels (i, j); returns their number. */
int         loop_pixels_of(Emitter *, const Kernel *);

/* Two vectors for each plane, N x blocks x 2 x L, as role "partial". */
void        add_partial(Program *, Kernel *);

/* Fills schedule.streams, and schedule.blocks: as many blocks as keep `tensors` inputs in cache between
 * the first and the second pass. */
void        plan_groups(Program *, Kernel *, int tensors);

#endif
