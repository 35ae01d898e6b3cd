/* bench.c - `bench`: how long a step takes, and where the time goes.
 *
 * A training step is NAME_step: gradients and update; --predict times prediction. Pictures are random, and the same in
 * each step, or with --data come from its loader as in training: then a step begins with waiting for them. The
 * floating-point operations are those of the convolutions and matrix products, two for each multiply-add, that the
 * kernels of the step count.
 *
 * Of several processes (ranks.h) each has a batch, and figures are those of all of them together: reduce_ms is what the
 * reduction of the gradients takes by itself, exposed_ms what of it a step waits for, sum_us what the sum of one number
 * takes.
 */
#include "command.h"
#include "error.h"
#include "data/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { WARM_UP = 3 };

typedef struct { const char *name; double seconds, macs; } Row;

static int by_seconds(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int slowest_first(const void *a, const void *b)
{
    return by_seconds(&((const Row *)b)->seconds, &((const Row *)a)->seconds);
}

typedef struct {
    cnn_session *s;
    cnn_dataset *data;          /* of --data, and its loader; NULL: pictures are s->x                               */
    cnn_loader  *loader;
    cnn_profile  profile;       /* of each kernel, the sum over the steps                                           */
    double      *times;         /* of each step                                                                     */
    double       update, waited;        /* sums: what comes after the last kernel; what comes before the first      */
    double       exposed, reduction, sum;       /* of several processes                                             */
} Bench;

/* Makes the pictures of `steps` steps available. 1, or 0 after cnn_error. */
static int open_pictures(Bench *b, long steps)
{
    cnn_session *s = b->s;
    if (!CNN_GIVEN(&s->options, data))
        return cnn_session_random_batch(s);
    if (s->ranks) {
        cnn_error("bench --data is for one process\nleave out --data, or start the program without its launcher");
        return 0;
    }
    b->data = cnn_session_normalise(s) ? cnn_session_data(s, CNN_TRAIN, &s->options.augment) : NULL;
    b->loader = b->data && cnn_session_whole_batches(s, b->data) ? cnn_session_loader(s, b->data, CNN_LOAD_TRAINING, 0, steps) : NULL;
    return b->loader != NULL;
}

/* One step: its seconds, or -1 after cnn_error. */
static double step(Bench *b)
{
    cnn_session *s = b->s;
    const cnn_update rule = cnn_session_update(s, 1e-3);
    const cnn_real *x = s->x;
    const int32_t *labels = s->labels;
    double begin = cnn_seconds();
    if (b->loader) {
        const cnn_batch *batch = cnn_loader_next(b->loader);
        if (batch == NULL)
            return cnn_loader_report(b->loader), -1;
        x = batch->x, labels = batch->labels;
    }
    b->profile.last = cnn_seconds();
    b->waited += b->profile.last - begin;
    if (s->options.predict) {
        s->network->predict(s->net, x, s->logits);
        return cnn_seconds() - begin;
    }
    if (s->ranks) {
        cnn_session_gradients(s, x, labels);
        s->network->update(s->net, &rule);
    } else {
        s->network->step(s->net, x, labels, s->logits, &rule);
    }
    double end = cnn_seconds();
    b->update += end - b->profile.last;
    return end - begin;
}

/* Some steps to warm up, then those that are timed. 1, or 0 after cnn_error. */
static int time_steps(Bench *b, int steps)
{
    const cnn_session *s = b->s;
    const cnn_watch watch = cnn_profile_watch(&b->profile);
    for (int i = 0; i < WARM_UP; i++)
        if (step(b) < 0)
            return 0;
    b->update = b->waited = 0;
    const double waited = cnn_ranks_waited(s->ranks);
    if (s->options.profile && s->ranks)
        cnn_ranks_also(s->ranks, &watch);
    else if (s->options.profile)
        s->network->watch(s->net, &watch);
    cnn_progress progress = cnn_progress_begin("bench", 0, steps, s->batch);
    int done = 0;
    for (; done < steps && (b->times[done] = step(b)) >= 0; done++)
        cnn_progress_show(&progress, done + 1, "");
    cnn_progress_end(&progress);
    s->network->watch(s->net, NULL);
    cnn_ranks_also(s->ranks, NULL);
    b->exposed = (cnn_ranks_waited(s->ranks) - waited) / steps;
    return done == steps;
}

/* What a reduction takes when nothing hides it, and the sum of one number. */
static void time_reduction(Bench *b)
{
    enum { REDUCTIONS = 5, SUMS = 200 };
    cnn_ranks *ranks = b->s->ranks;
    double begin = cnn_seconds(), one = 1;
    for (int i = 0; i < REDUCTIONS; i++)
        cnn_ranks_reduce(ranks);
    b->reduction = (cnn_seconds() - begin) / REDUCTIONS;
    begin = cnn_seconds();
    for (int i = 0; i < SUMS; i++)
        cnn_ranks_sum(ranks, &one, 1);
    b->sum = (cnn_seconds() - begin) / SUMS;
}

static void print_kernels(const cnn_options *options, Row *rows, int count)
{
    double total = 0;
    for (int i = 0; i < count; i++)
        total += rows[i].seconds;
    qsort(rows, (size_t)count, sizeof *rows, slowest_first);
    if (!options->json)
        printf("%-32s %10s %7s %8s\n", "kernel", "ms", "share", "GF/s");
    for (int i = 0; i < count; i++) {
        double share = total > 0 ? rows[i].seconds / total : 0;
        double speed = rows[i].seconds > 0 ? 2e-9 * rows[i].macs / rows[i].seconds : 0;
        if (options->json) {
            cnn_line line = cnn_line_begin(options, "kernel");
            cnn_line_text(&line, "name", rows[i].name);
            cnn_line_real(&line, "ms", 1e3 * rows[i].seconds, 0);
            cnn_line_real(&line, "share", share, 0);
            cnn_line_real(&line, "GF/s", speed, 0);
            cnn_line_end(&line);
        } else if (rows[i].macs > 0) {
            printf("%-32s %10.4f %6.1f%% %8.2f\n", rows[i].name, 1e3 * rows[i].seconds, 100 * share, speed);
        } else {
            printf("%-32s %10.4f %6.1f%%\n", rows[i].name, 1e3 * rows[i].seconds, 100 * share);
        }
    }
}

static void print_summary(Bench *b, int steps, double macs)
{
    struct rusage usage;
    const int ranks = cnn_ranks_count(b->s->ranks);
    double *times = b->times;
    qsort(times, (size_t)steps, sizeof *times, by_seconds);
    double median = steps % 2 ? times[steps / 2] : (times[steps / 2 - 1] + times[steps / 2]) / 2;
    getrusage(RUSAGE_SELF, &usage);
    cnn_line line = cnn_line_begin(&b->s->options, b->s->options.predict ? "bench_predict" : "bench_train");
    cnn_line_spread(&line, "step_ms", 1e3 * times[0], 1e3 * median);
    if (ranks > 1 && !b->s->options.predict) {
        cnn_line_integer(&line, "ranks", ranks);
        cnn_line_real(&line, "reduce_ms", 1e3 * b->reduction, 3);
        cnn_line_real(&line, "exposed_ms", 1e3 * b->exposed, 3);
        cnn_line_real(&line, "sum_us", 1e6 * b->sum, 1);
    }
    if (b->loader)
        cnn_line_real(&line, "data_wait_ms", 1e3 * b->waited / steps, 3);
    cnn_line_real(&line, "GF/s", times[0] > 0 ? 2e-9 * macs * ranks / times[0] : 0, 2);
    cnn_line_real(&line, "pictures/s", times[0] > 0 ? b->s->batch * ranks / times[0] : 0, 0);
    cnn_line_real(&line, "peak_mib", (double)usage.ru_maxrss / 1024, 1);
    cnn_line_end(&line);
}

int cnn_bench(cnn_session *s)
{
    const cnn_options *o = &s->options;
    const cnn_kernel *kernels = o->predict ? s->facts->predict : s->facts->gradients;
    int count = o->predict ? s->facts->predict_count : s->facts->gradients_count, steps = (int)o->steps;
    if (!cnn_session_agree(s, cnn_session_open(s), NULL, 0))
        return CNN_FAILED;
    Bench b = {.s = s, .times = calloc((size_t)steps, sizeof *b.times)};
    Row *rows = calloc((size_t)count + 1, sizeof *rows);
    double macs = 0;
    b.profile.seconds = calloc((size_t)count + 1, sizeof *b.profile.seconds);
    int ready = b.times && b.profile.seconds && rows;
    if (!ready)
        cnn_error("there is not enough memory");

    ready = ready && open_pictures(&b, WARM_UP + steps) &&
            cnn_ranks_attach(s->ranks, s->net, NULL, o->bucket * 1048576, o->sync_batchnorm);
    ready = cnn_session_agree(s, ready, NULL, 0) && cnn_session_agree(s, time_steps(&b, steps), NULL, 0);
    if (ready) {
        time_reduction(&b);
        for (int i = 0; i < count; i++) {
            rows[i] = (Row){kernels[i].name, b.profile.seconds[i] / steps, kernels[i].macs};
            macs += kernels[i].macs;
        }
        if (!o->predict)
            rows[count++] = (Row){"update", b.update / steps, 0};
        if (o->profile)
            print_kernels(o, rows, count);
        print_summary(&b, steps, macs);
    }
    cnn_loader_close(b.loader);
    cnn_dataset_close(b.data);
    free(b.times);
    free(b.profile.seconds);
    free(rows);
    return ready ? CNN_OK : CNN_FAILED;
}
