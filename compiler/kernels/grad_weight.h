/* grad_weight.h - direct weight gradient of a convolution on blocked pictures: its plan (grad_weight_plan.c) and its
 * code (grad_weight.c).
 *
 *   dW[k,c,r,s] = sum_{n,i,j} dY[n,k,i,j] * X[n,c,ih,iw]
 *
 * Lanes are output channels: each product is a vector of dY times one element of X, and no operand is transposed
 * (Georganas et al. 2018, "Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures", on the weight
 * update). From the registers outwards:
 * - a register tile holds the sums of some vectors of filters x some taps x some input channels;
 * - a block of pixels, some rows of a picture or some small pictures, is added up in registers before they are stored.
 *   It stays in the first cache while all tiles pass over it, and the next one is fetched meanwhile;
 * - a task owns a rectangle of dW, filters x input channels, large enough that X and dY are not read too often;
 * - where there are few tasks the pixels are split into chunks too, each with sums of its own, added in order at the
 *   end.
 * All of it follows from the shape alone, so that results do not depend on the number of threads.
 */
#ifndef GRAD_WEIGHT_H
#define GRAD_WEIGHT_H

#include "kernels.h"

/* Any number of threads shares a multiple of the one, or more than the other; for the bias too (grad_bias.c). */
enum { EVEN_TASKS = 16, MANY_TASKS = 48 };

typedef struct {
    Window  w;
    int64_t batch, groups;
    int64_t filters, channels;          /* blocks of output and of input channels in a group                          */
    int64_t inner;                      /* input channels in a block of dW                                            */
    int     lanes;
} GradWeight;

/* Sums in registers: vectors of filters x taps (rows x columns of the kernel, all or one of each) x input channels. */
typedef struct { int64_t blocks, rows, columns, channels; } GradWeightTile;

typedef struct {
    GradWeightTile tile;
    int64_t blocks, channels;           /* of a task: blocks of filters and of input channels                         */
    int64_t rows, images;               /* of a block of pixels: output rows of one picture, or all of some pictures  */
    int64_t row_blocks, pixel_blocks;   /* blocks of pixels in a picture; in the batch                                */
    int64_t chunks;
} GradWeightPlan;

GradWeight grad_weight_of(const Kernel *, int lanes);
/* Fills kernel->schedule, with a GradWeightPlan as schedule.more. */
void       plan_grad_weight(Program *, Kernel *);

#endif
