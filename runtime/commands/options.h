/* options.h - the options of a trainer, one row of a table each (option_rows.c).
 *
 * The row says all there is to say about an option: how it is written, read, checked, described, defaulted, which
 * commands take it and whether it belongs to a run (config.json, --resume). Everything else goes through the row: the
 * command line (main.c), the defaults of train { }, which arrive as "lr=0.9" (cnn_facts), and the state of a run
 * (checkpoint.c). To add an option: a field in cnn_options and a row; for a key of train { } also a row in
 * compiler/train.c.
 */
#ifndef CNN_OPTIONS_H
#define CNN_OPTIONS_H

#include "data/augment.h"

#include <stddef.h>
#include <stdint.h>

/* The commands, as bits of cnn_option.commands, in the order of main.c's table. */
enum { CNN_FOR_TRAIN = 1, CNN_FOR_EVAL = 2, CNN_FOR_PREDICT = 4, CNN_FOR_BENCH = 8, CNN_FOR_INFO = 16,
       CNN_FOR_GRADCHECK = 32, CNN_FOR_FIND_LR = 64, CNN_FOR_ALL = ~0 };

enum { CNN_LISTED = 32, CNN_OPTIONS = 128 };
typedef struct { const char *items[CNN_LISTED]; int count; } cnn_list;

/* Usable values: cnn_option_set refuses the others. Integers are long, reals double, yes and no and choices int. */
typedef struct {
    unsigned char given[CNN_OPTIONS];           /* by row: the command line gave it (CNN_GIVEN)                     */
    unsigned char declared[CNN_OPTIONS];        /* by row: train { } gave it                                        */
    int         declared_optimizer;             /* the one that train { }'s settings are meant for                  */
    int         json;
    long        threads;                        /* 0: as OpenMP likes                                               */
    const char *data;
    long        seed, epochs;
    int         resume;
    int         optimizer;                      /* a cnn_optimizer (cnn.h)                                          */
    double      lr, momentum, weight_decay, beta1, beta2, epsilon, alpha;
    int         nesterov, decay_biases;
    int         schedule;                       /* a cnn_schedule_kind (rate.h)                                     */
    long        every;
    const char *milestones;                     /* epochs, "30,60,80"; NULL: none                                   */
    double      gamma, least, pct_start, div_factor, final_div_factor, base_momentum, max_momentum;
    int         cycle_momentum;
    double      warmup, warmup_from, label_smoothing;
    double      clip_norm, ema;                 /* 0: none                                                          */
    long        accumulate;
    const char *out, *init, *weights, *dump, *report;    /* NULL: not given                                                  */
    long        keep, save_every;               /* checkpoints; steps, 0: at the end of epochs only                 */
    int         allow_nan;
    long        limit_batches;                  /* of a split; 0: all                                               */
    int         split;                          /* a cnn_split (data.h)                                             */
    double      validation;                     /* share of the train split                                         */
    const char *mean, *deviation;               /* lists (normal.h)                                                 */
    int         normalize;                      /* 1: mean and deviation are measured                               */
    int         skip_bad;
    long        resize_short;                   /* side that pictures get before their middle is cut out; 0: H or W */
    long        loader_threads;
    cnn_augment augment;
    long        steps;
    int         predict, profile;
    long        entries;                        /* of a tensor; 0: all                                              */
    int         sync_batchnorm, lr_ranks;       /* of several processes (ranks.h)                                   */
    double      bucket;                         /* MiB                                                              */
    cnn_list    freeze, skip, tensor;           /* patterns of names, as fnmatch(3) takes them                      */
    cnn_list    lr_scale;                       /* "fc.*=10"                                                        */
    double      find_from, find_to;             /* learning rates                                                   */
    long        find_steps;
    const char *chart, *layer, *table;          /* table: what predict writes beside its lines                      */
    long        top;                            /* classes to print of a picture                                    */
    const char *const *files;                   /* pictures that stand on the command line, NULL: none              */
    int         file_count;
} cnn_options;

typedef enum {
    CNN_OPTION_FLAG,            /* --resume: 1 when given                                                           */
    CNN_OPTION_YES_NO,          /* --nesterov, --nesterov=no                                                        */
    CNN_OPTION_CHOICE,          /* --split train: the number of the word in `value`, "test|train"                   */
    CNN_OPTION_INTEGER,         /* from least to most                                                               */
    CNN_OPTION_REAL,            /* finite as a float, from least to most; without CNN_CLOSED above least            */
    CNN_OPTION_RANGE,           /* "0.2,0.9": two doubles above least, up to most; "0.2": up to most; "0": none      */
    CNN_OPTION_TEXT,
    CNN_OPTION_LIST,            /* texts; the option may be repeated                                                */
} cnn_option_kind;

enum {
    CNN_OF_RUN = 1,             /* saved with a run; --resume takes it over unless it is given again                */
    CNN_FIXED  = 2,             /* and must not be given another value then                                         */
    CNN_CLOSED = 4,             /* of a real: `least` itself is allowed                                             */
};

/* A row without a name is a heading of --help: its text. */
typedef struct {
    const char     *name, *value;       /* "lr", "RATE" (what --help calls the value, or the words of a choice)     */
    cnn_option_kind kind;
    size_t          field;              /* where it goes: offsetof(cnn_options, lr)                                 */
    double          least, most;
    const char     *normal;             /* the default, as it would be given; NULL: none                            */
    unsigned        commands, is;       /* CNN_FOR_TRAIN | ..., CNN_OF_RUN | ...                                    */
    const char     *text;               /* for --help, with units; $name is the network's name                      */
} cnn_option;

#define CNN_OPTION_MESSAGE 256
#define CNN_OPTION_ROOM 64

/* Row i, from 0; NULL behind the last. */
const cnn_option *cnn_option_row(int i);
/* The row of a name of `length` characters, '_' as good as '-'; NULL when there is none. */
const cnn_option *cnn_option_find(const char *name, size_t length);

/* Gives an option a value; `text` is kept where it is a text, and NULL stands for "yes" where no value is needed. 1, or 0
 * with what is wrong in `why`, "must be from 0 to 9". */
int cnn_option_set(cnn_options *, const cnn_option *, const char *text, char why[CNN_OPTION_MESSAGE]);
/* The value as cnn_option_set takes it, to the last bit; of a list its k-th item. NULL: no value, or no such item. */
const char *cnn_option_get(const cnn_options *, const cnn_option *, int k, char room[CNN_OPTION_ROOM]);

/* Every option's default: the row's, then those of train { } ("lr=0.9", NULL at the end). Aborts on a default that the row
 * refuses: the compiler has checked it. */
void cnn_options_defaults(cnn_options *, const char *const *defaults);

/* Gives what neither the command line nor train { } said the default of the optimizer. Where the command line chose another
 * optimizer than train { }, the latter's settings for its own do not count. Comes after the command line was read. */
void cnn_options_settle(cnn_options *);

/* Options that were given and are for another --optimizer or --schedule than the chosen one, or lack what they need: 1, or 0
 * with what is wrong in `why`, a whole sentence. */
int cnn_options_fit(const cnn_options *, char why[CNN_OPTION_MESSAGE]);

/* Whether the command line gave the option of this field. */
int cnn_option_given(const cnn_options *, size_t field);
#define CNN_GIVEN(options, member) cnn_option_given(options, offsetof(cnn_options, member))

/* Takes over what a saved run says, by lookup(context, "lr") or, for lists, "freeze0", "freeze1" and so on, for every row that
 * is CNN_OF_RUN and was not given. 1; 0 when something is missing or makes no sense; -1 after cnn_error where a
 * CNN_FIXED option was given another value. Texts stay where lookup has them. */
int cnn_options_adopt(cnn_options *, const char *(*lookup)(const void *context, const char *key), const void *context);

#endif
