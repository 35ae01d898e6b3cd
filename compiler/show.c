/* show.c - `cnnc show`: the network as a table; `cnnc explain`: an operator in words and formulas.
 *
 * Requires: a finished graph. The tree of scopes is shown by indentation, a block instance with its block's name; sizes
 * are those of a whole batch, as the trainer sees it. Activation bytes count each layer's output once in float: the
 * arena may be smaller, because the memory plan shares it, and larger, because gradients live in it too.
 */
#include <inttypes.h>
#include <string.h>

#include "expand.h"

enum { NAME, OPERATOR, OUTPUT, PARAMETERS, MACS, BYTES, COLUMNS };

typedef struct { const char *cell[COLUMNS]; } Row;
typedef struct {
    Arena     *arena;
    LIST(Row)  rows;
} Sheet;

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* 61706 -> "61,706" */
static char *thousands(Arena *arena, int64_t n)
{
    char *digits = arena_printf(arena, "%" PRId64, n), *text = arena_printf(arena, "%s", "");
    size_t length = strlen(digits);
    for (size_t i = 0; i < length; i++)
        text = arena_printf(arena, "%s%s%c", text, i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-' ? "," : "",
                            digits[i]);
    return text;
}

/* 421925.0, 1000 -> "421.9 K": three to four significant digits. */
static char *scaled(Arena *arena, double n, double base, const char *const *units)
{
    int u = 0;
    while (n >= base * 0.99995 && units[u + 1])
        n /= base, u++;
    if (u == 0)
        return arena_printf(arena, "%.0f%s%s", n, *units[0] ? " " : "", units[0]);
    return arena_printf(arena, n < 9.9995 ? "%.2f %s" : n < 999.95 ? "%.1f %s" : "%.0f %s", n, units[u]);
}

static char *amount(Arena *arena, double n)
{
    static const char *const units[] = {"", "K", "M", "G", "T", "P", "E", NULL};
    return scaled(arena, n, 1000, units);
}

static char *bytes(Arena *arena, double n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", NULL};
    return scaled(arena, n, 1024, units);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static int depth_of(const Scope *s)
{
    int depth = 0;
    for (; s && s->parent; s = s->parent)
        depth++;
    return depth;
}

/* The name inside its scope, indented; deep trees stay within the page. */
static char *indented(Arena *arena, const char *name, int depth)
{
    const char *dot = strrchr(name, '.');
    return arena_printf(arena, "%*s%s", 2 * (depth < 20 ? depth : 20), "", dot ? dot + 1 : name);
}

static Row *add_row(Sheet *sheet)
{
    APPEND(sheet->arena, &sheet->rows, (Row){0});
    Row *row = &sheet->rows.items[sheet->rows.count - 1];
    for (int k = 0; k < COLUMNS; k++)
        row->cell[k] = "";
    return row;
}

static bool is_within(const Scope *inner, const Scope *outer)
{
    while (inner && inner != outer)
        inner = inner->parent;
    return inner != NULL;
}

/* Headings for the scopes that `s` opens and `last`, the scope of the row before, was not in. */
static void add_scopes(Sheet *sheet, const Scope *s, const Scope *last)
{
    if (s == NULL || s->parent == NULL || is_within(last, s))
        return;
    add_scopes(sheet, s->parent, last);
    Row *row = add_row(sheet);
    row->cell[NAME] = indented(sheet->arena, s->name, depth_of(s) - 1);
    row->cell[OPERATOR] = s->block ? arena_printf(sheet->arena, "[%s]", s->block) : "";
}

static int64_t parameters_of(const Layer *l, bool trainable)
{
    int64_t sum = 0;
    for (int i = 0; i < l->param_count; i++)
        if (l->param[i].trainable == trainable)
            sum += l->param[i].count;
    return sum;
}

static double activation_bytes(const Layer *l)
{
    return 4.0 * (double)shape_count(&l->output) * l->graph->batch;
}

static void add_layer(Sheet *sheet, const Layer *l)
{
    Arena *a = sheet->arena;
    Row *row = add_row(sheet);
    const char *about = l->op->describe ? l->op->describe(a, l) : "";
    int64_t parameters = parameters_of(l, true);
    row->cell[NAME] = indented(a, l->name, depth_of(l->scope));
    row->cell[OPERATOR] = arena_printf(a, "%s%s%s", l->op->keyword, *about ? " " : "", about);
    row->cell[OUTPUT] = arena_printf(a, "%dx%s", l->graph->batch, shape_text(a, &l->output));
    row->cell[PARAMETERS] = parameters ? thousands(a, parameters) : "-";
    row->cell[MACS] = l->macs ? amount(a, (double)l->macs * l->graph->batch) : "-";
    row->cell[BYTES] = bytes(a, activation_bytes(l));
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

static void rule(FILE *out, int width)
{
    for (int i = 0; i < width; i++)
        fputc('-', out);
    fputc('\n', out);
}

/* Words to the left, numbers to the right, nothing after the last cell. */
static void print_row(FILE *out, const Row *row, const int width[COLUMNS])
{
    int last = COLUMNS - 1;
    while (last > 0 && !*row->cell[last])
        last--;
    for (int k = 0; k <= last; k++) {
        const char *cell = row->cell[k];
        int pad = width[k] - (int)strlen(cell);
        if (k >= OUTPUT)
            fprintf(out, "%*s%s", pad > 0 ? pad : 0, "", cell);
        else
            fprintf(out, "%s%*s", cell, pad > 0 && k < last ? pad : 0, "");
        fputs(k < last ? "  " : "\n", out);
    }
}

static void print_sheet(FILE *out, const Sheet *sheet)
{
    int width[COLUMNS] = {0}, total = 2 * (COLUMNS - 1);
    for (int i = 0; i < sheet->rows.count; i++)
        for (int k = 0; k < COLUMNS; k++) {
            int length = (int)strlen(sheet->rows.items[i].cell[k]);
            if (length > width[k])
                width[k] = length < 60 ? length : 60;
        }
    for (int k = 0; k < COLUMNS; k++)
        total += width[k];
    for (int i = 0; i < sheet->rows.count; i++) {
        print_row(out, &sheet->rows.items[i], width);
        if (i == 0)
            rule(out, total);
    }
    rule(out, total);
}

static void print_totals(FILE *out, Arena *a, const Graph *g)
{
    int64_t trainable = 0, buffers = 0;
    double macs = 0, activations = 0;
    for (int i = 0; i < g->layers.count; i++) {
        const Layer *l = g->layers.items[i];
        trainable += parameters_of(l, true);
        buffers += parameters_of(l, false);
        macs += (double)l->macs;
        if (l != g->input)
            activations += activation_bytes(l);
    }
    if (buffers)
        fprintf(out, "Parameters           %s trainable, and %s values of running statistics\n",
                thousands(a, trainable), thousands(a, buffers));
    else
        fprintf(out, "Parameters           %s, all trainable\n", thousands(a, trainable));
    fprintf(out, "Multiply-adds        %s for a batch of %d, %s a picture (forward)\n", amount(a, macs * g->batch),
            g->batch, amount(a, macs));
    fprintf(out, "Parameter memory     %s\n", bytes(a, 4.0 * (double)(trainable + buffers)));
    fprintf(out, "Activation memory    %s for a batch of %d\n", bytes(a, activations), g->batch);
}

void show_network(FILE *out, const Graph *g)
{
    static const char *const head[COLUMNS] = {"Layer", "Operator", "Output", "Parameters", "Multiply-adds",
                                              "Activation"};
    Sheet sheet = {.arena = arena_new()};
    memcpy(add_row(&sheet)->cell, head, sizeof head);
    const Scope *last = NULL;
    for (int i = 0; i < g->layers.count; i++) {
        const Layer *l = g->layers.items[i];
        add_scopes(&sheet, l->scope, last);
        add_layer(&sheet, l);
        last = l->scope;
    }
    fprintf(out, "%s\n\n", g->name);
    print_sheet(out, &sheet);
    print_totals(out, sheet.arena, g);
    arena_free(sheet.arena);
}

/* ---- cnnc explain ------------------------------------------------------------------------------------------------ */

/* Formulas are templates of generated code: "$ih" reads "ih" here. */
static char *plain_formula(Arena *arena, const char *formula)
{
    char *text = arena_copy(arena, formula, strlen(formula)), *to = text;
    for (const char *from = formula; *from; from++)
        if (*from != '$')
            *to++ = *from;
    *to = '\0';
    return text;
}

static char *default_text(Arena *arena, const AttrSpec *spec)
{
    if (spec->kind == ATTR_NAMES)
        return arena_printf(arena, "%s", spec->required ? "needed" : "none");
    if (spec->required)
        return arena_printf(arena, "needed");
    if (spec->kind == ATTR_FLAG)
        return arena_printf(arena, "%s", spec->value != 0 ? "yes" : "no");
    if (spec->value < spec->min)                /* stands for "another attribute's value": the meaning says which */
        return arena_printf(arena, "-");
    return arena_printf(arena, "%g", spec->value);
}

/* "integer, 1 and up", "n or (h, w), 1 and up", "number, 0 to 1" */
static char *takes_text(Arena *arena, const AttrSpec *spec)
{
    static const char *const kinds[] = {
        [ATTR_INT] = "integer", [ATTR_REAL] = "number", [ATTR_FLAG] = "yes or no", [ATTR_PAIR] = "n or (h, w)",
        [ATTR_PAD] = "n, (h, w), (t, b, l, r), same", [ATTR_NAMES] = "names",
    };
    const char *kind = kinds[spec->kind];
    if (spec->kind == ATTR_FLAG || spec->kind == ATTR_NAMES || spec->kind == ATTR_PAD)
        return arena_printf(arena, "%s", kind);
    return spec->max != 0 ? arena_printf(arena, "%s, %g to %g", kind, spec->min, spec->max)
                          : arena_printf(arena, "%s, %g and up", kind, spec->min);
}

static void print_usage(FILE *out, const Op *op)
{
    fprintf(out, "%s", op->keyword);
    for (int i = 0; i < attr_count(op); i++) {
        const AttrSpec *spec = &op->attrs[i];
        fprintf(out, "%s%s%s", i ? ", " : "(", spec->name, spec->kind == ATTR_NAMES ? "..." : "");
    }
    fprintf(out, "%s;\n", attr_count(op) ? ")" : "");
}

void explain_operator(FILE *out, const Op *op)
{
    Arena *arena = arena_new();
    fprintf(out, "%s - %s\n\n    ", op->keyword, op->summary);
    print_usage(out, op);
    if (attr_count(op) > 0)
        fprintf(out, "\n    %-12s %-8s %-30s %s\n", "attribute", "default", "takes", "meaning");
    for (int i = 0; i < attr_count(op); i++) {
        const AttrSpec *spec = &op->attrs[i];
        fprintf(out, "    %-12s %-8s %-30s %s\n", spec->name, default_text(arena, spec), takes_text(arena, spec),
                spec->doc);
    }
    fprintf(out, "\n    forward      %s\n", plain_formula(arena, op->formula));
    if (strstr(op->formula, "$ih"))
        fprintf(out, "                 ih = i * stride - pad + r * dilation,  iw likewise\n");
    fprintf(out, "    gradient     %s\n", plain_formula(arena, op->grad));
    fprintf(out, "    reference    %s\n", op->reference);
    arena_free(arena);
}
