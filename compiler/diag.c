/* diag.c - errors with carets.
 *
 *   lenet.net:7:5: error: kernel 3 does not fit the 2 x 2 picture that reaches maxpool
 *       7 |     maxpool(3);
 *         |     ^~~~~~~~~~
 *         = help: the smallest input that works is 1x63x63
 *   lenet.net:12:9: note: in block 'stage', called here
 *
 * Requires: spans that lie in diag->source. Establishes: every error is counted; the first `limit` are printed, in the
 * order in which they came, none twice in a row; no byte of the user's text reaches the terminal as a control
 * character; no line of the source is printed wider than 160 columns.
 */
#define _GNU_SOURCE             /* vasprintf */
#include "cnnc.h"

#include <stdlib.h>
#include <string.h>

enum { TAB = 8, TEXT_COLUMNS = 140, BEFORE_CARET = 50, REACH = 2000, SHOWN_CALLS = 8, DEFAULT_LIMIT = 20 };

static const char *paint(const Diag *d, const char *colour)
{
    return d->colour ? colour : "";
}

#define BOLD    "\33[1m"
#define RED     "\33[1;31m"
#define MAGENTA "\33[1;35m"
#define CYAN    "\33[1;36m"
#define GREEN   "\33[1;32m"
#define PLAIN   "\33[0m"

/* ---- characters -------------------------------------------------------------------------------------------------- */

/* How a character appears: as itself, or escaped where it would move the cursor, be invisible or reorder the line. */
typedef struct { char text[12]; int width, bytes; } Glyph;

static bool is_invisible(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || c >= 0xe0000;
}

static bool is_wide(uint32_t c)
{
    return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff01 && c <= 0xff60) ||
           (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
}

/* The character at `text`, when it begins at display column `column`, counted from 0. */
static Glyph glyph_at(const char *text, int length, int column)
{
    Glyph g = {.width = 1};
    uint32_t c;
    g.bytes = decode_utf8(text, length, &c);
    if (g.bytes == 0) {
        g.bytes = 1;
        g.width = snprintf(g.text, sizeof g.text, "\\x%02x", (unsigned char)text[0]);
    } else if (c == '\t') {
        g.width = TAB - column % TAB;
        memset(g.text, ' ', (size_t)g.width);
    } else if (is_invisible(c)) {
        g.width = snprintf(g.text, sizeof g.text, c < 0x80 ? "\\x%02x" : "\\u{%x}", (unsigned)c);
    } else {
        memcpy(g.text, text, (size_t)g.bytes);
        g.width = c >= 0x300 && c <= 0x36f ? 0 : is_wide(c) ? 2 : 1;
    }
    return g;
}

/* Prints a message, a path: whatever the user may have put into it. */
static void print_safely(FILE *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        int rest = length - i > 4 ? 4 : (int)(length - i);
        Glyph g = glyph_at(text + i, rest, 0);
        fputs(g.text, out);
        i += (size_t)g.bytes;
    }
}

/* ---- the source line and the caret ------------------------------------------------------------------------------- */

static int width_of(const char *text, int length, int column)
{
    int end = column;
    for (int i = 0; i < length;) {
        Glyph g = glyph_at(text + i, length - i, end);
        end += g.width;
        i += g.bytes;
    }
    return end - column;
}

/* Prints columns [first, last) of the line; a character that is cut in two becomes spaces. */
static void print_columns(FILE *out, const char *text, int length, int first, int last)
{
    int column = 0;
    for (int i = 0; i < length && column < last;) {
        Glyph g = glyph_at(text + i, length - i, column);
        int end = column + g.width;
        if (column >= first && end <= last)
            fputs(g.text, out);
        else if (end > first)
            fprintf(out, "%*s", (end < last ? end : last) - (column > first ? column : first), "");
        column = end;
        i += g.bytes;
    }
}

/* The part of the span's first line that can be shown: all of it, or REACH bytes before and behind the caret, so that
 * twenty errors in a line of megabytes cost no more than others. */
typedef struct { int number, begin, end, at, stop; bool cut_before, cut_after; } Extract;

static Extract extract_line(const Source *s, Span span)
{
    Extract e = {.number = source_line(s, span.begin, NULL)};
    int begin = s->line[e.number - 1];
    int end = e.number < s->lines ? s->line[e.number] - 1 : s->length;
    if (end > begin && s->text[end - 1] == '\r')
        end--;
    e.at = span.begin < end ? span.begin : end;
    e.begin = e.at - begin > REACH ? e.at - REACH : begin;
    e.end = end - e.at > REACH ? e.at + REACH : end;
    while (e.begin > begin && e.begin < e.at && (s->text[e.begin] & 0xc0) == 0x80)
        e.begin++;
    while (e.end < end && e.end > e.at && (s->text[e.end] & 0xc0) == 0x80)
        e.end--;
    e.stop = span.end < e.end ? span.end : e.end;
    e.cut_before = e.begin > begin;
    e.cut_after = e.end < end;
    return e;
}

/* Only as much of a long line as surrounds the caret. Underlines the part of the span that lies in its first line. */
static void print_line(const Diag *d, Span span, const char *colour)
{
    Extract e = extract_line(d->source, span);
    const char *text = d->source->text + e.begin, *at = d->source->text + e.at;
    int caret = width_of(text, e.at - e.begin, 0);
    int under = e.stop > e.at ? width_of(at, e.stop - e.at, caret) : 1;
    int total = caret + width_of(at, e.end - e.at, caret);
    int first = total > TEXT_COLUMNS && caret > BEFORE_CARET ? caret - BEFORE_CARET : 0;
    int last = total - first > TEXT_COLUMNS ? first + TEXT_COLUMNS : total;
    if (under > last - caret)
        under = last - caret;
    bool before = e.cut_before || first > 0, after = e.cut_after || last < total;
    fprintf(d->out, "%5d | %s", e.number, before ? "..." : "");
    print_columns(d->out, text, e.end - e.begin, first, last);
    fprintf(d->out, "%s\n      | %*s%s^", after ? "..." : "", caret - first + (before ? 3 : 0), "", paint(d, colour));
    for (int i = 1; i < under; i++)
        fputc('~', d->out);
    fprintf(d->out, "%s\n", paint(d, PLAIN));
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* The first line of `text` is the message, each further one a help line below the caret. */
static void print_message(const Diag *d, Span span, const char *kind, const char *colour, const char *text)
{
    const Source *s = d->source;
    bool placed = s && span.end > 0 && span.begin <= s->length;
    fputs(paint(d, BOLD), d->out);
    if (s)
        print_safely(d->out, s->path, strlen(s->path));
    else
        fputs("cnnc", d->out);
    if (placed) {
        int column, number = source_line(s, span.begin, &column);
        fprintf(d->out, ":%d:%d", number, column);
    }
    fprintf(d->out, ": %s%s:%s ", paint(d, colour), kind, paint(d, PLAIN));
    size_t length = strcspn(text, "\n");
    fputs(paint(d, BOLD), d->out);
    print_safely(d->out, text, length);
    fprintf(d->out, "%s\n", paint(d, PLAIN));
    if (placed)
        print_line(d, span, colour);
    while (text[length] == '\n') {
        text += length + 1;
        length = strcspn(text, "\n");
        fprintf(d->out, "%s= %shelp:%s ", placed ? "      " : "  ", paint(d, GREEN), paint(d, PLAIN));
        print_safely(d->out, text, length);
        fputc('\n', d->out);
    }
}

/* One note a call, the innermost first; of a deep chain the two ends. */
static void print_origin(const Diag *d, const Origin *origin)
{
    int calls = 0;
    for (const Origin *o = origin; o; o = o->parent)
        calls++;
    int i = 0;
    for (const Origin *o = origin; o; o = o->parent, i++) {
        if (calls > SHOWN_CALLS && i == SHOWN_CALLS / 2)
            fprintf(d->out, "      ... %d more calls ...\n", calls - SHOWN_CALLS);
        if (calls > SHOWN_CALLS && i >= SHOWN_CALLS / 2 && i < calls - SHOWN_CALLS / 2)
            continue;
        char text[320];
        snprintf(text, sizeof text, "in block '%.256s', called here", o->block);
        print_message(d, o->call, "note", CYAN, text);
    }
}

/* FNV-1a over the place and the text. */
static uint64_t hash_message(Span span, const char *text)
{
    uint64_t hash = 14695981039346656037u;
    hash = (hash ^ (uint64_t)(unsigned)span.begin) * 1099511628211u;
    hash = (hash ^ (uint64_t)(unsigned)span.end) * 1099511628211u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
}

/* Whether this message is printed; keeps back repetitions and what comes after the limit, and says that it does. */
static bool admit(Diag *d, Span span, const char *text)
{
    uint64_t hash = hash_message(span, text);
    int limit = d->limit > 0 ? d->limit : DEFAULT_LIMIT;
    d->hidden = d->shown > limit || (hash == d->last && d->shown > 0);
    d->last = hash;
    if (d->hidden)
        return false;
    if (d->shown++ == limit) {
        fputs("too many errors; stopping\n", d->out);
        d->hidden = true;
    }
    return !d->hidden;
}

static void report(Diag *d, Span span, const Origin *origin, const char *kind, const char *colour, const char *format,
                   va_list args)
{
    char *text;
    if (vasprintf(&text, format, args) < 0)
        out_of_memory();
    if (!d->out)
        d->out = stderr;
    if (admit(d, span, text)) {
        print_message(d, span, kind, colour, text);
        print_origin(d, origin);
    }
    free(text);
}

void error_va(Diag *d, Span span, const Origin *origin, const char *format, va_list args)
{
    d->errors++;
    if (!d->muted)
        report(d, span, origin, "error", RED, format, args);
}

void error_at(Diag *d, Span span, const Origin *origin, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_va(d, span, origin, format, args);
    va_end(args);
}

void warning_at(Diag *d, Span span, const Origin *origin, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    d->warnings++;
    if (!d->muted && !d->errors_only)
        report(d, span, origin, "warning", MAGENTA, format, args);
    va_end(args);
}

/* A note belongs to the message before it and is kept back with it. */
void note_at(Diag *d, Span span, const char *format, ...)
{
    if (d->muted || d->hidden)
        return;
    va_list args;
    va_start(args, format);
    char *text;
    if (vasprintf(&text, format, args) < 0)
        out_of_memory();
    va_end(args);
    if (!d->out)
        d->out = stderr;
    print_message(d, span, "note", CYAN, text);
    free(text);
}

void error_plain(Diag *d, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const Source *source = d->source;
    d->source = NULL;           /* "cnnc: error: ..." */
    error_va(d, (Span){0, 0}, NULL, format, args);
    d->source = source;
    va_end(args);
}
