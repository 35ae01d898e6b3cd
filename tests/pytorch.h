/* pytorch.h - follows a reference file that tests/golden/make.py or tests/random/run.py
 * made with PyTorch, and compares.
 *
 * The lines of such a file and the values that go in are described at the head of make.py. An error is measured against
 * the largest value of its tensor that the file holds, or the root of their mean square where that is more, or against
 * 1e-3 where all are smaller: the gradient of a bias that batch normalisation removes is 0 but for rounding.
 */
#ifndef PYTORCH_H
#define PYTORCH_H

#include "programs.h"

enum { REFERENCE_SEED = 7 };                    /* the replica's: dropout's masks come from it */

/* `worst` error so far, and how many values were compared. */
typedef struct { Loaded net; const char *name; double tolerance, worst; int compared; } Comparison;

/* Names, order and shapes of the state_dict. */
void expect_state_dict(Comparison *, const char *reference);
/* The first values: `fill` in make.py. */
void fill_parameters(Loaded *);
/* Does what the reference's sections say in their order, and compares line by line. A line "rates LR MOMENTUM DECAY"
 * stands for other rates than those of make.py. */
void follow(Comparison *, const char *reference);

#endif
