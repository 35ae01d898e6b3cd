/* driver.c - writes the generated files, compiled by cc.c where an object or a program is asked for.
 *
 * Requires: complete C text. Establishes: the output file and its header, or an error and no file.
 */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* The path with its last suffix replaced: "a/lenet.c" -> "a/lenet.h". */
static const char *with_suffix(Arena *arena, const char *path, const char *suffix)
{
    const char *dot = strrchr(base_name(path), '.');
    int length = dot ? (int)(dot - path) : (int)strlen(path);
    return arena_printf(arena, "%.*s%s", length, path, suffix);
}

const char *header_name(Arena *arena, const Options *o, const char *network)
{
    if (o->kind == OUTPUT_C && o->output && strcmp(o->output, "-") != 0)
        return base_name(with_suffix(arena, o->output, ".h"));
    return arena_printf(arena, "%s.h", network);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, text, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        text += written;
        length -= (size_t)written;
    }
    return true;
}

static bool write_error(Diag *diag, const char *path)
{
    error_plain(diag, "%s cannot be written: %s\ncheck the folder, or choose another place with -o", path,
                strerror(errno));
    return false;
}

/* A device or pipe is written in place; a file through a temporary one beside it. */
static bool is_special(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

/* Writes the text to `place`; no regular file is left there after an error. */
static bool write_text(Diag *diag, const char *place, const char *path, const char *text, size_t length)
{
    int fd = open(place, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return write_error(diag, path);
    bool good = write_all(fd, text, length);
    good = close(fd) == 0 && good;
    if (good)
        return true;
    write_error(diag, path);
    if (!is_special(place))
        unlink(place);
    return false;
}

static const char *temporary_name(Arena *arena, const char *path)
{
    return arena_printf(arena, "%s.%ld.tmp", path, (long)getpid());
}

/* A complete temporary file takes its name; it is removed when that fails. */
static bool publish(Diag *diag, const char *temporary, const char *path)
{
    if (rename(temporary, path) == 0)
        return true;
    write_error(diag, path);
    unlink(temporary);
    return false;
}

/* The .c and the .h, both or none. header NULL: the .c stands alone. */
static bool write_pair(Arena *arena, Diag *diag, const char *c_file, const char *source, const char *h_file,
                       const char *header)
{
    const char *c = temporary_name(arena, c_file), *h = temporary_name(arena, h_file);
    if (!write_text(diag, c, c_file, source, strlen(source)))
        return false;
    if (!header)
        return publish(diag, c, c_file);
    if (!write_text(diag, h, h_file, header, strlen(header))) {
        unlink(c);
        return false;
    }
    if (!publish(diag, c, c_file)) {
        unlink(h);
        return false;
    }
    if (publish(diag, h, h_file))
        return true;
    unlink(c_file);
    return false;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* False after an error where a folder has the name. */
static bool is_no_folder(Diag *diag, const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode))
        return true;
    error_plain(diag, "%s cannot be written: it is a folder\nchoose another name with -o", path);
    return false;
}

/* False after an error where a header cannot take this name. */
static bool is_free_name(Diag *diag, const Options *o, const char *h_file)
{
    if (!same_file(h_file, o->input))
        return is_no_folder(diag, h_file);
    error_plain(diag, "the header %s would overwrite the network file\nchoose another name with -o", h_file);
    return false;
}

/* ---- compiled output -------------------------------------------------------------------------------------------- */

/* A device or a pipe keeps its place: the result is copied into it. */
static bool copy_into(Diag *diag, const char *from, const char *path)
{
    char bytes[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t got = 0;
    bool good = in >= 0 && out >= 0;
    while (good && (got = read(in, bytes, sizeof bytes)) > 0)
        good = write_all(out, bytes, (size_t)got);
    good = good && got == 0;
    if (!good)
        write_error(diag, path);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    unlink(from);
    return good;
}

static bool compile(Arena *arena, Diag *diag, const Options *o, const char *c_file)
{
    const char *result = is_special(o->output) ? with_suffix(arena, c_file, ".result")
                                               : temporary_name(arena, o->output);
    if (run_compiler(arena, diag, o, c_file, result))
        return is_special(o->output) ? copy_into(diag, result, o->output) : publish(diag, result, o->output);
    unlink(result);
    return false;
}

/* The C goes to a scratch folder, the result to where the user wants it. */
static bool compile_apart(Arena *arena, Diag *diag, const Options *o, const char *network, const char *source,
                          const char *header)
{
    const char *parent = getenv("TMPDIR") && *getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char *folder = arena_printf(arena, "%s/cnnc-XXXXXX", parent);
    if (!mkdtemp(folder)) {
        error_plain(diag, "%s cannot be written: %s\nset TMPDIR to a folder for temporary files", parent,
                    strerror(errno));
        return false;
    }
    const char *c_file = arena_printf(arena, "%s/%s.c", folder, network);
    const char *h_file = arena_printf(arena, "%s/%s.h", folder, network);
    bool good = write_pair(arena, diag, c_file, source, h_file, header) && compile(arena, diag, o, c_file);
    unlink(c_file);
    unlink(h_file);
    rmdir(folder);
    return good;
}

/* An object file or a library needs its header to be used: net.h beside net.o or libnet.so. NULL: none is needed. */
static const char *header_beside(Arena *arena, const Options *o)
{
    if (o->kind == OUTPUT_PROGRAM || o->command == COMMAND_KERNEL || is_special(o->output))
        return NULL;
    const char *path = with_suffix(arena, o->output, ".h"), *base = base_name(path);
    bool library = o->kind == OUTPUT_SHARED && strncmp(base, "lib", 3) == 0 && base[3] != '.';
    return library ? arena_printf(arena, "%.*s%s", (int)(base - path), path, base + 3) : path;
}

/* The result and its header, both or none. */
static bool compile_output(Arena *arena, Diag *diag, const Options *o, const char *network, const char *source,
                           const char *header)
{
    const char *h_file = header_beside(arena, o);
    if (!h_file)
        return compile_apart(arena, diag, o, network, source, header);
    const char *temporary = temporary_name(arena, h_file);
    if (!is_free_name(diag, o, h_file) || !write_text(diag, temporary, h_file, header, strlen(header)))
        return false;
    if (!compile_apart(arena, diag, o, network, source, header)) {
        unlink(temporary);
        return false;
    }
    if (publish(diag, temporary, h_file))
        return true;
    unlink(o->output);
    return false;
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

/* The .c includes the .h by its name, so that must stand between quotes in one line. */
static bool can_be_included(Diag *diag, const char *h_file)
{
    if (!strpbrk(base_name(h_file), "\"\\\n"))
        return true;
    error_plain(diag, "the header %s cannot be included by this name\nchoose one without quotes, backslashes and line "
                "breaks", h_file);
    return false;
}

bool write_output(Arena *arena, Diag *diag, const Options *o, const char *network, const char *source,
                  const char *header)
{
    if (o->kind == OUTPUT_NOTHING)
        return true;
    if (same_file(o->output, o->input)) {
        error_plain(diag, "-o %s would overwrite the network file\nchoose another name", o->output);
        return false;
    }
    if (!is_no_folder(diag, o->output))
        return false;
    if (o->kind != OUTPUT_C)
        return compile_output(arena, diag, o, network, source, header);
    if (strcmp(o->output, "-") == 0)
        return (fputs(source, stdout) >= 0 && fflush(stdout) == 0) || write_error(diag, "standard output");
    if (is_special(o->output))
        return write_text(diag, o->output, o->output, source, strlen(source));
    const char *h_file = with_suffix(arena, o->output, ".h");
    if (!header)
        return write_pair(arena, diag, o->output, source, h_file, NULL);
    return is_free_name(diag, o, h_file) && can_be_included(diag, h_file) &&
           write_pair(arena, diag, o->output, source, h_file, header);
}
