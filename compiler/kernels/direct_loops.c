/* direct_loops.c - the loops of a direct convolution on blocked pictures, shared by its forward pass (direct.c) and its
 * data gradient (direct_grad_input.c).
 *
 * Requires: schedule.more, a Direct that says which input pixel and which filter tap meet at an output pixel.
 * Establishes: register tiles (direct_tile.c) cover every output pixel once. Where a picture is no multiple of the
 * tile, a smaller tile works on what is left, so that no product is computed in vain.
 */
#include "../unit.h"
#include "direct.h"

/* ---- planes ------------------------------------------------------------------------------------------------------ */

/* `rows` rows of output from row i: whole tiles, then what is left at the right. A tile that is not `alone` in its body
 * and has no loop gets a block, for the names of its sums. */
static void emit_rows(Emitter *e, DirectPlace p, int64_t rows, const char *i, bool alone)
{
    int64_t width = p.part->axis[1].count, columns = p.tile.columns, whole = width - width % columns;
    p.tile.rows = rows;
    p.i = i;
    p.j = whole == columns ? "0" : p.d->names->column;
    if (whole > columns)
        step_loop(e, p.j, whole, columns);
    else if (!alone || whole < width)
        block(e);
    emit_direct_tile(e, &p);
    end(e, whole > columns || !alone || whole < width);
    if (whole < width) {
        p.tile.columns = width - whole;
        p.j = arena_printf(emitter_arena(e), "%lld", (long long)whole);
        block(e);
            emit_direct_tile(e, &p);
        end(e, 1);
    }
}

/* One part of the planes of some channels: all of its rows, or those of the cache block that starts at row `top`. */
static void emit_part(Emitter *e, DirectPlace p, int64_t block_rows)
{
    int64_t height = p.part->axis[0].count, whole = height - height % p.tile.rows;
    const char *i = p.d->names->row;
    Arena *arena = emitter_arena(e);
    if (!block_rows && whole == p.tile.rows) {
        emit_rows(e, p, p.tile.rows, "0", whole == height && p.d->parts == 1);
    } else {
        bool cut = block_rows && (whole % block_rows != 0 || direct_rows(p.d) > whole);
        let_int(e, "rows", block_rows);
        let_int(e, "whole", whole);
        if (block_rows)
            step_between(e, i, "top", cut ? "(top + $rows < $whole ? top + $rows : $whole)" : "top + $rows",
                         p.tile.rows);
        else
            step_loop(e, i, whole, p.tile.rows);
        emit_rows(e, p, p.tile.rows, i, true);
        end(e, 1);
    }
    if (whole == height)
        return;
    if (block_rows)
        when(e, arena_printf(arena, "top <= %lld && %lld < top + %lld", (long long)whole, (long long)whole,
                             (long long)block_rows));
    emit_rows(e, p, height - whole, arena_printf(arena, "%lld", (long long)whole), block_rows > 0);
    if (block_rows)
        end(e, 1);
}

/* The planes of `blocks` vectors of channels from `channels`: borders, then every part. */
static void emit_planes(Emitter *e, const Kernel *kernel, const Direct *d, const char *channels, int blocks)
{
    const Schedule *s = &kernel->schedule;
    if (has_border(kernel, d->names->out) && !kernel->adds) {
        if (s->rows)
            when(e, "top == 0");
        for (int v = 0; v < blocks; v++)
            clear_border(e, kernel, d->names->out, "n", direct_block(e, channels, v));
        if (s->rows)
            end(e, 1);
    }
    for (int i = 0; i < d->parts; i++) {
        bool adds_nothing = is_empty(&d->part[i]) && kernel->adds && !kernel->fuses;
        if (adds_nothing || is_stored_along(d, &d->part[i]))
            continue;
        int64_t pixels = (int64_t)s->pixels * s->blocks / blocks;
        DirectPlace place = {kernel, d, &d->part[i], direct_tile(&d->part[i], pixels, blocks), blocks, channels, NULL,
                             NULL};
        emit_part(e, place, s->rows);
    }
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

/* Statistics or sums of finished planes: those of `count` vectors of channels from `channels`. */
static void emit_statistics(Emitter *e, const Kernel *kernel, const Direct *d, const char *channels, int64_t count)
{
    if (!(kernel->fuses & (FUSE_STATS | FUSE_SUMS)))
        return;
    if (count > 1)
        loop_between(e, "plane", channels, direct_block(e, channels, (int)count));
    finish_plane(e, kernel, d->names->out, "n", count > 1 ? "plane" : channels);
    end(e, count > 1);
}

/* A thread takes some planes of an image: planes share the input's rows, which stay in the cache. */
static void emit_by_planes(Emitter *e, const Kernel *kernel, const Direct *d, int64_t first, int64_t units, int blocks)
{
    const Schedule *s = &kernel->schedule;
    int64_t chunks = units == 1 ? 1 : s->chunks, own = units / chunks * blocks;
    const char *channels = d->names->out_block, *group = "group";
    bool images_inside = chunks > 1 && d->share == SHARE_CHANNELS;
    parallel_over(e, chunks > 1 ? 2 : 1);
    if (!images_inside)
        loop(e, "n", d->batch);
    if (chunks == 1)
        group = arena_printf(emitter_arena(e), "%lld", (long long)first);
    else
        step_loop(e, own == blocks ? channels : group, units * blocks, own);
    if (images_inside)
        loop(e, "n", d->batch);
    if (s->rows)
        step_loop(e, "top", direct_rows(d), s->rows);
    if (own > blocks) {
        step_between(e, channels, group, direct_block(e, group, (int)own), blocks);
        emit_planes(e, kernel, d, channels, blocks);
        if (!s->rows)
            emit_statistics(e, kernel, d, channels, blocks);
        end(e, 1);
    } else {
        emit_planes(e, kernel, d, chunks == 1 ? group : channels, blocks);
    }
    if (s->rows)
        end(e, 1);
    if (s->rows || own == blocks)
        emit_statistics(e, kernel, d, own > blocks || chunks == 1 ? group : channels, own);
    finish_stores(e, kernel, d->names->out);
    end(e, chunks > 1 ? 2 : 1);
}

/* A thread takes some rows of some planes: where images and channels are too few. */
static void emit_by_rows(Emitter *e, const Kernel *kernel, const Direct *d, int64_t first, int64_t units, int blocks)
{
    const char *channels = units == 1 ? arena_printf(emitter_arena(e), "%lld", (long long)first) : d->names->out_block;
    int depth = units == 1 ? 2 : 3;
    parallel_over(e, depth);
    loop(e, "n", d->batch);
    if (units > 1)
        step_loop(e, channels, units * blocks, blocks);
    step_loop(e, "top", direct_rows(d), kernel->schedule.rows);
    emit_planes(e, kernel, d, channels, blocks);
    finish_stores(e, kernel, d->names->out);
    end(e, depth);
}

void emit_direct(Emitter *e, const Kernel *kernel)
{
    const Direct *d = kernel->schedule.more;
    int blocks = kernel->schedule.blocks;
    int64_t all = d->out_blocks * d->groups, whole = all - all % blocks;
    void (*emit)(Emitter *, const Kernel *, const Direct *, int64_t first, int64_t units, int blocks) =
        d->share == SHARE_ROWS ? emit_by_rows : emit_by_planes;
    emit(e, kernel, d, 0, whole / blocks, blocks);
    if (whole < all)
        emit(e, kernel, d, whole, 1, (int)(all - whole));
}
