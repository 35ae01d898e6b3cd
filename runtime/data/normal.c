/* normal.c - mean and deviation of the channels: read, measured over a split, written.
 *
 * A value v of channel c becomes (v - mean[c]) / deviation[c], as torchvision's Normalize computes it. Measured are the
 * mean of a channel's values over all pictures and their deviation (of the population). Pictures are summed up one by
 * one and merged in their order (Chan, Golub, LeVeque 1983), so the result does not depend on the number of threads.
 */
#include "normal.h"
#include "error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "0.485,0.456,0.406" into out[0..count); the count, or 0 after cnn_error. */
static int read_numbers(const char *option, const char *text, double out[CNN_CHANNELS])
{
    const char *at = text;

    for (int count = 0; count < CNN_CHANNELS; at++) {
        char *end;
        double value = strtod(at, &end);
        if (end == at || (*end && *end != ',') || !isfinite((float)value))
            break;
        out[count++] = value;
        at = end;
        if (!*at)
            return count;
    }
    cnn_error("--%s %.200s: not a list of at most %d numbers\nwrite them as in --%s 0.485,0.456,0.406", option, text,
              CNN_CHANNELS, option);
    return 0;
}

/* One list for a network of so many channels; `normal` where text is NULL. */
static int read_list(const char *option, const char *text, double normal, int channels, int *count,
                     double out[CNN_CHANNELS])
{
    out[0] = normal;
    *count = text ? read_numbers(option, text, out) : 1;
    if (*count == 0 || *count == 1 || *count == channels)
        return *count > 0;
    cnn_error("--%s %.200s: %d numbers, and the network takes pictures of %d channels\n"
              "give one for each, or one for all", option, text, *count, channels);
    return 0;
}

int cnn_normal_read(cnn_normal *n, const char *mean, const char *deviation, int channels)
{
    int means, deviations;

    n->count = 0;
    if (!mean && !deviation)
        return 1;
    if (!read_list("mean", mean, 0, channels, &means, n->mean) ||
        !read_list("deviation", deviation, 1, channels, &deviations, n->deviation))
        return 0;
    for (int i = 0; i < deviations; i++)
        if (!((float)n->deviation[i] > 0)) {
            cnn_error("--deviation %.200s: must be above 0\nvalues are divided by it", deviation);
            return 0;
        }
    n->count = means > deviations ? means : deviations;
    for (int i = 1; i < n->count; i++) {
        n->mean[i] = n->mean[means == 1 ? 0 : i];
        n->deviation[i] = n->deviation[deviations == 1 ? 0 : i];
    }
    return 1;
}

void cnn_normal_text(const double *values, int count, char text[CNN_NORMAL_TEXT])
{
    int length = 0;

    *text = '\0';
    for (int i = 0; i < count; i++)
        length += snprintf(text + length, (size_t)(CNN_NORMAL_TEXT - length), i ? ",%.9g" : "%.9g", values[i]);
}

void cnn_normal_apply(const cnn_normal *n, int channel, size_t count, cnn_real *values)
{
    const int      i = n->count > 1 ? channel : 0;
    const cnn_real mean = (cnn_real)n->mean[i], deviation = (cnn_real)n->deviation[i];

    for (size_t k = 0; n->count > 0 && k < count; k++)
        values[k] = (values[k] - mean) / deviation;
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

void cnn_sums_add(cnn_sums *sums, int channels, size_t pixels, const cnn_real *picture)
{
    const int each = channels <= CNN_CHANNELS;          /* else one for all */
    const size_t count = each ? pixels : pixels * (size_t)channels;

    sums->channels = each ? channels : 1;
    for (int c = 0; c < sums->channels; c++, picture += pixels) {
        double sum = 0, squares = 0;

        for (size_t i = 0; i < count; i++)
            sum += (double)picture[i];
        double mean = sum / (double)count;
        for (size_t i = 0; i < count; i++)
            squares += ((double)picture[i] - mean) * ((double)picture[i] - mean);
        double apart = mean - sums->mean[c], all = sums->count + (double)count;
        sums->mean[c] += apart * (double)count / all;
        sums->squares[c] += squares + apart * apart * sums->count * (double)count / all;
    }
    sums->count += (double)count;
}

int cnn_sums_normal(const cnn_sums *sums, cnn_normal *n)
{
    n->count = sums->channels;
    for (int c = 0; c < n->count; c++) {
        n->mean[c] = sums->mean[c];
        n->deviation[c] = sqrt(sums->squares[c] / sums->count);
        if (!(n->deviation[c] > 1e-12)) {
            cnn_error("--normalize data: channel %d of the training pictures is %.6g everywhere\n"
                      "leave --normalize out, or give --mean and --deviation", c, n->mean[c]);
            return 0;
        }
    }
    return 1;
}
