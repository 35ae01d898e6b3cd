/* finite.c - why a loss is no number: the first tensor of the step that is not finite, and the pass that it came from.
 *
 * A step whose loss is not finite changes no weights, so it can be run again on the same batch, with a watch (cnn.h)
 * that looks at what each kernel left behind: dropout depends on the step alone, so the numbers are the same. What the
 * step begins with, pictures and weights, is looked at first. Running statistics are not: a training step only writes
 * them.
 *
 * A gradient that overflows where the loss does not is found in the weights that it has changed, tensor by tensor in the order
 * in which the backward pass completes their gradients.
 */
#include "run.h"

#include <math.h>
#include <stdio.h>

typedef struct { const cnn_session *s; char *text; size_t size; int found; } Search;

static int all_finite(const cnn_real *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return 0;
    return 1;
}

/* Whether a tensor of the network is finite in a part of its state. */
static int tensor_finite(const cnn_session *s, cnn_part part, int tensor)
{
    size_t all, first, count;
    const cnn_real *values = s->network->flat(s->net, part, &all);
    s->network->span(tensor, &first, &count);
    return all_finite(values + first, count);
}

static void look_at_output(Search *f, const cnn_kernel *k)
{
    const cnn_real *at = f->s->network->arena(f->s->net) + k->offset;
    for (size_t piece = 0; !f->found && k->count > 0 && piece < k->times; piece++)
        f->found = !all_finite(at + piece * k->pitch, k->count);
    if (!f->found)
        return;
    if (k->pass == CNN_BACKWARD)
        snprintf(f->text, f->size, "the gradient that %s computes (backward)", k->name);
    else if (k->pass == CNN_LOSS)
        snprintf(f->text, f->size, "what %s computes", k->name);
    else if (k->layer < 0)
        snprintf(f->text, f->size, "the pictures");
    else
        snprintf(f->text, f->size, "output of %s (forward)", f->s->facts->layers[k->layer].name);
}

/* After kernel i of the step that is run again. */
static void look(void *context, int i)
{
    Search *f = context;
    const cnn_kernel *k = &f->s->facts->gradients[i];
    const int most = (int)(sizeof k->gradient / sizeof *k->gradient);
    if (!f->found)
        look_at_output(f, k);
    for (int g = 0; !f->found && g < most && k->gradient[g] >= 0; g++) {
        f->found = !tensor_finite(f->s, CNN_GRADIENTS, k->gradient[g]);
        if (f->found)
            snprintf(f->text, f->size, "gradient of %s (backward)", f->s->network->tensor(k->gradient[g]).name);
    }
}

int cnn_find_broken(const cnn_session *s, char *text, size_t size)
{
    for (int i = 0; i < s->facts->gradients_count; i++) {
        const cnn_kernel *k = &s->facts->gradients[i];
        const int most = (int)(sizeof k->gradient / sizeof *k->gradient);
        for (int g = 0; g < most && k->gradient[g] >= 0; g++)
            if (!tensor_finite(s, CNN_VALUES, k->gradient[g])) {
                snprintf(text, size, "%s", s->network->tensor(k->gradient[g]).name);
                return 1;
            }
    }
    return 0;
}

int cnn_find_not_finite(cnn_session *s, const cnn_real *x, const int32_t *labels, char *text, size_t size)
{
    Search search = {s, text, size, 0};
    if (!all_finite(x, (size_t)s->batch * s->pixels)) {
        snprintf(text, size, "the pictures");
        return 1;
    }
    for (int i = 0; i < s->network->tensors(); i++)
        if (s->network->tensor(i).trainable && !tensor_finite(s, CNN_VALUES, i)) {
            snprintf(text, size, "%s (before the step)", s->network->tensor(i).name);
            return 1;
        }
    const cnn_watch watch = {look, &search, 1};
    s->network->watch(s->net, &watch);
    s->network->gradients(s->net, x, labels, s->logits);
    s->network->watch(s->net, NULL);
    return search.found;
}
