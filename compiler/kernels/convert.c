/* convert.c - from one layout to another: the caller's pictures, and tensors of kernels that have only textbook loops.
 *
 * Every element is copied, and spare lanes and borders of the target are set to zero. Not a hot path: networks whose
 * operators all have fast kernels convert the first picture at most.
 */
#include "../unit.h"
#include "kernels.h"

/* Binds `name` to the C text of logical element a, b, c, d (as many as the rank) of operand `role`. */
static void let_element(Emitter *e, const Kernel *k, const char *role, const char *name)
{
    const Tensor *t = operand_of(k, role)->tensor;
    const Tensor *laid = t->rank == 4 && t->storage->rank == 4 ? t->storage : t;
    const Layout *at = &laid->layout;
    int64_t dims[MAX_PHYSICAL_RANK];
    physical_dims(t, dims);
    let_int(e, "top", at->border.top);
    let_int(e, "left", at->border.left);
    let(e, "role", "%s", role);
    switch (at->kind) {
    case LAYOUT_BLOCKED:
        let(e, name, "%s", substitute(e, "$role[a][b / $L][c + $top][d + $left][b % $L]"));
        break;
    case LAYOUT_FILTERS:
        let_int(e, "inner", dims[4]);
        let(e, name, "%s", substitute(e, "$role[a / $L][b / $inner][c][d][b % $inner][a % $L]"));
        break;
    default:
        let(e, name, "%s%s", role, t->rank == 1 ? "[a]" : t->rank == 2 ? "[a][b]" : "[a][b][c][d]");
    }
}

/* Zeros for what the copy leaves out: whole images, filters or rows are cleared first where there is any. */
static void body(Emitter *e, const Kernel *k)
{
    const Tensor *to = operand_of(k, "Y")->tensor;
    static const char *const letters[] = {"a", "b", "c", "d"};
    int64_t logical = 1;
    for (int d = 0; d < to->rank; d++)
        logical *= to->dim[d];
    int64_t per_entry = physical_count(to) / (to->layout.kind == LAYOUT_FILTERS ? 1 : to->dim[0]);
    int64_t dims[MAX_PHYSICAL_RANK] = {1, 1, 1, 1, 1};
    physical_dims(to, dims);
    int64_t plane = dims[2] * dims[3] * dims[4];
    bool bordered = to->rank == 4 && to->storage->layout.kind == LAYOUT_BLOCKED &&
                    (plane > to->dim[2] * to->dim[3] * dims[4] || to->dim[1] % dims[4] != 0);
    let_element(e, k, "X", "from");
    let_element(e, k, "Y", "to");
    bool whole = to->layout.kind == LAYOUT_FILTERS || to->rank == 1;
    if (whole && physical_count(to) != logical) {
        line(e, "real *all = (real *)Y;");
        parallel(e);
        loop(e, "i", physical_count(to));
            line(e, "all[i] = 0;");
        end(e, 1);
    }
    parallel(e);
    loop(e, "a", to->dim[0]);
        if (bordered) {
            loop(e, "block", blocks_of(to->dim[1], to->layout.lanes));      /* of a view: its own channels alone */
                line(e, "real *all = (real *)Y[a][block];");
                loop(e, "i", plane);
                    line(e, "all[i] = 0;");
            end(e, 2);
        } else if (!whole && to->rank != 4 && physical_count(to) != logical && to->storage == to) {
            line(e, "real *all = (real *)Y[a];");
            loop(e, "i", per_entry);
                line(e, "all[i] = 0;");
            end(e, 1);
        }
        for (int d = 1; d < to->rank; d++)
            loop(e, letters[d], to->dim[d]);
        line(e, "$to = $from;");
    end(e, to->rank);
}

static const FastKernel copy = {.name = "copy", .body = body};
static const FastKernel *const families[] = {&copy, NULL};

const KernelDef convert_layout = {"convert", "Y = X in another layout", .textbook = body, .fast = families};
