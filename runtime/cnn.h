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

/* One step of stochastic gradient descent, as torch.optim.SGD computes it:
 *   g = dW + weight_decay * W;  V = momentum * V + g;  W -= lr * (nesterov ? g + momentum * V : V)                  */
typedef struct {
    float lr, momentum, weight_decay;
    int   nesterov;             /* 0 or 1 */
} cnn_update;

/* A layer of the network, for `info` and for looking at what predict computed. */
typedef struct {
    const char *name, *op;      /* "conv1", "conv 6, 5x5, pad 2"                                */
    int         rank, shape[4]; /* of its output, batch first                                   */
    size_t      count;          /* elements of its output                                       */
    size_t      parameters;     /* learnt values                                                */
    double      macs;           /* multiply-adds of the forward pass for the whole batch        */
    size_t      offset;         /* of its output in what NAME_predict leaves behind, in reals   */
} cnn_layer;

/* A kernel of a step program, for `bench --profile`. */
typedef struct {
    const char *name;           /* "conv1_grad_weight"                                          */
    double      macs;           /* multiply-adds for the whole batch; 0: none worth counting    */
} cnn_kernel;

/* Times kernels when switched on: a generated step calls cnn_lap after kernel i. NULL: nothing is timed. */
typedef struct { double *seconds; double last; } cnn_profile;
void cnn_lap(cnn_profile *, int kernel);

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
