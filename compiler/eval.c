/* eval.c - compile-time expressions: integers, reals, yes/no, strings, tuples and lists.
 *
 * Requires: an expression whose depth is bounded (MAX_NESTING). Establishes: a Value, or VALUE_NONE after one error;
 * whatever is computed from VALUE_NONE stays silent. Operators are in operators.c, functions in functions.c.
 */
#include <inttypes.h>
#include <string.h>

#include "expand.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

static Value unknown_name(Expander *x, const Context *c, const Expr *e)
{
    static const char *const words[] = {"true", "True", "TRUE", "on", "Yes", "YES", "false", "False", "FALSE", "off",
                                        "No", "NO", "None", "none"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(e->text, words[i]) == 0) {
            fail(x, e->span, c->origin, "unknown name '%s'\nthe language writes yes and no", e->text);
            return no_value;
        }
    if (strcmp(e->text, "same") == 0) {
        fail(x, e->span, c->origin, "unknown name 'same'\nonly a padding can be same: pad = same");
        return no_value;
    }
    if (find_mark(c, e->text)) {
        fail(x, e->span, c->origin, "'%s' is a tensor, not a value\nits sizes are %s.channels, %s.height and %s.width",
             e->text, e->text, e->text, e->text);
        return no_value;
    }
    if (c->block && x->network && c->block != x->network)
        for (int i = 0; i < x->network->params.count; i++)
            if (strcmp(x->network->params.items[i].name, e->text) == 0) {
                fail(x, e->span, c->origin, "unknown name '%s'\na block sees only its own parameters: give block '%s' "
                     "a parameter '%s' and pass it", e->text, c->block->name, e->text);
                return no_value;
            }
    const char *names[100];
    const char *near = suggest(x, e->text, names, variable_names(c->variables, names, 100));
    if (near)
        fail(x, e->span, c->origin, "unknown name '%s'\ndid you mean '%s'?", e->text, near);
    else
        fail(x, e->span, c->origin, "unknown name '%s'", e->text);
    return no_value;
}

static Value eval_name(Expander *x, const Context *c, const Expr *e)
{
    for (const Variable *v = c->variables; v; v = v->next) {
        x->evaluations++;
        if (strcmp(v->name, e->text) == 0)
            return v->value;
    }
    return unknown_name(x, c, e);
}

/* The layer whose sizes `in.channels` or `skip.channels` asks for; NULL after an error. */
static const Layer *field_owner(Expander *x, const Context *c, const Expr *e)
{
    if (strcmp(e->text, "in") == 0) {
        if (c->in == NULL)
            fail(x, e->span, c->origin, "in has no meaning here: no tensor exists before input");
        return c->in;
    }
    Mark *mark = find_mark(c, e->text);
    if (mark == NULL)
        unknown_mark(x, c, e->span, e->text);
    return mark ? mark->layer : NULL;
}

/* in.channels: sizes of the tensor that reaches the statement; skip.channels: of the one named by `as skip`. */
static Value eval_field(Expander *x, const Context *c, const Expr *e)
{
    static const char *const fields[] = {"channels", "features", "height", "width"};
    static const int dimension[] = {0, 0, 1, 2};
    const Layer *owner = field_owner(x, c, e);
    if (owner == NULL)
        return no_value;
    const Shape *shape = &owner->output;
    for (int i = 0; i < 4; i++)
        if (strcmp(e->field, fields[i]) == 0) {
            if (shape->rank == 0)
                return no_value;
            if (dimension[i] < shape->rank)
                return integer_value(shape->dim[dimension[i]]);
            fail(x, e->span, c->origin, "%s has no %s: the tensor is flat, %" PRId64 " features\nask before flatten, "
                 "or for %s.features", e->text, e->field, shape->dim[0], e->text);
            return no_value;
        }
    const char *near = suggest(x, e->field, fields, 4);
    fail(x, e->span, c->origin, "%s has no field '%s'\n%s%s%s", e->text, e->field, near ? "did you mean '" : "",
         near ? near : "the fields are channels, height, width and features", near ? "'?" : "");
    return no_value;
}

/* ---- everything -------------------------------------------------------------------------------------------------- */

static Value eval_items(Expander *x, const Context *c, const Expr *e)
{
    Value v = {.kind = e->kind == EXPR_TUPLE ? VALUE_TUPLE : VALUE_LIST, .count = e->items.count};
    if (!charge(x, c, e->span, v.count, v.kind == VALUE_TUPLE ? "this tuple" : "this list"))
        return no_value;
    v.items = NEW_ARRAY(x->arena, Value, v.count);
    for (int i = 0; i < v.count; i++) {
        v.items[i] = eval(x, c, e->items.items[i]);
        if (v.items[i].kind == VALUE_NONE)
            return no_value;
    }
    return v;
}

Value eval(Expander *x, const Context *c, const Expr *e)
{
    if (x->stopped)
        return no_value;
    if (++x->evaluations > MAX_EVALUATIONS) {
        fail(x, e->span, c->origin, "the network's expressions take more than %d steps to compute", MAX_EVALUATIONS);
        x->stopped = true;
        return no_value;
    }
    bool yes;
    switch (e->kind) {
    case EXPR_INT:
        return integer_value(e->integer);
    case EXPR_REAL:
        return real_value(x, c, e, e->real);
    case EXPR_BOOL:
        return bool_value(e->integer != 0);
    case EXPR_STRING:
        return (Value){.kind = VALUE_STRING, .text = e->text};
    case EXPR_NAME:
        return eval_name(x, c, e);
    case EXPR_FIELD:
        return eval_field(x, c, e);
    case EXPR_UNARY:
        return eval_unary(x, c, e);
    case EXPR_BINARY:
        return eval_binary(x, c, e);
    case EXPR_CONDITIONAL:
        return eval_condition(x, c, e->kid[0], "? :", &yes) ? eval(x, c, e->kid[yes ? 1 : 2]) : no_value;
    case EXPR_TUPLE:
    case EXPR_LIST:
        return eval_items(x, c, e);
    case EXPR_CALL:
        return call_function(x, c, e);
    }
    return no_value;
}

/* What the user wrote, where it is short enough to be quoted in a help. */
static const char *quoted(const Expander *x, const Expr *e)
{
    int length = e->span.end - e->span.begin;
    bool plain = e->kind == EXPR_NAME || e->kind == EXPR_FIELD || e->kind == EXPR_INT;
    return plain && length > 0 && length <= 40 ? arena_copy(x->arena, x->source->text + e->span.begin, (size_t)length)
                                               : "(...)";
}

bool eval_condition(Expander *x, const Context *c, const Expr *e, const char *what, bool *yes)
{
    Value v = eval(x, c, e);
    if (v.kind == VALUE_BOOL) {
        *yes = v.integer != 0;
        return true;
    }
    if (is_number(&v))
        fail(x, e->span, c->origin, "%s needs yes or no, but %s is a number\nwrite %s != 0", what,
             value_text(x->arena, &v), quoted(x, e));
    else if (v.kind != VALUE_NONE)
        fail(x, e->span, c->origin, "%s needs yes or no, but %s is given", what, value_text(x->arena, &v));
    return false;
}

bool eval_integer(Expander *x, const Context *c, const Expr *e, const char *what, int64_t *n)
{
    Value v = eval(x, c, e);
    if (v.kind == VALUE_INT) {
        *n = v.integer;
        return true;
    }
    if (v.kind == VALUE_REAL)
        fail(x, e->span, c->origin, "%s must be an integer, but %s is given\nint(...) cuts off, round(...) rounds",
             what, value_text(x->arena, &v));
    else if (v.kind != VALUE_NONE)
        fail(x, e->span, c->origin, "%s must be an integer, but %s is given", what, value_text(x->arena, &v));
    return false;
}
