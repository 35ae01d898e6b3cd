/* picture.c - room for one picture and its cause of failure; declared and described in data.h. */
#include "data.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int cnn_picture_fail(cnn_picture *p, const char *mend, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(p->cause, sizeof p->cause, format, arguments);
    va_end(arguments);
    p->mend = mend;
    return 0;
}

int cnn_picture_size(cnn_picture *p, int channels, int height, int width, cnn_kind kind)
{
    size_t needed = (size_t)channels * (size_t)height * (size_t)width * (kind == CNN_PICTURE_BYTES ? 1 : sizeof *p->values);
    void  *had = kind == CNN_PICTURE_BYTES ? (void *)p->bytes : (void *)p->values;

    p->channels = channels;
    p->height = height;
    p->width = width;
    if (had && needed <= p->room)
        return 1;
    free(p->bytes);
    free(p->values);
    p->bytes = NULL;
    p->values = NULL;
    p->room = needed;
    had = malloc(needed);
    if (kind == CNN_PICTURE_BYTES)
        p->bytes = had;
    else
        p->values = had;
    if (had)
        return 1;
    cnn_picture_fail(p, "close other programs", "no memory for a picture of %dx%dx%d", channels, height, width);
    return -1;
}

void cnn_picture_free(cnn_picture *p)
{
    free(p->bytes);
    free(p->values);
    free(p->file);
    *p = (cnn_picture){0};
}
