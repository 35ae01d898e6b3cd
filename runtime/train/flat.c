/* flat.c - see flat.h. */
#include "flat.h"

#include <math.h>
#include <stdlib.h>

enum { PIECE = 1 << 14 };       /* elements: enough for a thread to be worth its while, and 64 KiB in a cache */

/* ---- the pieces -------------------------------------------------------------------------------------------------- */

/* Cuts every trained tensor into pieces; writes them to items unless it is NULL. How many. */
static size_t cut(const cnn_network *network, const int *frozen, cnn_piece *items)
{
    size_t pieces = 0;
    for (int i = 0; i < network->tensors(); i++) {
        size_t first, count;
        if (!network->tensor(i).trainable || frozen[i])
            continue;
        network->span(i, &first, &count);
        for (size_t at = 0; at < count; at += PIECE, pieces++)
            if (items)
                items[pieces] = (cnn_piece){first + at, count - at < PIECE ? count - at : PIECE};
    }
    return pieces;
}

int cnn_pieces_open(cnn_pieces *p, const cnn_network *network, const int *frozen)
{
    size_t count = cut(network, frozen, NULL);
    p->items = malloc((count + 1) * sizeof *p->items);
    p->sums = malloc((count + 1) * sizeof *p->sums);
    p->count = p->items ? (int)cut(network, frozen, p->items) : 0;
    return p->items && p->sums;
}

void cnn_pieces_close(cnn_pieces *p)
{
    free(p->items);
    free(p->sums);
    *p = (cnn_pieces){0};
}

/* ---- arithmetic -------------------------------------------------------------------------------------------------- */

double cnn_flat_norm(const cnn_pieces *p, const cnn_real *x)
{
    #pragma omp parallel for schedule(static)
    for (int i = 0; i < p->count; i++) {
        const cnn_real *v = x + p->items[i].first;
        double sum = 0;
        for (size_t k = 0; k < p->items[i].count; k++)
            sum += (double)v[k] * (double)v[k];
        p->sums[i] = sum;
    }
    double sum = 0;
    for (int i = 0; i < p->count; i++)
        sum += p->sums[i];
    return sqrt(sum);
}

static int is_finite(const cnn_real *x, size_t count)
{
    int bad = 0;
    #pragma omp simd reduction(| : bad)
    for (size_t k = 0; k < count; k++)
        bad |= !isfinite(x[k]);
    return !bad;
}

int cnn_flat_finite(const cnn_pieces *p, const cnn_real *x, int first, int count)
{
    enum { ALONE = 16 };        /* so few pieces are looked at before other threads are awake */
    int bad = 0;
    #pragma omp parallel for schedule(static) reduction(| : bad) if (count > ALONE)
    for (int i = first; i < first + count; i++)
        bad |= !is_finite(x + p->items[i].first, p->items[i].count);
    return !bad;
}

/* for each element k of the pieces: STATEMENT, shared among the threads */
#define FOR_EACH(p, k, STATEMENT)                                                                                      \
    _Pragma("omp parallel for schedule(static)")                                                                       \
    for (int i = 0; i < (p)->count; i++)                                                                               \
        for (size_t k = (p)->items[i].first; k < (p)->items[i].first + (p)->items[i].count; k++)                       \
            STATEMENT

void cnn_flat_scale(const cnn_pieces *p, cnn_real *x, cnn_real factor)
{
    FOR_EACH(p, k, x[k] *= factor);
}

void cnn_flat_add(const cnn_pieces *p, cnn_real *sum, const cnn_real *x)
{
    FOR_EACH(p, k, sum[k] += x[k]);
}

void cnn_flat_approach(const cnn_pieces *p, cnn_real *mean, const cnn_real *x, cnn_real share)
{
    FOR_EACH(p, k, mean[k] += share * (x[k] - mean[k]));
}

void cnn_flat_copy(const cnn_pieces *p, cnn_real *to, const cnn_real *from)
{
    FOR_EACH(p, k, to[k] = from[k]);
}

void cnn_flat_exchange(const cnn_pieces *p, cnn_real *a, cnn_real *b)
{
    FOR_EACH(p, k, { cnn_real kept = a[k]; a[k] = b[k]; b[k] = kept; });
}
