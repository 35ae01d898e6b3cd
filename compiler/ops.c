/* ops.c - the table of operators, made from ops/ops.h.
 *
 * Requires: one definition op_NAME for each row. Establishes: lookup by keyword and by position.
 */
#include <string.h>

#include "op.h"

static const Op *const table[] = {
#define OPERATOR(name) &op_##name,
#include "ops/ops.h"
#undef OPERATOR
};

enum { OPERATORS = sizeof table / sizeof *table };

const Op *find_op(const char *keyword)
{
    for (int i = 0; i < OPERATORS; i++)
        if (strcmp(table[i]->keyword, keyword) == 0)
            return table[i];
    return NULL;
}

const Op *op_at(int i)
{
    return i >= 0 && i < OPERATORS ? table[i] : NULL;
}
