/* test_layouts.c - the layouts of fast code, checked again by other means: room for the borders that kernels want,
 * views inside their storage; and that nothing of all this is visible outside: what set puts in, get gives back, bit by
 * bit. Where tensors lie, test_memory.c checks.
 *
 * What borders the kernels want is worked out here from the kernels' operands; nothing of layout.c is trusted but what
 * it established.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "programs.h"
#include "support.h"

static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "generic"};

enum { TARGETS = sizeof targets / sizeof *targets };

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

static void check_operand(const Program *p, const Kernel *k, const Operand *o, const char *file)
{
    const Tensor *t = o->tensor, *all = t->storage;
    cr_expect(all->storage == all, "%s: %s is a view of a view", file, t->name);
    if (t != all && t->rank == 4 && all->rank == 4 && all->layout.kind == LAYOUT_BLOCKED)
        cr_expect(t->slice % all->layout.lanes == 0 && t->slice + t->dim[1] <= all->dim[1],
                  "%s: %s has channels %lld to %lld of %s, which has %lld", file, t->name, (long long)t->slice,
                  (long long)(t->slice + t->dim[1]), all->name, (long long)all->dim[1]);
    if (!k->fast || !k->fast->border || t->rank != 4)
        return;
    Border need = k->fast->border(k, o), has = all->layout.border;
    cr_expect(need.top <= has.top && need.bottom <= has.bottom && need.left <= has.left && need.right <= has.right,
              "%s: kernel %d wants a wider border of %s for %s", file, k->index, t->name, p->target->name);
}

Test(layouts, fast_plans_hold_what_kernels_want)
{
    for (int i = 0; any_network_file(i); i++)
        for (int t = 0; t < TARGETS; t++) {
            Arena *arena = arena_new();
            const Tuning tuning = {.target = find_target(targets[t])};
            const Graph *g = graph_from_file(arena, any_network_file(i));
            for (int mode = PROGRAM_PREDICT; mode <= PROGRAM_TRAIN; mode++) {
                const Program *p = fast_program(g, (ProgramMode)mode, &tuning);
                for (int k = 0; k < p->kernels.count; k++)
                    for (int o = 0; o < p->kernels.items[k]->operand_count; o++)
                        check_operand(p, p->kernels.items[k], &p->kernels.items[k]->operand[o], any_network_file(i));
            }
            arena_free(arena);
        }
}

/* ---- outside ----------------------------------------------------------------------------------------------------- */

/* Every tensor goes in and comes out as it was, at first and behind a step, which writes spare lanes as well. */
static void expect_values_kept(Loaded *net, const char *target)
{
    for (int i = 0; i < net->tensors(); i++) {
        size_t count = net->tensor(i).count;
        double *values = malloc(sizeof *values * count);
        for (size_t j = 0; j < count; j++)
            values[j] = reference_unit(j, (uint32_t)i) / 8 + 0.5;
        store(net, i, values);
        double *back = fetch(net, net->get, i);
        cr_expect(memcmp(values, back, sizeof *values * count) == 0, "%s changes for %s", net->tensor(i).name, target);
        free(values);
        free(back);
    }
}

Test(layouts, get_gives_back_what_set_took)
{
    static const char text[] =
        "network laid { input(5, 9, 7); conv(17, (3, 2), pad = 1); relu; conv(34, 1, groups = 17, bias = no);"
        " batchnorm; conv(33, 3); relu; conv(66, 3, groups = 33, pad = 1); maxpool(2); flatten; linear(19); relu;"
        " linear(3); train { batch = 3; } }";
    char *folder = scratch_folder("layouts"), path[700], library[700], flags[64];
    snprintf(path, sizeof path, "%s/laid.net", folder);
    write_whole(path, text, sizeof text - 1);
    for (int t = 0; t < TARGETS; t++) {
        if (find_target(targets[t])->lanes > find_target("native")->lanes)
            continue;
        snprintf(library, sizeof library, "%s/%s.so", folder, targets[t]);
        snprintf(flags, sizeof flags, "-O2 --target %s", targets[t]);
        compile_library(path, flags, library);
        Loaded net = load_network(library, "laid", false, 1);
        expect_values_kept(&net, targets[t]);
        double *x = reference_pictures(&net, 0);
        int32_t *labels = reference_labels(&net, 0);
        run_gradients(&net, x, labels, NULL);
        net.update(net.net, &(cnn_update){.lr = 0.01f, .momentum = 0.9f});
        expect_values_kept(&net, targets[t]);
        free(x);
        free(labels);
        unload_network(&net);
    }
    free(folder);
}
