/* support.c - child processes, files and goldens for the test suites; declared and described in support.h.
 *
 * A child writes to temporary files rather than to pipes, so that no amount of output can block it.
 */
#define _GNU_SOURCE             /* asprintf */
#include "support.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *read_stream(FILE *f, size_t *length)
{
    size_t used = 0, room = 4096;
    char *text = malloc(room);
    for (size_t got = 1; got > 0; used += got) {
        if (room - used < 2) {
            room *= 2;
            text = realloc(text, room);
        }
        got = fread(text + used, 1, room - used - 1, f);
    }
    text[used] = 0;
    if (length)
        *length = used;
    return text;
}

static Outcome run_shell(const char *command)
{
    FILE *out = tmpfile(), *err = tmpfile();
    cr_assert(out && err, "no temporary file for: %s", command);
    fflush(NULL);
    pid_t child = fork();
    cr_assert(child >= 0, "cannot fork for: %s", command);
    if (child == 0) {
        int null = open("/dev/null", O_RDONLY);
        dup2(null, STDIN_FILENO);
        dup2(fileno(out), STDOUT_FILENO);
        dup2(fileno(err), STDERR_FILENO);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    int status;
    cr_assert(waitpid(child, &status, 0) == child, "lost: %s", command);
    rewind(out);
    rewind(err);
    Outcome o = {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), read_stream(out, NULL),
                 read_stream(err, NULL)};
    fclose(out);
    fclose(err);
    return o;
}

Outcome run_command(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *command;
    int length = vasprintf(&command, format, args);
    va_end(args);
    cr_assert(length >= 0, "out of memory");
    Outcome o = run_shell(command);
    free(command);
    return o;
}

void outcome_free(Outcome *o)
{
    free(o->out);
    free(o->err);
    *o = (Outcome){0};
}

char *scratch_folder(const char *name)
{
    char *path;
    cr_assert(asprintf(&path, "%s/tests/scratch/%s", BUILD, name) >= 0, "out of memory");
    Outcome o = run_command("rm -rf '%s' && mkdir -p '%s'", path, path);
    cr_assert(o.status == 0, "cannot make %s: %s", path, o.err);
    outcome_free(&o);
    return path;
}

char *read_whole(const char *path, size_t *length)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    char *text = read_stream(f, length);
    fclose(f);
    return text;
}

void write_whole(const char *path, const void *bytes, size_t length)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f, "cannot write %s", path);
    size_t written = fwrite(bytes, 1, length, f);
    cr_assert(fclose(f) == 0 && written == length, "cannot write %s", path);
}

void expect_golden(const char *golden_path, const char *actual)
{
    const char *update = getenv("UPDATE_GOLDENS");
    if (update && strcmp(update, "1") == 0) {
        Outcome o = run_command("mkdir -p \"$(dirname '%s')\"", golden_path);
        outcome_free(&o);
        write_whole(golden_path, actual, strlen(actual));
        return;
    }
    char *golden = read_whole(golden_path, NULL);
    if (golden && strcmp(golden, actual) == 0) {
        free(golden);
        return;
    }
    char name[] = "/tmp/cnnc-actual-XXXXXX";
    int file = mkstemp(name);
    cr_assert(file >= 0, "no temporary file for %s", golden_path);
    close(file);
    write_whole(name, actual, strlen(actual));
    Outcome o = run_command("diff -u --label '%s' --label actual '%s' '%s'", golden_path,
                            golden ? golden_path : "/dev/null", name);
    unlink(name);
    cr_expect(0, "%s %s (UPDATE_GOLDENS=1 rewrites it)\n%s", golden_path, golden ? "differs" : "is missing", o.out);
    outcome_free(&o);
    free(golden);
}
