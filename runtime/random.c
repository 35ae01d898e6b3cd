/* random.c - Philox 4x32-10 and what the runtime draws from it: initial weights, dropout masks, the order of pictures.
 *
 * Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011), section 3.3. A counter-based
 * generator is a function, not a state: word i of a stream is the same whoever asks, in whatever order and on however
 * many threads, and a resumed run needs nothing but its seed and step number.
 *
 * Each use has its own domain, mixed into the key, so that no two of them ever see the same words:
 *     dropout         key = seed           counter = {index / 4, stream, step low, step high}, word index % 4
 *     initialisation  key = seed ^ INIT    counter = {block low, block high, stream, 0}
 *     shuffling       key = seed ^ SHUFFLE counter = {block low, block high, epoch, 0}
 *     synthetic pictures, random changes      in source_synthetic.c and augment.c
 */
#include "cnn.h"
#include "data/data.h"

#include <math.h>

#define INIT    0x696e697400000000u     /* "init" */
#define SHUFFLE 0x7368756600000000u     /* "shuf" */

void cnn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;      /* the golden ratio */
        k1 += 0xBB67AE85u;      /* sqrt(3) - 1 */
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Four words of a domain: block `block` of stream `stream`. */
static void draw(uint64_t key, uint32_t stream, uint64_t block, uint32_t out[4])
{
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), stream, 0};
    const uint32_t words[2] = {(uint32_t)key, (uint32_t)(key >> 32)};

    cnn_philox(counter, words, out);
}

/* The 24 bits that a float holds exactly. */
static float to_unit(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

float cnn_uniform(uint64_t seed, uint32_t stream, uint64_t step, uint32_t index)
{
    const uint32_t counter[4] = {index / 4, stream, (uint32_t)step, (uint32_t)(step >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t       words[4];

    cnn_philox(counter, key, words);
    return to_unit(words[index % 4]);
}

/* 2u - 1 is a multiple of 2^-23 below 1, so its product with bound rounds to less than bound. */
void cnn_fill_uniform(cnn_real *out, size_t count, double bound, uint64_t seed, uint32_t stream)
{
    uint32_t words[4];

    for (size_t i = 0; i < count; i++) {
        if (i % 4 == 0)
            draw(seed ^ INIT, stream, i / 4, words);
        out[i] = (cnn_real)((2.0 * to_unit(words[i % 4]) - 1.0) * bound);
    }
}

/* Box and Muller (1958): u, v uniform in (0, 1] give two independent normal numbers, sqrt(-2 ln u) cos 2 pi v and
 * sqrt(-2 ln u) sin 2 pi v. The largest is sqrt(2 * 32 ln 2) = 6.66 deviations. */
void cnn_fill_normal(cnn_real *out, size_t count, double deviation, uint64_t seed, uint32_t stream)
{
    uint32_t words[4];
    double   pair[2];

    for (size_t i = 0; i < count; i++) {
        if (i % 4 == 0)
            draw(seed ^ INIT, stream, i / 4, words);
        if (i % 2 == 0) {
            double radius = sqrt(-2.0 * log((words[i % 4] + 1.0) * 0x1p-32));
            double angle = 2.0 * M_PI * (words[i % 4 + 1] * 0x1p-32);

            pair[0] = radius * cos(angle);
            pair[1] = radius * sin(angle);
        }
        out[i] = (cnn_real)(deviation * pair[i % 2]);
    }
}

void cnn_fill(cnn_real *out, size_t count, double value)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (cnn_real)value;
}

/* Fisher-Yates in Durstenfeld's form. A 64-bit word modulo i is biased by i / 2^64 at most: nothing. */
void cnn_shuffle(size_t *index, size_t count, uint64_t seed, uint32_t epoch)
{
    for (size_t i = 0; i < count; i++)
        index[i] = i;
    for (size_t i = count; i-- > 1;) {
        uint32_t words[4];

        draw(seed ^ SHUFFLE, epoch, i, words);
        size_t j = ((uint64_t)words[1] << 32 | words[0]) % (i + 1);
        size_t swap = index[i];

        index[i] = index[j];
        index[j] = swap;
    }
}
