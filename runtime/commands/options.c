/* options.c - the one way to read, check, write and adopt the value of an option; which there are: option_rows.c.
 *
 * Requires nothing; whoever calls decides where a complaint goes: the command line to argp, a damaged state to cnn_error.
 */
#include "options.h"
#include "error.h"
#include "train/rate.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ------------------------------------------------------------------------------------------------------ */

static int refuse(char why[CNN_OPTION_MESSAGE], const char *format, double a, double b)
{
    snprintf(why, CNN_OPTION_MESSAGE, format, a, b);
    return 0;
}

static int set_integer(const cnn_option *row, long *field, const char *text, char why[CNN_OPTION_MESSAGE])
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0')
        return refuse(why, "not a whole number", 0, 0);
    if (errno || (double)value < row->least || (double)value > row->most)
        return row->most < (double)LONG_MAX ? refuse(why, "must be from %.0f to %.0f", row->least, row->most)
                                            : refuse(why, "must be from %.0f to 2^63 - 1", row->least, 0);
    *field = value;
    return 1;
}

/* A float must be able to hold it. */
static int set_real(const cnn_option *row, double *field, const char *text, char why[CNN_OPTION_MESSAGE])
{
    char *end;
    double value = strtod(text, &end);
    int closed = (row->is & CNN_CLOSED) != 0;
    if (*text == '\0' || *end != '\0')
        return refuse(why, "not a number", 0, 0);
    if (!isfinite((float)value) || value < row->least || (!closed && (float)value <= (float)row->least))
        return refuse(why, closed ? "must be finite and at least %g" : "must be finite and above %g", row->least, 0);
    if (value > row->most)
        return refuse(why, "must be from %g to %g", row->least, row->most);
    *field = value;
    return 1;
}

static int set_range(const cnn_option *row, double field[2], const char *text, char why[CNN_OPTION_MESSAGE])
{
    char *end;
    double from = strtod(text, &end), to = row->most;
    int numbers = *text != '\0' && *text != ',' && (*end == '\0' || *end == ',');
    if (numbers && *end == ',') {
        text = end + 1;
        to = strtod(text, &end);
        numbers = *text != '\0' && *end == '\0';
    }
    int none = from == 0 && (to == row->most || to == 0);
    if (!numbers)
        return refuse(why, "must be a number, or two with a comma between", 0, 0);
    if (!none && !(from > row->least && from <= to && to <= row->most))
        return refuse(why, "must be above %g, up to %g, and the smaller one first", row->least, row->most);
    field[0] = from;
    field[1] = none ? 0 : to;
    return 1;
}

static int set_yes_no(int *field, const char *text, char why[CNN_OPTION_MESSAGE])
{
    int yes = text == NULL || strcmp(text, "yes") == 0;
    if (!yes && strcmp(text, "no") != 0)
        return refuse(why, "must be yes or no", 0, 0);
    *field = yes;
    return 1;
}

/* The place of a word in "a|b|c", or -1. */
static int word_number(const char *words, const char *text)
{
    for (int i = 0; ; i++) {
        size_t length = strcspn(words, "|");
        if (strlen(text) == length && strncmp(text, words, length) == 0)
            return i;
        if (words[length] == '\0')
            return -1;
        words += length + 1;
    }
}

/* "test|train": sets 0 or 1. */
static int set_choice(const cnn_option *row, int *field, const char *text, char why[CNN_OPTION_MESSAGE])
{
    int number = word_number(row->value, text);
    if (number >= 0) {
        *field = number;
        return 1;
    }
    int length = snprintf(why, CNN_OPTION_MESSAGE, "must be ");
    for (const char *c = row->value; *c; c++)
        length += *c == '|' ? snprintf(why + length, (size_t)(CNN_OPTION_MESSAGE - length), "%s",
                                       strchr(c + 1, '|') ? ", " : " or ")
                            : snprintf(why + length, (size_t)(CNN_OPTION_MESSAGE - length), "%c", *c);
    return 0;
}

static int add_item(cnn_list *list, const char *text, char why[CNN_OPTION_MESSAGE])
{
    if (list->count == CNN_LISTED)
        return refuse(why, "at most %.0f of them", CNN_LISTED, 0);
    list->items[list->count++] = text;
    return 1;
}

int cnn_option_set(cnn_options *o, const cnn_option *row, const char *text, char why[CNN_OPTION_MESSAGE])
{
    void *field = (char *)o + row->field;
    switch (row->kind) {
    case CNN_OPTION_FLAG:
    case CNN_OPTION_YES_NO:  return set_yes_no(field, text, why);
    case CNN_OPTION_CHOICE:  return set_choice(row, field, text, why);
    case CNN_OPTION_INTEGER: return set_integer(row, field, text, why);
    case CNN_OPTION_REAL:    return set_real(row, field, text, why);
    case CNN_OPTION_RANGE:   return set_range(row, field, text, why);
    case CNN_OPTION_TEXT:    return *(const char **)field = text, 1;
    case CNN_OPTION_LIST:    return add_item(field, text, why);
    }
    return 0;
}

static const char *choice_text(const cnn_option *row, int number, char room[CNN_OPTION_ROOM])
{
    const char *word = row->value;
    for (; number > 0; number--)
        word += strcspn(word, "|") + 1;
    snprintf(room, CNN_OPTION_ROOM, "%.*s", (int)strcspn(word, "|"), word);
    return room;
}

static const char *range_text(const double field[2], char room[CNN_OPTION_ROOM])
{
    snprintf(room, CNN_OPTION_ROOM, "%.17g,%.17g", field[0], field[1]);
    return field[1] > 0 ? room : "0";
}

const char *cnn_option_get(const cnn_options *o, const cnn_option *row, int k, char room[CNN_OPTION_ROOM])
{
    const void *field = (const char *)o + row->field;
    if (row->kind == CNN_OPTION_LIST)
        return k < ((const cnn_list *)field)->count ? ((const cnn_list *)field)->items[k] : NULL;
    if (k > 0)
        return NULL;
    switch (row->kind) {
    case CNN_OPTION_CHOICE:  return choice_text(row, *(const int *)field, room);
    case CNN_OPTION_INTEGER: return snprintf(room, CNN_OPTION_ROOM, "%ld", *(const long *)field), room;
    case CNN_OPTION_REAL:    return snprintf(room, CNN_OPTION_ROOM, "%.17g", *(const double *)field), room;
    case CNN_OPTION_RANGE:   return range_text(field, room);
    case CNN_OPTION_TEXT:    return *(const char *const *)field;
    default:                 return *(const int *)field ? "yes" : "no";
    }
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

/* The row of a name that a table below mentions. */
static const cnn_option *row_named(const char *name)
{
    return cnn_option_find(name, strlen(name));
}

/* Its place in what cnn_options has of every row: given, declared. */
static int number_of(const cnn_option *row)
{
    return (int)(row - cnn_option_row(0));
}

void cnn_options_defaults(cnn_options *o, const char *const *defaults)
{
    char why[CNN_OPTION_MESSAGE];
    for (int i = 0; cnn_option_row(i); i++)
        if (cnn_option_row(i)->normal && !cnn_option_set(o, cnn_option_row(i), cnn_option_row(i)->normal, why))
            abort();
    for (; defaults && *defaults; defaults++) {
        size_t length = strcspn(*defaults, "=");
        const cnn_option *row = cnn_option_find(*defaults, length);
        if (row == NULL || !cnn_option_set(o, row, *defaults + length + 1, why))
            abort();
        o->declared[number_of(row)] = 1;
    }
    o->declared_optimizer = o->optimizer;
}

/* What torch.optim takes where nothing is said: sgd, adam, adamw, rmsprop (sgd's learning rate is ours). */
static const struct { const char *name, *normal[4]; } by_optimizer[] = {
    {"lr",           {"0.1", "0.001", "0.001", "0.01"}},
    {"momentum",     {"0", "0", "0", "0"}},
    {"weight-decay", {"0", "0", "0.01", "0"}},
    {"nesterov",     {"no", "no", "no", "no"}},
    {"epsilon",      {"1e-8", "1e-8", "1e-8", "1e-8"}},
};

void cnn_options_settle(cnn_options *o)
{
    char why[CNN_OPTION_MESSAGE];
    for (size_t i = 0; i < sizeof by_optimizer / sizeof *by_optimizer; i++) {
        const cnn_option *row = row_named(by_optimizer[i].name);
        const int said = o->given[number_of(row)] ||
                         (o->declared[number_of(row)] && o->optimizer == o->declared_optimizer);
        if (!said && !cnn_option_set(o, row, by_optimizer[i].normal[o->optimizer], why))
            abort();
    }
}

/* Options that only some choices of another one use: "--beta1 is for --optimizer adam or adamw". */
static const struct { const char *name, *of, *words; } belongs[] = {
    {"momentum", "optimizer", "sgd|rmsprop"},   {"nesterov", "optimizer", "sgd"},
    {"beta1", "optimizer", "adam|adamw"},       {"beta2", "optimizer", "adam|adamw"},
    {"epsilon", "optimizer", "adam|adamw|rmsprop"}, {"alpha", "optimizer", "rmsprop"},
    {"every", "schedule", "step"},              {"milestones", "schedule", "multistep"},
    {"gamma", "schedule", "step|multistep"},    {"least", "schedule", "cosine"},
    {"pct-start", "schedule", "onecycle"},      {"div-factor", "schedule", "onecycle"},
    {"final-div-factor", "schedule", "onecycle"},   {"cycle-momentum", "schedule", "onecycle"},
    {"base-momentum", "schedule", "onecycle"},  {"max-momentum", "schedule", "onecycle"},
};

int cnn_options_fit(const cnn_options *o, char why[CNN_OPTION_MESSAGE])
{
    char chosen[CNN_OPTION_ROOM];
    for (size_t i = 0; i < sizeof belongs / sizeof *belongs; i++) {
        const cnn_option *row = row_named(belongs[i].name), *of = row_named(belongs[i].of);
        cnn_option_get(o, of, 0, chosen);
        if (o->given[number_of(row)] && word_number(belongs[i].words, chosen) < 0)
            return snprintf(why, CNN_OPTION_MESSAGE, "--%s is for --%s %s, and it is %s", row->name, of->name,
                            belongs[i].words, chosen), 0;
    }
    if (o->nesterov && o->momentum <= 0)
        return snprintf(why, CNN_OPTION_MESSAGE, "--nesterov needs a --momentum above 0"), 0;
    if (o->schedule == CNN_ONECYCLE && o->warmup > 0)
        return snprintf(why, CNN_OPTION_MESSAGE, "--warmup is not for --schedule onecycle, which warms up by "
                        "itself"), 0;
    if (o->schedule == CNN_MULTISTEP && !o->milestones)
        return snprintf(why, CNN_OPTION_MESSAGE, "--schedule multistep needs --milestones, as in 30,60,80"), 0;
    long milestones[CNN_MILESTONES];
    if (o->milestones && cnn_milestones(o->milestones, milestones) < 0)
        return snprintf(why, CNN_OPTION_MESSAGE, "--milestones %.60s: must be up to %d growing epochs, as in 30,60,80",
                        o->milestones, CNN_MILESTONES), 0;
    return 1;
}

int cnn_option_given(const cnn_options *o, size_t field)
{
    for (int i = 0; cnn_option_row(i); i++)
        if (cnn_option_row(i)->field == field)
            return o->given[i];
    return 0;
}

/* One row of cnn_options_adopt. */
static int adopt(cnn_options *o, const cnn_option *row, int given, const char *(*lookup)(const void *, const char *),
                 const void *context)
{
    char why[CNN_OPTION_MESSAGE], room[CNN_OPTION_ROOM], key[64];
    if (row->kind == CNN_OPTION_LIST) {
        cnn_list *list = (cnn_list *)(void *)((char *)o + row->field);
        list->count = given ? list->count : 0;
        for (int k = 0; !given && k < CNN_LISTED; k++) {
            snprintf(key, sizeof key, "%s%d", row->name, k);
            const char *item = lookup(context, key);
            if (item == NULL)
                break;
            list->items[list->count++] = item;
        }
        return 1;
    }
    const char *text = lookup(context, row->name), *now = cnn_option_get(o, row, 0, room);
    if (given && (row->is & CNN_FIXED) && now && (text == NULL || strcmp(now, text) != 0)) {
        cnn_error("--%s %s: the run was begun %s --%s%s%s\nleave --%s out", row->name, now, text ? "with" : "without",
                  row->name, text ? " " : "", text ? text : "", row->name);
        return -1;
    }
    if (text == NULL)
        return row->kind == CNN_OPTION_TEXT && row->normal == NULL;
    return given || cnn_option_set(o, row, text, why);
}

int cnn_options_adopt(cnn_options *o, const char *(*lookup)(const void *, const char *), const void *context)
{
    int adopted = 1;
    for (int i = 0; adopted == 1 && cnn_option_row(i); i++)
        if (cnn_option_row(i)->is & CNN_OF_RUN)
            adopted = adopt(o, cnn_option_row(i), o->given[i], lookup, context);
    return adopted;
}
