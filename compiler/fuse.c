/* fuse.c - joins kernels, so that values are used while they are at hand (fuse.h).
 *
 * Requires: kernels chosen by schedule.c, each of which says what its store can do besides (FastKernel.fuses).
 * Establishes: kernel->fuses and the operands it names; kernels that another one does are gone, and tensors that only
 * they used. The rule is the same in both directions of the step: an element-wise kernel moves into the store of the
 * kernel that writes what it reads, when nobody else reads that.
 */
#include "fuse.h"

#include <string.h>

#include "kernels/kernels.h"
#include "schedule.h"
#include "uses.h"

static const struct { const char *name; unsigned bit; } fusions[] = {
    {"fold", FUSION_FOLD}, {"add", FUSION_ADD}, {"relu", FUSION_RELU}, {"relu-gradient", FUSION_RELU_GRADIENT},
    {"statistics", FUSION_STATISTICS}, {"concat", FUSION_CONCAT}, {"gate", FUSION_GATE}, {"copy", FUSION_COPY},
    {"in-place", FUSION_IN_PLACE}, {"bn-sums", FUSION_SUMS}, {"sgd", FUSION_SGD},
};

const char fusion_names[] = "fold, add, relu, gate, relu-gradient, statistics, bn-sums, concat, copy, in-place and sgd";

unsigned fusion_named(const char *name)
{
    for (size_t i = 0; i < sizeof fusions / sizeof *fusions; i++)
        if (strcmp(fusions[i].name, name) == 0)
            return fusions[i].bit;
    return 0;
}

static Tensor *tensor_at(const Kernel *k, const char *role)
{
    return operand_of(k, role)->tensor;
}

/* The role under which a kernel writes its result. */
static const char *result_role(const Kernel *k)
{
    return has_operand(k, "Y") ? "Y" : "dX";
}

/* The kernel that alone writes `t`, which only `reader` reads, and whose store can do `fuse`; NULL: there is none. */
static Kernel *sole_producer(const Uses *u, const Tensor *t, const Kernel *reader, unsigned fuse)
{
    if (!in_arena(t) || t->storage != t || t->lasts || count_uses(u, t, false) != 1 || count_uses(u, t, true) != 1)
        return NULL;
    Kernel *producer = last_writer(u, t, reader);
    if (!producer || !producer->fast || !(producer->fast->fuses & fuse) ||
        !has_operand(producer, result_role(producer)) || tensor_at(producer, result_role(producer)) != t)
        return NULL;
    return producer;
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* Prediction: the convolution's store scales and shifts as the batch norm behind it would. What it needs for that
 * depends on parameters alone and is computed before anything else. */
static void fold(Uses *u, Kernel *k)
{
    Kernel *conv = sole_producer(u, tensor_at(k, "X"), k, FUSE_SCALE);
    if (!conv || conv->fuses)
        return;
    Program *p = u->p;
    Kernel *folding = fold_batchnorm(p, k->layer, NULL);
    p->kernels.count--;
    schedule_kernel(p, folding);
    APPEND(p->arena, &u->first, folding);
    replace_operand(u, conv, "Y", tensor_at(k, "Y"));
    reads(conv, "fold_scale", tensor_at(folding, "fold_scale"));
    reads(conv, "fold_shift", tensor_at(folding, "fold_shift"));
    conv->fuses |= FUSE_SCALE;
    remove_kernel(u, k, "fold", conv);
}

/* Training: the convolution leaves the mean and the squares of each plane or piece for the batch norm behind
 * it. What one that works by pieces (Winograd) spends on them is what batch norm spends where it finds X in
 * the cache: measured on Zen 4. */
static void fuse_statistics(Uses *u, Kernel *k)
{
    Tensor *X = tensor_at(k, "X");
    Kernel *conv = X->storage == X ? last_writer(u, X, k) : NULL;
    if (!conv || !conv->fast || !(conv->fast->fuses & FUSE_STATS) || conv->fuses || count_uses(u, X, true) != 1 ||
        !k->fast || X->rank != 4 || !has_operand(k, "partial"))
        return;
    const bool gains = !conv->fast->pieces || k->schedule.twice > u->p->target->l3 / 2;
    if (!gains && !(u->p->tuning->fuse & FUSION_STATISTICS))
        return;
    writes(conv, "partial", leave_partial(k, conv->fast->pieces ? conv->fast->pieces(conv) : 0));
    conv->fuses |= FUSE_STATS;
    note_fusion(u->p, "statistics", k, conv);
}

/* Y = X1 + X2 in the store of the later of the two. */
static void fuse_add(Uses *u, Kernel *k)
{
    if (k->operand_count != 3 || k->layer->input_count != 2)
        return;
    for (int i = 0; i < 2; i++) {
        Tensor *X = k->operand[i].tensor, *other = k->operand[1 - i].tensor;
        Kernel *producer = sole_producer(u, X, k, FUSE_ADD);
        if (!producer || (producer->fuses & ~(unsigned)FUSE_SCALE))
            continue;
        const Kernel *written = last_writer(u, other->storage, k);
        if (other == X || (written && written->index >= producer->index))
            continue;
        replace_operand(u, producer, "Y", tensor_at(k, "Y"));
        add_use(u, producer, "A", other, OPERAND_READ);
        producer->fuses |= FUSE_ADD;
        remove_kernel(u, k, "add", producer);
        return;
    }
}

static void fuse_relu(Uses *u, Kernel *k)
{
    Kernel *producer = sole_producer(u, tensor_at(k, "X"), k, FUSE_RELU);
    if (!producer || (producer->fuses & (FUSE_RELU | FUSE_STATS)))
        return;
    replace_operand(u, producer, "Y", tensor_at(k, "Y"));
    producer->fuses |= FUSE_RELU;
    remove_kernel(u, k, "relu", producer);
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* A ReLU behind a batch norm: the latter's gradient kernels find from X where the ReLU was open, while they read it. */
static void gate_relu_gradient(Uses *u, Kernel *k)
{
    const Layer *normal = k->layer->input[0];
    Tensor *dX = tensor_at(k, "dX");
    if (normal->op != &op_batchnorm || normal->users != 1 || k->adds || !in_arena(dX) || dX->storage != dX ||
        count_uses(u, dX, true) != 1)
        return;
    const UseList *list = &u->of[dX->number];
    for (int i = 0; i < list->count; i++) {
        const Kernel *user = list->items[i].kernel;
        if (is_removed(user) || user == k)
            continue;
        if (!user->fast || !(user->fast->fuses & FUSE_GATE) || user->layer != normal || tensor_at(user, "dY") != dX)
            return;
    }
    while (list->count > 0) {
        Kernel *user = list->items[list->count - 1].kernel;
        if (is_removed(user) || user == k) {
            u->of[dX->number].count--;
            continue;
        }
        replace_operand(u, user, "dY", tensor_at(k, "dY"));
        gate_batchnorm(u->p, user, tensor_at(k, "dY"));
    }
    remove_kernel(u, k, "gate", NULL);
}

/* dX = dY where Y > 0, in the store of the last kernel that contributes to dY. */
static void fuse_relu_gradient(Uses *u, Kernel *k)
{
    Tensor *dY = tensor_at(k, "dY"), *dX = tensor_at(k, "dX");
    Kernel *last = last_writer(u, dY->storage, k);
    if (k->adds || !last || !last->fast || !(last->fast->fuses & FUSE_MASK) || last->fuses || dX->storage != dX ||
        !has_operand(last, "dX") || tensor_at(last, "dX")->storage != dY->storage ||
        tensor_at(last, "dX")->slice != dY->slice || tensor_at(last, "dX")->dim[1] != dY->dim[1] ||
        dY->rank != dX->rank || !in_arena(dX))
        return;
    const UseList *list = &u->of[dY->storage->number];
    for (int i = 0; i < list->count; i++) {
        const Kernel *user = list->items[i].kernel;
        if (!is_removed(user) && user != k && user->index > last->index)
            return;
    }
    add_use(u, last, "M", tensor_at(k, "Y"), OPERAND_READ);
    last->fuses |= FUSE_MASK;
    remove_kernel(u, k, "relu-gradient", last);
    merge_storage(u, dX, dY->storage, dY->slice);
}

/* Whoever is the last to write a batch norm's dY leaves the sums that its gradients need, and reads X for it: one
 * tensor more through memory for two less. It gains where these are far from the cache when they are read again, and
 * not behind Winograd, which reads X in tiles: measured on Zen 4. */
static void fuse_sums(Uses *u, Kernel *k)
{
    const Tensor *dY = tensor_at(k, "dY");
    Kernel *last = last_writer(u, dY->storage, k);
    if (!last || !last->fast || !(last->fast->fuses & FUSE_SUMS) || last->fuses & FUSE_SUMS || !k->fast ||
        dY->rank != 4 || !has_operand(last, "dX"))
        return;
    const bool gains = !last->fast->pieces && k->schedule.twice > 2 * (int64_t)u->p->target->l3;
    if (!gains && !(u->p->tuning->fuse & FUSION_SUMS))
        return;
    const Tensor *dX = tensor_at(last, "dX");
    if (dX->storage != dY->storage || dX->slice != dY->slice || dX->dim[1] != dY->dim[1] || dX->rank != 4)
        return;
    static const char *const needed[][2] = {{"X", "norm_X"}, {"mean", "norm_mean"}, {"scale", "norm_scale"},
                                            {"inverse_deviation", "norm_inverse_deviation"}, {"shift", "norm_shift"}};
    const int count = k->fuses & FUSE_GATE ? 5 : 2;         /* the others decide where the ReLU behind was open */
    for (int i = 0; i < count; i++)
        add_use(u, last, needed[i][1], tensor_at(k, needed[i][0]), OPERAND_READ);
    writes(last, "partial", leave_partial(k, last->fast->pieces ? last->fast->pieces(last) : 0));
    last->fuses |= FUSE_SUMS;
    last->schedule.streams = false;     /* what it stores is read at once */
    note_fusion(u->p, "bn-sums", k, last);
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

static const struct {
    unsigned    fusion;
    const Op   *op;
    const char *suffix;
    void      (*join)(Uses *, Kernel *);
} rules[] = {
    {FUSION_FOLD, &op_batchnorm, "forward_predict", fold},
    {FUSION_STATISTICS, &op_batchnorm, "forward_train", fuse_statistics},
    {FUSION_ADD, &op_add, "forward", fuse_add},
    {FUSION_RELU, &op_relu, "forward", fuse_relu},
    {FUSION_GATE, &op_relu, "grad_input", gate_relu_gradient},
    {FUSION_RELU_GRADIENT, &op_relu, "grad_input", fuse_relu_gradient},
    {FUSION_SUMS, &op_batchnorm, "grad", fuse_sums},
};

void fuse_kernels(Program *p)
{
    Uses *u = find_uses(p);
    const bool keep = p->mode == PROGRAM_PREDICT && p->tuning->keep_layers;    /* what fusion removes cannot be kept */
    const unsigned allowed = keep ? 0 : ~p->tuning->no_fuse;
    if (allowed & FUSION_COPY)
        share_copies(u);
    if (allowed & FUSION_CONCAT)
        share_slices(u);
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (int i = 0; i < p->kernels.count && (allowed & rules[r].fusion); i++)
            if (is_kernel_of(p->kernels.items[i], rules[r].op, rules[r].suffix))
                rules[r].join(u, p->kernels.items[i]);
    if (allowed & FUSION_IN_PLACE)
        work_in_place(u);
    compact_kernels(u);
    if (p->mode == PROGRAM_TRAIN && (allowed & FUSION_SGD))
        fuse_updates(p);
}

void dump_fusions(FILE *out, const Program *p)
{
    static const char *const names[] = {"predict", "gradients", "update"};
    fprintf(out, "%s\n", names[p->mode]);
    for (int i = 0; i < p->fusions.count; i++)
        fprintf(out, "  %s\n", p->fusions.items[i]);
}
