/* avgpool.c - means of windows and of whole pictures. */
#include "kernels.h"

const FastKernel *const avgpool_forward_families[] = {NULL};
const FastKernel *const avgpool_grad_input_families[] = {NULL};
const FastKernel *const adaptive_avgpool_forward_families[] = {NULL};
const FastKernel *const adaptive_avgpool_grad_input_families[] = {NULL};
const FastKernel *const global_avgpool_forward_families[] = {NULL};
const FastKernel *const global_avgpool_grad_input_families[] = {NULL};
