/* train.c - the train { } block: what the trainer does unless its command line says otherwise.
 *
 * Requires: the network's parameters as variables. Establishes: graph->train complete and in range, graph->batch.
 */
#include <inttypes.h>
#include <string.h>

#include "expand.h"

typedef enum { SETTING_INT, SETTING_REAL, SETTING_FLAG, SETTING_TEXT, SETTING_WORD, SETTING_OPTIMIZER } SettingKind;

/* One key of train { } or of sgd( ), and where its value goes. */
typedef struct {
    const char *name;
    SettingKind kind;
    size_t      field;          /* offset in Train                                                                   */
    double      min, max;
    const char *doc;
} Setting;

static const Setting settings[] = {
    {"data", SETTING_TEXT, offsetof(Train, data), 0, 0, "\"synthetic\", \"fashion-mnist\" or a folder"},
    {"batch", SETTING_INT, offsetof(Train, batch), 1, MAX_BATCH, "pictures in one step"},
    {"epochs", SETTING_INT, offsetof(Train, epochs), 1, 1000000, "times through the data"},
    {"optimizer", SETTING_OPTIMIZER, 0, 0, 0, "sgd(lr = 0.1, momentum = 0.9, weight_decay = 1e-4, nesterov = no)"},
    {"init", SETTING_WORD, offsetof(Train, init), 0, 0, "default, xavier or kaiming"},
    {"seed", SETTING_INT, offsetof(Train, seed), 0, 9007199254740992.0, "of initialisation, shuffling and dropout"},
};

static const Setting sgd_settings[] = {
    {"lr", SETTING_REAL, offsetof(Train, lr), 0, 1e30, "learning rate"},
    {"momentum", SETTING_REAL, offsetof(Train, momentum), 0, 1, "of the gradient's running sum"},
    {"weight_decay", SETTING_REAL, offsetof(Train, weight_decay), 0, 1e30, "L2 penalty added to the gradient"},
    {"nesterov", SETTING_FLAG, offsetof(Train, nesterov), 0, 0, "look ahead by one step of momentum"},
};

static const char *const inits[] = {"default", "xavier", "kaiming"};

enum { SETTINGS = sizeof settings / sizeof *settings, SGD_SETTINGS = sizeof sgd_settings / sizeof *sgd_settings };

static const Setting *find_setting(const Setting *table, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static const char *nearest_setting(const Expander *x, const Setting *table, int count, const char *name)
{
    const char *names[SETTINGS];
    for (int i = 0; i < count; i++)
        names[i] = table[i].name;
    return suggest(x, name, names, count);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void wrong_value(Expander *x, const Setting *s, const Expr *e, const char *kind, const char *given)
{
    fail(x, e->span, NULL, "%s must be %s, but %s is given\n%s: %s", s->name, kind, given, s->name, s->doc);
}

static void read_number(Expander *x, const Context *c, const Setting *s, const Expr *e, char *field)
{
    Value v = eval(x, c, e);
    bool number = v.kind == VALUE_INT || (v.kind == VALUE_REAL && s->kind == SETTING_REAL);
    if (v.kind == VALUE_NONE)
        return;
    if (!number)
        wrong_value(x, s, e, s->kind == SETTING_INT ? "an integer" : "a number", value_text(x->arena, &v));
    else if (v.real < s->min || v.real > s->max)
        fail(x, e->span, NULL, "%s must be from %.16g to %.16g, but is %s\n%s: %s", s->name, s->min,
             s->max, value_text(x->arena, &v), s->name, s->doc);
    else if (s->kind == SETTING_REAL)
        *(double *)(void *)field = v.real;
    else if (s->field == offsetof(Train, seed))
        *(int64_t *)(void *)field = v.integer;
    else
        *(int *)(void *)field = (int)v.integer;
}

static void read_flag(Expander *x, const Context *c, const Setting *s, const Expr *e, char *field)
{
    Value v = eval(x, c, e);
    if (v.kind == VALUE_BOOL)
        *(bool *)field = v.integer != 0;
    else if (v.kind != VALUE_NONE)
        wrong_value(x, s, e, "yes or no", value_text(x->arena, &v));
}

static void read_text(Expander *x, const Context *c, const Setting *s, const Expr *e, char *field)
{
    if (e->kind == EXPR_NAME && find_variable(c->variables, e->text) == NULL) {
        fail(x, e->span, NULL, "%s must be a text, but '%s' is a name\nwrite it in quotes: %s = \"%s\"", s->name,
             e->text, s->name, e->text);
        return;
    }
    Value v = eval(x, c, e);
    if (v.kind == VALUE_STRING && *v.text)
        *(const char **)(void *)field = v.text;
    else if (v.kind != VALUE_NONE)
        wrong_value(x, s, e, "a text", v.kind == VALUE_STRING ? "an empty one" : value_text(x->arena, &v));
}

/* init = xavier: a word, or the same as a text. */
static void read_word(Expander *x, const Context *c, const Setting *s, const Expr *e, char *field)
{
    const char *word = e->kind == EXPR_NAME ? e->text : NULL;
    if (word == NULL || find_variable(c->variables, word)) {
        Value v = eval(x, c, e);
        if (v.kind == VALUE_NONE)
            return;
        if (v.kind != VALUE_STRING) {
            wrong_value(x, s, e, s->doc, value_text(x->arena, &v));
            return;
        }
        word = v.text;
    }
    for (int i = 0; i < 3; i++)
        if (strcmp(inits[i], word) == 0) {
            *(const char **)(void *)field = inits[i];
            return;
        }
    const char *near = suggest(x, word, inits, 3);
    fail(x, e->span, NULL, "no %s is named '%.60s'\n%s%s%s", s->name, word, near ? "did you mean '" : "there are ",
         near ? near : s->doc, near ? "'?" : "");
}

static void read_optimizer(Expander *x, const Context *c, const Expr *e);

static void read_setting(Expander *x, const Context *c, const Setting *s, const Expr *e)
{
    char *field = (char *)&x->graph->train + s->field;
    switch (s->kind) {
    case SETTING_INT:
    case SETTING_REAL:
        read_number(x, c, s, e, field);
        break;
    case SETTING_FLAG:
        read_flag(x, c, s, e, field);
        break;
    case SETTING_TEXT:
        read_text(x, c, s, e, field);
        break;
    case SETTING_WORD:
        read_word(x, c, s, e, field);
        break;
    case SETTING_OPTIMIZER:
        read_optimizer(x, c, e);
        break;
    }
}

/* ---- settings ---------------------------------------------------------------------------------------------------- */

/* True, after an error, when one of args[0..i) has the same name. */
static bool repeated(Expander *x, const Arg *args, int i)
{
    for (int k = 0; k < i; k++)
        if (args[k].name && strcmp(args[k].name, args[i].name) == 0) {
            fail(x, args[i].name_span, NULL, "'%s' is set twice", args[i].name);
            note_at(x->diag, args[k].name_span, "first set here");
            return true;
        }
    return false;
}

static void read_optimizer(Expander *x, const Context *c, const Expr *e)
{
    bool named = e->kind == EXPR_CALL || e->kind == EXPR_NAME;
    if (!named || strcmp(e->text, "sgd") != 0) {
        if (named)
            fail(x, e->span, NULL, "there is no optimizer '%s'\nthe only one is %s", e->text, settings[3].doc);
        else
            fail(x, e->span, NULL, "an optimizer is written as a call\nthe only one is %s", settings[3].doc);
        return;
    }
    for (int i = 0; i < e->args.count && i < MAX_ARGUMENTS; i++) {
        const Arg *arg = &e->args.items[i];
        if (arg->name == NULL) {
            fail(x, arg->value->span, NULL, "the settings of sgd are named\nwrite sgd(lr = 0.1)");
            continue;
        }
        const Setting *s = find_setting(sgd_settings, SGD_SETTINGS, arg->name);
        const char *near = s ? NULL : nearest_setting(x, sgd_settings, SGD_SETTINGS, arg->name);
        if (s == NULL)
            fail(x, arg->name_span, NULL, "sgd has no setting '%s'\n%s%s%s", arg->name, near ? "did you mean '" : "",
                 near ? near : "it has lr, momentum, weight_decay and nesterov", near ? "'?" : "");
        else if (!repeated(x, e->args.items, i))
            read_setting(x, c, s, arg->value);
    }
    if (x->graph->train.nesterov && x->graph->train.momentum == 0)
        fail(x, e->span, NULL, "nesterov needs a momentum\nwrite sgd(lr = 0.1, momentum = 0.9, nesterov = yes)");
}

static void read_key(Expander *x, const Context *c, const Arg *arg)
{
    const Setting *s = find_setting(settings, SETTINGS, arg->name);
    if (s) {
        read_setting(x, c, s, arg->value);
        return;
    }
    if (find_setting(sgd_settings, SGD_SETTINGS, arg->name)) {
        fail(x, arg->name_span, NULL, "'%s' belongs to the optimizer\nwrite optimizer = sgd(%s = ...)", arg->name,
             arg->name);
        return;
    }
    const char *near = nearest_setting(x, settings, SETTINGS, arg->name);
    fail(x, arg->name_span, NULL, "train has no setting '%s'\n%s%s%s", arg->name, near ? "did you mean '" : "it has ",
         near ? near : "data, batch, epochs, optimizer, init and seed", near ? "'?" : "");
}

void read_train(Expander *x, const Context *c)
{
    Graph *g = x->graph;
    const Block *network = x->network;
    g->train = (Train){.data = "synthetic", .batch = 32, .epochs = 10, .lr = 0.1, .init = "default", .seed = 1};
    for (int i = 0; i < network->train.count && i < MAX_ARGUMENTS; i++)
        if (!repeated(x, network->train.items, i))
            read_key(x, c, &network->train.items[i]);
    if (x->overrides->batch > 0)
        g->train.batch = x->overrides->batch;
    g->batch = g->train.batch;
}
