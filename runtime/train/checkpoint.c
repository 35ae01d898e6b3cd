/* checkpoint.c - the weights and the state of a run, so that it can be used and continued bit for bit.
 *
 *   last.safetensors         the weights, in state_dict names, for eval, predict and PyTorch
 *   last.state.safetensors   the optimiser's state, and as metadata where the run stands and the options it was given
 *   previous.*               the checkpoint before
 *
 * The two files of a checkpoint carry the same stamp: the step and a checksum of the weights. Saving goes
 *     keep last as previous; write last; keep last.state as previous.state; write last.state
 * and each step replaces its file at once (save.h), so wherever it is cut off some state and the weights of its
 * stamp are there: cnn_checkpoint_find takes (last, last.state), or (previous, last.state) where last is already newer.
 */
#include "run.h"
#include "error.h"
#include "files/save.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static const char *const numbers = sizeof(cnn_real) == sizeof(float) ? "float" : "double";

/* ---- saving ------------------------------------------------------------------------------------------------------ */

/* A checksum of all weights; 0 after cnn_error where one is not finite: such weights must not replace good ones, unless
 * --allow-nan is given. */
static int checksum(cnn_session *s, unsigned long *sum)
{
    size_t largest = 1;
    for (int i = 0; i < s->network->tensors(); i++)
        largest = s->network->tensor(i).count > largest ? s->network->tensor(i).count : largest;
    cnn_real *values = malloc(largest * sizeof *values);
    if (values == NULL) {
        cnn_error("there is not enough memory to save");
        return 0;
    }
    int finite = 1;
    *sum = crc32_z(0, NULL, 0);
    for (int i = 0; finite && i < s->network->tensors(); i++) {
        cnn_tensor t = s->network->tensor(i);
        s->network->get(s->net, i, values);
        for (size_t j = 0; finite && !s->options.allow_nan && j < t.count; j++)
            finite = isfinite(values[j]);
        if (!finite)
            cnn_error("%s has values that are not finite after step %llu; nothing was saved\ntry a smaller --lr",
                      t.name, (unsigned long long)s->network->get_step(s->net));
        *sum = crc32_z(*sum, (const Bytef *)values, t.count * sizeof *values);
    }
    free(values);
    return finite;
}

/* A file of the folder gets another name too; a missing one is nothing to keep. */
static int keep(const char *out, const char *from_name, const char *to_name)
{
    char from[CNN_PATH], to[CNN_PATH];
    return cnn_path(from, out, from_name) && cnn_path(to, out, to_name) && cnn_save_link(from, to);
}

/* What a file says of itself as metadata. Values are copied here but for long texts, which outlive the writing. */
enum { FACTS = 256 };
typedef struct {
    cnn_metadata items[FACTS];
    char         texts[FACTS][CNN_OPTION_ROOM], keys[FACTS][CNN_OPTION_ROOM];
    int          count;
} Facts;

/* A key is said once: options share them with what else is said. */
static void add_text(Facts *facts, const char *key, const char *value)
{
    for (int i = 0; i < facts->count; i++)
        if (strcmp(facts->items[i].key, key) == 0)
            abort();
    if (facts->count == FACTS)
        abort();
    facts->items[facts->count++] = (cnn_metadata){key, value};
}

/* "%a" keeps every bit. */
static void add_real(Facts *facts, const char *key, double value)
{
    snprintf(facts->texts[facts->count], sizeof *facts->texts, "%a", value);
    add_text(facts, key, facts->texts[facts->count]);
}

static void add_integer(Facts *facts, const char *key, unsigned long long value)
{
    snprintf(facts->texts[facts->count], sizeof *facts->texts, "%llu", value);
    add_text(facts, key, facts->texts[facts->count]);
}

/* What eval and predict need beside the weights: how pictures were prepared, which of them were kept, and the names of the
 * classes (NULL: none). */
static void add_data(Facts *facts, const cnn_session *s, char mean[CNN_NORMAL_TEXT], char deviation[CNN_NORMAL_TEXT],
                     const char *classes)
{
    if (classes)
        add_text(facts, "classes", classes);
    if (s->options.resize_short > 0)
        add_integer(facts, "resize-short", (unsigned long long)s->options.resize_short);
    if (s->normal.count > 0) {
        cnn_normal_text(s->normal.mean, s->normal.count, mean);
        cnn_normal_text(s->normal.deviation, s->normal.count, deviation);
        add_text(facts, "mean", mean);
        add_text(facts, "deviation", deviation);
    }
    if (s->options.validation > 0) {
        add_real(facts, "validation", s->options.validation);
        add_integer(facts, "seed", (unsigned long long)s->options.seed);
    }
}

/* What both files say, and all that the weights say: "network", "step" and "weights" are the stamp. */
static void add_weights(Facts *facts, const cnn_session *s, const cnn_position *p, unsigned long sum)
{
    add_text(facts, "network", s->facts->name);
    add_integer(facts, "step", s->network->get_step(s->net));
    add_integer(facts, "weights", sum);
    add_text(facts, "cnnc", s->facts->version);
    if (p->accuracy >= 0)
        add_real(facts, "accuracy", p->accuracy);
}

/* Every option of the run, under its name; the items of a list under "freeze0", "freeze1" and so on. */
static void add_options(Facts *facts, const cnn_options *o)
{
    for (int i = 0; cnn_option_row(i); i++)
        for (int k = 0; cnn_option_row(i)->is & CNN_OF_RUN; k++) {
            const cnn_option *row = cnn_option_row(i);
            int n = facts->count;
            const char *value = cnn_option_get(o, row, k, facts->texts[n]);
            if (value == NULL)
                break;
            snprintf(facts->keys[n], sizeof facts->keys[n], row->kind == CNN_OPTION_LIST ? "%s%d" : "%s", row->name, k);
            add_text(facts, facts->keys[n], value);
        }
}

/* What only the state says. */
static void add_run(Facts *facts, const cnn_session *s, const cnn_position *p)
{
    add_text(facts, "target", s->facts->target);
    add_text(facts, "flags", s->facts->flags);
    add_text(facts, "code", s->facts->schedule);
    add_text(facts, "numbers", numbers);
    add_integer(facts, "epoch", (unsigned long long)p->epoch);
    add_integer(facts, "batch", (unsigned long long)p->batch);
    add_integer(facts, "correct", (unsigned long long)p->correct);
    add_real(facts, "loss", p->loss);
    add_real(facts, "seconds", p->seconds);
    add_integer(facts, "batch_size", (unsigned long long)s->batch);
    add_options(facts, &s->options);
}

static int write_file(const char *out, const char *name, const cnn_stored *items, int count, const Facts *facts)
{
    char path[CNN_PATH];
    return items && cnn_path(path, out, name) && cnn_safetensors_write(path, items, count, facts->items, facts->count);
}

int cnn_checkpoint_save(cnn_session *s, const char *out, const cnn_position *position)
{
    unsigned long sum;
    char mean[CNN_NORMAL_TEXT], deviation[CNN_NORMAL_TEXT], *classes;
    if (!checksum(s, &sum) || !cnn_names_text(&s->names, &classes))
        return 0;
    Facts stamp = {.count = 0}, run = {.count = 0};
    add_weights(&stamp, s, position, sum);
    add_data(&stamp, s, mean, deviation, classes);
    add_weights(&run, s, position, sum);
    add_run(&run, s, position);

    int weight_count, state_count;
    cnn_stored *weights = cnn_session_weights(s, &weight_count), *state = cnn_session_state(s, &state_count);
    int saved = weights && state &&
                keep(out, "last.safetensors", "previous.safetensors") &&
                write_file(out, "last.safetensors", weights, weight_count, &stamp) &&
                keep(out, "last.state.safetensors", "previous.state.safetensors") &&
                write_file(out, "last.state.safetensors", state, state_count, &run);
    free(weights);
    free(state);
    free(classes);
    return saved;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static int exists(const char *out, const char *name)
{
    char path[CNN_PATH];
    return cnn_path(path, out, name) && access(path, F_OK) == 0;
}

static cnn_safetensors *open_file(const char *out, const char *name)
{
    char path[CNN_PATH];
    return cnn_path(path, out, name) ? cnn_safetensors_open(path) : NULL;
}

static int same_text(cnn_safetensors *a, cnn_safetensors *b, const char *key)
{
    const char *x = cnn_safetensors_metadata(a, key), *y = cnn_safetensors_metadata(b, key);
    return x && y && strcmp(x, y) == 0;
}

/* Whether the weights in a file are those that a state was saved with. */
static int belongs(cnn_safetensors *weights, cnn_safetensors *state)
{
    return same_text(weights, state, "network") && same_text(weights, state, "step") &&
           same_text(weights, state, "weights");
}

/* Opens the state whose weights are there, after putting them in place; NULL after cnn_error. */
static cnn_safetensors *find_pair(const char *out)
{
    cnn_safetensors *state = open_file(out, "last.state.safetensors");
    cnn_safetensors *weights = state ? open_file(out, "last.safetensors") : NULL, *previous = NULL;
    if (state && weights && !belongs(weights, state) && exists(out, "previous.safetensors")) {
        char from[CNN_PATH], to[CNN_PATH];          /* a save was cut off after the weights: the ones before are kept */
        previous = open_file(out, "previous.safetensors");
        if (previous && belongs(previous, state) && cnn_path(from, out, "previous.safetensors") &&
            cnn_path(to, out, "last.safetensors")) {
            if (rename(from, to) == 0) {
                cnn_safetensors_close(weights);
                weights = previous, previous = NULL;
            } else {
                cnn_error("%s: cannot be renamed: %s", from, strerror(errno));
            }
        }
    }
    int found = state && weights && belongs(weights, state);
    if (state && weights && !found)
        cnn_error("%s: the weights and the state in this folder are of different steps\n"
                  "train again, or start from the weights alone: --init %s/last.safetensors", out, out);
    cnn_safetensors_close(weights);
    cnn_safetensors_close(previous);
    if (found)
        return state;
    cnn_safetensors_close(state);
    if (exists(out, "previous.safetensors") && exists(out, "previous.state.safetensors"))
        cnn_note("the checkpoint before is still there; to continue from it, copy %s/previous.safetensors and "
                 "previous.state.safetensors over last.safetensors and last.state.safetensors", out);
    return NULL;
}

/* A number of the state's metadata in [least, most], or NaN where least is -infinity (--allow-nan); counts in *bad what
 * is missing or is no such number. */
static double number(const cnn_safetensors *state, const char *key, double least, double most, int *bad)
{
    const char *text = cnn_safetensors_metadata(state, key);
    char *end = NULL;
    double value = text ? strtod(text, &end) : 0;
    int inside = (value >= least && value <= most) || (isnan(value) && isinf(least));
    if (text == NULL || *text == '\0' || *end != '\0' || !inside) {
        ++*bad;
        return 0;
    }
    return value;
}

static const char *lookup(const void *state, const char *key)
{
    return cnn_safetensors_metadata(state, key);
}

/* Whether a state is of this network and can be continued by this program; 0 after cnn_error. */
static int check_program(const cnn_session *s, const char *out, int batch_size)
{
    const char *network = cnn_safetensors_metadata(s->state, "network"), *say = "?";
    const char *version = cnn_safetensors_metadata(s->state, "cnnc");
    const char *written = cnn_safetensors_metadata(s->state, "numbers");
    int input[4], output[4];
    s->network->shape(input, output);
    if (network == NULL || strcmp(network, s->facts->name) != 0)
        return cnn_error("%s: is a run of the network %s, and this is %s\nname this network's folder with --out", out,
                         network ? network : say, s->facts->name), 0;
    if (version == NULL || strcmp(version, s->facts->version) != 0)
        return cnn_error("%s: the run is one of cnnc %s, and this trainer is of cnnc %s\ncompile it with that version, "
                         "or start from the weights alone: --init %s/last.safetensors", out, version ? version : say,
                         s->facts->version, out), 0;
    if (written == NULL || strcmp(written, numbers) != 0)
        return cnn_error("%s: the run computes in %s, and this trainer in %s\ncompile it with%s cnnc --double", out,
                         written ? written : say, numbers, sizeof(cnn_real) == sizeof(float) ? "" : "out"), 0;
    if (batch_size != input[0])
        return cnn_error("%s: the run has batches of %d, this trainer has batches of %d\n"
                         "compile it with cnnc --batch %d", out, batch_size, input[0], batch_size), 0;
    static const char *const how[] = {"target", "flags", "code"};
    const char *const now[] = {s->facts->target, s->facts->flags, s->facts->schedule};
    for (int i = 0; i < 3; i++) {
        const char *then = cnn_safetensors_metadata(s->state, how[i]);
        if (then == NULL || strcmp(then, now[i]) != 0)
            return cnn_warn("%s: the run was begun by a trainer of another %s (%s, now %s)\nit goes on, but not to the "
                            "same last bits", out, how[i], then ? then : say, now[i]), 1;
    }
    return 1;
}

int cnn_checkpoint_find(cnn_session *s, const char *out, cnn_position *p)
{
    if (!exists(out, "last.state.safetensors")) {
        cnn_error("%s: there is no run to resume here (no last.state.safetensors)\nleave out --resume to begin one, or "
                  "name its folder with --out", out);
        return 0;
    }
    s->state = find_pair(out);
    if (s->state == NULL)
        return 0;
    int bad = 0;
    int batch_size = (int)number(s->state, "batch_size", 1, INT_MAX, &bad);
    p->epoch = (long)number(s->state, "epoch", 0, 1000000, &bad);
    p->batch = (long)number(s->state, "batch", 0, 1e15, &bad);
    p->correct = (long)number(s->state, "correct", 0, 1e15, &bad);
    p->loss = number(s->state, "loss", -HUGE_VAL, HUGE_VAL, &bad);
    p->seconds = number(s->state, "seconds", 0, HUGE_VAL, &bad);
    p->accuracy = cnn_safetensors_metadata(s->state, "accuracy") ? number(s->state, "accuracy", 0, 1, &bad) : -1;
    if (!bad && !check_program(s, out, batch_size))
        return 0;
    int adopted = bad ? 0 : cnn_options_adopt(&s->options, lookup, s->state);
    if (adopted == 0)
        cnn_error("%s/last.state.safetensors: lacks what a state must say\nit was not written by a trainer", out);
    return adopted == 1;
}

int cnn_checkpoint_load(cnn_session *s, const char *out)
{
    char path[CNN_PATH];
    int count;
    if (!cnn_path(path, out, "last.safetensors") || cnn_session_load(s, path, NULL, 0) < 0)
        return 0;
    cnn_stored *items = cnn_session_state(s, &count);
    int loaded = items && cnn_safetensors_load(s->state, items, count, 0) >= 0;
    free(items);
    if (loaded)
        s->network->set_step(s->net, strtoull(cnn_safetensors_metadata(s->state, "step"), NULL, 10));
    return loaded;
}
