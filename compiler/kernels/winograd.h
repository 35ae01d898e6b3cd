/* winograd.h - what the Winograd families share: F(4x4, 3x3) and F(2x2, 5x5), Lavin and Gray 2016 (arXiv 1509.09308).
 *
 * A 3x3 filter g slides over a 6x6 tile d of the picture and gives 4x4 outputs; a 5x5 filter gives 2x2. With the
 * matrices A, B, G of the six points 0, 1, -1, 1/2, -2 and infinity (prelude_winograd.c):
 *
 *     Y  = A' [ sum_c     (G g G') * (B' d B)  ] A       * is element by element: 36 products a tile where the
 *     dW = G' [ sum_tiles (B' d B) * (A dY A') ] G         definition has 144 (3x3) or 100 (5x5)
 *
 * B depends on the points alone, so both share it. Row i of G is [1, p_i, p_i^2, ...] times a factor, column i of A' is
 * [1, p_i, ...]: three or five powers in G, four or two in A'.
 *
 * The 36 elements never meet between the transforms: they are 36 matrix products over channels. In generated code:
 *     U[36] = G g G'   filters        V[36] = B' d B   tiles of the picture
 *     Z[36] = U V      products        D[36] = A dY A'  tiles of the output's gradient
 */
#ifndef WINOGRAD_H
#define WINOGRAD_H

#include "kernels.h"

/* A convolution's pass as sums over tiles. Channels are counted in blocks of L. */
typedef struct {
    int64_t batch, height, width;       /* of the picture that tiles cover: Y, or dX in the data gradient             */
    int64_t down, across, tiles;        /* tiles in a column, in a row, in the whole batch                            */
    int64_t before[2];                  /* zeros above and left of the picture that is cut into 6x6 tiles             */
    int64_t in, out;                    /* blocks of channels of the picture that is cut, and of the other one        */
    int     lanes;                      /* L                                                                          */
    int     side, taps;                 /* of a tile of outputs and of a filter: 4 and 3, or 2 and 5                  */
    bool    ragged;                     /* the last block of tiles has fewer: set by winograd_names                   */
} Winograd;

/* Does the algorithm apply, and save enough? `backward`: the data gradient, where dY is cut and dX comes out. */
bool     winograd_fits(const Kernel *, const Target *, bool backward);
Winograd winograd_of(const Layer *, int lanes, bool backward);

/* Zeros that whole tiles need: around the picture that is cut, 6x6 every `side`; behind dY. */
Border   winograd_border(const Layer *, bool backward);
Border   winograd_border_gradient(const Layer *);

int      winograd_group(int64_t blocks, int registers);         /* vectors of a register tile: divides the blocks     */
int64_t  winograd_block(int64_t tiles, int64_t most, int64_t step);     /* tiles a block of an even split, <= most    */

/* winograd_parts.c: the phases, functions that all kernels of a file share; each returns
 * the function's name. Parameters:
 *   cut, spread         (p, row, V, plane)     one tile of a picture whose rows are `row` reals long -> V, D
 *   join                (Z, plane, y)          one tile -> vec y[side][side]
 *   filters             (W, U, plane, row)     L x L filters; `turned`: for the data gradient
 *   gather              (S, plane, row, dW)    L x L filters
 *   products            (U, u_plane, V, v_plane, Z, z_plane, tiles, in, more)     register tile: width tiles x group
 *   sums                (V, v_plane, D, d_plane, S, s_plane, tiles, in, more)     register tile: channels x group */
const char *cut_part(Emitter *);
const char *spread_part(Emitter *, int side);
const char *join_part(Emitter *, int side);
const char *filters_part(Emitter *, int taps, bool turned);
const char *gather_part(Emitter *, const Kernel *, int taps);
const char *products_part(Emitter *, int width, int group);
const char *sums_part(Emitter *, int channels, int lanes, int group);

/* Emitters for a block of tiles. */
/* Binds $block, $tiles, $tile and more; `looped`: the block begins at tile `first`, not at 0. */
void     winograd_names(Emitter *, Winograd *, int64_t block, bool looped);
void     tile_place(Emitter *, const Winograd *);               /* n, i, j: first output pixel of tile t of the block */
const char *shifted(Emitter *, const char *index, int64_t by);  /* "i + r" and 2 -> "i + r - 2"                       */
int64_t  picture_row(const Kernel *, const char *role);          /* reals from a pixel to the one below               */
void     cut_tile(Emitter *, const Kernel *, const Winograd *, const char *role);       /* V[..][cb * $block + t]     */

#endif
