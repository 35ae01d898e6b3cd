/* names.h - the names of a network's classes, which its weights remember. */
#ifndef CNN_NAMES_H
#define CNN_NAMES_H

typedef struct { char **items; int count; } cnn_names;          /* count 0: nothing is known; zeroed at first       */

enum { CNN_NAME = 255 };                        /* bytes of a name at most, as of a folder                          */

/* A copy of the name behind those that are there. 1, or 0 after cnn_error. */
int  cnn_names_add(cnn_names *, const char *name);

/* As JSON, ["cat", "dog"], malloc'ed; *text is NULL where there are none, or one is not
 * UTF-8. 1, or 0 after cnn_error. */
int  cnn_names_text(const cnn_names *, char **text);

/* Reads such a text in the place of what is there. 1, or 0 after cnn_error where it is none, or has more than `most`
 * names, or a name that is too long. `place` is where it stands, for the message. */
int  cnn_names_read(cnn_names *, const char *text, int most, const char *place);

void cnn_names_free(cnn_names *);
#endif
