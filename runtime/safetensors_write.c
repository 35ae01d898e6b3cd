/* safetensors_write.c - saves weights files so that a crash, a full disk or a signal never costs the previous one.
 *
 * The order of a save: PATH.tmp is written whole, synced to the disk, renamed over PATH, and the folder is synced. At
 * every moment PATH is a complete file; a PATH.tmp that a kill left behind is overwritten by the next save. The
 * interface stands in safetensors.h.
 */
#define _GNU_SOURCE
#include "safetensors.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define CHECKSUM "\"cnnc.crc32\":\""    /* eight digits follow, written last */

enum { NONE = -1, NO_FILE = -2 };        /* causes that errno has no name for */

/* A save under way. `what` is the step that failed first, NULL while all is well. */
typedef struct {
    const char *path;
    char       *temporary;
    int         file;
    uLong       crc;            /* of all bytes put so far */
    const char *what;
    int         cause;          /* errno of that step, or NONE */
} Save;

static int fail(Save *s, const char *what, int cause)
{
    if (!s->what) {
        s->what = what;
        s->cause = cause;
    }
    return 0;
}

static int put(Save *s, const void *bytes, size_t length)
{
    const char *from = bytes;

    for (size_t done = 0; done < length;) {
        ssize_t some = write(s->file, from + done, length - done);      /* may be short: the next call says why */

        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return fail(s, "writing", some ? errno : EIO);
        done += (size_t)some;
    }
    for (size_t done = 0; done < length;) {                             /* zlib counts in 32 bits */
        size_t some = length - done < 1 << 30 ? length - done : 1 << 30;

        s->crc = crc32(s->crc, (const Bytef *)from + done, (uInt)some);
        done += some;
    }
    return 1;
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
static int put_tensors(Save *s, const cnn_stored *items, int count, size_t bytes, cnn_real *values)
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
static int put_file(Save *s, const cnn_stored *items, int count, const cnn_metadata *metadata, int metadata_count)
{
    size_t largest = 1;

    for (int i = 0; i < count; i++)
        if (items[i].tensor.count > largest)
            largest = items[i].tensor.count;
    char     *header = make_header(items, count, metadata, metadata_count);
    cnn_real *values = malloc(largest * sizeof *values);
    int       ok = header && values;
    if (!ok)
        fail(s, header ? "no memory for its values" : "no header: no memory, a name twice or text not in UTF-8",
             NONE);
    if (ok) {
        uint64_t length = strlen(header);
        char     digits[9];

        ok = put(s, &length, 8) && put(s, header, length) && put_tensors(s, items, count, 8, values) &&
             (sizeof(cnn_real) == 8 || put_tensors(s, items, count, 4, values));
        off_t at = (off_t)(8 + (strstr(header, CHECKSUM) - header) + sizeof CHECKSUM - 1);
        snprintf(digits, sizeof digits, "%08lx", s->crc & 0xffffffff);
        if (ok && (lseek(s->file, at, SEEK_SET) < 0 || !put(s, digits, 8)))
            ok = fail(s, "writing its checksum", errno);
    }
    free(header);
    free(values);
    return ok;
}

/* Syncs an open file or folder. Some file systems cannot sync a folder and say EINVAL: nothing more can be done. */
static int sync_file(Save *s, int file, const char *what)
{
    while (fsync(file) < 0)
        if (errno != EINTR)
            return errno == EINVAL || fail(s, what, errno);
    return 1;
}

static int sync_folder(Save *s)
{
    char *slash = strrchr(s->temporary, '/');
    int   ok;

    if (slash)
        slash[slash == s->temporary] = 0;               /* the path is not needed any more */
    int folder = open(slash ? s->temporary : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return errno == EACCES || fail(s, "opening its folder", errno); /* a folder one may write but not read */
    ok = sync_file(s, folder, "syncing its folder");
    close(folder);
    return ok;
}

static int save(Save *s, const cnn_stored *items, int count, const cnn_metadata *metadata, int metadata_count)
{
    struct stat about;
    int         ok;

    if (stat(s->path, &about) == 0 && !S_ISREG(about.st_mode))
        return fail(s, "it is no regular file", NO_FILE);
    if (asprintf(&s->temporary, "%s.tmp", s->path) < 0) {
        s->temporary = NULL;
        return fail(s, "naming the temporary file", ENOMEM);
    }
    s->file = open(s->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (s->file < 0)
        return fail(s, "creating the temporary file", errno);
    ok = put_file(s, items, count, metadata, metadata_count) && sync_file(s, s->file, "syncing it to the disk");
    if (close(s->file) < 0 && ok)
        ok = fail(s, "closing it", errno);
    if (ok && rename(s->temporary, s->path) < 0)
        ok = fail(s, "renaming the temporary file", errno);
    if (!ok)
        unlink(s->temporary);
    return ok && sync_folder(s);
}

static const char *mend(int cause)
{
    switch (cause) {
    case NO_FILE:
        return "give the name of a file";
    case ENOSPC: case EDQUOT: case EFBIG:
        return "free some space, or save elsewhere; the previous file is untouched";
    case EACCES: case EPERM: case EROFS:
        return "check the folder's permissions, or save elsewhere";
    case ENOENT: case ENOTDIR:
        return "make its folder first";
    case NONE: case ENOMEM:
        return "close other programs; the previous file is untouched";
    }
    return "check the disk, or save elsewhere";
}

int cnn_safetensors_write(const char *path, const cnn_stored *items, int count, const cnn_metadata *metadata,
                          int metadata_count)
{
    Save             s = {.path = path, .file = -1, .crc = crc32(0, NULL, 0)};
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;

    sigaction(SIGXFSZ, &ignore, &before);       /* a limit on file sizes is an error of write, not a signal */
    int ok = save(&s, items, count, metadata, metadata_count);
    sigaction(SIGXFSZ, &before, NULL);
    if (!ok)
        cnn_error("%s: cannot be saved: %s%s%s\n%s", path, s.what, s.cause > 0 ? ": " : "",
                  s.cause > 0 ? strerror(s.cause) : "", mend(s.cause));
    free(s.temporary);
    return ok;
}
