/* source_folder.c - picture files in folders, one folder a class, as torchvision's ImageFolder reads them.
 *
 *     FOLDER/train/CLASS/... .jpg .jpeg .png, FOLDER/val/CLASS/... and FOLDER/test/CLASS/...
 *     FOLDER/CLASS/...                        of one piece: there is no test split
 *
 * Classes are numbered in the order of their names (byte by byte), which those of train/ settle for all splits;
 * pictures are in the order of their paths. Folders in a class's folder belong to it; names that begin with a dot, and
 * files with other endings, are passed over. Where the weights know names of classes, these are the classes, and
 * folders may be missing. The test split is test/ where there is one, else val/. Grey pictures fill all three channels
 * of a network, colour ones become grey for a network of one (picture.c). Opening reads no picture.
 */
#include "error.h"
#include "picture_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEEPEST = 16 };          /* folders within a class's folder */

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

/* As cnn_entries, but -1 after cnn_error. */
static int list(const char *folder, struct dirent ***entries)
{
    int count = cnn_entries(folder, entries);

    if (count < 0)
        cnn_error("%s: the folder cannot be read: %s\ncheck the name and its permissions", folder, strerror(errno));
    return count;
}

/* ---- collecting -------------------------------------------------------------------------------------------------- */

/* Adds a picture's path and label. 1, or 0 after cnn_error. */
static int add(cnn_source *s, const char *path, int label)
{
    const cnn_pictures *p = s->data;
    const size_t room = p->at_room;

    if (!cnn_list_add(s, path))
        return 0;
    if (p->at_room > room) {
        int32_t *labels = realloc(s->labels, p->at_room * sizeof *labels);

        if (!labels) {
            cnn_error("%s: no memory for the labels of its pictures\nclose other programs", s->place);
            return 0;
        }
        s->labels = labels;
    }
    s->labels[p->count - 1] = label;
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
        if (e->d_type == DT_DIR || ((e->d_type == DT_LNK || e->d_type == DT_UNKNOWN) && has_folder(s->place, inside)))
            good = collect(s, inside, label, depth + 1);
        else if (cnn_is_picture(e->d_name))
            good = add(s, inside, label);
    }
    cnn_entries_free(entries, count);
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
    cnn_entries_free(entries, count);
    return good;
}

/* Makes the classes those that the weights know. 1, or 0 after cnn_error. */
static int copy_classes(cnn_source *s, const cnn_names *names)
{
    cnn_names copy = {0};

    while (copy.count < names->count && cnn_names_add(&copy, names->items[copy.count]))
        ;
    s->names = copy.items;
    s->name_count = copy.count;
    return copy.count == names->count;
}

/* Every folder in s->place must be a class, as train/ has them or the weights know them. 1, or 0 after cnn_error. */
static int check_classes(const cnn_source *s, const cnn_wish *wish)
{
    struct dirent **entries;
    int count = list(s->place, &entries), good = count >= 0;

    for (int i = 0; good && i < count; i++) {
        const char *name = entries[i]->d_name;
        int class = 0;

        if (!has_folder(s->place, name))
            continue;
        while (class < s->name_count && strcmp(s->names[class], name) != 0)
            class++;
        good = class < s->name_count;
        if (!good && wish->names)
            cnn_error("%s/%s: the weights know no class of that name\ntheir classes are %s, %s%s; "
                      "to predict without classes name the pictures", s->place, name, s->names[0],
                      s->names[s->name_count > 1], s->name_count > 2 ? " and so on" : "");
        else if (!good)
            cnn_error("%s/%s: train has no folder of that name, so it is no class\n"
                      "name the folders as those of train are", s->place, name);
    }
    cnn_entries_free(entries, count);
    return good;
}

/* ---- the format -------------------------------------------------------------------------------------------------- */

/* Goes on in the folder of a split, where there are such folders. 1, or 0 after cnn_error. */
static int enter_split(cnn_source *s, cnn_split split)
{
    static const char *const folders[][3] = {[CNN_TRAIN] = {"train"}, [CNN_VALIDATION] = {"val"},
                                             [CNN_TEST] = {"test", "val"}};
    static const char *const texts[] = {[CNN_TRAIN] = "train", [CNN_VALIDATION] = "val", [CNN_TEST] = "test or val"};
    const char *const *name = folders[split];
    size_t length = strlen(s->place);

    s->whole = !has_folder(s->place, "train") && !has_folder(s->place, "val") && !has_folder(s->place, "test");
    s->has_validation = has_folder(s->place, "val") && has_folder(s->place, "test");
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
    if (s->size == 0) {
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
    return cnn_list_check(s, wish);
}

static int open_folder(cnn_source *s, const char *place, cnn_split split, const cnn_wish *wish)
{
    char folder[PATH_MAX];              /* whose folders are the classes */
    const cnn_pictures *p = cnn_list_open(s, wish, 1);
    const int train = has_folder(place, "train") && cnn_source_has(place, "train", folder);

    if (!p || !enter_split(s, split))
        return 0;
    if (!(wish->names ? copy_classes(s, wish->names) : list_classes(s, train ? folder : s->place)) ||
        !check_classes(s, wish))
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
    int count = is_folder(place) ? cnn_entries(place, &entries) : -1, found = 0;

    for (int i = 0; i < count; i++)
        found |= has_folder(place, entries[i]->d_name);
    cnn_entries_free(entries, count);
    return found;
}

const cnn_format cnn_format_folder = {"a folder of JPEG or PNG files for each class; or train/ and val/ (or test/) "
                                      "with such folders in them", holds, open_folder};
