/* options.c - the command line, through argp.
 *
 * Establishes: an Options whose fields are checked; what depends on the network (unknown -D names, sizes that do not
 * fit) is left to expand.c.
 */
#include "options.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "with.h"
#include "fuse.h"
#include "unit.h"

const char *argp_program_version = "cnnc " CNNC_VERSION;

enum { KEY_INPUT = 256, KEY_BATCH, KEY_TARGET, KEY_CC, KEY_DUMP, KEY_SHARED, KEY_DOUBLE, KEY_SMALLEST,
       KEY_SCHEDULE, KEY_KEEP, KEY_MEMORY, KEY_LIMIT,
       KEY_WITH };

static const struct argp_option option_table[] = {
    {0, 0, 0, 0, "Output", 1},
    {"output", 'o', "FILE", 0, "x.c: write C, and x.h beside it; x: compile and link a trainer; -: C to standard "
                               "output (default: the network file's name with .c)", 0},
    {0, 'c', 0, 0, "Compile to an object file (default name.o), with its header beside it", 0},
    {"shared", KEY_SHARED, 0, 0, "Compile to a shared library (default libname.so), with its header beside it", 0},
    {0, 'f', "syntax-only", 0, "Check the network and write nothing", 0},
    {"dump", KEY_DUMP, "STAGE", 0, "Print a stage and stop: tree, graph, step, memory; at -O2 schedule and fuse", 0},
    {0, 0, 0, 0, "Network", 2},
    {0, 'D', "NAME=VALUE", 0, "Give a parameter of the network a value, e.g. -D classes=100", 0},
    {"input", KEY_INPUT, "CxHxW", 0, "Size of one picture, e.g. 1x96x96, or a number of features", 0},
    {"batch", KEY_BATCH, "N", 0, "Pictures a step (default: the train block's, or 32)", 0},
    {"smallest-input", KEY_SMALLEST, 0, 0,
     "With show: print only the smallest square picture that the network takes", 0},
    {"memory", KEY_MEMORY, 0, 0, "With show: draw the memory plan of training and prediction over the step", 0},
    {0, 0, 0, 0, "Code", 3},
    {0, 'O', "LEVEL", 0, "0: textbook loops, made to be read; 2 (default): fast, blocked layouts and fused kernels", 0},
    {"target", KEY_TARGET, "NAME", 0, "native (default), x86-64-v4, x86-64-v3, aarch64 or generic", 0},
    {0, 'f', "no-fuse[=NAME]", 0, "-O2: join no kernels, or not by this fusion; --dump=fuse lists them", 0},
    {0, 'f', "fuse=NAME", 0, "-O2: join kernels by this fusion even where the cost model sees no gain", 0},
    {0, 'f', "no-winograd", 0, "-O2: convolve as the definition says", 0},
    {"schedule", KEY_SCHEDULE, "RULE", 0,
     "-O2: choose an algorithm, e.g. conv1.forward=direct, or *.forward=direct", 0},
    {"memory-limit", KEY_LIMIT, "SIZE", 0, "-O2: compute activations again rather than keep them until tensors of a "
                                           "training step fit, e.g. 300M", 0},
    {"keep-layers", KEY_KEEP, 0, 0, "-O2: prediction keeps every layer's output (predict --dump)", 0},
    {"double", KEY_DOUBLE, 0, 0, "Compute in double precision (trainers: an entry-wise gradcheck)", 0},
    {"with", KEY_WITH, "NAME,...", 0,
     "Compile into the trainer: jpeg, png (picture files), mpi (several processes)", 0},
    {"cc", KEY_CC, "PROGRAM", 0, "C compiler (default: the first of clang-19, clang, gcc that is installed)", 0},
    {0, 'v', 0, 0, "Print the commands that are run", 0},
    {0},
};

static const char description[] =
    "Compiles a network description to C specialised to its shapes, and to a trainer.\v"
    "cnnc show FILE.net prints the table of layers; cnnc explain [OPERATOR] prints what an operator computes;\n"
    "cnnc kernel 'conv(64, 3, pad = 1)' --input 64x56x56 writes one operator's fast kernels with a main that "
    "checks them\nagainst the textbook and times them.\n"
    "Exit status: 0, or 1 after an error, which is printed with its place and its mend.";

typedef struct { Arena *arena; Options *options; const char *output; int words; } Parsing;

/* The integer from 1 to `most` at `at` in `text`; argp_error ends the process otherwise. */
static int64_t positive(struct argp_state *state, const char *flag, const char *text, int most, const char *at,
                        char **stop)
{
    errno = 0;
    long long value = strtoll(at, stop, 10);
    if (*stop == at || errno || value < 1 || value > most)
        argp_error(state, "%s: '%s' is not made of numbers from 1 to %d", flag, text, most);
    return value;
}

static void parse_input(struct argp_state *state, const char *text, Shape *shape)
{
    char *at = (char *)text;
    shape->rank = 0;
    for (;;) {
        if (shape->rank == 3)
            argp_error(state, "--input: '%s' has too many sizes; write CxHxW, e.g. 1x96x96", text);
        shape->dim[shape->rank++] = positive(state, "--input", text, INT32_MAX, at, &at);
        if (*at != 'x')
            break;
        at++;
    }
    if (*at || shape->rank == 2)
        argp_error(state, "--input: '%s' is not CxHxW (e.g. 1x96x96) or a number of features", text);
}

/* "300M": bytes. */
static int64_t parse_size(struct argp_state *state, const char *text)
{
    char *stop;
    errno = 0;
    double value = strtod(text, &stop);
    int shift = *stop == 'K' ? 10 : *stop == 'M' ? 20 : *stop == 'G' ? 30 : 0;
    if (stop == text || errno || stop[shift > 0] || !(value > 0) || value > 1 << 20)
        argp_error(state, "--memory-limit: '%s' is not a size such as 300M or 1.5G", text);
    return (int64_t)(value * (double)((int64_t)1 << shift));
}

static void parse_define(Parsing *p, struct argp_state *state, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || !equals[1])
        argp_error(state, "-D %s: write NAME=VALUE, e.g. -D classes=100", text);
    Define define = {arena_copy(p->arena, text, (size_t)(equals - text)), equals + 1};
    APPEND(p->arena, &p->options->overrides.defines, define);
}

/* "jpeg,png": what a trainer gets beyond the least. */
static void parse_with(Parsing *p, struct argp_state *state, const char *text)
{
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        int feature = find_feature(at, length);
        if (feature < 0)
            argp_error(state, "--with: there is no '%.*s'; there are %s", (int)length, at, feature_names(p->arena));
        p->options->with |= 1u << feature;
        at += length;
        if (!*at)
            return;
    }
}

static Dump parse_dump(struct argp_state *state, const char *text)
{
    static const char *const names[] = {"", "tree", "graph", "step", "memory", "schedule", "fuse"};
    for (int i = 1; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(names[i], text) == 0)
            return (Dump)i;
    argp_error(state, "--dump: there is no stage '%s'; there are tree, graph, step, memory, schedule and fuse", text);
    return DUMP_NOTHING;
}

/* What is said again in the generated head comment: only what changes the C. */
static void summarise(Parsing *p, const char *flag, const char *value)
{
    p->options->summary = arena_printf(p->arena, "%s %s%s", p->options->summary, flag, value);
}

/* -fno-winograd, -fno-fuse, -fno-fuse=relu: what -O2 leaves out. -ffuse=statistics: what it does everywhere. */
static void parse_feature(Parsing *p, struct argp_state *state, const char *text)
{
    Tuning *t = &p->options->tuning;
    if (strcmp(text, "no-winograd") == 0)
        t->no_winograd = true;
    else if (strcmp(text, "no-fuse") == 0)
        t->no_fuse = ~0u;
    else if (strncmp(text, "no-fuse=", 8) == 0 && fusion_named(text + 8))
        t->no_fuse |= fusion_named(text + 8);
    else if (strncmp(text, "fuse=", 5) == 0 && fusion_named(text + 5))
        t->fuse |= fusion_named(text + 5);
    else if (strncmp(text, "no-fuse=", 8) == 0 || strncmp(text, "fuse=", 5) == 0)
        argp_error(state, "-f%s: there is no fusion '%s'; there are %s", text, strchr(text, '=') + 1, fusion_names);
    else
        argp_error(state, "there is no -f%s; there are -fsyntax-only, -fno-winograd, -fno-fuse, -fno-fuse=NAME and "
                   "-ffuse=NAME", text);
    summarise(p, "-f", text);
}

static void parse_word(Parsing *p, struct argp_state *state, const char *word)
{
    Options *o = p->options;
    if (p->words == 0 && strcmp(word, "show") == 0)
        o->command = COMMAND_SHOW;
    else if (p->words == 0 && strcmp(word, "explain") == 0)
        o->command = COMMAND_EXPLAIN;
    else if (p->words == 0 && strcmp(word, "kernel") == 0)
        o->command = COMMAND_KERNEL;
    else if (o->input)
        argp_error(state, "one network file at a time: '%s' and '%s'", o->input, word);
    else
        o->input = word;
    p->words++;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    Parsing *p = state->input;
    Options *o = p->options;
    char *stop;
    switch (key) {
    case 'o':
        if (!*text)
            argp_error(state, "-o: the name is empty");
        p->output = text;
        break;
    case 'c': o->kind = OUTPUT_OBJECT; break;
    case KEY_SHARED: o->kind = OUTPUT_SHARED; break;
    case 'f':
        if (strcmp(text, "syntax-only") != 0) {
            parse_feature(p, state, text);
            break;
        }
        o->kind = OUTPUT_NOTHING;
        break;
    case KEY_DUMP: o->dump = parse_dump(state, text); break;
    case 'D': parse_define(p, state, text); summarise(p, "-D ", text); break;
    case KEY_INPUT: parse_input(state, text, &o->overrides.input); summarise(p, "--input ", text); break;
    case KEY_BATCH:
        o->overrides.batch = (int)positive(state, "--batch", text, MAX_BATCH, text, &stop);
        if (*stop)
            argp_error(state, "--batch: '%s' is not a number from 1 to %d", text, MAX_BATCH);
        summarise(p, "--batch ", text);
        break;
    case 'O':
        if (strcmp(text, "0") != 0 && strcmp(text, "2") != 0)
            argp_error(state, "there is no -O%s; there are -O0, the textbook, and -O2, fast", text);
        o->level = *text - '0';
        break;
    case KEY_SCHEDULE: APPEND(p->arena, &o->tuning.algorithms, text); summarise(p, "--schedule=", text); break;
    case KEY_MEMORY: o->memory_chart = true; break;
    case KEY_LIMIT: o->tuning.memory_limit = parse_size(state, text); summarise(p, "--memory-limit ", text); break;
    case KEY_KEEP: o->tuning.keep_layers = true; summarise(p, "--keep-layers", ""); break;
    case KEY_TARGET:
        if (!(o->target = find_target(text)))
            argp_error(state, "--target: there is no '%s'; there are native, x86-64-v4, x86-64-v3, aarch64 and generic",
                       text);
        break;
    case KEY_SMALLEST: o->smallest_input = true; break;
    case KEY_DOUBLE: o->double_precision = true; break;
    case KEY_WITH: parse_with(p, state, text); summarise(p, "--with=", text); break;
    case KEY_CC: o->cc = text; break;
    case 'v': o->verbose = true; break;
    case ARGP_KEY_ARG: parse_word(p, state, text); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static bool ends_in(const char *text, const char *suffix)
{
    size_t a = strlen(text), b = strlen(suffix);
    return a > b && strcmp(text + a - b, suffix) == 0;
}

/* The output's kind and name, where the command line leaves them open. */
static void settle_output(Arena *arena, Options *o, const char *output)
{
    if (o->kind == OUTPUT_C && output && strcmp(output, "-") != 0 && !ends_in(output, ".c"))
        o->kind = OUTPUT_PROGRAM;
    const char *base = o->command == COMMAND_KERNEL ? "kernel" : base_name(o->input);
    size_t length = strlen(base) - (ends_in(base, ".net") ? 4 : 0);
    o->output = output;
    if (!output && o->kind != OUTPUT_NOTHING)
        switch (o->kind) {
        case OUTPUT_OBJECT: o->output = arena_printf(arena, "%.*s.o", (int)length, base); break;
        case OUTPUT_SHARED: o->output = arena_printf(arena, "lib%.*s.so", (int)length, base); break;
        default: o->output = arena_printf(arena, "%.*s.c", (int)length, base); break;
        }
    if (o->output)
        o->summary = arena_printf(arena, "%s -o %s", o->summary, base_name(o->output));
}

/* `cnnc kernel`: false after an error. */
static bool check_kernel(const Options *o)
{
    const char *mistake = !o->input ? "kernel needs a statement"
                        : o->overrides.input.rank == 0 ? "kernel needs the size of a picture"
                        : o->level == 0 ? "kernel compares -O2 with the textbook: -O0 alone has nothing to compare"
                        : NULL;
    if (mistake)
        fprintf(stderr, "cnnc: error: %s\n"
                        "  = help: cnnc kernel 'conv(64, 3, pad = 1)' --input 64x56x56 --batch 16 -o conv.c\n",
                mistake);
    else if (o->dump != DUMP_NOTHING && o->dump != DUMP_STEP && o->dump != DUMP_SCHEDULE)
        fprintf(stderr, "cnnc: error: kernel has no such stage\n  = help: --dump=step and --dump=schedule print its\n");
    else
        return true;
    return false;
}

bool parse_options(Arena *arena, int argc, char **argv, Options *o)
{
    static const char uses[] = "FILE.net\nshow FILE.net\nexplain [OPERATOR]\nkernel STATEMENT --input=CxHxW";
    static const struct argp argp = {option_table, parse_option, uses, description, 0, 0, 0};
    *o = (Options){.level = 2, .target = find_target("native"), .summary = ""};
    Parsing p = {arena, o, NULL, 0};
    argp_err_exit_status = 1;
    if (argp_parse(&argp, argc, argv, 0, NULL, &p) != 0)
        return false;
    if (o->command == COMMAND_EXPLAIN)
        return true;
    if (!o->input && o->command != COMMAND_KERNEL) {
        fprintf(stderr, "cnnc: error: no network file\n"
                        "  = help: cnnc lenet.net -o lenet.c; cnnc --help lists the options\n");
        return false;
    }
    if (o->command == COMMAND_KERNEL && !check_kernel(o))
        return false;
    if (o->level == 0 && (o->tuning.memory_limit || o->tuning.algorithms.count > 0)) {
        fprintf(stderr, "cnnc: error: -O0 computes as the textbook does: it has no %s\n"
                        "  = help: leave out one of the two\n",
                o->tuning.memory_limit ? "--memory-limit" : "--schedule");
        return false;
    }
    if (o->command == COMMAND_KERNEL)
        o->summary = arena_printf(arena, "cnnc kernel '%s'%s", o->input, o->summary);
    else
        o->summary = arena_printf(arena, "cnnc -O%d%s %s", o->level, o->summary, base_name(o->input));
    o->tuning.target = o->target;
    settle_output(arena, o, p.output);
    for (int i = 0; feature_at(i); i++)
        if (o->with >> i & 1 && o->kind != OUTPUT_PROGRAM && !feature_at(i)->exchanges) {
            fprintf(stderr, "cnnc: error: --with=%s is for trainers, and this compiles none\n"
                            "  = help: name one with -o, as in -o lenet, or leave out --with\n", feature_at(i)->name);
            return false;
        }
    return true;
}
