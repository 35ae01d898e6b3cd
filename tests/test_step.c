/* test_step.c - facts about step programs: every tensor is written before it is read, every gradient is complete before
 * it is used, none is computed that nobody needs, and views cost nothing.
 *
 * The general properties are checked on every example and on the networks of tests/golden/; the
 * particular ones on a few lines each.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "programs.h"

static const Kernel *find_kernel(const Program *p, const char *layer, const char *suffix)
{
    for (int i = 0; i < p->kernels.count; i++)
        if (strcmp(p->kernels.items[i]->layer->name, layer) == 0 &&
            strcmp(p->kernels.items[i]->def->suffix, suffix) == 0)
            return p->kernels.items[i];
    cr_assert(0, "there is no kernel %s of layer %s", suffix, layer);
    return NULL;
}

/* Runs `check` on the program of every network. */
static void for_every_network(ProgramMode mode, void (*check)(const Program *))
{
    for (int i = 0; any_network_file(i); i++) {
        Arena *arena = arena_new();
        check(build_program(graph_from_file(arena, any_network_file(i)), mode, NULL));
        arena_free(arena);
    }
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

static int position(const Program *p, const Tensor *t)
{
    for (int i = 0; i < p->tensors.count; i++)
        if (p->tensors.items[i] == t->storage)
            return i;
    cr_assert(0, "%s is not in the program's list", t->name);
    return -1;
}

static void check_written_before_read(const Program *p)
{
    bool *written = calloc((size_t)p->tensors.count, sizeof *written);
    for (int i = 0; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        cr_expect(k->index == i, "kernel %d says that it is number %d", i, k->index);
        for (int o = 0; o < k->operand_count; o++)
            if (in_arena(k->operand[o].tensor) && k->operand[o].access != OPERAND_WRITE)
                cr_expect(written[position(p, k->operand[o].tensor)], "%s: %s_%s reads %s, which nothing has written",
                          p->graph->name, k->layer->name, k->def->suffix, k->operand[o].tensor->name);
        for (int o = 0; o < k->operand_count; o++) {
            const Operand *operand = &k->operand[o];
            if (!in_arena(operand->tensor) || operand->access == OPERAND_READ)
                continue;
            bool *done = &written[position(p, operand->tensor)];
            cr_expect(operand->access == OPERAND_UPDATE || !*done, "%s: %s_%s overwrites %s", p->graph->name,
                      k->layer->name, k->def->suffix, operand->tensor->name);
            *done = true;
        }
    }
    free(written);
}

Test(step, prediction_writes_before_it_reads) { for_every_network(PROGRAM_PREDICT, check_written_before_read); }
Test(step, training_writes_before_it_reads)   { for_every_network(PROGRAM_TRAIN, check_written_before_read); }

/* Nothing adds to a gradient after somebody has read it. */
static void check_gradients_complete(const Program *p)
{
    int *read_at = calloc((size_t)p->tensors.count, sizeof *read_at);
    for (int i = p->backward_from; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        for (int o = 0; o < k->operand_count; o++) {
            const Tensor *t = k->operand[o].tensor;
            if (t->kind != TENSOR_GRADIENT)
                continue;
            int *first = &read_at[position(p, t)];
            if (k->operand[o].access == OPERAND_READ)
                *first = *first ? *first : i + 1;
            else
                cr_expect(*first == 0, "%s: %s_%s adds to %s after kernel %d has read it", p->graph->name,
                          k->layer->name, k->def->suffix, t->name, *first - 1);
        }
    }
    free(read_at);
}

Test(step, a_gradient_is_complete_before_it_is_read) { for_every_network(PROGRAM_TRAIN, check_gradients_complete); }

/* Each learnt tensor's gradient is written by exactly one kernel, each buffer's by none. */
static void check_parameter_gradients(const Program *p)
{
    for (int i = 0; i < p->graph->layers.count; i++) {
        const Layer *l = p->graph->layers.items[i];
        for (int j = 0; j < l->param_count; j++) {
            int writers = 0;
            for (int n = 0; n < p->kernels.count; n++)
                for (int o = 0; o < p->kernels.items[n]->operand_count; o++) {
                    const Operand *operand = &p->kernels.items[n]->operand[o];
                    const char *symbol = strrchr(operand->tensor->name, '.');
                    writers += operand->tensor->kind == TENSOR_PARAM_GRADIENT && operand->access != OPERAND_READ &&
                               strcmp(symbol + 1, l->param[j].symbol) == 0;
                }
            cr_expect(writers == l->param[j].trainable, "%s: %d kernels write the gradient of %s.%s", p->graph->name,
                      writers, l->name, l->param[j].name);
        }
    }
}

Test(step, every_parameter_gets_its_gradient_once) { for_every_network(PROGRAM_TRAIN, check_parameter_gradients); }

static void check_update(const Program *p)
{
    int learnt = 0;
    for (int i = 0; i < p->graph->layers.count; i++)
        for (int j = 0; j < p->graph->layers.items[i]->param_count; j++)
            learnt += p->graph->layers.items[i]->param[j].trainable;
    cr_expect(p->kernels.count == UPDATE_RULES * learnt, "%s: %d updates for %d learnt tensors", p->graph->name,
              p->kernels.count, learnt);
}

Test(step, the_update_touches_what_learns_and_no_buffer) { for_every_network(PROGRAM_UPDATE, check_update); }

/* Every activation gradient that is computed is read by somebody. */
static void check_gradients_used(const Program *p)
{
    for (int i = 0; i < p->tensors.count; i++) {
        const Tensor *t = p->tensors.items[i];
        if (t->kind != TENSOR_GRADIENT || t->storage != t)
            continue;
        int readers = 0;
        for (int n = 0; n < p->kernels.count; n++)
            for (int o = 0; o < p->kernels.items[n]->operand_count; o++)
                readers += p->kernels.items[n]->operand[o].tensor->storage == t &&
                           p->kernels.items[n]->operand[o].access == OPERAND_READ;
        cr_expect(readers > 0, "%s: %s is computed and never read", p->graph->name, t->name);
    }
}

Test(step, no_gradient_is_computed_that_nobody_reads) { for_every_network(PROGRAM_TRAIN, check_gradients_used); }

/* ---- needless gradients ------------------------------------------------------------------------------------------ */

Test(step, the_first_convolution_has_no_gradient_by_the_pictures)
{
    Arena *arena = arena_new();
    Program *p = placed_program(graph_from_file(arena, "dsl-examples/lenet.net"), PROGRAM_TRAIN);
    cr_expect(count_kernels(p, "grad_input", NULL, "conv1") == 0);
    cr_expect(count_kernels(p, "grad_weight", NULL, "conv1") == 1);
    cr_expect(count_kernels(p, "grad_input", NULL, "conv2") == 1);
    cr_expect(p->gradient[p->graph->input->index] == NULL, "the pictures have a gradient");
    arena_free(arena);
}

Test(step, nothing_goes_back_beyond_the_first_layer_that_learns)
{
    Arena *arena = arena_new();
    Program *p = placed_program(graph_from_text(arena,
        "network net1 { input(2, 8, 8); tanh; maxpool(2); lrn(3); flatten; fc: linear(3); }"), PROGRAM_TRAIN);
    cr_expect(p->kernels.count - p->backward_from == 3, "loss, bias, weight: %d kernels",
              p->kernels.count - p->backward_from);
    for (int i = 0; i < p->graph->layers.count - 1; i++)
        cr_expect(p->gradient[i] == NULL, "layer %s has a gradient", p->graph->layers.items[i]->name);
    arena_free(arena);
}

Test(step, a_branch_that_learns_nothing_gets_no_gradient)
{
    Arena *arena = arena_new();
    Program *p = placed_program(graph_from_text(arena,
        "network net1 { input(2, 8, 8); concat { { a: conv(3, 1); } { maxpool(3, stride = 1, pad = 1); } }"
        " global_avgpool; flatten; linear(3); }"), PROGRAM_TRAIN);
    cr_expect(count_kernels(p, "grad_input", "maxpool", NULL) == 0);
    cr_expect(count_kernels(p, "grad_input", "concat", NULL) == 1, "one of the two branches learns");
    cr_expect(count_kernels(p, "grad_weight", NULL, "a") == 1);
    arena_free(arena);
}

Test(step, a_frontend_without_parameters_costs_nothing_in_a_residual)
{
    Arena *arena = arena_new();
    Program *p = placed_program(graph_from_text(arena,
        "network net1 { input(2, 8, 8); residual { c: conv(2, 3, pad = 1); } flatten; linear(3); }"), PROGRAM_TRAIN);
    cr_expect(count_kernels(p, "grad_input", "add", NULL) == 1, "the identity side leads to the pictures alone");
    cr_expect(count_kernels(p, "grad_input", NULL, "c") == 0);
    arena_free(arena);
}

/* ---- several users ----------------------------------------------------------------------------------------------- */

Test(step, gradients_of_a_tensor_used_three_times_are_summed)
{
    Arena *arena = arena_new();
    Program *p = placed_program(graph_from_text(arena,
        "network net1 { input(2, 8, 8); stem: conv(4, 1); as s; b: conv(4, 3, pad = 1); add(s); c: conv(4, 1); add(s);"
        " global_avgpool; flatten; linear(3); }"), PROGRAM_TRAIN);
    const Layer *stem = p->graph->layers.items[1];
    cr_assert(strcmp(stem->name, "stem") == 0 && stem->users == 3, "stem has %d users", stem->users);
    int writers = 0, adders = 0;
    for (int i = p->backward_from; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        for (int o = 0; o < k->operand_count; o++)
            if (k->operand[o].tensor == p->gradient[stem->index] && k->operand[o].access != OPERAND_READ) {
                cr_expect(k->adds == (k->operand[o].access == OPERAND_UPDATE));
                cr_expect(k->adds || adders == 0, "the one that writes comes first");
                writers += !k->adds;
                adders += k->adds;
            }
    }
    cr_expect(writers == 1 && adders == 2, "%d write, %d add", writers, adders);
    arena_free(arena);
}

Test(step, adding_a_tensor_to_itself_counts_it_twice)
{
    Arena *arena = arena_new();
    Program *p = placed_program(graph_from_text(arena,
        "network net1 { input(4); a: linear(3); as t; add(t); b: linear(3); }"), PROGRAM_TRAIN);
    cr_expect(count_kernels(p, "grad_input", "add", NULL) == 2);
    arena_free(arena);
}

/* ---- views ------------------------------------------------------------------------------------------------------- */

Test(step, flatten_is_a_view_both_ways)
{
    Arena *arena = arena_new();
    const Graph *g = graph_from_file(arena, "dsl-examples/lenet.net");
    for (int mode = PROGRAM_PREDICT; mode <= PROGRAM_TRAIN; mode++) {
        Program *p = placed_program(g, (ProgramMode)mode);
        cr_expect(count_kernels(p, NULL, "flatten", NULL) == 0);
        for (int i = 0; i < g->layers.count; i++)
            if (strcmp(g->layers.items[i]->op->keyword, "flatten") == 0) {
                const Tensor *flat = p->activation[i], *before = p->activation[i - 1];
                cr_expect(flat->storage == before->storage && flat->rank == 2 && before->rank == 4);
                if (mode == PROGRAM_TRAIN)
                    cr_expect(p->gradient[i]->storage == p->gradient[i - 1]->storage);
            }
    }
    arena_free(arena);
}

Test(step, flatten_of_a_tensor_with_other_users_copies_its_gradient)
{
    Arena *arena = arena_new();
    Program *p = placed_program(graph_from_text(arena,
        "network net1 { input(2, 2, 2); c: conv(2, 1); as t; flatten; a: linear(3); as left; from t; flatten;"
        " b: linear(3); add(left); }"), PROGRAM_TRAIN);
    cr_expect(count_kernels(p, NULL, "flatten", NULL) == 2, "one writes, one adds: %d",
              count_kernels(p, NULL, "flatten", NULL));
    check_written_before_read(p);
    check_gradients_complete(p);
    arena_free(arena);
}

Test(step, dropout_is_a_view_in_prediction_and_where_nothing_drops)
{
    Arena *arena = arena_new();
    const Graph *g = graph_from_text(arena,
        "network net1 { input(6); a: linear(5); dropout(0.5); b: linear(4); dropout(0); c: linear(3); }");
    Program *predict = placed_program(g, PROGRAM_PREDICT), *train = placed_program(g, PROGRAM_TRAIN);
    cr_expect(count_kernels(predict, NULL, "dropout", NULL) == 0);
    cr_expect(count_kernels(train, "forward_train", "dropout", NULL) == 1);
    cr_expect(count_kernels(train, NULL, "dropout", NULL) == 2, "one forward, one backward");
    arena_free(arena);
}

/* ---- modes ------------------------------------------------------------------------------------------------------- */

Test(step, prediction_knows_neither_labels_nor_gradients)
{
    for (int i = 0; network_file(i); i++) {
        Arena *arena = arena_new();
        Program *p = placed_program(graph_from_file(arena, network_file(i)), PROGRAM_PREDICT);
        cr_expect(p->backward_from == p->kernels.count);
        for (int t = 0; t < p->tensors.count; t++)
            cr_expect(p->tensors.items[t]->kind <= TENSOR_PARAMETER || p->tensors.items[t]->kind == TENSOR_ACTIVATION,
                      "%s: %s", network_file(i), p->tensors.items[t]->name);
        arena_free(arena);
    }
}

Test(step, prediction_leaves_running_statistics_alone)
{
    Arena *arena = arena_new();
    const Graph *g = graph_from_file(arena, "tests/golden/normal.net");
    for (int mode = PROGRAM_PREDICT; mode <= PROGRAM_TRAIN; mode++) {
        Program *p = placed_program(g, (ProgramMode)mode);
        int writers = 0;
        for (int i = 0; i < p->kernels.count; i++)
            for (int o = 0; o < p->kernels.items[i]->operand_count; o++)
                writers += p->kernels.items[i]->operand[o].tensor->kind == TENSOR_PARAMETER &&
                           p->kernels.items[i]->operand[o].access != OPERAND_READ;
        cr_expect(writers == (mode == PROGRAM_TRAIN ? 9 : 0), "mean, variance and counter of three: %d", writers);
    }
    arena_free(arena);
}

Test(step, the_loss_is_the_last_forward_kernel_and_goes_back_first)
{
    Arena *arena = arena_new();
    Program *p = placed_program(graph_from_file(arena, "dsl-examples/lenet.net"), PROGRAM_TRAIN);
    cr_expect(find_kernel(p, "loss", "forward")->index == p->backward_from - 1);
    cr_expect(find_kernel(p, "loss", "backward")->index == p->backward_from);
    arena_free(arena);
}
