/* unit.h - what the files share that write one generated .c and its .h: unit.c and those named below. */
#ifndef UNIT_H
#define UNIT_H

#include "step.h"

enum { LINE_WIDTH = 120 };      /* of generated code */

/* text.c */
const char *comment_text(Arena *, const char *text);            /* without anything that would end a comment        */
const char *base_name(const char *path);
const char *dims_text(Arena *, int rank, const int64_t *dims, const char *before, const char *after);
const char *tensor_shape(Arena *, const Tensor *);              /* "256x6x28x28"                                    */
const char *four_sizes(const Graph *, const Shape *);           /* "256, 6, 28, 28": batch first, ones behind a row */
const char *layer_operator(Arena *, const Layer *);             /* "conv 6, 5x5, pad 2"                             */
const char *kernel_name(Arena *, const Program *, const Kernel *);      /* of the kernel, in tables and profiles     */
const char *kernel_function(Arena *, const Program *, const Kernel *);  /* of its C function: at -O2 often another's */
const char *first_line(Arena *, const Graph *, const Unit *, char suffix, const char *what);
                                        /* opens a comment: file and what it is, the command that wrote it          */

int  line_of(const Layer *);                                    /* of its statement in the source, from 1            */
int  tensor_count(const Graph *);                               /* parameters and buffers                           */
int  tensor_index(const Tensor *of_parameter);                  /* its place in state_dict order                    */

/* "head(a, b, c)tail", broken after commas so that no line passes LINE_WIDTH. */
void wrapped(Emitter *, const char *head, const char *const *items, int count, const char *tail);

/* kernel_text.c */
void write_kernels(Emitter *, const Graph *, const Unit *);
void write_kernel(Emitter *, const Program *, const Kernel *, CommonParts *);   /* one function, whatever the level  */

/* and its parts: users are further layers that it serves ("" or "conv2, conv3"), sizes its arguments, or NULL */
enum { MAX_PARAMETERS = MAX_OPERANDS + 4 };
int  kernel_parameters(const Program *, const Kernel *, const char *items[MAX_PARAMETERS]);     /* how many          */
void write_kernel_comment(Emitter *, const Program *, const Kernel *, const char *users, const char *sizes);
void write_signature(Emitter *, const Program *, const Kernel *);
Emitter *kernel_body(const Program *, const Kernel *, CommonParts *);

/* shared_kernels.c */
void write_shared_kernels(Emitter *, const Graph *, const Unit *);
void write_parts(Emitter *, const CommonParts *);               /* what several kernels call                         */

/* kernel_file.c */
char *emit_kernel_file(Arena *, const Graph *, const Program *textbook, const Program *fast, const char *command,
                       const char *file);

/* prelude.c */
void write_helpers(Emitter *, const char *kernels, const Target *);     /* target NULL: -O0 */

/* program_text.c */
void write_programs(Emitter *, const Graph *, const Unit *);

/* interface.c */
void write_state(Emitter *, const Graph *, const Unit *);       /* struct tensors and struct <network>              */
void write_interface(Emitter *, const Graph *, const Unit *);   /* new, free, get, set ... and the trainer's facts  */

/* initial.c */
void write_new_and_free(Emitter *, const Graph *, const Unit *);

/* idle.c */
void write_idle(Emitter *, const Graph *, const Program *train);        /* what rests while tensors are frozen      */

/* emit.c */
Arena *emitter_arena(Emitter *);

/* A loop over every parameter and buffer in state_dict order. */
#define FOR_TENSORS(g, l, param, index)                                                                             \
    for (int layer_ = 0, index = 0; layer_ < (g)->layers.count; layer_++)                                           \
        for (const Layer *l = (g)->layers.items[layer_], *once_ = l; once_; once_ = NULL)                           \
            for (const Parameter *param = l->param; param < l->param + l->param_count; param++, index++)

#endif
