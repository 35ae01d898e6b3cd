/* test_update.c - the optimisers, the loss's targets, the flat state and NAME_step of
 * generated networks, at both levels.
 *
 * tests/reference/update.txt has what PyTorch computes in double: the double build must agree to 1e-12, the float build
 * to 1e-6 of the largest value. What two builds of NAME_step and of gradients and update compute must be the same bits.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "programs.h"
#include "support.h"

enum { STEPS = 4, MOST_TENSORS = 200 };

static Loaded load_text(const char *text, const char *flags, const char *test)
{
    char *folder = scratch_folder(test), path[700];
    snprintf(path, sizeof path, "%s/probe.net", folder);
    write_whole(path, text, strlen(text));
    free(folder);
    return load_file(path, "probe", flags, 3);
}

static double real_at(const Loaded *l, const void *values, size_t i)
{
    return l->is_double ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

static void set_real(const Loaded *l, void *values, size_t i, double value)
{
    if (l->is_double)
        ((double *)values)[i] = value;
    else
        ((float *)values)[i] = (float)value;
}

/* ---- flat state -------------------------------------------------------------------------------------------------- */

/* The place in the flat arrays of every element of tensor i, found by values that are all different. */
static size_t *places_of(Loaded *l, int i)
{
    size_t count = l->tensor(i).count, first, room, whole;
    double *tags = malloc(sizeof *tags * count), *before = fetch(l, l->get, i);
    size_t *places = malloc(sizeof *places * count);
    for (size_t k = 0; k < count; k++)
        tags[k] = (double)(k + 1);
    store(l, i, tags);
    l->span(i, &first, &room);
    const void *flat = l->flat(l->net, CNN_VALUES, &whole);
    cr_assert(first + room <= whole, "tensor %d ends at %zu of %zu", i, first + room, whole);
    size_t found = 0;
    for (size_t at = first; at < first + room; at++) {
        double tag = real_at(l, flat, at);
        cr_assert(tag >= 0 && tag <= (double)count && (tag == 0 || ++found), "tensor %d: %g at %zu", i, tag, at);
        if (tag > 0)
            places[(size_t)tag - 1] = at;
    }
    cr_assert(found == count, "tensor %d: %zu of %zu elements are in its span", i, found, count);
    store(l, i, before);
    free(tags);
    free(before);
    return places;
}

/* Elements of a part that belong to no tensor. */
static void expect_rest_zero(Loaded *l, cnn_part part, const char *when)
{
    size_t count;
    const void *flat = l->flat(l->net, part, &count);
    bool *used = calloc(count, sizeof *used);
    for (int i = 0; i < l->tensors(); i++) {
        size_t *places = places_of(l, i);
        for (size_t k = 0; k < l->tensor(i).count; k++)
            used[places[k]] = true;
        free(places);
    }
    for (size_t k = 0; k < count; k++)
        cr_expect(used[k] || real_at(l, flat, k) == 0, "%s: element %zu of part %d is %g", when, k, part,
                  real_at(l, flat, k));
    free(used);
}

/* What is written through the flat arrays is read by the accessors. */
static void expect_same_state(Loaded *l)
{
    size_t count;
    void *values = l->flat(l->net, CNN_VALUES, &count), *gradients = l->flat(l->net, CNN_GRADIENTS, &count);
    void *first = l->flat(l->net, CNN_FIRST, &count), *second = l->flat(l->net, CNN_SECOND, &count);
    for (int i = 0; i < l->tensors(); i++) {
        size_t *places = places_of(l, i), last = l->tensor(i).count - 1;
        set_real(l, values, places[last], 1.5);
        set_real(l, gradients, places[last], 2.5);
        set_real(l, first, places[last], 3.5);
        set_real(l, second, places[last], 4.5);
        double *got[] = {fetch(l, l->get, i), fetch(l, l->get_grad, i), fetch_moment(l, 1, i), fetch_moment(l, 2, i)};
        for (int part = 0; part < 4; part++) {
            cr_expect(got[part][last] == part + 1.5, "tensor %d, part %d: %g", i, part, got[part][last]);
            free(got[part]);
        }
        free(places);
    }
}

static const cnn_update rules[] = {
    {.lr = 0.05f, .momentum = 0.9f, .weight_decay = 1e-2f, .nesterov = 1},
    {.lr = 0.05f, .weight_decay = 1e-2f, .optimizer = CNN_ADAM, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-6f},
    {.lr = 0.05f, .weight_decay = 1e-2f, .optimizer = CNN_ADAMW, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-6f},
    {.lr = 0.01f, .momentum = 0.5f, .weight_decay = 1e-2f, .optimizer = CNN_RMSPROP, .epsilon = 1e-3f, .alpha = 0.9f},
};
enum { RULES = sizeof rules / sizeof *rules };

typedef struct { char file[64], name[32], flags[32]; } Case;

static Case cases[] = {
    {"dsl-examples/lenet.net", "lenet", "--batch 3 -O0"},    {"dsl-examples/lenet.net", "lenet", "--batch 3"},
    {"tests/golden/normal.net", "normal", "--batch 3 -O0"},  {"tests/golden/normal.net", "normal", "--batch 3"},
    {"tests/golden/graph.net", "graph", "--batch 3 -O0"},    {"tests/golden/graph.net", "graph", "--batch 3"},
    {"tests/golden/graph.net", "graph", "--batch 3 --double"}, {"tests/golden/windows.net", "windows", "--batch 3"},
    {"tests/huge.net", "huge", "--batch 5"},
};

static Loaded load_case(const Case *c)
{
    return load_file(c->file, c->name, c->flags, 3);
}

ParameterizedTestParameters(update, flat_state_is_the_state)
{
    return cr_make_param_array(Case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(Case *c, update, flat_state_is_the_state)
{
    Loaded l = load_case(c);
    expect_same_state(&l);
    l.destroy(l.net);
    l.net = l.create(4);
    for (int r = 0; r < RULES; r++)
        for (int step = 0; step < 2; step++) {
            double *x = reference_pictures(&l, step);
            int32_t *labels = reference_labels(&l, step);
            run_step(&l, x, labels, &rules[r]);
            free(x);
            free(labels);
        }
    for (cnn_part part = CNN_VALUES; part <= CNN_SECOND; part++)
        expect_rest_zero(&l, part, c->file);
    unload_network(&l);
}

/* ---- optimisers against PyTorch ---------------------------------------------------------------------------------- */

static void expect_values(const Loaded *l, const char *what, const char *line, double *values, size_t count)
{
    double largest = 1e-3, tolerance = l->is_double ? 1e-12 : 1e-6;
    char *after;
    const char *at = line;
    for (size_t k = 0; k < count; k++, at = after)
        largest = fmax(largest, fabs(strtod(at, &after)));
    for (size_t k = 0; k < count; k++, line = after) {
        double expected = strtod(line, &after);
        cr_assert(after != line, "%s: the reference ends early", what);
        cr_expect(fabs(values[k] - expected) <= tolerance * largest, "%s[%zu]: %.17g, PyTorch has %.17g", what, k,
                  values[k], expected);
    }
    free(values);
}

static void fill_tensors(Loaded *l)
{
    for (int t = 0; t < l->tensors(); t++) {
        double *values = fetch(l, l->get, t);
        for (size_t k = 0; k < l->tensor(t).count; k++)
            values[k] = reference_unit(k, (uint32_t)t);
        store(l, t, values);
        free(values);
    }
}

/* Four updates from zero moments, the gradients given. */
static void optimise(Loaded *l, const cnn_update *u)
{
    size_t count, *places[MOST_TENSORS];
    for (int t = 0; t < l->tensors(); t++)
        places[t] = places_of(l, t);
    fill_tensors(l);
    void *gradients = l->flat(l->net, CNN_GRADIENTS, &count);
    for (int step = 0; step < STEPS; step++) {
        for (int t = 0; t < l->tensors(); t++)
            for (size_t k = 0; k < l->tensor(t).count; k++)
                set_real(l, gradients, places[t][k], reference_unit(k, (uint32_t)(100 * (step + 1) + t)));
        l->update(l->net, u);
    }
    for (int t = 0; t < l->tensors(); t++)
        free(places[t]);
}

static void expect_optimisers(const char *flags, const char *test)
{
    static const float lr_scale[] = {1, 0.5f, 2, 0.25f}, decay_scale[] = {1, 0, 0.5f, 2};
    Loaded l = load_text("network probe { input(5); fc1: linear(7); fc2: linear(3); }", flags, test);
    char *reference = read_whole("tests/reference/update.txt", NULL);
    int optimizers = 0, compared = 0;
    char name[64] = "";
    for (char *line = strtok(reference, "\n"); line && strncmp(line, "target", 6) != 0; line = strtok(NULL, "\n")) {
        cnn_update u = {0};
        int scaled, rule, t, used;
        char part[16], what[128];
        if (sscanf(line, "optimizer %63s %d %f %f %f %d %f %f %f %f %d", name, &rule, &u.lr, &u.momentum,
                   &u.weight_decay, &u.nesterov, &u.beta1, &u.beta2, &u.epsilon, &u.alpha, &scaled) == 11) {
            u.optimizer = (cnn_optimizer)rule;
            u.lr_scale = scaled ? lr_scale : NULL;
            u.decay_scale = scaled ? decay_scale : NULL;
            l.destroy(l.net);
            l.net = l.create(1);
            optimise(&l, &u);
            optimizers++;
        } else if (sscanf(line, "%15s %d%n", part, &t, &used) == 2) {
            double *values = strcmp(part, "value") == 0 ? fetch(&l, l.get, t)
                                                        : fetch_moment(&l, strcmp(part, "first") == 0 ? 1 : 2, t);
            snprintf(what, sizeof what, "%s, %s %d", name, part, t);
            expect_values(&l, what, line + used, values, l.tensor(t).count);
            compared++;
        }
    }
    cr_expect(optimizers == 14 && compared == 132, "%d optimisers, %d tensors", optimizers, compared);
    free(reference);
    unload_network(&l);
}

Test(update, optimisers_are_pytorchs)
{
    expect_optimisers("--batch 2 -O0 --double", "update_optimisers_0d");
    expect_optimisers("--batch 2 --double", "update_optimisers_2d");
    expect_optimisers("--batch 2 -O0", "update_optimisers_0f");
    expect_optimisers("--batch 2", "update_optimisers_2f");
}

/* ---- targets against PyTorch ------------------------------------------------------------------------------------- */

static void expect_targets(const char *flags, const char *test)
{
    enum { PICTURES = 6, CLASSES = 5 };
    Loaded l = load_text("network probe { input(4); fc: linear(5); }", flags, test);
    char *reference = read_whole("tests/reference/update.txt", NULL);
    int32_t labels[PICTURES], other[PICTURES];
    float share[PICTURES];
    for (int n = 0; n < PICTURES; n++) {
        labels[n] = (3 * n + 1) % CLASSES;
        other[n] = (2 * n + 1) % CLASSES;
        share[n] = (float)((reference_unit((size_t)n, 9) + 1) / 2);
    }
    fill_tensors(&l);
    double *x = reference_pictures(&l, 0), *loss = NULL;
    int targets = 0;
    char name[64] = "";
    for (char *line = strtok(strstr(reference, "target"), "\n"); line; line = strtok(NULL, "\n")) {
        float smoothing;
        int mixed, t, used;
        char part[16], what[128];
        if (sscanf(line, "target %63s %f %d", name, &smoothing, &mixed) == 3) {
            const cnn_target target = {smoothing, mixed ? other : NULL, mixed ? share : NULL};
            l.target(l.net, smoothing > 0 || mixed ? &target : NULL);
            loss = malloc(sizeof *loss);
            *loss = run_gradients(&l, x, labels, NULL);
            targets++;
        } else if (sscanf(line, "%15s %d%n", part, &t, &used) == 2) {
            bool is_loss = strcmp(part, "loss") == 0;
            snprintf(what, sizeof what, "%s, %s %d", name, part, t);
            expect_values(&l, what, line + used, is_loss ? loss : fetch(&l, l.get_grad, t),
                          is_loss ? 1 : l.tensor(t).count);
        }
    }
    cr_expect(targets == 4);
    free(x);
    free(reference);
    unload_network(&l);
}

Test(update, targets_are_pytorchs)
{
    expect_targets("--batch 6 -O0 --double", "update_targets_0d");
    expect_targets("--batch 6 --double", "update_targets_2d");
    expect_targets("--batch 6 -O0", "update_targets_0f");
    expect_targets("--batch 6", "update_targets_2f");
}

/* ---- one call ---------------------------------------------------------------------------------------------------- */

static void expect_same_bits(Loaded *a, Loaded *b, const char *when)
{
    for (cnn_part part = CNN_VALUES; part <= CNN_SECOND; part++) {
        size_t count;
        const char *x = a->flat(a->net, part, &count), *y = b->flat(b->net, part, &count);
        cr_expect(part == CNN_GRADIENTS || memcmp(x, y, count * (a->is_double ? 8 : 4)) == 0, "%s: part %d differs",
                  when, part);
    }
}

ParameterizedTestParameters(update, a_step_is_gradients_and_update)
{
    return cr_make_param_array(Case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(Case *c, update, a_step_is_gradients_and_update)
{
    Loaded a = load_case(c), b = a;
    for (int r = 0; r < RULES; r++) {
        a.net = a.create(5);
        b.net = b.create(5);
        for (int step = 0; step < 4; step++) {
            double *x = reference_pictures(&a, step);
            int32_t *labels = reference_labels(&a, step);
            char when[128];
            snprintf(when, sizeof when, "%s %s, rule %d, step %d", c->file, c->flags, r, step);
            a.freeze(a.net, step % a.tensors(), step % 2);
            b.freeze(b.net, step % b.tensors(), step % 2);
            double loss = run_gradients(&a, x, labels, NULL);
            a.update(a.net, &rules[r]);
            cr_expect(run_step(&b, x, labels, &rules[r]) == loss, "%s: another loss", when);
            expect_same_bits(&a, &b, when);
            free(x);
            free(labels);
        }
        b.destroy(b.net);
        if (r + 1 < RULES)
            a.destroy(a.net);
    }
    unload_network(&a);
}

ParameterizedTestParameters(update, a_loss_that_is_not_finite_changes_nothing)
{
    return cr_make_param_array(Case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(Case *c, update, a_loss_that_is_not_finite_changes_nothing)
{
    Loaded l = load_case(c);
    double *x = reference_pictures(&l, 0), *before[MOST_TENSORS];
    int32_t *labels = reference_labels(&l, 0);
    run_step(&l, x, labels, &rules[0]);
    for (int i = 0; i < l.tensors(); i++)
        before[i] = fetch(&l, l.get, i);
    x[1] = NAN;
    double *first = fetch_moment(&l, 1, 0);
    cr_expect(!isfinite(run_step(&l, x, labels, &rules[0])), "%s: a loss of NaN was expected", c->file);
    for (int i = 0; i < l.tensors(); i++) {
        double *after = fetch(&l, l.get, i);
        cr_expect(!l.tensor(i).trainable || memcmp(before[i], after, sizeof *after * l.tensor(i).count) == 0,
                  "%s: %s has changed", c->file, l.tensor(i).name);
        free(before[i]);
        free(after);
    }
    double *now = fetch_moment(&l, 1, 0);
    cr_expect(memcmp(first, now, sizeof *now * l.tensor(0).count) == 0);
    free(first);
    free(now);
    free(x);
    free(labels);
    unload_network(&l);
}
