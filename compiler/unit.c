/* unit.c - the whole generated .c: head comment, tensors, one function a kernel, one function a program.
 *
 * Requires: programs placed by memory.c. Establishes: C11 that compiles without warnings and depends on nothing but
 * its input: no dates, no absolute paths. The public functions around the programs are written by interface.c.
 */
#include <stdlib.h>
#include <string.h>

#include "op.h"
#include "unit.h"

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* "head(a, b, c)tail", broken after commas so that no line passes LINE_WIDTH; lines after the first start below `a`. */
static void wrapped(Emitter *e, const char *head, const char *const *items, int count, const char *tail)
{
    Arena *arena = emitter_arena(e);
    int margin = (int)strlen(head);
    const char *text = head;
    int column = margin;
    for (int i = 0; i < count; i++) {
        const char *item = arena_printf(arena, "%s%s", items[i], i + 1 < count ? "," : tail);
        int width = (int)strlen(item);
        if (i > 0 && column + 1 + width > LINE_WIDTH) {
            text = arena_printf(arena, "%s\n%*s%s", text, margin, "", item);
            column = margin + width;
        } else {
            text = arena_printf(arena, "%s%s%s", text, i > 0 ? " " : "", item);
            column += (i > 0) + width;
        }
    }
    raw(e, "%s", text);
}

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

static void write_head(Emitter *e, const Graph *g, const Unit *u)
{
    raw(e, "%s", first_line(g->arena, g, u, 'c', ""));
    raw(e, " *");
    write_layer_table(e, g);
    raw(e, " *");
    raw(e, " * Arrays are NCHW. Letters: n image, k output channel, c input channel, i j output pixel, r s kernel tap;");
    raw(e, " * X input, Y output, W weight, b bias; dX dY dW db are the gradients of the loss by them. MFLOP: of the forward pass, 2 a multiply-add.");
    raw(e, " * Every sum is added up by one thread in one order, so the number of threads does not change any result.");
    raw(e, " * Compile with: clang %s -c %s.c   (cnn.h and libcnn.a come with cnnc)", u->flags, g->name);
    raw(e, " */");
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

static const char *element_type(const Tensor *t)
{
    return t->type == TYPE_REAL ? "real" : t->type == TYPE_INT32 ? "int32_t" : "unsigned char";
}

static const char *parameter_text(Arena *arena, const KernelDef *def, const Operand *o)
{
    const char *constant = o->access == OPERAND_READ ? "const " : "";
    if (def->flat)
        return arena_printf(arena, "%sreal *%s", constant, o->role);
    return arena_printf(arena, "%s%s %s%s", constant, element_type(o->tensor), o->role,
                        dims_text(arena, o->tensor->rank, o->tensor->dim, "[", "]"));
}

static void write_signature(Emitter *e, const Program *p, const Kernel *k)
{
    Arena *arena = p->arena;
    const char *items[MAX_OPERANDS + 4];
    int count = 0;
    if (k->def->flat)
        items[count++] = "size_t count";
    if (k->def->random) {
        items[count++] = "uint64_t seed";
        items[count++] = "uint64_t step";
    }
    for (int i = 0; i < k->operand_count; i++)
        items[count++] = parameter_text(arena, k->def, &k->operand[i]);
    if (k->def->flat)
        items[count++] = "const cnn_update *u";
    wrapped(e, arena_printf(arena, "static void %s(", kernel_function(arena, p, k)), items, count, ")");
}

/* A formula's indices without spaces: "X[n,c,i + r - 2]" -> "X[n,c,i+r-2]". */
static const char *dense_indices(Arena *arena, const char *formula)
{
    char *dense = arena_copy(arena, formula, strlen(formula)), *to = dense;
    for (int depth = 0; *formula; formula++) {
        depth += (*formula == '[') - (*formula == ']');
        if (depth == 0 || *formula != ' ')
            *to++ = *formula;
    }
    *to = 0;
    return dense;
}

/* "X 256x1x28x28   W 6x1x5x5", broken between operands. */
static void write_shapes(Emitter *e, const Kernel *k)
{
    Arena *arena = emitter_arena(e);
    const char *text = " *";
    for (int i = 0; i < k->operand_count; i++) {
        const char *shape = arena_printf(arena, "%s %s", k->operand[i].role, tensor_shape(arena, k->operand[i].tensor));
        if (strlen(text) + 3 + strlen(shape) > LINE_WIDTH) {
            raw(e, "%s", text);
            text = " *";
        }
        text = arena_printf(arena, "%s   %s", text, shape);
    }
    raw(e, "%s", text);
}

static void write_kernel_comment(Emitter *e, Emitter *body, const Program *p, const Kernel *k)
{
    Arena *arena = p->arena;
    const Layer *l = k->layer;
    const char *title = !l->op ? "loss" : arena_printf(arena, "%s: %s", l->name, layer_operator(arena, l));
    const char *place = arena_printf(arena, "%s:%d", comment_text(arena, base_name(l->graph->source->path)), line_of(l));
    if (k->def->flat)
        raw(e, "/* one optimiser step for one tensor");
    else
        raw(e, "/* %-80s %35s", title, place);
    const char *formula = k->def->formula;
    if (!formula)
        formula = k->index >= p->backward_from ? l->op->grad : l->op->formula;
    for (const char *from = dense_indices(arena, substitute(body, formula)); from; ) {
        const char *stop = strchr(from, '\n');
        raw(e, " *   %.*s", (int)(stop ? stop - from : (long)strlen(from)), from);
        from = stop ? stop + 1 : NULL;
    }
    if (!k->def->flat)
        write_shapes(e, k);
    raw(e, " */");
}

static void write_kernel(Emitter *e, const Program *p, const Kernel *k)
{
    Emitter *body = emitter_new(p->arena);
    emitter_begin(body, arena_printf(p->arena, "operator %s, kernel %s", k->layer->op ? k->layer->op->keyword : "loss",
                                     k->def->suffix));
    let_int(body, "N", p->graph->batch);
    let(body, "set", k->adds ? "+=" : "=");
    function(body);      /* its signature is written below, once the body has bound the names in its formula */
    k->def->textbook(body, k);
    end(body, 1);
    write_kernel_comment(e, body, p, k);
    write_signature(e, p, k);
    append_body(e, body);
    raw(e, "%s", "");
}

/* True when the training program has this layer's kernel too, so that one function serves both programs. */
static bool shared_with_training(const Program *train, const int *first, const Kernel *k)
{
    if (first[k->layer->index] < 0)
        return false;
    for (int i = first[k->layer->index]; i < train->backward_from && train->kernels.items[i]->layer == k->layer; i++)
        if (train->kernels.items[i]->def == k->def)
            return true;
    return false;
}

static void write_kernels(Emitter *e, const Graph *g, const Unit *u)
{
    int *first = NEW_ARRAY(g->arena, int, g->layers.count);
    memset(first, -1, sizeof *first * (size_t)g->layers.count);
    raw(e, "/* ---- forward ---- */\n");
    for (int i = 0; i < u->train->kernels.count; i++) {
        const Kernel *k = u->train->kernels.items[i];
        if (i == u->train->backward_from)
            raw(e, "/* ---- backward ---- */\n");
        if (i < u->train->backward_from && k->layer->op && first[k->layer->index] < 0)
            first[k->layer->index] = i;
        write_kernel(e, u->train, k);
    }
    bool titled = false;
    for (int i = 0; i < u->predict->kernels.count; i++) {
        const Kernel *k = u->predict->kernels.items[i];
        if (shared_with_training(u->train, first, k))
            continue;
        if (!titled)
            raw(e, "/* ---- forward, where prediction differs from training ---- */\n");
        titled = true;
        write_kernel(e, u->predict, k);
    }
    raw(e, "/* ---- update ---- */\n");
    write_kernel(e, u->update, u->update->kernels.items[0]);
}

/* ---- small functions that kernels call, written only where one does ---------------------------------------------- */

typedef struct { const char *use, *definition; } Helper;

static const Helper helpers[] = {
    {"inside(", "static inline int inside(int i, int n) { return i >= 0 && i < n; }"},
    {"real_exp(", "static inline real real_exp(real x) { return sizeof x == sizeof(float) ? expf((float)x) : exp(x); }"},
    {"real_log(", "static inline real real_log(real x) { return sizeof x == sizeof(float) ? logf((float)x) : log(x); }"},
    {"real_tanh(", "static inline real real_tanh(real x) { return sizeof x == sizeof(float) ? tanhf((float)x) : tanh(x); }"},
    {"real_sqrt(", "static inline real real_sqrt(real x) { return sizeof x == sizeof(float) ? sqrtf((float)x) : sqrt(x); }"},
    {"real_pow(", "static inline real real_pow(real x, real y) "
                  "{ return sizeof x == sizeof(float) ? powf((float)x, (float)y) : pow(x, y); }"},
};

static void write_helpers(Emitter *e, const char *kernels)
{
    for (size_t i = 0; i < sizeof helpers / sizeof *helpers; i++)
        if (strstr(kernels, helpers[i].use))
            raw(e, "%s", helpers[i].definition);
    raw(e, "%s", "");
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

static bool has_place(const Tensor *t)
{
    bool in_arena = t->kind == TENSOR_ACTIVATION || t->kind == TENSOR_GRADIENT || t->kind == TENSOR_SAVED;
    return in_arena && t->storage == t && t->first >= 0;
}

static const char *place_text(Arena *arena, const Tensor *t)
{
    return t->offset ? arena_printf(arena, "void *%s = arena + %lld;", t->name, (long long)t->offset / 4)
                     : arena_printf(arena, "void *%s = arena;", t->name);
}

/* One local pointer a tensor: where it lies in the arena. */
static void write_places(Emitter *e, const Program *p)
{
    int width = 0;
    for (int i = 0; i < p->tensors.count; i++)
        if (has_place(p->tensors.items[i]) && (int)strlen(place_text(p->arena, p->tensors.items[i])) > width)
            width = (int)strlen(place_text(p->arena, p->tensors.items[i]));
    raw(e, "    real *arena = net->arena;");
    raw(e, "    const void *input = x;");
    for (int i = 0; i < p->tensors.count; i++) {
        const Tensor *t = p->tensors.items[i];
        if (!has_place(t))
            continue;
        const char *life = p->mode == PROGRAM_PREDICT ? ""
                         : arena_printf(p->arena, ", kernels %d to %d", t->first, t->last);
        raw(e, "    %-*s /* %s%s */", width, place_text(p->arena, t), tensor_shape(p->arena, t), life);
    }
}

static void write_call(Emitter *e, const Program *p, const Kernel *k)
{
    const char *items[MAX_OPERANDS + 2];
    int count = 0;
    if (k->def->random) {
        items[count++] = "net->seed";
        items[count++] = "net->step";
    }
    for (int i = 0; i < k->operand_count; i++)
        items[count++] = k->operand[i].tensor->name;
    wrapped(e, arena_printf(p->arena, "    %s(%d, %s(", k->index < p->backward_from ? "RUN" : "BACK", k->index,
                            kernel_function(p->arena, p, k)), items, count, "));");
}

static void write_calls(Emitter *e, const Program *p, int from, int to)
{
    for (int i = from; i < to; i++)
        write_call(e, p, p->kernels.items[i]);
}

static void write_logits(Emitter *e, const Program *p)
{
    const Tensor *output = p->activation[p->graph->output->index];
    raw(e, "    if (logits)");
    raw(e, "        memcpy(logits, %s, sizeof(real) * %lld);", output->name,
        (long long)(p->graph->batch * shape_count(&p->graph->output->output)));
}

static void write_gradients(Emitter *e, const Graph *g, const Program *p)
{
    raw(e, "/* Tensors that are never alive at the same time share memory: \"kernels a to b\" is a tensor's life. */");
    raw(e, "real %s_gradients(%s *net, const real *x, const int32_t *labels, real *logits)\n{", g->name, g->name);
    write_places(e, p);
    raw(e, "\n    /* forward */");
    write_calls(e, p, 0, p->backward_from);
    write_logits(e, p);
    raw(e, "    const real mean_loss = *(real *)kept_loss_mean;     /* read now: its memory is used again below */");
    raw(e, "\n    /* backward */");
    write_calls(e, p, p->backward_from, p->kernels.count);
    raw(e, "    return mean_loss;\n}\n");
}

static void write_predict(Emitter *e, const Graph *g, const Program *p)
{
    raw(e, "/* Every layer keeps its output here, so that it can be looked at afterwards (%s_output). */", g->name);
    raw(e, "void %s_predict(%s *net, const real *x, real *logits)\n{", g->name, g->name);
    write_places(e, p);
    raw(e, "    net->pictures = x;\n");
    write_calls(e, p, 0, p->kernels.count);
    write_logits(e, p);
    raw(e, "}\n");
}

static void write_update(Emitter *e, const Graph *g)
{
    raw(e, "void %s_update(%s *net, const cnn_update *u)\n{", g->name, g->name);
    raw(e, "    for (int i = 0; i < TENSORS; i++)");
    raw(e, "        if (tensor_table[i].trainable && !net->frozen[i])");
    raw(e, "            sgd_update(tensor_table[i].count, at(&net->grad, i), at(&net->value, i), at(&net->momentum, i), u);");
    raw(e, "    net->step++;\n}\n");
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
    write_helpers(e, kernel_text);
    write_state(e, g, u);
    append_body(e, kernels);
    raw(e, "/* ---- programs ---- */\n");
    raw(e, "/* Calls kernel i, and notes its time when a profile is being taken. */");
    raw(e, "#define RUN(i, call) do { call; if (net->profile) cnn_lap(net->profile, i); } while (0)");
    raw(e, "/* The same for a backward kernel, which may rest while tensors are frozen. */");
    raw(e, "#define BACK(i, call) do { if (!net->idle[i]) RUN(i, call); } while (0)\n");
    write_idle(e, g, u->train);
    write_predict(e, g, u->predict);
    write_gradients(e, g, u->train);
    write_update(e, g);
    write_interface(e, g, u);
    return emitter_text(e);
}
