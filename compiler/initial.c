/* initial.c - NAME_new and NAME_free: a replica's room, and the first values of its parameters and buffers.
 *
 * Requires: the graph, and the programs' room. Establishes: values drawn in state_dict order, PyTorch's defaults unless
 * train { } names another recipe, the same at every -O.
 */
#include <math.h>
#include <string.h>

#include "op.h"
#include "unit.h"

/* How a tensor gets its first values: a function of the runtime and what it takes; NULL: it begins with zeros. */
typedef struct { const char *fill; double value; const char *why; } Initial;

/* PyTorch's defaults unless train { } names another recipe. */
static Initial initial_of(const Graph *g, const Parameter *param)
{
    const double fan_in = (double)param->fan_in, fan_out = (double)param->fan_out;
    if (param->role == PARAM_WEIGHT && strcmp(g->train.init, "xavier") == 0)
        return (Initial){"uniform", sqrt(6 / (fan_in + fan_out)),
                         arena_printf(g->arena, ", Xavier: sqrt(6 / (%.0f + %.0f))", fan_in, fan_out)};
    if (param->role == PARAM_WEIGHT && strcmp(g->train.init, "kaiming") == 0)
        return (Initial){"normal", sqrt(2 / fan_in), arena_printf(g->arena, ", Kaiming: sqrt(2 / %.0f)", fan_in)};
    if (param->role == PARAM_WEIGHT || param->role == PARAM_BIAS)
        return (Initial){"uniform", 1 / sqrt(fan_in), arena_printf(g->arena, ", 1 / sqrt(%.0f)", fan_in)};
    if (param->role == PARAM_SCALE || param->role == PARAM_VARIANCE)
        return (Initial){"ones", 1, ""};
    return (Initial){NULL, 0, ""};
}

/* One statement that gives the tensor its first values. */
static void write_initial_value(Emitter *e, const Graph *g, const Unit *u, const Layer *l, const Parameter *param,
                                int index)
{
    const Initial initial = initial_of(g, param);
    if (!initial.fill)
        return;
    const bool ones = strcmp(initial.fill, "ones") == 0;
    const char *call, *comment = arena_printf(g->arena, "/* %s.%s%s */", l->name, param->name, initial.why);
    if (u->train->target)
        call = ones ? arena_printf(g->arena, "fill_ones(net, %d, plain);", index)
                    : arena_printf(g->arena, "fill_%s(net, %d, plain, %.9g);", initial.fill, index, initial.value);
    else if (ones)
        call = arena_printf(g->arena, "cnn_fill(at(&net->value, %d), %lld, 1);", index, (long long)param->count);
    else
        call = arena_printf(g->arena, "cnn_fill_%s(at(&net->value, %d), %lld, %.9g, seed, %d);", initial.fill, index,
                            (long long)param->count, initial.value, index);
    const int width = u->train->target ? 48 : 64;
    if (strlen(comment) + (strlen(call) < (size_t)width ? (size_t)width : strlen(call)) > 115)
        raw(e, "    %s\n    %s", comment, call);
    else
        raw(e, "    %-*s %s", width, call, comment);
}

/* -O2: functions that draw a tensor's values in PyTorch's order and then lay them out. */
static void write_fills(Emitter *e, const Graph *g)
{
    static const char *const fills[][3] = {
        {"ones", "", "cnn_fill(plain, tensor_table[i].count, 1)"},
        {"normal", ", double deviation", "cnn_fill_normal(plain, tensor_table[i].count, deviation, net->seed, i)"},
        {"uniform", ", double bound", "cnn_fill_uniform(plain, tensor_table[i].count, bound, net->seed, i)"}};
    for (size_t f = 0; f < sizeof fills / sizeof *fills; f++) {
        bool used = false;
        FOR_TENSORS(g, l, param, index)
            used |= initial_of(g, param).fill && strcmp(initial_of(g, param).fill, fills[f][0]) == 0;
        if (!used)
            continue;
        let(e, "fill", "%s", fills[f][0]);
        let(e, "parameter", "%s", fills[f][1]);
        let(e, "call", "%s", fills[f][2]);
        line(e, "static void fill_$fill($net *net, int i, real *plain$parameter)\n{");
        line(e, "    $call;\n    ${net}_set(net, i, plain);\n}\n");
    }
}

/* A layer whose output nobody uses gets no gradient: its tensors stay as they are, as PyTorch leaves them. */
static void freeze_unused(Emitter *e, const Graph *g, const Program *train)
{
    bool *learns = NEW_ARRAY(g->arena, bool, tensor_count(g) + 1);
    for (int i = 0; i < train->kernels.count; i++)
        for (int o = 0; o < train->kernels.items[i]->operand_count; o++) {
            const Operand *operand = &train->kernels.items[i]->operand[o];
            if (operand->tensor->kind == TENSOR_PARAM_GRADIENT && operand->access != OPERAND_READ)
                learns[tensor_index(operand->tensor)] = true;
        }
    FOR_TENSORS(g, l, param, index)
        if (param->trainable && !learns[index])
            raw(e, "    net->frozen[%d] = 1;    /* nothing uses the output of %s */", index, l->name);
}

static void write_new_body(Emitter *e, const Graph *g, const Unit *u)
{
    line(e, "    $net *net = calloc(1, sizeof *net);");
    raw(e, "    if (!net)\n        return NULL;");
    raw(e, "    net->seed = seed;");
    raw(e, "    net->arena = aligned_alloc(64, (sizeof(real) * ARENA + 63) / 64 * 64);");
    raw(e, "    if (!net->arena) {\n        free(net);\n        return NULL;\n    }");
    FOR_TENSORS(g, l, param, index)
        write_initial_value(e, g, u, l, param, index);
}

/* -O2: rooms are aligned and lie on huge pages; values are drawn in PyTorch's order and then laid out. */
static void write_fast_new_body(Emitter *e, const Graph *g, const Unit *u)
{
    int64_t largest = 1;
    FOR_TENSORS(g, l, param, index)
        largest = param->count > largest ? param->count : largest;
    raw(e, "    const size_t plain_size = sizeof(real) * %lld;", (long long)largest);
    line(e, "    $net *net = cnn_room(sizeof *net);");
    raw(e, "    real *arena = cnn_room(sizeof(real) * ARENA), *plain = cnn_room(plain_size);");
    raw(e, "    if (!net || !arena || !plain) {");
    raw(e, "        cnn_room_free(net, sizeof *net);");
    raw(e, "        cnn_room_free(arena, sizeof(real) * ARENA);");
    raw(e, "        cnn_room_free(plain, plain_size);\n        return NULL;\n    }");
    raw(e, "    net->seed = seed;\n    net->arena = arena;");
    FOR_TENSORS(g, l, param, index)
        write_initial_value(e, g, u, l, param, index);
    raw(e, "    cnn_room_free(plain, plain_size);");
}

void write_new_and_free(Emitter *e, const Graph *g, const Unit *u)
{
    if (u->train->target)
        write_fills(e, g);
    line(e, "$net *${net}_new(uint64_t seed)\n{");
    if (u->train->target)
        write_fast_new_body(e, g, u);
    else
        write_new_body(e, g, u);
    freeze_unused(e, g, u->train);
    raw(e, "    return net;\n}\n");
    line(e, "void ${net}_free($net *net)\n{");
    if (u->train->target) {
        raw(e, "    if (net)\n        cnn_room_free(net->arena, sizeof(real) * ARENA);");
        raw(e, "    cnn_room_free(net, sizeof *net);\n}\n");
    } else {
        raw(e, "    if (net)\n        free(net->arena);\n    free(net);\n}\n");
    }
}
