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

enum { MAX_GIVES = 2, MAX_TAKES = 3 };

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

static void write_table(Emitter *e, const Program *p)
{
    const Tensor **met = NEW_ARRAY(p->arena, const Tensor *, p->tensors.count + 1);
    int met_count = 0;
    raw(e, "/* The gradients that each backward kernel gives and takes: 1 + i is tensor i's, higher ones lie in the arena. */");
    raw(e, "static const struct { int gives[%d], takes[%d]; } flow[] = {", MAX_GIVES, MAX_TAKES);
    for (int i = p->backward_from; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        Flow f = kernel_flow(p->graph, k, met, &met_count);
        raw(e, "    {{%3d, %3d}, {%3d, %3d, %3d}},  /* %3d %s */", f.gives[0], f.gives[1], f.takes[0], f.takes[1],
            f.takes[2], i, kernel_function(p->arena, p, k));
    }
    raw(e, "};\n");
    raw(e, "enum { BACKWARD = %d, KERNELS = %d, GRADIENTS = %d };\n", p->backward_from, p->kernels.count,
        1 + tensor_count(p->graph) + met_count);
}

void write_idle(Emitter *e, const Graph *g, const Program *train)
{
    write_table(e, train);
    raw(e, "/* A kernel is needed when it gives the gradient of a tensor that learns, or one that a needed kernel takes. */");
    raw(e, "static void mark_idle(%s *net)\n{", g->name);
    raw(e, "    unsigned char needed[GRADIENTS] = {0};");
    raw(e, "    for (int i = 0; i < TENSORS; i++)");
    raw(e, "        needed[1 + i] = tensor_table[i].trainable && !net->frozen[i];");
    raw(e, "    for (int k = KERNELS - BACKWARD - 1; k >= 0; k--) {");
    raw(e, "        net->idle[BACKWARD + k] = !needed[flow[k].gives[0]] && !needed[flow[k].gives[1]];");
    raw(e, "        for (int i = 0; i < %d && !net->idle[BACKWARD + k]; i++)", MAX_TAKES);
    raw(e, "            if (flow[k].takes[i])");
    raw(e, "                needed[flow[k].takes[i]] = 1;");
    raw(e, "    }\n}\n");
}
