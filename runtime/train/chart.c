/* chart.c - see chart.h. Ticks are those of Heckbert 1990 ("Nice Numbers for Graph Labels", Graphics Gems): steps of 1,
 * 2 or 5 times a power of ten; a logarithmic axis has its powers of ten.
 */
#include "chart.h"

#include <math.h>

/* Sizes in SVG's units; a panel's plot lies between its margins. */
enum { WIDTH = 720, PANEL = 270, LEFT = 76, RIGHT = 20, TOP = 20, BOTTOM = 52, TITLE = 40, TICKS = 5 };

/* An axis from least to most in `step`s, along `from`..`to` of the picture. */
typedef struct { double least, most, step; int log; double from, to; } Axis;

static double place(const Axis *a, double value)
{
    double v = a->log ? log10(value) : value;
    return a->from + (v - a->least) / (a->most - a->least) * (a->to - a->from);
}

static int drawn(const cnn_chart_panel *p, double x, double y)
{
    return isfinite(x) && isfinite(y) && (!p->x_log || x > 0);
}

/* 1, 2 or 5 times a power of ten, so that about TICKS of them fill the range. */
static double nice_step(double range)
{
    double rough = range / TICKS, power = pow(10, floor(log10(rough))), share = rough / power;
    return power * (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10);
}

/* Makes an axis of round numbers around the values; `tight`: without room beside them. */
static Axis round_axis(double least, double most, int whole, int tight)
{
    Axis a = {.least = least, .most = most};
    if (!(most > least))
        a.least = least - (whole ? 1 : fabs(least) / 10 + 1e-6), a.most = most + (whole ? 1 : fabs(most) / 10 + 1e-6);
    a.step = nice_step(a.most - a.least);
    if (whole && a.step < 1)
        a.step = 1;
    if (!tight) {
        a.least = floor(a.least / a.step + 1e-9) * a.step;
        a.most = ceil(a.most / a.step - 1e-9) * a.step;
    }
    return a;
}

static void find_axes(const cnn_chart_panel *p, double top, Axis *x, Axis *y)
{
    double least[2] = {HUGE_VAL, HUGE_VAL}, most[2] = {-HUGE_VAL, -HUGE_VAL};
    for (int l = 0; l < p->count; l++)
        for (int i = 0; i < p->lines[l].count; i++) {
            double at[2] = {p->lines[l].x[i], p->lines[l].y[i]};
            if (!drawn(p, at[0], at[1]))
                continue;
            at[0] = p->x_log ? log10(at[0]) : at[0];
            for (int k = 0; k < 2; k++)
                least[k] = fmin(least[k], at[k]), most[k] = fmax(most[k], at[k]);
        }
    for (int k = 0; k < 2; k++)
        if (least[k] > most[k])
            least[k] = 0, most[k] = 1;
    *x = round_axis(least[0], most[0], p->x_whole || p->x_log, 1);
    *y = round_axis(least[1], most[1], 0, 0);
    x->log = p->x_log;
    x->from = LEFT, x->to = WIDTH - RIGHT;
    y->from = top + PANEL - BOTTOM, y->to = top + TOP;
}

void cnn_write_escaped(FILE *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&':  fputs("&amp;", out); break;
        case '<':  fputs("&lt;", out); break;
        case '>':  fputs("&gt;", out); break;
        case '"':  fputs("&quot;", out); break;
        case '\'': fputs("&#39;", out); break;
        default:   fputc((unsigned char)*text < ' ' ? '?' : *text, out);
        }
}

static void write_axes(FILE *out, const cnn_chart_panel *p, const Axis *x, const Axis *y)
{
    for (double k = ceil(y->least / y->step - 1e-9); k * y->step <= y->most + y->step * 1e-6; k++) {
        double at = place(y, k * y->step);
        fprintf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT, at, WIDTH - RIGHT, LEFT - 8, at + 4,
                fabs(k) < 0.5 ? 0 : k * y->step);
    }
    for (double k = ceil(x->least / x->step - 1e-9); k * x->step <= x->most + x->step * 1e-6; k++) {
        double value = x->log ? pow(10, k * x->step) : k * x->step, at = place(x, value);
        fprintf(out, "<path class=\"axis\" d=\"M%.1f %.1fv5\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>\n", at, y->from, at, y->from + 19, value);
    }
    fprintf(out, "<path class=\"axis\" d=\"M%d %.1fV%.1fH%d\"/>\n", LEFT, y->to, y->from, WIDTH - RIGHT);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", (x->from + x->to) / 2, y->from + 39);
    cnn_write_escaped(out, p->x_label);
    double middle = (y->from + y->to) / 2;
    fprintf(out, "</text>\n<text x=\"18\" y=\"%.1f\" text-anchor=\"middle\" transform=\"rotate(-90 18 %.1f)\">", middle,
            middle);
    cnn_write_escaped(out, p->y_label);
    fputs("</text>\n", out);
}

static void write_line(FILE *out, const cnn_chart_panel *p, int number, const Axis *x, const Axis *y)
{
    const cnn_chart_line *line = &p->lines[number];
    int points = 0;
    double last_x = 0, last_y = 0;
    fprintf(out, "<path class=\"l%d\" d=\"", number);
    for (int i = 0; i < line->count; i++)
        if (drawn(p, line->x[i], line->y[i])) {
            last_x = place(x, line->x[i]), last_y = place(y, line->y[i]);
            fprintf(out, "%s%.1f %.1f", points++ ? "L" : "M", last_x, last_y);
        }
    fputs("\"/>\n", out);
    if (points == 1)
        fprintf(out, "<circle class=\"l%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n", number, last_x, last_y);
}

/* In the plot's upper right corner; the first line stands on the left. */
static void write_legend(FILE *out, const cnn_chart_panel *p, const Axis *y)
{
    for (int l = 0; l < p->count; l++) {
        double at = WIDTH - RIGHT - 110.0 * (p->count - l), level = y->to - 8;
        fprintf(out, "<path class=\"l%d\" d=\"M%.1f %.1fh22\"/><text x=\"%.1f\" y=\"%.1f\">", l, at, level - 4,
                at + 28, level);
        cnn_write_escaped(out, p->lines[l].name);
        fputs("</text>\n", out);
    }
}

/* Colours that are told apart by the colour-blind too (Okabe & Ito 2008), and dashes beside them. No CSS variables: not
 * every viewer of pictures knows them. */
static const char style[] =
    "<style>\n"
    ".cnn-chart .paper { fill: #fff; }\n"
    ".cnn-chart text { font: 13px sans-serif; fill: #1a1a1a; }\n"
    ".cnn-chart .title { font-size: 16px; font-weight: bold; }\n"
    ".cnn-chart path, .cnn-chart circle { fill: none; stroke-width: 2; stroke-linejoin: round; }\n"
    ".cnn-chart .grid { stroke: #ddd; stroke-width: 1; }\n"
    ".cnn-chart .axis { stroke: #1a1a1a; stroke-width: 1; }\n"
    ".cnn-chart .l0 { stroke: #0072b2; }\n"
    ".cnn-chart .l1 { stroke: #d55e00; stroke-dasharray: 7 3; }\n"
    ".cnn-chart .l2 { stroke: #009e73; stroke-dasharray: 2 3; }\n"
    ".cnn-chart .l3 { stroke: #cc79a7; stroke-dasharray: 9 3 2 3; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    ".cnn-chart .paper { fill: #161616; } .cnn-chart text { fill: #e6e6e6; }\n"
    ".cnn-chart .grid { stroke: #3a3a3a; } .cnn-chart .axis { stroke: #e6e6e6; }\n"
    ".cnn-chart .l0 { stroke: #56b4e9; } .cnn-chart .l1 { stroke: #f0a04b; }\n"
    ".cnn-chart .l2 { stroke: #3ddbab; } .cnn-chart .l3 { stroke: #e6a6c8; }\n"
    "}\n"
    "</style>\n";

void cnn_chart_write(FILE *out, const char *title, const cnn_chart_panel *panels, int count)
{
    int height = TITLE + count * PANEL;
    fprintf(out, "<svg class=\"cnn-chart\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" role=\"img\">\n%s"
            "<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n"
            "<text class=\"title\" x=\"%d\" y=\"26\">", WIDTH, height, WIDTH, height, style, WIDTH, height, LEFT);
    cnn_write_escaped(out, title);
    fputs("</text>\n", out);
    for (int i = 0; i < count; i++) {
        Axis x, y;
        find_axes(&panels[i], TITLE + i * PANEL, &x, &y);
        write_axes(out, &panels[i], &x, &y);
        for (int l = 0; l < panels[i].count; l++)
            write_line(out, &panels[i], l, &x, &y);
        write_legend(out, &panels[i], &y);
    }
    fputs("</svg>\n", out);
}
