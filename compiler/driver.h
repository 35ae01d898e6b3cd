/* driver.h - from C text to the files that the user asked for. */
#ifndef DRIVER_H
#define DRIVER_H

#include "options.h"

/* The name under which the generated .c includes its header: "lenet.h". */
const char *header_name(Arena *, const Options *, const char *network);

/* Writes the .c and .h, or compiles them; false after an error. Nothing half-written is left behind: every file is
 * made under a temporary name and renamed when it is complete. */
/* header NULL: the source stands alone. */
bool write_output(Arena *, Diag *, const Options *, const char *network, const char *source, const char *header);

/* cc.c: compiles c_file to `result`, as o->kind says; false after an error, and then
 * there may be a useless `result`. */
bool run_compiler(Arena *, Diag *, const Options *, const char *c_file, const char *result);

#endif
