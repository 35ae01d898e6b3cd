/* smallest.c - the smallest square input that a network works with, for the help of a shape error.
 *
 * Requires: a parsed tree. Establishes: the exact answer by trying 1, 2, 3, ... (sizes that work need not be an
 * interval: a residual may need an even one), or none when that would take long. Each trial is a whole expansion
 * that stops at its first error and prints nothing.
 */
#include "expand.h"

enum { LARGEST_TRIAL = 1024, TRIAL_LAYERS = 2000, ALL_LAYERS = 200000, ALL_STEPS = 1000000 };

/* True when the network expands with this input; adds what the trial cost. */
static bool try_input(const Expander *declared, const Overrides *overrides, Diag *quiet, int64_t *layers,
                      int64_t *steps)
{
    Expander x = *declared;
    quiet->errors = 0;
    x.arena = arena_new();
    x.diag = quiet;
    x.overrides = overrides;
    const Graph *g = expand_tree(&x);
    bool works = quiet->errors == 0 && !x.stopped;
    *layers += g->layers.count;
    *steps += x.statements + x.evaluations / 16;
    arena_free(x.arena);
    return works;
}

Shape smallest_input(const Source *source, const Tree *tree, const Overrides *overrides, int64_t channels)
{
    Diag quiet = {.source = source, .out = stderr, .muted = true};
    Arena *arena = arena_new();
    Expander x = {.arena = arena, .diag = &quiet, .source = source, .tree = tree, .overrides = overrides,
                  .layer_limit = TRIAL_LAYERS, .trial = true};
    Shape found = {0};
    int64_t layers = 0, steps = 0;
    bool declared = check_declarations(&x) && quiet.errors == 0;
    for (int size = 1; declared && size <= LARGEST_TRIAL && layers < ALL_LAYERS && steps < ALL_STEPS; size++) {
        Overrides square = *overrides;
        square.input = (Shape){3, {channels, size, size}};
        if (try_input(&x, &square, &quiet, &layers, &steps)) {
            found = square.input;
            break;
        }
    }
    arena_free(arena);
    return found;
}

Shape smallest_for(const Graph *g)
{
    Expander *x = g->expander;
    if (x == NULL || x->trial || g->input == NULL || g->input->output.rank != 3)
        return (Shape){0};
    if (!x->searched) {
        x->searched = true;
        if (g->layers.count <= TRIAL_LAYERS)
            x->smallest = smallest_input(x->source, x->tree, x->overrides, g->input->output.dim[0]);
    }
    return x->smallest;
}
