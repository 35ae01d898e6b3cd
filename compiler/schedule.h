/* schedule.h - which algorithm computes each kernel at -O2, and with which tiles.
 *
 * Requires: a complete step program with a target. Establishes: kernel->fast and kernel->schedule of every kernel that
 * a family in kernels/ can compute; NULL leaves the textbook loops, with conversions around them (conversions.c).
 */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include "step.h"

/* The --schedule rules against programs as they are built, unscheduled: each must speak of some kernel, and name a
 * family that can compute it; false after an error for each that does not. */
bool check_rules(Diag *, const Program *const programs[], int count);

void schedule_kernels(Program *);
void schedule_kernel(Program *, Kernel *);      /* one, made by a later pass */
void dump_schedule(FILE *, const Program *);

#endif
