/* test_memory.c - an independent check of the memory plan, and runs with a poisoned arena.
 *
 * Lifetimes are found again here from the kernels' operands, sizes from the shapes; nothing of memory.c is trusted. The
 * poisoned runs fill the arena and every gradient with 0xff bytes (NaN) before each call: the same bits must come out,
 * so nothing is read before this step has written it, and nothing survives from the step before.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "programs.h"
#include "recompute.h"
#include "support.h"
#include "target.h"

enum { ALIGNMENT = 64 };

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

typedef struct { const Tensor *tensor; int first, last; int64_t bytes; } Life;
typedef struct { Life *items; int count; } Lives;

/* As layout.h says: channels in blocks of `lanes`, zeros around a picture. */
static int64_t needed_bytes(const Tensor *t)
{
    int64_t bytes = t->type == TYPE_BYTE ? 1 : 4;
    const int lanes = t->layout.kind == LAYOUT_PLAIN ? 1 : t->layout.lanes, channel = t->rank == 1 ? 0 : 1;
    const Border none = {0}, border = t->layout.kind == LAYOUT_BLOCKED ? t->layout.border : none;
    for (int d = 0; d < t->rank; d++)
        bytes *= d == channel ? (t->dim[d] + lanes - 1) / lanes * lanes
               : d == 2 ? border.top + t->dim[d] + border.bottom
               : d == 3 ? border.left + t->dim[d] + border.right : t->dim[d];
    return bytes;
}

/* What is looked at when all is done: with -O0 every layer after predict; with -O2 what --keep-layers keeps, the logits
 * and the loss, which the caller copies last. */
static bool is_wanted(const Program *p, const Tensor *t)
{
    if (!p->target)
        return p->mode == PROGRAM_PREDICT;
    bool wanted = t == p->activation[p->graph->output->index]->storage;
    for (int i = 0; p->tuning->keep_layers && p->kept && i < p->graph->layers.count; i++)
        wanted |= p->kept[i] && p->kept[i]->storage == t;
    const Kernel *loss = p->mode == PROGRAM_TRAIN ? p->kernels.items[p->backward_from - 1] : NULL;
    for (int o = 0; loss && o < loss->operand_count; o++)
        wanted |= strcmp(loss->operand[o].role, "loss") == 0 && loss->operand[o].tensor->storage == t;
    return wanted;
}

/* The kernels between which each tensor that has memory in the arena must keep its content. */
static Lives find_lives(const Program *p)
{
    Lives lives = {calloc((size_t)p->tensors.count, sizeof(Life)), 0};
    for (int i = 0; i < p->tensors.count; i++) {
        const Tensor *t = p->tensors.items[i];
        if (t->storage != t || (t->kind != TENSOR_ACTIVATION && t->kind != TENSOR_GRADIENT && t->kind != TENSOR_SAVED))
            continue;
        Life life = {t, -1, -1, needed_bytes(t)};
        for (int n = 0; n < p->kernels.count; n++)
            for (int o = 0; o < p->kernels.items[n]->operand_count; o++)
                if (p->kernels.items[n]->operand[o].tensor->storage == t) {
                    life.first = life.first < 0 ? n : life.first;
                    life.last = n;
                }
        for (int j = 0; j < p->tensors.count; j++) {            /* the same memory under another shape */
            const int64_t bytes = p->tensors.items[j]->storage == t ? needed_bytes(p->tensors.items[j]) : 0;
            life.bytes = bytes > life.bytes ? bytes : life.bytes;
        }
        if (is_wanted(p, t))
            life.last = p->kernels.count;
        /* NAME_gradients reads the logits and the loss when the last forward kernel is done. */
        if (p->mode == PROGRAM_TRAIN && t == p->activation[p->graph->output->index]->storage)
            life.last = life.last < p->backward_from - 1 ? p->backward_from - 1 : life.last;
        if (life.first >= 0)
            lives.items[lives.count++] = life;
    }
    return lives;
}

static int64_t most_alive(const Program *p, const Lives *lives)
{
    int64_t most = 0;
    for (int n = 0; n <= p->kernels.count; n++) {
        int64_t alive = 0;
        for (int i = 0; i < lives->count; i++)
            alive += lives->items[i].first <= n && n <= lives->items[i].last ? lives->items[i].bytes : 0;
        most = alive > most ? alive : most;
    }
    return most;
}

static void check_plan(const Program *p, double waste)
{
    Lives lives = find_lives(p);
    for (int i = 0; i < lives.count; i++) {
        const Life *a = &lives.items[i];
        cr_expect(a->tensor->offset >= 0 && a->tensor->offset % ALIGNMENT == 0, "%s: %s at %lld", p->graph->name,
                  a->tensor->name, (long long)a->tensor->offset);
        cr_expect(a->tensor->offset + a->bytes <= p->arena_bytes, "%s: %s lies beyond the arena", p->graph->name,
                  a->tensor->name);
        for (int j = 0; j < i; j++) {
            const Life *b = &lives.items[j];
            bool together = a->first <= b->last && b->first <= a->last;
            bool apart =
                a->tensor->offset + a->bytes <= b->tensor->offset || b->tensor->offset + b->bytes <= a->tensor->offset;
            cr_expect(!together || apart, "%s: %s (kernels %d to %d) and %s (%d to %d) share memory", p->graph->name,
                      a->tensor->name, a->first, a->last, b->tensor->name, b->first, b->last);
        }
    }
    int64_t least = most_alive(p, &lives);
    cr_expect(p->arena_bytes >= least, "%s: %lld bytes of arena, %lld are alive at once", p->graph->name,
              (long long)p->arena_bytes, (long long)least);
    /* Alignment adds at most 63 bytes a tensor to what the plan may waste. */
    cr_expect((double)p->arena_bytes <= waste * (double)least + 63.0 * lives.count, "%s: %lld bytes of arena for %lld",
              p->graph->name, (long long)p->arena_bytes, (long long)least);
    free(lives.items);
}

static void check_text(const char *text)
{
    Arena *arena = arena_new();
    const Graph *g = graph_from_text(arena, text);
    check_plan(placed_program(g, PROGRAM_PREDICT), 1);
    check_plan(placed_program(g, PROGRAM_TRAIN), 1.5);
    arena_free(arena);
}

Test(memory, no_two_tensors_alive_together_overlap)
{
    for (int i = 0; any_network_file(i); i++) {
        Arena *arena = arena_new();
        const Graph *g = graph_from_file(arena, any_network_file(i));
        check_plan(placed_program(g, PROGRAM_PREDICT), 1);
        check_plan(placed_program(g, PROGRAM_TRAIN), 1.25);
        arena_free(arena);
    }
}

/* -O2: blocked layouts, borders, tensors that share memory, scratch of the kernels. */
static void check_fast_plan(const Graph *g, const Tuning *tuning, double waste)
{
    for (int mode = PROGRAM_PREDICT; mode <= PROGRAM_TRAIN; mode++) {
        Program *p = fast_program(g, (ProgramMode)mode, tuning);
        plan_memory(p);
        check_plan(p, waste);
    }
}

Test(memory, no_two_tensors_of_fast_code_overlap)
{
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "generic"};
    for (int i = 0; any_network_file(i / 3); i++) {
        const bool small = network_file(i / 3);
        Arena *arena = arena_new();
        const Graph *g = graph_from_file(arena, any_network_file(i / 3));
        Tuning fused = {.target = find_target(targets[i % 3])}, unfused = {.target = fused.target, .no_fuse = ~0u};
        Tuning kept = {.target = fused.target, .keep_layers = true};
        check_fast_plan(g, &fused, small ? 1.2 : 1.05);        /* in small ones there is less to choose from */
        check_fast_plan(g, small ? &kept : &unfused, small ? 1.2 : 1.1);
        arena_free(arena);
    }
}

/* Each limit from the whole arena down: the plan fits it and no two tensors overlap, until it says that it cannot. */
Test(memory, a_limit_is_kept)
{
    static const char *const files[] = {"dsl-examples/d2l/resnet18.net", "dsl-examples/d2l/vgg11.net",
                                        "dsl-examples/d2l/googlenet.net", "tests/golden/branches.net"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        int64_t whole = 0, least = 0;
        for (int percent = 100; percent >= 10 && !least; percent -= 15) {
            Arena *arena = arena_new();
            Tuning tuning = {.target = find_target("x86-64-v4")};
            Program *p = fast_program(graph_from_file(arena, files[i]), PROGRAM_TRAIN, &tuning);
            plan_memory(p);
            whole = p->arena_bytes;
            bool fits = fit_memory(p, whole * percent / 100);
            cr_expect(fits == (p->arena_bytes <= whole * percent / 100), "%s: %d %% of %lld are %lld bytes", files[i],
                      percent, (long long)whole, (long long)p->arena_bytes);
            check_plan(p, 1.25);
            least = fits ? 0 : p->arena_bytes;
            arena_free(arena);
        }
        cr_expect(least > 0 && least < whole, "%s: from %lld bytes to %lld", files[i], (long long)whole,
                  (long long)least);
    }
}

Test(memory, deep_residual_chain)
{
    check_text("network net1 { input(4, 9, 9); stem: conv(8, 3, pad = 1);"
               " repeat 12 { residual { conv(8, 3, pad = 1, bias = no); batchnorm; relu; } relu; }"
               " global_avgpool; flatten; linear(10); }");
}

Test(memory, dense_concat_of_growing_tensors)
{
    check_text(
        "network net1 { input(3, 9, 7); conv(5, 3, pad = 1);"
        " repeat 10 { concat { {} { batchnorm; relu; conv(3, 3, pad = 1); } } } global_avgpool; flatten; linear(4); }");
}

Test(memory, skips_that_live_long)
{
    check_text(
        "network net1 { input(2, 16, 16); a: conv(4, 3, pad = 1); as one; maxpool(2); b: conv(6, 3, pad = 1); as two;"
        " avgpool(2); as three; from one; c: conv(8, 3, pad = 1); avgpool(4); concat(three);"
        " dropout(0.5); lrn(5); global_avgpool; flatten; linear(4); }");
}

Test(memory, features_of_odd_sizes)
{
    check_text(
        "network net1 { input(1); linear(3); tanh; linear(17); batchnorm; dropout(0.1); linear(1); sigmoid; linear(2);"
        " train { batch = 3; } }");
}

Test(memory, reuse_makes_lenets_arena_smaller_than_the_sum_of_its_tensors)
{
    Arena *arena = arena_new();
    Program *p = placed_program(graph_from_file(arena, "dsl-examples/lenet.net"), PROGRAM_TRAIN);
    Lives lives = find_lives(p);
    int64_t sum = 0;
    for (int i = 0; i < lives.count; i++)
        sum += lives.items[i].bytes;
    cr_expect(p->arena_bytes < sum * 9 / 10, "%lld of %lld bytes", (long long)p->arena_bytes, (long long)sum);
    free(lives.items);
    arena_free(arena);
}

/* ---- poison ------------------------------------------------------------------------------------------------------ */

/* The generated C with one function more, as a shared library. */
static void compile_poisoned(const char *file, const char *folder, const char *name, const char *library)
{
    char c_file[600], text[2000];
    snprintf(c_file, sizeof c_file, "%s/poisoned.c", folder);
    int length = snprintf(text, sizeof text,
        "#include \"%s.c\"\n"
        "void %s_poison(%s *net);\n"
        "void %s_poison(%s *net)\n"
        "{\n"
        "    memset(net->arena, 0xff, sizeof(real) * ARENA);\n"
        "    for (int i = 0; i < TENSORS; i++)\n"
        "        if (tensor_table[i].trainable)\n"
        "            memset(at(&net->grad, i), 0xff, sizeof(real) * tensor_table[i].count);\n"
        "}\n", name, name, name, name, name);
    write_whole(c_file, text, (size_t)length);
    Outcome o = run_command("%s/cnnc -O0 '%s' -o '%s/%s.c' && clang-19 -O1 -fopenmp -shared -fPIC -I%s/include '%s' "
                            "%s/libcnn.a -lm -o '%s'", BUILD, file, folder, name, BUILD, c_file, BUILD, library);
    cr_assert(o.status == 0, "%s with poison does not compile\n%s", file, o.err);
    outcome_free(&o);
}

static void expect_same_bytes(const void *a, const void *b, size_t length, const char *file, const char *what, int step)
{
    cr_expect(memcmp(a, b, length) == 0, "%s, step %d: %s depends on what memory held before", file, step, what);
}

static void expect_same_tensors(Loaded *clean, Loaded *dirty, bool gradients, const char *file, int step)
{
    for (int i = 0; i < clean->tensors(); i++) {
        cnn_tensor t = clean->tensor(i);
        if (gradients && !t.trainable)
            continue;
        double *a = fetch(clean, gradients ? clean->get_grad : clean->get, i);
        double *b = fetch(dirty, gradients ? dirty->get_grad : dirty->get, i);
        expect_same_bytes(a, b, sizeof *a * t.count, file, t.name, step);
        free(a);
        free(b);
    }
}

static void run_poisoned(const char *file, const char *name)
{
    char test[64], library[512];
    snprintf(test, sizeof test, "poison_%s", name);
    char *folder = scratch_folder(test);
    snprintf(library, sizeof library, "%s/libpoisoned.so", folder);
    compile_poisoned(file, folder, name, library);
    Loaded clean = load_network(library, name, false, 3), dirty = load_network(library, name, false, 3);
    size_t outputs = (size_t)clean.output[0] * (size_t)clean.output[1];
    double *a = calloc(outputs, sizeof *a), *b = calloc(outputs, sizeof *b);
    for (int step = 0; step < 2; step++) {
        double *x = reference_pictures(&clean, step);
        int32_t *labels = reference_labels(&clean, step);
        dirty.poison(dirty.net);
        double expected = run_gradients(&clean, x, labels, a), actual = run_gradients(&dirty, x, labels, b);
        cr_expect(expected == expected && expected > 0, "%s: loss %g", file, expected);
        expect_same_bytes(&expected, &actual, sizeof expected, file, "the loss", step);
        expect_same_bytes(a, b, sizeof *a * outputs, file, "a logit", step);
        expect_same_tensors(&clean, &dirty, true, file, step);
        clean.update(clean.net, &(cnn_update){.lr = 0.1f, .momentum = 0.9f});
        dirty.update(dirty.net, &(cnn_update){.lr = 0.1f, .momentum = 0.9f});
        expect_same_tensors(&clean, &dirty, false, file, step);
        dirty.poison(dirty.net);
        run_predict(&clean, x, a);
        run_predict(&dirty, x, b);
        expect_same_bytes(a, b, sizeof *a * outputs, file, "a prediction", step);
        free(x);
        free(labels);
    }
    free(a);
    free(b);
    unload_network(&dirty);
    unload_network(&clean);
    free(folder);
}

Test(memory, poison_windows)    { run_poisoned("tests/golden/windows.net", "windows"); }
Test(memory, poison_normal)     { run_poisoned("tests/golden/normal.net", "normal"); }
Test(memory, poison_graph)      { run_poisoned("tests/golden/graph.net", "graph"); }
Test(memory, poison_branches)   { run_poisoned("tests/golden/branches.net", "branches"); }
Test(memory, poison_residual)   { run_poisoned("tests/golden/residual.net", "residual_net"); }
Test(memory, poison_perceptron) { run_poisoned("tests/golden/perceptron.net", "perceptron"); }
