/* ranks.c - data parallelism over a transport: buckets of gradients, agreement, equal weights (ranks.h).
 *
 * A bucket is a range of the network's flat gradients, summed where it lies. Backward kernels complete gradients from
 * the last layer to the first and the flat order is the first to the last, so buckets are cut from the end. Bucket i
 * may go when the kernel that completes the last of its trained tensors is done, and never where it has none; buckets are
 * started in one order, the same in all ranks, as the transport needs it. A rank whose loss is not finite computes no gradients and sends what it
 * has: the trainer, which sums the loss as well, then stops in all ranks.
 */
#include "ranks.h"
#include "commands/output.h"
#include "error.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct { size_t first, count; int ready; } Bucket;      /* ready: the last kernel that writes into it        */

struct cnn_ranks {
    const cnn_network   *network;
    const cnn_transport *transport;
    void                *net;
    int                  own, count;
    Bucket              *buckets;
    int                  bucket_count, started;                 /* started: of this step's buckets, the first so many */
    cnn_watch            watch;
    const cnn_watch     *also;
    cnn_exchange         exchange;
    double               waited;
};

int cnn_ranks_count(const cnn_ranks *r)
{
    return r ? r->count : 1;
}

int cnn_ranks_own(const cnn_ranks *r)
{
    return r ? r->own : 0;
}

double cnn_ranks_waited(const cnn_ranks *r)
{
    return r ? r->waited : 0;
}

void cnn_ranks_sum(cnn_ranks *r, double *values, int count)
{
    if (r)
        r->transport->sum(values, count);
}

/* ---- buckets ----------------------------------------------------------------------------------------------------- */

/* The kernel that completes tensor i's gradient; -1: none does. */
static int completed_by(const cnn_facts *facts, int i)
{
    int last = -1;
    for (int k = 0; k < facts->gradients_count; k++)
        for (int g = 0; g < 4 && facts->gradients[k].gradient[g] >= 0; g++)
            if (facts->gradients[k].gradient[g] == i)
                last = k;
    return last;
}

/* Leaves out the buckets that no trained tensor lies in: those that no kernel completes. */
static void drop_idle(cnn_ranks *r)
{
    int kept = 0;

    for (int i = 0; i < r->bucket_count; i++)
        if (r->buckets[i].ready >= 0)
            r->buckets[kept++] = r->buckets[i];
    r->bucket_count = kept;
}

static int make_buckets(cnn_ranks *r, const int *frozen, double bytes)
{
    const size_t size = bytes < sizeof(cnn_real) ? 1 : (size_t)(bytes / sizeof(cnn_real));
    size_t       total, left;

    r->network->flat(r->net, CNN_GRADIENTS, &total);
    r->bucket_count = (int)((total + size - 1) / size);
    r->buckets = calloc((size_t)r->bucket_count + 1, sizeof *r->buckets);
    if (r->buckets == NULL)
        return cnn_error("there is not enough memory"), 0;
    left = total;
    for (Bucket *b = r->buckets; left > 0; b++) {
        b->count = left < size ? left : size;
        b->first = left -= b->count;
        b->ready = -1;
    }
    for (int i = 0; i < r->network->tensors(); i++) {
        size_t first, count;
        int    kernel = frozen && frozen[i] ? -1 : completed_by(r->network->facts, i);

        r->network->span(i, &first, &count);
        for (Bucket *b = r->buckets; b < r->buckets + r->bucket_count; b++)
            if (first < b->first + b->count && b->first < first + count && b->ready < kernel)
                b->ready = kernel;
    }
    drop_idle(r);
    return 1;
}

static void start_next(cnn_ranks *r)
{
    size_t        total;
    const Bucket *b = &r->buckets[r->started++];

    r->transport->start(r->network->flat(r->net, CNN_GRADIENTS, &total) + b->first, b->count);
}

/* Watches the step: kernels before `kernel` are done, and so is it. */
static void after_kernel(void *context, int kernel)
{
    cnn_ranks *r = context;

    while (r->started < r->bucket_count && r->buckets[r->started].ready <= kernel &&
           r->network->facts->gradients[kernel].pass == CNN_BACKWARD)
        start_next(r);
    if (r->started > 0)
        r->transport->progress();
    if (r->also)
        r->also->after(r->also->context, kernel);
}

void cnn_ranks_also(cnn_ranks *r, const cnn_watch *watch)
{
    if (r)
        r->also = watch;
}

void cnn_ranks_overlap(cnn_ranks *r)
{
    if (r)
        r->network->watch(r->net, &r->watch);
}

void cnn_ranks_reduce(cnn_ranks *r)
{
    if (r == NULL)
        return;
    const double begin = cnn_seconds();
    r->network->watch(r->net, NULL);
    while (r->started < r->bucket_count)
        start_next(r);
    r->transport->finish();
    r->started = 0;

    size_t         count;
    cnn_real      *gradients = r->network->flat(r->net, CNN_GRADIENTS, &count);
    const cnn_real share = (cnn_real)1 / (cnn_real)r->count;
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < count; i++)
        gradients[i] *= share;
    r->waited += cnn_seconds() - begin;
}

/* ---- batch norms over all ranks ---------------------------------------------------------------------------------- */

enum { CHANNELS = 2048 };       /* that are exchanged at a time */

/* Each rank's mean m and squares about it s over M values have sums of values M m and of squares s + M m^2. Sums are
 * taken in double precision, so that subtracting the square of the mean again leaves what a float can hold. */
static void merge_statistics(void *context, cnn_real *mean, cnn_real *squares, int count, double members)
{
    cnn_ranks *r = context;
    double     sums[2 * CHANNELS];

    for (int from = 0; from < count; from += CHANNELS) {
        const int now = count - from < CHANNELS ? count - from : CHANNELS;

        for (int c = 0; c < now; c++) {
            const double m = (double)mean[from + c];

            sums[c] = m;
            sums[now + c] = (double)squares[from + c] + members * m * m;
        }
        r->transport->sum(sums, 2 * now);
        for (int c = 0; c < now; c++) {
            const double m = sums[c] / r->count, s = sums[now + c] - members * r->count * m * m;

            mean[from + c] = (cnn_real)m;
            squares[from + c] = (cnn_real)(s > 0 ? s : s < 0 ? 0 : s);          /* NaN stays */
        }
    }
}

static void sum_reals(void *context, cnn_real *values, int count)
{
    cnn_ranks *r = context;
    double     sums[CHANNELS];

    for (int from = 0; from < count; from += CHANNELS) {
        const int now = count - from < CHANNELS ? count - from : CHANNELS;

        for (int c = 0; c < now; c++)
            sums[c] = (double)values[from + c];
        r->transport->sum(sums, now);
        for (int c = 0; c < now; c++)
            values[from + c] = (cnn_real)sums[c];
    }
}

/* ---- agreement --------------------------------------------------------------------------------------------------- */

int cnn_ranks_agree(cnn_ranks *r, int good)
{
    double failed = !good;
    char   who[32];

    if (r == NULL)
        return good;
    r->transport->sum(&failed, 1);
    for (int i = 0; i < r->count && failed > 0; i++) {
        double it = i == r->own && !good;

        r->transport->sum(&it, 1);
        if (it > 0 && i == r->own && i > 0) {
            snprintf(who, sizeof who, "rank %d: ", i);
            cnn_error_print_kept(who);
        }
        if (it > 0)
            break;
    }
    cnn_error_drop_kept();
    return failed == 0;
}

static void share_flat(cnn_ranks *r, cnn_part part)
{
    size_t    count;
    cnn_real *values = r->network->flat(r->net, part, &count);

    r->transport->copy(values, count * sizeof *values);
}

void cnn_ranks_share(cnn_ranks *r, int moments)
{
    if (r == NULL)
        return;
    share_flat(r, CNN_VALUES);
    if (moments >= 1)
        share_flat(r, CNN_FIRST);
    if (moments >= 2)
        share_flat(r, CNN_SECOND);
}

void cnn_ranks_share_buffers(cnn_ranks *r)
{
    size_t total;

    for (int i = 0; r && i < r->network->tensors(); i++) {
        size_t first, count;

        if (r->network->tensor(i).trainable)
            continue;
        r->network->span(i, &first, &count);
        r->transport->copy(r->network->flat(r->net, CNN_VALUES, &total) + first, count * sizeof(cnn_real));
    }
}

/* FNV-1a (Fowler, Noll and Vo), 64 bits. */
static uint64_t hash_tensor(cnn_ranks *r, int i, uint64_t hash)
{
    size_t               total, first, count;
    const unsigned char *bytes = (const unsigned char *)r->network->flat(r->net, CNN_VALUES, &total);

    r->network->span(i, &first, &count);
    for (size_t k = first * sizeof(cnn_real); k < (first + count) * sizeof(cnn_real); k++)
        hash = (hash ^ bytes[k]) * 0x100000001b3u;
    return hash;
}

int cnn_ranks_equal(cnn_ranks *r)
{
    uint64_t hash = 0xcbf29ce484222325u, first;

    if (r == NULL)
        return 1;
    for (int i = 0; i < r->network->tensors(); i++)
        if (r->network->tensor(i).trainable)
            hash = hash_tensor(r, i, hash);
    first = hash;
    r->transport->copy(&first, sizeof first);
    if (hash != first)
        cnn_error("the weights are not those of rank 0\nare all machines of one kind, with one copy of the program?");
    return cnn_ranks_agree(r, hash == first);
}

/* ---- joining and leaving ----------------------------------------------------------------------------------------- */

int cnn_ranks_open(const cnn_network *network, cnn_ranks **ranks)
{
    int own, count;

    *ranks = NULL;
    if (network->transport == NULL)
        return 1;
    if (!network->transport->begin(&own, &count))
        return 0;
    if (count == 1)
        return 1;
    cnn_ranks *r = *ranks = calloc(1, sizeof *r);
    if (r == NULL)
        return cnn_error("there is not enough memory"), 0;
    r->network = network;
    r->transport = network->transport;
    r->own = own;
    r->count = count;
    r->watch = (cnn_watch){.after = after_kernel, .context = r};
    if (own > 0) {
        cnn_error_keep();
        if (freopen("/dev/null", "w", stdout) == NULL)
            return cnn_error("/dev/null cannot be opened"), 0;
    }
    return 1;
}

int cnn_ranks_attach(cnn_ranks *r, void *net, const int *frozen, double bucket, int normalise)
{
    if (r == NULL)
        return 1;
    r->net = net;
    r->exchange = (cnn_exchange){.rank = r->own, .ranks = r->count, .context = r};
    if (normalise) {
        r->exchange.merge = merge_statistics;
        r->exchange.sum = sum_reals;
    }
    r->network->exchange(net, &r->exchange);
    return make_buckets(r, frozen, bucket);
}

void cnn_ranks_normalise_alone(cnn_ranks *r)
{
    if (r) {
        r->exchange.merge = NULL;
        r->exchange.sum = NULL;
    }
}

void cnn_ranks_close(const cnn_network *network, cnn_ranks *r)
{
    if (network->transport)
        network->transport->end();
    if (r)
        free(r->buckets);
    free(r);
}
