/* test_commands.c - the trainer's command line: usage, eval, predict, bench, info, gradcheck, .npy files. */
#include "fake_network.h"
#include "fake_program.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(commands, .init = build_fake);

#define RUN(o, expected, ...)                                                                                          \
    Outcome o = run_command(__VA_ARGS__);                                                                              \
    cr_assert(o.status == (expected), "status %d, not %d\n%s%s", o.status, (expected), o.out, o.err)

static void expect_contains(const char *text, const char *piece)
{
    cr_expect(strstr(text, piece) != NULL, "'%s' is missing in:\n%s", piece, text);
}

/* A folder with a short run in it: trained weights for eval and predict. */
static char *trained(const char *name)
{
    char *folder = scratch_folder(name);
    RUN(o, 0, FAKE " train --epochs 3 --out %s", folder);
    outcome_free(&o);
    return folder;
}

/* The lines of `text` as JSON objects, an array that the caller releases; fails the test where a line is none. */
static json_t *json_lines(char *text)
{
    json_t *all = json_array();
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_error_t error;
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
        cr_assert(json_is_object(object), "%s: %s", error.text, line);
        json_array_append_new(all, object);
    }
    return all;
}

/* ---- usage ------------------------------------------------------------------------------------------------------- */

Test(commands, wrong_usage_exits_2_with_one_reason)
{
    const struct { const char *arguments, *reason; } cases[] = {
        {"", "a command is missing"},
        {"trian", "did you mean 'train'"},
        {"--epochs 3", "unrecognized option"},
        {"train --epochs", "requires an argument"},
        {"train --epochs -1", "must be from 0 to"},
        {"train --epochs 3x", "not a whole number"},
        {"train --epochs ''", "not a whole number"},
        {"train --epochs 99999999999999999999", "must be from 0 to"},
        {"train --lr 0", "must be finite and above 0"},
        {"train --lr -0.1", "must be finite and above 0"},
        {"train --lr nan", "must be finite"},
        {"train --lr inf", "must be finite"},
        {"train --lr 1e39", "must be finite"},              /* infinite as a float */
        {"train --lr 1e-60", "and above 0"},            /* zero as a float */
        {"train --lr fast", "not a number"},
        {"train --momentum -1", "must be finite and at least 0"},
        {"train --weight-decay nan", "must be finite and at least 0"},
        {"train --nesterov=perhaps", "must be yes or no"},
        {"train --threads 0", "must be from 1 to"},
        {"train --seed -3", "must be from 0 to"},
        {"train --limit-batches -1", "must be from 0 to"},
        {"train --flip=maybe", "must be yes or no"},
        {"train --crop -1", "must be from 0 to 4096"},
        {"train --crop 4097", "must be from 0 to 4096"},
        {"train --resized-crop ''", "must be a number, or two with a comma between"},
        {"train --resized-crop 0.1,", "must be a number, or two with a comma between"},
        {"train --resized-crop ,1", "must be a number, or two with a comma between"},
        {"train --resized-crop 0.1,0.2,0.3", "must be a number, or two with a comma between"},
        {"train --resized-crop 1.1", "must be above 0, up to 1, and the smaller one first"},
        {"train --resized-crop 0,0.5", "must be above 0, up to 1, and the smaller one first"},
        {"train --resized-crop 0.9,0.1", "must be above 0, up to 1, and the smaller one first"},
        {"train --resized-crop nan", "must be above 0, up to 1, and the smaller one first"},
        {"train --brightness -0.1", "must be finite and at least 0"},
        {"train --contrast inf", "must be finite and at least 0"},
        {"train --mixup -1", "must be finite and at least 0"},
        {"train --mixup 101", "must be from 0 to 100"},
        {"train --cutout 1.5", "not a whole number"},
        {"train --loader-threads 257", "must be from 0 to 256"},
        {"train --resize-short 65536", "must be from 0 to 65535"},
        {"eval --flip", "unrecognized option"},             /* evaluation changes nothing */
        {"train lenet", "'lenet' is not an option"},
        {"train --weights x", "unrecognized option"},       /* of another command */
        {"eval --split all", "must be train, validation or test"},
        {"bench --steps 0", "must be from 1 to"},
        {"gradcheck --entries none", "not a whole number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Outcome o = run_command(FAKE " %s", cases[i].arguments);
        cr_expect(o.status == 2, "'%s': status %d", cases[i].arguments, o.status);
        cr_expect(strstr(o.err, cases[i].reason) != NULL, "'%s': %s", cases[i].arguments, o.err);
        cr_expect_str_empty(o.out);
        outcome_free(&o);
    }
}

Test(commands, help_says_units_and_the_defaults_of_the_network)
{
    RUN(top, 0, FAKE " --help");
    const char *names[] = {"train", "eval", "predict", "bench", "info", "gradcheck", "find-lr"};
    for (int i = 0; i < 7; i++) {
        expect_contains(top.out, names[i]);
        RUN(o, 0, FAKE " %s --help", names[i]);
        char usage[64];
        snprintf(usage, sizeof usage, "Usage: fake %s [OPTION...]", names[i]);
        expect_contains(o.out, usage);
        expect_contains(o.out, "--json");
        cr_expect(strchr(o.out, '$') == NULL, "a default was not filled in: %s", o.out);
        outcome_free(&o);
    }
    RUN(train, 0, FAKE " train --help");
    expect_contains(train.out, "(default: 0.01)");
    expect_contains(train.out, "(default: 0.0001)");
    expect_contains(train.out, "synthetic)");
    expect_contains(train.out, "runs/fake)");
    RUN(version, 0, FAKE " --version");
    cr_expect_str_eq(version.out, "fake (cnnc 0.1, generic)\n");
    outcome_free(&top);
    outcome_free(&train);
    outcome_free(&version);
}

/* ---- eval and predict -------------------------------------------------------------------------------------------- */

Test(commands, eval_agrees_with_the_last_line_of_training)
{
    char *folder = trained("commands_eval");
    RUN(o, 0, FAKE " eval --weights %s/last.safetensors", folder);
    RUN(csv, 0, "tail -n 1 %s/metrics.csv", folder);
    double loss, accuracy, csv_loss, csv_accuracy;
    int used = 0;
    int fields = sscanf(o.out, "loss %lf  accuracy %lf\n%n", &loss, &accuracy, &used);
    cr_assert(fields == 2 && o.out[used] == '\0', "%s", o.out);
    cr_assert(sscanf(csv.out, "%*d,%*d,%*f,%*f,%lf,%lf", &csv_loss, &csv_accuracy) == 2, "%s", csv.out);
    cr_expect(fabs(loss - csv_loss) < 1e-4 && fabs(accuracy - csv_accuracy) < 1e-4, "%s%s", o.out, csv.out);
    RUN(train, 0, FAKE " eval --json --split train --weights %s/last.safetensors", folder);
    json_t *lines = json_lines(train.out);
    cr_expect(json_array_size(lines) == 1);
    cr_expect(json_real_value(json_object_get(json_array_get(lines, 0), "loss")) != loss);
    json_decref(lines);
    RUN(none, 1, FAKE " eval --weights %s/none.safetensors", folder);
    expect_contains(none.err, "none.safetensors");
    outcome_free(&o);
    outcome_free(&csv);
    outcome_free(&train);
    outcome_free(&none);
    free(folder);
}

/* 13 test pictures and batches of 8: the last batch is filled up, and what fills it is not counted. */
Test(commands, a_last_batch_that_is_not_full_counts_its_own_pictures)
{
    char *folder = trained("commands_partial");
    RUN(made, 0, "cd %1$s && for k in train t10k; do"
        " { printf '\\0\\0\\10\\3\\0\\0\\0\\15\\0\\0\\0\\6\\0\\0\\0\\6'; head -c 468 /bin/sh; } > $k-images-idx3-ubyte;"
        " printf '\\0\\0\\10\\1\\0\\0\\0\\15\\0\\1\\2\\3\\4\\5\\6\\7\\10\\11\\0\\1\\2'"
        " > $k-labels-idx1-ubyte; done", folder);
    outcome_free(&made);
    RUN(predict, 0, FAKE " predict --json --data %1$s --weights %1$s/last.safetensors", folder);
    RUN(eval, 0, FAKE " eval --json --data %1$s --weights %1$s/last.safetensors", folder);
    json_t *pictures = json_lines(predict.out), *score = json_lines(eval.out), *picture;
    size_t n;
    int correct = 0;
    cr_assert(json_array_size(pictures) == 13, "%zu pictures", json_array_size(pictures));
    json_array_foreach(pictures, n, picture) {
        double probability = json_real_value(json_object_get(picture, "probability"));
        long long class = json_integer_value(json_object_get(picture, "class"));
        cr_expect(json_integer_value(json_object_get(picture, "picture")) == (long long)n);
        cr_expect(json_integer_value(json_object_get(picture, "true")) == (long long)n % 10);
        cr_expect(probability >= 0.1 && probability <= 1 && class >= 0 && class < 10);
        correct += class == (long long)n % 10;
    }
    double accuracy = json_real_value(json_object_get(json_array_get(score, 0), "accuracy"));
    cr_expect(fabs(accuracy - correct / 13.0) < 1e-6, "accuracy %g, %d of 13 correct", accuracy, correct);
    json_decref(pictures);
    json_decref(score);
    outcome_free(&predict);
    outcome_free(&eval);
    free(folder);
}

/* Reads one of our .npy files: its header against format 1.0, its values. */
static float *read_npy(const char *folder, const char *name, const char *shape, size_t count)
{
    char path[512], header[128];
    size_t length;
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    char *bytes = read_whole(path, &length);
    cr_assert(bytes && length > 10 && memcmp(bytes, "\x93NUMPY\1\0", 8) == 0, "%s", path);
    size_t head = 10 + (unsigned char)bytes[8] + 256 * (size_t)(unsigned char)bytes[9];
    snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shape);
    cr_expect(head % 64 == 0 && bytes[head - 1] == '\n', "%s: header of %zu bytes", path, head);
    cr_assert(length == head + 4 * count, "%s: %zu bytes", path, length);
    cr_expect(strncmp(bytes + 10, header, strlen(header)) == 0, "%.*s", (int)head - 10, bytes + 10);
    float *values = malloc(4 * count);
    memcpy(values, bytes + head, 4 * count);
    free(bytes);
    return values;
}

Test(commands, dump_writes_the_input_and_every_layer)
{
    char *folder = trained("commands_dump"), dump[512];
    RUN(o, 0, FAKE " predict --json --limit-batches 1 --dump %1$s/new/dump --weights %1$s/last.safetensors", folder);
    snprintf(dump, sizeof dump, "%s/new/dump", folder);
    float *input = read_npy(dump, "input", "(8, 1, 6, 6)", 8 * 36), *hidden = read_npy(dump, "0", "(8, 12)", 96);
    float *logits = read_npy(dump, "2", "(8, 10)", 80);
    for (int i = 0; i < 8 * 36; i++)
        cr_expect(input[i] >= 0 && input[i] <= 1);
    for (int i = 0; i < 96; i++)
        cr_expect(hidden[i] >= 0);                              /* after relu */
    json_t *pictures = json_lines(o.out);
    cr_assert(json_array_size(pictures) == 8);
    for (int n = 0; n < 8; n++) {                               /* the printed probability is the softmax of the dump */
        int best = 0;
        double sum = 0;
        for (int k = 0; k < 10; k++)
            best = logits[n * 10 + k] > logits[n * 10 + best] ? k : best;
        for (int k = 0; k < 10; k++)
            sum += exp(logits[n * 10 + k] - logits[n * 10 + best]);
        json_t *picture = json_array_get(pictures, (size_t)n);
        cr_expect(json_integer_value(json_object_get(picture, "class")) == best);
        cr_expect(fabs(json_real_value(json_object_get(picture, "probability")) - 1 / sum) < 1e-6);
    }
    RUN(bad, 1, FAKE " predict --limit-batches 1 --dump %1$s/last.safetensors --weights %1$s/last.safetensors", folder);
    expect_contains(bad.err, "not a folder");
    cr_expect_str_empty(bad.out);
    json_decref(pictures);
    free(input);
    free(hidden);
    free(logits);
    outcome_free(&o);
    outcome_free(&bad);
    free(folder);
}

/* ---- bench and info ---------------------------------------------------------------------------------------------- */

Test(commands, bench_times_steps_and_kernels)
{
    double min, median, speed, pictures, peak;
    RUN(o, 0, FAKE " bench --steps 7");
    cr_assert(sscanf(o.out, "step_ms min %lf median %lf  GF/s %lf  pictures/s %lf  peak_mib %lf", &min, &median, &speed,
                     &pictures, &peak) == 5, "%s", o.out);
    cr_expect(min > 0 && min <= median && speed > 0 && pictures > 0 && peak > 0.5);
    /* 2 flops for each of 9,792 multiply-adds of a training step */
    cr_expect(fabs(speed - 2 * 9792 / (min * 1e6)) < 0.3 * speed, "%s", o.out);

    RUN(slow, 0, "FAKE_SLOW=5 " FAKE " bench --steps 3 --json --profile");
    json_t *lines = json_lines(slow.out), *line;
    size_t i;
    double last = HUGE_VAL, share = 0;
    cr_assert(json_array_size(lines) == 7);                     /* five kernels, the update, the summary */
    json_array_foreach(lines, i, line) {
        if (i == 6)
            break;
        double ms = json_real_value(json_object_get(line, "ms"));
        cr_expect(ms >= 0 && ms <= last, "not sorted");
        last = ms;
        share += json_real_value(json_object_get(line, "share"));
    }
    cr_expect(fabs(share - 1) < 1e-6, "shares add up to %g", share);
    cr_expect(json_real_value(json_object_get(json_array_get(lines, 6), "step_ms_min")) >= 5);
    json_decref(lines);
    RUN(predict, 0, FAKE " bench --predict --steps 2 --profile");
    expect_contains(predict.out, "2_forward");
    cr_expect(strstr(predict.out, "update") == NULL && strstr(predict.out, "backward") == NULL, "%s", predict.out);
    outcome_free(&o);
    outcome_free(&slow);
    outcome_free(&predict);
}

Test(commands, info_adds_up)
{
    RUN(o, 0, FAKE " info");
    expect_contains(o.out, "linear 12, relu  8x12                        444");
    expect_contains(o.out, "574 learnt");
    expect_contains(o.out, "plain loops");
    RUN(json, 0, FAKE " info --json");
    json_t *lines = json_lines(json.out);
    cr_assert(json_array_size(lines) == 3);
    cr_expect(json_integer_value(json_object_get(json_array_get(lines, 2), "parameters")) == 574);
    json_decref(lines);
    outcome_free(&o);
    outcome_free(&json);
}

/* ---- gradcheck --------------------------------------------------------------------------------------------------- */

Test(commands, gradcheck_passes_right_gradients)
{
    RUN(d, 0, FAKE_DOUBLE " gradcheck --entries 0");
    expect_contains(d.out, "tensor 0.weight  entries 432  ");
    expect_contains(d.out, "tensor 2.bias  entries 10  ");
    cr_expect(strstr(d.out, "mean") == NULL, "a buffer has no gradient: %s", d.out);
    RUN(some, 0, FAKE_DOUBLE " gradcheck --entries 5 --tensor '*weight'");
    expect_contains(some.out, "tensor 0.weight  entries 5  ");
    cr_expect(strstr(some.out, "bias") == NULL, "%s", some.out);
    for (int seed = 0; seed < 20; seed++) {
        RUN(f, 0, FAKE " gradcheck --seed %d", seed);
        expect_contains(f.out, "cnnc --double");
        outcome_free(&f);
    }
    RUN(none, 1, FAKE_DOUBLE " gradcheck --tensor 2.wight");
    expect_contains(none.err, "nearest names are 2.weight");
    outcome_free(&d);
    outcome_free(&some);
    outcome_free(&none);
}

Test(commands, gradcheck_catches_wrong_gradients)
{
    RUN(scaled, 1, "FAKE_WRONG=1 " FAKE_DOUBLE " gradcheck");
    expect_contains(scaled.out, "tensor 0.weight  entries 64");
    expect_contains(scaled.out, "ok\ntensor 2.weight  entries 64");
    expect_contains(scaled.out, "gradient WRONG  entry ");
    expect_contains(scaled.err, "1 of the gradients is wrong");
    RUN(entry, 1, "FAKE_WRONG_ENTRY=1 " FAKE_DOUBLE " gradcheck --entries 0 --json");
    json_t *lines = json_lines(entry.out);
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(lines, 0), "gradient")), "WRONG");
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(lines, 1), "gradient")), "ok");
    json_decref(lines);
    RUN(single, 1, "FAKE_WRONG=1 " FAKE " gradcheck");           /* 5% is seen in float, too */
    expect_contains(single.out, "gradient WRONG");
    outcome_free(&scaled);
    outcome_free(&entry);
    outcome_free(&single);
}

/* ---- progress ---------------------------------------------------------------------------------------------------- */

/* util-linux's script gives the trainer a terminal; without it there is nothing to see. */
Test(commands, the_bar_moves_only_on_a_terminal_and_fits_it)
{
    Outcome has = run_command("command -v script");
    int status = has.status;
    outcome_free(&has);
    if (status != 0)
        cr_skip_test("there is no script(1)");
    char *folder = scratch_folder("commands_bar");
    for (int width = 20; width <= 140; width += 20) {
        RUN(o, 0, "TERM=xterm FAKE_SLOW=10 script -qec 'stty cols %d; " FAKE
            " train --epochs 1 --limit-batches 30 --out %s' /dev/null", width, folder);
        int shown = 0, bars = 0;
        for (const char *at = strchr(o.out, '\r'); at; at = strchr(at + 1, '\r')) {
            size_t length = strcspn(at + 1, "\r\n\033");
            if (strncmp(at + 1 + length, "\033[K", 3) == 0 && length > 0) {
                shown++;
                bars += memchr(at + 1, '>', length) != NULL;
                cr_expect((int)length < width, "%zu columns of %d: %.*s", length, width, (int)length, at + 1);
            }
        }
        cr_expect(width < 80 || bars > 0, "no bar on %d columns:\n%s", width, o.out);
        cr_expect(shown >= 2, "the bar was shown %d times:\n%s", shown, o.out);
        expect_contains(o.out, "\r\033[K");                     /* and taken away */
        outcome_free(&o);
    }
    RUN(dumb, 0, "TERM=dumb script -qec '" FAKE " train --epochs 1 --out %s' /dev/null", folder);
    cr_expect(strstr(dumb.out, "\033") == NULL);
    outcome_free(&dumb);
    free(folder);
}
