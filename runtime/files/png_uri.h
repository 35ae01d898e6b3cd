/* png_uri.h - small pictures inside HTML, as PNG in a data URI. */
#ifndef CNN_PNG_URI_H
#define CNN_PNG_URI_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Writes "data:image/png;base64,..." of height x width pixels, each of 1 byte (grey) or 3 (red, green, blue), row by
 * row. 1, or 0 where memory is short (no message); errors of `out` are for the caller to see (ferror). */
int cnn_png_write_uri(FILE *out, const uint8_t *pixels, int channels, int height, int width);

#endif
