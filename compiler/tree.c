/* tree.c - makes the nodes of the syntax tree.
 *
 * Establishes: no expression and no statement has more than MAX_NESTING others inside one another, so that every pass
 * may walk the tree by recursion. Brackets alone do not bound it: 1 + 1 + 1 + ... and else if ... are as deep as they
 * are long. After the one error that says so, NULL or false tells the parser to stop.
 */
#include "cnnc.h"

static bool bound_depth(Diag *diag, Span span, int depth, const char *what, const char *mend)
{
    if (depth <= MAX_NESTING)
        return true;
    error_at(diag, span, NULL, "%s nested deeper than %d\n%s", what, MAX_NESTING, mend);
    return false;
}

bool expr_adopt(Diag *diag, Expr *parent, const Expr *child)
{
    if (child->depth >= parent->depth)
        parent->depth = child->depth + 1;
    return bound_depth(diag, parent->span, parent->depth, "operators and parentheses",
                       "a sum of equal terms is a product");
}

Expr *expr_new(Arena *arena, Diag *diag, ExprKind kind, Span span, Expr *a, Expr *b, Expr *c)
{
    Expr *e = NEW(arena, Expr);
    e->kind = kind;
    e->span = span;
    e->depth = 1;
    e->kid[0] = a, e->kid[1] = b, e->kid[2] = c;
    for (int i = 0; i < 3; i++)
        if (e->kid[i] && !expr_adopt(diag, e, e->kid[i]))
            return NULL;
    return e;
}

Stmt *stmt_new(Arena *arena, StmtKind kind, Span span)
{
    Stmt *s = NEW(arena, Stmt);
    s->kind = kind;
    s->span = span;
    s->depth = 1;
    return s;
}

bool stmt_adopt(Diag *diag, Stmt *parent, const StmtList *children)
{
    for (int i = 0; i < children->count; i++)
        if (children->items[i]->depth >= parent->depth)
            parent->depth = children->items[i]->depth + 1;
    return bound_depth(diag, parent->span, parent->depth, "statements", "move the inner ones into a block");
}
