/* programs.h - layer graphs, step programs and compiled networks for tests, straight from a network's text or file. */
#ifndef PROGRAMS_H
#define PROGRAMS_H

#include "cnn.h"
#include "op.h"

/* A layer graph through the compiler's own passes; fails the test when the network has an
 * error. Freed with the arena. */
Graph   *graph_from_text(Arena *, const char *text);
Graph   *graph_from_file(Arena *, const char *path);
Program *placed_program(const Graph *, ProgramMode);            /* built, and placed but for PROGRAM_UPDATE */
Program *fast_program(const Graph *, ProgramMode, const Tuning *);      /* -O2: with layouts, not placed            */

/* The i-th small network (LeNet and those of tests/golden/), and the i-th of these and of all examples; NULL past the
 * end. */
const char *network_file(int i);
const char *any_network_file(int i);

/* How many kernels of a program have this suffix and (unless NULL) this operator or layer name. */
int      count_kernels(const Program *, const char *suffix, const char *keyword, const char *layer);

/* ---- a generated network, loaded from its shared library --------------------------------------------------------- */

/* Values cross as doubles whatever the library computes in. */
typedef struct {
    void       *library, *net;
    bool        is_double;
    int         input[4], output[4];            /* batch first */
    void     *(*create)(uint64_t seed);
    void      (*destroy)(void *);
    int       (*tensors)(void);
    cnn_tensor (*tensor)(int i);
    void      (*get)(const void *, int i, void *out);
    void      (*set)(void *, int i, const void *in);
    void      (*get_grad)(const void *, int i, void *out);
    void      (*get_moment)(const void *, int order, int i, void *out);
    void     *(*flat)(void *, cnn_part part, size_t *count);
    void      (*span)(int i, size_t *first, size_t *count);
    void      (*freeze)(void *, int i, int frozen);
    void      (*predict)(void *, const void *x, void *logits);
    void       *gradients;                      /* returns float or double */
    void      (*update)(void *, const cnn_update *);
    void       *step;                           /* returns float or double */
    void      (*target)(void *, const cnn_target *);
    void      (*watch)(void *, const cnn_watch *);
    void      (*poison)(void *);                /* NULL but in libraries made for it */
} Loaded;

/* Runs `cnnc --shared FLAGS FILE -o LIBRARY`; fails the test when it does. */
void    compile_library(const char *file, const char *flags, const char *library);
/* LIBRARY holds a network called NAME; a replica is made from `seed`. */
Loaded  load_network(const char *library, const char *name, bool is_double, uint64_t seed);
/* The same of FILE compiled with FLAGS (--double: in double): the first test that asks
 * compiles, others find the library. */
Loaded  load_file(const char *file, const char *name, const char *flags, uint64_t seed);
void    unload_network(Loaded *);

/* Tensor i through get or get_grad, or its moment; tensor(i).count values owned by the caller. */
double *fetch(const Loaded *, void (*get)(const void *, int, void *), int i);
double *fetch_moment(const Loaded *, int order, int i);
void    store(Loaded *, int i, const double *values);
void    run_predict(Loaded *, const double *x, double *logits);
double  run_gradients(Loaded *, const double *x, const int32_t *labels, double *logits);        /* NULL: no logits */
double  run_step(Loaded *, const double *x, const int32_t *labels, const cnn_update *);

/* Pictures and labels of step s as tests/golden/make.py computes them; owned by the caller. */
double  *reference_pictures(const Loaded *, int step);
int32_t *reference_labels(const Loaded *, int step);
/* Element i of tensor t of the same formula: a multiple of 2^-16 in [-1, 1). */
double   reference_unit(size_t i, uint32_t t);

#endif
