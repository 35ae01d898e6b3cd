/* with.c - the table of what --with compiles into a trainer. */
#include "with.h"

#include <string.h>

static const Feature features[] = {
    {"jpeg", "-DCNN_WITH_JPEG", "jpeg", "libjpeg62-turbo-dev", false},  /* runtime/data/picture_jpeg.c */
    {"png",  "-DCNN_WITH_PNG",  "png",  "libpng-dev", false},           /* runtime/data/picture_png.c  */
    {"mpi",  "-DCNN_WITH_MPI",  "mpi",  "libopenmpi-dev", true},        /* runtime/ranks/ranks_mpi.c    */
};

enum { FEATURES = sizeof features / sizeof *features };

const Feature *feature_at(int i)
{
    return i < FEATURES ? &features[i] : NULL;
}

int find_feature(const char *name, size_t length)
{
    for (int i = 0; i < FEATURES; i++)
        if (strlen(features[i].name) == length && strncmp(features[i].name, name, length) == 0)
            return i;
    return -1;
}

const char *feature_names(Arena *arena)
{
    const char *names = features[0].name;
    for (int i = 1; i < FEATURES; i++)
        names = arena_printf(arena, "%s, %s", names, features[i].name);
    return names;
}
