/* operands.c - what families share: finding operands, scratch tensors, the text of a pixel, loops (kernels.h). */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../unit.h"
#include "kernels.h"

const Operand *operand_of(const Kernel *k, const char *role)
{
    for (int i = 0; i < k->operand_count; i++)
        if (strcmp(k->operand[i].role, role) == 0)
            return &k->operand[i];
    fprintf(stderr, "cnnc: internal error: kernel %s of %s has no operand %s\n", k->def->suffix, k->layer->name, role);
    abort();
}

bool has_operand(const Kernel *k, const char *role)
{
    for (int i = 0; i < k->operand_count; i++)
        if (strcmp(k->operand[i].role, role) == 0)
            return true;
    return false;
}

int64_t blocks_of(int64_t channels, int lanes)
{
    return (channels + lanes - 1) / lanes;
}

Tensor *scratch_of(Program *p, Kernel *k, const char *role, int rank, const int64_t *dims)
{
    const char *name = arena_printf(p->arena, "%s_%s", k->def->suffix, role);
    Tensor *t = saved_of(p, k->layer, name, TYPE_REAL, rank, dims);
    t->layout = (Layout){.kind = LAYOUT_PLAIN, .lanes = p->target->lanes, .fixed = true};
    t->scratch = true;
    writes(k, role, t);
    return t;
}

/* ---- pixels ------------------------------------------------------------------------------------------------------ */

/* "i * 2 + r" plus 1 -> "i * 2 + r + 1"; "j - 1" plus 1 -> "j"; "3" plus 1 -> "4". */
static const char *plus(Arena *arena, const char *index, int64_t n)
{
    if (n == 0)
        return index;
    char *stop;
    long whole = strtol(index, &stop, 10);
    if (*index && *stop == 0)
        return arena_printf(arena, "%lld", (long long)(whole + n));
    const char *sign = NULL;            /* of a number that ends the text */
    for (const char *at = index; *at; at++)
        if ((at[0] == '+' || at[0] == '-') && at > index && at[-1] == ' ' && at[1] == ' ' &&
            isdigit((unsigned char)at[2])) {
            strtol(at + 2, &stop, 10);
            sign = *stop == 0 ? at : sign;
        }
    if (sign) {
        n += (*sign == '-' ? -1 : 1) * strtol(sign + 2, NULL, 10);
        index = arena_copy(arena, index, (size_t)(sign - 1 - index));
    }
    if (n == 0)
        return index;
    return arena_printf(arena, "%s %c %lld", index, n < 0 ? '-' : '+', (long long)(n < 0 ? -n : n));
}

const char *pixel(Emitter *e, const Kernel *k, const char *role, const char *n, const char *block, const char *i,
                  const char *j)
{
    const Tensor *t = operand_of(k, role)->tensor;
    const Layout *layout = t->rank == 4 && t->storage->rank == 4 ? &t->storage->layout : &t->layout;
    Arena *arena = emitter_arena(e);
    if (t->rank == 2)
        return arena_printf(arena, "&%s[%s][%s * %d]", role, n, block, layout->lanes);
    bool blocked = layout->kind == LAYOUT_BLOCKED;
    return arena_printf(arena, "%s[%s][%s][%s][%s]", role, n, block, plus(arena, i, blocked ? layout->border.top : 0),
                        plus(arena, j, blocked ? layout->border.left : 0));
}
