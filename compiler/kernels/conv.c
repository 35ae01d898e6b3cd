/* conv.c - the ways to compute a convolution's passes, best first: schedule.c takes the first that fits. */
#include "kernels.h"

const FastKernel *const conv_forward_families[] = {&few_forward, &first_forward, &depthwise_forward, &winograd_forward,
                                                   &direct_forward, &direct_rows_forward, NULL};
const FastKernel *const conv_grad_input_families[] = {&few_grad_input, &depthwise_grad_input, &winograd_grad_input,
                                                      &direct_grad_input, &direct_rows_grad_input, NULL};
const FastKernel *const conv_grad_weight_families[] = {&few_grad_weight, &first_grad_weight, &depthwise_grad_weight,
                                                       &winograd_grad_weight, &direct_grad_weight, NULL};
const FastKernel *const conv_grad_bias_families[] = {&direct_grad_bias, NULL};
