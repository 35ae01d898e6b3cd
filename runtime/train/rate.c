/* rate.c - the formulas of rate.h. */
#include "rate.h"

#include <math.h>
#include <stdlib.h>

static const double pi = 3.14159265358979323846;

/* From `start` at share 0 to `end` at share 1, along half a cosine. */
static double half_cosine(double start, double end, double share)
{
    return end + (start - end) / 2 * (cos(pi * share) + 1);
}

/* Step t of `total` of the one cycle. Its first phase ends at step pct_start * total - 1, which need not be whole, as
 * in OneCycleLR. */
static cnn_rate one_cycle(const cnn_schedule *s, double t, double total)
{
    const double peak = s->pct_start * total - 1, last = total - 1, first = s->lr / s->div_factor;
    cnn_rate rate = {s->lr, s->base_momentum};
    if (t <= peak && peak > 0) {
        rate.lr = half_cosine(first, s->lr, t / peak);
        rate.momentum = half_cosine(s->max_momentum, s->base_momentum, t / peak);
    } else if (last > peak) {
        const double share = (t - peak) / (last - peak);
        rate.lr = half_cosine(s->lr, first / s->final_div_factor, share);
        rate.momentum = half_cosine(s->base_momentum, s->max_momentum, share);
    }
    if (!s->cycle_momentum)
        rate.momentum = s->momentum;
    return rate;
}

/* How many milestones lie at or before step t. */
static int passed(const cnn_schedule *s, double t)
{
    int count = 0;
    for (int i = 0; i < s->milestone_count; i++)
        count += (double)s->milestones[i] * (double)s->steps <= t;
    return count;
}

cnn_rate cnn_schedule_at(const cnn_schedule *s, uint64_t step)
{
    const double all = fmax(1, (double)s->epochs * (double)s->steps);
    const double warm = fmin(floor(s->warmup * (double)s->steps + 0.5), all);
    const double now = fmin((double)step, all - 1), t = now - warm, total = all - warm;
    cnn_rate rate = {s->lr, s->momentum};
    if (t < 0) {
        rate.lr *= s->warmup_from + (1 - s->warmup_from) * now / warm;
        return rate;
    }
    switch (s->kind) {
    case CNN_CONSTANT:  break;
    case CNN_STEP:      rate.lr *= pow(s->gamma, floor(t / ((double)s->every * (double)s->steps))); break;
    case CNN_MULTISTEP: rate.lr *= pow(s->gamma, passed(s, t)); break;
    case CNN_COSINE:    rate.lr = half_cosine(s->lr, s->least, t / total); break;
    case CNN_RANGE:     rate.lr *= pow(s->most / s->lr, t / fmax(1, total - 1)); break;
    case CNN_ONECYCLE:  rate = one_cycle(s, t, total); break;
    }
    return rate;
}

int cnn_milestones(const char *text, long milestones[CNN_MILESTONES])
{
    enum { MOST = 1000000 };
    int count = 0;
    for (long before = 0; count < CNN_MILESTONES; before = milestones[count++]) {
        char *end;
        milestones[count] = strtol(text, &end, 10);
        if (end == text || milestones[count] <= before || milestones[count] > MOST || (*end != ',' && *end != '\0'))
            return -1;
        if (*end == '\0')
            return count + 1;
        text = end + 1;
    }
    return -1;
}
