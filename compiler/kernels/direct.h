/* direct.h - direct convolution: the loops that the forward pass and the data gradient share (direct_loops.c). */
#ifndef DIRECT_H
#define DIRECT_H

#include "kernels.h"

/* One direction of a picture, index 0 height and 1 width. The i-th of `count` output pixels is pixel
 * i * out_step + out_first; its t-th tap of `taps` multiplies input pixel i * step + t * tap_step + first by the tap
 * t * filter_step + filter_first of the filter. */
typedef struct {
    int64_t count, out_step, out_first;
    int64_t step, tap_step, first;
    int64_t taps, filter_step, filter_first;
} Axis;

/* A part of the output whose pixels all have the same taps: everything in a forward pass. */
typedef struct { Axis axis[2]; } Part;

/* The pixels of a register tile: side by side, in one row or in several whole rows. */
typedef struct { int64_t rows, columns; } Tile;

/* What threads share: images (and groups of channels); channels, each with all images; or rows as well. */
typedef enum { SHARE_IMAGES, SHARE_CHANNELS, SHARE_ROWS } Share;

enum { MAX_DIRECT_STRIDE = 4, MAX_PARTS = MAX_DIRECT_STRIDE * MAX_DIRECT_STRIDE };

/* The names of one kernel's operands and loops. */
typedef struct {
    const char *in, *filters, *out;     /* roles                                                */
    const char *start;                  /* role of the row that sums start from; NULL: zero     */
    const char *out_block, *in_block, *in_lane;         /* loop variables: kb, cb, c            */
    const char *row, *column;           /* of the output: i, j                                  */
    const char *sum, *factor;           /* variables: y0, y1, ... and x                         */
    const char *channels;               /* what lies in the lanes: "output channels"            */
    bool        merged_taps;            /* filters[..][r * S + s][..] instead of [r][s]         */
} DirectNames;

/* out[n, block, pixel] = start + sum over input channels and taps of filters[block, channel, tap] * in[n, channel]. */
typedef struct {
    const DirectNames *names;
    int     lanes;
    int64_t batch, groups;
    int64_t out_blocks, in_blocks;      /* vectors of channels, of a group                      */
    int64_t in_channels;                /* of a group                                           */
    int64_t filter_width;               /* S, for merged taps                                   */
    int64_t in_bytes;                   /* of one image in float, as far as it is read          */
    Share   share;                      /* plan_direct                                          */
    int     parts;
    Part    part[MAX_PARTS];
} Direct;

/* ---- direct_plan.c ----------------------------------------------------------------------------------------------- */

/* Can the channels be blocked: one group, or groups of whole vectors; and is the border not many times the picture? */
bool    direct_fits(const Kernel *, const Target *);
/* Does a batch give enough independent planes for many threads, or do rows have to be shared out too? */
bool    direct_has_planes(const Direct *);
/* Fills kernel->schedule; the Direct is copied to schedule.more. */
void    plan_direct(Program *, Kernel *, const Direct *, bool shares_rows);
/* Zeros that the input needs around it: how far the taps reach beyond its height x width pixels. */
Border  direct_border(const Direct *, int64_t height, int64_t width);

/* The best tile of at most `pixels` for `blocks` vectors of output channels. */
Tile    direct_tile(const Part *, int64_t pixels, int blocks);
int64_t direct_rows(const Direct *);                    /* of the part that has the most                        */
bool    is_empty(const Part *);                         /* no tap reaches its pixels                            */
/* Do the first part's tiles store this one's pixels too, to which no tap belongs and which lie beside theirs? */
bool    is_stored_along(const Direct *, const Part *);

/* ---- direct_tile.c ----------------------------------------------------------------------------------------------- */

/* Where a tile lies: `tile` pixels from pixel i, j of a part, and `blocks` vectors of channels from `block`. */
typedef struct {
    const Kernel *kernel;
    const Direct *d;
    const Part   *part;
    Tile          tile;
    int           blocks;
    const char   *block, *i, *j;
} DirectPlace;

void        emit_direct_tile(Emitter *, const DirectPlace *);
const char *direct_block(Emitter *, const char *block, int v);          /* "kb" and 1 -> "kb + 1"               */

/* ---- direct_loops.c ---------------------------------------------------------------------------------------------- */

void    emit_direct(Emitter *, const Kernel *);         /* requires plan_direct                                 */

#endif
