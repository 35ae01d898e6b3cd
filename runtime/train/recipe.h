/* recipe.h - one training step as the options ask: its rate, its target, its gradients and what is done to them, its update.
 *
 * In this order, for each batch:
 *   rate         of the step, and its momentum, from the schedule (rate.h)
 *   target       labels, smoothed and mixed where asked (cnn_target)
 *   gradients    of the batch; where several batches make a step, their mean, taken with its last one. The last step of an
 *                epoch takes what is left. Each batch draws its own dropout masks
 *   clipping     as torch.nn.utils.clip_grad_norm_: where the norm n of all trained gradients is above the limit c they
 *                are multiplied by c / (n + 1e-6). Frozen tensors do not count
 *   update       by the optimiser (cnn_update), with factors of rate and decay by tensor
 *   a look       whether the weights are finite still: a gradient may overflow where the loss does not
 *   average      mean = decay * mean + (1 - decay) * weights, beginning with the weights after the first step, as
 *                torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay). Buffers (running statistics) are
 *                not averaged: the mean goes with the latest ones, as there
 * The average is what is evaluated and saved as the weights; a run's state then holds the weights that are trained.
 */
#ifndef CNN_RECIPE_H
#define CNN_RECIPE_H

#include "commands/session.h"
#include "data/loader.h"
#include "rate.h"

typedef struct cnn_recipe cnn_recipe;

/* Prepares the opened session's network as its options say, freezing included. `schedule` takes the place of the options'
 * unless it is NULL. The session knows its recipe from now on: a checkpoint may be loaded. NULL after cnn_error. */
cnn_recipe *cnn_recipe_open(cnn_session *, const cnn_schedule *schedule);
void        cnn_recipe_close(cnn_recipe *);             /* NULL is allowed                                          */

/* How many batches an epoch has, 1 or more, and the number of the one that comes first, which begins a step. Comes before the
 * first batch. */
void        cnn_recipe_begin(cnn_recipe *, long batches, long number);

/* Trains on batch `number`, counted from the beginning of epoch 0; s->logits receives its logits. Its place in the schedule
 * follows from that number, not from the updates done: so a run whose steps take more or fewer pictures than before goes on
 * at the same part of its schedule, while optimisers go on counting updates. Of several ranks each
 * trains on its own batch, all of which have one number; NULL where it cannot be had: then this rank goes through the motions
 * with a random batch of the session, as the others wait for it. When something failed or the norm is not finite nothing was
 * updated. */
typedef struct {
    double own;                 /* loss of this rank's batch                                                        */
    double loss;                /* sum over all ranks' batches                                                      */
    long   correct;             /* pictures of theirs whose best class is their label                               */
    double norm;                /* of the gradients before clipping; 0 where nothing is clipped                     */
    int    lost, failed;        /* some rank's batch could not be had; or its loss is not finite                    */
    int    last;                /* of its step: the next one begins another                                         */
    int    updated;             /* it was, and weights have changed                                                 */
    int    broken;              /* and are not finite now: not looked for with --allow-nan                          */
} cnn_outcome;
cnn_outcome cnn_recipe_batch(cnn_recipe *, const cnn_batch *, long number);

/* Whether all that is trained is finite. After each update that is looked at too: at all of it, or where there are more than
 * 16 million values, at a share in turn. */
int cnn_recipe_finite(const cnn_recipe *);

const int *cnn_recipe_frozen(const cnn_recipe *);       /* [tensors]: 1 for those that are not trained              */
double cnn_recipe_lr(const cnn_recipe *);               /* learning rate of the last batch, or of the first         */

/* Puts the average in the place of the weights, and the next call puts them back. Nothing happens without an average. */
void cnn_recipe_exchange(cnn_recipe *);

/* What a checkpoint keeps beside the first moments: adds items to a list with room for 2 a tensor, and says how many. */
int  cnn_recipe_items(cnn_recipe *, cnn_stored *items);
/* Makes the items of the weights, item i of tensor i, those of the average where there is one. */
void cnn_recipe_weights(cnn_recipe *, cnn_stored *items, int count);

#endif
