/* sources.h - for tests of data sets on the disk: folders, files, and splits that are opened or refused. */
#ifndef SOURCES_H
#define SOURCES_H

#include "capture.h"
#include "data/data.h"
#include "support.h"
#include "trainer.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

__attribute__((unused)) static const cnn_decoder *const both[] = {&cnn_decoder_jpeg, &cnn_decoder_png, NULL};

/* A folder for one test. */
static inline char *fresh(const char *test)
{
    char name[64];
    snprintf(name, sizeof name, "source-%s", test);
    return scratch_folder(name);
}

/* FOLDER/NAME; the last four of these are good. */
static inline const char *in(const char *folder, const char *name)
{
    static char path[4][PATH_MAX];
    static int  next;
    next = (next + 1) % 4;
    snprintf(path[next], PATH_MAX, "%s/%s", folder, name);
    return path[next];
}

static inline void copy(const char *from, const char *to)
{
    size_t length;
    char  *bytes = read_whole(from, &length);
    cr_assert(bytes, "%s", from);
    write_whole(to, bytes, length);
    free(bytes);
}

/* What a network of that input and so many classes wants. */
static inline cnn_wish wish_of(int channels, int height, int width, int classes)
{
    return (cnn_wish){.input = {2, channels, height, width}, .classes = classes, .seed = 1, .decoders = both};
}

/* The split is refused with one error that names the data and says `part`. */
static inline void refuse(const char *name, cnn_split split, cnn_wish wish, const char *part)
{
    static Capture c;

    capture_begin(&c);
    cnn_source *s = cnn_source_open(name, split, &wish);
    const char *text = capture_end(&c);
    cr_assert_null(s, "taken, not refused with '%s'", part);
    expect_one_error(text, name, part);
}

static inline cnn_source *open_source(const char *name, cnn_split split, cnn_wish wish)
{
    cnn_source *s = cnn_source_open(name, split, &wish);
    cr_assert(s, "%s", name);
    return s;
}

#endif
