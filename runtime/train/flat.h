/* flat.h - arithmetic on a network's flat arrays (NAME_flat): what clipping, accumulation and averaging are made of.
 *
 * The tensors that are trained are cut into pieces of a fixed size; threads share the pieces, and what is summed is
 * summed by piece and then in the order of the pieces, so that the number of threads does not matter. Elements of the
 * arrays outside these tensors are left alone.
 */
#ifndef CNN_FLAT_H
#define CNN_FLAT_H

#include "trainer.h"

typedef struct { size_t first, count; } cnn_piece;
typedef struct { cnn_piece *items; double *sums; int count; } cnn_pieces;

/* The pieces of trainable tensors i but those of frozen[i]. 1, or 0 when memory is short. */
int  cnn_pieces_open(cnn_pieces *, const cnn_network *, const int *frozen);
void cnn_pieces_close(cnn_pieces *);

double cnn_flat_norm(const cnn_pieces *, const cnn_real *x);                            /* sqrt(sum x^2)            */
int    cnn_flat_finite(const cnn_pieces *, const cnn_real *x, int first, int count);    /* whether those pieces are */
void   cnn_flat_scale(const cnn_pieces *, cnn_real *x, cnn_real factor);                /* x *= factor              */
void   cnn_flat_add(const cnn_pieces *, cnn_real *sum, const cnn_real *x);              /* sum += x                 */
/* mean += share * (x - mean) */
void   cnn_flat_approach(const cnn_pieces *, cnn_real *mean, const cnn_real *x, cnn_real share);
void   cnn_flat_copy(const cnn_pieces *, cnn_real *to, const cnn_real *from);
void   cnn_flat_exchange(const cnn_pieces *, cnn_real *a, cnn_real *b);

#endif
