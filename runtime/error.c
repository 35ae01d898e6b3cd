/* error.c - one clear line on stderr; see error.h. */
#define _GNU_SOURCE
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 4096 };        /* bytes of a report; the rest is cut */

/* Prints "LEAD" and the formatted text in one write. The '\n' of the format survives the cleaning as "\n  help: ". */
__attribute__((format(printf, 2, 0)))
static void report(const char *lead, const char *format, va_list arguments)
{
    char   text[LONGEST], line[LONGEST + 64], head[LONGEST];
    char  *help = strchrnul(format, '\n');
    size_t length = (size_t)(help - format) < sizeof head ? (size_t)(help - format) : sizeof head - 1;

    /* Format the two halves with one walk over the arguments: the '\n' is replaced by a byte that cleaning knows. */
    memcpy(head, format, length);
    head[length] = 0;
    if (*help)
        snprintf(head + length, sizeof head - length, "\001%s", help + 1);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (vsnprintf(text, sizeof text, head, arguments) < 0)
        snprintf(text, sizeof text, "%s", format);
#pragma GCC diagnostic pop

    int at = snprintf(line, sizeof line, "%s", lead), helped = 0;
    for (const char *c = text; *c && at < (int)sizeof line - 16; c++) {
        if (*c == '\001' && *help && !helped) {
            helped = 1;
            at += snprintf(line + at, sizeof line - at, "\n  help: ");
        } else {
            line[at++] = (unsigned char)*c < ' ' || *c == 127 ? '?' : *c;
        }
    }
    line[at++] = '\n';
    fwrite(line, 1, at, stderr);
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

void cnn_warn(const char *format, ...)
{
    char    lead[300];
    va_list arguments;

    snprintf(lead, sizeof lead, "%.256s: warning: ", program_invocation_short_name);
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
