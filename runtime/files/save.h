/* save.h - files that are there whole, or not at all: written aside, synced, and renamed into their place.
 *
 *     cnn_save s;
 *     if (cnn_save_begin(&s, path))
 *         cnn_save_put(&s, bytes, length);             any number of times; after a failure they do nothing
 *     if (!cnn_save_end(&s)) ...                       reported
 *
 * PATH.tmp is written, synced to the disk, renamed over PATH, and the folder is synced, so PATH is at every moment a
 * complete file: the old one or the new one. A PATH.tmp that a kill left behind is overwritten by the next save.
 * PATH must not be anything else than a regular file.
 */
#ifndef CNN_SAVE_H
#define CNN_SAVE_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

/* A save under way. `what` is the step that failed first, NULL while all is well. */
typedef struct {
    const char      *path;                      /* must outlive the save                                             */
    char            *temporary;
    int              file;
    const char      *what;
    int              cause;                     /* errno of that step, or CNN_SAVE_NO_MEMORY                         */
    struct sigaction before;                    /* what SIGXFSZ did: a limit on file sizes is an error here          */
} cnn_save;

enum { CNN_SAVE_NO_MEMORY = -1 };

/* Each 1, or 0 once something failed. cnn_save_end must follow a begin, failed or not; it alone reports (one cnn_error
 * that names PATH), and after a failure PATH.tmp is gone and PATH as it was, but for a failing sync of the folder,
 * after which PATH is the new file and may be lost with the power. */
int cnn_save_begin(cnn_save *, const char *path);
int cnn_save_put(cnn_save *, const void *bytes, size_t length);
int cnn_save_over(cnn_save *, uint64_t at, const void *bytes, size_t length);     /* in place of bytes put before     */
int cnn_save_fail(cnn_save *, const char *what, int cause);                       /* notes the first failure; 0       */
int cnn_save_end(cnn_save *);

/* In the place of cnn_save_end where the file is no longer wanted: PATH stays as it was, and nothing is reported. */
void cnn_save_drop(cnn_save *);

/* A whole file at once. */
int cnn_save_bytes(const char *path, const void *bytes, size_t length);

/* Makes `to` another name of the file `from`, or a copy of it where the file system knows no links, in the place of an
 * old `to`. 1; 1 too where there is no `from`; or 0 after cnn_error. */
int cnn_save_link(const char *from, const char *to);

#endif
