/* store.c - the last lines of a fast kernel: what is fused into its store, and the border around its output.
 *
 * Requires: kernel->fuses and the operands it names, set by fuse.c. Establishes: one place that knows the order of the
 * fused steps (step.h), so that every family can do them.
 */
#include <string.h>

#include "../unit.h"
#include "kernels.h"

static const Layout *layout_of(const Kernel *k, const char *role)
{
    const Tensor *t = operand_of(k, role)->tensor;
    return t->rank == 4 && t->storage->rank == 4 ? &t->storage->layout : &t->layout;
}

bool streams_output(const Kernel *k, const char *role)
{
    bool in_place = false;
    for (int i = 0; i < k->operand_count; i++)
        in_place |= k->operand[i].access == OPERAND_READ &&
                    k->operand[i].tensor->storage == operand_of(k, role)->tensor->storage;
    return k->schedule.streams && !k->adds && !in_place;
}

void finish_stores(Emitter *e, const Kernel *k, const char *role)
{
    if (streams_output(k, role))
        line(e, "finish_streams();");
}

void store_pixel(Emitter *e, const Kernel *k, const char *role, const char *value, const char *n, const char *block,
                 const char *i, const char *j)
{
    let(e, "value", "%s", substitute(e, value));
    let(e, "place", "%s", substitute(e, pixel(e, k, role, n, block, i, j)));
    const char *number = substitute(e, block);
    let(e, "channels", strchr(number, ' ') ? "(%s) * %d" : "%s * %d", number, layout_of(k, role)->lanes);
    if (k->fuses & FUSE_SCALE)
        let(e, "value", strchr(value, ' ') ? "(%s) * load(&fold_scale[%s]) + load(&fold_shift[%s])"
                                           : "%s * load(&fold_scale[%s]) + load(&fold_shift[%s])",
            substitute(e, "$value"), substitute(e, "$channels"), substitute(e, "$channels"));
    if (k->adds)
        let(e, "value", strchr(substitute(e, "$value"), ' ') ? "load(%s) + (%s)" : "load(%s) + %s",
            substitute(e, "$place"), substitute(e, "$value"));
    if (k->fuses & FUSE_ADD)
        let(e, "value", "%s + load(%s)", substitute(e, "$value"), substitute(e, pixel(e, k, "A", n, block, i, j)));
    if (k->fuses & FUSE_RELU)
        let(e, "value", "larger(%s, zero)", substitute(e, "$value"));
    if (k->fuses & FUSE_MASK)
        let(e, "value", "where_positive(load(%s), %s)", substitute(e, pixel(e, k, "M", n, block, i, j)),
            substitute(e, "$value"));
    let(e, "value", "%s", substitute(e, "$value"));
    line(e, substitute(e, streams_output(k, role) ? "stream($place, $value);" : "store($place, $value);"));
}

void prefetch_stored(Emitter *e, const Kernel *k, const char *role, const char *n, const char *block, const char *i,
                     const char *j, int64_t pixels, int64_t step)
{
    const struct { const char *role; bool touched; } operands[] = {
        {role, !streams_output(k, role)}, {"A", k->fuses & FUSE_ADD}, {"M", k->fuses & FUSE_MASK},
    };
    let_int(e, "pixels", pixels);
    let_int(e, "pixel_step", step);
    for (size_t o = 0; o < sizeof operands / sizeof *operands; o++)
        if (operands[o].touched) {
            let(e, "place", "%s", substitute(e, pixel(e, k, operands[o].role, n, block, i, j)));
            line(e, "prefetch_pixels($place, $pixels, $pixel_step);");
        }
}

void store_gradient(Emitter *e, const Kernel *k, const char *place, const char *value)
{
    let(e, "value", "%s", substitute(e, value));
    static const char *const parts[][2] = {{"dW", "to_dW"}, {"W", "to_W"}, {"velocity", "to_velocity"}};
    for (int i = 0; i < 3; i++) {
        let(e, "T", "%s", parts[i][0]);
        let(e, parts[i][1], "%s", substitute(e, place));
    }
    line(e, k->fuses & FUSE_SGD ? "learn($to_dW, $to_W, $to_velocity, $value, rule);" : "store($to_dW, $value);");
}

void clear_border(Emitter *e, const Kernel *k, const char *role, const char *n, const char *block)
{
    const Tensor *t = operand_of(k, role)->tensor;
    const Layout *layout = layout_of(k, role);
    const Border *b = &layout->border;
    if (k->adds || layout->kind != LAYOUT_BLOCKED || (b->top | b->bottom | b->left | b->right) == 0)
        return;
    line(e, arena_printf(emitter_arena(e), "clear_border(%s[%s][%s][0][0], %lld, %lld, %lld, %lld, %lld, %lld);", role,
                         substitute(e, n), substitute(e, block), (long long)t->dim[2], (long long)t->dim[3],
                         (long long)b->top, (long long)b->bottom, (long long)b->left, (long long)b->right));
}

/* Binds $plane_pixel to the first pixel of plane (n, block), $pitch to the pixels from row to row, $height, $width and
 * $sums. */
static void let_plane(Emitter *e, const Kernel *k, const char *role, const char *n, const char *block)
{
    const Tensor *t = operand_of(k, role)->tensor;
    const Border *b = &layout_of(k, role)->border;
    bool rows = t->rank == 2;
    int64_t dims[MAX_PHYSICAL_RANK];
    physical_dims(t, dims);
    let(e, "plane_pixel", "%s", substitute(e, pixel(e, k, role, rows ? "0" : n, block, "0", "0")));
    let(e, "sums", "partial[%s][%s]", rows ? "0" : substitute(e, n), substitute(e, block));
    let_int(e, "height", rows ? t->dim[0] : t->dim[2]);
    let_int(e, "width", rows ? 1 : t->dim[3]);
    let_int(e, "pitch", rows ? dims[1] / layout_of(k, role)->lanes : t->dim[3] + b->left + b->right);
}

void statistics_of_plane(Emitter *e, const Kernel *k, const char *role, const char *n, const char *block)
{
    let_plane(e, k, role, n, block);
    line(e, "plane_statistics($plane_pixel, $height, $width, $pitch, $sums[0], $sums[1]);");
}

void sums_of_plane(Emitter *e, const Kernel *k, const char *role, const char *prefix, const char *n, const char *block)
{
    static const char *const gate[] = {"scale", "inverse_deviation", "shift"};
    Arena *arena = emitter_arena(e);
    const bool gated = has_operand(k, arena_printf(arena, "%sshift", prefix));
    const char *lane = arena_printf(arena, strchr(block, ' ') ? "(%s) * L" : "%s * L", block);
    let_plane(e, k, role, n, block);
    let(e, "gradient", "%s", substitute(e, "$plane_pixel, $pitch"));
    let_plane(e, k, arena_printf(arena, "%sX", prefix), n, block);
    let(e, "channels", "&%smean[%s]", prefix, lane);
    for (int i = 0; i < 3; i++)
        let(e, "channels", gated ? "%s, &%s%s[%s]" : "%s, NULL", substitute(e, "$channels"), prefix, gate[i], lane);
    line(e, "gradient_sums($gradient, $plane_pixel, $pitch, $height, $width,");
    line(e, "              $channels,");
    line(e, "              $sums[0], $sums[1]);");
}

void finish_plane(Emitter *e, const Kernel *k, const char *role, const char *n, const char *block)
{
    if (k->fuses & FUSE_STATS)
        statistics_of_plane(e, k, role, n, block);
    if (k->fuses & FUSE_SUMS)
        sums_of_plane(e, k, role, "norm_", n, block);
}
