/* nodes.c - what the rules of parser.y build: definitions, expressions and statements, each with its place.
 *
 * Requires: parts whose own depth is bounded. Establishes: nodes whose depth is bounded too (tree.c), and the errors of
 * what is well-formed but cannot be meant: a second train { }, an argument without a name behind named ones.
 */
#include "parser.h"

void add_definition(Parser *p, int keyword, Name name, ParamList params, StmtList body)
{
    Block *b = NEW(p->arena, Block);
    *b = (Block){.name = name.name, .name_span = name.span, .params = params, .body = body};
    if (keyword == BLOCK) {
        APPEND(p->arena, &p->tree->blocks, b);
        return;
    }
    b->train.items = p->train.items;
    b->train.count = p->train.count;
    b->train.capacity = p->train.capacity;
    b->has_train = p->has_train;
    b->train_span = p->train_span;
    p->has_train = false;
    APPEND(p->arena, &p->tree->networks, b);
}

void add_train(Parser *p, Place place, Span span, ArgList settings)
{
    if (!place.in_network) {
        error_at(p->diag, span, NULL, "train belongs to the network, not to a block");
    } else if (place.braces != 1) {
        error_at(p->diag, span, NULL, "train belongs to the network itself\nmove it out of the braces around it");
    } else if (p->has_train) {
        error_at(p->diag, span, NULL, "the network has a second train { }\nput all settings into one");
        note_at(p->diag, p->train_span, "the first one is here");
    } else {
        p->train = settings;
        p->train_span = span;
        p->has_train = true;
    }
}

void add_arg(Parser *p, ArgList *args, Arg arg)
{
    const Arg *last = args->count > 0 ? &args->items[args->count - 1] : NULL;
    if (last && last->name && !arg.name)
        error_at(p->diag, arg.value->span, NULL, "an argument without a name follows '%s = ...'\ngive it its name, or "
                 "put it before the named ones", last->name);
    APPEND(p->arena, args, arg);
}

Expr *make_leaf(Parser *p, Span span, ExprKind kind)
{
    return expr_new(p->arena, p->diag, kind, span, NULL, NULL, NULL);
}

Expr *make_operation(Parser *p, Span span, const char *op, Expr *a, Expr *b)
{
    Expr *e = expr_new(p->arena, p->diag, b ? EXPR_BINARY : EXPR_UNARY, span, a, b, NULL);
    if (e)
        e->op = op;
    return e;
}

Expr *make_list(Parser *p, ExprKind kind, Span span, ExprList items)
{
    Expr *e = expr_new(p->arena, p->diag, kind, span, NULL, NULL, NULL);
    for (int i = 0; i < items.count; i++)
        if (!expr_adopt(p->diag, e, items.items[i]))
            return NULL;
    e->items = items;
    return e;
}

Expr *make_call(Parser *p, Span span, const char *name, ArgList args)
{
    Expr *e = expr_new(p->arena, p->diag, EXPR_CALL, span, NULL, NULL, NULL);
    for (int i = 0; i < args.count; i++)
        if (!expr_adopt(p->diag, e, args.items[i].value))
            return NULL;
    e->text = name;
    e->args = args;
    return e;
}

Stmt *make_call_stmt(Parser *p, Span span, const char *name, Span name_span, ArgList args)
{
    Stmt *s = stmt_new(p->arena, STMT_CALL, span);
    s->name = name;
    s->name_span = name_span;
    s->args = args;
    return s;
}

Stmt *make_nest(Parser *p, StmtKind kind, Span span, Expr *condition, StmtList body, const StmtList *other)
{
    Stmt *s = stmt_new(p->arena, kind, span);
    s->count = condition;
    s->body = body;
    if (other) {
        s->other = *other;
        s->has_other = true;
    }
    return stmt_adopt(p->diag, s, &s->body) && stmt_adopt(p->diag, s, &s->other) ? s : NULL;
}

Stmt *make_repeat(Parser *p, Span span, NameList names, Expr *count, Expr *from, Expr *to, StmtList body)
{
    if (from && names.count > 1)
        error_at(p->diag, names.items[1].span, NULL,
                 "%d variables cannot run over one range\nseveral take the items of a list: repeat x, y in "
                 "[(1, 64), (2, 128)]", names.count);
    Stmt *s = make_nest(p, STMT_REPEAT, span, count, body, NULL);
    if (!s)
        return NULL;
    s->variables = names;
    s->from = from;
    s->to = to;
    return s;
}

Stmt *label_stmt(Stmt *s, Label label, Span span)
{
    s->label = label.name;
    s->label_index = label.index;
    s->label_span = span;
    return s;
}
