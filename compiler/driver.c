/* driver.c - writes the generated files, and runs the C compiler on them where an object or a program is asked for.
 *
 * Requires: complete C text. Establishes: the output file, or an error and no file. The runtime's headers and archives
 * lie beside the compiler: <folder of cnnc>/include, libcnn.a, libcnn-double.a.
 */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

extern char **environ;

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

/* What the C compiler is given for this target. */
static const char *compiler_flags(Arena *arena, const Options *o)
{
    return arena_printf(arena, "%s%s%s%s", common_flags, *o->target->flags ? " " : "", o->target->flags,
                        o->double_precision ? " -DREAL=double" : "");
}

static const char *own_folder(Arena *arena)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0)
        return ".";
    path[length] = 0;
    char *slash = strrchr(path, '/');
    return arena_copy(arena, path, slash ? (size_t)(slash - path) : 0);
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

/* The .c and the .h, both or none. */
static bool write_pair(Arena *arena, Diag *diag, const char *c_file, const char *source, const char *h_file,
                       const char *header)
{
    const char *c = temporary_name(arena, c_file), *h = temporary_name(arena, h_file);
    if (!write_text(diag, c, c_file, source, strlen(source)))
        return false;
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

/* ---- the C compiler ---------------------------------------------------------------------------------------------- */

enum { MAX_WORDS = 64 };
typedef struct { char *word[MAX_WORDS + 1]; int count; } CommandLine;

static void add_word(CommandLine *c, const char *word)
{
    if (c->count == MAX_WORDS)
        abort();
    c->word[c->count++] = (char *)word;
}

static void add_words(Arena *arena, CommandLine *c, const char *text)
{
    char *copy = arena_copy(arena, text, strlen(text)), *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        add_word(c, word);
}

/* For a shell: in quotes where it needs them. */
static void print_word(const char *word)
{
    if (*word && !word[strcspn(word, " \t\n\"'`$&|;<>()*?[]{}#~!\\")]) {
        fputs(word, stderr);
        return;
    }
    fputc('\'', stderr);
    for (; *word; word++)
        fputs(*word == '\'' ? "'\\''" : (const char[2]){*word}, stderr);
    fputc('\'', stderr);
}

/* Exit status of the command, 127 when there is no such program. */
static int run_words(const CommandLine *c, bool verbose)
{
    for (int i = 0; verbose && i < c->count; i++) {
        print_word(c->word[i]);
        fputc(i + 1 < c->count ? ' ' : '\n', stderr);
    }
    pid_t child;
    int status;
    if (posix_spawnp(&child, c->word[0], NULL, NULL, c->word, environ) != 0)
        return 127;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool is_installed(Arena *arena, const char *program)
{
    const char *path = getenv("PATH");
    char *copy = arena_copy(arena, path ? path : "", path ? strlen(path) : 0), *rest = NULL;
    for (char *folder = strtok_r(copy, ":", &rest); folder; folder = strtok_r(NULL, ":", &rest))
        if (access(arena_printf(arena, "%s/%s", folder, program), X_OK) == 0)
            return true;
    return false;
}

static const char *find_compiler(Arena *arena, const Options *o)
{
    static const char *const known[] = {"clang-19", "clang", "gcc"};
    if (o->cc)
        return o->cc;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is_installed(arena, known[i]))
            return known[i];
    return NULL;
}

static void compile_words(Arena *arena, CommandLine *c, const Options *o, const char *cc, const char *c_file,
                          const char *result)
{
    const char *folder = own_folder(arena);
    const char *archive = arena_printf(arena, "%s/libcnn%s.a", folder, o->double_precision ? "-double" : "");
    add_word(c, cc);
    add_words(arena, c, compiler_flags(arena, o));
    add_word(c, "-std=gnu11");
    add_word(c, arena_printf(arena, "-I%s/include", folder));
    if (o->kind == OUTPUT_OBJECT)
        add_word(c, "-c");
    if (o->kind == OUTPUT_SHARED)
        add_words(arena, c, "-shared -fPIC");
    if (o->kind == OUTPUT_PROGRAM)
        add_words(arena, c, arena_printf(arena, "-DCNN_MAIN -DCNN_TARGET=\"%s\"", o->target->name));
    if (o->kind == OUTPUT_PROGRAM)
        add_word(c, arena_printf(arena, "-DCNN_FLAGS=\"%s\"", compiler_flags(arena, o)));
    add_word(c, c_file);
    if (o->kind != OUTPUT_OBJECT)
        add_word(c, archive);
    if (o->kind == OUTPUT_PROGRAM)
        add_words(arena, c, "-lz -ljansson");
    if (o->kind != OUTPUT_OBJECT)
        add_word(c, "-lm");
    add_word(c, "-o");
    add_word(c, result);
    c->word[c->count] = NULL;
}

/* False after an error where cnnc was taken out of its build folder without the runtime. */
static bool has_runtime(Arena *arena, Diag *diag, const Options *o)
{
    const char *name[] = {"include/cnn.h", o->double_precision ? "libcnn-double.a" : "libcnn.a"};
    for (int i = 0; i < (o->kind == OUTPUT_OBJECT ? 1 : 2); i++) {
        const char *path = arena_printf(arena, "%s/%s", own_folder(arena), name[i]);
        if (access(path, R_OK) != 0) {
            error_plain(diag, "the runtime's %s cannot be read: %s\ncnnc needs include/, libcnn.a and libcnn-double.a "
                        "beside it; make all puts them there", path, strerror(errno));
            return false;
        }
    }
    return true;
}

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
    const char *cc = find_compiler(arena, o);
    if (!cc) {
        error_plain(diag, "no C compiler is installed\ninstall clang-19 (make deps), name one with --cc=, or write C "
                    "with -o x.c");
        return false;
    }
    if (!has_runtime(arena, diag, o))
        return false;
    const char *result = is_special(o->output) ? with_suffix(arena, c_file, ".result")
                                               : temporary_name(arena, o->output);
    CommandLine c = {.count = 0};
    compile_words(arena, &c, o, cc, c_file, result);
    int status = run_words(&c, o->verbose);
    if (status == 0)
        return is_special(o->output) ? copy_into(diag, result, o->output) : publish(diag, result, o->output);
    if (status == 127)
        error_plain(diag, "the C compiler '%s' cannot be run\ninstall it, or name another one with --cc=", cc);
    else
        error_plain(diag, "%s ended with status %d and made no %s\nits message stands above; -v prints the command", cc,
                    status, o->output);
    unlink(result);
    return false;
}

/* The C goes to a scratch folder, the result to where the user wants it. */
static bool compile_output(Arena *arena, Diag *diag, const Options *o, const char *network, const char *source,
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

/* ---- output ------------------------------------------------------------------------------------------------------ */

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
    if (same_file(h_file, o->input)) {
        error_plain(diag, "the header %s would overwrite the network file\nchoose another name with -o", h_file);
        return false;
    }
    return is_no_folder(diag, h_file) && can_be_included(diag, h_file) &&
           write_pair(arena, diag, o->output, source, h_file, header);
}
