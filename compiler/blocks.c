/* blocks.c - declarations: blocks and the network, their parameters, and who calls whom.
 *
 * Requires: a parsed tree. Establishes: one network with a name that C accepts; block names unique and not those of
 * operators; no recursion, so that expansion ends; parameters bound to values by calls and by -D.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"

/* ---- names of blocks, networks and parameters -------------------------------------------------------------------- */

static void check_params(Expander *x, const Block *b)
{
    if (b->params.count > MAX_ARGUMENTS) {
        fail(x, b->params.items[MAX_ARGUMENTS].span, NULL, "'%s' has more than %d parameters", b->name, MAX_ARGUMENTS);
        x->stopped = true;
        return;
    }
    for (int i = 0; i < b->params.count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(b->params.items[i].name, b->params.items[k].name) == 0) {
                fail(x, b->params.items[i].span, NULL, "parameter '%s' is declared twice", b->params.items[i].name);
                note_at(x->diag, b->params.items[k].span, "first declared here");
                break;
            }
}

static void declare_blocks(Expander *x)
{
    for (int i = 0; i < x->tree->blocks.count && !x->stopped; i++) {
        Block *b = x->tree->blocks.items[i];
        TableEntry *entry = table_put(x->arena, &x->blocks, b->name);
        check_params(x, b);
        if (find_op(b->name))
            fail(x, b->name_span, NULL, "'%s' is an operator\na block needs a name of its own", b->name);
        else if (entry->item) {
            fail(x, b->name_span, NULL, "block '%s' is declared twice", b->name);
            note_at(x->diag, entry->span, "first declared here");
        }
        if (entry->item == NULL) {
            entry->item = b;
            entry->span = b->name_span;
        }
    }
}

static bool find_network(Expander *x)
{
    const Tree *tree = x->tree;
    if (tree->networks.count == 0) {
        fail(x, (Span){0, 0}, NULL, "the file has no network\nwrite network name { input(channels, height, width); "
             "... }");
        return false;
    }
    Block *network = tree->networks.items[0];
    for (int i = 1; i < tree->networks.count && i < 3; i++) {
        fail(x, tree->networks.items[i]->name_span, NULL, "a file holds one network, but '%s' is another one\nwhat "
             "networks share can be a block", tree->networks.items[i]->name);
        note_at(x->diag, network->name_span, "the first is here");
    }
    x->network = network;
    check_params(x, network);
    const char *why = reserved_name(network->name);
    if (why)
        fail(x, network->name_span, NULL, "the name '%s' %s\nthe generated C is named after the network: call it my_%s",
             network->name, why, network->name + strspn(network->name, "_"));
    else if (strlen(network->name) > 63)
        fail(x, network->name_span, NULL, "the name of the network is longer than 63 characters\nC compilers need not "
             "tell longer names apart");
    return true;
}

/* ---- recursion --------------------------------------------------------------------------------------------------- */

typedef struct { Block *to; Span call; } Call;
typedef LIST(Call) CallList;

static void collect_calls(Expander *x, const StmtList *list, CallList *calls)
{
    for (int i = 0; i < list->count; i++) {
        const Stmt *s = list->items[i];
        TableEntry *entry = s->kind == STMT_CALL && !find_op(s->name) ? table_find(&x->blocks, s->name) : NULL;
        if (entry)
            APPEND(x->arena, calls, ((Call){entry->item, s->name_span}));
        collect_calls(x, &s->body, calls);
        collect_calls(x, &s->other, calls);
    }
}

/* One block on the path of a depth-first walk, and how far its calls have been followed. */
typedef struct Visit { Block *block; CallList calls; int next; struct Visit *caller; } Visit;
enum { UNSEEN, ON_PATH, DONE };

static Visit *visit(Expander *x, Block *b, Visit *caller)
{
    Visit *v = NEW(x->arena, Visit);
    *v = (Visit){.block = b, .caller = caller};
    collect_calls(x, &b->body, &v->calls);
    table_find(&x->blocks, b->name)->number = ON_PATH;
    return v;
}

/* "a calls b calls a", at most the last eight of them. */
static void report_cycle(Expander *x, const Visit *top, const Call *closing)
{
    const Visit *path[8];
    int count = 0;
    const Visit *v = top;
    for (; v && count < 8; v = v->caller) {
        path[count++] = v;
        if (v->block == closing->to)
            break;
    }
    bool cut = v == NULL || v->block != closing->to;
    char *text = arena_printf(x->arena, "%s%s", closing->to->name, cut ? " ... calls " : "");
    if (cut)
        text = arena_printf(x->arena, "%s%s", text, path[count - 1]->block->name);
    for (int i = count - 2; i >= 0; i--)
        text = arena_printf(x->arena, "%s calls %s", text, path[i]->block->name);
    fail(x, closing->call, NULL, "block '%s' calls itself: %s calls %s\na block cannot be recursive; use repeat",
         closing->to->name, text, closing->to->name);
}

/* The stack of the walk lives in the arena: a chain of 100,000 blocks must not overflow ours. */
static bool find_recursion(Expander *x)
{
    bool found = false;
    for (int i = 0; i < x->tree->blocks.count; i++) {
        Block *b = table_find(&x->blocks, x->tree->blocks.items[i]->name)->item;
        if (table_find(&x->blocks, b->name)->number != UNSEEN)
            continue;
        for (Visit *v = visit(x, b, NULL); v;) {
            if (v->next == v->calls.count) {
                table_find(&x->blocks, v->block->name)->number = DONE;
                v = v->caller;
                continue;
            }
            Call *call = &v->calls.items[v->next++];
            TableEntry *entry = table_find(&x->blocks, call->to->name);
            if (entry->number == ON_PATH) {
                report_cycle(x, v, call);
                found = true;
            } else if (entry->number == UNSEEN)
                v = visit(x, call->to, v);
        }
    }
    return found;
}

bool check_declarations(Expander *x)
{
    declare_blocks(x);
    return !x->stopped && find_network(x) && !x->stopped && !find_recursion(x);
}

/* ---- parameters -> variables ------------------------------------------------------------------------------------- */

static int param_index(const Block *b, const char *name)
{
    for (int i = 0; i < b->params.count; i++)
        if (strcmp(b->params.items[i].name, name) == 0)
            return i;
    return -1;
}

static const char *nearest_param(const Expander *x, const Block *b, const char *name)
{
    const char *names[MAX_ARGUMENTS];
    for (int i = 0; i < b->params.count; i++)
        names[i] = b->params.items[i].name;
    return suggest(x, name, names, b->params.count);
}

/* "basic(channels, stride)" */
static char *signature(Arena *arena, const Block *b)
{
    char *text = arena_printf(arena, "%s(", b->name);
    for (int i = 0; i < b->params.count; i++)
        text = arena_printf(arena, "%s%s%s", text, i ? ", " : "", b->params.items[i].name);
    return arena_printf(arena, "%s)", text);
}

static void declare(Expander *x, const Variable **variables, const char *name, Value value)
{
    Variable *v = NEW(x->arena, Variable);
    *v = (Variable){name, value, *variables};
    *variables = v;
}

/* The parameter that argument i of the call is for, or -1 after an error. */
static int argument_param(Expander *x, const Context *caller, const Stmt *call, const Block *b, int i)
{
    const Arg *arg = &call->args.items[i];
    if (arg->name) {
        int found = param_index(b, arg->name);
        if (found < 0) {
            const char *near = nearest_param(x, b, arg->name);
            fail(x, arg->name_span, caller->origin, "block '%s' has no parameter '%s'\n%s%s%s", b->name, arg->name,
                 near ? "did you mean '" : "it is ", near ? near : signature(x->arena, b), near ? "'?" : "");
        }
        return found;
    }
    if (i > 0 && call->args.items[i - 1].name) {
        fail(x, arg->value->span, caller->origin, "a value without a name cannot follow a named one\nname it, or move "
             "it to the front");
        return -1;
    }
    return i;
}

bool bind_call(Expander *x, const Context *caller, const Stmt *call, const Block *b, const Variable **variables)
{
    Value values[MAX_ARGUMENTS];
    bool given[MAX_ARGUMENTS] = {0}, ok = true;
    if (call->args.count > b->params.count) {
        fail(x, call->args.items[b->params.count].value->span, caller->origin, "block '%s' takes %d argument%s, but %d "
             "are given\nit is %s", b->name, b->params.count, b->params.count == 1 ? "" : "s", call->args.count,
             signature(x->arena, b));
        return false;
    }
    for (int i = 0; i < call->args.count; i++) {
        const Arg *arg = &call->args.items[i];
        int p = argument_param(x, caller, call, b, i);
        if (p >= 0 && given[p]) {
            fail(x, arg->name_span, caller->origin, "'%s' is given twice to block '%s'", b->params.items[p].name,
                 b->name);
            p = -1;
        }
        if (p < 0) {
            ok = false;
            continue;
        }
        given[p] = true;
        values[p] = eval(x, caller, arg->value);
        ok &= values[p].kind != VALUE_NONE;
    }
    if (!ok)
        return false;
    /* Defaults see the parameters before them, and `in`. */
    Context inside = *caller;
    inside.variables = *variables = NULL;
    inside.block = b;
    for (int p = 0; p < b->params.count; p++) {
        const Param *param = &b->params.items[p];
        if (!given[p] && param->value == NULL) {
            fail(x, call->name_span, caller->origin, "block '%s' needs '%s'\nit is %s", b->name, param->name,
                 signature(x->arena, b));
            return false;
        }
        if (!given[p] && (values[p] = eval(x, &inside, param->value)).kind == VALUE_NONE)
            return false;
        declare(x, variables, param->name, values[p]);
        inside.variables = *variables;
    }
    return true;
}

/* ---- -D name=value ----------------------------------------------------------------------------------------------- */

static Value define_value(Expander *x, const Define *d)
{
    Value value = {.kind = VALUE_NONE};
    const Expr *e = d->value ? parse_expression(x->arena, d->value) : NULL;
    if (e) {
        Diag quiet = {.out = x->diag->out, .muted = true};
        Expander alone = {.arena = x->arena, .diag = &quiet, .source = x->source, .trial = true};
        value = eval(&alone, &(Context){0}, e);
    }
    if (value.kind == VALUE_NONE)
        error_plain(x->diag, "-D %s=%.60s: this is no value of the network language\nvalues are written 10, 0.5, yes, "
                    "no, \"text\", (1, 2) or [1, 2]", d->name, d->value ? d->value : "");
    return value;
}

static void check_defines(Expander *x, const Block *network)
{
    for (int i = 0; i < x->overrides->defines.count; i++) {
        const char *name = x->overrides->defines.items[i].name;
        if (param_index(network, name) >= 0)
            continue;
        const char *near = nearest_param(x, network, name);
        if (near)
            error_plain(x->diag, "-D %s: network '%s' has no parameter '%s'\ndid you mean '%s'?", name, network->name,
                        name, near);
        else
            error_plain(x->diag, "-D %s: network '%s' has no parameter '%s'\nit is %s", name, network->name, name,
                        signature(x->arena, network));
    }
}

bool bind_network(Expander *x, const Variable **variables)
{
    const Block *network = x->network;
    bool ok = true;
    *variables = NULL;
    if (!x->trial)
        check_defines(x, network);
    for (int p = 0; p < network->params.count; p++) {
        const Param *param = &network->params.items[p];
        const Define *define = NULL;            /* the last one holds, as with C compilers */
        for (int i = 0; i < x->overrides->defines.count; i++)
            if (strcmp(x->overrides->defines.items[i].name, param->name) == 0)
                define = &x->overrides->defines.items[i];
        Value value = {.kind = VALUE_NONE};
        Context c = {.variables = *variables, .block = network};
        if (define)
            value = define_value(x, define);
        else if (param->value)
            value = eval(x, &c, param->value);
        else
            fail(x, param->span, NULL, "parameter '%s' of network '%s' has no value\ngive it one with -D %s=..., or a "
                 "default: %s = ...", param->name, network->name, param->name, param->name);
        ok &= value.kind != VALUE_NONE;
        declare(x, variables, param->name, value);
    }
    return ok;
}
