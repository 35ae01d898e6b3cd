/* rate.h - schedules: the learning rate of every step of a run, and the momentum where that moves too.
 *
 * A pure function of the step, so that a resumed run goes on as if it had never stopped. Each is what PyTorch's
 * scheduler computes when it is stepped once a training step, not once an epoch, with its epochs times the steps of an
 * epoch; here t counts steps from the end of the warm-up, T is how many there are from there, n the steps of an epoch:
 *   constant    lr
 *   step        lr * gamma^floor(t / (every * n))                         StepLR(every * n, gamma)
 *   multistep   lr * gamma^(how many of milestones[i] * n are <= t)       MultiStepLR
 *   cosine      least + (lr - least) * (1 + cos(pi t / T)) / 2            CosineAnnealingLR(T, least); Loshchilov and
 *                                                                         Hutter 2017, equation 5, without restarts
 *   onecycle    from lr / div_factor up to lr in the first pct_start of T, then down to that rate / final_div_factor, both
 *               along half a cosine; the momentum (Adam: beta1) goes from max_momentum to base_momentum and back
 *                                                                         OneCycleLR(lr, T); Smith and Topin 2018
 *   range       lr * (most / lr)^(t / (T - 1))                            the range test of Smith 2017, section 3.3
 * Before them a warm-up of `warmup` epochs, rounded to whole steps W: lr * (f + (1 - f) * t / W) with f = warmup_from,
 * as SequentialLR([LinearLR(f, total_iters = W), the schedule], [W]) does (Goyal et al. 2017, section 2.2).
 */
#ifndef CNN_RATE_H
#define CNN_RATE_H

#include <stdint.h>

/* In the order of the words of --schedule (option_rows.c); CNN_RANGE is find-lr's. */
typedef enum { CNN_CONSTANT, CNN_STEP, CNN_MULTISTEP, CNN_COSINE, CNN_ONECYCLE, CNN_RANGE } cnn_schedule_kind;

enum { CNN_MILESTONES = 32 };

typedef struct {
    cnn_schedule_kind kind;
    double lr, momentum;                /* momentum: what it is where the schedule leaves it alone                   */
    long   epochs, steps;               /* of the run, 0 or more; of an epoch, 1 or more                             */
    double warmup, warmup_from;         /* epochs; the factor of the first step                                      */
    double gamma, least, most;
    long   every, milestones[CNN_MILESTONES];           /* epochs                                                    */
    int    milestone_count;
    double pct_start, div_factor, final_div_factor, base_momentum, max_momentum;
    int    cycle_momentum;
} cnn_schedule;

/* Reads "30,60,80", epochs from 1 that grow. How many, or -1. */
int cnn_milestones(const char *text, long milestones[CNN_MILESTONES]);

typedef struct { double lr, momentum; } cnn_rate;

/* The rate of step `step`, counted from 0. Beyond the run's last step it stays what it was there. */
cnn_rate cnn_schedule_at(const cnn_schedule *, uint64_t step);

#endif
