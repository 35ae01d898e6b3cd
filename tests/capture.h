/* capture.h - what the runtime printed on stderr, for tests of its messages. Each Criterion test is its own process. */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct { int saved; FILE *file; char text[1 << 16]; } Capture;

__attribute__((unused)) static void capture_begin(Capture *c)
{
    fflush(stderr);
    c->file = tmpfile();
    cr_assert(c->file);
    c->saved = dup(2);
    dup2(fileno(c->file), 2);
}

/* Ends it and returns the text, which the capture owns. */
__attribute__((unused)) static const char *capture_end(Capture *c)
{
    fflush(stderr);
    dup2(c->saved, 2);
    close(c->saved);
    rewind(c->file);
    c->text[fread(c->text, 1, sizeof c->text - 1, c->file)] = 0;
    fclose(c->file);
    return c->text;
}

__attribute__((unused)) static int occurrences(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at++)
        n++;
    return n;
}

/* One error with its help and nothing else: "<program>: error: <path>... <part> ...\n  help: ...\n". */
__attribute__((unused)) static void expect_one_error(const char *text, const char *path, const char *part)
{
    cr_assert(occurrences(text, ": error: ") == 1 && occurrences(text, "\n  help: ") == 1 &&
              occurrences(text, "\n") == 2, "one line and its help, not:\n%s", text);
    cr_assert(strstr(text, path), "'%s' is not named in:\n%s", path, text);
    cr_assert(strstr(text, part), "'%s' is not in:\n%s", part, text);
}

#endif
