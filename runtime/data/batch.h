/* batch.h - a batch in the making: which pictures it has, and the pieces that it is made of. For loader.c alone.
 *
 * A piece has the pictures of positions [a, b) and those opposite, [count - b, count - a): mixup mixes opposite
 * pictures, so no piece waits for another, and pieces may be made by several threads at once. A batch with bad pictures
 * is made to its end, and reports the one of the lowest position: so the message does not depend on who was faster.
 */
#ifndef CNN_BATCH_H
#define CNN_BATCH_H

#include "loader.h"

/* What a loader's batches are made from. */
typedef struct {
    cnn_plan plan;
    size_t  *order, ordered;            /* of the pictures in epoch `ordered`, SIZE_MAX: none yet                     */
    int      pairs;                     /* of a piece                                                                 */
} cnn_making;

/* How a piece came out: the lowest position that failed, and why; INT_MAX: none. */
typedef struct {
    int         bad;
    char        cause[CNN_CAUSE];
    const char *mend;
} cnn_outcome;

typedef struct {
    uint32_t    epoch;
    int         count, given, done;     /* pictures; pieces handed out; pieces complete                               */
    size_t     *pictures;
    cnn_real   *x;
    int32_t    *labels, *other;         /* as in cnn_batch                                                            */
    float      *share;
    cnn_outcome worst;                  /* of the pieces that are complete                                            */
} cnn_draft;

/* The batch, counted from the beginning of epoch 0, that this process makes as its i-th;
 * plan->end or more: there is none. */
long cnn_plan_batch(const cnn_plan *, long i);

int  cnn_making_open(cnn_making *, const cnn_plan *);           /* 0 where memory is short; close it all the same     */
void cnn_making_close(cnn_making *);

int  cnn_draft_room(cnn_draft *, const cnn_plan *);             /* likewise; a draft is zeroed before                 */
void cnn_draft_free(cnn_draft *);

/* Decides which pictures the draft has: those of this process's i-th batch. One thread at a time, in the order of i. */
void cnn_draft_prepare(cnn_draft *, cnn_making *, long i);

/* Makes one of its pieces. Neither this nor the number of pieces touches given, done and worst. */
int  cnn_draft_pieces(const cnn_draft *, const cnn_making *);
void cnn_draft_piece(cnn_draft *, const cnn_making *, int piece, cnn_reader *, cnn_outcome *);

/* Counts a piece that is complete. One thread at a time. */
void cnn_draft_add(cnn_draft *, const cnn_outcome *);

#endif
