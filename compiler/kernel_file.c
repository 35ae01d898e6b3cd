/* kernel_file.c - `cnnc kernel 'conv(64, 3, pad = 1)'`: one operator's kernels as a program that checks and times them.
 *
 * Requires: two programs of one layer (build_layer_program), textbook and fast. Establishes: one C file that needs
 * nothing but libm and OpenMP: the textbook's functions, the fast ones with the conversions around them, and a main
 * that runs both on the same numbers, prints the largest difference of every result and the time of every fast kernel.
 */
#include <string.h>

#include "kernels/kernels.h"
#include "render.h"
#include "unit.h"

static const char textbook_prefix[] = "textbook_";

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* "net->grad.conv_weight" -> "d_conv_weight": there is no struct here. */
static const char *plain_name(Arena *arena, const Tensor *t)
{
    const char *dot = strrchr(t->name, '.');
    const char *gradient = dot && strncmp(t->name, "net->grad.", 10) == 0 ? "d_" : "";
    return arena_printf(arena, "%s%s", gradient, dot ? dot + 1 : t->name);
}

static void name_all(const Program *p, const char *prefix)
{
    for (int i = 0; i < p->tensors.count; i++)
        p->tensors.items[i]->name = arena_printf(p->arena, "%s%s", prefix, plain_name(p->arena, p->tensors.items[i]));
    for (int i = 0; i < p->kernels.count; i++) {
        Kernel *k = p->kernels.items[i];
        const char *name = k->def == &convert_layout
                               ? "convert"
                               : arena_printf(p->arena, "%s_%s", k->layer->op->keyword, k->def->suffix);
        k->function = arena_printf(p->arena, "%s%s", prefix, name);
        for (int j = 0, ordinal = 2; j < i; j++)
            if (strcmp(p->kernels.items[j]->function, k->function) == 0)
                k->function = arena_printf(p->arena, "%s%s%d", prefix, name, ordinal++), j = -1;
    }
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static const Access *first_access(const Program *p, const Tensor *t)
{
    for (int i = 0; i < p->kernels.count; i++)
        for (int o = 0; o < p->kernels.items[i]->operand_count; o++)
            if (p->kernels.items[i]->operand[o].tensor->storage == t)
                return &p->kernels.items[i]->operand[o].access;
    return NULL;
}

static bool is_written(const Program *p, const Tensor *t)
{
    for (int i = 0; i < p->kernels.count; i++)
        for (int o = 0; o < p->kernels.items[i]->operand_count; o++)
            if (p->kernels.items[i]->operand[o].tensor->storage == t &&
                p->kernels.items[i]->operand[o].access != OPERAND_READ)
                return true;
    return false;
}

/* The textbook's tensor that a fast one must agree with; NULL: only fast code has it. */
static const Tensor *textbook_tensor(const Program *textbook, const Tensor *t)
{
    for (int i = 0; i < textbook->tensors.count; i++)
        if (strcmp(textbook->tensors.items[i]->name + strlen(textbook_prefix), t->name) == 0)
            return textbook->tensors.items[i];
    return NULL;
}

/* What is read before it is written holds the same numbers for both programs: those of the textbook's tensor. */
static void write_rooms(Emitter *e, const Program *p, const Program *textbook)
{
    for (int i = 0; i < p->tensors.count; i++) {
        const Tensor *t = p->tensors.items[i];
        const Access *access = first_access(p, t);
        if (t->storage != t || !access)
            continue;
        const char *size = t->type == TYPE_BYTE ? "1" : "sizeof(real)";
        raw(e, "    void *%s = room(%lld * %s);    /* %s */", t->name, (long long)physical_count(t), size,
            tensor_shape(p->arena, t));
        const Tensor *same = p == textbook ? t : textbook_tensor(textbook, t);
        if (*access != OPERAND_WRITE)
            raw(e, "    fill(%s, %lld, %d);", t->name, (long long)physical_count(t), same ? same->number : -1);
    }
}

static const char *call_text(const Program *p, const Kernel *k)
{
    const char *text = arena_printf(p->arena, "%s(%s", k->function, k->def->random ? "1, 0, " : "");
    for (int i = 0; i < k->operand_count; i++)
        text = arena_printf(p->arena, "%s%s%s", text, i ? ", " : "", k->operand[i].tensor->name);
    return arena_printf(p->arena, "%s)", text);
}

static void write_calls(Emitter *e, const Program *p)
{
    for (int i = 0; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        raw(e, k->fast ? "    REGION(%s);" : "    %s;", call_text(p, k));
    }
}

static void write_comparisons(Emitter *e, const Program *textbook, const Program *fast)
{
    for (int i = 0; i < fast->tensors.count; i++) {
        const Tensor *t = fast->tensors.items[i], *same = textbook_tensor(textbook, t);
        if (!t->outside || !same || !is_written(fast, t))
            continue;
        raw(e, "    wrong += differs(\"%s\", %s, %s, %lld);", t->name, same->name, t->name,
            (long long)physical_count(t));
    }
}

static void write_times(Emitter *e, const Program *fast)
{
    for (int i = 0; i < fast->kernels.count; i++) {
        const Kernel *k = fast->kernels.items[i];
        if (k->def == &convert_layout)
            continue;
        raw(e, "    TIME(\"%s\", %.17g,%s);", k->function,
            k->def->counts ? 2e-9 * (double)k->layer->macs * fast->graph->batch : 0.0,
            k->fast ? arena_printf(fast->arena, " REGION(%s)", call_text(fast, k))
                    : arena_printf(fast->arena, " %s", call_text(fast, k)));
    }
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static const char head_text[] =
    "#include <math.h>\n"
    "#include <stdint.h>\n"
    "#include <stdio.h>\n"
    "#include <stdlib.h>\n"
    "#include <string.h>\n"
    "#include <time.h>\n"
    "\n"
    "#ifndef _OPENMP             /* without -fopenmp everything runs in one thread */\n"
    "#pragma GCC diagnostic ignored \"-Wunknown-pragmas\"\n"
    "#endif\n"
    "#ifdef REAL\n"
    "typedef REAL real;          /* -DREAL=double */\n"
    "#else\n"
    "typedef float real;\n"
    "#endif\n";

static const char main_helpers[] =
    "/* ---- check and time ---- */\n"
    "\n"
    "static void *room(size_t bytes)\n"
    "{\n"
    "    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);\n"
    "    if (!p) {\n"
    "        fprintf(stderr, \"error: no memory for %zu bytes\\n\", bytes);\n"
    "        exit(1);\n"
    "    }\n"
    "    return memset(p, 0, bytes);\n"
    "}\n"
    "\n"
    "/* Numbers in [-1/2, 1/2) that depend on their place and on the tensor alone. */\n"
    "static void fill(real *x, size_t count, unsigned tensor)\n"
    "{\n"
    "    for (size_t i = 0; i < count; i++) {\n"
    "        uint32_t h = (uint32_t)i * 2654435761u + tensor * 40503u;\n"
    "        h = (h ^ h >> 15) * 2246822519u;\n"
    "        x[i] = (real)(h >> 8) / 16777216 - (real)0.5;\n"
    "    }\n"
    "}\n"
    "\n"
    "/* 1 when the largest difference is more than rounding; relative to the largest value. */\n"
    "static int differs(const char *name, const real *textbook, const real *fast, size_t count)\n"
    "{\n"
    "    double largest = 0, most = 0;\n"
    "    for (size_t i = 0; i < count; i++) {\n"
    "        double error = fabs((double)textbook[i] - (double)fast[i]);\n"
    "        largest = fmax(largest, fabs((double)textbook[i]));\n"
    "        most = error > most || error != error ? error : most;\n"
    "    }\n"
    "    const double relative = most / fmax(largest, 1e-30), allowed = sizeof(real) == 4 ? 1e-4 : 1e-9;\n"
    "    printf(\"%-28s error %.1e of the largest value%s\\n\", name, relative, "
    "relative <= allowed ? \"\" : \"   WRONG\");\n"
    "    return !(relative <= allowed);\n"
    "}\n"
    "\n"
    "static double now(void)\n"
    "{\n"
    "    struct timespec t;\n"
    "    clock_gettime(CLOCK_MONOTONIC, &t);\n"
    "    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;\n"
    "}\n"
    "\n"
    "/* Every thread calls a fast kernel. */\n"
    "#define REGION(call)                                                                           \\\n"
    "    _Pragma(\"omp parallel\")                                                                    \\\n"
    "    {                                                                                           \\\n"
    "        const unsigned mode = flush_denormals();                                                \\\n"
    "        call;                                                                                   \\\n"
    "        restore_denormals(mode);                                                                \\\n"
    "    }\n"
    "\n"
    "/* Milliseconds of the fastest of at least 7 calls in so many seconds. */\n"
    "#define TIME(name, gflop, call)                                                                \\\n"
    "    do {                                                                                        \\\n"
    "        double best = 1e30, begin = now();                                                      \\\n"
    "        for (int calls = 0; calls < 7 || now() - begin < seconds; calls++) {                    \\\n"
    "            double start = now(), took;                                                         \\\n"
    "            call;                                                                               \\\n"
    "            took = now() - start;                                                               \\\n"
    "            best = took < best ? took : best;                                                   \\\n"
    "        }                                                                                       \\\n"
    "        printf(\"%-28s %10.3f ms\", name, best * 1e3);                                            \\\n"
    "        if (gflop > 0)                                                                          \\\n"
    "            printf(\"  %8.1f GF/s\", gflop / best);                                               \\\n"
    "        printf(\"\\n\");                                                                           \\\n"
    "    } while (0)\n";

static void write_functions(Emitter *e, const Program *textbook, const Program *fast)
{
    CommonParts parts = {0};
    Emitter *kernels = emitter_new(fast->arena);
    for (int i = 0; i < fast->kernels.count; i++)
        write_kernel(kernels, fast, fast->kernels.items[i], &parts);
    raw(e, "/* ---- the textbook ---- */\n");
    for (int i = 0; i < textbook->kernels.count; i++)
        write_kernel(e, textbook, textbook->kernels.items[i], NULL);
    raw(e, "/* ---- fast, and conversions from and to PyTorch's layout ---- */\n");
    write_parts(e, &parts);
    append_body(e, kernels);
}

char *emit_kernel_file(Arena *arena, const Graph *g, const Program *textbook, const Program *fast, const char *command,
                       const char *file)
{
    const Layer *l = g->output;
    name_all(textbook, textbook_prefix);
    name_all(fast, "");
    Emitter *functions = emitter_new(arena);
    write_functions(functions, textbook, fast);

    Emitter *e = emitter_new(arena);
    raw(e, "/* %s - generated by cnnc %s: %s. Do not edit.", comment_text(arena, base_name(file)), CNNC_VERSION,
        comment_text(arena, command));
    raw(e, " *\n *   %s on %dx%s -> %dx%s, for %s", layer_operator(arena, l), g->batch,
        shape_text(arena, &l->input[0]->output), g->batch, shape_text(arena, &l->output), fast->target->name);
    raw(e, " *\n * Every pass as the textbook has it and as -O2 does; "
        "main checks one against the other and times the latter.");
    raw(e, " * Build: clang-19 %s %s %s -lm -o kernel", common_flags, fast->target->flags,
        comment_text(arena, base_name(file)));
    raw(e, " */\n%s", head_text);
    write_helpers(e, emitter_text(functions), fast->target);
    append_body(e, functions);
    raw(e, "%s", main_helpers);
    raw(e, "/* kernel [SECONDS]: for each kernel's time, half a second unless told. */");
    raw(e, "int main(int argc, char **argv)\n{");
    raw(e, "    const double seconds = argc > 1 ? atof(argv[1]) : 0.5;\n    int wrong = 0;");
    write_rooms(e, textbook, textbook);
    write_rooms(e, fast, textbook);
    raw(e, "\n    /* both on the same numbers */");
    write_calls(e, textbook);
    write_calls(e, fast);
    write_comparisons(e, textbook, fast);
    raw(e, "%s", "");
    write_times(e, fast);
    raw(e, "    return wrong > 0;\n}");
    return break_lines(arena, emitter_text(e));
}
