/* test_eval.c - compile-time expressions: values, precedence, types, and every error of arithmetic. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"

/* Evaluates `text`, where n = 5, x = 0.5, flag = yes, word = "relu", and `in` is 3x8x6; the value or the messages. */
static char *evaluate(Arena *arena, const char *text, bool *ok)
{
    char *messages = NULL;
    size_t length;
    Diag diag = {.out = open_memstream(&messages, &length), .limit = 20, .source = source_from_text(arena, "t", "")};
    Expander x = {.arena = arena, .diag = &diag, .source = diag.source};
    Variable n = {"n", {.kind = VALUE_INT, .integer = 5, .real = 5}, NULL},
             half = {"x", {.kind = VALUE_REAL, .real = 0.5}, &n},
             flag = {"flag", {.kind = VALUE_BOOL, .integer = 1}, &half},
             word = {"word", {.kind = VALUE_STRING, .text = "relu"}, &flag};
    Layer in = {.output = {3, {3, 8, 6}}};
    Context c = {.variables = &word, .in = &in};
    Expr *e = parse_expression(arena, text);
    cr_assert_not_null(e, "%s is no expression", text);
    Value v = eval(&x, &c, e);
    fclose(diag.out);
    *ok = v.kind != VALUE_NONE;
    cr_assert_eq(*ok, diag.errors == 0, "%s: a value and %d errors: %s", text, diag.errors, messages);
    char *result = *ok ? value_text(arena, &v) : arena_copy(arena, messages, strlen(messages));
    free(messages);
    return result;
}

static void is(const char *text, const char *value)
{
    bool ok;
    Arena *arena = arena_new();
    char *got = evaluate(arena, text, &ok);
    cr_expect_str_eq(got, value, "%s is %s, not %s", text, got, value);
    arena_free(arena);
}

static void fails(const char *text, const char *part)
{
    bool ok;
    Arena *arena = arena_new();
    char *got = evaluate(arena, text, &ok);
    cr_expect(!ok && strstr(got, part), "%s: %s, not: %s", text, got, part);
    arena_free(arena);
}

Test(eval, integers)
{
    is("1 + 2 * 3", "7");
    is("(1 + 2) * 3", "9");
    is("7 / 2", "3");
    is("-7 / 2", "-3");
    is("7 % 3", "1");
    is("-7 % 3", "-1");
    is("10 - 3 - 2", "5");
    is("32 << 2", "128");
    is("-1 << 3", "-8");
    is("1024 >> 3", "128");
    is("1 << 62", "4611686018427387904");
    is("-n", "-5");
    is("2 + 3 << 1", "10");
    is("9223372036854775807", "9223372036854775807");
    is("-9223372036854775807 - 1", "-9223372036854775808");
}

Test(eval, reals)
{
    is("1.5 + 1", "2.5");
    is("7 / 2.0", "3.5");
    is("1e-4 * 10", "0.001");
    is("-x", "-0.5");
    is("n * x", "2.5");
    is("1 - 0.25", "0.75");
}

Test(eval, comparisons_and_conditions)
{
    is("1 < 2", "yes");
    is("2 <= 1", "no");
    is("2 > 1.5", "yes");
    is("2 >= 2", "yes");
    is("3 == 3.0", "yes");
    is("3 != 3", "no");
    is("9007199254740993 == 9007199254740992", "no");
    is("yes == flag", "yes");
    is("yes != no", "yes");
    is("word == \"relu\"", "yes");
    is("word != \"relu\"", "no");
    is("yes && no", "no");
    is("yes || no", "yes");
    is("!flag", "no");
    is("n > 4 ? 10 : 20", "10");
    is("n > 5 ? 10 : n > 4 ? 20 : 30", "20");
    is("no || no && yes", "no");
}

/* The side that does not count is not computed. */
Test(eval, short_circuit)
{
    is("yes || 1 / 0 == 1", "yes");
    is("no && 1 / 0 == 1", "no");
    is("yes ? 1 : 1 / 0", "1");
    is("no ? missing : 2", "2");
}

Test(eval, functions)
{
    is("min(3, 1, 2)", "1");
    is("max(3, 4)", "4");
    is("max(3, 3.5)", "3.5");
    is("min(3, 3.5)", "3.0");
    is("floor(2.7)", "2");
    is("floor(-2.2)", "-3");
    is("ceil(2.1)", "3");
    is("round(2.5)", "3");
    is("int(-2.7)", "-2");
    is("int(7)", "7");
    is("abs(-3)", "3");
    is("abs(-0.5)", "0.5");
    is("max(8, int(n * 1.2 + 4) / 8 * 8)", "8");
}

Test(eval, fields_of_in)
{
    is("in.channels", "3");
    is("in.features", "3");
    is("in.height", "8");
    is("in.width * 2", "12");
    fails("in.chanels", "did you mean 'channels'?");
    fails("in.batch", "no field 'batch'");
}

Test(eval, tuples_and_lists)
{
    is("(1, 2)", "(1, 2)");
    is("[1, 2.5, yes]", "[1, 2.5, yes]");
    is("[(1, 64), (2, 128)]", "[(...), (...)]");
    is("[1, 2, 3, 4]", "[1, 2, 3, ...]");
    is("\"text\"", "\"text\"");
}

Test(eval, overflow)
{
    fails("9223372036854775807 + 1", "does not fit into 64 bits");
    fails("-9223372036854775807 - 2", "does not fit into 64 bits");
    fails("4294967296 * 4294967296", "does not fit into 64 bits");
    fails("(-9223372036854775807 - 1) / -1", "does not fit into 64 bits");
    is("(-9223372036854775807 - 1) % -1", "0");
    fails("-(-9223372036854775807 - 1)", "does not fit into 64 bits");
    fails("abs(-9223372036854775807 - 1)", "does not fit into 64 bits");
    fails("3 << 62", "does not fit into 64 bits");
    fails("1 << 63", "out of range");
    fails("1 >> -1", "out of range");
    fails("1e308 * 10", "not a finite number");
    fails("int(1e30)", "does not fit into 64 bits");
    fails("floor(-1e19)", "does not fit into 64 bits");
}

Test(eval, mistakes)
{
    fails("1 / 0", "division by zero");
    fails("1 % 0", "division by zero");
    fails("1.0 / 0", "division by zero");
    fails("1.5 % 2", "needs integers");
    fails("1.5 << 2", "needs integers");
    fails("1 + yes", "one side is yes");
    fails("\"a\" + \"b\"", "one side is \"a\"");
    fails("-yes", "needs a number");
    fails("!3", "write (...) != 0");
    fails("1 && yes", "needs yes or no");
    fails("n ? 1 : 2", "needs yes or no, but 5 is a number");
    fails("yes < no", "cannot be compared");
    fails("1 == yes", "cannot be compared");
    fails("[1] == [1]", "cannot be compared");
    fails("wrod", "did you mean 'word'?");
    fails("zzzzzz", "unknown name 'zzzzzz'");
    fails("True", "yes and no");
    fails("false", "yes and no");
    fails("mim(1, 2)", "did you mean 'min'?");
    fails("sqrt(2)", "min, max, floor, ceil, round, abs and int");
    fails("min(1)", "two or more numbers");
    fails("abs(1, 2)", "one number");
    fails("abs(yes)", "needs a number");
    fails("abs(x = 1)", "without names");
}

/* One error for one mistake, however deep it lies. */
Test(eval, errors_do_not_cascade)
{
    bool ok;
    Arena *arena = arena_new();
    char *got = evaluate(arena, "max(1, (missing + 1) * 2) > 3 && yes ? 1 : 2", &ok), *first = strstr(got, "error");
    cr_assert(!ok && first && !strstr(first + 5, "error"), "%s", got);
    arena_free(arena);
}
