/* source.h - what source.c and the formats of data sets (source_*.c) share.
 *
 * To add a format: a file source_NAME.c with its cnn_format, and a row in source.c's table.
 */
#ifndef CNN_SOURCE_H
#define CNN_SOURCE_H

#include "data.h"

#include <limits.h>

/* A split while it is open. open() fills in all but `picked`; source.c zeroes it before and frees labels and names. */
struct cnn_source {
    size_t        size;                         /* pictures of the files: the split has picked_count of them          */
    int32_t      *labels;                       /* of all of them; NULL: they have none                               */
    int           channels, height, width;      /* of every picture; 0, 0, 0: they differ                             */
    const char *const *class_names;             /* constants, or NULL: names                                          */
    char        **names;                        /* owned, or NULL                                                     */
    int           name_count;
    char          place[PATH_MAX];              /* the folder or file that it was opened from                         */
    char          text[PATH_MAX + 256];
    int           validation;                   /* the validation split that was asked for is one of the data's own  */
    int           has_validation;               /* the data has one, which is not what the test split is              */
    int           whole;                        /* the data is of one piece: there is no test split                   */
    void         *data;                         /* the format's own                                                   */
    int         (*read)(const cnn_source *, size_t i, cnn_picture *);   /* as cnn_source_read, i below size           */
    int         (*path)(const cnn_source *, size_t i, char path[PATH_MAX]);     /* of picture i's file; NULL: no files   */
    void        (*close)(cnn_source *);         /* releases data; called also after an open() that failed            */
    size_t       *picked, picked_count;         /* which pictures the split has, ascending; NULL: all                 */
};

typedef struct {
    const char *what;                           /* "the four IDX files of MNIST": for the list of what is known       */
    int  (*holds)(const char *place);           /* whether a folder or file is of this format; prints nothing         */
    int  (*open)(cnn_source *, const char *place, cnn_split split, const cnn_wish *wish);  /* 0 after cnn_error       */
} cnn_format;

extern const cnn_format cnn_format_idx, cnn_format_cifar10, cnn_format_cifar100, cnn_format_array, cnn_format_folder;
int cnn_synthetic_open(cnn_source *, cnn_split split, const cnn_wish *wish);

/* Picture files, and folders in which they lie; whether they lie in a folder. */
int cnn_files_open(cnn_source *, const char *const *files, int count, const cnn_wish *wish);
int cnn_files_lie_in(const char *folder);

/* ---- source.c: for all formats ----------------------------------------------------------------------------------- */

/* How an open() begins: zeroed room for the format's own data, and what reads and releases it. NULL after cnn_error. */
void *cnn_source_begin(cnn_source *, const char *place, size_t bytes,
                       int (*read)(const cnn_source *, size_t, cnn_picture *), void (*close)(cnn_source *));

/* Room for `size` labels and the size itself. 1, or 0 after cnn_error. */
int cnn_source_room(cnn_source *, const char *place, size_t size);

/* Whether a label is below the network's classes; 0 after cnn_error that names the picture. */
int cnn_source_fits_label(const cnn_wish *, const char *file, size_t picture, long long label);

/* Whether pictures of the source's channels x height x width can be shown to the network; 0 after cnn_error with both
 * shapes. `place` is where they were found. */
int cnn_source_fits(const cnn_source *, const char *place, const cnn_wish *wish);

/* "FOLDER/NAME" into path; whether such a file or folder is there. */
int cnn_source_has(const char *folder, const char *name, char path[PATH_MAX]);

#endif
