/* target.h - instruction sets as data. */
#ifndef TARGET_H
#define TARGET_H

typedef struct Target {
    const char *name;           /* as in --target=                                              */
    const char *summary;
    const char *flags;          /* for the C compiler, beside common_flags                      */
    int         lanes;          /* floats in a vector register                                  */
    int         registers;      /* vector registers                                             */
    int         l1, l2, l3;     /* bytes of data cache: first and second of a core, last of all                   */
} Target;

extern const char common_flags[];       /* for every target: fused multiply-add allowed, no -ffast-math */

const Target *find_target(const char *name);    /* NULL: unknown; "native" detects this machine's        */

#endif
