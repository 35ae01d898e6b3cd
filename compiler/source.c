/* source.c - the text of one network file, checked before anything looks at it.
 *
 * Requires: a path as the user wrote it; it may name anything.
 * Establishes: text that is valid UTF-8 without NUL bytes, at most SOURCE_LIMIT bytes, with an index of its lines;
 * or one error. A pipe or a device is refused without reading from it, so that nothing can keep the compiler waiting.
 */
#include "cnnc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
int decode_utf8(const char *text, int length, uint32_t *code)
{
    const unsigned char *s = (const unsigned char *)text;
    if (length < 1)
        return 0;
    *code = s[0];
    if (s[0] < 0x80)
        return 1;
    int bytes = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || length < bytes)
        return 0;
    *code = s[0] & (0x7fu >> bytes);
    for (int i = 1; i < bytes; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (s[i] & 0x3fu);
    }
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    bool surrogate = *code >= 0xd800 && *code < 0xe000;
    return *code < smallest[bytes] || surrogate || *code > 0x10ffff ? 0 : bytes;
}

static void index_lines(Arena *arena, Source *s)
{
    int lines = 1;
    for (int i = 0; i < s->length; i++)
        lines += s->text[i] == '\n';
    int *line = NEW_ARRAY(arena, int, lines);
    int next = 1;
    for (int i = 0; i < s->length; i++)
        if (s->text[i] == '\n')
            line[next++] = i + 1;
    s->line = line;
    s->lines = lines;
}

static Source *source_new(Arena *arena, const char *path, const char *bytes, size_t length)
{
    Source *s = NEW(arena, Source);
    s->path = path;
    s->text = bytes;
    s->length = (int)length;
    index_lines(arena, s);
    return s;
}

Source *source_from_text(Arena *arena, const char *path, const char *text)
{
    size_t length = strlen(text);
    return source_new(arena, arena_copy(arena, path, strlen(path)), arena_copy(arena, text, length), length);
}

/* The first byte that does not belong in a text file; false after an error at its place. */
static bool check_text(Diag *diag, const Source *s)
{
    uint32_t code;
    for (int i = 0, bytes; i < s->length; i += bytes) {
        bytes = decode_utf8(s->text + i, s->length - i, &code);
        if (bytes > 0 && code != 0)
            continue;
        Span place = {i, i + 1};
        if (i < 2 && (memcmp(s->text, "\xff\xfe", 2) == 0 || memcmp(s->text, "\xfe\xff", 2) == 0))
            error_plain(diag, "%s is UTF-16 text\nsave it as UTF-8", s->path);
        else if (bytes > 0)
            error_at(diag, place, NULL, "the file contains a NUL byte\na network is a text file; this looks like "
                     "something else");
        else
            error_at(diag, place, NULL, "byte 0x%02x is not UTF-8\nsave the file as UTF-8", (unsigned char)s->text[i]);
        return false;
    }
    return true;
}

Source *source_from_bytes(Arena *arena, Diag *diag, const char *path, const char *bytes, size_t length)
{
    if (length > SOURCE_LIMIT) {
        error_plain(diag, "%s is larger than %d MiB\na network is a short text; is this the right file?", path,
                    SOURCE_LIMIT >> 20);
        return NULL;
    }
    Source *s = source_new(arena, arena_copy(arena, path, strlen(path)), arena_copy(arena, bytes, length), length);
    diag->source = s;
    if (length == 0 || strspn(s->text, " \t\r\n") == length) {
        error_plain(diag, "%s is empty\nwrite a network: network name { input(1, 28, 28); ... }", path);
        return NULL;
    }
    return check_text(diag, s) ? s : NULL;
}

/* What is wrong with this kind of file; NULL when it is one that can be read. */
static const char *refuse_kind(mode_t mode)
{
    if (S_ISREG(mode))
        return NULL;
    if (S_ISDIR(mode))
        return "a folder";
    if (S_ISFIFO(mode))
        return "a pipe";
    return S_ISSOCK(mode) ? "a socket" : "a device";
}

static void refuse(Diag *diag, const char *path, const char *kind)
{
    error_plain(diag, "%s is %s, not a network file\n%s", path, kind,
                strcmp(kind, "a folder") == 0 ? "name the .net file inside it" : "save the text to a file first");
}

/* At most one byte more than the limit, so that a file that grows is noticed. Returns the length, or -1 and errno. */
static ssize_t read_all(int file, char *bytes, size_t room)
{
    size_t length = 0;
    while (length < room) {
        ssize_t got = read(file, bytes + length, room - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    return (ssize_t)length;
}

/* The bytes of an open file; NULL after an error. */
static Source *read_open(Arena *arena, Diag *diag, const char *path, int file)
{
    struct stat info;
    if (fstat(file, &info) != 0) {
        error_plain(diag, "cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    const char *kind = refuse_kind(info.st_mode);
    if (kind) {
        refuse(diag, path, kind);
        return NULL;
    }
    /* Files of /proc say that they hold 0 bytes, so the size is a hint for refusing, not for reading. */
    if (info.st_size > SOURCE_LIMIT)
        return source_from_bytes(arena, diag, path, NULL, (size_t)info.st_size);
    Arena *scratch = arena_new();
    char *bytes = arena_alloc(scratch, SOURCE_LIMIT + 1);
    ssize_t length = read_all(file, bytes, SOURCE_LIMIT + 1);
    Source *s = NULL;
    if (length < 0)
        error_plain(diag, "cannot read %s: %s", path, strerror(errno));
    else
        s = source_from_bytes(arena, diag, path, bytes, (size_t)length);
    arena_free(scratch);
    return s;
}

Source *source_read(Arena *arena, Diag *diag, const char *path)
{
    /* Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever. */
    int file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (file < 0 && errno == ENXIO) {
        refuse(diag, path, "a socket");
        return NULL;
    }
    if (file < 0) {
        error_plain(diag, "cannot read %s: %s\ncheck its name and its permissions", path, strerror(errno));
        return NULL;
    }
    Source *s = read_open(arena, diag, path, file);
    close(file);
    return s;
}

int source_line(const Source *s, int offset, int *column)
{
    if (offset > s->length)
        offset = s->length;
    int low = 0, high = s->lines;       /* line[low] <= offset < line[high] */
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (s->line[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    if (column) {
        *column = 1;
        for (int i = s->line[low]; i < offset; i++)
            *column += ((unsigned char)s->text[i] & 0xc0) != 0x80;
    }
    return low + 1;
}
