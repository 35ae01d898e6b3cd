/* cnn.h - what a generated network and its users share: tensors, the update rule, random numbers.
 *
 * A generated file needs nothing else of the runtime than random.c (libcnn.a). `cnn_real` is float; -DREAL=double
 * builds both the network and the runtime in double precision, which gradient checks use.
 */
#ifndef CNN_H
#define CNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef REAL
typedef REAL cnn_real;
#else
typedef float cnn_real;
#endif

/* A parameter or buffer in PyTorch's layout: `shape[0..rank)`, row-major, `count` elements. */
typedef struct {
    const char *name;           /* state_dict name: "layer1.0.conv1.weight"                     */
    int         rank, shape[4];
    size_t      count;
    int         trainable;      /* 0: a buffer (running statistics)                             */
    int         integer;        /* 1: an int64 in PyTorch (num_batches_tracked)                 */
} cnn_tensor;

/* ---- update.c: optimisers ---------------------------------------------------------------------------------------- */

typedef enum { CNN_SGD, CNN_ADAM, CNN_ADAMW, CNN_RMSPROP } cnn_optimizer;

/* One step of an optimiser, computed as torch.optim does. Of each tensor W and its gradient dW, V and S are the first
 * and second moment, 0 at the beginning, and t is the number of this step, from 1:
 *   SGD      (Sutskever et al. 2013, section 2)
 *            g = dW + weight_decay * W;  V = momentum * V + g;  W -= lr * (nesterov ? g + momentum * V : V)
 *   Adam     (Kingma and Ba 2015, algorithm 1)
 *            g = dW + weight_decay * W;  V = beta1 * V + (1 - beta1) * g;  S = beta2 * S + (1 - beta2) * g * g
 *            W -= lr / (1 - beta1^t) * V / (sqrt(S) / sqrt(1 - beta2^t) + epsilon)
 *   AdamW    (Loshchilov and Hutter 2019, algorithm 2)
 *            the same with g = dW, after W -= lr * weight_decay * W
 *   RMSprop  (Tieleman and Hinton 2012, lecture 6.5)
 *            g = dW + weight_decay * W;  S = alpha * S + (1 - alpha) * g * g
 *            V = momentum * V + g / (sqrt(S) + epsilon);  W -= lr * V
 * lr_scale[i] and decay_scale[i] are factors of lr and weight_decay for tensor i in state_dict order; NULL: all 1. */
typedef struct {
    float lr, momentum, weight_decay;
    int   nesterov;             /* 0 or 1: SGD's                                                */
    cnn_optimizer optimizer;    /* 0: SGD                                                       */
    float beta1, beta2, epsilon;            /* Adam, AdamW, and RMSprop's epsilon; epsilon is above 0 */
    float alpha;                /* RMSprop's smoothing                                          */
    const float *lr_scale, *decay_scale;
} cnn_update;

/* The same for one tensor at one step: what a generated update computes with. */
typedef struct {
    int      nesterov;
    cnn_real lr, momentum, weight_decay;    /* weight_decay: the one in g                       */
    cnn_real keep;              /* AdamW: what weight decay leaves of W, 1 - lr * weight_decay; else 1 */
    cnn_real beta1, beta2, epsilon, alpha;
    cnn_real first_share, second_share;     /* of V and S after t steps from 0: 1 - beta1^t, sqrt(1 - beta2^t) */
} cnn_rule;

/* `step`: updates done before. The shares are computed in double. */
cnn_rule cnn_rule_of(const cnn_update *, uint64_t step, int tensor);

/* The parts of a network's state, each one array (NAME_flat). */
typedef enum { CNN_VALUES, CNN_GRADIENTS, CNN_FIRST, CNN_SECOND } cnn_part;

/* ---- targets ----------------------------------------------------------------------------------------------------- */

/* What the loss compares a picture's probabilities p with, beyond its label: label smoothing (Szegedy et al. 2016,
 * section 7) and mixup (Zhang et al. 2018). With K classes and s = smoothing,
 *   q[k] = (1 - s) * (share * (k == label) + (1 - share) * (k == other)) + s / K;   loss = -mean over pictures sum_k q
 * log p other[n] is a second label of picture n, share[n] in [0, 1] the share of its first one; NULL, both: the label
 * alone. */
typedef struct { float smoothing; const int32_t *other; const float *share; } cnn_target;

/* A layer of the network, for `info` and for looking at what predict computed. */
typedef struct {
    const char *name, *op;      /* "conv1", "conv 6, 5x5, pad 2"                                */
    int         rank, shape[4]; /* of its output, batch first                                   */
    size_t      count;          /* elements of its output                                       */
    size_t      parameters;     /* learnt values                                                */
    double      macs;           /* multiply-adds of the forward pass for the whole batch        */
    size_t      offset;         /* of its output in what NAME_predict leaves behind, in reals   */
} cnn_layer;

/* ---- kernels, and watching them ---------------------------------------------------------------------------------- */

typedef enum { CNN_FORWARD, CNN_LOSS, CNN_BACKWARD } cnn_pass;

/* A kernel of NAME_predict or NAME_gradients. What it computed can be looked at in the arena while a watch that waits
 * is called after it: `times` pieces of `count` reals, `pitch` reals apart, of which the first lies `offset` reals from
 * the arena's start (several pieces: some channels of a concatenation, a piece a picture). They are in the code's own
 * layout, zeros included. count 0: it computed no reals, or only gradients of parameters. */
typedef struct {
    const char *name;           /* "conv1_grad_weight"                                          */
    double      macs;           /* multiply-adds for the whole batch; 0: none worth counting    */
    int         layer;          /* number in the list of layers; -1: the loss, or how the pictures are laid out */
    cnn_pass    pass;           /* CNN_LOSS: the loss, forward and backward                     */
    int         gradient[4];    /* tensors whose gradients are complete after it; -1 ends       */
    size_t      offset, count, times, pitch;
} cnn_kernel;

/* Called while predict or gradients run: after kernel i is complete in all threads, one thread calls after(context, i).
 * waits 1: the other threads wait until it returns, to look at what was computed; 0: they go on. Kernels that rest
 * (NAME_freeze) are left out. `after` must not call functions of the network but accessors that only read. */
typedef struct { void (*after)(void *context, int kernel); void *context; int waits; } cnn_watch;

/* ---- several processes ------------------------------------------------------------------------------------------- */

/* What one of several processes (ranks) that train replicas of a network together must know of the others while a step
 * runs: NAME_exchange, in code of cnnc --with=mpi. All ranks call NAME_gradients at the same time; the functions are
 * called in one order, by the thread that called it. Both NULL: batch norms are over each rank's own pictures. */
typedef struct {
    int   rank, ranks;          /* this one's number, from 0: dropout's masks are those of its part of all's batch */
    /* mean[c] and squares[c], sums of squares about it, over `members` values a channel become
     * those over all ranks' values */
    void (*merge)(void *context, cnn_real *mean, cnn_real *squares, int count, double members);
    void (*sum)(void *context, cnn_real *values, int count);            /* values become their sums over all ranks */
    void *context;
} cnn_exchange;

/* ---- layout.c: how fast code keeps a tensor ---------------------------------------------------------------------- */

/* A tensor of K x C x taps elements, of which `k_lanes` neighbours in K and `c_lanes` in C lie side by side in memory:
 *   [ceil(K / k_lanes)][ceil(C / c_lanes)][taps][c_lanes][k_lanes], zeros in what is left over.                      */
typedef struct { size_t k, c, taps, k_lanes, c_lanes; } cnn_layout;

void cnn_lay(const cnn_layout *, cnn_real *laid, const cnn_real *plain);
void cnn_unlay(const cnn_layout *, cnn_real *plain, const cnn_real *laid);

/* Zeroed room, aligned to 64 bytes and more, on huge pages where the system has them; NULL when memory is short. */
void *cnn_room(size_t bytes);
void  cnn_room_free(void *, size_t bytes);      /* NULL: nothing happens */

/* ---- random.c: Philox 4x32-10 (Salmon et al. 2011), counter-based: the same numbers at any number of threads ----- */

/* A number in [0, 1), a multiple of 2^-24, that depends on nothing but its four arguments. */
float cnn_uniform(uint64_t seed, uint32_t stream, uint64_t step, uint32_t index);

/* Fills `out` for initialisation. Streams separate the tensors of a network. */
void cnn_fill_uniform(cnn_real *out, size_t count, double bound, uint64_t seed, uint32_t stream);  /* [-bound, bound) */
void cnn_fill_normal(cnn_real *out, size_t count, double deviation, uint64_t seed, uint32_t stream);
void cnn_fill(cnn_real *out, size_t count, double value);

#ifdef __cplusplus
}
#endif
#endif
