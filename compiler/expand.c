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

/* ---- errors and limits ------------------------------------------------------------------------------------------- */

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

/* ---- the network ------------------------------------------------------------------------------------------------- */

/* A size of 0 leaves what the network declares. */
static void override_input(Layer *l, const Shape *shape)
{
    static const char *const names[] = {"channels", "height", "width"};
    for (int i = 0; i < 3; i++) {
        int a = attr_index(l->op, names[i]);
        if (a < 0 || (i < shape->rank && shape->dim[i] == 0))
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
        warning_at(x->diag, l->span, l->origin, "nothing uses the output of '%s'\nit is computed for nothing: remove "
                   "it, or join it with add or concat", l->name);
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
    if (!x->stopped)
        check_train(x);
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
