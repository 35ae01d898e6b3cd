/* similar.h - kernels that differ only in sizes: one function, with these sizes as arguments. */
#ifndef SIMILAR_H
#define SIMILAR_H

#include "step.h"

typedef struct { const char *value, *place; } Size;     /* "352", and where it stands in the text */
typedef LIST(Size) Sizes;

/* The text of a function, "parameters\nbody", with a mark for each size; the sizes in order. */
const char *without_sizes(Arena *, const char *text, Sizes *);

/* The text with names[i] in place of size i; NULL: it stays. */
const char *with_sizes(Arena *, const char *text, const char *const *names);

/* Of `count` functions of one text without sizes, `text` that of the first: names[i] for each size that is not the same
 * in all; sizes that are equal in each function have one name. position[]: the first size of each name. Returns the
 * number of names; -1: more than `most`. */
int name_sizes(Arena *, const char *text, const Sizes *members, int count, const char **names, int *position, int most);

#endif
