/* fast_networks.h - small random networks for test_fast.c: each family of fast kernels over many shapes. */
#ifndef FAST_NETWORKS_H
#define FAST_NETWORKS_H

#include <stdbool.h>

typedef enum {
    FAST_CONV, FAST_STRIDED, FAST_GROUPED, FAST_POINTWISE, FAST_WIDE, FAST_POOL, FAST_NORM, FAST_GRAPH, FAST_FLAT,
    FAST_KINDS
} FastKind;

extern const char *const fast_kind_name[FAST_KINDS];

/* The text of a network called "fast": number `number` of its kind, the same every time. A `smooth` one has neither
 * ReLUs nor max-pools, at whose kinks rounding decides; owned by the caller. */
char *fast_network(FastKind, int number, bool smooth);

#endif
