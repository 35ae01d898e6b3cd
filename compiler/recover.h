/* recover.h - what a syntax error says, and where reading goes on behind it. Included by parser.y alone.
 *
 * next_token stands between scanner and parser. It knows the open brackets, and after an error it leaves out the rest
 * of the statement, balanced braces and all, or makes up the '}' or ';' that was forgotten. So one mistake gives one
 * error, and the statements behind it are still checked.
 */
#ifndef RECOVER_H
#define RECOVER_H

#include <stdlib.h>
#include <string.h>

/* ---- brackets ---------------------------------------------------------------------------------------------------- */

/* Ends the parse. In text that is left out anyway because of an error, it ends without another one. */
static void stop(Parser *p, Span span, const char *format, int limit)
{
    if (!p->skipping)
        error_at(p->diag, span, NULL, format, limit);
    p->stopped = true;
}

static int indentation(const Source *s, int offset, bool *first_on_line)
{
    int begin = s->line[source_line(s, offset, NULL) - 1], i = begin;
    while (s->text[i] == ' ' || s->text[i] == '\t')
        i++;
    if (first_on_line)
        *first_on_line = i == offset;
    return i - begin;
}

/* Parentheses inside a brace that closes are forgotten: the parser has given them up, or is about to. */
static void drop_parentheses(Parser *p)
{
    while (p->depth > 0 && p->open[p->depth - 1].kind != '{')
        p->depth--;
}

static void close_bracket(Parser *p, int opener, Span span)
{
    if (opener == '{')
        drop_parentheses(p);
    if (p->depth == 0 || p->open[p->depth - 1].kind != opener)
        return;
    Bracket *b = &p->open[--p->depth];
    if (opener != '{')
        return;
    p->braces--;
    bool first;
    int here = indentation(p->source, span.begin, &first);
    if (first && p->unclosed.end == 0 && here < indentation(p->source, b->span.begin, NULL))
        p->unclosed = b->span;
}

static void open_bracket(Parser *p, int kind, Span span)
{
    if (p->depth == MAX_NESTING) {
        stop(p, span, "brackets nested deeper than %d\nmove the inner ones into a block", MAX_NESTING);
        return;
    }
    p->open[p->depth++] = (Bracket){kind, p->last_kind, span};
    p->braces += kind == '{';
}

/* ---- tokens from the text ---------------------------------------------------------------------------------------- */

static Token read_token(Parser *p)
{
    Token t = {.kind = YYEOF, .span = {p->offset, p->offset}};
    p->enclosing = p->depth > 0 ? p->open[p->depth - 1] : (Bracket){0};
    p->braces_before = p->braces;
    if (!p->stopped)
        t.kind = scan_token(&t.value, &t.span, p->scanner);
    if (!p->stopped && ++p->tokens > MAX_TOKENS)
        stop(p, t.span, "the file has more than %d words and signs\nrepeat and block say the same in fewer",
             MAX_TOKENS);
    if (p->diag->errors > MAX_SYNTAX_ERRORS)
        p->stopped = true;
    switch (t.kind) {
    case '(': case '[': case '{':
        open_bracket(p, t.kind, t.span);
        break;
    case ')': close_bracket(p, '(', t.span); break;
    case ']': close_bracket(p, '[', t.span); break;
    case '}': close_bracket(p, '{', t.span); break;
    case TRAIN:
        t.value.place = (Place){p->braces, p->in_network};
        break;
    }
    if (p->stopped)
        t.kind = YYEOF;
    p->last_kind = t.kind;
    return t;
}

static Token make_up(const Parser *p, int kind)
{
    return (Token){.kind = kind, .span = {p->lookahead.span.end, p->lookahead.span.end}};
}

/* ---- leaving out what follows an error --------------------------------------------------------------------------- */

static bool begins_definition(int kind)
{
    return kind == BLOCK || kind == NETWORK;
}

static void hold(Parser *p, Token t)
{
    p->held = t;
    p->holding = true;
}

/* A definition begins where one is still open: its braces are closed first. */
static void close_all(Parser *p, Token definition)
{
    hold(p, definition);
    p->closing = p->braces;
    p->forced = p->braces > 0;
    p->depth = p->braces = 0;
}

/* Whether `t` ends what is left out: the ';' or '}' that ends the broken statement, or the next definition. */
static bool ends_skip(const Parser *p, Token t)
{
    if (t.kind == YYEOF || begins_definition(t.kind))
        return true;
    if (p->to_definition || p->braces > p->skip_level)
        return false;
    return p->braces < p->skip_level || (!p->to_brace && (t.kind == ';' || t.kind == '}'));
}

static Token take_token(Parser *);

static Token skip(Parser *p)
{
    Token t;
    for (;;) {
        t = read_token(p);
        if (!ends_skip(p, t))
            continue;
        if (t.kind != '}' || p->braces < p->skip_level)
            break;
        /* A group that needs no ';': unless its other branch follows, or it stood in parentheses by mistake. */
        Token next = read_token(p);
        if (next.kind == ELSE || next.kind == SHORTCUT || next.kind == ')' || next.kind == ']' || next.kind == ',')
            continue;
        hold(p, next);
        t = make_up(p, ';');
        break;
    }
    if (p->to_definition)
        p->depth = p->braces = 0;
    p->skipping = p->to_definition = p->to_brace = false;
    drop_parentheses(p);
    if (!begins_definition(t.kind))
        return t;
    close_all(p, t);
    return take_token(p);
}

static Token take_token(Parser *p)
{
    if (p->start) {
        Token t = make_up(p, p->start);
        p->start = 0;
        return t;
    }
    if (p->closing > 0) {
        p->closing--;
        return make_up(p, '}');
    }
    if (p->semicolon) {
        p->semicolon = false;
        return make_up(p, ';');
    }
    if (p->holding) {
        p->holding = false;
        return p->held;
    }
    return p->skipping ? skip(p) : read_token(p);
}

static void recover(Parser *, bool statement_ended);

/* What the parser calls for each token. */
static int next_token(YYSTYPE *value, Span *span, Parser *p)
{
    Token t = take_token(p);
    if (begins_definition(t.kind) && p->braces == 0) {
        p->in_network = t.kind == NETWORK;
        p->broken = p->forced;
        p->forced = false;
        p->unclosed = (Span){0, 0};
    }
    p->previous = p->lookahead;
    p->lookahead = t;
    *value = t.value;
    *span = p->placeless ? (Span){0, 0} : t.span;
    if (t.kind == YYerror) {            /* a string without its end: it may have taken the ';' with it */
        p->broken = true;
        recover(p, false);
        if (memchr(p->source->text + t.span.begin, ';', (size_t)(t.span.end - t.span.begin)) && p->skipping) {
            p->skipping = p->to_definition;
            p->semicolon = !p->skipping;
        }
    }
    return t.kind;
}

/* Called after an error was found at the lookahead: decides what the parser, which gives up the innermost statement,
 * reads next. `statement_ended`: all that is missing is a ';' in front of the lookahead. */
static void recover(Parser *p, bool statement_ended)
{
    Token t = p->lookahead;
    drop_parentheses(p);
    if (p->braces_before == 0) {
        p->skipping = p->to_definition = !begins_definition(t.kind);
    } else if (begins_definition(t.kind)) {
        close_all(p, t);
    } else if (statement_ended) {
        p->semicolon = true;
        hold(p, t);
    } else if (t.kind != '}' && (t.kind != ';' || p->enclosing.before == CONCAT)) {
        p->skipping = true;
        p->skip_level = p->braces_before;
        p->to_brace = p->enclosing.before == CONCAT;        /* what is no branch is most often a list of statements */
    }
}

#endif
