/* target.c - instruction sets as data: what a generator needs to know of one, and the flags that switch it on.
 *
 * `native` is decided by the processor's feature bits, never by -march=native: an old compiler does not know a new
 * processor by name, but every one knows the x86-64 levels (x86-64 psABI, "Micro-Architecture Levels").
 */
#include "target.h"

#include <stdbool.h>
#include <string.h>

/* Contraction is `on`, not `fast`: a product and a sum of one expression become one FMA wherever they stand. Under
 * `fast` the vector body of a loop and its scalar remainder are contracted differently, and which pictures fall into
 * the remainder depends on the number of threads. */
const char common_flags[] = "-O3 -ffp-contract=on -fopenmp";

enum { KB = 1 << 10, MB = 1 << 20 };

/* Caches are the smallest that processors of the level have in common, not those of this machine: the C depends on the
 * target alone. */
static const Target targets[] = {
    {"x86-64-v4", "AVX-512", "-march=x86-64-v4 -mprefer-vector-width=512", 16, 32, 32 * KB, 1 * MB, 16 * MB},
    {"x86-64-v3", "AVX2 and FMA", "-march=x86-64-v3", 8, 16, 32 * KB, 256 * KB, 8 * MB},
    {"aarch64", "NEON; compiled with clang, which needs the target's C library", "--target=aarch64-linux-gnu", 4, 32,
     32 * KB, 256 * KB, 4 * MB},
    {"generic", "any processor that the C compiler builds for", "", 4, 16, 32 * KB, 256 * KB, 4 * MB},
};

enum { TARGETS = sizeof targets / sizeof *targets };

static const Target *native_target(void)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    if (v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return find_target("x86-64-v4");
    if (v3)
        return find_target("x86-64-v3");
#elif defined __aarch64__
    return find_target("aarch64");
#endif
    return find_target("generic");
}

const Target *find_target(const char *name)
{
    if (strcmp(name, "native") == 0)
        return native_target();
    for (int i = 0; i < TARGETS; i++)
        if (strcmp(name, targets[i].name) == 0)
            return &targets[i];
    return NULL;
}
