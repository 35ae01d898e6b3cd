/* statements.c - what each kind of statement makes of the tensor that reaches it.
 *
 * Requires: declarations checked (blocks.c: no recursion). Establishes: the layers of a list of statements, appended to
 * the graph in execution order. Each function returns the tensor that it leaves; after an error that is a layer whose
 * output has rank 0, and everything computed from it stays silent.
 */
#include <inttypes.h>
#include <string.h>

#include "expand.h"

/* Braces and block calls share one limit, because both cost stack here. */
static bool enter(Expander *x, const Context *c, const Stmt *s)
{
    if (x->depth >= MAX_NESTING) {
        fail(x, s->span, c->origin, "blocks and braces are nested deeper than %d", MAX_NESTING);
        x->stopped = true;
        return false;
    }
    x->depth++;
    return true;
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

Layer *new_layer(Expander *x, const Context *c, const Op *op, const char *name, Span span)
{
    Graph *g = x->graph;
    if (g->layers.count >= x->layer_limit) {
        fail(x, span, c->origin, "the network has more than %d layers", x->layer_limit);
        x->stopped = true;
        return c->in;
    }
    Layer *l = NEW(x->arena, Layer);
    l->graph = g;
    l->op = op;
    l->index = g->layers.count;
    l->name = name ? name : "?";
    l->scope = c->scope->scope;
    l->span = span;
    l->origin = c->origin;
    APPEND(x->arena, &g->layers, l);
    return l;
}

static void connect(Expander *x, Layer *l, Layer *const *inputs, int count)
{
    if (count > MAX_INPUTS) {
        fail(x, l->span, l->origin, "%d tensors reach one %s\nat most %d can", count, l->op->keyword, MAX_INPUTS);
        count = MAX_INPUTS;
    }
    l->input = NEW_ARRAY(x->arena, Layer *, count);
    l->input_count = count;
    for (int i = 0; i < count; i++) {
        l->input[i] = inputs[i];
        inputs[i]->users++;
    }
}

/* The layer that `residual` or `concat` adds for themselves. */
static Layer *join_layer(Expander *x, const Context *c, const Op *op, const Stmt *s, Layer *const *inputs, int count)
{
    if (x->stopped)
        return c->in;
    Layer *l = new_layer(x, c, op, NULL, s->span);
    if (x->stopped)
        return l;
    l->name = automatic_name(x, c, op->keyword, l);
    default_attrs(op, s->span, l->attr);
    connect(x, l, inputs, count);
    infer_layer(l);
    return l;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static Layer *call_operator(Expander *x, const Context *c, const Stmt *s, const Op *op)
{
    if (op == &op_input) {
        fail(x, s->span, c->origin, "input can only be the first statement of the network");
        return c->in;
    }
    const char *name = child_name(x, c, s);
    if (x->stopped)
        return c->in;
    Layer *l = new_layer(x, c, op, name, s->span);
    if (x->stopped)
        return l;
    LayerList inputs = {0};
    APPEND(x->arena, &inputs, c->in);
    bool bound = bind_attrs(x, c, s, op, l->attr, &inputs);
    connect(x, l, inputs.items, inputs.count);
    if (bound && !x->stopped)
        infer_layer(l);
    return l;
}

static void open_scope(Expander *x, const Context *c, OpenScope *open, const char *name, const char *block)
{
    *open = (OpenScope){.scope = NEW(x->arena, Scope)};
    *open->scope = (Scope){name ? name : "?", block, c->scope->scope};
}

static Layer *call_block(Expander *x, const Context *c, const Stmt *s, const Block *b)
{
    const Variable *variables;
    const char *name = child_name(x, c, s);
    if (!bind_call(x, c, s, b, &variables) || x->stopped || !enter(x, c, s)) {
        /* Nothing is known about what comes out: a layer of unknown shape keeps the rest silent. */
        return x->stopped ? c->in : new_layer(x, c, &op_add, NULL, s->span);
    }
    OpenScope open;
    Table marks = {0};
    Origin *origin = NEW(x->arena, Origin);
    *origin = (Origin){s->span, b->name, c->origin};
    open_scope(x, c, &open, name, b->name);
    Context inside = {variables, &marks, origin, b, &open, c->in};
    Layer *out = expand_list(x, inside, &b->body);
    x->depth--;
    return out;
}

static void unknown_call(Expander *x, const Context *c, const Stmt *s)
{
    const char *names[1000];
    int count = 0;
    for (; op_at(count) && count < 500; count++)
        names[count] = op_at(count)->keyword;
    for (int i = 0; i < x->tree->blocks.count && count < 1000; i++)
        names[count++] = x->tree->blocks.items[i]->name;
    const char *near = suggest(x, s->name, names, count);
    if (near)
        fail(x, s->name_span, c->origin, "no operator or block is named '%s'\ndid you mean '%s'?", s->name, near);
    else
        fail(x, s->name_span, c->origin, "no operator or block is named '%s'\n`cnnc explain` lists the operators",
             s->name);
}

static Layer *expand_call(Expander *x, const Context *c, const Stmt *s)
{
    const Op *op = find_op(s->name);
    if (op)
        return call_operator(x, c, s, op);
    TableEntry *entry = table_find(&x->blocks, s->name);
    if (entry)
        return call_block(x, c, s, entry->item);
    unknown_call(x, c, s);
    child_name(x, c, s);
    return x->stopped ? c->in : new_layer(x, c, &op_add, NULL, s->span);
}

/* ---- braces ------------------------------------------------------------------------------------------------------ */

/* Statements in braces that open no scope. */
static Layer *expand_body(Expander *x, const Context *c, const Stmt *s, const StmtList *body)
{
    if (!enter(x, c, s))
        return c->in;
    Layer *out = expand_list(x, *c, body);
    x->depth--;
    return out;
}

static Layer *expand_group(Expander *x, const Context *c, const Stmt *s)
{
    OpenScope open;
    const char *name = child_name(x, c, s);
    if (x->stopped)
        return c->in;
    open_scope(x, c, &open, name, NULL);
    Context inside = *c;
    inside.scope = &open;
    return expand_body(x, &inside, s, &s->body);
}

/* Several branches from one tensor, joined along the channels. An unlabelled branch is no module of its own. */
static Layer *expand_concat(Expander *x, const Context *c, const Stmt *s)
{
    LayerList outs = {0};
    if (!enter(x, c, s))
        return c->in;
    for (int i = 0; i < s->body.count && !x->stopped; i++) {
        const Stmt *branch = s->body.items[i];
        if (!charge(x, c, branch->span, 1, "this branch"))
            break;
        Layer *out = branch->kind == STMT_GROUP && !branch->label ? expand_body(x, c, branch, &branch->body)
                                                                   : expand_group(x, c, branch);
        APPEND(x->arena, &outs, out);
    }
    x->depth--;
    if (s->body.count == 0) {
        fail(x, s->span, c->origin, "concat has no branches\nwrite concat { { ... } { ... } }");
        return c->in;
    }
    return outs.count == 1 ? outs.items[0] : join_layer(x, c, &op_concat, s, outs.items, outs.count);
}

static Layer *expand_residual(Expander *x, const Context *c, const Stmt *s)
{
    bool shortcut = s->has_other;
    Layer *ends[2] = {expand_body(x, c, s, &s->body), c->in};
    if (s->has_other && s->when && !x->stopped) {
        if (c->in->output.rank == 0)            /* nothing sensible can be asked about `in` */
            return c->in;
        if (!eval_condition(x, c, s->when, "when", &shortcut))
            return x->stopped ? c->in : new_layer(x, c, &op_add, NULL, s->span);
    }
    if (shortcut && !x->stopped)
        ends[1] = expand_body(x, c, s, &s->other);
    return join_layer(x, c, &op_add, s, ends, 2);
}

static Layer *expand_if(Expander *x, const Context *c, const Stmt *s)
{
    bool yes;
    if (!eval_condition(x, c, s->count, "if", &yes))
        return c->in;
    return yes ? expand_body(x, c, s, &s->body) : s->has_other ? expand_body(x, c, s, &s->other) : c->in;
}

/* ---- repeat ------------------------------------------------------------------------------------------------------ */

static const Variable *bind_variable(Expander *x, const Variable *outer, const char *name, Value value)
{
    Variable *v = NEW(x->arena, Variable);
    *v = (Variable){name, value, outer};
    return v;
}

static Layer *repeat_range(Expander *x, Context c, const Stmt *s)
{
    int64_t from, to, turns;
    bool first = eval_integer(x, &c, s->from, "the start of a range", &from);
    bool second = eval_integer(x, &c, s->to, "the end of a range", &to);
    if (!first || !second)
        return c.in;
    if (s->variables.count != 1) {
        fail(x, s->variables.items[1].span, c.origin, "a range has one loop variable\nrepeat i in a..b { ... }");
        return c.in;
    }
    if (to < from)
        return c.in;
    if (__builtin_sub_overflow(to, from, &turns) || __builtin_add_overflow(turns, 1, &turns))
        turns = INT64_MAX;
    if (!charge(x, &c, s->span, turns, "this repeat"))
        return c.in;
    const Variable *outer = c.variables;
    for (int64_t k = 0; k < turns && !x->stopped; k++) {
        Value value = {.kind = VALUE_INT, .integer = from + k, .real = (double)(from + k)};
        c.variables = bind_variable(x, outer, s->variables.items[0].name, value);
        c.in = expand_body(x, &c, s, &s->body);
    }
    return c.in;
}

/* One item of the list for several variables: a tuple of as many. */
static bool bind_item(Expander *x, Context *c, const Stmt *s, const Value *item)
{
    int variables = s->variables.count;
    if (variables > 1 && (item->kind != VALUE_TUPLE || item->count != variables)) {
        fail(x, s->count->span, c->origin, "each item must be a tuple of %d for the %d loop variables, but %s is none",
             variables, variables, value_text(x->arena, item));
        return false;
    }
    for (int i = 0; i < variables; i++)
        c->variables = bind_variable(x, c->variables, s->variables.items[i].name, variables > 1 ? item->items[i]
                                                                                                : *item);
    return true;
}

static Layer *repeat_list(Expander *x, Context c, const Stmt *s, const Value *list)
{
    if (!charge(x, &c, s->span, list->count, "this repeat"))
        return c.in;
    const Variable *outer = c.variables;
    for (int i = 0; i < list->count && !x->stopped; i++) {
        c.variables = outer;
        if (!bind_item(x, &c, s, &list->items[i]))
            break;
        c.in = expand_body(x, &c, s, &s->body);
    }
    return c.in;
}

static bool check_variables(Expander *x, const Context *c, const Stmt *s)
{
    const Name *names = s->variables.items;
    if (s->variables.count > MAX_ARGUMENTS) {
        fail(x, names[MAX_ARGUMENTS].span, c->origin, "a repeat has at most %d loop variables", MAX_ARGUMENTS);
        return false;
    }
    for (int i = 1; i < s->variables.count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(names[i].name, names[k].name) == 0) {
                fail(x, names[i].span, c->origin, "the loop variable '%s' is named twice", names[i].name);
                return false;
            }
    return true;
}

static Layer *expand_repeat(Expander *x, const Context *c, const Stmt *s)
{
    if (!check_variables(x, c, s))
        return c->in;
    if (s->from)
        return repeat_range(x, *c, s);
    Value v = eval(x, c, s->count);
    bool named = s->variables.count > 0;
    if (v.kind == VALUE_LIST && named)
        return repeat_list(x, *c, s, &v);
    if (v.kind == VALUE_LIST)
        fail(x, s->count->span, c->origin, "a repeat over a list needs a loop variable\nrepeat item in [...] { ... }");
    else if (v.kind == VALUE_INT && named)
        fail(x, s->count->span, c->origin, "a loop variable needs a range or a list, but %" PRId64 " is a number\n"
             "repeat %s in 1..%" PRId64 " { ... }", v.integer, s->variables.items[0].name, v.integer);
    else if (v.kind == VALUE_INT && v.integer < 0)
        fail(x, s->count->span, c->origin, "repeat cannot run %" PRId64 " times", v.integer);
    else if (v.kind != VALUE_INT && v.kind != VALUE_NONE)
        fail(x, s->count->span, c->origin, "repeat needs %s, but %s is given", named ? "a range or a list" :
             "an integer", value_text(x->arena, &v));
    Layer *current = c->in;
    if (v.kind != VALUE_INT || named || v.integer < 0 || !charge(x, c, s->span, v.integer, "this repeat"))
        return current;
    for (int64_t k = 0; k < v.integer && !x->stopped; k++) {
        Context turn = *c;
        turn.in = current;
        current = expand_body(x, &turn, s, &s->body);
    }
    return current;
}

/* ---- as, from ---------------------------------------------------------------------------------------------------- */

/* The same statement may run again, in a repeat, and then renames; two statements with one name are a mistake. */
static void expand_as(Expander *x, const Context *c, const Stmt *s)
{
    TableEntry *entry = table_put(x->arena, c->marks, s->name);
    Mark *mark = entry->item;
    if (mark && mark->by != s) {
        int before = x->diag->errors;
        fail(x, s->name_span, c->origin, "two tensors are named '%s'", s->name);
        if (x->diag->errors > before)
            note_at(x->diag, mark->by->name_span, "the first one");
        return;
    }
    if (mark == NULL)
        mark = entry->item = NEW(x->arena, Mark);
    *mark = (Mark){s, c->in};
}

static Layer *expand_from(Expander *x, const Context *c, const Stmt *s)
{
    Mark *mark = find_mark(c, s->name);
    if (mark)
        return mark->layer;
    unknown_mark(x, c, s->name_span, s->name);
    return x->stopped ? c->in : new_layer(x, c, &op_add, NULL, s->span);
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

static Layer *expand_statement(Expander *x, const Context *c, const Stmt *s)
{
    switch (s->kind) {
    case STMT_CALL:
        return expand_call(x, c, s);
    case STMT_GROUP:
        return expand_group(x, c, s);
    case STMT_REPEAT:
        return expand_repeat(x, c, s);
    case STMT_CONCAT:
        return expand_concat(x, c, s);
    case STMT_RESIDUAL:
        return expand_residual(x, c, s);
    case STMT_IF:
        return expand_if(x, c, s);
    case STMT_AS:
        expand_as(x, c, s);
        return c->in;
    case STMT_FROM:
        return expand_from(x, c, s);
    }
    return c->in;
}

/* Each statement transforms the current tensor, as nn.Sequential does. */
Layer *expand_list(Expander *x, Context c, const StmtList *list)
{
    for (int i = 0; i < list->count && !x->stopped; i++) {
        const Stmt *s = list->items[i];
        if (charge(x, &c, s->span, 1, "this statement"))
            c.in = expand_statement(x, &c, s);
    }
    return c.in;
}
