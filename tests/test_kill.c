/* test_kill.c - a trainer that cnnc made is killed at its system calls: between the first file of a run and the end of
 * its third save, whichever thread makes them. Each time the run is resumed (or begun again where nothing was saved),
 * and its files are those of a run left alone, bit for bit.
 *
 * The trainer runs under ptrace: calls are counted where they are entered, and the process is gone before the n-th is
 * done.
 * KILL_POINTS=all tries every call (make test-long); otherwise every EVERY-th is tried, from one that changes daily.
 */
#include "support.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/ptrace.h>

enum { EVERY = 3, LEAST_CALLS = 500 };

#define SMALL BUILD "/tests/kill-network"
#define TRAIN " train --data synthetic --limit-batches 2 --epochs 3 --keep 3 --loader-threads 1 --threads 1 --out "

static void build_small(void)
{
    static const char network[] =
        "network small(classes = 10) { input(1, 8, 8); conv(4, 3); batchnorm; relu; dropout(0.25); flatten;\n"
        "linear(classes); train { batch = 8; optimizer = sgd(lr = 0.05, momentum = 0.9); } }\n";
    Outcome o = run_command("mkdir -p %s/tests", BUILD);
    outcome_free(&o);
    write_whole(SMALL ".net", network, strlen(network));
    o = run_command("%s/cnnc %s.net -o %s", BUILD, SMALL, SMALL);
    cr_assert(o.status == 0, "%s", o.err);
    outcome_free(&o);
}

TestSuite(kill, .init = build_small);

/* ---- a process under ptrace -------------------------------------------------------------------------------------- */

/* Whether the path that an openat or mkdir is called with lies at `folder`. */
static int touches(pid_t thread, const struct ptrace_syscall_info *call, const char *folder)
{
    char path[4096] = "";
    size_t length = strlen(folder);
    unsigned long long at = call->entry.nr == SYS_openat ? call->entry.args[1] : 0;
#ifdef SYS_mkdir
    at = call->entry.nr == SYS_mkdir ? call->entry.args[0] : at;
#endif
    at = call->entry.nr == SYS_mkdirat ? call->entry.args[1] : at;
    if (at == 0)
        return 0;
    struct iovec to = {path, length}, from = {(void *)(uintptr_t)at, length};
    return process_vm_readv(thread, &to, 1, &from, 1, 0) == (ssize_t)length && strcmp(path, folder) == 0;
}

static pid_t begin(char *const argv[])
{
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL)
            _exit(99);
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        execv(argv[0], argv);
        _exit(98);
    }
    int status;
    cr_assert(child > 0 && waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    cr_assert(ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE |
              PTRACE_O_EXITKILL)) == 0, "ptrace: %s", strerror(errno));
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    return child;
}

/* Runs a program and kills it as it enters call number `at` (from 1) of those that follow the first that touches the
 * folder; 0: never. Its status, and in *calls how many of them were entered. */
static int run_until(char *const argv[], const char *folder, long at, long *calls)
{
    pid_t child = begin(argv), thread;
    int status = 0, last = -1, counting = 0;
    *calls = 0;
    while ((thread = waitpid(-1, &status, __WALL)) > 0) {
        if (!WIFSTOPPED(status)) {
            last = thread == child ? status : last;
            continue;
        }
        int signal = WSTOPSIG(status), pass = 0;
        if (signal == (SIGTRAP | 0x80)) {
            struct ptrace_syscall_info call;
            long got = ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof call, &call);
            if (got > 0 && call.op == PTRACE_SYSCALL_INFO_ENTRY) {
                counting = counting || touches(thread, &call, folder);
                *calls += counting;
                if (counting && *calls == at)
                    kill(child, SIGKILL);
            }
        } else if (signal != SIGTRAP && signal != SIGSTOP) {
            pass = signal;
        }
        ptrace(PTRACE_SYSCALL, thread, NULL, (void *)(intptr_t)pass);
    }
    return last;
}

/* ---- the test ---------------------------------------------------------------------------------------------------- */

/* Everything in a folder but what tells time (columns of metrics.csv; the seconds in a state) and what a run that was
 * begun again has set aside. */
static char *digest(const char *folder)
{
    Outcome o = run_command("cd %s && ls | grep -v '^previous\\.[bcm]' && "
                            "sha256sum last.safetensors best.safetensors previous.safetensors "
                            "step-*[0-9].safetensors curves.svg report.html config.json && cut -d, -f1-6,9 metrics.csv",
                            folder);
    cr_assert(o.status == 0, "%s: %s", folder, o.err);
    free(o.err);
    return o.out;
}

static int exists(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

Test(kill, every_system_call_of_three_saves, .timeout = 1800)
{
    char scratch[] = "/dev/shm/cnnc-kill-XXXXXX", whole[64], part[64];       /* where syncing takes no time */
    cr_assert(mkdtemp(scratch) != NULL, "%s: %s", scratch, strerror(errno));
    const char *points = getenv("KILL_POINTS");
    long every = points && strcmp(points, "all") == 0 ? 1 : EVERY, tried = 0, resumed = 0, calls, total;
    snprintf(whole, sizeof whole, "%s/whole", scratch);
    snprintf(part, sizeof part, "%s/part", scratch);
    char *const argv[] = {SMALL, "train", "--data", "synthetic", "--limit-batches", "2", "--epochs", "3", "--keep", "3",
                          "--loader-threads", "1", "--threads", "1", "--out", part, NULL};
    cr_assert(run_until(argv, part, 0, &total) == 0, "the trainer fails under ptrace");
    cr_assert_geq(total, LEAST_CALLS, "only %ld calls", total);
    Outcome o = run_command(SMALL TRAIN "%s", whole);
    cr_assert(o.status == 0, "%s", o.err);
    outcome_free(&o);
    char *right = digest(whole);

    for (long at = 1 + time(NULL) / 86400 % every; at <= total; at += every, tried++) {
        o = run_command("rm -rf %s", part);
        outcome_free(&o);
        run_until(argv, part, at, &calls);
        int saved = exists(part, "last.state.safetensors");
        o = run_command(SMALL "%s%s", saved ? " train --resume --loader-threads 1 --threads 1 --out " : TRAIN, part);
        cr_assert(o.status == 0, "killed at call %ld: %s", at, o.err);
        char *now = digest(part);
        cr_assert(strcmp(now, right) == 0, "killed at call %ld of %ld:\n%s\nnot\n%s", at, total, now, right);
        outcome_free(&o);
        free(now);
        resumed += saved;
    }
    fprintf(stderr, "killed %ld times at %ld calls, resumed %ld times\n", tried, total, resumed);
    cr_expect(resumed > tried / 3, "resumed %ld times of %ld", resumed, tried);
    free(right);
    o = run_command("rm -r %s", scratch);
    outcome_free(&o);
}
