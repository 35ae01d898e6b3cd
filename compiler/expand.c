/* expand.c - blocks, repeats, conditions and names -> layer graph.
 *
 * Requires: a parsed tree. Establishes: layers in execution order, each with its operator, its attributes bound, its
 * shape inferred (shape.c is called for each layer as it is made, so that `in.channels` is known to the next one), its
 * name and its C symbol; or errors, several of them where possible. A layer after an error has an output of rank 0, and
 * everything computed from that stays silent.
 *
 * Hostile files: work is charged before it is done (charge), nesting is bounded, recursion was refused (blocks.c).
 */
#include <inttypes.h>
#include <string.h>

#include "expand.h"

/* ---- errors and limits ----------------------------------------------------------------------------------------------- */

void fail_va(Expander *x, Span span, const Origin *origin, const char *format, va_list args)
{
    if (x->stopped)
        return;
    if (x->trial)
        x->stopped = true;
    else {
        char *place = arena_printf(x->arena, "%d %d %d", span.begin, span.end, origin ? origin->call.begin : -1);
        TableEntry *entry = table_put(x->arena, &x->reported, place);
        if (span.end > 0 && entry->number++)
            return;
    }
    error_va(x->diag, span, origin, format, args);
    if (x->diag->errors >= MAX_ERRORS)
        x->stopped = true;
}

void fail(Expander *x, Span span, const Origin *origin, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_va(x, span, origin, format, args);
    va_end(args);
}

const char *suggest(const Expander *x, const char *name, const char *const *candidates, int count)
{
    return x->trial || x->diag->errors >= x->diag->limit ? NULL : nearest_name(name, candidates, count);
}

bool charge(Expander *x, const Context *c, Span span, int64_t amount, const char *what)
{
    if (x->stopped)
        return false;
    if (amount <= MAX_STATEMENTS - x->statements) {
        x->statements += amount;
        return true;
    }
    if (amount > MAX_STATEMENTS)
        fail(x, span, c->origin, "%s asks for %" PRId64 " steps, but a network expands in at most %d", what, amount,
             MAX_STATEMENTS);
    else
        fail(x, span, c->origin, "the network takes more than %d steps to expand; %s asked for the last\nlook for "
             "repeats inside repeats, and for blocks that call others twice: each level doubles", MAX_STATEMENTS, what);
    x->stopped = true;
    return false;
}

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

/* ---- layers ---------------------------------------------------------------------------------------------------------- */

/* A layer without attributes bound or a shape; `name` may be NULL after an error. */
static Layer *new_layer(Expander *x, const Context *c, const Op *op, const char *name, Span span)
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

/* ---- calls ----------------------------------------------------------------------------------------------------------- */

static Layer *expand_list(Expander *, Context, const StmtList *);

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

/* ---- braces ---------------------------------------------------------------------------------------------------------- */

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

/* ---- repeat ---------------------------------------------------------------------------------------------------------- */

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

/* ---- as, from -------------------------------------------------------------------------------------------------------- */

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

/* ---- statements ------------------------------------------------------------------------------------------------------ */

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
static Layer *expand_list(Expander *x, Context c, const StmtList *list)
{
    for (int i = 0; i < list->count && !x->stopped; i++) {
        const Stmt *s = list->items[i];
        if (charge(x, &c, s->span, 1, "this statement"))
            c.in = expand_statement(x, &c, s);
    }
    return c.in;
}

/* ---- the network ----------------------------------------------------------------------------------------------------- */

static void override_input(Layer *l, const Shape *shape)
{
    static const char *const names[] = {"channels", "height", "width"};
    for (int i = 0; i < 3; i++) {
        int a = attr_index(l->op, names[i]);
        if (a < 0)
            continue;
        l->attr[a].given = i < shape->rank;
        l->attr[a].n[0] = i < shape->rank ? shape->dim[i] : (int64_t)l->op->attrs[a].value;
    }
}

/* The input layer. Without one, an unknown tensor takes its place, so that other mistakes are found too. */
static Layer *expand_input(Expander *x, const Context *c, const StmtList *body)
{
    const Stmt *s = body->count ? body->items[0] : NULL;
    bool there = s && s->kind == STMT_CALL && strcmp(s->name, op_input.keyword) == 0;
    Layer *l = new_layer(x, c, &op_input, NULL, s ? s->span : x->network->name_span);
    l->name = automatic_name(x, c, op_input.keyword, l);
    default_attrs(l->op, l->span, l->attr);
    if (!there) {
        fail(x, s ? s->span : x->network->name_span, NULL, "%s\nwrite input(channels, height, width); or "
             "input(features); first", s ? "the first statement of a network must be its input" :
             "the network is empty");
        return l;
    }
    if (s->label)
        fail(x, s->label_span, NULL, "input takes no label");
    LayerList none = {0};
    bool bound = bind_attrs(x, c, s, l->op, l->attr, &none);
    if (x->overrides->input.rank > 0)
        override_input(l, &x->overrides->input);
    if (bound && !x->stopped)
        infer_layer(l);
    return l;
}

/* What is legal but surely not meant. */
static void warn(Expander *x)
{
    Graph *g = x->graph;
    int unused = 0;
    for (int i = 0; i < g->layers.count && unused < x->diag->limit; i++) {
        const Layer *l = g->layers.items[i];
        if (l->users > 0 || l == g->output)
            continue;
        warning_at(x->diag, l->span, l->origin, "nothing uses the output of '%s'\nit is computed for nothing: remove it, "
                   "or join it with add or concat", l->name);
        unused++;
    }
    if (g->output->op == &op_softmax)
        warning_at(x->diag, g->output->span, g->output->origin, "the loss already contains softmax\nremove this one: "
                   "the gradient of two in a row is smaller");
}

static Layer *expand_network(Expander *x, const Context *c)
{
    Context inside = *c;
    const StmtList *body = &x->network->body;
    inside.in = expand_input(x, c, body);
    x->graph->input = inside.in;
    StmtList rest = *body;
    if (body->count && body->items[0]->kind == STMT_CALL && strcmp(body->items[0]->name, op_input.keyword) == 0) {
        rest.items++;
        rest.count--;
    }
    Layer *out = x->stopped ? inside.in : expand_list(x, inside, &rest);
    if (!x->stopped && x->diag->errors == 0 && out == x->graph->input)
        fail(x, x->network->name_span, NULL, "the output of network '%s' is its input\nadd a layer", x->network->name);
    return out;
}

Graph *expand_tree(Expander *x)
{
    Graph *g = x->graph = NEW(x->arena, Graph);
    *g = (Graph){.arena = x->arena, .diag = x->diag, .source = x->source, .expander = x};
    if (!x->network && !check_declarations(x))
        return g;
    g->name = x->network->name;
    Scope *scope = NEW(x->arena, Scope);
    *scope = (Scope){.name = ""};
    OpenScope open = {scope, 0};
    Table marks = {0};
    Context c = {.marks = &marks, .block = x->network, .scope = &open};
    bind_network(x, &c.variables);
    read_train(x, &c);
    g->output = x->stopped ? NULL : expand_network(x, &c);
    g->expander = NULL;
    return g;
}

Graph *expand(Arena *arena, Diag *diag, const Source *source, const Tree *tree, const Overrides *overrides)
{
    int before = diag->errors;
    Expander x = {.arena = arena, .diag = diag, .source = source, .tree = tree, .overrides = overrides,
                  .layer_limit = MAX_LAYERS};
    Graph *g = expand_tree(&x);
    if (diag->errors > before || x.stopped)
        return NULL;
    warn(&x);
    assign_symbols(g);
    return g;
}
