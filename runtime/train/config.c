/* config.c - config.json: what a run is, for people and scripts: network, compiler, data, every option in force.
 *
 * It is written when a run begins or is resumed, and never read by a trainer: what --resume needs is in the checkpoint,
 * to the last bit.
 */
#include "run.h"
#include "error.h"
#include "files/save.h"

#include <jansson.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static json_t *list_value(const cnn_options *o, const cnn_option *row)
{
    char room[CNN_OPTION_ROOM];
    json_t *list = json_array();
    const char *item;
    for (int k = 0; (item = cnn_option_get(o, row, k, room)) != NULL; k++)
        json_array_append_new(list, json_string(item));
    return list;
}

/* An option's value as JSON has it: number, true or false, text (also of a range, "0.5,1"), list; null: none. */
static json_t *value(const cnn_options *o, const cnn_option *row)
{
    char room[CNN_OPTION_ROOM];
    const char *text = row->kind == CNN_OPTION_LIST ? NULL : cnn_option_get(o, row, 0, room);
    if (row->kind == CNN_OPTION_LIST)
        return list_value(o, row);
    if (text == NULL)
        return json_null();
    switch (row->kind) {
    case CNN_OPTION_FLAG:
    case CNN_OPTION_YES_NO:  return json_boolean(text[0] == 'y');
    case CNN_OPTION_INTEGER: return json_integer(strtoll(text, NULL, 10));
    case CNN_OPTION_REAL:    return json_real(strtod(text, NULL));
    default:                 return json_string(text);
    }
}

static json_t *options(const cnn_options *o)
{
    json_t *all = json_object();
    for (int i = 0; cnn_option_row(i); i++)
        if (cnn_option_row(i)->is & CNN_OF_RUN) {
            json_t *one = value(o, cnn_option_row(i));
            json_object_set_new(all, cnn_option_row(i)->name, one ? one : json_null());     /* text not in UTF-8 */
        }
    return all;
}

static json_t *split(const cnn_dataset *data)
{
    json_t *text = json_string(cnn_dataset_text(data));
    return json_pack("{s:I, s:o}", "pictures", (json_int_t)cnn_dataset_size(data), "text", text ? text : json_null());
}

static json_t *describe(const cnn_session *s, const cnn_dataset *train, const cnn_dataset *test)
{
    const cnn_facts *f = s->facts;
    const int *in = s->input;
    json_int_t parameters = 0;
    for (int i = 0; i < s->network->tensors(); i++)
        parameters += s->network->tensor(i).trainable ? (json_int_t)s->network->tensor(i).count : 0;
    return json_pack("{s:s, s:s, s:[i, i, i], s:i, s:i, s:I, s:{s:s, s:s, s:s, s:s, s:s}, s:{s:o, s:o}, s:i, s:o}",
                     "network", f->name, "source", f->source, "input", in[1], in[2], in[3], "batch", s->batch,
                     "classes", s->classes, "parameters", parameters,
                     "compiler", "cnnc", f->version, "target", f->target, "flags", f->flags, "schedule", f->schedule,
                     "numbers", sizeof(cnn_real) == sizeof(float) ? "float" : "double",
                     "data", "train", split(train), "test", split(test),
                     "threads", omp_get_max_threads(), "options", options(&s->options));
}

int cnn_config_save(const cnn_session *s, const char *out, const cnn_dataset *train, const cnn_dataset *test)
{
    char path[CNN_PATH];
    if (!cnn_path(path, out, "config.json"))
        return 0;
    json_t *config = describe(s, train, test);
    char *text = config ? json_dumps(config, JSON_INDENT(4) | JSON_REAL_PRECISION(15)) : NULL;
    size_t length = text ? strlen(text) : 0;
    if (text)
        text[length++] = '\n';                  /* in the place of its NUL */
    else
        cnn_error("%s: cannot be written: there is not enough memory\nclose other programs", path);
    int saved = text && cnn_save_bytes(path, text, length);
    free(text);
    json_decref(config);
    return saved;
}
