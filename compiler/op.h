/* op.h - an operator, declared in one place: attributes, formulas, shape rule, gradient rule, textbook code.
 *
 * To add one: copy the nearest file in ops/, give it one row in ops/ops.h and one test (README, "Contributing").
 */
#ifndef OP_H
#define OP_H

#include "cnnc.h"
#include "step.h"

typedef enum {
    ATTR_INT,           /* an integer                                                           */
    ATTR_REAL,          /* a number                                                             */
    ATTR_FLAG,          /* yes or no                                                            */
    ATTR_PAIR,          /* a number for both directions, or (height, width)                     */
    ATTR_PAD,           /* a number, (h, w), (top, bottom, left, right), or the word `same`     */
    ATTR_NAMES,         /* any number of names given by `as`: further inputs of the layer       */
} AttrKind;

typedef struct {
    const char *name;           /* NULL ends the table                                          */
    AttrKind    kind;
    bool        required;
    double      value;          /* default, for both directions of a pair                       */
    double      min, max;       /* inclusive; max 0 means 2^31 - 1 (and no bound for ATTR_REAL) */
    const char *doc;            /* for `cnnc explain`                                           */
} AttrSpec;

struct Op {
    const char *keyword;        /* as in the language                                           */
    const char *summary;        /* one line                                                     */
    const char *reference;      /* paper and section                                            */
    const char *formula;        /* forward; printed above the generated function                */
    const char *grad;           /* backward                                                     */
    AttrSpec    attrs[MAX_ATTRS + 1];

    /* Shape rule: reads layer->input and layer->attr, fills layer->output; false after layer_error. */
    bool    (*shape)(Layer *);
    /* Declares the learnt tensors and buffers with add_param; NULL: none. Called after shape. */
    void    (*params)(Layer *);
    /* Multiply-adds of the forward pass for one picture; NULL: none. */
    int64_t (*macs)(const Layer *);
    /* Short text for tables, e.g. "6, 5x5, pad 2"; NULL: nothing. */
    char   *(*describe)(Arena *, const Layer *);

    /* Step program: adds this layer's kernels for the program's mode (p->mode). */
    void    (*forward)(Program *, const Layer *);
    /* Gradient rule: adds the kernels that turn gradient_of(p, layer) into gradients of its inputs and parameters. */
    void    (*backward)(Program *, const Layer *);
};

/* ops/ops.h is the table: one row an operator. */
#define OPERATOR(name) extern const Op op_##name;
#include "ops/ops.h"
#undef OPERATOR

const Op *find_op(const char *keyword);         /* NULL: no such operator                               */
const Op *op_at(int i);                         /* i-th row of the table, NULL past its end             */

/* ---- helpers for operators (shape.c) ----------------------------------------------------------------------------- */

/* One error on the statement, or on the attribute's expression where `attr` (its index in op->attrs) is >= 0. */
void layer_error(const Layer *, int attr, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Adds a parameter or a buffer; dims beyond `rank` are ignored. fan_in = 0 leaves initialisation to the role. */
void add_param(Layer *, const char *name, ParamRole, int rank, const int64_t *dims, int64_t fan_in, int64_t fan_out);

/* ---- window.c: sliding windows (convolution and pooling) --------------------------------------------------------- */

/* A window in both directions, index 0 height and 1 width. Output size: floor((n - k + p + s) / s), p = before + after,
 * k = dilation * (kernel - 1) + 1; with `ceil`, rounded up, unless the last window would start in the padding after. */
typedef struct Window {
    int64_t kernel[2], stride[2], dilation[2], before[2], after[2];
    int64_t in[2], out[2];
    bool    ceil;
} Window;

/* Fills in/out and resolves `pad = same`; false after an error that names the sizes and the smallest picture that fits.
 * `kernel` etc. are attribute indices of the layer's operator, -1 where it has no such attribute; a stride that was not
 * given and whose default is 0 equals the kernel. */
bool window_resolve(const Layer *, int kernel, int stride, int pad, int dilation, int ceil_mode, Window *);

/* "5x5, stride 2, pad 1": what of the window differs from the defaults. */
char *window_text(Arena *, const Window *);

#endif
