/* train.c - `train`: epochs over a shuffled data set, a checkpoint and a line for each.
 *
 * A run is determined by its options and its seed: the order of the pictures depends on seed and epoch, dropout on seed
 * and step. So a position (epoch, batch) and the state of a checkpoint are all that is needed to go on bit for bit.
 * A signal is noticed between two steps, of all their batches: the run saves where it stands, and a second signal ends it
 * at once, which leaves the checkpoint before.
 *
 * Of several processes (ranks.h) each trains on its own batch of every ranks x B pictures of the epoch's order; rank 0
 * writes. Whatever may end the run is agreed on by all in cnn_session_agree. Running statistics are rank 0's.
 *
 * A position counts batches of B pictures, so a run may go on with another number of ranks, or batches to a step: after the
 * same pictures, and at the same part of its schedule. In the middle of an epoch what is left of it is shared by the new
 * ranks, and the batches that do not go round are left out, as at the end of every epoch; a place in the schedule that lies
 * between two of the new steps is that of the later one.
 */
#include "commands/command.h"
#include "error.h"
#include "data/loader.h"
#include "recipe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

volatile sig_atomic_t cnn_signal;

typedef struct {
    cnn_session *s;
    cnn_folder   folder;
    cnn_dataset *train, *test;
    cnn_recipe  *recipe;
    cnn_loader  *loader;                /* of the batches from where the run stands to its end                       */
    long         ranks;                 /* that train together: each step takes a batch of each                      */
    int          writes;                /* it is rank 0, whose files and lines are the run's                         */
    long         batches;               /* of an epoch, of all ranks                                                 */
    double       wait_ms, wait_share;   /* for data: of a step, and of the epoch's time, in this process             */
    cnn_position at, saved;             /* saved.epoch < 0: this run saved nothing and resumed nothing               */
} Run;

static void on_signal(int number)
{
    if (cnn_signal)
        _exit(128 + number);
    cnn_signal = number;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- preparing --------------------------------------------------------------------------------------------------- */

static int open_data(Run *run)
{
    cnn_session *s = run->s;
    run->train = cnn_session_data(s, CNN_TRAIN, &s->options.augment);
    if (run->train && cnn_dataset_whole(run->train) && s->options.validation == 0) {
        cnn_error("%s: is of one piece, without pictures to score on\nkeep a share for that: --validation 0.1",
                  s->options.data);
        return 0;
    }
    const int kept = run->train && (s->options.validation > 0 || cnn_dataset_has_validation(run->train));
    s->scored = kept ? CNN_VALIDATION : CNN_TEST;
    run->test = run->train ? cnn_session_data(s, s->scored, NULL) : NULL;
    if (run->test == NULL || !cnn_session_take_names(s, run->train))
        return 0;
    run->batches = cnn_session_whole_batches(s, run->train);
    if (run->batches == 0)
        return 0;
    if (run->batches < run->ranks) {
        cnn_error("%s: an epoch has %ld batches of %d pictures, fewer than there are processes (%ld)\nstart at most %ld, or "
                  "compile the network with a smaller batch (cnnc --batch)", s->options.data, run->batches, s->batch,
                  run->ranks, run->batches);
        return 0;
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "train  %s\n%s  %s\n", cnn_dataset_text(run->train), cnn_session_scored(s),
                cnn_dataset_text(run->test));
    return 1;
}

/* Whether the options go together: those of a resumed run are known only now. */
static int fits(const Run *run)
{
    char why[CNN_OPTION_MESSAGE];
    if (cnn_options_fit(&run->s->options, why))
        return 1;
    cnn_error("%s", why);
    return 0;
}

/* The recipe and the weights of the run: those of --init or, where it goes on, its own. */
static int open_recipe(Run *run)
{
    cnn_session *s = run->s;
    if (!s->options.resume && !cnn_session_initialise(s))
        return 0;
    run->recipe = cnn_recipe_open(s, NULL);
    return run->recipe && (!s->options.resume || cnn_checkpoint_load(s, run->folder.path));
}

/* Finds the checkpoint to go on from. Rank 0 does so first, as it may have to put it in order. 0 after cnn_error. */
static int find(Run *run)
{
    cnn_session *s = run->s;
    cnn_folder *folder = &run->folder;
    int found = !run->writes || (cnn_folder_lock(folder, 1) && cnn_checkpoint_find(s, folder->path, &run->at));
    if (!cnn_session_agree(s, found, NULL, 0))
        return 0;
    return run->writes || cnn_checkpoint_find(s, folder->path, &run->at);
}

/* Joins the other ranks. 0 after cnn_error. */
static int join_ranks(const Run *run)
{
    cnn_session *s = run->s;
    const cnn_options *o = &s->options;
    return s->ranks == NULL ||
           (cnn_ranks_attach(s->ranks, s->net, cnn_recipe_frozen(run->recipe), o->bucket * 1048576, o->sync_batchnorm) &&
            cnn_session_random_batch(s));       /* what a rank computes with when its batch cannot be had */
}

/* The number of the next batch, as each rank counts those that it trains on: so many of the epoch are left. */
static long round_of(const Run *run)
{
    const long rounds = run->batches / run->ranks, left = (run->batches - run->at.batch) / run->ranks;
    return run->at.epoch * rounds + rounds - left;
}

/* Opens everything and puts the run where it begins; nothing is written before all of it is known to be usable. */
static int prepare(Run *run)
{
    cnn_session *s = run->s;
    const cnn_options *o = &s->options;
    cnn_folder *folder = &run->folder;
    if (!cnn_folder_name(folder, s))
        return 0;
    if (o->resume && !find(run))
        return 0;
    if (!fits(run) || !cnn_session_open(s) || !open_recipe(run) || !cnn_session_normalise(s) || !open_data(run) ||
        !join_ranks(run))
        return 0;
    if (o->resume) {
        if (run->at.batch > run->batches) {
            cnn_error("%s: the run stands at batch %ld of an epoch, and the data has only %ld\ngive the --data and "
                      "--limit-batches that it was begun with", folder->path, run->at.batch, run->batches);
            return 0;
        }
        run->saved = run->at;
        cnn_recipe_begin(run->recipe, run->batches / run->ranks, round_of(run));
        return !run->writes || cnn_folder_resume(folder, s, run->train, run->test, &run->at);
    }
    cnn_recipe_begin(run->recipe, run->batches / run->ranks, 0);
    return !run->writes || (cnn_make_folder(folder->path) && cnn_folder_lock(folder, 0) &&
                            cnn_folder_begin(folder, s, run->train, run->test));
}

/* The same in all ranks, which then begin with what rank 0 has. */
static int prepare_all(Run *run)
{
    const int ready = prepare(run);
    if (!cnn_session_agree(run->s, ready, NULL, 0))
        return 0;
    cnn_ranks_share(run->s->ranks, run->s->options.optimizer == CNN_SGD ? 1 : 2);
    return 1;
}

/* ---- an epoch ---------------------------------------------------------------------------------------------------- */

static void note_saved(const Run *run)
{
    if (run->saved.epoch >= 0)
        cnn_note("%s/last.safetensors holds the weights after epoch %ld%s", run->folder.path, run->saved.epoch,
                 run->saved.batch > 0 ? " and a part of the next" : "");
}

static void report_not_finite(Run *run, const cnn_batch *batch, const cnn_outcome *step)
{
    char tensor[256];
    cnn_ranks_normalise_alone(run->s->ranks);           /* each looks at its own batch */
    int norm = isfinite(step->own);
    int found = cnn_find_not_finite(run->s, batch->x, batch->labels, tensor, sizeof tensor);
    cnn_error("step %llu (epoch %ld, batch %ld): the %s is %g%s%s\ntry a smaller --lr than %g, or --allow-nan to go on",
              (unsigned long long)run->s->network->get_step(run->s->net), run->at.epoch + 1, run->at.batch + 1,
              norm ? "norm of the gradients" : "loss", fabs(norm ? step->norm : step->own),
              found ? "; the first tensor that is not finite: " : "", found ? tensor : "", run->s->options.lr);
    note_saved(run);
}

/* Weights are not finite after the last update, whose loss was: the gradient overflowed, or the rate made it. */
static void report_broken(const Run *run)
{
    char tensor[256];
    const int found = cnn_find_broken(run->s, tensor, sizeof tensor);
    cnn_error("step %llu (epoch %ld, batch %ld): the loss is finite, the weights are not after the update%s%s%s\ntry a smaller "
              "--lr than %g, or --clip-norm 1, or --allow-nan to go on",
              (unsigned long long)run->s->network->get_step(run->s->net) - 1, run->at.epoch + 1, run->at.batch + 1,
              found ? "; the first tensor: " : "", found ? tensor : "", found ? ", by its gradient (backward)" : "",
              run->s->options.lr);
    note_saved(run);
}

/* Whether nothing is scored and saved but weights that are finite: all of them are looked at. 0 after cnn_error. */
static int stays_finite(const Run *run)
{
    const int finite = run->s->options.allow_nan || cnn_recipe_finite(run->recipe);
    if (!finite)
        report_broken(run);
    return cnn_session_agree(run->s, finite, NULL, 0);
}

/* Saves unless this very position is saved. 0 after cnn_error. */
static int save(Run *run)
{
    if (run->at.epoch == run->saved.epoch && run->at.batch == run->saved.batch)
        return 1;
    if (run->at.batch > 0 && !stays_finite(run))        /* at an epoch's end they were looked at before scoring */
        return 0;
    cnn_ranks_share_buffers(run->s->ranks);
    if (!cnn_ranks_equal(run->s->ranks) ||
        !cnn_session_agree(run->s, !run->writes || cnn_folder_save(&run->folder, run->s, &run->at), NULL, 0))
        return 0;
    run->saved = run->at;
    return 1;
}

/* One step on this rank's batch, with those of the others. 0 after cnn_error. */
static int step(Run *run, cnn_outcome *out)
{
    const cnn_batch *batch = cnn_loader_next(run->loader);
    if (batch == NULL) {
        cnn_loader_report(run->loader);
        if (run->ranks == 1)
            return 0;
    }
    *out = cnn_recipe_batch(run->recipe, batch, round_of(run));
    if (!out->lost && ((!out->failed && isfinite(out->norm) && !out->broken) || run->s->options.allow_nan))
        return 1;
    const int finite = isfinite(out->own) && isfinite(out->norm);
    if (batch && !finite && !run->s->options.allow_nan)
        report_not_finite(run, batch, out);
    else if (batch && out->broken)
        report_broken(run);
    return cnn_session_agree(run->s, batch && ((finite && !out->broken) || run->s->options.allow_nan), NULL, 0);
}

/* Trains until the epoch or a signal ends it. 0 after cnn_error. */
static int train_batches(Run *run, const char *label)
{
    cnn_session *s = run->s;
    cnn_position *at = &run->at;
    const double waited = cnn_loader_waited(run->loader), seconds = at->seconds;
    const long begun = at->batch;
    cnn_progress progress = cnn_progress_begin(label, at->batch, run->batches, s->batch);
    cnn_outcome out = {.last = 1};
    int saved = 1;
    while (saved && at->batch + run->ranks <= run->batches && !(out.last && cnn_session_stopped(s))) {
        double begin = cnn_seconds();
        if (!step(run, &out)) {
            cnn_progress_end(&progress);
            return 0;
        }
        at->loss += out.loss;
        at->correct += out.correct;
        at->accuracy = -1;
        at->batch += run->ranks;
        at->seconds += cnn_seconds() - begin;

        char figures[64];
        snprintf(figures, sizeof figures, "loss %.4f  accuracy %.4f", at->loss / (double)at->batch,
                 (double)at->correct / ((double)at->batch * s->batch));
        cnn_progress_show(&progress, at->batch, figures);
        if (out.updated && s->options.save_every > 0 &&
            s->network->get_step(s->net) % (uint64_t)s->options.save_every == 0)
            saved = save(run);
    }
    cnn_progress_end(&progress);
    if (at->batch > begun && at->seconds > seconds) {
        run->wait_ms = 1e3 * (cnn_loader_waited(run->loader) - waited) * (double)run->ranks / (double)(at->batch - begun);
        run->wait_share = (cnn_loader_waited(run->loader) - waited) / (at->seconds - seconds);
    }
    return saved;
}

static void print_epoch(const Run *run, const cnn_metrics *m)
{
    char loss[32], accuracy[32];
    cnn_line line = cnn_line_begin(&run->s->options, "epoch");
    cnn_line_part(&line, "epoch", "epochs", m->epoch, run->s->options.epochs);
    cnn_line_real(&line, "loss", m->loss, 4);
    cnn_line_real(&line, "accuracy", m->accuracy, 4);
    snprintf(loss, sizeof loss, "%s_loss", cnn_session_scored(run->s));
    snprintf(accuracy, sizeof accuracy, "%s_accuracy", cnn_session_scored(run->s));
    cnn_line_real(&line, loss, m->test_loss, 4);
    cnn_line_real(&line, accuracy, m->test_accuracy, 4);
    cnn_line_real(&line, "seconds", m->seconds, 1);
    cnn_line_real(&line, "pictures/s", m->seconds > 0 ? (double)m->pictures / m->seconds : 0, 0);
    if (run->s->options.json)
        cnn_line_real(&line, "learning_rate", m->lr, 0);
    if (run->s->options.profile) {
        cnn_line_real(&line, "data_wait_ms", run->wait_ms, 3);
        cnn_line_real(&line, "data_wait", run->wait_share, 4);
    }
    cnn_line_end(&line);
}

/* What follows the scoring of an epoch: its row and curves, the report (NULL: none), the checkpoint, the line. */
static int end_epoch(Run *run, const cnn_score *test, const cnn_report *report)
{
    cnn_session *s = run->s;
    cnn_position *at = &run->at;
    long pictures = at->batch * s->batch;
    cnn_metrics metrics = {
        .epoch = at->epoch + 1, .step = s->network->get_step(s->net), .lr = cnn_recipe_lr(run->recipe),
        .wait_ms = run->wait_ms, .pictures = pictures,
        .loss = at->loss / (double)at->batch, .accuracy = (double)at->correct / (double)pictures,
        .seconds = at->seconds, .test_loss = test->loss / (double)test->pictures,
        .test_accuracy = (double)test->correct / (double)test->pictures};
    *at = (cnn_position){.epoch = at->epoch + 1, .accuracy = metrics.test_accuracy};
    int written = !run->writes ||
                  (cnn_folder_epoch(&run->folder, s, &metrics) &&
                   (report == NULL || cnn_folder_report(&run->folder, s, at->epoch, report, run->test, test)));
    if (!cnn_session_agree(s, written, NULL, 0) || !save(run))
        return 0;
    print_epoch(run, &metrics);
    return 1;
}

/* The rest of one epoch. 0 after cnn_error; a signal may leave the epoch unfinished. */
static int finish_epoch(Run *run)
{
    cnn_session *s = run->s;
    char label[64];
    cnn_score test = {0};
    snprintf(label, sizeof label, "epoch %ld/%ld", run->at.epoch + 1, s->options.epochs);
    if (!train_batches(run, label))
        return 0;
    if (cnn_session_stopped(s))
        return 1;
    if (!stays_finite(run))
        return 0;
    cnn_ranks_share_buffers(s->ranks);
    int last = run->at.epoch + 1 == s->options.epochs;
    cnn_report *report = last ? cnn_report_new(s->classes) : NULL;
    if (!cnn_session_agree(s, !last || report, NULL, 0)) {
        cnn_report_free(report);
        return 0;
    }
    snprintf(label, sizeof label, "epoch %ld/%ld %s", run->at.epoch + 1, s->options.epochs, cnn_session_scored(s));
    cnn_recipe_exchange(run->recipe);
    int scored = cnn_evaluate(s, run->test, label, &test, report);
    cnn_recipe_exchange(run->recipe);
    int ended = scored ? end_epoch(run, &test, report) : cnn_session_stopped(s) != 0;
    cnn_report_free(report);
    return ended;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int run_epochs(Run *run)
{
    const cnn_options *o = &run->s->options;
    catch_signals();
    run->loader = cnn_session_loader(run->s, run->train, CNN_LOAD_TRAINING, run->at.epoch * run->batches + run->at.batch,
                                     o->epochs * run->batches);
    if (!cnn_session_agree(run->s, run->loader != NULL, NULL, 0))
        return CNN_FAILED;
    if (o->resume && run->at.epoch >= o->epochs)
        fprintf(stderr, "%s: the run is complete: %ld epochs; --epochs %ld would go on\n", run->folder.path,
                run->at.epoch, run->at.epoch + 1);
    while (run->at.epoch < o->epochs && !cnn_session_stopped(run->s))
        if (!finish_epoch(run))
            return CNN_FAILED;
    if (!save(run))
        return CNN_FAILED;
    if (!cnn_session_stopped(run->s))
        return CNN_OK;
    fprintf(stderr, "stopped after step %llu and saved; 'train --resume --out %s' continues\n",
            (unsigned long long)run->s->network->get_step(run->s->net), run->folder.path);
    return 128 + cnn_session_stopped(run->s);
}

int cnn_train(cnn_session *s)
{
    Run run = {.s = s, .at = {.accuracy = -1}, .saved = {.epoch = -1}, .ranks = cnn_ranks_count(s->ranks),
               .writes = cnn_ranks_own(s->ranks) == 0};
    int status = prepare_all(&run) ? run_epochs(&run) : CNN_FAILED;
    cnn_loader_close(run.loader);
    cnn_recipe_close(run.recipe);
    cnn_session_left_out(s, run.train);
    cnn_session_left_out(s, run.test);
    cnn_dataset_close(run.train);
    cnn_dataset_close(run.test);
    cnn_folder_close(&run.folder);
    return status;
}
