/* interface.c - the public interface around the programs: state, accessors and facts in the .c; header.c writes the .h.
 *
 * Requires: the graph. Establishes: the interface of cnn.h and trainer.h, the same at every -O. Parameters and buffers
 * live in one struct in state_dict order, so tensor i is the struct's i-th member.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "op.h"
#include "unit.h"

/* ---- state ------------------------------------------------------------------------------------------------------- */

/* The sizes of a parameter's array; a counter is an array of one. */
static int stored_dims(const Parameter *param, const Unit *u, int64_t dims[MAX_PHYSICAL_RANK])
{
    const int64_t one = 1;
    int rank = param->rank ? param->rank : 1;
    return laid_dims(rank, param->rank ? param->dim : &one, parameter_layout(rank, u->train->target), dims);
}

/* "{64, 3, 49, 16, 3}": a cnn_layout. */
static const char *layout_text(const Graph *g, const Parameter *param, int lanes)
{
    const int64_t *d = param->dim;
    if (param->rank == 4)
        return arena_printf(g->arena, "{%lld, %lld, %lld, %d, %d}", (long long)d[0], (long long)d[1],
                            (long long)(d[2] * d[3]), lanes, d[1] < lanes ? (int)d[1] : lanes);
    return arena_printf(g->arena, "{%lld, %lld, 1, 1, %d}", param->rank == 2 ? (long long)d[0] : 1LL,
                        param->rank ? (long long)d[param->rank - 1] : 1LL, lanes);
}

/* Where each tensor lies in its struct and, at -O2, how: for cnn_lay and cnn_unlay. */
static void write_places_table(Emitter *e, const Graph *g, const Target *target)
{
    if (target) {
        raw(e, "/* Bytes from the struct's start; elements in memory, zeros in spare lanes included; sizes in");
        raw(e, " * PyTorch's order K, C, taps, and the lanes of K and of C side by side (cnn.h). */");
        raw(e, "static const struct { size_t offset, room; cnn_layout layout; } tensor_place[TENSORS] = {");
    } else {
        raw(e, "static const size_t tensor_offset[TENSORS] = {");
    }
    FOR_TENSORS(g, l, param, index)
        if (target)
            raw(e, "    {offsetof(struct tensors, %s), %lld, %s},", param->symbol,
                (long long)parameter_count(param, target), layout_text(g, param, target->lanes));
        else
            raw(e, "    offsetof(struct tensors, %s),", param->symbol);
    raw(e, "};\n");
}

static void write_tables(Emitter *e, const Graph *g, const Target *target)
{
    raw(e, "/* Name, rank, shape, elements, trainable, integer. */");
    raw(e, "static const cnn_tensor tensor_table[TENSORS] = {");
    FOR_TENSORS(g, l, param, index)
        raw(e, "    {\"%s.%s\", %d, {%s}, %lld, %d, %d},", l->name, param->name, param->rank,
            param->rank ? dims_text(g->arena, param->rank, param->dim, "", ", ") : "0", (long long)param->count,
            param->trainable, param->role == PARAM_COUNTER);
    raw(e, "};\n");
    write_places_table(e, g, target);
    let(e, "offset", target ? "tensor_place[i].offset" : "tensor_offset[i]");
    raw(e, "/* Tensor i of a struct, flat. */");
    line(e, "static real *at(struct tensors *t, int i)\n{\n    return (real *)((char *)t + $offset);\n}\n");
}

void write_state(Emitter *e, const Graph *g, const Unit *u)
{
    int64_t predict = u->predict->arena_bytes, train = u->train->arena_bytes;
    let(e, "net", "%s", g->name);
    let_int(e, "count", tensor_count(g));
    let_int(e, "arena", (predict > train ? predict : train) / 4);
    if (u->train->target) {
        raw(e, "/* Parameters and buffers in state_dict order: filters K/L x C/l x R x S x l x L with l = min(C, L),");
        raw(e, " * rows filled up to whole vectors. Spare lanes hold zeros. NAME_get and NAME_set speak PyTorch's");
        raw(e, " * layout. */");
    } else {
        raw(e, "/* Parameters and buffers in PyTorch's layout and state_dict order. */");
    }
    raw(e, "struct tensors {");
    FOR_TENSORS(g, l, param, index) {
        int64_t physical[MAX_PHYSICAL_RANK];
        int rank = stored_dims(param, u, physical);
        const char *member =
            arena_printf(g->arena, "%s%s;", param->symbol, dims_text(g->arena, rank, physical, "[", "]"));
        raw(e, "    %sreal %-40s /* %d: %s.%s */", u->train->target ? "_Alignas(64) " : "", member, index, l->name,
            param->name);
    }
    raw(e, "};\n");
    line(e, "enum { TENSORS = $count };");
    raw(e, "/* Room for the tensors of one step, in reals: the larger of what the two programs below need. */");
    line(e, "#define ARENA ((size_t)$arena)\n");
    line(e, "struct $net {");
    raw(e, "    struct tensors value, grad, first, second;  /* all but the values of buffers stay 0 */");
    raw(e, "    unsigned char  frozen[TENSORS];         /* 1: the update leaves this tensor alone */");
    raw(e, "    unsigned char  %-24s /* 1: a kernel of gradients that rests, see mark_idle */",
        arena_printf(g->arena, "idle[%d];", u->train->kernels.count));
    raw(e, "    uint64_t       seed, step;              /* of random numbers; updates done so far */");
    raw(e, "    real          *arena;                   /* ARENA reals */");
    raw(e, "    const real    *pictures;                /* what predict saw last */");
    if (u->train->target) {
        raw(e, "    int            learning;                /* NAME_step is at work: tensors learn by these rules */");
        raw(e, "    cnn_rule       rule[TENSORS];");
    }
    raw(e, "    const cnn_target *target;               /* NULL: labels alone */");
    raw(e, "    const cnn_watch  *watch;                /* NULL: nobody is told of kernels */");
    if (g->exchanges)
        raw(e, "    const cnn_exchange *exchange;           /* NULL: one process */");
    raw(e, "};\n");
    write_tables(e, g, u->train->target);
}

/* ---- accessors --------------------------------------------------------------------------------------------------- */

/* Tensors in and out of a struct, in PyTorch's layout. */
static void write_copies(Emitter *e, bool fast)
{
    static const char *const copies[][3] = {
        {"get", "", "&net->value"}, {"get_grad", "", "&net->grad"},
        {"get_moment", ", int order", "order == 1 ? &net->first : &net->second"},
        {"set", "", "&net->value"}, {"set_moment", ", int order", "order == 1 ? &net->first : &net->second"}};
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        const bool out = strncmp(copies[i][0], "get", 3) == 0;
        let(e, "verb", "%s", copies[i][0]);
        let(e, "order", "%s", copies[i][1]);
        let(e, "part", "%s", copies[i][2]);
        line(e, out ? "void ${net}_$verb(const $net *net$order, int i, real *out)\n{"
                    : "void ${net}_$verb($net *net$order, int i, const real *in)\n{");
        line(e, out ? "    const struct tensors *part = $part;" : "    struct tensors *part = $part;");
        if (fast)
            line(e, out ? "    cnn_unlay(&tensor_place[i].layout, out, "
                          "(const real *)((const char *)part + $offset));\n}\n"
                        : "    cnn_lay(&tensor_place[i].layout, at(part, i), in);\n}\n");
        else
            line(e, out ? "    memcpy(out, (const char *)part + $offset, sizeof(real) * tensor_table[i].count);\n}\n"
                        : "    memcpy(at(part, i), in, sizeof(real) * tensor_table[i].count);\n}\n");
    }
}

static void write_accessors(Emitter *e, const Graph *g, bool fast)
{
    let(e, "input", "%s", four_sizes(g, &g->input->output));
    let(e, "output", "%s", four_sizes(g, &g->output->output));
    line(e, "int ${net}_tensors(void)\n{\n    return TENSORS;\n}\n");
    line(e, "cnn_tensor ${net}_tensor(int i)\n{\n    return tensor_table[i];\n}\n");
    line(e, "void ${net}_shape(int input[4], int output[4])\n{");
    line(e, "    memcpy(input, (const int[4]){$input}, sizeof(int[4]));");
    line(e, "    memcpy(output, (const int[4]){$output}, sizeof(int[4]));\n}\n");
    write_copies(e, fast);
    let(e, "elements", fast ? "tensor_place[i].room" : "tensor_table[i].count");
    line(e, "real *${net}_flat($net *net, cnn_part part, size_t *count)\n{");
    raw(e, "    struct tensors *const parts[] = {&net->value, &net->grad, &net->first, &net->second};");
    raw(e, "    *count = sizeof(struct tensors) / sizeof(real);");
    raw(e, "    return (real *)parts[part];\n}\n");
    line(e, "void ${net}_span(int i, size_t *first, size_t *count)\n{");
    line(e, "    *first = $offset / sizeof(real);\n    *count = $elements;\n}\n");
    line(e, "void ${net}_freeze($net *net, int i, int frozen)\n{");
    line(e, "    net->frozen[i] = frozen != 0;\n    mark_idle(net);\n}\n");
    line(e, "uint64_t ${net}_get_step(const $net *net)\n{\n    return net->step;\n}\n");
    line(e, "void ${net}_set_step($net *net, uint64_t step)\n{\n    net->step = step;\n}\n");
    line(e, "void ${net}_target($net *net, const cnn_target *target)\n{\n    net->target = target;\n}\n");
    line(e, "void ${net}_watch($net *net, const cnn_watch *watch)\n{\n    net->watch = watch;\n}\n");
    if (g->exchanges)
        line(e, "void ${net}_exchange($net *net, const cnn_exchange *exchange)\n{\n    net->exchange = exchange;\n}\n");
    line(e, "const real *${net}_arena(const $net *net)\n{\n    return net->arena;\n}\n");
}

/* ---- layers, kernels and facts ----------------------------------------------------------------------------------- */

/* Where a layer's output lies after predict, as NCHW: at -O2 only what was kept does. */
static const char *output_place(const Graph *g, const Unit *u, const Layer *l)
{
    const Program *p = u->predict;
    const Tensor *t = p->kept ? p->kept[l->index] : p->activation[l->index];
    if (p->target && !t)
        return "GONE";
    return t->storage->kind == TENSOR_INPUT ? "SEEN"
                                            : arena_printf(g->arena, "%lld", (long long)t->storage->offset / 4);
}

static void write_layers(Emitter *e, const Graph *g, const Unit *u)
{
    raw(e, "/* Name, operator, rank, shape, elements, parameters, multiply-adds, place of the output after predict");
    raw(e, " * (in reals; SEEN: it is the picture itself). */");
    raw(e, "#define SEEN ((size_t)-1)");
    if (u->predict->target)
        raw(e, "#define GONE ((size_t)-2)       /* not kept: compile with --keep-layers */");
    raw(e, "static const cnn_layer layer_table[] = {");
    for (int i = 1; i < g->layers.count; i++) {
        const Layer *l = g->layers.items[i];
        int64_t parameters = 0;
        for (int j = 0; j < l->param_count; j++)
            parameters += l->param[j].trainable ? l->param[j].count : 0;
        const char *place = output_place(g, u, l);
        raw(e, "    {\"%s\", \"%s\", %d, {%s}, %lld, %lld, %.17g, %s},", l->name, layer_operator(g->arena, l),
            l->output.rank + 1, four_sizes(g, &l->output), (long long)(shape_count(&l->output) * g->batch),
            (long long)parameters, (double)l->macs * g->batch, place);
    }
    raw(e, "};\n");
    line(e, "const real *${net}_output(const $net *net, int layer)\n{");
    raw(e, "    size_t offset = layer_table[layer].offset;");
    if (u->predict->target)
        raw(e, "    if (offset == GONE)\n        return NULL;");
    raw(e, "    return offset == SEEN ? net->pictures : net->arena + offset;\n}\n");
}

/* Tensors whose gradients kernel k writes, which no later one adds to: "{3, 4, -1}". */
static const char *complete_gradients(const Program *p, const Kernel *k)
{
    enum { MOST = 3 };          /* and -1: cnn_kernel.gradient of cnn.h */
    const char *text = "{";
    int count = 0;
    for (int o = 0; o < k->operand_count; o++) {
        const Operand *operand = &k->operand[o];
        if (operand->tensor->kind != TENSOR_PARAM_GRADIENT || operand->access == OPERAND_READ)
            continue;
        text = arena_printf(p->arena, "%s%d, ", text, tensor_index(operand->tensor));
        count++;
    }
    if (count > MOST) {
        fprintf(stderr, "cnnc: internal error: kernel %s of %s gives too many gradients\n", k->def->suffix,
                k->layer->name);
        abort();
    }
    return arena_printf(p->arena, "%s-1}", text);
}

/* The operand that a kernel is there for, where it is one of reals in the arena; NULL: there is none. */
static const Tensor *result_of(const Kernel *k)
{
    const Tensor *found = NULL;
    for (int o = 0; o < k->operand_count; o++) {
        const Operand *operand = &k->operand[o];
        const Tensor *t = operand->tensor;
        const bool result = strcmp(operand->role, "Y") == 0 || strcmp(operand->role, "dX") == 0;
        if (operand->access != OPERAND_READ && t->type == TYPE_REAL && in_arena(t->storage) && !t->scratch &&
            (!found || result))
            found = t;
    }
    return found;
}

/* Offset, count, times and pitch of what kernel k computed: a piece a picture where it is some channels of a tensor. */
static const char *result_place(const Program *p, const Kernel *k)
{
    const Tensor *t = result_of(k);
    if (!t)
        return "0, 0, 0, 0";
    const int64_t whole = physical_count(t), pictures = p->graph->batch;
    const int64_t piece = slice_count(t), times = piece == whole ? 1 : pictures;
    return arena_printf(p->arena, "%lld, %lld, %lld, %lld", (long long)(t->storage->offset / 4 + slice_offset(t)),
                        (long long)piece, (long long)times, (long long)(whole / times));
}

static void write_kernel_table(Emitter *e, const Program *p, const char *table)
{
    raw(e, "static const cnn_kernel %s[] = {", table);
    for (int i = 0; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        const bool loss = !k->layer->op;
        raw(e, "    {\"%s\", %.17g, %d, %s, %s, %s},", kernel_name(p->arena, p, k),
            k->def->counts ? (double)k->layer->macs * p->graph->batch : 0.0, loss ? -1 : k->layer->index - 1,
            loss ? "CNN_LOSS" : i < p->backward_from ? "CNN_FORWARD" : "CNN_BACKWARD", complete_gradients(p, k),
            result_place(p, k));
    }
    raw(e, "};\n");
}

/* A C string literal of any bytes. */
static const char *quoted(Arena *arena, const char *text)
{
    const char *out = "\"";
    for (; *text; text++)
        out = *text == '"' || *text == '\\' || *text == '?' ? arena_printf(arena, "%s\\%c", out, *text)
            : (unsigned char)*text < ' ' ? arena_printf(arena, "%s\\%03o", out, (unsigned)(unsigned char)*text)
            : arena_printf(arena, "%s%c", out, *text);
    return arena_printf(arena, "%s\"", out);
}

static void write_facts(Emitter *e, const Graph *g, const Unit *u)
{
    const Train *t = &g->train;
    raw(e, "#ifdef CNN_MAIN             /* the trainer: link with libcnn.a, -lz -ljansson -lm */");
    raw(e, "#include \"trainer.h\"\n");
    raw(e, "/* Name, multiply-adds, layer, pass, complete gradients; offset, count, times and pitch of the result. */");
    write_kernel_table(e, u->predict, "predict_kernels");
    write_kernel_table(e, u->train, "gradients_kernels");
    raw(e, "/* The train { } block, as options of the trainer. */");
    raw(e, "static const char *const trainer_defaults[] = {");
    for (int i = 0; i < t->options.count; i++)
        raw(e, "    %s,", quoted(g->arena, t->options.items[i]));
    raw(e, "    NULL,\n};\n");
    raw(e, "static const cnn_facts facts = {");
    raw(e, "    .name = \"%s\", .source = %s,", g->name, quoted(g->arena, base_name(g->source->path)));
    raw(e, "    .version = \"%s\", .target = CNN_TARGET, .flags = CNN_FLAGS, .schedule = \"%s\",",
        CNNC_VERSION, u->train->target ? "blocked and fused (-O2)" : "textbook loops (-O0)");
    raw(e, "    .layers = layer_table, .layer_count = %d,", g->layers.count - 1);
    raw(e, "    .predict = predict_kernels, .predict_count = %d,", u->predict->kernels.count);
    raw(e, "    .gradients = gradients_kernels, .gradients_count = %d,", u->train->kernels.count);
    raw(e, "    .arena_bytes = sizeof(real) * ARENA, .parameter_bytes = sizeof(struct tensors),");
    raw(e, "    .defaults = trainer_defaults,");
    raw(e, "};\n");
    line(e, "CNN_TRAINER($net, facts)");
    raw(e, "#endif");
}

void write_interface(Emitter *e, const Graph *g, const Unit *u)
{
    let(e, "net", "%s", g->name);
    raw(e, "/* ---- interface ---- */\n");
    write_new_and_free(e, g, u);
    write_accessors(e, g, u->train->target != NULL);
    write_layers(e, g, u);
    write_facts(e, g, u);
}
