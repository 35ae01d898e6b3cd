/* test_generated.c - the generated code as a whole: what it looks like, that it compiles anywhere
 * without a warning, that it is the same every time, and that its interface does what the header says,
 * on any number of threads and target.
 *
 * tests/golden/generated/ holds complete outputs; UPDATE_GOLDENS=1 rewrites them. Its diffs are meant to be read.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "programs.h"
#include "support.h"

#define EXPECT_RUN(expected, ...)                                                                                      \
    do {                                                                                                               \
        Outcome o_ = run_command(__VA_ARGS__);                                                                         \
        cr_expect(o_.status == (expected), "status %d instead of %d\n%s%s", o_.status, (expected), o_.out, o_.err);    \
        outcome_free(&o_);                                                                                             \
    } while (0)

static char *expect_file(const char *folder, const char *name)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *text = read_whole(path, NULL);
    cr_assert(text, "%s is missing", path);
    return text;
}

/* ---- goldens ----------------------------------------------------------------------------------------------------- */

static void expect_generated(const char *file, const char *flags, const char *name)
{
    char test[100], golden[200], output[100];
    snprintf(test, sizeof test, "generated_%s", name);
    char *folder = scratch_folder(test);
    EXPECT_RUN(0, "%s/cnnc -O0 --target generic %s %s -o %s/%s.c", BUILD, flags, file, folder, name);
    for (const char *const *suffix = (const char *const[]){"c", "h", NULL}; *suffix; suffix++) {
        snprintf(output, sizeof output, "%s.%s", name, *suffix);
        snprintf(golden, sizeof golden, "tests/golden/generated/%s", output);
        char *text = expect_file(folder, output);
        expect_golden(golden, text);
        free(text);
    }
    free(folder);
}

Test(generated, golden_lenet)      { expect_generated("dsl-examples/lenet.net", "--batch 2", "lenet"); }
Test(generated, golden_residual)   { expect_generated("tests/golden/residual.net", "", "residual"); }
Test(generated, golden_branches)   { expect_generated("tests/golden/branches.net", "", "branches"); }
Test(generated, golden_perceptron) { expect_generated("tests/golden/perceptron.net", "", "perceptron"); }

/* ---- compilers --------------------------------------------------------------------------------------------------- */

static bool have(const char *program)
{
    Outcome o = run_command("command -v %s", program);
    bool found = o.status == 0;
    outcome_free(&o);
    return found;
}

/* Every way in which the files are meant to be compiled, warnings counting as errors; `level` is of the usual one. */
static void expect_no_warnings(const char *folder, const char *name, const char *level)
{
    static const char *const compilers[] = {"clang-19", "gcc"}, *const modes[] = {"", "-DREAL=double", "-DCNN_MAIN"};
    for (size_t c = 0; c < 2; c++)
        for (size_t m = 0; m < 3; m++)
            if (have(compilers[c]))
                EXPECT_RUN(0, "%s -std=c11 -Wall -Wextra -Werror -fopenmp %s %s -I%s/include -c %s/%s.c -o %s/%s.o",
                           compilers[c], *modes[m] ? "-fsyntax-only" : level, modes[m], BUILD, folder, name, folder,
                           name);
}

Test(generated, small_networks_compile_without_a_warning)
{
    char *folder = scratch_folder("generated_warnings");
    for (int i = 0; network_file(i); i++) {
        EXPECT_RUN(0, "%s/cnnc -O0 %s -o %s/x.c", BUILD, network_file(i), folder);
        expect_no_warnings(folder, "x", "-O1");
    }
    free(folder);
}

Test(generated, every_example_compiles_without_a_warning, .timeout = 300)
{
    char *folder = scratch_folder("generated_examples");
    for (int i = 0; any_network_file(i); i++) {
        EXPECT_RUN(0, "%s/cnnc -O0 --batch 2 %s -o %s/x.c", BUILD, any_network_file(i), folder);
        for (const char *const *cc = (const char *const[]){"clang-19", "gcc", NULL}; *cc; cc++)
            if (have(*cc))
                EXPECT_RUN(0, "%s -std=c11 -Wall -Wextra -Werror -fopenmp -fsyntax-only -I%s/include %s/x.c", *cc,
                           BUILD, folder);
    }
    free(folder);
}

Test(generated, headers_are_good_c_plus_plus_and_stand_alone)
{
    char *folder = scratch_folder("generated_headers");
    for (int i = 0; network_file(i); i++) {
        EXPECT_RUN(0, "%s/cnnc -O0 %s -o %s/x.c", BUILD, network_file(i), folder);
        EXPECT_RUN(0, "printf '#include \"x.h\"\\n#include \"x.h\"\\nint x;\\n' > %s/y.c", folder);
        EXPECT_RUN(0, "clang-19 -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I%s/include %s/y.c", BUILD,
                   folder);
        if (have("g++"))
            EXPECT_RUN(0, "g++ -x c++ -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I%s/include %s/y.c", BUILD,
                       folder);
    }
    free(folder);
}

/* ---- the same every time ----------------------------------------------------------------------------------------- */

Test(generated, output_depends_on_nothing_but_the_input)
{
    char *folder = scratch_folder("generated_twice"), today[3][32];
    EXPECT_RUN(0, "cd %s && mkdir a b b/deep && cp $OLDPWD/tests/golden/branches.net a && cp a/branches.net b/deep",
               folder);
    EXPECT_RUN(0, "%s/cnnc -O0 -D classes=7 %s/a/branches.net -o %s/a/x.c", BUILD, folder, folder);
    EXPECT_RUN(0, "cnnc=$(realpath %s/cnnc) && cd %s/b/deep && HOME=/nowhere LANG=C TZ=UTC+5 $cnnc "
                  "-O0 -D classes=7 $PWD/../deep/branches.net -o ../x.c", BUILD, folder);
    EXPECT_RUN(0, "cd %s && cmp a/x.c b/x.c && cmp a/x.h b/x.h", folder);
    time_t now = time(NULL);
    strftime(today[0], sizeof today[0], "%Y-%m-%d", localtime(&now));
    strftime(today[1], sizeof today[1], "%b %e %Y", localtime(&now));
    strcpy(today[2], "__DATE__");
    for (const char *const *file = (const char *const[]){"a/x.c", "a/x.h", NULL}; *file; file++) {
        char *text = expect_file(folder, *file);
        cr_expect(strstr(text, "cnnc -O0 -D classes=7 branches.net -o x.c") != NULL, "%s does not say how it was made",
                  *file);
        cr_expect(strstr(text, "scratch") == NULL && strstr(text, "/work") == NULL, "%s names a folder", *file);
        for (int i = 0; i < 3; i++)
            cr_expect(strstr(text, today[i]) == NULL, "%s contains the date: %s", *file, today[i]);
        free(text);
    }
    free(folder);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Appends every identifier of a C text to `names` (each between blanks, once). */
static void collect_identifiers(const char *text, char *names, size_t room)
{
    for (const char *at = text; *at;) {
        if (!isalpha((unsigned char)*at) && *at != '_') {
            at++;
            continue;
        }
        size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        char word[200];
        if (length < 60) {
            snprintf(word, sizeof word, " %.*s ", (int)length, at);
            if (!strstr(names, word) && strlen(names) + length + 2 < room)
                strcat(names, word + (*names != 0));
        }
        at += length;
    }
}

/* Layers are called like everything that occurs in generated code: all of it still compiles, and state_dict keeps the
 * names. */
Test(generated, no_label_clashes_with_generated_code)
{
    static const char language[] =
        " block network repeat in concat residual shortcut when if else as from train yes no ";
    char *folder = scratch_folder("generated_names"), word[100], path[700];
    size_t room = 1 << 16;
    char *names = calloc(room, 1), *network = NULL, *copy;
    for (const char *const *golden = (const char *const[]){"perceptron", "windows", NULL}; *golden; golden++) {
        EXPECT_RUN(0, "%s/cnnc -O0 tests/golden/%s.net -o %s/x.c", BUILD, *golden, folder);
        for (const char *const *file = (const char *const[]){"x.c", "x.h", NULL}; *file; file++) {
            char *text = expect_file(folder, *file);
            collect_identifiers(text, names, room);
            free(text);
        }
    }
    snprintf(path, sizeof path, "%s/names.net", folder);
    copy = strdup(names);
    size_t length;
    FILE *f = open_memstream(&network, &length);
    fputs("network clashes(classes = 2) { input(2);\n", f);
    int layers = 0;
    for (char *name = strtok(copy, " "); name; name = strtok(NULL, " ")) {
        snprintf(word, sizeof word, " %s ", name);
        /* Of the names that belong to a layer, one layer's will do. */
        if (*name == '_' || strstr(language, word) || (strchr(name, '_') && strpbrk(name, "0123456789")) ||
            strstr(name, "grouped") || strstr(name, "depthwise") || strstr(name, "narrow"))
            continue;
        fprintf(f, "%s: %s;\n", name, layers % 8 == 0 ? "batchnorm" : layers % 8 == 1 ? "dropout(0.5)" : "linear(2)");
        layers++;
    }
    fputs("train { batch = 2; } }\n", f);
    fclose(f);
    write_whole(path, network, length);
    cr_expect(layers > 150, "only %d names were found", layers);
    EXPECT_RUN(0, "%s/cnnc -O0 %s -o %s/x.c", BUILD, path, folder);
    expect_no_warnings(folder, "x", "-fsyntax-only");
    char *text = expect_file(folder, "x.c");
    cr_expect(strstr(text, "{\"net.weight\", 2, {2, 2}, 4, 1, 0}") || strstr(text, "{\"net.weight\", 1,"),
              "net.weight");
    free(text);
    free(network);
    free(names);
    free(copy);
    free(folder);
}

/* ---- the interface as a program uses it -------------------------------------------------------------------------- */

Test(generated, a_program_uses_the_interface_on_any_number_of_threads)
{
    static const char *const compilers[] = {"clang-19", "gcc"};
    char *folder = scratch_folder("generated_interface");
    EXPECT_RUN(0, "%s/cnnc tests/golden/residual.net -o %s/residual.c", BUILD, folder);
    for (int c = 0; c < 2; c++) {
        if (!have(compilers[c]))
            continue;
        /* Neither zlib nor jansson: of the library only random numbers are needed. */
        EXPECT_RUN(0,
                   "%s/cnnc --cc=%s -c tests/golden/residual.net -o %s/residual.o && %s -std=c11 -Wall -Wextra -Werror "
                   "-fopenmp -I%s -I%s/include tests/golden/use_interface.c %s/residual.o %s/libcnn.a -lm -o %s/use",
                   BUILD, compilers[c], folder, compilers[c], folder, BUILD, folder, BUILD, folder);
        Outcome one = run_command("OMP_NUM_THREADS=1 %s/use", folder);
        cr_expect(one.status == 0 && strstr(one.out, "good"), "%s: status %d\n%s", compilers[c], one.status, one.out);
        for (const char *const *threads = (const char *const[]){"2", "3", "8", NULL}; *threads; threads++) {
            Outcome many = run_command("OMP_NUM_THREADS=%s OMP_DYNAMIC=false %s/use", *threads, folder);
            cr_expect(strcmp(one.out, many.out) == 0, "%s, %s threads:\n%sone thread:\n%s", compilers[c], *threads,
                      many.out, one.out);
            outcome_free(&many);
        }
        outcome_free(&one);
    }
    free(folder);
}

extern void omp_set_num_threads(int);

/* The same for the operators that residual.net does not have. */
static void expect_same_on_all_threads(const char *file, const char *name)
{
    char test[100], library[700];
    snprintf(test, sizeof test, "generated_threads_%s", name);
    char *folder = scratch_folder(test);
    snprintf(library, sizeof library, "%s/lib.so", folder);
    compile_library(file, "--batch 7", library);
    static const int threads[] = {1, 2, 3, 8};
    double *expected = NULL, *logits = NULL;
    for (int t = 0; t < 4; t++) {
        omp_set_num_threads(threads[t]);
        Loaded net = load_network(library, name, false, 5);
        size_t outputs = (size_t)net.output[0] * (size_t)net.output[1], total = outputs + 1, at = 0;
        for (int i = 0; i < net.tensors(); i++)
            total += net.tensor(i).count;
        double *x = reference_pictures(&net, 0), *all = calloc(total, sizeof *all);
        int32_t *labels = reference_labels(&net, 0);
        logits = calloc(outputs, sizeof *logits);
        all[at++] = run_gradients(&net, x, labels, logits);
        memcpy(all + at, logits, sizeof *logits * outputs);
        at += outputs;
        for (int i = 0; i < net.tensors(); i++) {
            double *values = fetch(&net, net.tensor(i).trainable ? net.get_grad : net.get, i);
            memcpy(all + at, values, sizeof *values * net.tensor(i).count);
            at += net.tensor(i).count;
            free(values);
        }
        cr_expect(at == total && all[0] > 0);
        if (expected)
            cr_expect(memcmp(expected, all, sizeof *all * total) == 0, "%s: %d threads change a bit", file, threads[t]);
        else
            expected = calloc(total, sizeof *expected), memcpy(expected, all, sizeof *all * total);
        free(x);
        free(labels);
        free(logits);
        free(all);
        unload_network(&net);
    }
    free(expected);
    free(folder);
}

Test(generated, windows_have_the_same_bits_on_all_threads)
{
    expect_same_on_all_threads("tests/golden/windows.net", "windows");
}

Test(generated, norms_have_the_same_bits_on_all_threads)
{
    expect_same_on_all_threads("tests/golden/normal.net", "normal");
}

Test(generated, graphs_have_the_same_bits_on_all_threads)
{
    expect_same_on_all_threads("tests/golden/graph.net", "graph");
}

Test(generated, branches_have_the_same_bits_on_all_threads)
{
    expect_same_on_all_threads("tests/golden/branches.net", "branches");
}

/* ---- targets ----------------------------------------------------------------------------------------------------- */

static bool can_run(const char *target)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strstr(target, "v3"))
        return v3;
    if (strstr(target, "v4"))
        return v3 && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
#endif
    return strstr(target, "x86") == NULL;
}

/* Loss and gradients of one step, concatenated; owned by the caller. */
static double *step_values(const char *library, const char *name, size_t *total)
{
    Loaded net = load_network(library, name, false, 5);
    size_t outputs = (size_t)net.output[0] * (size_t)net.output[1], at = 0;
    *total = 1;
    for (int i = 0; i < net.tensors(); i++)
        *total += net.tensor(i).count;
    double *x = reference_pictures(&net, 0), *logits = calloc(outputs, sizeof *logits),
           *all = calloc(*total, sizeof *all);
    int32_t *labels = reference_labels(&net, 0);
    all[at++] = run_gradients(&net, x, labels, logits);
    for (int i = 0; i < net.tensors(); at += net.tensor(i++).count) {
        double *values = fetch(&net, net.get_grad, i);
        memcpy(all + at, values, sizeof *values * net.tensor(i).count);
        free(values);
    }
    free(x);
    free(logits);
    free(labels);
    unload_network(&net);
    return all;
}

Test(generated, every_target_and_compiler_computes_the_same)
{
    static const char *const ways[] = {"--target generic", "--target x86-64-v3", "--target x86-64-v4",
                                       "--target native", "--target generic --cc=gcc"};
    char *folder = scratch_folder("generated_targets"), library[700];
    double *expected = NULL;
    size_t count = 0;
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        if (!can_run(ways[w]) || (strstr(ways[w], "gcc") && !have("gcc")))
            continue;
        snprintf(library, sizeof library, "%s/lib%zu.so", folder, w);
        compile_library("tests/golden/graph.net", ways[w], library);
        double *values = step_values(library, "graph", &count);
        for (size_t i = 0; expected && i < count; i++)
            cr_expect(fabs(values[i] - expected[i]) <= 2e-5 * (1 + fabs(expected[i])),
                      "%s: value %zu is %.9g, not %.9g", ways[w], i, values[i], expected[i]);
        if (expected)
            free(values);
        else
            expected = values;
    }
    free(expected);
    free(folder);
}
