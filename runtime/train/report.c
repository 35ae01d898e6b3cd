/* report.c - report.html: a scored split looked at closely, as one file without outside resources.
 *
 * While a split is scored the confusion matrix is counted and the worst mistakes are remembered: the pictures whose
 * true class was given the least probability. Then the page is written: loss and accuracy, the curves of the run,
 * accuracy by class, the confusion matrix (for many classes, the pairs that are confused most), the mistakes with their
 * pictures as the network was shown them. Nothing in it depends on time or on the number of threads.
 */
#include "commands/command.h"
#include "chart.h"
#include "error.h"
#include "files/png_uri.h"
#include "files/save.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MISTAKES = 24, PAIRS = 40, MATRIX = 40 };        /* shown; a matrix up to so many classes */

typedef struct { size_t picture; int truth, guess; double truth_share, guess_share; } Mistake;
typedef struct { int truth, guess; long count; } Pair;

struct cnn_report {
    int     classes;
    long   *confusion;                  /* [true class][predicted class] */
    Mistake worst[MISTAKES];            /* the least probability of the true class first; of equals, the first of the data */
    int     mistakes;
};

/* ---- counting ---------------------------------------------------------------------------------------------------- */

cnn_report *cnn_report_new(int classes)
{
    cnn_report *r = calloc(1, sizeof *r);
    if (r)
        r->confusion = calloc((size_t)classes * (size_t)classes, sizeof *r->confusion);
    if (r == NULL || r->confusion == NULL) {
        cnn_error("there is not enough memory for a report");
        free(r);
        return NULL;
    }
    r->classes = classes;
    return r;
}

void cnn_report_free(cnn_report *r)
{
    if (r)
        free(r->confusion);
    free(r);
}

static int comes_before(const Mistake *a, const Mistake *b)
{
    return a->truth_share < b->truth_share || (a->truth_share == b->truth_share && a->picture < b->picture);
}

static void add_mistake(cnn_report *r, Mistake m)
{
    int at = r->mistakes;
    while (at > 0 && comes_before(&m, &r->worst[at - 1]))
        at--;
    if (at == MISTAKES)
        return;
    r->mistakes += r->mistakes < MISTAKES;
    memmove(&r->worst[at + 1], &r->worst[at], (size_t)(r->mistakes - 1 - at) * sizeof m);
    r->worst[at] = m;
}

void cnn_report_add(cnn_report *r, const cnn_real *logits, const int32_t *labels, const size_t *pictures, int count)
{
    for (int n = 0; n < count; n++, logits += r->classes) {
        double share;
        if (labels[n] < 0)              /* left out */
            continue;
        int guess = cnn_best_class(logits, r->classes, &share);
        r->confusion[(size_t)labels[n] * (size_t)r->classes + (size_t)guess]++;
        if (guess != labels[n])
            add_mistake(r, (Mistake){pictures[n], labels[n], guess,
                                     share * exp((double)logits[labels[n]] - (double)logits[guess]), share});
    }
}

static void merge_confusion(cnn_report *r, cnn_ranks *ranks)
{
    enum { PIECE = 1024 };
    const size_t count = (size_t)r->classes * (size_t)r->classes;
    double sums[PIECE];
    for (size_t first = 0; first < count; first += PIECE) {
        const size_t now = count - first < PIECE ? count - first : PIECE;
        for (size_t i = 0; i < now; i++)
            sums[i] = (double)r->confusion[first + i];
        cnn_ranks_sum(ranks, sums, (int)now);
        for (size_t i = 0; i < now; i++)
            r->confusion[first + i] = (long)sums[i];
    }
}

/* Each rank's mistakes in turn: the sum of them and of nothing in the others. */
static void merge_mistakes(cnn_report *r, cnn_ranks *ranks)
{
    enum { FIELDS = 5 };
    Mistake own[MISTAKES];
    const int own_count = r->mistakes;
    memcpy(own, r->worst, sizeof own);
    r->mistakes = 0;
    for (int rank = 0; rank < cnn_ranks_count(ranks); rank++) {
        double rows[MISTAKES][FIELDS] = {{0}}, count = rank == cnn_ranks_own(ranks) ? own_count : 0;
        for (int i = 0; i < (int)count; i++) {
            const Mistake *m = &own[i];
            memcpy(rows[i], (double[FIELDS]){(double)m->picture, m->truth, m->guess, m->truth_share, m->guess_share},
                   sizeof rows[i]);
        }
        cnn_ranks_sum(ranks, &count, 1);
        cnn_ranks_sum(ranks, rows[0], (int)count * FIELDS);
        for (int i = 0; i < (int)count; i++)
            add_mistake(r, (Mistake){(size_t)rows[i][0], (int)rows[i][1], (int)rows[i][2], rows[i][3], rows[i][4]});
    }
}

void cnn_report_merge(cnn_report *r, cnn_ranks *ranks)
{
    if (ranks == NULL)
        return;
    merge_confusion(r, ranks);
    merge_mistakes(r, ranks);
}

static long count_of(const cnn_report *r, int truth, int guess)
{
    return r->confusion[(size_t)truth * (size_t)r->classes + (size_t)guess];
}

static long pictures_of(const cnn_report *r, int truth)
{
    long sum = 0;
    for (int k = 0; k < r->classes; k++)
        sum += count_of(r, truth, k);
    return sum;
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

/* What the page is made from, and where it goes. */
typedef struct {
    const cnn_report  *report;
    const cnn_session *s;
    cnn_dataset       *data;
    const cnn_about   *about;
    FILE              *out;
} Page;

static const char style[] =
    "<style>\n"
    ":root { color-scheme: light dark; }\n"
    "body { font: 15px/1.45 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #1a1a1a; "
    "background: #fff; }\n"
    "table { border-collapse: collapse; } td, th { padding: 2px 8px; text-align: right; font-weight: normal; }\n"
    "th { color: #666; } .name { text-align: left; } .scroll { overflow-x: auto; }\n"
    ".right { background: rgba(0, 158, 115, var(--s)); } .wrong { background: rgba(213, 94, 0, var(--s)); }\n"
    ".bar { width: 12em; } .bar div { background: #0072b2; height: 0.7em; }\n"
    ".pictures { display: flex; flex-wrap: wrap; gap: 1em; } figure { margin: 0; width: 9em; }\n"
    "figure img { width: 9em; image-rendering: pixelated; background: #888; } figcaption { font-size: 13px; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "body { color: #e6e6e6; background: #161616; } th { color: #aaa; } .bar div { background: #56b4e9; } }\n"
    "</style>\n";

static void write_class(const Page *p, int class)
{
    char digits[16];
    const char *name = cnn_dataset_class(p->data, class);
    snprintf(digits, sizeof digits, "%d", class);
    cnn_write_escaped(p->out, name);
    if (strcmp(name, digits) != 0)
        fprintf(p->out, " (%d)", class);
}

/* A row of two cells, the second escaped. */
static void write_fact(const Page *p, const char *name, const char *value)
{
    fprintf(p->out, "<tr><th class=\"name\">%s</th><td class=\"name\">", name);
    cnn_write_escaped(p->out, value);
    fputs("</td></tr>\n", p->out);
}

static void write_head(const Page *p)
{
    const cnn_facts *f = p->s->facts;
    const cnn_score *score = p->about->score;
    char text[256];
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<title>", p->out);
    cnn_write_escaped(p->out, f->name);
    fprintf(p->out, "</title>\n%s</head><body>\n<h1>", style);
    cnn_write_escaped(p->out, f->name);
    fputs("</h1>\n<table>\n", p->out);
    write_fact(p, "weights", p->about->weights);
    write_fact(p, "scored on", cnn_dataset_text(p->data));
    snprintf(text, sizeof text, "%ld right of %ld pictures", score->correct, score->pictures);
    write_fact(p, "", text);
    snprintf(text, sizeof text, "%.2f %%", 100.0 * (double)score->correct / (double)score->pictures);
    write_fact(p, "accuracy", text);
    snprintf(text, sizeof text, "%.4f nats a picture", score->loss / (double)score->pictures);
    write_fact(p, "loss", text);
    snprintf(text, sizeof text, "cnnc %.40s, %.60s, %s", f->version, f->target,
             sizeof(cnn_real) == sizeof(float) ? "float" : "double");
    write_fact(p, "computed by", text);
    fputs("</table>\n", p->out);
}

static void write_classes(const Page *p)
{
    fputs("<h2>Accuracy by class</h2>\n<table>\n<tr><th class=\"name\">class</th><th>pictures</th><th>right</th>"
          "<th>accuracy</th><th></th></tr>\n", p->out);
    for (int k = 0; k < p->report->classes; k++) {
        long all = pictures_of(p->report, k), right = count_of(p->report, k, k);
        double share = all > 0 ? 100.0 * (double)right / (double)all : 0;
        if (all == 0)
            continue;
        fputs("<tr><td class=\"name\">", p->out);
        write_class(p, k);
        fprintf(p->out, "</td><td>%ld</td><td>%ld</td><td>%.1f %%</td><td class=\"bar\"><div style=\"width:%.1f%%\">"
                "</div></td></tr>\n", all, right, share, share);
    }
    fputs("</table>\n", p->out);
}

static void write_matrix(const Page *p)
{
    const cnn_report *r = p->report;
    fputs("<h2>Confusion matrix</h2>\n<p>Rows are the true classes, columns the predicted ones.</p>\n"
          "<div class=\"scroll\"><table>\n<tr><th></th>", p->out);
    for (int k = 0; k < r->classes; k++)
        fprintf(p->out, "<th>%d</th>", k);
    fputs("</tr>\n", p->out);
    for (int truth = 0; truth < r->classes; truth++) {
        long all = pictures_of(r, truth);
        fputs("<tr><th class=\"name\">", p->out);
        write_class(p, truth);
        fputs("</th>", p->out);
        for (int guess = 0; guess < r->classes; guess++) {
            long n = count_of(r, truth, guess);
            if (n == 0)
                fputs("<td></td>", p->out);
            else
                fprintf(p->out, "<td class=\"%s\" style=\"--s:%.2f\">%ld</td>", truth == guess ? "right" : "wrong",
                        0.1 + 0.8 * (double)n / (double)all, n);
        }
        fputs("</tr>\n", p->out);
    }
    fputs("</table></div>\n", p->out);
}

/* The most frequent pairs, the first of equals first. */
static int find_pairs(const cnn_report *r, Pair *pairs)
{
    int found = 0;
    for (int truth = 0; truth < r->classes; truth++)
        for (int guess = 0; guess < r->classes; guess++) {
            Pair pair = {truth, guess, count_of(r, truth, guess)};
            int at = found;
            if (truth == guess || pair.count == 0)
                continue;
            while (at > 0 && pair.count > pairs[at - 1].count)
                at--;
            if (at == PAIRS)
                continue;
            found += found < PAIRS;
            memmove(&pairs[at + 1], &pairs[at], (size_t)(found - 1 - at) * sizeof pair);
            pairs[at] = pair;
        }
    return found;
}

static void write_pairs(const Page *p)
{
    Pair pairs[PAIRS];
    int found = find_pairs(p->report, pairs);
    fputs("<h2>Confused most often</h2>\n<table>\n<tr><th class=\"name\">true class</th>"
          "<th class=\"name\">predicted</th><th>pictures</th><th>of the class</th></tr>\n", p->out);
    for (int i = 0; i < found; i++) {
        fputs("<tr><td class=\"name\">", p->out);
        write_class(p, pairs[i].truth);
        fputs("</td><td class=\"name\">", p->out);
        write_class(p, pairs[i].guess);
        fprintf(p->out, "</td><td>%ld</td><td>%.1f %%</td></tr>\n", pairs[i].count,
                100.0 * (double)pairs[i].count / (double)pictures_of(p->report, pairs[i].truth));
    }
    fputs("</table>\n", p->out);
}

/* A number that a picture has, as a byte: normalisation is undone, and what lies beyond [0, 1] is cut. */
static uint8_t to_byte(const cnn_session *s, int channel, cnn_real value)
{
    const cnn_normal *n = &s->normal;
    int c = n->count > 1 ? channel : 0;
    double v = n->count ? (double)value * n->deviation[c] + n->mean[c] : (double)value;
    return (uint8_t)(v >= 1 ? 255 : v > 0 ? v * 255 + 0.5 : 0);
}

/* <img>, in colour where there are three channels, else the first one in grey. 0 where memory is short. */
static int write_picture(const Page *p, const cnn_real *x, uint8_t *pixels)
{
    const int *in = p->s->input;
    int colours = in[1] == 3 ? 3 : 1;
    size_t area = (size_t)in[2] * (size_t)in[3];
    for (size_t i = 0; i < area; i++)
        for (int c = 0; c < colours; c++)
            pixels[i * (size_t)colours + (size_t)c] = to_byte(p->s, c, x[(size_t)c * area + i]);
    fputs("<img alt=\"\" src=\"", p->out);
    int written = cnn_png_write_uri(p->out, pixels, colours, in[2], in[3]);
    fputs("\">", p->out);
    return written;
}

/* 1; 0 where memory is short; -1 after cnn_error about a picture. */
static int write_mistakes(const Page *p)
{
    const cnn_report *r = p->report;
    cnn_reader reader = {0};
    cnn_real *x = malloc(p->s->pixels * sizeof *x);
    uint8_t *pixels = malloc(p->s->pixels);
    int written = x && pixels, pictures = p->s->input[2] > 1 && p->s->input[3] > 1;
    fprintf(p->out, "<h2>Worst mistakes</h2>\n<p>%s</p>\n<div class=\"pictures\">\n", r->mistakes == 0 ? "None." :
            "The true class was given the least probability; pictures as the network saw them.");
    for (int i = 0; written == 1 && i < r->mistakes; i++) {
        const Mistake *m = &r->worst[i];
        int32_t label;
        fputs("<figure>", p->out);
        if (pictures && cnn_dataset_picture(p->data, m->picture, 0, &reader, x, &label) != 1)
            written = -1;
        else if (pictures)
            written = write_picture(p, x, pixels);
        fprintf(p->out, "<figcaption>picture %zu<br>is ", m->picture);
        write_class(p, m->truth);
        fprintf(p->out, ", %.2g %%<br>taken for ", 100 * m->truth_share);
        write_class(p, m->guess);
        fprintf(p->out, ", %.1f %%</figcaption></figure>\n", 100 * m->guess_share);
    }
    fputs("</div>\n", p->out);
    if (written < 0)
        cnn_error("%s\n%s", reader.picture.cause, reader.picture.mend);
    cnn_reader_free(&reader);
    free(pixels);
    free(x);
    return written;
}

/* As write_mistakes. */
static int write_page(const Page *p)
{
    write_head(p);
    if (p->about->metrics) {
        fputs("<h2>Training</h2>\n<div class=\"scroll\">\n", p->out);
        if (!cnn_curves_write(p->out, "", cnn_session_scored(p->s), p->about->metrics))
            return 0;
        fputs("</div>\n", p->out);
    }
    write_classes(p);
    if (p->report->classes <= MATRIX)
        write_matrix(p);
    else
        write_pairs(p);
    int written = write_mistakes(p);
    fputs("</body></html>\n", p->out);
    return written;
}

int cnn_report_save(const cnn_report *r, const cnn_session *s, cnn_dataset *data, const cnn_about *about,
                    const char *path)
{
    char *text = NULL;
    size_t length = 0;
    Page page = {r, s, data, about, open_memstream(&text, &length)};
    int written = page.out ? write_page(&page) : 0;
    if (page.out && fclose(page.out) != 0 && written == 1)
        written = 0;
    if (written == 0)
        cnn_error("%s: cannot be written: there is not enough memory\nclose other programs", path);
    int saved = written == 1 && cnn_save_bytes(path, text, length);
    free(text);
    return saved;
}
