/* support.h - what every suite uses: the tree's paths, child processes, files, goldens.
 *
 * Tests run with the repository root as working directory (make test sees to it). BUILD is the build folder, so
 * BUILD "/cnnc" is the compiler under test. Scratch files go below BUILD "/tests/scratch/<test>".
 */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stddef.h>

/* What a command did. `status` is its exit status, or 128 + n when signal n ended it. */
typedef struct { int status; char *out, *err; } Outcome;

/* Runs a shell command line (printf format); out and err are owned by the caller, released with outcome_free. */
Outcome run_command(const char *format, ...) __attribute__((format(printf, 1, 2)));
void    outcome_free(Outcome *);

/* A fresh, empty folder for one test: BUILD "/tests/scratch/<name>"; the string is owned by the caller. */
char   *scratch_folder(const char *name);

char   *read_whole(const char *path, size_t *length);   /* NULL when it cannot be read; NUL-terminated             */
void    write_whole(const char *path, const void *bytes, size_t length);        /* fails the test when it cannot   */

/* Compares with a committed file and fails the test with a diff; with UPDATE_GOLDENS=1 in the environment it rewrites
 * the file instead. */
void    expect_golden(const char *golden_path, const char *actual);

#endif
