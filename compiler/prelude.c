/* prelude.c - the small functions that kernels call, written at the top of a generated file that uses them.
 *
 * Requires: the text of all kernels. Establishes: definitions of just those helpers that it uses. What fast code alone
 * has is in prelude_vectors.c and prelude_winograd.c; here are the writer and what both levels have.
 */
#include "prelude.h"

#include <string.h>

#include "unit.h"

/* ---- fast code --------------------------------------------------------------------------------------------------- */

static const char flush_text[] =
    "/* Denormal numbers slow arithmetic down a hundredfold and are worth nothing here: inside the parallel regions\n"
    " * below they are flushed to zero, and each thread's mode is restored behind. */\n"
    "#if defined __SSE__\n"
    "#include <xmmintrin.h>\n"
    "static inline unsigned flush_denormals(void)\n"
    "{\n"
    "    const unsigned mode = _mm_getcsr();\n"
    "    _mm_setcsr(mode | 0x8040);\n"
    "    return mode;\n"
    "}\n"
    "static inline void restore_denormals(unsigned mode) { _mm_setcsr(mode); }\n"
    "#elif defined __aarch64__\n"
    "static inline unsigned flush_denormals(void)\n"
    "{\n"
    "    unsigned long mode;\n"
    "    __asm__ volatile(\"mrs %0, fpcr\" : \"=r\"(mode));\n"
    "    __asm__ volatile(\"msr fpcr, %0\" : : \"r\"(mode | 1ul << 24));\n"
    "    return (unsigned)mode;\n"
    "}\n"
    "static inline void restore_denormals(unsigned mode)\n"
    "{\n"
    "    __asm__ volatile(\"msr fpcr, %0\" : : \"r\"((unsigned long)mode));\n"
    "}\n"
    "#else\n"
    "static inline unsigned flush_denormals(void) { return 0; }\n"
    "static inline void restore_denormals(unsigned mode) { (void)mode; }\n"
    "#endif\n";

/* Lane l of vector i goes to lane i of vector l: log2(L) rounds, each of which puts the lanes of vectors i and i + L/2
 * by turns into vectors 2i and 2i + 1 (a perfect shuffle of the L * L elements). */
static void write_transpose(Emitter *e, int lanes)
{
    const char *halves[2] = {"", ""};
    for (int i = 0; i < lanes; i++)
        halves[2 * i / lanes] = arena_printf(emitter_arena(e), "%s, %d, %d", halves[2 * i / lanes], i, i + lanes);
    raw(e, "static inline void transpose(vec x[L])\n{");
    raw(e, "    for (int round = 1; round < L; round *= 2) {");
    raw(e, "        vec y[L];");
    raw(e, "#pragma GCC unroll %d", lanes / 2);
    raw(e, "        for (int i = 0; i < L / 2; i++) {");
    raw(e, "            y[2 * i] = __builtin_shufflevector(x[i], x[i + L / 2]%s);", halves[0]);
    raw(e, "            y[2 * i + 1] = __builtin_shufflevector(x[i], x[i + L / 2]%s);", halves[1]);
    raw(e, "        }");
    raw(e, "#pragma GCC unroll %d", lanes);
    raw(e, "        for (int i = 0; i < L; i++)");
    raw(e, "            x[i] = y[i];");
    raw(e, "    }\n}");
}

/* A helper is written where kernels use it, or one behind it that is written. */
static void write_used(Emitter *e, const char *kernels)
{
    const Helper *const tables[] = {vector_helpers, winograd_helpers};
    Arena *arena = emitter_arena(e);
    LIST(const Helper *) all = {0};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const Helper *h = tables[t]; h->use; h++)
            APPEND(arena, &all, h);
    bool *used = NEW_ARRAY(arena, bool, all.count);
    for (int i = all.count - 1; i >= 0; i--) {
        used[i] = strstr(kernels, all.items[i]->use) != NULL;
        for (int k = i + 1; k < all.count && !used[i]; k++)
            used[i] = used[k] && strstr(all.items[k]->definition, all.items[i]->use);
    }
    for (int i = 0; i < all.count; i++)
        if (used[i])
            raw(e, "%s", all.items[i]->definition);
}

static void write_vectors(Emitter *e, const char *kernels, const Target *target)
{
    raw(e, "enum { L = %d };             /* lanes: channels side by side in a vector */", target->lanes);
    raw(e, "#pragma GCC diagnostic ignored \"-Wpsabi\"      /* no vec crosses to another file, whatever the ABI */");
    raw(e, "typedef real vec __attribute__((vector_size(L * sizeof(real))));");
    write_used(e, kernels);
    if (strstr(kernels, "transpose("))
        write_transpose(e, target->lanes);
    if (strstr(kernels, "#pragma omp for"))         /* called in a region */
        raw(e, "\n%s", flush_text);
}

/* ---- both levels ------------------------------------------------------------------------------------------------- */

static const Helper helpers[] = {
    {"merge_ranks(",
     "/* Batch norms may be over the pictures of all ranks. Each thread of a region calls these; they return the\n"
     " * number of ranks whose values are in the result: mean and squares about it of `members` values a channel, or\n"
     " * sums. */\n"
     "static inline int merge_ranks(const cnn_exchange *exchange, real *mean, real *squares, int count,\n"
     "                              double members)\n"
     "{\n"
     "    if (!exchange || !exchange->merge)\n"
     "        return 1;\n"
     "#pragma omp master\n"
     "    exchange->merge(exchange->context, mean, squares, count, members);\n"
     "#pragma omp barrier\n"
     "    return exchange->ranks;\n"
     "}"},
    {"sum_ranks(",
     "static inline int sum_ranks(const cnn_exchange *exchange, real *sums, int count)\n"
     "{\n"
     "    if (!exchange || !exchange->sum)\n"
     "        return 1;\n"
     "#pragma omp master\n"
     "    exchange->sum(exchange->context, sums, count);\n"
     "#pragma omp barrier\n"
     "    return exchange->ranks;\n"
     "}"},
    {"inside(", "static inline int inside(int i, int n) { return i >= 0 && i < n; }"},
    {"real_exp(",
     "static inline real real_exp(real x) { return sizeof x == sizeof(float) ? expf((float)x) : exp(x); }"},
    {"real_log(",
     "static inline real real_log(real x) { return sizeof x == sizeof(float) ? logf((float)x) : log(x); }"},
    {"real_tanh(",
     "static inline real real_tanh(real x) { return sizeof x == sizeof(float) ? tanhf((float)x) : tanh(x); }"},
    {"real_sqrt(",
     "static inline real real_sqrt(real x) { return sizeof x == sizeof(float) ? sqrtf((float)x) : sqrt(x); }"},
    {"real_pow(", "static inline real real_pow(real x, real y) "
                  "{ return sizeof x == sizeof(float) ? powf((float)x, (float)y) : pow(x, y); }"},
    {"wanted(",
     "/* q[n][k]: the probability that class k of picture n should have (cnn_target; NULL: 1 for its label alone). */\n"
     "static inline real wanted(const cnn_target *target, const int32_t *labels, int n, int k, int classes)\n"
     "{\n"
     "    real q = k == labels[n];\n"
     "    if (target && target->other)\n"
     "        q = target->share[n] * q + (1 - (real)target->share[n]) * (k == target->other[n]);\n"
     "    return target ? (1 - (real)target->smoothing) * q + (real)target->smoothing / classes : q;\n"
     "}"},
};

void write_helpers(Emitter *e, const char *kernels, const Target *target)
{
    if (target)
        write_vectors(e, kernels, target);
    for (size_t i = 0; i < sizeof helpers / sizeof *helpers; i++)
        if (strstr(kernels, helpers[i].use))
            raw(e, "%s", helpers[i].definition);
    raw(e, "%s", "");
}

