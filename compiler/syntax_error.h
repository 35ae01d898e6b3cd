/* syntax_error.h - what was expected, what was found and what to do, in the words of the language. Included by
 * parser.y alone.
 *
 * Bison tells which tokens could have stood where the error is; after `conv(64` that is every operator, ',' and ')'.
 * What a person wants to hear is "',' or ')'": operators are left out, and the many beginnings of an expression or of
 * a statement get one word.
 */
#ifndef SYNTAX_ERROR_H
#define SYNTAX_ERROR_H

typedef struct {
    const char *name[YYNTOKENS];        /* as the %token lines call them */
    int         count;
} Expected;

static bool is_one_of(const char *name, const char *const *set)
{
    for (; *set; set++)
        if (strcmp(name, *set) == 0)
            return true;
    return false;
}

static bool can_be(const Expected *e, const char *name)
{
    for (int i = 0; i < e->count; i++)
        if (strcmp(e->name[i], name) == 0)
            return true;
    return false;
}

static const char *const operators[] = {"'?'", "'||'", "'&&'", "'=='", "'!='", "'<'", "'>'", "'<='", "'>='", "'<<'",
                                        "'>>'", "'+'", "'-'", "'*'", "'/'", "'%'", NULL};
static const char *const expression_starts[] = {"a name", "a string", "an integer", "a real number", "'yes'", "'no'",
                                                "'in'", "'('", "'['", "'-'", "'!'", NULL};
static const char *const statement_starts[] = {"a name", "'repeat'", "'concat'", "'residual'", "'if'", "'as'", "'from'",
                                               "'train'", "'{'", "';'", NULL};
static const char *const after_name[] = {"'('", "'='", "'.'", NULL};
static const char *const unmentioned[] = {"an expression alone", "the end of the file", NULL};

/* "a statement or '}'" */
static const char *expected_text(Parser *p, const Expected *e)
{
    bool statement = can_be(e, "'residual'"), expression = can_be(e, "an integer"), after = can_be(e, "'*'");
    const char *word[YYNTOKENS + 2];
    int words = 0;
    if (statement)
        word[words++] = "a statement";
    if (expression)
        word[words++] = "an expression";
    for (int i = 0; i < e->count; i++) {
        const char *name = e->name[i];
        bool dropped = is_one_of(name, unmentioned) || (statement && is_one_of(name, statement_starts)) ||
                       (expression && is_one_of(name, expression_starts)) ||
                       (after && (is_one_of(name, operators) || is_one_of(name, after_name))) ||
                       (strcmp(name, "';'") == 0 && can_be(e, "'block'"));
        if (!dropped)
            word[words++] = name;
    }
    const char *text = words > 0 ? word[0] : "something else";
    for (int i = 1; i < words; i++)
        text = arena_printf(p->arena, "%s%s%s", text, i + 1 < words ? ", " : " or ", word[i]);
    return text;
}

static bool is_keyword(int kind)
{
    return (kind >= NETWORK && kind <= NO) || kind == TRAIN;
}

/* The token as it stands in the text. */
static const char *found_text(Parser *p)
{
    Token t = p->lookahead;
    if (t.kind == YYEOF)
        return "the end of the file";
    if (t.kind == STRING)
        return "a string";
    int length = t.span.end - t.span.begin, shown = length > 40 ? 40 : length;
    return arena_printf(p->arena, "'%.*s%s'", shown, p->source->text + t.span.begin, shown < length ? "..." : "");
}

static bool token_is(const Parser *p, Token t, const char *word)
{
    Span s = t.span;
    return (size_t)(s.end - s.begin) == strlen(word) &&
           strncmp(p->source->text + s.begin, word, strlen(word)) == 0;
}

static bool begins_statement(int kind)
{
    return kind == NAME || kind == '{' || kind == '}' || kind == YYEOF || kind == REPEAT || kind == CONCAT ||
           kind == RESIDUAL || kind == IF || kind == AS || kind == FROM || kind == TRAIN || begins_definition(kind);
}

static bool begins_expression(int kind)
{
    return kind == NAME || kind == INTEGER || kind == REAL || kind == STRING || kind == YES || kind == NO ||
           kind == IN || kind == '[';
}

static bool on_line_of_previous(const Parser *p)
{
    return source_line(p->source, p->previous.span.end, NULL) == source_line(p->source, p->lookahead.span.begin, NULL);
}

/* ---- help: the usual mistakes and their mends -------------------------------------------------------------------- */

/* Behind an expression. */
static const char *help_for_operator(const Parser *p, const Expected *e)
{
    if (token_is(p, p->lookahead, "and"))
        return "and is written &&";
    if (token_is(p, p->lookahead, "or"))
        return "or is written ||";
    if (token_is(p, p->previous, "not"))
        return "not is written !";
    switch (p->lookahead.kind) {
    case RANGE:
        return can_be(e, "'{'") ? NULL : "a range a..b stands only in: repeat i in a..b { ... }";
    case '[':
        return "a list has no index: repeat x in list { ... } goes through it";
    case '.':
        return "only `in` and tensors named by `as` have fields: in.channels, skip.height";
    default:
        return NULL;
    }
}

/* Where a statement, or the end of one, was expected. */
static const char *help_for_statement(const Parser *p, const Expected *e)
{
    switch (p->lookahead.kind) {
    case '=':
        return can_be(e, "':'") ? "a label is followed by ':': conv1: conv(6, 5)" : NULL;
    case '{':
        return "only the language's own constructs take braces; a group with a name is written  name: { ... }";
    case ELSE:
        return "else follows the '}' of an if";
    case SHORTCUT:
        return "shortcut follows the '}' of a residual";
    case WHEN:
        return "when follows shortcut: residual { ... } shortcut when (condition) { ... }";
    case '+':
    case '-':
        return p->enclosing.kind == '{' && can_be(e, "':'") ? "branches are added by residual { ... } or add(name)"
                                                            : NULL;
    case NAME:
        return can_be(e, "':'") && on_line_of_previous(p) ? "a label is followed by ':', a statement by ';'" : NULL;
    default:
        return NULL;
    }
}

/* Where '{' was expected, the construct that wants it stands before. */
static const char *help_for_brace(const Parser *p)
{
    switch (p->lookahead.kind) {
    case '=':
        return "a loop is written: repeat i in 1..4 { ... }";
    case IN:
        return "the variables of a loop stand without parentheses: repeat x, y in [...] { ... }";
    case RANGE:
        return "a range needs a variable: repeat i in 1..4 { ... }";
    case ';':
        return "a body in braces belongs here: { ... }";
    default:
        return begins_statement(p->lookahead.kind) ? "the statements that belong here stand in braces: { ... }" : NULL;
    }
}

static const char *help_for_argument(const Parser *p, const Expected *e)
{
    int kind = p->lookahead.kind;
    if (kind == ':' && can_be(e, "'='"))
        return "a value is given by '=': name = value";
    if (begins_expression(kind) && can_be(e, "','"))
        return "put a ',' between the two";
    return NULL;
}

static bool in_branches(const Parser *p, const Expected *e)
{
    return p->enclosing.before == CONCAT && can_be(e, "':'") && can_be(e, "'['") && e->count == 2;
}

static const char *help_for(const Parser *p, const Expected *e)
{
    int kind = p->lookahead.kind;
    const char *help = NULL;
    if (can_be(e, "'*'"))
        help = help_for_operator(p, e);
    if (in_branches(p, e))
        return "a branch of concat is a group: concat { { conv(8, 1); } { relu; } }";
    if (!help && can_be(e, "'block'"))
        return kind == '}' ? "this '}' closes nothing" : begins_statement(kind) && kind != YYEOF
               ? "statements stand inside  network name { ... }  or  block name(parameters) { ... }"
               : "a file holds one network and the blocks that it uses: network name { input(1, 28, 28); ... }";
    if (begins_definition(kind) && can_be(e, "'}'"))
        return "definitions do not stand inside one another";
    if (!help && kind == ':' && is_keyword(p->previous.kind))
        help = "keywords of the language cannot be names";
    if (!help && can_be(e, "'.'") && e->count == 1)
        help = "in stands for what reaches the statement: in.channels, in.height, in.width";
    if (!help && can_be(e, "a name") && is_keyword(kind) && !begins_definition(kind) && !can_be(e, "'residual'"))
        help = "keywords of the language cannot be names";
    if (!help && (can_be(e, "';'") || can_be(e, "'residual'")))
        help = help_for_statement(p, e);
    if (!help && can_be(e, "'{'") && !can_be(e, "'residual'"))
        help = help_for_brace(p);
    if (!help && can_be(e, "'('") && e->count == 1)
        help = "the condition stands in parentheses: (stride != 1)";
    return help ? help : help_for_argument(p, e);
}

/* ---- the message ------------------------------------------------------------------------------------------------- */

/* The bracket that is still open, when it is not seen in the line of the error anyway. */
static void note_bracket(Parser *p, const Expected *e, Span place)
{
    int kind = p->enclosing.kind;
    bool brace = kind == '{' && can_be(e, "'}'") &&
                 (p->lookahead.kind == YYEOF || begins_definition(p->lookahead.kind));
    Span opener = brace && p->unclosed.end > 0 ? p->unclosed : p->enclosing.span;
    bool other_line = source_line(p->source, opener.begin, NULL) != source_line(p->source, place.begin, NULL);
    if (brace)
        note_at(p->diag, opener, "this '{' has no '}'");
    else if (((kind == '(' && can_be(e, "')'")) || (kind == '[' && can_be(e, "']'"))) && other_line)
        note_at(p->diag, opener, "this '%c' has no '%c'", kind, kind == '(' ? ')' : ']');
}

/* Nothing is reported where the reason may be an earlier error: behind a definition that broke off, at its end, and
 * where a stray character was left out just before. */
static bool is_consequence(const Parser *p)
{
    bool ends = p->lookahead.kind == YYEOF || begins_definition(p->lookahead.kind);
    bool stray = p->stray >= p->previous.span.end && p->stray < p->lookahead.span.begin;
    return p->stopped || stray || (p->broken && (ends || p->braces_before == 0));
}

/* The whole message is "expected " this ", found " that. */
static const char *choose_expected(Parser *p, const Expected *e, bool ends_statement)
{
    if (ends_statement)
        return p->enclosing.before == TRAIN ? "';' after the setting" : "';' after the statement";
    if (in_branches(p, e))
        return "a branch in braces";
    bool over = p->lookahead.kind == YYEOF || begins_definition(p->lookahead.kind);
    return over && can_be(e, "'}'") ? "'}'" : expected_text(p, e);
}

static int yyreport_syntax_error(const yypcontext_t *context, Parser *p)
{
    yysymbol_kind_t kinds[YYNTOKENS];
    Expected e = {.count = yypcontext_expected_tokens(context, kinds, YYNTOKENS)};
    for (int i = 0; i < e.count; i++)
        e.name[i] = yysymbol_name(kinds[i]);
    Token t = p->lookahead;
    bool ends_statement = can_be(&e, "';'") && !can_be(&e, "'residual'") && !can_be(&e, "'block'");
    bool semicolon = ends_statement && begins_statement(t.kind) && t.kind != '{';
    if (!is_consequence(p)) {
        Span place = semicolon || t.kind == YYEOF ? (Span){p->previous.span.end, p->previous.span.end} : t.span;
        const char *expected = choose_expected(p, &e, ends_statement);
        const char *help = help_for(p, &e);
        error_at(p->diag, place, NULL, "expected %s, found %s%s%s", expected, found_text(p), help ? "\n" : "",
                 help ? help : "");
        note_bracket(p, &e, place);
        p->broken = true;
    }
    recover(p, semicolon && !on_line_of_previous(p) && t.kind != YYEOF && t.kind != '}');
    return 0;
}

#endif
