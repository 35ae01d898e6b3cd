/* test_loading.c - the options that load and change pictures, as a user gives them: same weights at any number of
 * threads and after a resume, each option does something, and evaluation changes nothing. */
#include "fake_program.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(loading, .init = build_fake);

#define EVERY_CHANGE "--flip --crop 2 --resized-crop 0.4,0.9 --brightness 0.3 --contrast 0.3 --cutout 3 --mixup 0.3 "

/* Trains into FOLDER/NAME and returns a checksum of the weights, which the caller frees. */
static char *weights(const char *folder, const char *name, const char *options)
{
    Outcome o =
        run_command(FAKE " train --epochs 2 --limit-batches 40 --out %s/%s %s && md5sum < %s/%s/last.safetensors",
                    folder, name, options, folder, name);
    cr_assert(o.status == 0, "%s: %s", options, o.err);
    char *sum = strndup(strstr(o.out, "  -") - 32, 32);
    outcome_free(&o);
    return sum;
}

Test(loading, weights_do_not_depend_on_threads)
{
    char *folder = scratch_folder("loading_threads"), *first = weights(folder, "a", EVERY_CHANGE "--loader-threads 0");
    for (int threads = 1; threads <= 8; threads = threads < 3 ? threads + 1 : threads + 5)
        for (int omp = 1; omp <= 3; omp += 2) {
            char options[256];
            snprintf(options, sizeof options, EVERY_CHANGE "--loader-threads %d --threads %d", threads, omp);
            cr_expect_str_eq(weights(folder, "b", options), first, "%s", options);
        }
    free(folder);
}

Test(loading, every_option_changes_the_pictures)
{
    static const char *const options[] = {"", "--flip", "--crop 1", "--resized-crop 0.5", "--resized-crop 0.5,0.6",
                                          "--brightness 0.3", "--contrast 0.3", "--cutout 3", "--resize-short 9",
                                          "--mixup 0.2", "--mixup 1"};
    enum { COUNT = sizeof options / sizeof *options };
    char *folder = scratch_folder("loading_options"), *sums[COUNT];
    for (int i = 0; i < COUNT; i++) {
        sums[i] = weights(folder, "a", options[i]);
        for (int j = 0; j < i; j++)
            cr_expect(strcmp(sums[i], sums[j]) != 0, "'%s' and '%s' come to the same", options[i], options[j]);
    }
    cr_expect_str_eq(weights(folder, "a", "--flip=no --crop 0 --resized-crop 0 --brightness 0 --contrast 0 --cutout 0 "
                             "--resize-short 0 --mixup 0"), sums[0]);
    free(folder);
}

/* A run that stops in the middle of an epoch goes on with the pictures that come next,
 * changed as they would have been. */
Test(loading, resumes_in_the_middle_of_an_epoch)
{
    char *folder = scratch_folder("loading_resume"), *whole = weights(folder, "a", EVERY_CHANGE);
    for (int step = 1; step < 80; step += 17) {
        Outcome o = run_command("rm -rf %1$s/b; FAKE_SIGNAL=%2$d,2 "
                                FAKE " train --epochs 2 --limit-batches 40 --out %1$s/b " EVERY_CHANGE
                                "--loader-threads %3$d; test $? = 130 && " FAKE " train --resume --out %1$s/b "
                                "--loader-threads 2 && md5sum < %1$s/b/last.safetensors", folder, step, step % 3);
        cr_assert(o.status == 0, "%s", o.err);
        cr_expect(strstr(o.out, whole) != NULL, "stopped after step %d: %s, not %s", step, o.out, whole);
        outcome_free(&o);
    }
    free(folder);
}

/* The training pictures, evaluated: as they are, whatever the run did to them. */
Test(loading, evaluation_changes_nothing)
{
    char *folder = scratch_folder("loading_eval");
    free(weights(folder, "a", EVERY_CHANGE));
    Outcome plain = run_command(FAKE " eval --split train --loader-threads 0 --weights %s/a/last.safetensors", folder);
    Outcome ahead = run_command(FAKE " eval --split train --loader-threads 3 --weights %s/a/last.safetensors", folder);
    Outcome one =
        run_command(FAKE " predict --limit-batches 3 --loader-threads 0 --weights %s/a/last.safetensors", folder);
    Outcome three =
        run_command(FAKE " predict --limit-batches 3 --loader-threads 3 --weights %s/a/last.safetensors", folder);
    cr_expect(plain.status == 0 && one.status == 0, "%s%s", plain.err, one.err);
    cr_expect_str_eq(plain.out, ahead.out);
    cr_expect_str_eq(one.out, three.out);
    outcome_free(&plain);
    outcome_free(&ahead);
    outcome_free(&one);
    outcome_free(&three);
    free(folder);
}

Test(loading, profile_says_how_long_steps_waited)
{
    char *folder = scratch_folder("loading_profile");
    Outcome o = run_command(FAKE " train --epochs 1 --profile --json --out %s", folder);
    json_t *line = json_loads(o.out, 0, NULL);
    double wait = json_number_value(json_object_get(line, "data_wait_ms"));
    double share = json_number_value(json_object_get(line, "data_wait"));
    cr_expect(o.status == 0 && wait > 0 && share > 0 && share < 1, "%s%s", o.out, o.err);
    json_decref(line);
    outcome_free(&o);
    o = run_command(FAKE " train --epochs 1 --out %s", folder);
    cr_expect(strstr(o.out, "data_wait") == NULL, "%s", o.out);
    outcome_free(&o);
    free(folder);
}

Test(loading, bench_takes_pictures_of_a_data_set)
{
    double least, median, wait;
    for (int threads = 0; threads < 2; threads++) {
        Outcome o = run_command(FAKE " bench --steps 300 --data synthetic --loader-threads %d", threads);
        cr_assert(o.status == 0 &&
                      sscanf(o.out, "step_ms min %lf median %lf data_wait_ms %lf", &least, &median, &wait) == 3,
                  "%s%s", o.out, o.err);
        cr_expect(least > 0 && median >= least && wait >= 0, "%s", o.out);
        outcome_free(&o);
    }
    Outcome random = run_command(FAKE " bench --steps 3"), none = run_command(FAKE " bench --data nowhere");
    cr_expect(random.status == 0 && strstr(random.out, "data_wait") == NULL, "%s", random.out);
    cr_expect(none.status == 1 && strstr(none.err, "error: no data set 'nowhere'") && *none.out == 0, "%s", none.err);
    outcome_free(&random);
    outcome_free(&none);
}

Test(loading, a_resize_below_the_input_is_refused)
{
    char *folder = scratch_folder("loading_short");
    Outcome o = run_command(FAKE " train --resize-short 1 --out %s/a", folder);
    cr_expect(o.status == 1, "%d", o.status);
    cr_expect(strstr(o.err, "error: --resize-short 1: the network looks at ") &&
                  strstr(o.err, "\n  help: give at least "),
              "%s", o.err);
    outcome_free(&o);
    o = run_command("ls %s", folder);
    cr_expect_str_empty(o.out, "it left %s", o.out);
    outcome_free(&o);
    free(folder);
}
