/* attrs.c - binds the arguments of a call to the attributes that its operator declares.
 *
 * Requires: an operator's AttrSpec table and a call. Establishes: every attribute given and in range, or holding its
 * default; every mistake reported with the operator, the attribute and what the attribute means. Positional arguments
 * fill the table in order, named ones follow. The operators themselves check only what depends on sizes.
 */
#include <inttypes.h>
#include <string.h>

#include "expand.h"

static const int64_t INT_ATTR_MAX = 2147483647;         /* where an AttrSpec's max is 0 */

/* ---- the table --------------------------------------------------------------------------------------------------- */

int attr_count(const Op *op)
{
    int count = 0;
    while (count < MAX_ATTRS && op->attrs[count].name)
        count++;
    return count;
}

int attr_index(const Op *op, const char *name)
{
    for (int i = 0; i < attr_count(op); i++)
        if (strcmp(op->attrs[i].name, name) == 0)
            return i;
    return -1;
}

static const char *kind_text(AttrKind kind)
{
    switch (kind) {
    case ATTR_INT:
        return "an integer";
    case ATTR_REAL:
        return "a number";
    case ATTR_FLAG:
        return "yes or no";
    case ATTR_PAIR:
        return "an integer or (height, width)";
    case ATTR_PAD:
        return "an integer, (height, width), (top, bottom, left, right) or same";
    case ATTR_NAMES:
        return "names given by as";
    }
    return "";
}

char *attr_help(Arena *arena, const AttrSpec *spec)
{
    return arena_printf(arena, "%s: %s", spec->name, spec->doc);
}

void default_attrs(const Op *op, Span span, Attr *attrs)
{
    for (int i = 0; i < attr_count(op); i++) {
        const AttrSpec *spec = &op->attrs[i];
        attrs[i] = (Attr){.span = span, .real = spec->value};
        for (int k = 0; k < 4; k++)
            attrs[i].n[k] = (int64_t)spec->value;
    }
}

Mark *find_mark(const Context *c, const char *name)
{
    TableEntry *entry = c->marks ? table_find(c->marks, name) : NULL;
    return entry ? entry->item : NULL;
}

void unknown_mark(Expander *x, const Context *c, Span span, const char *name)
{
    const char *names[100];
    int count = 0;
    for (int i = 0; c->marks && i < c->marks->capacity && count < 100; i++)
        if (c->marks->slots[i])
            names[count++] = c->marks->slots[i]->key;
    const char *near = suggest(x, name, names, count);
    if (near)
        fail(x, span, c->origin, "no tensor is named '%s'\ndid you mean '%s'?", name, near);
    else
        fail(x, span, c->origin, "no tensor is named '%s'\n`as %s;` after a statement names its output", name, name);
}

/* ---- one argument ------------------------------------------------------------------------------------------------ */

/* What a conversion needs for its messages. */
typedef struct {
    Expander       *x;
    const Context  *c;
    const Op       *op;
    const AttrSpec *spec;
    const Expr     *value;
} Binding;

static bool wrong_kind(const Binding *b, const Value *v)
{
    const char *mend = b->spec->kind == ATTR_FLAG && v->kind == VALUE_INT ? v->integer ? "; write yes" : "; write no"
                     : v->kind == VALUE_REAL ? "; int(...) cuts off, round(...) rounds" : "";
    fail(b->x, b->value->span, b->c->origin, "%s of %s must be %s, but %s is given\n%s%s", b->spec->name,
         b->op->keyword, kind_text(b->spec->kind), value_text(b->x->arena, v), attr_help(b->x->arena, b->spec), mend);
    return false;
}

static bool integer_in_range(const Binding *b, const Value *whole, const Value *v, int64_t *n)
{
    if (v->kind == VALUE_NONE)
        return false;
    if (v->kind != VALUE_INT)
        return wrong_kind(b, whole);
    int64_t min = (int64_t)b->spec->min, max = b->spec->max != 0 ? (int64_t)b->spec->max : INT_ATTR_MAX;
    if (v->integer < min || v->integer > max) {
        fail(b->x, b->value->span, b->c->origin, "%s of %s must be %s %" PRId64 ", but is %" PRId64 "\n%s",
             b->spec->name, b->op->keyword, v->integer < min ? "at least" : "at most", v->integer < min ? min : max,
             v->integer, attr_help(b->x->arena, b->spec));
        return false;
    }
    *n = v->integer;
    return true;
}

static bool real_in_range(const Binding *b, const Value *v, double *real)
{
    if (v->kind != VALUE_INT && v->kind != VALUE_REAL)
        return wrong_kind(b, v);
    if (v->real < b->spec->min || (b->spec->max != 0 && v->real > b->spec->max)) {
        bool low = v->real < b->spec->min;
        fail(b->x, b->value->span, b->c->origin, "%s of %s must be at %s %g, but is %g\n%s", b->spec->name,
             b->op->keyword, low ? "least" : "most", low ? b->spec->min : b->spec->max, v->real,
             attr_help(b->x->arena, b->spec));
        return false;
    }
    *real = v->real;
    return true;
}

/* One number for both directions, (h, w), and for paddings (top, bottom, left, right). */
static bool bind_directions(const Binding *b, const Value *v, Attr *attr)
{
    bool pad = b->spec->kind == ATTR_PAD;
    int64_t n[4];
    if (v->kind != VALUE_TUPLE) {
        if (!integer_in_range(b, v, v, &n[0]))
            return false;
        n[1] = n[2] = n[3] = n[0];
    } else if (v->count == 2 || (pad && v->count == 4)) {
        for (int i = 0; i < v->count; i++)
            if (!integer_in_range(b, v, &v->items[i], &n[i]))
                return false;
        if (pad && v->count == 2)
            n[2] = n[3] = n[1], n[1] = n[0];
    } else
        return wrong_kind(b, v);
    for (int i = 0; i < (pad ? 4 : 2); i++)
        attr->n[i] = n[i];
    return true;
}

/* A name that no variable has may be the word `same`. */
static bool is_same(const Binding *b)
{
    return b->spec->kind == ATTR_PAD && b->value->kind == EXPR_NAME && strcmp(b->value->text, "same") == 0 &&
           find_variable(b->c->variables, "same") == NULL;
}

static bool bind_value(const Binding *b, Attr *attr)
{
    attr->given = true;
    attr->span = b->value->span;
    if (is_same(b))
        return attr->same = true;
    Value v = eval(b->x, b->c, b->value);
    if (v.kind == VALUE_NONE)
        return false;
    switch (b->spec->kind) {
    case ATTR_INT:
        return integer_in_range(b, &v, &v, &attr->n[0]);
    case ATTR_REAL:
        return real_in_range(b, &v, &attr->real);
    case ATTR_FLAG:
        attr->n[0] = v.integer;
        return v.kind == VALUE_BOOL || wrong_kind(b, &v);
    case ATTR_PAIR:
    case ATTR_PAD:
        return bind_directions(b, &v, attr);
    case ATTR_NAMES:
        break;
    }
    return false;
}

/* An argument of add(...) or concat(...): a tensor named by `as`. */
static bool bind_tensor(const Binding *b, Attr *attr, LayerList *inputs)
{
    attr->given = true;
    attr->span = b->value->span;
    if (b->value->kind != EXPR_NAME) {
        fail(b->x, b->value->span, b->c->origin, "%s takes names of tensors\n%s", b->op->keyword,
             attr_help(b->x->arena, b->spec));
        return false;
    }
    Mark *mark = find_mark(b->c, b->value->text);
    if (mark) {
        APPEND(b->x->arena, inputs, mark->layer);
        return true;
    }
    unknown_mark(b->x, b->c, b->value->span, b->value->text);
    return false;
}

/* ---- the whole call ---------------------------------------------------------------------------------------------- */

static void too_many(Expander *x, const Context *c, const Op *op, const Arg *arg)
{
    char *list = arena_printf(x->arena, "%s", "");
    int count = attr_count(op);
    for (int i = 0; i < count; i++)
        list = arena_printf(x->arena, "%s%s%s", list, i ? ", " : "", op->attrs[i].name);
    if (count == 0)
        fail(x, arg->value->span, c->origin, "%s takes no attributes", op->keyword);
    else
        fail(x, arg->value->span, c->origin, "%s takes at most %d attribute%s\n%s(%s)", op->keyword, count,
             count == 1 ? "" : "s", op->keyword, list);
}

static int named_attr(Expander *x, const Context *c, const Op *op, const Arg *arg)
{
    int found = attr_index(op, arg->name), count = attr_count(op);
    if (found >= 0)
        return found;
    const char *names[MAX_ATTRS];
    char *list = arena_printf(x->arena, "%s", "");
    for (int i = 0; i < count; i++) {
        names[i] = op->attrs[i].name;
        list = arena_printf(x->arena, "%s%s%s", list, i ? ", " : "", names[i]);
    }
    const char *near = suggest(x, arg->name, names, count);
    if (near)
        fail(x, arg->name_span, c->origin, "%s has no attribute '%s'\ndid you mean '%s'?", op->keyword, arg->name,
             near);
    else
        fail(x, arg->name_span, c->origin, "%s has no attribute '%s'\n%s", op->keyword, arg->name,
             count ? arena_printf(x->arena, "it has %s", list) : "it has none");
    return -1;
}

/* The attribute that argument `i` is for, or -1 after an error. */
static int attr_of(Expander *x, const Context *c, const Op *op, const Stmt *call, int i)
{
    const Arg *arg = &call->args.items[i];
    if (arg->name)
        return named_attr(x, c, op, arg);
    if (i > 0 && call->args.items[i - 1].name) {
        fail(x, arg->value->span, c->origin, "a value without a name cannot follow a named one\nname it, or move it to "
             "the front");
        return -1;
    }
    int count = attr_count(op);
    if (i >= count && count > 0 && op->attrs[count - 1].kind == ATTR_NAMES)
        return count - 1;
    if (i >= count) {
        too_many(x, c, op, arg);
        return -2;
    }
    return i;
}

bool bind_attrs(Expander *x, const Context *c, const Stmt *call, const Op *op, Attr *attrs, LayerList *inputs)
{
    bool ok = true;
    const Arg *given_by[MAX_ATTRS] = {0};
    default_attrs(op, call->name_span, attrs);
    for (int i = 0; i < call->args.count && !x->stopped; i++) {
        const Arg *arg = &call->args.items[i];
        int a = attr_of(x, c, op, call, i);
        if (a < 0) {
            ok = false;
            if (a == -2)        /* too many: those that follow are not new mistakes */
                break;
            continue;
        }
        const Binding b = {x, c, op, &op->attrs[a], arg->value};
        if (b.spec->kind == ATTR_NAMES) {
            given_by[a] = arg;
            ok &= bind_tensor(&b, &attrs[a], inputs);
            continue;
        }
        if (given_by[a]) {
            fail(x, arg->name ? arg->name_span : arg->value->span, c->origin, "%s of %s is given twice\nthe first "
                 "is %s", b.spec->name, op->keyword, given_by[a]->name ? "named too" : "given by its position");
            ok = false;
            continue;
        }
        given_by[a] = arg;
        ok &= bind_value(&b, &attrs[a]);
    }
    if (!ok)            /* what is missing may be what was misspelt */
        return false;
    for (int a = 0; a < attr_count(op); a++)
        if (op->attrs[a].required && !given_by[a]) {
            fail(x, call->name_span, c->origin, "%s needs %s\n%s", op->keyword, op->attrs[a].name,
                 attr_help(x->arena, &op->attrs[a]));
            ok = false;
        }
    return ok;
}
