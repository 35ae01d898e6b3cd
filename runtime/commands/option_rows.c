/* option_rows.c - the table of a trainer's options: what options.h says of a row, for each of them.
 *
 * Rows stand in the order of --help; to add an option, add its row under the heading where a user would look for it.
 */
#include "options.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#define FIELD(member) offsetof(cnn_options, member)
#define EVERY_NUMBER (CNN_FOR_TRAIN | CNN_FOR_EVAL | CNN_FOR_PREDICT | CNN_FOR_BENCH | CNN_FOR_GRADCHECK | CNN_FOR_FIND_LR)
#define USES_WEIGHTS (CNN_FOR_EVAL | CNN_FOR_PREDICT)
#define TRAINS (CNN_FOR_TRAIN | CNN_FOR_FIND_LR)

enum { MOST = INT_MAX };

/* A heading of --help over the rows that follow. */
#define GROUP(title) {NULL, NULL, CNN_OPTION_FLAG, 0, 0, 0, NULL, 0, 0, title}

static const cnn_option rows[] = {
    GROUP("Data:"),
    {"data", "DATA", CNN_OPTION_TEXT, FIELD(data), 0, 0, "synthetic", TRAINS | CNN_FOR_BENCH | USES_WEIGHTS, CNN_OF_RUN,
     "fashion-mnist, mnist, cifar10, cifar100, imagenet-folder, synthetic, or a folder: IDX files, CIFAR's files, "
     "arrays (.npy, .safetensors), or pictures in folders of classes"},
    {"split", "train|validation|test", CNN_OPTION_CHOICE, FIELD(split), 0, 0, "test", USES_WEIGHTS, 0, "Which pictures to use"},
    {"validation", "SHARE", CNN_OPTION_REAL, FIELD(validation), 0, 0.99, "0", TRAINS | USES_WEIGHTS,
     CNN_OF_RUN | CNN_FIXED | CNN_CLOSED, "Share of the training pictures that is kept to score on after each epoch, in the "
     "place of the test pictures; which they are depends on the seed"},
    {"normalize", "no|data", CNN_OPTION_CHOICE, FIELD(normalize), 0, 0, "no", TRAINS, CNN_OF_RUN | CNN_FIXED,
     "data: measure --mean and --deviation over the training pictures"},
    {"mean", "LIST", CNN_OPTION_TEXT, FIELD(mean), 0, 0, NULL, TRAINS | USES_WEIGHTS, CNN_OF_RUN | CNN_FIXED,
     "Numbers to subtract, one for each channel as in 0.485,0.456,0.406, or one for all; weights remember them"},
    {"deviation", "LIST", CNN_OPTION_TEXT, FIELD(deviation), 0, 0, NULL, TRAINS | USES_WEIGHTS, CNN_OF_RUN | CNN_FIXED,
     "Numbers to divide by then, as in 0.229,0.224,0.225"},
    {"skip-bad-pictures", NULL, CNN_OPTION_FLAG, FIELD(skip_bad), 0, 0, NULL, TRAINS | USES_WEIGHTS, CNN_OF_RUN,
     "Go on without pictures that cannot be read; each is named, and they are counted"},
    {"limit-batches", "N", CNN_OPTION_INTEGER, FIELD(limit_batches), 0, MOST, "0", TRAINS | USES_WEIGHTS,
     CNN_OF_RUN, "Use only the first N batches of each split; 0: all"},

    {"resize-short", "PIXELS", CNN_OPTION_INTEGER, FIELD(resize_short), 0, 65535, "0", TRAINS | USES_WEIGHTS,
     CNN_OF_RUN, "Resize the shorter side of pictures to that many pixels, then cut out the middle (torchvision: 256 for "
     "networks of 224); 0: cut off no more than the network's proportions ask for. Weights remember it"},
    {"loader-threads", "N", CNN_OPTION_INTEGER, FIELD(loader_threads), 0, 256, NULL, TRAINS | CNN_FOR_BENCH | USES_WEIGHTS, 0,
     "Threads that prepare the next batches while the network computes; 0: none (default: a quarter of the "
     "processors, from 1 to 16, and none while a batch takes less than 4 % of a step). Results do not depend on it"},

    GROUP("Random changes of the training pictures:"),
    {"flip", "yes|no", CNN_OPTION_YES_NO, FIELD(augment.flip), 0, 0, "no", TRAINS, CNN_OF_RUN,
     "Mirror half of the pictures, drawn at random, left to right"},
    {"crop", "PIXELS", CNN_OPTION_INTEGER, FIELD(augment.crop), 0, 4096, "0", TRAINS, CNN_OF_RUN,
     "Put that many black pixels around a picture and take a window of the old size at random"},
    {"resized-crop", "LEAST[,MOST]", CNN_OPTION_RANGE, FIELD(augment.least), 0, 1, "0", TRAINS, CNN_OF_RUN,
     "Show a random box of that share of the picture's area (0.08: from 0.08 to 1), of a shape from 3:4 to 4:3"},
    {"brightness", "X", CNN_OPTION_REAL, FIELD(augment.brightness), 0, 1000, "0", TRAINS, CNN_OF_RUN | CNN_CLOSED,
     "Multiply by a random factor from 1 - X to 1 + X"},
    {"contrast", "X", CNN_OPTION_REAL, FIELD(augment.contrast), 0, 1000, "0", TRAINS, CNN_OF_RUN | CNN_CLOSED,
     "Multiply the distance from the mean grey by a random factor from 1 - X to 1 + X"},
    {"cutout", "PIXELS", CNN_OPTION_INTEGER, FIELD(augment.cutout), 0, 65535, "0", TRAINS, CNN_OF_RUN,
     "Put a square of that side to 0, around a random pixel"},
    {"mixup", "ALPHA", CNN_OPTION_REAL, FIELD(augment.mixup), 0, 100, "0", TRAINS, CNN_OF_RUN | CNN_CLOSED,
     "Mix pictures and their labels in pairs, by shares drawn from Beta(ALPHA, ALPHA); accuracy counts the first label"},

    GROUP("Recipe:"),
    {"epochs", "N", CNN_OPTION_INTEGER, FIELD(epochs), 0, 1000000, "10", CNN_FOR_TRAIN, CNN_OF_RUN,
     "Passes over the training set"},
    {"optimizer", "sgd|adam|adamw|rmsprop", CNN_OPTION_CHOICE, FIELD(optimizer), 0, 0, "sgd", TRAINS,
     CNN_OF_RUN | CNN_FIXED, "How gradients become steps, as torch.optim computes it"},
    {"lr", "RATE", CNN_OPTION_REAL, FIELD(lr), 0, HUGE_VAL, "0.1", TRAINS, CNN_OF_RUN,
     "Learning rate, above 0; where nothing else is said, 0.1 for sgd, 0.001 for adam and adamw, 0.01 for rmsprop"},
    {"momentum", "FACTOR", CNN_OPTION_REAL, FIELD(momentum), 0, HUGE_VAL, "0", TRAINS, CNN_OF_RUN | CNN_CLOSED,
     "Momentum of sgd and rmsprop, 0 or more"},
    {"weight-decay", "FACTOR", CNN_OPTION_REAL, FIELD(weight_decay), 0, HUGE_VAL, "0", TRAINS,
     CNN_OF_RUN | CNN_CLOSED, "L2 penalty, 0 or more; of adamw, decoupled from the gradient, and 0.01 where nothing else "
     "is said"},
    {"decay-biases", "yes|no", CNN_OPTION_YES_NO, FIELD(decay_biases), 0, 0, "yes", TRAINS, CNN_OF_RUN,
     "Whether weight decay is also for biases and for batch normalisation's scale and shift"},
    {"nesterov", "yes|no", CNN_OPTION_YES_NO, FIELD(nesterov), 0, 0, "no", TRAINS, CNN_OF_RUN,
     "Nesterov momentum (sgd)"},
    {"beta1", "FACTOR", CNN_OPTION_REAL, FIELD(beta1), 0, 0.999999, "0.9", TRAINS, CNN_OF_RUN | CNN_CLOSED,
     "How slowly the mean of the gradients moves (adam, adamw)"},
    {"beta2", "FACTOR", CNN_OPTION_REAL, FIELD(beta2), 0, 0.999999, "0.999", TRAINS, CNN_OF_RUN | CNN_CLOSED,
     "How slowly the mean of their squares moves (adam, adamw)"},
    {"epsilon", "X", CNN_OPTION_REAL, FIELD(epsilon), 0, 1, "1e-8", TRAINS, CNN_OF_RUN,
     "Added to the root of the squares' mean (adam, adamw, rmsprop)"},
    {"alpha", "FACTOR", CNN_OPTION_REAL, FIELD(alpha), 0, 0.999999, "0.99", TRAINS, CNN_OF_RUN | CNN_CLOSED,
     "How slowly the mean of the squared gradients moves (rmsprop)"},
    {"lr-scale", "GLOB=FACTOR", CNN_OPTION_LIST, FIELD(lr_scale), 0, 0, NULL, TRAINS, CNN_OF_RUN,
     "Multiply the learning rate of tensors whose name matches, as in 'fc.*=10'; several with commas or by repeating; "
     "of several that match, the last counts"},
    {"schedule", "constant|step|multistep|cosine|onecycle", CNN_OPTION_CHOICE, FIELD(schedule), 0, 0, "constant",
     CNN_FOR_TRAIN, CNN_OF_RUN, "How the learning rate moves, from step to step: PyTorch's StepLR, MultiStepLR, "
     "CosineAnnealingLR down to the end of the run, OneCycleLR"},
    {"every", "EPOCHS", CNN_OPTION_INTEGER, FIELD(every), 1, 1000000, "30", CNN_FOR_TRAIN, CNN_OF_RUN,
     "Epochs between two steps down (schedule step)"},
    {"milestones", "EPOCHS", CNN_OPTION_TEXT, FIELD(milestones), 0, 0, NULL, CNN_FOR_TRAIN, CNN_OF_RUN,
     "Epochs after which to step down, as in 30,60,80 (schedule multistep)"},
    {"gamma", "FACTOR", CNN_OPTION_REAL, FIELD(gamma), 0, 1, "0.1", CNN_FOR_TRAIN, CNN_OF_RUN,
     "What a step down multiplies the rate by (schedules step and multistep)"},
    {"least", "RATE", CNN_OPTION_REAL, FIELD(least), 0, HUGE_VAL, "0", CNN_FOR_TRAIN, CNN_OF_RUN | CNN_CLOSED,
     "Learning rate at the end (schedule cosine)"},
    {"pct-start", "SHARE", CNN_OPTION_REAL, FIELD(pct_start), 0, 1, "0.3", CNN_FOR_TRAIN, CNN_OF_RUN,
     "Share of the run in which the rate goes up (schedule onecycle)"},
    {"div-factor", "X", CNN_OPTION_REAL, FIELD(div_factor), 0, HUGE_VAL, "25", CNN_FOR_TRAIN, CNN_OF_RUN,
     "The first rate is --lr divided by X (schedule onecycle)"},
    {"final-div-factor", "X", CNN_OPTION_REAL, FIELD(final_div_factor), 0, HUGE_VAL, "10000", CNN_FOR_TRAIN, CNN_OF_RUN,
     "The last rate is the first one divided by X (schedule onecycle)"},
    {"cycle-momentum", "yes|no", CNN_OPTION_YES_NO, FIELD(cycle_momentum), 0, 0, "yes", CNN_FOR_TRAIN, CNN_OF_RUN,
     "Whether momentum (adam: beta1) moves against the rate (schedule onecycle)"},
    {"base-momentum", "FACTOR", CNN_OPTION_REAL, FIELD(base_momentum), 0, 0.999999, "0.85", CNN_FOR_TRAIN,
     CNN_OF_RUN | CNN_CLOSED, "Momentum where the rate is highest (schedule onecycle)"},
    {"max-momentum", "FACTOR", CNN_OPTION_REAL, FIELD(max_momentum), 0, 0.999999, "0.95", CNN_FOR_TRAIN,
     CNN_OF_RUN | CNN_CLOSED, "Momentum at the beginning and at the end (schedule onecycle)"},
    {"warmup", "EPOCHS", CNN_OPTION_REAL, FIELD(warmup), 0, 1000000, "0", CNN_FOR_TRAIN, CNN_OF_RUN | CNN_CLOSED,
     "Epochs, also a part of one, in which the rate rises to --lr along a line; the schedule has the rest of the run"},
    {"warmup-from", "FACTOR", CNN_OPTION_REAL, FIELD(warmup_from), 0, 1, "0.01", CNN_FOR_TRAIN, CNN_OF_RUN,
     "The first step's share of the rate where there is a warm-up"},
    {"label-smoothing", "SHARE", CNN_OPTION_REAL, FIELD(label_smoothing), 0, 1, "0", TRAINS, CNN_OF_RUN | CNN_CLOSED,
     "Share of a label that is spread over all classes; loss and gradients are of these labels"},
    {"clip-norm", "NORM", CNN_OPTION_REAL, FIELD(clip_norm), 0, HUGE_VAL, "0", TRAINS, CNN_OF_RUN | CNN_CLOSED,
     "Shrink the gradients of a step where their norm, of all that are trained together, is larger; 0: never"},
    {"ema", "DECAY", CNN_OPTION_REAL, FIELD(ema), 0, 0.999999, "0", CNN_FOR_TRAIN, CNN_OF_RUN | CNN_FIXED | CNN_CLOSED,
     "Keep an exponential moving average of the weights; it is what is evaluated and saved; 0: none"},
    {"accumulate", "K", CNN_OPTION_INTEGER, FIELD(accumulate), 1, 1000000, "1", TRAINS, CNN_OF_RUN,
     "Batches of one step, of which the mean gradient is taken; the last step of an epoch takes what is left"},
    {"seed", "N", CNN_OPTION_INTEGER, FIELD(seed), 0, (double)LONG_MAX, "1",
     TRAINS | CNN_FOR_BENCH | CNN_FOR_GRADCHECK, CNN_OF_RUN | CNN_FIXED, "Seed of weights, shuffling and dropout"},
    {"freeze", "GLOB", CNN_OPTION_LIST, FIELD(freeze), 0, 0, NULL, TRAINS, CNN_OF_RUN,
     "Do not train tensors whose name matches, as in 'conv1.*'; may be repeated"},

    GROUP("Weights and runs:"),
    {"out", "FOLDER", CNN_OPTION_TEXT, FIELD(out), 0, 0, NULL, CNN_FOR_TRAIN, 0,
     "Folder for checkpoints, metrics and report (default: runs/$name)"},
    {"keep", "N", CNN_OPTION_INTEGER, FIELD(keep), 2, 1000000, "2", CNN_FOR_TRAIN, CNN_OF_RUN,
     "Checkpoints to keep: 2 are last and previous, more are also kept as step-NNNNNNNN"},
    {"save-every", "STEPS", CNN_OPTION_INTEGER, FIELD(save_every), 0, MOST, "0", CNN_FOR_TRAIN, CNN_OF_RUN,
     "Save within an epoch too, each time so many steps are done; 0: only at its end"},
    {"allow-nan", NULL, CNN_OPTION_FLAG, FIELD(allow_nan), 0, 0, NULL, CNN_FOR_TRAIN, CNN_OF_RUN,
     "Go on when a loss is not finite, a step that changes no weights; else the run stops with its last good checkpoint"},
    {"resume", NULL, CNN_OPTION_FLAG, FIELD(resume), 0, 0, NULL, CNN_FOR_TRAIN, 0,
     "Continue the run in --out where it stopped, bit for bit; options that are not given keep their values"},
    {"init", "FILE", CNN_OPTION_TEXT, FIELD(init), 0, 0, NULL, TRAINS, CNN_OF_RUN,
     "Start from the weights in a safetensors file instead of random ones"},
    {"skip", "GLOB", CNN_OPTION_LIST, FIELD(skip), 0, 0, NULL, TRAINS, CNN_OF_RUN,
     "With --init: leave tensors whose name matches at random, as in 'fc.*'; all others must be in the file; may be "
     "repeated"},
    {"weights", "FILE", CNN_OPTION_TEXT, FIELD(weights), 0, 0, NULL, USES_WEIGHTS, 0,
     "Weights to use (default: runs/$name/last.safetensors)"},
    {"report", "FILE", CNN_OPTION_TEXT, FIELD(report), 0, 0, NULL, CNN_FOR_EVAL, 0,
     "Write an HTML page: confusion matrix, accuracy by class, worst mistakes with their pictures"},
    {"dump", "FOLDER", CNN_OPTION_TEXT, FIELD(dump), 0, 0, NULL, CNN_FOR_PREDICT, 0,
     "Write input.npy and the output of every layer for the first batch"},

    {"top", "N", CNN_OPTION_INTEGER, FIELD(top), 1, 1000, "1", CNN_FOR_PREDICT, 0,
     "How many classes to print of a picture, the most probable first"},
    {"out", "FILE", CNN_OPTION_TEXT, FIELD(table), 0, 0, NULL, CNN_FOR_PREDICT, 0,
     "FILE.csv: what is printed, as a table. FILE.npy: one array for numpy.load, pictures x classes, of probabilities, or with "
     "--layer pictures x the shape of that layer"},
    {"layer", "NAME", CNN_OPTION_TEXT, FIELD(layer), 0, 0, NULL, CNN_FOR_PREDICT, 0,
     "Write what this layer computes to --out FILE.npy; the one before the last is always kept, others by cnnc --keep-layers"},

    GROUP("Rates to try:"),
    {"from", "RATE", CNN_OPTION_REAL, FIELD(find_from), 0, HUGE_VAL, "1e-7", CNN_FOR_FIND_LR, 0,
     "The first learning rate"},
    {"to", "RATE", CNN_OPTION_REAL, FIELD(find_to), 0, HUGE_VAL, "10", CNN_FOR_FIND_LR, 0, "The last one"},
    {"steps", "N", CNN_OPTION_INTEGER, FIELD(find_steps), 2, 1000000, "100", CNN_FOR_FIND_LR, 0,
     "Steps from one to the other"},
    {"out", "FILE", CNN_OPTION_TEXT, FIELD(chart), 0, 0, NULL, CNN_FOR_FIND_LR, 0,
     "Draw the smoothed loss against the rate as an SVG picture"},

    GROUP("Several processes, of a trainer of cnnc --with=mpi:"),
    {"sync-batchnorm", NULL, CNN_OPTION_FLAG, FIELD(sync_batchnorm), 0, 0, NULL, CNN_FOR_TRAIN | CNN_FOR_BENCH, CNN_OF_RUN,
     "Batch norms take mean and variance over the pictures of all processes, not of each process's own"},
    {"lr-ranks", NULL, CNN_OPTION_FLAG, FIELD(lr_ranks), 0, 0, NULL, CNN_FOR_TRAIN, CNN_OF_RUN,
     "Multiply the learning rate by the number of processes (Goyal et al. 2017)"},
    {"bucket", "MIB", CNN_OPTION_REAL, FIELD(bucket), 0, 1024, "25", CNN_FOR_TRAIN | CNN_FOR_BENCH, 0,
     "Gradients that processes send to each other at a time, in MiB"},

    GROUP("What is measured:"),
    {"steps", "N", CNN_OPTION_INTEGER, FIELD(steps), 1, 1000000, "20", CNN_FOR_BENCH, 0, "Steps to time"},
    {"predict", NULL, CNN_OPTION_FLAG, FIELD(predict), 0, 0, NULL, CNN_FOR_BENCH, 0,
     "Time prediction instead of training"},
    {"profile", NULL, CNN_OPTION_FLAG, FIELD(profile), 0, 0, NULL, CNN_FOR_BENCH | CNN_FOR_TRAIN, 0,
     "Also print where the time goes: of each kernel (bench), or in waiting for data (train)"},
    {"tensor", "GLOB", CNN_OPTION_LIST, FIELD(tensor), 0, 0, NULL, CNN_FOR_GRADCHECK, 0,
     "Check only tensors whose name matches; may be repeated"},
    {"entries", "N", CNN_OPTION_INTEGER, FIELD(entries), 0, (double)LONG_MAX, "64", CNN_FOR_GRADCHECK, 0,
     "Entries to check of a tensor; 0: every one"},

    GROUP("Of every command:"),
    {"threads", "N", CNN_OPTION_INTEGER, FIELD(threads), 1, 1024, NULL, EVERY_NUMBER, 0,
     "Threads to compute with (default: all processors)"},
    {"json", NULL, CNN_OPTION_FLAG, FIELD(json), 0, 0, NULL, (unsigned)CNN_FOR_ALL, 0,
     "Print results as JSON, one object a line"},
};

enum { ROWS = sizeof rows / sizeof *rows };
_Static_assert((int)ROWS <= (int)CNN_OPTIONS, "cnn_options.given has no room for so many options");

const cnn_option *cnn_option_row(int i)
{
    return i >= 0 && i < ROWS ? &rows[i] : NULL;
}

const cnn_option *cnn_option_find(const char *name, size_t length)
{
    for (int i = 0; i < ROWS; i++) {
        size_t k = 0;
        if (rows[i].name == NULL)
            continue;
        while (k < length && rows[i].name[k] == (name[k] == '_' ? '-' : name[k]) && rows[i].name[k])
            k++;
        if (k == length && rows[i].name[k] == '\0')
            return &rows[i];
    }
    return NULL;
}
