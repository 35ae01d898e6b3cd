/* elements.h - what kernels without a sum share: loops over the vectors of a tensor, and windows of pooling. */
#ifndef ELEMENTS_H
#define ELEMENTS_H

#include "kernels.h"

/* Schedule of kernels whose threads share whole planes: all pixels of L channels of one image. */
void        plan_planes(Program *, Kernel *);

/* Opens the two loops over the planes of operand `role`, n and cb, shared among threads; clears the plane's border. */
int         share_planes(Emitter *, const Kernel *, const char *role);
/* Those, and loops over the plane's pixels (i, j); rows have none. Close with end(e, returned). */
int         loop_vectors(Emitter *, const Kernel *, const char *role);
/* The current vector of loop_vectors in operand `role`: "X[n][cb][i][j]". */
const char *vector_of(Emitter *, const Kernel *, const char *role);
/* `value` with zeros in the lanes beyond the last channel of operand `role`, whatever the formula makes of 0. May write
 * a line. */
const char *without_spare(Emitter *, const Kernel *, const char *role, const char *value);

/* Windows from[d] .. to[d] - 1 of direction d lie in the picture altogether: they need no test. */
void        inner_windows(const Window *, int d, int64_t *from, int64_t *to);

/* Opens a loop over the columns j of windows that need no test, or over the others; false where there are none. The
 * one loop holds the taps r, s opened by loop_inner_taps, the other those of loop_taps. */
bool        loop_inner_columns(Emitter *, const Window *);
bool        loop_edge_columns(Emitter *, const Window *);
void        loop_inner_taps(Emitter *, const Window *);
void        end_inner_taps(Emitter *, const Window *);

/* The gradient of sliding windows: a pixel of dX is the sum of what the windows that hold it give. A family writes what
 * is the same for all windows of row i (SHARE_ROW), and how tap s of window $window of that row is added to $sum: where
 * all of the group's windows and pixels lie in the picture (SHARE_INNER), and where not (SHARE_EDGE). */
typedef enum { SHARE_ROW, SHARE_INNER, SHARE_EDGE } Share;
typedef void WriteShare(Emitter *, const Kernel *, const Window *, Share);
void        write_gradient(Emitter *, const Kernel *, const Window *, WriteShare *);

#endif
