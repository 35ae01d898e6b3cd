/* train_check.c - what of train { } does not go together, or not with the network: a trainer could only refuse it.
 *
 * Requires: graph->train read (train.c), and the layers with their shapes and parameters where nothing
 * was wrong so far. Establishes: the trainer's options (runtime/commands/options.c,
 * runtime/train/recipe.c) take what train { } says.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"

/* ---- the data ---------------------------------------------------------------------------------------------------- */

/* Lists have a number for each channel of the input. */
static void check_channels(Expander *x, const Arg *arg)
{
    const int64_t channels = x->graph->input->output.dim[0];
    const Expr *value = arg->value;
    if (value->kind == EXPR_TUPLE && value->items.count != channels)
        fail(x, value->span, NULL, "%s has %d numbers, and the network's input has %" PRId64 " channel%s\n"
             "give one for each channel, or one for all: %s = 0.5", arg->name, value->items.count, channels,
             channels == 1 ? "" : "s", arg->name);
}

/* Pictures are cut out of what is no smaller than the input. */
static void check_size(Expander *x, const Arg *arg)
{
    const Shape *in = &x->graph->input->output;
    const char *text = train_option(x, arg->name);
    const int64_t size = text ? strtoll(text, NULL, 10) : 0, side = in->dim[1] < in->dim[2] ? in->dim[1] : in->dim[2];
    if (size > 0 && size < side)
        fail(x, arg->value->span, NULL, "%s is %" PRId64 ", and the network looks at %" PRId64 " x %" PRId64 " pixels\n"
             "give at least %" PRId64 ", or leave it out", arg->name, size, in->dim[1], in->dim[2], side);
}

/* ---- the recipe -------------------------------------------------------------------------------------------------- */

static void check_warmup(Expander *x, const Arg *arg)
{
    const char *schedule = train_option(x, "schedule"), *warmup = train_option(x, "warmup");
    if (schedule && strcmp(schedule, "onecycle") == 0 && warmup && strtod(warmup, NULL) > 0)
        fail(x, arg->value->span, NULL, "warmup is not for onecycle, which warms up by itself\n"
             "leave it out, and say schedule = onecycle(pct_start = 0.3) how long that takes");
}

/* Whether a tensor that is trained has a name that matches; *nearest is one that does not, NULL: none is trained. */
static bool matches(const Expander *x, const char *pattern, const char **nearest)
{
    const char *before = NULL;
    for (int i = 0; i < x->graph->layers.count; i++) {
        const Layer *l = x->graph->layers.items[i];
        for (int k = 0; k < l->param_count; k++) {
            const char *name = arena_printf(x->arena, "%s.%s", l->name, l->param[k].name);
            if (!l->param[k].trainable)
                continue;
            if (fnmatch(pattern, name, 0) == 0)
                return true;
            before = before ? nearest_name(pattern, (const char *[]){before, name}, 2) : name;
            before = before ? before : name;
        }
    }
    *nearest = before;
    return false;
}

/* One "fc.*=10" of lr_scale. */
static bool check_scale(Expander *x, const Arg *arg, char *item)
{
    char *equals = strrchr(item, '='), *end = item;
    const char *nearest = NULL;
    double factor = equals ? strtod(equals + 1, &end) : -1;
    if (equals == NULL || end == equals + 1 || *end != '\0' || !(factor >= 0 && isfinite((float)factor))) {
        fail(x, arg->value->span, NULL, "'%.100s' must be a pattern, '=' and a factor of at least 0\n%s = \"fc.*=10\"",
             item, arg->name);
        return false;
    }
    *equals = '\0';
    if (matches(x, item, &nearest))
        return true;
    fail(x, arg->value->span, NULL, "'%.100s' matches no tensor that is trained\n%s%s", item,
         nearest ? "a name it could match is " : "the network has none", nearest ? nearest : "");
    return false;
}

static void check_scales(Expander *x, const Arg *arg)
{
    const char *at = train_option(x, arg->name);
    for (bool good = at && x->diag->errors == 0; good; at++) {          /* after an error names may be missing */
        at += strspn(at, " ");
        size_t length = strcspn(at, ",");
        good = check_scale(x, arg, arena_copy(x->arena, at, length));
        at += length;
        if (*at == '\0')
            break;
    }
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static const struct { const char *name; void (*check)(Expander *, const Arg *); } checks[] = {
    {"mean", check_channels}, {"deviation", check_channels}, {"resize_short", check_size},
    {"warmup", check_warmup}, {"lr_scale", check_scales},
};

void check_train(Expander *x)
{
    if (x->trial || x->graph->input == NULL || x->graph->input->output.rank == 0)
        return;                         /* of another input; or its error was reported */
    for (int i = 0; i < x->network->train.count && i < MAX_ARGUMENTS; i++)
        for (size_t k = 0; k < sizeof checks / sizeof *checks; k++)
            if (strcmp(x->network->train.items[i].name, checks[k].name) == 0)
                checks[k].check(x, &x->network->train.items[i]);
}
