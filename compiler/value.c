/* value.c - compile-time values: made, checked and shown; and the variables that hold them.
 *
 * Establishes: integers of 64 bits, finite reals. What would be neither is VALUE_NONE after one error.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "expand.h"

const Value no_value = {.kind = VALUE_NONE};

Value integer_value(int64_t n)
{
    return (Value){.kind = VALUE_INT, .integer = n, .real = (double)n};
}

Value bool_value(bool yes)
{
    return (Value){.kind = VALUE_BOOL, .integer = yes};
}

bool is_number(const Value *v)
{
    return v->kind == VALUE_INT || v->kind == VALUE_REAL;
}

Value real_value(Expander *x, const Context *c, const Expr *e, double real)
{
    if (!isfinite(real)) {
        fail(x, e->span, c->origin, "the result is not a finite number");
        return no_value;
    }
    return (Value){.kind = VALUE_REAL, .real = real};
}

Value value_too_large(Expander *x, const Context *c, const Expr *e)
{
    fail(x, e->span, c->origin, "the result does not fit into 64 bits");
    return no_value;
}

char *value_text(Arena *arena, const Value *v)
{
    switch (v->kind) {
    case VALUE_NONE:
        return arena_printf(arena, "an unknown value");
    case VALUE_INT:
        return arena_printf(arena, "%" PRId64, v->integer);
    case VALUE_REAL: {              /* always recognisable as a real: 9.0, 0.5, 1e+30 */
        char *text = arena_printf(arena, "%g", v->real);
        return strpbrk(text, ".e") ? text : arena_printf(arena, "%s.0", text);
    }
    case VALUE_BOOL:
        return arena_printf(arena, "%s", v->integer ? "yes" : "no");
    case VALUE_STRING:
        return arena_printf(arena, "\"%.40s%s\"", v->text, strlen(v->text) > 40 ? "..." : "");
    case VALUE_TUPLE:
    case VALUE_LIST:
        break;
    }
    /* The first three items of the outermost level; what is inside them only by its kind. */
    const char *open = v->kind == VALUE_TUPLE ? "(" : "[", *close = v->kind == VALUE_TUPLE ? ")" : "]";
    char *text = arena_printf(arena, "%s", open);
    for (int i = 0; i < v->count && i < 3; i++) {
        const Value *item = &v->items[i];
        const char *t = item->kind == VALUE_TUPLE  ? "(...)"
                        : item->kind == VALUE_LIST ? "[...]"
                                                   : value_text(arena, item);
        text = arena_printf(arena, "%s%s%s", text, i ? ", " : "", t);
    }
    return arena_printf(arena, "%s%s%s", text, v->count > 3 ? ", ..." : "", close);
}

const Variable *find_variable(const Variable *v, const char *name)
{
    while (v && strcmp(v->name, name) != 0)
        v = v->next;
    return v;
}

int variable_names(const Variable *v, const char **names, int max)
{
    int count = 0;
    for (; v && count < max; v = v->next)
        names[count++] = v->name;
    return count;
}
