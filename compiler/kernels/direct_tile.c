/* direct_tile.c - one register tile of a direct convolution: some pixels x some vectors of output channels.
 *
 * For each input channel and tap it loads the vectors of the filter, broadcasts each pixel's value and multiplies
 * (Georganas et al. 2018, "Anatomy of high-performance deep learning convolutions on SIMD architectures", sections II-B
 * to II-D). Requires: the loops around it (direct_loops.c). Establishes: its pixels, summed over all channels and taps
 * and stored once.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit.h"
#include "direct.h"

/* ---- indices ----------------------------------------------------------------------------------------------------- */

typedef struct { const char *name; int64_t factor; } Term;

/* "i * 2 + r - 1": a sum of terms and a constant. A name that is a number counts as a constant, NULL as nothing. */
static const char *index_text(Emitter *e, const Term *terms, int count, int64_t constant)
{
    const char *text = "";
    for (int i = 0; i < count; i++) {
        const Term *t = &terms[i];
        if (!t->name)
            continue;
        char *stop;
        long long number = strtoll(t->name, &stop, 10);
        if (*stop == 0) {
            constant += number * t->factor;
            continue;
        }
        text = arena_printf(emitter_arena(e), "%s%s%s", text, *text ? " + " : "", times(e, t->name, t->factor));
    }
    if (!*text)
        return arena_printf(emitter_arena(e), "%lld", (long long)constant);
    if (constant == 0)
        return text;
    return arena_printf(emitter_arena(e), "%s %c %lld", text, constant < 0 ? '-' : '+', llabs((long long)constant));
}

const char *direct_block(Emitter *e, const char *block, int v)
{
    return index_text(e, &(Term){block, 1}, 1, v);
}

/* A loop's variable, or "0" without a loop where there is one iteration; *depth counts the loops. */
static const char *loop_unless_one(Emitter *e, const char *variable, int64_t count, int *depth)
{
    if (count == 1)
        return "0";
    loop(e, variable, count);
    ++*depth;
    return variable;
}

/* ---- a register tile --------------------------------------------------------------------------------------------- */

/* Opens the unrolled loops over a tile's pixels and binds $at to their index; returns how many. */
static int loop_tile(Emitter *e, const DirectPlace *p)
{
    if (p->tile.rows > 1)
        unrolled(e, "u", p->tile.rows);
    unrolled(e, "t", p->tile.columns);
    let(e, "at", p->tile.rows > 1 ? "[u][t]" : "[t]");
    return p->tile.rows > 1 ? 2 : 1;
}

static const char *down(const DirectPlace *p)
{
    return p->tile.rows > 1 ? "u" : NULL;
}

/* vec y0[14] = {0}, y1[14] = {0}: the sums before the first product; or the bias, y0[t] = ...; y1[t] = .... */
static void start_sums(Emitter *e, const DirectPlace *p)
{
    const DirectNames *names = p->d->names;
    const char *sizes = p->tile.rows > 1 ? arena_printf(emitter_arena(e), "[%lld][%lld]", (long long)p->tile.rows,
                                                        (long long)p->tile.columns)
                                         : arena_printf(emitter_arena(e), "[%lld]", (long long)p->tile.columns);
    const char *declared = "vec ";
    for (int v = 0; v < p->blocks; v++)
        declared = arena_printf(emitter_arena(e), "%s%s%s%d%s%s", declared, v ? ", " : "", names->sum, v, sizes,
                                names->start ? "" : " = {0}");
    line(e, arena_printf(emitter_arena(e), "%s;", declared));
    if (!names->start)
        return;
    int depth = loop_tile(e, p);
        for (int v = 0; v < p->blocks; v++) {
            let_int(e, "v", v);
            let(e, "start", "load(&%s[%s])", names->start,
                index_text(e, &(Term){p->block, p->d->lanes}, 1, v * p->d->lanes));
            line(e, "$sum$v$at = $start;");
        }
    end(e, depth);
}

/* The loop over the lanes of an input vector: those that hold a channel. */
static void loop_lanes(Emitter *e, const Direct *d, const char *block)
{
    int64_t rest = d->in_channels % d->lanes;
    if (rest == 0 || d->in_blocks == 1) {
        rolled(e);
        loop(e, d->names->in_lane, d->in_blocks == 1 ? d->in_channels : d->lanes);
        return;
    }
    let(e, "block", "%s", block);
    let_int(e, "last", d->in_blocks - 1);
    let_int(e, "rest", rest);
    line(e, "const int lanes = $block < $last ? $L : $rest;");
    rolled(e);
    loop_between(e, d->names->in_lane, "0", "lanes");
}

/* "W[kb + 1][cb][r][s][c]" */
static const char *filter_text(Emitter *e, const DirectPlace *p, int v, const char *in_block, const char *r,
                               const char *s)
{
    const DirectNames *names = p->d->names;
    const Axis *row = &p->part->axis[0], *column = &p->part->axis[1];
    const char *taps;
    if (names->merged_taps)
        taps = index_text(e, (Term[]){{r, row->filter_step * p->d->filter_width}, {s, column->filter_step}}, 2,
                        row->filter_first * p->d->filter_width + column->filter_first);
    else
        taps = arena_printf(emitter_arena(e), "%s][%s",
                            index_text(e, &(Term){r, row->filter_step}, 1, row->filter_first),
                            index_text(e, &(Term){s, column->filter_step}, 1, column->filter_first));
    return arena_printf(emitter_arena(e), "%s[%s][%s][%s][%s]", names->filters, direct_block(e, p->block, v), in_block,
                        taps, names->in_lane);
}

/* The picture's block that belongs to block `in_block` of a group's input. */
static const char *group_block(Emitter *e, const DirectPlace *p, const char *in_block)
{
    if (p->d->groups == 1)
        return in_block;
    const char *first = arena_printf(emitter_arena(e), "%s / %lld * %lld", p->block, (long long)p->d->out_blocks,
                                     (long long)p->d->in_blocks);
    return strcmp(in_block, "0") == 0 ? first : arena_printf(emitter_arena(e), "%s + %s", first, in_block);
}

/* With one tap, each pixel that is read serves few products: those of the tile below are asked for meanwhile.
 * Binds $below to its first row. */
static bool let_below(Emitter *e, const DirectPlace *p)
{
    const Axis *row = &p->part->axis[0], *column = &p->part->axis[1];
    char *stop;
    strtoll(p->i, &stop, 10);
    if (row->taps * column->taps > 1 || *stop == 0)
        return false;
    let(e, "below", "%s", p->i);
    let_int(e, "tile_rows", p->tile.rows);
    let_int(e, "height", row->count - 2 * p->tile.rows);
    /* With one tap a pixel serves few products. */
    line(e, "const int below = $below <= $height ? $below + $tile_rows : $below;    /* fetched meanwhile */");
    return true;
}

static void prefetch_below(Emitter *e, const DirectPlace *p, const char *block)
{
    const Axis *row = &p->part->axis[0], *column = &p->part->axis[1];
    if (p->tile.rows > 1)
        unrolled(e, "u", p->tile.rows);
    let(e, "pixel", "%s", pixel(e, p->kernel, p->d->names->in, "n", group_block(e, p, block),
        index_text(e, (Term[]){{"below", row->step}, {down(p), row->step}}, 2, row->first),
        index_text(e, &(Term){p->j, column->step}, 1, column->first)));
    let_int(e, "columns", p->tile.columns);
    let_int(e, "column_step", column->step);
    line(e, "prefetch_pixels($pixel, $columns, $column_step);");
    end(e, p->tile.rows > 1);
}

/* Over input channels and taps: one broadcast and `blocks` products a pixel. */
static void add_products(Emitter *e, const DirectPlace *p)
{
    const DirectNames *names = p->d->names;
    const Axis *row = &p->part->axis[0], *column = &p->part->axis[1];
    int depth = 0;
    bool prefetches = let_below(e, p);
    const char *block = loop_unless_one(e, names->in_block, p->d->in_blocks, &depth);
        if (prefetches)
            prefetch_below(e, p, block);
        const char *r = loop_unless_one(e, "r", row->taps, &depth);
            const char *s = loop_unless_one(e, "s", column->taps, &depth);
                loop_lanes(e, p->d, block);
                    for (int v = 0; v < p->blocks; v++) {
                        let_int(e, "v", v);
                        let(e, "from", "%s", filter_text(e, p, v, block, r, s));
                        line(e, "const vec w$v = load($from);");
                    }
                    int inner = loop_tile(e, p);
                        const char *i = index_text(e, (Term[]){{p->i, row->step}, {down(p), row->step},
                                                               {r, row->tap_step}}, 3, row->first);
                        const char *j = index_text(e, (Term[]){{p->j, column->step}, {"t", column->step},
                                                             {s, column->tap_step}}, 3, column->first);
                        let(e, "pixel", "%s[%s]", pixel(e, p->kernel, names->in, "n", group_block(e, p, block), i, j),
                            names->in_lane);
                        line(e, "const vec $factor = splat($pixel);");
                        for (int v = 0; v < p->blocks; v++) {
                            let_int(e, "v", v);
                            line(e, "$sum$v$at += $factor * w$v;");
                        }
                    end(e, inner);
    end(e, depth + 1);
}

/* Where the tile's pixels lie in the output: row u, column t (NULL: the first). */
static const char *out_index(Emitter *e, const DirectPlace *p, const Part *part, int a, const char *in_tile)
{
    const Axis *axis = &part->axis[a];
    return index_text(e, (Term[]){{a == 0 ? p->i : p->j, axis->out_step}, {in_tile, axis->out_step}}, 2,
                      axis->out_first);
}

/* Asks for what storing the tile's pixels will touch. */
static void prefetch_stores(Emitter *e, const DirectPlace *p)
{
    if (p->tile.rows > 1)
        unrolled(e, "u", p->tile.rows);
    for (int v = 0; v < p->blocks; v++)
        prefetch_stored(e, p->kernel, p->d->names->out, "n", direct_block(e, p->block, v),
                        out_index(e, p, p->part, 0, down(p)), out_index(e, p, p->part, 1, NULL), p->tile.columns,
                        p->part->axis[1].out_step);
    end(e, p->tile.rows > 1);
}

static void store_part(Emitter *e, const DirectPlace *p, const Part *part, const char *value)
{
    for (int v = 0; v < p->blocks; v++) {
        let_int(e, "v", v);
        store_pixel(e, p->kernel, p->d->names->out, value, "n", direct_block(e, p->block, v),
                    out_index(e, p, part, 0, down(p)), out_index(e, p, part, 1, "t"));
    }
}

/* Has the part fewer rows or columns than the tile's? Then the tile's last pixel in that direction has none beside it.
 * Opens the test for it, if one is needed, and counts it in *depth; false where there is none beside any pixel. */
static bool when_inside(Emitter *e, const DirectPlace *p, const Part *part, int a, int *depth)
{
    int64_t count = part->axis[a].count;
    if (count == p->part->axis[a].count)
        return true;
    const char *at = index_text(e, (Term[]){{a == 0 ? p->i : p->j, 1}, {a == 0 ? down(p) : "t", 1}}, 2, 0);
    char *stop;
    int64_t number = strtoll(at, &stop, 10);
    if (*stop == 0)
        return number < count;
    when(e, arena_printf(emitter_arena(e), "%s < %lld", at, (long long)count));
    ++*depth;
    return true;
}

/* Stores the tile's pixels and the zeros beside them. */
static void store_sums(Emitter *e, const DirectPlace *p)
{
    int depth = loop_tile(e, p);
        store_part(e, p, p->part, "$sum$v$at");
        for (int i = 1; i < p->d->parts && p->part == &p->d->part[0]; i++) {
            const Part *part = &p->d->part[i];
            if (!is_stored_along(p->d, part) || (p->kernel->adds && !p->kernel->fuses))
                continue;
            int tests = 0;
            if (when_inside(e, p, part, 0, &tests) && when_inside(e, p, part, 1, &tests))
                store_part(e, p, part, "zero");
            end(e, tests);
        }
    end(e, depth);
}

void emit_direct_tile(Emitter *e, const DirectPlace *p)
{
    let(e, "sum", "%s", p->d->names->sum);
    let(e, "factor", "%s", p->d->names->factor);
    int64_t pixels = p->tile.rows * p->tile.columns;
    comment(e, arena_printf(emitter_arena(e), "register tile: %lld pixels x %d vector%s of %s = %lld sums%s",
                            (long long)pixels, p->blocks, p->blocks > 1 ? "s" : "", p->d->names->channels,
                            (long long)pixels * p->blocks, is_empty(p->part) ? "; no tap reaches these pixels" : ""));
    start_sums(e, p);
    if (!is_empty(p->part)) {
        prefetch_stores(e, p);
        add_products(e, p);
    }
    store_sums(e, p);
}
