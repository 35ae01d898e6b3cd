/* test_diag.c - the format of messages, what is kept back, what reaches the terminal; nearest names. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cnnc.h"

typedef struct { Arena *arena; Diag diag; char *text; size_t size; } Said;

static Said *begin(const char *source)
{
    Said *s = calloc(1, sizeof *s);
    s->arena = arena_new();
    s->diag.out = open_memstream(&s->text, &s->size);
    if (source)
        s->diag.source = source_from_text(s->arena, "x.net", source);
    return s;
}

static void finish(Said *s, const char *expected)
{
    fclose(s->diag.out);
    cr_expect(strcmp(s->text, expected) == 0, "said\n%s\ninstead of\n%s", s->text, expected);
    arena_free(s->arena);
    free(s->text);
    free(s);
}

static Span find(const Said *s, const char *part)
{
    const char *at = strstr(s->diag.source->text, part);
    cr_assert(at);
    int begin = (int)(at - s->diag.source->text);
    return (Span){begin, begin + (int)strlen(part)};
}

/* ---- format ------------------------------------------------------------------------------------------------------ */

Test(diag, caret_help_and_notes)
{
    Said *s = begin("block stage(c) {\n    maxpool(3);\n}\nnetwork n {\n    stage(64);\n}\n");
    Origin origin = {find(s, "stage(64)"), "stage", NULL};
    error_at(&s->diag, find(s, "maxpool(3)"), &origin, "kernel %d does not fit\nuse a smaller one\nor pad", 3);
    note_at(&s->diag, find(s, "network"), "this network");
    cr_expect(s->diag.errors == 1);
    finish(s, "x.net:2:5: error: kernel 3 does not fit\n"
              "    2 |     maxpool(3);\n"
              "      |     ^~~~~~~~~~\n"
              "      = help: use a smaller one\n"
              "      = help: or pad\n"
              "x.net:5:5: note: in block 'stage', called here\n"
              "    5 |     stage(64);\n"
              "      |     ^~~~~~~~~\n"
              "x.net:4:1: note: this network\n"
              "    4 | network n {\n"
              "      | ^~~~~~~\n");
}

Test(diag, warnings_do_not_count_as_errors)
{
    Said *s = begin("relu");
    warning_at(&s->diag, (Span){0, 4}, NULL, "odd");
    cr_expect(s->diag.errors == 0 && s->diag.warnings == 1);
    finish(s, "x.net:1:1: warning: odd\n    1 | relu\n      | ^~~~\n");
}

Test(diag, without_a_place_or_a_file)
{
    Said *s = begin("relu");
    error_at(&s->diag, (Span){0, 0}, NULL, "no network\nwrite one");
    error_plain(&s->diag, "cannot read %s", "y.net");
    finish(s, "x.net: error: no network\n  = help: write one\ncnnc: error: cannot read y.net\n");
    s = begin(NULL);
    error_at(&s->diag, (Span){3, 5}, NULL, "early");
    error_plain(&s->diag, "plain\nwith help");
    finish(s, "cnnc: error: early\ncnnc: error: plain\n  = help: with help\n");
}

Test(diag, a_span_of_several_lines_underlines_the_first)
{
    Said *s = begin("a {\n  b;\n}\n");
    error_at(&s->diag, (Span){0, 10}, NULL, "all");
    finish(s, "x.net:1:1: error: all\n    1 | a {\n      | ^~~\n");
}

Test(diag, the_ends_of_lines_and_of_the_text)
{
    Said *s = begin("ab\r\ncd");
    error_at(&s->diag, (Span){2, 2}, NULL, "end of line");
    error_at(&s->diag, (Span){6, 6}, NULL, "end of text");
    error_at(&s->diag, (Span){99, 100}, NULL, "beyond");
    finish(s, "x.net:1:3: error: end of line\n    1 | ab\n      |   ^\n"
              "x.net:2:3: error: end of text\n    2 | cd\n      |   ^\n"
              "x.net: error: beyond\n");
    s = begin("ab\n");
    error_at(&s->diag, (Span){3, 3}, NULL, "the line behind the last");
    finish(s, "x.net:2:1: error: the line behind the last\n    2 | \n      | ^\n");
}

Test(diag, deep_calls_show_both_ends)
{
    Said *s = begin("aaaaaaaaaaaaaaaaaaaaaaaa");
    Origin chain[20];
    for (int i = 0; i < 20; i++)
        chain[i] = (Origin){{i, i + 1}, "b", i + 1 < 20 ? &chain[i + 1] : NULL};
    error_at(&s->diag, (Span){20, 21}, chain, "deep");
    fclose(s->diag.out);
    int notes = 0;
    for (const char *at = s->text; (at = strstr(at, "note: in block")); at++)
        notes++;
    cr_expect(notes == 8, "%d", notes);
    cr_expect(strstr(s->text, "... 12 more calls ..."));
    cr_expect(strstr(s->text, "x.net:1:1: note") && strstr(s->text, "x.net:1:20: note"));
    cr_expect(!strstr(s->text, "x.net:1:10: note"));
    arena_free(s->arena);
    free(s->text);
    free(s);
}

Test(diag, colour_only_when_asked)
{
    Said *s = begin("relu");
    s->diag.colour = true;
    error_at(&s->diag, (Span){0, 4}, NULL, "red");
    finish(s, "\33[1mx.net:1:1: \33[1;31merror:\33[0m \33[1mred\33[0m\n    1 | relu\n      | \33[1;31m^~~~\33[0m\n");
}

/* ---- what reaches the terminal ----------------------------------------------------------------------------------- */

Test(diag, tabs_and_wide_characters_keep_the_caret_in_place)
{
    Said *s = begin("\tab\tcd;");
    error_at(&s->diag, find(s, "cd"), NULL, "tabs");
    finish(s, "x.net:1:5: error: tabs\n    1 |         ab      cd;\n      |                 ^~\n");
    s = begin("\xe5\x8d\xb7 \xc3\xa9 e\xcc\x81 x");
    error_at(&s->diag, find(s, "x"), NULL, "wide, narrow, combining");
    finish(s,
           "x.net:1:8: error: wide, narrow, combining\n    1 | \xe5\x8d\xb7 \xc3\xa9 e\xcc\x81 x\n      |        ^\n");
}

Test(diag, nothing_controls_the_terminal)
{
    Said *s = begin("\x1b[31m \xe2\x80\xae x");
    error_at(&s->diag, find(s, "x"), NULL, "evil \x1b]0;title\x07 \xff \xe2\x80\xae");
    finish(s, "x.net:1:9: error: evil \\x1b]0;title\\x07 \\xff \\u{202e}\n"
              "    1 | \\x1b[31m \\u{202e} x\n      |                   ^\n");
}

static char *repeat_text(const char *part, int count, const char *end)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (int i = 0; i < count; i++)
        fputs(part, f);
    fputs(end, f);
    fclose(f);
    return text;
}

static void check_clipped(const char *text, int begin_at, int end_at)
{
    Said *s = begin(text);
    error_at(&s->diag, (Span){begin_at, end_at}, NULL, "here");
    fclose(s->diag.out);
    char *rest, *line, *caret = NULL;
    for (line = strtok_r(s->text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        int columns = 0;
        for (const char *c = line; *c; c++)
            columns += (*c & 0xc0) != 0x80;
        cr_expect(columns <= 160, "%d columns: %s", columns, line);
        caret = strchr(line, '^') ? line : caret;
    }
    cr_expect(caret, "no caret");
    arena_free(s->arena);
    free(s->text);
    free(s);
}

Test(diag, long_lines_are_clipped)
{
    char *text = repeat_text("relu; ", 200000, "");
    for (int i = 0; i < 1000; i += 37)
        check_clipped(text, i, i + 4);
    check_clipped(text, 600000, 600004);
    check_clipped(text, 1199990, 1200000);
    check_clipped(text, 1200000, 1200000);
    check_clipped(text, 0, 1200000);
    free(text);
    text = repeat_text("\xe5\x8d\xb7", 100000, "x");
    check_clipped(text, 150000, 150003);
    check_clipped(text, 300000, 300001);
    free(text);
    text = repeat_text("\t", 100000, "x");
    check_clipped(text, 100000, 100001);
    free(text);
    text = repeat_text("\x01", 100000, "x");
    check_clipped(text, 50000, 50001);
    free(text);
}

Test(diag, the_clipped_line_shows_the_place)
{
    char *text = repeat_text("relu; ", 100, "conv(6 5);");
    Said *s = begin(text);
    error_at(&s->diag, find(s, "5"), NULL, "here");
    finish(s, "x.net:1:608: error: here\n"
              "    1 | ... relu; relu; relu; relu; relu; relu; relu; conv(6 5);\n"
              "      |                                                      ^\n");
    free(text);
}

/* ---- what is kept back ------------------------------------------------------------------------------------------- */

Test(diag, the_limit)
{
    Said *s = begin("abcdef");
    s->diag.limit = 2;
    for (int i = 0; i < 5; i++) {
        error_at(&s->diag, (Span){0, 0}, NULL, "error %d", i);
        note_at(&s->diag, (Span){0, 0}, "note %d", i);
    }
    cr_expect(s->diag.errors == 5);
    finish(s, "x.net: error: error 0\nx.net: note: note 0\nx.net: error: error 1\nx.net: note: note 1\n"
              "too many errors; stopping\n");
    s = begin("abcdef");
    s->diag.limit = 2;
    error_at(&s->diag, (Span){0, 0}, NULL, "a");
    error_at(&s->diag, (Span){0, 0}, NULL, "b");
    finish(s, "x.net: error: a\nx.net: error: b\n");
}

Test(diag, repetitions)
{
    Said *s = begin("abcdef");
    for (int i = 0; i < 3; i++) {
        error_at(&s->diag, (Span){1, 2}, NULL, "same");
        note_at(&s->diag, (Span){0, 0}, "its note");
    }
    error_at(&s->diag, (Span){2, 3}, NULL, "same");
    error_at(&s->diag, (Span){1, 2}, NULL, "same");
    cr_expect(s->diag.errors == 5);
    finish(s, "x.net:1:2: error: same\n    1 | abcdef\n      |  ^\nx.net: note: its note\n"
              "x.net:1:3: error: same\n    1 | abcdef\n      |   ^\n"
              "x.net:1:2: error: same\n    1 | abcdef\n      |  ^\n");
}

Test(diag, muted_errors_count)
{
    Said *s = begin("abcdef");
    s->diag.muted = true;
    error_at(&s->diag, (Span){1, 2}, NULL, "a");
    error_plain(&s->diag, "b");
    warning_at(&s->diag, (Span){1, 2}, NULL, "c");
    note_at(&s->diag, (Span){1, 2}, "d");
    cr_expect(s->diag.errors == 2 && s->diag.warnings == 1);
    s->diag.muted = false;
    error_plain(&s->diag, "e");
    finish(s, "cnnc: error: e\n");
}

/* ---- nearest names ----------------------------------------------------------------------------------------------- */

Test(nearest, what_was_meant)
{
    static const char *const ops[] = {"conv", "relu", "relu6", "maxpool", "avgpool", "batchnorm", "add", "lrn",
                                      "linear", "global_avgpool", "adaptive_avgpool", "flatten", "softmax", "tanh",
                                      "silu"};
    static const char *const pairs[][2] = {
        {"rellu", "relu"}, {"rleu", "relu"}, {"ReLU", "relu"}, {"relu7", "relu"}, {"max_pool", "maxpool"},
        {"avergpool", "avgpool"}, {"batch_norm", "batchnorm"}, {"batchnorm2d", "batchnorm"}, {"conv2d", "conv"},
        {"cov", "conv"}, {"lineer", "linear"}, {"flaten", "flatten"}, {"sofmax", "softmax"}, {"globalavgpool",
        "global_avgpool"}, {"adaptiv_avgpol", "adaptive_avgpool"},
        {"dense", NULL}, {"x", NULL}, {"", NULL}, {"abc", NULL}, {"gelu2", NULL}, {"transformer", NULL},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *found = nearest_name(pairs[i][0], ops, (int)(sizeof ops / sizeof *ops));
        cr_expect(pairs[i][1] ? found && strcmp(found, pairs[i][1]) == 0 : !found, "%s: %s", pairs[i][0],
                  found ? found : "nothing");
    }
}

Test(nearest, odd_candidates)
{
    char *text = repeat_text("a", 300, "");
    const char *const names[] = {"", text, "a"};
    cr_expect(!nearest_name(text, names, 3));
    cr_expect(!nearest_name("b", names, 3));
    cr_expect(!nearest_name("b", NULL, 0));
    const char *found = nearest_name("A", names, 3);
    cr_expect(found && strcmp(found, "a") == 0);
    free(text);
}
