/* header.c - the .h of a generated network: what another program may call, and what each call means.
 *
 * Requires: the graph. Establishes: declarations of what interface.c, initial.c, idle.c and program_text.c define, the
 * same at every -O.
 */
#include "unit.h"

static void write_declarations(Emitter *e, const Graph *g)
{
    static const char *const exchanging[] = {
        "",
        "/* The replica is one of several, one a process, that train together (cnn.h); NULL: it is alone. */",
        "void ${net}_exchange($net *, const cnn_exchange *);",
    };
    static const char *const text[] = {
        "/* Parameters, optimiser state and arena of one replica. */",
        "typedef struct $net $net;",
        "",
        "/* Initialised from `seed`; NULL when memory is short. Owned by the caller: ${net}_free. */",
        "$net *${net}_new(uint64_t seed);",
        "void ${net}_free($net *);",
        "",
        "/* Parameters and buffers in PyTorch's state_dict order, i in [0, ${net}_tensors()). */",
        "int        ${net}_tensors(void);",
        "cnn_tensor ${net}_tensor(int i);",
        "",
        "/* Copies of tensor i in PyTorch's layout, ${net}_tensor(i).count reals. Gradients are those of the last",
        " * ${net}_gradients; ${net}_step need not leave any. Moments of order 1 and 2 are the optimiser's V and S",
        " * (cnn.h), 0 before the first update. */",
        "void ${net}_get(const $net *, int i, cnn_real *out);",
        "void ${net}_set($net *, int i, const cnn_real *in);",
        "void ${net}_get_grad(const $net *, int i, cnn_real *out);",
        "void ${net}_get_moment(const $net *, int order, int i, cnn_real *out);",
        "void ${net}_set_moment($net *, int order, int i, const cnn_real *in);",
        "",
        "/* All values, gradients or moments as one array of *count reals in the code's own layout, which belongs to",
        " * the network; and where tensor i lies in it. Elements that belong to no tensor are 0 and must stay so, as",
        " * must spare ones within. */",
        "cnn_real *${net}_flat($net *, cnn_part part, size_t *count);",
        "void      ${net}_span(int i, size_t *first, size_t *count);",
        "",
        "/* frozen = 1: updates leave tensor i as it is; gradients that only frozen tensors need are not computed. */",
        "void ${net}_freeze($net *, int i, int frozen);",
        "",
        "/* Number of updates done; random numbers (dropout) depend on it and on the seed alone. */",
        "uint64_t ${net}_get_step(const $net *);",
        "void     ${net}_set_step($net *, uint64_t step);",
        "",
        "/* Batch, channels, height, width: input {$input}, output {$output}. */",
        "void ${net}_shape(int input[4], int output[4]);",
        "",
        "/* x: pictures, NCHW. logits: N x classes, may be NULL. Batch normalisation uses its running statistics,",
        " * dropout does nothing. */",
        "void ${net}_predict($net *, const cnn_real *x, cnn_real *logits);",
        "",
        "/* Output of layer i (from 0, as listed in the .c) after ${net}_predict, valid until the next call. NULL when",
        " * it was not kept: at -O2 only what the last layer takes is, and with --keep-layers all. */",
        "const cnn_real *${net}_output(const $net *, int i);",
        "",
        "/* The mean cross-entropy of a batch in training mode; fills the gradients of every parameter. When it is not",
        " * finite the gradients stay as they are; running statistics have taken the batch in. labels: N classes in",
        " * [0, number of classes). logits: as above, may be NULL. */",
        "cnn_real ${net}_gradients($net *, const cnn_real *x, const int32_t *labels, cnn_real *logits);",
        "",
        "/* One optimiser step with the gradients that ${net}_gradients left. */",
        "void ${net}_update($net *, const cnn_update *);",
        "",
        "/* Both in one call, to the same bits. With SGD weights may learn as soon as their gradient is complete,",
        " * which then is stored nowhere. When the loss is not finite no parameter is updated. */",
        "cnn_real ${net}_step($net *, const cnn_real *x, const int32_t *labels, cnn_real *logits, const cnn_update *);",
        "",
        "/* From now on the loss compares with this target, which is read whenever it is computed (cnn.h); NULL:",
        " * labels alone. */",
        "void ${net}_target($net *, const cnn_target *);",
        "",
        "/* From now on watch->after is called after every kernel (cnn.h), which may look at the arena; NULL: off. */",
        "void ${net}_watch($net *, const cnn_watch *);",
        "const cnn_real *${net}_arena(const $net *);",
    };
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        line(e, text[i]);
    for (size_t i = 0; g->exchanges && i < sizeof exchanging / sizeof *exchanging; i++)
        line(e, exchanging[i]);
}

char *emit_header(Arena *arena, const Graph *g, const Unit *u)
{
    Emitter *e = emitter_new(arena);
    let(e, "net", "%s", g->name);
    let(e, "input", "%s", four_sizes(g, &g->input->output));
    let(e, "output", "%s", four_sizes(g, &g->output->output));
    raw(e, "%s\n *", first_line(arena, g, u, 'h', arena_printf(arena, "the network %s, ", g->name)));
    raw(e, " * One replica belongs to one thread at a time; each call uses OpenMP threads inside. */");
    line(e, "#ifndef CNN_NETWORK_${net}_H\n#define CNN_NETWORK_${net}_H\n");
    raw(e, "#include \"cnn.h\"\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
    write_declarations(e, g);
    raw(e, "\n#ifdef __cplusplus\n}\n#endif\n#endif");
    return emitter_text(e);
}
