/* predict.c - `predict`: a line a picture with its best classes, the same as a table, and what layers compute.
 *
 * Pictures need no labels here. The network computes whole batches: the last one is filled up with black pictures that are
 * not printed.
 */
#include "command.h"
#include "error.h"
#include "data/loader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What --out is: a table of what is printed, or of each picture a row of a .npy. */
typedef enum { NOTHING, TABLE, ROWS } Kind;

typedef struct {
    cnn_session *s;
    cnn_dataset *data;
    int          top;                   /* classes of a picture that are printed                                     */
    int          named;                 /* classes have names                                                        */
    size_t       printed;
    Kind         kind;
    int          layer;                 /* whose output ROWS are; -1: probabilities                                  */
    cnn_real    *row;                   /* probabilities of a picture                                                */
    cnn_save     save;                  /* unless NOTHING                                                            */
} Prediction;

/* ---- a picture --------------------------------------------------------------------------------------------------- */

/* The name of a class by the weights, or by the data; "": only others have one. */
static const char *name_of(const Prediction *p, int class)
{
    const cnn_names *known = &p->s->loaded.names;
    const char *name = class < known->count ? known->items[class] : cnn_dataset_name(p->data, class);
    return name ? name : "";
}

/* The class with the next smaller logit after that of `class`; of equal ones the first comes first. */
static int next_class(const cnn_real *logits, int classes, int class)
{
    int next = -1;
    for (int k = 0; k < classes; k++)
        if ((logits[k] < logits[class] || (k > class && logits[k] == logits[class])) && (next < 0 || logits[k] > logits[next]))
            next = k;
    return next < 0 ? class : next;             /* logits that are no numbers have no order */
}

/* "class", then "class2" and so on. */
static const char *numbered(const char *name, int rank, char room[32])
{
    snprintf(room, 32, rank == 1 ? "%s" : "%s%d", name, rank);
    return room;
}

/* The values of a line about a picture. */
static void describe(const Prediction *p, cnn_line *line, size_t picture, const cnn_real *logits, int truth)
{
    const int classes = p->s->classes;
    char path[PATH_MAX], room[32];
    int class = cnn_best_class(logits, classes, NULL);
    cnn_line_integer(line, "picture", (long long)picture);
    if (cnn_dataset_path(p->data, picture, path))
        cnn_line_text(line, "file", path);
    for (int rank = 1; rank <= p->top; rank++) {
        cnn_line_integer(line, numbered("class", rank, room), class);
        cnn_line_real(line, numbered("probability", rank, room), cnn_probability(logits, classes, class), 4);
        if (rank == 1 && cnn_dataset_labelled(p->data))
            cnn_line_integer(line, "true", truth);
        if (p->named && (line->table || *name_of(p, class)))
            cnn_line_text(line, numbered("name", rank, room), name_of(p, class));
        class = next_class(logits, classes, class);
    }
}

static void print_pictures(Prediction *p, const cnn_batch *batch)
{
    const cnn_session *s = p->s;
    for (int n = 0; n < batch->count; n++) {
        if (batch->labels[n] < 0)               /* left out */
            continue;
        cnn_line line = cnn_line_begin(&s->options, "picture");
        describe(p, &line, batch->pictures[n], s->logits + (size_t)n * (size_t)s->classes, batch->labels[n]);
        cnn_line_end(&line);
        p->printed++;
    }
}

/* ---- --dump ------------------------------------------------------------------------------------------------------ */

/* FOLDER/NAME.npy; a name cannot leave the folder. */
static int dump(const char *folder, const char *name, const cnn_real *values, int rank, const int *shape)
{
    char file[256], path[CNN_PATH];
    snprintf(file, sizeof file, "%.240s.npy", name);
    for (char *c = file; *c; c++)
        if (*c == '/')
            *c = '_';
    return cnn_path(path, folder, file) && cnn_npy_write(path, values, rank, shape);
}

/* Whether a layer's output can be looked at after predict; 0 after cnn_error. */
static int is_kept(const cnn_session *s, int layer)
{
    if (s->network->output(s->net, layer))
        return 1;
    cnn_error("the output of layer %s is not kept by this program\ncompile the network with cnnc --keep-layers, or with -O0",
              s->facts->layers[layer].name);
    return 0;
}

static int dump_layers(const cnn_session *s, const cnn_real *x)
{
    const char *folder = s->options.dump;
    for (int i = 0; i < s->facts->layer_count; i++)
        if (!is_kept(s, i))
            return 0;
    int written = cnn_make_folder(folder) && dump(folder, "input", x, 4, s->input);
    for (int i = 0; written && i < s->facts->layer_count; i++) {
        const cnn_layer *layer = &s->facts->layers[i];
        written = dump(folder, layer->name, s->network->output(s->net, i), layer->rank, layer->shape);
    }
    return written;
}

/* ---- --out ------------------------------------------------------------------------------------------------------- */

static int find_layer(const cnn_session *s, const char *name)
{
    int nearest = 0;
    for (int i = 0; i < s->facts->layer_count; i++) {
        if (strcmp(s->facts->layers[i].name, name) == 0)
            return i;
        if (cnn_distance(name, s->facts->layers[i].name) < cnn_distance(name, s->facts->layers[nearest].name))
            nearest = i;
    }
    cnn_error("--layer %s: there is no such layer\ndid you mean %s? 'info' lists all of them", name,
              s->facts->layers[nearest].name);
    return -1;
}

/* Begins an array with a row a picture. 0 after cnn_error. */
static int begin_rows(Prediction *p)
{
    const cnn_session *s = p->s;
    const size_t pictures = cnn_dataset_size(p->data), most = (size_t)cnn_session_batches(s, p->data, 0) * (size_t)s->batch;
    int shape[4] = {0, s->classes}, rank = 2;
    p->layer = s->options.layer ? find_layer(s, s->options.layer) : -1;
    if (s->options.layer && (p->layer < 0 || !is_kept(s, p->layer)))
        return 0;
    if (p->layer >= 0) {
        rank = s->facts->layers[p->layer].rank;
        memcpy(shape, s->facts->layers[p->layer].shape, sizeof shape);
    } else if (!(p->row = calloc((size_t)s->classes, sizeof *p->row))) {
        cnn_error("there is not enough memory");
        return 0;
    }
    shape[0] = (int)(pictures < most ? pictures : most);
    if (!cnn_npy_begin(&p->save, s->options.table, rank, shape))
        return cnn_save_end(&p->save);
    p->kind = ROWS;
    return 1;
}

/* Puts what a table says of a batch, or the names of its columns (NULL). */
static void put_table(Prediction *p, const cnn_batch *batch)
{
    const cnn_session *s = p->s;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    for (int n = 0; out && n < (batch ? batch->count : 1); n++) {
        if (batch && batch->labels[n] < 0)      /* left out */
            continue;
        cnn_line line = cnn_line_table(out, batch == NULL);
        describe(p, &line, batch ? batch->pictures[n] : 0, s->logits + (size_t)n * (size_t)s->classes,
                 batch ? batch->labels[n] : 0);
        cnn_line_end(&line);
    }
    if (out == NULL || fclose(out) != 0)
        cnn_save_fail(&p->save, "no room for its text", CNN_SAVE_NO_MEMORY);
    cnn_save_put(&p->save, text, length);
    free(text);
}

/* Rows of the pictures of the batch that was just computed. */
static void put_rows(Prediction *p, int count)
{
    const cnn_session *s = p->s;
    const size_t classes = (size_t)s->classes;
    if (p->layer >= 0) {
        const size_t row = s->facts->layers[p->layer].count / (size_t)s->batch;
        cnn_save_put(&p->save, s->network->output(s->net, p->layer), (size_t)count * row * sizeof(cnn_real));
        return;
    }
    for (int n = 0; n < count; n++) {
        for (size_t k = 0; k < classes; k++)
            p->row[k] = (cnn_real)cnn_probability(s->logits + (size_t)n * classes, s->classes, (int)k);
        cnn_save_put(&p->save, p->row, classes * sizeof *p->row);
    }
}

static int begin_out(Prediction *p)
{
    const char *path = p->s->options.table, *dot = path ? strrchr(path, '.') : NULL;
    if (path == NULL)
        return 1;
    if (dot == NULL || strcmp(dot, ".csv") != 0)        /* main.c lets nothing else through than .csv and .npy */
        return begin_rows(p);
    if (!cnn_save_begin(&p->save, path))
        return cnn_save_end(&p->save);
    p->kind = TABLE;
    put_table(p, NULL);
    return 1;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* Everything of one batch. 0 after cnn_error, or where --out cannot be written, which is said at the end. */
static int predict_batch(Prediction *p, const cnn_batch *batch, int first)
{
    cnn_session *s = p->s;
    s->network->predict(s->net, batch->x, s->logits);
    if (first && s->options.dump && !dump_layers(s, batch->x))
        return 0;
    if (p->kind == ROWS)
        put_rows(p, batch->count);
    if (p->kind == TABLE)
        put_table(p, batch);
    print_pictures(p, batch);
    return p->kind == NOTHING || p->save.what == NULL;
}

static int predict_all(Prediction *p)
{
    const long batches = cnn_session_batches(p->s, p->data, 0);
    cnn_loader *loader = cnn_session_loader(p->s, p->data, CNN_LOAD_ALL, 0, batches);
    int going = loader && begin_out(p);
    for (long i = 0; going && i < batches; i++) {
        const cnn_batch *batch = cnn_loader_next(loader);
        if (batch == NULL)
            cnn_loader_report(loader);
        going = batch && predict_batch(p, batch, i == 0);
    }
    cnn_loader_close(loader);
    if (going && p->printed == 0) {
        cnn_error("%s: none of them can be read", cnn_dataset_text(p->data));
        going = 0;
    }
    if (p->kind != NOTHING && !going && p->save.what == NULL)
        cnn_save_drop(&p->save);
    else if (p->kind != NOTHING)
        going = cnn_save_end(&p->save);
    return going;
}

int cnn_predict(cnn_session *s)
{
    Prediction p = {.s = s, .layer = -1, .data = cnn_open_weights_and_data(s, 1)};
    p.top = s->options.top < s->classes ? (int)s->options.top : s->classes;
    p.named = s->loaded.names.count > 0 || (p.data && cnn_dataset_name(p.data, 0));
    const int done = p.data && predict_all(&p);
    cnn_session_left_out(s, p.data);
    cnn_dataset_close(p.data);
    free(p.row);
    return done ? CNN_OK : CNN_FAILED;
}
