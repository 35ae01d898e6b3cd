/* test_recipe.c - how a generated trainer trains: every optimiser, schedule and extra against PyTorch
 * (tests/reference/recipe.py), resumed at every step, and by any number of threads.
 */
#include "fake_program.h"
#include "programs.h"
#include "files/safetensors.h"
#include "support.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRAINERS BUILD "/tests/recipe"

/* Tests run side by side: one of them compiles, the others wait. */
static void build_trainers(void)
{
    Outcome o = run_command(
        "mkdir -p %1$s && flock %1$s/lock sh -c 'for kind in float double; do"
        "  test %1$s/$kind -nt %2$s/cnnc && test %1$s/$kind -nt %2$s/libcnn.a ||"
        "  { flag=; test $kind = float || flag=--double; %2$s/cnnc $flag tests/reference/recipe.net -o %1$s/$kind.new"
        "    && mv %1$s/$kind.new %1$s/$kind; } || exit 1; done'", TRAINERS, BUILD);
    cr_assert(o.status == 0, "the trainers cannot be compiled:\n%s", o.err);
    outcome_free(&o);
}

TestSuite(recipe, .init = build_trainers);

#define RUN(o, expected, ...)                                                                                          \
    Outcome o = run_command(__VA_ARGS__);                                                                              \
    cr_assert(o.status == (expected), "status %d, not %d\n%s%s", o.status, (expected), o.out, o.err)

/* ---- data and weights of a formula ------------------------------------------------------------------------------- */

enum { FEATURES = 8, CLASSES = 3, TENSORS = 4, LARGEST = 32 };

static const cnn_tensor tensors[TENSORS] = {
    {"0.weight", 2, {4, 8}, 32, 1, 0}, {"0.bias", 1, {4}, 4, 1, 0},
    {"2.weight", 2, {3, 4}, 12, 1, 0}, {"2.bias", 1, {3}, 3, 1, 0}};

static void unit(const void *context, int t, cnn_real *out)
{
    const cnn_tensor *tensor = context;
    for (size_t i = 0; i < tensor->count; i++)
        out[i] = (cnn_real)reference_unit(i, (uint32_t)t);
}

static void label(const void *context, int t, cnn_real *out)
{
    const cnn_tensor *tensor = context;
    for (size_t n = 0; n < tensor->count; n++)
        out[n] = (cnn_real)((n * n + n / 3) % CLASSES);
    (void)t;
}

/* FOLDER/init.safetensors, and FOLDER/8.safetensors and 24.safetensors with so many pictures. */
static void write_inputs(const char *folder)
{
    char path[512];
    cnn_stored items[TENSORS];
    for (int t = 0; t < TENSORS; t++)
        items[t] = (cnn_stored){"", tensors[t], unit, NULL, (void *)&tensors[t], t};
    snprintf(path, sizeof path, "%s/init.safetensors", folder);
    cr_assert(cnn_safetensors_write(path, items, TENSORS, NULL, 0));
    for (int count = 8; count <= 24; count += 16) {
        cnn_tensor x = {"x", 2, {count, FEATURES}, (size_t)count * FEATURES, 0, 0},
                   y = {"y", 1, {count}, (size_t)count, 0, 1};
        const cnn_stored data[] = {{"train_", x, unit, NULL, &x, 1000}, {"train_", y, label, NULL, &y, 0},
                                   {"test_", x, unit, NULL, &x, 1000}, {"test_", y, label, NULL, &y, 0}};
        snprintf(path, sizeof path, "%s/%d.safetensors", folder, count);
        cr_assert(cnn_safetensors_write(path, data, 4, NULL, 0));
    }
}

/* The weights of a file in double, which the library of this program cannot hold. */
static void load(const char *path, double weights[TENSORS][LARGEST])
{
    size_t length;
    uint64_t header = 0;
    char *bytes = read_whole(path, &length);
    cr_assert(bytes && length > 8, "%s", path);
    memcpy(&header, bytes, sizeof header);
    json_t *json = json_loadb(bytes + 8, header, 0, NULL);
    for (int t = 0; t < TENSORS; t++) {
        json_t *entry = json_object_get(json, tensors[t].name);
        const char *type = json_string_value(json_object_get(entry, "dtype"));
        size_t first = (size_t)json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0));
        cr_assert(type, "%s has no %s", path, tensors[t].name);
        for (size_t i = 0; i < tensors[t].count; i++) {
            const char *at = bytes + 8 + header + first + i * (strcmp(type, "F64") == 0 ? 8 : 4);
            float single;
            memcpy(&single, at, sizeof single);
            weights[t][i] = (double)single;
            if (strcmp(type, "F64") == 0)
                memcpy(&weights[t][i], at, 8);
        }
    }
    json_decref(json);
    free(bytes);
}

/* A folder in memory where there is one: runs sync their files to the disk, which takes its time. The caller
 * frees it after remove_folder. */
static char *memory_folder(void)
{
    Outcome o = run_command("mktemp -d -p /dev/shm cnnc.XXXXXX 2> /dev/null || mktemp -d");
    cr_assert(o.status == 0, "%s", o.err);
    o.out[strcspn(o.out, "\n")] = '\0';
    free(o.err);
    return o.out;
}

static void remove_folder(char *folder)
{
    Outcome o = run_command("rm -rf '%s'", folder);
    outcome_free(&o);
    free(folder);
}

/* ---- against PyTorch --------------------------------------------------------------------------------------------- */

/* The largest distance from the next four lines of the reference. */
static double distance(FILE *reference, double weights[TENSORS][LARGEST])
{
    double largest = 0;
    for (int t = 0; t < TENSORS; t++)
        for (size_t i = 0; i < tensors[t].count; i++) {
            double value;
            cr_assert(fscanf(reference, "%lf", &value) == 1, "tests/reference/recipe.txt is cut off");
            largest = fmax(largest, fabs(weights[t][i] - value));
        }
    return largest;
}

/* Every case of the reference with one of the two trainers. */
static void compare(const char *kind, double tolerance)
{
    char line[512], path[600], *folder = memory_folder();
    int cases = 0;
    write_inputs(folder);
    FILE *reference = fopen("tests/reference/recipe.txt", "r");
    cr_assert(reference, "tests/reference/recipe.txt is missing");
    while (fgets(line, sizeof line, reference)) {
        double weights[TENSORS][LARGEST];
        if (strncmp(line, "case", 4) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        int pictures = strstr(line, "--accumulate 3") ? 24 : 8;
        RUN(o, 0, "set -f; %1$s/%2$s train --data %3$s/%4$d.safetensors --init %3$s/init.safetensors --epochs 6"
            " --threads 1 --out %3$s/run %5$s", TRAINERS, kind, folder, pictures, line + 4);
        outcome_free(&o);
        snprintf(path, sizeof path, "%s/run/last.safetensors", folder);
        load(path, weights);
        double far = distance(reference, weights);
        cr_expect(far <= tolerance, "%s: %g from PyTorch's weights with%s", kind, far, line + 4);
        cases++;
    }
    cr_expect(cases == 54, "%d cases", cases);
    fclose(reference);
    remove_folder(folder);
}

Test(recipe, double_equals_pytorch) { compare("double", 1e-11); }
Test(recipe, float_equals_pytorch) { compare("float", 5e-5); }

/* ---- resuming, and threads --------------------------------------------------------------------------------------- */

#define EVERYTHING                                                                                                     \
    "--label-smoothing 0.1 --clip-norm 0.5 --ema 0.9 --accumulate 3 --decay-biases=no --lr-scale '*.bias=2'"

/* Seven batches of an epoch make three steps, so that a run stops within steps too. The trainer is
 * tests/fake_network.c, which has dropout, and buffers, and stops when it is told to. */
Test(recipe, goes_on_bit_for_bit_from_every_batch, .init = build_fake)
{
    static const char *const recipes[] = {
        "--optimizer sgd --momentum 0.9 --nesterov --schedule step --every 1 --gamma 0.5 --warmup 0.5",
        "--optimizer adam --schedule onecycle", "--optimizer adamw --schedule cosine --warmup 1",
        "--optimizer rmsprop --momentum 0.5 --schedule multistep --milestones 1,2"};
    char *folder = memory_folder(), root[4096] = "";
    if (*BUILD != '/')
        strcat(getcwd(root, sizeof root - 1), "/");
    for (int r = 0; r < 4; r++) {
        RUN(o, 0, "cd %2$s && t() { %3$s" FAKE " train --epochs 3 --limit-batches 7 " EVERYTHING " %1$s \"$@\"; };"
            "t --out whole > /dev/null || exit 1; for k in $(seq 1 20); do rm -rf part;"
            " FAKE_SIGNAL=$k,2 t --out part > /dev/null 2>&1; test $? = 130 ||"
            " { echo \"batch $k did not stop\"; exit 1; };"
            " %3$s" FAKE " train --resume --out part > /dev/null 2>&1 || { echo \"batch $k does not go on\"; exit 1; };"
            " cmp whole/last.safetensors part/last.safetensors || { echo \"batch $k differs\"; exit 1; }; done",
            recipes[r],
            folder, root);
        outcome_free(&o);
    }
    remove_folder(folder);
}

static const char noisy[] =
    "network noisy {\n    input(1, 8, 8);\n    conv(8, 3, pad = 1);\n    batchnorm;\n    relu;\n    maxpool(2);\n"
    "    flatten;\n    dropout(0.25);\n    linear(10);\n"
    "    train { batch = 16; optimizer = adamw; schedule = cosine; }\n}\n";

/* 34 steps an epoch, of 100 batches taken by threes: 204 in all. */
Test(recipe, threads_do_not_matter)
{
    char *folder = memory_folder(), path[600];
    snprintf(path, sizeof path, "%s/noisy.net", folder);
    write_whole(path, noisy, sizeof noisy - 1);
    RUN(compiled, 0, "%1$s/cnnc %2$s/noisy.net -o %2$s/noisy", BUILD, folder);
    outcome_free(&compiled);
    RUN(o, 0, "cd %s && for n in 1 2 3 4 8; do ./noisy train --epochs 6 --limit-batches 100 " EVERYTHING
        " --threads $n --out $n > /dev/null || exit 1; cmp 1/last.safetensors $n/last.safetensors || exit 1; done",
        folder);
    outcome_free(&o);
    remove_folder(folder);
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

/* Refused, with a message that names the options. */
Test(recipe, options_that_do_not_go_together)
{
    static const struct { const char *options, *message; int status; } cases[] = {
        {"--beta1 0.8", "--beta1 is for --optimizer adam|adamw, and it is sgd", 2},
        {"--optimizer adam --momentum 0.9", "--momentum is for --optimizer sgd|rmsprop, and it is adam", 2},
        {"--gamma 0.5", "--gamma is for --schedule step|multistep, and it is constant", 2},
        {"--nesterov", "--nesterov needs a --momentum above 0", 2},
        {"--schedule onecycle --warmup 1", "warms up by itself", 2},
        {"--schedule multistep", "needs --milestones", 2},
        {"--schedule multistep --milestones 3,2", "--milestones 3,2: must be", 2},
        {"--schedule multistep --milestones 3,x", "--milestones 3,x: must be", 2},
        {"--optimizer adagrad", "must be sgd, adam, adamw or rmsprop", 2},
        {"--ema 1", "must be from 0 to 0.999999", 2},
        {"--lr-scale 2.*", "--lr-scale 2.*: must be a pattern, '=' and a factor", 1},
        {"--lr-scale 2.*=-1", "must be a pattern", 1},
        {"--lr-scale 2.*=1,9.*=2", "--lr-scale 9.* matches no trainable tensor", 1}};
    char *folder = memory_folder();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RUN(o, cases[i].status, "set -f; " TRAINERS "/float train --out %s/run %s", folder, cases[i].options);
        cr_expect(strstr(o.err, cases[i].message), "'%s' is missing in:\n%s", cases[i].message, o.err);
        outcome_free(&o);
    }
    RUN(nothing, 0, "test ! -e %s/run", folder);
    outcome_free(&nothing);
    remove_folder(folder);
}

/* train { } speaks of its own optimizer: another one begins with torch's defaults. */
Test(recipe, another_optimizer_has_its_own_defaults, .init = build_fake)
{
    static const struct { const char *options, *lr, *decay; } cases[] = {
        {"", "0.01", "0.0001"}, {"--optimizer adam", "0.001", "0"}, {"--optimizer adamw", "0.001", "0.01"},
        {"--optimizer rmsprop", "0.01", "0"}, {"--optimizer adamw --lr 0.5", "0.5", "0.01"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RUN(o, 0, FAKE " train %s --help | tr -s ' \\n' ' '", cases[i].options);
        char lr[128], decay[128];
        snprintf(lr, sizeof lr, "0.01 for rmsprop (default: %s)", cases[i].lr);
        snprintf(decay, sizeof decay, "0.01 where nothing else is said (default: %s)", cases[i].decay);
        cr_expect(strstr(o.out, lr) && strstr(o.out, decay), "%s: not '%s' and '%s' in\n%s", cases[i].options, lr,
                  decay, o.out);
        outcome_free(&o);
    }
}

/* ---- find-lr ----------------------------------------------------------------------------------------------------- */

Test(recipe, find_lr_prints_suggests_and_draws, .init = build_fake)
{
    char *folder = scratch_folder("find_lr");
    RUN(o, 0, FAKE " find-lr --steps 60 --from 1e-4 --to 100 --accumulate 2 --out %s/lr.svg", folder);
    double first, suggested;
    cr_assert(sscanf(o.out, "step 1/60  lr %lf", &first) == 1 && first == 1e-4, "%s", o.out);
    char *last = strstr(o.out, "suggested_lr ");
    cr_assert(last && sscanf(last, "suggested_lr %lf", &suggested) == 1, "%s", o.out);
    cr_expect(suggested > 1e-4 && suggested < 10, "%g", suggested);
    outcome_free(&o);
    RUN(svg, 0, "grep -c '</svg>' %s/lr.svg && test $(ls %s | wc -l) = 1", folder, folder);
    outcome_free(&svg);

    RUN(json, 0, FAKE " find-lr --json --steps 40 --from 1e-4 --to 1 | tail -n 1");
    cr_expect(strstr(json.out, "\"suggested_lr\""), "%s", json.out);
    outcome_free(&json);
    RUN(order, 1, FAKE " find-lr --from 1 --to 0.1");
    cr_expect(strstr(order.err, "--from 1: must be below --to 0.1"), "%s", order.err);
    outcome_free(&order);
    RUN(flat, 1, FAKE " find-lr --steps 4 --from 1e3 --to 1e4 --momentum 0 --weight-decay 0");
    cr_expect(strstr(flat.err, "the loss never falls"), "%s", flat.err);
    outcome_free(&flat);
    RUN(full, 1, FAKE " find-lr --steps 40 --from 1e-4 --to 1 --out /nowhere/lr.svg");
    cr_expect(strstr(full.err, "/nowhere/lr.svg"), "%s", full.err);
    outcome_free(&full);
    free(folder);
}

/* ---- fine-tuning, and train { } ---------------------------------------------------------------------------------- */

static const char tuned[] =
    "network tuned(classes = 10) {\n    input(1, 8, 8);\n    conv(8, 3, pad = 1);\n    relu;\n    global_avgpool;\n"
    "    flatten;\n"
    "    fc: linear(classes);\n    train {\n        batch = 8;\n        optimizer = rmsprop(lr = 0.02, alpha = 0.8);\n"
    "        schedule = multistep(milestones = (1, 2), gamma = 0.5);\n        warmup = 0.5;\n"
    "        label_smoothing = 0.1;\n        clip_norm = 2;\n        ema = 0.5;\n"
    "        accumulate = 2;\n        decay_biases = no;\n"
    "        lr_scale = \"fc.*=10, 0.*=0\";\n    }\n}\n";

/* Weights of ten classes begin a network of three: the last layer is new and learns, the others have the rate 0. */
Test(recipe, train_block_and_fine_tuning)
{
    char *folder = memory_folder(), path[600];
    snprintf(path, sizeof path, "%s/tuned.net", folder);
    write_whole(path, tuned, sizeof tuned - 1);
    RUN(compiled, 0, "%1$s/cnnc %2$s/tuned.net -o %2$s/ten && %1$s/cnnc -D classes=3 %2$s/tuned.net -o %2$s/three",
        BUILD, folder);
    outcome_free(&compiled);
    RUN(help, 0, "%s/ten train --help | tr -s ' \\n' ' '", folder);
    static const char *const defaults[] = {
        "0.01 for rmsprop (default: 0.02)", "squared gradients moves (rmsprop) (default: 0.8)",
        "OneCycleLR (default: multistep)", "rest of the run (default: 0.5)", "these labels (default: 0.1)",
        "0: never (default: 2)", "0: none (default: 0.5)", "takes what is left (default: 2)", "shift (default: no)"};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        cr_expect(strstr(help.out, defaults[i]), "'%s' is missing in:\n%s", defaults[i], help.out);
    outcome_free(&help);
    RUN(o, 0, "cd %s && ./ten train --epochs 1 --limit-batches 4 --out a > /dev/null && ./three train --epochs 3"
        " --limit-batches 5 --init a/last.safetensors --skip 'fc.*' --out b 2>&1 && "
        "cut -d, -f2,9 b/metrics.csv", folder);
    /* three steps an epoch; warmed up after 2 of 9; gamma after one and two epochs from there:
     * the last rates of epochs */
    cr_expect(strstr(o.out, "\n3,0.02\n6,0.01\n9,0.005\n"), "%s", o.out);
    outcome_free(&o);
    RUN(same, 0, "cd %s && ./three train --epochs 0 --init a/last.safetensors --skip 'fc.*' --out c && for f in b c; do"
        " ./three predict --weights $f/last.safetensors --limit-batches 1 --layer 2 --out $f.npy > $f.txt ||"
        " exit 1; done && cmp b.npy c.npy && ! cmp -s b.txt c.txt", folder);
    outcome_free(&same);                /* features as at the beginning, other classes */
    remove_folder(folder);
}
