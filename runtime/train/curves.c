/* curves.c - curves.svg: loss and accuracy against epochs, drawn from metrics.csv.
 *
 * Columns are found by their names, so that a metrics.csv of more columns, or one that a user has edited, is drawn too.
 */
#include "run.h"
#include "chart.h"
#include "error.h"
#include "files/save.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EPOCH, LOSS, ACCURACY, SCORED_LOSS, SCORED_ACCURACY, RATE, COLUMNS };
static const char *const names[COLUMNS] = {"epoch", "loss", "accuracy", "*_loss", "*_accuracy", "learning_rate"};

typedef struct { double *column[COLUMNS]; int rows; } Table;

/* The number in field `field` of a row; NaN where there is none. */
static double read_field(const char *row, int field)
{
    size_t end = strcspn(row, "\n");
    const char *at = row;
    for (; field > 0 && at < row + end; field--)
        at += strcspn(at, ",\n") + 1;
    return field == 0 && at < row + end && *at != ',' ? strtod(at, NULL) : NAN;
}

/* The place in the header of the column whose name is `first` and `rest` together, or one that no row has. */
static int find_column(const char *text, const char *first, const char *rest)
{
    size_t half = strlen(first), length = half + strlen(rest);
    for (int field = 0; ; field++) {
        size_t width = strcspn(text, ",\n");
        if (width == length && memcmp(text, first, half) == 0 && memcmp(text + half, rest, length - half) == 0)
            return field;
        if (text[width] != ',')
            return 1 << 20;
        text += width + 1;
    }
}

/* One allocation, at column[0]. 0 when memory is short. */
static int read_table(const char *text, const char *scored, Table *t)
{
    *t = (Table){.rows = 0};
    for (const char *at = strchr(text, '\n'); at && at[1]; at = strchr(at + 1, '\n'))
        t->rows++;
    double *values = malloc((size_t)(t->rows + 1) * COLUMNS * sizeof *values);
    if (values == NULL)
        return 0;
    for (int c = 0; c < COLUMNS; c++) {
        int star = names[c][0] == '*';          /* stands for what is scored */
        int field = find_column(text, star ? scored : "", names[c] + star);
        const char *row = strchr(text, '\n');
        t->column[c] = values + c * (t->rows + 1);
        for (int i = 0; i < t->rows; i++, row = strchr(row + 1, '\n'))
            t->column[c][i] = read_field(row + 1, field) * (c == ACCURACY || c == SCORED_ACCURACY ? 100 : 1);
    }
    return 1;
}

static int varies(const Table *t, int column)
{
    for (int i = 1; i < t->rows; i++)
        if (t->column[column][i] != t->column[column][0])
            return 1;
    return 0;
}

static cnn_chart_panel panel(const Table *t, const char *y_label, const char *first, int a, const char *second, int b)
{
    const double *x = t->column[EPOCH];
    cnn_chart_panel p = {"epoch", y_label, 1, 0, {{first, x, t->column[a], t->rows}}, 1};
    if (second)
        p.lines[p.count++] = (cnn_chart_line){second, x, t->column[b], t->rows};
    return p;
}

int cnn_curves_write(FILE *out, const char *title, const char *scored, const char *metrics)
{
    Table t;
    if (!read_table(metrics, scored, &t))
        return 0;
    cnn_chart_panel panels[3] = {panel(&t, "loss, nats a picture", "training", LOSS, scored, SCORED_LOSS),
                                 panel(&t, "accuracy, %", "training", ACCURACY, scored, SCORED_ACCURACY)};
    int count = 2;
    if (varies(&t, RATE))
        panels[count++] = panel(&t, "learning rate", "rate", RATE, NULL, 0);
    cnn_chart_write(out, title, panels, count);
    free(t.column[0]);
    return 1;
}

int cnn_curves_save(const cnn_session *s, const char *out)
{
    char path[CNN_PATH], *metrics = NULL, *text = NULL;
    size_t length = 0;
    if (!cnn_path(path, out, "curves.svg") || !cnn_metrics_read(out, &metrics))
        return 0;
    FILE *memory = open_memstream(&text, &length);
    int drawn = memory && cnn_curves_write(memory, s->facts->name, cnn_session_scored(s), metrics ? metrics : "");
    if (memory && fclose(memory) != 0)
        drawn = 0;
    if (!drawn)
        cnn_error("%s: cannot be drawn: there is not enough memory\nclose other programs", path);
    int saved = drawn && cnn_save_bytes(path, text, length);
    free(text);
    free(metrics);
    return saved;
}
