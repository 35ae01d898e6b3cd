/* test_recipe.c - how a generated trainer trains: every optimiser, schedule and extra against PyTorch (tests/reference/recipe.py),
 * resumed at every step, and by any number of threads.
 */
#include "programs.h"
#include "safetensors.h"
#include "support.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRAINERS BUILD "/tests/recipe"

/* Tests run side by side: one of them compiles, the others wait. */
static void build_trainers(void)
{
    Outcome o = run_command(
        "mkdir -p %1$s && flock %1$s/lock sh -c 'for kind in float double; do"
        "  test %1$s/$kind -nt %2$s/cnnc && test %1$s/$kind -nt %2$s/libcnn.a ||"
        "  { flag=; test $kind = float || flag=--double; %2$s/cnnc $flag tests/reference/recipe.net -o %1$s/$kind.new &&"
        "    mv %1$s/$kind.new %1$s/$kind; } || exit 1; done'", TRAINERS, BUILD);
    cr_assert(o.status == 0, "the trainers cannot be compiled:\n%s", o.err);
    outcome_free(&o);
}

TestSuite(recipe, .init = build_trainers);

#define RUN(o, expected, ...)                                                                                          \
    Outcome o = run_command(__VA_ARGS__);                                                                              \
    cr_assert(o.status == (expected), "status %d, not %d\n%s%s", o.status, (expected), o.out, o.err)

/* ---- data and weights of a formula --------------------------------------------------------------------------------- */

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
        cnn_tensor x = {"x", 2, {count, FEATURES}, (size_t)count * FEATURES, 0, 0}, y = {"y", 1, {count}, (size_t)count, 0, 1};
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

/* A folder in memory where there is one: runs sync their files to the disk, which takes its time. The caller frees it after
 * remove_folder. */
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

/* ---- against PyTorch ----------------------------------------------------------------------------------------------- */

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
