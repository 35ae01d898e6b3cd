/* picture_list.h - the paths of picture files that a source has: what source_folder.c and source_files.c share.
 *
 * The list is the source's `data`, made by cnn_list_open; cnn_list_read, cnn_list_path and
 * cnn_list_close are its functions.
 */
#ifndef CNN_PICTURE_LIST_H
#define CNN_PICTURE_LIST_H

#include "source.h"

typedef struct {
    char   *paths;              /* one after the other, each with its '\0' */
    size_t  used, room;
    size_t *at;                 /* where path i begins */
    size_t  count, at_room;
    int     inside;             /* paths are from s->place on */
    const cnn_decoder *const *decoders;
    int     channels;           /* 1 or 3: what decoded pictures are made */
} cnn_pictures;

/* Makes s->data an empty list, and sets the source's functions. NULL after cnn_error. */
cnn_pictures *cnn_list_open(cnn_source *, const cnn_wish *, int inside);

/* Adds a path. 1, or 0 after cnn_error. */
int  cnn_list_add(cnn_source *, const char *path);

/* Whether the network and the program can do with what was added; 0 after cnn_error. */
int  cnn_list_check(const cnn_source *, const cnn_wish *);

int  cnn_list_read(const cnn_source *, size_t i, cnn_picture *);
int  cnn_list_path(const cnn_source *, size_t i, char path[PATH_MAX]);
void cnn_list_close(cnn_source *);

/* Whether a name ends as those of picture files do: .jpg, .jpeg or .png, in any case. */
int  cnn_is_picture(const char *name);

/* The entries of a folder but those that begin with a dot, in the order of their bytes, to be released by
 * cnn_entries_free; -1 where it cannot be read. */
struct dirent;
int  cnn_entries(const char *folder, struct dirent ***entries);
void cnn_entries_free(struct dirent **entries, int count);

#endif
