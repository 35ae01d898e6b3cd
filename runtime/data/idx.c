/* idx.c - the IDX format of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist/), plain or gzip.
 *
 *     2 bytes   0
 *     1 byte    type of an element; 8: unsigned byte, the only one pictures and labels use
 *     1 byte    rank
 *     rank x 4  the sizes, big-endian
 *     data      row-major
 *
 * zlib reads plain files as they are and gzip files unpacked, so there is one path for both. Nothing that the header
 * promises is believed before it is compared with the size of the file: a plain file has exactly one right size, and a
 * gzip may not promise more than 64 MiB unless its own size makes that plausible. Every error is one line that names
 * the file, the cause and the mend.
 */
#define _GNU_SOURCE
#include "data.h"
#include "error.h"
#include "files/file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static const uint64_t LARGEST = (uint64_t)4 << 30;      /* bytes of data: 4 GiB                                     */
static const uint64_t TRUSTED = (uint64_t)64 << 20;     /* what a gzip may promise at any size of its own ...       */
static const uint64_t DENSEST = 200;                    /* ... and the expansion allowed above that; MNIST has 5    */

enum { TYPE_BYTE = 8, PIECE = 1 << 20 };

#define FETCH "fetch the file again"

/* A file being read. */
typedef struct {
    const char *path;
    gzFile      stream;
    uint64_t    size;           /* of the file on disk */
} Reader;

/* Reads exactly `length` bytes. 1, or 0 after a report; a short file is described as cut in `part`. */
static int read_exactly(const Reader *in, uint8_t *out, size_t length, const char *part)
{
    for (size_t done = 0; done < length;) {
        size_t piece = length - done < PIECE ? length - done : PIECE;
        int    got = gzread(in->stream, out + done, (unsigned)piece);

        if (got < 0) {
            int         code;
            const char *text = gzerror(in->stream, &code);

            if (code == Z_ERRNO)
                cnn_error("%s: cannot be read: %s\ncheck the disk, or " FETCH, in->path, strerror(errno));
            else if (code == Z_BUF_ERROR)
                cnn_error("%s: the gzip ends early, in %s\n" FETCH, in->path, part);
            else
                cnn_error("%s: the gzip is damaged: %s\n" FETCH, in->path, text);
            return 0;
        }
        done += (size_t)got;
        if ((size_t)got < piece) {
            int code;

            gzerror(in->stream, &code);
            cnn_error("%s: the %s ends early, after %zu of the %zu bytes of %s\n" FETCH, in->path,
                      code == Z_BUF_ERROR ? "gzip" : "file", done, length, part);
            return 0;
        }
    }
    return 1;
}

/* Reads the header and checks all that it says against what is asked for and against the size of the file. */
static int read_header(const Reader *in, int least, int most, long first, cnn_idx *out)
{
    const char *path = in->path;
    uint8_t     head[4], sizes[16];
    uint64_t    total = 1;

    if (!read_exactly(in, head, 4, "the header"))
        return 0;
    if (head[0] || head[1]) {
        cnn_error("%s: not an IDX file: it begins with %02x %02x %02x %02x, an IDX file of bytes with 00 00 08\n"
                  "give the files of MNIST's format, plain or .gz", path, head[0], head[1], head[2], head[3]);
        return 0;
    }
    if (head[2] != TYPE_BYTE) {
        cnn_error("%s: its elements have IDX type 0x%02x, only unsigned bytes (0x08) are read\n"
                  "convert the data to bytes from 0 to 255", path, head[2]);
        return 0;
    }
    if (head[3] < least || head[3] > most) {
        cnn_error("%s: its rank is %d, %s have rank %s\n%s", path, head[3], most == 1 ? "labels" : "pictures",
                  most == 1 ? "1 (count)" : most == 3 ? "3 (count, rows, columns)"
                                          : "3 (count, rows, columns) or 4 (count, channels, rows, columns)",
                  most == 1 ? "give the labels, not the pictures, under this name"
                            : "give the pictures, not the labels, under this name");
        return 0;
    }
    if (!read_exactly(in, sizes, 4u * head[3], "the header"))
        return 0;

    out->rank = head[3];
    for (int i = 0; i < out->rank; i++) {
        const uint8_t *s = sizes + 4 * i;
        uint32_t       n = (uint32_t)s[0] << 24 | (uint32_t)s[1] << 16 | (uint32_t)s[2] << 8 | s[3];

        if (n == 0) {
            cnn_error("%s: size %d of %d is 0, so there is nothing in it\n" FETCH, path, i + 1, out->rank);
            return 0;
        }
        if (n > INT32_MAX || __builtin_mul_overflow(total, n, &total) || total > LARGEST) {
            cnn_error("%s: its header promises more than 4 GiB\n" FETCH ", or split the data set", path);
            return 0;
        }
        out->shape[i] = (int)n;
    }
    out->count = (size_t)total;
    if (first >= 0 && out->shape[0] != first) {
        cnn_error("%s: holds %d entries, but there are %ld %s\nuse images and labels of the same split", path,
                  out->shape[0], first, most == 1 ? "pictures" : "labels");
        return 0;
    }

    uint64_t whole = 4 + 4 * (uint64_t)out->rank + total;
    if (gzdirect(in->stream) && in->size != whole) {
        cnn_error("%s: the file ends %s: it has %llu bytes, its header says %llu\n" FETCH, path,
                  in->size < whole ? "early" : "late", (unsigned long long)in->size, (unsigned long long)whole);
        return 0;
    }
    if (total > TRUSTED && total / DENSEST > in->size) {
        cnn_error("%s: a gzip of %llu bytes promises %llu, more than %llu times as many: these are not pictures\n"
                  FETCH, path, (unsigned long long)in->size, (unsigned long long)total, (unsigned long long)DENSEST);
        return 0;
    }
    return 1;
}

/* Reads header and data and sees that nothing follows; reading past the end also checks the gzip's checksum. */
static int read_all(const Reader *in, int least, int most, long first, cnn_idx *out)
{
    uint8_t beyond;
    int     code;

    if (!read_header(in, least, most, first, out))
        return 0;
    out->bytes = malloc(out->count);
    if (!out->bytes) {
        cnn_error("%s: no memory for its %zu bytes\nclose other programs, or use a smaller data set", in->path,
                  out->count);
        return 0;
    }
    if (!read_exactly(in, out->bytes, out->count, "the data"))
        return 0;
    int got = gzread(in->stream, &beyond, 1);
    const char *text = gzerror(in->stream, &code);
    if (got > 0) {
        cnn_error("%s: more bytes follow the %zu that its header promises\n" FETCH, in->path, out->count);
        return 0;
    }
    if (got < 0 || code == Z_BUF_ERROR) {
        cnn_error("%s: the gzip is damaged at its end: %s\n" FETCH, in->path, text);
        return 0;
    }
    return 1;
}

int cnn_idx_read(const char *path, int least, int most, long first, cnn_idx *out)
{
    Reader      in = {path, NULL, 0};
    char        why[CNN_WHY];
    int         ok = 0;

    memset(out, 0, sizeof *out);
    int file = cnn_file_open(path, &in.size, why);
    if (file < 0) {
        cnn_error("%s: %s\ncheck the name and its permissions", path, why);
        return 0;
    }
    in.stream = gzdopen(file, "rb");
    if (!in.stream) {
        cnn_error("%s: no memory to read it\nclose other programs", path);
        close(file);
        return 0;
    }
    gzbuffer(in.stream, 1 << 17);
    ok = read_all(&in, least, most, first, out);
    gzclose_r(in.stream);
    if (!ok)
        cnn_idx_free(out);
    return ok;
}

void cnn_idx_free(cnn_idx *idx)
{
    free(idx->bytes);
    memset(idx, 0, sizeof *idx);
}
