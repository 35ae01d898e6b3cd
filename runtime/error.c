/* error.c - one clear line on stderr; see error.h. */
#define _GNU_SOURCE
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST = 4096 };        /* bytes of a report; the rest is cut */

/* Prints the lead and the formatted text in one write. The help begins where the format's first half, formatted by
 * itself, ends: a '\n' that comes in through an argument is cleaned like every other control character. */
__attribute__((format(printf, 2, 0)))
static void report(const char *lead, const char *format, va_list arguments)
{
    char    text[LONGEST] = "", line[LONGEST + 64], head[LONGEST];
    int     at = snprintf(line, sizeof line, "%s", lead), split;
    va_list again;

    snprintf(head, sizeof head, "%.*s", (int)(strchrnul(format, '\n') - format), format);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    va_copy(again, arguments);
    split = vsnprintf(text, sizeof text, head, again);
    va_end(again);
    vsnprintf(text, sizeof text, format, arguments);
#pragma GCC diagnostic pop

    for (int i = 0; text[i] && at < (int)sizeof line - 16; i++)
        if (i == split && text[i] == '\n')
            at += snprintf(line + at, sizeof line - (size_t)at, "\n  help: ");
        else
            line[at++] = (unsigned char)text[i] < ' ' || text[i] == 127 ? '?' : text[i];
    line[at++] = '\n';
    fwrite(line, 1, (size_t)at, stderr);
}

void cnn_error(const char *format, ...)
{
    char    lead[300];
    va_list arguments;

    snprintf(lead, sizeof lead, "%.256s: error: ", program_invocation_short_name);
    va_start(arguments, format);
    report(lead, format, arguments);
    va_end(arguments);
}

/* A warning may come while a progress bar stands on the line, which it then takes. */
static const char *fresh_line(void)
{
    const char *kind = getenv("TERM");
    return isatty(fileno(stderr)) && kind && strcmp(kind, "dumb") != 0 ? "\r\033[K" : "";
}

void cnn_warn(const char *format, ...)
{
    char    lead[300];
    va_list arguments;

    snprintf(lead, sizeof lead, "%s%.256s: warning: ", fresh_line(), program_invocation_short_name);
    va_start(arguments, format);
    report(lead, format, arguments);
    va_end(arguments);
}

void cnn_note(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    report("  ", format, arguments);
    va_end(arguments);
}

/* ---- one of several processes ------------------------------------------------------------------------------------ */

static FILE  *terminal;         /* stderr as it was; NULL: nothing is kept */
static char  *kept;
static size_t kept_length;

void cnn_error_keep(void)
{
    FILE *memory = open_memstream(&kept, &kept_length);

    if (memory) {
        terminal = stderr;
        stderr = memory;
    }
}

void cnn_error_print_kept(const char *who)
{
    if (terminal == NULL)
        return;
    fflush(stderr);
    if (kept_length > 0)
        fprintf(terminal, "%s%s", who, kept);
    fflush(terminal);
}

void cnn_error_drop_kept(void)
{
    if (terminal == NULL)
        return;
    fclose(stderr);
    free(kept);
    stderr = terminal;
    terminal = NULL;
    cnn_error_keep();
}
