/* test_ops.c - operators: values against PyTorch's, every gradient against difference quotients, what each refuses.
 *
 * Values come first, because a gradient check accepts any function whose gradient matches it. reference/operators.py
 * says how the reference was made; three threads must compute the same bits as one. The gradient checks are of random
 * configurations from a fixed list of seeds: four branches a network, each with its own convolution in front of the
 * operator, so that a wrong dX shows in b<i>.pre.weight; the branches share one tensor, whose gradients must add up.
 */
#define _GNU_SOURCE             /* asprintf, open_memstream */
#include "op.h"
#include "support.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Generated code must compile without a warning. */
#define COMPILE "clang-19 -std=c11 -O1 -Wall -Wextra -Wpedantic -Werror -fopenmp -DREAL=double -DCNN_MAIN"

static char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *format, ...)
{
    char *result;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&result, format, args);
    va_end(args);
    cr_assert(length >= 0, "out of memory");
    return result;
}

/* Compiles a network in double precision into `folder`/net, with a driver instead of the trainer where one is named. */
static void build_network(const char *folder, const char *network, const char *driver)
{
    char *path = text("%s/net.net", folder);
    write_whole(path, network, strlen(network));
    Outcome o = run_command(BUILD "/cnnc -O0 --double %s -o %s/net.c", path, folder);
    cr_assert(o.status == 0, "cnnc refuses:\n%s\n%s", network, o.err);
    outcome_free(&o);
    o = run_command(COMPILE " -I" BUILD "/include %s/net.c %s " BUILD "/libcnn-double.a -lz -ljansson -lm -o %s/net",
                    folder, driver, folder);
    cr_assert(o.status == 0, "the C compiler refuses the code of:\n%s\n%s", network, o.err);
    outcome_free(&o);
    free(path);
}

/* ---- values: PyTorch's ------------------------------------------------------------------------------------------ */

static const char references[] = "tests/reference/operators.txt";

static int case_numbers[1000];

ParameterizedTestParameters(ops, values)
{
    char *all = read_whole(references, NULL);
    int cases = 0;
    for (const char *at = all; at && cases < 1000 && (at = strstr(at, "case ")); at += 5)
        if (at == all || at[-1] == '\n')
            case_numbers[cases] = cases, cases++;
    free(all);
    return cr_make_param_array(int, case_numbers, (size_t)cases);
}

/* The text of case `wanted`, behind "case "; it ends where the next begins. NULL: there are not so many. */
static char *find_case(char *all, int wanted)
{
    char *at = all;
    for (int i = -1; at && i < wanted; i++) {
        at = strstr(at, "\ncase ");
        at = at ? at + 6 : NULL;
    }
    if (at) {
        char *next = strstr(at, "\ncase ");
        if (next)
            next[1] = 0;
    }
    return at;
}

/* The next line of *at, which moves on; NULL at the end. */
static char *next_line(char **at)
{
    char *line = *at, *stop = strchr(line, '\n');
    if (!*line)
        return NULL;
    *at = stop ? stop + 1 : line + strlen(line);
    if (stop)
        *stop = 0;
    return line;
}

/* Compares "key [name] number ..." lines: the words equal, the numbers to 1e-9. */
static bool lines_agree(const char *expected, const char *actual)
{
    while (*expected || *actual) {
        char *stop, *other;
        double x = strtod(expected, &stop), y = strtod(actual, &other);
        if (stop == expected || other == actual) {
            if (*expected++ != *actual++)
                return false;
            continue;
        }
        if (!(fabs(x - y) <= 1e-9 * (1 + fabs(x))))
            return false;
        expected = stop;
        actual = other;
    }
    return true;
}

ParameterizedTest(int *number, ops, values)
{
    char *all = read_whole(references, NULL);
    cr_assert(all, "%s is missing", references);
    char *at = find_case(all, *number);
    cr_assert(at, "%s has no case %d", references, *number);
    const char *name = next_line(&at);
    char *network = next_line(&at);
    cr_assert(network && strncmp(network, "net ", 4) == 0);

    char *label = text("ops_values_%d", *number);
    char *folder = scratch_folder(label);
    char *with_batch = text("%.*s train { batch = 2; } }\n", (int)strlen(network + 4) - 2, network + 4);
    build_network(folder, with_batch, "-Iruntime tests/reference/operators.c");
    Outcome o = run_command("OMP_NUM_THREADS=1 %s/net", folder);
    cr_assert(o.status == 0, "%s: the driver ends with %d\n%s", name, o.status, o.err);
    Outcome threads = run_command("OMP_NUM_THREADS=3 OMP_WAIT_POLICY=passive %s/net", folder);
    cr_expect(strcmp(o.out, threads.out) == 0, "%s: three threads compute something else:\n%s", name, threads.out);
    outcome_free(&threads);
    char *out = o.out;
    for (char *expected; (expected = next_line(&at)); ) {
        char *actual = next_line(&out);
        cr_expect(actual && lines_agree(expected, actual), "%s:\nPyTorch: %s\nhere:    %s", name, expected,
                  actual ? actual : "nothing");
    }
    cr_expect(!*out, "%s: more than PyTorch prints: %s", name, out);
    outcome_free(&o);
    free(folder), free(label), free(with_batch), free(all);
}

/* The reference holds as many cases as are tested. */
/* An empty list of cases would pass unseen. */
Test(ops, every_operator_has_a_case)
{
    char *all = read_whole(references, NULL);
    for (int i = 0; op_at(i); i++) {
        char *keyword = text("%s(", op_at(i)->keyword), *bare = text("%s;", op_at(i)->keyword);
        cr_expect(all && (strstr(all, keyword) || strstr(all, bare)), "%s has no case of %s", references,
                  op_at(i)->keyword);
        free(keyword);
        free(bare);
    }
    free(all);
}

/* ---- gradients: random configurations --------------------------------------------------------------------------- */

/* splitmix64 (Steele, Lea and Flood 2014). */
typedef struct { uint64_t state; } Random;

static uint64_t next_random(Random *r)
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static int between(Random *r, int low, int high)
{
    return low + (int)(next_random(r) % (uint64_t)(high - low + 1));
}

static bool chance(Random *r, int percent)
{
    return between(r, 1, 100) <= percent;
}

/* Channels about and beyond one and several vectors: 1-33 and 47-65. */
static int random_channels(Random *r)
{
    return chance(r, 70) ? between(r, 1, 33) : between(r, 47, 65);
}

static int divisor_of(Random *r, int n)
{
    int d;
    do
        d = between(r, 1, n);
    while (n % d != 0);
    return d;
}

/* What an operator is tried on: c x h x w pictures. */
typedef struct { Random *random; FILE *out; int c, h, w; } Branch;

/* ", name = (a, b)", in one number where the two are equal. */
static void write_pair(Branch *b, const char *name, int first, int second)
{
    if (first == second)
        fprintf(b->out, ", %s = %d", name, first);
    else
        fprintf(b->out, ", %s = (%d, %d)", name, first, second);
}

/* Draws stand in statements of their own: C leaves open in which order a call's arguments are evaluated. */
static void write_random_pair(Branch *b, const char *name, int low, int high)
{
    int first = between(b->random, low, high), second = between(b->random, low, high);
    write_pair(b, name, first, second);
}

/* Writes pad and returns what it adds: pads[0..4) top, bottom, left, right, each at most the limit of its direction. */
static void write_pad(Branch *b, int limit_h, int limit_w, int pads[4])
{
    Random *r = b->random;
    int kind = between(r, 0, 3);
    for (int d = 0; d < 2; d++) {
        int limit = d ? limit_w : limit_h;
        pads[2 * d] = kind == 0 ? 0 : between(r, 0, limit);
        pads[2 * d + 1] = kind == 3 ? between(r, 0, limit) : pads[2 * d];
    }
    if (kind == 1)              /* one number for all */
        pads[0] = pads[1] = pads[2] = pads[3] = pads[0] < pads[2] ? pads[0] : pads[2];
    if (kind == 1)
        fprintf(b->out, ", pad = %d", pads[0]);
    if (kind == 2)
        fprintf(b->out, ", pad = (%d, %d)", pads[0], pads[2]);
    if (kind == 3)
        fprintf(b->out, ", pad = (%d, %d, %d, %d)", pads[0], pads[1], pads[2], pads[3]);
}

/* A kernel whose dilated extent fits n pixels. */
static int random_kernel(Random *r, int n, int dilation)
{
    int largest = (n - 1) / dilation + 1;
    return between(r, 1, largest < 4 ? largest : 4);
}

static void write_conv(Branch *b, int channels, int groups)
{
    Random *r = b->random;
    int dh = chance(r, 30) ? 2 : 1, dw = chance(r, 30) ? 2 : 1, pads[4];
    int kh = random_kernel(r, b->h, dh), kw = random_kernel(r, b->w, dw);
    fprintf(b->out, "conv(%d", channels);
    write_pair(b, "kernel", kh, kw);
    write_random_pair(b, "stride", 1, 3);
    if (chance(r, 20))
        fprintf(b->out, ", pad = same");
    else
        write_pad(b, 3, 3, pads);
    write_pair(b, "dilation", dh, dw);
    fprintf(b->out, ", groups = %d, bias = %s);", groups, chance(r, 50) ? "yes" : "no");
}

static void try_conv(Branch *b)
{
    write_conv(b, random_channels(b->random), 1);
}

static int gcd(int a, int b)
{
    return b ? gcd(b, a % b) : a;
}

static void try_grouped(Branch *b)
{
    int groups = divisor_of(b->random, b->c), channels = random_channels(b->random);
    channels = (channels + groups - 1) / groups * groups;
    write_conv(b, channels, divisor_of(b->random, gcd(b->c, channels)));
}

static void try_depthwise(Branch *b)
{
    write_conv(b, b->c * between(b->random, 1, 2), b->c);
}

static void try_linear(Branch *b)
{
    int features = random_channels(b->random);
    fprintf(b->out, "flatten; linear(%d, bias = %s);", features, chance(b->random, 50) ? "yes" : "no");
}

static void write_pool(Branch *b, const char *keyword, const char *more)
{
    Random *r = b->random;
    int kh = random_kernel(r, b->h, 1), kw = random_kernel(r, b->w, 1), pads[4];
    fprintf(b->out, "%s((%d, %d)", keyword, kh, kw);
    if (chance(r, 70))
        write_random_pair(b, "stride", 1, 4);
    write_pad(b, kh - 1, kw - 1, pads);
    fprintf(b->out, ", ceil = %s%s);", chance(r, 50) ? "yes" : "no", more);
}

/* Ties: values that ReLU made 0, or pixels that upsampling made twice. */
static void try_maxpool(Branch *b)
{
    int kind = between(b->random, 0, 2);
    if (kind == 1)
        fprintf(b->out, "relu; ");
    if (kind == 2) {
        b->h *= 2;
        fprintf(b->out, "adaptive_avgpool((%d, %d)); ", b->h, b->w);
    }
    write_pool(b, "maxpool", "");
}

static void try_avgpool(Branch *b)
{
    write_pool(b, "avgpool", chance(b->random, 50) ? ", count_pad = no" : "");
}

static void try_adaptive(Branch *b)
{
    int h = between(b->random, 1, b->h + 3), w = between(b->random, 1, b->w + 3);
    fprintf(b->out, "adaptive_avgpool((%d, %d));", h, w);
}

static void try_global(Branch *b)
{
    fprintf(b->out, "global_avgpool; tanh;");
}

/* On pictures and on flat tensors. eps is large where few values would make the result a constant. */
static void try_batchnorm(Branch *b)
{
    if (chance(b->random, 40))
        fprintf(b->out, "flatten; batchnorm(eps = 0.5);");
    else
        fprintf(b->out, chance(b->random, 50) ? "batchnorm;" : "batchnorm(eps = 0.1, momentum = 0.3);");
    fprintf(b->out, " tanh;");
}

/* alpha is so large that both terms of the gradient count. */
static void try_lrn(Branch *b)
{
    int size = between(b->random, 1, 7), alpha = between(b->random, 3, 9), beta = between(b->random, 3, 9);
    fprintf(b->out, "lrn(%d, alpha = 0.%d, beta = 0.%d, k = 1.%d);", size, alpha, beta, between(b->random, 0, 9));
}

static void write_activation(Branch *b, const char *call)
{
    if (chance(b->random, 30))
        fprintf(b->out, "flatten; ");
    fprintf(b->out, "%s;", call);
}

static void try_relu(Branch *b)    { write_activation(b, "relu"); }
static void try_sigmoid(Branch *b) { write_activation(b, "sigmoid"); }
static void try_tanh(Branch *b)    { write_activation(b, "tanh"); }
static void try_silu(Branch *b)    { write_activation(b, "silu"); }
static void try_softmax(Branch *b) { write_activation(b, "softmax"); }
static void try_flatten(Branch *b) { write_activation(b, "flatten"); }
static void try_leaky(Branch *b)   { write_activation(b, chance(b->random, 50) ? "leaky_relu" : "leaky_relu(0.3)"); }
static void try_dropout(Branch *b) { write_activation(b, chance(b->random, 80) ? "dropout(0.4)" : "dropout(0)"); }

/* The values before it must reach 6: batchnorm spreads, add doubles. */
static void try_relu6(Branch *b)
{
    fprintf(b->out, "batchnorm; as x; add(x, x, x); ");
    write_activation(b, "relu6");
}

static void try_add(Branch *b)
{
    const char *between_them = chance(b->random, 50) ? "sigmoid;" : "";
    fprintf(b->out, "as x; tanh; as y; %s add(x%s);", between_them, chance(b->random, 50) ? ", y, x" : "");
}

static void try_concat(Branch *b)
{
    int channels = between(b->random, 1, 5);
    fprintf(b->out, "as x; tanh; as y; conv(%d, 1); concat(x%s); tanh;", channels,
            chance(b->random, 50) ? ", y, x" : "");
}

/* One tensor with several users, one of which only passes it on. */
static void try_shared(Branch *b)
{
    static const char *const pass[] = {"flatten", "dropout(0)"};
    fprintf(b->out, "as x; %s; tanh; flatten; as y; from x; sigmoid; flatten; add(y);", pass[between(b->random, 0, 1)]);
}

static void (*const attempts[])(Branch *) = {
    try_conv, try_maxpool, try_avgpool, try_batchnorm, try_grouped, try_relu, try_linear, try_lrn, try_depthwise,
    try_adaptive, try_silu, try_dropout, try_conv, try_softmax, try_maxpool, try_add, try_avgpool, try_concat,
    try_leaky, try_global, try_grouped, try_sigmoid, try_relu6, try_tanh, try_flatten, try_shared, try_depthwise,
    try_maxpool};

enum { ATTEMPTS = sizeof attempts / sizeof *attempts, BRANCHES = 4, NETWORKS = 56 };

/* Network number `seed`: branches 4 seed to 4 seed + 3 of the endless repetition of `attempts`. */
static char *random_network(int seed)
{
    Random random = {(uint64_t)seed * 1000003 + 17};
    char *result = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&result, &size);
    int h = between(&random, 3, 9), w = between(&random, 3, 9);
    fprintf(out, "network probe {\n    input(%d, %d, %d);\n", between(&random, 1, 3), h, w);
    fprintf(out, "    stem: conv(%d, 3, pad = 1);\n    concat {\n", between(&random, 1, 4));
    for (int i = 0; i < BRANCHES; i++) {
        Branch b = {&random, out, random_channels(&random), h, w};
        fprintf(out, "        b%d: { pre: conv(%d, 1); ", i, b.c);
        attempts[(seed * BRANCHES + i) % ATTEMPTS](&b);
        fprintf(out, " flatten; linear(3); }\n");
    }
    fprintf(out, "    }\n    tanh;\n    linear(3);\n    train { batch = %d; }\n}\n", between(&random, 2, 4));
    fclose(out);
    return result;
}

static int seeds[NETWORKS];

ParameterizedTestParameters(ops, gradients)
{
    for (int i = 0; i < NETWORKS; i++)
        seeds[i] = i;
    return cr_make_param_array(int, seeds, NETWORKS);
}

ParameterizedTest(int *seed, ops, gradients)
{
    char *network = random_network(*seed), *label = text("ops_gradients_%d", *seed), *folder = scratch_folder(label);
    build_network(folder, network, "");
    Outcome o = run_command("%s/net gradcheck --threads 1 --entries 12", folder);
    cr_expect(o.status == 0, "seed %d:\n%s\n%s%s", *seed, network, o.out, o.err);
    for (int i = 0; i < BRANCHES; i++) {
        char *name = text("b%d.pre.weight", i);
        cr_expect(strstr(o.out, name), "seed %d: %s was not checked\n%s", *seed, name, o.out);
        free(name);
    }
    outcome_free(&o);
    free(folder), free(label), free(network);
}

/* ---- what no gradient shows ------------------------------------------------------------------------------------- */

/* reference/edges.c prints what is wrong, and knows the network by its name. */
static void run_edges(const char *label, const char *network)
{
    char *folder = scratch_folder(label);
    build_network(folder, network, "-Iruntime tests/reference/edges.c");
    Outcome o = run_command("%s/net", folder);
    cr_expect(o.status == 0, "%s\n%s%s", network, o.out, o.err);
    outcome_free(&o);
    free(folder);
}

Test(ops, dropout_masks)
{
    run_edges("ops_dropout", "network dropout { input(5000); dropout(0.25); fc: linear(2, bias = no);"
                             " train { batch = 1; } }");
}

/* A NaN in one picture reaches its logits, and those of no other picture, through every operator that compares. */
Test(ops, nan_stays_visible)
{
    run_edges("ops_nan", "network not_a_number { input(1, 8, 8); maxpool(3, stride = 1); relu; relu6; leaky_relu;"
                         " maxpool(2); softmax; flatten; softmax; fc: linear(2); train { batch = 2; } }");
}

/* Exponentials and sums that would overflow. */
Test(ops, large_values_stay_finite)
{
    run_edges("ops_large", "network large { input(4); linear(4, bias = no); as x; sigmoid; as a; from x; tanh; as b;"
                           " from x; softmax; as c; from x; silu; as d; from x; add(a, b, c, d);"
                           " train { batch = 2; } }");
}

/* ---- what each operator refuses --------------------------------------------------------------------------------- */

typedef struct { const char *network, *message, *help; } Refusal;

static const Refusal refusals[] = {
    {"input(3, 8);", "input has a height but no width", "input(channels, height, width)"},
    {"input(3, 8, 8); linear(4);", "linear needs flat features, but a 3x8x8 picture reaches it",
     "put flatten before linear"},
    {"input(3, 8, 8); global_avgpool; linear(4);", "a 3x1x1 picture reaches it", "put flatten before linear"},
    {"input(12); conv(4, 3);", "conv needs a picture, but 12 features reach it", "put conv before flatten"},
    {"input(12); maxpool(2);", "maxpool needs a picture, but 12 features reach it", "put maxpool before flatten"},
    {"input(12); avgpool(2);", "avgpool needs a picture", "put avgpool before flatten"},
    {"input(12); adaptive_avgpool(2);", "adaptive_avgpool needs a picture", "before flatten"},
    {"input(12); global_avgpool;", "global_avgpool needs a picture", "before flatten"},
    {"input(12); lrn;", "lrn needs a picture", "before flatten"},
    {"input(3, 8, 8); maxpool(2, pad = 2);", "pad 2 lets a 2x2 window of maxpool lie outside", "less than the kernel"},
    {"input(3, 8, 8); avgpool((2, 3), pad = (0, 0, 0, 3));", "pad 3 lets a 2x3 window of avgpool",
     "less than the kernel"},
    {"input(3, 8, 8); conv(4, 3, groups = 2);", "2 groups do not divide 3 input and 4 output channels", "divide both"},
    {"input(12); batchnorm; train { batch = 1; }", "batchnorm sees one value a channel", "--batch 2"},
    {"input(12); dropout(1);", "dropout with p = 1 would drop everything", "less than 1"},
    {"input(3, 8, 8); as a; conv(4, 1); add(a);", "add needs equal shapes, but ", "1x1 convolution"},
    {"input(3, 8, 8); as a; maxpool(2); concat(a);", "concat needs equal heights and widths, but ", "strides and pads"},
    {"input(3, 8, 8); as a; flatten; concat(a);", "concat needs equal heights and widths, but ", "flatten both"},
};

Test(ops, refusals)
{
    char *folder = scratch_folder("ops_refusals");
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const Refusal *r = &refusals[i];
        char *path = text("%s/%zu.net", folder, i), *network = text("network probe { %s }\n", r->network);
        write_whole(path, network, strlen(network));
        Outcome o = run_command(BUILD "/cnnc -fsyntax-only %s", path);
        cr_expect(o.status == 1, "%s: exit status %d", r->network, o.status);
        cr_expect(strstr(o.err, r->message), "%s\nexpected: %s\nfound: %s", r->network, r->message, o.err);
        cr_expect(strstr(o.err, r->help), "%s\nexpected help: %s\nfound: %s", r->network, r->help, o.err);
        outcome_free(&o);
        free(path), free(network);
    }
    free(folder);
}
