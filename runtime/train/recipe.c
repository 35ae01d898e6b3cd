/* recipe.c - see recipe.h. The arithmetic is in flat.c, the rates are in rate.c, the optimisers in generated code. */
#include "recipe.h"
#include "commands/command.h"
#include "error.h"
#include "flat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct cnn_recipe {
    cnn_session *s;
    cnn_schedule schedule;
    cnn_update   rule;                          /* of the last update                                               */
    double       lr;                            /* of it, before it became a float                                  */
    cnn_target   target;
    float       *lr_scale, *decay_scale;        /* by tensor                                                        */
    int         *frozen;
    cnn_pieces   pieces;
    int          looked;                        /* the first piece to look at after the next update                 */
    size_t       count;                         /* of each flat array                                               */
    cnn_real    *values, *gradients;            /* the network's                                                    */
    cnn_real    *sum, *average;                 /* ours; NULL where not asked for                                   */
    long         batches, accumulate;           /* of an epoch; of a step                                           */
    long         place, summed;                 /* batches of this step so far; those of them that are in `sum`     */
};

/* ---- preparing --------------------------------------------------------------------------------------------------- */

static int freeze(cnn_recipe *r)
{
    const cnn_session *s = r->s;
    if (!cnn_session_match(s, "--freeze", &s->options.freeze, r->frozen))
        return 0;
    for (int i = 0; i < s->network->tensors(); i++)
        if (r->frozen[i])
            s->network->freeze(s->net, i, 1);
    return 1;
}

/* One "fc.*=10" of --lr-scale, `length` characters. 0 after cnn_error. */
static int scale_rate(cnn_recipe *r, const char *text, size_t length)
{
    char item[256], *end = NULL;
    int *chosen = calloc((size_t)r->s->network->tensors() + 1, sizeof *chosen);
    char *equals = length < sizeof item ? memcpy(item, text, length) : NULL;
    item[equals ? length : 0] = '\0';
    equals = strrchr(item, '=');
    double factor = equals ? strtod(equals + 1, &end) : 0;
    int fits = chosen && equals && end > equals + 1 && *end == '\0' && factor >= 0 && isfinite((float)factor);
    if (chosen == NULL)
        cnn_error("there is not enough memory");
    else if (!fits)
        cnn_error("--lr-scale %.*s: must be a pattern, '=' and a factor of at least 0, as in 'fc.*=10'",
                  (int)(length < 100 ? length : 100), text);
    if (fits) {
        *equals = '\0';
        fits = cnn_session_match(r->s, "--lr-scale", &(cnn_list){{item}, 1}, chosen);
    }
    for (int i = 0; fits && i < r->s->network->tensors(); i++)
        if (chosen[i])
            r->lr_scale[i] = (float)factor;
    free(chosen);
    return fits;
}

static int scale_rates(cnn_recipe *r)
{
    const cnn_list *list = &r->s->options.lr_scale;
    for (int i = 0; i < list->count; i++)
        for (const char *at = list->items[i]; ; ) {
            at += strspn(at, " ");
            size_t length = strcspn(at, ",");
            if (!scale_rate(r, at, length))
                return 0;
            if (at[length] == '\0')
                break;
            at += length + 1;
        }
    return 1;
}

/* Biases, and the scale and shift of batch normalisation, have one dimension. */
static void choose_decay(cnn_recipe *r)
{
    for (int i = 0; i < r->s->network->tensors(); i++) {
        r->lr_scale[i] = 1;
        r->decay_scale[i] = r->s->options.decay_biases || r->s->network->tensor(i).rank > 1;
    }
}

/* Whose first moment goes by beta1 instead of the momentum. */
static int is_adam(const cnn_options *o)
{
    return o->optimizer == CNN_ADAM || o->optimizer == CNN_ADAMW;
}

static cnn_schedule schedule_of(const cnn_options *o)
{
    cnn_schedule s = {
        .kind = (cnn_schedule_kind)o->schedule, .lr = o->lr, .momentum = is_adam(o) ? o->beta1 : o->momentum,
        .epochs = o->epochs, .steps = 1, .warmup = o->warmup, .warmup_from = o->warmup_from, .gamma = o->gamma,
        .least = o->least, .every = o->every, .pct_start = o->pct_start, .div_factor = o->div_factor,
        .final_div_factor = o->final_div_factor, .base_momentum = o->base_momentum, .max_momentum = o->max_momentum,
        .cycle_momentum = o->cycle_momentum};
    if (s.kind == CNN_MULTISTEP)
        s.milestone_count = cnn_milestones(o->milestones, s.milestones);
    return s;
}

/* The rule of the update that batch `number` is for. */
static void set_rule(cnn_recipe *r, long number)
{
    const long steps = (r->batches + r->accumulate - 1) / r->accumulate;        /* of an epoch */
    const long step = number / r->batches * steps + number % r->batches / r->accumulate;
    const cnn_rate rate = cnn_schedule_at(&r->schedule, (uint64_t)step);
    r->lr = rate.lr;
    r->rule = cnn_session_update(r->s, rate.lr * (r->s->options.lr_ranks ? cnn_ranks_count(r->s->ranks) : 1));
    *(is_adam(&r->s->options) ? &r->rule.beta1 : &r->rule.momentum) = (float)rate.momentum;
    r->rule.lr_scale = r->lr_scale;
    r->rule.decay_scale = r->decay_scale;
}

static int make_room(cnn_recipe *r)
{
    const cnn_options *o = &r->s->options;
    const size_t tensors = (size_t)r->s->network->tensors() + 1, bytes = r->count * sizeof *r->values;
    r->lr_scale = calloc(tensors, sizeof *r->lr_scale);
    r->decay_scale = calloc(tensors, sizeof *r->decay_scale);
    r->frozen = calloc(tensors, sizeof *r->frozen);
    r->sum = o->accumulate > 1 ? cnn_room(bytes) : NULL;
    r->average = o->ema > 0 ? cnn_room(bytes) : NULL;
    if (r->lr_scale && r->decay_scale && r->frozen && (r->sum || o->accumulate == 1) && (r->average || o->ema <= 0))
        return 1;
    cnn_error("there is not enough memory for the gradients that accumulate and the average of the weights");
    return 0;
}

cnn_recipe *cnn_recipe_open(cnn_session *s, const cnn_schedule *schedule)
{
    cnn_recipe *r = calloc(1, sizeof *r);
    if (r == NULL) {
        cnn_error("there is not enough memory");
        return NULL;
    }
    *r = (cnn_recipe){.s = s, .accumulate = s->options.accumulate,
                      .target = {.smoothing = (float)s->options.label_smoothing}};
    r->schedule = schedule ? *schedule : schedule_of(&s->options);
    r->values = s->network->flat(s->net, CNN_VALUES, &r->count);
    r->gradients = s->network->flat(s->net, CNN_GRADIENTS, &r->count);
    s->recipe = r;
    if (make_room(r)) {
        choose_decay(r);
        if (freeze(r) && scale_rates(r)) {
            if (cnn_pieces_open(&r->pieces, s->network, r->frozen)) {
                if (r->average)
                    memcpy(r->average, r->values, r->count * sizeof *r->average);
                return r;
            }
            cnn_error("there is not enough memory");
        }
    }
    cnn_recipe_close(r);
    return NULL;
}

void cnn_recipe_begin(cnn_recipe *r, long batches, long number)
{
    r->batches = batches;
    if (r->schedule.kind != CNN_RANGE)
        r->schedule.steps = (batches + r->accumulate - 1) / r->accumulate;
    set_rule(r, number > 0 ? number - 1 : 0);
}

void cnn_recipe_close(cnn_recipe *r)
{
    if (r == NULL)
        return;
    r->s->network->target(r->s->net, NULL);
    r->s->recipe = NULL;
    cnn_room_free(r->sum, r->count * sizeof *r->sum);
    cnn_room_free(r->average, r->count * sizeof *r->average);
    cnn_pieces_close(&r->pieces);
    free(r->lr_scale);
    free(r->decay_scale);
    free(r->frozen);
    free(r);
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

static void set_target(cnn_recipe *r, const cnn_batch *batch)
{
    r->target.other = batch ? batch->other : NULL;
    r->target.share = batch ? batch->share : NULL;
    r->s->network->target(r->s->net, r->target.smoothing > 0 || r->target.other ? &r->target : NULL);
}

/* The gradients of batch `number`. Dropout depends on the network's step: where several batches make one, it goes by their
 * number. */
static double compute(cnn_recipe *r, const cnn_batch *batch, long number)
{
    const cnn_session *s = r->s;
    const uint64_t steps = s->network->get_step(s->net);
    if (r->accumulate > 1)
        s->network->set_step(s->net, (uint64_t)number);
    if (r->accumulate == 1)
        cnn_ranks_overlap(s->ranks);
    const cnn_real *x = batch ? batch->x : s->x;
    double loss = (double)s->network->gradients(s->net, x, batch ? batch->labels : s->labels, s->logits);
    s->network->set_step(s->net, steps);
    return loss;
}

/* What all ranks' batches gave, from what this one's did. */
static void tally(cnn_recipe *r, const cnn_batch *batch, cnn_outcome *out)
{
    cnn_session *s = r->s;
    double sums[4] = {out->own, 0, batch == NULL, batch == NULL || !isfinite(out->own)};
    for (int n = 0; batch && n < s->batch; n++)
        sums[1] += cnn_best_class(s->logits + (size_t)n * (size_t)s->classes, s->classes, NULL) == batch->labels[n];
    cnn_session_agree(s, 1, sums, 4);
    out->loss = sums[0];
    out->correct = (long)sums[1];
    out->lost = sums[2] > 0;
    out->failed = sums[3] > 0;
}

/* Adds the gradients to those of the step's batches before; with the last of them, the mean is the gradient. */
static void accumulate(cnn_recipe *r, int last)
{
    if (!last) {
        (r->summed == 0 ? cnn_flat_copy : cnn_flat_add)(&r->pieces, r->sum, r->gradients);
        r->summed++;
    } else if (r->summed > 0) {
        cnn_flat_add(&r->pieces, r->gradients, r->sum);
        cnn_flat_scale(&r->pieces, r->gradients, 1 / (cnn_real)(r->summed + 1));
    }
}

/* The norm of the gradients, after which they are no longer than --clip-norm. */
static double clip(cnn_recipe *r)
{
    const double most = r->s->options.clip_norm, norm = cnn_flat_norm(&r->pieces, r->gradients);
    if (isfinite(norm) && most / (norm + 1e-6) < 1)
        cnn_flat_scale(&r->pieces, r->gradients, (cnn_real)(most / (norm + 1e-6)));
    return norm;
}

static void average(cnn_recipe *r)
{
    if (r->average && r->s->network->get_step(r->s->net) == 1)
        cnn_flat_copy(&r->pieces, r->average, r->values);
    else if (r->average)
        cnn_flat_approach(&r->pieces, r->average, r->values, (cnn_real)(1 - r->s->options.ema));
}

int cnn_recipe_finite(const cnn_recipe *r)
{
    return cnn_flat_finite(&r->pieces, r->values, 0, r->pieces.count);
}

/* The same for the next share of the pieces. Reading 16 million values takes 2 ms (ResNet-18: all of its 12 million, 0.5 % of
 * a step), and what is missed in a share makes the next loss no number. */
static int looks_finite(cnn_recipe *r)
{
    enum { SHARE = 1024 };
    const int first = r->looked, left = r->pieces.count - first, count = left < SHARE ? left : SHARE;
    r->looked = count < left ? first + count : 0;
    return cnn_flat_finite(&r->pieces, r->values, first, count);
}

cnn_outcome cnn_recipe_batch(cnn_recipe *r, const cnn_batch *batch, long number)
{
    const cnn_session *s = r->s;
    const int last = r->place + 1 == r->accumulate || number % r->batches + 1 == r->batches;
    cnn_outcome out = {.last = last};
    set_target(r, batch);
    set_rule(r, number);
    r->place = last ? 0 : r->place + 1;
    if (r->accumulate == 1 && s->options.clip_norm <= 0 && s->ranks == NULL) {
        out.own = (double)s->network->step(s->net, batch->x, batch->labels, s->logits, &r->rule);
        tally(r, batch, &out);
        out.updated = !out.failed;
    } else {
        out.own = compute(r, batch, number);
        tally(r, batch, &out);
        if (!out.failed)
            accumulate(r, last);
        if (last || out.failed)
            cnn_ranks_reduce(s->ranks);
        if (last)
            r->summed = 0;
        if (out.failed)
            return out;
        out.norm = last && s->options.clip_norm > 0 ? clip(r) : 0;
        out.updated = last && isfinite(out.norm);
        if (out.updated)
            s->network->update(s->net, &r->rule);
    }
    out.broken = out.updated && !s->options.allow_nan && !looks_finite(r);
    if (out.updated)
        average(r);
    return out;
}

const int *cnn_recipe_frozen(const cnn_recipe *r)
{
    return r->frozen;
}

double cnn_recipe_lr(const cnn_recipe *r)
{
    return r->lr;
}

void cnn_recipe_exchange(cnn_recipe *r)
{
    if (r->average)
        cnn_flat_exchange(&r->pieces, r->average, r->values);
}

/* ---- what is saved ----------------------------------------------------------------------------------------------- */

/* Exchanges tensor i of an array of ours with the network's value, which the accessors then see in its stead. */
static void exchange_tensor(cnn_recipe *r, cnn_real *array, int i)
{
    size_t first, count;
    r->s->network->span(i, &first, &count);
    for (size_t k = first; k < first + count; k++) {
        cnn_real kept = array[k];
        array[k] = r->values[k];
        r->values[k] = kept;
    }
}

static void get_through(cnn_recipe *r, cnn_real *array, int i, cnn_real *out)
{
    exchange_tensor(r, array, i);
    r->s->network->get(r->s->net, i, out);
    exchange_tensor(r, array, i);
}

static void set_through(cnn_recipe *r, cnn_real *array, int i, const cnn_real *in)
{
    exchange_tensor(r, array, i);
    r->s->network->set(r->s->net, i, in);
    exchange_tensor(r, array, i);
}

static void get_average(const void *r, int i, cnn_real *out)
{
    get_through((cnn_recipe *)r, ((const cnn_recipe *)r)->average, i, out);
}

static void set_average(void *r, int i, const cnn_real *in)
{
    set_through(r, ((const cnn_recipe *)r)->average, i, in);
}

static void get_second(const void *r, int i, cnn_real *out)
{
    const cnn_session *s = ((const cnn_recipe *)r)->s;
    s->network->get_moment(s->net, 2, i, out);
}

static void set_second(void *r, int i, const cnn_real *in)
{
    const cnn_session *s = ((const cnn_recipe *)r)->s;
    s->network->set_moment(s->net, 2, i, in);
}

int cnn_recipe_items(cnn_recipe *r, cnn_stored *items)
{
    const cnn_network *network = r->s->network;
    int count = 0;
    for (int i = 0; i < network->tensors(); i++) {
        const cnn_tensor t = network->tensor(i);
        if (t.trainable && r->s->options.optimizer != CNN_SGD)
            items[count++] = (cnn_stored){"square.", t, get_second, set_second, r, i};
        if (t.trainable && r->average)
            items[count++] = (cnn_stored){"trained.", t, network->get, network->set, r->s->net, i};
    }
    return count;
}

void cnn_recipe_weights(cnn_recipe *r, cnn_stored *items, int count)
{
    for (int i = 0; r->average && i < count; i++)
        if (items[i].tensor.trainable) {
            items[i].get = get_average;
            items[i].set = set_average;
            items[i].context = r;
        }
}
