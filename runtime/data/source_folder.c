/* source_folder.c - picture files in folders, one folder a class, as torchvision's ImageFolder reads them.
 *
 *     FOLDER/train/CLASS/... .jpg .jpeg .png, FOLDER/val/CLASS/... and FOLDER/test/CLASS/...
 *     FOLDER/CLASS/...                        of one piece: there is no test split
 *
 * Classes are numbered in the order of their names (byte by byte), which those of train/ settle for all splits;
 * pictures are in the order of their paths. Folders in a class's folder belong to it; names that begin with a dot, and
 * files with other endings, are passed over. The test split is test/ where there is one, else val/. Grey pictures fill
 * all three channels of a network, colour ones become grey for a network of one (picture.c). Opening reads no picture.
 */
#define _GNU_SOURCE
#include "error.h"
#include "source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { DEEPEST = 16 };          /* folders within a class's folder */

typedef struct {
    char   *names;              /* paths from s->place on, one after the other, each with its '\0' */
    size_t  used, room;
    size_t *at;                 /* where the path of picture i begins in names */
    size_t  count, at_room;
    int     ended[2];           /* pictures with the ending of a JPEG, of a PNG */
    const cnn_decoder *const *decoders;
    int     channels;           /* 1 or 3: what decoded pictures are made */
} Pictures;

/* ---- what lies in a folder --------------------------------------------------------------------------------------- */

static int is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static int has_folder(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return cnn_source_has(folder, name, path) && is_folder(path);
}

static int visible(const struct dirent *entry)
{
    return *entry->d_name != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The entries of a folder in order, to be released by free_entries; -1 after cnn_error. */
static int list(const char *folder, struct dirent ***entries)
{
    int count = scandir(folder, entries, visible, by_bytes);

    if (count < 0)
        cnn_error("%s: the folder cannot be read: %s\ncheck the name and its permissions", folder, strerror(errno));
    return count;
}

static void free_entries(struct dirent **entries, int count)
{
    for (int i = 0; i < count; i++)
        free(entries[i]);
    if (count >= 0)
        free(entries);
}

/* 0 JPEG, 1 PNG, -1 neither, by the ending of the name. */
static int ending(const char *name)
{
    const char *dot = strrchr(name, '.');

    if (!dot)
        return -1;
    return strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 ? 0 : strcasecmp(dot, ".png") == 0 ? 1 : -1;
}

/* ---- collecting -------------------------------------------------------------------------------------------------- */

/* Adds a picture's path and label. 1, or 0 after cnn_error. */
static int add(cnn_source *s, const char *path, int label)
{
    Pictures *p = s->data;
    size_t    length = strlen(path) + 1;

    if (p->used + length > p->room) {
        p->room = 2 * (p->room + length);
        char *names = realloc(p->names, p->room);
        p->names = names ? names : p->names;
        p->room = names ? p->room : 0;
    }
    if (p->count == p->at_room) {
        size_t   room = 2 * p->at_room + 64;
        size_t  *at = realloc(p->at, room * sizeof *at);
        p->at = at ? at : p->at;
        int32_t *labels = realloc(s->labels, room * sizeof *labels);
        s->labels = labels ? labels : s->labels;
        p->at_room = at && labels ? room : 0;
    }
    if (p->room < p->used + length || p->at_room == 0) {
        cnn_error("%s: no memory for the names of its pictures\nclose other programs", s->place);
        return 0;
    }
    p->at[p->count] = p->used;
    s->labels[p->count++] = label;
    memcpy(p->names + p->used, path, length);
    p->used += length;
    p->ended[ending(path)]++;
    return 1;
}

/* Adds the pictures of s->place/`folder` and of the folders in it. 1, or 0 after cnn_error. */
static int collect(cnn_source *s, const char *folder, int label, int depth)
{
    char path[PATH_MAX];
    struct dirent **entries;

    if (depth > DEEPEST || snprintf(path, sizeof path, "%s/%s", s->place, folder) >= PATH_MAX) {
        cnn_error("%s/%.200s: more than %d folders in each other, or too long a path\n"
                  "move the pictures up, or take out links in a circle", s->place, folder, DEEPEST);
        return 0;
    }
    int count = list(path, &entries), good = count >= 0;
    for (int i = 0; good && i < count; i++) {
        const struct dirent *e = entries[i];
        char inside[PATH_MAX];

        if (snprintf(inside, sizeof inside, "%s/%s", folder, e->d_name) >= PATH_MAX)
            continue;
        int is_picture = ending(e->d_name) >= 0;
        if (e->d_type == DT_DIR || ((e->d_type == DT_LNK || e->d_type == DT_UNKNOWN) && has_folder(s->place, inside)))
            good = collect(s, inside, label, depth + 1);
        else if (is_picture)
            good = add(s, inside, label);
    }
    free_entries(entries, count);
    return good;
}

/* Makes the folders in `folder` the classes. 1, or 0 after cnn_error. */
static int list_classes(cnn_source *s, const char *folder)
{
    struct dirent **entries;
    int count = list(folder, &entries), good = count >= 0;

    s->names = good ? calloc((size_t)count + 1, sizeof *s->names) : NULL;
    for (int i = 0; s->names && i < count; i++)
        if (has_folder(folder, entries[i]->d_name) && (s->names[s->name_count] = strdup(entries[i]->d_name)) != NULL)
            s->name_count++;
    if (good && !s->names) {
        cnn_error("%s: no memory for the names of its classes\nclose other programs", folder);
        good = 0;
    }
    free_entries(entries, count);
    return good;
}

/* Every folder in s->place must be a class, as train/ has them. 1, or 0 after cnn_error. */
static int check_classes(const cnn_source *s)
{
    struct dirent **entries;
    int count = list(s->place, &entries), good = count >= 0;

    for (int i = 0, at = 0; good && i < count; i++) {
        const char *name = entries[i]->d_name;
        if (!has_folder(s->place, name))
            continue;
        while (at < s->name_count && strcmp(s->names[at], name) < 0)
            at++;
        if (at == s->name_count || strcmp(s->names[at], name) != 0) {
            cnn_error("%s/%s: train has no folder of that name, so it is no class\n"
                      "name the folders as those of train are", s->place, name);
            good = 0;
        }
    }
    free_entries(entries, count);
    return good;
}

/* ---- the format -------------------------------------------------------------------------------------------------- */

static int read_picture(const cnn_source *s, size_t i, cnn_picture *picture)
{
    const Pictures *p = s->data;
    char            path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/%s", s->place, p->names + p->at[i]) >= PATH_MAX)
        return cnn_picture_fail(picture, "move the data", "%.700s: the path is too long", s->place);
    return cnn_picture_read(picture, path, p->decoders, p->channels);
}

static void close_pictures(cnn_source *s)
{
    Pictures *p = s->data;

    if (p) {
        free(p->names);
        free(p->at);
    }
    free(p);
}

/* Goes on in the folder of a split, where there are such folders. 1, or 0 after cnn_error. */
static int enter_split(cnn_source *s, cnn_split split)
{
    static const char *const folders[][3] = {[CNN_TRAIN] = {"train"}, [CNN_VALIDATION] = {"val"},
                                             [CNN_TEST] = {"test", "val"}};
    static const char *const texts[] = {[CNN_TRAIN] = "train", [CNN_VALIDATION] = "val", [CNN_TEST] = "test or val"};
    const char *const *name = folders[split];
    size_t length = strlen(s->place);

    s->whole = !has_folder(s->place, "train") && !has_folder(s->place, "val") && !has_folder(s->place, "test");
    if (s->whole)
        return 1;
    while (*name && !has_folder(s->place, *name))
        name++;
    s->validation = split == CNN_VALIDATION;
    if (!*name) {
        cnn_error("%s: has no folder %s\nput pictures there, or keep a share of train/ with --validation 0.1", s->place,
                  texts[split]);
        return 0;
    }
    if ((size_t)snprintf(s->place + length, sizeof s->place - length, "/%s", *name) >= sizeof s->place - length) {
        cnn_error("%.200s...: the path is too long\nmove the data", s->place);
        return 0;
    }
    return 1;
}

/* Whether the network and the program can do with what was found; 0 after cnn_error. */
static int check(const cnn_source *s, const cnn_wish *wish)
{
    static const char *const endings[] = {"jpeg", "png"};
    const Pictures *p = s->data;

    if (p->count == 0) {
        cnn_error("%s: there is no picture (.jpg, .jpeg, .png) in its folders\n"
                  "give a folder with a folder of pictures for each class, or with such folders in train/ and val/",
                  s->place);
        return 0;
    }
    if (s->name_count > wish->classes) {
        cnn_error("%s: its %d folders are as many classes, and the network has %d outputs\ncompile the network with %d "
                  "classes (cnnc -D classes=%d, where it has that parameter)", s->place, s->name_count, wish->classes,
                  s->name_count, s->name_count);
        return 0;
    }
    if (wish->input[1] != 1 && wish->input[1] != 3) {
        cnn_error("%s: pictures have 3 channels, or 1 where they are grey, the network takes %dx%dx%d\n"
                  "compile the network with cnnc --input 3x%dx%d", s->place, wish->input[1], wish->input[2],
                  wish->input[3], wish->input[2], wish->input[3]);
        return 0;
    }
    for (int i = 0; i < 2; i++) {
        const cnn_decoder *const *d = p->decoders;

        while (d && *d && strcmp((*d)->name, endings[i]) != 0)
            d++;
        if (p->ended[i] && (!d || !*d)) {
            cnn_error("%s: has %s files, which this trainer cannot decode\ncompile the trainer with cnnc --with=%s",
                      s->place, i == 0 ? "JPEG" : "PNG", p->ended[1 - i] ? "jpeg,png" : endings[i]);
            return 0;
        }
    }
    return 1;
}

static int open_folder(cnn_source *s, const char *place, cnn_split split, const cnn_wish *wish)
{
    Pictures *p = calloc(1, sizeof *p);
    char      train[PATH_MAX];

    s->data = p;
    s->read = read_picture;
    s->close = close_pictures;
    if (!p) {
        cnn_error("%s: no memory to open it\nclose other programs", place);
        return 0;
    }
    p->decoders = wish->decoders;
    p->channels = wish->input[1] == 1 ? 1 : 3;
    if (!enter_split(s, split) || !list_classes(s, has_folder(place, "train") && cnn_source_has(place, "train", train) ?
                                                   train : s->place) || !check_classes(s))
        return 0;
    for (int i = 0; i < s->name_count; i++)
        if (has_folder(s->place, s->names[i]) && !collect(s, s->names[i], i, 1))
            return 0;
    s->size = p->count;
    snprintf(s->text, sizeof s->text, "%zu pictures of %d classes in %s", s->size, s->name_count, s->place);
    return check(s, wish);
}

static int holds(const char *place)
{
    struct dirent **entries;
    int count = is_folder(place) ? scandir(place, &entries, visible, by_bytes) : -1, found = 0;

    for (int i = 0; i < count; i++)
        found |= has_folder(place, entries[i]->d_name);
    free_entries(entries, count);
    return found;
}

const cnn_format cnn_format_folder = {"a folder of JPEG or PNG files for each class; or train/ and val/ (or test/) "
                                      "with such folders in them", holds, open_folder};
