/* trainer.h - a generated network as the trainer sees it: one table of functions and facts.
 *
 * A generated file ends with
 *     #ifdef CNN_MAIN
 *     CNN_TRAINER(lenet, lenet_facts)
 *     #endif
 * so that -DCNN_MAIN and libcnn.a make it a program. Arrays are NCHW and contiguous.
 */
#ifndef CNN_TRAINER_H
#define CNN_TRAINER_H

#include "cnn.h"

/* How the program was compiled: cnnc says so on the C compiler's command line. */
#ifndef CNN_TARGET
#define CNN_TARGET "unknown"
#endif
#ifndef CNN_FLAGS
#define CNN_FLAGS "unknown"
#endif

/* What the compiler knows and the trainer prints or takes as defaults. */
typedef struct {
    const char       *name, *source;            /* "lenet", "lenet.net"                                            */
    const char       *version, *target, *flags; /* of cnnc; the instruction set; the C compiler's flags            */
    const char       *schedule;                 /* one line: how the layers are computed                           */
    const cnn_layer  *layers;    int layer_count;
    const cnn_kernel *predict;   int predict_count;     /* kernels of NAME_predict, in order                       */
    const cnn_kernel *gradients; int gradients_count;   /* kernels of NAME_gradients                               */
    size_t            arena_bytes, parameter_bytes;
    const char *const *defaults;                /* the train { } block as options: "lr=0.9", NULL at the end       */
} cnn_facts;

/* Picture formats (data.h) that cnnc --with=NAME,... compiles in: naming one here is what links its library. */
typedef struct cnn_decoder cnn_decoder;
extern const cnn_decoder cnn_decoder_jpeg, cnn_decoder_png;
#ifdef CNN_WITH_JPEG
#define CNN_JPEG_DECODER &cnn_decoder_jpeg,
#else
#define CNN_JPEG_DECODER
#endif
#ifdef CNN_WITH_PNG
#define CNN_PNG_DECODER &cnn_decoder_png,
#else
#define CNN_PNG_DECODER
#endif

/* What carries numbers between processes (ranks.h) where cnnc --with=mpi compiled it in, likewise. */
typedef struct cnn_transport cnn_transport;
extern const cnn_transport cnn_transport_mpi;
#ifdef CNN_WITH_MPI
#define CNN_EXCHANGE(NAME)                                                                                             \
    static void trainer_exchange(void *net, const cnn_exchange *exchange) { NAME##_exchange(net, exchange); }
#define CNN_TRANSPORT trainer_exchange, &cnn_transport_mpi
#else
#define CNN_EXCHANGE(NAME)
#define CNN_TRANSPORT NULL, NULL
#endif

/* The generated interface behind `void *`. The generated header describes each function. */
typedef struct {
    const cnn_facts *facts;
    void      *(*create)(uint64_t seed);
    void       (*destroy)(void *);
    int        (*tensors)(void);
    cnn_tensor (*tensor)(int i);
    void       (*shape)(int input[4], int output[4]);
    void       (*get)(const void *, int i, cnn_real *out);
    void       (*set)(void *, int i, const cnn_real *in);
    void       (*get_grad)(const void *, int i, cnn_real *out);
    void       (*get_moment)(const void *, int order, int i, cnn_real *out);
    void       (*set_moment)(void *, int order, int i, const cnn_real *in);
    cnn_real  *(*flat)(void *, cnn_part part, size_t *count);
    void       (*span)(int i, size_t *first, size_t *count);
    void       (*freeze)(void *, int i, int frozen);
    uint64_t   (*get_step)(const void *);       /* updates done so far: dropout masks depend on it                 */
    void       (*set_step)(void *, uint64_t step);
    void       (*predict)(void *, const cnn_real *x, cnn_real *logits);
    cnn_real   (*gradients)(void *, const cnn_real *x, const int32_t *labels, cnn_real *logits);
    void       (*update)(void *, const cnn_update *);
    cnn_real   (*step)(void *, const cnn_real *x, const int32_t *labels, cnn_real *logits, const cnn_update *);
    const cnn_real *(*output)(const void *, int layer); /* of layers[layer] after predict, until the next call     */
    const cnn_real *(*arena)(const void *);             /* where kernels[i].offset counts from                     */
    void       (*target)(void *, const cnn_target *);
    void       (*watch)(void *, const cnn_watch *);
    const cnn_decoder *const *decoders;         /* NULL at the end                                                 */
    void       (*exchange)(void *, const cnn_exchange *);       /* NULL, both: the program works alone             */
    const cnn_transport *transport;
} cnn_network;

/* The whole command line of a trainer; returns the exit status: 0, 1 run-time error, 2 usage, 130 after SIGINT. */
int cnn_main(int argc, char **argv, const cnn_network *network);

#define CNN_TRAINER(NAME, FACTS)                                                                                       \
    static void *trainer_create(uint64_t seed)                    { return NAME##_new(seed); }                         \
    static void trainer_destroy(void *net)                        { NAME##_free(net); }                                \
    static void trainer_get(const void *net, int i, cnn_real *out)      { NAME##_get(net, i, out); }                   \
    static void trainer_set(void *net, int i, const cnn_real *in)       { NAME##_set(net, i, in); }                    \
    static void trainer_get_grad(const void *net, int i, cnn_real *out) { NAME##_get_grad(net, i, out); }              \
    static void trainer_get_moment(const void *net, int order, int i, cnn_real *out)                                   \
    { NAME##_get_moment(net, order, i, out); }                                                                         \
    static void trainer_set_moment(void *net, int order, int i, const cnn_real *in)                                    \
    { NAME##_set_moment(net, order, i, in); }                                                                          \
    static cnn_real *trainer_flat(void *net, cnn_part part, size_t *count) { return NAME##_flat(net, part, count); }   \
    static void trainer_freeze(void *net, int i, int frozen)      { NAME##_freeze(net, i, frozen); }                   \
    static uint64_t trainer_get_step(const void *net)             { return NAME##_get_step(net); }                     \
    static void trainer_set_step(void *net, uint64_t step)        { NAME##_set_step(net, step); }                      \
    static void trainer_predict(void *net, const cnn_real *x, cnn_real *logits) { NAME##_predict(net, x, logits); }    \
    static cnn_real trainer_gradients(void *net, const cnn_real *x, const int32_t *labels, cnn_real *logits)           \
    { return NAME##_gradients(net, x, labels, logits); }                                                               \
    static void trainer_update(void *net, const cnn_update *u)    { NAME##_update(net, u); }                           \
    static cnn_real trainer_step(void *net, const cnn_real *x, const int32_t *labels, cnn_real *logits,                \
                                 const cnn_update *u)                                                                  \
    { return NAME##_step(net, x, labels, logits, u); }                                                                 \
    static const cnn_real *trainer_output(const void *net, int layer) { return NAME##_output(net, layer); }            \
    static const cnn_real *trainer_arena(const void *net)         { return NAME##_arena(net); }                        \
    static void trainer_target(void *net, const cnn_target *target) { NAME##_target(net, target); }                    \
    static void trainer_watch(void *net, const cnn_watch *watch)  { NAME##_watch(net, watch); }                        \
    CNN_EXCHANGE(NAME)                                                                                                 \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        static const cnn_decoder *const decoders[] = {CNN_JPEG_DECODER CNN_PNG_DECODER NULL};                          \
        static const cnn_network network = {                                                                           \
            &FACTS, trainer_create, trainer_destroy, NAME##_tensors, NAME##_tensor, NAME##_shape, trainer_get,         \
            trainer_set, trainer_get_grad, trainer_get_moment, trainer_set_moment, trainer_flat, NAME##_span,          \
            trainer_freeze, trainer_get_step, trainer_set_step, trainer_predict, trainer_gradients, trainer_update,    \
            trainer_step, trainer_output, trainer_arena, trainer_target, trainer_watch, decoders,                      \
            CNN_TRANSPORT};                                                                                            \
        return cnn_main(argc, argv, &network);                                                                         \
    }

#endif
