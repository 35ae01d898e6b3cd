/* step.c - layer graph -> step programs: forward, backward and update as lists of kernels on tensors.
 *
 * Requires: a graph whose layers are in execution order, with every shape known.
 * Establishes: programs in which every tensor is written before it is read. A gradient is written by its first
 * contributor and added to by the others (Baydin et al. 2018, "Automatic differentiation in machine learning: a
 * survey", section 3.2, reverse mode); no gradient is computed unless something at or above its tensor learns.
 */
#include <stdlib.h>
#include <string.h>

#include "op.h"

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static Tensor *new_tensor(Program *p, TensorKind kind, const Layer *l, const char *name, int rank, const int64_t *dims)
{
    Tensor *t = NEW(p->arena, Tensor);
    *t = (Tensor){.kind = kind, .layer = l, .name = name, .rank = rank, .storage = t, .first = -1, .last = -1,
                  .number = p->tensors.count};
    memcpy(t->dim, dims, sizeof *dims * (size_t)rank);
    APPEND(p->arena, &p->tensors, t);
    return t;
}

/* One value of the layer's output for each picture of the batch. */
static Tensor *batch_tensor(Program *p, TensorKind kind, const Layer *l, const char *name)
{
    int64_t dims[4] = {p->graph->batch, l->output.dim[0], l->output.dim[1], l->output.dim[2]};
    return new_tensor(p, kind, l, name, l->output.rank + 1, dims);
}

Tensor *activation_of(Program *p, const Layer *l)
{
    Tensor **slot = &p->activation[l->index];
    if (!*slot) {
        *slot = batch_tensor(p, l == p->graph->input ? TENSOR_INPUT : TENSOR_ACTIVATION, l, l->symbol);
        (*slot)->lasts = p->mode == PROGRAM_PREDICT && !p->tuning;      /* NAME_output shows every layer's */
    }
    return *slot;
}

static const Parameter *find_param(const Layer *l, const char *name)
{
    for (int i = 0; i < l->param_count; i++)
        if (strcmp(l->param[i].name, name) == 0)
            return &l->param[i];
    fprintf(stderr, "cnnc: internal error: layer %s has no parameter '%s'\n", l->name, name);
    abort();
}

enum { PARAMETER_KINDS = TENSOR_SECOND_MOMENT - TENSOR_PARAMETER + 1 };

/* A rank-0 parameter (a counter) is an array of one in C. */
static Tensor *parameter_tensor(Program *p, TensorKind kind, const Layer *l, const char *name, const char *place)
{
    const Parameter *param = find_param(l, name);
    Tensor **slot = &p->parameter[PARAMETER_KINDS * param->index + (kind - TENSOR_PARAMETER)];
    const int64_t one = 1;
    if (!*slot)
        *slot = new_tensor(p, kind, l, arena_printf(p->arena, "net->%s.%s", place, param->symbol),
                           param->rank ? param->rank : 1, param->rank ? param->dim : &one);
    return *slot;
}

Tensor *param_of(Program *p, const Layer *l, const char *name)
{
    return parameter_tensor(p, TENSOR_PARAMETER, l, name, "value");
}

Tensor *param_gradient_of(Program *p, const Layer *l, const char *name)
{
    return parameter_tensor(p, TENSOR_PARAM_GRADIENT, l, name, "grad");
}

Tensor *first_moment_of(Program *p, const Layer *l, const char *name)
{
    return parameter_tensor(p, TENSOR_FIRST_MOMENT, l, name, "first");
}

Tensor *saved_of(Program *p, const Layer *l, const char *name, ElementType type, int rank, const int64_t *dims)
{
    const char *full = arena_printf(p->arena, "kept_%s_%s", l->symbol, name);
    for (int i = p->tensors.count - 1; i >= 0; i--)
        if (p->tensors.items[i]->layer == l && strcmp(p->tensors.items[i]->name, full) == 0)
            return p->tensors.items[i];
    Tensor *t = new_tensor(p, TENSOR_SAVED, l, full, rank, dims);
    t->type = type;
    return t;
}

Tensor *gradient_of(Program *p, const Layer *l)
{
    Tensor **slot = &p->gradient[l->index];
    if (!*slot)
        *slot = batch_tensor(p, TENSOR_GRADIENT, l, arena_printf(p->arena, "d_%s", l->symbol));
    return *slot;
}

bool needs_gradient(const Program *p, const Layer *l)
{
    return p->needs_gradient[l->index];
}

/* A view: the same memory and C variable, another shape. */
static Tensor *view_tensor(Program *p, Tensor *of, const Layer *l)
{
    Tensor *view = batch_tensor(p, of->kind, l, of->name);
    view->storage = of->storage;
    view->written = of->written;
    return view;
}

void make_view(Program *p, const Layer *l, const Layer *input)
{
    p->activation[l->index] = view_tensor(p, activation_of(p, input), l);
}

bool make_gradient_view(Program *p, const Layer *l, const Layer *input)
{
    if (!needs_gradient(p, input))
        return true;
    if (input->users > 1 || p->gradient[input->index])
        return false;
    p->gradient[input->index] = view_tensor(p, gradient_of(p, l), input);
    return true;
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

Kernel *add_kernel(Program *p, const KernelDef *def, const Layer *l)
{
    Kernel *k = NEW(p->arena, Kernel);
    k->def = def;
    k->layer = l;
    k->index = p->kernels.count;
    APPEND(p->arena, &p->kernels, k);
    return k;
}

static void add_operand(Kernel *k, const char *role, Tensor *t, Access access)
{
    if (k->operand_count == MAX_OPERANDS) {
        fprintf(stderr, "cnnc: internal error: kernel %s of %s has too many operands\n", k->def->suffix,
                k->layer->name);
        abort();
    }
    k->operand[k->operand_count++] = (Operand){role, t, access};
}

void reads(Kernel *k, const char *role, Tensor *t)
{
    add_operand(k, role, t, OPERAND_READ);
}

void writes(Kernel *k, const char *role, Tensor *t)
{
    add_operand(k, role, t, OPERAND_WRITE);
}

void updates(Kernel *k, const char *role, Tensor *t)
{
    add_operand(k, role, t, OPERAND_UPDATE);
}

void contributes(Program *p, Kernel *k, const char *role, const Layer *input)
{
    Tensor *gradient = gradient_of(p, input);
    k->adds = gradient->written;
    add_operand(k, role, gradient, k->adds ? OPERAND_UPDATE : OPERAND_WRITE);
    gradient->written = true;
}

void forward_elementwise(Program *p, const Layer *l, const KernelDef *def)
{
    Kernel *k = add_kernel(p, def, l);
    reads(k, "X", activation_of(p, l->input[0]));
    writes(k, "Y", activation_of(p, l));
}

void backward_elementwise(Program *p, const Layer *l, const KernelDef *def, Needs needs)
{
    if (!needs_gradient(p, l->input[0]))
        return;
    Kernel *k = add_kernel(p, def, l);
    if (needs & NEED_X)
        reads(k, "X", activation_of(p, l->input[0]));
    if (needs & NEED_Y)
        reads(k, "Y", activation_of(p, l));
    reads(k, "dY", gradient_of(p, l));
    contributes(p, k, "dX", l->input[0]);
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

static bool learns(const Layer *l)
{
    for (int i = 0; i < l->param_count; i++)
        if (l->param[i].trainable)
            return true;
    return false;
}

/* Inputs come before users, so one pass from the front settles it. */
static void find_needed_gradients(Program *p)
{
    for (int i = 0; i < p->graph->layers.count; i++) {
        const Layer *l = p->graph->layers.items[i];
        bool needed = learns(l);
        for (int k = 0; k < l->input_count; k++)
            needed |= p->needs_gradient[l->input[k]->index];
        p->needs_gradient[i] = needed;
    }
}

static void add_forward(Program *p)
{
    for (int i = 0; i < p->graph->layers.count; i++) {
        const Layer *l = p->graph->layers.items[i];
        if (l != p->graph->input)
            l->op->forward(p, l);
    }
}

/* The loss is a layer of its own behind the output: mean softmax cross-entropy of logits and labels. */
static Layer *loss_layer(Program *p)
{
    Layer *l = NEW(p->arena, Layer);
    *l = (Layer){.graph = p->graph->layers.items[0]->graph, .name = "loss", .symbol = "loss",
                 .span = p->graph->output->span, .index = p->graph->layers.count, .input_count = 1,
                 .output = {1, {p->graph->output->output.dim[0], 0, 0}}};
    l->input = NEW_ARRAY(p->arena, Layer *, 1);
    l->input[0] = p->graph->output;
    return l;
}

/* Logits and their gradient are N x K for the loss, though the last layer may be a picture of one pixel. */
static Tensor *flat_view(Program *p, Tensor *t, const Layer *loss)
{
    return t->rank == 2 ? t : view_tensor(p, t, loss);
}

static void add_loss(Program *p, bool backward, const Layer *loss)
{
    const int64_t dims[2] = {p->graph->batch, loss->output.dim[0]}, one = 1;
    Tensor *probabilities = saved_of(p, loss, "P", TYPE_REAL, 2, dims);
    if (!backward) {
        Kernel *k = add_kernel(p, &loss_forward, loss);
        reads(k, "X", flat_view(p, activation_of(p, p->graph->output), loss));
        reads(k, "labels", p->labels);
        writes(k, "P", probabilities);
        Tensor *mean = saved_of(p, loss, "mean", TYPE_REAL, 1, &one);
        mean->lasts = true;                             /* returned */
        writes(k, "loss", mean);
        return;
    }
    Kernel *k = add_kernel(p, &loss_backward, loss);
    reads(k, "P", probabilities);
    reads(k, "labels", p->labels);
    contributes(p, k, "dX", p->graph->output);
    Operand *gradient = &k->operand[k->operand_count - 1];
    gradient->tensor = flat_view(p, gradient->tensor, loss);
}

static void add_backward(Program *p, const Layer *loss)
{
    p->backward_from = p->kernels.count;
    if (!needs_gradient(p, p->graph->output))
        return;
    add_loss(p, true, loss);
    for (int i = p->graph->layers.count - 1; i > 0; i--) {
        const Layer *l = p->graph->layers.items[i];
        if (p->gradient[i] && p->needs_gradient[i])
            l->op->backward(p, l);
    }
}

static void add_rule(Program *p, const KernelDef *def, const Layer *l, const char *name)
{
    Kernel *k = add_kernel(p, def, l);
    reads(k, "dW", param_gradient_of(p, l, name));
    updates(k, "W", param_of(p, l, name));
    updates(k, "V", first_moment_of(p, l, name));
    if (def != &sgd_update)
        updates(k, "S", parameter_tensor(p, TENSOR_SECOND_MOMENT, l, name, "second"));
}

static void add_update(Program *p)
{
    static const KernelDef *const rules[UPDATE_RULES] = {&sgd_update, &adam_update, &rmsprop_update};
    for (int i = 0; i < p->graph->layers.count; i++) {
        const Layer *l = p->graph->layers.items[i];
        for (int j = 0; j < l->param_count; j++)
            for (int r = 0; r < UPDATE_RULES && l->param[j].trainable; r++)
                add_rule(p, rules[r], l, l->param[j].name);
    }
}

bool check_trainable(const Graph *g)
{
    const Layer *out = g->output;
    bool flat = out->output.rank == 1 || (out->output.dim[1] == 1 && out->output.dim[2] == 1);
    if (!flat)
        error_at(g->diag, out->span, out->origin, "the network ends in a picture of %s, but the loss needs one score a "
                 "class\nend with flatten and linear(classes), or with global_avgpool",
                 shape_text(g->arena, &out->output));
    for (int i = 0; i < g->layers.count; i++)
        if (learns(g->layers.items[i]))
            return flat;
    error_at(g->diag, out->span, out->origin, "nothing in this network learns\n"
             "add a layer with parameters, such as linear(classes)");
    return false;
}

static Program *new_program(const Graph *graph, ProgramMode mode, const Tuning *tuning)
{
    Program *p = NEW(graph->arena, Program);
    *p = (Program){.graph = graph, .arena = graph->arena, .mode = mode, .tuning = tuning,
                   .target = tuning ? tuning->target : NULL};
    p->activation = NEW_ARRAY(p->arena, Tensor *, graph->layers.count);
    p->gradient = NEW_ARRAY(p->arena, Tensor *, graph->layers.count);
    int parameters = 0;
    for (int i = 0; i < graph->layers.count; i++)
        parameters += graph->layers.items[i]->param_count;
    p->parameter = NEW_ARRAY(p->arena, Tensor *, PARAMETER_KINDS * parameters + 1);
    p->needs_gradient = NEW_ARRAY(p->arena, bool, graph->layers.count);
    return p;
}

Program *build_program(const Graph *graph, ProgramMode mode, const Tuning *tuning)
{
    Program *p = new_program(graph, mode, tuning);
    if (mode == PROGRAM_UPDATE) {
        add_update(p);
        return p;
    }
    find_needed_gradients(p);
    add_forward(p);
    if (tuning)                 /* logits are copied when all is done */
        activation_of(p, graph->output)->storage->lasts = true;
    p->backward_from = p->kernels.count;
    if (mode == PROGRAM_TRAIN) {
        const int64_t batch = graph->batch;
        p->labels = new_tensor(p, TENSOR_LABELS, graph->output, "labels", 1, &batch);
        p->labels->type = TYPE_INT32;
        const Layer *loss = loss_layer(p);
        add_loss(p, false, loss);
        add_backward(p, loss);
    }
    return p;
}

Program *build_layer_program(const Graph *graph, const Layer *l, const Tuning *tuning)
{
    Program *p = new_program(graph, PROGRAM_TRAIN, tuning);
    for (int i = 0; i < graph->layers.count; i++)
        p->needs_gradient[i] = true;
    l->op->forward(p, l);
    p->backward_from = p->kernels.count;
    gradient_of(p, l);
    l->op->backward(p, l);
    for (int i = 0; i < p->tensors.count; i++) {
        Tensor *t = p->tensors.items[i];
        t->outside = t->kind != TENSOR_SAVED;
    }
    return p;
}
