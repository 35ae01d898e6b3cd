/* loader.c - a ring of batches and the threads that fill it; see loader.h.
 *
 * Work is handed out in pieces of a few pictures (batch.h), oldest batch first, so that all threads work on the batch
 * that is needed next and a large picture holds up only its own piece. Everything that threads share is read and
 * written under one lock; a piece's pictures belong to the thread that took it. Which pictures a batch has is decided
 * when its place in the ring is free, by whichever thread comes first, in the order of batches.
 *
 * Without threads the same pieces are made by OpenMP's, when the batch is asked for, always in the first place.
 */
#include "loader.h"
#include "batch.h"
#include "commands/output.h"
#include "error.h"

#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARE = 25, STREAK = 3,     /* threads are started where so many batches take over 1/SHARE of a step each */
    PLACES = 3,                 /* one in use, one ready, one being made */
};

struct cnn_loader {
    cnn_making  making;
    cnn_draft   places[PLACES];         /* batch k, as this process counts those it makes, is in
                                         * places[(k - base) % PLACES]; without threads in places[0] */
    int         ahead;                  /* 1: there are threads */
    int         streak;                 /* batches made here that took long, one after the other */
    long        base;
    cnn_batch   taken;
    long        next;                   /* the batch to take */
    double      waited, last;           /* seconds spent waiting; when the batch before was taken */
    cnn_reader *readers;                /* of each thread, or of OpenMP's */
    int         reader_count, here;     /* of them; OpenMP's threads */

    pthread_mutex_t lock;               /* of what follows, and of places[].given, .done, .worst */
    pthread_cond_t  work, ready;        /* there may be something to do; a batch is complete */
    pthread_t  *threads;
    int         started, stopping, preparing;
    long        prepared, filling, released;    /* batches: it is known what is in them; all pieces given; done with */
};

static cnn_draft *place_of(cnn_loader *l, long batch)
{
    return &l->places[l->ahead ? (batch - l->base) % PLACES : 0];
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* Makes the next piece, or prepares the next batch, without the lock while it works. 0 when there is nothing to do. */
static int work(cnn_loader *l, cnn_reader *reader)
{
    const cnn_plan *plan = &l->making.plan;

    if (l->filling < l->prepared) {
        cnn_draft  *p = place_of(l, l->filling);
        int         piece = p->given++;
        cnn_outcome outcome;

        l->filling += p->given == cnn_draft_pieces(p, &l->making);
        pthread_mutex_unlock(&l->lock);
        cnn_draft_piece(p, &l->making, piece, reader, &outcome);
        pthread_mutex_lock(&l->lock);
        cnn_draft_add(p, &outcome);
        if (p->done == cnn_draft_pieces(p, &l->making))
            pthread_cond_signal(&l->ready);
        return 1;
    }
    if (l->preparing || l->prepared == l->released + PLACES || cnn_plan_batch(plan, l->prepared) >= plan->end)
        return 0;
    l->preparing = 1;
    pthread_mutex_unlock(&l->lock);
    cnn_draft_prepare(place_of(l, l->prepared), &l->making, l->prepared);
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
    for (int i = 0; i < abs(l->making.plan.threads); i++) {
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
    int made = 1;

    for (int i = first; i < end; i++)
        made = cnn_draft_room(&l->places[i], &l->making.plan) && made;
    return made;
}

static void free_places(cnn_loader *l, int first)
{
    for (int i = first; i < PLACES; i++)
        cnn_draft_free(&l->places[i]);
}

static int make_room(cnn_loader *l, const cnn_plan *plan)
{
    const int own = abs(plan->threads);

    l->here = omp_get_max_threads();
    l->reader_count = l->here > own ? l->here : own;
    l->readers = calloc((size_t)l->reader_count, sizeof *l->readers);
    l->threads = calloc((size_t)own + 1, sizeof *l->threads);
    return cnn_making_open(&l->making, plan) && make_places(l, 0, 1) && l->readers && l->threads;
}

/* From batch `next` on they are made ahead; the one before is in places[0]. Without memory or threads
 * for that, all stays as it is. */
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
    l->ahead = l->making.plan.threads = 0;
}

cnn_loader *cnn_loader_open(const cnn_plan *plan)
{
    cnn_loader *l = calloc(1, sizeof *l);

    if (l) {
        pthread_mutex_init(&l->lock, NULL);
        pthread_cond_init(&l->work, NULL);
        pthread_cond_init(&l->ready, NULL);
    }
    if (!l || !make_room(l, plan)) {
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
static void make_batch(cnn_loader *l, cnn_draft *p, long batch)
{
    cnn_draft_prepare(p, &l->making, batch);
    const int pieces = cnn_draft_pieces(p, &l->making);
#pragma omp parallel for num_threads(l->here) schedule(dynamic)
    for (int i = 0; i < pieces; i++) {
        cnn_outcome outcome;

        cnn_draft_piece(p, &l->making, i, &l->readers[omp_get_thread_num()], &outcome);
#pragma omp critical(cnn_loader)
        cnn_draft_add(p, &outcome);
    }
}

/* Waits until batch `batch` is complete; the one before is not needed any more. */
static void wait_for(cnn_loader *l, cnn_draft *p, long batch)
{
    pthread_mutex_lock(&l->lock);
    l->released = batch;
    pthread_cond_broadcast(&l->work);
    while (l->prepared <= batch || p->done < cnn_draft_pieces(p, &l->making))
        pthread_cond_wait(&l->ready, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

/* Whether the batch that was made here, by `now` and in `seconds`, is one of several that took long, one after the
 * other. The first does not count: it touches memory and files for the first time. */
static int took_long(cnn_loader *l, double seconds, double now)
{
    l->streak = l->last > 0 && seconds * SHARE > now - l->last ? l->streak + 1 : 0;
    return l->making.plan.threads < 0 && l->streak == STREAK;
}

const cnn_batch *cnn_loader_next(cnn_loader *l)
{
    const double begin = cnn_seconds();
    const long   batch = l->next++;
    cnn_draft   *p = place_of(l, batch);

    if (l->ahead)
        wait_for(l, p, batch);
    else
        make_batch(l, p, batch);
    const double now = cnn_seconds();
    l->waited += now - begin;
    if (!l->ahead && took_long(l, now - begin, now))
        begin_ahead(l, l->next);
    l->last = now;
    if (p->worst.bad < INT_MAX)
        return NULL;
    const int mixed = l->making.plan.mixed;
    l->taken = (cnn_batch){.count = p->count, .x = p->x, .labels = p->labels, .pictures = p->pictures,
                           .other = mixed ? p->other : NULL, .share = mixed ? p->share : NULL};
    return &l->taken;
}

void cnn_loader_report(cnn_loader *l)
{
    const cnn_draft *p = place_of(l, l->next - 1);

    cnn_error("%s\n%s", p->worst.cause, p->worst.mend);
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
    cnn_making_close(&l->making);
    free(l->readers);
    free(l->threads);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->ready);
    free(l);
}
