/* render.c - the form of generated C: indentation, braces and the ends of lines.
 *
 * Requires: nodes that nest. Establishes: text in one style. Statements come as a flat list of opening, plain and
 * closing nodes, because a brace can only be left out once the number of statements inside is known. Lines are broken
 * last of all: until then kernels are compared as text (shared_kernels.c), in which a number's width must not matter.
 */
#include "render.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

typedef struct { FILE *out; const Node *nodes; int count; } Rendering;

static bool opens(NodeKind kind)
{
    return kind == NODE_LOOP || kind == NODE_IF || kind == NODE_FUNCTION || kind == NODE_BLOCK;
}

/* Index of the node that ends the body which starts at `from`: its NODE_END, or NODE_ELSE on the same level. */
static int body_end(const Rendering *r, int from)
{
    for (int i = from, depth = 0; i < r->count; i++) {
        if (depth == 0 && (r->nodes[i].kind == NODE_END || r->nodes[i].kind == NODE_ELSE))
            return i;
        depth += opens(r->nodes[i].kind) - (r->nodes[i].kind == NODE_END);
    }
    fprintf(stderr, "cnnc: internal error: a loop of generated code is not ended\n");
    abort();
}

/* Index after the statement at i. */
static int statement_end(const Rendering *r, int i)
{
    if (!opens(r->nodes[i].kind))
        return i + 1;
    int at = body_end(r, i + 1);
    if (r->nodes[at].kind == NODE_ELSE)
        at = body_end(r, at + 1);
    return at + 1;
}

/* A body goes without braces when it is one plain statement, or, in a loop, one loop or one `if` without else. */
static bool needs_braces(const Rendering *r, NodeKind owner, int from, int to)
{
    if (owner == NODE_FUNCTION || owner == NODE_BLOCK || from == to || statement_end(r, from) != to)
        return true;
    NodeKind kind = r->nodes[from].kind;
    if (kind == NODE_LINE)
        return false;
    if (owner != NODE_LOOP)
        return true;
    if (kind == NODE_IF)
        return r->nodes[body_end(r, from + 1)].kind == NODE_ELSE;
    return kind != NODE_LOOP;
}

static void indent(const Rendering *r, int depth)
{
    for (int i = 0; i < depth; i++)
        fputs("    ", r->out);
}

static void render(const Rendering *r, int from, int to, int depth);

/* Writes "head {", the body and its closing brace where one is needed; true when the brace is left open for an else. */
static void render_body(const Rendering *r, NodeKind owner, int from, int to, int depth, bool braces)
{
    if (owner == NODE_FUNCTION || owner == NODE_BLOCK)
        fputs("{\n", r->out);
    else
        fputs(braces ? " {\n" : "\n", r->out);
    render(r, from, to, depth + 1);
    if (braces) {
        indent(r, depth);
        fputs("}", r->out);
    }
}

static int render_block(const Rendering *r, int i, int depth)
{
    NodeKind owner = r->nodes[i].kind;
    int stop = body_end(r, i + 1);
    bool has_else = r->nodes[stop].kind == NODE_ELSE;
    int else_stop = has_else ? body_end(r, stop + 1) : stop;
    bool braces = needs_braces(r, owner, i + 1, stop) || (has_else && needs_braces(r, NODE_IF, stop + 1, else_stop));
    if (owner != NODE_FUNCTION) {
        indent(r, depth);
        fputs(r->nodes[i].text, r->out);
    }
    render_body(r, owner, i + 1, stop, depth, braces);
    if (has_else) {
        if (braces)
            fputs(" else", r->out);
        else {
            indent(r, depth);
            fputs("else", r->out);
        }
        render_body(r, NODE_IF, stop + 1, else_stop, depth, braces);
    }
    if (braces)
        fputs("\n", r->out);
    return else_stop + 1;
}

static void render(const Rendering *r, int from, int to, int depth)
{
    for (int i = from; i < to; ) {
        const Node *node = &r->nodes[i];
        if (opens(node->kind)) {
            i = render_block(r, i, depth);
            continue;
        }
        if (node->kind != NODE_PRAGMA && node->text[0] && !(node->kind == NODE_RAW && depth == 0))
            indent(r, depth);
        fprintf(r->out, "%s\n", node->text);
        i++;
    }
}

char *render_nodes(Arena *arena, const Node *nodes, int count)
{
    char *text = NULL;
    size_t size = 0;
    Rendering r = {open_memstream(&text, &size), nodes, count};
    render(&r, 0, count, 0);
    fclose(r.out);
    char *copy = arena_copy(arena, text, size);
    free(text);
    return copy;
}

/* ---- long lines -------------------------------------------------------------------------------------------------- */

enum {
    MOST_OPEN = 32,             /* brackets inside one another                                           */
    STATEMENT_WIDTH = 132,      /* beyond LINE_WIDTH: unrolled stores are easier to compare line by line */
};

/* Where a line of a statement is broken, which begins at column `column`: within STATEMENT_WIDTH, so that the rest fits
 * on one line if it can, in as few brackets as can be, behind the last comma or else plus; 0: nowhere. *next: the
 * column where it goes on, behind the open bracket. `broken`: the line is not the first of its statement. */
static int break_of(const char *text, int column, bool broken, int *next)
{
    const int length = (int)strcspn(text, "\n");
    int open[MOST_OPEN], depth = 0, least = 4 * MOST_OPEN, found = 0;
    for (int i = 0; text[i] && text[i] != '\n' && column + i < STATEMENT_WIDTH && depth < MOST_OPEN - 1; i++) {
        const bool comma = text[i] == ',', plus = text[i] == '+' && i > 0 && text[i - 1] == ' ';
        if (text[i] == '"' || (text[i] == '/' && text[i + 1] == '*'))
            break;
        if (strchr("([{", text[i]))
            open[depth++] = column + i + 1;
        else if (strchr(")]}", text[i]) && depth > 0)
            depth--;
        else if ((comma || plus) && text[i + 1] == ' ') {
            const int on = depth ? open[depth - 1] : column + (broken ? 0 : 4), rest = on + length - (i + 2);
            const int cost = 2 * depth + plus + (rest > STATEMENT_WIDTH ? 2 * MOST_OPEN : 0);
            if (cost > least)
                continue;
            least = cost;
            found = i + 1;
            *next = on;
        }
    }
    return found;
}

char *break_lines(Arena *arena, const char *text)
{
    char *broken = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&broken, &size);
    while (*text) {
        int column = (int)strspn(text, " "), next = 0;
        fprintf(out, "%*s", column, "");
        text += column;
        const bool statement = *text != '#' && !(column == 1 && *text == '*');
        bool again = false;
        for (int at; statement && column + (int)strcspn(text, "\n") > STATEMENT_WIDTH; column = next, again = true) {
            if ((at = break_of(text, column, again, &next)) == 0)
                break;
            fprintf(out, "%.*s\n%*s", at, text, next, "");
            text += at + 1;
        }
        const int rest = (int)strcspn(text, "\n") + 1;
        fprintf(out, "%.*s", rest, text);
        text += rest;
    }
    fclose(out);
    char *copy = arena_copy(arena, broken, size);
    free(broken);
    return copy;
}
