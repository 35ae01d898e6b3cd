/* test_random.c - Philox against its authors' numbers, and the distributions made of it. */
#include "cnn.h"
#include "data/data.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Random123 1.14.0, tests/kat_vectors, "philox4x32 10": counter, key, result. */
Test(random, philox_matches_the_published_answers)
{
    static const struct { uint32_t counter[4], key[2], out[4]; } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        cnn_philox(known[i].counter, known[i].key, out);
        cr_assert_arr_eq(out, known[i].out, sizeof out, "vector %zu", i);
        memcpy(out, known[i].counter, sizeof out);
        cnn_philox(out, known[i].key, out);             /* in place */
        cr_assert_arr_eq(out, known[i].out, sizeof out, "vector %zu in place", i);
    }
}

/* The contract that a kernel relies on which draws four masks at once. */
Test(random, uniform_is_word_index_of_a_block)
{
    const uint64_t seed = 0x123456789abcdef0u, step = 0x1122334455667788u;

    for (uint32_t index = 0; index < 64; index++) {
        uint32_t counter[4] = {index / 4, 7, (uint32_t)step, (uint32_t)(step >> 32)}, out[4];
        cnn_philox(counter, (uint32_t[]){(uint32_t)seed, (uint32_t)(seed >> 32)}, out);
        cr_assert_eq(cnn_uniform(seed, 7, step, index), (float)(out[index % 4] >> 8) * 0x1p-24f);
    }
}

Test(random, uniform_uses_every_argument_and_stays_in_range)
{
    float u = cnn_uniform(1, 2, 3, 4);

    cr_assert_eq(u, cnn_uniform(1, 2, 3, 4));
    cr_assert_neq(u, cnn_uniform(2, 2, 3, 4));
    cr_assert_neq(u, cnn_uniform(1 + (1ull << 32), 2, 3, 4));
    cr_assert_neq(u, cnn_uniform(1, 3, 3, 4));
    cr_assert_neq(u, cnn_uniform(1, 2, 4, 4));
    cr_assert_neq(u, cnn_uniform(1, 2, 3 + (1ull << 32), 4));
    cr_assert_neq(u, cnn_uniform(1, 2, 3, 5));

    double sum = 0, squares = 0, products = 0, last = 0;
    const int n = 200000;
    for (int i = 0; i < n; i++) {
        double v = cnn_uniform(9, 0, 0, (uint32_t)i);
        cr_assert(v >= 0 && v < 1 && v * 0x1p24 == floor(v * 0x1p24));
        sum += v;
        squares += v * v;
        products += (v - 0.5) * (last - 0.5);
        last = v;
    }
    cr_assert_float_eq(sum / n, 0.5, 0.003);                    /* 4.6 standard errors of 0.2887 / sqrt(n) */
    cr_assert_float_eq(squares / n, 1.0 / 3, 0.003);
    cr_assert_float_eq(products / n, 0, 0.001);                 /* neighbours are not correlated */
}

Test(random, fill_uniform_fills_the_interval_and_never_reaches_its_end)
{
    enum { N = 300001 };
    cnn_real *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    int bins[10] = {0};

    cnn_fill_uniform(x, N, 0.3, 5, 1);
    cnn_fill_uniform(y, 1001, 0.3, 5, 1);
    cr_assert_arr_eq(x, y, 1001 * sizeof *x, "a shorter fill is the beginning of a longer one");
    cnn_fill_uniform(y, N, 0.3, 5, 2);
    cr_assert_neq(x[0], y[0], "streams differ");
    cnn_fill_uniform(y, N, 0.3, 6, 1);
    cr_assert_neq(x[0], y[0], "seeds differ");
    for (int i = 0; i < N; i++) {
        cr_assert(x[i] >= (cnn_real)-0.3 && x[i] < (cnn_real)0.3);
        bins[(int)((x[i] + 0.3) / 0.6 * 10 < 9 ? (x[i] + 0.3) / 0.6 * 10 : 9)]++;
    }
    double chi = 0;
    for (int b = 0; b < 10; b++)
        chi += (bins[b] - N / 10.0) * (bins[b] - N / 10.0) / (N / 10.0);
    cr_assert_lt(chi, 33.7, "chi-square %g of 9 degrees of freedom: p < 1e-4", chi);
    cnn_fill(x, N, -1.5);
    for (int i = 0; i < N; i++)
        cr_assert_eq(x[i], -1.5f);
    free(x);
    free(y);
}

Test(random, fill_normal_is_normal)
{
    enum { N = 400000 };
    cnn_real *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    double    moment[5] = {0};
    int       below[7] = {0};

    cnn_fill_normal(x, N, 2, 11, 3);
    cnn_fill_normal(y, 1003, 2, 11, 3);
    cr_assert_arr_eq(x, y, 1003 * sizeof *x);
    for (int i = 0; i < N; i++) {
        double z = x[i] / 2;
        cr_assert(isfinite(z) && fabs(z) < 6.7);
        for (int k = 1; k <= 4; k++)
            moment[k] += pow(z, k) / N;
        for (int k = 0; k < 7; k++)
            below[k] += z < k - 3;
    }
    cr_assert_float_eq(moment[1], 0, 0.008);                    /* five standard errors each */
    cr_assert_float_eq(moment[2], 1, 0.012);
    cr_assert_float_eq(moment[3], 0, 0.03);
    cr_assert_float_eq(moment[4], 3, 0.08);
    for (int k = 0; k < 7; k++)
        cr_assert_float_eq(below[k] / (double)N, 0.5 * erfc((3 - k) / sqrt(2)), 0.004, "below %d deviations", k - 3);
    double products = 0;                                        /* the two of a pair are independent */
    for (int i = 0; i < N; i += 2)
        products += (double)x[i] * x[i + 1] / 4 / (N / 2);
    cr_assert_float_eq(products, 0, 0.012);
    free(x);
    free(y);
}

Test(random, shuffle_is_a_permutation_of_seed_and_epoch)
{
    size_t a[1000], b[1000], seen[1000] = {0};

    cnn_shuffle(a, 1000, 7, 2);
    for (int i = 0; i < 1000; i++)
        cr_assert(a[i] < 1000 && !seen[a[i]]++);
    memset(b, 0xff, sizeof b);                                  /* what was there does not matter */
    cnn_shuffle(b, 1000, 7, 2);
    cr_assert_arr_eq(a, b, sizeof a);
    cnn_shuffle(b, 1000, 7, 3);
    cr_assert(memcmp(a, b, sizeof a) != 0);
    cnn_shuffle(b, 1000, 8, 2);
    cr_assert(memcmp(a, b, sizeof a) != 0);
    cnn_shuffle(b, 1, 8, 2);
    cr_assert_eq(b[0], 0);
    b[0] = 5;
    cnn_shuffle(b, 0, 8, 2);
    cr_assert_eq(b[0], 5);
}

/* All 24 orders of four come equally often. */
Test(random, shuffle_is_uniform)
{
    int    times[256] = {0}, orders = 0;
    double chi = 0;

    for (uint32_t epoch = 0; epoch < 24000; epoch++) {
        size_t p[4];
        cnn_shuffle(p, 4, 3, epoch);
        times[p[0] << 6 | p[1] << 4 | p[2] << 2 | p[3]]++;
    }
    for (int i = 0; i < 256; i++)
        if (times[i]) {
            orders++;
            chi += (times[i] - 1000.0) * (times[i] - 1000.0) / 1000;
        }
    cr_assert_eq(orders, 24);
    cr_assert_lt(chi, 57, "chi-square %g of 23 degrees of freedom: p < 1e-4", chi);
}
