/* functions.c - the functions of compile-time expressions: min, max, floor, ceil, round, abs, int.
 *
 * Requires: a call. Establishes: its value, or VALUE_NONE after one error. Rounding gives integers, checked to fit.
 */
#include <math.h>
#include <string.h>

#include "expand.h"

static Value to_integer(Expander *x, const Context *c, const Expr *e, double real)
{
    /* 2^63 is the first double that an int64 cannot hold. */
    if (!(real >= -9223372036854775808.0 && real < 9223372036854775808.0))
        return value_too_large(x, c, e);
    return integer_value((int64_t)real);
}

typedef Value Function(Expander *, const Context *, const Expr *, const Value *args, int count);

static Value extreme(const Value *args, int count, bool largest)
{
    Value best = args[0];
    bool real = best.kind == VALUE_REAL;
    for (int i = 1; i < count; i++) {
        bool both = best.kind == VALUE_INT && args[i].kind == VALUE_INT;
        bool less = both ? args[i].integer < best.integer : args[i].real < best.real;
        bool more = both ? args[i].integer > best.integer : args[i].real > best.real;
        real |= args[i].kind == VALUE_REAL;
        if (largest ? more : less)
            best = args[i];
    }
    return real ? (Value){.kind = VALUE_REAL, .real = best.real} : best;
}

static Value call_min(Expander *x, const Context *c, const Expr *e, const Value *args, int count)
{
    (void)x, (void)c, (void)e;
    return extreme(args, count, false);
}

static Value call_max(Expander *x, const Context *c, const Expr *e, const Value *args, int count)
{
    (void)x, (void)c, (void)e;
    return extreme(args, count, true);
}

static Value call_floor(Expander *x, const Context *c, const Expr *e, const Value *args, int count)
{
    (void)count;
    return args->kind == VALUE_INT ? *args : to_integer(x, c, e, floor(args->real));
}

static Value call_ceil(Expander *x, const Context *c, const Expr *e, const Value *args, int count)
{
    (void)count;
    return args->kind == VALUE_INT ? *args : to_integer(x, c, e, ceil(args->real));
}

static Value call_round(Expander *x, const Context *c, const Expr *e, const Value *args, int count)
{
    (void)count;
    return args->kind == VALUE_INT ? *args : to_integer(x, c, e, round(args->real));
}

static Value call_int(Expander *x, const Context *c, const Expr *e, const Value *args, int count)
{
    (void)count;
    return args->kind == VALUE_INT ? *args : to_integer(x, c, e, args->real);
}

static Value call_abs(Expander *x, const Context *c, const Expr *e, const Value *args, int count)
{
    (void)count;
    if (args->kind == VALUE_REAL)
        return (Value){.kind = VALUE_REAL, .real = fabs(args->real)};
    return args->integer == INT64_MIN ? value_too_large(x, c, e) : integer_value(args->integer < 0 ? -args->integer
                                                                                             : args->integer);
}

enum { FUNCTIONS = 7 };
static const struct { const char *name; int min, max; Function *call; } functions[FUNCTIONS] = {
    {"min", 2, MAX_ARGUMENTS, call_min}, {"max", 2, MAX_ARGUMENTS, call_max}, {"floor", 1, 1, call_floor},
    {"ceil", 1, 1, call_ceil}, {"round", 1, 1, call_round}, {"abs", 1, 1, call_abs}, {"int", 1, 1, call_int},
};

Value call_function(Expander *x, const Context *c, const Expr *e)
{
    int f = 0, count = e->args.count;
    while (f < FUNCTIONS && strcmp(functions[f].name, e->text) != 0)
        f++;
    if (f == FUNCTIONS) {
        const char *names[FUNCTIONS];
        for (int i = 0; i < FUNCTIONS; i++)
            names[i] = functions[i].name;
        const char *near = suggest(x, e->text, names, FUNCTIONS);
        fail(x, e->span, c->origin, "no function is named '%s'\n%s%s%s", e->text, near ? "did you mean '" : "",
             near ? near : "there are min, max, floor, ceil, round, abs and int", near ? "'?" : "");
        return no_value;
    }
    if (count < functions[f].min || count > functions[f].max) {
        fail(x, e->span, c->origin, "%s takes %s, but %d %s given", e->text,
             functions[f].max == 1 ? "one number" : "two or more numbers", count, count == 1 ? "is" : "are");
        return no_value;
    }
    Value args[MAX_ARGUMENTS];
    for (int i = 0; i < count; i++) {
        if (e->args.items[i].name) {
            fail(x, e->args.items[i].name_span, c->origin, "%s takes numbers without names", e->text);
            return no_value;
        }
        args[i] = eval(x, c, e->args.items[i].value);
        if (args[i].kind == VALUE_NONE)
            return no_value;
        if (args[i].kind != VALUE_INT && args[i].kind != VALUE_REAL) {
            fail(x, e->args.items[i].value->span, c->origin, "%s needs a number, but %s is given", e->text,
                 value_text(x->arena, &args[i]));
            return no_value;
        }
    }
    return functions[f].call(x, c, e, args, count);
}
