/* test_rate.c - learning rates and momenta of every step against PyTorch's schedulers (tests/reference/rate.py). */
#include "train/rate.h"
#include "support.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"constant", "step", "multistep", "cosine", "onecycle"};

static void set(cnn_schedule *s, const char *key, const char *value)
{
    const struct { const char *key; double *real; long *integer; } fields[] = {
        {"epochs", NULL, &s->epochs}, {"steps", NULL, &s->steps}, {"lr", &s->lr, NULL},
        {"momentum", &s->momentum, NULL}, {"warmup", &s->warmup, NULL}, {"warmup_from", &s->warmup_from, NULL},
        {"gamma", &s->gamma, NULL}, {"least", &s->least, NULL}, {"every", NULL, &s->every},
        {"pct_start", &s->pct_start, NULL},
        {"div_factor", &s->div_factor, NULL}, {"final_div_factor", &s->final_div_factor, NULL},
        {"base_momentum", &s->base_momentum, NULL}, {"max_momentum", &s->max_momentum, NULL}};
    if (strcmp(key, "milestones") == 0) {
        s->milestone_count = sscanf(value, "%ld,%ld,%ld", s->milestones, s->milestones + 1, s->milestones + 2);
        return;
    }
    if (strcmp(key, "cycle_momentum") == 0) {
        s->cycle_momentum = atoi(value);
        return;
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].key, key) == 0) {
            if (fields[i].real)
                *fields[i].real = atof(value);
            else
                *fields[i].integer = atol(value);
            return;
        }
    cr_assert(0, "no setting is called %s", key);
}

/* "case cosine epochs=5 steps=7 least=0.0" */
static cnn_schedule read_case(char *line)
{
    cnn_schedule s = {0};
    strtok(line, " \n");
    const char *kind = strtok(NULL, " \n");
    while (s.kind <= CNN_ONECYCLE && strcmp(kinds[s.kind], kind) != 0)
        s.kind++;
    cr_assert(s.kind <= CNN_ONECYCLE, "no schedule is called %s", kind);
    for (char *word = strtok(NULL, " \n"); word; word = strtok(NULL, " \n")) {
        char *equals = strchr(word, '=');
        *equals = '\0';
        set(&s, word, equals + 1);
    }
    return s;
}

static int near(double a, double b)
{
    return fabs(a - b) <= 1e-11 * fabs(b) + 1e-15;      /* PyTorch multiplies from step to step, which rounds more */
}

Test(rate, every_step_is_pytorchs)
{
    FILE *file = fopen("tests/reference/rate.txt", "r");
    cr_assert(file, "tests/reference/rate.txt is missing");
    char line[512];
    cnn_schedule s = {0};
    long step = 0, cases = 0;
    cnn_rate last = {0, 0};
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "case", 4) == 0) {
            s = read_case(line), step = 0, cases++;
            continue;
        }
        double lr, momentum;
        cr_assert(sscanf(line, "%lf %lf", &lr, &momentum) == 2, "%s", line);
        last = cnn_schedule_at(&s, (uint64_t)step);
        cr_expect(near(last.lr, lr), "%s, case %ld, step %ld: lr %.17g, PyTorch's %.17g", kinds[s.kind], cases, step,
                  last.lr, lr);
        cr_expect(near(last.momentum, momentum), "%s, case %ld, step %ld: momentum %.17g, PyTorch's %.17g",
                  kinds[s.kind], cases, step, last.momentum, momentum);
        step++;
        if (step == s.epochs * s.steps) {               /* it stays where it ended */
            cnn_rate beyond = cnn_schedule_at(&s, (uint64_t)step + 5);
            cr_expect(beyond.lr == last.lr && beyond.momentum == last.momentum);
        }
    }
    fclose(file);
    cr_expect(cases == 13 && step == s.epochs * s.steps, "%ld cases", cases);
}

/* A run may be so short that a phase has no step. */
Test(rate, the_shortest_runs_have_finite_rates)
{
    for (int kind = CNN_CONSTANT; kind <= CNN_ONECYCLE; kind++)
        for (long epochs = 0; epochs <= 3; epochs++)
            for (int warm = 0; warm <= 4; warm++) {
                cnn_schedule s = {.kind = (cnn_schedule_kind)kind, .lr = 0.1, .momentum = 0.9, .epochs = epochs,
                                  .steps = 1, .warmup = warm, .warmup_from = 0.01, .gamma = 0.1, .every = 1,
                                  .milestones = {1}, .milestone_count = 1, .pct_start = 0.3, .div_factor = 25,
                                  .final_div_factor = 1e4, .base_momentum = 0.85, .max_momentum = 0.95,
                                  .cycle_momentum = 1};
                for (uint64_t step = 0; step < 4; step++) {
                    cnn_rate rate = cnn_schedule_at(&s, step);
                    cr_expect(rate.lr > 0 && rate.lr <= 0.1 && rate.momentum >= 0.85 && rate.momentum <= 0.95,
                              "%s, %ld epochs, warm-up %d, step %d: %g %g", kinds[kind], epochs, warm, (int)step,
                              rate.lr, rate.momentum);
                }
            }
}
