/* few_channels.h - what the families with pictures in the lanes share: few_channels.c, few_grad_weight.c. */
#ifndef FEW_CHANNELS_H
#define FEW_CHANNELS_H

#include "kernels.h"

/* Pictures n ... n + L - 1 of the operand `role`, in an array of vectors with a picture in each lane:
 * array[row][channel][column + shift]. */
typedef struct {
    const char *role, *array, *row, *column;
    int64_t     rows, channels, columns, shift;
} Lanes;

/* Writes the copy: of the caller's pictures, or of blocked ones. */
void write_into_lanes(Emitter *, const Kernel *, const Lanes *, int lanes);

/* Of how many blocks of L x L elements it consists. */
int64_t count_transposes(const Kernel *, const char *role, int64_t channels, int64_t pixels, int lanes);

/* The layout that these families want of an operand. */
LayoutKind few_layout(const Kernel *, const Operand *);

enum {
    FEW_TASKS = 4,                      /* groups of L pictures, at least: for threads to share                      */
    TRANSPOSE_CYCLES = 90,              /* of L x L elements, with their loads and stores                            */
};

#endif
