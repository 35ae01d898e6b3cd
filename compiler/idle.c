/* idle.c - which backward kernels rest while some tensors are frozen: the tables and the function that decides it.
 *
 * Requires: the training program. Establishes, in the generated file: a table of what each backward kernel gives and
 * takes, and mark_idle, which walks it from the last kernel to the first (dead-code elimination at run time, as which
 * tensors are frozen is known only then). Gradients are numbered from 1: those of the tensors in state_dict order,
 * then those in the arena; 0 is none.
 */
#include <stdlib.h>
#include <string.h>

#include "op.h"
#include "unit.h"

enum { MAX_GIVES = 6, MAX_TAKES = 8 };

typedef struct { int gives[MAX_GIVES], takes[MAX_TAKES]; } Flow;

/* The number of a gradient; 0 for any other tensor. Arena gradients get theirs when they are first met. */
static int gradient_number(const Graph *g, const Tensor *t, const Tensor **met, int *met_count)
{
    if (t->kind == TENSOR_PARAM_GRADIENT)
        return 1 + tensor_index(t);
    if (t->storage->kind != TENSOR_GRADIENT)
        return 0;
    for (int i = *met_count - 1; i >= 0; i--)
        if (met[i] == t->storage)
            return 1 + tensor_count(g) + i;
    met[(*met_count)++] = t->storage;
    return tensor_count(g) + *met_count;
}

static void add_number(int *list, int limit, int number, const Kernel *k)
{
    for (int i = 0; number && i < limit; i++)
        if (list[i] == 0) {
            list[i] = number;
            return;
        }
    if (number) {
        fprintf(stderr, "cnnc: internal error: kernel %s of %s uses too many gradients\n", k->def->suffix,
                k->layer->name);
        abort();
    }
}

static Flow kernel_flow(const Graph *g, const Kernel *k, const Tensor **met, int *met_count)
{
    Flow flow = {{0}, {0}};
    for (int o = 0; o < k->operand_count; o++) {
        int number = gradient_number(g, k->operand[o].tensor, met, met_count);
        if (k->operand[o].access == OPERAND_READ)
            add_number(flow.takes, MAX_TAKES, number, k);
        else
            add_number(flow.gives, MAX_GIVES, number, k);
    }
    return flow;
}

/* "{  1,   0}" */
static const char *numbers_text(Arena *arena, const int *numbers, int count)
{
    const char *text = "{";
    for (int i = 0; i < count; i++)
        text = arena_printf(arena, "%s%3d%s", text, numbers[i], i + 1 < count ? ", " : "}");
    return text;
}

/* How many numbers a row of the table holds: those that its fullest kernel needs, but two and three at least. */
static void find_widths(const Flow *flow, int count, int *gives, int *takes)
{
    *gives = 2;
    *takes = 3;
    for (int k = 0; k < count; k++) {
        for (int i = *gives; i < MAX_GIVES; i++)
            *gives = flow[k].gives[i] ? i + 1 : *gives;
        for (int i = *takes; i < MAX_TAKES; i++)
            *takes = flow[k].takes[i] ? i + 1 : *takes;
    }
}

static void write_table(Emitter *e, const Program *p, int *gives, int *takes)
{
    const Tensor **met = NEW_ARRAY(p->arena, const Tensor *, p->tensors.count + 1);
    int met_count = 0, count = p->kernels.count - p->backward_from;
    Flow *flow = NEW_ARRAY(p->arena, Flow, count + 1);
    for (int i = 0; i < count; i++)
        flow[i] = kernel_flow(p->graph, p->kernels.items[p->backward_from + i], met, &met_count);
    find_widths(flow, count, gives, takes);
    const int gradients = 1 + tensor_count(p->graph) + met_count;
    for (int i = 0; i < count; i++)
        if (!flow[i].gives[0])          /* it gives no gradient: never idle */
            flow[i].gives[0] = gradients;
    raw(e, "/* The gradients that each backward kernel gives and takes: 1 + i is tensor i's, higher ones lie in the");
    raw(e, " * arena. */");
    raw(e, "static const struct { int gives[%d], takes[%d]; } flow[] = {", *gives, *takes);
    for (int i = 0; i < count; i++)
        raw(e, "    {%s, %s},  /* %3d %s */", numbers_text(p->arena, flow[i].gives, *gives),
            numbers_text(p->arena, flow[i].takes, *takes), p->backward_from + i,
            kernel_function(p->arena, p, p->kernels.items[p->backward_from + i]));
    raw(e, "};\n");
    raw(e, "enum { BACKWARD = %d, KERNELS = %d, GRADIENTS = %d };\n", p->backward_from, p->kernels.count, gradients);
}

/* A kernel of -O2 may give no gradient itself, or several. */
static void write_rest(Emitter *e, bool fast, int gives)
{
    if (!fast) {
        raw(e, "        net->idle[BACKWARD + k] = !needed[flow[k].gives[0]] && !needed[flow[k].gives[1]];");
        return;
    }
    raw(e, "        net->idle[BACKWARD + k] = 1;");
    raw(e, "        for (int i = 0; i < %d; i++)", gives);
    raw(e, "            if (flow[k].gives[i] == GRADIENTS || needed[flow[k].gives[i]])");
    raw(e, "                net->idle[BACKWARD + k] = 0;     /* GRADIENTS: a copy, say, gives none and never rests */");
}

void write_idle(Emitter *e, const Graph *g, const Program *train)
{
    int gives, takes;
    write_table(e, train, &gives, &takes);
    raw(e, "/* A kernel is needed when it gives the gradient of a tensor that learns, or one that a needed kernel");
    raw(e, " * takes. */");
    raw(e, "static void mark_idle(%s *net)\n{", g->name);
    raw(e, "    unsigned char needed[GRADIENTS] = {0};");
    raw(e, "    for (int i = 0; i < TENSORS; i++)");
    raw(e, "        needed[1 + i] = tensor_table[i].trainable && !net->frozen[i];");
    raw(e, "    for (int k = KERNELS - BACKWARD - 1; k >= 0; k--) {");
    write_rest(e, train->target != NULL, gives);
    raw(e, "        for (int i = 0; i < %d && !net->idle[BACKWARD + k]; i++)", takes);
    raw(e, "            if (flow[k].takes[i])");
    raw(e, "                needed[flow[k].takes[i]] = 1;");
    raw(e, "    }\n}\n");
}
