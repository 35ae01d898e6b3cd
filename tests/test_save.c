/* test_save.c - saving weights when things go wrong: at every moment the path holds the old file or the new one, whole.
 *
 * The suite replaces write, fsync, rename, close and open of this program by ones that can fail, write only one byte,
 * or kill the process at the n-th call; while nothing is asked for, they just make the system call.
 */
#define _GNU_SOURCE
#include "capture.h"
#include "files/safetensors.h"
#include "support.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is to happen: at call number `at` (counting from 1) of the functions in `which`, or of all when it is NULL. */
static struct { int active, at, calls, cause, kill, one_byte; const char *which; } fault;

/* 1 when this call is to fail; errno is set. */
static int strike(const char *function)
{
    if (!fault.active || (fault.which && strcmp(fault.which, function) != 0) || ++fault.calls != fault.at)
        return 0;
    if (fault.kill)
        raise(SIGKILL);
    errno = fault.cause;
    return 1;
}

ssize_t write(int file, const void *bytes, size_t length)
{
    if (strike("write"))
        return -1;
    return syscall(SYS_write, file, bytes, fault.active && fault.one_byte && length > 1 ? 1 : length);
}

int fsync(int file)
{
    return strike("fsync") ? -1 : (int)syscall(SYS_fsync, file);
}

int rename(const char *from, const char *to)
{
    return strike("rename") ? -1 : renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int close(int file)
{
    int failing = strike("close");
    int result = (int)syscall(SYS_close, file);         /* a failing close closes all the same, as Linux does */
    if (failing)
        errno = fault.cause;
    return failing ? -1 : result;
}

static char *folder_of_test(void)
{
    char name[128];
    snprintf(name, sizeof name, "save-%s", criterion_current_test->name);
    return scratch_folder(name);
}

/* A network of one tensor whose values are all `mark`, and a buffer. */
enum { COUNT = 500 };

static void get(const void *mark, int i, cnn_real *out)
{
    (void)i;
    for (int k = 0; k < COUNT; k++)
        out[k] = *(const cnn_real *)mark;
}

static int save_mark(const char *path, cnn_real mark)
{
    cnn_stored item = {"", {"weight", 1, {COUNT}, COUNT, 1, 0}, get, NULL, &mark, 0};
    return cnn_safetensors_write(path, &item, 1, (cnn_metadata[]){{"epoch", "1"}}, 1);
}

static void set(void *context, int i, const cnn_real *in)
{
    (void)i;
    for (int k = 1; k < COUNT; k++)
        cr_assert_eq(in[k], in[0]);
    *(cnn_real *)context = in[0];
}

/* The mark in a file, which must be whole; -1 when there is none. */
static cnn_real read_mark(const char *path)
{
    cnn_real   mark = -2;
    cnn_stored item = {"", {"weight", 1, {COUNT}, COUNT, 1, 0}, NULL, set, &mark, 0};

    if (access(path, F_OK) != 0)
        return -1;
    cnn_safetensors *f = cnn_safetensors_open(path);
    cr_assert(f && cnn_safetensors_load(f, &item, 1, 0) == 1);
    cnn_safetensors_close(f);
    return mark;
}

static int exists(const char *path)
{
    struct stat about;
    return lstat(path, &about) == 0;
}

/* Saving fails with one error that holds `part`; no temporary file is left. */
static void expect_failure(const char *path, const char *part)
{
    static Capture c;
    char temporary[PATH_MAX];

    capture_begin(&c);
    int         ok = save_mark(path, 9);
    const char *text = capture_end(&c);
    cr_assert_not(ok, "saved, not failed with '%s'", part);
    expect_one_error(text, path, part);
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    cr_assert_not(exists(temporary));
}

Test(save, replaces_the_previous_file)
{
    char path[PATH_MAX], temporary[PATH_MAX + 8];

    snprintf(path, sizeof path, "%s/w", folder_of_test());
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    cr_assert(save_mark(path, 1));
    cr_assert_eq(read_mark(path), 1);
    write_whole(temporary, "left by a kill", 14);
    cr_assert(save_mark(path, 2));
    cr_assert_eq(read_mark(path), 2);
    cr_assert_not(exists(temporary));
    cr_assert(chdir(folder_of_test()) == 0);
    cr_assert(save_mark("bare", 3), "a name without a folder");
    cr_assert_eq(read_mark("bare"), 3);
}

Test(save, places_where_nothing_can_be_written)
{
    char       *folder = folder_of_test(), path[PATH_MAX], temporary[PATH_MAX + 8];
    struct stat about;

    snprintf(path, sizeof path, "%s/absent/w", folder);
    expect_failure(path, "creating the temporary file: No such file or directory\n  help: make its folder first");
    snprintf(path, sizeof path, "%s/file", folder);
    write_whole(path, "", 0);
    snprintf(path, sizeof path, "%s/file/w", folder);
    expect_failure(path, "creating the temporary file: Not a directory");
    expect_failure(folder, "it is no regular file");
    expect_failure("/dev/full", "it is no regular file");
    cr_assert(stat("/dev/full", &about) == 0 && S_ISCHR(about.st_mode));

    /* PATH.tmp as a link is not followed, so a device cannot be written through it */
    snprintf(path, sizeof path, "%s/linked", folder);
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    cr_assert(symlink("/dev/full", temporary) == 0);
    static Capture c;
    capture_begin(&c);
    cr_assert_not(save_mark(path, 1));
    expect_one_error(capture_end(&c), path, "creating the temporary file: Too many levels of symbolic links");

    snprintf(path, sizeof path, "%s/sealed", folder);
    cr_assert(mkdir(path, 0555) == 0);
    strcat(path, "/w");
    if (geteuid() == 0)
        cr_assert(seteuid(65534) == 0);         /* root may write anywhere */
    expect_failure(path, "creating the temporary file: Permission denied\n  help: check the folder's permissions");
}

/* A limit on the size of files makes a short write and then EFBIG; its signal does not end the program. */
Test(save, every_limit_of_the_file_size)
{
    char        path[PATH_MAX], temporary[PATH_MAX + 8];
    struct stat about;

    snprintf(path, sizeof path, "%s/w", folder_of_test());
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    cr_assert(save_mark(path, 1));
    cr_assert(stat(path, &about) == 0);
    cr_assert(freopen("/dev/full", "w", stderr), "the report is not held to the limit");
    for (rlim_t limit = 0; limit <= (rlim_t)about.st_size; limit += limit < 16 || limit > 2100 ? 1 : 97) {
        struct rlimit before, small;
        getrlimit(RLIMIT_FSIZE, &before);
        small = (struct rlimit){limit, before.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
        int ok = save_mark(path, 2);
        setrlimit(RLIMIT_FSIZE, &before);
        cr_assert_eq(ok, limit == (rlim_t)about.st_size, "limit %d", (int)limit);
        cr_assert_eq(read_mark(path), ok ? 2 : 1, "limit %d", (int)limit);
        cr_assert_not(exists(temporary));
    }
}

/* Each call of a save fails once, for each cause: one error, the old file, no temporary. */
Test(save, every_call_fails_once)
{
    static const int   causes[] = {ENOSPC, EIO, EDQUOT};
    static const char *functions[] = {"write", "fsync", "rename", "close"};
    char path[PATH_MAX], temporary[PATH_MAX + 8];
    int  failures = 0;

    snprintf(path, sizeof path, "%s/w", folder_of_test());
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    cr_assert(save_mark(path, 1));
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++)
        for (size_t k = 0; k < sizeof functions / sizeof *functions; k++)
            for (int at = 1;; at++) {
                static Capture c;
                capture_begin(&c);
                memset(&fault, 0, sizeof fault);
                fault.which = functions[k];
                fault.at = at;
                fault.cause = causes[i];
                fault.active = 1;
                int ok = save_mark(path, 2);
                fault.active = 0;
                const char *text = capture_end(&c);
                cr_assert_not(exists(temporary));
                if (fault.calls < at) {
                    cr_assert(ok, "%s", text);
                    cr_assert_eq(read_mark(path), 2);
                    cr_assert(save_mark(path, 1));
                    break;
                }
                int folder = at == 2 && (k == 1 || k == 3);         /* the sync and close of the folder come after */
                if (k == 3 && folder) {
                    cr_assert(ok);
                } else {
                    cr_assert_not(ok, "%s, call %d", functions[k], at);
                    expect_one_error(text, path, strerror(causes[i]));
                    failures++;
                }
                cr_assert_eq(read_mark(path), folder ? 2 : 1, "%s, call %d", functions[k], at);
                cr_assert(save_mark(path, 1));
            }
    cr_assert_geq(failures, 3 * (4 + 2 + 1 + 1), "all were struck: %d", failures);
}

Test(save, interrupted_and_short_writes_go_on)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/w", folder_of_test());
    memset(&fault, 0, sizeof fault);
    fault.active = fault.one_byte = 1;
    int ok = save_mark(path, 3);
    fault.active = 0;
    cr_assert(ok);
    cr_assert_eq(read_mark(path), 3);
    for (int at = 1; at <= 6; at++) {
        memset(&fault, 0, sizeof fault);
        fault.cause = EINTR;
        fault.at = at <= 4 ? at : at - 4;
        fault.which = at <= 4 ? "write" : "fsync";
        fault.active = 1;
        ok = save_mark(path, (cnn_real)at);
        fault.active = 0;
        cr_assert(ok);
        cr_assert_eq(read_mark(path), (cnn_real)at);
    }
}

/* Killed at each call of three saves in a row: what is there is whole, never older than the last save that ended, and
 * the next save works. */
Test(save, killed_at_every_call, .timeout = 120)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/w", folder_of_test());
    for (int at = 1, status = -1; status != 0; at++) {
        unlink(path);
        fflush(NULL);
        int ended[2];
        cr_assert(pipe(ended) == 0);
        pid_t child = fork();
        if (child == 0) {
            memset(&fault, 0, sizeof fault);
            fault.at = at;
            fault.kill = fault.active = 1;
            for (int mark = 1; mark <= 3; mark++) {
                if (!save_mark(path, (cnn_real)mark))
                    _exit(1);
                syscall(SYS_write, ended[1], "x", 1);
            }
            _exit(0);
        }
        syscall(SYS_close, ended[1]);
        cr_assert(waitpid(child, &status, 0) == child);
        cr_assert(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
        char saves[8];
        long done = read(ended[0], saves, sizeof saves);
        close(ended[0]);
        cnn_real mark = read_mark(path);
        cr_assert(mark == (cnn_real)done || mark == (cnn_real)(done + 1) || (done == 0 && mark == -1),
                  "call %d: %ld saves ended, the file is of save %g", at, done, (double)mark);
        cr_assert(save_mark(path, 8));
        cr_assert_eq(read_mark(path), 8);
        cr_assert(at < 100);
        if (status == 0)
            cr_assert_geq(at, 3 * 9, "every call was tried: %d", at);
    }
}

static int allocations, failing;

static void *sometimes(size_t size)
{
    return ++allocations == failing ? NULL : malloc(size);
}

/* Each allocation of the JSON library fails once: one error, or a file that is right. */
Test(save, every_allocation_for_the_header_fails_once)
{
    char path[PATH_MAX];
    int  failures = 0;

    snprintf(path, sizeof path, "%s/w", folder_of_test());
    cr_assert(save_mark(path, 1));
    json_set_alloc_funcs(sometimes, free);
    for (int loading = 0; loading < 2; loading++)
        for (int at = 1, struck = 1; struck; at++) {
            static Capture c;
            cnn_real   mark = 0;
            cnn_stored item = {"", {"weight", 1, {COUNT}, COUNT, 1, 0}, NULL, set, &mark, 0};

            capture_begin(&c);
            allocations = 0;
            failing = at;
            cnn_safetensors *f = loading ? cnn_safetensors_open(path) : NULL;
            int ok = loading ? f && cnn_safetensors_load(f, &item, 1, 0) == 1 : save_mark(path, 2);
            cnn_safetensors_close(f);
            struck = allocations >= at;
            failing = 0;
            const char *text = capture_end(&c);
            if (!ok)
                expect_one_error(text, path, "");
            cr_assert(ok || struck, "%s", text);
            cr_assert_eq(read_mark(path), ok || loading ? 2 : 1, "allocation %d", at);
            cr_assert(loading || save_mark(path, struck ? 1 : 2));
            failures += !ok;
        }
    cr_assert_gt(failures, 40, "%d", failures);
}
