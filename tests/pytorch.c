/* pytorch.c - a loaded network against a reference that PyTorch made; declared and described in pytorch.h. */
#include "pytorch.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 3 };

/* ---- the reference's lines --------------------------------------------------------------------------------------- */

typedef struct { char section[32], tensor[128], shape[64]; double sum, norm; size_t stride; const char *values; } Line;

/* Reads the line at *text and moves on; false at the end. Lines that are not about values have an empty section. */
static bool next_line(const char **text, Line *l)
{
    const char *at = *text, *stop = strchr(at, '\n');
    int used = 0;
    if (!stop)
        return false;
    *text = stop + 1;
    if (sscanf(at, "%31s %127s %63s %lf %lf %zu%n", l->section, l->tensor, l->shape, &l->sum, &l->norm, &l->stride,
               &used) != 6)
        l->section[0] = 0;
    l->values = at + used;
    return true;
}

static void expect_near(Comparison *c, const Line *l, const char *what, double actual, double expected, double scale)
{
    double error = fabs(actual - expected) / scale;
    c->worst = error > c->worst ? error : c->worst;
    c->compared++;
    cr_expect(error <= c->tolerance, "%s, %s %s: %s is %.12g, PyTorch has %.12g (error %.2g of %.2g)", c->name,
              l->section, l->tensor, what, actual, expected, error, scale);
}

/* Every stride-th value, the sum of all and their norm. */
static void expect_tensor(Comparison *c, const Line *l, const double *values, size_t count)
{
    double sum = 0, squares = 0, largest = fmax(1e-3, l->norm / sqrt((double)count));
    for (size_t i = 0; i < count; i++) {
        sum += values[i];
        squares += values[i] * values[i];
    }
    const char *at = l->values;
    char *after;
    for (double v = strtod(at, &after); after != at && *at != '\n'; v = strtod(at, &after)) {
        largest = fabs(v) > largest ? fabs(v) : largest;
        at = after;
    }
    expect_near(c, l, "the sum", sum, l->sum, largest * sqrt((double)count));
    expect_near(c, l, "the norm", sqrt(squares), l->norm, largest * sqrt((double)count));
    at = l->values;
    for (size_t i = 0; i < count; i += l->stride) {
        double expected = strtod(at, &after);
        cr_assert(after != at && (count == 1 || *at != '\n'), "%s.ref ends early: %s %s", c->name, l->section,
                  l->tensor);
        at = after;
        expect_near(c, l, "a value", values[i], expected, largest);
    }
    cr_expect(*at == '\n', "%s.ref has more values than the network: %s %s", c->name, l->section, l->tensor);
}

/* `get` NULL: the first moment. */
static void expect_gotten(Comparison *c, const Line *l, void (*get)(const void *, int, void *), const char *tensor)
{
    for (int i = 0; i < c->net.tensors(); i++) {
        cnn_tensor t = c->net.tensor(i);
        if (strcmp(t.name, tensor) != 0)
            continue;
        double *values = get ? fetch(&c->net, get, i) : fetch_moment(&c->net, 1, i);
        expect_tensor(c, l, values, t.count);
        free(values);
        return;
    }
    cr_expect(0, "%s has no tensor %s", c->name, tensor);
}

/* ---- one network ------------------------------------------------------------------------------------------------- */

void expect_state_dict(Comparison *c, const char *reference)
{
    const char *at = strstr(reference, "\ntensors ");
    int count = atoi(at + 9);
    cr_expect(c->net.tensors() == count, "%s has %d tensors, PyTorch %d", c->name, c->net.tensors(), count);
    for (int i = 0; i < c->net.tensors() && (at = strstr(at, "\ntensor ")); i++) {
        cnn_tensor t = c->net.tensor(i);
        char line[256] = "", shape[64] = "1";
        for (int d = 0, n = 0; d < t.rank; d++)
            n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%d", d ? "x" : "", t.shape[d]);
        snprintf(line, sizeof line, "\ntensor %s %s\n", t.name, shape);
        cr_expect(strncmp(at, line, strlen(line)) == 0, "tensor %d is%s, PyTorch has%.60s", i, line, at);
        at++;
    }
}

void fill_parameters(Loaded *net)
{
    for (int t = 0; t < net->tensors(); t++) {
        cnn_tensor info = net->tensor(t);
        const char *last = strrchr(info.name, '.') + 1;
        double *values = malloc(sizeof *values * info.count), scale = 1;
        for (size_t fan_in = info.count / (size_t)(info.rank ? info.shape[0] : 1); scale * scale * (double)fan_in > 4;)
            scale /= 2;
        for (size_t i = 0; i < info.count; i++) {
            double u = reference_unit(i, (uint32_t)t);
            values[i] = strcmp(last, "num_batches_tracked") == 0 ? 0
                      : strcmp(last, "running_var") == 0         ? 1 + u / 2
                      : info.rank >= 2                           ? scale * u
                      : strcmp(last, "weight") == 0              ? 1 + u / 4
                                                                 : u / 4;
        }
        store(net, t, values);
        free(values);
    }
}

void follow(Comparison *c, const char *reference)
{
    Loaded *net = &c->net;
    size_t outputs = (size_t)net->output[0] * (size_t)net->output[1];
    double *logits = malloc(sizeof *logits * outputs), loss = 0;
    char section[32] = "";
    cnn_update rates = {.lr = 0.1f, .momentum = 0.9f, .weight_decay = 1e-4f};
    const char *own = strstr(reference, "\nrates ");
    cr_assert(!own || sscanf(own, "\nrates %f %f %f", &rates.lr, &rates.momentum, &rates.weight_decay) == 3);
    Line l;
    while (next_line(&reference, &l)) {
        if (!l.section[0])
            continue;
        if (strcmp(section, l.section) != 0) {
            bool training = strncmp(l.section, "step", 4) == 0;
            rates.nesterov = section[0] && section[4] == '0' + STEPS - 1;
            if (strncmp(section, "step", 4) == 0)
                net->update(net->net, &rates);
            int step = training ? l.section[4] - '0' : 0;
            double *x = reference_pictures(net, step);
            int32_t *labels = reference_labels(net, step);
            if (training)
                loss = run_gradients(net, x, labels, logits);
            else if (strcmp(l.section, "start") == 0 || strcmp(l.section, "finish") == 0)
                run_predict(net, x, logits);
            free(x);
            free(labels);
            strcpy(section, l.section);
        }
        if (strcmp(l.tensor, "loss") == 0)
            expect_tensor(c, &l, &loss, 1);
        else if (strcmp(l.tensor, "logits") == 0 || strcmp(l.tensor, "-") == 0)
            expect_tensor(c, &l, logits, outputs);
        else if (strncmp(l.tensor, "grad.", 5) == 0)
            expect_gotten(c, &l, net->get_grad, l.tensor + 5);
        else
            expect_gotten(c, &l, strcmp(section, "momentum") == 0 ? NULL : net->get, l.tensor);
    }
    cr_expect(strcmp(section, "finish") == 0, "%s.ref ends with '%s'", c->name, section);
    free(logits);
}
