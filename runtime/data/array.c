/* array.c - opens arrays in .npy and safetensors files; declared and described in array.h.
 *
 * .npy (numpy/lib/format.py): "\x93NUMPY", version, length of the header, and as header a Python dictionary
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 28, 28), }
 * of which no more is understood than NumPy writes. What the header promises is compared with the file's size first.
 */
#define _GNU_SOURCE
#include "array.h"
#include "error.h"
#include "files/file.h"
#include "files/safetensors_file.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADER_LIMIT = 1 << 16 };

#define SAVE "save it with numpy.save, as uint8, float32 or float64 (labels: any integers)"

void cnn_array_close(cnn_array *a)
{
    if (*a->name)
        close(a->file);
    *a->name = '\0';
}

/* Takes a size in. 0 when it is 0, or the product is too large for any file. */
static int add_size(cnn_array *a, unsigned long long size)
{
    if (a->rank == CNN_RANKS || size == 0 || __builtin_mul_overflow(a->count, size, &a->count) ||
        a->count > SIZE_MAX / 8)
        return 0;
    a->shape[a->rank++] = (size_t)size;
    return 1;
}

/* ---- the dictionary of .npy -------------------------------------------------------------------------------------- */

/* Goes past blanks and then past `word`; 0 where it does not stand there. */
static int take(const char **at, const char *word)
{
    *at += strspn(*at, " \n");
    if (strncmp(*at, word, strlen(word)) != 0)
        return 0;
    *at += strlen(word);
    return 1;
}

/* '<f4' -> 'f', 4. 0 for what is not read. */
static int take_type(const char **at, cnn_array *a)
{
    const char *text = *at += strspn(*at, " ");

    if (text[0] != '\'' || !text[1] || !text[2] || !text[3] || text[4] != '\'')
        return 0;
    *at += 5;
    a->kind = text[2];
    a->bytes = text[3] - '0';
    int real = a->kind == 'f' && (a->bytes == 4 || a->bytes == 8);
    int integer = (a->kind == 'u' || a->kind == 'i') &&
                  (a->bytes == 1 || a->bytes == 2 || a->bytes == 4 || a->bytes == 8);
    return (real || integer) && (text[1] == '<' || (text[1] == '|' && a->bytes == 1));
}

/* (60000, 28, 28) */
static int take_shape(const char **at, cnn_array *a)
{
    if (!take(at, "("))
        return 0;
    while (!take(at, ")")) {
        char *end;
        if (!isdigit((unsigned char)**at) || !add_size(a, strtoull(*at, &end, 10)))
            return 0;
        *at = end;
        if (!take(at, ",") && *(*at + strspn(*at, " ")) != ')')
            return 0;
    }
    return a->rank > 0;
}

/* 1, or 0 after cnn_error. */
static int read_dictionary(cnn_array *a, const char *path, const char *header)
{
    const char *at = header;
    int typed = 0, shaped = 0, ordered = 0;

    if (take(&at, "{"))
        while (*at && !take(&at, "}")) {
            if (take(&at, "'descr':")) {
                if (!(typed = take_type(&at, a)))
                    return cnn_error("%s: its elements have a type that is not read\n" SAVE, path), 0;
            } else if (take(&at, "'shape':")) {
                if (!(shaped = take_shape(&at, a)))
                    return cnn_error("%s: its shape is not one of 1 to 4 sizes above 0\n" SAVE, path), 0;
            } else if (take(&at, "'fortran_order': True")) {
                return cnn_error("%s: its columns come first\nsave numpy.ascontiguousarray of it", path), 0;
            } else if (!(ordered = take(&at, "'fortran_order': False"))) {
                break;
            }
            take(&at, ",");
        }
    if (typed && shaped && ordered)
        return 1;
    cnn_error("%s: the header is not one that NumPy writes\n" SAVE, path);
    return 0;
}

/* 1, or 0 after cnn_error. */
static int read_npy(cnn_array *a, const char *path, uint64_t size)
{
    uint8_t head[12];
    char    why[CNN_WHY], header[HEADER_LIMIT + 1];

    if (size < sizeof head || !cnn_file_read(a->file, head, sizeof head, 0, why) || memcmp(head, "\x93NUMPY", 6) != 0) {
        cnn_error("%s: not a .npy file\n" SAVE, path);
        return 0;
    }
    int wide = head[6] > 1;                     /* version 1 has 2 bytes for the length, 2 and 3 have 4 */
    uint32_t length = (uint32_t)head[8] | (uint32_t)head[9] << 8;
    if (wide)
        length |= (uint32_t)head[10] << 16 | (uint32_t)head[11] << 24;
    a->offset = (wide ? 12u : 10u) + (uint64_t)length;
    if (head[6] < 1 || head[6] > 3 || length > HEADER_LIMIT || a->offset > size ||
        !cnn_file_read(a->file, header, length, wide ? 12 : 10, why)) {
        cnn_error("%s: the header of a .npy file is damaged\n" SAVE, path);
        return 0;
    }
    header[length] = '\0';
    if (!read_dictionary(a, path, header))
        return 0;
    uint64_t promised = (uint64_t)a->count * (uint64_t)a->bytes;
    if (promised == size - a->offset)
        return 1;
    cnn_error("%s: the file ends %s: its shape needs %llu bytes, it has %llu\n" SAVE, path,
              promised > size - a->offset ? "early" : "late", (unsigned long long)promised,
              (unsigned long long)(size - a->offset));
    return 0;
}

int cnn_array_open_npy(cnn_array *a, const char *path)
{
    uint64_t size;
    char     why[CNN_WHY];

    *a = (cnn_array){.count = 1};
    a->file = cnn_file_open(path, &size, why);
    if (a->file < 0) {
        cnn_error("%s: %s\ncheck the name and its permissions", path, why);
        return 0;
    }
    snprintf(a->name, sizeof a->name, "%s", path);
    if (read_npy(a, path, size))
        return 1;
    cnn_array_close(a);
    return 0;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

int cnn_array_has_tensor(const char *path, const char *tensor)
{
    cnn_safetensors *f = cnn_safetensors_open(path);
    int has = f ? cnn_safetensors_has(f, tensor) : -1;

    cnn_safetensors_close(f);
    return has;
}

/* "U8" -> 'u', 1, and the sizes. 1, or 0 after cnn_error. */
static int read_entry(cnn_array *a, const cnn_entry *e)
{
    const char *name = e->dtype->name;

    a->kind = (char)tolower((unsigned char)*name);
    a->bytes = e->dtype->bytes;
    if (!isdigit((unsigned char)name[1]) || strchr(name, '_') || !strchr("uif", a->kind) ||
        (a->kind == 'f' && a->bytes == 2)) {
        cnn_error("%s: has dtype %s, which is not read\n"
                  "save it as U8, F32 or F64 (labels: any integers)", a->name, name);
        return 0;
    }
    for (size_t i = 0; i < json_array_size(e->shape); i++)
        if (!add_size(a, (unsigned long long)json_integer_value(json_array_get(e->shape, i))))
            a->rank = CNN_RANKS + 1;
    if (a->rank >= 1 && a->rank <= CNN_RANKS)
        return 1;
    cnn_error("%s: its shape is not one of 1 to 4 sizes above 0\ngive pictures N x C x H x W and labels N", a->name);
    return 0;
}

int cnn_array_open_tensor(cnn_array *a, const char *path, const char *tensor)
{
    cnn_safetensors *f = cnn_safetensors_open(path);
    cnn_entry        e;
    uint64_t         size;
    char             why[CNN_WHY];
    int              good = 0;

    *a = (cnn_array){.count = 1};
    if (!f)
        return 0;
    if (!cnn_safetensors_has(f, tensor))
        cnn_error("%s: has no tensor '%s'\nname the pictures x and the labels y", path, tensor);
    else if (cnn_safetensors_entry(f, tensor, json_object_get(f->header, tensor), &e)) {
        a->file = cnn_file_open(path, &size, why);
        if (a->file < 0)
            cnn_error("%s: %s\ncheck the name and its permissions", path, why);
        else {
            snprintf(a->name, sizeof a->name, "%s: %s", path, tensor);
            a->offset = f->data + e.begin;
            good = read_entry(a, &e);
        }
    }
    cnn_safetensors_close(f);
    if (!good)
        cnn_array_close(a);
    return good;
}

/* ---- elements ---------------------------------------------------------------------------------------------------- */

long long cnn_array_integer(const cnn_array *a, const void *bytes, size_t i)
{
    const uint8_t *at = (const uint8_t *)bytes + i * (size_t)a->bytes;
    uint64_t       value = 0;

    for (int k = 0; k < a->bytes; k++)
        value |= (uint64_t)at[k] << (8 * k);
    int unused = 64 - 8 * a->bytes;
    return a->kind == 'i' ? (int64_t)(value << unused) >> unused : value > INT64_MAX ? INT64_MAX : (int64_t)value;
}
