/* test_loader.c - batches that threads make ahead: the same at any number of threads, their errors, and their end. */
#include "data/loader.h"
#include "capture.h"

#include <criterion/criterion.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a source whose pictures say what they are ------------------------------------------------------------------- */

enum { SIZE = 50, PIXELS = 3 };

/* What is wrong with a picture, or slow; how many were read, and how many of them by a thread that is not `taker`. */
typedef struct {
    signed char left_out[SIZE], fails[SIZE];
    int         slow;
    _Atomic int reads, elsewhere;
    pthread_t   taker;
} Faults;

/* Pixels are the picture's number, its epoch and 1; the label is the picture, the share a function of both. */
static int read_picture(void *source, size_t picture, uint32_t epoch, cnn_reader *reader, cnn_real *x, int32_t *label)
{
    Faults *faults = source;

    faults->reads++;
    faults->elsewhere += !pthread_equal(pthread_self(), faults->taker);
    if (faults->slow)
        usleep((useconds_t)(picture * 7919 % 13 * 50));
    if (faults->fails[picture])
        return cnn_picture_fail(&reader->picture, "look at it", "picture %zu: fails", picture);
    *label = faults->left_out[picture] ? -1 : (int32_t)picture;
    x[0] = (cnn_real)picture;
    x[1] = (cnn_real)epoch;
    x[2] = 1;
    for (int i = 0; i < PIXELS && *label < 0; i++)
        x[i] = 0;
    reader->changes.share = (float)(picture % 8) / 8;
    return 1;
}

static cnn_plan plan_of(Faults *faults, int batch, int threads)
{
    long batches = (SIZE + batch - 1) / batch;
    return (cnn_plan){.read = read_picture, .source = faults, .size = SIZE, .pixels = PIXELS, .batch = batch,
                      .seed = 3, .batches = batches, .end = 3 * batches, .threads = threads};
}

static cnn_loader *open_plan(const cnn_plan *plan)
{
    cnn_loader *l = cnn_loader_open(plan);
    cr_assert(l);
    return l;
}

static void expect_picture(const cnn_batch *b, int n, size_t picture, long epoch)
{
    const cnn_real *x = b->x + n * PIXELS;
    cr_assert_eq(b->pictures[n], picture);
    cr_assert_eq(b->labels[n], (int32_t)picture);
    cr_assert(x[0] == (cnn_real)picture && x[1] == (cnn_real)epoch && x[2] == 1, "%g %g %g", (double)x[0], (double)x[1],
              (double)x[2]);
}

static const int THREADS[] = {0, 1, 2, 3, 8, -1, -2};       /* below 0: when the loader thinks it worth while */
enum { THREAD_COUNTS = sizeof THREADS / sizeof *THREADS };

/* ---- what is in a batch ------------------------------------------------------------------------------------------ */

Test(loader, gives_every_picture_once_an_epoch_in_order)
{
    static const int sizes[] = {1, 2, 7, 33, 50, 64};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int t = 0; t < THREAD_COUNTS; t++) {
            Faults    none = {.slow = 0};
            cnn_plan  plan = plan_of(&none, sizes[k], THREADS[t]);
            cnn_loader *l = open_plan(&plan);
            for (long b = 0; b < plan.end; b++) {
                const cnn_batch *batch = cnn_loader_next(l);
                long first = b % plan.batches * sizes[k], left = SIZE - first;
                cr_assert(batch && batch->count == (left < sizes[k] ? left : sizes[k]));
                cr_assert(batch->other == NULL && batch->share == NULL);
                for (int n = 0; n < batch->count; n++)
                    expect_picture(batch, n, (size_t)(first + n), b / plan.batches);
                for (int i = batch->count * PIXELS; i < sizes[k] * PIXELS; i++)
                    cr_assert_eq(batch->x[i], 0, "beyond the last picture it is black");
            }
            cr_assert(cnn_loader_waited(l) >= 0);
            cnn_loader_close(l);
        }
}

/* The orders are cnn_shuffle's, and a loader that begins in the middle goes on as one that began before. */
Test(loader, shuffles_each_epoch_and_begins_anywhere)
{
    Faults none = {.slow = 0};
    size_t order[SIZE];
    for (int t = 0; t < THREAD_COUNTS; t++)
        for (long begin = 0; begin < 30; begin += 7) {
            cnn_plan plan = plan_of(&none, 5, THREADS[t]);
            plan.shuffled = 1;
            plan.first = begin;
            cnn_loader *l = open_plan(&plan);
            for (long b = begin; b < plan.end; b++) {
                const cnn_batch *batch = cnn_loader_next(l);
                cr_assert(batch);
                cnn_shuffle(order, SIZE, plan.seed, (uint32_t)(b / 10));
                for (int n = 0; n < 5; n++)
                    expect_picture(batch, n, order[b % 10 * 5 + n], b / 10);
            }
            cnn_loader_close(l);
        }
}

/* Position n and count - 1 - n are mixed, each by its own share; the one in the middle of an odd number is alone. */
Test(loader, mixes_opposite_pictures)
{
    for (int batch = 4; batch <= 35; batch += 31)
        for (int t = 0; t < THREAD_COUNTS; t++) {
            Faults      none = {.slow = 1};
            cnn_plan    plan = plan_of(&none, batch, THREADS[t]);
            plan.mixed = 1;
            cnn_loader *l = open_plan(&plan);
            for (long b = 0; b < plan.batches; b++) {
                const cnn_batch *got = cnn_loader_next(l);
                cr_assert(got && got->share && got->other);
                for (int n = 0; n < got->count; n++) {
                    size_t picture = got->pictures[n], other = got->pictures[got->count - 1 - n];
                    float  share = (float)(picture % 8) / 8;
                    cr_assert(got->labels[n] == (int32_t)picture && got->other[n] == (int32_t)other);
                    cr_assert_eq(got->share[n], share);
                    cr_assert_float_eq(got->x[n * PIXELS],
                                       (cnn_real)(share * (float)picture + (1 - share) * (float)other), 1e-5);
                }
            }
            cnn_loader_close(l);
        }
}

/* ---- pictures that cannot be read -------------------------------------------------------------------------------- */

/* The lowest position of the first batch that has one, at any number of threads; the batches before are good. */
Test(loader, reports_the_first_bad_picture)
{
    static Capture c;
    Faults         faults = {.slow = 1};
    faults.fails[37] = faults.fails[34] = faults.fails[49] = faults.fails[45] = 1;
    for (int t = 0; t < THREAD_COUNTS; t++)
        for (int mixed = 0; mixed < 2; mixed++) {
            cnn_plan plan = plan_of(&faults, 10, THREADS[t]);
            plan.mixed = mixed;
            cnn_loader *l = open_plan(&plan);
            for (int b = 0; b < 3; b++)
                cr_assert(cnn_loader_next(l));
            capture_begin(&c);
            cr_assert_null(cnn_loader_next(l));
            cnn_loader_report(l);
            const char *text = capture_end(&c);
            cr_assert(strstr(text, "error: picture 34: fails\n  help: look at it\n") && strchr(text, '\n')[1] == ' ',
                      "%s", text);
            cr_assert_null(strstr(text, "37"), "%s", text);
            cnn_loader_close(l);
        }
}

Test(loader, pictures_that_are_left_out_are_black_or_replaced)
{
    Faults faults = {.slow = 1};
    faults.left_out[3] = faults.left_out[4] = faults.left_out[49] = 1;
    for (int t = 0; t < THREAD_COUNTS; t++)
        for (int replaces = 0; replaces < 2; replaces++) {
            cnn_plan plan = plan_of(&faults, 25, THREADS[t]);
            plan.replaces = replaces;
            cnn_loader *l = open_plan(&plan);
            for (long b = 0; b < 2; b++) {
                const cnn_batch *batch = cnn_loader_next(l);
                cr_assert(batch && batch->count == 25);
                for (int n = 0; n < 25; n++) {
                    size_t picture = (size_t)(25 * b + n);
                    size_t good = picture == 3 || picture == 4 ? 5 : picture == 49 ? 0 : picture;
                    if (replaces || good == picture)
                        expect_picture(batch, n, good, 0);
                    else
                        cr_assert(batch->labels[n] == -1 && batch->x[n * PIXELS + 2] == 0);
                }
            }
            cnn_loader_close(l);
        }
}

Test(loader, nothing_but_bad_pictures_is_an_error)
{
    static Capture c;
    Faults         faults = {.slow = 0};
    memset(faults.left_out, 1, SIZE);
    for (int t = 0; t < THREAD_COUNTS; t++) {
        cnn_plan plan = plan_of(&faults, 25, THREADS[t]);
        plan.replaces = 1;
        cnn_loader *l = open_plan(&plan);
        capture_begin(&c);
        cr_assert_null(cnn_loader_next(l));
        cnn_loader_report(l);
        cr_assert(strstr(capture_end(&c), "no picture of the data set can be read\n  help: "));
        cnn_loader_close(l);
    }
}

/* ---- its end, and its speed -------------------------------------------------------------------------------------- */

Test(loader, closes_at_any_moment, .timeout = 60)
{
    Faults slow = {.slow = 1};
    for (int taken = 0; taken < 12; taken++)
        for (int t = 0; t < THREAD_COUNTS; t++) {
            cnn_plan    plan = plan_of(&slow, 7, THREADS[t]);
            cnn_loader *l = open_plan(&plan);
            for (int b = 0; b < taken; b++)
                cr_assert(cnn_loader_next(l));
            if (taken % 3 == 2)
                usleep(3000);
            cnn_loader_close(l);
        }
    cnn_loader_close(NULL);
}

/* Two batches are read before one is asked for, and no more than that. */
Test(loader, reads_ahead, .timeout = 60)
{
    Faults      none = {.slow = 0};
    cnn_plan    plan = plan_of(&none, 10, 2);
    cnn_loader *l = open_plan(&plan);
    while (none.reads < 20)
        usleep(1000);
    for (int b = 0; b < 5; b++)
        cr_assert(cnn_loader_next(l));
    while (none.reads < 70)
        usleep(1000);
    usleep(20000);
    cr_assert_eq(none.reads, 70);
    cnn_loader_close(l);
}

/* Pictures that take long are read by threads of the loader's own, once that is known; without threads never. */
Test(loader, starts_threads_where_batches_take_long)
{
    omp_set_num_threads(1);
    for (int threads = -2; threads <= 0; threads++) {
        Faults      slow = {.slow = 1, .taker = pthread_self()};
        cnn_plan    plan = plan_of(&slow, 10, threads);
        cnn_loader *l = open_plan(&plan);
        cr_assert(cnn_loader_next(l));
        cr_assert(slow.reads == 10 && slow.elsewhere == 0);
        for (int b = 1; b < 15; b++)
            cr_assert(cnn_loader_next(l));
        cr_assert_eq(slow.elsewhere > 0, threads < 0, "%d", threads);
        cnn_loader_close(l);
    }
}

/* ---- a data set with every change -------------------------------------------------------------------------------- */

static int read_data(void *data, size_t picture, uint32_t epoch, cnn_reader *reader, cnn_real *x, int32_t *label)
{
    return cnn_dataset_picture(data, picture, epoch, reader, x, label);
}

/* Same bits for any number of loader threads and of OpenMP's, and other ones in the next epoch. */
Test(loader, augmented_pictures_do_not_depend_on_threads)
{
    enum { N = 64, VALUES = N * 3 * 16 * 16, BATCHES = 3 };
    static cnn_real    first[BATCHES][VALUES];
    const cnn_augment  all = {1, 2, 0.3, 1, 0.4, 0.4, 4, 0.3};
    const cnn_wish     wish = {.input = {N, 3, 16, 16}, .classes = 10, .seed = 5, .augment = &all};
    for (int t = 0; t < THREAD_COUNTS; t++)
        for (int omp = 1; omp <= 3; omp++) {
            omp_set_num_threads(omp);
            cnn_dataset *data = cnn_dataset_open("synthetic", CNN_TRAIN, &wish);
            cr_assert(data);
            cnn_plan plan = {.read = read_data, .source = data, .size = cnn_dataset_size(data), .pixels = VALUES / N,
                             .batch = N, .shuffled = 1, .seed = 5, .mixed = 1, .batches = 1, .end = BATCHES,
                             .threads = THREADS[t]};
            cnn_loader *l = open_plan(&plan);
            for (int b = 0; b < BATCHES; b++) {
                const cnn_batch *batch = cnn_loader_next(l);
                cr_assert(batch);
                if (t == 0 && omp == 1)
                    memcpy(first[b], batch->x, sizeof first[b]);
                cr_assert_arr_eq(batch->x, first[b], sizeof first[b], "batch %d, %d threads", b, THREADS[t]);
            }
            cnn_loader_close(l);
            cnn_dataset_close(data);
        }
    cr_assert_neq(memcmp(first[0], first[1], sizeof first[0]), 0);
}
