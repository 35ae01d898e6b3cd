/* metrics.c - metrics.csv: a header and one row an epoch, for a spreadsheet, pandas and curves.c.
 *
 * The row of an epoch is added before its checkpoint is saved. A run that ends between the two leaves a row that the
 * checkpoint does not know; resuming cuts such rows off, and the epoch writes its row again. The file is replaced whole
 * (save.h), so no row is ever cut.
 */
#include "run.h"
#include "error.h"
#include "files/file.h"
#include "files/save.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROW = 1024 };

static void header_text(char room[ROW], const char *scored)
{
    snprintf(room, ROW, "epoch,step,loss,accuracy,%s_loss,%s_accuracy,seconds,pictures_per_second,learning_rate,"
             "data_wait_ms\n", scored, scored);
}

int cnn_metrics_read(const char *out, char **text)
{
    char path[CNN_PATH], why[CNN_WHY];
    uint64_t size = 0;
    *text = NULL;
    if (!cnn_path(path, out, "metrics.csv"))
        return 0;
    int file = access(path, F_OK) == 0 ? cnn_file_open(path, &size, why) : -2;
    if (file >= 0)
        *text = malloc(size + 1);
    int whole = *text && cnn_file_read(file, *text, size, 0, why);
    if (file >= 0 && *text == NULL)
        snprintf(why, sizeof why, "cannot be read: there is not enough memory");
    if (file >= 0)
        close(file);
    if (whole)
        (*text)[size] = '\0';
    if (whole || file == -2)
        return 1;
    free(*text);
    *text = NULL;
    cnn_error("%s: %s\nmove it out of the way", path, why);
    return 0;
}

/* Bytes of the header and the rows of the first `epochs` epochs; 0 when the header is another one. */
static size_t end_of_rows(const char *text, const char *header, long epochs)
{
    if (strncmp(text, header, strlen(header)) != 0)
        return 0;
    const char *row = text + strlen(header), *end;
    while ((end = strchr(row, '\n')) != NULL && strtol(row, NULL, 10) >= 1 && strtol(row, NULL, 10) <= epochs)
        row = end + 1;
    return (size_t)(row - text);
}

int cnn_metrics_open(const char *out, const char *scored, long epochs)
{
    char path[CNN_PATH], previous[CNN_PATH], header[ROW], *text;
    if (!cnn_path(path, out, "metrics.csv") || !cnn_path(previous, out, "previous.metrics.csv") ||
        !cnn_metrics_read(out, &text))
        return 0;
    header_text(header, scored);
    size_t end = text ? end_of_rows(text, header, epochs) : 0;
    int opened = 1;
    if (end == 0)                       /* none, or one of other columns, which is kept */
        opened = cnn_save_link(path, previous) && cnn_save_bytes(path, header, strlen(header));
    else if (text[end] != '\0')
        opened = cnn_save_bytes(path, text, end);
    free(text);
    return opened;
}

int cnn_metrics_add(const char *out, const cnn_metrics *m)
{
    char path[CNN_PATH], row[ROW], *text;
    if (!cnn_path(path, out, "metrics.csv") || !cnn_metrics_read(out, &text))
        return 0;
    int length = snprintf(row, sizeof row, "%ld,%llu,%.6f,%.6f,%.6f,%.6f,%.3f,%.1f,%g,%.3f\n", m->epoch,
                          (unsigned long long)m->step, m->loss, m->accuracy, m->test_loss, m->test_accuracy,
                          m->seconds, m->seconds > 0 ? (double)m->pictures / m->seconds : 0, m->lr, m->wait_ms);
    cnn_save save;
    if (cnn_save_begin(&save, path) && (text == NULL || cnn_save_put(&save, text, strlen(text))))
        cnn_save_put(&save, row, (size_t)length);
    free(text);
    return cnn_save_end(&save);
}
