/* fake_network.c - see fake_network.h. Plain loops whose gradients one can check by eye. */
#include "fake_network.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = FAKE_BATCH, D = FAKE_INPUT, H = FAKE_HIDDEN, K = FAKE_CLASSES, TENSORS = 6, LARGEST = H * D };

struct fake {
    cnn_real     value[TENSORS][LARGEST], grad[TENSORS][LARGEST], first[TENSORS][LARGEST], second[TENSORS][LARGEST];
    cnn_real     hidden[N * H], kept[N * H], logits[N * K], dlogits[N * K];     /* kept = hidden after dropout */
    int          frozen[TENSORS];
    uint64_t     seed, step;
    const cnn_target *target;
    const cnn_watch  *watch;
};

static const cnn_tensor tensors[TENSORS] = {
    {"0.weight", 2, {H, D}, H * D, 1, 0}, {"0.bias", 1, {H}, H, 1, 0}, {"1.mean", 1, {H}, H, 0, 0},
    {"2.weight", 2, {K, H}, K * H, 1, 0}, {"2.bias", 1, {K}, K, 1, 0}, {"2.num_batches_tracked", 0, {0}, 1, 0, 1},
};
static const cnn_layer layers[] = {
    {"0", "linear 12, relu", 2, {N, H}, N * H, H * D + H, (double)N *H *D, 0},
    {"2", "linear 10", 2, {N, K}, N * K, K * H + K, (double)N *K *H, 0},
};
/* What they computed counts from `hidden`: hidden, kept, logits and dlogits lie one behind the other. */
static const cnn_kernel predict_kernels[] = {
    {"0_forward", (double)N *H *D, 0, CNN_FORWARD, {-1}, 0, N * H, 1, N * H},
    {"2_forward", (double)N *K *H, 1, CNN_FORWARD, {-1}, 2 * N * H, N * K, 1, N * K},
};
static const cnn_kernel gradients_kernels[] = {
    {"0_forward", (double)N *H *D, 0, CNN_FORWARD, {-1}, 0, N * H, 1, N * H},
    {"2_forward", (double)N *K *H, 1, CNN_FORWARD, {-1}, 2 * N * H, N * K, 1, N * K},
    {"loss", 0, -1, CNN_LOSS, {-1}, 2 * N * H + N * K, N * K, 1, N * K},
    {"2_backward", 2 * (double)N *K *H, 1, CNN_BACKWARD, {3, 4, -1}, 0, 0, 0, 0},
    {"0_backward", (double)N *H *D, 0, CNN_BACKWARD, {0, 1, -1}, 0, 0, 0, 0},
};

const cnn_facts fake_facts = {
    .name = "fake", .source = "fake.net", .version = "0.1", .target = "generic", .flags = "-O2",
    .schedule = "plain loops",
    .layers = layers, .layer_count = 2,
    .predict = predict_kernels, .predict_count = 2,
    .gradients = gradients_kernels, .gradients_count = 5,
    .arena_bytes = sizeof(fake), .parameter_bytes = (H * D + H + K * H + K) * sizeof(cnn_real),
    .defaults = (const char *const[]){"data=synthetic", "epochs=3", "lr=0.01", "momentum=0.9", "weight_decay=1e-4",
                                      "seed=7", NULL},
};

static int broken(const char *how)
{
    return getenv(how) != NULL;
}

fake *fake_new(uint64_t seed)
{
    fake *net = broken("FAKE_NO_MEMORY") ? NULL : calloc(1, sizeof *net);
    if (net) {
        net->seed = seed;
        cnn_fill_uniform(net->value[0], H * D, sqrt(6.0 / (D + H)), seed, 0);
        cnn_fill_uniform(net->value[3], K * H, sqrt(6.0 / (H + K)), seed, 3);
    }
    return net;
}

void fake_free(fake *net) { free(net); }
int fake_tensors(void) { return TENSORS; }
cnn_tensor fake_tensor(int i) { return tensors[i]; }

void fake_shape(int input[4], int output[4])
{
    memcpy(input, (int[]){N, 1, FAKE_SIDE, FAKE_SIDE}, 4 * sizeof *input);
    memcpy(output, (int[]){N, K, 1, 1}, 4 * sizeof *output);
}

static void copy(cnn_real *out, const cnn_real *in, int i) { memcpy(out, in, tensors[i].count * sizeof *out); }
void fake_get(const fake *net, int i, cnn_real *out) { copy(out, net->value[i], i); }
void fake_set(fake *net, int i, const cnn_real *in) { copy(net->value[i], in, i); }
void fake_get_grad(const fake *net, int i, cnn_real *out) { copy(out, net->grad[i], i); }
void fake_get_moment(const fake *net, int order, int i, cnn_real *out)
{
    copy(out, order == 1 ? net->first[i] : net->second[i], i);
}

void fake_set_moment(fake *net, int order, int i, const cnn_real *in)
{
    copy(order == 1 ? net->first[i] : net->second[i], in, i);
}

cnn_real *fake_flat(fake *net, cnn_part part, size_t *count)
{
    cnn_real *const parts[] = {net->value[0], net->grad[0], net->first[0], net->second[0]};
    *count = TENSORS * LARGEST;
    return parts[part];
}

void fake_span(int i, size_t *first, size_t *count)
{
    *first = (size_t)i * LARGEST;
    *count = tensors[i].count;
}

void fake_freeze(fake *net, int i, int frozen) { net->frozen[i] = frozen; }
uint64_t fake_get_step(const fake *net) { return net->step; }
void fake_set_step(fake *net, uint64_t step) { net->step = step; }
void fake_target(fake *net, const cnn_target *target) { net->target = target; }
void fake_watch(fake *net, const cnn_watch *watch) { net->watch = watch; }
const cnn_real *fake_arena(const fake *net) { return net->hidden; }
const cnn_real *fake_output(const fake *net, int layer) { return layer == 0 ? net->hidden : net->logits; }

/* Y[n,k] = b[k] + sum_c W[k,c] X[n,c] */
static void linear(int outputs, int inputs, const cnn_real *W, const cnn_real *b, const cnn_real *X, cnn_real *Y)
{
    for (int n = 0; n < N; n++)
        for (int k = 0; k < outputs; k++) {
            cnn_real sum = b[k];
            for (int c = 0; c < inputs; c++)
                sum += W[k * inputs + c] * X[n * inputs + c];
            Y[n * outputs + k] = sum;
        }
}

/* Kernel i is complete. */
static void tell(const fake *net, int i)
{
    if (net->watch)
        net->watch->after(net->watch->context, i);
}

static void forward(fake *net, const cnn_real *x, int training)
{
    linear(H, D, net->value[0], net->value[1], x, net->hidden);
    for (int i = 0; i < N * H; i++)
        net->hidden[i] = net->hidden[i] > 0 ? net->hidden[i] : 0;
    for (int i = 0; i < N * H; i++) {
        int drop = training && cnn_uniform(net->seed, 99, net->step, (uint32_t)i) < 0.125f;
        net->kept[i] = drop ? 0 : training ? net->hidden[i] / (cnn_real)0.875 : net->hidden[i];
    }
    tell(net, 0);
    linear(K, H, net->value[3], net->value[4], net->kept, net->logits);
    tell(net, 1);
}

void fake_predict(fake *net, const cnn_real *x, cnn_real *logits)
{
    forward(net, x, 0);
    memcpy(logits, net->logits, sizeof net->logits);
}

/* q[n,k] of cnn_target. */
static cnn_real wanted(const cnn_target *t, int n, int k, int label)
{
    cnn_real share = t && t->other ? t->share[n] : 1, hit = share * (k == label);
    if (t && t->other)
        hit += (1 - share) * (k == t->other[n]);
    return t ? (1 - (cnn_real)t->smoothing) * hit + (cnn_real)t->smoothing / K : hit;
}

cnn_real fake_gradients(fake *net, const cnn_real *x, const int32_t *labels, cnn_real *logits)
{
    forward(net, x, 1);
    memcpy(logits, net->logits, sizeof net->logits);
    for (int h = 0; h < H; h++) {                                   /* the buffers, as batch normalisation would */
        cnn_real mean = 0;
        for (int n = 0; n < N; n++)
            mean += net->hidden[n * H + h] / N;
        net->value[2][h] = (cnn_real)0.9 * net->value[2][h] + (cnn_real)0.1 * mean;
    }
    net->value[5][0] += 1;

    /* loss = mean_n(log sum_k exp(l[n,k]) - sum_k q[n,k] l[n,k]);  dl = (softmax(l) - q) / N */
    cnn_real loss = 0;
    for (int n = 0; n < N; n++) {
        const cnn_real *l = net->logits + n * K;
        cnn_real largest = l[0], sum = 0;
        for (int k = 1; k < K; k++)
            largest = l[k] > largest ? l[k] : largest;
        for (int k = 0; k < K; k++)
            sum += (cnn_real)exp(l[k] - largest);
        loss += ((cnn_real)log(sum) + largest) / N;
        for (int k = 0; k < K; k++) {
            cnn_real q = wanted(net->target, n, k, labels[n]);
            loss -= q * l[k] / N;
            net->dlogits[n * K + k] = ((cnn_real)exp(l[k] - largest) / sum - q) / N;
        }
    }
    tell(net, 2);

    /* dW2 = dl^T kept;  db2 = sum dl;  dhidden = dl W2 where relu and dropout let it through;  dW1, db1 likewise */
    cnn_real dhidden[N * H];
    memset(net->grad, 0, sizeof net->grad);
    for (int n = 0; n < N; n++)
        for (int h = 0; h < H; h++) {
            cnn_real sum = 0;
            for (int k = 0; k < K; k++) {
                net->grad[3][k * H + h] += net->dlogits[n * K + k] * net->kept[n * H + h];
                sum += net->dlogits[n * K + k] * net->value[3][k * H + h];
            }
            dhidden[n * H + h] = net->kept[n * H + h] > 0 ? sum / (cnn_real)0.875 : 0;
        }
    for (int i = 0; i < N * K; i++)
        net->grad[4][i % K] += net->dlogits[i];
    tell(net, 3);
    for (int n = 0; n < N; n++)
        for (int h = 0; h < H; h++) {
            net->grad[1][h] += dhidden[n * H + h];
            for (int c = 0; c < D; c++)
                net->grad[0][h * D + c] += dhidden[n * H + h] * x[n * D + c];
        }
    tell(net, 4);

    if (broken("FAKE_WRONG"))
        for (int i = 0; i < K * H; i++)
            net->grad[3][i] *= (cnn_real)1.05;
    if (broken("FAKE_WRONG_ENTRY"))
        for (int i = 0, largest = 0; i <= H * D; i++) {             /* the largest entry of row 0 */
            if (i == H * D)
                net->grad[0][largest] *= -1;
            else if (fabs((double)net->grad[0][i]) > fabs((double)net->grad[0][largest]))
                largest = i;
        }
    if (broken("FAKE_NAN") && net->step == strtoull(getenv("FAKE_NAN"), NULL, 10))
        loss = (cnn_real)NAN;
    if (broken("FAKE_OVERFLOW") && net->step == strtoull(getenv("FAKE_OVERFLOW"), NULL, 10))
        net->grad[3][5] = (cnn_real)INFINITY;
    for (int n = 0; n < N && broken("FAKE_PRINT"); n++) {
        for (int c = 0; c < D; c++)
            fprintf(stderr, "%02x", (int)(x[n * D + c] * 255 + (cnn_real)0.5));
        fprintf(stderr, " %d\n", labels[n]);
    }
    if (broken("FAKE_SIGNAL")) {
        unsigned long long step = 0;
        int first = 0, second = 0;
        sscanf(getenv("FAKE_SIGNAL"), "%llu,%d,%d", &step, &first, &second);
        if (net->step == step) {
            raise(first);
            if (second)
                raise(second);
        }
    }
    if (broken("FAKE_SLOW"))
        usleep((useconds_t)(1000 * atoi(getenv("FAKE_SLOW"))));
    return loss;
}

/* One element, by the formulas of cnn.h. */
static void update_element(cnn_optimizer optimizer, const cnn_rule *r, cnn_real dW, cnn_real *W, cnn_real *V,
                           cnn_real *S)
{
    cnn_real g = dW + r->weight_decay * *W;
    if (optimizer == CNN_SGD) {
        *V = r->momentum * *V + g;
        *W -= r->lr * (r->nesterov ? g + r->momentum * *V : *V);
    } else if (optimizer == CNN_RMSPROP) {
        *S = r->alpha * *S + (1 - r->alpha) * g * g;
        *V = r->momentum * *V + g / ((cnn_real)sqrt(*S) + r->epsilon);
        *W -= r->lr * *V;
    } else {
        *V = r->beta1 * *V + (1 - r->beta1) * g;
        *S = r->beta2 * *S + (1 - r->beta2) * g * g;
        *W = r->keep * *W - r->lr / r->first_share * *V / ((cnn_real)sqrt(*S) / r->second_share + r->epsilon);
    }
}

void fake_update(fake *net, const cnn_update *u)
{
    for (int i = 0; i < TENSORS; i++) {
        cnn_rule rule = cnn_rule_of(u, net->step, i);
        for (size_t j = 0; tensors[i].trainable && !net->frozen[i] && j < tensors[i].count; j++)
            update_element(u->optimizer, &rule, net->grad[i][j], &net->value[i][j], &net->first[i][j],
                           &net->second[i][j]);
    }
    net->step++;
}

cnn_real fake_step(fake *net, const cnn_real *x, const int32_t *labels, cnn_real *logits, const cnn_update *u)
{
    cnn_real loss = fake_gradients(net, x, labels, logits);
    if (isfinite(loss))
        fake_update(net, u);
    return loss;
}

#ifdef CNN_MAIN
CNN_TRAINER(fake, fake_facts)
#endif

#ifdef FAKE_DISK
/* ---- a disk and a memory that fail, which the linker's --wrap puts between the runtime and the C library --------- */

static _Atomic long calls, allocations;         /* of all threads */

__attribute__((destructor)) static void print_calls(void)
{
    if (broken("FAKE_COUNT"))
        fprintf(stderr, "%ld %ld", (long)calls, (long)allocations);
}

/* Counts a call; 1 when it is the one that fails. Does not come back from the one that kills. */
static int fails(void)
{
    long call = ++calls;
    if (broken("FAKE_DIE") && call == atol(getenv("FAKE_DIE")))
        kill(getpid(), SIGKILL);
    if (!broken("FAKE_FAIL") || call != atol(getenv("FAKE_FAIL")))
        return 0;
    errno = broken("FAKE_CAUSE") ? atoi(getenv("FAKE_CAUSE")) : ENOSPC;
    return 1;
}

/* How much of a write is done. */
static size_t some_of(size_t length)
{
    return broken("FAKE_SHORT") && length > 1 ? length / 2 : length;
}

#define WRAP(TYPE, NAME, DECLARED, PASSED)                                                                             \
    TYPE __real_##NAME DECLARED;                                                                                       \
    TYPE __wrap_##NAME DECLARED;                                                                                       \
    TYPE __wrap_##NAME DECLARED { return fails() ? -1 : __real_##NAME PASSED; }
WRAP(ssize_t, write, (int file, const void *bytes, size_t length), (file, bytes, some_of(length)))
WRAP(int, fsync, (int file), (file))
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, link, (const char *from, const char *to), (from, to))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, open, (const char *path, int flags, mode_t mode), (path, flags, mode))

static int no_memory(void)
{
    return ++allocations == atol(broken("FAKE_ALLOC") ? getenv("FAKE_ALLOC") : "0");
}

#define WRAP_MEMORY(NAME, DECLARED, PASSED)                                                                            \
    void *__real_##NAME DECLARED;                                                                                      \
    void *__wrap_##NAME DECLARED;                                                                                      \
    void *__wrap_##NAME DECLARED { return no_memory() ? NULL : __real_##NAME PASSED; }
WRAP_MEMORY(malloc, (size_t size), (size))
WRAP_MEMORY(calloc, (size_t count, size_t size), (count, size))
WRAP_MEMORY(realloc, (void *old, size_t size), (old, size))
#endif
