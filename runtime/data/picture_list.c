/* picture_list.c - see picture_list.h. Opening reads no picture: what it needs to be decoded is known by its name. */
#define _GNU_SOURCE
#include "picture_list.h"
#include "error.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Which decoder (cnn_decoder.name) a file with that ending needs. */
static const struct { const char *ending, *decoder, *title; } endings[] = {
    {".jpg", "jpeg", "JPEG"}, {".jpeg", "jpeg", "JPEG"}, {".png", "png", "PNG"}};

enum { ENDINGS = sizeof endings / sizeof *endings };

/* The number of a name's ending, or -1. */
static int ending_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    int i = ENDINGS - 1;

    while (dot && i >= 0 && strcasecmp(dot, endings[i].ending) != 0)
        i--;
    return dot ? i : -1;
}

int cnn_is_picture(const char *name)
{
    return ending_of(name) >= 0;
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

static int visible(const struct dirent *entry)
{
    return *entry->d_name != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int cnn_entries(const char *folder, struct dirent ***entries)
{
    return scandir(folder, entries, visible, by_bytes);
}

void cnn_entries_free(struct dirent **entries, int count)
{
    for (int i = 0; i < count; i++)
        free(entries[i]);
    if (count >= 0)
        free(entries);
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

cnn_pictures *cnn_list_open(cnn_source *s, const cnn_wish *wish, int inside)
{
    cnn_pictures *p = cnn_source_begin(s, s->place, sizeof *p, cnn_list_read, cnn_list_close);

    if (!p)
        return NULL;
    s->path = cnn_list_path;
    p->inside = inside;
    p->decoders = wish->decoders;
    p->channels = wish->input[1] == 1 ? 1 : 3;
    return p;
}

int cnn_list_add(cnn_source *s, const char *path)
{
    cnn_pictures *p = s->data;
    size_t length = strlen(path) + 1;

    if (p->used + length > p->room) {
        p->room = 2 * (p->room + length);
        char *paths = realloc(p->paths, p->room);
        p->paths = paths ? paths : p->paths;
        p->room = paths ? p->room : 0;
    }
    if (p->count == p->at_room) {
        size_t  room = 2 * p->at_room + 64;
        size_t *at = realloc(p->at, room * sizeof *at);
        p->at = at ? at : p->at;
        p->at_room = at ? room : 0;
    }
    if (p->room < p->used + length || p->at_room == 0) {
        cnn_error("%s: no memory for the names of its pictures\nclose other programs", s->place);
        return 0;
    }
    p->at[p->count++] = p->used;
    memcpy(p->paths + p->used, path, length);
    p->used += length;
    return 1;
}

static int decodes(const cnn_pictures *p, int ending)
{
    const cnn_decoder *const *d = p->decoders;

    while (d && *d && strcmp((*d)->name, endings[ending].decoder) != 0)
        d++;
    return d && *d;
}

/* The first picture of an ending that the program cannot decode, which is set; p->count: there is none. */
static size_t first_not_decoded(const cnn_pictures *p, int *ending)
{
    int decoded[ENDINGS];
    size_t i = 0;

    for (int e = 0; e < ENDINGS; e++)
        decoded[e] = decodes(p, e);
    while (i < p->count && ((*ending = ending_of(p->paths + p->at[i])) < 0 || decoded[*ending]))
        i++;
    return i;
}

int cnn_list_check(const cnn_source *s, const cnn_wish *wish)
{
    const cnn_pictures *p = s->data;
    char path[PATH_MAX];
    int  ending = 0;

    if (wish->input[1] != 1 && wish->input[1] != 3) {
        cnn_error("%s: pictures have 3 channels, or 1 where they are grey, the network takes %dx%dx%d\n"
                  "compile the network with cnnc --input 3x%dx%d", s->place, wish->input[1], wish->input[2],
                  wish->input[3], wish->input[2], wish->input[3]);
        return 0;
    }
    size_t bad = first_not_decoded(p, &ending);
    if (bad < p->count) {
        cnn_list_path(s, bad, path);
        cnn_error("%s: is a %s, which this trainer cannot decode\ncompile the trainer with cnnc --with=jpeg,png", path,
                  endings[ending].title);
        return 0;
    }
    return 1;
}

int cnn_list_path(const cnn_source *s, size_t i, char path[PATH_MAX])
{
    const cnn_pictures *p = s->data;
    const char *own = p->paths + p->at[i];
    int length = p->inside ? snprintf(path, PATH_MAX, "%s/%s", s->place, own) : snprintf(path, PATH_MAX, "%s", own);

    return length < PATH_MAX;
}

int cnn_list_read(const cnn_source *s, size_t i, cnn_picture *picture)
{
    const cnn_pictures *p = s->data;
    char path[PATH_MAX];

    if (!cnn_list_path(s, i, path))
        return cnn_picture_fail(picture, "move the data", "%.700s: the path is too long", s->place);
    return cnn_picture_read(picture, path, p->decoders, p->channels);
}

void cnn_list_close(cnn_source *s)
{
    cnn_pictures *p = s->data;

    if (p) {
        free(p->paths);
        free(p->at);
    }
    free(p);
}
