/* grad_bias.c - bias gradient of a convolution on blocked pictures: db[k] = sum_{n,i,j} dY[n,k,i,j].
 *
 * Reading dY is all the time it takes. A thread sums whole planes of L channels, row by row, so that several rows are
 * in flight and no sum has many terms; with few blocks of channels the pictures are split into chunks, whose sums are
 * added in order.
 *
 * Requires: dY blocked. Establishes: db, zeros in its spare lanes because those of dY hold zeros.
 */
#include "grad_weight.h"

static void make_plan(Program *p, Kernel *k)
{
    int64_t blocks = blocks_of(k->layer->output.dim[0], p->target->lanes), chunks = 1;
    while (blocks * chunks % EVEN_TASKS != 0 && blocks * chunks < MANY_TASKS && chunks * 2 <= p->graph->batch)
        chunks *= 2;
    if (chunks > 1)
        scratch_of(p, k, "partial", 2, (int64_t[]){chunks, blocks * p->target->lanes});
    k->schedule.chunks = (int)chunks;
    k->schedule.text = arena_printf(p->arena, "blocks of channels shared among threads, %lld %s of pictures",
                                    (long long)chunks, chunks > 1 ? "chunks" : "chunk");
}

static void body(Emitter *e, const Kernel *k)
{
    const Layer *l = k->layer;
    int lanes = operand_of(k, "dY")->tensor->layout.lanes, chunks = k->schedule.chunks;
    int64_t blocks = blocks_of(l->output.dim[0], lanes);
    let_int(e, "chunks", chunks);
    let(e, "dy", "%s", pixel(e, k, "dY", "n", "kb", "i", "j"));
    parallel_over(e, chunks > 1 ? 2 : 1);
    if (chunks > 1)
        loop(e, "chunk", chunks);
    loop(e, "kb", blocks);
        line(e, "vec sum = zero;");
        loop_between(e, "n", chunks > 1 ? "chunk * $N / $chunks" : "0",
                     chunks > 1 ? "(chunk + 1) * $N / $chunks" : "$N");
            line(e, "vec plane = zero;");
            loop(e, "i", l->output.dim[1]);
                line(e, "vec row = zero;");
                loop(e, "j", l->output.dim[2]);
                    line(e, "row += load($dy);");
                end(e, 1);
                line(e, "plane += row;");
            end(e, 1);
            line(e, "sum += plane;");
        end(e, 1);
        line(e, chunks > 1 ? "store(&partial[chunk][kb * $L], sum);" : "store(&db[kb * $L], sum);");
    end(e, chunks > 1 ? 2 : 1);
    if (chunks == 1)
        return;
    comment(e, "the chunks' sums, added in order");
    parallel(e);
    loop(e, "kb", blocks);
        line(e, "vec sum = load(&partial[0][kb * $L]);");
        loop_between(e, "chunk", "1", "$chunks");
            line(e, "sum += load(&partial[chunk][kb * $L]);");
        end(e, 1);
        line(e, "store(&db[kb * $L], sum);");
    end(e, 1);
}

const FastKernel direct_grad_bias = {.name = "direct", .plan = make_plan, .body = body};
