/* cnnc.h - the types that travel between the passes, in the order in which the passes run.
 *
 *   text --lexer.l, parser.y--> tree --expand.c, shape.c--> layer graph --step.c--> step programs
 *        --memory.c--> placed programs --emit.c, unit.c--> C text --driver.c--> files
 *
 * Everything that a pass makes lives in one Arena and is freed at once. Nothing here is global and mutable.
 * Operators are declared in op.h, step programs and the writer in step.h.
 */
#ifndef CNNC_H
#define CNNC_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CNNC_VERSION "0.1"

typedef struct Op Op;           /* op.h */

/* ---- arena.c: memory by lifetime --------------------------------------------------------------------------------- */

typedef struct Arena Arena;

Arena *arena_new(void);                                 /* prints one line and exits 1 when memory is short         */
void   arena_free(Arena *);                             /* frees everything that was allocated from it              */
void  *arena_alloc(Arena *, size_t size);               /* zeroed and aligned for any type; never NULL: as arena_new */
char  *arena_copy(Arena *, const char *text, size_t length);            /* a copy that ends in NUL                  */
char  *arena_printf(Arena *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void  *arena_grow(Arena *, void *items, size_t item_size, int count, int *capacity);
_Noreturn void out_of_memory(void);                     /* the one line, and exit 1                                 */

#define NEW(arena, Type)           ((Type *)arena_alloc((arena), sizeof(Type)))
#define NEW_ARRAY(arena, Type, n)  ((Type *)arena_alloc((arena), sizeof(Type) * (size_t)(n)))

/* A list is a struct with `items`, `count` and `capacity`; APPEND makes room and adds one item at its end. */
#define LIST(Type)                 struct { Type *items; int count, capacity; }
#define APPEND(arena, list, item)                                                                                  \
    ((list)->items = arena_grow((arena), (list)->items, sizeof *(list)->items, (list)->count, &(list)->capacity),  \
     (list)->items[(list)->count++] = (item))

/* ---- source.c: the text of one network file ---------------------------------------------------------------------- */

typedef struct {
    const char *path;           /* as the user wrote it                                  */
    const char *text;           /* NUL-terminated, valid UTF-8, no NUL inside            */
    int         length;         /* bytes, at most SOURCE_LIMIT                           */
    const int  *line;           /* offset at which each line begins                      */
    int         lines;
} Source;

typedef struct { int begin, end; } Span;        /* bytes [begin, end) of the source; {0, 0}: no place */

enum { SOURCE_LIMIT = 4 << 20 };                /* 4 MiB */

typedef struct Diag Diag;
Source *source_read(Arena *, Diag *, const char *path);         /* NULL after an error was reported */
Source *source_from_bytes(Arena *, Diag *, const char *path, const char *bytes, size_t length);    /* likewise */
Source *source_from_text(Arena *, const char *path, const char *text);      /* the caller vouches for the text */
int     source_line(const Source *, int offset, int *column);   /* both counted from 1; column in characters, or NULL */
int     decode_utf8(const char *text, int length, uint32_t *code);      /* bytes of one character; 0: not valid UTF-8 */

/* ---- diag.c: errors with carets ---------------------------------------------------------------------------------- */

/* The chain of block calls that led to a statement; an error prints one note for each link. */
typedef struct Origin {
    Span                 call;          /* the statement that called the block           */
    const char          *block;         /* the block's name                              */
    const struct Origin *parent;        /* NULL: called from the network itself          */
} Origin;

struct Diag {
    const Source *source;       /* NULL until the file is read                           */
    FILE         *out;          /* stderr, or memory in tests                            */
    bool          colour;       /* a terminal, and NO_COLOR is not set                   */
    bool          muted;        /* count, but print nothing (trial expansions)           */
    bool          errors_only;  /* count warnings, print none (cnnc kernel: one layer is no network) */
    int           errors, warnings;
    int           limit;        /* errors printed before the rest are only counted; 0 means 20 */
    int           shown;        /* the rest belongs to diag.c: errors printed so far,    */
    uint64_t      last;         /* a hash of the last message, which is not repeated,    */
    bool          hidden;       /* and whether it was kept back, and its notes with it   */
};

/* Every message is one sentence; what follows a '\n' in it is printed as a "help:" line below the caret. */
void error_at(Diag *, Span, const Origin *, const char *format, ...)   __attribute__((format(printf, 4, 5)));
void warning_at(Diag *, Span, const Origin *, const char *format, ...) __attribute__((format(printf, 4, 5)));
void note_at(Diag *, Span, const char *format, ...)                    __attribute__((format(printf, 3, 4)));
void error_plain(Diag *, const char *format, ...)                      __attribute__((format(printf, 2, 3)));
void error_va(Diag *, Span, const Origin *, const char *format, va_list);

/* nearest.c: the candidate nearest to `name` by edit distance, or NULL where none is near enough to be meant. */
const char *nearest_name(const char *name, const char *const *candidates, int count);

/* ---- tree.c: what lexer.l and parser.y build --------------------------------------------------------------------- */

enum { MAX_NESTING = 256 };     /* braces, parentheses, operators and block calls inside one another */

typedef enum {
    EXPR_INT, EXPR_REAL, EXPR_BOOL, EXPR_STRING,
    EXPR_NAME,                  /* ratio                                                 */
    EXPR_FIELD,                 /* in.channels: text = "in", field = "channels"          */
    EXPR_UNARY, EXPR_BINARY,    /* op is the operator's spelling: "-", "!", "<<", "&&"   */
    EXPR_CONDITIONAL,           /* kid[0] ? kid[1] : kid[2]                              */
    EXPR_TUPLE, EXPR_LIST,      /* (1, 64)   [(1, 64), (2, 128)]                         */
    EXPR_CALL,                  /* sgd(lr = 0.9)   min(a, b)                             */
} ExprKind;

typedef struct Expr Expr;
typedef struct { const char *name; Span name_span; Expr *value; } Arg;          /* name is NULL for a positional one */
typedef LIST(Arg) ArgList;
typedef LIST(Expr *) ExprList;

struct Expr {
    ExprKind    kind;
    Span        span;
    int         depth;          /* of the tree below; bounded by MAX_NESTING             */
    int64_t     integer;        /* EXPR_INT, EXPR_BOOL                                   */
    double      real;
    const char *text;           /* EXPR_STRING, EXPR_NAME, EXPR_FIELD, EXPR_CALL         */
    const char *field;
    const char *op;
    Expr       *kid[3];
    ExprList    items;          /* EXPR_TUPLE, EXPR_LIST                                 */
    ArgList     args;           /* EXPR_CALL                                             */
};

typedef enum {
    STMT_CALL,                  /* [label:] name[(args)];        an operator or a block  */
    STMT_GROUP,                 /* [label:] { ... }              opens a scope           */
    STMT_REPEAT,                /* repeat N {...}   repeat i in a..b {...}   repeat x, y in list {...} */
    STMT_CONCAT,                /* concat { [label:] {...} ... }                         */
    STMT_RESIDUAL,              /* residual {...} [shortcut [when (...)] {...}]          */
    STMT_IF,                    /* if (...) {...} [else if ... | else {...}]             */
    STMT_AS,                    /* as name;      names the current tensor                */
    STMT_FROM,                  /* from name;    makes it the current tensor             */
} StmtKind;

typedef struct Stmt Stmt;
typedef LIST(Stmt *) StmtList;
typedef struct { const char *name; Span span; } Name;
typedef LIST(Name) NameList;

struct Stmt {
    StmtKind    kind;
    Span        span;           /* the whole statement, without the label                */
    const char *label;          /* NULL: takes its position                              */
    Span        label_span;
    Expr       *label_index;    /* layer[stage]: -> "layer1"; NULL without               */
    const char *name;           /* STMT_CALL, STMT_AS, STMT_FROM                         */
    Span        name_span;
    ArgList     args;           /* STMT_CALL                                             */
    NameList    variables;      /* STMT_REPEAT: loop variables                           */
    Expr       *count;          /* STMT_REPEAT: N, or the list; STMT_IF: the condition   */
    Expr       *from, *to;      /* STMT_REPEAT: a..b, both ends included                 */
    Expr       *when;           /* STMT_RESIDUAL: condition of the shortcut, or NULL     */
    StmtList    body;           /* also the branches (STMT_GROUP each) of STMT_CONCAT    */
    StmtList    other;          /* else branch; shortcut's body                          */
    bool        has_other;
    int         depth;          /* of the statements below; bounded by MAX_NESTING       */
};

typedef struct { const char *name; Span span; Expr *value; } Param;             /* value NULL: no default */
typedef LIST(Param) ParamList;

/* A block, or the network itself. */
typedef struct {
    const char *name;
    Span        name_span;
    ParamList   params;
    StmtList    body;
    LIST(Arg)   train;          /* network only: settings of train { }, each with a name */
    bool        has_train;
    Span        train_span;
} Block;

typedef struct {
    LIST(Block *) blocks;
    LIST(Block *) networks;     /* expand refuses none and more than one                 */
} Tree;

Tree *parse(Arena *, Diag *, const Source *);           /* NULL after syntax errors, all reported               */
Expr *parse_expression(Arena *, const char *text);      /* -D's value; without places; NULL when it is not one  */
void  dump_tree(FILE *, const Tree *);                                  /* dump_tree.c */

/* Constructors used by parser.y. They bound the depth: NULL or false after one error was reported. */
Expr *expr_new(Arena *, Diag *, ExprKind, Span, Expr *a, Expr *b, Expr *c);
bool  expr_adopt(Diag *, Expr *parent, const Expr *child);              /* child becomes an item or an argument     */
Stmt *stmt_new(Arena *, StmtKind, Span);
bool  stmt_adopt(Diag *, Stmt *parent, const StmtList *children);       /* children become its body or other branch */

/* ---- value.c: compile-time values -------------------------------------------------------------------------------- */

typedef enum {
    VALUE_NONE,                 /* an error was reported; operations on it stay silent   */
    VALUE_INT, VALUE_REAL, VALUE_BOOL, VALUE_STRING,
    VALUE_TUPLE, VALUE_LIST,
} ValueKind;

typedef struct Value {
    ValueKind     kind;
    int64_t       integer;      /* VALUE_INT, VALUE_BOOL                                 */
    double        real;
    const char   *text;
    struct Value *items;        /* VALUE_TUPLE, VALUE_LIST                               */
    int           count;
} Value;

/* ---- expand.c: blocks, repeats, conditions and names -> layer graph ---------------------------------------------- */

enum { MAX_LAYERS = 100000, MAX_INPUTS = 1024, MAX_BATCH = 1 << 24 };       /* a float holds every batch exactly */

/* Shape of one picture, batch left out: {channels, height, width} or {features}. rank 0: unknown after an error. */
typedef struct { int rank; int64_t dim[3]; } Shape;

typedef struct Layer Layer;
typedef struct Graph Graph;

/* One attribute of an operator, bound and checked against its AttrSpec. */
typedef struct {
    bool     given;             /* false: the default holds                              */
    Span     span;              /* of the expression, or of the call for a default       */
    int64_t  n[4];              /* ATTR_INT, ATTR_FLAG: n[0]; ATTR_PAIR: h, w; ATTR_PAD: top, bottom, left, right */
    double   real;              /* ATTR_REAL                                             */
    bool     same;              /* ATTR_PAD: pad = same                                  */
} Attr;

typedef enum {
    PARAM_WEIGHT, PARAM_BIAS, PARAM_SCALE, PARAM_SHIFT, PARAM_MEAN, PARAM_VARIANCE, PARAM_COUNTER
} ParamRole;

/* A tensor that outlives a step: learnt, or a buffer that the forward pass keeps (running statistics). */
typedef struct Parameter {
    const char *name;           /* "weight": the state_dict name is layer->name + "." + name */
    const char *symbol;         /* C name inside the generated struct: conv1_weight      */
    ParamRole   role;           /* chooses the initialisation                            */
    bool        trainable;
    int         rank;
    int64_t     dim[4];
    int64_t     count;          /* elements                                              */
    int         index;          /* among all of the network, in state_dict order         */
    int64_t     fan_in, fan_out;        /* for initialisation                            */
} Parameter;

enum { MAX_PARAMS = 6, MAX_ATTRS = 10 };

/* A scope groups the layers of a block instance, a labelled group or the network; `show` indents by it. */
typedef struct Scope {
    const char         *name;   /* "layer1.0"; "" for the network                        */
    const char         *block;  /* block's name, or NULL for a group                     */
    const struct Scope *parent;
} Scope;

struct Layer {
    Graph        *graph;
    const Op     *op;
    int           index;        /* position in graph->layers: inputs come before users   */
    const char   *name;         /* "layer1.0.conv1", as in PyTorch's state_dict          */
    const char   *symbol;       /* "layer1_0_conv1": a C identifier, unique              */
    const Scope  *scope;
    Span          span;         /* the statement                                         */
    const Origin *origin;
    Attr          attr[MAX_ATTRS];      /* in the order of op->attrs                     */
    Layer       **input;
    int           input_count;
    Shape         output;
    Parameter     param[MAX_PARAMS];
    int           param_count;
    int64_t       macs;         /* multiply-adds of the forward pass for one picture     */
    int           users;        /* layers that read this one's output                    */
};

/* The train { } block: what the compiler needs of it, and what the trainer takes as defaults of its options. */
typedef struct {
    int         batch;          /* 32                                                    */
    const char *init;           /* "default" (PyTorch's), "xavier" or "kaiming"          */
    LIST(const char *) options; /* "lr=0.9": options of runtime/commands/option_rows.c            */
} Train;

struct Graph {
    Arena        *arena;
    Diag         *diag;
    const Source *source;
    const char   *name;         /* of the network; a legal C identifier                  */
    int           batch;
    LIST(Layer *) layers;       /* in execution order; the first is the input            */
    Layer        *input, *output;
    Train         train;
    bool          exchanges;    /* the code is for one of several processes (cnn_exchange in runtime/cnn.h) */
    struct Expander *expander;  /* while expand.c makes the graph: where its errors go; then NULL */
};

/* What the command line overrides. */
typedef struct { const char *name, *value; } Define;
typedef struct {
    LIST(Define) defines;       /* -D name=value, value in the language's expression syntax */
    Shape        input;         /* --input; rank 0 when not given                        */
    int          batch;         /* --batch; 0 when not given                             */
} Overrides;

Graph *expand(Arena *, Diag *, const Source *, const Tree *, const Overrides *);        /* NULL after errors */
void   dump_graph(FILE *, const Graph *);                                              /* dump_graph.c */

/* ---- shape.c: shapes and their arithmetic ------------------------------------------------------------------------ */

/* Fills layer->output, params and macs from the operator's rules; false after an error was reported. */
bool    infer_layer(Layer *);
int64_t shape_count(const Shape *);                             /* elements of one picture                       */
bool    shape_equal(const Shape *, const Shape *);
char   *shape_text(Arena *, const Shape *);                     /* "6x28x28", as in tables                       */
bool    multiply_checked(int64_t a, int64_t b, int64_t *product);       /* false when it overflows or passes 2^40 */

/* smallest.c: the smallest square input for which `tree` expands without errors; rank 0 when none up to 1024 does, or
 * when a search would take long. channels 0: as the network declares, and then the result's dim[0] is 0 too. */
Shape   smallest_input(const Source *, const Tree *, const Overrides *, int64_t channels);

/* ---- show.c ------------------------------------------------------------------------------------------------------ */

void show_network(FILE *, const Graph *);       /* the table of `cnnc show`                                      */
void explain_operator(FILE *, const Op *);      /* `cnnc explain conv`: attributes, formulas, reference          */

#endif
