/* batch.c - which pictures a batch has, and how it is made of pieces; see batch.h. */
#include "batch.h"
#include "augment.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 16, PIECE_VALUES = 1 << 16 };    /* a piece has at most that many pairs, and about that many values */

/* ---- what batches are made from ---------------------------------------------------------------------------------- */

long cnn_plan_batch(const cnn_plan *plan, long i)
{
    const long ranks = plan->ranks > 1 ? plan->ranks : 1, rounds = plan->batches / ranks;
    const long left = (plan->batches - plan->first % plan->batches) / ranks;    /* rounds of the first epoch */

    if (!plan->shuffled || i < left)
        return plan->first + i * ranks + plan->rank;
    if (rounds == 0)
        return plan->end;
    i -= left;
    return (plan->first / plan->batches + 1 + i / rounds) * plan->batches + i % rounds * ranks + plan->rank;
}

int cnn_making_open(cnn_making *m, const cnn_plan *plan)
{
    const int pairs = (int)(PIECE_VALUES / plan->pixels / 2);

    *m = (cnn_making){.plan = *plan, .ordered = SIZE_MAX, .pairs = pairs < 1 ? 1 : pairs > PIECE ? PIECE : pairs};
    if (!plan->shuffled)
        return 1;
    m->order = calloc(plan->size, sizeof *m->order);
    return m->order != NULL;
}

void cnn_making_close(cnn_making *m)
{
    free(m->order);
}

/* ---- one batch --------------------------------------------------------------------------------------------------- */

int cnn_draft_room(cnn_draft *d, const cnn_plan *plan)
{
    const size_t batch = (size_t)plan->batch;

    d->pictures = calloc(batch, sizeof *d->pictures);
    d->x = calloc(batch * plan->pixels, sizeof *d->x);
    d->labels = calloc(batch, sizeof *d->labels);
    d->other = calloc(batch, sizeof *d->other);
    d->share = calloc(batch, sizeof *d->share);
    return d->pictures && d->x && d->labels && d->other && d->share;
}

void cnn_draft_free(cnn_draft *d)
{
    free(d->pictures);
    free(d->x);
    free(d->labels);
    free(d->other);
    free(d->share);
    *d = (cnn_draft){0};
}

int cnn_draft_pieces(const cnn_draft *d, const cnn_making *m)
{
    int pairs = (d->count + 1) / 2;

    return (pairs + m->pairs - 1) / m->pairs;
}

void cnn_draft_prepare(cnn_draft *d, cnn_making *m, long i)
{
    const cnn_plan *plan = &m->plan;
    const long      batch = cnn_plan_batch(plan, i);
    size_t          epoch = (size_t)(batch / plan->batches);
    size_t          first = (size_t)(batch % plan->batches) * (size_t)plan->batch, left = plan->size - first;

    if (plan->shuffled && m->ordered != epoch) {
        cnn_shuffle(m->order, plan->size, plan->seed, (uint32_t)epoch);
        m->ordered = epoch;
    }
    d->epoch = (uint32_t)epoch;
    d->count = left < (size_t)plan->batch ? (int)left : plan->batch;
    for (int n = 0; n < d->count; n++)
        d->pictures[n] = plan->shuffled ? m->order[first + (size_t)n] : first + (size_t)n;
    memset(d->x + (size_t)d->count * plan->pixels, 0,
           (size_t)(plan->batch - d->count) * plan->pixels * sizeof *d->x);
    d->given = d->done = 0;
    d->worst.bad = INT_MAX;
}

static void make_picture(cnn_draft *d, const cnn_making *m, int n, cnn_reader *reader, cnn_outcome *outcome)
{
    const cnn_plan *plan = &m->plan;
    cnn_real       *x = d->x + (size_t)n * plan->pixels;
    int             status = plan->read(plan->source, d->pictures[n], d->epoch, reader, x, &d->labels[n]);

    for (size_t tried = 1; status == 1 && d->labels[n] < 0 && plan->replaces; tried++) {
        d->pictures[n] = (d->pictures[n] + 1) % plan->size;
        status = tried == plan->size ? cnn_picture_fail(&reader->picture, "see which ones it has",
                                                        "no picture of the data "
                                                        "set can be read")
                                     : plan->read(plan->source, d->pictures[n], d->epoch, reader, x, &d->labels[n]);
    }
    d->share[n] = reader->changes.share;
    if (status == 1 || n > outcome->bad)
        return;
    outcome->bad = n;
    memcpy(outcome->cause, reader->picture.cause, sizeof outcome->cause);
    outcome->mend = reader->picture.mend;
}

void cnn_draft_piece(cnn_draft *d, const cnn_making *m, int piece, cnn_reader *reader, cnn_outcome *outcome)
{
    const size_t pixels = m->plan.pixels;
    const int    pairs = (d->count + 1) / 2, first = piece * m->pairs;

    *outcome = (cnn_outcome){.bad = INT_MAX};
    for (int n = first; n < first + m->pairs && n < pairs; n++) {
        int opposite = d->count - 1 - n;

        make_picture(d, m, n, reader, outcome);
        if (opposite != n)
            make_picture(d, m, opposite, reader, outcome);
        d->other[n] = d->labels[opposite];
        d->other[opposite] = d->labels[n];
        if (m->plan.mixed && opposite != n)
            cnn_mix(d->x + (size_t)n * pixels, d->x + (size_t)opposite * pixels, pixels, d->share[n],
                    d->share[opposite]);
    }
}

void cnn_draft_add(cnn_draft *d, const cnn_outcome *outcome)
{
    d->done++;
    if (outcome->bad < d->worst.bad)
        d->worst = *outcome;
}
