/* fake_network.h - a small network written by hand, for tests of the trainer: batch 8, 1x6x6 pictures, 10 classes.
 *
 *   hidden = relu(W1 x + b1), 12 units;  dropout 1/8 of hidden by (seed, step);  logits = W2 hidden + b2;
 *   loss = softmax cross-entropy. Tensors: 0.weight 12x36, 0.bias 12, 1.mean 12 (a buffer: the running mean of hidden),
 *   2.weight 10x12, 2.bias 10, 2.num_batches_tracked (a buffer, integer).
 *
 * It is a program like any generated one: fake_network.c with -DCNN_MAIN, and libcnn.a. The environment
 * breaks it on purpose:
 *   FAKE_WRONG=1           the gradient of 2.weight is 5% too large
 *   FAKE_WRONG_ENTRY=1     one entry of the gradient of 0.weight has the wrong sign
 *   FAKE_NAN=STEP          the loss of that step is not a number
 *   FAKE_OVERFLOW=STEP     an entry of the gradient of 2.weight is infinite in that step, and its loss is not
 *   FAKE_NO_MEMORY=1       fake_new returns NULL
 *   FAKE_SLOW=MS           every step takes so many milliseconds more
 *   FAKE_PRINT=1           every picture trained on is a line of digits on stderr
 *   FAKE_SIGNAL=STEP,N     signal N arrives during that step; with ,N again, N arrives twice
 *   FAKE_DIE=CALL          the process is killed before that call of open, write, fsync, rename, link or unlink
 *   FAKE_FAIL=CALL         that call fails with ENOSPC, or with the number that FAKE_CAUSE says
 *   FAKE_SHORT=1           every write writes only half of what it is given
 *   FAKE_ALLOC=CALL        that call of malloc, calloc or realloc in the runtime returns NULL
 *   FAKE_COUNT=1           prints the numbers of such calls, to the disk and for memory, on stderr at the end
 */
#ifndef FAKE_NETWORK_H
#define FAKE_NETWORK_H

#include "../runtime/trainer.h"

enum { FAKE_BATCH = 8, FAKE_SIDE = 6, FAKE_INPUT = 36, FAKE_HIDDEN = 12, FAKE_CLASSES = 10 };

extern const cnn_facts fake_facts;

typedef struct fake fake;
fake      *fake_new(uint64_t seed);
void       fake_free(fake *);
int        fake_tensors(void);
cnn_tensor fake_tensor(int i);
void       fake_shape(int input[4], int output[4]);
void       fake_get(const fake *, int i, cnn_real *out);
void       fake_set(fake *, int i, const cnn_real *in);
void       fake_get_grad(const fake *, int i, cnn_real *out);
void       fake_get_moment(const fake *, int order, int i, cnn_real *out);
void       fake_set_moment(fake *, int order, int i, const cnn_real *in);
cnn_real  *fake_flat(fake *, cnn_part part, size_t *count);
void       fake_span(int i, size_t *first, size_t *count);
void       fake_freeze(fake *, int i, int frozen);
uint64_t   fake_get_step(const fake *);
void       fake_set_step(fake *, uint64_t step);
void       fake_predict(fake *, const cnn_real *x, cnn_real *logits);
cnn_real   fake_gradients(fake *, const cnn_real *x, const int32_t *labels, cnn_real *logits);
void       fake_update(fake *, const cnn_update *);
cnn_real   fake_step(fake *, const cnn_real *x, const int32_t *labels, cnn_real *logits, const cnn_update *);
const cnn_real *fake_output(const fake *, int layer);
const cnn_real *fake_arena(const fake *);
void       fake_target(fake *, const cnn_target *);
void       fake_watch(fake *, const cnn_watch *);

#endif
