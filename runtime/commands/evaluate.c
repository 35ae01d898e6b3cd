/* evaluate.c - loss and accuracy of a network on a split, and `eval`, which prints them; predict.c begins as it does.
 *
 * The network computes whole batches: the last one is filled up with black pictures that are not counted.
 */
#include "command.h"
#include "error.h"
#include "data/loader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* log(sum_k exp(l[k])) without overflow: the largest logit is taken out first. */
static double log_sum_exp(const cnn_real *logits, int classes, double largest)
{
    double sum = 0;
    for (int k = 0; k < classes; k++)
        sum += exp((double)logits[k] - largest);
    return largest + log(sum);
}

int cnn_best_class(const cnn_real *logits, int classes, double *probability)
{
    int best = 0;
    for (int k = 1; k < classes; k++)
        if (logits[k] > logits[best])
            best = k;
    if (probability)
        *probability = exp((double)logits[best] - log_sum_exp(logits, classes, (double)logits[best]));
    return best;
}

double cnn_probability(const cnn_real *logits, int classes, int class)
{
    const int best = cnn_best_class(logits, classes, NULL);
    return exp((double)logits[class] - log_sum_exp(logits, classes, (double)logits[best]));
}

void cnn_score_add(cnn_score *score, const cnn_real *logits, const int32_t *labels, int count, int classes)
{
    for (int n = 0; n < count; n++, logits += classes) {
        if (labels[n] < 0)              /* left out */
            continue;
        int best = cnn_best_class(logits, classes, NULL);
        score->loss += log_sum_exp(logits, classes, (double)logits[best]) - (double)logits[labels[n]];
        score->correct += best == labels[n];
        score->pictures++;
    }
}

/* Scores this rank's share of the split. 0 after cnn_error or when a signal came. */
static int score_share(cnn_session *s, cnn_dataset *data, const char *label, cnn_score *score, cnn_report *report)
{
    const long ranks = cnn_ranks_count(s->ranks), own = cnn_ranks_own(s->ranks);
    const long batches = (cnn_session_batches(s, data, 0) - own + ranks - 1) / ranks;
    cnn_loader *loader = cnn_session_loader(s, data, CNN_LOAD_SHARED, 0, cnn_session_batches(s, data, 0));
    const cnn_batch *batch = NULL;
    long done = 0;
    if (loader == NULL)
        return 0;
    cnn_progress progress = cnn_progress_begin(label, 0, batches, s->batch);
    for (; done < batches && !cnn_signal && (batch = cnn_loader_next(loader)) != NULL; done++) {
        s->network->predict(s->net, batch->x, s->logits);
        cnn_score_add(score, s->logits, batch->labels, batch->count, s->classes);
        if (report)
            cnn_report_add(report, s->logits, batch->labels, batch->pictures, batch->count);
        cnn_progress_show(&progress, done + 1, "");
    }
    cnn_progress_end(&progress);
    if (done < batches && !cnn_signal)
        cnn_loader_report(loader);
    cnn_loader_close(loader);
    return done == batches;
}

int cnn_evaluate(cnn_session *s, cnn_dataset *data, const char *label, cnn_score *score, cnn_report *report)
{
    const int scored = score_share(s, data, label, score, report);
    double sums[] = {!scored, score->loss, (double)score->correct, (double)score->pictures};
    if (!cnn_session_agree(s, scored || cnn_signal, sums, 4) || sums[0] > 0)
        return 0;
    if (report)
        cnn_report_merge(report, s->ranks);
    *score = (cnn_score){sums[1], (long)sums[2], (long)sums[3]};
    if (score->pictures == 0)
        cnn_error("%s: none of them can be read\nleave out --skip-bad-pictures to see why", cnn_dataset_text(data));
    return score->pictures > 0;
}

/* ---- the commands ------------------------------------------------------------------------------------------------ */

/* Opens data as the run prepared it: what the weights remember holds unless the command line says otherwise. */
static cnn_dataset *open_data(cnn_session *s, cnn_split split, int unlabelled)
{
    const cnn_options *o = &s->options;
    cnn_wish wish = cnn_session_wish(s);
    wish.unlabelled = unlabelled;
    wish.files = o->files;
    wish.file_count = o->file_count;
    wish.names = s->loaded.names.count > 0 ? &s->loaded.names : NULL;
    return cnn_dataset_open(o->data, split, &wish);
}

/* The split that is asked for; of data in one piece, from which the run kept pictures, these. NULL after cnn_error. */
static cnn_dataset *open_split(cnn_session *s, int unlabelled)
{
    cnn_options *o = &s->options;
    if (!CNN_GIVEN(o, validation) && s->loaded.known) {
        o->validation = s->loaded.validation;
        o->seed = s->loaded.validation > 0 ? s->loaded.seed : o->seed;
    }
    if (!CNN_GIVEN(o, resize_short) && s->loaded.known)
        o->resize_short = s->loaded.resize_short;
    cnn_dataset *data = open_data(s, (cnn_split)o->split, unlabelled);
    if (data == NULL || CNN_GIVEN(o, split) || !cnn_dataset_whole(data) || !cnn_dataset_labelled(data) || o->validation == 0)
        return data;
    cnn_dataset_close(data);
    return open_data(s, CNN_VALIDATION, unlabelled);
}

cnn_dataset *cnn_open_weights_and_data(cnn_session *s, int unlabelled)
{
    char folder[CNN_PATH], path[CNN_PATH];
    const char *weights = s->options.weights;
    if (weights == NULL) {
        if (!cnn_path(folder, "runs", s->facts->name) || !cnn_path(path, folder, "last.safetensors"))
            return NULL;
        weights = path;
    }
    if (!cnn_session_open(s) || cnn_session_load(s, weights, NULL, CNN_ALLOW_UNEXPECTED) < 0)
        return NULL;
    return cnn_session_normalise(s) ? open_split(s, unlabelled) : NULL;
}

int cnn_eval(cnn_session *s)
{
    cnn_score score = {0};
    cnn_about about = {.score = &score, .weights = s->options.weights ? s->options.weights : "of the last run"};
    cnn_dataset *data = cnn_open_weights_and_data(s, 0);
    cnn_report *report = data && s->options.report ? cnn_report_new(s->classes) : NULL;
    int done = cnn_session_agree(s, data && (report || !s->options.report), NULL, 0) &&
               cnn_evaluate(s, data, "eval", &score, report) &&
               (report == NULL || cnn_ranks_own(s->ranks) > 0 ||
                cnn_report_save(report, s, data, &about, s->options.report));
    cnn_report_free(report);
    cnn_session_left_out(s, data);
    cnn_dataset_close(data);
    if (!done)
        return CNN_FAILED;
    cnn_line line = cnn_line_begin(&s->options, "eval");
    cnn_line_real(&line, "loss", score.loss / (double)score.pictures, 4);
    cnn_line_real(&line, "accuracy", (double)score.correct / (double)score.pictures, 4);
    cnn_line_end(&line);
    return CNN_OK;
}
