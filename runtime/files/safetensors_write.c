/* safetensors_write.c - writes weights files, whole or not at all (save.h); the interface stands in safetensors.h. */
#define _GNU_SOURCE
#include "safetensors.h"
#include "save.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define CHECKSUM "\"cnnc.crc32\":\""    /* eight digits follow, written last */

/* A save under way, and the checksum of all that was put so far. */
typedef struct { cnn_save save; uLong crc; } Sum;

static int put(Sum *s, const void *bytes, size_t length)
{
    for (size_t done = 0; done < length; ) {                            /* zlib counts in 32 bits */
        size_t some = length - done < 1 << 30 ? length - done : 1 << 30;
        s->crc = crc32(s->crc, (const Bytef *)bytes + done, (uInt)some);
        done += some;
    }
    return cnn_save_put(&s->save, bytes, length);
}

static size_t element_bytes(const cnn_stored *item)
{
    return item->tensor.integer ? sizeof(int64_t) : sizeof(cnn_real);
}

/* The header's member for one tensor that begins at byte `at` of the data; NULL when memory is short. */
static json_t *make_entry(const cnn_stored *item, uint64_t at)
{
    const cnn_tensor *t = &item->tensor;
    json_t           *shape = json_array();

    for (int k = 0; k < t->rank; k++)
        if (json_array_append_new(shape, json_integer(t->shape[k])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", t->integer ? "I64" : sizeof(cnn_real) == 8 ? "F64" : "F32",
                     "shape", shape, "data_offsets", (json_int_t)at, (json_int_t)(at + element_bytes(item) * t->count));
}

/* The header's text, padded; malloc'ed. NULL when memory is short, a string is not UTF-8 or a name comes twice. */
static char *make_header(const cnn_stored *items, int count, const cnn_metadata *metadata, int metadata_count)
{
    json_t  *header = json_object(), *about = json_object();
    uint64_t next[2] = {0, 0};  /* where the next tensor of 8-byte elements goes, and of 4-byte elements */
    int      bad = json_object_set(header, "__metadata__", about) != 0;

    bad |= json_object_set_new(about, "cnnc.crc32", json_string("00000000"));
    bad |= json_object_set_new(about, "format", json_string("pt"));
    bad |= json_object_set_new(about, "writer", json_string("cnnc"));
    for (int i = 0; i < metadata_count; i++)
        bad |= json_object_set_new(about, metadata[i].key, json_string(metadata[i].value));
    for (int i = 0; i < count; i++)
        if (element_bytes(&items[i]) == 8)
            next[1] += 8 * (uint64_t)items[i].tensor.count;
    for (int i = 0; i < count && !bad; i++) {
        uint64_t bytes = element_bytes(&items[i]), *at = &next[bytes != 8];
        char    *name = NULL;

        bad |= asprintf(&name, "%s%s", items[i].prefix, items[i].tensor.name) < 0;
        if (!bad)
            bad = json_object_get(header, name) || json_object_set_new(header, name, make_entry(&items[i], *at)) != 0;
        free(name);
        *at += bytes * items[i].tensor.count;
    }
    /* json_dumpb, which needs no memory: json_dumps (2.14) drops a key when memory is short, and says nothing */
    size_t length = bad ? 0 : json_dumpb(header, NULL, 0, JSON_COMPACT), padded = (length + 7) / 8 * 8;
    char  *text = length ? malloc(padded + 1) : NULL;

    if (text && json_dumpb(header, text, length, JSON_COMPACT) == length) {
        memset(text + length, ' ', padded - length);
        text[padded] = 0;
    } else {
        free(text);
        text = NULL;
    }
    json_decref(about);
    json_decref(header);
    return text;
}

/* Puts the tensors whose elements have `bytes` bytes, in the order of the items. */
static int put_tensors(Sum *s, const cnn_stored *items, int count, size_t bytes, cnn_real *values)
{
    for (int i = 0; i < count; i++) {
        const cnn_stored *item = &items[i];

        if (element_bytes(item) != bytes)
            continue;
        item->get(item->context, item->index, values);
        if (!item->tensor.integer) {
            if (!put(s, values, bytes * item->tensor.count))
                return 0;
            continue;
        }
        for (size_t k = 0; k < item->tensor.count; k++) {
            int64_t n = llround((double)values[k]);

            if (!put(s, &n, sizeof n))
                return 0;
        }
    }
    return 1;
}

/* Writes the whole temporary file; the checksum goes into its place when all else is there. */
static void put_file(Sum *s, const cnn_stored *items, int count, const cnn_metadata *metadata, int metadata_count)
{
    size_t largest = 1;

    for (int i = 0; i < count; i++)
        if (items[i].tensor.count > largest)
            largest = items[i].tensor.count;
    char     *header = make_header(items, count, metadata, metadata_count);
    cnn_real *values = malloc(largest * sizeof *values);
    int       ok = header && values;
    if (!ok)
        cnn_save_fail(&s->save, header ? "no memory for its values" :
                      "no header: no memory, a name twice or text not in UTF-8", CNN_SAVE_NO_MEMORY);
    if (ok) {
        uint64_t length = strlen(header);
        char     digits[9];

        ok = put(s, &length, 8) && put(s, header, length) && put_tensors(s, items, count, 8, values) &&
             (sizeof(cnn_real) == 8 || put_tensors(s, items, count, 4, values));
        uint64_t at = 8 + (uint64_t)(strstr(header, CHECKSUM) - header) + sizeof CHECKSUM - 1;
        snprintf(digits, sizeof digits, "%08lx", s->crc & 0xffffffff);
        if (ok)
            cnn_save_over(&s->save, at, digits, 8);
    }
    free(header);
    free(values);
}

int cnn_safetensors_write(const char *path, const cnn_stored *items, int count, const cnn_metadata *metadata,
                          int metadata_count)
{
    Sum s = {.crc = crc32(0, NULL, 0)};
    if (cnn_save_begin(&s.save, path))
        put_file(&s, items, count, metadata, metadata_count);
    return cnn_save_end(&s.save);
}
