/* kernel_text.c - each kernel of the step programs as one C function: comment, signature, body.
 *
 * Requires: programs placed by memory.c. Establishes: a function for every kernel. At -O0 a function belongs to one layer;
 * at -O2 kernels whose functions would be the same text, comment aside, share one (kernel->function), and so
 * do those that differ in the number of channels or, where loops over pixels need not know it, in the pictures' size:
 * these are then arguments (similar.h).
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "op.h"
#include "similar.h"
#include "unit.h"

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

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

enum { MAX_PARAMETERS = MAX_OPERANDS + 4 };

/* The texts of the function's parameters; their number. */
static int parameters_of(const Program *p, const Kernel *k, const char *items[MAX_PARAMETERS])
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

static void write_signature(Emitter *e, const Program *p, const Kernel *k)
{
    const char *items[MAX_PARAMETERS];
    int count = parameters_of(p, k, items);
    wrapped(e, arena_printf(p->arena, "static void %s(", kernel_function(p->arena, p, k)), items, count, ")");
}

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
    return dense_indices(p->arena, substitute(names, formula));
}

/* "Also: layer1.0.conv2, layer1.1.conv1", broken between layers. */
static void write_users(Emitter *e, const char *users)
{
    Arena *arena = emitter_arena(e);
    const char *text = " *   Also:";
    while (*users) {
        size_t length = strcspn(users, ",");
        if (strlen(text) + 2 + length > LINE_WIDTH) {
            raw(e, "%s", text);
            text = " *        ";
        }
        text = arena_printf(arena, "%s %.*s%s", text, (int)length, users, users[length] ? "," : "");
        users += length;
        users += strspn(users, ", ");
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
    raw(e, " *   Schedule: %s", text);
}

static void write_kernel_comment(Emitter *e, const Program *p, const Kernel *k, const char *users, const char *sizes)
{
    Arena *arena = p->arena;
    const Layer *l = k->layer;
    const char *title = !l->op ? "loss" : arena_printf(arena, "%s: %s", l->name, layer_operator(arena, l));
    const char *place = arena_printf(arena, "%s:%d", comment_text(arena, base_name(l->graph->source->path)), line_of(l));
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
        raw(e, " *   Arguments: %s", sizes);
    if (*users)
        write_users(e, users);
    raw(e, " */");
}

static Emitter *kernel_body(const Program *p, const Kernel *k, CommonParts *parts)
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

/* ---- -O2: one function for all kernels that would have the same ---------------------------------------------------- */

typedef LIST(Kernel *) KernelList;

typedef struct {
    const Program *p;
    const Kernel  *first;       /* whose name the function bears                            */
    Emitter       *body;
    const char    *text;        /* parameters and body: what makes it the same function     */
    uint32_t       hash;
    const char    *skeleton;    /* the text without sizes                                   */
    Sizes          sizes;
    const char    *own;         /* "X_blocks 4, ...": its arguments; NULL: none             */
    KernelList     users;       /* all it serves                                            */
} Shared;

typedef LIST(Shared) SharedList;

static uint32_t hash_of(const char *text)
{
    uint32_t hash = 2166136261u;        /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

static const char *function_text(const Program *p, const Kernel *k, Emitter *body)
{
    const char *items[MAX_PARAMETERS], *text = "";
    int count = parameters_of(p, k, items);
    for (int i = 0; i < count; i++)
        text = arena_printf(p->arena, "%s%s, ", text, items[i]);
    return arena_printf(p->arena, "%s\n%s", text, emitter_text(body));
}

static const char *unused_name(const Program *p, const SharedList *list, const Kernel *k)
{
    const char *base = arena_printf(p->arena, "%s_%s", k->layer->symbol, k->def->suffix), *name = base;
    if (k->def->flat)
        return k->def->suffix;
    for (int ordinal = 2, i = 0; i < list->count; i++)
        if (strcmp(list->items[i].first->function, name) == 0) {
            name = arena_printf(p->arena, "%s%d", base, ordinal++);
            i = -1;
        }
    return name;
}

static void share_kernel(SharedList *list, const Program *p, Kernel *k, CommonParts *parts)
{
    Emitter *body = kernel_body(p, k, parts);
    const char *text = function_text(p, k, body);
    uint32_t hash = hash_of(text);
    for (int i = 0; i < list->count; i++) {
        Shared *s = &list->items[i];
        if (s->hash != hash || strcmp(s->text, text) != 0)
            continue;
        APPEND(p->arena, &s->users, k);
        return;
    }
    Shared s = {.p = p, .first = k, .body = body, .text = text, .hash = hash};
    APPEND(p->arena, &s.users, k);
    APPEND(p->arena, list, s);
}

/* ---- one function for kernels that differ in sizes --------------------------------------------------------------- */

/* Pictures of one size: what loops over pixels do stays known when they are compiled. */
static bool same_pictures(const Kernel *a, const Kernel *b)
{
    for (int i = 0; i < a->operand_count; i++) {
        const Tensor *s = a->operand[i].tensor, *t = b->operand[i].tensor;
        if (s->rank == 4 && s->storage->layout.kind == LAYOUT_BLOCKED && (s->dim[2] != t->dim[2] || s->dim[3] != t->dim[3]))
            return false;
    }
    return true;
}

static bool is_similar(const Shared *a, const Shared *b)
{
    return a->p == b->p && a->hash == b->hash && a->first->def == b->first->def && a->first->fast == b->first->fast &&
           a->first->operand_count == b->first->operand_count &&
           (a->first->fast->any_picture || same_pictures(a->first, b->first)) &&
           strcmp(a->skeleton, b->skeleton) == 0;
}

enum { MOST_SIZES = 12, MOST_SIMILAR = 256 };

static const char *listed(Arena *arena, const char *list, const char *item)
{
    return list ? arena_printf(arena, "%s, %s", list, item) : item;
}

/* Functions `member` become the first of them. */
static void merge(SharedList *list, const int *member, int count, Arena *arena)
{
    Shared *s = &list->items[member[0]];
    Sizes sizes[MOST_SIMILAR];
    const char **names = NEW_ARRAY(arena, const char *, s->sizes.count + 1);
    int position[MOST_SIZES];
    for (int m = 0; m < count; m++)
        sizes[m] = list->items[member[m]].sizes;
    int found = name_sizes(arena, s->text, sizes, count, names, position, MOST_SIZES);
    if (found <= 0)
        return;
    for (int m = 0; m < count; m++) {
        const char *values = NULL;
        KernelList users = list->items[member[m]].users;
        for (int i = 0; i < found; i++)
            values = listed(arena, values, sizes[m].items[position[i]].value);
        for (int i = 0; i < users.count; i++) {
            users.items[i]->sizes = values;
            if (m > 0)
                APPEND(arena, &s->users, users.items[i]);
        }
        if (m > 0)
            list->items[member[m]].first = NULL;
    }
    const char *parameters = "";
    for (int i = 0; i < found; i++) {
        const char *name = names[position[i]];
        parameters = arena_printf(arena, "%sint %s, ", parameters, name);
        s->own = listed(arena, s->own, arena_printf(arena, "%s %s", name, sizes[0].items[position[i]].value));
    }
    s->text = arena_printf(arena, "%s%s", parameters, with_sizes(arena, s->text, names));
}

static void merge_similar(SharedList *list, Arena *arena)
{
    for (int i = 0; i < list->count; i++) {
        Shared *s = &list->items[i];
        s->skeleton = s->first->fast ? without_sizes(arena, s->text, &s->sizes) : s->text;
        s->hash = hash_of(s->skeleton);
    }
    for (int i = 0; i < list->count; i++) {
        int member[MOST_SIMILAR] = {i}, count = 1;
        if (!list->items[i].first || !list->items[i].first->fast)
            continue;
        for (int j = i + 1; j < list->count && count < MOST_SIMILAR; j++)
            if (list->items[j].first && !list->items[j].own && is_similar(&list->items[i], &list->items[j]))
                member[count++] = j;
        if (count > 1)
            merge(list, member, count, arena);
    }
    int kept = 0;
    for (int i = 0; i < list->count; i++)
        if (list->items[i].first)
            list->items[kept++] = list->items[i];
    list->count = kept;
}

static void name_functions(SharedList *list)
{
    SharedList named = {.items = list->items};
    for (; named.count < list->count; named.count++) {
        const Shared *s = &list->items[named.count];
        const char *name = unused_name(s->p, &named, s->first);
        for (int i = 0; i < s->users.count; i++)
            s->users.items[i]->function = name;
    }
}

/* The other layers that a function serves. */
static const char *users_of(const Shared *s)
{
    const char *text = NULL;
    for (int i = 0; i < s->users.count; i++)
        if (s->users.items[i]->layer != s->first->layer)
            text = listed(s->p->arena, text, s->users.items[i]->layer->name);
    return text ? text : "";
}

static void write_shared(Emitter *e, const Shared *s)
{
    write_kernel_comment(e, s->p, s->first, users_of(s), s->own);
    if (s->own) {
        const char *items[MAX_PARAMETERS + MOST_SIZES], *at = s->text;
        int count = 0;
        for (const char *stop; *at != '\n'; at = stop + 2) {
            stop = strstr(at, ", ");
            items[count++] = arena_copy(s->p->arena, at, (size_t)(stop - at));
        }
        wrapped(e, arena_printf(s->p->arena, "static void %s(", s->first->function), items, count, ")");
        raw(e, "%s", at + 1);
        return;
    }
    write_signature(e, s->p, s->first);
    append_body(e, s->body);
    raw(e, "%s", "");
}

void write_parts(Emitter *e, const CommonParts *parts)
{
    if (parts->count)
        raw(e, "/* ---- parts of kernels ---- */\n");
    for (int i = 0; i < parts->count; i++) {
        const CommonPart *part = &parts->items[i];
        raw(e, "/* %s */", part->comment);
        raw(e, "static __attribute__((noinline)) void %s(%s)", part->name, part->parameters);
        raw(e, "%s", part->body);
    }
}

static void write_fast_kernels(Emitter *e, const Graph *g, const Unit *u)
{
    const Program *programs[] = {u->train, u->predict, u->update};
    SharedList list = {0};
    CommonParts parts = {0};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < (i == 2 ? UPDATE_RULES : programs[i]->kernels.count); k++)
            share_kernel(&list, programs[i], programs[i]->kernels.items[k], &parts);
    merge_similar(&list, g->arena);
    name_functions(&list);
    write_parts(e, &parts);
    const Kernel *last = NULL;
    for (int i = 0; i < list.count; i++) {
        const Kernel *k = list.items[i].first;
        bool train = list.items[i].p == u->train;
        bool backward = train && k->index >= u->train->backward_from;
        if (i == 0)
            raw(e, "/* ---- forward ---- */\n");
        else if (backward && last->index < u->train->backward_from)
            raw(e, "/* ---- backward ---- */\n");
        else if (list.items[i].p != list.items[i - 1].p)
            raw(e, train ? "" : list.items[i].p == u->update ? "/* ---- update ---- */\n"
                                : "/* ---- forward, where prediction differs from training ---- */\n");
        write_shared(e, &list.items[i]);
        last = k;
    }
}

void write_kernels(Emitter *e, const Graph *g, const Unit *u)
{
    if (u->train->target)
        write_fast_kernels(e, g, u);
    else
        write_textbook_kernels(e, g, u);
}
