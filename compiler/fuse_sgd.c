/* fuse_sgd.c - weights that learn where their gradient is complete (Jiang et al. 2021, "Optimizer Fusion", section 3.2:
 * backward fusion).
 *
 * Requires: the training program, its other kernels joined. Establishes: FUSE_SGD of the kernels that complete a
 * weight's gradient and whose family can do it: with a rule (program_text.c) they update W and V in place of storing
 * dW, whose memory then is never touched. W may change only after its last reader: the kernel moves behind the data
 * gradient of its layer. A forward kernel that is repeated (recompute.c) stands before all backward kernels of its
 * layer.
 */
#include <string.h>

#include "fuse.h"
#include "kernels/kernels.h"
#include "uses.h"

static bool reads_tensor(const Kernel *k, const Tensor *t)
{
    for (int o = 0; o < k->operand_count; o++)
        if (k->operand[o].tensor == t && k->operand[o].access == OPERAND_READ)
            return true;
    return false;
}

/* True when `later` writes memory that k reads. */
static bool overwrites(const Kernel *later, const Kernel *k)
{
    for (int o = 0; o < later->operand_count; o++)
        for (int i = 0; i < k->operand_count; i++)
            if (later->operand[o].access != OPERAND_READ &&
                later->operand[o].tensor->storage == k->operand[i].tensor->storage)
                return true;
    return false;
}

/* Moves kernel `from` behind the last reader of W; false where one of those between writes what it reads. */
static bool move_behind_readers(Program *p, int from, const Tensor *W)
{
    Kernel *k = p->kernels.items[from];
    int to = from;
    for (int i = from + 1; i < p->kernels.count; i++)
        if (reads_tensor(p->kernels.items[i], W))
            to = i;
    for (int i = from + 1; i <= to; i++)
        if (overwrites(p->kernels.items[i], k))
            return false;
    memmove(&p->kernels.items[from], &p->kernels.items[from + 1], sizeof *p->kernels.items * (size_t)(to - from));
    p->kernels.items[to] = k;
    for (int i = from; i <= to; i++)
        p->kernels.items[i]->index = i;
    return true;
}

void fuse_updates(Program *p)
{
    for (int i = p->backward_from; i < p->kernels.count; i++) {
        Kernel *k = p->kernels.items[i];
        if (!k->fast || !(k->fast->fuses & FUSE_SGD) || (k->fuses & FUSE_SGD))
            continue;
        Tensor *W = param_of(p, k->layer, "weight");
        if (!move_behind_readers(p, i, W))
            continue;
        updates(k, "W", W);
        updates(k, "velocity", first_moment_of(p, k->layer, "weight"));
        k->fuses |= FUSE_SGD;
        note_fusion(p, "sgd", k, NULL);
        i--;                            /* another kernel stands here now, or this one, which is done */
    }
}
