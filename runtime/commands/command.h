/* command.h - the commands of the trainer's command line.
 *
 * A command is a function from a session (session.h) to an exit status. It writes lines of results (output.h); what a
 * training run leaves in its folder is in train/run.h. Nothing but argp exits.
 */
#ifndef CNN_COMMAND_H
#define CNN_COMMAND_H

#include "output.h"
#include "session.h"
#include "train/run.h"

#include <signal.h>

enum { CNN_OK, CNN_FAILED, CNN_USAGE };         /* exit status; after a signal it is 128 + its number */

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

/* ---- evaluate.c: loss and accuracy ------------------------------------------------------------------------------- */

/* The class of the largest logit, the first of equals; *probability (unless NULL) is its softmax. */
int  cnn_best_class(const cnn_real *logits, int classes, double *probability);
double cnn_probability(const cnn_real *logits, int classes, int class);
void cnn_score_add(cnn_score *, const cnn_real *logits, const int32_t *labels, int count, int classes);

/* Scores a split with the network as it is, and counts for a report (NULL: none). 1, or 0 after cnn_error, or when a
 * signal came first. `label` heads the progress bar. */
int  cnn_evaluate(cnn_session *, cnn_dataset *, const char *label, cnn_score *, cnn_report *);

/* Opens the session with the weights of --weights, and the split that is asked for; where unlabelled, pictures without
 * labels will do. What eval and predict begin with. NULL after cnn_error. */
cnn_dataset *cnn_open_weights_and_data(cnn_session *, int unlabelled);

#endif
