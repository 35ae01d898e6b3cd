/* test_fast.c - the fast code (-O2) against the textbook (-O0) on random small networks of every family of kernels.
 *
 * Each network of fast_networks.c is compiled three times: the textbook in double, which is the oracle, fast code in
 * double and fast code in float. All do the same: a prediction, three steps of SGD with momentum and weight decay, a
 * prediction. Compared are the logits of both modes, loss, every gradient, running statistics, parameters and momenta.
 * Before each call the arena and the gradients of fast code are filled with NaN, so what is not written before it is
 * read shows; its zeros in borders and spare lanes must be of this step. One thread, 2, 3 and 8 must give the same
 * bits.
 *
 * An error is relative to the largest value of its tensor, or to 1e-3 where all are smaller; among gradients and
 * momenta to 1e-2 of the step's largest where they are smaller, and that of a bias to its weight's where it is: what
 * batch normalisation removes is 0 but for rounding.
 *
 *   double  1e-9: the same formulas in other orders of summing, some 1e-14, times what batch normalisation over few
 *           values makes of it, Winograd's transforms included, which lose two digits (measured: at most 8.7e-13); a
 *           wrong formula is wrong by 1e-6
 *   float   1e-4: the same at 6e-8 a rounding (measured: at most 5.1e-5). Gradients and all behind them are compared in
 *           smooth networks only: next to the kink of a ReLU, or between two candidates of a max-pool, rounding decides
 *           which way a gradient goes.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fast_networks.h"
#include "programs.h"
#include "support.h"
#include "target.h"

extern void omp_set_num_threads(int);

enum { STEPS = 3, SEED = 5 };

/* ---- what a network answers -------------------------------------------------------------------------------------- */

typedef struct { char name[120]; size_t count; double *values; bool gradient, early; int step; } Answer;
typedef struct { Answer *items; int count, room; } Answers;

/* `early`: before the first gradient. The values become the list's. */
static void add_answer(Answers *all, int step, const char *what, const char *tensor, double *values, size_t count)
{
    if (all->count == all->room) {
        all->room = all->room ? 2 * all->room : 64;
        all->items = realloc(all->items, sizeof *all->items * (size_t)all->room);
    }
    Answer *a = &all->items[all->count++];
    bool gradient = strcmp(what, "gradient") == 0 || strcmp(what, "momentum") == 0;
    *a = (Answer){"", count, values, gradient, step == 0 && !gradient, step};
    snprintf(a->name, sizeof a->name, "step %d, %s %s", step, what, tensor);
}

static void free_answers(Answers *all)
{
    for (int i = 0; i < all->count; i++)
        free(all->items[i].values);
    free(all->items);
}

/* Through `get`, or (NULL) the first moments. */
static void add_tensors(Answers *all, Loaded *net, int step, const char *what,
                        void (*get)(const void *, int, void *), int trainable)
{
    for (int i = 0; i < net->tensors(); i++)
        if (trainable < 0 || net->tensor(i).trainable == trainable)
            add_answer(all, step, what, net->tensor(i).name, get ? fetch(net, get, i) : fetch_moment(net, 1, i),
                       net->tensor(i).count);
}

static void add_prediction(Answers *all, Loaded *net, int step, const double *x)
{
    size_t outputs = (size_t)net->output[0] * (size_t)net->output[1];
    double *logits = calloc(outputs, sizeof *logits);
    if (net->poison)
        net->poison(net->net);
    run_predict(net, x, logits);
    add_answer(all, step, "prediction", "", logits, outputs);
}

/* At random too: biases and running statistics that matter. */
static void fill_vectors(Loaded *net)
{
    for (int i = 0; i < net->tensors(); i++) {
        double *values = fetch(net, net->get, i);
        for (size_t j = 0; net->tensor(i).rank == 1 && j < net->tensor(i).count; j++)
            values[j] += (double)(float)(reference_unit(j, (uint32_t)i) / 4);
        store(net, i, values);
        free(values);
    }
}

/* A replica that made the same steps by NAME_step has the same bits. */
static void expect_same_state(const Loaded *net, const Loaded *stepped, const char *library)
{
    for (int i = 0; i < net->tensors(); i++) {
        double *a[] = {fetch(net, net->get, i), fetch_moment(net, 1, i)};
        double *b[] = {fetch(stepped, net->get, i), fetch_moment(stepped, 1, i)};
        for (int part = 0; part < 2; part++) {
            cr_expect(memcmp(a[part], b[part], sizeof **a * net->tensor(i).count) == 0,
                      "%s: after steps in one call the %s of "
                      "%s differs", library, part ? "momentum" : "value", net->tensor(i).name);
            free(a[part]);
            free(b[part]);
        }
    }
}

static Answers run_network(const char *library, bool is_double)
{
    Answers all = {0};
    Loaded net = load_network(library, "fast", is_double, SEED), stepped = net;
    size_t outputs = (size_t)net.output[0] * (size_t)net.output[1];
    stepped.net = net.create(SEED);
    fill_vectors(&net);
    fill_vectors(&stepped);
    for (int step = 0; step < STEPS; step++) {
        double *x = reference_pictures(&net, step), *logits = calloc(outputs, sizeof *logits);
        double *loss = malloc(sizeof *loss);
        int32_t *labels = reference_labels(&net, step);
        add_prediction(&all, &net, step, x);
        if (net.poison)
            net.poison(net.net);
        *loss = run_gradients(&net, x, labels, logits);
        add_answer(&all, step, "loss", "", loss, 1);
        add_answer(&all, step, "logits", "", logits, outputs);
        add_tensors(&all, &net, step, "statistics", net.get, 0);
        add_tensors(&all, &net, step, "gradient", net.get_grad, 1);
        const cnn_update rule = {.lr = 0.1f, .momentum = 0.9f, .weight_decay = 1e-3f, .nesterov = step == 2};
        net.update(net.net, &rule);
        cr_expect(run_step(&stepped, x, labels, &rule) == *loss, "%s: another loss in one call", library);
        free(x);
        free(labels);
    }
    double *x = reference_pictures(&net, 0);
    add_tensors(&all, &net, STEPS, "momentum", NULL, 1);
    add_tensors(&all, &net, STEPS, "value", net.get, 1);
    add_prediction(&all, &net, STEPS, x);
    free(x);
    expect_same_state(&net, &stepped, library);
    net.destroy(stepped.net);
    unload_network(&net);
    return all;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static double largest_of(const Answer *a)
{
    double largest = 0;
    for (size_t i = 0; i < a->count; i++)
        largest = fmax(largest, fabs(a->values[i]));
    return largest;
}

/* The largest error; NaN counts as infinite. Complains once a tensor. */
static double compare_answers(const Answers *expected, const Answers *actual, double tolerance, bool early_only,
                              const char *what)
{
    double worst = 0, largest[STEPS + 1] = {0};         /* of a step's gradients */
    for (int i = 0; i < expected->count; i++)
        if (expected->items[i].gradient)
            largest[expected->items[i].step] = fmax(largest[expected->items[i].step], largest_of(&expected->items[i]));
    cr_assert(expected->count == actual->count, "%s: %d answers instead of %d", what, actual->count, expected->count);
    for (int i = 0; i < expected->count; i++) {
        const Answer *e = &expected->items[i], *a = &actual->items[i];
        double scale = fmax(largest_of(e), e->gradient ? 1e-2 * largest[e->step] : 1e-3), error = 0;
        if (e->gradient && strstr(e->name, ".bias"))
            scale = fmax(scale, largest_of(e - 1));         /* of its weight */
        size_t at = 0;
        if (early_only && !e->early)
            continue;
        for (size_t j = 0; j < e->count; j++) {
            double off = fabs(a->values[j] - e->values[j]) / scale;
            off = off == off ? off : INFINITY;
            at = off > error ? j : at;
            error = fmax(error, off);
        }
        cr_expect(error <= tolerance, "%s: %s: value %zu of %zu is %.12g, not %.12g (error %.2g)", what, e->name, at,
                  e->count, a->values[at], e->values[at], error);
        worst = fmax(worst, error);
    }
    return worst;
}

static void expect_same_bits(const Answers *expected, const Answers *actual, const char *what, int threads)
{
    for (int i = 0; i < expected->count; i++)
        cr_expect(memcmp(expected->items[i].values, actual->items[i].values,
                         sizeof(double) * expected->items[i].count) == 0,
                  "%s: %d threads change a bit of %s", what, threads, expected->items[i].name);
}

/* ---- compiling --------------------------------------------------------------------------------------------------- */

/* FOLDER/fast.net's C with one function more, which fills with NaN all that a step must write itself. `flags`: the
 * level and more for cnnc. -O1: compiling takes longer than running. */
static void compile_fast(const char *folder, const char *base, const char *flags, const Target *target, const char *cc,
                         bool is_double)
{
    static const char poison[] =
        "void fast_poison(fast *net);\n"
        "void fast_poison(fast *net)\n"
        "{\n"
        "    memset(net->arena, 0xff, sizeof(real) * ARENA);\n"
        "    memset(&net->grad, 0xff, sizeof net->grad);\n"
        "}\n";
    char path[700], text[1000];
    snprintf(path, sizeof path, "%s/%s_poison.c", folder, base);
    int length = snprintf(text, sizeof text, "#include \"%s.c\"\n%s", base, strcmp(flags, "-O0") == 0 ? "" : poison);
    write_whole(path, text, (size_t)length);
    Outcome o = run_command("%s/cnnc %s --target %s %s/fast.net -o %s/%s.c && "
                            "%s -std=gnu11 -Wall -Wextra -Werror %s %s -O1 %s -fPIC -shared -I%s/include %s "
                            "%s/libcnn%s.a -lm -o %s/%s.so", BUILD, flags, target->name, folder, folder, base, cc,
                            common_flags, target->flags, is_double ? "-DREAL=double" : "", BUILD, path, BUILD,
                            is_double ? "-double" : "", folder, base);
    cr_assert(o.status == 0, "%s/fast.net, %s, %s, %s: status %d\n%.3000s", folder, flags, target->name, cc, o.status,
              o.err);
    cr_expect(*o.err == 0, "%s/fast.net, %s, %s, %s:\n%.3000s", folder, flags, target->name, cc, o.err);
    outcome_free(&o);
}

/* ---- one network ------------------------------------------------------------------------------------------------- */

static bool can_run(const Target *target)
{
    return strcmp(target->name, "generic") == 0 || find_target("native")->lanes >= target->lanes;
}

static void expect_same_on_all_threads(const Answers *expected, const char *library, const char *name)
{
    for (const int *threads = (const int[]){1, 2, 3, 8, 0}; *threads; threads++) {
        omp_set_num_threads(*threads);
        Answers again = run_network(library, false);
        expect_same_bits(expected, &again, name, *threads);
        free_answers(&again);
    }
}

/* `flags` are for cnnc beside the level; `cc` compiles the build in float, NULL: there is none. */
static void compare_text(const char *name, const char *text, const char *flags, const Target *target, const char *cc,
                         bool smooth)
{
    char *folder = scratch_folder(name), path[700], all_flags[100];
    snprintf(path, sizeof path, "%s/fast.net", folder);
    snprintf(all_flags, sizeof all_flags, "-O2 %s", flags);
    write_whole(path, text, strlen(text));
    compile_fast(folder, "textbook", "-O0", find_target("generic"), "clang-19", true);
    compile_fast(folder, "double", all_flags, target, "clang-19", true);
    if (cc)
        compile_fast(folder, "float", all_flags, target, cc, false);
    Answers answers[3];
    static const char *const build[] = {"textbook", "double", "float"};
    double worst[2] = {0};
    for (int i = 0; i < (cc ? 3 : 2); i++) {
        snprintf(path, sizeof path, "%s/%s.so", folder, build[i]);
        answers[i] = run_network(path, i < 2);
        if (i > 0)
            worst[i - 1] = compare_answers(&answers[0], &answers[i], i == 1 ? 1e-9 : 1e-4, i == 2 && !smooth, name);
    }
    if (cc)
        expect_same_on_all_threads(&answers[2], path, name);
    if (getenv("VERBOSE"))
        fprintf(stderr, "%s: %d answers, double %.1e, float %.1e\n", name, answers[0].count, worst[0], worst[1]);
    for (int i = 0; i < (cc ? 3 : 2); i++)
        free_answers(&answers[i]);
    free(folder);
}

/* ---- the cases --------------------------------------------------------------------------------------------------- */

typedef struct { FastKind kind; int number; char target[16], flags[32], cc[16]; } Case;

enum { NATIVE_CASES = 4, MAX_CASES = 100 };

ParameterizedTestParameters(fast, equals_the_textbook)
{
    static Case cases[MAX_CASES];
    size_t count = 0;
    for (int kind = 0; kind < FAST_KINDS; kind++) {
        for (int i = 0; i < NATIVE_CASES; i++) {
            cases[count++] = (Case){(FastKind)kind, i, "native", "", "clang-19"};
            if ((kind + i) % 4 == 0)
                strcpy(cases[count - 1].cc, "gcc");
        }
        cases[count++] = (Case){(FastKind)kind, 100 + kind, "x86-64-v3", "", "clang-19"};
        cases[count++] = (Case){(FastKind)kind, 200 + kind, "generic", "", "clang-19"};
    }
    /* Every fusion and Winograd switched off by itself, and all fusions. */
    static const struct { FastKind kind; const char *flag; } off[] = {
        {FAST_NORM, "no-fuse=fold"}, {FAST_NORM, "no-fuse=statistics"}, {FAST_NORM, "no-fuse=add"},
        {FAST_NORM, "no-fuse=relu"}, {FAST_NORM, "no-fuse=gate"}, {FAST_GRAPH, "no-fuse=relu-gradient"},
        {FAST_GRAPH, "no-fuse=concat"}, {FAST_GRAPH, "no-fuse=copy"}, {FAST_GRAPH, "no-fuse=in-place"},
        {FAST_NORM, "no-fuse"}, {FAST_GRAPH, "no-fuse"}, {FAST_WIDE, "no-winograd"}, {FAST_NORM, "fuse=statistics"},
        {FAST_NORM, "fuse=bn-sums"}};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        Case *c = &cases[count++];
        *c = (Case){off[i].kind, 300 + 2 * (int)i, "native", "", ""};
        snprintf(c->flags, sizeof c->flags, "-f%s", off[i].flag);
    }
    return cr_make_param_array(Case, cases, count);
}

ParameterizedTest(Case *c, fast, equals_the_textbook)
{
    const Target *target = find_target(c->target);
    bool smooth = c->number % 2;
    char name[100], *text = fast_network(c->kind, c->number, smooth);
    snprintf(name, sizeof name, "fast_%s_%d_%s%s", fast_kind_name[c->kind], c->number, c->target, c->flags);
    if (can_run(target))
        compare_text(name, text, c->flags, target, *c->cc ? c->cc : NULL, smooth);
    free(text);
}

/* ---- pictures in the lanes (few_channels.c): batches of 64 and more, few channels -------------------------------- */

Test(fast, pictures_in_the_lanes)
{
    static const char plain[] =
        "network fast { input(2, 13, 9); conv(5, 3, pad = (2, 1, 0, 3), stride = 2); sigmoid; conv(17, (3, 2), pad = 1,"
        " dilation = 2); sigmoid; conv(3, (5, 3), pad = 2); sigmoid; flatten; linear(4); train { batch = 64; } }";
    static const char fused[] =
        "network fast { input(1, 9, 11); conv(4, 5, pad = 2); relu; conv(2, 3, pad = 1, bias = no); batchnorm; relu;"
        " residual { conv(2, 3, pad = 1); relu; conv(2, 3, pad = 1); } relu; flatten; linear(4);"
        " train { batch = 80; } }";
    compare_text("fast_few_plain", plain, "", find_target("native"), NULL, true);
    compare_text("fast_few_fused", fused, "", find_target("native"), NULL, false);
    if (can_run(find_target("x86-64-v3")))
        compare_text("fast_few_v3", plain, "", find_target("x86-64-v3"), NULL, true);
}

/* ---- fusions that are done only where they gain ------------------------------------------------------------------ */

static const char *const every_target[] = {"x86-64-v4", "x86-64-v3", "generic"};

/* Done everywhere; pieces of several pictures and of parts of one, with cut tiles, spare lanes, bias, 3x3 and 5x5. */
Test(fast, statistics_by_pieces)
{
    static const char text[] =
        "network fast { input(3, 13, 18); conv(33, 3, pad = 1); batchnorm; silu; conv(20, 3, pad = 1, bias = no);"
        " batchnorm; silu; conv(16, 5, pad = 2); batchnorm; silu; avgpool(2); conv(160, 3, pad = 1); batchnorm; tanh;"
        " conv(48, 3, pad = 1); batchnorm; silu; flatten; linear(4); train { batch = 15; } }";
    for (size_t i = 0; i < sizeof every_target / sizeof *every_target; i++) {
        char name[60];
        snprintf(name, sizeof name, "fast_pieces_%s", every_target[i]);
        if (can_run(find_target(every_target[i])))
            compare_text(name, text, "-ffuse=statistics", find_target(every_target[i]), "clang-19", true);
    }
}

/* Behind each family that can leave the sums: Winograd of 3x3 and 5x5 and direct convolutions (of several parts too),
 * depthwise ones, pooling, element-wise layers and additions; with the ReLU's gate and without,
 * on slices of a concatenation. */
Test(fast, sums_of_gradients)
{
    static const char text[] =
        "network fast { input(3, 19, 14); conv(20, 3, pad = 1); batchnorm; maxpool(3, stride = 2, pad = 1);"
        " conv(33, 3, pad = 1); batchnorm; conv(33, 3, pad = 1, groups = 33); batchnorm; silu; conv(40, 5, pad = 2);"
        " batchnorm; conv(17, 5, pad = 2);"
        " concat { { batchnorm; conv(16, 3, pad = 1); batchnorm; } { conv(20, 1); batchnorm; } }"
        " batchnorm; conv(24, 3, stride = 2, pad = 1); residual { batchnorm; conv(24, 1); batchnorm; } tanh;"
        " avgpool(2); flatten; linear(4); train { batch = 16; } }";
    static const char gated[] =
        "network fast { input(3, 19, 14); conv(20, 3, pad = 1); batchnorm; relu; maxpool(3, stride = 2, pad = 1);"
        " conv(33, 3, pad = 1); batchnorm; relu; conv(33, 3, pad = 1, groups = 33); batchnorm; relu;"
        " conv(40, 5, pad = 2);"
        " batchnorm; relu; conv(17, 5, pad = 2); residual { batchnorm; relu; conv(17, 3, pad = 1); batchnorm; } relu;"
        " conv(24, 3, stride = 2, pad = 1); batchnorm; relu; conv(24, 1); batchnorm; relu; avgpool(2);"
        " flatten; linear(4); train { batch = 16; } }";
    for (size_t i = 0; i < sizeof every_target / sizeof *every_target; i++) {
        char name[60];
        snprintf(name, sizeof name, "fast_sums_%s", every_target[i]);
        if (can_run(find_target(every_target[i]))) {
            compare_text(name, text, "-ffuse=bn-sums", find_target(every_target[i]), "clang-19", true);
            compare_text(name, gated, "-ffuse=bn-sums", find_target(every_target[i]), "clang-19", false);
        }
    }
}

/* ---- networks that were wrong once ------------------------------------------------------------------------------- */

static void compare_body(const char *name, const char *body)
{
    char text[2000];
    snprintf(text, sizeof text, "network fast { %s train { batch = 3; } }", body);
    compare_text(name, text, "", find_target("native"), NULL, false);
}

/* Zeros around the picture of one pixel have no place where it is a row too. */
Test(fast, a_picture_of_one_pixel_is_also_a_row)
{
    compare_body("fast_row", "input(3, 8, 8); conv(20, 3, pad = 1); relu; global_avgpool; as g;"
                 " conv(17, 3, pad = 1, bias = no); relu; flatten; linear(4); as a;"
                 " from g; flatten; linear(4); relu; as b; add(a); linear(5);");
    compare_body("fast_row_behind", "input(3, 6, 6); conv(20, 3, stride = 2, pad = 1); relu; maxpool(3);"
                 " residual { conv(20, 3, pad = 1); batchnorm; relu; conv(20, 3, pad = 1); batchnorm; } relu; flatten;"
                 " linear(5);");
}

/* A ReLU's gradient may ride on concat's copy, which then must not be left out. */
Test(fast, branches_that_end_in_relu)
{
    compare_body("fast_branches", "input(3, 6, 5); conv(32, 3, pad = 1); relu; concat { { conv(16, 3, pad = 1); relu; }"
                 " { conv(32, 1); relu; } } residual { conv(48, 1); } relu; flatten; linear(5);");
}

/* Activations that are computed again are the same activations, with fusions and without. */
Test(fast, a_memory_limit_changes_no_value)
{
    static const char text[] =
        "network fast { input(3, 12, 10); conv(20, 3, pad = 1); relu;"
        " residual { conv(20, 3, pad = 1, bias = no); batchnorm; relu; conv(20, 3, pad = 1, bias = no); batchnorm; }"
        " relu; concat { { conv(16, 3, pad = 1); relu; } { conv(7, 1); batchnorm; silu; } {} } maxpool(2);"
        " residual { batchnorm; relu; conv(43, 3, pad = 1); } lrn(5); avgpool(2); dropout(0.5); flatten; linear(5);"
        " train { batch = 16; } }";
    if (can_run(find_target("x86-64-v4")))
        compare_text("fast_limit", text, "--memory-limit 3M -ffuse=statistics -ffuse=bn-sums", find_target("x86-64-v4"),
                     "clang-19", false);
    compare_text("fast_limit_unfused", text, "-fno-fuse --memory-limit 2.2M", find_target("generic"), NULL, false);
}

/* ---- the assembly ------------------------------------------------------------------------------------------------ */

/* Counts the innermost loops (a label, and a jump back to it without another label between) of which half of the
 * instructions or more are fused multiply-adds of vectors. None may move a vector to or from the stack. */
static int check_hot_loops(const char *path)
{
    char *text = read_whole(path, NULL), *rest = NULL, label[100] = "", function[200] = "";
    int hot = 0, adds = 0, spills = 0, instructions = 0;
    cr_assert(text, "%s is missing", path);
    for (char *at = strtok_r(text, "\n", &rest); at; at = strtok_r(NULL, "\n", &rest)) {
        if (*at != '\t') {
            if (strchr(at, ':'))
                snprintf(*at == '.' ? label : function, *at == '.' ? sizeof label : sizeof function, "%.*s",
                         (int)strcspn(at, ":"), at);
            adds = spills = instructions = 0;
            continue;
        }
        instructions += at[1] != '.' && at[1] != '#';
        adds += strncmp(at, "\tvfmadd", 7) == 0 && strstr(at, "ps\t");
        spills += strstr(at, "zmm") && strstr(at, "(%rsp");
        const char *target = at[1] == 'j' ? strchr(at + 1, '\t') : NULL;
        if (target && strcmp(target + 1, label) == 0 && adds >= 8 && 2 * adds >= instructions) {
            cr_expect(spills == 0, "%s: %s has a loop of %d multiply-adds with %d vectors on the stack", path, function,
                      adds, spills);
            hot++;
        }
    }
    free(text);
    return hot;
}

Test(fast, hot_loops_leave_the_stack_alone)
{
    char *folder = scratch_folder("fast_assembly"), path[700];
    static const char text[] =
        "network fast { input(3, 56, 56); conv(64, 7, stride = 2, pad = 3); relu; conv(64, 3, pad = 1); relu;"
        " conv(128, 1); relu; conv(128, 3, stride = 2, pad = 1); relu; conv(128, 1, stride = 2); relu;"
        " conv(256, 3, pad = 1); relu; conv(256, 5, pad = 2); relu; flatten; linear(10); train { batch = 4; } }";
    const Target *target = find_target("x86-64-v4");
    snprintf(path, sizeof path, "%s/fast.net", folder);
    write_whole(path, text, sizeof text - 1);
    Outcome o = run_command("%s/cnnc -O2 --target %s %s/fast.net -o %s/fast.c && "
                            "clang-19 -std=gnu11 %s %s -I%s/include -S %s/fast.c -o %s/fast.s", BUILD, target->name,
                            folder, folder, common_flags, target->flags, BUILD, folder, folder);
    cr_assert(o.status == 0, "status %d\n%s", o.status, o.err);
    snprintf(path, sizeof path, "%s/fast.s", folder);
    int hot = check_hot_loops(path);
    cr_expect(hot > 12, "only %d hot loops were found", hot);
    outcome_free(&o);
    free(folder);
}
