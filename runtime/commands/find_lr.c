/* find_lr.c - `find-lr`: which learning rate to begin with (the range test of Smith 2017, section 3.3).
 *
 * The rate grows exponentially from step to step, over batches of the training set; the loss, smoothed by a running mean
 * with its bias taken out, stands still while the rate is too small, falls, and grows when it is too large. The rate where
 * it falls fastest against the logarithm of the rate is a good one to begin with. Everything else of the recipe is as in
 * `train`.
 */
#include "command.h"
#include "train/chart.h"
#include "error.h"
#include "train/recipe.h"
#include "files/save.h"

#include <math.h>
#include <stdlib.h>

/* The running mean forgets a fiftieth each step; a loss of so many times the least one ends the test. */
static const double keep = 0.98, too_large = 4;

typedef struct {
    cnn_session *s;
    cnn_dataset *data;
    cnn_loader  *loader;
    cnn_recipe  *recipe;
    long         batches;               /* of an epoch                                                              */
    long         at;                    /* batches taken                                                            */
    double      *lr, *loss;             /* by step: the rate and the smoothed loss                                  */
    int          count;
} Search;

/* Batches that so many steps take: the last step of an epoch may take fewer than the others. */
static long batches_of(long steps, long batches, long accumulate)
{
    const long an_epoch = (batches + accumulate - 1) / accumulate, left = steps % an_epoch * accumulate;
    return steps / an_epoch * batches + (left < batches ? left : batches);
}

static int prepare(Search *f)
{
    cnn_session *s = f->s;
    const cnn_options *o = &s->options;
    if (!(o->find_from < o->find_to)) {
        cnn_error("--from %g: must be below --to %g", o->find_from, o->find_to);
        return 0;
    }
    if (!cnn_session_open(s) || !cnn_session_initialise(s) || !cnn_session_normalise(s))
        return 0;
    f->data = cnn_session_data(s, CNN_TRAIN, &o->augment);
    if (f->data == NULL)
        return 0;
    f->batches = cnn_session_batches(s, f->data, 1);
    if (f->batches == 0) {
        cnn_error("%s: has fewer pictures than one batch of %d\ncompile the network with cnnc --batch 1", o->data,
                  s->batch);
        return 0;
    }
    const cnn_schedule range = {
        .kind = CNN_RANGE, .lr = o->find_from, .most = o->find_to, .epochs = 1, .steps = o->find_steps,
        .momentum = o->optimizer == CNN_ADAM || o->optimizer == CNN_ADAMW ? o->beta1 : o->momentum};
    f->recipe = cnn_recipe_open(s, &range);
    if (f->recipe)
        cnn_recipe_begin(f->recipe, f->batches, 0);
    const long end = batches_of(o->find_steps, f->batches, o->accumulate);
    f->loader = f->recipe ? cnn_session_loader(s, f->data, CNN_LOAD_TRAINING, 0, end) : NULL;
    f->lr = calloc((size_t)o->find_steps, sizeof *f->lr);
    f->loss = calloc((size_t)o->find_steps, sizeof *f->loss);
    if (f->loader && (f->lr == NULL || f->loss == NULL))
        cnn_error("there is not enough memory");
    return f->loader && f->lr && f->loss;
}

/* The mean loss of the batches of one step, at the rate *lr. 0 after cnn_error. */
static int step(Search *f, double *loss, double *lr)
{
    long batches = 0;
    *loss = 0;
    for (cnn_outcome out = {.updated = 0}; !out.updated; batches++, f->at++) {
        const cnn_batch *batch = cnn_loader_next(f->loader);
        if (batch == NULL) {
            cnn_loader_report(f->loader);
            return 0;
        }
        out = cnn_recipe_batch(f->recipe, batch, f->at);
        *loss += out.loss + (isfinite(out.norm) ? 0 : out.norm);
        if (!isfinite(*loss))
            return *lr = cnn_recipe_lr(f->recipe), 1;
    }
    *loss /= (double)batches;
    *lr = cnn_recipe_lr(f->recipe);
    return 1;
}

static void print_step(const Search *f, double loss)
{
    cnn_line line = cnn_line_begin(&f->s->options, "step");
    cnn_line_part(&line, "step", "steps", f->count, f->s->options.find_steps);
    cnn_line_real(&line, "lr", f->lr[f->count - 1], -1);
    cnn_line_real(&line, "loss", loss, 4);
    cnn_line_real(&line, "smoothed", f->loss[f->count - 1], 4);
    cnn_line_end(&line);
}

/* All steps, or those before the loss explodes. 0 after cnn_error. */
static int search(Search *f)
{
    double mean = 0, weight = 0, least = HUGE_VAL;
    while (f->count < f->s->options.find_steps) {
        double loss, lr;
        if (!step(f, &loss, &lr))
            return 0;
        mean = keep * mean + (1 - keep) * loss;
        weight = keep * weight + (1 - keep);
        if (!isfinite(loss) || mean / weight > too_large * least)
            return 1;
        f->lr[f->count] = lr;
        f->loss[f->count] = mean / weight;
        least = fmin(least, mean / weight);
        f->count++;
        print_step(f, loss);
    }
    return 1;
}

/* The rate of the steepest descent between two steps, at its geometric middle; 0 where the loss never falls. */
static double steepest(const Search *f)
{
    double least = 0, rate = 0;
    for (int i = 1; i < f->count; i++) {
        const double slope = (f->loss[i] - f->loss[i - 1]) / log(f->lr[i] / f->lr[i - 1]);
        if (slope < least) {
            least = slope;
            rate = sqrt(f->lr[i] * f->lr[i - 1]);
        }
    }
    return rate;
}

static int draw(const Search *f, double rate)
{
    char title[128];
    const double *ends = f->loss;
    double least = ends[0], most = ends[0];
    for (int i = 0; i < f->count; i++)
        least = fmin(least, ends[i]), most = fmax(most, ends[i]);
    const double x[2] = {rate, rate}, y[2] = {least, most};
    const cnn_chart_panel panel = {.x_label = "learning rate", .y_label = "smoothed loss", .x_log = 1, .count = 2,
        .lines = {{"loss", f->lr, f->loss, f->count}, {"suggested rate", x, y, 2}}};
    snprintf(title, sizeof title, "%.60s: loss against learning rate", f->s->facts->name);
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out)
        cnn_chart_write(out, title, &panel, 1);
    int drawn = out && fclose(out) == 0;
    if (!drawn)
        cnn_error("there is not enough memory to draw %s", f->s->options.chart);
    drawn = drawn && cnn_save_bytes(f->s->options.chart, text, length);
    free(text);
    return drawn;
}

int cnn_find_lr(cnn_session *s)
{
    Search f = {.s = s};
    int done = prepare(&f) && search(&f);
    double rate = done ? steepest(&f) : 0;
    if (done && rate <= 0)
        done = (cnn_error("the loss never falls between the learning rates %g and %g\ntry others with --from and --to, "
                          "or more --steps", s->options.find_from, s->options.find_to), 0);
    if (done && s->options.chart)
        done = draw(&f, rate);
    if (done) {
        cnn_line line = cnn_line_begin(&s->options, "suggestion");
        cnn_line_real(&line, "suggested_lr", rate, -1);
        cnn_line_end(&line);
    }
    cnn_loader_close(f.loader);
    cnn_recipe_close(f.recipe);
    cnn_dataset_close(f.data);
    free(f.lr);
    free(f.loss);
    return done ? CNN_OK : CNN_FAILED;
}
