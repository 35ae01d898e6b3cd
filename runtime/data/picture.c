/* picture.c - one picture in memory: its room, its cause of failure, and reading it from a file by the decoder that the
 * file calls for; declared and described in data.h.
 */
#include "data.h"
#include "files/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cnn_picture_fail(cnn_picture *p, const char *mend, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(p->cause, sizeof p->cause, format, arguments);
    va_end(arguments);
    p->mend = mend;
    return 0;
}

int cnn_picture_size(cnn_picture *p, int channels, int height, int width, cnn_kind kind)
{
    const size_t count = (size_t)channels * (size_t)height * (size_t)width;
    const size_t needed = count * (kind == CNN_PICTURE_BYTES ? 1 : sizeof *p->values);
    void  *had = kind == CNN_PICTURE_BYTES ? (void *)p->bytes : (void *)p->values;

    p->channels = channels;
    p->height = height;
    p->width = width;
    if (had && needed <= p->room)
        return 1;
    free(p->bytes);
    free(p->values);
    p->bytes = NULL;
    p->values = NULL;
    p->room = needed;
    had = malloc(needed);
    if (kind == CNN_PICTURE_BYTES)
        p->bytes = had;
    else
        p->values = had;
    if (had)
        return 1;
    cnn_picture_fail(p, "close other programs", "no memory for a picture of %dx%dx%d", channels, height, width);
    return -1;
}

void cnn_picture_free(cnn_picture *p)
{
    free(p->bytes);
    free(p->values);
    free(p->file);
    *p = (cnn_picture){0};
}

int cnn_picture_decoded(cnn_picture *p, const char *path, int channels, size_t height, size_t width)
{
    const size_t longest = 65535, most = (size_t)1 << 25;

    if (height > longest || width > longest || height * width > most)
        return cnn_picture_fail(p, "make the picture smaller", 
                                "%.700s: %zu x %zu pixels are more than the %zu that are read", path, height, width,
                                most);
    return cnn_picture_size(p, channels, (int)height, (int)width, CNN_PICTURE_BYTES);
}

void cnn_picture_row(cnn_picture *p, const uint8_t *row, size_t y)
{
    const size_t width = (size_t)p->width, plane = width * (size_t)p->height;
    uint8_t     *out = p->bytes + y * width;

    if (p->channels == 1) {
        memcpy(out, row, width);
        return;
    }
    for (size_t x = 0; x < width; x++, row += 3) {
        out[x] = row[0];
        out[plane + x] = row[1];
        out[2 * plane + x] = row[2];
    }
}

int cnn_picture_file_room(cnn_picture *p, size_t bytes)
{
    if (bytes <= p->file_room)
        return 1;
    free(p->file);
    p->file = malloc(bytes);
    p->file_room = p->file ? bytes : 0;
    if (p->file)
        return 1;
    cnn_picture_fail(p, "close other programs", "no memory to read a picture of %zu bytes", bytes);
    return -1;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* How the files of a format begin, for all formats that there is a decoder for. */
static const struct { const char *name, *title, *magic; size_t length; } magics[] = {
    {"jpeg", "a JPEG", "\xff\xd8\xff", 3}, {"png", "a PNG", "\x89PNG\r\n\x1a\n", 8}};

enum { MAGICS = sizeof magics / sizeof *magics, LARGEST_FILE = 64 << 20 };

/* The whole file into p->file. 1, 0 or -1 with a cause. */
static int read_file(cnn_picture *p, const char *path, size_t *length)
{
    char     why[CNN_WHY];
    uint64_t size = 0;
    int      status = 1, file = cnn_file_open(path, &size, why);

    if (file < 0)
        return cnn_picture_fail(p, "check the name and its permissions", "%.700s: %s", path, why);
    if (size == 0 || size > LARGEST_FILE) {
        status = cnn_picture_fail(p, "fetch the file again, or take it out of the folder", "%.700s: %s", path,
                                  size ? "more than 64 MiB are no picture" : "the file is empty");
    } else {
        status = cnn_picture_file_room(p, (size_t)size);
    }
    if (status == 1 && !cnn_file_read(file, p->file, (size_t)size, 0, why))
        status = cnn_picture_fail(p, "check the disk, or fetch the file again", "%.700s: %s", path, why);
    close(file);
    *length = (size_t)size;
    return status;
}

/* Red, green, blue to grey in place: ITU-R 601-2 in 16 bits, as Pillow computes it. */
static void make_grey(cnn_picture *p)
{
    const size_t plane = (size_t)p->height * (size_t)p->width;
    const uint8_t *red = p->bytes, *green = red + plane, *blue = green + plane;

    for (size_t i = 0; i < plane; i++)
        p->bytes[i] = (uint8_t)((19595u * red[i] + 38470u * green[i] + 7471u * blue[i] + 0x8000) >> 16);
    p->channels = 1;
}

int cnn_picture_read(cnn_picture *p, const char *path, const cnn_decoder *const *decoders, int channels)
{
    size_t length = 0;
    int    format = 0, status = read_file(p, path, &length);

    if (status != 1)
        return status;
    while (format < MAGICS &&
           (length < magics[format].length || memcmp(p->file, magics[format].magic, magics[format].length) != 0))
        format++;
    if (format == MAGICS)
        return cnn_picture_fail(p, "take it out of the folder, or fetch it again", 
                                "%.700s: neither a JPEG nor a PNG", path);
    while (decoders && *decoders && strcmp((*decoders)->name, magics[format].name) != 0)
        decoders++;
    if (!decoders || !*decoders)
        return cnn_picture_fail(p, format == 0 ? "compile the trainer with cnnc --with=jpeg"
                                               : "compile the trainer with cnnc --with=png",
                                "%.700s: %s, which this trainer cannot decode", path, magics[format].title);
    status = (*decoders)->decode(path, p->file, length, p);
    if (status == 1 && channels == 1 && p->channels == 3)
        make_grey(p);
    return status;
}
