/* ranks.h - processes (ranks) that train one network together: data parallelism.
 *
 * Every rank holds the whole network and works on its own slice of a global batch of ranks x B pictures. The
 * gradients of all ranks are averaged before the update, so the step is that of one process with a batch of ranks x
 * B. Averaging goes in buckets that are under way while the backward pass still runs (Li et al. 2020, "PyTorch
 * Distributed: Experiences on Accelerating Data Parallel Training", section 3.2.3).
 *
 * All ranks call the same functions in the same order, each in the thread that trains. A NULL cnn_ranks is one process:
 * every function takes it, and none does anything then. Results depend on the number of ranks, but on nothing else of
 * them. What rank 0 prints is the output; the others are silent unless they alone have something to report.
 */
#ifndef CNN_RANKS_H
#define CNN_RANKS_H

#include "trainer.h"

typedef struct cnn_ranks cnn_ranks;

/* Joins the processes of the job where the trainer was compiled for several (cnnc --with=mpi) and the launcher started
 * several; *ranks is NULL otherwise. 1, or 0 after cnn_error. */
int  cnn_ranks_open(const cnn_network *, cnn_ranks **ranks);
/* Leaves them: all have come to their end. */
void cnn_ranks_close(const cnn_network *, cnn_ranks *);

int  cnn_ranks_count(const cnn_ranks *);        /* 1 for NULL  */
int  cnn_ranks_own(const cnn_ranks *);          /* this one's number, from 0; 0 for NULL */

/* Reduces the gradients of `net` from now on, in buckets of about `bucket` bytes, but for buckets that have none of a tensor
 * that is trained: frozen[i] says that tensor i is not (NULL: all are). With `normalise`, batch norms take the statistics of
 * the global batch (Ioffe and Szegedy 2015 over all ranks, as torch.nn.SyncBatchNorm). `net` outlives the ranks. 1, or 0
 * after cnn_error. */
int  cnn_ranks_attach(cnn_ranks *, void *net, const int *frozen, double bucket, int normalise);

/* From now on batch norms take each rank's own statistics, for a look at what one rank computes. */
void cnn_ranks_normalise_alone(cnn_ranks *);

/* Around NAME_gradients: between the two, buckets are sent as soon as they are complete; cnn_ranks_reduce sends the
 * rest, waits, and leaves the mean over all ranks in every gradient. cnn_ranks_overlap may be left out (gradients
 * that are added up over several batches): then everything is sent at the end. */
void cnn_ranks_overlap(cnn_ranks *);
void cnn_ranks_reduce(cnn_ranks *);

/* Called after every kernel of the step as well, where a watch is wanted for another purpose too; NULL: none. */
void cnn_ranks_also(cnn_ranks *, const cnn_watch *);

double cnn_ranks_waited(const cnn_ranks *);     /* seconds that cnn_ranks_reduce has taken so far */

/* values[0..count) become their sums over all ranks, the same bits in each. */
void cnn_ranks_sum(cnn_ranks *, double *values, int count);

/* Whether it went well in all ranks. Where it did not, the first rank that failed has its reports printed. */
int  cnn_ranks_agree(cnn_ranks *, int good);

/* Tensors of all ranks become those of rank 0: all of them with so many of their moments (0, 1 or 2); or running statistics
 * alone. */
void cnn_ranks_share(cnn_ranks *, int moments);
void cnn_ranks_share_buffers(cnn_ranks *);

/* Whether all ranks have the same values of what is learnt, to the bit (by a hash); 0 after cnn_error in all of them.
 * */
int  cnn_ranks_equal(cnn_ranks *);

/* ---- what carries the numbers ------------------------------------------------------------------------------------ */

/* A transport serves one job and is used by one thread. It ends the process, after cnn_error, when another rank
 * cannot be reached any more: no function of it fails. */
struct cnn_transport {
    const char *name;                                           /* "MPI" */
    int  (*begin)(int *rank, int *ranks);                       /* 1, or 0 after cnn_error */
    void (*end)(void);
    void (*sum)(double *values, int count);                     /* over all ranks, in place, the same bits in each */
    void (*copy)(void *bytes, size_t count);                    /* from rank 0 to all */
    void (*start)(cnn_real *values, size_t count);              /* begins to sum; values rest until finish() */
    void (*progress)(void);                                     /* what was started goes on */
    void (*finish)(void);                                       /* waits for all that was started */
};

#endif
