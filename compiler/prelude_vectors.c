/* prelude_vectors.c - small functions of fast code: vectors of L lanes, exponentials, random numbers, sums of planes.
 *
 * Each is written to a generated file only where kernels use it (prelude.c). One that uses another stands behind it.
 */
#include "prelude.h"

const Helper vector_helpers[] = {
    {"mask ",
     "typedef __typeof__((vec){0} < (vec){0}) mask;       /* what comparing two vectors gives: -1 or 0 a lane */"},
    {"zero", "static const vec zero = {0};"},
    {"load(", "static inline vec load(const real *p) { return *(const vec *)p; }"},
    {"load_unaligned(",
     "static inline vec load_unaligned(const real *p) { vec v; memcpy(&v, p, sizeof v); return v; }"},
    {"store(", "static inline void store(real *p, vec v) { *(vec *)p = v; }"},
    {"stream(",
     "/* Stores past the caches what is much larger than these; finish_streams() before another thread reads it. */\n"
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
                     "    typedef signed char answers __attribute__((vector_size(L)));    /* clang's: char */\n"
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
     "/* exp(x) = 2^n exp(r), n whole, |r| <= ln 2 / 2; exp(r) by a polynomial (Cephes, expf): 1 unit in the last\n"
     " * place. Beyond -87.3 and 88.3, where a float ends, x counts as these. */\n"
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
     "static inline vec uniform_lanes(uint64_t seed, uint32_t stream, uint64_t step, uint32_t first,\n"
     "                                uint32_t distance)\n"
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
     "/* For each lane, the mean of a plane's pixels and the sum of squares about it (Chan, Golub and LeVeque 1983,\n"
     " * section 3). One pass, about a pivot near the mean: that of the middle row. If it is off by e, rows * columns\n"
     " * * e * e is taken off the squares in the end: at most `rows` times what remains, mostly far less. Rows lie\n"
     " * `pitch` pixels apart. */\n"
     "static inline void plane_statistics(const real *plane, int rows, int columns, int pitch, real *mean,\n"
     "                                    real *squares)\n"
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
     "/* For each lane, the sum over a plane of the gradient dy of a batch norm's output, and that of dy *\n"
     " * (x - mean): floats along a row, double from row to row. With a shift, only where the ReLU behind it was\n"
     " * open. Rows lie `pitch` pixels apart. */\n"
     "static inline void gradient_sums(const real *dy, int dy_pitch, const real *x, int x_pitch, int rows,\n"
     "                                 int columns, const real *mean, const real *scale,\n"
     "                                 const real *inverse_deviation, const real *shift, real *sums, real *products)\n"
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
    {NULL, NULL},
};
