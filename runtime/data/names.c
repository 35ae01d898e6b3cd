/* names.c - see names.h. The text is read by jansson, which refuses what is no JSON and what is nested too deep. */
#include "names.h"
#include "error.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int cnn_names_add(cnn_names *n, const char *name)
{
    char **items = realloc(n->items, ((size_t)n->count + 1) * sizeof *items), *copy = malloc(strlen(name) + 1);

    n->items = items ? items : n->items;
    if (!items || !copy) {
        cnn_error("there is not enough memory for the names of the classes\nclose other programs");
        free(copy);
        return 0;
    }
    n->items[n->count++] = strcpy(copy, name);
    return 1;
}

int cnn_names_text(const cnn_names *n, char **text)
{
    json_t *list = json_array();
    int     utf8 = n->count > 0;

    for (int i = 0; utf8 && i < n->count; i++)
        utf8 = json_array_append_new(list, json_string(n->items[i])) == 0;
    size_t length = utf8 ? json_dumpb(list, NULL, 0, JSON_COMPACT) : 0;
    *text = utf8 ? malloc(length + 1) : NULL;
    if (*text)
        (*text)[json_dumpb(list, *text, length, JSON_COMPACT)] = '\0';
    else if (utf8)
        cnn_error("there is not enough memory for the names of the classes\nclose other programs");
    json_decref(list);
    return *text || !utf8;
}

static int is_name(const json_t *item)
{
    return json_is_string(item) && json_string_length(item) > 0 && json_string_length(item) <= CNN_NAME;
}

int cnn_names_read(cnn_names *n, const char *text, int most, const char *place)
{
    json_t *list = json_loads(text, 0, NULL), *item;
    size_t  i;
    int     good = json_is_array(list) && json_array_size(list) <= (size_t)most;

    cnn_names_free(n);
    json_array_foreach(list, i, item)
        good = good && is_name(item);
    if (!good)
        cnn_error("%s: its classes are not a list of at most %d names\n"
                  "fetch the file again, or take \"classes\" out of its metadata", place, most);
    for (i = 0; good && i < json_array_size(list); i++)
        good = cnn_names_add(n, json_string_value(json_array_get(list, i)));
    json_decref(list);
    return good;
}

void cnn_names_free(cnn_names *n)
{
    for (int i = 0; i < n->count; i++)
        free(n->items[i]);
    free(n->items);
    *n = (cnn_names){0};
}
