/* output.c - one result, one line on stdout: `loss 0.4712  accuracy 0.8230`, or with --json
 * `{"result":"eval","loss":0.4712,"accuracy":0.823}`.
 *
 * or, as a row of a table (RFC 4180), `0.4712,0.823` under `loss,accuracy`.
 *
 * A line is begun, its values are added in the order in which they are read, and it is printed by cnn_line_end. Lines
 * are flushed at once, so that a program at the other end of a pipe sees an epoch when it ends.
 */
#include "output.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* Begins a line; `result` names its kind in JSON and is not printed in plain lines. */
cnn_line cnn_line_begin(const cnn_options *options, const char *result)
{
    cnn_line line = {.values = 0, .object = NULL};
    if (options->json) {
        line.object = json_object();
        json_object_set_new(line.object, "result", json_string(result));
    }
    return line;
}

cnn_line cnn_line_table(FILE *out, int heading)
{
    return (cnn_line){.table = out, .heading = heading};
}

/* Begins a cell of a table; 0 where the name of its column is all. */
static int begin_cell(cnn_line *line, const char *name)
{
    fprintf(line->table, "%s%s", line->values++ ? "," : "", line->heading ? name : "");
    return !line->heading;
}

/* In quotes, with those in it doubled. */
static void put_quoted(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text; text++)
        *text == '"' ? fputs("\"\"", out) : putc(*text, out);
    putc('"', out);
}

/* Two spaces between values, the name before each. */
static void print_name(cnn_line *line, const char *name)
{
    printf("%s%s ", line->values++ ? "  " : "", name);
}

/* Names of files and classes come from anywhere: what a terminal would obey becomes '?'. */
static void print_clean(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < ' ' || *text == 127 ? '?' : *text);
}

/* `value` with `decimals` decimals, or as 1.2e-08 where decimals < 0. JSON gets nine digits, and null for what it
 * cannot say (NaN, infinities). */
void cnn_line_real(cnn_line *line, const char *name, double value, int decimals)
{
    if (line->object)
        json_object_set_new(line->object, name, isfinite(value) ? json_real(value) : json_null());
    else if (line->table)
        begin_cell(line, name) ? fprintf(line->table, "%.9g", value) : 0;
    else
        print_name(line, name), isnan(value) ? printf("nan") :
            decimals < 0 ? printf("%.1e", value) : printf("%.*f", decimals, value);
}

void cnn_line_integer(cnn_line *line, const char *name, long long value)
{
    if (line->object)
        json_object_set_new(line->object, name, json_integer(value));
    else if (line->table)
        begin_cell(line, name) ? fprintf(line->table, "%lld", value) : 0;
    else
        print_name(line, name), printf("%lld", value);
}

/* Text; JSON text must be UTF-8, and becomes null where it is not. */
void cnn_line_text(cnn_line *line, const char *name, const char *value)
{
    if (line->object) {
        json_t *text = json_string(value);
        json_object_set_new(line->object, name, text ? text : json_null());
    } else if (line->table) {
        if (begin_cell(line, name))
            put_quoted(line->table, value);
    } else {
        print_name(line, name), print_clean(value);
    }
}

/* `epoch 3/10`; in JSON two members, "epoch": 3 and "epochs": 10. */
void cnn_line_part(cnn_line *line, const char *name, const char *total_name, long long value, long long total)
{
    if (line->object) {
        cnn_line_integer(line, name, value);
        cnn_line_integer(line, total_name, total);
    } else {
        print_name(line, name), printf("%lld/%lld", value, total);
    }
}

/* `step_ms min 3.91 median 3.98`; in JSON two members, "step_ms_min" and "step_ms_median". */
void cnn_line_spread(cnn_line *line, const char *name, double min, double median)
{
    if (line->object) {
        char member[64];
        snprintf(member, sizeof member, "%s_min", name);
        cnn_line_real(line, member, min, 0);
        snprintf(member, sizeof member, "%s_median", name);
        cnn_line_real(line, member, median, 0);
    } else {
        print_name(line, name), printf("min %.*f median %.*f", min < 1 ? 4 : 2, min, min < 1 ? 4 : 2, median);
    }
}

/* Prints the line and releases it. A failing stdout is noticed once, by cnn_main. */
void cnn_line_end(cnn_line *line)
{
    if (line->object) {
        json_dumpf(line->object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        json_decref(line->object);
        line->object = NULL;
    }
    putc('\n', line->table ? line->table : stdout);
    if (line->table == NULL)
        fflush(stdout);
}
