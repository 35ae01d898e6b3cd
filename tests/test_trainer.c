/* test_trainer.c - `train`: lines, files, signals, resuming bit for bit, and a disk that fails at every call. */
#include "fake_network.h"
#include "fake_program.h"
#include "files/safetensors.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(trainer, .init = build_fake);

/* Runs and expects a status; the caller frees. */
#define RUN(o, expected, ...)                                                                                          \
    Outcome o = run_command(__VA_ARGS__);                                                                              \
    cr_assert(o.status == (expected), "status %d, not %d\n%s%s", o.status, (expected), o.out, o.err)

static int count(const char *text, const char *piece)
{
    int n = 0;
    for (const char *at = strstr(text, piece); at; at = strstr(at + 1, piece))
        n++;
    return n;
}

static void expect_contains(const char *text, const char *piece)
{
    cr_expect(strstr(text, piece) != NULL, "'%s' is missing in:\n%s", piece, text);
}

static int same_file(const char *a_folder, const char *b_folder, const char *name)
{
    char path[512];
    size_t a_length = 0, b_length = 0;
    snprintf(path, sizeof path, "%s/%s", a_folder, name);
    char *a = read_whole(path, &a_length);
    snprintf(path, sizeof path, "%s/%s", b_folder, name);
    char *b = read_whole(path, &b_length);
    int same = a && b && a_length == b_length && memcmp(a, b, a_length) == 0;
    free(a);
    free(b);
    return same;
}

/* metrics.csv without its two columns of time. */
static char *metrics(const char *folder)
{
    RUN(o, 0, "cut -d, -f1-6,9 %s/metrics.csv", folder);
    free(o.err);
    return o.out;
}

static void expect_same_run(const char *a, const char *b)
{
    char *x = metrics(a), *y = metrics(b);
    const char *names[] = {"last.safetensors", "best.safetensors", "curves.svg", "report.html"};
    for (int i = 0; i < 4; i++)
        cr_expect(same_file(a, b, names[i]), "%s in %s and %s differ", names[i], a, b);
    cr_expect(strcmp(x, y) == 0, "metrics differ:\n%s%s", x, y);
    free(x);
    free(y);
}

/* ---- what a run prints and leaves -------------------------------------------------------------------------------- */

Test(trainer, prints_a_line_an_epoch_and_learns)
{
    char *folder = scratch_folder("train_lines");
    RUN(o, 0, FAKE " train --epochs 4 --out %s/a/b", folder);
    double loss, accuracy, test_loss, test_accuracy, seconds, rate;
    int epoch, epochs, used;
    const char *line = o.out;
    for (int i = 1; i <= 4; i++, line += used + 1) {
        int fields = sscanf(line, "epoch %d/%d  loss %lf  accuracy %lf  test_loss %lf  test_accuracy %lf  seconds %lf"
                            "  pictures/s %lf%n", &epoch, &epochs, &loss, &accuracy, &test_loss, &test_accuracy,
                            &seconds, &rate, &used);
        cr_assert(fields == 8 && epoch == i && epochs == 4, "line %d of:\n%s", i, o.out);
    }
    cr_expect(*line == '\0', "more than four lines:\n%s", o.out);
    cr_expect(test_accuracy > 0.8, "the synthetic pictures are easy, and it got %g", test_accuracy);
    cr_expect_str_empty(o.err, "stderr is not a terminal, and got: %s", o.err);

    char path[512];
    snprintf(path, sizeof path, "%s/a/b/metrics.csv", folder);
    char *csv = read_whole(path, NULL);
    cr_assert(csv && strncmp(csv, "epoch,step,loss,accuracy,test_loss,test_accuracy,seconds,", 57) == 0, "%s", csv);
    cr_expect(count(csv, "\n") == 5, "%s", csv);
    expect_contains(csv, "\n4,1024,");
    free(csv);
    outcome_free(&o);

    RUN(files, 0, "ls %s/a/b", folder);
    cr_expect_str_eq(files.out, "best.safetensors\nconfig.json\ncurves.svg\nlast.safetensors\nlast.state.safetensors\n"
                     "metrics.csv\nprevious.safetensors\nprevious.state.safetensors\nreport.html\n");
    outcome_free(&files);
    free(folder);
}

Test(trainer, json_is_an_object_a_line)
{
    char *folder = scratch_folder("train_json");
    RUN(o, 0, FAKE " train --json --epochs 2 --out %s", folder);
    int lines = 0;
    for (char *line = strtok(o.out, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        json_error_t error;
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
        cr_assert(json_is_object(object), "%s: %s", error.text, line);
        cr_expect_str_eq(json_string_value(json_object_get(object, "result")), "epoch");
        cr_expect_eq(json_integer_value(json_object_get(object, "epoch")), lines + 1);
        cr_expect_eq(json_integer_value(json_object_get(object, "epochs")), 2);
        cr_expect(json_real_value(json_object_get(object, "test_loss")) > 0);
        json_decref(object);
    }
    cr_expect_eq(lines, 2);
    outcome_free(&o);
    free(folder);
}

Test(trainer, seeds_and_options_matter_and_threads_do_not)
{
    char *folder = scratch_folder("train_seeds");
    RUN(o, 0, "t() { d=$1; shift; " FAKE " train --epochs 1 --out %s/$d \"$@\"; }; t a --threads 1 &&"
        "t b --threads 4 && t c --seed 8 && t d --lr 0.02 && t e --nesterov && t f --momentum 0 &&"
        "t g --weight-decay 0.01", folder);
    char path[8][256];
    for (int i = 0; i < 7; i++)
        snprintf(path[i], sizeof path[i], "%s/%c", folder, 'a' + i);
    cr_expect(same_file(path[0], path[1], "last.safetensors"), "one and four threads differ");
    for (int i = 2; i < 7; i++)
        cr_expect(!same_file(path[0], path[i], "last.safetensors"), "option of %s does nothing", path[i]);
    outcome_free(&o);
    free(folder);
}

/* 2,048 synthetic pictures are 256 whole batches: each is seen once an epoch, and the next order is another one. */
Test(trainer, an_epoch_sees_every_picture_once_in_an_order_of_its_own)
{
    char *folder = scratch_folder("train_order");
    RUN(o, 0, "FAKE_PRINT=1 " FAKE " train --epochs 2 --out %1$s > %1$s/lines 2> %1$s/seen && cd %1$s &&"
        "head -n 2048 seen > first &&"
        "tail -n 2048 seen > second && wc -l < seen && sort -u first > a && wc -l < a && sort -u second | cmp - a &&"
        "! cmp -s first second && ! cmp -s first a", folder);
    int seen, different;
    cr_assert(sscanf(o.out, "%d %d", &seen, &different) == 2 && seen == 4096 && different == 2048, "%s", o.out);
    outcome_free(&o);
    free(folder);
}

Test(trainer, limits_batches_and_refuses_too_few_pictures)
{
    char *folder = scratch_folder("train_limit");
    RUN(o, 0, FAKE " train --limit-batches 3 --epochs 2 --out %s/a", folder);
    outcome_free(&o);
    char path[512];
    snprintf(path, sizeof path, "%s/a", folder);
    char *csv = metrics(path);
    expect_contains(csv, "\n2,6,");
    free(csv);

    /* five pictures of 6x6 are fewer than a batch of 8 */
    RUN(made, 0, "mkdir %1$s/idx && cd %1$s/idx && for k in train t10k; do"
        " { printf '\\0\\0\\10\\3\\0\\0\\0\\5\\0\\0\\0\\6\\0\\0\\0\\6'; head -c 180 /dev/zero; }"
        " > $k-images-idx3-ubyte;"
        " printf '\\0\\0\\10\\1\\0\\0\\0\\5\\0\\1\\2\\3\\4' > $k-labels-idx1-ubyte; done", folder);
    outcome_free(&made);
    RUN(few, 1, FAKE " train --data %1$s/idx --out %1$s/few", folder);
    expect_contains(few.err, "5 pictures are fewer than one batch of 8");
    expect_contains(few.err, "--batch 5");
    outcome_free(&few);
    RUN(nothing, 0, "test ! -e %s/few", folder);    /* it failed before it wrote anything */
    outcome_free(&nothing);
    free(folder);
}

Test(trainer, reports_missing_data_and_folders_that_cannot_be_made)
{
    char *folder = scratch_folder("train_errors");
    RUN(data, 1, FAKE " train --data %1$s/nowhere --out %1$s/a", folder);
    expect_contains(data.err, "nowhere");
    cr_expect_str_empty(data.out);
    outcome_free(&data);
    RUN(file, 0, "echo > %s/file", folder);
    outcome_free(&file);
    RUN(out, 1, FAKE " train --out %s/file/run", folder);
    expect_contains(out.err, "file");
    outcome_free(&out);
    RUN(memory, 1, "FAKE_NO_MEMORY=1 " FAKE " train --out %s/b", folder);
    expect_contains(memory.err, "not enough memory");
    outcome_free(&memory);
    RUN(full, 1, FAKE " train --out %s/c > /dev/full", folder);
    expect_contains(full.err, "standard output");
    outcome_free(&full);
    free(folder);
}

Test(trainer, one_run_a_folder)
{
    char *folder = scratch_folder("train_lock");
    RUN(o, 0, "FAKE_SLOW=50 timeout 20 " FAKE " train --limit-batches 40 --epochs 1 --out %1$s/a > /dev/null &"
        "while ! test -e %1$s/a/metrics.csv; do sleep 0.05; done;"
        FAKE " train --epochs 1 --out %1$s/a; echo status $?; kill $!; wait; true", folder);
    expect_contains(o.out, "status 1");
    expect_contains(o.err, "another run");
    outcome_free(&o);
    free(folder);
}

/* ---- freezing and starting weights ------------------------------------------------------------------------------- */

enum { TENSORS = 6, LARGEST = 12 * 36 };

static void set_row(void *context, int index, const cnn_real *in)
{
    memcpy(((float (*)[LARGEST])context)[index], in, fake_tensor(index).count * sizeof *in);
}

/* The weights that a run left, with momentum or anything else refused. */
static void load_weights(const char *folder, const char *run, float weights[TENSORS][LARGEST])
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/last.safetensors", folder, run);
    cnn_safetensors *file = cnn_safetensors_open(path);
    cnn_stored items[TENSORS];
    for (int i = 0; i < TENSORS; i++)
        items[i] = (cnn_stored){"", fake_tensor(i), NULL, set_row, weights, i};
    cr_assert(file && cnn_safetensors_load(file, items, TENSORS, 0) == TENSORS, "%s", path);
    cnn_safetensors_close(file);
}

Test(trainer, freezes_what_matches)
{
    char *folder = scratch_folder("train_freeze");
    RUN(o, 0, FAKE " train --epochs 0 --out %1$s/start && "
        FAKE " train --epochs 1 --freeze '0.*' --out %1$s/end", folder);
    outcome_free(&o);
    float start[TENSORS][LARGEST], end[TENSORS][LARGEST];
    load_weights(folder, "start", start);
    load_weights(folder, "end", end);
    for (int i = 0; i < TENSORS; i++) {
        int same = memcmp(start[i], end[i], fake_tensor(i).count * sizeof(float)) == 0;
        cr_expect(same == (i == 0 || i == 1), "%s is %s", fake_tensor(i).name, same ? "as it was" : "changed");
    }

    RUN(bad, 1, FAKE " train --freeze '0.weigth*' --out %s/bad", folder);
    expect_contains(bad.err, "matches no trainable tensor");
    expect_contains(bad.err, "nearest names are 0.weight");
    outcome_free(&bad);
    RUN(buffer, 1, FAKE " train --freeze 1.mean --out %s/bad", folder);     /* a buffer is not trained anyway */
    outcome_free(&buffer);
    free(folder);
}

Test(trainer, starts_from_weights)
{
    char *folder = scratch_folder("train_init");
    RUN(o, 0, FAKE " train --epochs 2 --out %1$s/a && "
        FAKE " train --epochs 0 --init %1$s/a/last.safetensors --out %1$s/b && "
        FAKE " eval --weights %1$s/b/last.safetensors && " FAKE " eval --weights %1$s/a/last.safetensors", folder);
    char *last = strstr(o.out, "\nloss ");
    cr_assert(last && last[1], "%s", o.out);
    size_t length = strlen(last + 1) / 2;
    cr_expect(strncmp(last + 1, last + 1 + length, length) == 0, "%s", o.out);
    outcome_free(&o);
    RUN(none, 1, FAKE " train --init %1$s/none.safetensors --out %1$s/c", folder);
    expect_contains(none.err, "none.safetensors");
    outcome_free(&none);
    RUN(skip, 0, FAKE " train --epochs 0 --init %1$s/a/last.safetensors --skip '0.*' --out %1$s/d && "
        FAKE " eval --weights %1$s/d/last.safetensors", folder);
    cr_expect(strstr(skip.out, last + 1 + length) == NULL, "--skip changes nothing: %s", skip.out);
    outcome_free(&skip);
    RUN(unknown, 1, FAKE " train --init %1$s/a/last.safetensors --skip 'nothing.*' --out %1$s/c", folder);
    expect_contains(unknown.err, "--skip nothing.* matches no");
    outcome_free(&unknown);
    RUN(alone, 2, FAKE " train --skip '0.*' --out %1$s/c", folder);
    expect_contains(alone.err, "give --init FILE too");
    outcome_free(&alone);
    RUN(state, 1, FAKE " train --init %1$s/a/last.state.safetensors --out %1$s/c", folder);
    expect_contains(state.err, "none of its tensors");
    outcome_free(&state);
    free(folder);
}

/* ---- stopping and going on --------------------------------------------------------------------------------------- */

#define SHORT " train --limit-batches 7 --epochs 3 "     /* 21 steps */

Test(trainer, resumes_bit_for_bit_after_a_signal_in_any_step)
{
    char *folder = scratch_folder("train_resume"), whole[512], part[512];
    snprintf(whole, sizeof whole, "%s/whole", folder);
    RUN(o, 0, FAKE SHORT "--out %s", whole);
    outcome_free(&o);
    for (int step = 0; step < 21; step++) {
        snprintf(part, sizeof part, "%s/part%d", folder, step);
        int signal = step % 2 ? SIGTERM : SIGINT;
        RUN(stop, 128 + signal, "FAKE_SIGNAL=%d,%d " FAKE SHORT "--out %s", step, signal, part);
        char said[64];
        snprintf(said, sizeof said, "stopped after step %d and saved", step + 1);
        expect_contains(stop.err, said);
        cr_expect_eq(count(stop.out, "epoch"), step / 7);
        outcome_free(&stop);
        RUN(go, 0, FAKE " train --resume --out %s", part);     /* every option is remembered */
        cr_expect_eq(count(go.out, "epoch"), 3 - step / 7);
        cr_expect_str_empty(go.err);
        outcome_free(&go);
        expect_same_run(whole, part);
    }
    free(folder);
}

Test(trainer, resumes_twice_and_with_other_options)
{
    char *folder = scratch_folder("train_resume_twice"), whole[512], part[512];
    snprintf(whole, sizeof whole, "%s/whole", folder);
    snprintf(part, sizeof part, "%s/part", folder);
    RUN(o, 0, FAKE SHORT "--freeze '*bias' --nesterov --lr 0.03 --seed 3 --out %s", whole);
    RUN(a, 130, "FAKE_SIGNAL=3,2 " FAKE SHORT "--freeze '*bias' --nesterov --lr 0.03 --seed 3 --out %s", part);
    RUN(b, 143, "FAKE_SIGNAL=9,15 " FAKE " train --resume --out %s", part);
    RUN(c, 0, FAKE " train --resume --out %s", part);
    expect_same_run(whole, part);
    RUN(done, 0, FAKE " train --resume --out %s", part);
    expect_contains(done.err, "the run is complete");
    cr_expect_str_empty(done.out);
    RUN(longer, 0, FAKE " train --resume --epochs 5 --out %s", part);
    expect_contains(longer.out, "epoch 4/5");
    expect_contains(longer.out, "epoch 5/5");
    RUN(seed, 1, FAKE " train --resume --seed 4 --out %s", part);
    expect_contains(seed.err, "begun with --seed 3");
    RUN(nothing, 1, FAKE " train --resume --out %s/nothing", folder);
    RUN(both, 2, FAKE " train --resume --init x --out %s", part);
    Outcome *all[] = {&o, &a, &b, &c, &done, &longer, &seed, &nothing, &both};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        outcome_free(all[i]);
    free(folder);
}

Test(trainer, a_second_signal_ends_at_once_and_damages_nothing)
{
    char *folder = scratch_folder("train_second"), whole[512], part[512];
    snprintf(whole, sizeof whole, "%s/whole", folder);
    snprintf(part, sizeof part, "%s/part", folder);
    RUN(o, 0, FAKE SHORT "--out %s", whole);
    RUN(stop, 130, "FAKE_SIGNAL=10,2,2 " FAKE SHORT "--out %s", part);
    cr_expect(strstr(stop.err, "saved") == NULL, "%s", stop.err);
    RUN(go, 0, FAKE " train --resume --out %s", part);
    expect_contains(go.out, "epoch 2/3");               /* from the end of epoch 1 */
    expect_same_run(whole, part);
    outcome_free(&o);
    outcome_free(&stop);
    outcome_free(&go);
    free(folder);
}

/* A gradient that overflows under a finite loss: the run stops in that step, before anything of it is scored or saved. */
Test(trainer, a_gradient_that_is_not_finite_stops_the_run)
{
    char *folder = scratch_folder("train_overflow");
    static const struct { const char *words, *message; } cases[] = {
        {"", "step 9 (epoch 2, batch 3): the loss is finite, the weights are not after the update; the first tensor: 2.weight, "
             "by its gradient (backward)\n  help: try a smaller --lr than 0.01, or --clip-norm 1"},
        {"--ema 0.9", "; the first tensor: 2.weight, by its gradient"},
        {"--accumulate 2", "; the first tensor: 2.weight, by its gradient"},
        {"--clip-norm 1", "step 9 (epoch 2, batch 3): the norm of the gradients is inf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RUN(o, 1, "FAKE_OVERFLOW=%3$d " FAKE SHORT "--save-every 1 --out %1$s/%4$zu %2$s", folder, cases[i].words, i == 2 ? 4 : 9, i);
        expect_contains(o.err, cases[i].message);
        expect_contains(o.err, "last.safetensors holds the weights after epoch ");
        RUN(eval, 0, FAKE " eval --limit-batches 1 --weights %s/%zu/last.safetensors", folder, i);
        cr_expect(strstr(eval.err, "finite") == NULL, "%s", eval.err);
        outcome_free(&o);
        outcome_free(&eval);
    }
    RUN(last, 1, "FAKE_OVERFLOW=6 " FAKE SHORT "--out %s/last", folder);          /* the last step of an epoch */
    cr_expect_eq(count(last.out, "epoch"), 0);
    RUN(rows, 0, "cat %1$s/last/metrics.csv && ! ls %1$s/last/*.safetensors 2> /dev/null", folder);
    cr_expect_eq(count(rows.out, "\n"), 1, "%s", rows.out);
    RUN(on, 0, "FAKE_OVERFLOW=9 " FAKE SHORT "--allow-nan --out %s/on", folder);
    expect_contains(on.out, "loss nan");
    outcome_free(&on);
    outcome_free(&last);
    outcome_free(&rows);
    free(folder);
}

Test(trainer, a_loss_that_is_no_number_stops_the_run)
{
    char *folder = scratch_folder("train_nan");
    RUN(o, 1, "FAKE_NAN=9 " FAKE SHORT "--out %s", folder);
    expect_contains(o.err, "step 9 (epoch 2, batch 3): the loss is");
    expect_contains(o.err, "last.safetensors holds the weights after epoch 1");
    cr_expect_eq(count(o.out, "epoch"), 1);
    RUN(eval, 0, FAKE " eval --weights %s/last.safetensors", folder);
    RUN(wild, 1, FAKE " train --lr 1e30 --out %s/wild", folder);          /* without help from the network */
    expect_contains(wild.err, "the first tensor that is not finite: ");
    RUN(files, 0, "ls %s/wild", folder);
    cr_expect(strstr(files.out, "safetensors") == NULL, "saved weights that are not finite: %s", files.out);
    outcome_free(&o);
    outcome_free(&eval);
    outcome_free(&wild);
    outcome_free(&files);
    free(folder);
}

/* A folder in memory, where syncing takes no time. */
static void fast_folder(char room[64])
{
    strcpy(room, "/dev/shm/cnnc-train-XXXXXX");
    cr_assert(mkdtemp(room) != NULL, "%s cannot be made", room);
}

/* Interrupts or fails a run at its n-th call to the disk, then resumes it (or begins again where nothing was saved
 * yet): the result is always that of a run left alone. A failure is one error that names a file of the run. */
static void sweep(const char *how)
{
    char folder[64], whole[80], part[80];
    fast_folder(folder);
    snprintf(whole, sizeof whole, "%s/whole", folder);
    snprintf(part, sizeof part, "%s/part", folder);
    RUN(o, 0, "FAKE_COUNT=1 %s=0 " FAKE SHORT "--out %s", how, whole);
    int calls = atoi(o.err), resumed = 0;
    outcome_free(&o);
    cr_assert(calls > 150, "%d calls: is the disk between?", calls);
    for (int n = 1; n <= calls; n++) {
        Outcome cut = run_command("rm -rf %s; %s=%d " FAKE SHORT "--out %s", part, how, n, part);
        int status = cut.status;
        cr_assert(status == 0 || status == 1 || status == 128 + SIGKILL, "call %d: %d %s", n, status, cut.err);
        cr_expect(status != 1 || (count(cut.err, "error: ") == 1 && strstr(cut.err, part)), "call %d: %s", n, cut.err);
        outcome_free(&cut);
        Outcome go = run_command(FAKE " train --resume --out %s", part);
        if (strstr(go.err, "no run to resume")) {
            outcome_free(&go);
            go = run_command(FAKE SHORT "--out %s", part);
        } else {
            resumed++;
        }
        cr_assert(go.status == 0, "call %d: cannot go on: %s", n, go.err);
        outcome_free(&go);
        expect_same_run(whole, part);
    }
    cr_expect(resumed > calls / 2, "%d calls, resumed %d times", calls, resumed);
    RUN(done, 0, "rm -r %s", folder);
    outcome_free(&done);
}

Test(trainer, reports_every_allocation_that_fails)
{
    char *folder = scratch_folder("train_memory");
    RUN(o, 0, FAKE SHORT "--out %s/good", folder);
    int allocations = 0, total = 0;
    const char *commands[] = {"train --limit-batches 3 --freeze *.bias --init %1$s/good/last.safetensors --out %1$s/b",
                              "train --resume --epochs 4 --out %1$s/b", "eval --weights %1$s/good/last.safetensors",
                              "predict --weights %1$s/good/last.safetensors --limit-batches 1 --dump %1$s/dump",
                              "bench --steps 1 --profile", "gradcheck --tensor '*.bias'", "info"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char command[1024];
        snprintf(command, sizeof command, "FAKE_ALLOC=%%2$d FAKE_COUNT=1 " FAKE " %s", commands[i]);
        for (int n = 0; n <= allocations; n++) {                /* the first run fails nothing, and counts */
            RUN(back, 0, "rm -rf %1$s/b && cp -r %1$s/good %1$s/b", folder);
            Outcome failing = run_command(command, folder, n);
            const char *last = strrchr(failing.err, ' ');
            cr_assert(failing.status <= 1 && last, "%s: %d: status %d\n%s", command, n, failing.status, failing.err);
            cr_expect(failing.status == 0 || strstr(failing.err, "memory"), "%s: %d:\n%s", command, n, failing.err);
            if (n == 0)
                total += allocations = atoi(last);
            cr_assert(n > 0 || failing.status == 0, "%s", failing.err);
            outcome_free(&back);
            outcome_free(&failing);
        }
    }
    cr_expect(total > 60, "%d allocations: is the memory between?", total);
    outcome_free(&o);
    free(folder);
}

Test(trainer, survives_a_kill_at_every_call) { sweep("FAKE_DIE"); }
Test(trainer, survives_a_full_disk_at_every_call) { sweep("FAKE_FAIL"); }
Test(trainer, survives_short_writes_and_eio_at_every_call) { sweep("FAKE_SHORT=1 FAKE_CAUSE=5 FAKE_FAIL"); }

Test(trainer, refuses_damaged_and_mixed_checkpoints)
{
    char *folder = scratch_folder("train_damage");
    RUN(o, 0, FAKE SHORT "--out %s/good", folder);
    const char *names[] = {"last.safetensors", "last.state.safetensors"};
    for (int i = 0; i < 2; i++) {
        char path[512];
        size_t length;
        snprintf(path, sizeof path, "%s/bad/%s", folder, names[i]);
        RUN(copy, 0, "rm -rf %1$s/bad; cp -r %1$s/good %1$s/bad", folder);
        char *bytes = read_whole(path, &length);
        bytes[length - 5] ^= 4;                                 /* one bit of a value */
        write_whole(path, bytes, length);
        RUN(bad, 1, FAKE " train --resume --epochs 4 --out %s/bad", folder);
        expect_contains(bad.err, names[i]);
        expect_contains(bad.err, "the checkpoint before is still there");
        RUN(before, 0, "cd %s/bad && cp previous.safetensors last.safetensors && cp previous.state.safetensors "
            "last.state.safetensors && cd - > /dev/null && " FAKE " train --resume --out %s/bad", folder, folder);
        free(bytes);
        outcome_free(&copy);
        outcome_free(&bad);
        outcome_free(&before);
    }
    /* weights of another run beside this state */
    RUN(other, 0, FAKE SHORT "--seed 9 --out %1$s/other && rm -f %1$s/good/previous* && cp %1$s/other/last.safetensors "
        "%1$s/good", folder);
    RUN(mixed, 1, FAKE " train --resume --epochs 4 --out %s/good", folder);
    expect_contains(mixed.err, "are of different steps");
    outcome_free(&o);
    outcome_free(&other);
    outcome_free(&mixed);
    free(folder);
}
