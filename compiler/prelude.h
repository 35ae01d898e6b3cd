/* prelude.h - a small function of generated code, and how one knows that it is called. */
#ifndef PRELUDE_H
#define PRELUDE_H

#include <stddef.h>

typedef struct {
    const char *use;            /* stands in the text that uses it: "load("; NULL ends a table                       */
    const char *definition;     /* C; uses only helpers before it                                                    */
} Helper;

extern const Helper vector_helpers[];           /* prelude_vectors.c  */
extern const Helper winograd_helpers[];         /* prelude_winograd.c: behind those, which they use */

#endif
