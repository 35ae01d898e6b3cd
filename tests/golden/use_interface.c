/* use_interface.c - a program as an engineer would write it around a generated network: residual_net of residual.net.
 *
 * tests/test_generated.c compiles it, links it with what `cnnc -c` made and with libcnn.a, and runs it at several numbers
 * of threads. It prints hashes of everything that a thread could change; the exit status is 1 after a failed check.
 */
#include "residual.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            failures++, printf("line %d: %s\n", __LINE__, #condition);                                                 \
    } while (0)

enum { BATCH = 5, PIXELS = 2 * 8 * 8, CLASSES = 3, MAX_COUNT = 1000 };

/* FNV-1a. */
static uint64_t hash(uint64_t h, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        h = (h ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    return h;
}

static uint64_t hash_tensors(const residual_net *net, void (*get)(const residual_net *, int, cnn_real *))
{
    uint64_t h = 14695981039346656037u;
    cnn_real values[MAX_COUNT];
    for (int i = 0; i < residual_net_tensors(); i++) {
        get(net, i, values);
        h = hash(h, values, sizeof *values * residual_net_tensor(i).count);
    }
    return h;
}

static int find_tensor(const char *name)
{
    for (int i = 0; i < residual_net_tensors(); i++)
        if (strcmp(residual_net_tensor(i).name, name) == 0)
            return i;
    return -1;
}

static void check_tensors(void)
{
    int input[4], output[4];
    residual_net_shape(input, output);
    CHECK(input[0] == BATCH && input[1] == 2 && input[2] == 8 && input[3] == 8);
    CHECK(output[0] == BATCH && output[1] == CLASSES && output[2] == 1 && output[3] == 1);
    CHECK(residual_net_tensors() == 6 + 5 * 5 + 1);

    cnn_tensor conv = residual_net_tensor(0);
    CHECK(strcmp(conv.name, "layer1.0.conv1.weight") == 0);
    CHECK(conv.rank == 4 && conv.shape[0] == 4 && conv.shape[1] == 2 && conv.shape[2] == 3 && conv.shape[3] == 3);
    CHECK(conv.count == 72 && conv.trainable && !conv.integer);
    cnn_tensor counter = residual_net_tensor(find_tensor("layer1.0.downsample.1.num_batches_tracked"));
    CHECK(counter.rank == 0 && counter.count == 1 && !counter.trainable && counter.integer);
    CHECK(!residual_net_tensor(find_tensor("layer1.1.bn2.running_var")).trainable);
    CHECK(find_tensor("fc.bias") == residual_net_tensors() - 1);
}

static void check_copies(residual_net *net)
{
    cnn_real in[MAX_COUNT], out[MAX_COUNT];
    for (int i = 0; i < residual_net_tensors(); i++) {
        size_t count = residual_net_tensor(i).count;
        for (size_t k = 0; k < count; k++)
            in[k] = (cnn_real)i + (cnn_real)k / 1024;
        residual_net_set(net, i, in);
        residual_net_set_moment(net, 1 + i % 2, i, in);
    }
    for (int i = 0; i < residual_net_tensors(); i++) {
        size_t count = residual_net_tensor(i).count;
        residual_net_get(net, i, out);
        CHECK(out[0] == (cnn_real)i && out[count - 1] == (cnn_real)i + (cnn_real)(count - 1) / 1024);
        residual_net_get_moment(net, 1 + i % 2, i, in);
        CHECK(memcmp(in, out, sizeof *in * count) == 0);
    }
}

static void check_seeds(void)
{
    residual_net *a = residual_net_new(1), *b = residual_net_new(1), *c = residual_net_new(2);
    CHECK(a && b && c);
    CHECK(hash_tensors(a, residual_net_get) == hash_tensors(b, residual_net_get));
    CHECK(hash_tensors(a, residual_net_get) != hash_tensors(c, residual_net_get));
    residual_net_free(a);
    residual_net_free(b);
    residual_net_free(c);
    residual_net_free(NULL);
}

static void check_freezing(residual_net *net, const cnn_real *x, const int32_t *labels)
{
    const cnn_update step = {.lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.01f, .nesterov = 1};
    int frozen = find_tensor("layer1.0.conv1.weight"), moving = find_tensor("layer1.0.conv2.weight");
    cnn_real before[2][MAX_COUNT], after[MAX_COUNT];
    size_t size[2] = {sizeof(cnn_real) * residual_net_tensor(frozen).count, sizeof(cnn_real) * residual_net_tensor(moving).count};
    residual_net_freeze(net, frozen, 1);
    residual_net_get(net, frozen, before[0]);
    residual_net_get(net, moving, before[1]);
    residual_net_gradients(net, x, labels, NULL);
    residual_net_update(net, &step);
    residual_net_get(net, frozen, after);
    CHECK(memcmp(before[0], after, size[0]) == 0);
    residual_net_get(net, moving, after);
    CHECK(memcmp(before[1], after, size[1]) != 0);
    residual_net_freeze(net, frozen, 0);
    residual_net_update(net, &step);
    residual_net_get(net, frozen, after);
    CHECK(memcmp(before[0], after, size[0]) != 0);
}

int main(void)
{
    static cnn_real x[BATCH * PIXELS], logits[2][BATCH * CLASSES];
    const int32_t labels[BATCH] = {0, 1, 2, 0, 1};
    for (int i = 0; i < BATCH * PIXELS; i++)
        x[i] = (cnn_real)(i * 37 % 101) / 101 - (cnn_real)0.5;

    check_tensors();
    check_seeds();
    residual_net *net = residual_net_new(3);
    CHECK(net != NULL);
    check_copies(net);
    residual_net_free(net);
    net = residual_net_new(3);

    uint64_t untouched = hash_tensors(net, residual_net_get);
    residual_net_predict(net, x, logits[0]);
    residual_net_predict(net, x, NULL);
    residual_net_predict(net, x, logits[1]);
    CHECK(memcmp(logits[0], logits[1], sizeof logits[0]) == 0);
    CHECK(hash_tensors(net, residual_net_get) == untouched);
    printf("logits %016llx\n", (unsigned long long)hash(0, logits[0], sizeof logits[0]));

    for (int step = 0; step < 3; step++) {
        CHECK(residual_net_get_step(net) == (uint64_t)step);
        cnn_real loss = residual_net_gradients(net, x, labels, logits[0]);
        CHECK(loss > 0 && loss < 10);
        printf("step %d: loss %016llx gradients %016llx", step, (unsigned long long)hash(0, &loss, sizeof loss),
               (unsigned long long)hash_tensors(net, residual_net_get_grad));
        residual_net_update(net, &(cnn_update){.lr = 0.1f, .momentum = 0.9f, .weight_decay = 1e-4f});
        printf(" parameters %016llx\n", (unsigned long long)hash_tensors(net, residual_net_get));
    }
    residual_net_set_step(net, 77);
    CHECK(residual_net_get_step(net) == 77);
    check_freezing(net, x, labels);
    CHECK(residual_net_get_step(net) == 79);
    residual_net_free(net);
    printf("%s\n", failures ? "failed" : "good");
    return failures != 0;
}
