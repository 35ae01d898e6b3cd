/* bench.c - `bench`: how long a step takes, and where the time goes.
 *
 * A training step is NAME_step: gradients and update; --predict times prediction. Pictures are random. The floating-point
 * operations are those of the convolutions and matrix products, two for each multiply-add, that the kernels of the
 * step count.
 */
#include "command.h"
#include "error.h"

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

/* One step; adds what comes after its last kernel to *update. The seconds of the whole. */
static double step(cnn_session *s, cnn_profile *profile, double *update)
{
    const cnn_options *o = &s->options;
    const cnn_update rule = cnn_session_update(s, 1e-3);
    double begin = profile->last = cnn_seconds();
    if (o->predict) {
        s->network->predict(s->net, s->x, s->logits);
        return cnn_seconds() - begin;
    }
    s->network->step(s->net, s->x, s->labels, s->logits, &rule);
    double end = cnn_seconds();
    *update += end - profile->last;
    return end - begin;
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

static void print_summary(const cnn_session *s, double *times, int steps, double macs)
{
    struct rusage usage;
    qsort(times, (size_t)steps, sizeof *times, by_seconds);
    double median = steps % 2 ? times[steps / 2] : (times[steps / 2 - 1] + times[steps / 2]) / 2;
    getrusage(RUSAGE_SELF, &usage);
    cnn_line line = cnn_line_begin(&s->options, s->options.predict ? "bench_predict" : "bench_train");
    cnn_line_spread(&line, "step_ms", 1e3 * times[0], 1e3 * median);
    cnn_line_real(&line, "GF/s", times[0] > 0 ? 2e-9 * macs / times[0] : 0, 2);
    cnn_line_real(&line, "pictures/s", times[0] > 0 ? s->batch / times[0] : 0, 0);
    cnn_line_real(&line, "peak_mib", (double)usage.ru_maxrss / 1024, 1);
    cnn_line_end(&line);
}

int cnn_bench(cnn_session *s)
{
    const cnn_options *o = &s->options;
    const cnn_kernel *kernels = o->predict ? s->facts->predict : s->facts->gradients;
    int count = o->predict ? s->facts->predict_count : s->facts->gradients_count, steps = (int)o->steps;
    if (!cnn_session_open(s))
        return CNN_FAILED;
    double *times = calloc((size_t)steps, sizeof *times), *seconds = calloc((size_t)count + 1, sizeof *seconds);
    Row *rows = calloc((size_t)count + 1, sizeof *rows);
    int ready = times && seconds && rows;
    if (!ready)
        cnn_error("there is not enough memory");

    ready = ready && cnn_session_random_batch(s);
    if (ready) {
        double update = 0, macs = 0;
        cnn_profile profile = {seconds, 0};
        const cnn_watch watch = cnn_profile_watch(&profile);
        for (int i = 0; i < WARM_UP; i++)
            step(s, &profile, &update);
        update = 0;
        if (o->profile)
            s->network->watch(s->net, &watch);
        cnn_progress progress = cnn_progress_begin("bench", 0, steps, s->batch);
        for (int i = 0; i < steps; i++) {
            times[i] = step(s, &profile, &update);
            cnn_progress_show(&progress, i + 1, "");
        }
        cnn_progress_end(&progress);
        s->network->watch(s->net, NULL);

        for (int i = 0; i < count; i++) {
            rows[i] = (Row){kernels[i].name, seconds[i] / steps, kernels[i].macs};
            macs += kernels[i].macs;
        }
        if (!o->predict)
            rows[count++] = (Row){"update", update / steps, 0};
        if (o->profile)
            print_kernels(o, rows, count);
        print_summary(s, times, steps, macs);
    }
    free(times);
    free(seconds);
    free(rows);
    return ready ? CNN_OK : CNN_FAILED;
}
