/* test_kernel.c - `cnnc kernel`: one operator as a program that checks its fast kernels against the textbook, and what
 * the command says where it is misused. test_aarch64.c runs the same programs for another processor.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "target.h"

/* ---- programs ---------------------------------------------------------------------------------------------------- */

typedef struct { char name[20], statement[80], input[20], batch[8]; int results; } Case;

/* Odd sizes, channels that fill no vector; `results`: arrays that the program compares. */
ParameterizedTestParameters(kernel, agrees_with_the_textbook)
{
    static Case cases[] = {
        {"conv", "conv(8, 3, pad = 1)", "5x9x7", "3", 4},
        {"wide", "conv(24, 3, pad = 1, bias = no)", "32x12x12", "2", 3},
        {"strided", "conv(17, 5, stride = 2, pad = (2, 1))", "18x11x13", "2", 4},
        {"depthwise", "conv(19, 3, pad = 1, groups = 19)", "19x8x9", "2", 4},
        {"linear", "linear(21)", "37", "5", 4},
        {"batchnorm", "batchnorm", "20x5x6", "3", 7},
        {"maxpool", "maxpool(3, stride = 2, pad = 1)", "18x9x10", "2", 2},
        {"softmax", "softmax", "23", "4", 2},
        {"lrn", "lrn(5)", "18x6x5", "2", 2},
    };
    return cr_make_param_array(Case, cases, sizeof cases / sizeof *cases);
}

static int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

/* The program is built in float by one compiler and in double by the other. */
static void check_build(const Case *c, const char *folder, const char *cc, const char *real)
{
    const char *contract = strcmp(cc, "gcc") == 0 ? "-ffp-contract=fast" : "";
    Outcome o = run_command("%s -std=gnu11 -Wall -Wextra -Werror %s -O1 %s %s %s %s/kernel.c -lm -o %s/kernel", cc,
                            common_flags, contract, find_target("native")->flags, real, folder, folder);
    cr_assert(o.status == 0 && *o.err == 0, "%s: %s %s says\n%.3000s", c->statement, cc, real, o.err);
    outcome_free(&o);
    o = run_command("OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive %s/kernel 0", folder);
    cr_expect(o.status == 0, "%s, %s %s: status %d\n%s%s", c->statement, cc, real, o.status, o.out, o.err);
    cr_expect(count_of(o.out, "WRONG") == 0, "%s, %s %s:\n%s", c->statement, cc, real, o.out);
    cr_expect(count_of(o.out, " error ") == c->results, "%s, %s %s compares\n%snot %d arrays", c->statement, cc, real,
              o.out, c->results);
    cr_expect(count_of(o.out, " ms") >= 2, "%s, %s %s times\n%s", c->statement, cc, real, o.out);
    outcome_free(&o);
}

ParameterizedTest(Case *c, kernel, agrees_with_the_textbook)
{
    char name[100];
    snprintf(name, sizeof name, "kernel_%s", c->name);
    char *folder = scratch_folder(name);
    Outcome o = run_command("%s/cnnc kernel '%s' --input %s --batch %s -o %s/kernel.c", BUILD, c->statement, c->input,
                            c->batch, folder);
    cr_assert(o.status == 0 && *o.out == 0 && *o.err == 0, "%s: status %d\n%s%s", c->statement, o.status, o.out, o.err);
    outcome_free(&o);
    check_build(c, folder, "clang-19", "-DREAL=double");
    check_build(c, folder, "gcc", "");
    free(folder);
}

/* -o k: cnnc compiles and links it. A program that computes something else says so: WRONG, and exit status 1. */
Test(kernel, a_wrong_kernel_is_found)
{
    char *folder = scratch_folder("kernel_wrong");
    Outcome o = run_command("cnnc=$(realpath %s/cnnc) && cd %s && $cnnc kernel relu --input 5x4x4 --batch 2 -o good && "
                            "./good 0 && $cnnc kernel relu --input 5x4x4 --batch 2 -o - | "
                            "sed 's/choose(x < zero, zero, x)/x + 1/' > bad.c && "
                            "clang-19 -std=gnu11 -O1 -fopenmp %s bad.c -lm -o bad && ./bad 0 > bad.out; echo $?; "
                            "grep -c WRONG bad.out; ls -x", BUILD, folder, find_target("native")->flags);
    cr_expect(o.status == 0 && *o.err == 0 && strstr(o.out, "0.0e+00 of the largest value\n"), "%s%s", o.out, o.err);
    cr_expect(strstr(o.out, "\n1\n2\nbad"), "%s", o.out);
    cr_expect(strstr(o.out, "good") && !strstr(o.out, ".h") && !strstr(o.out, "tmp"), "%s", o.out);
    outcome_free(&o);
    free(folder);
}

Test(kernel, stages_are_printed_and_nothing_is_written)
{
    char *folder = scratch_folder("kernel_stages");
    Outcome o = run_command("cnnc=$(realpath %s/cnnc) && cd %s && "
                            "$cnnc kernel 'conv(8, 3)' --input 3x8x8 --dump=schedule && "
                            "$cnnc kernel 'conv(8, 3)' --input 3x8x8 --dump=step && "
                            "$cnnc kernel 'conv(8, 3)' --input 3x8x8 -fsyntax-only && ls", BUILD, folder);
    cr_expect(o.status == 0 && *o.err == 0, "status %d\n%s", o.status, o.err);
    cr_expect(strstr(o.out, "grad_weight") && !strstr(o.out, "kernel.c"), "%s", o.out);
    outcome_free(&o);
    free(folder);
}

/* ---- mistakes ---------------------------------------------------------------------------------------------------- */

Test(kernel, mistakes_get_one_message)
{
    static const char *const cases[][2] = {
        {"", "kernel needs a statement"},
        {"'conv(8, 3)'", "kernel needs the size of a picture"},
        {"'conv(8, 3)' relu --input 3x8x8", "one network file at a time"},
        {"'conv(8, 3); relu' --input 3x8x8", "is not one operator"},
        {"'dropout(0.5)' --input 3x8x8", "is not one operator"},
        {"flatten --input 3x8x8", "is not one operator"},
        {"'' --input 3x8x8", "is its input"},
        {"'convv(8, 3)' --input 3x8x8", "did you mean 'conv'?"},
        {"'conv(8, 3' --input 3x8x8", "expected ',' or ')'"},
        {"'relu; }' --input 3x8x8", "closes nothing"},
        {"'conv(8, 9)' --input 3x8x8", "kernel 9 does not fit the 8 x 8 picture"},
        {"'conv(8, 3)' --input 3x8", "is not CxHxW"},
        {"'conv(8, 3)' --input 3x8x8 -O0", "nothing to compare"},
        {"'conv(8, 3)' --input 3x8x8 --dump=memory", "no such stage"},
        {"'conv(8, 3)' --input 3x8x8 --schedule='*.forward=winogrand'", "no algorithm 'winogrand'"},
    };
    char *folder = scratch_folder("kernel_mistakes");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Outcome o =
            run_command("cnnc=$(realpath %s/cnnc) && cd %s && $cnnc kernel %s -o k.c", BUILD, folder, cases[i][0]);
        cr_expect(o.status == 1 && *o.out == 0, "kernel %s: status %d\n%s", cases[i][0], o.status, o.out);
        cr_expect(strstr(o.err, cases[i][1]), "kernel %s: '%s' is missing in\n%s", cases[i][0], cases[i][1], o.err);
        cr_expect(count_of(o.err, "error: ") <= 1 && count_of(o.err, "\n") <= 5, "kernel %s:\n%s", cases[i][0],
                  o.err);
        outcome_free(&o);
    }
    Outcome o = run_command("ls %s", folder);
    cr_expect(*o.out == 0, "left behind: %s", o.out);
    outcome_free(&o);
    free(folder);
}
