/* loader.c - a ring of batches and the threads that fill it; see loader.h.
 *
 * Work is handed out in pieces of a few pictures, oldest batch first, so that all threads work on the batch that is
 * needed next and a large picture holds up only its own piece. A piece has the pictures of positions [a, b) and those
 * opposite, [count - b, count - a): mixup mixes opposite pictures, so no piece waits for another. Everything that
 * threads share is read and written under one lock; a piece's pictures belong to the thread that took it.
 *
 * Which pictures a batch has is decided when its place in the ring is free (prepare), by whichever thread comes first,
 * in the order of batches. A batch with bad pictures is made to its end, and reports the one of the lowest position: so
 * the message does not depend on who was faster.
 *
 * Without threads the same pieces are made by OpenMP's, when the batch is asked for, always in the first place.
 */
#include "loader.h"
#include "augment.h"
#include "commands/command.h"
#include "error.h"

#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARE = 25, STREAK = 3,     /* threads are started where so many batches take over one part in SHARE of a step each */
    PLACES = 3,                 /* one in use, one ready, one being made */
    PIECE = 16, PIECE_VALUES = 1 << 16,         /* a piece has at most that many pairs, and about that many values */
};

typedef struct {
    uint32_t epoch;
    int      count, given, done;        /* pictures; pieces handed out; pieces complete */
    size_t  *pictures;
    cnn_real *x;
    int32_t *labels, *other;
    float   *share;
    int      bad;                       /* the lowest position that failed; INT_MAX: none */
    char     cause[CNN_CAUSE];          /* of that one */
    const char *mend;
} Place;

struct cnn_loader {
    cnn_plan    plan;
    Place       places[PLACES];         /* batch k, as this process counts those it makes, is in places[(k - base) % PLACES];
                                         * without threads in places[0] */
    int         ahead;                  /* 1: there are threads */
    int         streak;                 /* batches made here that took long, one after the other */
    long        base;
    size_t     *order, ordered;         /* of the pictures in epoch `ordered`, SIZE_MAX: none yet */
    int         pairs;                  /* of a piece */
    cnn_batch   taken;
    long        next;                   /* the batch to take */
    double      waited, last;           /* seconds spent waiting; when the batch before was taken */
    cnn_reader *readers;                /* of each thread, or of OpenMP's */
    int         reader_count;

    pthread_mutex_t lock;               /* of what follows, and of places[].given, .done, .bad, .cause, .mend */
    pthread_cond_t  work, ready;        /* there may be something to do; a batch is complete */
    pthread_t  *threads;
    int         started, stopping, preparing;
    long        prepared, filling, released;    /* batches: known what is in them; all pieces given; not needed any more */
};

static Place *place_of(cnn_loader *l, long batch)
{
    return &l->places[l->ahead ? (batch - l->base) % PLACES : 0];
}

static int pieces_of(const cnn_loader *l, const Place *p)
{
    int pairs = (p->count + 1) / 2;

    return (pairs + l->pairs - 1) / l->pairs;
}

/* ---- making a batch ---------------------------------------------------------------------------------------------- */

/* The batch, counted from the beginning of epoch 0, that this process makes as its i-th; plan->end or more: there is none. */
static long batch_of(const cnn_plan *plan, long i)
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

/* Decides which pictures this process's i-th batch has. */
static void prepare(cnn_loader *l, long i)
{
    const cnn_plan *plan = &l->plan;
    const long      batch = batch_of(plan, i);
    Place          *p = place_of(l, i);
    size_t          epoch = (size_t)(batch / plan->batches);
    size_t          first = (size_t)(batch % plan->batches) * (size_t)plan->batch, left = plan->size - first;

    if (plan->shuffled && l->ordered != epoch) {
        cnn_shuffle(l->order, plan->size, plan->seed, (uint32_t)epoch);
        l->ordered = epoch;
    }
    p->epoch = (uint32_t)epoch;
    p->count = left < (size_t)plan->batch ? (int)left : plan->batch;
    for (int n = 0; n < p->count; n++)
        p->pictures[n] = plan->shuffled ? l->order[first + (size_t)n] : first + (size_t)n;
    memset(p->x + (size_t)p->count * plan->pixels, 0,
           (size_t)(plan->batch - p->count) * plan->pixels * sizeof *p->x);
    p->given = p->done = 0;
    p->bad = INT_MAX;
}

typedef struct { int bad; char cause[CNN_CAUSE]; const char *mend; } Outcome;

static void make_picture(cnn_loader *l, Place *p, int n, cnn_reader *reader, Outcome *outcome)
{
    const cnn_plan *plan = &l->plan;
    cnn_real       *x = p->x + (size_t)n * plan->pixels;
    int             status = plan->read(plan->source, p->pictures[n], p->epoch, reader, x, &p->labels[n]);

    for (size_t tried = 1; status == 1 && p->labels[n] < 0 && plan->replaces; tried++) {
        p->pictures[n] = (p->pictures[n] + 1) % plan->size;
        status = tried == plan->size ? cnn_picture_fail(&reader->picture, "see which ones it has", "no picture of the data "
                                                        "set can be read")
                                     : plan->read(plan->source, p->pictures[n], p->epoch, reader, x, &p->labels[n]);
    }
    p->share[n] = reader->changes.share;
    if (status == 1 || n > outcome->bad)
        return;
    outcome->bad = n;
    memcpy(outcome->cause, reader->picture.cause, sizeof outcome->cause);
    outcome->mend = reader->picture.mend;
}

/* Makes the pictures of one piece. */
static void make_piece(cnn_loader *l, Place *p, int piece, cnn_reader *reader, Outcome *outcome)
{
    const size_t pixels = l->plan.pixels;
    const int    pairs = (p->count + 1) / 2, first = piece * l->pairs;

    *outcome = (Outcome){.bad = INT_MAX};
    for (int n = first; n < first + l->pairs && n < pairs; n++) {
        int opposite = p->count - 1 - n;

        make_picture(l, p, n, reader, outcome);
        if (opposite != n)
            make_picture(l, p, opposite, reader, outcome);
        p->other[n] = p->labels[opposite];
        p->other[opposite] = p->labels[n];
        if (l->plan.mixed && opposite != n)
            cnn_mix(p->x + (size_t)n * pixels, p->x + (size_t)opposite * pixels, pixels, p->share[n],
                    p->share[opposite]);
    }
}

static void add_outcome(Place *p, const Outcome *outcome)
{
    p->done++;
    if (outcome->bad >= p->bad)
        return;
    p->bad = outcome->bad;
    memcpy(p->cause, outcome->cause, sizeof p->cause);
    p->mend = outcome->mend;
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* Makes the next piece, or prepares the next batch, without the lock while it works. 0 when there is nothing to do. */
static int work(cnn_loader *l, cnn_reader *reader)
{
    if (l->filling < l->prepared) {
        Place  *p = place_of(l, l->filling);
        int     piece = p->given++;
        Outcome outcome;

        l->filling += p->given == pieces_of(l, p);
        pthread_mutex_unlock(&l->lock);
        make_piece(l, p, piece, reader, &outcome);
        pthread_mutex_lock(&l->lock);
        add_outcome(p, &outcome);
        if (p->done == pieces_of(l, p))
            pthread_cond_signal(&l->ready);
        return 1;
    }
    if (l->preparing || batch_of(&l->plan, l->prepared) >= l->plan.end || l->prepared == l->released + PLACES)
        return 0;
    l->preparing = 1;
    pthread_mutex_unlock(&l->lock);
    prepare(l, l->prepared);
    pthread_mutex_lock(&l->lock);
    l->preparing = 0;
    l->prepared++;
    pthread_cond_broadcast(&l->work);
    return 1;
}

typedef struct { cnn_loader *loader; cnn_reader *reader; } Worker;

static void *run(void *argument)
{
    cnn_loader *l = ((Worker *)argument)->loader;
    cnn_reader *reader = ((Worker *)argument)->reader;

    free(argument);
    pthread_mutex_lock(&l->lock);
    while (!l->stopping)
        if (!work(l, reader))
            pthread_cond_wait(&l->work, &l->lock);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Signals are for the thread that trains. */
static void start_threads(cnn_loader *l)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i < abs(l->plan.threads); i++) {
        Worker *worker = malloc(sizeof *worker);

        if (worker)
            *worker = (Worker){l, &l->readers[i]};
        if (!worker || pthread_create(&l->threads[l->started], NULL, run, worker) != 0) {
            free(worker);
            break;
        }
        l->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- the public interface ---------------------------------------------------------------------------------------- */

/* Room for batches in places [first, end). 0 where memory is short. */
static int make_places(cnn_loader *l, int first, int end)
{
    const size_t batch = (size_t)l->plan.batch;
    int          made = 1;

    for (int i = first; i < end; i++) {
        Place *p = &l->places[i];

        p->pictures = calloc(batch, sizeof *p->pictures);
        p->x = calloc(batch * l->plan.pixels, sizeof *p->x);
        p->labels = calloc(batch, sizeof *p->labels);
        p->other = calloc(batch, sizeof *p->other);
        p->share = calloc(batch, sizeof *p->share);
        made = made && p->pictures && p->x && p->labels && p->other && p->share;
    }
    return made;
}

static void free_places(cnn_loader *l, int first)
{
    for (int i = first; i < PLACES; i++) {
        Place *p = &l->places[i];

        free(p->pictures);
        free(p->x);
        free(p->labels);
        free(p->other);
        free(p->share);
        *p = (Place){0};
    }
}

static int make_room(cnn_loader *l)
{
    const int here = omp_get_max_threads(), own = abs(l->plan.threads);

    l->order = l->plan.shuffled ? calloc(l->plan.size, sizeof *l->order) : NULL;
    l->reader_count = here > own ? here : own;
    l->readers = calloc((size_t)l->reader_count, sizeof *l->readers);
    l->threads = calloc((size_t)own + 1, sizeof *l->threads);
    return make_places(l, 0, 1) && (l->order || !l->plan.shuffled) && l->readers && l->threads;
}

/* From batch `next` on they are made ahead; the one before is in places[0]. Without memory or threads for that, all stays
 * as it is. */
static void begin_ahead(cnn_loader *l, long next)
{
    l->ahead = make_places(l, 1, PLACES);
    l->base = l->released = next - 1;
    l->prepared = l->filling = next;
    if (l->ahead)
        start_threads(l);
    if (l->started > 0)
        return;
    free_places(l, 1);
    l->ahead = l->plan.threads = 0;
}

cnn_loader *cnn_loader_open(const cnn_plan *plan)
{
    cnn_loader *l = calloc(1, sizeof *l);

    if (l) {
        l->plan = *plan;
        l->ordered = SIZE_MAX;
        l->pairs = (int)(PIECE_VALUES / plan->pixels / 2);
        l->pairs = l->pairs < 1 ? 1 : l->pairs > PIECE ? PIECE : l->pairs;
        pthread_mutex_init(&l->lock, NULL);
        pthread_cond_init(&l->work, NULL);
        pthread_cond_init(&l->ready, NULL);
    }
    if (!l || !make_room(l)) {
        cnn_error("there is not enough memory for a batch of %d pictures\ncompile the network with a smaller batch "
                  "(cnnc --batch)", plan->batch);
        cnn_loader_close(l);
        return NULL;
    }
    if (plan->threads > 0)
        begin_ahead(l, 0);
    return l;
}

/* Makes a whole batch here and now. */
static void make_batch(cnn_loader *l, Place *p, long batch)
{
    prepare(l, batch);
    const int pieces = pieces_of(l, p);
#pragma omp parallel for num_threads(l->reader_count) schedule(dynamic)
    for (int i = 0; i < pieces; i++) {
        Outcome outcome;

        make_piece(l, p, i, &l->readers[omp_get_thread_num()], &outcome);
#pragma omp critical(cnn_loader)
        add_outcome(p, &outcome);
    }
}

/* Waits until batch `batch` is complete; the one before is not needed any more. */
static void wait_for(cnn_loader *l, Place *p, long batch)
{
    pthread_mutex_lock(&l->lock);
    l->released = batch;
    pthread_cond_broadcast(&l->work);
    while (l->prepared <= batch || p->done < pieces_of(l, p))
        pthread_cond_wait(&l->ready, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

/* Whether the batch that was made here, by `now` and in `seconds`, is one of several that took long, one after the other. The
 * first does not count: it touches memory and files for the first time. */
static int took_long(cnn_loader *l, double seconds, double now)
{
    l->streak = l->last > 0 && seconds * SHARE > now - l->last ? l->streak + 1 : 0;
    return l->plan.threads < 0 && l->streak == STREAK;
}

const cnn_batch *cnn_loader_next(cnn_loader *l)
{
    const double begin = cnn_seconds();
    const long   batch = l->next++;
    Place       *p = place_of(l, batch);

    if (l->ahead)
        wait_for(l, p, batch);
    else
        make_batch(l, p, batch);
    const double now = cnn_seconds();
    l->waited += now - begin;
    if (!l->ahead && took_long(l, now - begin, now))
        begin_ahead(l, l->next);
    l->last = now;
    if (p->bad < INT_MAX)
        return NULL;
    l->taken = (cnn_batch){.count = p->count, .x = p->x, .labels = p->labels, .pictures = p->pictures,
                           .other = l->plan.mixed ? p->other : NULL, .share = l->plan.mixed ? p->share : NULL};
    return &l->taken;
}

void cnn_loader_report(cnn_loader *l)
{
    const Place *p = place_of(l, l->next - 1);

    cnn_error("%s\n%s", p->cause, p->mend);
}

double cnn_loader_waited(const cnn_loader *l)
{
    return l->waited;
}

void cnn_loader_close(cnn_loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = 1;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->started; i++)
        pthread_join(l->threads[i], NULL);
    for (int i = 0; l->readers && i < l->reader_count; i++)
        cnn_reader_free(&l->readers[i]);
    free_places(l, 0);
    free(l->order);
    free(l->readers);
    free(l->threads);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->ready);
    free(l);
}
