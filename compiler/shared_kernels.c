/* shared_kernels.c - the kernels of fast code: those that would have the same function share one.
 *
 * Requires: programs placed by memory.c. Establishes: a function for every kernel of the three programs, and its name
 * in kernel->function. Kernels whose functions would be the same text, comment aside, have one; and so have those that
 * differ in the number of channels or, where loops over pixels need not know it, in the pictures' size: these are then
 * arguments (similar.h), whose values are in kernel->sizes.
 */
#include <string.h>

#include "kernels/kernels.h"
#include "similar.h"
#include "unit.h"

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

/* ---- kernels of the same text ------------------------------------------------------------------------------------ */

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
    int count = kernel_parameters(p, k, items);
    for (int i = 0; i < count; i++)
        text = arena_printf(p->arena, "%s%s, ", text, items[i]);
    return arena_printf(p->arena, "%s\n%s", text, emitter_text(body));
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

/* ---- kernels that differ in sizes -------------------------------------------------------------------------------- */

/* Pictures of one size: what loops over pixels do stays known when they are compiled. */
static bool same_pictures(const Kernel *a, const Kernel *b)
{
    for (int i = 0; i < a->operand_count; i++) {
        const Tensor *s = a->operand[i].tensor, *t = b->operand[i].tensor;
        if (s->rank == 4 && s->storage->layout.kind == LAYOUT_BLOCKED &&
            (s->dim[2] != t->dim[2] || s->dim[3] != t->dim[3]))
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

/* ---- names and text ---------------------------------------------------------------------------------------------- */

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

/* The items of "a, b, c", or of "a, b, c, "; how many there are. */
static int listed_items(Arena *arena, const char *list, const char **items)
{
    int count = 0;
    while (*list) {
        size_t length = strcspn(list, ",");
        items[count++] = arena_copy(arena, list, length);
        list += length;
        list += strspn(list, ", ");
    }
    return count;
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
        const char *items[MAX_PARAMETERS + MOST_SIZES], *body = strchr(s->text, '\n');
        int count = listed_items(s->p->arena, arena_copy(s->p->arena, s->text, (size_t)(body - s->text)), items);
        wrapped(e, arena_printf(s->p->arena, "static void %s(", s->first->function), items, count, ")");
        raw(e, "%s", body + 1);
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
        const char *items[MAX_PARAMETERS];
        const int count = listed_items(emitter_arena(e), part->parameters, items);
        const char *head = arena_printf(emitter_arena(e), "static __attribute__((noinline)) void %s(", part->name);
        wrapped(e, head, items, count, ")");
        raw(e, "%s", part->body);
    }
}

void write_shared_kernels(Emitter *e, const Graph *g, const Unit *u)
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
