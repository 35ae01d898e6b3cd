/* unit.c - the whole generated .c: head comment, helpers, tensors, functions of kernels, programs.
 *
 * Requires: programs placed by memory.c. Establishes: C11 that compiles without warnings and depends on nothing but
 * its input: no dates, no absolute paths. Kernels are written by kernel_text.c and shared_kernels.c, programs by
 * program_text.c, and the public functions around them by interface.c.
 */
#include <stdlib.h>
#include <string.h>

#include "op.h"
#include "render.h"
#include "unit.h"

/* ---- head comment ------------------------------------------------------------------------------------------------ */

static void write_layer_table(Emitter *e, const Graph *g)
{
    Arena *arena = g->arena;
    int width[4] = {5, 8, 5, 6};
    const char *(*cell)[4] = arena_alloc(arena, sizeof *cell * (size_t)g->layers.count);
    for (int i = 1; i < g->layers.count; i++) {
        const Layer *l = g->layers.items[i];
        cell[i][0] = l->name;
        cell[i][1] = layer_operator(arena, l);
        cell[i][2] = arena_printf(arena, "%dx%s", g->batch, shape_text(arena, &l->input[0]->output));
        cell[i][3] = arena_printf(arena, "%dx%s", g->batch, shape_text(arena, &l->output));
        for (int c = 0; c < 4; c++)
            if ((int)strlen(cell[i][c]) > width[c])
                width[c] = (int)strlen(cell[i][c]);
    }
    raw(e, " *   %-*s  %-*s  %-*s  %-*s  %10s  %7s  %4s", width[0], "layer", width[1], "operator", width[2], "input",
        width[3], "output", "parameters", "MFLOP", "line");
    for (int i = 1; i < g->layers.count; i++) {
        const Layer *l = g->layers.items[i];
        int64_t parameters = 0;
        for (int j = 0; j < l->param_count; j++)
            parameters += l->param[j].trainable ? l->param[j].count : 0;
        raw(e, " *   %-*s  %-*s  %-*s  %-*s  %10lld  %7.1f  %4d", width[0], cell[i][0], width[1], cell[i][1],
            width[2], cell[i][2], width[3], cell[i][3], (long long)parameters,
            2e-6 * (double)l->macs * g->batch, line_of(l));
    }
}

/* What a reader of fast code must know before the first function. */
static void write_layout_head(Emitter *e, const Target *target)
{
    raw(e, " * Fast code for %s. One vector holds L = %d neighbouring channels of one pixel: pictures are",
        target->name, target->lanes);
    raw(e, " * N x C/L x H x W x L, with zeros around them where a convolution wants them and in lanes beyond the");
    raw(e, " * last channel; filters are K/L x C/L x R x S x L x L. Kernels run inside one parallel region: \"omp");
    raw(e, " * for\" shares a loop among its threads and ends in a barrier. Above each function stand the formula,");
    raw(e, " * the shapes and the schedule: which tile is kept in registers, what stays in cache, what is shared");
    raw(e, " * among threads, which layers behind are computed on the way (fused).");
    raw(e, " * Letters: n image, kb cb blocks of output and input channels, c input channel, i j output pixel,");
    raw(e, " * r s kernel tap;");
}

static void write_head(Emitter *e, const Graph *g, const Unit *u)
{
    raw(e, "%s", first_line(g->arena, g, u, 'c', ""));
    raw(e, " *");
    write_layer_table(e, g);
    raw(e, " *");
    const Target *target = u->train->target;
    if (target)
        write_layout_head(e, target);
    else
        raw(e, " * Arrays are NCHW. Letters: n image, k output channel, c input channel, i j output pixel, r s tap;");
    raw(e, " * X input, Y output, W weight, b bias; dX dY dW db are the gradients of the loss by them.");
    raw(e, " * MFLOP: of the forward pass, 2 a multiply-add.");
    raw(e, " * Every sum is added up by one thread in one order, so the number of threads does not change any result.");
    raw(e, " * Compile with: clang %s%s%s -c %s.c", u->flags, target && *target->flags ? " " : "",
        target ? target->flags : "", g->name);
    raw(e, " * cnn.h and libcnn.a come with cnnc.");
    raw(e, " */");
}

char *emit_source(Arena *arena, const Graph *g, const Unit *u)
{
    Emitter *kernels = emitter_new(arena);
    write_kernels(kernels, g, u);
    char *kernel_text = emitter_text(kernels);

    Emitter *e = emitter_new(arena);
    write_head(e, g, u);
    raw(e, "#include \"%s\"\n", u->header);
    raw(e, "#include <math.h>\n#include <stddef.h>\n#include <stdlib.h>\n#include <string.h>\n");
    raw(e, "#ifndef _OPENMP             /* without -fopenmp everything runs in one thread */");
    raw(e, "#pragma GCC diagnostic ignored \"-Wunknown-pragmas\"\n#endif\n");
    raw(e, "typedef cnn_real real;      /* float; double under -DREAL=double */\n");
    write_helpers(e, kernel_text, u->train->target);
    write_state(e, g, u);
    append_body(e, kernels);
    write_programs(e, g, u);
    write_interface(e, g, u);
    return break_lines(arena, emitter_text(e));
}
