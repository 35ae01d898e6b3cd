/* program_text.c - each step program as one C function: where its tensors lie, and the calls of its kernels in order.
 *
 * Requires: programs placed by memory.c, and functions named by shared_kernels.c. Establishes: NAME_predict,
 * NAME_gradients, NAME_update and NAME_step. At -O2 neighbouring fast kernels are called in one parallel region;
 * textbook kernels, which fork their own, stand between regions.
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "unit.h"

/* Whole tensors, and views of some channels, which have a name of their own. */
static bool has_place(const Tensor *t)
{
    return in_arena(t->storage) && (t->storage == t || t->name != t->storage->name) && t->first >= 0;
}

/* Views of the same channels share one name: the first of them is declared. */
static bool is_declared(const Program *p, int i)
{
    const Tensor *t = p->tensors.items[i];
    if (t->storage == t)
        return false;
    for (int k = 0; k < i; k++)
        if (p->tensors.items[k]->storage == t->storage && p->tensors.items[k]->name == t->name &&
            has_place(p->tensors.items[k]))
            return true;
    return false;
}

static const char *place_text(Arena *arena, const Tensor *t)
{
    int64_t offset = t->storage->offset / 4 + slice_offset(t);
    return offset ? arena_printf(arena, "void *%s = arena + %lld;", t->name, (long long)offset)
                  : arena_printf(arena, "void *%s = arena;", t->name);
}

/* One local pointer a tensor: where it lies in the arena. */
static void write_places(Emitter *e, const Program *p)
{
    int width = 0;
    for (int i = 0; i < p->tensors.count; i++)
        if (has_place(p->tensors.items[i]) && (int)strlen(place_text(p->arena, p->tensors.items[i])) > width)
            width = (int)strlen(place_text(p->arena, p->tensors.items[i]));
    raw(e, "    real *arena = net->arena;");
    raw(e, "    const void *input = x;");
    for (int i = 0; i < p->tensors.count; i++) {
        const Tensor *t = p->tensors.items[i];
        if (!has_place(t) || is_declared(p, i))
            continue;
        const char *life = p->mode == PROGRAM_PREDICT ? ""
                         : arena_printf(p->arena, ", kernels %d to %d", t->first, t->last);
        raw(e, "    %-*s /* %s%s */", width, place_text(p->arena, t), tensor_shape(p->arena, t), life);
    }
}

static void write_call(Emitter *e, const Program *p, const Kernel *k, const char *margin)
{
    const char *items[MAX_OPERANDS + 4];
    int count = 0;
    if (k->sizes)
        items[count++] = k->sizes;
    if (k->def->random) {
        items[count++] = "net->seed";
        items[count++] = "net->step";
    }
    if (k->def->targets)
        items[count++] = "net->target";
    if (k->def->exchanges && p->graph->exchanges)
        items[count++] = "net->exchange";
    for (int i = 0; i < k->operand_count; i++)
        items[count++] = k->operand[i].tensor->name;
    if (k->fuses & FUSE_SGD)
        items[count++] = arena_printf(p->arena, "RULE(%d)", tensor_index(operand_of(k, "dW")->tensor));
    wrapped(e, arena_printf(p->arena, "%s%s(%d, %s(", margin, k->index < p->backward_from ? "RUN" : "BACK", k->index,
                            kernel_function(p->arena, p, k)), items, count, "));");
}

/* Fast kernels are called by every thread of a region, textbook kernels by one thread that forks its own. */
static void write_calls(Emitter *e, const Program *p, int from, int to)
{
    bool inside = false;
    for (int i = from; i < to; i++) {
        const Kernel *k = p->kernels.items[i];
        if (k->fast && !inside)
            raw(e, "#pragma omp parallel\n    {\n        const unsigned mode = flush_denormals();");
        if (!k->fast && inside)
            raw(e, "        restore_denormals(mode);\n    }");
        inside = k->fast != NULL;
        if (i == p->backward_from && p->graph->exchanges && p->mode == PROGRAM_TRAIN)
            raw(e, "%sshare_loss(net->exchange, kept_loss_mean);", inside ? "        " : "    ");
        if (i == p->backward_from && i > from)
            raw(e, "\n%s/* backward */", inside ? "        " : "    ");
        write_call(e, p, k, inside ? "        " : "    ");
    }
    if (inside)
        raw(e, "        restore_denormals(mode);\n    }");
}

/* Rows may be longer than there are classes. */
static void write_logits(Emitter *e, const Program *p)
{
    const Tensor *output = p->activation[p->graph->output->index];
    int64_t batch = p->graph->batch, classes = shape_count(&p->graph->output->output);
    raw(e, "    if (logits)");
    if (physical_count(output) == batch * classes) {
        raw(e, "        memcpy(logits, %s, sizeof(real) * %lld);", output->name, (long long)(batch * classes));
        return;
    }
    raw(e, "        for (int n = 0; n < %lld; n++)", (long long)batch);
    raw(e, "            memcpy(logits + %lld * n, (const real *)%s + %lld * n, sizeof(real) * %lld);",
        (long long)classes, output->name, (long long)(physical_count(output) / batch), (long long)classes);
}

static void write_gradients(Emitter *e, const Graph *g, const Program *p)
{
    raw(e, "/* Tensors that are never alive at the same time share memory: \"kernels a to b\" is a tensor's life.");
    raw(e, " * A loss that is not finite has no gradients: the backward kernels rest. */");
    raw(e, "real %s_gradients(%s *net, const real *x, const int32_t *labels, real *logits)\n{", g->name, g->name);
    write_places(e, p);
    raw(e, "    const real *loss = kept_loss_mean;");
    raw(e, "\n    /* forward */");
    if (p->target) {            /* forward and backward in one region */
        write_calls(e, p, 0, p->kernels.count);
        write_logits(e, p);
    } else {
        write_calls(e, p, 0, p->backward_from);
        write_logits(e, p);
        raw(e, "\n    /* backward */");
        write_calls(e, p, p->backward_from, p->kernels.count);
    }
    raw(e, "    return *loss;\n}\n");
}

static void write_predict(Emitter *e, const Graph *g, const Program *p)
{
    if (!p->target || p->tuning->keep_layers)
        raw(e, "/* Every layer keeps its output here, so that it can be looked at afterwards (%s_output). */", g->name);
    raw(e, "void %s_predict(%s *net, const real *x, real *logits)\n{", g->name, g->name);
    write_places(e, p);
    raw(e, "    net->pictures = x;\n");
    write_calls(e, p, 0, p->kernels.count);
    write_logits(e, p);
    raw(e, "}\n");
}

/* Does some kernel of the training program update its weights? */
static bool learns_early(const Program *train)
{
    for (int i = train->backward_from; i < train->kernels.count; i++)
        if (train->kernels.items[i]->fuses & FUSE_SGD)
            return true;
    return false;
}

static void write_early(Emitter *e, const Program *train)
{
    bool *early = NEW_ARRAY(train->arena, bool, tensor_count(train->graph) + 1);
    for (int i = train->backward_from; i < train->kernels.count; i++)
        if (train->kernels.items[i]->fuses & FUSE_SGD)
            early[tensor_index(operand_of(train->kernels.items[i], "dW")->tensor)] = true;
    const char *text = "static const unsigned char early[TENSORS] = {";
    raw(e, "/* 1: in a step of SGD the kernel that completes this tensor's gradient updates it at once. */");
    for (int i = 0; i < tensor_count(train->graph); i++)
        text = arena_printf(train->arena, "%s%s%d", text, i == 0 ? "" : i % 38 ? ", " : ",\n    ", early[i]);
    raw(e, "%s};\n", text);
}

static void write_update(Emitter *e, const Graph *g, const Program *train)
{
    const bool fast = train->target != NULL, early = learns_early(train);
    const char *margin = fast ? "    " : "";
    if (early)
        write_early(e, train);
    raw(e, "void %s_update(%s *net, const cnn_update *u)\n{", g->name, g->name);
    if (fast)
        raw(e, "#pragma omp parallel\n    {\n        const unsigned mode = flush_denormals();");
    raw(e, "%s    for (int i = 0; i < TENSORS; i++) {", margin);
    raw(e, "%s        const cnn_rule rule = cnn_rule_of(u, net->step, i);", margin);
    raw(e, "%s        const int learns = tensor_table[i].trainable && !net->frozen[i]%s;", margin,
        early ? " && !(net->learning && early[i])" : "");
    raw(e, "%s        const size_t count = learns ? %s : 0;", margin,
        fast ? "tensor_place[i].room" : "tensor_table[i].count");
    raw(e, "%s        real *dW = at(&net->grad, i), *W = at(&net->value, i), *V = at(&net->first, i), "
        "*S = at(&net->second, i);",
        margin);
    raw(e, "%s        if (u->optimizer == CNN_SGD)", margin);
    raw(e, "%s            sgd_update(count, dW, W, V, &rule);", margin);
    raw(e, "%s        else if (u->optimizer == CNN_RMSPROP)", margin);
    raw(e, "%s            rmsprop_update(count, dW, W, V, S, &rule);", margin);
    raw(e, "%s        else", margin);
    raw(e, "%s            adam_update(count, dW, W, V, S, &rule);", margin);
    raw(e, "%s    }", margin);
    if (fast)
        raw(e, "        restore_denormals(mode);\n    }");
    raw(e, "    net->step++;\n}\n");
}

/* With SGD the early tensors learn while gradients runs, the others after it. */
static void write_step(Emitter *e, const Graph *g, const Program *train)
{
    const bool early = learns_early(train);
    raw(e, "real %s_step(%s *net, const real *x, const int32_t *labels, real *logits, const cnn_update *u)\n{", g->name,
        g->name);
    if (early) {
        raw(e, "    net->learning = u->optimizer == CNN_SGD;");
        raw(e, "    for (int i = 0; i < TENSORS; i++)");
        raw(e, "        net->rule[i] = cnn_rule_of(u, net->step, i);");
    }
    raw(e, "    const real loss = %s_gradients(net, x, labels, logits);", g->name);
    raw(e, "    if (isfinite(loss))");
    raw(e, "        %s_update(net, u);", g->name);
    if (early)
        raw(e, "    net->learning = 0;");
    raw(e, "    return loss;\n}\n");
}

static void write_macros(Emitter *e, const Program *p)
{
    raw(e, "/* Tells the watch that kernel i is complete. */");
    if (p->target) {
        raw(e, "static inline void tell(const cnn_watch *watch, int i)\n{");
        raw(e, "    if (!watch)\n        return;");
        raw(e, "#pragma omp barrier\n#pragma omp master\n    watch->after(watch->context, i);");
        raw(e, "    if (watch->waits) {\n#pragma omp barrier\n    }\n}\n");
    } else {
        raw(e, "static inline void tell(const cnn_watch *watch, int i)\n{");
        raw(e, "    if (watch)\n        watch->after(watch->context, i);\n}\n");
    }
    raw(e, "/* Calls kernel i. */");
    raw(e, "#define RUN(i, call) do { call; tell(net->watch, i); } while (0)");
    raw(e, "/* Calls backward kernel i, which may rest while tensors are frozen. */");
    raw(e, "#define BACK(i, call) do { if (!net->idle[i] && isfinite(*loss)) RUN(i, call); } while (0)%s",
        learns_early(p) ? "" : "\n");
    if (learns_early(p)) {
        raw(e, "/* How tensor i learns as soon as its gradient is complete; NULL: the gradient is stored. */");
        raw(e, "#define RULE(i) (net->learning && !net->frozen[i] ? &net->rule[i] : NULL)\n");
    }
}

/* A rank without gradients must not leave the others waiting for its sums. */
static void write_share_loss(Emitter *e)
{
    raw(e, "/* Where batch norms are over all ranks, so is the loss: all ranks have gradients, or none. */");
    raw(e, "static inline void share_loss(const cnn_exchange *exchange, real *loss)\n{");
    raw(e, "    if (!exchange || !exchange->sum)\n        return;");
    raw(e, "#pragma omp barrier\n#pragma omp master\n    {");
    raw(e, "        exchange->sum(exchange->context, loss, 1);");
    raw(e, "        *loss /= exchange->ranks;\n    }\n#pragma omp barrier\n}\n");
}

void write_programs(Emitter *e, const Graph *g, const Unit *u)
{
    raw(e, "/* ---- programs ---- */\n");
    if (g->exchanges)
        write_share_loss(e);
    write_macros(e, u->train);
    write_idle(e, g, u->train);
    write_predict(e, g, u->predict);
    write_gradients(e, g, u->train);
    write_update(e, g, u->train);
    write_step(e, g, u->train);
}
