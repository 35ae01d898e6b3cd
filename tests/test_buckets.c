/* test_buckets.c - what ranks.c hands to its transport, and when: with the network of fake_network.c as rank 0 of two,
 * and a transport that only writes down what it is asked for.
 */
#include "fake_network.h"
#include "ranks/ranks.h"

#include <criterion/criterion.h>

enum { SENT = 256, FIRST_LAYER = 4 };      /* the kernel that completes the first layer's gradients */

/* What was asked for: ranges of gradients that were sent, how many of them before the first layer's backward pass, and
 * bytes that were copied from rank 0. */
static struct {
    const cnn_real *from[SENT];
    size_t          count[SENT], copied;
    int             sent, early;
} asked;

static int begin(int *rank, int *ranks)
{
    *rank = 0;
    *ranks = 2;
    return 1;
}

static void nothing(void) {}
static void sum(double *values, int count) { (void)values, (void)count; }

static void copy(void *bytes, size_t count)
{
    (void)bytes;
    asked.copied += count;
}

static void start(cnn_real *values, size_t count)
{
    cr_assert(asked.sent < SENT);
    asked.from[asked.sent] = values;
    asked.count[asked.sent++] = count;
}

static const cnn_transport transport = {"nothing", begin, nothing, sum, copy, start, nothing, nothing};

static cnn_real *flat(void *net, cnn_part part, size_t *count) { return fake_flat(net, part, count); }
static void watch(void *net, const cnn_watch *w) { fake_watch(net, w); }
static void exchange(void *net, const cnn_exchange *e) { (void)net, (void)e; }

static const cnn_network network = {.facts = &fake_facts, .tensors = fake_tensors, .tensor = fake_tensor, .flat = flat,
                                    .span = fake_span, .watch = watch, .exchange = exchange, .transport = &transport};

static void after(void *context, int kernel)
{
    (void)context;
    if (kernel < FIRST_LAYER)
        asked.early = asked.sent;
}

/* Sends the gradients of a step in buckets of so many values. */
static void send_step(const int *frozen, int values)
{
    static const cnn_real x[FAKE_BATCH * FAKE_INPUT];
    static const int32_t labels[FAKE_BATCH];
    const cnn_watch look = {.after = after};
    cnn_real logits[FAKE_BATCH * FAKE_CLASSES];
    fake *net = fake_new(1);
    cnn_ranks *ranks;

    cr_assert(net && cnn_ranks_open(&network, &ranks) && ranks);
    cr_assert(cnn_ranks_attach(ranks, net, frozen, values * (double)sizeof(cnn_real), 0));
    cnn_ranks_also(ranks, &look);
    cnn_ranks_overlap(ranks);
    fake_gradients(net, x, labels, logits);
    cnn_ranks_reduce(ranks);

    size_t total;
    const cnn_real *gradients = fake_flat(net, CNN_GRADIENTS, &total);
    for (int t = 0; t < fake_tensors(); t++) {
        size_t first, count, found = 0;
        fake_span(t, &first, &count);
        for (int i = 0; i < asked.sent; i++)
            for (size_t k = 0; k < asked.count[i]; k++)
                found += asked.from[i] + k >= gradients + first && asked.from[i] + k < gradients + first + count;
        if (fake_tensor(t).trainable && !(frozen && frozen[t]))
            cr_expect(found == count, "%s: %zu of %zu values were sent", fake_tensor(t).name, found, count);
    }
    cnn_ranks_close(&network, ranks);
    fake_free(net);
}

/* Those of the last layer go while the first one's backward pass still runs. */
Test(buckets, go_when_their_gradients_are_complete)
{
    send_step(NULL, 64);
    cr_expect(asked.early > 0 && asked.early < asked.sent, "%d of %d", asked.early, asked.sent);
}

/* Nothing is sent of the first layer, nor waited for. */
Test(buckets, of_frozen_tensors_alone_are_not_sent)
{
    send_step((const int[6]){1, 1, 0, 0, 0, 0}, 64);
    cr_expect(asked.early > 0 && asked.early == asked.sent, "%d of %d", asked.early, asked.sent);
    for (int i = 0; i < asked.sent; i++)
        cr_expect(asked.count[i] <= 64);
}

/* One bucket of everything waits for what is trained alone. */
Test(buckets, do_not_wait_for_frozen_tensors)
{
    send_step((const int[6]){1, 1, 0, 0, 0, 0}, 1000000);
    cr_expect(asked.sent == 1 && asked.early == 1, "%d of %d", asked.early, asked.sent);
}

Test(buckets, of_nothing_but_frozen_tensors)
{
    send_step((const int[6]){1, 1, 0, 1, 1, 0}, 64);
    cr_expect(asked.sent == 0);
}

Test(buckets, share_what_is_used)
{
    fake *net = fake_new(1);
    cnn_ranks *ranks;
    size_t total;

    cr_assert(net && cnn_ranks_open(&network, &ranks) && ranks && cnn_ranks_attach(ranks, net, NULL, 1e6, 0));
    fake_flat(net, CNN_VALUES, &total);
    for (int moments = 0; moments <= 2; moments++) {
        asked.copied = 0;
        cnn_ranks_share(ranks, moments);
        cr_expect(asked.copied == (size_t)(1 + moments) * total * sizeof(cnn_real), "%d moments: %zu bytes", moments,
                  asked.copied);
    }
    asked.copied = 0;
    cnn_ranks_share_buffers(ranks);
    cr_expect(asked.copied == (FAKE_HIDDEN + 1) * sizeof(cnn_real), "%zu bytes", asked.copied);
    cnn_ranks_close(&network, ranks);
    fake_free(net);
}
