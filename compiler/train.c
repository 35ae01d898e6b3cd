/* train.c - the train { } block: what the trainer does unless its command line says otherwise.
 *
 * Requires: the network's parameters as variables. Establishes: graph->train complete and in range, graph->batch; what
 * goes together and with the network is checked when the layers are known (train_check.c).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"

typedef enum { SETTING_INT, SETTING_REAL, SETTING_FLAG, SETTING_TEXT, SETTING_WORD, SETTING_CALL,
               SETTING_NUMBERS, SETTING_EPOCHS, SETTING_RANGE } SettingKind;

/* Whom a setting is for: the compiler, which reads it from graph->train, or the trainer, which takes it as the option
 * of its name (runtime/commands/option_rows.c). */
typedef enum { FOR_COMPILER, FOR_TRAINER } SettingUse;

typedef struct Form Form;

/* One key of train { }, or of a call such as sgd( ). */
typedef struct {
    const char *name;
    SettingKind kind;
    SettingUse  use;
    double      min, max;
    const char *doc;
    const char *const *words;   /* of a SETTING_WORD, NULL at the end                                                */
    const Form *forms;          /* of a SETTING_CALL                                                                 */
    size_t      field;          /* FOR_COMPILER: offset in Train                                                     */
} Setting;

/* One way to write a SETTING_CALL: sgd(lr = 0.1). */
struct Form {
    const char    *name;
    const Setting *settings;
    int            count;
};

static const char *const inits[] = {"default", "xavier", "kaiming", NULL};

static const char *const normalizations[] = {"no", "data", NULL};

/* The same setting of several optimizers or schedules. */
#define LR       {"lr", SETTING_REAL, FOR_TRAINER, 1e-30, 1e30, "learning rate", 0, 0, 0}
#define MOMENTUM {"momentum", SETTING_REAL, FOR_TRAINER, 0, 1, "of the gradient's running sum", 0, 0, 0}
#define DECAY    {"weight_decay", SETTING_REAL, FOR_TRAINER, 0, 1e30, "L2 penalty added to the gradient", 0, 0, 0}
#define EPSILON  {"epsilon", SETTING_REAL, FOR_TRAINER, 1e-30, 1, "added to the root of the squares' mean", 0, 0, 0}
#define GAMMA    {"gamma", SETTING_REAL, FOR_TRAINER, 1e-30, 1, "what a step down multiplies the rate by", 0, 0, 0}

enum { UP_TO = 999999 };        /* millionths: decays of running means lie below 1 */

static const Setting sgd_settings[] = {
    LR, MOMENTUM, DECAY,
    {"nesterov", SETTING_FLAG, FOR_TRAINER, 0, 0, "look ahead by one step of momentum", 0, 0, 0},
};

static const Setting adam_settings[] = {
    LR,
    {"beta1", SETTING_REAL, FOR_TRAINER, 0, 1e-6 * UP_TO, "decay of the gradients' mean", 0, 0, 0},
    {"beta2", SETTING_REAL, FOR_TRAINER, 0, 1e-6 * UP_TO, "decay of the mean of their squares", 0, 0, 0},
    EPSILON, DECAY,
};

static const Setting rmsprop_settings[] = {
    LR,
    {"alpha", SETTING_REAL, FOR_TRAINER, 0, 1e-6 * UP_TO, "decay of the mean of the gradients' squares", 0, 0, 0},
    EPSILON, MOMENTUM, DECAY,
};

static const Setting step_settings[] = {
    {"every", SETTING_INT, FOR_TRAINER, 1, 1000000, "epochs between two steps down", 0, 0, 0}, GAMMA,
};

static const Setting multistep_settings[] = {
    {"milestones", SETTING_EPOCHS, FOR_TRAINER, 1, 1000000, "epochs after which to step down, (30, 60, 80)", 0, 0, 0},
    GAMMA,
};

static const Setting cosine_settings[] = {
    {"least", SETTING_REAL, FOR_TRAINER, 0, 1e30, "learning rate at the end", 0, 0, 0},
};

static const Setting onecycle_settings[] = {
    {"pct_start", SETTING_REAL, FOR_TRAINER, 1e-30, 1, "share of the run in which the rate goes up", 0, 0, 0},
    {"div_factor", SETTING_REAL, FOR_TRAINER, 1e-30, 1e30, "the first rate is lr divided by it", 0, 0, 0},
    {"final_div_factor", SETTING_REAL, FOR_TRAINER, 1e-30, 1e30, "the last rate is the first divided by it", 0, 0, 0},
    {"cycle_momentum", SETTING_FLAG, FOR_TRAINER, 0, 0, "whether momentum moves against the rate", 0, 0, 0},
    {"base_momentum", SETTING_REAL, FOR_TRAINER, 0, 1e-6 * UP_TO, "momentum where the rate is highest", 0, 0, 0},
    {"max_momentum", SETTING_REAL, FOR_TRAINER, 0, 1e-6 * UP_TO, "momentum at the beginning and at the end", 0, 0, 0},
};

#define FORM(name, settings) {name, settings, sizeof settings / sizeof *settings}

static const Form optimizers[] = {FORM("sgd", sgd_settings), FORM("adam", adam_settings), FORM("adamw", adam_settings),
                                  FORM("rmsprop", rmsprop_settings), {0}};

static const Form schedules[] = {{"constant", NULL, 0}, FORM("step", step_settings),
                                 FORM("multistep", multistep_settings), FORM("cosine", cosine_settings),
                                 FORM("onecycle", onecycle_settings), {0}};

static const Setting settings[] = {
    {"data", SETTING_TEXT, FOR_TRAINER, 0, 0, "\"synthetic\", \"fashion-mnist\" or a folder", 0, 0, 0},
    {"mean", SETTING_NUMBERS, FOR_TRAINER, -1e30, 1e30,
     "numbers to subtract, one for all channels or one for each: (0.485, 0.456, 0.406)", 0, 0, 0},
    {"deviation", SETTING_NUMBERS, FOR_TRAINER, 1e-30, 1e30, "numbers to divide by then: (0.229, 0.224, 0.225)", 0,
     0, 0},
    {"normalize", SETTING_WORD, FOR_TRAINER, 0, 0, "no, or data, which measures mean and deviation", normalizations,
     0, 0},
    {"validation", SETTING_REAL, FOR_TRAINER, 0, 0.99, "share of the training pictures kept to score on", 0, 0, 0},
    {"batch", SETTING_INT, FOR_COMPILER, 1, MAX_BATCH, "pictures in one step", 0, 0, offsetof(Train, batch)},
    {"epochs", SETTING_INT, FOR_TRAINER, 1, 1000000, "times through the data", 0, 0, 0},
    {"optimizer", SETTING_CALL, FOR_TRAINER, 0, 0,
     "sgd(lr = 0.1, momentum = 0.9), adam, adamw or rmsprop", 0, optimizers, 0},
    {"decay_biases", SETTING_FLAG, FOR_TRAINER, 0, 0, "whether biases and batch norms decay too", 0, 0, 0},
    {"lr_scale", SETTING_TEXT, FOR_TRAINER, 0, 0, "factors of the learning rate by name, \"fc.*=10\"", 0, 0, 0},
    {"schedule", SETTING_CALL, FOR_TRAINER, 0, 0,
     "constant, step(every = 30, gamma = 0.1), multistep(milestones = (30, 60)), cosine or onecycle", 0, schedules, 0},
    {"warmup", SETTING_REAL, FOR_TRAINER, 0, 1000000, "epochs in which the learning rate rises", 0, 0, 0},
    {"label_smoothing", SETTING_REAL, FOR_TRAINER, 0, 1, "share of a label spread over all classes", 0, 0, 0},
    {"clip_norm", SETTING_REAL, FOR_TRAINER, 0, 1e30, "largest norm of the gradients of a step", 0, 0, 0},
    {"ema", SETTING_REAL, FOR_TRAINER, 0, 1e-6 * UP_TO, "decay of the weights' moving average", 0, 0, 0},
    {"accumulate", SETTING_INT, FOR_TRAINER, 1, 1000000, "batches of one step", 0, 0, 0},
    {"init", SETTING_WORD, FOR_COMPILER, 0, 0, "default, xavier or kaiming", inits, 0, offsetof(Train, init)},
    {"seed", SETTING_INT, FOR_TRAINER, 0, 9007199254740992.0, "of initialisation, shuffling and dropout", 0, 0, 0},

    /* random changes of the training pictures (runtime/data/augment.h) */
    {"flip", SETTING_FLAG, FOR_TRAINER, 0, 0, "mirror half of the pictures, left to right", 0, 0, 0},
    {"crop", SETTING_INT, FOR_TRAINER, 0, 4096, "black pixels around a picture, of which a window is taken", 0, 0, 0},
    {"resized_crop", SETTING_RANGE, FOR_TRAINER, 0, 1, "share of the area in a random box: 0.08, or (0.08, 1)",
     0, 0, 0},
    {"brightness", SETTING_REAL, FOR_TRAINER, 0, 1000, "factors go from 1 - it to 1 + it", 0, 0, 0},
    {"contrast", SETTING_REAL, FOR_TRAINER, 0, 1000, "factors go from 1 - it to 1 + it", 0, 0, 0},
    {"cutout", SETTING_INT, FOR_TRAINER, 0, 65535, "side of a square that is put to 0", 0, 0, 0},
    {"mixup", SETTING_REAL, FOR_TRAINER, 0, 100, "alpha of Beta(alpha, alpha), a picture's share in a mixture",
     0, 0, 0},
    {"resize_short", SETTING_INT, FOR_TRAINER, 0, 65535, "side of pictures before their middle is cut out", 0, 0, 0},
};

enum { SETTINGS = sizeof settings / sizeof *settings, MOST_SETTINGS = 64 };
_Static_assert((int)SETTINGS <= MOST_SETTINGS, "nearest_setting has no room");

static const Setting *find_setting(const Setting *table, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static const char *nearest_setting(const Expander *x, const Setting *table, int count, const char *name)
{
    const char *names[MOST_SETTINGS];
    for (int i = 0; i < count; i++)         /* no table has more than MOST_SETTINGS */
        names[i] = table[i].name;
    return suggest(x, name, names, count);
}

/* "lr, momentum and nesterov" */
static const char *setting_names(Arena *arena, const Setting *table, int count)
{
    const char *text = table[0].name;
    for (int i = 1; i < count; i++)
        text = arena_printf(arena, "%s%s%s", text, i + 1 < count ? ", " : " and ", table[i].name);
    return text;
}

const char *train_option(const Expander *x, const char *name)
{
    size_t length = strlen(name);
    for (int i = 0; i < x->graph->train.options.count; i++)
        if (strncmp(x->graph->train.options.items[i], name, length) == 0 &&
            x->graph->train.options.items[i][length] == '=')
            return x->graph->train.options.items[i] + length + 1;
    return NULL;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void wrong_value(Expander *x, const Setting *s, const Expr *e, const char *kind, const char *given)
{
    fail(x, e->span, NULL, "%s must be %s, but %s is given\n%s: %s", s->name, kind, given, s->name, s->doc);
}

/* The values below are returned as the trainer's options take them; NULL after an error. */

/* As short as it can be and still read the same. */
static const char *real_text(Arena *arena, double value)
{
    const char *text = arena_printf(arena, "%.15g", value);
    return strtod(text, NULL) == value ? text : arena_printf(arena, "%.17g", value);
}

static const char *read_number(Expander *x, const Context *c, const Setting *s, const Expr *e)
{
    Value v = eval(x, c, e);
    bool whole = s->kind == SETTING_INT || s->kind == SETTING_EPOCHS;
    bool number = v.kind == VALUE_INT || (v.kind == VALUE_REAL && !whole);
    if (v.kind == VALUE_NONE)
        return NULL;
    if (!number)
        wrong_value(x, s, e, whole ? "an integer" : "a number", value_text(x->arena, &v));
    else if (v.real < s->min || v.real > s->max)
        fail(x, e->span, NULL, "%s must be from %.16g to %.16g, but is %s\n%s: %s", s->name, s->min,
             s->max, value_text(x->arena, &v), s->name, s->doc);
    else
        return whole ? arena_printf(x->arena, "%" PRId64, v.integer) : real_text(x->arena, v.real);
    return NULL;
}

/* mean = (0.485, 0.456, 0.406), or one number: "0.485,0.456,0.406". */
static const char *read_numbers(Expander *x, const Context *c, const Setting *s, const Expr *e)
{
    if (e->kind != EXPR_TUPLE)
        return read_number(x, c, s, e);
    const char *text = NULL;
    for (int i = 0; i < e->items.count; i++) {
        const char *number = read_number(x, c, s, e->items.items[i]);
        if (number == NULL)
            return NULL;
        text = text ? arena_printf(x->arena, "%s,%s", text, number) : number;
    }
    return text;
}

/* milestones = (30, 60, 80): epochs that grow. */
static const char *read_epochs(Expander *x, const Context *c, const Setting *s, const Expr *e)
{
    enum { MOST = 32 };                         /* CNN_MILESTONES of the trainer (runtime/train/rate.h) */
    const char *text = read_numbers(x, c, s, e), *at = text;
    int count = 0;
    for (long before = 0, epoch; at; before = epoch, at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL, count++) {
        epoch = strtol(at, NULL, 10);
        if (epoch <= before || count == MOST) {
            fail(x, e->span, NULL, "%s must grow, and be %d at most\n%s: %s", s->name, MOST, s->name, s->doc);
            return NULL;
        }
    }
    return text;
}

/* resized_crop = (0.08, 1), or one number; 0 switches it off. */
static const char *read_range(Expander *x, const Context *c, const Setting *s, const Expr *e)
{
    const char *text = read_numbers(x, c, s, e), *to = text ? strchr(text, ',') : NULL;
    if (to == NULL)
        return text;
    double from = strtod(text, NULL);
    if (strchr(to + 1, ',') == NULL && from > s->min && from <= strtod(to + 1, NULL))
        return text;
    fail(x, e->span, NULL, "%s must be one number or two, the smaller one first and above %g\n%s: %s", s->name, s->min,
         s->name, s->doc);
    return NULL;
}

static const char *read_flag(Expander *x, const Context *c, const Setting *s, const Expr *e)
{
    Value v = eval(x, c, e);
    if (v.kind == VALUE_BOOL)
        return v.integer ? "yes" : "no";
    if (v.kind != VALUE_NONE)
        wrong_value(x, s, e, "yes or no", value_text(x->arena, &v));
    return NULL;
}

static const char *read_text(Expander *x, const Context *c, const Setting *s, const Expr *e)
{
    if (e->kind == EXPR_NAME && find_variable(c->variables, e->text) == NULL) {
        fail(x, e->span, NULL, "%s must be a text, but '%s' is a name\nwrite it in quotes: %s = \"%s\"", s->name,
             e->text, s->name, e->text);
        return NULL;
    }
    Value v = eval(x, c, e);
    if (v.kind == VALUE_STRING && *v.text)
        return v.text;
    if (v.kind != VALUE_NONE)
        wrong_value(x, s, e, "a text", v.kind == VALUE_STRING ? "an empty one" : value_text(x->arena, &v));
    return NULL;
}

/* init = xavier: a word, or the same as a text. */
static const char *read_word(Expander *x, const Context *c, const Setting *s, const Expr *e)
{
    const char *word = e->kind == EXPR_NAME ? e->text : NULL;
    if (word == NULL || find_variable(c->variables, word)) {
        Value v = eval(x, c, e);
        if (v.kind == VALUE_NONE)
            return NULL;
        if (v.kind != VALUE_STRING) {
            wrong_value(x, s, e, s->doc, value_text(x->arena, &v));
            return NULL;
        }
        word = v.text;
    }
    int count = 0;
    for (; s->words[count]; count++)
        if (strcmp(s->words[count], word) == 0)
            return s->words[count];
    const char *near = suggest(x, word, s->words, count);
    fail(x, e->span, NULL, "no %s is named '%.60s'\n%s%s%s", s->name, word, near ? "did you mean '" : "there are ",
         near ? near : s->doc, near ? "'?" : "");
    return NULL;
}

static const char *read_call(Expander *x, const Context *c, const Setting *s, const Expr *e);

static void read_setting(Expander *x, const Context *c, const Setting *s, const Expr *e)
{
    const char *text = s->kind == SETTING_CALL ? read_call(x, c, s, e)
                     : s->kind == SETTING_FLAG ? read_flag(x, c, s, e)
                     : s->kind == SETTING_TEXT ? read_text(x, c, s, e)
                     : s->kind == SETTING_WORD ? read_word(x, c, s, e)
                     : s->kind == SETTING_NUMBERS ? read_numbers(x, c, s, e)
                     : s->kind == SETTING_EPOCHS ? read_epochs(x, c, s, e)
                     : s->kind == SETTING_RANGE ? read_range(x, c, s, e) : read_number(x, c, s, e);
    char *field = (char *)&x->graph->train + s->field;
    if (text == NULL)
        return;
    if (s->use == FOR_TRAINER)
        APPEND(x->arena, &x->graph->train.options, arena_printf(x->arena, "%s=%s", s->name, text));
    else if (s->kind == SETTING_INT)
        *(int *)(void *)field = atoi(text);
    else
        *(const char **)(void *)field = text;
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

static const Form *find_form(const Setting *s, const Expr *e)
{
    if (e->kind == EXPR_CALL || e->kind == EXPR_NAME)
        for (const Form *f = s->forms; f->name; f++)
            if (strcmp(f->name, e->text) == 0)
                return f;
    return NULL;
}

static bool has_argument(const Expr *call, const char *name)
{
    for (int i = 0; i < call->args.count; i++)
        if (call->args.items[i].name && strcmp(call->args.items[i].name, name) == 0)
            return true;
    return false;
}

/* sgd(lr = 0.1): the form's name, after its settings were read. */
static const char *read_call(Expander *x, const Context *c, const Setting *s, const Expr *e)
{
    const Form *form = find_form(s, e);
    if (form == NULL) {
        if (e->kind == EXPR_CALL || e->kind == EXPR_NAME)
            fail(x, e->span, NULL, "there is no %s '%s'\nwrite %s = %s", s->name, e->text, s->name, s->doc);
        else
            fail(x, e->span, NULL, "%s is written as a name or a call\nwrite %s = %s", s->name, s->name, s->doc);
        return NULL;
    }
    if (form->count == 0 && e->args.count > 0) {
        fail(x, e->span, NULL, "%s has no settings\nwrite %s = %s", form->name, s->name, form->name);
        return NULL;
    }
    for (int i = 0; i < e->args.count && i < MAX_ARGUMENTS; i++) {
        const Arg *arg = &e->args.items[i];
        if (arg->name == NULL) {
            fail(x, arg->value->span, NULL, "the settings of %s are named\nwrite %s(%s = ...)", form->name, form->name,
                 form->settings->name);
            continue;
        }
        const Setting *inner = find_setting(form->settings, form->count, arg->name);
        const char *near = inner ? NULL : nearest_setting(x, form->settings, form->count, arg->name);
        if (inner == NULL)
            fail(x, arg->name_span, NULL, "%s has no setting '%s'\n%s%s%s", form->name, arg->name,
                 near ? "did you mean '" : "it has ",
                 near ? near : setting_names(x->arena, form->settings, form->count), near ? "'?" : "");
        else if (!repeated(x, e->args.items, i))
            read_setting(x, c, inner, arg->value);
    }
    const char *nesterov = train_option(x, "nesterov"), *momentum = train_option(x, "momentum");
    if (nesterov && strcmp(nesterov, "yes") == 0 && (momentum == NULL || strtod(momentum, NULL) <= 0))
        fail(x, e->span, NULL, "nesterov needs a momentum\nwrite sgd(lr = 0.1, momentum = 0.9, nesterov = yes)");
    if (form->settings == multistep_settings && !has_argument(e, "milestones"))
        fail(x, e->span, NULL, "multistep needs its milestones\nwrite multistep(milestones = (30, 60, 80))");
    return form->name;
}

static void read_key(Expander *x, const Context *c, const Arg *arg)
{
    const Setting *s = find_setting(settings, SETTINGS, arg->name);
    if (s) {
        read_setting(x, c, s, arg->value);
        return;
    }
    for (int i = 0; i < SETTINGS; i++)
        for (const Form *f = settings[i].forms; f && f->name; f++)
            if (find_setting(f->settings, f->count, arg->name)) {
                fail(x, arg->name_span, NULL, "'%s' belongs to the %s\nwrite %s = %s(%s = ...)", arg->name,
                     settings[i].name, settings[i].name, f->name, arg->name);
                return;
            }
    const char *near = nearest_setting(x, settings, SETTINGS, arg->name);
    fail(x, arg->name_span, NULL, "train has no setting '%s'\n%s%s%s", arg->name, near ? "did you mean '" : "it has ",
         near ? near : setting_names(x->arena, settings, SETTINGS), near ? "'?" : "");
}

void read_train(Expander *x, const Context *c)
{
    Graph *g = x->graph;
    const Block *network = x->network;
    g->train = (Train){.batch = 32, .init = "default"};
    for (int i = 0; i < network->train.count && i < MAX_ARGUMENTS; i++)
        if (!repeated(x, network->train.items, i))
            read_key(x, c, &network->train.items[i]);
    if (x->overrides->batch > 0)
        g->train.batch = x->overrides->batch;
    g->batch = g->train.batch;
}
