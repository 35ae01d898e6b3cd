/* test_hostile.c - network files that are meant to break the compiler: each gets one clear message and exit status 1.
 *
 * The real binary runs with 400 MB of address space (DESIGN promises 256 MB of memory) and 20 seconds, of which it
 * needs less than one; a signal, a second error or any output on stdout fails the test.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support.h"

#if defined __SANITIZE_ADDRESS__
#define LIMITS "timeout 60 "
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LIMITS "timeout 60 "
#endif
#endif
#ifndef LIMITS
#define LIMITS "ulimit -v 400000; timeout 20 "
#endif

static int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

static void expect_refusal(const char *path, const char *message)
{
    Outcome o = run_command(LIMITS "%s/cnnc -fsyntax-only '%s'", BUILD, path);
    cr_assert_eq(o.status, 1, "%s: exit status %d\n%.2000s", path, o.status, o.err);
    cr_assert_str_eq(o.out, "", "%s prints %.200s", path, o.out);
    cr_assert_eq(count_of(o.err, "error: "), 1, "%s: not one error\n%.4000s", path, o.err);
    cr_assert(strstr(o.err, message), "%s says\n%.2000s\nnot: %s", path, o.err, message);
    cr_assert(strlen(o.err) < 8000);
    outcome_free(&o);
}

/* prefix, then `unit` so many times with # standing for the turn and @ for the next one, then suffix. */
static char *build_text(const char *prefix, const char *unit, int times, const char *suffix, size_t *length)
{
    char *text;
    FILE *f = open_memstream(&text, length);
    fputs(prefix, f);
    for (int i = 0; i < times; i++)
        for (const char *p = unit; *p; p++) {
            if (*p == '#' || *p == '@')
                fprintf(f, "%d", *p == '#' ? i : i + 1);
            else
                fputc(*p, f);
        }
    fputs(suffix, f);
    fclose(f);
    return text;
}

static char *path_in(const char *test, const char *file)
{
    char *folder = scratch_folder(test), *path;
    size_t length;
    FILE *f = open_memstream(&path, &length);
    fprintf(f, "%s/%s", folder, file);
    fclose(f);
    free(folder);
    return path;
}

static void refuse(const char *name, const char *prefix, const char *unit, int times, const char *suffix,
                   const char *message)
{
    size_t length;
    char *text = build_text(prefix, unit, times, suffix, &length), *path = path_in(name, "hostile.net");
    write_whole(path, text, length);
    expect_refusal(path, message);
    free(text);
    free(path);
}

#define MANY(name, prefix, unit, times, suffix, message)                                                            \
    Test(hostile, name) { refuse("hostile-" #name, prefix, unit, times, suffix, message); }
#define ONE(name, text, message) MANY(name, text, "", 0, "", message)
#define P10 "))))))))))"
#define B10 "}}}}}}}}}}"
#define B50 B10 B10 B10 B10 B10
#define NET "network deep { input(1, 8, 8); "

/* ---- nesting ----------------------------------------------------------------------------------------------------- */

MANY(braces, NET, "{", 300, "", "nested deeper than 256")
MANY(a_million_braces, NET, "{", 1000000, "", "nested deeper than 256")
MANY(parentheses, NET "conv(", "(", 5000, "", "nested deeper than 256")
MANY(minus_signs, NET "conv(", "-", 100000, "1, 1); }", "nested deeper than 256")
MANY(a_long_sum, NET "conv(", "1+", 100000, "1, 1); }", "nested deeper than 256")
MANY(conditionals, NET "conv(", "yes ? 1 : ", 100000, "1, 1); }", "nested deeper than 256")
MANY(else_if, NET "if (no) {}", " else if (no) {}", 100000, " }", "nested deeper than 256")
MANY(deep_calls, "block b300 { relu; } ", "block b# { b@; } ", 300, NET "b0; }", "nested deeper than 256")
MANY(deep_names, NET, "abcdefghij#: {", 200, " relu; }" B50 B50 B50 B50,
     "the full name of this layer is longer than 1000 characters")

/* ---- recursion and explosion ------------------------------------------------------------------------------------- */

ONE(self_recursion, "block a { a; } " NET "a; }", "block 'a' calls itself: a calls a")
ONE(mutual_recursion, "block a { b; } block b { repeat 2 { if (no) { a; } } } " NET "a; }", "a calls b calls a")
MANY(long_recursion, "block b100000 { b0; } ", "block b# { b@; } ", 100000, NET "b0; }", "calls itself")
ONE(repeat_a_trillion, NET "repeat 1000000000000 { relu; } }", "asks for 1000000000000 steps")
ONE(repeat_a_range, NET "repeat i in -9223372036854775807..9223372036854775807 { relu; } }", "steps")
ONE(repeat_in_repeat, NET "repeat 1000 { repeat 1000 { repeat 1000 { } } } }", "more than 1000000 steps to expand")
ONE(too_many_layers, NET "repeat 200000 { relu; } }", "more than 100000 layers")
MANY(doubling, "block b40 { relu; } ", "block b# { b@; b@; } ", 40, NET "b0; }", "more than")
MANY(doubling_nothing, "block b40 { } ", "block b# { b@; b@; } ", 40, NET "b0; }", "longer than")
ONE(doubling_channels, NET "repeat 60 { concat { {} {} } } }", "more than 2^40 elements")
MANY(lists_in_repeats, NET "repeat 100000 { repeat x in [", "1, ", 100000, "1] {} } }", "more than 1000000 steps")
MANY(long_conditions, NET "repeat 900000 { if (no", " || no || (no", 120,
     P10 P10 P10 P10 P10 P10 P10 P10 P10 P10 P10 P10 ") {} } }", "more than 20000000 steps to compute")
MANY(long_names, NET "x: { repeat i in 1..99000 { abcdefghij", "abcdefghij", 20, "[i]: { g: { h: { relu; } } } } } }",
     "the names of all layers together are longer than 32 MiB")

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

ONE(no_channels, NET "conv(0, 3); }", "must be at least 1, but is 0")
ONE(negative_channels, NET "conv(-1, 3); }", "must be at least 1, but is -1")
ONE(channels_beyond_int, NET "conv(2147483648, 3); }", "must be at most 2147483647")
ONE(integer_beyond_64_bits, NET "conv(99999999999999999999, 3); }", "integer is too large")
ONE(real_beyond_double, NET "leaky_relu(1e999); }", "number is too large")
ONE(product_overflow, NET "conv(2147483647, 1); conv(2147483647, 1); }", "more than 2^40 elements")
ONE(input_overflow, "network deep { input(2147483647, 2147483647, 2147483647); relu; }", "more than 2^40 elements")
ONE(batch_overflow, NET "flatten; linear(10); train { batch = 99999999999; } }", "batch must be from 1")
ONE(shift_overflow, NET "conv(1 << 64, 3); }", "a shift by 64")
ONE(no_stride, NET "conv(1, 3, stride = 0); }", "stride of conv must be at least 1")
ONE(kernel_too_large, NET "conv(1, 2147483647); }", "does not fit")
ONE(extent_overflow, NET "conv(1, 2147483647, dilation = 2147483647); }", "does not fit")
ONE(pad_overflow, NET "conv(1, 1, pad = 2147483647); }", "more than 2^40 elements")
ONE(groups, NET "conv(4, 3, groups = 3); }", "do not divide")

/* ---- names ------------------------------------------------------------------------------------------------------- */

MANY(a_megabyte_of_name, NET, "xxxxxxxxxx", 100000, ": relu; }", "characters long")
ONE(a_c_keyword, "network while { input(1, 8, 8); relu; }", "is a keyword of C or C++")
ONE(a_percent_sign, "network a%n { input(1, 8, 8); relu; }", "found '%'")
ONE(a_comment_end, NET "a*/b: relu; }", "closes no comment")
MANY(many_arguments, NET "sigmoid(", "1, ", 200000, "1); }", "sigmoid takes no attributes")
MANY(many_parameters, "block b(p", ", p#", 200000, ") {} " NET "b; }", "more than 64 parameters")
MANY(many_tensors, NET "concat {", "{} ", 1025, "} }", "1025 tensors reach one concat")
MANY(many_loop_variables, NET "repeat v", ", v#", 100000, " in [] {} }", "at most 64 loop variables")

/* Errors without end: twenty are printed, the rest is counted, and the compiler stops early. */
static void expect_many(const char *name, const char *unit, int times)
{
    size_t length;
    char *text = build_text(NET, unit, times, "}", &length), *path = path_in(name, "hostile.net");
    write_whole(path, text, length);
    Outcome o = run_command(LIMITS "%s/cnnc -fsyntax-only '%s'", BUILD, path);
    cr_assert_eq(o.status, 1, "exit status %d", o.status);
    cr_assert(count_of(o.err, "error: ") <= 22 && strlen(o.err) < 20000, "%.3000s", o.err);
    outcome_free(&o);
    free(text);
    free(path);
}

Test(hostile, unknown_operators) { expect_many("hostile-unknown_operators", "rely#; ", 200000); }
Test(hostile, unknown_names) { expect_many("hostile-unknown_names", "conv(x#, y#); ", 100000); }
Test(hostile, syntax_errors) { expect_many("hostile-syntax_errors", "conv(,); ", 200000); }

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static void refuse_bytes(const char *name, const char *bytes, size_t length, const char *message)
{
    char *path = path_in(name, "hostile.net");
    write_whole(path, bytes, length);
    expect_refusal(path, message);
    free(path);
}

Test(hostile, a_nul_byte)
{
    static const char text[] = NET "re\0lu; }";
    refuse_bytes("hostile-a_nul_byte", text, sizeof text - 1, "NUL byte");
}

Test(hostile, bad_utf8)
{
    static const char text[] = NET "relu; /* \xc3\x28 */ }";
    refuse_bytes("hostile-bad_utf8", text, sizeof text - 1, "not UTF-8");
}

ONE(an_open_comment, NET "relu; } /* ", "never closed")
ONE(an_open_string, NET "relu; train { data = \"x\n; } }", "not closed on its line")
ONE(nothing, "", "is empty")
MANY(nothing_but_blanks, "", "          ", 100000, "", "is empty")

Test(hostile, a_hundred_megabytes)
{
    char *path = path_in("hostile-a_hundred_megabytes", "hostile.net");
    size_t length = 100u << 20;
    char *text = malloc(length);
    cr_assert_not_null(text);
    memset(text, 'x', length);
    write_whole(path, text, length);
    free(text);
    expect_refusal(path, "larger than 4 MiB");
    remove(path);
    free(path);
}

/* ---- not a file -------------------------------------------------------------------------------------------------- */

Test(hostile, a_folder)
{
    char *folder = scratch_folder("hostile-a_folder");
    expect_refusal(folder, "is a folder");
    free(folder);
}

Test(hostile, a_pipe)
{
    char *path = path_in("hostile-a_pipe", "pipe.net");
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_refusal(path, "is a");
    free(path);
}

Test(hostile, a_missing_file) { expect_refusal(BUILD "/no/such/file.net", "No such file"); }
Test(hostile, a_device) { expect_refusal("/dev/zero", "is a device"); }
