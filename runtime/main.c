/* main.c - the command line of a trainer: which command, which options, and what each of them does.
 *
 * Every option is declared once, in `all_options`; a command names the ones that it takes. Numbers are checked here, so
 * that a command may rely on `cnn_options` holding usable values. Wrong usage exits 2 (through argp).
 */
#define _GNU_SOURCE             /* program_invocation_short_name */
#include "command.h"
#include "error.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* ---- the options ------------------------------------------------------------------------------------------------- */

/* $name in a text stands for the default that the network's train block gives. */
static const struct argp_option all_options[] = {
    {"data", CNN_DATA, "DATA", 0,
     "fashion-mnist, mnist, synthetic, or a folder with the four IDX files of MNIST (default: $data)", 0},
    {"epochs", CNN_EPOCHS, "N", 0, "Passes over the training set (default: $epochs)", 0},
    {"lr", CNN_LR, "RATE", 0, "Learning rate of SGD, above 0 (default: $lr)", 0},
    {"momentum", CNN_MOMENTUM, "FACTOR", 0, "Momentum of SGD, 0 or more (default: $momentum)", 0},
    {"weight-decay", CNN_WEIGHT_DECAY, "FACTOR", 0, "L2 penalty, 0 or more (default: $weight_decay)", 0},
    {"nesterov", CNN_NESTEROV, "yes|no", OPTION_ARG_OPTIONAL, "Nesterov momentum (default: $nesterov)", 0},
    {"threads", CNN_THREADS, "N", 0, "Threads to compute with (default: all processors)", 0},
    {"seed", CNN_SEED, "N", 0, "Seed of weights, shuffling and dropout (default: $seed)", 0},
    {"out", CNN_OUT, "FOLDER", 0, "Where checkpoints and metrics.csv go (default: runs/$name)", 0},
    {"resume", CNN_RESUME, NULL, 0,
     "Continue the run in --out where it stopped, bit for bit; options that are not given keep their values", 0},
    {"init", CNN_INIT, "FILE", 0, "Start from the weights in a safetensors file instead of random ones", 0},
    {"skip", CNN_SKIP, "GLOB", 0, "With --init: leave tensors whose name matches at random, as in 'fc.*'; all others "
     "must be in the file; may be repeated", 0},
    {"freeze", CNN_FREEZE, "GLOB", 0, "Do not train tensors whose name matches, as in 'conv1.*'; may be repeated", 0},
    {"limit-batches", CNN_LIMIT_BATCHES, "N", 0, "Use only the first N batches of each split (default: 0, all)", 0},
    {"weights", CNN_WEIGHTS, "FILE", 0, "Weights to use (default: runs/$name/last.safetensors)", 0},
    {"split", CNN_SPLIT, "train|test", 0, "Which pictures to use (default: test)", 0},
    {"dump", CNN_DUMP, "FOLDER", 0, "Write input.npy and the output of every layer for the first batch", 0},
    {"steps", CNN_STEPS, "N", 0, "Steps to time (default: 20)", 0},
    {"predict", CNN_PREDICT, NULL, 0, "Time prediction instead of training", 0},
    {"profile", CNN_PROFILE, NULL, 0, "Also print the time that each kernel takes", 0},
    {"tensor", CNN_TENSOR, "GLOB", 0, "Check only tensors whose name matches; may be repeated", 0},
    {"entries", CNN_ENTRIES, "N", 0, "Entries to check of a tensor (default: 64; 0: every one)", 0},
    {"json", CNN_JSON, NULL, 0, "Print results as JSON, one object a line", 0},
    {"version", CNN_VERSION, NULL, 0, "Print the network, the version of cnnc and the instruction set", -1},
    {0}};

enum { OPTIONS = sizeof all_options / sizeof *all_options };

typedef struct {
    const char *name;
    int (*run)(cnn_session *);
    cnn_key     options[16];
    const char *text;
} Command;

static const Command commands[] = {
    {"train", cnn_train,
     {CNN_DATA, CNN_EPOCHS, CNN_LR, CNN_MOMENTUM, CNN_WEIGHT_DECAY, CNN_NESTEROV, CNN_THREADS, CNN_SEED, CNN_OUT,
      CNN_RESUME, CNN_INIT, CNN_SKIP, CNN_FREEZE, CNN_LIMIT_BATCHES, CNN_JSON},
     "Train $name and print one line an epoch.\v"
     "The pictures are shuffled anew for each epoch; what is left over after the last whole batch is not used in that "
     "epoch. After each epoch the test set is evaluated and --out gets last.safetensors (the weights), "
     "last.state.safetensors (what --resume needs) and a row of metrics.csv; the checkpoint before is kept as "
     "previous.safetensors.\n\nCtrl-C ends the run after the current step and saves; a second one ends it at once. "
     "Exit status: 0, 1 error, 2 usage, 130 Ctrl-C, 143 SIGTERM."},
    {"eval", cnn_eval, {CNN_DATA, CNN_WEIGHTS, CNN_SPLIT, CNN_THREADS, CNN_LIMIT_BATCHES, CNN_JSON},
     "Print the loss and the accuracy of trained weights."},
    {"predict", cnn_predict, {CNN_DATA, CNN_WEIGHTS, CNN_SPLIT, CNN_DUMP, CNN_THREADS, CNN_LIMIT_BATCHES, CNN_JSON},
     "Print one line a picture: its index, the predicted class, the probability of that class, the true class."},
    {"bench", cnn_bench, {CNN_STEPS, CNN_PREDICT, CNN_PROFILE, CNN_THREADS, CNN_SEED, CNN_JSON},
     "Time training steps (gradients and update) on random pictures.\v"
     "Prints milliseconds a step, 10^9 floating-point operations a second at the fastest step, and the largest memory "
     "that the process used, in MiB. Steps before the first that is timed warm up."},
    {"info", cnn_info, {CNN_JSON}, "Print layers, shapes, parameters, memory and how the code was compiled."},
    {"gradcheck", cnn_gradcheck, {CNN_TENSOR, CNN_ENTRIES, CNN_THREADS, CNN_SEED, CNN_JSON},
     "Compare every gradient with a difference quotient of the loss, on random pictures.\v"
     "A trainer built in double precision (cnnc --double) checks single entries: central differences, step 1e-6, "
     "relative tolerance 1e-3, absolute 1e-5. In float the slope along each tensor's gradient is checked to 1e-2. "
     "A small batch (cnnc --batch 2) makes it fast."},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

/* ---- texts with the network's defaults --------------------------------------------------------------------------- */

/* The default that $name stands for; NULL when there is none of that name. `room` is for numbers. */
static const char *default_text(const cnn_facts *facts, const char *name, size_t length, char *room, size_t size)
{
    const struct { const char *name; double value; } numbers[] = {
        {"epochs", facts->epochs}, {"lr", facts->lr}, {"momentum", facts->momentum},
        {"weight_decay", facts->weight_decay}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strlen(numbers[i].name) == length && strncmp(numbers[i].name, name, length) == 0) {
            snprintf(room, size, "%.15g", numbers[i].value);
            return room;
        }
    snprintf(room, size, "%llu", (unsigned long long)facts->seed);
    const struct { const char *name, *value; } texts[] = {{"name", facts->name}, {"data", facts->data}, {"seed", room},
                                                          {"nesterov", facts->nesterov ? "yes" : "no"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strlen(texts[i].name) == length && strncmp(texts[i].name, name, length) == 0)
            return texts[i].value;
    return NULL;
}

/* A copy of `text` with every $name filled in; what cannot be copied is returned as it is. argp frees the copy. */
static char *fill_in(int key, const char *text, void *input)
{
    (void)key;
    const cnn_facts *facts = ((cnn_session *)input)->facts;
    char *copy = NULL, room[64];
    size_t size;
    FILE *out = text ? open_memstream(&copy, &size) : NULL;
    if (out == NULL)
        return (char *)text;
    for (const char *at = text; *at; ) {
        size_t length = *at == '$' ? strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_") : 0;
        const char *value = length ? default_text(facts, at + 1, length, room, sizeof room) : NULL;
        if (value)
            fputs(value, out), at += length + 1;
        else
            putc(*at++, out);
    }
    return fclose(out) == 0 ? copy : (char *)text;
}

/* ---- reading values ---------------------------------------------------------------------------------------------- */

static const char *option_name(int key)
{
    for (int i = 0; i < OPTIONS - 1; i++)
        if (all_options[i].key == key)
            return all_options[i].name;
    return "?";
}

/* An integer from `least` to `most`; ends the program with a usage error (exit 2) when `text` is none. */
static long long integer(struct argp_state *state, int key, const char *text, long long least, long long most)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0')
        argp_error(state, "--%s %s: not a whole number", option_name(key), text);
    if (errno || value < least || value > most)
        argp_error(state, "--%s %s: must be from %lld to %lld", option_name(key), text, least, most);
    return value;
}

/* A finite number of at least 0, or above 0 when `positive`, that a float can hold. */
static double real(struct argp_state *state, int key, const char *text, int positive)
{
    char *end;
    double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0')
        argp_error(state, "--%s %s: not a number", option_name(key), text);
    if (!isfinite((float)value) || value < 0)
        argp_error(state, "--%s %s: must be finite and %s 0", option_name(key), text, positive ? "above" : "at least");
    if (positive && (float)value == 0)
        argp_error(state, "--%s %s: must be above 0", option_name(key), text);
    return value;
}

static int yes_or_no(struct argp_state *state, int key, const char *text)
{
    if (text == NULL || strcmp(text, "yes") == 0)
        return 1;
    if (strcmp(text, "no") != 0)
        argp_error(state, "--%s=%s: must be yes or no", option_name(key), text);
    return 0;
}

static void add_glob(struct argp_state *state, cnn_globs *globs, int key, const char *glob)
{
    if (globs->count == CNN_GLOBS)
        argp_error(state, "--%s: at most %d patterns", option_name(key), CNN_GLOBS);
    globs->items[globs->count++] = glob;
}

static void print_version(const cnn_facts *facts)
{
    printf("%s (cnnc %s, %s)\n", facts->name, facts->version, facts->target);
    exit(CNN_OK);                       /* as argp does after --help */
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    cnn_options *o = &((cnn_session *)state->input)->options;
    switch (key) {
    case CNN_DATA:          o->data = text; break;
    case CNN_EPOCHS:        o->epochs = (int)integer(state, key, text, 0, 1000000); break;
    case CNN_LR:            o->lr = real(state, key, text, 1); break;
    case CNN_MOMENTUM:      o->momentum = real(state, key, text, 0); break;
    case CNN_WEIGHT_DECAY:  o->weight_decay = real(state, key, text, 0); break;
    case CNN_NESTEROV:      o->nesterov = yes_or_no(state, key, text); break;
    case CNN_THREADS:       o->threads = (int)integer(state, key, text, 1, 1024); break;
    case CNN_SEED:          o->seed = (uint64_t)integer(state, key, text, 0, LLONG_MAX); break;
    case CNN_OUT:           o->out = text; break;
    case CNN_RESUME:        o->resume = 1; break;
    case CNN_INIT:          o->init = text; break;
    case CNN_TENSOR:
    case CNN_FREEZE:        add_glob(state, &o->tensors, key, text); break;
    case CNN_SKIP:          add_glob(state, &o->skip, key, text); break;
    case CNN_LIMIT_BATCHES: o->limit_batches = (long)integer(state, key, text, 0, INT_MAX); break;
    case CNN_WEIGHTS:       o->weights = text; break;
    case CNN_DUMP:          o->dump = text; break;
    case CNN_STEPS:         o->steps = (int)integer(state, key, text, 1, 1000000); break;
    case CNN_PREDICT:       o->predict = 1; break;
    case CNN_PROFILE:       o->profile = 1; break;
    case CNN_ENTRIES:       o->entries = (long)integer(state, key, text, 0, LONG_MAX); break;
    case CNN_JSON:          o->json = 1; break;
    case CNN_VERSION:       print_version(((cnn_session *)state->input)->facts); break;
    case CNN_SPLIT:
        if (strcmp(text, "train") != 0 && strcmp(text, "test") != 0)
            argp_error(state, "--split %s: must be train or test", text);
        o->train_split = strcmp(text, "train") == 0;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is not an option", text);
        break;
    case ARGP_KEY_END:
        if (o->resume && o->init)
            argp_error(state, "--resume and --init exclude each other: a resumed run has its weights");
        if (o->skip.count && !o->init)
            argp_error(state, "--skip says what --init leaves out: give --init FILE too");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    o->given |= UINT64_C(1) << (key - CNN_FIRST_KEY);
    return 0;
}

/* ---- commands ---------------------------------------------------------------------------------------------------- */

/* Finds the command; the rest of the line is its own. */
static error_t parse_command(int key, char *text, struct argp_state *state)
{
    cnn_session *s = state->input;
    if (key == CNN_VERSION)
        print_version(s->facts);
    if (key == ARGP_KEY_NO_ARGS)
        argp_error(state, "a command is missing: train, eval, predict, bench, info or gradcheck");
    if (key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(text, commands[i].name) == 0) {
            s->command = i;
            s->rest = state->next - 1;
            state->next = state->argc;
            return 0;
        }
    int nearest = 0;
    for (int i = 1; i < COMMANDS; i++)
        if (cnn_distance(text, commands[i].name) < cnn_distance(text, commands[nearest].name))
            nearest = i;
    argp_error(state, "there is no command '%s'; did you mean '%s'?", text, commands[nearest].name);
    return 0;
}

static void parse_rest(cnn_session *s, int argc, char **argv)
{
    const Command *command = &commands[s->command];
    struct argp_option options[OPTIONS];
    int count = 0;
    for (int i = 0; i < OPTIONS - 1; i++)
        for (int j = 0; command->options[j]; j++)
            if (all_options[i].key == (int)command->options[j])
                options[count++] = all_options[i];
    options[count++] = all_options[OPTIONS - 2];                /* --version, which every command takes */
    options[count] = (struct argp_option){0};

    char name[256];             /* argp calls the program by argv[0] in its messages */
    snprintf(name, sizeof name, "%s %s", program_invocation_short_name, command->name);
    argv[s->rest] = name;
    const struct argp argp = {.options = options, .parser = parse_option, .doc = command->text, .help_filter = fill_in};
    argp_parse(&argp, argc - s->rest, argv + s->rest, 0, NULL, s);
}

int cnn_main(int argc, char **argv, const cnn_network *network)
{
    const cnn_facts *facts = network->facts;
    cnn_session s = {.network = network, .facts = facts, .options = {
        .data = facts->data ? facts->data : "synthetic", .epochs = facts->epochs, .lr = facts->lr,
        .momentum = facts->momentum, .weight_decay = facts->weight_decay, .nesterov = facts->nesterov,
        .seed = facts->seed, .steps = 20, .entries = 64}};
    const struct argp argp = {
        .options = &all_options[OPTIONS - 2], .parser = parse_command, .args_doc = "COMMAND [OPTION...]",
        .help_filter = fill_in,
        .doc = "Train and use the network $name.\v"
               "Commands:\n"
               "  train      train and save\n"
               "  eval       loss and accuracy of saved weights\n"
               "  predict    one line a picture\n"
               "  bench      time of a step\n"
               "  info       layers, parameters, memory\n"
               "  gradcheck  gradients against differences\n\n"
               "'COMMAND --help' lists the options of a command."};
    argp_err_exit_status = CNN_USAGE;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &s);
    parse_rest(&s, argc, argv);
    if (s.options.threads > 0)
        omp_set_num_threads(s.options.threads);

    int status = commands[s.command].run(&s);
    cnn_session_close(&s);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == CNN_OK) {
        cnn_error("standard output cannot be written");
        status = CNN_FAILED;
    }
    return status;
}
