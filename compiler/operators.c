/* operators.c - the operators of compile-time expressions: arithmetic, shifts, comparisons, and, or, not.
 *
 * Requires: an expression with one or two sides. Establishes: its value, or VALUE_NONE after one error. Every operation
 * on integers is checked; int / int divides as C does, an integer and a real give a real.
 */
#include <inttypes.h>
#include <string.h>

#include "expand.h"

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
            return no_value;
        }
        if (b == -1)            /* INT64_MIN / -1 overflows */
            return op == MODULO ? integer_value(0) : a == INT64_MIN ? value_too_large(x, c, e) : integer_value(-a);
        return integer_value(op == DIVIDE ? a / b : a % b);
    default:
        break;
    }
    if (b < 0 || b > 62) {
        fail(x, e->span, c->origin, "a shift by %" PRId64 " is out of range\na shift moves by 0 to 62 bits", b);
        return no_value;
    }
    if (op == SHIFT_RIGHT)
        return integer_value(a >> b);
    return __builtin_mul_overflow(a, INT64_C(1) << b, &result) ? value_too_large(x, c, e) : integer_value(result);
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
            return no_value;
        }
        return real_value(x, c, e, a / b);
    default:
        fail(x, e->span, c->origin, "%s needs integers\nint(...) cuts off, round(...) rounds", e->op);
        return no_value;
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
        return no_value;
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

Value eval_binary(Expander *x, const Context *c, const Expr *e)
{
    Operator op = operator_of(e->op);
    if (op == AND || op == OR) {
        bool left, right;
        if (!eval_condition(x, c, e->kid[0], e->op, &left))
            return no_value;
        if (left == (op == OR))
            return bool_value(left);
        return eval_condition(x, c, e->kid[1], e->op, &right) ? bool_value(right) : no_value;
    }
    Value a = eval(x, c, e->kid[0]), b = eval(x, c, e->kid[1]);
    if (a.kind == VALUE_NONE || b.kind == VALUE_NONE)
        return no_value;
    if (op >= LESS)
        return compare(x, c, e, op, &a, &b);
    if (a.kind == VALUE_INT && b.kind == VALUE_INT)
        return integer_arithmetic(x, c, e, op, a.integer, b.integer);
    if (is_number(&a) && is_number(&b))
        return real_arithmetic(x, c, e, op, a.real, b.real);
    fail(x, e->span, c->origin, "%s needs two numbers, but one side is %s", e->op,
         value_text(x->arena, is_number(&a) ? &b : &a));
    return no_value;
}

Value eval_unary(Expander *x, const Context *c, const Expr *e)
{
    if (strcmp(e->op, "!") == 0) {
        bool yes;
        return eval_condition(x, c, e->kid[0], "!", &yes) ? bool_value(!yes) : no_value;
    }
    Value v = eval(x, c, e->kid[0]);
    bool minus = strcmp(e->op, "-") == 0;
    if (v.kind == VALUE_INT)
        return !minus ? v : v.integer == INT64_MIN ? value_too_large(x, c, e) : integer_value(-v.integer);
    if (v.kind == VALUE_REAL)
        return minus ? real_value(x, c, e, -v.real) : v;
    if (v.kind != VALUE_NONE)
        fail(x, e->span, c->origin, "%s needs a number, but %s is given", e->op, value_text(x->arena, &v));
    return no_value;
}
