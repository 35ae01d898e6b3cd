/* run.h - what a training run leaves in its folder: checkpoints, metrics, curves, the report; and why a run ends.
 *
 * Errors are reported where they are found (error.h) and travel up as 0.
 */
#ifndef CNN_RUN_H
#define CNN_RUN_H

#include "commands/session.h"

#include <stdio.h>

/* `folder`/`name` into room[4096]; 0 after cnn_error when it is too long. */
enum { CNN_PATH = 4096 };
int  cnn_path(char room[CNN_PATH], const char *folder, const char *name);
int  cnn_make_folder(const char *path);         /* with its parents; 1, or 0 after cnn_error                        */

/* ---- finite.c: why a loss is no number --------------------------------------------------------------------------- */

/* Runs the last step, which has changed no weights, again on its batch, and names the first tensor that is not finite:
 * "output of conv3 (forward)". 0 where all are finite. */
int cnn_find_not_finite(cnn_session *, const cnn_real *x, const int32_t *labels, char *text, size_t size);

/* Of weights that an update has made not finite, names the first that a backward pass comes to: "conv3.weight". 0 where all
 * are finite. */
int cnn_find_broken(const cnn_session *, char *text, size_t size);

/* ---- report.c: report.html --------------------------------------------------------------------------------------- */

typedef struct { double loss; long correct, pictures; } cnn_score;      /* loss is a sum over pictures              */
typedef struct cnn_report cnn_report;

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

#endif
