/* source_files.c - pictures without labels: files that are named, and those that lie in folders that are named.
 *
 * Folders within a folder are passed over. A file is a picture whatever its name; in a folder the names that end as
 * those of pictures do are taken, in the order of their bytes. Opening reads no picture.
 */
#include "error.h"
#include "picture_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* 1 a folder, 0 something else that is there, -1 nothing. */
static int kind_of(const char *path)
{
    struct stat about;

    return stat(path, &about) < 0 ? -1 : S_ISDIR(about.st_mode) ? 1 : 0;
}

/* Whether FOLDER/NAME is a picture by its name, and no folder. */
static int lies_in(const char *folder, const char *name, char path[PATH_MAX])
{
    return cnn_is_picture(name) && cnn_source_has(folder, name, path) && kind_of(path) == 0;
}

int cnn_files_lie_in(const char *folder)
{
    char path[PATH_MAX];
    struct dirent **entries;
    int count = kind_of(folder) == 1 ? cnn_entries(folder, &entries) : -1, found = 0;

    for (int i = 0; !found && i < count; i++)
        found = lies_in(folder, entries[i]->d_name, path);
    cnn_entries_free(entries, count);
    return found;
}

/* Adds the pictures that lie in a folder. 1, or 0 after cnn_error. */
static int add_folder(cnn_source *s, const char *folder)
{
    char path[PATH_MAX];
    struct dirent **entries;
    int count = cnn_entries(folder, &entries), good = count >= 0, found = 0;

    if (!good)
        cnn_error("%s: the folder cannot be read: %s\ncheck its permissions", folder, strerror(errno));
    for (int i = 0; good && i < count; i++)
        if (lies_in(folder, entries[i]->d_name, path)) {
            good = cnn_list_add(s, path);
            found++;
        }
    cnn_entries_free(entries, count);
    if (good && found == 0)
        cnn_error("%s: no picture (.jpg, .jpeg, .png) lies in it\ngive the folder that has them, or the files", folder);
    return good && found > 0;
}

int cnn_files_open(cnn_source *s, const char *const *files, int count, const cnn_wish *wish)
{
    cnn_pictures *p = cnn_list_open(s, wish, 0);
    int good = p != NULL;

    s->whole = 1;
    for (int i = 0; good && i < count; i++) {
        const int kind = kind_of(files[i]);

        if (kind < 0) {
            cnn_error("%s: %s\ncheck the name of the picture", files[i], strerror(errno));
            return 0;
        }
        good = kind == 1 ? add_folder(s, files[i]) : cnn_list_add(s, files[i]);
    }
    if (!good)
        return 0;
    s->size = p->count;
    snprintf(s->text, sizeof s->text, "%zu picture%s, the first %s", s->size, s->size == 1 ? "" : "s", p->paths);
    return cnn_list_check(s, wish);
}
