/* command.h - what the parts of the trainer's command line share: options, the session, and each file's functions.
 *
 * A command is a function from a session to an exit status. The session holds the generated network and the buffers of
 * one batch; main.c fills in its options (options.h), the command opens it, main.c closes it. Errors are reported where they are
 * found (error.h) and travel up as 0 or as an exit status; nothing but argp exits.
 */
#ifndef CNN_COMMAND_H
#define CNN_COMMAND_H

#include "data/data.h"
#include "data/normal.h"
#include "options.h"
#include "ranks/ranks.h"
#include "files/safetensors.h"
#include "files/save.h"
#include "trainer.h"

#include <signal.h>
#include <stdio.h>

enum { CNN_OK, CNN_FAILED, CNN_USAGE };         /* exit status; after a signal it is 128 + its number */

/* ---- session.c: the network and its batch ------------------------------------------------------------------------ */

typedef struct {
    const cnn_network *network;
    const cnn_facts   *facts;
    cnn_options        options;
    int                command, rest;           /* which command, and where its arguments begin (main.c)            */

    cnn_ranks         *ranks;                   /* NULL: the program runs alone (main.c)                            */
    int                stop;                    /* signal that all ranks know of (cnn_session_stopped)              */

    void              *net;                     /* these are filled in by cnn_session_open                          */
    int                input[4], batch, classes;
    size_t             pixels;                  /* values of one picture: C x H x W                                 */
    cnn_real          *logits;                  /* batch x classes                                                  */
    cnn_real          *x;                       /* of a random batch (cnn_session_random_batch): batch x C x H x W  */
    int32_t           *labels;                  /* likewise                                                         */
    cnn_safetensors   *state;                   /* of a resumed run: options may point into it                      */
    cnn_normal         normal;                  /* of the data (cnn_session_normalise)                              */
    struct { int known; cnn_normal normal; cnn_names names; double validation; long seed, resize_short; } loaded;
                                                /* what the weights that were loaded remember; known 0: they are not
                                                   a trainer's                                                      */
    cnn_names          names;                   /* of the classes of the data that is trained on                    */
    cnn_split          scored;                  /* what is scored after each epoch (train.c)                        */
    struct cnn_recipe *recipe;                  /* where it trains (recipe.h)                                       */
} cnn_session;

/* Creates the network with options.seed, and the buffers. 1, or 0 after cnn_error. */
int  cnn_session_open(cnn_session *);
void cnn_session_close(cnn_session *);

/* The optimiser that the options ask for, with this learning rate. */
cnn_update cnn_session_update(const cnn_session *, double lr);

/* Makes x of normal deviates and labels of classes, both set by options.seed: work for bench and gradcheck. 1, or 0 after
 * cnn_error. */
int  cnn_session_random_batch(cnn_session *);

/* Settles mean and deviation: the command line's, else those of the loaded weights, else those of train { }; measured over
 * the train split where that is asked. Comes before the data is opened. 1, or 0 after cnn_error. */
int  cnn_session_normalise(cnn_session *);

/* Says on stderr how many pictures of a split were left out, in all ranks together, where some were, and names those that this
 * one has not met with. All call it; NULL in one of them is allowed, and then none says anything. */
void cnn_session_left_out(cnn_session *, const cnn_dataset *);

/* What the session wants of data, and a split of options.data that is opened for it; pictures are changed as `augment`
 * says (NULL: as they are). NULL after cnn_error. */
cnn_wish     cnn_session_wish(const cnn_session *);
cnn_dataset *cnn_session_data(const cnn_session *, cnn_split split, const cnn_augment *augment);

/* Takes the names of the classes from the data, for the weights. 1, or 0 after cnn_error. */
int cnn_session_take_names(cnn_session *, const cnn_dataset *);

/* The name of the split that is scored after each epoch: "test" or "validation". */
const char *cnn_session_scored(const cnn_session *);

/* Loads batches [first, end), counted from the beginning of epoch 0: shuffled, whole, with all changes (CNN_LOAD_TRAINING),
 * or one epoch in the order of the data, by every rank (CNN_LOAD_ALL) or shared among them. NULL after cnn_error. */
typedef enum { CNN_LOAD_ALL, CNN_LOAD_TRAINING, CNN_LOAD_SHARED } cnn_load;
struct cnn_loader *cnn_session_loader(const cnn_session *, cnn_dataset *, cnn_load, long first, long end);

/* The gradients of a batch, of all ranks: their mean. Its loss, which is this rank's, or all ranks' with --sync-batchnorm. */
double cnn_session_gradients(cnn_session *, const cnn_real *x, const int32_t *labels);

/* The signal that ends the command, or 0: in one process cnn_signal; of several ranks, what they all know of. Ranks tell
 * each other in cnn_session_agree: the first `count` values become their sums over all ranks, and it returns whether
 * `good` holds in all. Where it does not, the first rank that failed has its reports printed. */
int  cnn_session_stopped(const cnn_session *);
int  cnn_session_agree(cnn_session *, int good, double *values, int count);

/* How many batches of a split are used: `whole` ones only, or also the one that is not full; at most --limit-batches. */
long cnn_session_batches(const cnn_session *, const cnn_dataset *, int whole);
/* The whole ones, for training; 0 after cnn_error where there are none. */
long cnn_session_whole_batches(const cnn_session *, const cnn_dataset *);

/* Loads weights; `allow` is of safetensors.h. Tensors that match `skip` (NULL: none) are left alone, and skipping makes
 * the others strict: all of them must be there, in their shapes. The number of tensors set, or -1 after cnn_error. */
int  cnn_session_load(cnn_session *, const char *path, const cnn_list *skip, unsigned allow);

/* Loads the weights of --init, where it is given. 1, or 0 after cnn_error. */
int  cnn_session_initialise(cnn_session *);

/* The weights as items of a file, count network->tensors(); and what training needs besides them to go on. Where
 * a recipe averages weights (recipe.h), these are the average. The caller frees them. NULL after cnn_error. */
cnn_stored *cnn_session_weights(cnn_session *, int *count);
cnn_stored *cnn_session_state(cnn_session *, int *count);

/* chosen[i] = whether trainable tensor i matches one of the patterns. 1, or 0 after cnn_error where a pattern matches
 * nothing (the nearest names are listed). */
int  cnn_session_match(const cnn_session *, const char *option, const cnn_list *, int *chosen);

/* Edits that turn `text` into `name`, or into its best beginning where text has a wildcard. */
int  cnn_distance(const char *text, const char *name);

/* `folder`/`name` into room[4096]; 0 after cnn_error when it is too long. */
enum { CNN_PATH = 4096 };
int  cnn_path(char room[CNN_PATH], const char *folder, const char *name);
int  cnn_make_folder(const char *path);         /* with its parents; 1, or 0 after cnn_error                        */

/* ---- train.c, evaluate.c, predict.c, bench.c, gradcheck.c, info.c, find_lr.c: the commands -------------------------------- */

int cnn_train(cnn_session *);
int cnn_eval(cnn_session *);
int cnn_predict(cnn_session *);
int cnn_bench(cnn_session *);
int cnn_gradcheck(cnn_session *);
int cnn_info(cnn_session *);
int cnn_find_lr(cnn_session *);

/* SIGINT or SIGTERM that came while training, or 0. The one global variable. */
extern volatile sig_atomic_t cnn_signal;

/* ---- finite.c: why a loss is no number --------------------------------------------------------------------------- */

/* Runs the last step, which has changed no weights, again on its batch, and names the first tensor that is not finite:
 * "output of conv3 (forward)". 0 where all are finite. */
int cnn_find_not_finite(cnn_session *, const cnn_real *x, const int32_t *labels, char *text, size_t size);

/* Of weights that an update has made not finite, names the first that a backward pass comes to: "conv3.weight". 0 where all
 * are finite. */
int cnn_find_broken(const cnn_session *, char *text, size_t size);

/* ---- evaluate.c: loss and accuracy ------------------------------------------------------------------------------- */

typedef struct { double loss; long correct, pictures; } cnn_score;      /* loss is a sum over pictures              */

/* The class of the largest logit, the first of equals; *probability (unless NULL) is its softmax. */
int  cnn_best_class(const cnn_real *logits, int classes, double *probability);
double cnn_probability(const cnn_real *logits, int classes, int class);
void cnn_score_add(cnn_score *, const cnn_real *logits, const int32_t *labels, int count, int classes);

/* Scores a split with the network as it is, and counts for a report (NULL: none). 1, or 0 after cnn_error, or when a
 * signal came first. `label` heads the progress bar. */
typedef struct cnn_report cnn_report;
int  cnn_evaluate(cnn_session *, cnn_dataset *, const char *label, cnn_score *, cnn_report *);

/* Opens the session with the weights of --weights, and the split that is asked for; where unlabelled, pictures without
 * labels will do. What eval and predict begin with. NULL after cnn_error. */
cnn_dataset *cnn_open_weights_and_data(cnn_session *, int unlabelled);

/* ---- report.c: report.html --------------------------------------------------------------------------------------- */

/* NULL after cnn_error. The caller frees it. */
cnn_report *cnn_report_new(int classes);
void        cnn_report_free(cnn_report *);              /* NULL is allowed */

/* Counts a batch; pictures[n] is the number of the n-th in its data set, a label below 0 is left out. */
void cnn_report_add(cnn_report *, const cnn_real *logits, const int32_t *labels, const size_t *pictures, int count);

/* Counts become those of all ranks, the same in each, as if one had counted everything in the order of the data. */
void        cnn_report_merge(cnn_report *, cnn_ranks *);

/* Writes the page about the data set that was counted. `weights` says which they are; `metrics` is the text of a
 * metrics.csv whose curves are shown, or NULL. 1, or 0 after cnn_error. */
typedef struct { const cnn_score *score; const char *weights, *metrics; } cnn_about;
int  cnn_report_save(const cnn_report *, const cnn_session *, cnn_dataset *, const cnn_about *, const char *path);

/* ---- checkpoint.c: what a run needs to go on --------------------------------------------------------------------- */

/* Where a run stands: `epoch` epochs are complete and so are `batch` batches of the next; their sums so far; and the
 * accuracy of just these weights on the test set, -1 where it was not measured. */
typedef struct { long epoch, batch, correct; double loss, seconds, accuracy; } cnn_position;

/* Saves weights and state in the folder `out`, keeping the checkpoint before it. 1, or 0 after cnn_error. */
int cnn_checkpoint_save(cnn_session *, const char *out, const cnn_position *);

/* Finds the last whole checkpoint in `out`, takes over the options that were not given, and leaves its state open in the
 * session. Comes before cnn_session_open. 1, or 0 after cnn_error. */
int cnn_checkpoint_find(cnn_session *, const char *out, cnn_position *);

/* Loads what cnn_checkpoint_find found into the opened network. 1, or 0 after cnn_error. */
int cnn_checkpoint_load(cnn_session *, const char *out);

/* ---- metrics.c: metrics.csv -------------------------------------------------------------------------------------- */

typedef struct {
    long     epoch;             /* from 1 */
    uint64_t step;
    double   loss, accuracy, test_loss, test_accuracy, seconds, lr;
    double   wait_ms;           /* that a step has waited for its pictures, in the mean */
    long     pictures;          /* trained on in this epoch */
} cnn_metrics;

/* Makes the file in `out` hold the header and the rows of the first `epochs` epochs; `scored` is what the columns of
 * test_loss and test_accuracy begin with. Then add rows. Each 1, or 0 after cnn_error. */
int cnn_metrics_open(const char *out, const char *scored, long epochs);
int cnn_metrics_add(const char *out, const cnn_metrics *);

/* Its text, or NULL where there is no such file; the caller frees it. 1, or 0 after cnn_error. */
int cnn_metrics_read(const char *out, char **text);

/* ---- config.c, curves.c, folder.c: what else lies in a run's folder ---------------------------------------------- */

/* Writes config.json, or curves.svg, in `out`. 1, or 0 after cnn_error. */
int cnn_config_save(const cnn_session *, const char *out, const cnn_dataset *train, const cnn_dataset *test);
int cnn_curves_save(const cnn_session *, const char *out);

/* Draws the text of a metrics.csv as SVG; `scored` is of cnn_session_scored. 0 where memory is short (no message). */
int cnn_curves_write(FILE *, const char *title, const char *scored, const char *metrics);

typedef struct {
    char   path[CNN_PATH];
    int    lock;                                /* a descriptor, or -1                                              */
    double best;                                /* accuracy of best.safetensors; below 0: there is none             */
} cnn_folder;

/* In this order; each 1, or 0 after cnn_error. Names the folder after --out or the network; locks it, which exists (the
 * error is about --resume where `resume`); then either begins a run in it, setting what an earlier one has left aside
 * as previous.*, or goes on with the one that stands at a position. */
int  cnn_folder_name(cnn_folder *, const cnn_session *);
int  cnn_folder_lock(cnn_folder *, int resume);
int  cnn_folder_begin(cnn_folder *, const cnn_session *, const cnn_dataset *train, const cnn_dataset *test);
int  cnn_folder_resume(cnn_folder *, const cnn_session *, const cnn_dataset *train, const cnn_dataset *test,
                       const cnn_position *);

/* At the end of an epoch, before its checkpoint: the row and the curves, and report.html of what was counted on `data`
 * (NULL: no report). */
int  cnn_folder_epoch(const cnn_folder *, const cnn_session *, const cnn_metrics *);
int  cnn_folder_report(const cnn_folder *, const cnn_session *, long epoch, const cnn_report *, cnn_dataset *data,
                       const cnn_score *);

/* Saves a checkpoint, and names it best where it is. */
int  cnn_folder_save(cnn_folder *, cnn_session *, const cnn_position *);
void cnn_folder_close(cnn_folder *);

/* ---- output.c: result lines -------------------------------------------------------------------------------------- */

typedef struct { int values, heading; struct json_t *object; FILE *table; } cnn_line;

cnn_line cnn_line_begin(const cnn_options *, const char *result);
cnn_line cnn_line_table(FILE *out, int heading);                /* a row of a CSV table; heading 1: of the columns' names */
void cnn_line_real(cnn_line *, const char *name, double value, int decimals);      /* decimals < 0: 1.2e-08 */
void cnn_line_integer(cnn_line *, const char *name, long long value);
void cnn_line_text(cnn_line *, const char *name, const char *value);
void cnn_line_part(cnn_line *, const char *name, const char *total_name, long long value, long long total);
void cnn_line_spread(cnn_line *, const char *name, double min, double median);
void cnn_line_end(cnn_line *);

/* ---- progress.c, profile.c, npy.c -------------------------------------------------------------------------------- */

typedef struct { int on, pictures; long first, total; double started, drawn; char label[64]; } cnn_progress;

cnn_progress cnn_progress_begin(const char *label, long done, long total, int pictures);
void cnn_progress_show(cnn_progress *, long done, const char *figures);
void cnn_progress_end(cnn_progress *);

double cnn_seconds(void);

/* Seconds that each kernel took so far, `last` the end of the one before; and the watch that adds to them. */
typedef struct { double *seconds, last; } cnn_profile;
cnn_watch cnn_profile_watch(cnn_profile *);

/* Begins an array of shape[0..rank) as numpy's .npy, format 1.0, C order: its values follow by cnn_save_put. As cnn_save_begin. */
int cnn_npy_begin(cnn_save *, const char *path, int rank, const int *shape);
/* Writes a whole one. 1, or 0 after cnn_error. */
int cnn_npy_write(const char *path, const cnn_real *values, int rank, const int *shape);

#endif
