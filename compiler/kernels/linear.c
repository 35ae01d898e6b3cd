/* linear.c - fully connected layers: matrix products on rows. */
#include "kernels.h"

const FastKernel *const linear_forward_families[] = {NULL};
const FastKernel *const linear_grad_input_families[] = {NULL};
const FastKernel *const linear_grad_weight_families[] = {NULL};
const FastKernel *const linear_grad_bias_families[] = {NULL};
