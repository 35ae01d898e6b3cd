/* picture_jpeg.c - JPEG files, through libjpeg-turbo: linked by cnnc --with=jpeg.
 *
 * Grey files give grey, others red, green, blue: the pixels of Pillow's convert("RGB"), with the accurate inverse
 * transform and smooth upsampling. CMYK and YCCK are converted as Pillow does, taking them for inverted, as Adobe
 * writes them. The orientation that EXIF notes is not applied, as in torchvision.
 * libjpeg reports an error by error_exit, which may not return: it jumps (setjmp), and nothing is printed. What libjpeg
 * only warns of (odd bytes between the parts) passes as in Pillow, but a file that ends early is refused.
 */
#include "data.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

enum {
    MEMORY = 128 << 20,         /* bytes that libjpeg may take: a progressive file is held whole */
    SCANS = 100,                /* of a progressive file, which has ten or so */
};

#define FETCH "fetch the file again, or save it anew"

/* A file being read: `errors` comes first, libjpeg hands it back. */
typedef struct {
    struct jpeg_error_mgr errors;
    jmp_buf      jump;
    const char  *path;
    cnn_picture *picture;
    int          status;
    uint8_t     *row;           /* interleaved */
} Reader;

static void on_error(j_common_ptr jpeg)
{
    Reader *r = (Reader *)jpeg->err;
    char    text[JMSG_LENGTH_MAX];

    jpeg->err->format_message(jpeg, text);
    r->status = cnn_picture_fail(r->picture, FETCH, "%.700s: the JPEG is damaged: %s", r->path, text);
    if (jpeg->err->msg_code == JERR_OUT_OF_MEMORY) {
        cnn_picture_fail(r->picture, "close other programs", "%.700s: no memory to decode it", r->path);
        r->status = -1;
    } else if (jpeg->err->msg_code == JERR_NO_BACKING_STORE) {
        cnn_picture_fail(r->picture, "make the picture smaller", "%.700s: decoding it takes more than %d MiB", r->path,
                         MEMORY >> 20);
    }
    longjmp(r->jump, 1);
}

/* Warnings have level -1. The one that the file ends early is an error here. */
static void on_message(j_common_ptr jpeg, int level)
{
    if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF)
        jpeg->err->error_exit(jpeg);
}

/* Called now and then: a file of a thousand scans would take long. */
static void on_progress(j_common_ptr jpeg)
{
    Reader *r = (Reader *)jpeg->err;

    if (((j_decompress_ptr)jpeg)->input_scan_number <= SCANS)
        return;
    r->status = cnn_picture_fail(r->picture, FETCH, "%.700s: the JPEG has more than %d scans", r->path, SCANS);
    longjmp(r->jump, 1);
}

/* As Pillow converts: x * y / 255, rounded. */
static uint8_t times(int x, int y)
{
    int product = x * y + 128;
    return (uint8_t)((product + (product >> 8)) >> 8);
}

/* A row of inks to red, green, blue, in place. */
static void mix_inks(uint8_t *row, size_t width)
{
    for (size_t x = 0; x < width; x++)
        for (size_t c = 0; c < 3; c++)
            row[3 * x + c] = (uint8_t)(row[4 * x + 3] - times(255 - row[4 * x + c], row[4 * x + 3]));
}

/* Everything that may jump. */
static void read_all(struct jpeg_decompress_struct *jpeg, Reader *r, const uint8_t *file, size_t length)
{
    jpeg->mem->max_memory_to_use = MEMORY;
    jpeg_mem_src(jpeg, file, (unsigned long)length);
    jpeg_read_header(jpeg, TRUE);
    jpeg->out_color_space = jpeg->num_components == 1 ? JCS_GRAYSCALE : jpeg->num_components == 4 ? JCS_CMYK : JCS_RGB;
    const int components = jpeg->num_components;

    r->status = cnn_picture_decoded(r->picture, r->path, components == 1 ? 1 : 3, jpeg->image_height,
                                    jpeg->image_width);
    if (r->status != 1)
        return;
    r->row = malloc((size_t)jpeg->image_width * (size_t)components);
    if (!r->row) {
        cnn_picture_fail(r->picture, "close other programs", "%.700s: no memory to decode it", r->path);
        r->status = -1;
        return;
    }
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        const size_t y = jpeg->output_scanline;
        jpeg_read_scanlines(jpeg, &r->row, 1);
        if (components == 4)
            mix_inks(r->row, jpeg->image_width);
        cnn_picture_row(r->picture, r->row, y);
    }
    jpeg_finish_decompress(jpeg);
}

/* Where the jump ends: it leaves no variable of this function undefined. */
static void read_guarded(struct jpeg_decompress_struct *jpeg, struct jpeg_progress_mgr *progress, Reader *r,
                         const uint8_t *file, size_t length)
{
    if (setjmp(r->jump) != 0)
        return;
    jpeg_create_decompress(jpeg);
    jpeg->progress = progress;
    read_all(jpeg, r, file, length);
}

static int decode(const char *path, const uint8_t *file, size_t length, cnn_picture *picture)
{
    Reader r = {.path = path, .picture = picture};
    struct jpeg_decompress_struct jpeg;
    struct jpeg_progress_mgr progress = {.progress_monitor = on_progress};

    memset(&jpeg, 0, sizeof jpeg);              /* for jpeg_destroy_decompress, where creating fails */
    jpeg.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = on_error;
    r.errors.emit_message = on_message;
    read_guarded(&jpeg, &progress, &r, file, length);
    jpeg_destroy_decompress(&jpeg);
    free(r.row);
    return r.status;
}

const cnn_decoder cnn_decoder_jpeg = {"jpeg", decode};
