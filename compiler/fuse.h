/* fuse.h - joins neighbouring kernels of a step program, so that values are used while they are at hand.
 *
 * Requires: kernels chosen by schedule.c. Establishes: kernel->fuses and the operands it names; kernels that were
 * joined to another are gone. Each fusion has a name, by which -fno-fuse=NAME switches it off.
 */
#ifndef FUSE_H
#define FUSE_H

#include "step.h"

enum { FUSION_FOLD = 1, FUSION_ADD = 2, FUSION_RELU = 4, FUSION_RELU_GRADIENT = 8, FUSION_STATISTICS = 16,
       FUSION_CONCAT = 32, FUSION_COPY = 64, FUSION_IN_PLACE = 128, FUSION_GATE = 256, FUSION_SUMS = 512,
       FUSION_SGD = 1024 };

unsigned fusion_named(const char *name);        /* its FUSION_*; 0: there is none                               */
extern const char fusion_names[];               /* "fold, add, ..."                                             */

void fuse_kernels(Program *);
void fuse_updates(Program *);                   /* fuse_sgd.c: its last part                                    */
void dump_fusions(FILE *, const Program *);     /* what was joined, one line each                               */

#endif
