/* cc.c - runs the C compiler on a generated file.
 *
 * Requires: the .c and its .h in one folder. Establishes: an object, a shared library or a trainer. The runtime's
 * headers and archives lie beside cnnc: <folder of cnnc>/include, libcnn.a, libcnn-double.a.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"
#include "with.h"
#include "unit.h"

extern char **environ;

/* ---- what it is given -------------------------------------------------------------------------------------------- */

/* What the C compiler is given for this target. To gcc `on` is `off`: fast code, which is written in vectors and has
 * the same loops for any number of threads, gets its FMAs from `fast`. Its notes on how vectors wider than a register
 * (-DREAL=double) were passed before gcc 4.6 are of no use to anyone, and no pragma keeps them back. */
static const char *compiler_flags(Arena *arena, const Options *o, const char *cc)
{
    const char *gcc = o->level > 0 && strstr(base_name(cc), "gcc") ? " -ffp-contract=fast -Wno-psabi" : "";
    return arena_printf(arena, "%s%s%s%s%s", common_flags, gcc, *o->target->flags ? " " : "", o->target->flags,
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
    add_words(arena, c, compiler_flags(arena, o, cc));
    add_word(c, "-std=gnu11");
    add_word(c, arena_printf(arena, "-I%s/include", folder));
    if (o->kind == OUTPUT_OBJECT)
        add_word(c, "-c");
    if (o->kind == OUTPUT_SHARED)
        add_words(arena, c, "-shared -fPIC -Wl,--exclude-libs,ALL");       /* the runtime stays inside */
    if (o->kind == OUTPUT_PROGRAM)
        add_words(arena, c, arena_printf(arena, "-DCNN_MAIN -DCNN_TARGET=\"%s\"", o->target->name));
    for (int i = 0; feature_at(i); i++)
        if (o->kind == OUTPUT_PROGRAM && o->with >> i & 1)
            add_words(arena, c, feature_at(i)->flags);
    if (o->kind == OUTPUT_PROGRAM)
        add_word(c, arena_printf(arena, "-DCNN_FLAGS=\"%s\"", compiler_flags(arena, o, cc)));
    add_word(c, c_file);
    if (o->kind != OUTPUT_OBJECT)
        add_word(c, archive);
    if (o->kind == OUTPUT_PROGRAM)
        add_words(arena, c, "-lz -ljansson");
    for (int i = 0; feature_at(i); i++)
        if (o->kind == OUTPUT_PROGRAM && o->with >> i & 1)
            add_words(arena, c, arena_printf(arena, "-l%s", feature_at(i)->library));
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

/* Whether the C compiler finds a file of a library: it prints its path, and only its name where there is none. */
static bool finds_file(Arena *arena, const char *cc, const char *name)
{
    char text[4096] = "";
    int ends[2];
    pid_t child;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    char *const words[] = {(char *)cc, arena_printf(arena, "-print-file-name=%s", name), NULL};
    bool started = posix_spawnp(&child, cc, &actions, NULL, words, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    ssize_t length = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    while (started && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    return !started || (length > 0 && strchr(text, '/'));        /* what cannot be run is reported where it compiles */
}

/* False after an error where the library of a feature is not installed. */
static bool has_libraries(Arena *arena, Diag *diag, const Options *o, const char *cc)
{
    for (int i = 0; o->kind == OUTPUT_PROGRAM && feature_at(i); i++)
        if (o->with >> i & 1 && !finds_file(arena, cc, arena_printf(arena, "lib%s.so", feature_at(i)->library)) &&
            !finds_file(arena, cc, arena_printf(arena, "lib%s.a", feature_at(i)->library))) {
            error_plain(diag, "--with=%s needs lib%s, and %s does not find it\ninstall the Debian package %s",
                        feature_at(i)->name, feature_at(i)->library, cc, feature_at(i)->package);
            return false;
        }
    return true;
}

bool run_compiler(Arena *arena, Diag *diag, const Options *o, const char *c_file, const char *result)
{
    const char *cc = find_compiler(arena, o);
    if (!cc) {
        error_plain(diag, "no C compiler is installed\ninstall clang-19 (make deps), name one with --cc=, or write C "
                    "with -o x.c");
        return false;
    }
    if (!has_runtime(arena, diag, o) || !has_libraries(arena, diag, o, cc))
        return false;
    CommandLine c = {.count = 0};
    compile_words(arena, &c, o, cc, c_file, result);
    int status = run_words(&c, o->verbose);
    if (status == 127)
        error_plain(diag, "the C compiler '%s' cannot be run\ninstall it, or name another one with --cc=", cc);
    else if (status != 0)
        error_plain(diag, "%s ended with status %d and made no %s\nits message stands above; -v prints the command", cc,
                    status, o->output);
    return status == 0;
}
