/* prelude.c - the small functions that kernels call: vectors, exponentials, flushed denormals; written on demand at the top
 * of a generated file.
 *
 * Requires: the text of all kernels. Establishes: definitions of just those helpers that it uses.
 */
#include <string.h>

#include "unit.h"

/* ---- small functions that kernels call, written only where one does ---------------------------------------------- */

typedef struct { const char *use, *definition; } Helper;

/* Of fast code. A definition that uses another stands after it; each is written only where kernels use it. */
static const Helper vector_helpers[] = {
    {"mask ", "typedef __typeof__((vec){0} < (vec){0}) mask;       /* what comparing two vectors gives: -1 or 0 a lane */"},
    {"zero", "static const vec zero = {0};"},
    {"load(", "static inline vec load(const real *p) { return *(const vec *)p; }"},
    {"load_unaligned(", "static inline vec load_unaligned(const real *p) { vec v; memcpy(&v, p, sizeof v); return v; }"},
    {"store(", "static inline void store(real *p, vec v) { *(vec *)p = v; }"},
    {"stream(",
     "/* Stores past the caches what is much larger than these; finish_streams() before another thread may read it. */\n"
     "#if defined __clang__ && defined __SSE__\n"
     "static inline void stream(real *p, vec v) { __builtin_nontemporal_store(v, (vec *)p); }\n"
     "static inline void finish_streams(void) { __builtin_ia32_sfence(); }\n"
     "#else\n"
     "static inline void stream(real *p, vec v) { store(p, v); }\n"
     "static inline void finish_streams(void) {}\n"
     "#endif"},
    {"splat(", "static inline vec splat(real x) { return x - (vec){0}; }"},
    {"choose(", "static inline vec choose(mask m, vec a, vec b) { return (vec)((m & (mask)a) | (~m & (mask)b)); }"},
    {"larger(", "static inline vec larger(vec a, vec b) { return choose(a < b, b, a); }     /* NaN in a stays */"},
    {"where_positive(", "static inline vec where_positive(vec a, vec b) { return choose(a <= 0, (vec){0}, b); }"},
    {"vec_sqrt(",
     "static inline vec vec_sqrt(vec x)\n"
     "{\n"
     "#if defined __clang__\n"
     "    return __builtin_elementwise_sqrt(x);\n"
     "#else\n"
     "    for (int l = 0; l < L; l++)\n"
     "        x[l] = (real)sqrt(x[l]);\n"
     "    return x;\n"
     "#endif\n"
     "}"},
    {"sgd_step(",
     "/* One step of SGD for a vector of W, whose gradient is dW and whose momentum is V. */\n"
     "static inline void sgd_step(real *W, real *V, vec dW, const cnn_rule *rule)\n"
     "{\n"
     "    const vec w = load(W), g = dW + rule->weight_decay * w;\n"
     "    const vec v = rule->momentum * load(V) + g;\n"
     "    store(V, v);\n"
     "    store(W, w - rule->lr * (rule->nesterov ? g + rule->momentum * v : v));\n"
     "}"},
    {"learn(",
     "/* A vector g of a complete gradient: stored, or with a rule the step at once, which leaves dW alone. */\n"
     "static inline void learn(real *dW, real *W, real *V, vec g, const cnn_rule *rule)\n"
     "{\n"
     "    if (rule)\n"
     "        sgd_step(W, V, g, rule);\n"
     "    else\n"
     "        store(dW, g);\n"
     "}"},
    {"learn_or_stream(",
     "static inline void learn_or_stream(real *dW, real *W, real *V, vec g, const cnn_rule *rule)\n"
     "{\n"
     "    if (rule)\n"
     "        sgd_step(W, V, g, rule);\n"
     "    else\n"
     "        stream(dW, g);\n"
     "}"},
    {"prefetch(", "static inline void prefetch(const real *p) { __builtin_prefetch(p); }"},
    {"prefetch_second(",
     "/* Into the second cache: the first has no room for it yet. */\n"
     "static inline void prefetch_second(const real *p) { __builtin_prefetch(p, 0, 2); }"},
    {"prefetch_pixels(",
     "/* Asks for pixels that will be read or stored soon, each `step` behind the one before. */\n"
     "static inline void prefetch_pixels(const real *p, int pixels, int step)\n"
     "{\n"
     "    for (int i = 0; i < pixels; i++)\n"
     "        prefetch(p + i * step * L);\n"
     "}"},
    {"sum_lanes(", "static inline real sum_lanes(vec v)\n"
     "{\n"
     "    for (int half = L / 2; half > 0; half /= 2)\n"
     "        for (int l = 0; l < half; l++)\n"
     "            v[l] += v[l + half];\n"
     "    return v[0];\n"
     "}"},
    {"byte_vec ", "typedef unsigned char byte_vec __attribute__((vector_size(L)));      /* a byte a lane: 0 to 255 */"},
    {"load_bytes(", "static inline vec load_bytes(const unsigned char *p)\n"
                    "{\n"
                    "    return __builtin_convertvector(*(const byte_vec *)p, vec);\n"
                    "}"},
    {"store_bytes(", "static inline void store_bytes(unsigned char *p, vec v)\n"
                     "{\n"
                     "    *(byte_vec *)p = __builtin_convertvector(v, byte_vec);\n"
                     "}"},
    {"equal_bytes(", "static inline mask equal_bytes(const unsigned char *p, int value)\n"
                     "{\n"
                     "    typedef signed char answers __attribute__((vector_size(L)));    /* clang's are char, unsigned on arm */\n"
                     "    const byte_vec all = (unsigned char)value - (byte_vec){0};\n"
                     "    return __builtin_convertvector((answers)(*(const byte_vec *)p == all), mask);\n"
                     "}"},
    {"lanes_below(",
     "static inline mask lanes_below(int n)\n"
     "{\n"
     "    vec lane = zero;\n"
     "    for (int l = 0; l < L; l++)\n"
     "        lane[l] = (real)l;\n"
     "    return lane < splat((real)n);\n"
     "}"},
    {"float_vec", "typedef float float_vec __attribute__((vector_size(L * sizeof(float))));"},
    {"word_vec", "typedef uint32_t word_vec __attribute__((vector_size(L * sizeof(uint32_t))));"},
    {"vec_exp(",
     "/* exp(x) = 2^n exp(r), n whole, |r| <= ln 2 / 2; exp(r) by a polynomial (Cephes, expf): 1 unit in the last place.\n"
     " * Beyond -87.3 and 88.3, where a float ends, x counts as these. */\n"
     "static inline vec vec_exp(vec x)\n"
     "{\n"
     "    if (sizeof(real) != sizeof(float)) {\n"
     "        for (int l = 0; l < L; l++)\n"
     "            x[l] = (real)exp(x[l]);\n"
     "        return x;\n"
     "    }\n"
     "    const vec whole = splat(0x1.8p23f);         /* added, it leaves no bit for a fraction */\n"
     "    x = choose(x < splat(-87.3f), splat(-87.3f), choose(x > splat(88.3f), splat(88.3f), x));\n"
     "    const vec shifted = x * splat(1.44269504f) + whole, n = shifted - whole;\n"
     "    const vec r = x - n * splat(0.693359375f) + n * splat(2.12194440e-4f);\n"
     "    vec sum = splat(1.9875691500e-4f);\n"
     "    sum = sum * r + splat(1.3981999507e-3f);\n"
     "    sum = sum * r + splat(8.3334519073e-3f);\n"
     "    sum = sum * r + splat(4.1665795894e-2f);\n"
     "    sum = sum * r + splat(1.6666665459e-1f);\n"
     "    sum = sum * r + splat(5.0000001201e-1f);\n"
     "    sum = sum * (r * r) + r + splat(1);\n"
     "    const word_vec n_bits = (word_vec)__builtin_convertvector(shifted, float_vec) << 23;\n"
     "    return sum * __builtin_convertvector((float_vec)(n_bits + 0x3f800000u), vec);\n"
     "}"},
    {"vec_tanh(",
     "/* Near 0 a polynomial (Cephes, tanhf), elsewhere 1 - 2 / (exp(2 |x|) + 1) with the sign of x. */\n"
     "static inline vec vec_tanh(vec x)\n"
     "{\n"
     "    if (sizeof(real) != sizeof(float)) {\n"
     "        for (int l = 0; l < L; l++)\n"
     "            x[l] = (real)tanh(x[l]);\n"
     "        return x;\n"
     "    }\n"
     "    const vec size = choose(x < zero, -x, x), z = x * x;\n"
     "    vec sum = splat(-5.70498872745e-3f);\n"
     "    sum = sum * z + splat(2.06390887954e-2f);\n"
     "    sum = sum * z - splat(5.37397155531e-2f);\n"
     "    sum = sum * z + splat(1.33314422036e-1f);\n"
     "    sum = sum * z - splat(3.33332819422e-1f);\n"
     "    const vec far = 1 - 2 / (vec_exp(size + size) + 1);\n"
     "    return choose(size < splat(0.625f), sum * z * x + x, choose(x < zero, -far, far));\n"
     "}"},
    {"uniform_lanes(",
     "/* cnn_uniform of the elements first, first + distance, ...: Philox 4x32-10, a lane an element. */\n"
     "static inline vec uniform_lanes(uint64_t seed, uint32_t stream, uint64_t step, uint32_t first, uint32_t distance)\n"
     "{\n"
     "    typedef uint64_t product_vec __attribute__((vector_size(L * sizeof(uint64_t))));\n"
     "    word_vec index = {0};\n"
     "    for (uint32_t l = 0; l < L; l++)\n"
     "        index[l] = first + l * distance;\n"
     "    word_vec c0 = index >> 2, c1 = stream - (word_vec){0}, c2 = (uint32_t)step - (word_vec){0};\n"
     "    word_vec c3 = (uint32_t)(step >> 32) - (word_vec){0};\n"
     "    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);\n"
     "    for (int round = 0; round < 10; round++) {\n"
     "        const product_vec a = __builtin_convertvector(c0, product_vec) * 0xD2511F53u;\n"
     "        const product_vec b = __builtin_convertvector(c2, product_vec) * 0xCD9E8D57u;\n"
     "        c0 = __builtin_convertvector(b >> 32, word_vec) ^ c1 ^ k0;\n"
     "        c1 = __builtin_convertvector(b, word_vec);\n"
     "        c2 = __builtin_convertvector(a >> 32, word_vec) ^ c3 ^ k1;\n"
     "        c3 = __builtin_convertvector(a, word_vec);\n"
     "        k0 += 0x9E3779B9u;\n"
     "        k1 += 0xBB67AE85u;\n"
     "    }\n"
     "    index &= 3;\n"
     "    const word_vec word = ((word_vec)(index == 0) & c0) | ((word_vec)(index == 1) & c1) |\n"
     "                          ((word_vec)(index == 2) & c2) | ((word_vec)(index == 3) & c3);\n"
     "    return __builtin_convertvector(word >> 8, vec) * splat((real)0x1p-24);\n"
     "}"},
    {"clear_border(",
     "/* Zeros around the picture of a plane whose first pixel, border included, is p. */\n"
     "static inline void clear_border(real *p, int height, int width, int top, int bottom, int left, int right)\n"
     "{\n"
     "    const int row = left + width + right;\n"
     "    for (int i = 0; i < top * row; i++)\n"
     "        store(p + i * L, zero);\n"
     "    for (int h = top; h < top + height; h++) {\n"
     "        for (int j = 0; j < left; j++)\n"
     "            store(p + (h * row + j) * L, zero);\n"
     "        for (int j = left + width; j < row; j++)\n"
     "            store(p + (h * row + j) * L, zero);\n"
     "    }\n"
     "    for (int i = (top + height) * row; i < (top + height + bottom) * row; i++)\n"
     "        store(p + i * L, zero);\n"
     "}"},
    {"wide", "typedef double wide __attribute__((vector_size(L * sizeof(double))));"},
    {"widen(", "#define widen(v) __builtin_convertvector(v, wide)"},
    {"narrow(", "#define narrow(v) __builtin_convertvector(v, vec)"},
    {"plane_statistics(",
     "/* For each lane, the mean of a plane's pixels and the sum of squares about it (Chan, Golub and LeVeque 1983, section 3).\n"
     " * One pass, about a pivot near the mean: that of the middle row. If it is off by e, rows * columns * e * e is taken off\n"
     " * the squares in the end: at most `rows` times what remains, mostly far less. Rows lie `pitch` pixels apart. */\n"
     "static inline void plane_statistics(const real *plane, int rows, int columns, int pitch, real *mean, real *squares)\n"
     "{\n"
     "    vec pivot = zero;\n"
     "    for (int j = 0; j < columns; j++)\n"
     "        pivot += load(plane + (rows / 2 * pitch + j) * L);\n"
     "    pivot /= splat(columns);\n"
     "    wide total = {0}, total_squares = {0};\n"
     "    for (int i = 0; i < rows; i++) {\n"
     "        vec sum[4] = {zero, zero, zero, zero}, square[4] = {zero, zero, zero, zero};\n"
     "        for (int j = 0; j + 4 <= columns; j += 4)\n"
     "#pragma GCC unroll 4\n"
     "            for (int t = 0; t < 4; t++) {\n"
     "                const vec d = load(plane + (i * pitch + j + t) * L) - pivot;\n"
     "                sum[t] += d;\n"
     "                square[t] += d * d;\n"
     "            }\n"
     "        for (int j = columns / 4 * 4; j < columns; j++) {\n"
     "            const vec d = load(plane + (i * pitch + j) * L) - pivot;\n"
     "            sum[0] += d;\n"
     "            square[0] += d * d;\n"
     "        }\n"
     "        total += widen((sum[0] + sum[1]) + (sum[2] + sum[3]));\n"
     "        total_squares += widen((square[0] + square[1]) + (square[2] + square[3]));\n"
     "    }\n"
     "    total /= (double)(rows * columns);\n"
     "    store(mean, narrow(widen(pivot) + total));\n"
     "    store(squares, narrow(total_squares - total * total * (double)(rows * columns)));\n"
     "}"},
    {"gradient_sums(",
     "/* For each lane, the sum over a plane of the gradient dy of a batch norm's output, and that of dy * (x - mean): floats along\n"
     " * a row, double from row to row. With a shift, only where the ReLU behind it was open. Rows lie `pitch` pixels apart. */\n"
     "static inline void gradient_sums(const real *dy, int dy_pitch, const real *x, int x_pitch, int rows, int columns,\n"
     "                                 const real *mean, const real *scale, const real *inverse_deviation, const real *shift,\n"
     "                                 real *sums, real *products)\n"
     "{\n"
     "    const vec m = load(mean), factor = shift ? load(scale) * load(inverse_deviation) : zero;\n"
     "    const vec gate = shift ? load(shift) : splat(1);\n"
     "    wide total = {0}, total_products = {0};\n"
     "    for (int i = 0; i < rows; i++) {\n"
     "        vec sum[4] = {zero, zero, zero, zero}, product[4] = {zero, zero, zero, zero};\n"
     "        int j = 0;\n"
     "        for (; j + 4 <= columns; j += 4)\n"
     "#pragma GCC unroll 4\n"
     "            for (int t = 0; t < 4; t++) {\n"
     "                const vec apart = load(x + (i * x_pitch + j + t) * L) - m;\n"
     "                const vec d = where_positive(apart * factor + gate, load(dy + (i * dy_pitch + j + t) * L));\n"
     "                sum[t] += d;\n"
     "                product[t] += d * apart;\n"
     "            }\n"
     "        for (; j < columns; j++) {\n"
     "            const vec apart = load(x + (i * x_pitch + j) * L) - m;\n"
     "            const vec d = where_positive(apart * factor + gate, load(dy + (i * dy_pitch + j) * L));\n"
     "            sum[0] += d;\n"
     "            product[0] += d * apart;\n"
     "        }\n"
     "        total += widen((sum[0] + sum[1]) + (sum[2] + sum[3]));\n"
     "        total_products += widen((product[0] + product[1]) + (product[2] + product[3]));\n"
     "    }\n"
     "    store(sums, narrow(total));\n"
     "    store(products, narrow(total_products));\n"
     "}"},
    /* Winograd F(4x4, 3x3) and F(2x2, 5x5) at the points 0, 1, -1, 1/2, -2, infinity, one direction of each transform:
     * kernels/winograd.h */
    {"winograd_input(",
     "/* B' d: six pixels -> six points. */\n"
     "static inline void winograd_input(vec d[6])\n"
     "{\n"
     "    const vec p = d[4] - d[2], q = d[3] - d[1], sum = d[3] + d[2], difference = d[3] - d[2];\n"
     "    d[0] = d[0] - d[2] + p + 1.5 * q;\n"
     "    d[5] = d[5] - d[3] - q + 1.5 * p;\n"
     "    d[1] = p + q + 1.5 * sum;\n"
     "    d[2] = p - q + 1.5 * difference;\n"
     "    d[3] = p + 2 * q;\n"
     "    d[4] = p - 0.5 * q;\n"
     "}"},
    {"winograd_filter(",
     "/* G g: three taps -> six points. */\n"
     "static inline void winograd_filter(const vec g[3], vec u[6])\n"
     "{\n"
     "    const vec even = (g[0] + g[2]) * (real)(1 / 3.0), odd = g[1] * (real)(1 / 3.0);\n"
     "    u[0] = g[0];\n"
     "    u[1] = even + odd;\n"
     "    u[2] = odd - even;\n"
     "    u[3] = (g[0] + 0.5 * g[1] + 0.25 * g[2]) * (real)(-16 / 15.0);\n"
     "    u[4] = (g[0] - 2 * g[1] + 4 * g[2]) * (real)(1 / 15.0);\n"
     "    u[5] = g[2];\n"
     "}"},
    {"winograd_output(",
     "/* A' m: six points -> four pixels. */\n"
     "static inline void winograd_output(const vec m[6], vec y[4])\n"
     "{\n"
     "    const vec sum = m[1] + m[2], difference = m[1] - m[2];\n"
     "    y[0] = m[0] + sum + (m[3] + m[4]);\n"
     "    y[1] = difference + 0.5 * m[3] - 2 * m[4];\n"
     "    y[2] = sum + 0.25 * m[3] + 4 * m[4];\n"
     "    y[3] = difference + m[5] + 0.125 * m[3] - 8 * m[4];\n"
     "}"},
    {"winograd_spread(",
     "/* A y: four pixels -> six points. */\n"
     "static inline void winograd_spread(const vec y[4], vec m[6])\n"
     "{\n"
     "    const vec even = y[0] + y[2], odd = y[1] + y[3];\n"
     "    m[0] = y[0];\n"
     "    m[1] = even + odd;\n"
     "    m[2] = even - odd;\n"
     "    m[3] = y[0] + 0.5 * y[1] + 0.25 * y[2] + 0.125 * y[3];\n"
     "    m[4] = y[0] - 2 * y[1] + 4 * y[2] - 8 * y[3];\n"
     "    m[5] = y[3];\n"
     "}"},
    {"winograd_gather(",
     "/* G' u: six points -> three taps. */\n"
     "static inline void winograd_gather(const vec u[6], vec g[3])\n"
     "{\n"
     "    const vec sum = (u[1] + u[2]) * (real)(1 / 3.0), difference = (u[1] - u[2]) * (real)(1 / 3.0);\n"
     "    const vec half = u[3] * (real)(16 / 15.0), two = u[4] * (real)(1 / 15.0);\n"
     "    g[0] = u[0] + difference - half + two;\n"
     "    g[1] = sum - 0.5 * half - 2 * two;\n"
     "    g[2] = difference - 0.25 * half + 4 * two + u[5];\n"
     "}"},
    {"winograd_filter_5(",
     "/* G g: five taps -> six points. */\n"
     "static inline void winograd_filter_5(const vec g[5], vec u[6])\n"
     "{\n"
     "    const vec even = (g[0] + g[2] + g[4]) * (real)(1 / 3.0), odd = (g[1] + g[3]) * (real)(1 / 3.0);\n"
     "    u[0] = g[0];\n"
     "    u[1] = even + odd;\n"
     "    u[2] = odd - even;\n"
     "    u[3] = (g[0] + 0.5 * g[1] + 0.25 * g[2] + 0.125 * g[3] + 0.0625 * g[4]) * (real)(-16 / 15.0);\n"
     "    u[4] = (g[0] - 2 * g[1] + 4 * g[2] - 8 * g[3] + 16 * g[4]) * (real)(1 / 15.0);\n"
     "    u[5] = g[4];\n"
     "}"},
    {"winograd_output_2(",
     "/* A' m: six points -> two pixels. */\n"
     "static inline void winograd_output_2(const vec m[6], vec y[2])\n"
     "{\n"
     "    y[0] = m[0] + (m[1] + m[2]) + (m[3] + m[4]);\n"
     "    y[1] = m[1] - m[2] + m[5] + 0.5 * m[3] - 2 * m[4];\n"
     "}"},
    {"winograd_spread_2(",
     "/* A y: two pixels -> six points. */\n"
     "static inline void winograd_spread_2(const vec y[2], vec m[6])\n"
     "{\n"
     "    m[0] = y[0];\n"
     "    m[1] = y[0] + y[1];\n"
     "    m[2] = y[0] - y[1];\n"
     "    m[3] = y[0] + 0.5 * y[1];\n"
     "    m[4] = y[0] - 2 * y[1];\n"
     "    m[5] = y[1];\n"
     "}"},
    {"winograd_gather_5(",
     "/* G' u: six points -> five taps. */\n"
     "static inline void winograd_gather_5(const vec u[6], vec g[5])\n"
     "{\n"
     "    const vec sum = (u[1] + u[2]) * (real)(1 / 3.0), difference = (u[1] - u[2]) * (real)(1 / 3.0);\n"
     "    const vec half = u[3] * (real)(16 / 15.0), two = u[4] * (real)(1 / 15.0);\n"
     "    g[0] = u[0] + difference - half + two;\n"
     "    g[1] = sum - 0.5 * half - 2 * two;\n"
     "    g[2] = difference - 0.25 * half + 4 * two;\n"
     "    g[3] = sum - 0.125 * half - 8 * two;\n"
     "    g[4] = difference - 0.0625 * half + 16 * two + u[5];\n"
     "}"},
};

static const char flush_text[] =
    "/* Denormal numbers slow arithmetic down a hundredfold and are worth nothing here: inside the parallel regions below they\n"
    " * are flushed to zero, and each thread's mode is restored behind. */\n"
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
    "static inline void restore_denormals(unsigned mode) { __asm__ volatile(\"msr fpcr, %0\" : : \"r\"((unsigned long)mode)); }\n"
    "#else\n"
    "static inline unsigned flush_denormals(void) { return 0; }\n"
    "static inline void restore_denormals(unsigned mode) { (void)mode; }\n"
    "#endif\n";

static const Helper helpers[] = {
    {"merge_ranks(",
     "/* Batch norms may be over the pictures of all ranks. Each thread of a region calls these; they return the number of ranks\n"
     " * whose values are in the result: mean and squares about it of `members` values a channel, or sums. */\n"
     "static inline int merge_ranks(const cnn_exchange *exchange, real *mean, real *squares, int count, double members)\n"
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
    {"real_exp(", "static inline real real_exp(real x) { return sizeof x == sizeof(float) ? expf((float)x) : exp(x); }"},
    {"real_log(", "static inline real real_log(real x) { return sizeof x == sizeof(float) ? logf((float)x) : log(x); }"},
    {"real_tanh(", "static inline real real_tanh(real x) { return sizeof x == sizeof(float) ? tanhf((float)x) : tanh(x); }"},
    {"real_sqrt(", "static inline real real_sqrt(real x) { return sizeof x == sizeof(float) ? sqrtf((float)x) : sqrt(x); }"},
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

/* Lane l of vector i goes to lane i of vector l: log2(L) rounds, each of which puts the lanes of vectors i and i + L/2 by
 * turns into vectors 2i and 2i + 1 (a perfect shuffle of the L * L elements). */
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

/* A helper is written when kernels or a helper behind it call it. */
static void write_vector_helpers(Emitter *e, const char *kernels, const Target *target)
{
    enum { HELPERS = sizeof vector_helpers / sizeof *vector_helpers };
    bool used[HELPERS];
    for (int i = HELPERS - 1; i >= 0; i--) {
        used[i] = strstr(kernels, vector_helpers[i].use) != NULL;
        for (int k = i + 1; k < HELPERS && !used[i]; k++)
            used[i] = used[k] && strstr(vector_helpers[k].definition, vector_helpers[i].use);
    }
    raw(e, "enum { L = %d };             /* lanes: channels side by side in a vector */", target->lanes);
    raw(e, "#pragma GCC diagnostic ignored \"-Wpsabi\"      /* no vec crosses to another file, whatever the ABI */");
    raw(e, "typedef real vec __attribute__((vector_size(L * sizeof(real))));");
    for (int i = 0; i < HELPERS; i++)
        if (used[i])
            raw(e, "%s", vector_helpers[i].definition);
    if (strstr(kernels, "transpose("))
        write_transpose(e, target->lanes);
    if (strstr(kernels, "#pragma omp for"))         /* called in a region */
        raw(e, "\n%s", flush_text);
}

void write_helpers(Emitter *e, const char *kernels, const Target *target)
{
    if (target)
        write_vector_helpers(e, kernels, target);
    for (size_t i = 0; i < sizeof helpers / sizeof *helpers; i++)
        if (strstr(kernels, helpers[i].use))
            raw(e, "%s", helpers[i].definition);
    raw(e, "%s", "");
}

