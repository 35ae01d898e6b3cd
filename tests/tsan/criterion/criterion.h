/* criterion.h - as much of Criterion as test_loader.c uses, for `make tsan`: Criterion itself does not run under the
 * thread sanitizer. Tests run one after the other before main; the first that fails ends the program with status 1. */
#ifndef CRITERION_STAND_IN_H
#define CRITERION_STAND_IN_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define Test(SUITE, NAME, ...)                                                                                         \
    static void SUITE##_##NAME(void);                                                                                  \
    __attribute__((constructor)) static void run_##SUITE##_##NAME(void)                                                \
    {                                                                                                                  \
        printf(#SUITE "/" #NAME "\n");                                                                                 \
        fflush(stdout);                                                                                                \
        SUITE##_##NAME();                                                                                              \
    }                                                                                                                  \
    static void SUITE##_##NAME(void)

#define cr_assert(CONDITION, ...)                                                                                      \
    do {                                                                                                               \
        if (!(CONDITION)) {                                                                                            \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #CONDITION);                                                     \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#define cr_assert_eq(A, B, ...)          cr_assert((A) == (B))
#define cr_assert_neq(A, B, ...)         cr_assert((A) != (B))
#define cr_assert_lt(A, B, ...)          cr_assert((A) < (B))
#define cr_assert_null(A, ...)           cr_assert((A) == NULL)
#define cr_assert_float_eq(A, B, E, ...) cr_assert(fabs((double)(A) - (double)(B)) <= (E))
#define cr_assert_arr_eq(A, B, SIZE, ...) cr_assert(memcmp(A, B, SIZE) == 0)

int main(void) { return 0; }

#endif
