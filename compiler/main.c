/* main.c - cnnc's table of contents: one line a pass. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"
#include "fuse.h"
#include "op.h"
#include "recompute.h"
#include "schedule.h"
#include "unit.h"
#include "with.h"

/* Bytes of parameters, gradients and momentum. */
static int64_t state_bytes(const Graph *graph, const Target *target)
{
    int64_t count = 0;
    for (int i = 0; i < graph->layers.count; i++)
        for (int k = 0; k < graph->layers.items[i]->param_count; k++)
            count += parameter_count(&graph->layers.items[i]->param[k], target);
    return 3 * 4 * count;
}

static double mib(int64_t bytes)
{
    return (double)bytes / (1 << 20);
}

/* --memory-limit: false after an error that says what the least possible is. */
static bool place_within(Diag *diag, Program *p)
{
    const int64_t limit = p->tuning->memory_limit, state = state_bytes(p->graph, p->target);
    if (fit_memory(p, limit - state))                                           /* recompute.c */
        return true;
    error_plain(diag, "a training step does not fit %.3f MiB: %.3f MiB is the least, of which parameters, gradients "
                "and momentum take %.3f MiB\ngive a larger --memory-limit, or a smaller --batch", mib(limit),
                mib(p->least_arena + state), mib(state));
    return false;
}

/* --schedule rules are checked before anything is joined or left out; false after an error. */
static bool check_schedule(Diag *diag, const Options *o, const Graph *graph)
{
    const Program *made[PROGRAM_UPDATE + 1];
    for (int mode = PROGRAM_PREDICT; mode <= PROGRAM_UPDATE; mode++)
        made[mode] = build_program(graph, (ProgramMode)mode, &o->tuning);
    return check_rules(diag, made, PROGRAM_UPDATE + 1);
}

/* layer graph -> step program -> scheduled, fused, laid out, placed */
static Program *make_program(Diag *diag, const Options *o, const Graph *graph, ProgramMode mode)
{
    Program *p = build_program(graph, mode, o->level ? &o->tuning : NULL);      /* step.c    */
    if (o->level) {
        schedule_kernels(p);                                                    /* schedule.c, kernels/ */
        fuse_kernels(p);                                                        /* fuse.c, alias.c */
        choose_layouts(p);                                                      /* layout.c, conversions.c */
    }
    if (mode == PROGRAM_TRAIN && o->level && o->tuning.memory_limit)
        return place_within(diag, p) ? p : NULL;
    if (mode != PROGRAM_UPDATE)
        plan_memory(p);                                                         /* memory.c  */
    return p;
}

static void dump_stage(const Options *o, const Program *p)
{
    const bool placed = p->mode != PROGRAM_UPDATE;
    switch (o->dump) {
    case DUMP_STEP: dump_program(stdout, p); break;
    case DUMP_MEMORY: if (placed) dump_memory(stdout, p); break;
    case DUMP_SCHEDULE: if (p->target) dump_schedule(stdout, p); break;
    case DUMP_FUSE: if (p->target) dump_fusions(stdout, p); break;
    default: break;
    }
    if (o->memory_chart && placed)
        draw_memory(stdout, p);                                                 /* memory_chart.c */
}

/* step programs -> C -> files */
static bool compile_graph(Arena *arena, Diag *diag, const Options *o, const Graph *graph)
{
    if (!check_trainable(graph))                                                /* step.c    */
        return false;
    if (o->tuning.algorithms.count > 0 && !check_schedule(diag, o, graph))      /* schedule.c */
        return false;
    Program *program[3];
    for (int mode = PROGRAM_PREDICT; mode <= PROGRAM_UPDATE; mode++) {
        program[mode] = make_program(diag, o, graph, (ProgramMode)mode);
        if (!program[mode])
            return false;
        dump_stage(o, program[mode]);
    }
    if (o->dump != DUMP_NOTHING || o->memory_chart)
        return true;
    Unit unit = {program[PROGRAM_PREDICT], program[PROGRAM_TRAIN], program[PROGRAM_UPDATE], o->summary,
                 header_name(arena, o, graph->name), common_flags};
    char *source = emit_source(arena, graph, &unit);                            /* unit.c    */
    char *header = emit_header(arena, graph, &unit);                            /* header.c  */
    return write_output(arena, diag, o, graph->name, source, header);           /* driver.c  */
}

/* `cnnc kernel 'conv(64, 3)' --input 64x56x56`: the statement as a network of one layer. */
static bool compile_kernel(Arena *arena, Diag *diag, const Options *o)
{
    const Shape *in = &o->overrides.input;
    const char *sizes = in->rank == 1 ? arena_printf(arena, "%lld", (long long)in->dim[0])
                                      : arena_printf(arena, "%lld, %lld, %lld", (long long)in->dim[0],
                                                     (long long)in->dim[1], (long long)in->dim[2]);
    const char *text = arena_printf(arena, "network kernel {\n    input(%s);\n    %s;\n}\n", sizes, o->input);
    diag->errors_only = true;
    Source *source = source_from_bytes(arena, diag, "kernel", text, strlen(text));
    Tree *tree = source ? parse(arena, diag, source) : NULL;
    Graph *graph = tree ? expand(arena, diag, source, tree, &o->overrides) : NULL;
    if (!graph)
        return false;
    Program *textbook = build_layer_program(graph, graph->output, NULL), *fast = NULL;
    bool random = false;
    for (int i = 0; i < textbook->kernels.count; i++)
        random |= textbook->kernels.items[i]->def->random;
    if (graph->layers.count != 2 || textbook->kernels.count == 0 || random) {
        error_plain(diag, "'%s' is not one operator with kernels of its own\n"
                    "for example 'conv(64, 3, pad = 1)'; dropout and flatten have none that could be timed alone",
                    o->input);
        return false;
    }
    fast = build_layer_program(graph, graph->output, &o->tuning);
    if (!check_rules(diag, (const Program *const[]){fast}, 1))
        return false;
    schedule_kernels(fast);
    choose_layouts(fast);
    if (o->dump != DUMP_NOTHING)
        dump_stage(o, fast);
    if (o->dump != DUMP_NOTHING || o->kind == OUTPUT_NOTHING)
        return true;
    return write_output(arena, diag, o, graph->name,
                        emit_kernel_file(arena, graph, textbook, fast, o->summary, o->output), NULL);
}

/* `cnnc show --smallest-input`: one line, e.g. 1x63x63. */
static bool show_smallest(Arena *arena, Diag *diag, const Source *source, const Tree *tree, const Options *o)
{
    Overrides overrides = o->overrides;
    overrides.input = smallest_input(source, tree, &o->overrides, o->overrides.input.dim[0]);
    Graph *graph = expand(arena, diag, source, tree, overrides.input.rank ? &overrides : &o->overrides);
    if (graph && overrides.input.rank)
        printf("%s\n", shape_text(arena, &graph->input->output));
    else if (graph)
        error_plain(diag, "no square picture up to 1024 x 1024 goes through %s\nit takes %s", graph->name,
                    shape_text(arena, &graph->input->output));
    return graph && overrides.input.rank;
}

/* text -> tree -> layer graph, and what the command asks of it */
static bool run(Arena *arena, Diag *diag, const Options *o)
{
    if (o->command == COMMAND_KERNEL)
        return compile_kernel(arena, diag, o);
    Source *source = source_read(arena, diag, o->input);                        /* source.c  */
    if (!source)
        return false;
    Tree *tree = parse(arena, diag, source);                                    /* lexer.l, parser.y */
    if (!tree)
        return false;
    if (o->dump == DUMP_TREE) {
        dump_tree(stdout, tree);
        return true;
    }
    if (o->smallest_input)
        return show_smallest(arena, diag, source, tree, o);                    /* smallest.c */
    Graph *graph = expand(arena, diag, source, tree, &o->overrides);            /* expand.c, shape.c */
    if (!graph)
        return false;
    for (int i = 0; feature_at(i); i++)
        graph->exchanges |= feature_at(i)->exchanges && (o->with >> i & 1);
    if (o->dump == DUMP_GRAPH)
        dump_graph(stdout, graph);
    else if (o->command == COMMAND_SHOW && !o->memory_chart)
        show_network(stdout, graph);                                            /* show.c    */
    else
        return compile_graph(arena, diag, o, graph);
    return true;
}

/* `cnnc explain` lists the operators; `cnnc explain conv` tells all about one. */
static bool explain(Arena *arena, Diag *diag, const char *keyword)
{
    LIST(const char *) keywords = {0};
    for (int i = 0; op_at(i); i++) {
        APPEND(arena, &keywords, op_at(i)->keyword);
        if (!keyword)
            printf("%-16s %s\n", op_at(i)->keyword, op_at(i)->summary);
    }
    const Op *op = keyword ? find_op(keyword) : NULL;
    const char *nearest = keyword && !op ? nearest_name(keyword, keywords.items, keywords.count) : NULL;
    if (op)
        explain_operator(stdout, op);
    else if (nearest)
        error_plain(diag, "there is no operator '%s'\ndid you mean '%s'?", keyword, nearest);
    else if (keyword)
        error_plain(diag, "there is no operator '%s'\ncnnc explain lists them", keyword);
    return op || !keyword;
}

int main(int argc, char **argv)
{
    Arena *arena = arena_new();
    Diag diag = {.out = stderr, .limit = 20, .colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR")};
    Options options;
    bool good = parse_options(arena, argc, argv, &options);                     /* options.c */
    if (good)
        good = options.command == COMMAND_EXPLAIN ? explain(arena, &diag, options.input) : run(arena, &diag, &options);
    if (good && fflush(stdout) != 0) {
        error_plain(&diag, "standard output cannot be written\nis the disk full, or the reader gone?");
        good = false;
    }
    arena_free(arena);
    return good ? 0 : 1;
}
