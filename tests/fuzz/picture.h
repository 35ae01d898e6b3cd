/* picture.h - what fuzz_jpeg.c and fuzz_png.c share. */
#ifndef FUZZ_PICTURE_H
#define FUZZ_PICTURE_H

#include "data/data.h"
#include "trainer.h"

/* Decodes the bytes with one decoder, and looks at every pixel. */
static inline void fuzz_picture(const cnn_decoder *decoder, const uint8_t *bytes, size_t length)
{
    const cnn_decoder *const decoders[] = {decoder, NULL};
    const char *path = fuzz_file(bytes, length);
    cnn_picture p = {0};

    for (int channels = 3; channels >= 1; channels -= 2) {
        size_t    sum = 0;
        const int status = cnn_picture_read(&p, path, decoders, channels);
        const size_t count = status == 1 ? (size_t)p.channels * (size_t)p.height * (size_t)p.width : 0;

        for (size_t i = 0; i < count; i++)
            sum += p.bytes[i];
        if (sum > 255 * count || (status == 1) != (count > 0) || (status != 1 && !*p.cause))
            abort();
    }
    cnn_picture_free(&p);
}

#endif
