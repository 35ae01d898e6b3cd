/* normal.h - normalisation: mean and deviation of the channels of a network's pictures. */
#ifndef CNN_NORMAL_H
#define CNN_NORMAL_H

#include "cnn.h"

enum { CNN_CHANNELS = 64, CNN_NORMAL_TEXT = 16 * CNN_CHANNELS + 1 };

/* count 0: values stay as they are; 1: all channels alike; else the number of channels. */
typedef struct { int count; double mean[CNN_CHANNELS], deviation[CNN_CHANNELS]; } cnn_normal;

/* From lists as in "0.485,0.456,0.406", one number for each channel or one for all; NULL: a mean of 0, a deviation of
 * 1; both NULL: nothing is normalised. 1, or 0 after cnn_error. */
int  cnn_normal_read(cnn_normal *, const char *mean, const char *deviation, int channels);

/* Such a list of n->mean or n->deviation, to nine digits. */
void cnn_normal_text(const double *values, int count, char text[CNN_NORMAL_TEXT]);

/* values[i] = (values[i] - mean) / deviation, all of them of one channel. */
void cnn_normal_apply(const cnn_normal *, int channel, size_t count, cnn_real *values);

/* What pictures add up to, zeroed at first. */
typedef struct { int channels; double count, mean[CNN_CHANNELS], squares[CNN_CHANNELS]; } cnn_sums;
void cnn_sums_add(cnn_sums *, int channels, size_t pixels, const cnn_real *picture);
int  cnn_sums_normal(const cnn_sums *, cnn_normal *);   /* 1, or 0 after cnn_error where a channel is constant       */

#endif
