/* error.h - how the runtime reports: one clear line on stderr, then a status up to main, which alone exits.
 *
 *     cnn_error("%s: the file ends after %zu of %zu bytes\nfetch it again", path, got, want);
 * prints
 *     lenet: error: data/train-images-idx3-ubyte: the file ends after 812 of 47040016 bytes
 *       help: fetch it again
 *
 * The '\n' of the format begins the help. Control characters that come in through the arguments (names out of a
 * hostile file) are printed as '?', so they can neither add lines nor reach the terminal. Each call is one write to
 * stderr. The program's name is the one it was started by.
 */
#ifndef CNN_ERROR_H
#define CNN_ERROR_H

void cnn_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cnn_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));      /* "lenet: warning: ..."      */
void cnn_note(const char *format, ...) __attribute__((format(printf, 1, 2)));      /* "  ...": a row of a table that
                                                                                      follows an error or warning */

/* For one of several processes that do the same and would all report the same (ranks.h): from cnn_error_keep on, what
 * goes to stderr is kept in memory. cnn_error_print_kept prints what was kept since the last call, headed by `who`
 * ("rank 2: "), and cnn_error_drop_kept forgets it. Without cnn_error_keep nothing happens. */
void cnn_error_keep(void);
void cnn_error_print_kept(const char *who);
void cnn_error_drop_kept(void);
#endif
