/* syntax.h - network texts parsed inside the test: the tree, or the messages. */
#ifndef SYNTAX_H
#define SYNTAX_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cnnc.h"

/* What parsing printed: the tree, or the messages. The caller owns it. `path` is what the messages call the file. */
__attribute__((unused)) static char *parse_text(const char *path, const char *text, size_t length)
{
    Arena *arena = arena_new();
    char *output = NULL;
    size_t size;
    FILE *out = open_memstream(&output, &size);
    Diag diag = {.out = out};
    Source *source = source_from_bytes(arena, &diag, path, text, length);
    Tree *tree = source ? parse(arena, &diag, source) : NULL;
    cr_assert((tree != NULL) == (diag.errors == 0), "a tree, or errors");
    if (tree)
        dump_tree(out, tree);
    fclose(out);
    arena_free(arena);
    return output;
}

__attribute__((unused)) static void expect_output(const char *text, const char *expected)
{
    char *actual = parse_text("x.net", text, strlen(text));
    cr_expect(strcmp(actual, expected) == 0, "%s\nbecame\n%s\ninstead of\n%s", text, actual, expected);
    free(actual);
}

/* The statements stand in "network n { ... }"; `tree` is what that network contains, four columns to the left. */
__attribute__((unused)) static void expect_statements(const char *statements, const char *tree)
{
    char *text, *indented, *rest, *line;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fprintf(f, "network n { %s }", statements);
    fclose(f);
    f = open_memstream(&indented, &size);
    fprintf(f, "network n()\n");
    char *copy = strdup(tree);
    for (line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        fprintf(f, "    %s\n", line);
    fclose(f);
    expect_output(text, indented);
    free(text);
    free(indented);
    free(copy);
}

/* The argument of x(...) in a statement, as it is dumped. */
__attribute__((unused)) static void expect_expression(const char *expression, const char *dumped)
{
    char text[4096], tree[4096];
    snprintf(text, sizeof text, "x(%s);", expression);
    snprintf(tree, sizeof tree, "call x(%s)\n", dumped);
    expect_statements(text, tree);
}

/* The first lines of all messages, without "x.net:": "1:5: error: ...\n2:1: note: ...\n". */
__attribute__((unused)) static void expect_messages(const char *text, const char *expected)
{
    char *actual = parse_text("x.net", text, strlen(text)), *heads, *rest, *line;
    size_t size;
    FILE *f = open_memstream(&heads, &size);
    for (line = strtok_r(actual, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (strncmp(line, "x.net:", 6) == 0)
            fprintf(f, "%s\n", line + 6);
    fclose(f);
    cr_expect(strcmp(heads, expected) == 0, "%s\nsaid\n%s\ninstead of\n%s", text, heads, expected);
    free(actual);
    free(heads);
}

#endif
