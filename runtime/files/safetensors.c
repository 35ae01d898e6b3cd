/* safetensors.c - opens weights files; the format, the interface and who owns what stand in safetensors.h.
 *
 * Reference: the safetensors crate's deserialiser, whose checks are all made here. A file passes only if its header is
 * one JSON object without duplicate keys, every tensor's bytes equal dtype x shape, and the tensors laid end to end
 * fill the data exactly: no hole, no overlap, nothing behind. The header is held to 32 MiB (the format's limit is
 * 100 MB) and to a million values before it is parsed, so that a hostile one cannot make the parser take hundreds of
 * times its size.
 */
#define _GNU_SOURCE
#include "safetensors_file.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors files are little-endian");

enum { HEADER_LIMIT = 32 << 20, VALUE_LIMIT = 1000000, PIECE = 1 << 20 };

#define FETCH "fetch or save the file again"

static const cnn_dtype dtypes[] = {
    {"F32", 4, 'f'}, {"F64", 8, 'f'}, {"F16", 2, 'f'}, {"BF16", 2, 'f'}, {"I64", 8, 'i'}, {"I32", 4, 'i'},
    {"BOOL", 1, 0},  {"U8", 1, 0},    {"I8", 1, 0},    {"F8_E5M2", 1, 0}, {"F8_E4M3", 1, 0},
    {"I16", 2, 0},   {"U16", 2, 0},   {"U32", 4, 0},   {"U64", 8, 0},     {"C64", 8, 0},
};

int cnn_safetensors_read(const cnn_safetensors *f, void *out, uint64_t length, uint64_t offset)
{
    for (uint64_t done = 0; done < length;) {
        ssize_t got = pread(f->file, (char *)out + done, length - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            cnn_error("%s: cannot be read: %s\ncheck the disk, or " FETCH, f->path,
                      got ? strerror(errno) : "it became shorter while it was read");
            return 0;
        }
        done += (uint64_t)got;
    }
    return 1;
}

int cnn_safetensors_entry(const cnn_safetensors *f, const char *name, json_t *value, cnn_entry *e)
{
    json_t     *offsets = json_object_get(value, "data_offsets");
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    uint64_t    bytes;

    *e = (cnn_entry){.name = name, .shape = json_object_get(value, "shape")};
    if (!dtype || !json_is_array(e->shape) || json_array_size(offsets) != 2 ||
        !json_is_integer(json_array_get(offsets, 0)) || !json_is_integer(json_array_get(offsets, 1))) {
        cnn_error("%s: tensor '%s' lacks its dtype, its shape or two data_offsets\n" FETCH, f->path, name);
        return 0;
    }
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtype, dtypes[i].name) == 0)
            e->dtype = &dtypes[i];
    if (!e->dtype) {
        cnn_error("%s: tensor '%s' has the unknown dtype '%s'\nsave it as F32", f->path, name, dtype);
        return 0;
    }
    bytes = (uint64_t)e->dtype->bytes;
    for (size_t i = 0; i < json_array_size(e->shape); i++) {
        json_t *n = json_array_get(e->shape, i);

        if (!json_is_integer(n) || json_integer_value(n) < 0) {
            cnn_error("%s: the shape of tensor '%s' is not made of sizes\n" FETCH, f->path, name);
            return 0;
        }
        if (__builtin_mul_overflow(bytes, (uint64_t)json_integer_value(n), &bytes)) {
            cnn_error("%s: the shape of tensor '%s' is too large for any file\n" FETCH, f->path, name);
            return 0;
        }
    }
    json_int_t begin = json_integer_value(json_array_get(offsets, 0));
    json_int_t end = json_integer_value(json_array_get(offsets, 1));
    if (begin < 0 || end < begin) {
        cnn_error("%s: tensor '%s' ends at byte %lld, before its start at %lld\n" FETCH, f->path, name, (long long)end,
                  (long long)begin);
        return 0;
    }
    e->begin = (uint64_t)begin;
    e->end = (uint64_t)end;
    if (e->end - e->begin != bytes) {
        cnn_error("%s: tensor '%s' has %llu bytes, its dtype and shape need %llu\n" FETCH, f->path, name,
                  (unsigned long long)(e->end - e->begin), (unsigned long long)bytes);
        return 0;
    }
    return 1;
}

static int by_position(const void *a, const void *b)
{
    const cnn_entry *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Whether the tensors, in the order of their bytes, fill the data section from end to end. */
static int check_layout(const cnn_safetensors *f, cnn_entry *entries, size_t count)
{
    uint64_t at = 0, data = f->size - f->data;

    qsort(entries, count, sizeof *entries, by_position);
    for (size_t i = 0; i < count; i++) {
        const cnn_entry *e = &entries[i];

        if (e->end > data) {
            cnn_error("%s: tensor '%s' ends at byte %llu of %llu bytes of data: the file is cut\n" FETCH, f->path,
                      e->name, (unsigned long long)e->end, (unsigned long long)data);
            return 0;
        }
        if (e->begin < at) {
            cnn_error("%s: tensors '%s' and '%s' overlap\n" FETCH, f->path, entries[i - 1].name, e->name);
            return 0;
        }
        if (e->begin > at) {
            cnn_error("%s: a hole of %llu bytes before tensor '%s'\n" FETCH, f->path,
                      (unsigned long long)(e->begin - at), e->name);
            return 0;
        }
        at = e->end;
    }
    if (at < data) {
        cnn_error("%s: %llu bytes follow the last tensor\n" FETCH, f->path, (unsigned long long)(data - at));
        return 0;
    }
    return 1;
}

static int check_entries(const cnn_safetensors *f)
{
    cnn_entry  *entries = calloc(json_object_size(f->header) + 1, sizeof *entries);
    size_t      count = 0;
    const char *name, *key;
    json_t     *value, *text;
    int         ok = entries != NULL;

    if (!ok)
        cnn_error("%s: no memory for its header\nclose other programs", f->path);
    json_object_foreach(f->header, name, value) {
        if (!ok)
            break;
        if (strcmp(name, "__metadata__") != 0) {
            ok = cnn_safetensors_entry(f, name, value, &entries[count++]);
            continue;
        }
        ok = json_is_object(value);
        json_object_foreach(value, key, text)
            ok = ok && json_is_string(text);
        if (!ok)
            cnn_error("%s: its __metadata__ is not an object of strings\n" FETCH, f->path);
    }
    ok = ok && check_layout(f, entries, count);
    free(entries);
    return ok;
}

/* A file of ours says so twice, by "writer" and by its checksum, so that no single damaged byte hides both. The CRC-32
 * runs over the whole file with the eight digits of the checksum taken as 0. */
static int check_sum(const cnn_safetensors *f, const uint8_t prefix[8], char *header)
{
    static const char key[] = "\"cnnc.crc32\":\"";
    const char *writer = cnn_safetensors_metadata(f, "writer"), *told = cnn_safetensors_metadata(f, "cnnc.crc32");
    uint64_t    length = f->data - 8;

    if (!told && !(writer && strcmp(writer, "cnnc") == 0))
        return 1;

    char     found[9] = "";
    char    *digits = memmem(header, length, key, sizeof key - 1);
    uint8_t *piece = malloc(PIECE);
    if (!piece) {
        cnn_error("%s: no memory to check it\nclose other programs", f->path);
        return 0;
    }
    if (told && digits && (uint64_t)(digits - header) + sizeof key + 8 <= length) {
        memset(digits + sizeof key - 1, '0', 8);
        uLong crc = crc32(crc32(0, prefix, 8), (Bytef *)header, (uInt)length);
        for (uint64_t at = f->data; at < f->size;) {
            uint64_t some = f->size - at < PIECE ? f->size - at : PIECE;

            if (!cnn_safetensors_read(f, piece, some, at)) {
                free(piece);
                return 0;
            }
            crc = crc32(crc, piece, (uInt)some);
            at += some;
        }
        snprintf(found, sizeof found, "%08lx", crc & 0xffffffff);
    }
    free(piece);
    if (!told || strcmp(told, found) != 0) {
        cnn_error("%s: damaged: its checksum is %s, its content has %s\ntake an earlier checkpoint, or fetch it again",
                  f->path, told ? told : "missing", *found ? found : "none");
        return 0;
    }
    return 1;
}

/* Parses the header, within bounds: every value but the first of its array or object stands behind a comma. */
static int parse_header(cnn_safetensors *f, const char *header, size_t length)
{
    json_error_t error;
    size_t       values = 0;

    for (size_t i = 0; i < length; i++)
        values += header[i] == ',' || header[i] == '{' || header[i] == '[';
    if (values > VALUE_LIMIT) {
        cnn_error("%s: its header has more than %d values: these are not the weights of a network\n" FETCH, f->path,
                  VALUE_LIMIT);
        return 0;
    }
    f->header = header[0] == '{' ? json_loadb(header, length, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (f->header)
        return 1;
    if (header[0] == '{' && json_error_code(&error) == json_error_duplicate_key)
        cnn_error("%s: its header has the same key twice: %s\n" FETCH, f->path, error.text);
    else if (header[0] == '{' && !*error.text)          /* so jansson reports most failing allocations */
        cnn_error("%s: no memory for its header\nclose other programs", f->path);
    else
        cnn_error("%s: not a safetensors file: its header is not JSON%s%s\n" FETCH, f->path,
                  header[0] == '{' ? ": " : "", header[0] == '{' ? error.text : "");
    return 0;
}

static int check_file(cnn_safetensors *f)
{
    uint8_t     prefix[8];
    uint64_t    length = 0;
    struct stat about;

    if (fstat(f->file, &about) < 0 || !S_ISREG(about.st_mode)) {
        cnn_error("%s: not a file of weights\ngive a regular file here", f->path);
        return 0;
    }
    f->size = (uint64_t)about.st_size;
    if (f->size < 8 + 2) {
        cnn_error("%s: not a safetensors file: it has only %llu bytes\n" FETCH, f->path, (unsigned long long)f->size);
        return 0;
    }
    if (!cnn_safetensors_read(f, prefix, 8, 0))
        return 0;
    for (int i = 8; i-- > 0;)
        length = length << 8 | prefix[i];
    if (length > HEADER_LIMIT || length < 2) {
        cnn_error("%s: not a safetensors file: its header would have %llu bytes, 2 to %d are read\n" FETCH, f->path,
                  (unsigned long long)length, HEADER_LIMIT);
        return 0;
    }
    if (length > f->size - 8) {
        cnn_error("%s: its header should have %llu bytes, the file has %llu: it is cut\n" FETCH, f->path,
                  (unsigned long long)length, (unsigned long long)f->size);
        return 0;
    }
    f->data = 8 + length;
    char *header = malloc(length);
    if (!header)
        cnn_error("%s: no memory for its header\nclose other programs", f->path);
    int ok = header && cnn_safetensors_read(f, header, length, 8) && parse_header(f, header, length) &&
             check_entries(f) && check_sum(f, prefix, header);
    free(header);
    return ok;
}

cnn_safetensors *cnn_safetensors_open(const char *path)
{
    cnn_safetensors *f = calloc(1, sizeof *f);

    if (f)
        f->path = strdup(path);
    if (!f || !f->path) {
        cnn_error("%s: no memory to open it\nclose other programs", path);
        free(f);
        return NULL;
    }
    f->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);    /* not to wait for a pipe's other end */
    if (f->file < 0)
        cnn_error("%s: cannot be opened: %s\ncheck the name and its permissions", path, strerror(errno));
    if (f->file < 0 || !check_file(f)) {
        cnn_safetensors_close(f);
        return NULL;
    }
    return f;
}

void cnn_safetensors_close(cnn_safetensors *f)
{
    if (!f)
        return;
    if (f->file >= 0)
        close(f->file);
    json_decref(f->header);
    free(f->path);
    free(f);
}

const char *cnn_safetensors_metadata(const cnn_safetensors *f, const char *key)
{
    return json_string_value(json_object_get(json_object_get(f->header, "__metadata__"), key));
}

int cnn_safetensors_has(const cnn_safetensors *f, const char *name)
{
    return strcmp(name, "__metadata__") != 0 && json_object_get(f->header, name) != NULL;
}
