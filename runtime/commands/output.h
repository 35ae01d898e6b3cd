/* output.h - what commands show and write: lines of results, the progress bar, times, arrays for numpy. */
#ifndef CNN_OUTPUT_H
#define CNN_OUTPUT_H

#include "files/save.h"
#include "options.h"
#include "trainer.h"

#include <stdio.h>

/* ---- output.c: result lines -------------------------------------------------------------------------------------- */

typedef struct { int values, heading; struct json_t *object; FILE *table; } cnn_line;

cnn_line cnn_line_begin(const cnn_options *, const char *result);
cnn_line cnn_line_table(FILE *out, int heading);                /* a row of a CSV table; heading 1: of the columns' names */
void cnn_line_real(cnn_line *, const char *name, double value, int decimals);      /* decimals < 0: 1.2e-08 */
void cnn_line_integer(cnn_line *, const char *name, long long value);
void cnn_line_text(cnn_line *, const char *name, const char *value);
void cnn_line_part(cnn_line *, const char *name, const char *total_name, long long value, long long total);
void cnn_line_spread(cnn_line *, const char *name, double min, double median);
void cnn_line_end(cnn_line *);

/* ---- progress.c, profile.c, npy.c -------------------------------------------------------------------------------- */

typedef struct { int on, pictures; long first, total; double started, drawn; char label[64]; } cnn_progress;

cnn_progress cnn_progress_begin(const char *label, long done, long total, int pictures);
void cnn_progress_show(cnn_progress *, long done, const char *figures);
void cnn_progress_end(cnn_progress *);

double cnn_seconds(void);

/* Seconds that each kernel took so far, `last` the end of the one before; and the watch that adds to them. */
typedef struct { double *seconds, last; } cnn_profile;
cnn_watch cnn_profile_watch(cnn_profile *);

/* Begins an array of shape[0..rank) as numpy's .npy, format 1.0, C order: its values follow by cnn_save_put. As cnn_save_begin. */
int cnn_npy_begin(cnn_save *, const char *path, int rank, const int *shape);
/* Writes a whole one. 1, or 0 after cnn_error. */
int cnn_npy_write(const char *path, const cnn_real *values, int rank, const int *shape);

#endif
