/* session.h - what a command works with: the options, the generated network, the buffers of one batch, the other ranks.
 *
 * main.c fills in the options (options.h), the command opens the session, main.c closes it. Errors are reported where they
 * are found (error.h) and travel up as 0.
 */
#ifndef CNN_SESSION_H
#define CNN_SESSION_H

#include "data/data.h"
#include "data/normal.h"
#include "options.h"
#include "ranks/ranks.h"
#include "files/safetensors.h"
#include "files/save.h"
#include "trainer.h"

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

#endif
