/* progress.c - the bar on stderr: moves only on a terminal, fits its width, and leaves nothing behind.
 *
 *   epoch 3/10 [=========>          ]  117/234  loss 0.6120  accuracy 0.7711  4871 pictures/s  0:06 left
 */
#include "output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LINE = 512, LONGEST_BAR = 30, SHORTEST_BAR = 5, WIDE = 100 };   /* columns */

/* Columns of the terminal on stderr; 80 where it does not say. */
static int terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

/* Begins a bar of `total` steps; `pictures` is how many pictures a step works on, 0: do not print a rate. */
cnn_progress cnn_progress_begin(const char *label, long done, long total, int pictures)
{
    const char *terminal = getenv("TERM");
    cnn_progress p = {.total = total, .first = done, .pictures = pictures, .started = cnn_seconds()};
    p.on = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    snprintf(p.label, sizeof p.label, "%s", label);
    return p;
}

/* Adds a piece to the line; one that does not fit is left out. */
__attribute__((format(printf, 3, 4))) static void append(char line[LINE], int width, const char *format, ...)
{
    int used = (int)strlen(line), room = width < LINE ? width : LINE;
    va_list values;
    va_start(values, format);
    if (vsnprintf(line + used, (size_t)(LINE - used), format, values) >= room - used)
        line[used] = '\0';
    va_end(values);
}

/* " [=====>    ]" in what is left of the line; nothing where that is too little to see a movement. */
static void append_bar(char line[LINE], int width, double share)
{
    int room = width - (int)strlen(line) - 4;
    int length = room > LONGEST_BAR ? LONGEST_BAR : room;
    if (length < SHORTEST_BAR)
        return;
    int filled = (int)(share * length);
    char bar[LONGEST_BAR + 1] = "";
    for (int i = 0; i < length; i++)
        bar[i] = i < filled - 1 ? '=' : i == filled - 1 ? '>' : ' ';
    bar[length] = '\0';
    append(line, width, " [%s]", bar);
}

static void append_time(char line[LINE], int width, long left)
{
    if (left >= 3600)
        append(line, width, "  %ld:%02ld:%02ld left", left / 3600, left / 60 % 60, left % 60);
    else
        append(line, width, "  %ld:%02ld left", left / 60, left % 60);
}

/* Shows that `done` steps are done, ten times a second at most. `figures` is "loss 0.6120  accuracy 0.7711" or "". */
void cnn_progress_show(cnn_progress *p, long done, const char *figures)
{
    double now = cnn_seconds(), elapsed = now - p->started;
    if (!p->on || now - p->drawn < 0.1)
        return;
    p->drawn = now;

    char line[LINE] = "", rest[LINE] = "";
    int width = terminal_width();
    append(rest, width, "  %*ld/%ld", snprintf(NULL, 0, "%ld", p->total), done, p->total);
    append(rest, width, *figures ? "  %s" : "%s", figures);
    double speed = elapsed > 0 ? (double)(done - p->first) / elapsed : 0;
    if (speed > 0) {
        if (p->pictures > 0)
            append(rest, width, width >= WIDE ? "  %.0f pictures/s" : "  %.0f/s", speed * p->pictures);
        append_time(rest, width, (long)((double)(p->total - done) / speed + 0.5));
    }
    append(line, width, "%s", p->label);
    append_bar(line, width - (int)strlen(rest), p->total > 0 ? (double)done / (double)p->total : 1);
    append(line, width, "%s", rest);
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
}

/* Takes the bar off the screen; must come before anything else is printed. May be called twice. */
void cnn_progress_end(cnn_progress *p)
{
    if (p->on && p->drawn > 0)
        fputs("\r\033[K", stderr), fflush(stderr);
    p->on = 0;
}
