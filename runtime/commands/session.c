/* session.c - the network of a command, the buffers of one batch, its weights by name.
 *
 * Everything that a session allocates is released by cnn_session_close.
 */
#include "command.h"
#include "error.h"
#include "data/loader.h"
#include "train/recipe.h"

#include <errno.h>
#include <fnmatch.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cnn_session_open(cnn_session *s)
{
    int output[4];
    s->network->shape(s->input, output);
    s->batch = s->input[0];
    s->classes = output[1] * output[2] * output[3];
    s->pixels = (size_t)s->input[1] * (size_t)s->input[2] * (size_t)s->input[3];

    size_t batch = (size_t)s->batch;
    s->logits = calloc(batch * (size_t)s->classes, sizeof *s->logits);
    s->net = s->network->create((uint64_t)s->options.seed);
    if (s->logits && s->net)
        return 1;
    cnn_error("there is not enough memory: the network needs %.0f MiB\ncompile it with a smaller batch (cnnc --batch)",
              (double)(s->facts->arena_bytes + 3 * s->facts->parameter_bytes) / 1048576 + 1);
    return 0;
}

/* ---- several processes ------------------------------------------------------------------------------------------- */

double cnn_session_gradients(cnn_session *s, const cnn_real *x, const int32_t *labels)
{
    cnn_ranks_overlap(s->ranks);
    double loss = (double)s->network->gradients(s->net, x, labels, s->logits);
    cnn_ranks_reduce(s->ranks);
    return loss;
}

int cnn_session_stopped(const cnn_session *s)
{
    return s->ranks ? s->stop : cnn_signal;
}

int cnn_session_agree(cnn_session *s, int good, double *values, int count)
{
    enum { MOST = 8, SIGNALS = 3 };
    double all[MOST + SIGNALS] = {!good, cnn_signal == SIGINT, cnn_signal == SIGTERM};
    if (s->ranks == NULL)
        return good;
    for (int i = 0; i < count; i++)
        all[SIGNALS + i] = values[i];
    cnn_ranks_sum(s->ranks, all, SIGNALS + count);
    for (int i = 0; i < count; i++)
        values[i] = all[SIGNALS + i];
    s->stop = all[1] > 0 ? SIGINT : all[2] > 0 ? SIGTERM : 0;
    return all[0] == 0 || cnn_ranks_agree(s->ranks, good);
}

void cnn_session_close(cnn_session *s)
{
    if (s->net)
        s->network->destroy(s->net);
    free(s->x);
    free(s->logits);
    free(s->labels);
    cnn_safetensors_close(s->state);
    cnn_names_free(&s->loaded.names);
    cnn_names_free(&s->names);
}

cnn_update cnn_session_update(const cnn_session *s, double lr)
{
    const cnn_options *o = &s->options;
    return (cnn_update){.lr = (float)lr, .momentum = (float)o->momentum, .weight_decay = (float)o->weight_decay,
                        .nesterov = o->nesterov, .optimizer = (cnn_optimizer)o->optimizer, .beta1 = (float)o->beta1,
                        .beta2 = (float)o->beta2, .epsilon = (float)o->epsilon, .alpha = (float)o->alpha};
}

int cnn_session_random_batch(cnn_session *s)
{
    enum { PICTURES = 0x70696374, LABELS = 0x6c61626c };     /* streams far from those of a network's tensors */
    s->x = calloc((size_t)s->batch * s->pixels, sizeof *s->x);
    s->labels = calloc((size_t)s->batch, sizeof *s->labels);
    if (s->x == NULL || s->labels == NULL) {
        cnn_error("there is not enough memory for a batch\ncompile the network with a smaller one (cnnc --batch)");
        return 0;
    }
    cnn_fill_normal(s->x, (size_t)s->batch * s->pixels, 1.0, (uint64_t)s->options.seed, PICTURES);
    for (int n = 0; n < s->batch; n++)
        s->labels[n] = (int32_t)(cnn_uniform((uint64_t)s->options.seed, LABELS, 0, (uint32_t)n) * (float)s->classes);
    return 1;
}

cnn_wish cnn_session_wish(const cnn_session *s)
{
    const cnn_options *o = &s->options;
    cnn_wish wish = {.classes = s->classes, .seed = (uint64_t)o->seed, .decoders = s->network->decoders,
                     .shorter = (int)o->resize_short, .normal = &s->normal, .validation = o->validation,
                     .skip_bad = o->skip_bad ? CNN_SKIP_NAMED : CNN_SKIP_NONE};
    memcpy(wish.input, s->input, sizeof wish.input);
    return wish;
}

cnn_dataset *cnn_session_data(const cnn_session *s, cnn_split split, const cnn_augment *augment)
{
    cnn_wish wish = cnn_session_wish(s);
    wish.augment = augment;
    return cnn_dataset_open(s->options.data, split, &wish);
}

int cnn_session_take_names(cnn_session *s, const cnn_dataset *data)
{
    int taken = 1;
    cnn_names_free(&s->names);
    for (int k = 0; taken && k < s->classes && cnn_dataset_name(data, k); k++)
        taken = cnn_names_add(&s->names, cnn_dataset_name(data, k));
    return taken;
}

const char *cnn_session_scored(const cnn_session *s)
{
    return s->scored == CNN_VALIDATION ? "validation" : "test";
}

long cnn_session_batches(const cnn_session *s, const cnn_dataset *data, int whole)
{
    size_t batch = (size_t)s->batch;
    long batches = (long)((cnn_dataset_size(data) + (whole ? 0 : batch - 1)) / batch);
    return s->options.limit_batches > 0 && s->options.limit_batches < batches ? s->options.limit_batches : batches;
}

/* The number that is asked for; else, below 0, what the loader may start: one thread feeds what two or four processors
 * compute, and a network that is fast on many of them needs more. */
static int loader_threads(const cnn_options *o)
{
    enum { SHARE = 4, MOST = 16 };
    int threads = omp_get_num_procs() / SHARE;
    if (CNN_GIVEN(o, loader_threads))
        return (int)o->loader_threads;
    return threads < 1 ? -1 : threads > MOST ? -MOST : -threads;
}

static int read_picture(void *data, size_t i, uint32_t epoch, cnn_reader *reader, cnn_real *x, int32_t *label)
{
    return cnn_dataset_picture(data, i, epoch, reader, x, label);
}

cnn_loader *cnn_session_loader(const cnn_session *s, cnn_dataset *data, cnn_load how, long first, long end)
{
    const cnn_options *o = &s->options;
    const int training = how == CNN_LOAD_TRAINING, shared = how != CNN_LOAD_ALL;
    cnn_plan plan = {
        .read = read_picture, .source = data, .size = cnn_dataset_size(data), .pixels = s->pixels, .batch = s->batch,
        .shuffled = training, .seed = (uint64_t)o->seed, .mixed = training && o->augment.mixup > 0,
        .replaces = training, .batches = cnn_session_batches(s, data, training), .first = first, .end = end,
        .rank = shared ? cnn_ranks_own(s->ranks) : 0, .ranks = shared ? cnn_ranks_count(s->ranks) : 1,
        .threads = loader_threads(o)};
    return cnn_loader_open(&plan);
}

/* Mean and deviation of the train split as the network sees it, without random changes. */
static int measure(cnn_session *s)
{
    cnn_sums sums = {0};
    s->normal.count = 0;
    cnn_wish wish = cnn_session_wish(s);
    wish.skip_bad = wish.skip_bad ? CNN_SKIP_QUIETLY : CNN_SKIP_NONE;           /* they are named when they are trained on */
    cnn_dataset *data = cnn_dataset_open(s->options.data, CNN_TRAIN, &wish);
    long batches = data ? cnn_session_batches(s, data, 0) : 0;
    cnn_loader *loader = data ? cnn_session_loader(s, data, CNN_LOAD_ALL, 0, batches) : NULL;
    cnn_progress progress = cnn_progress_begin("mean and deviation", 0, batches, s->batch);
    long done = 0;
    for (const cnn_batch *b; loader && done < batches && (b = cnn_loader_next(loader)) != NULL; done++) {
        for (int n = 0; n < b->count; n++)
            if (b->labels[n] >= 0)
                cnn_sums_add(&sums, s->input[1], s->pixels / (size_t)s->input[1], b->x + (size_t)n * s->pixels);
        cnn_progress_show(&progress, done + 1, "");
    }
    cnn_progress_end(&progress);
    if (loader && done < batches)
        cnn_loader_report(loader);
    cnn_loader_close(loader);
    cnn_dataset_close(data);
    return loader && done == batches && cnn_sums_normal(&sums, &s->normal);
}

int cnn_session_normalise(cnn_session *s)
{
    const cnn_options *o = &s->options;
    char mean[CNN_NORMAL_TEXT], deviation[CNN_NORMAL_TEXT];
    int measured = o->normalize && (CNN_GIVEN(o, normalize) || !s->loaded.known);
    if (CNN_GIVEN(o, mean) || CNN_GIVEN(o, deviation) || (!measured && !s->loaded.known))
        return cnn_normal_read(&s->normal, o->mean, o->deviation, s->input[1]);
    s->normal = s->loaded.normal;
    if (!measured)
        return 1;
    if (!measure(s))
        return 0;
    cnn_normal_text(s->normal.mean, s->normal.count, mean);             /* to the digits that the weights file keeps */
    cnn_normal_text(s->normal.deviation, s->normal.count, deviation);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "mean %s  deviation %s\n", mean, deviation);
    return cnn_normal_read(&s->normal, mean, deviation, s->input[1]);
}

void cnn_session_left_out(cnn_session *s, const cnn_dataset *data)
{
    enum { PIECE = 1024 };
    size_t count = 0;
    char path[PATH_MAX];
    double bad[PIECE], none = data == NULL || !s->options.skip_bad;
    cnn_ranks_sum(s->ranks, &none, 1);
    for (size_t first = 0; none == 0 && first < cnn_dataset_size(data); first += PIECE) {
        const size_t left = cnn_dataset_size(data) - first, now = left < PIECE ? left : PIECE;
        for (size_t i = 0; i < now; i++)
            bad[i] = cnn_dataset_left_out(data, first + i);
        cnn_ranks_sum(s->ranks, bad, (int)now);         /* several may have met with the same one */
        for (size_t i = 0; i < now; i++) {
            count += bad[i] > 0;
            if (bad[i] > 0 && !cnn_dataset_left_out(data, first + i) && cnn_dataset_path(data, first + i, path))
                cnn_warn("%s: another process cannot read it; it is left out", path);
        }
    }
    if (count > 0)
        cnn_warn("%s: %zu cannot be read and %s left out", cnn_dataset_text(data), count, count == 1 ? "was" : "were");
}

long cnn_session_whole_batches(const cnn_session *s, const cnn_dataset *data)
{
    size_t pictures = cnn_dataset_size(data);
    long batches = cnn_session_batches(s, data, 1);
    if (batches == 0)
        cnn_error("%s: %zu pictures are fewer than one batch of %d\ncompile the network with cnnc --batch %zu",
                  s->options.data, pictures, s->batch, pictures);
    return batches;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Levenshtein's distance, one row at a time; names beyond 127 characters are compared by their beginning. */
int cnn_distance(const char *text, const char *name)
{
    enum { LONGEST = 127 };
    int row[LONGEST + 1], wild = text[strcspn(text, "*?[")] != '\0';
    int length = (int)strcspn(text, "*?["), width = (int)strnlen(name, LONGEST);
    for (int j = 0; j <= width; j++)
        row[j] = j;
    for (int i = 1; i <= length; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= width; j++) {
            int replaced = diagonal + (text[i - 1] != name[j - 1]);
            int edited = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replaced < edited ? replaced : edited;
        }
    }
    int best = row[width];
    for (int j = 0; wild && j < width; j++)
        best = row[j] < best ? row[j] : best;
    return best;
}

/* Says that `glob` matches nothing and lists the three nearest names. */
static void report_no_match(const cnn_session *s, const char *option, const char *glob)
{
    const cnn_network *network = s->network;
    int tensors = network->tensors(), listed[3] = {-1, -1, -1};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < tensors; i++) {
            int known = i == listed[0] || i == listed[1] || !network->tensor(i).trainable;
            if (!known && (listed[k] < 0 || cnn_distance(glob, network->tensor(i).name) <
                                                cnn_distance(glob, network->tensor(listed[k]).name)))
                listed[k] = i;
        }
    char names[512] = "";
    for (int k = 0; k < 3 && listed[k] >= 0; k++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", k ? ", " : "",
                 network->tensor(listed[k]).name);
    cnn_error("%s %s matches no trainable tensor\nthe nearest names are %s; quote a pattern against the shell", option,
              glob, names);
}

int cnn_session_match(const cnn_session *s, const char *option, const cnn_list *patterns, int *chosen)
{
    for (int i = 0; i < s->network->tensors(); i++)
        chosen[i] = 0;
    for (int g = 0; g < patterns->count; g++) {
        int matches = 0;
        for (int i = 0; i < s->network->tensors(); i++) {
            cnn_tensor t = s->network->tensor(i);
            if (t.trainable && fnmatch(patterns->items[g], t.name, 0) == 0)
                chosen[i] = 1, matches++;
        }
        if (matches == 0) {
            report_no_match(s, option, patterns->items[g]);
            return 0;
        }
    }
    return 1;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

cnn_stored *cnn_session_weights(cnn_session *s, int *count)
{
    const cnn_network *network = s->network;
    cnn_stored *items = calloc((size_t)network->tensors() + 1, sizeof *items);
    *count = 0;
    if (items == NULL)
        cnn_error("there is not enough memory");
    for (int i = 0; items && i < network->tensors(); i++)
        items[(*count)++] = (cnn_stored){"", network->tensor(i), network->get, network->set, s->net, i};
    if (items && s->recipe)
        cnn_recipe_weights(s->recipe, items, *count);
    return items;
}

static void get_first(const void *session, int i, cnn_real *out)
{
    const cnn_session *s = session;
    s->network->get_moment(s->net, 1, i, out);
}

static void set_first(void *session, int i, const cnn_real *in)
{
    const cnn_session *s = session;
    s->network->set_moment(s->net, 1, i, in);
}

cnn_stored *cnn_session_state(cnn_session *s, int *count)
{
    const cnn_network *network = s->network;
    cnn_stored *items = calloc(3 * (size_t)network->tensors() + 1, sizeof *items);
    *count = 0;
    if (items == NULL)
        cnn_error("there is not enough memory");
    for (int i = 0; items && i < network->tensors(); i++)
        if (network->tensor(i).trainable)
            items[(*count)++] = (cnn_stored){"momentum.", network->tensor(i), get_first, set_first, s, i};
    if (items && s->recipe)
        *count += cnn_recipe_items(s->recipe, items + *count);
    return items;
}

static int matches_any(const cnn_list *globs, const char *name)
{
    for (int i = 0; i < globs->count; i++)
        if (fnmatch(globs->items[i], name, 0) == 0)
            return 1;
    return 0;
}

/* Takes the items that `skip` names out of the list; 0 after cnn_error where a pattern names none. */
static int skip_items(const cnn_session *s, const cnn_list *skip, cnn_stored *items, int *count)
{
    for (int g = 0; g < skip->count; g++) {
        int matches = 0;
        for (int i = 0; i < *count; i++)
            matches += fnmatch(skip->items[g], items[i].tensor.name, 0) == 0;
        if (matches == 0) {
            report_no_match(s, "--skip", skip->items[g]);
            return 0;
        }
    }
    int kept = 0;
    for (int i = 0; i < *count; i++)
        if (!matches_any(skip, items[i].tensor.name))
            items[kept++] = items[i];
    *count = kept;
    return 1;
}

/* Puts what a trainer has written beside the weights under an option's name (checkpoint.c) in its field of `o`. 0 after
 * cnn_error where the option would not take it. */
static int recall(cnn_options *o, const cnn_safetensors *file, const char *name, const char *path)
{
    char why[CNN_OPTION_MESSAGE];
    const char *text = cnn_safetensors_metadata(file, name);
    if (text == NULL || cnn_option_set(o, cnn_option_find(name, strlen(name)), text, why))
        return 1;
    cnn_error("%s: says of its data: %s %.40s, which %s\nfetch the file again, or give --%s and take it out of the metadata",
              path, name, text, why, name);
    return 0;
}

/* All that a trainer has written beside the weights. 0 after cnn_error where it makes no sense. */
static int remember(cnn_session *s, const cnn_safetensors *file, const char *path)
{
    const char *classes = cnn_safetensors_metadata(file, "classes");
    cnn_options said = {.validation = 0};
    s->loaded.known = cnn_safetensors_metadata(file, "network") != NULL;
    if (s->loaded.known && !(recall(&said, file, "validation", path) && recall(&said, file, "seed", path) &&
                             recall(&said, file, "resize-short", path)))
        return 0;
    s->loaded.validation = said.validation;
    s->loaded.seed = said.seed;
    s->loaded.resize_short = said.resize_short;
    cnn_names_free(&s->loaded.names);
    if (s->loaded.known && classes && !cnn_names_read(&s->loaded.names, classes, s->classes, path))
        return 0;
    if (cnn_normal_read(&s->loaded.normal, cnn_safetensors_metadata(file, "mean"),
                        cnn_safetensors_metadata(file, "deviation"), s->input[1]))
        return 1;
    cnn_note("that is what %s says of its data; --mean and --deviation would say it better", path);
    return 0;
}

int cnn_session_load(cnn_session *s, const char *path, const cnn_list *skip, unsigned allow)
{
    int count, loaded = -1;
    cnn_safetensors *file = cnn_safetensors_open(path);
    cnn_stored *items = file ? cnn_session_weights(s, &count) : NULL;
    if (skip && skip->count)
        allow = CNN_ALLOW_UNEXPECTED;
    if (items && (skip == NULL || skip_items(s, skip, items, &count)))
        loaded = cnn_safetensors_load(file, items, count, allow);
    if (loaded >= 0 && !remember(s, file, path))
        loaded = -1;
    free(items);
    cnn_safetensors_close(file);
    return loaded;
}

/* Weights of --init may be of another network: what fits is taken, and what is left is named. */
int cnn_session_initialise(cnn_session *s)
{
    if (s->options.init == NULL)
        return 1;
    int loaded = cnn_session_load(s, s->options.init, &s->options.skip,
                                  CNN_ALLOW_MISSING | CNN_ALLOW_UNEXPECTED | CNN_ALLOW_SHAPE);
    if (loaded == 0)
        cnn_error("%s: none of its tensors has the name and shape of one of %s\n'info' lists its layers",
                  s->options.init, s->facts->name);
    return loaded > 0;
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

int cnn_path(char room[CNN_PATH], const char *folder, const char *name)
{
    if (snprintf(room, CNN_PATH, "%s/%s", folder, name) < CNN_PATH)
        return 1;
    cnn_error("%.200s...: the path is too long", folder);
    return 0;
}

int cnn_make_folder(const char *path)
{
    char part[CNN_PATH];
    if (*path == '\0' || !cnn_path(part, path, ""))
        return *path ? 0 : (cnn_error("the folder's name is empty"), 0);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) {
            cnn_error("%s: the folder cannot be made: %s\nchoose another one", part, strerror(errno));
            return 0;
        }
        *slash = '/';
    }
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return 1;
    cnn_error("%s: is not a folder\nchoose another name", path);
    return 0;
}
