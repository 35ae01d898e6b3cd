/* peak.c - what this machine can do: its multiply-add peak and its memory bandwidth, on one thread and on several.
 *
 *     clang-19 -O3 -ffp-contract=fast -fopenmp FLAGS peak.c -o peak && ./peak THREADS
 *
 * with the FLAGS of the target that is to be measured. Peak: independent fused multiply-adds in registers, as many as
 * hide their latency and leave room for the operands. Bandwidth: STREAM's triad (McCalpin 1995) on arrays larger than
 * the last cache, counting what the loop reads and writes. The best of some short repetitions, as one line of JSON.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__AVX512F__)
enum { LANES = 16, SUMS = 28 };         /* of 32 registers */
#elif defined(__AVX__)
enum { LANES = 8, SUMS = 12 };          /* of 16 registers */
#else
enum { LANES = 4, SUMS = 12 };
#endif
typedef float vec __attribute__((vector_size(LANES * sizeof(float))));

enum { TURNS = 400000, REPEAT = 9, LENGTH = 1 << 24 };

static float multiply_add(int turns)
{
    vec sum[SUMS] = {0}, x = {0}, y = {0};
    float total = 0;
    x += 0.999f, y += 0.001f;
    for (int t = 0; t < turns; t++) {
        __asm__ volatile("" : "+x"(x), "+x"(y));        /* the compiler knows nothing of the operands */
#pragma GCC unroll 28
        for (int i = 0; i < SUMS; i++)
            sum[i] = sum[i] * x + y;
    }
    for (int i = 0; i < SUMS; i++)
        total += sum[i][0];
    return total;
}

/* 10^9 floating-point operations a second. */
static double peak(int threads)
{
    double best = 0;
    volatile float sink = 0;
    for (int r = 0; r < REPEAT; r++) {
        double begin = omp_get_wtime();
#pragma omp parallel num_threads(threads)
        {
            float own = multiply_add(TURNS);
#pragma omp critical
            sink = sink + own;
        }
        double rate = 2e-9 * LANES * SUMS * TURNS * threads / (omp_get_wtime() - begin);
        best = rate > best ? rate : best;
    }
    return best;
}

/* 10^9 bytes a second. */
static double bandwidth(int threads, float *a, const float *b, const float *c)
{
    double best = 0;
    for (int r = 0; r < REPEAT; r++) {
        double begin = omp_get_wtime();
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int i = 0; i < LENGTH; i++)
            a[i] = b[i] + 0.5f * c[i];
        double rate = 3e-9 * sizeof(float) * LENGTH / (omp_get_wtime() - begin);
        best = rate > best ? rate : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 0;
    float *a = malloc(sizeof(float) * LENGTH), *b = malloc(sizeof(float) * LENGTH), *c = malloc(sizeof(float) * LENGTH);
    if (threads < 1 || !a || !b || !c) {
        fprintf(stderr, "usage: peak THREADS\n");
        return 2;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int i = 0; i < LENGTH; i++)
        a[i] = 0, b[i] = (float)(i % 7), c[i] = (float)(i % 5);
    double one = peak(1), all = threads > 1 ? peak(threads) : one;
    printf("{\"threads\": %d, \"peak_one\": %.1f, \"peak\": %.1f, ", threads, one, all);
    printf("\"bandwidth_one\": %.1f, \"bandwidth\": %.1f}\n", bandwidth(1, a, b, c), bandwidth(threads, a, b, c));
    free(a);
    free(b);
    free(c);
    return 0;
}
