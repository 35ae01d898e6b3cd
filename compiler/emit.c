/* emit.c - the writer of C: statements and $name substitution in one place; render.c gives them their form.
 *
 * Requires: an emitter's statements nest (every loop, when and function is ended). Establishes: a list of statements,
 * opening, plain and closing, and in the end its text.
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "render.h"
#include "unit.h"

typedef struct { const char *name, *value; } Binding;

struct Emitter {
    Arena        *arena;
    const char   *owner;        /* whose templates these are: named when one is wrong  */
    bool          region;       /* inside a parallel region: loops are shared, not forked */
    CommonParts  *parts;        /* of all kernels of the file                          */
    LIST(Node)    nodes;
    LIST(Binding) bindings;
};

Emitter *emitter_new(Arena *arena)
{
    Emitter *e = NEW(arena, Emitter);
    e->arena = arena;
    e->owner = "the writer";
    return e;
}

Arena *emitter_arena(Emitter *e)
{
    return e->arena;
}

void emitter_begin(Emitter *e, const char *owner)
{
    e->owner = owner;
    e->bindings.count = 0;
}

/* ---- $name and ${name} substitution ------------------------------------------------------------------------------ */

void let(Emitter *e, const char *name, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof text) {
        fprintf(stderr, "cnnc: internal error: %s binds $%s to a text that is too long\n", e->owner, name);
        abort();
    }
    Binding binding = {name, arena_copy(e->arena, text, (size_t)length)};
    for (int i = 0; i < e->bindings.count; i++)
        if (strcmp(e->bindings.items[i].name, name) == 0) {
            e->bindings.items[i] = binding;
            return;
        }
    APPEND(e->arena, &e->bindings, binding);
}

void let_int(Emitter *e, const char *name, int64_t value)
{
    let(e, name, "%lld", (long long)value);
}

static const char *bound_value(const Emitter *e, const char *name, size_t length)
{
    for (int i = 0; i < e->bindings.count; i++)
        if (strlen(e->bindings.items[i].name) == length && memcmp(e->bindings.items[i].name, name, length) == 0)
            return e->bindings.items[i].value;
    fprintf(stderr, "cnnc: internal error: %s uses $%.*s, which is not bound\n", e->owner, (int)length, name);
    abort();
}

static size_t name_length(const char *text)
{
    size_t n = 0;
    while ((text[n] >= 'a' && text[n] <= 'z') || (text[n] >= 'A' && text[n] <= 'Z') || text[n] == '_' ||
           (n > 0 && text[n] >= '0' && text[n] <= '9'))
        n++;
    return n;
}

/* Returns the length of the text that the template stands for, and writes it where `text` is not NULL. */
static size_t fill_in(const Emitter *e, const char *template, char *text)
{
    size_t total = 0;
    while (*template) {
        const bool braced = template[0] == '$' && template[1] == '{';
        const size_t name = *template == '$' ? name_length(template + 1 + braced) : 0;
        const char *piece = name > 0 ? bound_value(e, template + 1 + braced, name) : template;
        const size_t length = name > 0 ? strlen(piece) : 1 + strcspn(template + 1, "$");
        if (text)
            memcpy(text + total, piece, length);
        total += length;
        template += name > 0 ? 1 + name + 2 * braced : length;
    }
    return total;
}

char *substitute(Emitter *e, const char *template)
{
    char *text = arena_alloc(e->arena, fill_in(e, template, NULL) + 1);
    fill_in(e, template, text);
    return text;
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

static void add_node(Emitter *e, NodeKind kind, const char *text)
{
    Node node = {kind, text};
    APPEND(e->arena, &e->nodes, node);
}

void line(Emitter *e, const char *template)
{
    add_node(e, NODE_LINE, substitute(e, template));
}

void raw(Emitter *e, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        abort();
    add_node(e, NODE_RAW, arena_copy(e->arena, text, (size_t)length));
    free(text);
}

void comment(Emitter *e, const char *template)
{
    add_node(e, NODE_COMMENT, arena_printf(e->arena, "/* %s */", substitute(e, template)));
}

void in_region(Emitter *e)
{
    e->region = true;
}

void parallel(Emitter *e)
{
    add_node(e, NODE_PRAGMA, e->region ? "#pragma omp for schedule(static)" : "#pragma omp parallel for");
}

void parallel_over(Emitter *e, int loops)
{
    add_node(e, NODE_PRAGMA,
             loops == 1 ? "#pragma omp for schedule(static)"
                        : arena_printf(e->arena, "#pragma omp for collapse(%d) schedule(static)", loops));
}

void unrolled(Emitter *e, const char *variable, int64_t count)
{
    add_node(e, NODE_PRAGMA, arena_printf(e->arena, "#pragma GCC unroll %lld", (long long)(count > 1 ? count : 1)));
    loop(e, variable, count);
}

void rolled(Emitter *e)
{
    add_node(e, NODE_PRAGMA, "#pragma GCC unroll 1");
}

void step_loop(Emitter *e, const char *variable, int64_t count, int64_t step)
{
    if (step == 1) {
        loop(e, variable, count);
        return;
    }
    add_node(e, NODE_LOOP, arena_printf(e->arena, "for (int %s = 0; %s < %lld; %s += %lld)", variable, variable,
                                        (long long)count, variable, (long long)step));
}

void step_between(Emitter *e, const char *variable, const char *from, const char *to, int64_t step)
{
    if (step == 1) {
        loop_between(e, variable, from, to);
        return;
    }
    add_node(e, NODE_LOOP,
             arena_printf(e->arena, "for (int %s = %s; %s < %s; %s += %lld)", variable, substitute(e, from), variable,
                          substitute(e, to), variable, (long long)step));
}

void loop(Emitter *e, const char *variable, int64_t count)
{
    add_node(e, NODE_LOOP, arena_printf(e->arena, "for (int %s = 0; %s < %lld; %s++)", variable, variable,
                                        (long long)count, variable));
}

void loop_between(Emitter *e, const char *variable, const char *from, const char *to)
{
    add_node(e, NODE_LOOP, arena_printf(e->arena, "for (int %s = %s; %s < %s; %s++)", variable, substitute(e, from),
                                        variable, substitute(e, to), variable));
}

void when(Emitter *e, const char *condition)
{
    add_node(e, NODE_IF, arena_printf(e->arena, "if (%s)", substitute(e, condition)));
}

void otherwise(Emitter *e)
{
    add_node(e, NODE_ELSE, "else");
}

void function(Emitter *e)
{
    add_node(e, NODE_FUNCTION, "");
}

void block(Emitter *e)
{
    add_node(e, NODE_BLOCK, "");
}

void end(Emitter *e, int levels)
{
    for (int i = 0; i < levels; i++)
        add_node(e, NODE_END, "");
}

int loop_elements(Emitter *e, int64_t batch, const Shape *shape, const char *letters)
{
    const int64_t sizes[4] = {batch, shape->dim[0], shape->dim[1], shape->dim[2]};
    char at[32] = "";
    for (int d = 0; d <= shape->rank; d++) {
        char letter[2] = {letters[d], 0};
        loop(e, letter, sizes[d]);
        strcat(strcat(strcat(at, "["), letter), "]");
    }
    let(e, "at", "%s", at);
    return shape->rank + 1;
}

void append_body(Emitter *e, const Emitter *body)
{
    for (int i = 0; i < body->nodes.count; i++)
        APPEND(e->arena, &e->nodes, body->nodes.items[i]);
}

/* ---- parts that kernels share ------------------------------------------------------------------------------------ */

void share_parts(Emitter *e, CommonParts *parts)
{
    e->parts = parts;
}

Emitter *part_body(Emitter *e)
{
    Emitter *body = emitter_new(e->arena);
    body->owner = e->owner;
    body->region = e->region;
    body->parts = e->parts;
    for (int i = 0; i < e->bindings.count; i++)
        APPEND(e->arena, &body->bindings, e->bindings.items[i]);
    function(body);
    return body;
}

const char *shared_part(Emitter *e, const char *name, const char *comment_template, const char *parameters,
                        Emitter *body)
{
    end(body, 1);
    CommonPart part = {name, substitute(e, comment_template), substitute(e, parameters), emitter_text(body)};
    for (int i = 0, ordinal = 2; i < e->parts->count; i++) {
        const CommonPart *known = &e->parts->items[i];
        if (strcmp(known->body, part.body) == 0 && strcmp(known->parameters, part.parameters) == 0)
            return known->name;
        if (strcmp(known->name, part.name) == 0) {
            part.name = arena_printf(e->arena, "%s_%d", name, ordinal++);
            i = -1;
        }
    }
    APPEND(e->arena, e->parts, part);
    return part.name;
}

char *emitter_text(Emitter *e)
{
    return render_nodes(e->arena, e->nodes.items, e->nodes.count);
}
