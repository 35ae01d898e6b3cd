/* folder.c - the folder of a run: what lies in it, in which order it is written, and that one run at a time has it.
 *
 *   config.json                         network, compiler, data and options (config.c)
 *   metrics.csv, curves.svg             a row an epoch, and the drawing of it (metrics.c, curves.c)
 *   report.html                         the test set after the last epoch, looked at closely (report.c)
 *   last.*, previous.*                  the last two checkpoints (checkpoint.c)
 *   best.safetensors                    the weights of the epoch with the highest test accuracy, the first of equals
 *   step-NNNNNNNN.*                     with --keep N > 2: the last N checkpoints under the number of their step
 *   previous.config.json and so on      what a run before this one has left here
 *
 * Every file is there whole or not at all (save.h). What an epoch says of itself (row, drawing, report) is written
 * before its checkpoint, best.safetensors and step-* after it, as other names of the same files: a run that was cut off
 * between the two gives the names when it is resumed.
 */
#include "run.h"
#include "error.h"
#include "files/save.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* The files of a run, and where a new run in the same folder puts those of the run before. The state comes first:
 * without it there is nothing to resume. */
static const struct { const char *name, *aside; } files[] = {
    {"last.state.safetensors", "previous.state.safetensors"},
    {"last.safetensors",       "previous.safetensors"},
    {"best.safetensors",       "previous.best.safetensors"},
    {"config.json",            "previous.config.json"},
    {"metrics.csv",            "previous.metrics.csv"},
    {"curves.svg",             "previous.curves.svg"},
    {"report.html",            "previous.report.html"},
};
enum { FILES = sizeof files / sizeof *files };

/* ---- the folder -------------------------------------------------------------------------------------------------- */

int cnn_folder_name(cnn_folder *f, const cnn_session *s)
{
    const cnn_options *o = &s->options;
    *f = (cnn_folder){.lock = -1, .best = -1};
    if (snprintf(f->path, sizeof f->path, "%s%s", o->out ? "" : "runs/", o->out ? o->out : s->facts->name) < CNN_PATH)
        return 1;
    cnn_error("--out: the path is too long");
    return 0;
}

int cnn_folder_lock(cnn_folder *f, int resume)
{
    f->lock = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->lock < 0) {
        cnn_error("%s: the folder cannot be opened: %s\n%s", f->path, strerror(errno), resume ?
                  "there is no run to resume: leave out --resume, or name its folder with --out" :
                  "choose another one with --out");
        return 0;
    }
    if (flock(f->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return 1;                       /* a file system without locks is no reason not to train */
    cnn_error("%s: another run is training into this folder\nchoose another one with --out", f->path);
    return 0;
}

void cnn_folder_close(cnn_folder *f)
{
    if (f->lock >= 0)
        close(f->lock);
}

/* The number of "step-00000812.safetensors", or of its state; -1 for other names. */
static long long step_of(const char *name, const char *ending)
{
    char *end;
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9')
        return -1;
    long long step = strtoll(name + 5, &end, 10);
    return strcmp(end, ending) == 0 ? step : -1;
}

/* Whether a file is one that a save of this folder, cut off, leaves behind. */
static int is_leftover(const struct dirent *entry)
{
    static const char ending[] = ".tmp";
    size_t length = strlen(entry->d_name), stem = length - (sizeof ending - 1);
    if (length < sizeof ending || strcmp(entry->d_name + stem, ending) != 0)
        return 0;
    for (int i = 0; i < FILES; i++)
        if ((strlen(files[i].name) == stem && memcmp(files[i].name, entry->d_name, stem) == 0) ||
            (strlen(files[i].aside) == stem && memcmp(files[i].aside, entry->d_name, stem) == 0))
            return 1;
    return step_of(entry->d_name, ".safetensors.tmp") >= 0 || step_of(entry->d_name, ".state.safetensors.tmp") >= 0;
}

static int is_step(const struct dirent *entry)
{
    return step_of(entry->d_name, ".safetensors") >= 0;
}

/* The entries that `wanted` chooses, by name; -1 after cnn_error. The caller frees each, and the list. */
static int list(const cnn_folder *f, int (*wanted)(const struct dirent *), struct dirent ***entries)
{
    int count = scandir(f->path, entries, wanted, versionsort);
    if (count < 0)
        cnn_error("%s: the folder cannot be read: %s\ncheck its permissions", f->path, strerror(errno));
    return count;
}

static int remove_file(const cnn_folder *f, const char *name)
{
    char path[CNN_PATH];
    if (!cnn_path(path, f->path, name))
        return 0;
    if (unlink(path) == 0 || errno == ENOENT)
        return 1;
    cnn_error("%s: cannot be removed: %s\nremove it yourself", path, strerror(errno));
    return 0;
}

static int remove_leftovers(const cnn_folder *f)
{
    struct dirent **entries;
    int count = list(f, is_leftover, &entries), removed = count >= 0;
    for (int i = 0; i < count; i++) {
        removed = removed && remove_file(f, entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return removed;
}

/* ---- a checkpoint's other names ---------------------------------------------------------------------------------- */

/* Gives a file of the checkpoint another name. */
static int also(const cnn_folder *f, const char *from_name, const char *to_name)
{
    char from[CNN_PATH], to[CNN_PATH];
    return cnn_path(from, f->path, from_name) && cnn_path(to, f->path, to_name) && cnn_save_link(from, to);
}

/* Names the checkpoint by its step and removes those older than the last `keep` up to this one. The state goes first,
 * so that what a kill leaves half removed is seen the next time. */
static int keep_steps(const cnn_folder *f, long long step, long keep)
{
    char weights[64], state[64];
    struct dirent **entries;
    snprintf(weights, sizeof weights, "step-%08lld.safetensors", step);
    snprintf(state, sizeof state, "step-%08lld.state.safetensors", step);
    if (!also(f, "last.safetensors", weights) || !also(f, "last.state.safetensors", state))
        return 0;
    int count = list(f, is_step, &entries), kept = count >= 0;
    long newer = 0;
    for (int i = count - 1; i >= 0; i--) {
        long long other = step_of(entries[i]->d_name, ".safetensors");
        newer += other <= step;
        if (kept && other <= step && newer > keep) {
            snprintf(state, sizeof state, "step-%08lld.state.safetensors", other);
            kept = remove_file(f, state) && remove_file(f, entries[i]->d_name);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return kept;
}

static int name_checkpoint(cnn_folder *f, const cnn_session *s, const cnn_position *p)
{
    if (p->accuracy > f->best) {
        if (!also(f, "last.safetensors", "best.safetensors"))
            return 0;
        f->best = p->accuracy;
    }
    return s->options.keep <= 2 || keep_steps(f, (long long)s->network->get_step(s->net), s->options.keep);
}

int cnn_folder_save(cnn_folder *f, cnn_session *s, const cnn_position *p)
{
    return cnn_checkpoint_save(s, f->path, p) && name_checkpoint(f, s, p);
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

int cnn_folder_begin(cnn_folder *f, const cnn_session *s, const cnn_dataset *train, const cnn_dataset *test)
{
    if (!remove_leftovers(f))
        return 0;
    for (int i = 0; i < FILES; i++) {
        char from[CNN_PATH], to[CNN_PATH];
        if (!cnn_path(from, f->path, files[i].name) || !cnn_path(to, f->path, files[i].aside))
            return 0;
        if (rename(from, to) != 0 && errno != ENOENT) {
            cnn_error("%s: cannot be renamed to %s: %s\nchoose another folder with --out", from, files[i].aside,
                      strerror(errno));
            return 0;
        }
    }
    return cnn_config_save(s, f->path, train, test) && cnn_metrics_open(f->path, cnn_session_scored(s), 0);
}

/* The accuracy of best.safetensors, or -1 where there is none. 0 after cnn_error. */
static int find_best(cnn_folder *f)
{
    char path[CNN_PATH];
    if (!cnn_path(path, f->path, "best.safetensors"))
        return 0;
    if (access(path, F_OK) != 0)
        return 1;
    cnn_safetensors *best = cnn_safetensors_open(path);
    if (best == NULL) {
        cnn_note("remove it to go on: the best weights from here on are kept then");
        return 0;
    }
    const char *accuracy = cnn_safetensors_metadata(best, "accuracy");
    f->best = accuracy ? strtod(accuracy, NULL) : -1;
    cnn_safetensors_close(best);
    return 1;
}

int cnn_folder_resume(cnn_folder *f, const cnn_session *s, const cnn_dataset *train, const cnn_dataset *test,
                      const cnn_position *p)
{
    return remove_leftovers(f) && find_best(f) && name_checkpoint(f, s, p) &&
           cnn_config_save(s, f->path, train, test) && cnn_metrics_open(f->path, cnn_session_scored(s), p->epoch);
}

int cnn_folder_epoch(const cnn_folder *f, const cnn_session *s, const cnn_metrics *m)
{
    return cnn_metrics_add(f->path, m) && cnn_curves_save(s, f->path);
}

int cnn_folder_report(const cnn_folder *f, const cnn_session *s, long epoch, const cnn_report *report,
                      cnn_dataset *data, const cnn_score *score)
{
    char path[CNN_PATH], weights[64], *metrics;
    if (!cnn_path(path, f->path, "report.html") || !cnn_metrics_read(f->path, &metrics))
        return 0;
    snprintf(weights, sizeof weights, "after epoch %ld", epoch);
    int saved = cnn_report_save(report, s, data, &(cnn_about){score, weights, metrics}, path);
    free(metrics);
    return saved;
}
