/* metrics.c - metrics.csv: a header and one row an epoch, for a spreadsheet or pandas.
 *
 * The row of an epoch is added before its checkpoint is saved. A run that ends between the two leaves a row that the
 * checkpoint does not know; resuming cuts such rows off, and the epoch writes its row again.
 */
#include "command.h"
#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROW = 1024 };

static const char *header_text(char room[ROW], const char *scored)
{
    snprintf(room, ROW, "epoch,step,loss,accuracy,%s_loss,%s_accuracy,seconds,pictures_per_second,learning_rate\n", scored,
             scored);
    return room;
}

static int failed(const char *path)
{
    cnn_error("%s: cannot be written: %s", path, strerror(errno));
    return 0;
}

/* Where the rows of the first `epochs` epochs end in an open file; 0 when its header is not ours. */
static long end_of_rows(FILE *file, const char *header, long epochs)
{
    char row[ROW];
    if (fgets(row, sizeof row, file) == NULL || strcmp(row, header) != 0)
        return 0;
    long end = ftell(file);
    while (fgets(row, sizeof row, file) && strchr(row, '\n') && strtol(row, NULL, 10) >= 1 &&
           strtol(row, NULL, 10) <= epochs)
        end = ftell(file);
    return end;
}

int cnn_metrics_open(const char *out, const char *scored, long epochs)
{
    char path[CNN_PATH], previous[CNN_PATH], header[ROW];
    if (!cnn_path(path, out, "metrics.csv") || !cnn_path(previous, out, "previous.metrics.csv"))
        return 0;
    header_text(header, scored);
    FILE *file = epochs > 0 ? fopen(path, "r") : NULL;
    if (file) {
        long end = end_of_rows(file, header, epochs);
        fclose(file);
        if (end > 0)
            return truncate(path, end) == 0 || failed(path);
    }
    if (rename(path, previous) != 0 && errno != ENOENT)
        return failed(previous);
    file = fopen(path, "w");
    if (file == NULL)
        return failed(path);
    int written = fputs(header, file) >= 0;
    return (fclose(file) == 0 && written) || failed(path);
}

int cnn_metrics_add(const char *out, const cnn_metrics *m)
{
    char path[CNN_PATH];
    if (!cnn_path(path, out, "metrics.csv"))
        return 0;
    FILE *file = fopen(path, "a");
    if (file == NULL)
        return failed(path);
    int written = fprintf(file, "%ld,%llu,%.6f,%.6f,%.6f,%.6f,%.3f,%.1f,%g\n", m->epoch, (unsigned long long)m->step,
                          m->loss, m->accuracy, m->test_loss, m->test_accuracy, m->seconds,
                          m->seconds > 0 ? (double)m->pictures / m->seconds : 0, m->lr) > 0;
    return (fclose(file) == 0 && written) || failed(path);
}
