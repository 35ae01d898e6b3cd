/* recompute.h - activation checkpointing: forgets activations after the forward pass and computes them again when the
 * backward pass wants them, until the step fits a limit.
 *
 * Chen et al. 2016, "Training deep nets with sublinear memory cost", section 3.
 */
#ifndef RECOMPUTE_H
#define RECOMPUTE_H

#include "step.h"

/* Requires: a training program with layouts. Establishes: a placed program (memory.c) whose arena takes at most `limit`
 * bytes; false: none was found, and program->least_arena is the smallest that was met on the way. */
bool fit_memory(Program *, int64_t limit);

#endif
