/* evaluate.c - loss and accuracy of a network on a split, and `eval` and `predict`, which print them.
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

/* The loader of the batches of a split that are used, in the order of the data, those of all ranks or of this one. NULL
 * after cnn_error. */
static cnn_loader *open_loader(const cnn_session *s, cnn_dataset *data, cnn_load how)
{
    return cnn_session_loader(s, data, how, 0, cnn_session_batches(s, data, 0));
}

/* Scores this rank's share of the split. 0 after cnn_error or when a signal came. */
static int score_share(cnn_session *s, cnn_dataset *data, const char *label, cnn_score *score, cnn_report *report)
{
    const long ranks = cnn_ranks_count(s->ranks), own = cnn_ranks_own(s->ranks);
    const long batches = (cnn_session_batches(s, data, 0) - own + ranks - 1) / ranks;
    cnn_loader *loader = open_loader(s, data, CNN_LOAD_SHARED);
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

/* The split that is asked for; of data in one piece, from which the run kept pictures, these. NULL after cnn_error. */
static cnn_dataset *open_split(cnn_session *s)
{
    cnn_options *o = &s->options;
    if (!CNN_GIVEN(o, validation) && s->loaded.known) {
        o->validation = s->loaded.validation;
        o->seed = s->loaded.validation > 0 ? s->loaded.seed : o->seed;
    }
    cnn_dataset *data = cnn_session_data(s, (cnn_split)o->split, NULL);
    if (data == NULL || CNN_GIVEN(o, split) || !cnn_dataset_whole(data) || o->validation == 0)
        return data;
    cnn_dataset_close(data);
    return cnn_session_data(s, CNN_VALIDATION, NULL);
}

/* The network with the weights that --weights names, and the split: what both commands begin with. */
static cnn_dataset *open_weights_and_data(cnn_session *s)
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
    return cnn_session_normalise(s) ? open_split(s) : NULL;
}

int cnn_eval(cnn_session *s)
{
    cnn_score score = {0};
    cnn_about about = {.score = &score, .weights = s->options.weights ? s->options.weights : "of the last run"};
    cnn_dataset *data = open_weights_and_data(s);
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

static void print_picture(const cnn_session *s, const cnn_dataset *data, long picture, const cnn_real *logits,
                          int truth)
{
    double probability;
    char digits[16];
    int class = cnn_best_class(logits, s->classes, &probability);
    snprintf(digits, sizeof digits, "%d", class);
    cnn_line line = cnn_line_begin(&s->options, "picture");
    cnn_line_integer(&line, "picture", picture);
    cnn_line_integer(&line, "class", class);
    cnn_line_real(&line, "probability", probability, 4);
    cnn_line_integer(&line, "true", truth);
    if (strcmp(digits, cnn_dataset_class(data, class)) != 0)
        cnn_line_text(&line, "name", cnn_dataset_class(data, class));
    cnn_line_end(&line);
}

/* FOLDER/NAME.npy; a name cannot leave the folder. */
static int dump(const char *folder, const char *name, const cnn_real *values, int rank, const int *shape)
{
    char file[256], path[CNN_PATH];
    snprintf(file, sizeof file, "%.240s.npy", name);
    for (char *c = file; *c; c++)
        if (*c == '/')
            *c = '_';
    return cnn_path(path, folder, file) && cnn_npy_write(path, values, rank, shape);
}

/* Whether a layer's output can be looked at after predict; 0 after cnn_error. */
static int is_kept(const cnn_session *s, int layer)
{
    if (s->network->output(s->net, layer))
        return 1;
    cnn_error("the output of layer %s is not kept by this program\ncompile the network with cnnc --keep-layers, or with -O0",
              s->facts->layers[layer].name);
    return 0;
}

static int dump_layers(const cnn_session *s, const cnn_real *x)
{
    const char *folder = s->options.dump;
    for (int i = 0; i < s->facts->layer_count; i++)
        if (!is_kept(s, i))
            return 0;
    int written = cnn_make_folder(folder) && dump(folder, "input", x, 4, s->input);
    for (int i = 0; written && i < s->facts->layer_count; i++) {
        const cnn_layer *layer = &s->facts->layers[i];
        written = dump(folder, layer->name, s->network->output(s->net, i), layer->rank, layer->shape);
    }
    return written;
}

/* ---- predict --layer: what a layer computes, of all pictures ---------------------------------------------------- */

typedef struct { int layer; cnn_save save; } Features;          /* layer -1: nothing is written                     */

static int find_layer(const cnn_session *s, const char *name)
{
    int nearest = 0;
    for (int i = 0; i < s->facts->layer_count; i++) {
        if (strcmp(s->facts->layers[i].name, name) == 0)
            return i;
        if (cnn_distance(name, s->facts->layers[i].name) < cnn_distance(name, s->facts->layers[nearest].name))
            nearest = i;
    }
    cnn_error("--layer %s: there is no such layer\ndid you mean %s? 'info' lists all of them", name,
              s->facts->layers[nearest].name);
    return -1;
}

/* Begins an array with a row a picture. 0 after cnn_error. */
static int begin_features(Features *f, const cnn_session *s, const cnn_dataset *data, long batches)
{
    const size_t pictures = cnn_dataset_size(data), most = (size_t)batches * (size_t)s->batch;
    int shape[4], layer = find_layer(s, s->options.layer);
    if (layer < 0)
        return 0;
    if (!is_kept(s, layer))
        return 0;
    memcpy(shape, s->facts->layers[layer].shape, sizeof shape);
    shape[0] = (int)(pictures < most ? pictures : most);
    if (!cnn_npy_begin(&f->save, s->options.features, s->facts->layers[layer].rank, shape))
        return cnn_save_end(&f->save);
    f->layer = layer;
    return 1;
}

/* Rows of the first `count` pictures of the batch that was just computed. */
static void add_features(Features *f, const cnn_session *s, int count)
{
    const size_t row = s->facts->layers[f->layer].count / (size_t)s->batch;
    cnn_save_put(&f->save, s->network->output(s->net, f->layer), (size_t)count * row * sizeof(cnn_real));
}

int cnn_predict(cnn_session *s)
{
    Features features = {.layer = -1};
    cnn_dataset *data = open_weights_and_data(s);
    cnn_loader *loader = data ? open_loader(s, data, CNN_LOAD_ALL) : NULL;
    long batches = loader ? cnn_session_batches(s, data, 0) : 0;
    int going = loader && (!s->options.layer || begin_features(&features, s, data, batches));
    for (long i = 0; going && i < batches; i++) {
        const cnn_batch *batch = cnn_loader_next(loader);
        going = batch != NULL;
        if (!going) {
            cnn_loader_report(loader);
            break;
        }
        s->network->predict(s->net, batch->x, s->logits);
        if (i == 0 && s->options.dump)
            going = dump_layers(s, batch->x);
        if (features.layer >= 0)
            add_features(&features, s, batch->count);
        for (int n = 0; going && n < batch->count; n++)
            if (batch->labels[n] >= 0)
                print_picture(s, data, i * s->batch + n, s->logits + (size_t)n * (size_t)s->classes, batch->labels[n]);
    }
    if (features.layer >= 0 && !going)
        cnn_save_drop(&features.save);
    else if (features.layer >= 0)
        going = cnn_save_end(&features.save);
    cnn_loader_close(loader);
    cnn_session_left_out(s, data);
    cnn_dataset_close(data);
    return going ? CNN_OK : CNN_FAILED;
}
