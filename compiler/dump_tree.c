/* dump_tree.c - the syntax tree as text, for `cnnc --dump=tree`.
 *
 * One line a statement, indented by what contains it; expressions in full parentheses, so that precedence shows.
 * Nothing is evaluated and nothing left out: two files that differ in meaning differ here.
 */
#include "cnnc.h"

#include <stdlib.h>
#include <string.h>

static void dump_expr(FILE *, const Expr *);

static void dump_args(FILE *f, const Arg *args, int count)
{
    for (int i = 0; i < count; i++) {
        if (i > 0)
            fputs(", ", f);
        if (args[i].name)
            fprintf(f, "%s = ", args[i].name);
        dump_expr(f, args[i].value);
    }
}

static void dump_items(FILE *f, const ExprList *items, const char *open, const char *close)
{
    fputs(open, f);
    for (int i = 0; i < items->count; i++) {
        if (i > 0)
            fputs(", ", f);
        dump_expr(f, items->items[i]);
    }
    fputs(close, f);
}

static void dump_string(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

/* The shortest text that reads back as the same number, and never as an integer. */
static void dump_real(FILE *f, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.17g", value);
    fprintf(f, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void dump_expr(FILE *f, const Expr *e)
{
    switch (e->kind) {
    case EXPR_INT:    fprintf(f, "%lld", (long long)e->integer); break;
    case EXPR_REAL:   dump_real(f, e->real); break;
    case EXPR_BOOL:   fputs(e->integer ? "yes" : "no", f); break;
    case EXPR_STRING: dump_string(f, e->text); break;
    case EXPR_NAME:   fputs(e->text, f); break;
    case EXPR_FIELD:  fprintf(f, "%s.%s", e->text, e->field); break;
    case EXPR_UNARY:
        fprintf(f, "(%s", e->op);
        dump_expr(f, e->kid[0]);
        fputc(')', f);
        break;
    case EXPR_BINARY:
        fputc('(', f);
        dump_expr(f, e->kid[0]);
        fprintf(f, " %s ", e->op);
        dump_expr(f, e->kid[1]);
        fputc(')', f);
        break;
    case EXPR_CONDITIONAL:
        fputc('(', f);
        dump_expr(f, e->kid[0]);
        fputs(" ? ", f);
        dump_expr(f, e->kid[1]);
        fputs(" : ", f);
        dump_expr(f, e->kid[2]);
        fputc(')', f);
        break;
    case EXPR_TUPLE: dump_items(f, &e->items, "(", e->items.count == 1 ? ",)" : ")"); break;
    case EXPR_LIST:  dump_items(f, &e->items, "[", "]"); break;
    case EXPR_CALL:
        fprintf(f, "%s(", e->text);
        dump_args(f, e->args.items, e->args.count);
        fputc(')', f);
        break;
    }
}

static void indent(FILE *f, int level)
{
    fprintf(f, "%*s", 4 * level, "");
}

static void dump_stmts(FILE *, const StmtList *, int level);

static void dump_repeat(FILE *f, const Stmt *s)
{
    fputs("repeat ", f);
    for (int i = 0; i < s->variables.count; i++)
        fprintf(f, "%s%s", s->variables.items[i].name, i + 1 < s->variables.count ? ", " : " in ");
    if (s->from) {
        dump_expr(f, s->from);
        fputs(" .. ", f);
        dump_expr(f, s->to);
    } else {
        dump_expr(f, s->count);
    }
    fputc('\n', f);
}

static void dump_head(FILE *f, const Stmt *s)
{
    switch (s->kind) {
    case STMT_CALL:
        fprintf(f, "call %s(", s->name);
        dump_args(f, s->args.items, s->args.count);
        fputs(")\n", f);
        break;
    case STMT_GROUP:    fputs("group\n", f); break;
    case STMT_REPEAT:   dump_repeat(f, s); break;
    case STMT_CONCAT:   fputs("concat\n", f); break;
    case STMT_RESIDUAL: fputs("residual\n", f); break;
    case STMT_IF:
        fputs("if ", f);
        dump_expr(f, s->count);
        fputc('\n', f);
        break;
    case STMT_AS:   fprintf(f, "as %s\n", s->name); break;
    case STMT_FROM: fprintf(f, "from %s\n", s->name); break;
    }
}

static void dump_other(FILE *f, const Stmt *s, int level)
{
    indent(f, level);
    fputs(s->kind == STMT_IF ? "else" : "shortcut", f);
    if (s->when) {
        fputs(" when ", f);
        dump_expr(f, s->when);
    }
    fputc('\n', f);
    dump_stmts(f, &s->other, level + 1);
}

static void dump_stmts(FILE *f, const StmtList *list, int level)
{
    for (int i = 0; i < list->count; i++) {
        const Stmt *s = list->items[i];
        indent(f, level);
        if (s->label) {
            fputs(s->label, f);
            if (s->label_index) {
                fputc('[', f);
                dump_expr(f, s->label_index);
                fputc(']', f);
            }
            fputs(": ", f);
        }
        dump_head(f, s);
        dump_stmts(f, &s->body, level + 1);
        if (s->has_other)
            dump_other(f, s, level);
    }
}

static void dump_block(FILE *f, const Block *b, const char *what)
{
    fprintf(f, "%s %s(", what, b->name);
    for (int i = 0; i < b->params.count; i++) {
        fprintf(f, "%s%s", i > 0 ? ", " : "", b->params.items[i].name);
        if (b->params.items[i].value) {
            fputs(" = ", f);
            dump_expr(f, b->params.items[i].value);
        }
    }
    fputs(")\n", f);
    dump_stmts(f, &b->body, 1);
    if (!b->has_train)
        return;
    indent(f, 1);
    fputs("train\n", f);
    for (int i = 0; i < b->train.count; i++) {
        indent(f, 2);
        dump_args(f, &b->train.items[i], 1);
        fputc('\n', f);
    }
}

void dump_tree(FILE *f, const Tree *tree)
{
    for (int i = 0; i < tree->blocks.count; i++)
        dump_block(f, tree->blocks.items[i], "block");
    for (int i = 0; i < tree->networks.count; i++)
        dump_block(f, tree->networks.items[i], "network");
}
