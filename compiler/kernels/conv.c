/* conv.c - the ways to compute a convolution's passes, best first: schedule.c takes the first that fits. */
#include "kernels.h"

const FastKernel *const conv_forward_families[] = {NULL};
const FastKernel *const conv_grad_input_families[] = {NULL};
const FastKernel *const conv_grad_weight_families[] = {NULL};
const FastKernel *const conv_grad_bias_families[] = {NULL};
