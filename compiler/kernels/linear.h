/* linear.h - matrix products of fully connected layers, in register tiles (linear_tiles.c): what the forward pass
 * (linear.c) and the gradients (linear_grad.c) share.
 *
 * Each is sum += scalar * vector with the scalar broadcast from memory, in register tiles of rows x vectors (Goto and
 * van de Geijn 2008, "Anatomy of high-performance matrix multiplication", section 5).
 */
#ifndef LINEAR_H
#define LINEAR_H

#include "kernels.h"

/* N images, C inputs in CB vectors, K outputs in KB vectors, L lanes. */
typedef struct { int64_t N, C, CB, K, KB; int L; } Linear;

enum {
    LINEAR_ITEMS = 16,                  /* pieces of work that a kernel is cut into, where it is large enough         */
    LINEAR_CACHED = 256 << 10,          /* bytes of a block that shall stay in the second cache                       */
    LINEAR_SUMS = 128 << 10,            /* bytes of partial sums on the stack                                         */
};

Linear      linear_of(const Kernel *, int lanes);
/* The same in the lanes of the operand of this role, as $C, $CB, $K and $KB. */
Linear      let_linear(Emitter *, const Kernel *, const char *role);
/* Weights so large that they come from memory at each pass. */
bool        linear_is_huge(const Linear *);
/* How to load a vector of this operand: the caller's pictures lie at any address. */
const char *linear_load(const Kernel *, const char *role);

/* Binds $first and $last (names given) to the bounds of chunk number `index` of `count` things, `size` a chunk. */
void        let_chunk(Emitter *, const char *first, const char *last, const char *index, int64_t size, int64_t count);
/* "256" -> "256", "last" -> "last / 8 * 8": where whole tiles of 8 end. */
const char *whole_tiles(Emitter *, const char *to, int64_t step);

/* One direction of a product: `name` runs over from..to of `count`, in steps of `step`. `now`: of the tile at hand. */
typedef struct { const char *name, *from, *to; int64_t count, step, now; } ProductAxis;

/* acc[row][vector] = scalar[row] * vector[vector], added up over `index` = begin..stop. In the templates t is the row
 * and v the vector of the tile. `sum`: where it is added; NULL: it is complete and stored as `role`. */
typedef struct Product {
    ProductAxis rows, vectors;
    bool        rows_outside;
    bool        from_memory;    /* the vectors: those of the next tile are asked for while this one is computed       */
    bool        to_memory;      /* what is stored is not seen again before it has left the caches                     */
    bool        first;          /* nothing in `sum` yet: it is set                                                    */
    const char *scalar, *vector, *load, *sum;
    const char *index, *begin, *stop;
    const char *role, *store_row, *store_block;
    /* Statements in the loop over `index`, and behind the tiles of one step of the outer axis; NULL: none. */
    void      (*meanwhile)(Emitter *, const struct Product *), (*after)(Emitter *, const struct Product *);
} Product;

/* Covers rows x vectors (axes 2; 1: only the rows, `vectors.now` at a time) with tiles: whole ones, then a smaller one
 * for what is left at the end of an axis. A chunk begins and ends at whole tiles, but for the last one, so that the
 * second loop runs only there. */
void        emit_products(Emitter *, const Kernel *, Product *, int axes);
/* Rows and vectors of a tile, kept in schedule.pixels and schedule.blocks. */
void        choose_linear_tile(Schedule *, const Target *, int64_t rows, int64_t vectors);

#endif
