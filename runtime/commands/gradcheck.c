/* gradcheck.c - `gradcheck`: every gradient of this network against difference quotients of its loss.
 *
 * In double precision entry by entry, with central differences
 *     (L(w + eps) - L(w - eps)) / (2 eps),    |quotient - gradient| <= atol + rtol |gradient|,
 *     eps 1e-6, rtol 1e-3, atol 1e-5
 * where an entry that fails is tried again with eps 1e-7 and 1e-8: within eps of a kink (relu, maxpool) the quotient
 * mixes two slopes, and a smaller eps stays on one side. Rounding adds 1e-16 / eps, which is below atol for all three.
 *
 * In float the rounding of the loss (2^-24) would drown such quotients. There the slope along the gradient g of a whole
 * tensor is compared: with steps of length h along d = g / |g| the loss changes by h |g|, and h is chosen so that this
 * is 1% of the loss: large against its rounding (a relative error of 1e-5), small against the curvature. A slope that
 * fails is measured again with 4, 16 and 64 times smaller steps: the error of curvature and kinks falls with h, and the
 * rounding that is allowed for, 32 units of the loss's last place, rises to 2%. So a slope that is wrong by 3% is seen.
 * A gradient that is wrong in a direction at right angles to itself (entries that are 0 and should not be) passes: the
 * entry-wise check of a trainer built with cnnc --double sees it.
 *
 * All losses are of one training step, and so of one dropout mask. Weights are put back after each quotient.
 */
#include "command.h"
#include "error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 1 in float builds. A constant, so that both checks are compiled in both builds. */
enum { SLOPES = sizeof(cnn_real) < sizeof(double), TRIALS = SLOPES ? 4 : 3 };

static const double relative = SLOPES ? 1e-2 : 1e-3, absolute = 1e-5;

typedef struct {
    cnn_session *s;
    int          tensor;
    size_t       count;
    cnn_real    *weights, *moved, *gradient;    /* of the tensor */
    double       loss;                          /* at the weights */
    uint64_t     step;
    cnn_progress progress;
    long         done;
} Check;

/* What is shown of a tensor: the entry with the largest error, as a part of what is allowed. */
typedef struct { size_t entry; double error, gradient, quotient; } Worst;

static double loss_of(Check *c, const cnn_real *weights)
{
    cnn_session *s = c->s;
    s->network->set(s->net, c->tensor, weights);
    s->network->set_step(s->net, c->step);
    return (double)s->network->gradients(s->net, s->x, s->labels, s->logits);
}

/* |quotient - gradient| <= absolute + relative |gradient|, on a scale where `relative` is the limit; floor is
 * absolute / relative. */
static double error_of(double quotient, double gradient, double floor)
{
    double error = fabs(quotient - gradient) / (fabs(gradient) + floor);
    return isfinite(error) ? error : HUGE_VAL;
}

static Worst check_entry(Check *c, size_t entry)
{
    Worst best = {entry, HUGE_VAL, (double)c->gradient[entry], 0};
    double eps = 1e-6;
    for (int trial = 0; trial < TRIALS && !(best.error <= relative); trial++, eps /= 10) {
        cnn_real old = c->weights[entry], above = old + (cnn_real)eps, below = old - (cnn_real)eps;
        c->moved[entry] = above;
        double up = loss_of(c, c->moved);
        c->moved[entry] = below;
        double down = loss_of(c, c->moved), quotient = (up - down) / ((double)above - (double)below);
        c->moved[entry] = old;
        double error = error_of(quotient, best.gradient, absolute / relative);
        if (error < best.error || trial == 0)
            best.error = error, best.quotient = quotient;
    }
    return best;
}

/* The slope along the gradient, or along random signs where the gradient is 0. */
static Worst check_slope(Check *c)
{
    double square = 0, weight_square = 0;
    for (size_t j = 0; j < c->count; j++) {
        square += (double)c->gradient[j] * (double)c->gradient[j];
        weight_square += (double)c->weights[j] * (double)c->weights[j];
    }
    double norm = sqrt(square), size = sqrt((double)c->count), unit = 0.1 * (sqrt(weight_square) + 0.1 * size);
    double h = norm > 0 ? fmin(0.01 * fmax(c->loss, 0.1) / norm, unit) : unit;      /* never a leap in the weights */

    Worst best = {0, HUGE_VAL, norm, 0};
    for (int trial = 0; trial < TRIALS && !(best.error <= relative); trial++, h /= 4) {
        double expected = 0, losses[2];
        for (int side = 0; side < 2; side++) {
            double way = side ? -h : h;
            for (size_t j = 0; j < c->count; j++) {
                double sign = cnn_uniform((uint64_t)c->s->options.seed, 0x7369676e, 0, (uint32_t)j) < 0.5f ? -1 : 1;
                double d = norm > 0 ? (double)c->gradient[j] / norm : sign / size;
                c->moved[j] = (cnn_real)((double)c->weights[j] + way * d);
                /* the step as it was rounded, so that only the loss brings rounding in */
                expected += (double)c->gradient[j] * ((double)c->moved[j] - (double)c->weights[j]) / (2 * way);
            }
            losses[side] = loss_of(c, c->moved);
        }
        double quotient = (losses[0] - losses[1]) / (2 * h), rounding = 32 * 0x1p-24 * (1 + c->loss) / h;
        double error = error_of(quotient, expected, rounding / relative);
        if (error < best.error || trial == 0)
            best = (Worst){0, error, expected, quotient};
    }
    return best;
}

/* Entries to check: all, or `limit` spread over the tensor, one in each of as many equal parts. */
static size_t entries_of(size_t count, long limit)
{
    return SLOPES || limit == 0 || (size_t)limit > count ? count : (size_t)limit;
}

static Worst check_tensor(Check *c)
{
    size_t entries = entries_of(c->count, c->s->options.entries);
    Worst worst = {0, -1, 0, 0};
    memcpy(c->moved, c->weights, c->count * sizeof *c->moved);
    for (size_t e = 0; e < (SLOPES ? 1 : entries); e++) {
        double within = cnn_uniform((uint64_t)c->s->options.seed, (uint32_t)c->tensor, 0x656e7472, (uint32_t)e);
        size_t entry = entries == c->count ? e : (size_t)(((double)e + within) * (double)c->count / (double)entries);
        Worst found = SLOPES ? check_slope(c) : check_entry(c, entry);
        if (found.error > worst.error)
            worst = found;
        cnn_progress_show(&c->progress, ++c->done, "");
    }
    c->s->network->set(c->s->net, c->tensor, c->weights);
    return worst;
}

static int print_tensor(Check *c, const Worst *worst)
{
    cnn_tensor t = c->s->network->tensor(c->tensor);
    int wrong = !(worst->error <= relative);
    cnn_progress_end(&c->progress);
    cnn_line line = cnn_line_begin(&c->s->options, "gradient");
    cnn_line_text(&line, "tensor", t.name);
    cnn_line_integer(&line, "entries", (long long)entries_of(c->count, c->s->options.entries));
    cnn_line_real(&line, "error", worst->error, -1);
    cnn_line_text(&line, "gradient", wrong ? "WRONG" : "ok");
    if (wrong) {
        if (!SLOPES)
            cnn_line_integer(&line, "entry", (long long)worst->entry);
        cnn_line_real(&line, "computed", worst->gradient, 9);
        cnn_line_real(&line, "measured", worst->quotient, 9);
    }
    cnn_line_end(&line);
    return wrong;
}

/* Biases and the like get values: at 0 whole groups of units may sit on a kink. */
static void move_vectors(cnn_session *s, cnn_real *values, cnn_real *noise)
{
    for (int i = 0; i < s->network->tensors(); i++) {
        cnn_tensor t = s->network->tensor(i);
        if (!t.trainable || t.rank != 1)
            continue;
        s->network->get(s->net, i, values);
        cnn_fill_uniform(noise, t.count, 0.1, (uint64_t)s->options.seed, 0x6e6f6973 + (uint32_t)i);
        for (size_t j = 0; j < t.count; j++)
            values[j] += noise[j];
        s->network->set(s->net, i, values);
    }
}

/* Checks the chosen tensors; how many are wrong. */
static int check_all(Check *c, const int *chosen)
{
    cnn_session *s = c->s;
    int wrong = 0;
    long total = 0;
    for (int i = 0; i < s->network->tensors(); i++)
        if (chosen[i])
            total += SLOPES ? 1 : (long)entries_of(s->network->tensor(i).count, s->options.entries);
    for (int i = 0; i < s->network->tensors(); i++) {
        if (!chosen[i])
            continue;
        c->tensor = i;
        c->count = s->network->tensor(i).count;
        c->progress = cnn_progress_begin("gradcheck", c->done, total, 0);
        s->network->get(s->net, i, c->weights);
        c->loss = loss_of(c, c->weights);
        s->network->get_grad(s->net, i, c->gradient);
        Worst worst = check_tensor(c);
        wrong += print_tensor(c, &worst);
    }
    return wrong;
}

int cnn_gradcheck(cnn_session *s)
{
    if (!cnn_session_open(s))
        return CNN_FAILED;
    int tensors = s->network->tensors(), status = CNN_FAILED;
    size_t largest = 1;
    for (int i = 0; i < tensors; i++)
        largest = s->network->tensor(i).count > largest ? s->network->tensor(i).count : largest;
    Check c = {.s = s, .step = s->network->get_step(s->net)};
    int *chosen = calloc((size_t)tensors + 1, sizeof *chosen);
    c.weights = calloc(3 * largest, sizeof *c.weights);
    if (s->options.tensor.count == 0)
        s->options.tensor.items[s->options.tensor.count++] = "*";
    if (chosen == NULL || c.weights == NULL) {
        cnn_error("there is not enough memory");
    } else if (cnn_session_match(s, "--tensor", &s->options.tensor, chosen) && cnn_session_random_batch(s)) {
        c.moved = c.weights + largest;
        c.gradient = c.moved + largest;
        move_vectors(s, c.weights, c.moved);
        int wrong = check_all(&c, chosen);
        if (SLOPES && !s->options.json)
            printf("float: the slope along each gradient, to 1e-2; a trainer made by cnnc --double checks entries\n");
        if (wrong)
            cnn_error("%d of the gradients %s wrong", wrong, wrong == 1 ? "is" : "are");
        status = wrong ? CNN_FAILED : CNN_OK;
    }
    free(chosen);
    free(c.weights);
    return status;
}
