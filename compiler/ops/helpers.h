/* helpers.h - what several operators share: shape rules, sliding windows of pooling, numbers in templates. */
#ifndef OPS_HELPERS_H
#define OPS_HELPERS_H

#include "../op.h"

/* Shape rule of element-wise operators: the output's shape is the input's. */
bool  same_shape(Layer *);

/* False after an error where a flat tensor reaches an operator that needs a picture. */
bool  expect_picture(const Layer *);

/* The window of a pooling operator whose attributes begin with kernel, stride, pad and which has a ceil mode; and its
 * shape rule. False after an error, also where a window could lie in the padding altogether. */
enum { POOL_KERNEL, POOL_STRIDE, POOL_PAD };
bool  pool_window(const Layer *, int ceil_mode, Window *);
bool  pool_shape(Layer *, int ceil_mode);

/* Does a window reach beyond the padded picture (index 0 height, 1 width)? Only in ceil mode. */
bool  window_overhangs(const Window *, int direction);

/* Textbook code, inside the loop over n: clears dX[n], unless the kernel adds to what is there. */
void  clear_input_gradient(Emitter *, const Kernel *);

/* The shortest decimal that reads back as the same number: "0.1", "1e-05". */
char *number_text(Arena *, double);
/* Binds `name` to it. */
void  let_number(Emitter *, const Kernel *, const char *name, double);

/* Gradient rule of operators that only pass values on: the gradient is a view, or else the kernel copies it. */
void  pass_gradient(Program *, const Layer *, const KernelDef *copy);

/* Step rules of operators with a weight and perhaps a bias (conv, linear): Y from X, W, b; db, dW and dX from dY. */
void  forward_weighted(Program *, const Layer *, const KernelDef *forward);
void  backward_weighted(Program *, const Layer *, const KernelDef *grad_bias, const KernelDef *grad_weight,
                        const KernelDef *grad_input);

#endif
