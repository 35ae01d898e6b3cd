/* save.c - saves files so that a crash, a full disk or a signal never costs the previous one; see save.h.
 *
 * The order is that of Pillai et al. 2014, "All File Systems Are Not Created Equal": data to the disk before the name,
 * the name before anything that relies on it.
 */
#define _GNU_SOURCE
#include "save.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NO_FILE = -2 };          /* a cause that errno has no name for */

int cnn_save_fail(cnn_save *s, const char *what, int cause)
{
    if (s->what == NULL) {
        s->what = what;
        s->cause = cause;
    }
    return 0;
}

int cnn_save_begin(cnn_save *s, const char *path)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct stat about;
    *s = (cnn_save){.path = path, .file = -1};
    sigaction(SIGXFSZ, &ignore, &s->before);
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode))
        return cnn_save_fail(s, "it is no regular file", NO_FILE);
    if (asprintf(&s->temporary, "%s.tmp", path) < 0) {
        s->temporary = NULL;
        return cnn_save_fail(s, "naming the temporary file", ENOMEM);
    }
    s->file = open(s->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    return s->file >= 0 || cnn_save_fail(s, "creating the temporary file", errno);
}

int cnn_save_put(cnn_save *s, const void *bytes, size_t length)
{
    const char *from = bytes;
    for (size_t done = 0; s->what == NULL && done < length; ) {
        ssize_t some = write(s->file, from + done, length - done);      /* may be short: the next call says why */
        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return cnn_save_fail(s, "writing", some ? errno : EIO);
        done += (size_t)some;
    }
    return s->what == NULL;
}

int cnn_save_over(cnn_save *s, uint64_t at, const void *bytes, size_t length)
{
    if (s->what == NULL && lseek(s->file, (off_t)at, SEEK_SET) < 0)
        return cnn_save_fail(s, "writing", errno);
    return cnn_save_put(s, bytes, length);
}

/* Syncs an open file or folder. Some file systems cannot sync a folder and say EINVAL: nothing more can be done. */
static int sync_file(cnn_save *s, int file, const char *what)
{
    while (fsync(file) < 0)
        if (errno != EINTR)
            return errno == EINVAL || cnn_save_fail(s, what, errno);
    return 1;
}

/* Syncs the folder that `path` is in; what is behind its last slash is cut off. */
static int sync_folder(cnn_save *s, char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = 0;
    int folder = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return errno == EACCES || cnn_save_fail(s, "opening its folder", errno);    /* that one may write, not read */
    int synced = sync_file(s, folder, "syncing its folder");
    close(folder);
    return synced;
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
    case CNN_SAVE_NO_MEMORY: case ENOMEM:
        return "close other programs; the previous file is untouched";
    }
    return "check the disk, or save elsewhere";
}

/* 1, or 0 after a report where something failed. */
static int report(const cnn_save *s)
{
    if (s->what)
        cnn_error("%s: cannot be saved: %s%s%s\n%s", s->path, s->what, s->cause > 0 ? ": " : "",
                  s->cause > 0 ? strerror(s->cause) : "", mend(s->cause));
    return s->what == NULL;
}

static void finish(cnn_save *s)
{
    if (s->file >= 0) {
        if (s->what == NULL)
            sync_file(s, s->file, "syncing it to the disk");
        if (close(s->file) < 0)
            cnn_save_fail(s, "closing it", errno);
        if (s->what == NULL && rename(s->temporary, s->path) < 0)
            cnn_save_fail(s, "renaming the temporary file", errno);
        if (s->what == NULL)
            sync_folder(s, s->temporary);
        else
            unlink(s->temporary);
    }
    free(s->temporary);
    sigaction(SIGXFSZ, &s->before, NULL);
}

int cnn_save_end(cnn_save *s)
{
    finish(s);
    return report(s);
}

void cnn_save_drop(cnn_save *s)
{
    cnn_save_fail(s, "dropped", 0);
    finish(s);
}

int cnn_save_bytes(const char *path, const void *bytes, size_t length)
{
    cnn_save s;
    if (cnn_save_begin(&s, path))
        cnn_save_put(&s, bytes, length);
    return cnn_save_end(&s);
}

/* ---- another name ------------------------------------------------------------------------------------------------ */

static int copy(const char *from, const char *to)
{
    enum { PIECE = 1 << 16 };
    cnn_save s;
    char piece[PIECE];
    ssize_t got = 0;
    int file = cnn_save_begin(&s, to) ? open(from, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        cnn_save_fail(&s, "opening what it is a copy of", errno);
    while (file >= 0 && ((got = read(file, piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR)))
        if (got > 0 && !cnn_save_put(&s, piece, (size_t)got))
            break;
    if (got < 0)
        cnn_save_fail(&s, "reading what it is a copy of", errno);
    if (file >= 0)
        close(file);
    return cnn_save_end(&s);
}

int cnn_save_link(const char *from, const char *to)
{
    cnn_save s = {.path = to, .file = -1};
    if (asprintf(&s.temporary, "%s.tmp", to) < 0) {
        cnn_save_fail(&s, "naming the temporary file", ENOMEM);
        return report(&s);
    }
    unlink(s.temporary);
    int linked = link(from, s.temporary) == 0, there = linked || errno != ENOENT;
    if (linked && rename(s.temporary, to) < 0)
        cnn_save_fail(&s, "renaming the temporary file", errno);
    unlink(s.temporary);                /* rename leaves it where both are one file already */
    if (linked && s.what == NULL)
        sync_folder(&s, s.temporary);
    free(s.temporary);
    return there && !linked ? copy(from, to) : report(&s);
}
