/* chart.h - line charts as SVG: panels one below the other, axes with round numbers, a legend, for light and dark
 * surroundings. The text stands alone as a file and inside HTML. */
#ifndef CNN_CHART_H
#define CNN_CHART_H

#include <stdio.h>

enum { CNN_CHART_LINES = 4, CNN_CHART_PANELS = 4 };

/* count points (x[i], y[i]); those that are not finite are left out. A line of one point is drawn as a dot. */
typedef struct { const char *name; const double *x, *y; int count; } cnn_chart_line;

typedef struct {
    const char    *x_label, *y_label;           /* with the unit: "epoch", "accuracy, %"                             */
    int            x_whole, x_log;              /* x only has whole numbers; x is drawn logarithmically (x > 0)      */
    cnn_chart_line lines[CNN_CHART_LINES];
    int            count;
} cnn_chart_panel;

/* Nothing is allocated; errors of `out` are for the caller to see (ferror). */
void cnn_chart_write(FILE *out, const char *title, const cnn_chart_panel *panels, int count);

/* Text with the five characters that mean something to XML and HTML replaced, control characters by '?'. */
void cnn_write_escaped(FILE *out, const char *text);

#endif
