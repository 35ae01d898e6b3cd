/* main.c - the command line of a trainer: its commands, and how argp is told of the options (option_rows.c).
 *
 * Wrong usage exits 2 (through argp); a command may rely on `cnn_options` holding usable values.
 */
#define _GNU_SOURCE             /* program_invocation_short_name */
#include "command.h"
#include "error.h"

#include <argp.h>
#include <errno.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* What `train --help` says of several processes. */
#define RANKS_HELP                                                                                                     \
    "\n\nSeveral processes: a trainer of cnnc --with=mpi is started by 'mpirun -n 4 ./$name train ...', on several "    \
    "machines by 'mpirun --hostfile FILE ...', under Slurm by 'srun -n 64 ./$name train ...'. Each process takes a "     \
    "batch of its own and --threads threads (at mpirun: --map-by slot:PE=8 gives each 8 cores); a step is that of one "  \
    "process with all their batches, but for batch norms, see --sync-batchnorm, and --mixup, which mixes the pictures "  \
    "of a process. The first one writes; --out and --data are folders that all can see. Running statistics are the "     \
    "first one's. A checkpoint goes on with any number of processes, and to the same bits with the same number. A "      \
    "signal to any of them stops all; mpirun gives them a second for it after Ctrl-C (--mca "                            \
    "odls_base_sigkill_timeout 60: a minute)."

/* ---- the commands ----------------------------------------------------------------------------------------------- */

/* In the order of the bits CNN_FOR_TRAIN, CNN_FOR_EVAL, ... (options.h). */
static const struct {
    const char *name;
    int       (*run)(cnn_session *);
    const char *summary, *text, *arguments;     /* arguments: what stands behind the options, NULL: nothing          */
} commands[] = {
    {"train", cnn_train, "train and save",
     "Train $name and print one line an epoch.\v"
     "The pictures are shuffled anew for each epoch; what is left over after the last whole batch is not used in that "
     "epoch. After each epoch the test set is scored, or with --validation what is kept of the training set, or the validation "
     "set that data with three sets has (train/, val/ and test/): its test set is then for eval alone. The folder "
     "--out gets\n"
     "  config.json             network, compiler, data and every option in force\n"
     "  metrics.csv             a row an epoch\n"
     "  curves.svg              loss and accuracy against epochs\n"
     "  last.safetensors        the weights, named as PyTorch names them\n"
     "  last.state.safetensors  with them, what --resume needs\n"
     "  previous.*              the checkpoint before\n"
     "  best.safetensors        the weights of the epoch with the highest accuracy\n"
     "  step-NNNNNNNN.*         with --keep N above 2, the last N checkpoints\n"
     "  report.html             after the last epoch, a page on what was scored\n"
     "Each file is there whole or not at all, whenever the run ends. A new run sets the files of the one before aside as "
     "previous.*.\n\nCtrl-C ends the run after the current step and saves; a second one ends it at once. "
     "Exit status: 0, 1 error, 2 usage, 130 Ctrl-C, 143 SIGTERM." RANKS_HELP, NULL},
    {"eval", cnn_eval, "loss and accuracy of saved weights", "Print the loss and the accuracy of trained weights.",
     NULL},
    {"predict", cnn_predict, "one line a picture",
     "Print one line a picture: its index and file, the class, its probability, the true class where it is known, the name of "
     "the class.\v"
     "Pictures are JPEG or PNG files, folders in which such files lie (folders within them are passed over), or whatever "
     "--data takes; an array x needs no y here, and FILE.npy may be one. How pictures are prepared, and the names of the "
     "classes, is what the weights remember of the data that they were trained on.", "[PICTURE...]"},
    {"bench", cnn_bench, "time of a step",
     "Time training steps (gradients and update) on random pictures, or on those of --data.\v"
     "Prints milliseconds a step, 10^9 floating-point operations a second at the fastest step, and the largest memory "
     "that the process used, in MiB. Steps before the first that is timed warm up.", NULL},
    {"info", cnn_info, "layers, parameters, memory",
     "Print layers, shapes, parameters, memory and how the code was compiled.", NULL},
    {"gradcheck", cnn_gradcheck, "gradients against differences",
     "Compare every gradient with a difference quotient of the loss, on random pictures.\v"
     "A trainer built in double precision (cnnc --double) checks single entries: central differences, step 1e-6, "
     "relative tolerance 1e-3, absolute 1e-5. In float the slope along each tensor's gradient is checked to 1e-2. "
     "A small batch (cnnc --batch 2) makes it fast.", NULL},
    {"find-lr", cnn_find_lr, "which learning rate to begin with",
     "Train with learning rates that grow from step to step, and print a line a step with the smoothed loss.\v"
     "The last line suggests the rate where the loss falls fastest. It ends early where the loss grows to four times "
     "its least. Nothing but the picture of --out is written.", NULL},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

/* ---- help -------------------------------------------------------------------------------------------------------- */

/* What argp is told of an option: its keys lie above every character, so that argp makes no short options of them. */
enum { FIRST_KEY = 1000, VERSION_KEY = 999 };

static const struct argp_option version_option = {
    "version", VERSION_KEY, NULL, 0, "Print the network, the version of cnnc and the instruction set", -1};

/* "(default: 0.9)" behind the text of an option that has one. */
static void print_default(FILE *out, const cnn_session *s, int key)
{
    char room[CNN_OPTION_ROOM];
    const cnn_option *row = key >= FIRST_KEY ? cnn_option_row(key - FIRST_KEY) : NULL;
    cnn_options settled = s->options;
    cnn_options_settle(&settled);
    const char *value = row && row->normal ? cnn_option_get(&settled, row, 0, room) : NULL;
    if (value && row->kind == CNN_OPTION_REAL)
        fprintf(out, " (default: %.15g)", *(const double *)(const void *)((const char *)&settled + row->field));
    else if (value)
        fprintf(out, " (default: %s)", value);
}

/* A copy of `text` with $name filled in and the option's default behind it; what cannot be copied is returned as it is.
 * argp frees the copy. */
static char *fill_in(int key, const char *text, void *input)
{
    static const char name[] = "$name";
    const cnn_session *s = input;
    char *copy = NULL;
    size_t size;
    FILE *out = text ? open_memstream(&copy, &size) : NULL;
    if (out == NULL)
        return (char *)text;
    for (const char *at = text; *at; )
        if (strncmp(at, name, sizeof name - 1) == 0)
            fputs(s->facts->name, out), at += sizeof name - 1;
        else
            putc(*at++, out);
    print_default(out, s, key);
    return fclose(out) == 0 ? copy : (char *)text;
}

/* ---- reading the command line ------------------------------------------------------------------------------------ */

static void print_version(const cnn_facts *facts)
{
    printf("%s (cnnc %s, %s)\n", facts->name, facts->version, facts->target);
    exit(CNN_OK);                       /* as argp does after --help */
}

/* Options that exclude or need each other. Those of a resumed run are known later (train.c). */
static void check_together(struct argp_state *state, const cnn_options *o)
{
    char why[CNN_OPTION_MESSAGE];
    if (o->resume && o->init)
        argp_error(state, "--resume and --init exclude each other: a resumed run has its weights");
    if (o->skip.count && !o->init)
        argp_error(state, "--skip says what --init leaves out: give --init FILE too");
    const char *ending = o->table ? strrchr(o->table, '.') : NULL;
    const int csv = ending && strcmp(ending, ".csv") == 0, npy = ending && strcmp(ending, ".npy") == 0;
    if (o->table && !csv && !npy)
        argp_error(state, "--out %s: must end in .csv or .npy", o->table);
    if (o->layer && !npy)
        argp_error(state, "--layer needs a file for what it computes: --out FILE.npy");
    if (o->file_count > 0 && CNN_GIVEN(o, data))
        argp_error(state, "give the pictures as arguments or with --data, not both");
    if (!o->resume && !cnn_options_fit(o, why))
        argp_error(state, "%s", why);
}

/* A list on the command line takes the place of train { }'s. */
static void begin_list(cnn_options *o, const cnn_option *row, int row_number)
{
    if (row->kind == CNN_OPTION_LIST && !o->given[row_number])
        ((cnn_list *)(void *)((char *)o + row->field))->count = 0;
}

/* Pictures; one of them is data as any other. */
static void take_arguments(cnn_options *o, const struct argp_state *state)
{
    o->file_count = state->argc - state->next;
    if (o->file_count == 1 && !CNN_GIVEN(o, data))
        o->data = state->argv[state->next];
    else
        o->files = (const char *const *)state->argv + state->next;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    char why[CNN_OPTION_MESSAGE];
    cnn_session *s = state->input;
    const cnn_option *row = key >= FIRST_KEY ? cnn_option_row(key - FIRST_KEY) : NULL;
    if (row) {
        begin_list(&s->options, row, key - FIRST_KEY);
        if (!cnn_option_set(&s->options, row, text, why))
            argp_error(state, "--%s%s%s: %s", row->name, row->kind == CNN_OPTION_YES_NO ? "=" : " ", text, why);
        s->options.given[key - FIRST_KEY] = 1;
        return 0;
    }
    switch (key) {
    case VERSION_KEY:
        print_version(s->facts);
        return 0;
    case ARGP_KEY_ARG:
        if (commands[s->command].arguments)
            return ARGP_ERR_UNKNOWN;            /* all of them, at once */
        argp_error(state, "'%s' is not an option", text);
        return 0;
    case ARGP_KEY_ARGS:
        take_arguments(&s->options, state);
        return 0;
    case ARGP_KEY_END:
        cnn_options_settle(&s->options);
        check_together(state, &s->options);
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

/* Finds the command; the rest of the line is its own. */
static error_t parse_command(int key, char *text, struct argp_state *state)
{
    cnn_session *s = state->input;
    if (key == VERSION_KEY)
        print_version(s->facts);
    if (key == ARGP_KEY_NO_ARGS)
        argp_error(state, "a command is missing: train, eval, predict, bench, info, gradcheck or find-lr");
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
    struct argp_option options[CNN_OPTIONS + 2];
    const cnn_option *heading = NULL;
    int count = 0, group = 0;
    for (int i = 0; cnn_option_row(i); i++) {
        const cnn_option *row = cnn_option_row(i);
        if (row->name == NULL)
            heading = row;
        if (row->name == NULL || !(row->commands >> s->command & 1))
            continue;
        if (heading)
            options[count++] = (struct argp_option){NULL, 0, NULL, 0, heading->text, ++group};
        heading = NULL;
        options[count++] = (struct argp_option){row->name, FIRST_KEY + i, row->value,
            row->kind == CNN_OPTION_YES_NO ? OPTION_ARG_OPTIONAL : 0, row->text, group};
    }
    options[count++] = version_option;
    options[count] = (struct argp_option){0};

    char name[256];             /* argp calls the program by argv[0] in its messages */
    snprintf(name, sizeof name, "%s %s", program_invocation_short_name, commands[s->command].name);
    argv[s->rest] = name;
    const struct argp argp = {.options = options, .parser = parse_option, .doc = commands[s->command].text,
                              .args_doc = commands[s->command].arguments, .help_filter = fill_in};
    argp_parse(&argp, argc - s->rest, argv + s->rest, 0, NULL, s);
}

/* The description of the program for `--help`, with a line a command. */
static void describe(char *room, size_t size)
{
    int length = snprintf(room, size, "Train and use the network $name.\vCommands:\n");
    for (int i = 0; i < COMMANDS; i++)
        length += snprintf(room + length, size - (size_t)length, "  %-10s %s\n", commands[i].name, commands[i].summary);
    snprintf(room + length, size - (size_t)length, "\n'COMMAND --help' lists the options of a command.");
}

/* Runs the command, in all processes that were started for it where it is one that they can share. */
static int run_command(cnn_session *s)
{
    const unsigned shared = CNN_FOR_TRAIN | CNN_FOR_EVAL | CNN_FOR_BENCH;
    const cnn_options *o = &s->options;
    if (s->network->transport == NULL && (o->sync_batchnorm || o->lr_ranks)) {
        cnn_error("--%s is for several processes, and this trainer works alone\ncompile it with cnnc --with=mpi",
                  o->sync_batchnorm ? "sync-batchnorm" : "lr-ranks");
        return CNN_USAGE;
    }
    if (shared >> s->command & 1 && !cnn_ranks_open(s->network, &s->ranks))
        return CNN_FAILED;
    int status = commands[s->command].run(s);
    if (shared >> s->command & 1)
        cnn_ranks_close(s->network, s->ranks);
    return status;
}

int cnn_main(int argc, char **argv, const cnn_network *network)
{
    cnn_session s = {.network = network, .facts = network->facts};
    struct argp_option options[] = {version_option, {0}};
    char description[2048];
    describe(description, sizeof description);
    const struct argp argp = {.options = options, .parser = parse_command, .args_doc = "COMMAND [OPTION...]",
                              .help_filter = fill_in, .doc = description};
    cnn_options_defaults(&s.options, s.facts->defaults);
    argp_err_exit_status = CNN_USAGE;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &s);
    parse_rest(&s, argc, argv);
    if (s.options.threads > 0)
        omp_set_num_threads((int)s.options.threads);

    int status = run_command(&s);
    cnn_session_close(&s);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == CNN_OK) {
        cnn_error("standard output cannot be written");
        status = CNN_FAILED;
    }
    return status;
}
