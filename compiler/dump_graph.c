/* dump_graph.c - the layer graph as text, one line a layer (--dump=graph).
 *
 *   conv1      conv 6, 5x5, pad 2   <- input           6x28x28   156   lenet.net:4
 *
 * Requires: a finished graph. Columns are as wide as their longest entry, up to a limit.
 */
#include <inttypes.h>
#include <string.h>

#include "op.h"

enum { COLUMNS = 5, WIDEST = 48 };

/* "conv 6, 5x5, pad 2" */
static char *operator_text(Arena *arena, const Layer *l)
{
    const char *about = l->op->describe ? l->op->describe(arena, l) : "";
    return arena_printf(arena, "%s%s%s", l->op->keyword, *about ? " " : "", about);
}

/* "<- a, b, c and 40 more" */
static char *inputs_text(Arena *arena, const Layer *l)
{
    char *text = arena_printf(arena, "%s", l->input_count ? "<-" : "");
    for (int i = 0; i < l->input_count && i < 4; i++)
        text = arena_printf(arena, "%s%s %s", text, i ? "," : "", l->input[i]->name);
    return l->input_count > 4 ? arena_printf(arena, "%s and %d more", text, l->input_count - 4) : text;
}

static void describe_row(Arena *arena, const Layer *l, const char *row[COLUMNS])
{
    int64_t parameters = 0, buffers = 0;
    for (int i = 0; i < l->param_count; i++)
        *(l->param[i].trainable ? &parameters : &buffers) += l->param[i].count;
    row[0] = l->name;
    row[1] = operator_text(arena, l);
    row[2] = inputs_text(arena, l);
    row[3] = shape_text(arena, &l->output);
    row[4] = parameters == 0 && buffers == 0 ? "-" : buffers == 0 ? arena_printf(arena, "%" PRId64, parameters)
           : arena_printf(arena, "%" PRId64 "+%" PRId64, parameters, buffers);
}

void dump_graph(FILE *out, const Graph *g)
{
    int width[COLUMNS] = {0};
    Arena *arena = arena_new();
    const char *(*rows)[COLUMNS] = arena_alloc(arena, sizeof *rows * (size_t)g->layers.count);
    for (int i = 0; i < g->layers.count; i++) {
        describe_row(arena, g->layers.items[i], rows[i]);
        for (int k = 0; k < COLUMNS; k++) {
            int length = (int)strlen(rows[i][k]);
            if (length > width[k])
                width[k] = length < WIDEST ? length : WIDEST;
        }
    }
    fprintf(out, "graph %s: %d layers, batch %d, output %s\n", g->name, g->layers.count, g->batch, g->output->name);
    for (int i = 0; i < g->layers.count; i++) {
        for (int k = 0; k < COLUMNS; k++)
            fprintf(out, k < 3 ? "%-*s  " : "%*s  ", width[k], rows[i][k]);
        const char *slash = strrchr(g->source->path, '/');
        fprintf(out, "%s:%d\n", slash ? slash + 1 : g->source->path,
                source_line(g->source, g->layers.items[i]->span.begin, NULL));
    }
    arena_free(arena);
}
