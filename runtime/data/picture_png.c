/* picture_png.c - PNG files, through libpng (https://www.w3.org/TR/png-3/): linked by cnnc --with=png.
 *
 * Palettes become colours, 1, 2 and 4 bits become 8, of 16 bits the upper 8 are kept, transparency is dropped. For 8
 * bits and less these are the pixels of Pillow's convert("RGB") or convert("L").
 * libpng reports an error by a jump (setjmp); its allocations are freed after it, and it prints nothing.
 */
#include "data.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#define FETCH "fetch the file again, or save it anew"

/* A file being read, and where its rows go. */
typedef struct {
    const char    *path;
    const uint8_t *file;
    size_t         length, at;
    cnn_picture   *picture;
    int            status;
    uint8_t       *rows;        /* interleaved: one row, or all of an interlaced picture */
} Reader;

static void on_error(png_structp png, png_const_charp text)
{
    Reader *r = png_get_error_ptr(png);

    r->status = cnn_picture_fail(r->picture, FETCH, "%.700s: the PNG is damaged: %s", r->path, text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep out, size_t count)
{
    Reader *r = png_get_io_ptr(png);

    if (count > r->length - r->at)
        png_error(png, "the file ends early");
    memcpy(out, r->file + r->at, count);
    r->at += count;
}

/* Asks libpng for 8 bits of grey or of red, green, blue; the number of channels. */
static int choose_output(png_structp png, png_infop info)
{
    int type = png_get_color_type(png, info);

    png_set_expand(png);
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    return type & PNG_COLOR_MASK_COLOR ? 3 : 1;
}

/* Everything that may jump. */
static void read_all(png_structp png, png_infop info, Reader *r)
{
    png_set_read_fn(png, r, read_bytes);
    png_read_info(png, info);
    const size_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    int channels = choose_output(png, info), passes = png_set_interlace_handling(png);

    png_read_update_info(png, info);
    r->status = cnn_picture_decoded(r->picture, r->path, channels, height, width);
    if (r->status != 1)
        return;
    const size_t row = width * (size_t)channels;
    r->rows = malloc(passes > 1 ? row * height : row);
    if (!r->rows) {
        cnn_picture_fail(r->picture, "close other programs", "%.700s: no memory to decode it", r->path);
        r->status = -1;
        return;
    }
    if (png_get_rowbytes(png, info) != row)
        png_error(png, "its rows have an unexpected size");
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < height; y++) {
            uint8_t *at = passes > 1 ? r->rows + y * row : r->rows;
            png_read_row(png, at, NULL);
            if (pass == passes - 1)
                cnn_picture_row(r->picture, at, y);
        }
    png_read_end(png, NULL);
}

/* Where the jump ends: it leaves no variable of this function undefined. */
static void read_guarded(png_structp png, png_infop info, Reader *r)
{
    if (setjmp(png_jmpbuf(png)) == 0)
        read_all(png, info, r);
}

static int decode(const char *path, const uint8_t *file, size_t length, cnn_picture *picture)
{
    Reader r = {path, file, length, 0, picture, 0, NULL};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;

    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        cnn_picture_fail(picture, "close other programs", "%.700s: no memory to decode it", path);
        return -1;
    }
    read_guarded(png, info, &r);
    png_destroy_read_struct(&png, &info, NULL);
    free(r.rows);
    return r.status;
}

const cnn_decoder cnn_decoder_png = {"png", decode};
