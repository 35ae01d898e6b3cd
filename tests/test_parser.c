/* test_parser.c - every construct as a tree, every kind of mistake as a message, and texts made to hurt.
 *
 * The messages of all mistakes are in golden/syntax.txt, made from golden/syntax.cases: texts under "==== title" lines.
 */
#include <sys/resource.h>
#include <time.h>

#include "support.h"
#include "syntax.h"

/* ---- the tree ---------------------------------------------------------------------------------------------------- */

Test(parser, definitions)
{
    expect_output("network n { }", "network n()\n");
    expect_output("network n() { }", "network n()\n");
    expect_output("network n(a, b = 2 + 3, c = \"x\",) { };", "network n(a, b = (2 + 3), c = \"x\")\n");
    expect_output("network n { b(1); } block b(x) { relu; }; ; block c { }",
                  "block b(x)\n    call relu()\nblock c()\nnetwork n()\n    call b(1)\n");
    expect_output("network a { } network b { }", "network a()\nnetwork b()\n");
}

Test(parser, calls_and_labels)
{
    expect_statements("relu; relu(); conv(6, 5, pad = 2,); concat(a, b);",
                      "call relu()\ncall relu()\ncall conv(6, 5, pad = 2)\ncall concat(a, b)\n");
    expect_statements("c1: conv(6); layer[stage + 1]: relu; j: concat(a);",
                      "c1: call conv(6)\nlayer[(stage + 1)]: call relu()\nj: call concat(a)\n");
    expect_statements("s: { relu; } { tanh; } l[i]: {} ;;",
                      "s: group\n    call relu()\ngroup\n    call tanh()\nl[i]: group\n");
    expect_statements("as skip; from skip; add(skip);", "as skip\nfrom skip\ncall add(skip)\n");
}

Test(parser, repeats)
{
    expect_statements("repeat 3 { relu; }", "repeat 3\n    call relu()\n");
    expect_statements("repeat n * 2 { }", "repeat (n * 2)\n");
    expect_statements("repeat i in 1..n - 1 { }", "repeat i in 1 .. (n - 1)\n");
    expect_statements("repeat c in [1, 2] { }", "repeat c in [1, 2]\n");
    expect_statements("repeat x, y, z in [(1, 2, 3)] { }", "repeat x, y, z in [(1, 2, 3)]\n");
    expect_statements("repeat x, y in sizes { }", "repeat x, y in sizes\n");
}

Test(parser, branches)
{
    expect_statements("concat { {} { relu; } left: { tanh; } l[1]: {} }",
                      "concat\n    group\n    group\n        call relu()\n    left: group\n        call tanh()\n"
                      "    l[1]: group\n");
    expect_statements("residual { relu; }", "residual\n    call relu()\n");
    expect_statements("residual { } shortcut { relu; }", "residual\nshortcut\n    call relu()\n");
    expect_statements("residual { } shortcut when (in.channels != c) { relu; }",
                      "residual\nshortcut when (in.channels != c)\n    call relu()\n");
    expect_statements("if (a) { relu; }", "if a\n    call relu()\n");
    expect_statements("if (a) { } else if (b) { } else { relu; }",
                      "if a\nelse\n    if b\n    else\n        call relu()\n");
}

Test(parser, train)
{
    expect_output("network n { train { batch = 32; optimizer = sgd(lr = 0.1, nesterov = yes); } relu; }",
                  "network n()\n    call relu()\n    train\n        batch = 32\n"
                  "        optimizer = sgd(lr = 0.1, nesterov = yes)\n");
    expect_output("network n { train { } } network m { train { a = 1; } }",
                  "network n()\n    train\nnetwork m()\n    train\n        a = 1\n");
}

Test(parser, precedence_is_that_of_c)
{
    expect_expression("1 + 2 * 3 - 4 / 5 % 6", "((1 + (2 * 3)) - ((4 / 5) % 6))");
    expect_expression("1 - 2 - 3", "((1 - 2) - 3)");
    expect_expression("1 << 2 + 3 >> 4", "((1 << (2 + 3)) >> 4)");
    expect_expression("a < b << 1 == c >= d", "((a < (b << 1)) == (c >= d))");
    expect_expression("a || b && c == d != e", "(a || (b && ((c == d) != e)))");
    expect_expression("a ? b : c ? d : e", "(a ? b : (c ? d : e))");
    expect_expression("a || b ? c ? 1 : 2 : d || e", "((a || b) ? (c ? 1 : 2) : (d || e))");
    expect_expression("-a * !b - -c", "(((-a) * (!b)) - (-c))");
    expect_expression("(1 + 2) * 3", "((1 + 2) * 3)");
    expect_expression("a <= b, a > b", "(a <= b), (a > b)");
}

Test(parser, values)
{
    expect_expression("(1, 2), (1,), (1, 2,), ((1))", "(1, 2), (1,), (1, 2), 1");
    expect_expression("[], [1], [1, 2,], [(1, 64), (2, 128)]", "[], [1], [1, 2], [(1, 64), (2, 128)]");
    expect_expression("yes, no, in.channels, in . height", "yes, no, in.channels, in.height");
    expect_expression("f(), f(1, b = g(2)), f((1, 2))", "f(), f(1, b = g(2)), f((1, 2))");
    expect_expression("a = 1, b = 2", "a = 1, b = 2");
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

static void expect_span(const char *text, Span span, const char *part)
{
    cr_expect((size_t)(span.end - span.begin) == strlen(part) && strncmp(text + span.begin, part, strlen(part)) == 0,
              "'%.*s' instead of '%s'", span.end - span.begin, text + span.begin, part);
}

Test(parser, every_node_has_its_place)
{
    const char *text =
        "network net(p = 1) { l[2]: conv(6 + 1, pad = same); repeat i in 1..4 { as x; } train { a = 1; } }";
    Arena *arena = arena_new();
    Diag diag = {0};
    Tree *tree = parse(arena, &diag, source_from_text(arena, "x.net", text));
    cr_assert(tree);
    Block *n = tree->networks.items[0];
    expect_span(text, n->name_span, "net");
    expect_span(text, n->params.items[0].span, "p");
    expect_span(text, n->params.items[0].value->span, "1");
    expect_span(text, n->train_span, "train");
    expect_span(text, n->train.items[0].name_span, "a");
    Stmt *conv = n->body.items[0], *repeat = n->body.items[1];
    expect_span(text, conv->span, "conv(6 + 1, pad = same)");
    expect_span(text, conv->name_span, "conv");
    expect_span(text, conv->label_span, "l[2]");
    expect_span(text, conv->label_index->span, "2");
    expect_span(text, conv->args.items[0].value->span, "6 + 1");
    expect_span(text, conv->args.items[1].name_span, "pad");
    expect_span(text, conv->args.items[1].value->span, "same");
    expect_span(text, repeat->span, "repeat i in 1..4 { as x; }");
    expect_span(text, repeat->variables.items[0].span, "i");
    expect_span(text, repeat->to->span, "4");
    expect_span(text, repeat->body.items[0]->name_span, "x");
    arena_free(arena);
}

Test(parser, an_expression_alone)
{
    Arena *arena = arena_new();
    Expr *e = parse_expression(arena, "1 + (2, 3)");
    cr_assert(e && e->kind == EXPR_BINARY && e->kid[1]->kind == EXPR_TUPLE);
    cr_expect(e->span.end == 0 && e->kid[0]->span.end == 0 && e->kid[1]->span.end == 0, "it has no place");
    const char *const wrong[] = {"", " ", "1 2", "1 +", "a = 1", "1;", "\"a", "@", "\xff", "network n { }", "1 /* "};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect(!parse_expression(arena, wrong[i]), "%s", wrong[i]);
    arena_free(arena);
}

/* ---- mistakes ---------------------------------------------------------------------------------------------------- */

/* All cases, each with the messages that it gets. */
static char *answer_cases(const char *cases)
{
    char *output;
    size_t size;
    FILE *out = open_memstream(&output, &size);
    int count = 0;
    for (const char *at = strstr(cases, "==== "); at; count++) {
        const char *text = strchr(at, '\n') + 1, *next = strstr(text, "\n==== ");
        size_t length = next ? (size_t)(next + 1 - text) : strlen(text);
        char *messages = parse_text("x.net", text, length);
        fprintf(out, "%.*s%s\n", (int)(text - at), at, messages);
        cr_expect(strstr(messages, "error: "), "no error: %.*s", (int)(text - at), at);
        free(messages);
        at = next ? next + 1 : NULL;
    }
    fclose(out);
    cr_expect(count >= 60, "%d mistakes", count);
    return output;
}

Test(parser, mistakes)
{
    char *cases = read_whole("tests/golden/syntax.cases", NULL);
    cr_assert(cases);
    char *answers = answer_cases(cases);
    expect_golden("tests/golden/syntax.txt", answers);
    free(cases);
    free(answers);
}

/* ---- texts made to hurt ------------------------------------------------------------------------------------------ */

/* Sanitizers cost time and memory that the promise does not count. */
#if defined(__SANITIZE_ADDRESS__)
#define SLOW
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLOW
#endif
#endif

/* before, `count` times part, after, in a network: one error (`head`), in less than a second and 256 MB. */
static void expect_refused(const char *before, const char *part, int count, const char *after, const char *head)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fprintf(f, "network n {\n%s", before);
    for (int i = 0; i < count; i++)
        fputs(part, f);
    fprintf(f, "%s\n}\n", after);
    fclose(f);
    clock_t start = clock();
    char *messages = parse_text("x.net", text, size);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    const char *first = strstr(messages, "error: ");
    cr_assert(first, "%s%s... was accepted", before, part);
    cr_expect(strncmp(first + 7, head, strlen(head)) == 0, "%s%s...: %.200s", before, part, messages);
    cr_expect(!strstr(first + 1, "error: "), "%s%s...: more than one error: %.2000s", before, part, messages);
#ifndef SLOW
    cr_expect(seconds < 1, "%s%s...: %.2f s", before, part, seconds);
    cr_expect(usage.ru_maxrss < 256 << 10, "%s%s...: %ld KiB", before, part, usage.ru_maxrss);
#endif
    (void)seconds;
    free(text);
    free(messages);
}

Test(parser, depth)
{
    expect_refused("x(", "1+", 100000, "1);", "operators and parentheses nested deeper than 256");
    expect_refused("x(", "-", 300, "1);", "operators and parentheses nested deeper than 256");
    expect_refused("x(", "-", 100000, "1);", "nested deeper than 256");
    expect_refused("x(", "a ? b : ", 300, "1);", "operators and parentheses nested deeper than 256");
    expect_refused("x(", "a ? b : ", 100000, "1);", "nested deeper than 256");
    expect_refused("x(", "(", 100000, "1);", "brackets nested deeper than 256");
    expect_refused("x(", "[", 100000, "1);", "brackets nested deeper than 256");
    expect_refused("x(", "f(", 100000, "1);", "brackets nested deeper than 256");

}

Test(parser, depth_of_statements)
{
    expect_refused("", "{", 100000, "", "brackets nested deeper than 256");
    expect_refused("", "residual {", 100000, "", "brackets nested deeper than 256");
    expect_refused("", "concat { {", 100000, "", "brackets nested deeper than 256");
    expect_refused("if (1) {}", "else if (1) {}", 300, "", "statements nested deeper than 256");
    expect_refused("if (1) {}", "else if (1) {}", 100000, "", "nested deeper than 256");
}

/* 20 links in each of 20 braces: neither the braces nor the chains alone are too deep. */
Test(parser, depth_of_both_together)
{
    char *chain;
    size_t size;
    FILE *f = open_memstream(&chain, &size);
    fprintf(f, "if (1) {}");
    for (int i = 0; i < 20; i++)
        fprintf(f, " else if (1) {}");
    fprintf(f, " else {");
    fclose(f);
    char *closing = calloc(1, 21);
    memset(closing, '}', 20);
    expect_refused("", chain, 20, closing, "statements nested deeper than 256");
    free(chain);
    free(closing);
}

Test(parser, what_is_just_allowed)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fprintf(f, "network n { x(");
    for (int i = 0; i < 255; i++)
        fprintf(f, "1+");
    fprintf(f, "1); ");
    for (int i = 0; i < 255; i++)
        fprintf(f, "{");
    for (int i = 0; i < 255; i++)
        fprintf(f, "}");
    fprintf(f, " if (1) {}");
    for (int i = 0; i < 255; i++)
        fprintf(f, " else if (1) {}");
    fprintf(f, "}");
    fclose(f);
    char *tree = parse_text("x.net", text, size);
    cr_expect(strncmp(tree, "network n()\n", 12) == 0, "%.300s", tree);
    free(tree);
    free(text);
}

Test(parser, size)
{
    expect_refused("", "relu;", 700000, "", "the file has more than 1000000 words and signs");
    expect_refused("x([", "1,", 1000000, "1]);", "the file has more than 1000000 words and signs");
    expect_refused("", ";", 2000000, "", "the file has more than 1000000 words and signs");
    expect_refused("", "relu ", 700000, "", "expected ';' after the statement, found 'relu'");
    expect_refused("", "a b { } else { ", 100000, "", "expected ';' after the statement, found 'b'");
    expect_refused("x(", "<<", 1000000, "", "expected an expression or ')', found '<<'");
    expect_refused("\"", "x", 4000000, "\" 7;", "this string is 4000002 characters long");
    expect_refused("/*", "*", 4000000, "", "this comment is never closed");
    expect_refused("", "x", 1 << 22, "", "x.net is larger than 4 MiB");
}

/* Thousands of mistakes: twenty are shown. */
Test(parser, many_mistakes)
{
    const char *const parts[] = {"a b;\n", "@\n", "}network b {", "(;", "\"\n", "x(1 2);", "train { } "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *text;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        fprintf(f, "network a { %s", i == 2 ? "b: = 1;" : "");
        for (int k = 0; k < 50000; k++)
            fprintf(f, "%s%s", parts[i], i == 2 ? "b: = 1;" : "");
        fclose(f);
        char *messages = parse_text("x.net", text, size);
        int errors = 0;
        for (const char *at = messages; (at = strstr(at, ": error: ")); at++)
            errors++;
        cr_expect(errors == 20, "%s: %d errors", parts[i], errors);
        cr_expect(strstr(messages, "too many errors; stopping\n"), "%s", parts[i]);
        free(messages);
        free(text);
    }
}
