/* layout.h - how a tensor lies in memory.
 *
 * Textbook code keeps every tensor as PyTorch does. Fast code puts L neighbouring channels (L: floats in a vector of
 * the target) side by side, so that one vector holds one pixel of L channels, and surrounds pictures with a physical
 * border of zeros, so that a convolution needs no tests at the edges:
 *
 *   LAYOUT_PLAIN     any sizes               as they are: N x C x H x W, N x C, K x C x R x S
 *   LAYOUT_BLOCKED   N x C x H x W       ->  N x ceil(C/L) x (top + H + bottom) x (left + W + right) x L
 *   LAYOUT_ROWS      C or N x C          ->  ceil(C/L)*L or N x ceil(C/L)*L
 *   LAYOUT_FILTERS   K x C x R x S       ->  ceil(K/L) x ceil(C/l) x R x S x l x L,  l = min(C, L): input channels
 * inside
 *
 * Lanes beyond the last channel and borders hold zeros: whoever writes a tensor writes these too, and whoever reads it
 * may rely on them. Nothing of this is visible outside: NAME_get and NAME_set speak PyTorch's layout.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { LAYOUT_PLAIN, LAYOUT_BLOCKED, LAYOUT_ROWS, LAYOUT_FILTERS } LayoutKind;

/* Border of a picture, in pixels. */
typedef struct { int64_t top, bottom, left, right; } Border;

typedef struct {
    LayoutKind kind;
    int        lanes;           /* L                                                            */
    Border     border;          /* LAYOUT_BLOCKED                                               */
    bool       fixed;           /* settled by who made it: layout.c leaves it alone             */
} Layout;

enum { MAX_PHYSICAL_RANK = 6 };

struct Tensor;
struct Program;
struct Kernel;
struct Target;

/* The sizes of the C array that holds it; returns their number. A view of some channels has its storage's sizes. */
int     physical_dims(const struct Tensor *, int64_t dims[MAX_PHYSICAL_RANK]);
int64_t physical_count(const struct Tensor *);          /* elements, zeros included                              */
int64_t slice_offset(const struct Tensor *);            /* of a view of some channels: elements before its first */
int64_t slice_count(const struct Tensor *);             /* and its elements of one picture; of others all        */

/* How a parameter (given by its sizes) lies in memory for a target; NULL: plain, -O0. Returns as physical_dims. */
Layout  parameter_layout(int rank, const struct Target *);
int     laid_dims(int rank, const int64_t *dims, Layout, int64_t physical[MAX_PHYSICAL_RANK]);

/* Does the kernel want zeros around a picture that may share memory with a row, once kernels are joined? */
bool    wants_impossible_border(const struct Program *, const struct Kernel *);

struct Parameter;
int64_t parameter_count(const struct Parameter *, const struct Target *);      /* elements in memory             */

/* Requires: kernels chosen by schedule.c and joined by fuse.c. Establishes: a layout for every tensor, wide enough
 * borders, and conversion kernels where a textbook kernel meets blocked tensors. */
void    choose_layouts(struct Program *);

/* Its parts: what layout.c and conversions.c share. */
const struct Tensor *laid_as(const struct Tensor *);    /* whose layout it has: of a view of pictures the storage */
LayoutKind usual_layout(const struct Tensor *);         /* which fast kernels give it; of parameters in every program */
void    widen_border(Border *, Border need);
void    insert_conversions(struct Program *);
void    keep_layers(struct Program *);                  /* prediction: plain copies of layers' outputs, which last    */

#endif
