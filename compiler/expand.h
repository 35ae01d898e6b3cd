/* expand.h - what the files share that turn a tree into a layer graph: expand.c and those named below.
 *
 * Private to them: the passes after expansion see cnnc.h alone.
 */
#ifndef EXPAND_H
#define EXPAND_H

#include "op.h"

/* ---- table.c: strings -> entries --------------------------------------------------------------------------------- */

typedef struct {
    const char *key;
    void       *item;           /* what the owner of the table keeps there; NULL when the entry is new               */
    Span        span;
    int         number;
} TableEntry;

typedef struct { TableEntry **slots; int count, capacity; } Table;      /* {0} is an empty one */

TableEntry *table_find(const Table *, const char *key);                 /* NULL: not there                           */
TableEntry *table_put(Arena *, Table *, const char *key);               /* finds or adds; keeps `key` itself         */

/* ---- what an expression or a statement can see ------------------------------------------------------------------- */

typedef struct Variable {
    const char            *name;
    Value                  value;
    const struct Variable *next;        /* the one declared before; the nearest wins                                 */
} Variable;

/* A tensor named by `as`. Marks belong to one block instance or to the network: a table name -> Mark. */
typedef struct { const Stmt *by; Layer *layer; } Mark;

/* A scope that is being filled. */
typedef struct { Scope *scope; int position; } OpenScope;

/* Passed by value: a nested body gets a changed copy, so leaving it restores everything. */
typedef struct {
    const Variable *variables;
    Table          *marks;
    const Origin   *origin;
    const Block    *block;      /* the network or the block whose body is being expanded                             */
    OpenScope      *scope;
    Layer          *in;         /* the tensor that reaches the statement; NULL before `input`                        */
} Context;

/* Limits that are charged before the work is done. */
enum {
    MAX_STATEMENTS  = 1000000,          /* statements and loop turns executed, list items made                       */
    MAX_EVALUATIONS = 20000000,         /* expression nodes and variable lookups                                     */
    MAX_NAME        = 1000,             /* characters of a layer's full name                                         */
    MAX_NAME_BYTES  = 32 << 20,         /* of all layers' names together                                             */
    MAX_ARGUMENTS   = 64,               /* of a call; parameters of a block; variables of a repeat                   */
    MAX_ERRORS      = 1000,             /* then expansion stops: nobody corrects more at once                        */
};

typedef struct Expander {
    Arena           *arena;
    Diag            *diag;
    const Source    *source;
    const Tree      *tree;
    const Overrides *overrides;
    Graph           *graph;
    const Block     *network;
    Table            blocks;            /* name -> Block                                                             */
    Table            names;             /* full names of layers and scopes                                           */
    Table            reported;          /* places of errors, so that a loop reports each once                        */
    int              depth;             /* braces and block calls open                                               */
    int64_t          statements, evaluations, name_bytes;
    int              layer_limit;
    bool             trial;             /* stops at the first error, and searches for no smallest input itself       */
    bool             stopped;           /* a limit was passed (and reported), or a trial failed: unwind              */
    bool             searched;          /* `smallest` holds what smallest_input found                                */
    Shape            smallest;
} Expander;

/* One error, once for each place and block call; ends a trial. What follows '\n' is the help. */
void  fail(Expander *, Span, const Origin *, const char *format, ...) __attribute__((format(printf, 4, 5)));
void  fail_va(Expander *, Span, const Origin *, const char *format, va_list);
/* As nearest_name, but NULL when the message would not be printed: a hostile file makes 100,000 of them. */
const char *suggest(const Expander *, const char *name, const char *const *candidates, int count);
/* Counts `amount` statements before they are done; false after an error that says what asked for them. */
bool  charge(Expander *, const Context *, Span, int64_t amount, const char *what);

/* ---- eval.c ------------------------------------------------------------------------------------------------------ */

Value eval(Expander *, const Context *, const Expr *);          /* VALUE_NONE after an error                         */
bool  eval_condition(Expander *, const Context *, const Expr *, const char *what, bool *yes);
bool  eval_integer(Expander *, const Context *, const Expr *, const char *what, int64_t *n);

/* ---- value.c ----------------------------------------------------------------------------------------------------- */

extern const Value no_value;                                    /* VALUE_NONE                                        */
Value integer_value(int64_t);
Value bool_value(bool);
Value real_value(Expander *, const Context *, const Expr *, double);    /* VALUE_NONE after an error: not finite     */
Value value_too_large(Expander *, const Context *, const Expr *);       /* reports; VALUE_NONE                       */
bool  is_number(const Value *);
char *value_text(Arena *, const Value *);                       /* "3", "0.5", "yes", "(1, 2)": cut when long         */
const Variable *find_variable(const Variable *, const char *name);
/* Variables visible as candidates for suggest(); at most `max` of them. */
int   variable_names(const Variable *, const char **names, int max);

/* ---- operators.c ------------------------------------------------------------------------------------------------- */

Value eval_unary(Expander *, const Context *, const Expr *);    /* -a, !a                                            */
Value eval_binary(Expander *, const Context *, const Expr *);   /* a + b, a << b, a < b, a && b                      */

/* ---- functions.c ------------------------------------------------------------------------------------------------- */

Value call_function(Expander *, const Context *, const Expr *); /* min(a, b), round(x), ...                          */

/* ---- attrs.c ----------------------------------------------------------------------------------------------------- */

typedef LIST(Layer *) LayerList;

/* Defaults of every attribute of op, places taken from `span`. */
void  default_attrs(const Op *, Span, Attr *);
/* Binds the call's arguments to op's attributes; tensors named by ATTR_NAMES are appended to `inputs`. */
bool  bind_attrs(Expander *, const Context *, const Stmt *call, const Op *, Attr *, LayerList *inputs);
/* "stride: step between windows" */
char *attr_help(Arena *, const AttrSpec *);
int   attr_count(const Op *);
int   attr_index(const Op *, const char *name);                 /* -1: none                                          */
Mark *find_mark(const Context *, const char *name);             /* NULL: no tensor is named so                       */
/* One error on `name`, with the nearest name of a tensor or how to name one. */
void  unknown_mark(Expander *, const Context *, Span, const char *name);

/* ---- blocks.c ---------------------------------------------------------------------------------------------------- */

/* Checks every declaration, recursion included, and finds the network; false when expansion would not make sense. */
bool  check_declarations(Expander *);
/* Binds the arguments of a block call, or the -D definitions, to parameters; false after an error. */
bool  bind_call(Expander *, const Context *caller, const Stmt *call, const Block *, const Variable **variables);
bool  bind_network(Expander *, const Variable **variables);

/* ---- names.c ----------------------------------------------------------------------------------------------------- */

/* The full name of the statement's layer or scope; takes a position in the open scope. NULL after an error. */
const char *child_name(Expander *, const Context *, const Stmt *);
/* The name of a layer that no statement names: "layer1.0.add", made unique. */
const char *automatic_name(Expander *, const Context *, const char *keyword, Layer *);
/* Gives every layer and parameter its C symbol; requires that all names are final. */
void        assign_symbols(Graph *);
/* Why `name` cannot name a network, or NULL: "a C keyword". */
const char *reserved_name(const char *name);

/* ---- train.c ----------------------------------------------------------------------------------------------------- */

void  read_train(Expander *, const Context *);                  /* fills graph->train and graph->batch               */
const char *train_option(const Expander *, const char *name);   /* "0.1" of "lr=0.1"; NULL: it is not set            */

/* ---- train_check.c ----------------------------------------------------------------------------------------------- */

void  check_train(Expander *);                                  /* what of it must fit the rest, and the layers      */

/* ---- smallest.c -------------------------------------------------------------------------------------------------- */

/* smallest_input for the graph that is being expanded, found once; rank 0 when there is none, or nobody may ask. */
Shape smallest_for(const Graph *);

/* ---- statements.c ------------------------------------------------------------------------------------------------ */

/* Each statement transforms the current tensor, as nn.Sequential does; returns the last one. */
Layer *expand_list(Expander *, Context, const StmtList *);
/* A layer without inputs, attributes or shape; `name` may be NULL after an error. Past the limit: c->in. */
Layer *new_layer(Expander *, const Context *, const Op *, const char *name, Span);

/* ---- expand.c ---------------------------------------------------------------------------------------------------- */

/* One expansion as `x` is set up (arena, diag, source, tree, overrides, limits). */
Graph *expand_tree(Expander *x);

#endif
