/* kernel_text.c - a kernel of the step programs as a C function: comment, signature, body.
 *
 * Requires: programs placed by memory.c. Establishes: a function for every kernel. At -O0 a function belongs to one
 * layer, and this file puts them in order; at -O2 shared_kernels.c does, where several kernels may have one.
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "op.h"
#include "unit.h"

/* ---- signature --------------------------------------------------------------------------------------------------- */

static const char *element_type(const Tensor *t)
{
    return t->type == TYPE_REAL ? "real" : t->type == TYPE_INT32 ? "int32_t" : "unsigned char";
}

static const char *parameter_text(Arena *arena, const KernelDef *def, const Operand *o)
{
    const char *constant = o->access == OPERAND_READ ? "const " : "";
    if (def->flat)
        return arena_printf(arena, "%sreal *%s", constant, o->role);
    int64_t dims[MAX_PHYSICAL_RANK];
    int rank = physical_dims(o->tensor, dims);
    return arena_printf(arena, "%s%s %s%s", constant, element_type(o->tensor), o->role,
                        dims_text(arena, rank, dims, "[", "]"));
}

int kernel_parameters(const Program *p, const Kernel *k, const char *items[MAX_PARAMETERS])
{
    Arena *arena = p->arena;
    int count = 0;
    if (k->def->flat)
        items[count++] = "size_t count";
    if (k->def->random) {
        items[count++] = "uint64_t seed";
        items[count++] = "uint64_t step";
    }
    if (k->def->targets)
        items[count++] = "const cnn_target *target";
    if (k->def->exchanges && p->graph->exchanges)
        items[count++] = "const cnn_exchange *exchange";
    for (int i = 0; i < k->operand_count; i++)
        items[count++] = parameter_text(arena, k->def, &k->operand[i]);
    if (k->def->flat || k->fuses & FUSE_SGD)
        items[count++] = "const cnn_rule *rule";
    return count;
}

void write_signature(Emitter *e, const Program *p, const Kernel *k)
{
    const char *items[MAX_PARAMETERS];
    int count = kernel_parameters(p, k, items);
    wrapped(e, arena_printf(p->arena, "static void %s(", kernel_function(p->arena, p, k)), items, count, ")");
}

/* ---- comment ----------------------------------------------------------------------------------------------------- */

/* A formula's indices without spaces: "X[n,c,i + r - 2]" -> "X[n,c,i+r-2]". */
static const char *dense_indices(Arena *arena, const char *formula)
{
    char *dense = arena_copy(arena, formula, strlen(formula)), *to = dense;
    for (int depth = 0; *formula; formula++) {
        depth += (*formula == '[') - (*formula == ']');
        if (depth == 0 || *formula != ' ')
            *to++ = *formula;
    }
    *to = 0;
    return dense;
}

/* "X 256x1x28x28   W 6x1x5x5", broken between operands. */
static void write_shapes(Emitter *e, const Kernel *k)
{
    Arena *arena = emitter_arena(e);
    const char *text = " *";
    for (int i = 0; i < k->operand_count; i++) {
        const char *shape = arena_printf(arena, "%s %s", k->operand[i].role, tensor_shape(arena, k->operand[i].tensor));
        if (strlen(text) + 3 + strlen(shape) > LINE_WIDTH) {
            raw(e, "%s", text);
            text = " *";
        }
        text = arena_printf(arena, "%s   %s", text, shape);
    }
    raw(e, "%s", text);
}

static void begin_body(Emitter *body, const Program *p, const Kernel *k)
{
    emitter_begin(body, arena_printf(p->arena, "operator %s, kernel %s", k->layer->op ? k->layer->op->keyword : "loss",
                                     k->def->suffix));
    let_int(body, "N", p->graph->batch);
    let(body, "set", k->adds ? "+=" : "=");
    if (p->target)
        let_int(body, "L", p->target->lanes);
}

/* "Y = b[k] + sum ..." -> "Y = sum ..." for a layer without a bias. */
static const char *without_bias(Arena *arena, const char *formula)
{
    static const char term[] = "b[k] + ";
    const char *at = strstr(formula, term);
    return at ? arena_printf(arena, "%.*s%s", (int)(at - formula), formula, at + sizeof term - 1) : formula;
}

/* The formula's names are bound by the textbook body; a fast one may bind others. */
static const char *formula_of(const Program *p, const Kernel *k)
{
    const char *formula = k->def->formula;
    if (!formula)
        formula = k->index >= p->backward_from ? k->layer->op->grad : k->layer->op->formula;
    Emitter *names = emitter_new(p->arena);
    CommonParts unused = {0};
    share_parts(names, &unused);
    begin_body(names, p, k);
    k->def->textbook(names, k);
    const char *text = dense_indices(p->arena, substitute(names, formula));
    return has_operand(k, "b") ? text : without_bias(p->arena, text);
}

/* "Also: layer1.0.conv2, layer1.1.conv1", broken between words. */
static void write_filled(Emitter *e, const char *title, const char *words)
{
    Arena *arena = emitter_arena(e);
    const char *text = arena_printf(arena, " *   %s", title);
    while (*words) {
        const size_t length = strcspn(words, " ");
        if (strlen(text) + 1 + length > LINE_WIDTH) {
            raw(e, "%s", text);
            text = arena_printf(arena, " *   %*s", (int)strlen(title), "");
        }
        text = arena_printf(arena, "%s %.*s", text, (int)length, words);
        words += length;
        words += strspn(words, " ");
    }
    raw(e, "%s", text);
}

/* How a fast kernel computes it. */
static void write_schedule(Emitter *e, const Kernel *k)
{
    static const char *const fused[] = {"folded batch norm", "addition", "ReLU", "ReLU's gradient", "batch statistics",
                                         "gate of the ReLU behind", "sums for a batch norm before", "SGD"};
    const char *text = k->fast->name;
    if (k->schedule.text)
        text = arena_printf(emitter_arena(e), "%s: %s", text, k->schedule.text);
    for (size_t i = 0; i < sizeof fused / sizeof *fused; i++)
        if (k->fuses & (1u << i))
            text = arena_printf(emitter_arena(e), "%s; %s fused", text, fused[i]);
    write_filled(e, "Schedule:", text);
}

void write_kernel_comment(Emitter *e, const Program *p, const Kernel *k, const char *users, const char *sizes)
{
    Arena *arena = p->arena;
    const Layer *l = k->layer;
    const char *title = !l->op ? "loss" : arena_printf(arena, "%s: %s", l->name, layer_operator(arena, l));
    const char *place =
        arena_printf(arena, "%s:%d", comment_text(arena, base_name(l->graph->source->path)), line_of(l));
    if (k->def->flat)
        raw(e, "/* one optimiser step for one tensor");
    else
        raw(e, "/* %-80s %35s", title, place);
    for (const char *from = formula_of(p, k); from; ) {
        const char *stop = strchr(from, '\n');
        raw(e, " *   %.*s", (int)(stop ? stop - from : (long)strlen(from)), from);
        from = stop ? stop + 1 : NULL;
    }
    if (!k->def->flat)
        write_shapes(e, k);
    if (k->fast)
        write_schedule(e, k);
    if (sizes)
        write_filled(e, "Arguments:", sizes);
    if (*users)
        write_filled(e, "Also:", users);
    raw(e, " */");
}

/* ---- body -------------------------------------------------------------------------------------------------------- */

Emitter *kernel_body(const Program *p, const Kernel *k, CommonParts *parts)
{
    Emitter *body = emitter_new(p->arena);
    share_parts(body, parts);
    begin_body(body, p, k);
    if (k->fast || (p->target && k->def->flat))
        in_region(body);
    function(body);
    if (k->fast)
        k->fast->body(body, k);
    else
        k->def->textbook(body, k);
    end(body, 1);
    return body;
}

void write_kernel(Emitter *e, const Program *p, const Kernel *k, CommonParts *parts)
{
    write_kernel_comment(e, p, k, "", NULL);
    write_signature(e, p, k);
    append_body(e, kernel_body(p, k, parts));
    raw(e, "%s", "");
}

/* ---- all of a network -------------------------------------------------------------------------------------------- */

/* True when the training program has this layer's kernel too, so that one function serves both programs. */
static bool shared_with_training(const Program *train, const int *first, const Kernel *k)
{
    if (first[k->layer->index] < 0)
        return false;
    for (int i = first[k->layer->index]; i < train->backward_from && train->kernels.items[i]->layer == k->layer; i++)
        if (train->kernels.items[i]->def == k->def)
            return true;
    return false;
}

/* -O0: a function a layer. */
static void write_textbook_kernels(Emitter *e, const Graph *g, const Unit *u)
{
    int *first = NEW_ARRAY(g->arena, int, g->layers.count);
    memset(first, -1, sizeof *first * (size_t)g->layers.count);
    raw(e, "/* ---- forward ---- */\n");
    for (int i = 0; i < u->train->kernels.count; i++) {
        const Kernel *k = u->train->kernels.items[i];
        if (i == u->train->backward_from)
            raw(e, "/* ---- backward ---- */\n");
        if (i < u->train->backward_from && k->layer->op && first[k->layer->index] < 0)
            first[k->layer->index] = i;
        write_kernel(e, u->train, k, NULL);
    }
    bool titled = false;
    for (int i = 0; i < u->predict->kernels.count; i++) {
        const Kernel *k = u->predict->kernels.items[i];
        if (shared_with_training(u->train, first, k))
            continue;
        if (!titled)
            raw(e, "/* ---- forward, where prediction differs from training ---- */\n");
        titled = true;
        write_kernel(e, u->predict, k, NULL);
    }
    raw(e, "/* ---- update ---- */\n");
    for (int i = 0; i < UPDATE_RULES; i++)
        write_kernel(e, u->update, u->update->kernels.items[i], NULL);
}

void write_kernels(Emitter *e, const Graph *g, const Unit *u)
{
    if (u->train->target)
        write_shared_kernels(e, g, u);
    else
        write_textbook_kernels(e, g, u);
}
