/* test_lexer.c - every token: what it becomes, where it ends, and what is said about what is none. */
#include "syntax.h"

Test(lexer, integers)
{
    expect_expression("0", "0");
    expect_expression("007", "7");
    expect_expression("9223372036854775807", "9223372036854775807");
    expect_messages("network n { x(9223372036854775808); }", "1:15: error: this integer is too large\n");
}

Test(lexer, reals)
{
    expect_expression("0.5", "0.5");
    expect_expression("1e-4", "0.0001");
    expect_expression("1E3", "1000.0");
    expect_expression("12.25e+2", "1225.0");
    expect_expression("0.1", "0.1");
    expect_expression("0.1234567890123456789", "0.12345678901234568");
    expect_expression("1e-999", "0.0");
    expect_expression("1e300", "1e+300");
    expect_messages("network n { x(1e999); }", "1:15: error: this number is too large\n");
    expect_messages("network n { x(1.); x(.5); }",
                    "1:15: error: a real number needs digits on both sides of the point\n"
                    "1:22: error: a real number needs digits on both sides of the point\n");
}

/* 1..4 is no real number followed by a point. */
Test(lexer, a_range_is_no_real_number)
{
    expect_statements("repeat i in 1..4 {}", "repeat i in 1 .. 4\n");
    expect_statements("repeat i in 1 .. 4 {}", "repeat i in 1 .. 4\n");
    expect_statements("repeat i in a..b {}", "repeat i in a .. b\n");
    expect_statements("repeat i in in.height..in.width {}", "repeat i in in.height .. in.width\n");
}

Test(lexer, what_looks_like_a_number)
{
    expect_messages("network n { x(3x3); }", "1:15: error: 3x3 is not a number\n");
    expect_messages("network n { x(0x10, 1e, 2f, 1.5f, 1_000); }",
                    "1:15: error: 0x10 is not a number\n1:21: error: 1e is not a number\n"
                    "1:25: error: 2f is not a number\n1:29: error: 1.5f is not a number\n"
                    "1:35: error: 1_000 is not a number\n");
}

Test(lexer, names)
{
    expect_statements("_a1; A; repeats; networks; inn; x(same);",
                      "call _a1()\ncall A()\ncall repeats()\ncall networks()\ncall inn()\ncall x(same)\n");
}

Test(lexer, strings)
{
    expect_expression("\"\"", "\"\"");
    expect_expression("\"a b // c /* d */\"", "\"a b // c /* d */\"");
    expect_expression("\"\\\"q\\\\\"", "\"\\\"q\\\\\"");
    expect_expression("\"gr\xc3\xbc\xc3\x9f\"", "\"gr\xc3\xbc\xc3\x9f\"");
    expect_messages("network n { x(\"a\\n\\\xc3\xa9\"); }",
                    "1:17: error: unknown escape in a string\n1:19: error: unknown escape in a string\n");
    expect_messages(
        "network n { x(\"a\tb\x1b\"); }",
        "1:17: error: control character 0x09 in a string\n1:19: error: control character 0x1b in a string\n");
    expect_messages("network n {\n    x('a');\n}\n", "2:7: error: strings are written in double quotes: \"text\"\n");
}

/* An open string ends with its line, and so does its statement where the ';' went with it. */
Test(lexer, an_open_string)
{
    expect_messages("network n {\n    x(\"abc);\n    y z;\n}\n",
                    "2:7: error: this string is not closed on its line\n"
                    "3:6: error: expected ';' after the statement, found 'z'\n");
    expect_messages("network n {\n    x(\"abc,\n     3);\n    y z;\n}\n",
                    "2:7: error: this string is not closed on its line\n"
                    "4:6: error: expected ';' after the statement, found 'z'\n");
    expect_messages("network n { x(\"abc\\", "1:15: error: this string is not closed on its line\n");
}

Test(lexer, comments)
{
    expect_statements("/* b */ relu /* c\n * d **/ ; /**/ tanh; /***/ // e\n", "call relu()\ncall tanh()\n");
    expect_expression("2*/* two */3", "(2 * 3)");
    expect_messages("network n {\n  relu; /* a\n}", "2:9: error: this comment is never closed\n");
    expect_messages("network n { /* a /* b */ c */ relu; }",
                    "1:28: error: this */ closes no comment\n");
    expect_messages("network n {\n# a comment?\nrelu; }", "2:1: error: unexpected character '#'\n");
}

Test(lexer, stray_characters_are_shown_whole)
{
    expect_messages("network n { @relu; }", "1:13: error: unexpected character '@'\n");
    expect_messages("network n { x(a & b, c | d); }",
                    "1:17: error: unexpected character '&'\n1:24: error: unexpected character '|'\n");
    expect_messages("network n { x(2 \xc3\x97 3); }", "1:17: error: unexpected character '\xc3\x97' (U+00D7)\n");
    expect_messages("network n { \xe5\x8d\xb7\xe7\xa7\xaf; }",
                    "1:13: error: unexpected character '\xe5\x8d\xb7' (U+5377)\n");
    expect_messages("network n { relu;\x01 }", "1:18: error: unexpected control character 0x01\n");
    expect_messages("network n { relu;\x7f }", "1:18: error: unexpected control character 0x7f\n");
    expect_messages("network n { relu\xc2\xa0; }", "1:17: error: unexpected character '\xc2\xa0' (U+00A0)\n");
}

Test(lexer, byte_order_mark_and_line_ends)
{
    expect_output("\xef\xbb\xbfnetwork n {\r\n\trelu;\r\n}\r\n", "network n()\n    call relu()\n");
    expect_messages("network n { \xef\xbb\xbf relu; }",
                    "1:13: error: unexpected character '\\u{feff}' (U+FEFF)\n");
}

static char *with_token(const char *before, char c, int count, const char *after)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fputs(before, f);
    for (int i = 0; i < count; i++)
        fputc(c, f);
    fputs(after, f);
    fclose(f);
    return text;
}

Test(lexer, the_longest_token)
{
    char *text = with_token("network n { ", 'a', 256, "; }"), *out = parse_text("x.net", text, strlen(text));
    cr_expect(strncmp(out, "network n()\n    call aaaa", 25) == 0, "%s", out);
    free(text);
    free(out);
    text = with_token("network n { ", 'a', 257, "; }");
    expect_messages(text, "1:13: error: this name is 257 characters long\n");
    free(text);
    text = with_token("network n { x(", '1', 300, "); }");
    expect_messages(text, "1:15: error: this number is 300 characters long\n");
    free(text);
    text = with_token("network n { x(\"", 'x', 300, "\"); }");
    expect_messages(text, "1:15: error: this string is 302 characters long\n");
    free(text);
}
