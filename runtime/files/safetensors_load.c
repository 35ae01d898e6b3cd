/* safetensors_load.c - compares a weights file with a network and loads it: all or nothing.
 *
 * Three steps: every item is looked up and compared, all differences are listed in one table; all values are read into
 * one block; only then the network is changed. Values become cnn_real on the way, whatever the file holds.
 */
#define _GNU_SOURCE
#include "safetensors_file.h"
#include "error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 20, ROWS = 20 };    /* bytes read at a time; rows of the table of differences */

/* "6x1x5x5"; a scalar has none. */
static void print_shape(char out[64], const cnn_tensor *t, json_t *shape)
{
    int rank = t ? t->rank : (int)json_array_size(shape), at = 0;

    snprintf(out, 64, "scalar");
    for (int i = 0; i < rank && at < 40; i++)
        at += snprintf(out + at, (size_t)(64 - at), "%s%lld", i ? "x" : "",
                       t ? (long long)t->shape[i] : (long long)json_integer_value(json_array_get(shape, (size_t)i)));
}

static int same_shape(const cnn_tensor *t, json_t *shape)
{
    if (json_array_size(shape) != (size_t)t->rank)
        return 0;
    for (int i = 0; i < t->rank; i++)
        if (json_integer_value(json_array_get(shape, (size_t)i)) != t->shape[i])
            return 0;
    return 1;
}

/* A comparison of the items with the file. `entries` receives what is to be loaded: dtype NULL for what is not. */
typedef struct {
    int missing, unexpected, shape, type;
    int passed;                 /* missing or of another shape, and allowed to be */
    int list_passed;            /* print rows of these too */
    int shown;                  /* rows printed so far; -1: only count */
} Difference;

static void show(Difference *d, const char *what, const char *name, const char *detail)
{
    if (d->shown >= 0 && d->shown++ < ROWS)
        cnn_note("%-10s  %-32s  %s", what, name, detail);
}

static void compare_item(const cnn_safetensors *f, const cnn_stored *item, const char *name, unsigned allow,
                         cnn_entry *e, Difference *d)
{
    const cnn_tensor *t = &item->tensor;
    char wanted[64], found[64], both[192];

    memset(e, 0, sizeof *e);
    print_shape(wanted, t, NULL);
    if (!cnn_safetensors_has(f, name)) {
        if (t->integer)
            return;
        int pass = (allow & CNN_ALLOW_MISSING) != 0;
        *(pass ? &d->passed : &d->missing) += 1;
        if (!pass || d->list_passed)
            show(d, "missing", name, wanted);
        return;
    }
    if (!cnn_safetensors_entry(f, name, json_object_get(f->header, name), e))
        return;                         /* cannot be: it was checked when the file was opened */
    if (!same_shape(t, e->shape)) {
        print_shape(found, NULL, e->shape);
        snprintf(both, sizeof both, "%s in the network, %s in the file", wanted, found);
        e->dtype = NULL;
        int pass = (allow & CNN_ALLOW_SHAPE) != 0;
        *(pass ? &d->passed : &d->shape) += 1;
        if (!pass || d->list_passed)
            show(d, "shape", name, both);
    } else if (e->dtype->kind != (t->integer ? 'i' : 'f')) {
        snprintf(both, sizeof both, "%s numbers in the network, %s in the file", t->integer ? "integer" : "real",
                 e->dtype->name);
        e->dtype = NULL;
        d->type++;
        show(d, "type", name, both);
    }
}

/* Goes through all items and all tensors of the file. 0 when memory is short (reported). */
static int compare(const cnn_safetensors *f, const cnn_stored *items, int count, unsigned allow, cnn_entry *entries,
                   Difference *d)
{
    json_t     *wanted = json_object(), *value;
    const char *name;
    int         ok = wanted != NULL;

    for (int i = 0; ok && i < count; i++) {
        char *full = NULL;

        if (asprintf(&full, "%s%s", items[i].prefix, items[i].tensor.name) < 0)
            full = NULL;
        ok = full && json_object_set_new(wanted, full, json_true()) == 0;
        if (ok)
            compare_item(f, &items[i], full, allow, &entries[i], d);
        free(full);
    }
    json_object_foreach(f->header, name, value) {
        char shape[64];

        if (!ok || (allow & CNN_ALLOW_UNEXPECTED) || strcmp(name, "__metadata__") == 0 ||
            json_object_get(wanted, name))
            continue;
        print_shape(shape, NULL, json_object_get(value, "shape"));
        d->unexpected++;
        show(d, "unexpected", name, shape);
    }
    json_decref(wanted);
    if (!ok)
        cnn_error("%s: no memory to load it\nclose other programs", f->path);
    return ok;
}

static double from_half(uint16_t h)
{
    int    exponent = h >> 10 & 31, mantissa = h & 1023;
    double value = exponent == 31 ? (mantissa ? NAN : INFINITY)
                 : exponent       ? ldexp(1024 + mantissa, exponent - 25)
                                  : ldexp(mantissa, -24);

    return h >> 15 ? -value : value;
}

static cnn_real convert(const cnn_dtype *dtype, const uint8_t *bytes)
{
    union { float f32; double f64; int64_t i64; int32_t i32; uint16_t u16; uint32_t u32; } v = {.i64 = 0};

    memcpy(&v, bytes, (size_t)dtype->bytes);
    switch (dtype->bytes) {
    case 8:
        return dtype->kind == 'f' ? (cnn_real)v.f64 : (cnn_real)v.i64;
    case 4:
        return dtype->kind == 'f' ? (cnn_real)v.f32 : (cnn_real)v.i32;
    }
    if (dtype->name[0] == 'F')
        return (cnn_real)from_half(v.u16);
    v.u32 = (uint32_t)v.u16 << 16;              /* BF16 is the upper half of an F32 */
    return (cnn_real)v.f32;
}

/* Reads a tensor's values; `piece` holds PIECE bytes. */
static int read_values(const cnn_safetensors *f, const cnn_entry *e, uint8_t *piece, cnn_real *out)
{
    const uint64_t bytes = (uint64_t)e->dtype->bytes;

    for (uint64_t at = e->begin; at < e->end;) {
        uint64_t some = e->end - at < PIECE ? e->end - at : PIECE;

        if (!cnn_safetensors_read(f, piece, some, f->data + at))
            return 0;
        for (uint64_t i = 0; i < some; i += bytes)
            *out++ = convert(e->dtype, piece + i);
        at += some;
    }
    return 1;
}

/* Reads what entries name into one block, warns of NaN, then sets. The number of items set, or -1 after a report. */
static int read_and_set(const cnn_safetensors *f, const cnn_stored *items, int count, const cnn_entry *entries)
{
    size_t      total = 0, at = 0, bad = 0;
    int         loaded = 0;
    const char *first = NULL;

    for (int i = 0; i < count; i++)
        total += entries[i].dtype ? items[i].tensor.count : 0;
    cnn_real *values = malloc((total + 1) * sizeof *values);
    uint8_t  *piece = malloc(PIECE);
    int       ok = values && piece;
    if (!ok)
        cnn_error("%s: no memory to load %zu values\nclose other programs", f->path, total);
    for (int i = 0; ok && i < count; i++) {
        size_t before = bad;

        if (!entries[i].dtype)
            continue;
        ok = read_values(f, &entries[i], piece, values + at);
        for (size_t k = 0; ok && k < items[i].tensor.count; k++)
            bad += !isfinite(values[at + k]);
        if (bad > before && !first)
            first = items[i].tensor.name;
        at += items[i].tensor.count;
    }
    if (ok && bad)
        cnn_warn("%s: %zu of %zu values are NaN or infinite, the first of them in %s\n"
                 "the run that saved it had probably diverged: lower its learning rate", f->path, bad, total, first);
    at = 0;
    for (int i = 0; ok && i < count; i++) {
        if (!entries[i].dtype)
            continue;
        items[i].set(items[i].context, items[i].index, values + at);
        at += items[i].tensor.count;
        loaded++;
    }
    free(values);
    free(piece);
    return ok ? loaded : -1;
}

/* Names what was allowed to differ: it is not loaded, which may not be what was meant. */
static void list_passed(const cnn_safetensors *f, const cnn_stored *items, int count, unsigned allow,
                        cnn_entry *entries, int passed)
{
    Difference d = {.list_passed = 1};

    cnn_warn("%s: %d of %d tensors were not loaded and begin at random", f->path, passed, count);
    compare(f, items, count, allow, entries, &d);
    if (passed > ROWS)
        cnn_note("... and %d more", passed - ROWS);
}

int cnn_safetensors_load(cnn_safetensors *f, const cnn_stored *items, int count, unsigned allow)
{
    cnn_entry *entries = calloc((size_t)count + 1, sizeof *entries);
    Difference d = {.shown = -1};
    int        loaded = -1;

    if (!entries)
        cnn_error("%s: no memory to load it\nclose other programs", f->path);
    else if (compare(f, items, count, allow, entries, &d)) {
        int wrong = d.missing + d.unexpected + d.shape + d.type;

        if (wrong) {
            cnn_error("%s does not fit this network: %d missing, %d unexpected, %d of another shape, "
                      "%d of another type", f->path, d.missing, d.unexpected, d.shape, d.type);
            d = (Difference){.shown = 0};
            compare(f, items, count, allow, entries, &d);
            if (wrong > ROWS)
                cnn_note("... and %d more", wrong - ROWS);
            cnn_note("help: give the weights of this very network, compiled with the same settings; train --init takes "
                     "others, with --skip for what is meant to differ");
        } else {
            loaded = read_and_set(f, items, count, entries);
            if (loaded > 0 && d.passed)
                list_passed(f, items, count, allow, entries, d.passed);
        }
    }
    free(entries);
    return loaded;
}
