/* step.h - the step program: forward, backward and update as lists of kernels on tensors; and the writer.
 *
 * step.c builds three programs from a layer graph: PROGRAM_PREDICT (forward), PROGRAM_TRAIN (forward, loss, backward)
 * and PROGRAM_UPDATE (one optimiser step). memory.c places their tensors in one arena. unit.c writes each
 * kernel as a C function, shared by the programs that run it, and each program as a function that calls them in order.
 */
#ifndef STEP_H
#define STEP_H

#include "cnnc.h"

#include "layout.h"
#include "target.h"

typedef struct Program Program;
typedef struct Kernel Kernel;
typedef struct Emitter Emitter;
typedef struct FastKernel FastKernel;   /* kernels/kernels.h */

/* ---- step.c: tensors and kernels --------------------------------------------------------------------------------- */

typedef enum { TYPE_REAL, TYPE_INT32, TYPE_BYTE } ElementType;

typedef enum {
    TENSOR_INPUT,               /* the pictures, owned by the caller                            */
    TENSOR_LABELS,              /* one int32 class a picture, owned by the caller               */
    TENSOR_PARAMETER,           /* net->value.*: parameters and buffers                         */
    TENSOR_PARAM_GRADIENT,      /* net->grad.*                                                  */
    TENSOR_FIRST_MOMENT,        /* net->first.*: the optimiser's                                */
    TENSOR_SECOND_MOMENT,       /* net->second.*                                                */
    TENSOR_ACTIVATION,          /* output of a layer, in the arena                              */
    TENSOR_GRADIENT,            /* gradient of an activation, in the arena                      */
    TENSOR_SAVED,               /* what a forward kernel keeps for its backward one, in the arena */
} TensorKind;

typedef struct Tensor {
    TensorKind     kind;
    ElementType    type;
    int            number;      /* in program->tensors                                          */
    const Layer   *layer;
    const char    *name;        /* C expression at the call: conv1, d_conv1, net->value.conv1_weight */
    int            rank;
    int64_t        dim[5];      /* logical sizes, batch first for what has one                  */
    Layout         layout;      /* how they lie in memory: layout.c                             */
    struct Tensor *storage;     /* itself, or the tensor whose memory this one is a view of     */
    int64_t        slice;       /* of a view of some channels: the first one's number in storage */
    bool           written;     /* gradients: a kernel has written it, so the next one adds     */
    bool           outside;     /* belongs to the caller, who keeps it as PyTorch does (cnnc kernel) */
    bool           lasts;       /* looked at after the last kernel: alive to the end            */
    bool           scratch;     /* asked for by the plan of the one kernel that uses it         */
    int            first, last; /* lifetime: indices into program->kernels, both included       */
    int64_t        bytes;       /* tensor_bytes, of those in the arena; set by memory.c         */
    int64_t        offset;      /* bytes from the arena's start, placed by memory.c             */
} Tensor;

/* What a kernel does, independent of the layer it works for. */
typedef struct {
    const char *suffix;         /* the C function is <layer symbol>_<suffix>: conv1_forward     */
    const char *formula;        /* above the function; NULL: the operator's formula or grad     */
    bool        counts;         /* its multiply-adds are layer->macs a picture                  */
    bool        random;         /* takes (uint64_t seed, uint64_t step) before its tensors      */
    bool        targets;        /* takes (const cnn_target *target) before its tensors          */
    bool        exchanges;      /* takes (const cnn_exchange *exchange) before its tensors, where the graph exchanges */
    bool        flat;           /* one function `suffix` for every size: (count, flat arrays, const cnn_rule *) */
    void      (*textbook)(Emitter *, const Kernel *);   /* writes the function's body           */
    void      (*let)(Emitter *, const Kernel *);        /* binds the names that `vector` uses; NULL: none */
    const char *vector;         /* element-wise: a vector of the output in terms of x, y, dy (kernels/map.c)    */
    const FastKernel *const *fast;      /* ways to compute it at -O2, best first, NULL at the end; NULL: none */
} KernelDef;

typedef enum { OPERAND_READ, OPERAND_WRITE, OPERAND_UPDATE } Access;    /* UPDATE: reads and writes */

typedef struct {
    const char *role;           /* the C parameter's name: X, W, b, Y, dX, dY, dW, db           */
    Tensor     *tensor;
    Access      access;
} Operand;

enum { MAX_OPERANDS = 16 };

/* How a fast kernel works on its shape: chosen by its family's cost model, shown by --dump=schedule, written above the
 * generated function. The meaning of the numbers is the family's; 0 where it has no use for one. */
typedef struct {
    int         pixels, blocks; /* register tile: output pixels x vectors of channels           */
    int         rows;           /* cache block, in the family's unit                            */
    int         chunks;         /* pieces that are shared among threads, or that a sum is split into: fixed here, so
                                 * that results do not depend on the number of threads          */
    int64_t     twice;          /* bytes that are read from end to end twice: from memory, where caches are smaller   */
    bool        streams;        /* the output is stored past the caches, being larger than these (finish_stores)     */
    const void *more;           /* what else the family must remember, in the program's arena   */
    const char *text;           /* "tile 14 pixels x 2 vectors, planes shared among threads"    */
} Schedule;

/* What a fast kernel does to each vector of its output before it is stored, in this order; fuse.c sets it, and
 * store_pixel (kernels/store.c) writes it. Each needs operands of the roles named. */
enum {
    FUSE_SCALE = 1,             /* v = v * fold_scale[c] + fold_shift[c]: folded batch norm (prediction)         */
    FUSE_ADD   = 2,             /* v += A[n][c][i][j]: the other branch of a residual block                      */
    FUSE_RELU  = 4,             /* v = max(v, 0)                                                                 */
    FUSE_MASK  = 8,             /* v = M[n][c][i][j] > 0 ? v : 0: gradient of the ReLU whose output M is         */
    FUSE_STATS = 16,            /* after a plane or piece: its mean and squares about it, for a batch norm behind */
    FUSE_SUMS  = 64,            /* after a plane or piece of a gradient: its sum, and that of its products with
                                 * X - mean, for the batch norm whose dY it is                                   */
    FUSE_GATE  = 32,            /* batch norm's gradients, on load: dY counts only where a ReLU behind let Y pass */
    FUSE_SGD   = 128,           /* a complete gradient of W: with a rule, W and V learn in place of dW (fuse_sgd.c) */
};

struct Kernel {
    const KernelDef  *def;
    const FastKernel *fast;     /* NULL: textbook loops                                         */
    Schedule          schedule;
    unsigned          fuses;    /* FUSE_*                                                       */
    const Layer     *layer;
    int              index;     /* in program->kernels                                          */
    int              part;      /* which input of the layer, for kernels made once an input     */
    Operand          operand[MAX_OPERANDS];
    int              operand_count;
    bool             adds;      /* its gradient output is added to what is there: bound as $set */
    const char       *function; /* its C function\'s name; NULL until shared_kernels.c gives one (-O2) */
    const char       *sizes;    /* arguments before the operands, "22, 352": similar.h; NULL: none                  */
};

typedef enum { PROGRAM_PREDICT, PROGRAM_TRAIN, PROGRAM_UPDATE } ProgramMode;

/* How programs for -O2 are made: what the command line says of it. NULL in its place: the textbook, -O0. */
typedef struct {
    const Target      *target;
    unsigned           no_fuse; /* FUSION_* that are switched off: fuse.h                        */
    unsigned           fuse;    /* FUSION_* that are done even where they gain nothing           */
    bool               no_winograd;
    int64_t            memory_limit;    /* bytes of a replica in training; 0: none               */
    bool               keep_layers;     /* prediction keeps every layer's output (NAME_output)   */
    LIST(const char *) algorithms;      /* --schedule: "conv1.forward=direct"                    */
} Tuning;

struct Program {
    const Graph   *graph;
    Arena         *arena;
    ProgramMode    mode;
    const Tuning  *tuning;      /* NULL at -O0                                                  */
    const Target  *target;      /* whom fast kernels are written for; NULL at -O0               */
    LIST(Kernel *) kernels;
    LIST(Tensor *) tensors;
    int            backward_from;       /* index of the first backward kernel (PROGRAM_TRAIN)   */
    Tensor       **activation;          /* by layer index; NULL until asked for                 */
    Tensor       **gradient;            /* by layer index; NULL where nobody needs it           */
    Tensor       **kept;                /* by layer index: outputs that can be looked at after predict, as NCHW; NULL at
                                         * -O0, where all can                                   */
    LIST(const char *) fusions;         /* what fuse.c joined, a line each                      */
    Tensor       **parameter;           /* by kind (value, gradient, moments) and index in state_dict order */
    Tensor        *labels;
    bool          *needs_gradient;      /* by layer index: something at or above it learns      */
    int64_t        arena_bytes;         /* memory.c                                             */
    int64_t        least_arena;         /* recompute.c                                          */
};

/* A network can be compiled when it ends in one score a class and something in it learns; false after an error. */
bool     check_trainable(const Graph *);
Program *build_program(const Graph *, ProgramMode, const Tuning *);
/* One layer alone, in training: its forward kernels and then its gradients, all of whose tensors are `outside`. */
Program *build_layer_program(const Graph *, const Layer *, const Tuning *);
void     dump_program(FILE *, const Program *);          /* dump_program.c */

/* For operators. A tensor is made when it is first asked for. */
Tensor *activation_of(Program *, const Layer *);                /* output of the layer                           */
Tensor *param_of(Program *, const Layer *, const char *name);   /* "weight", "running_mean", ...                 */
Tensor *param_gradient_of(Program *, const Layer *, const char *name);
Tensor *first_moment_of(Program *, const Layer *, const char *name);    /* the optimiser's                       */
Tensor *saved_of(Program *, const Layer *, const char *name, ElementType, int rank, const int64_t *dims);
                                        /* the same tensor each time it is asked for by the same layer and name    */
Tensor *gradient_of(Program *, const Layer *);          /* in a backward rule: dY of the layer                    */
bool    needs_gradient(const Program *, const Layer *); /* false: do not compute dX for this input                */

Kernel *add_kernel(Program *, const KernelDef *, const Layer *);
void    reads(Kernel *, const char *role, Tensor *);
void    writes(Kernel *, const char *role, Tensor *);
void    updates(Kernel *, const char *role, Tensor *);
/* The kernel contributes to the gradient of `input`: the first contributor writes it, later ones add (kernel->adds). */
void    contributes(Program *, Kernel *, const char *role, const Layer *input);

/* The layer's output is its input's memory under another shape: no kernel (flatten; dropout when predicting). */
void    make_view(Program *, const Layer *, const Layer *input);
/* Its gradient likewise. False where the input has other users: then add a kernel that contributes. */
bool    make_gradient_view(Program *, const Layer *, const Layer *input);

/* Rules for the common case "one input, one kernel": Y from X, and dX from dY (with X and Y where asked for). */
void    forward_elementwise(Program *, const Layer *, const KernelDef *);
typedef enum { NEED_NOTHING = 0, NEED_X = 1, NEED_Y = 2 } Needs;
void    backward_elementwise(Program *, const Layer *, const KernelDef *, Needs);

extern const KernelDef loss_forward, loss_backward;     /* ops/cross_entropy.c: added by build_program           */
/* PROGRAM_UPDATE has these kernels for every tensor that learns, of which one is run: the optimiser is chosen then. */
enum { UPDATE_RULES = 3 };
extern const KernelDef sgd_update, adam_update, rmsprop_update;         /* ops/sgd.c, ops/adam.c, ops/rmsprop.c   */
extern const KernelDef convert_layout;                  /* kernels/convert.c: added by conversions.c             */

/* ---- memory.c: lifetimes -> offsets ------------------------------------------------------------------------------ */

void    plan_memory(Program *);         /* requires a complete program; establishes first, last, offset, arena_bytes */
int64_t tensor_bytes(const Tensor *);
bool    in_arena(const Tensor *);       /* an activation, a gradient of one, or saved for the backward pass      */
int64_t least_bytes(const Program *);                   /* the most that is alive at once: no plan can need fewer */
int64_t alive_bytes(const Program *, int kernel);       /* while it runs                                         */
void    dump_memory(FILE *, const Program *);
void    draw_memory(FILE *, const Program *);           /* memory_chart.c: the plan as a chart over the step     */

/* ---- emit.c: the writer ------------------------------------------------------------------------------------------ */

/* It owns indentation, braces and $name substitution. Statements are collected as a tree, so that a loop around one
 * statement is written without braces. In a template `$name` stands for what was bound; an unbound one aborts with the
 * operator's name. Bindings last until the function ends. Always bound inside a kernel's body:
 *   $N batch, $set "=" or "+=" (kernel->adds), and what the operator binds itself. */
Emitter *emitter_new(Arena *);
void     emitter_begin(Emitter *, const char *owner);   /* starts a function body: clears bindings                  */
void     let(Emitter *, const char *name, const char *format, ...)  __attribute__((format(printf, 3, 4)));
void     let_int(Emitter *, const char *name, int64_t value);
void     line(Emitter *, const char *format);           /* one line of C, after substitution                        */
void     loop(Emitter *, const char *variable, int64_t count);          /* for (int v = 0; v < count; v++)          */
void     loop_between(Emitter *, const char *variable, const char *from, const char *to);       /* templates        */
void     parallel(Emitter *);                           /* the next loop's iterations are shared among threads      */
void     in_region(Emitter *);                          /* all that follows is called by every thread of a region    */
void     when(Emitter *, const char *condition);        /* if (condition)                                           */
void     otherwise(Emitter *);                          /* } else {   (ends the `when` body)                        */
void     function(Emitter *);                           /* a function's body follows; its signature stands before  */
void     end(Emitter *, int levels);
char    *substitute(Emitter *, const char *format);     /* a template with the names bound now                      */
void     append_body(Emitter *, const Emitter *body);   /* appends all that `body` collected                        */
void     raw(Emitter *, const char *format, ...) __attribute__((format(printf, 2, 3)));     /* one line as it is */
void     comment(Emitter *, const char *format);                /* a comment line: comment(e, "pad 0: no test") */
char    *emitter_text(Emitter *);                       /* everything so far                                        */

/* Parts of functions that several kernels have in common, written once before all kernels. */
typedef struct { const char *name, *comment, *parameters, *body; } CommonPart;
typedef LIST(CommonPart) CommonParts;
void     share_parts(Emitter *, CommonParts *);            /* where the emitter's kernels put theirs                  */

/* Opens loops over every element of a tensor of the layer's output shape (n, k, i, j or n, k) and binds
 * $at to its indices: "[n][k][i][j]" or "[n][k]". Close with end(e, $depth): returns the number of loops. */
int      loop_elements(Emitter *, int64_t batch, const Shape *, const char *letters);   /* letters: "nkij" or "ncij" */

/* ---- textbook.c: the loops of a sliding window in textbook code (Window is declared in op.h) --------------------- */

struct Window;
void let_window(Emitter *, const struct Window *);     /* $ih, $iw: input pixel under tap r, s of output pixel i, j */
void loop_taps(Emitter *, const struct Window *);       /* opens r, s (and the bounds test) inside n, k, i, j, c      */
void end_taps(Emitter *, const struct Window *);
void loop_pixels(Emitter *, const struct Window *);     /* opens i, j (and the bounds test) for a fixed tap r, s      */
void end_pixels(Emitter *, const struct Window *);

/* ---- unit.c, header.c: the whole .c and .h ----------------------------------------------------------------------- */

typedef struct {
    const Program *predict, *train, *update;
    const char    *command;     /* how cnnc was called, without paths that differ from machine to machine           */
    const char    *header;      /* name of the .h as it is included                                                 */
    const char    *flags;       /* for the C compiler, those that hold for every target                             */
} Unit;

char *emit_source(Arena *, const Graph *, const Unit *);
char *emit_header(Arena *, const Graph *, const Unit *);

#endif
