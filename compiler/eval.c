/* eval.c - compile-time values: integers, reals, yes/no, strings, tuples and lists.
 *
 * Requires: an expression whose depth is bounded (MAX_NESTING). Establishes: a Value, or VALUE_NONE after one error;
 * whatever is computed from VALUE_NONE stays silent. Integers are 64 bit and every operation on them is checked;
 * int / int divides as C does, an integer and a real give a real.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "expand.h"

static const Value NONE = {.kind = VALUE_NONE};

static Value integer_value(int64_t n)
{
    return (Value){.kind = VALUE_INT, .integer = n, .real = (double)n};
}

static Value bool_value(bool yes)
{
    return (Value){.kind = VALUE_BOOL, .integer = yes};
}

static bool is_number(const Value *v)
{
    return v->kind == VALUE_INT || v->kind == VALUE_REAL;
}

char *value_text(Arena *arena, const Value *v)
{
    switch (v->kind) {
    case VALUE_NONE:
        return arena_printf(arena, "an unknown value");
    case VALUE_INT:
        return arena_printf(arena, "%" PRId64, v->integer);
    case VALUE_REAL: {              /* always recognisable as a real: 9.0, 0.5, 1e+30 */
        char *text = arena_printf(arena, "%g", v->real);
        return strpbrk(text, ".e") ? text : arena_printf(arena, "%s.0", text);
    }
    case VALUE_BOOL:
        return arena_printf(arena, "%s", v->integer ? "yes" : "no");
    case VALUE_STRING:
        return arena_printf(arena, "\"%.40s%s\"", v->text, strlen(v->text) > 40 ? "..." : "");
    case VALUE_TUPLE:
    case VALUE_LIST:
        break;
    }
    /* The first three items of the outermost level; what is inside them only by its kind. */
    const char *open = v->kind == VALUE_TUPLE ? "(" : "[", *close = v->kind == VALUE_TUPLE ? ")" : "]";
    char *text = arena_printf(arena, "%s", open);
    for (int i = 0; i < v->count && i < 3; i++) {
        const Value *item = &v->items[i];
        const char *t = item->kind == VALUE_TUPLE  ? "(...)"
                        : item->kind == VALUE_LIST ? "[...]"
                                                   : value_text(arena, item);
        text = arena_printf(arena, "%s%s%s", text, i ? ", " : "", t);
    }
    return arena_printf(arena, "%s%s%s", text, v->count > 3 ? ", ..." : "", close);
}

const Variable *find_variable(const Variable *v, const char *name)
{
    while (v && strcmp(v->name, name) != 0)
        v = v->next;
    return v;
}

int variable_names(const Variable *v, const char **names, int max)
{
    int count = 0;
    for (; v && count < max; v = v->next)
        names[count++] = v->name;
    return count;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static Value unknown_name(Expander *x, const Context *c, const Expr *e)
{
    static const char *const words[] = {"true", "True", "TRUE", "on", "Yes", "YES", "false", "False", "FALSE", "off",
                                        "No", "NO", "None", "none"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(e->text, words[i]) == 0) {
            fail(x, e->span, c->origin, "unknown name '%s'\nthe language writes yes and no", e->text);
            return NONE;
        }
    if (strcmp(e->text, "same") == 0) {
        fail(x, e->span, c->origin, "unknown name 'same'\nonly a padding can be same: pad = same");
        return NONE;
    }
    if (find_mark(c, e->text)) {
        fail(x, e->span, c->origin, "'%s' is a tensor, not a value\nits sizes are %s.channels, %s.height and %s.width",
             e->text, e->text, e->text, e->text);
        return NONE;
    }
    if (c->block && x->network && c->block != x->network)
        for (int i = 0; i < x->network->params.count; i++)
            if (strcmp(x->network->params.items[i].name, e->text) == 0) {
                fail(x, e->span, c->origin, "unknown name '%s'\na block sees only its own parameters: give block '%s' "
                     "a parameter '%s' and pass it", e->text, c->block->name, e->text);
                return NONE;
            }
    const char *names[100];
    const char *near = suggest(x, e->text, names, variable_names(c->variables, names, 100));
    if (near)
        fail(x, e->span, c->origin, "unknown name '%s'\ndid you mean '%s'?", e->text, near);
    else
        fail(x, e->span, c->origin, "unknown name '%s'", e->text);
    return NONE;
}

static Value eval_name(Expander *x, const Context *c, const Expr *e)
{
    for (const Variable *v = c->variables; v; v = v->next) {
        x->evaluations++;
        if (strcmp(v->name, e->text) == 0)
            return v->value;
    }
    return unknown_name(x, c, e);
}

/* The layer whose sizes `in.channels` or `skip.channels` asks for; NULL after an error. */
static const Layer *field_owner(Expander *x, const Context *c, const Expr *e)
{
    if (strcmp(e->text, "in") == 0) {
        if (c->in == NULL)
            fail(x, e->span, c->origin, "in has no meaning here: no tensor exists before input");
        return c->in;
    }
    Mark *mark = find_mark(c, e->text);
    if (mark == NULL)
        unknown_mark(x, c, e->span, e->text);
    return mark ? mark->layer : NULL;
}

/* in.channels: sizes of the tensor that reaches the statement; skip.channels: of the one named by `as skip`. */
static Value eval_field(Expander *x, const Context *c, const Expr *e)
{
    static const char *const fields[] = {"channels", "features", "height", "width"};
    static const int dimension[] = {0, 0, 1, 2};
    const Layer *owner = field_owner(x, c, e);
    if (owner == NULL)
        return NONE;
    const Shape *shape = &owner->output;
    for (int i = 0; i < 4; i++)
        if (strcmp(e->field, fields[i]) == 0) {
            if (shape->rank == 0)
                return NONE;
            if (dimension[i] < shape->rank)
                return integer_value(shape->dim[dimension[i]]);
            fail(x, e->span, c->origin, "%s has no %s: the tensor is flat, %" PRId64 " features\nask before flatten, "
                 "or for %s.features", e->text, e->field, shape->dim[0], e->text);
            return NONE;
        }
    const char *near = suggest(x, e->field, fields, 4);
    fail(x, e->span, c->origin, "%s has no field '%s'\n%s%s%s", e->text, e->field, near ? "did you mean '" : "",
         near ? near : "the fields are channels, height, width and features", near ? "'?" : "");
    return NONE;
}

/* ---- operators --------------------------------------------------------------------------------------------------- */

typedef enum {
    ADD, SUBTRACT, MULTIPLY, DIVIDE, MODULO, SHIFT_LEFT, SHIFT_RIGHT,
    LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, EQUAL, NOT_EQUAL, AND, OR, UNKNOWN
} Operator;

static Operator operator_of(const char *spelling)
{
    static const char *const spellings[] = {"+", "-", "*", "/", "%", "<<", ">>",
                                            "<", "<=", ">", ">=", "==", "!=", "&&", "||"};
    for (int i = 0; i < UNKNOWN; i++)
        if (strcmp(spellings[i], spelling) == 0)
            return (Operator)i;
    return UNKNOWN;
}

static Value integer_arithmetic(Expander *x, const Context *c, const Expr *e, Operator op, int64_t a, int64_t b)
{
    int64_t result = 0;
    switch (op) {
    case ADD:
        return __builtin_add_overflow(a, b, &result) ? value_too_large(x, c, e) : integer_value(result);
    case SUBTRACT:
        return __builtin_sub_overflow(a, b, &result) ? value_too_large(x, c, e) : integer_value(result);
    case MULTIPLY:
        return __builtin_mul_overflow(a, b, &result) ? value_too_large(x, c, e) : integer_value(result);
    case DIVIDE:
    case MODULO:
        if (b == 0) {
            fail(x, e->span, c->origin, "division by zero");
            return NONE;
        }
        if (b == -1)            /* INT64_MIN / -1 overflows */
            return op == MODULO ? integer_value(0) : a == INT64_MIN ? value_too_large(x, c, e) : integer_value(-a);
        return integer_value(op == DIVIDE ? a / b : a % b);
    default:
        break;
    }
    if (b < 0 || b > 62) {
        fail(x, e->span, c->origin, "a shift by %" PRId64 " is out of range\na shift moves by 0 to 62 bits", b);
        return NONE;
    }
    if (op == SHIFT_RIGHT)
        return integer_value(a >> b);
    return __builtin_mul_overflow(a, INT64_C(1) << b, &result) ? value_too_large(x, c, e) : integer_value(result);
}

static Value real_value(Expander *x, const Context *c, const Expr *e, double real)
{
    if (!isfinite(real)) {
        fail(x, e->span, c->origin, "the result is not a finite number");
        return NONE;
    }
    return (Value){.kind = VALUE_REAL, .real = real};
}

static Value real_arithmetic(Expander *x, const Context *c, const Expr *e, Operator op, double a, double b)
{
    switch (op) {
    case ADD:
        return real_value(x, c, e, a + b);
    case SUBTRACT:
        return real_value(x, c, e, a - b);
    case MULTIPLY:
        return real_value(x, c, e, a * b);
    case DIVIDE:
        if (b == 0) {
            fail(x, e->span, c->origin, "division by zero");
            return NONE;
        }
        return real_value(x, c, e, a / b);
    default:
        fail(x, e->span, c->origin, "%s needs integers\nint(...) cuts off, round(...) rounds", e->op);
        return NONE;
    }
}

/* Integers are compared as integers: a double would confuse those beyond 2^53. */
static Value compare(Expander *x, const Context *c, const Expr *e, Operator op, const Value *a, const Value *b)
{
    int order;
    if (a->kind == VALUE_INT && b->kind == VALUE_INT)
        order = (a->integer > b->integer) - (a->integer < b->integer);
    else if (is_number(a) && is_number(b))
        order = (a->real > b->real) - (a->real < b->real);
    else if (a->kind == b->kind && (op == EQUAL || op == NOT_EQUAL) &&
             (a->kind == VALUE_BOOL || a->kind == VALUE_STRING))
        order = a->kind == VALUE_BOOL ? a->integer != b->integer : strcmp(a->text, b->text);
    else {
        fail(x, e->span, c->origin, "%s and %s cannot be compared with %s", value_text(x->arena, a),
             value_text(x->arena, b), e->op);
        return NONE;
    }
    switch (op) {
    case LESS:
        return bool_value(order < 0);
    case LESS_EQUAL:
        return bool_value(order <= 0);
    case GREATER:
        return bool_value(order > 0);
    case GREATER_EQUAL:
        return bool_value(order >= 0);
    case EQUAL:
        return bool_value(order == 0);
    default:
        return bool_value(order != 0);
    }
}

static Value eval_binary(Expander *x, const Context *c, const Expr *e)
{
    Operator op = operator_of(e->op);
    if (op == AND || op == OR) {
        bool left, right;
        if (!eval_condition(x, c, e->kid[0], e->op, &left))
            return NONE;
        if (left == (op == OR))
            return bool_value(left);
        return eval_condition(x, c, e->kid[1], e->op, &right) ? bool_value(right) : NONE;
    }
    Value a = eval(x, c, e->kid[0]), b = eval(x, c, e->kid[1]);
    if (a.kind == VALUE_NONE || b.kind == VALUE_NONE)
        return NONE;
    if (op >= LESS)
        return compare(x, c, e, op, &a, &b);
    if (a.kind == VALUE_INT && b.kind == VALUE_INT)
        return integer_arithmetic(x, c, e, op, a.integer, b.integer);
    if (is_number(&a) && is_number(&b))
        return real_arithmetic(x, c, e, op, a.real, b.real);
    fail(x, e->span, c->origin, "%s needs two numbers, but one side is %s", e->op,
         value_text(x->arena, is_number(&a) ? &b : &a));
    return NONE;
}

static Value eval_unary(Expander *x, const Context *c, const Expr *e)
{
    if (strcmp(e->op, "!") == 0) {
        bool yes;
        return eval_condition(x, c, e->kid[0], "!", &yes) ? bool_value(!yes) : NONE;
    }
    Value v = eval(x, c, e->kid[0]);
    bool minus = strcmp(e->op, "-") == 0;
    if (v.kind == VALUE_INT)
        return !minus ? v : v.integer == INT64_MIN ? value_too_large(x, c, e) : integer_value(-v.integer);
    if (v.kind == VALUE_REAL)
        return minus ? real_value(x, c, e, -v.real) : v;
    if (v.kind != VALUE_NONE)
        fail(x, e->span, c->origin, "%s needs a number, but %s is given", e->op, value_text(x->arena, &v));
    return NONE;
}

/* ---- everything -------------------------------------------------------------------------------------------------- */

static Value eval_items(Expander *x, const Context *c, const Expr *e)
{
    Value v = {.kind = e->kind == EXPR_TUPLE ? VALUE_TUPLE : VALUE_LIST, .count = e->items.count};
    if (!charge(x, c, e->span, v.count, v.kind == VALUE_TUPLE ? "this tuple" : "this list"))
        return NONE;
    v.items = NEW_ARRAY(x->arena, Value, v.count);
    for (int i = 0; i < v.count; i++) {
        v.items[i] = eval(x, c, e->items.items[i]);
        if (v.items[i].kind == VALUE_NONE)
            return NONE;
    }
    return v;
}

Value eval(Expander *x, const Context *c, const Expr *e)
{
    if (x->stopped)
        return NONE;
    if (++x->evaluations > MAX_EVALUATIONS) {
        fail(x, e->span, c->origin, "the network's expressions take more than %d steps to compute", MAX_EVALUATIONS);
        x->stopped = true;
        return NONE;
    }
    bool yes;
    switch (e->kind) {
    case EXPR_INT:
        return integer_value(e->integer);
    case EXPR_REAL:
        return real_value(x, c, e, e->real);
    case EXPR_BOOL:
        return bool_value(e->integer != 0);
    case EXPR_STRING:
        return (Value){.kind = VALUE_STRING, .text = e->text};
    case EXPR_NAME:
        return eval_name(x, c, e);
    case EXPR_FIELD:
        return eval_field(x, c, e);
    case EXPR_UNARY:
        return eval_unary(x, c, e);
    case EXPR_BINARY:
        return eval_binary(x, c, e);
    case EXPR_CONDITIONAL:
        return eval_condition(x, c, e->kid[0], "? :", &yes) ? eval(x, c, e->kid[yes ? 1 : 2]) : NONE;
    case EXPR_TUPLE:
    case EXPR_LIST:
        return eval_items(x, c, e);
    case EXPR_CALL:
        return call_function(x, c, e);
    }
    return NONE;
}

/* What the user wrote, where it is short enough to be quoted in a help. */
static const char *quoted(const Expander *x, const Expr *e)
{
    int length = e->span.end - e->span.begin;
    bool plain = e->kind == EXPR_NAME || e->kind == EXPR_FIELD || e->kind == EXPR_INT;
    return plain && length > 0 && length <= 40 ? arena_copy(x->arena, x->source->text + e->span.begin, (size_t)length)
                                               : "(...)";
}

bool eval_condition(Expander *x, const Context *c, const Expr *e, const char *what, bool *yes)
{
    Value v = eval(x, c, e);
    if (v.kind == VALUE_BOOL) {
        *yes = v.integer != 0;
        return true;
    }
    if (is_number(&v))
        fail(x, e->span, c->origin, "%s needs yes or no, but %s is a number\nwrite %s != 0", what,
             value_text(x->arena, &v), quoted(x, e));
    else if (v.kind != VALUE_NONE)
        fail(x, e->span, c->origin, "%s needs yes or no, but %s is given", what, value_text(x->arena, &v));
    return false;
}

bool eval_integer(Expander *x, const Context *c, const Expr *e, const char *what, int64_t *n)
{
    Value v = eval(x, c, e);
    if (v.kind == VALUE_INT) {
        *n = v.integer;
        return true;
    }
    if (v.kind == VALUE_REAL)
        fail(x, e->span, c->origin, "%s must be an integer, but %s is given\nint(...) cuts off, round(...) rounds",
             what, value_text(x->arena, &v));
    else if (v.kind != VALUE_NONE)
        fail(x, e->span, c->origin, "%s must be an integer, but %s is given", what, value_text(x->arena, &v));
    return false;
}
