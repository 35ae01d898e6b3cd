/* png_uri.c - see png_uri.h. PNG as ISO/IEC 15948 has it: signature, header, one chunk of deflated rows without
 * filters, end. base64 is that of RFC 4648.
 */
#include "png_uri.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Bytes on their way into base64: up to two of them wait for a third. */
typedef struct { FILE *out; uint8_t waiting[3]; int count; } Base64;

static void put_group(Base64 *b)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = (uint32_t)b->waiting[0] << 16 | (uint32_t)b->waiting[1] << 8 | b->waiting[2];
    for (int k = 0; k < 4; k++)
        fputc(k <= b->count ? digits[bits >> (18 - 6 * k) & 63] : '=', b->out);
    b->count = 0;
    memset(b->waiting, 0, sizeof b->waiting);
}

static void put(Base64 *b, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        b->waiting[b->count++] = bytes[i];
        if (b->count == 3)
            put_group(b);
    }
}

static void put_32(Base64 *b, uint32_t value)
{
    put(b, (uint8_t[]){(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value}, 4);
}

/* Length, name, content, checksum of name and content. */
static void put_chunk(Base64 *b, const char *name, const uint8_t *bytes, size_t length)
{
    put_32(b, (uint32_t)length);
    put(b, (const uint8_t *)name, 4);
    put(b, bytes, length);
    put_32(b, (uint32_t)crc32_z(crc32_z(0, (const Bytef *)name, 4), bytes, length));
}

int cnn_png_write_uri(FILE *out, const uint8_t *pixels, int channels, int height, int width)
{
    size_t row = (size_t)channels * (size_t)width, length = (row + 1) * (size_t)height;
    uLongf packed_length = compressBound(length);
    uint8_t *rows = malloc(length), *packed = malloc(packed_length);
    for (int i = 0; rows && i < height; i++) {
        rows[(size_t)i * (row + 1)] = 0;                                        /* no filter */
        memcpy(rows + (size_t)i * (row + 1) + 1, pixels + (size_t)i * row, row);
    }
    int made = rows && packed && compress(packed, &packed_length, rows, length) == Z_OK;
    if (made) {
        Base64 b = {.out = out};
        uint8_t header[13] = {0, 0, (uint8_t)(width >> 8), (uint8_t)width,
                              0, 0, (uint8_t)(height >> 8), (uint8_t)height,
                              8, channels == 3 ? 2 : 0, 0, 0, 0};               /* 8 bits; colour or grey */
        fputs("data:image/png;base64,", out);
        put(&b, (const uint8_t *)"\x89PNG\r\n\x1a\n", 8);
        put_chunk(&b, "IHDR", header, sizeof header);
        put_chunk(&b, "IDAT", packed, packed_length);
        put_chunk(&b, "IEND", header, 0);
        if (b.count)
            put_group(&b);
    }
    free(rows);
    free(packed);
    return made;
}
