/* test_textbook.c - the multiply-adds that an operator declares (.macs) against those that its textbook code does.
 *
 * Each multiply-add line of the generated code is made to count itself, and reference/count_macs.c compares the count
 * of every kernel with what the network's facts say. Where padding is left out by a bounds test, fewer are done.
 */
#define _GNU_SOURCE             /* asprintf, open_memstream */
#include "support.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { char network[256]; int kernels; bool padded; } Counting;

/* kernels: how many do multiply-adds. Of predict: forward; of gradients: forward, grad_weight and, behind another layer
 * that learns, grad_input. */
static Counting countings[] = {
    {"input(5, 11, 9); conv(7, 3); global_avgpool;", 3, false},
    {"input(5, 11, 9); conv(7, 1, bias = no); global_avgpool;", 3, false},
    {"input(5, 11, 9); conv(7, (3, 2), stride = (2, 3)); global_avgpool;", 3, false},
    {"input(5, 11, 9); conv(3, 1); conv(8, 3, stride = 2, dilation = 2); global_avgpool;", 7, false},
    {"input(6, 11, 9); conv(6, 1); conv(9, 3, groups = 3); global_avgpool;", 7, false},
    {"input(6, 11, 9); conv(6, 1); conv(12, (2, 4), groups = 6, bias = no); global_avgpool;", 7, false},
    {"input(6, 11, 9); conv(6, 1); conv(6, 3, pad = 1); conv(4, 5, pad = same, stride = 2); global_avgpool;", 11, true},
    {"input(13); linear(7); tanh; linear(11, bias = no);", 7, false},
    {"input(2, 9, 9); conv(5, 2); batchnorm; relu; maxpool(2); lrn; avgpool(2); flatten; softmax; linear(3);",
     7, false},
};

ParameterizedTestParameters(textbook, macs)
{
    return cr_make_param_array(Counting, countings, sizeof countings / sizeof *countings);
}

/* A multiply-add: "sum += W... * X...", "sum += dY... * X...", "dX... += W... * dY..."; lrn has a third factor. */
static bool is_multiply_add(const char *line, size_t length)
{
    char text[512];
    if (length >= sizeof text)
        return false;
    memcpy(text, line, length);
    text[length] = 0;
    const char *from = strstr(text, "+= ");
    bool weighted = from && (strncmp(from + 3, "W[", 2) == 0 || strncmp(from + 3, "dY[", 3) == 0);
    return weighted && !strstr(text, "real_pow") && (strstr(from, "] * X[") || strstr(from, "] * dY["));
}

/* The source with "macs++, " in front of every multiply-add. */
static char *instrument(const char *source, int *lines)
{
    char *result = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&result, &size);
    fprintf(out, "extern long long macs;\n");
    *lines = 0;
    for (const char *at = source; *at; ) {
        size_t length = strcspn(at, "\n");
        size_t blank = strspn(at, " ");
        bool counts = is_multiply_add(at, length);
        *lines += counts;
        fprintf(out, "%.*s%s%.*s\n", (int)blank, at, counts ? "macs++, " : "", (int)(length - blank), at + blank);
        at += length + (at[length] == '\n');
    }
    fclose(out);
    return result;
}

ParameterizedTest(Counting *counting, textbook, macs)
{
    char *label, *network;
    int number = 0;
    while (strcmp(countings[number].network, counting->network) != 0)
        number++;
    cr_assert(asprintf(&label, "textbook_macs_%d", number) > 0);
    cr_assert(asprintf(&network, "network probe { %s train { batch = 3; } }\n", counting->network) > 0);
    char *folder = scratch_folder(label), path[512];
    snprintf(path, sizeof path, "%s/net.net", folder);
    write_whole(path, network, strlen(network));
    Outcome o = run_command(BUILD "/cnnc -O0 --double %s -o %s/net.c", path, folder);
    cr_assert(o.status == 0, "%s", o.err);
    outcome_free(&o);

    snprintf(path, sizeof path, "%s/net.c", folder);
    char *source = read_whole(path, NULL);
    cr_assert(source);
    int lines;
    char *counted = instrument(source, &lines);
    snprintf(path, sizeof path, "%s/counted.c", folder);
    write_whole(path, counted, strlen(counted));
    o = run_command("clang-19 -O1 -DREAL=double -DCNN_MAIN -Wno-unknown-pragmas -Iruntime -I%s %s "
                    "tests/reference/count_macs.c " BUILD "/libcnn-double.a -fopenmp -lm -o %s/net",
                    folder, path, folder);
    cr_assert(o.status == 0, "%s", o.err);
    outcome_free(&o);
    o = run_command("OMP_NUM_THREADS=1 %s/net %s", folder, counting->padded ? "padded" : "");
    int kernels = o.status == 0 ? atoi(o.out) : 0;
    cr_expect(o.status == 0, "%s\n%s%s", counting->network, o.out, o.err);
    cr_expect(o.status != 0 || kernels == counting->kernels, "%s\n%d kernels do multiply-adds, %d were expected",
              counting->network, kernels, counting->kernels);
    cr_expect(lines > 0, "no multiply-add was found in the code of %s", counting->network);
    outcome_free(&o);
    free(source), free(counted), free(folder), free(label), free(network);
}
