/* recompute.c - activation checkpointing (recompute.h).
 *
 * A forward kernel is run once more, before the first backward kernel that reads its result; in between the result need
 * not be kept. What it reads is alive then: a layer's input is kept for its own backward kernels, which run later
 * still. Where that input is itself computed again, it is so earlier, for its first reader is now the repeated kernel.
 *
 * Which ones: at the moment when most bytes are alive, of the activations that wait there without
 * being used, those that cost least to compute again (element-wise ones and batch norms before
 * products), the largest first; until it fits.
 */
#include "recompute.h"

#include <string.h>

#include "kernels/kernels.h"
#include "uses.h"

/* ---- what can be computed again ---------------------------------------------------------------------------------- */

static Tensor *result_of(const Kernel *k)
{
    return has_operand(k, "Y") ? operand_of(k, "Y")->tensor : NULL;
}

static bool is_batchnorm(const Kernel *k)
{
    return k->layer->op == &op_batchnorm;
}

/* Nothing else than its result and scratch may be written: a second run leaves no trace.
 * Batch norms are only applied. */
static bool is_repeatable(const Program *p, const Kernel *k)
{
    const Tensor *Y = result_of(k);
    if (k->index >= p->backward_from || !k->fast || !Y || Y->storage != Y || Y->kind != TENSOR_ACTIVATION || Y->lasts)
        return false;
    for (int o = 0; o < k->operand_count; o++) {
        const Operand *operand = &k->operand[o];
        bool scratch = operand->tensor->kind == TENSOR_SAVED && operand->tensor->layout.fixed;
        if (operand->access == OPERAND_UPDATE && !is_batchnorm(k))
            return false;
        if (operand->access == OPERAND_WRITE && operand->tensor != Y && !scratch && !is_batchnorm(k))
            return false;
    }
    for (int i = 0; i < p->tensors.count; i++)
        if (p->tensors.items[i]->storage == Y && p->tensors.items[i] != Y)
            return false;                       /* others look into it */
    return true;
}

static bool uses(const Kernel *k, const Tensor *t)
{
    for (int o = 0; o < k->operand_count; o++)
        if (k->operand[o].tensor->storage == t)
            return true;
    return false;
}

/* The kernel that writes t, when it alone does and can be repeated; NULL otherwise. */
static Kernel *maker_of(const Program *p, const Tensor *t)
{
    Kernel *maker = NULL;
    for (int i = 0; i < p->backward_from; i++) {
        Kernel *k = p->kernels.items[i];
        for (int o = 0; o < k->operand_count; o++)
            if (k->operand[o].tensor->storage == t && k->operand[o].access != OPERAND_READ) {
                if (maker)
                    return NULL;
                maker = k;
            }
    }
    return maker && result_of(maker) == t && is_repeatable(p, maker) ? maker : NULL;
}

/* ---- repeating it ------------------------------------------------------------------------------------------------ */

static Tensor *copy_of(Program *p, const Tensor *t)
{
    Tensor *copy = NEW(p->arena, Tensor);
    *copy = *t;
    copy->storage = copy;
    copy->first = copy->last = -1;
    copy->number = p->tensors.count;
    copy->name = arena_printf(p->arena, "%s_again", t->name);
    for (int i = 0, ordinal = 2; i < p->tensors.count; i++)
        if (strcmp(p->tensors.items[i]->name, copy->name) == 0) {
            copy->name = arena_printf(p->arena, "%s_again_%d", t->name, ordinal++);
            i = -1;
        }
    APPEND(p->arena, &p->tensors, copy);
    return copy;
}

/* The kernel that makes k's result again: without what else k does. */
static Kernel *repeat_kernel(Program *p, const Kernel *k, Tensor *result)
{
    Kernel *again = NEW(p->arena, Kernel);
    *again = *k;
    again->operand_count = 0;
    again->fuses &= ~(unsigned)FUSE_STATS;
    if (is_batchnorm(k)) {
        again->def = &batchnorm_apply;
        again->fast = batchnorm_apply.fast[0];
        again->schedule = (Schedule){.text = "shared among threads"};
    }
    for (int o = 0; o < k->operand_count; o++) {
        const Operand *operand = &k->operand[o];
        bool kept = strcmp(operand->role, "mean") == 0 || strcmp(operand->role, "inverse_deviation") == 0;
        if (strcmp(operand->role, "partial") == 0)
            continue;               /* statistics, which are known */
        if (operand->tensor == result_of(k))
            writes(again, operand->role, result);
        else if (operand->access == OPERAND_READ || (is_batchnorm(k) && kept))
            reads(again, operand->role, operand->tensor);
        else if (!is_batchnorm(k))
            writes(again, operand->role, copy_of(p, operand->tensor));
    }
    return again;
}

static void insert_kernel(Program *p, Kernel *k, int at)
{
    APPEND(p->arena, &p->kernels, k);
    memmove(&p->kernels.items[at + 1], &p->kernels.items[at],
            sizeof *p->kernels.items * (size_t)(p->kernels.count - 1 - at));
    p->kernels.items[at] = k;
    for (int i = at; i < p->kernels.count; i++)
        p->kernels.items[i]->index = i;
}

/* From its first backward reader on, everybody reads the repeated result. */
static void forget(Program *p, Kernel *maker)
{
    Tensor *t = result_of(maker), *result = copy_of(p, t);
    int first = -1;
    for (int i = p->backward_from; i < p->kernels.count; i++) {
        Kernel *k = p->kernels.items[i];
        for (int o = 0; o < k->operand_count; o++)
            if (k->operand[o].tensor == t) {
                k->operand[o].tensor = result;
                first = first < 0 ? i : first;
            }
    }
    insert_kernel(p, repeat_kernel(p, maker, result), first);
}

/* ---- which ones -------------------------------------------------------------------------------------------------- */

/* The kernel during which most bytes are alive. */
static int fullest_kernel(const Program *p)
{
    int64_t most = -1;
    int fullest = 0;
    for (int i = 0; i < p->kernels.count; i++) {
        int64_t alive = alive_bytes(p, i);
        if (alive > most) {
            most = alive;
            fullest = i;
        }
    }
    return fullest;
}

/* Multiply-adds for each byte that is saved: what a choice costs. */
static double cost_of(const Kernel *k, const Tensor *t)
{
    return k->def->counts ? (double)k->layer->macs * k->layer->graph->batch / (double)tensor_bytes(t) : 0;
}

/* Of the activations that wait at kernel `at`, the one to forget; NULL: none is left. */
static Kernel *cheapest_to_forget(const Program *p, int at)
{
    Kernel *best = NULL;
    double best_cost = 0;
    int64_t best_bytes = 0;
    for (int i = 0; i < p->tensors.count; i++) {
        const Tensor *t = p->tensors.items[i];
        if (t->kind != TENSOR_ACTIVATION || t->storage != t || t->first < 0 || t->first >= at || t->last <= at ||
            t->first >= p->backward_from || t->last < p->backward_from || uses(p->kernels.items[at], t))
            continue;
        Kernel *maker = maker_of(p, t);
        if (!maker)
            continue;
        double cost = cost_of(maker, t);
        if (!best || cost < best_cost || (cost == best_cost && tensor_bytes(t) > best_bytes)) {
            best = maker;
            best_cost = cost;
            best_bytes = tensor_bytes(t);
        }
    }
    return best;
}

bool fit_memory(Program *p, int64_t limit)
{
    plan_memory(p);
    p->least_arena = p->arena_bytes;
    while (p->arena_bytes > limit) {
        Kernel *maker = cheapest_to_forget(p, fullest_kernel(p));
        if (!maker)
            return false;
        note_fusion(p, "recompute", maker, NULL);
        forget(p, maker);
        plan_memory(p);
        p->least_arena = p->arena_bytes < p->least_arena ? p->arena_bytes : p->least_arena;
    }
    return true;
}
