/* update.c - from the optimiser that a trainer asks for to the numbers that one tensor's update computes with.
 *
 * Adam's moments begin at 0 and are too small by 1 - beta^t after t steps (Kingma and Ba 2015, section 3).
 */
#include "cnn.h"

#include <math.h>

cnn_rule cnn_rule_of(const cnn_update *u, uint64_t step, int tensor)
{
    const cnn_real lr = u->lr * (u->lr_scale ? (cnn_real)u->lr_scale[tensor] : 1);
    const cnn_real decay = u->weight_decay * (u->decay_scale ? (cnn_real)u->decay_scale[tensor] : 1);
    const int decoupled = u->optimizer == CNN_ADAMW, adam = decoupled || u->optimizer == CNN_ADAM;
    const double t = (double)step + 1;
    return (cnn_rule){
        .nesterov = u->nesterov, .lr = lr, .momentum = u->momentum, .weight_decay = decoupled ? 0 : decay,
        .keep = decoupled ? 1 - lr * decay : 1, .beta1 = u->beta1, .beta2 = u->beta2, .epsilon = u->epsilon,
        .alpha = u->alpha,
        .first_share = adam ? (cnn_real)(1 - pow((double)u->beta1, t)) : 1,
        .second_share = adam ? (cnn_real)sqrt(1 - pow((double)u->beta2, t)) : 1};
}
