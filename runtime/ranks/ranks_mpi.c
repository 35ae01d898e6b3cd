/* ranks_mpi.c - the transport of ranks.h over MPI 3 (Message Passing Interface Forum 2015).
 *
 * Linked only into trainers of cnnc --with=mpi: trainer.h names cnn_transport_mpi for them. All calls come from the
 * thread that called main (MPI_THREAD_FUNNELED): outside of parallel regions, or in their master. Gradients and
 * blocking sums have a communicator each, so that a sum in the middle of the backward pass (batch norms) needs no
 * order among the buckets that are under way.
 *
 * Waiting is polling: other processes may need the core, and a signal must be noticed. When a rank dies, the launcher
 * ends the others with SIGTERM, within a second at mpirun; what they wait for will not come, and rank 0 says what is left.
 */
#include "ranks.h"
#include "commands/command.h"
#include "error.h"

#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define REAL_TYPE (sizeof(cnn_real) == sizeof(double) ? MPI_DOUBLE : MPI_FLOAT)

/* One job a process, as MPI has it. */
static struct {
    MPI_Comm     gradients, sums;
    MPI_Request *requests;              /* that are under way */
    int          count, room, own;
} job;

/* Ends the job when a call has failed. */
static void check(int code, const char *call)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int  length = 0;

    if (code == MPI_SUCCESS)
        return;
    MPI_Error_string(code, text, &length);
    cnn_error("rank %d: another process of the job cannot be reached (%s: %s)\n'train --resume' continues from "
              "the last checkpoint, on any number of ranks", job.own, call, text);
    cnn_error_print_kept("");
    MPI_Abort(MPI_COMM_WORLD, CNN_FAILED);
    exit(CNN_FAILED);
}

/* Waits until all requests are done. */
static void wait_for(MPI_Request *requests, int count, const char *call)
{
    const double patience = 0.3;        /* seconds */
    double       begin = 0;
    int          done = 0, said = 0;

    for (;;) {
        check(MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE), call);
        if (done)
            return;
        sched_yield();
        if (cnn_signal && begin == 0)
            begin = cnn_seconds();
        if (cnn_signal && !said && job.own == 0 && cnn_seconds() - begin > patience) {
            cnn_warn("signal %d: waiting for the other ranks to finish the step\nwhere one is lost, the "
                     "launcher ends the job, and 'train --resume' continues from the last checkpoint", (int)cnn_signal);
            said = 1;
        }
    }
}

static int begin(int *rank, int *ranks)
{
    int level;

    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS || level < MPI_THREAD_FUNNELED) {
        cnn_error("this MPI library does not allow threads beside the one that sends (MPI_THREAD_FUNNELED)\nuse "
                  "one that does; Debian's libopenmpi3 is one");
        return 0;
    }
    check(MPI_Comm_dup(MPI_COMM_WORLD, &job.gradients), "MPI_Comm_dup");
    check(MPI_Comm_dup(MPI_COMM_WORLD, &job.sums), "MPI_Comm_dup");
    MPI_Comm_set_errhandler(job.gradients, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(job.sums, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, ranks);
    job.own = *rank;
    return 1;
}

static void end(void)
{
    MPI_Comm_free(&job.gradients);
    MPI_Comm_free(&job.sums);
    MPI_Finalize();
    free(job.requests);
}

static void sum(double *values, int count)
{
    MPI_Request request;

    check(MPI_Iallreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE, MPI_SUM, job.sums, &request), "MPI_Iallreduce");
    wait_for(&request, 1, "MPI_Iallreduce");
}

static void copy(void *bytes, size_t count)
{
    for (size_t at = 0; at < count; ) {
        const int   now = count - at < INT_MAX ? (int)(count - at) : INT_MAX;
        MPI_Request request;

        check(MPI_Ibcast((char *)bytes + at, now, MPI_BYTE, 0, job.sums, &request), "MPI_Ibcast");
        wait_for(&request, 1, "MPI_Ibcast");
        at += (size_t)now;
    }
}

static void start(cnn_real *values, size_t count)
{
    if (job.count == job.room) {
        job.room = 2 * job.room + 16;
        job.requests = realloc(job.requests, (size_t)job.room * sizeof *job.requests);
        if (job.requests == NULL)
            abort();            /* some bytes for each bucket: there is no going on without */
    }
    check(MPI_Iallreduce(MPI_IN_PLACE, values, (int)count, REAL_TYPE, MPI_SUM, job.gradients,
                         &job.requests[job.count]), "MPI_Iallreduce");
    job.count++;
}

static void progress(void)
{
    int done;

    check(MPI_Testall(job.count, job.requests, &done, MPI_STATUSES_IGNORE), "MPI_Iallreduce");
}

static void finish(void)
{
    wait_for(job.requests, job.count, "MPI_Iallreduce");
    job.count = 0;
}

const cnn_transport cnn_transport_mpi = {"MPI", begin, end, sum, copy, start, progress, finish};
