/* test_keep.c - --keep-layers: `predict --dump` of fast code writes the same arrays as the textbook's, for every layer;
 * without it the trainer says how to get them, and writes nothing. Trainers in double, with the weights of one step.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* Views, slices, layers that fusion would remove, a layer whose output is the input's memory, one that textbook code
 * computes (groups of 4 channels). */
static const char text[] =
    "network keep {\n"
    "    input(1, 28, 28);\n"
    "    conv(12, 3, stride = 2, pad = 1); batchnorm; relu;\n"
    "    residual { conv(12, 3, pad = 1, bias = no); batchnorm; relu; conv(12, 3, pad = 1, groups = 3); } relu;\n"
    "    concat { { conv(16, 3, pad = 1); relu; } { conv(5, 1); silu; } {} }\n"
    "    maxpool(2); batchnorm; relu; dropout(0.2); global_avgpool; flatten; linear(10);\n"
    "    train { batch = 4; }\n"
    "}\n";

enum { ARRAYS = 22 };           /* the input and 21 layers */

static Outcome in_folder(const char *folder, const char *line)
{
    return run_command("cnnc=$(realpath %s/cnnc) && cd %s && %s", BUILD, folder, line);
}

static void run_or_fail(const char *folder, const char *line)
{
    Outcome o = in_folder(folder, line);
    cr_assert(o.status == 0 && *o.err == 0, "%s: status %d\n%s", line, o.status, o.err);
    outcome_free(&o);
}

/* Values of a .npy in double, and where they begin: what is before must be equal too. */
static const double *values_of(const char *bytes, size_t length, size_t *head, size_t *count)
{
    *head = 10 + (unsigned char)bytes[8] + 256 * (size_t)(unsigned char)bytes[9];
    *count = (length - *head) / sizeof(double);
    return (const double *)(const void *)(bytes + *head);
}

static void expect_same_array(const char *folder, const char *name)
{
    char path[900];
    size_t length[2], head[2], count[2];
    char *bytes[2];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", folder, i ? "kept.dump" : "slow.dump", name);
        bytes[i] = read_whole(path, &length[i]);
        cr_assert(bytes[i] && length[i] > 80, "%s is missing", path);
    }
    const double *slow = values_of(bytes[0], length[0], &head[0], &count[0]);
    const double *kept = values_of(bytes[1], length[1], &head[1], &count[1]);
    cr_assert(length[0] == length[1] && memcmp(bytes[0], bytes[1], head[0]) == 0, "%s has another shape", name);
    for (size_t i = 0; i < count[0]; i++)
        cr_assert(fabs(slow[i] - kept[i]) <= 1e-9 * fmax(1, fabs(slow[i])), "%s[%zu] is %.12g, not %.12g", name, i,
                  kept[i], slow[i]);
    free(bytes[0]);
    free(bytes[1]);
}

Test(keep, every_layer_can_be_looked_at, .timeout = 300)
{
    char *folder = scratch_folder("keep"), path[700];
    snprintf(path, sizeof path, "%s/keep.net", folder);
    write_whole(path, text, sizeof text - 1);
    /* A C compiler without optimisation: only the values matter. */
    run_or_fail(folder, "printf '#!/bin/sh\\nexec clang-19 \"$@\" -O0\\n' > cc.sh && chmod +x cc.sh && "
                        "$cnnc --cc=./cc.sh -O0 --double keep.net -o slow && "
                        "$cnnc --cc=./cc.sh --double keep.net -o fast && "
                        "$cnnc --cc=./cc.sh --keep-layers --double keep.net -o kept");
    run_or_fail(folder, "./slow train --data synthetic --epochs 1 --limit-batches 1 --out run > log && "
                        "for p in slow kept; do ./$p predict --data synthetic --weights run/last.safetensors "
                        "--limit-batches 1 --dump $p.dump > $p.txt || exit 1; done && cmp slow.txt kept.txt");
    Outcome o = in_folder(folder, "./fast predict --data synthetic --weights run/last.safetensors --dump fast.dump "
                                  "> fast.txt");
    cr_expect(o.status == 1 && strstr(o.err, "is not kept by this program\n") && strstr(o.err, "cnnc --keep-layers"),
              "status %d\n%s", o.status, o.err);
    outcome_free(&o);
    o = in_folder(folder, "ls fast.dump 2>/dev/null; ls slow.dump");
    int arrays = 0;
    for (char *rest = NULL, *name = strtok_r(o.out, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest), arrays++)
        expect_same_array(folder, name);
    cr_expect(arrays == ARRAYS, "%d arrays", arrays);
    outcome_free(&o);
    free(folder);
}

/* What the last layer takes is kept in any case: the features of all pictures, a row each. */
Test(keep, features_are_written_for_all_pictures, .timeout = 300)
{
    static const char *const layers[] = {"7", "8"};     /* global_avgpool, and flatten, which is a view of it */
    char *folder = scratch_folder("features"), line[900], path[700];
    snprintf(path, sizeof path, "%s/net.net", folder);
    const char net[] =
        "network features {\n    input(1, 8, 8);\n    conv(20, 3, pad = 1); batchnorm; relu; maxpool(2);\n"
        "    conv(24, 3, pad = 1); batchnorm; relu; global_avgpool; flatten; linear(10);\n"
        "    train { batch = 4; }\n}\n";
    write_whole(path, net, sizeof net - 1);
    run_or_fail(folder,
                "printf '#!/bin/sh\\nexec clang-19 \"$@\" -O0\\n' > cc.sh && chmod +x cc.sh && "
                "$cnnc --cc=./cc.sh -O0 --double net.net -o slow && $cnnc --cc=./cc.sh --double net.net -o fast && "
                "./slow train --data synthetic --epochs 0 --out run");
    for (int l = 0; l < 2; l++) {
        snprintf(line, sizeof line,
                 "for p in slow fast; do mkdir -p $p.dump kept.dump && ./$p predict --data synthetic --weights "
                 "run/last.safetensors --limit-batches 3 --layer %1$s --out $p.dump/%1$s.npy > $p.txt || exit 1; "
                 "done && cmp slow.txt fast.txt && mv fast.dump/%1$s.npy kept.dump", layers[l]);
        run_or_fail(folder, line);
        snprintf(path, sizeof path, "%s.npy", layers[l]);
        expect_same_array(folder, path);
        snprintf(line, sizeof line, "head -c 128 slow.dump/%s.npy | grep -ac \"'shape': (12, 24\"", layers[l]);
        run_or_fail(folder, line);
    }
    static const struct { const char *options, *message; int status; } wrong[] = {
        {"--layer 6 --out x.npy", "the output of layer 6 is not kept by this program", 1},
        {"--layer 88 --out x.npy", "--layer 88: there is no such layer\n", 1},
        {"--layer 7 --out nowhere/x.npy", "nowhere/x.npy: cannot be saved", 1},
        {"--layer 8", "--layer needs a file for what it computes: --out FILE.npy", 2}};
    for (int i = 0; i < 4; i++) {
        snprintf(line, sizeof line,
                 "./fast predict --data synthetic --weights run/last.safetensors --limit-batches 1 %s",
                 wrong[i].options);
        Outcome o = in_folder(folder, line);
        cr_expect(o.status == wrong[i].status && strstr(o.err, wrong[i].message), "%s: status %d\n%s", wrong[i].options,
                  o.status, o.err);
        outcome_free(&o);
    }
    run_or_fail(folder, "! test -e x.npy && ! test -e x.npy.tmp");
    free(folder);
}
