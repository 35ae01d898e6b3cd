/* text.c - short texts about layers, tensors and kernels that several writers use: shapes, names, places. */
#include <stdlib.h>
#include <string.h>

#include "op.h"
#include "unit.h"

/* A C comment must not be ended by a file name. */
const char *comment_text(Arena *arena, const char *text)
{
    char *copy = arena_copy(arena, text, strlen(text));
    for (char *at = copy; *at; at++)
        if ((at[0] == '*' && at[1] == '/') || (at[0] == '/' && at[1] == '*') || (unsigned char)*at < ' ')
            *at = '_';
    return copy;
}

const char *dims_text(Arena *arena, int rank, const int64_t *dims, const char *before, const char *after)
{
    const char *text = "";
    for (int d = 0; d < rank; d++)
        text = arena_printf(arena, "%s%s%lld%s", text, before, (long long)dims[d], d + 1 < rank || *before ? after : "");
    return text;
}

const char *tensor_shape(Arena *arena, const Tensor *t)
{
    return dims_text(arena, t->rank, t->dim, "", "x");
}

const char *layer_operator(Arena *arena, const Layer *l)
{
    char *detail = l->op->describe ? l->op->describe(arena, l) : NULL;
    return detail && *detail ? arena_printf(arena, "%s %s", l->op->keyword, detail) : l->op->keyword;
}

int line_of(const Layer *l)
{
    int column;
    return source_line(l->graph->source, l->span.begin, &column);
}

const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "conv1_forward"; a second kernel of the same layer and kind is "concat_copy2". */
const char *kernel_function(Arena *arena, const Program *p, const Kernel *k)
{
    if (k->def->flat)
        return k->def->suffix;
    int ordinal = 1;
    for (int i = k->index - 1; i >= 0 && p->kernels.items[i]->layer == k->layer; i--)
        ordinal += p->kernels.items[i]->def == k->def;
    return ordinal == 1 ? arena_printf(arena, "%s_%s", k->layer->symbol, k->def->suffix)
                        : arena_printf(arena, "%s_%s%d", k->layer->symbol, k->def->suffix, ordinal);
}

int tensor_count(const Graph *g)
{
    int count = 0;
    for (int i = 0; i < g->layers.count; i++)
        count += g->layers.items[i]->param_count;
    return count;
}

int tensor_index(const Tensor *of)
{
    const char *symbol = strrchr(of->name, '.') + 1;
    for (int i = 0; i < of->layer->param_count; i++)
        if (strcmp(of->layer->param[i].symbol, symbol) == 0)
            return of->layer->param[i].index;
    abort();
}
