/* batchnorm.c - batch normalisation. */
#include "kernels.h"

const FastKernel *const batchnorm_train_families[] = {NULL};
const FastKernel *const batchnorm_predict_families[] = {NULL};
const FastKernel *const batchnorm_grad_scale_families[] = {NULL};
const FastKernel *const batchnorm_grad_input_families[] = {NULL};
