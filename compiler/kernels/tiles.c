/* tiles.c - sizes and index texts that several families need. */
#include <stdlib.h>

#include "../unit.h"
#include "kernels.h"

int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t ceil_div(int64_t count, int64_t size)
{
    return (count + size - 1) / size;
}

int64_t round_up(int64_t count, int64_t unit)
{
    return ceil_div(count, unit) * unit;
}

int64_t even_tile(int64_t count, int64_t most)
{
    int64_t tiles = (count + most - 1) / most;
    return (count + tiles - 1) / tiles;
}

int even_tiles(int64_t count, int64_t most, Tiles parts[2])
{
    int64_t size = even_tile(count, most), tiles = (count + size - 1) / size, smaller = tiles * size - count;
    parts[0] = (Tiles){.size = size, .count = tiles - smaller};
    parts[1] = (Tiles){.size = size - 1, .count = smaller, .first = (tiles - smaller) * size};
    return smaller > 0 ? 2 : 1;
}

void open_tiles(Emitter *e, const char *variable, const Tiles *t)
{
    let(e, "variable", "%s", variable);
    if (t->count > 1) {
        loop(e, "tile", t->count);
        let(e, "start", "%s", sum_text(e, times(e, "tile", t->size), "", 0, t->first));
    } else {
        block(e);
        let_int(e, "start", t->first);
    }
    line(e, "const int $variable = $start;");
}

bool has_border(const Kernel *k, const char *role)
{
    const Tensor *t = operand_of(k, role)->tensor;
    int64_t dims[MAX_PHYSICAL_RANK];
    return physical_dims(t, dims) == 5 && (dims[2] != t->dim[2] || dims[3] != t->dim[3]);
}

int64_t pieces_of(int64_t rows, int64_t planes, int64_t wanted)
{
    int64_t pieces = (wanted + planes - 1) / planes, most = (rows + 3) / 4;
    return pieces < most ? pieces : most;
}

const char *times(Emitter *e, const char *index, int64_t factor)
{
    return factor == 1 ? index : arena_printf(emitter_arena(e), "%s * %lld", index, (long long)factor);
}

const char *sum_text(Emitter *e, const char *index, const char *other, int64_t factor, int64_t shift)
{
    Arena *arena = emitter_arena(e);
    const char *text = index;
    if (factor != 0)
        text = arena_printf(arena, "%s %c %s", text, factor < 0 ? '-' : '+', times(e, other, llabs(factor)));
    return shift ? arena_printf(arena, "%s %c %lld", text, shift < 0 ? '-' : '+', llabs(shift)) : text;
}
