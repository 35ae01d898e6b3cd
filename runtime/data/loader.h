/* loader.h - batches that are made while the network works on the one before.
 *
 * A loader makes the batches of some epochs, in order, into a ring of a few. Its threads read pictures ahead of the one
 * who takes batches; without threads a batch is made when it is asked for, by the threads that OpenMP has. Where the
 * choice is left to the loader it begins without, and starts threads when a batch takes a noticeable share of
 * the time from one batch to the next: small pictures in memory are ready before a thread is woken. What is
 * in a batch is always the same.
 */
#ifndef CNN_LOADER_H
#define CNN_LOADER_H

#include "data.h"

/* What to load. `source` is handed to read; nothing here may change while the loader is open. */
typedef struct {
    /* Writes picture `picture`, as it is in `epoch`, to x[0..pixels) and its label; -1 is the label of one that is left
     * out, and black. 1, or 0 or -1 with a cause in reader->picture. Called by many
     * threads, each with its own reader. */
    int       (*read)(void *source, size_t picture, uint32_t epoch, cnn_reader *, cnn_real *x, int32_t *label);
    void       *source;
    size_t      size, pixels;           /* pictures there are; values of one                                          */
    int         batch;                  /* pictures of a batch                                                        */
    int         shuffled;               /* each epoch in the order of cnn_shuffle(seed, epoch); 0: as they are        */
    uint64_t    seed;
    int         mixed;                  /* picture n is mixed with the one of position count - 1 - n, by              */
                                        /* reader->changes.share                                                      */
    int         replaces;               /* in the place of a picture that is left out comes the next one that is not  */
    long        batches;                /* of an epoch; the last one may have fewer than `batch` pictures             */
    long        first, end;             /* batches to make, counted from the beginning of epoch 0                     */
    int         rank, ranks;            /* of `ranks` processes that share them, this one makes batch `rank` of every */
                                        /* `ranks`; where they are shuffled, of an epoch's last few that are fewer,   */
                                        /* nobody makes any. ranks 0 or 1: all are its own                            */
    int         threads;                /* 0: none of its own; below 0: that many, once making a batch takes long     */
} cnn_plan;

/* Good until the next one is taken. Pictures beyond count are black. */
typedef struct {
    int            count;
    cnn_real      *x;                   /* [batch][pixels]                                                            */
    const int32_t *labels;
    const int32_t *other;               /* of mixed pictures: the label of the other one,                             */
    const float   *share;               /* and the share of the first; both NULL where nothing is mixed               */
    const size_t  *pictures;            /* which they are                                                             */
} cnn_batch;

typedef struct cnn_loader cnn_loader;

/* Begins to load. NULL after cnn_error where memory is short. Threads that cannot be had are done without. */
cnn_loader *cnn_loader_open(const cnn_plan *);

/* The next batch; waits until it is made. NULL where one of its pictures is bad; cnn_loader_report then says by
 * cnn_error which is the first, and why. */
const cnn_batch *cnn_loader_next(cnn_loader *);
void cnn_loader_report(cnn_loader *);

double cnn_loader_waited(const cnn_loader *);           /* seconds that cnn_loader_next has taken so far              */

/* Ends its threads, whatever they are at. NULL is allowed. */
void cnn_loader_close(cnn_loader *);

#endif
