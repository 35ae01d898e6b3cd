/* kernels.h - families of fast kernels: one file a family, and what they share.
 *
 * A family computes one or more kernels of the step program (a convolution's forward pass, say) for a range of shapes.
 * It is chosen by schedule.c, which asks the KernelDef's candidates in order; the first whose `fits` says yes plans the
 * kernel. To add one: write a file here, declare its FastKernel below, and name it in the KernelDef's list of
 * candidates (ops/). tests/test_fast.c compares every family with the textbook.
 *
 * The code that a family writes
 * - works on the layouts of layout.h. Arrays are declared with their physical sizes: real X[16][4][58][58][16].
 * - works on vectors: `vec` is L = $L reals; load(p) and store(p, v) move one, splat(x) fills one, `zero` is all zeros.
 *   The same text serves every target and -DREAL=double (a `vec` always has L elements).
 * - runs inside one parallel region: EVERY thread calls the function. What must happen once stands inside a loop that
 *   `parallel(e)` or `parallel_over(e, loops)` precedes ("#pragma omp for", static, with a barrier at its end).
 *   Top-level statements only declare. Every element is computed by one thread in an order that does not depend on how
 *   many there are; sums over the batch are split into schedule.chunks and added in order of the chunks.
 * - writes borders and spare lanes of its outputs as zeros (clear_border); may rely on them in its inputs.
 * - keeps accumulators in fixed-size local arrays whose loops are unrolled completely (unrolled()), within
 *   target->registers.
 * - compiles without warnings under clang and gcc, and says in comments what each loop level is for.
 */
#ifndef KERNELS_H
#define KERNELS_H

#include "../op.h"

struct FastKernel {
    const char *name;                           /* of the algorithm: "direct", "winograd"                             */
    unsigned    fuses;                          /* the FUSE_* that its store can do                                   */
    bool      (*fits)(const Kernel *, const Target *);          /* NULL: any shape                                    */
    /* Fills kernel->schedule; may ask for scratch tensors (scratch_of). Called once, before fusion. NULL: nothing. */
    void      (*plan)(Program *, Kernel *);
    /* Zeros around the picture that the operand must have, beyond what its layout has anyway. NULL: none. */
    Border    (*border)(const Kernel *, const Operand *);
    /* The layout it wants of an operand where it is not the usual one (blocked pictures,
     * rows, filters). NULL: usual. */
    LayoutKind (*layout)(const Kernel *, const Operand *);
    bool        any_picture;                    /* its loops are as fast where the pictures' size is an argument      */
    bool        in_place;                       /* element by element: Y may lie where X does, dX where dY does       */
    /* FUSE_STATS, FUSE_SUMS: in how many pieces of a batch they come, statistics with the number of
     * pixels. NULL: an image is a piece. */
    int64_t   (*pieces)(const Kernel *);
    /* Writes the function's body. */
    void      (*body)(Emitter *, const Kernel *);
};

/* ---- the families ------------------------------------------------------------------------------------------------ */

extern const FastKernel *const conv_forward_families[], *const conv_grad_input_families[],
                        *const conv_grad_weight_families[], *const conv_grad_bias_families[];   /* kernels/conv.c    */
extern const FastKernel winograd_forward, winograd_grad_input, winograd_grad_weight;
extern const FastKernel *const linear_forward_families[], *const linear_grad_input_families[],
                        *const linear_grad_weight_families[], *const linear_grad_bias_families[];
extern const FastKernel *const maxpool_forward_families[], *const maxpool_grad_input_families[];
extern const FastKernel *const avgpool_forward_families[], *const avgpool_grad_input_families[];
extern const FastKernel *const adaptive_avgpool_forward_families[], *const adaptive_avgpool_grad_input_families[];
extern const FastKernel *const global_avgpool_forward_families[], *const global_avgpool_grad_input_families[];
extern const FastKernel *const batchnorm_train_families[], *const batchnorm_predict_families[],
                        *const batchnorm_grad_scale_families[], *const batchnorm_grad_families[],
                        *const batchnorm_fold_families[], *const batchnorm_apply_families[];
extern const FastKernel *const map_families[];          /* element-wise operators, forward and backward: map.c       */
extern const FastKernel *const add_forward_families[];
extern const FastKernel *const concat_forward_families[], *const concat_grad_input_families[];
extern const FastKernel *const flatten_forward_families[], *const flatten_grad_input_families[];
extern const FastKernel *const dropout_forward_families[], *const dropout_grad_input_families[];
extern const FastKernel *const loss_forward_families[], *const loss_backward_families[];
extern const FastKernel *const softmax_forward_families[], *const softmax_grad_input_families[];
extern const FastKernel *const sgd_families[], *const adam_families[], *const rmsprop_families[];     /* update.c */

extern const FastKernel first_forward, first_grad_weight;                                          /* first.c     */
extern const FastKernel few_forward, few_grad_input, few_grad_weight;        /* few_channels.c, few_grad_weight.c */
extern const FastKernel depthwise_forward, depthwise_grad_input, depthwise_grad_weight;            /* depthwise.c */
extern const FastKernel direct_forward, direct_rows_forward;                                       /* direct.c    */
extern const FastKernel direct_grad_input, direct_rows_grad_input;                       /* direct_grad_input.c */
extern const FastKernel direct_grad_weight, direct_grad_bias;          /* grad_weight.c, grad_bias.c */

/* ---- what families ask of a layer (defined beside its attributes, in ops/) --------------------------------------- */

bool           conv_window(const Layer *, Window *);            /* of a convolution; true for a layer that stands     */
int64_t        conv_groups(const Layer *);
/* $M values a channel; $all of the ranks that normalise together (`ranks` must be declared where the graph exchanges)
 * and $others, one less; $eps, $momentum */
void           let_batchnorm(Emitter *, const Kernel *);
bool           maxpool_window(const Layer *, Window *);         /* true for a layer that stands                       */
bool           avgpool_window(const Layer *, Window *);
bool           avgpool_counts_pad(const Layer *);               /* in the divisor                                     */
void           dropout_constants(Emitter *, const Kernel *);    /* binds $p and $stream                               */

void           dropout_images(Emitter *, const Kernel *);       /* binds $image, the number of image n in the batch   */

/* For recompute.c: the batch norm's result once more, from X and the statistics of the forward pass. */
extern const KernelDef batchnorm_apply;
/* For fuse.c. Prediction: adds the kernel that computes fold_scale and fold_shift (operands 4 and 5, or 5 and 6 with a
 * bias) of a FUSE_SCALE, which stands for the batch norm and for the convolution's bias (NULL: it has none). */
Kernel        *fold_batchnorm(Program *, const Layer *batchnorm, Tensor *bias);
/* Training: the batch norm's gradient kernel k (FUSE_GATE) reads the gradient of the ReLU's output in place of
 * its own dY. The ReLU must be the batch norm's only user, with nothing added between them; it is done for
 * every kernel that reads dY. */
void           gate_batchnorm(Program *, Kernel *k, Tensor *relu_gradient);
/* Training: another kernel writes what the batch norm's kernel k would gather of each plane, or of `pieces` of the
 * batch (not 0), and k only reads it: the convolution before the statistics (FUSE_STATS), or dY's kernel the sums of
 * the gradients (FUSE_SUMS). Returns k's operand "partial", for that kernel to write under that role. */
Tensor        *leave_partial(Kernel *k, int64_t pieces);

/* ---- operands ---------------------------------------------------------------------------------------------------- */

const Operand *operand_of(const Kernel *, const char *role);    /* aborts when there is none                          */
bool           has_operand(const Kernel *, const char *role);
int64_t        blocks_of(int64_t channels, int lanes);          /* ceil(channels / lanes)                             */

/* A tensor that only this kernel uses while it runs (partial sums, packed filters), written and read by it: in the
 * arena under `name`, as a real array of these very sizes; bound to the kernel as an operand of that role. */
Tensor        *scratch_of(Program *, Kernel *, const char *role, int rank, const int64_t *dims);

/* C text of a pixel's first lane in the operand of this role: pixel(e, k, "X", "n", "cb", "i * 2 + r", "j") ->
 * "X[n][cb][i * 2 + r + 1][j + 1]" for a border of 1. In a LAYOUT_PLAIN picture: of the element, block = channel. */
const char    *pixel(Emitter *, const Kernel *, const char *role, const char *n, const char *block, const char *i,
                     const char *j);

/* ---- tiles.c: sizes and index texts ------------------------------------------------------------------------------ */

int64_t        least(int64_t a, int64_t b);
int64_t        most(int64_t a, int64_t b);
int64_t        ceil_div(int64_t count, int64_t size);
int64_t        round_up(int64_t count, int64_t unit);           /* to a multiple of it                                */

/* `count` pixels in the fewest tiles of at most `most`, as equal as can be: the size of the larger ones. */
int64_t        even_tile(int64_t count, int64_t most);
/* The same as one or two runs of equal tiles, the second one's a pixel smaller; returns the number of runs. */
typedef struct { int64_t first, count, size; } Tiles;           /* first: the first tile's first pixel                */
int            even_tiles(int64_t count, int64_t most, Tiles parts[2]);
/* Opens the loop over a run's tiles: "for (tile ...) { const int VARIABLE = tile * 14 + 28;". */
void           open_tiles(Emitter *, const char *variable, const Tiles *);

/* Has the operand a border in memory? */
bool           has_border(const Kernel *, const char *role);

/* Into how many pieces to cut `rows` rows of each of `planes` planes for `wanted` pieces of
 * work; at least 4 rows each. */
int64_t        pieces_of(int64_t rows, int64_t planes, int64_t wanted);

/* "i * 2", or "i" for 1. "i + r * 2 - 1" for index i, other r, factor 2, shift -1; zeros leave out their part. */
const char    *times(Emitter *, const char *index, int64_t factor);
const char    *sum_text(Emitter *, const char *index, const char *other, int64_t factor, int64_t shift);

/* ---- statements -------------------------------------------------------------------------------------------------- */

/* Beside those of step.h. `parallel(e)` shares the next loop; this one the next `loops` loops, which must be nested
 * without anything between them. */
void parallel_over(Emitter *, int loops);
void unrolled(Emitter *, const char *variable, int64_t count);  /* a loop that is unrolled completely                 */
void rolled(Emitter *);         /* the next loop is not unrolled: several iterations at once would fill the registers */
void step_loop(Emitter *, const char *variable, int64_t count, int64_t step);   /* for (int v = 0; v < count; v += s) */
void step_between(Emitter *, const char *variable, const char *from, const char *to, int64_t step);     /* templates  */
void block(Emitter *);          /* { ... }: names declared inside end with it                                         */

/* A function that every kernel with the same need calls: the same text is written once, before the kernels. `body`
 * holds its statements (part_body(e) begins one with e's bindings); `parameters` is a template, "const real X[4][16],
 * int n". Returns the function's name, `name` or, where another part has it, with a number behind. It is not inlined: a
 * part is a phase of a kernel, a block of tiles, not a few instructions. */
Emitter    *part_body(Emitter *e);
const char *shared_part(Emitter *e, const char *name, const char *comment, const char *parameters, Emitter *body);

/* Stores the vector expression `value` as output pixel (n, block, i, j) of operand Y or dX (`role`), after all that
 * kernel->fuses asks for, and after adding what is there where kernel->adds. */
void store_pixel(Emitter *, const Kernel *, const char *role, const char *value, const char *n, const char *block,
                 const char *i, const char *j);

/* Asks for what storing `pixels` pixels, each `step` columns behind the one before, will touch: it comes from memory
 * while their sums are computed. */
void prefetch_stored(Emitter *, const Kernel *, const char *role, const char *n, const char *block, const char *i,
                     const char *j, int64_t pixels, int64_t step);

/* Stores `value`, a vector of the complete gradient of the weights, at &dW[...]; or (FUSE_SGD, where there is a rule)
 * lets W and velocity, its momentum, learn there. `place` is the template of an address in which $T stands for each of
 * these: "$T[kb][0][r][s][c]". */
void store_gradient(Emitter *, const Kernel *, const char *place, const char *value);

/* Where schedule.streams is set, store_pixel stores past the caches, unless the output lies in place of an input: what
 * the kernel shares among threads then ends with this statement, so that others see what was stored. */
bool streams_output(const Kernel *, const char *role);
void finish_stores(Emitter *, const Kernel *, const char *role);

/* "clear_border(Y[n][kb], ...);" for one plane of the operand; nothing where it has no border or the kernel adds. */
void clear_border(Emitter *, const Kernel *, const char *role, const char *n, const char *block);

/* After the last pixel of plane (n, block) has been stored by the same thread: its FUSE_STATS or
 * FUSE_SUMS, where asked for. */
void finish_plane(Emitter *, const Kernel *, const char *role, const char *n, const char *block);

/* partial[n][block] = each lane's mean over the operand's plane (n, block), and its sum of squares about that mean. Of
 * rows (rank 2), the plane is the block in all images: partial[0][block]. */
void statistics_of_plane(Emitter *, const Kernel *, const char *role, const char *n, const char *block);

/* partial[n][block] = each lane's sum over a plane of the gradient `role` of a batch norm's output, and its sum of
 * products with X - mean. The batch norm's operands have names that begin with `prefix`; where its "shift" is one, the
 * gradient counts only where the ReLU behind it was open. */
void sums_of_plane(Emitter *, const Kernel *, const char *role, const char *prefix, const char *n, const char *block);

#endif
