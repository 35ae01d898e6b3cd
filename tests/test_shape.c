/* test_shape.c - the shape rules of sliding windows against a count of window positions, and checked arithmetic. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "expand.h"

/* A layer of `op` on an input of the given shape, outside of any network. */
typedef struct {
    Arena *arena;
    Diag   diag;
    Graph  graph;
    Layer  input, layer;
    Layer *inputs[1];
} Bench;

static void bench_open(Bench *b, const char *keyword, Shape in)
{
    memset(b, 0, sizeof *b);
    b->arena = arena_new();
    b->diag = (Diag){.out = stderr, .muted = true, .limit = 20};
    b->graph = (Graph){.arena = b->arena, .diag = &b->diag, .batch = 2};
    b->input = (Layer){.graph = &b->graph, .output = in, .name = "in"};
    b->inputs[0] = &b->input;
    b->layer = (Layer){.graph = &b->graph, .op = find_op(keyword), .input = b->inputs, .input_count = 1, .name = "l"};
    default_attrs(b->layer.op, (Span){0, 0}, b->layer.attr);
}

static void bench_set(Bench *b, const char *name, int64_t h, int64_t w)
{
    int a = attr_index(b->layer.op, name);
    cr_assert(a >= 0, "%s has no attribute %s", b->layer.op->keyword, name);
    b->layer.attr[a].given = true;
    b->layer.attr[a].n[0] = h;
    b->layer.attr[a].n[1] = w;
}

static void bench_pad(Bench *b, int64_t top, int64_t bottom, int64_t left, int64_t right)
{
    Attr *a = &b->layer.attr[attr_index(b->layer.op, "pad")];
    *a = (Attr){.given = true, .n = {top, bottom, left, right}};
}

/* How many windows of `extent` taps, `stride` apart, lie inside the padded picture: by looking at each position. */
static int64_t count_windows(int64_t n, int64_t extent, int64_t stride, int64_t before, int64_t after)
{
    int64_t count = 0;
    for (int64_t start = -before; start <= n + after; start++)
        if ((start + before) % stride == 0 && start + extent <= n + after)
            count++;
    return count;
}

/* With ceil: a further window is added where taps of the padded picture are left over, if it begins before `after`. */
static int64_t count_windows_ceil(int64_t n, int64_t extent, int64_t stride, int64_t before, int64_t after)
{
    int64_t count = count_windows(n, extent, stride, before, after);
    int64_t covered = -before + (count - 1) * stride + extent, next = -before + count * stride;
    if (count > 0 && covered < n + after && next < n)
        count++;
    /* Windows that begin in the padding behind the picture do not exist in ceil mode. */
    while (count > 0 && -before + (count - 1) * stride >= n)
        count--;
    return count;
}

#define EVERY(v, from, to) for (int v = from; v <= to; v++)

Test(shape, conv_against_brute_force)
{
    Bench b;
    bench_open(&b, "conv", (Shape){3, {3, 1, 1}});
    bench_set(&b, "channels", 4, 4);
    int fits = 0, refused = 0;
    EVERY(kernel, 1, 5) EVERY(stride, 1, 4) EVERY(pad, 0, 4) EVERY(size, 1, 12) EVERY(dilation, 1, 2) {
        /* The width is another case than the height, so that the two directions cannot be confused. */
        int kw = kernel % 5 + 1, sw = stride % 4 + 1, wide = size % 12 + 1, pw = (pad + 1) % 5;
        bench_set(&b, "kernel", kernel, kw);
        bench_set(&b, "stride", stride, sw);
        bench_set(&b, "dilation", dilation, 3 - dilation);
        bench_pad(&b, pad, pad, pw, pw);
        b.input.output = (Shape){3, {3, size, wide}};
        int64_t rows = count_windows(size, dilation * (kernel - 1) + 1, stride, pad, pad);
        int64_t columns = count_windows(wide, (3 - dilation) * (kw - 1) + 1, sw, pw, pw);
        bool ok = infer_layer(&b.layer);
        cr_assert_eq(ok, rows > 0 && columns > 0, "kernel %d stride %d pad %d size %d dilation %d", kernel, stride, pad,
                     size, dilation);
        Shape want = {3, {4, rows, columns}};
        cr_assert(!ok || shape_equal(&b.layer.output, &want), "kernel %d stride %d pad %d size %d dilation %d: %s",
                  kernel, stride, pad, size, dilation, shape_text(b.arena, &b.layer.output));
        cr_assert(!ok || b.layer.macs == 4 * rows * columns * 3 * kernel * kw);
        *(ok ? &fits : &refused) += 1;
    }
    cr_assert_eq(fits + refused, 2400);
    cr_assert(fits > 1000 && refused > 100);
    arena_free(b.arena);
}

static void pooling(const char *keyword)
{
    Bench b;
    bench_open(&b, keyword, (Shape){3, {3, 1, 1}});
    EVERY(kernel, 1, 5) EVERY(stride, 1, 4) EVERY(pad, 0, 4) EVERY(size, 1, 12) EVERY(ceil, 0, 1) {
        int kw = kernel % 5 + 1, sw = stride % 4 + 1, wide = size % 12 + 1;
        int pw = pad < kw ? pad : kw - 1;
        bench_set(&b, "kernel", kernel, kw);
        bench_set(&b, "stride", stride, sw);
        bench_pad(&b, pad, pad, pw, pw);
        bench_set(&b, "ceil", ceil, 0);
        b.input.output = (Shape){3, {3, size, wide}};
        int64_t (*count)(int64_t, int64_t, int64_t, int64_t, int64_t) = ceil ? count_windows_ceil : count_windows;
        int64_t rows = count(size, kernel, stride, pad, pad), columns = count(wide, kw, sw, pw, pw);
        bool ok = infer_layer(&b.layer);
        cr_assert_eq(ok, rows > 0 && columns > 0 && pad < kernel, "%s: kernel %d stride %d pad %d size %d ceil %d",
                     keyword, kernel, stride, pad, size, ceil);
        Shape want = {3, {3, rows, columns}};
        cr_assert(!ok || shape_equal(&b.layer.output, &want), "%s: kernel %d stride %d pad %d size %d ceil %d: %s",
                  keyword, kernel, stride, pad, size, ceil, shape_text(b.arena, &b.layer.output));
    }
    arena_free(b.arena);
}

Test(shape, maxpool_against_brute_force) { pooling("maxpool"); }
Test(shape, avgpool_against_brute_force) { pooling("avgpool"); }

Test(shape, pooling_strides_by_its_kernel_unless_told)
{
    Bench b;
    bench_open(&b, "maxpool", (Shape){3, {1, 9, 9}});
    bench_set(&b, "kernel", 3, 2);
    cr_assert(infer_layer(&b.layer));
    cr_assert_str_eq(shape_text(b.arena, &b.layer.output), "1x3x4");
    arena_free(b.arena);
}

Test(shape, asymmetric_padding_against_brute_force)
{
    Bench b;
    bench_open(&b, "conv", (Shape){3, {1, 7, 7}});
    bench_set(&b, "channels", 1, 1);
    EVERY(kernel, 1, 5) EVERY(stride, 1, 4) EVERY(before, 0, 4) EVERY(after, 0, 4) {
        bench_set(&b, "kernel", kernel, kernel);
        bench_set(&b, "stride", stride, stride);
        bench_pad(&b, before, after, after, before);
        cr_assert(infer_layer(&b.layer));
        int64_t want = count_windows(7, kernel, stride, before, after);
        cr_assert_eq(b.layer.output.dim[1], want);
        cr_assert_eq(b.layer.output.dim[2], count_windows(7, kernel, stride, after, before));
    }
    arena_free(b.arena);
}

/* pad = same: k - 1 in all, the larger half above and to the left, so that stride 1 keeps the size. */
Test(shape, same_padding)
{
    Bench b;
    bench_open(&b, "conv", (Shape){3, {1, 1, 1}});
    bench_set(&b, "channels", 1, 1);
    int pad = attr_index(b.layer.op, "pad");
    EVERY(kernel, 1, 6) EVERY(stride, 1, 4) EVERY(dilation, 1, 3) EVERY(size, 1, 12) {
        Window w;
        bench_set(&b, "kernel", kernel, kernel);
        bench_set(&b, "stride", stride, stride);
        bench_set(&b, "dilation", dilation, dilation);
        b.layer.attr[pad] = (Attr){.given = true, .same = true};
        b.input.output = (Shape){3, {1, size, size}};
        cr_assert(infer_layer(&b.layer));
        cr_assert_eq(b.layer.output.dim[1], (size + stride - 1) / stride);
        cr_assert(window_resolve(&b.layer, 1, 2, 3, 4, -1, &w));
        int total = dilation * (kernel - 1);
        cr_assert_eq(w.before[0] + w.after[0], total);
        cr_assert_eq(w.before[0], (total + 1) / 2);
        cr_assert_eq(w.after[1], total / 2);
    }
    arena_free(b.arena);
}

Test(shape, window_text_names_what_differs)
{
    Bench b;
    Window w = {.kernel = {5, 5}, .stride = {1, 1}, .dilation = {1, 1}};
    bench_open(&b, "conv", (Shape){3, {1, 1, 1}});
    cr_assert_str_eq(window_text(b.arena, &w), "5x5");
    w = (Window){.kernel = {7, 1}, .stride = {2, 2}, .dilation = {1, 1}, .before = {3, 0}, .after = {3, 0}};
    cr_assert_str_eq(window_text(b.arena, &w), "7x1, stride 2, pad 3x0");
    w = (Window){.kernel = {2, 2}, .stride = {2, 1}, .dilation = {3, 3}, .before = {1, 0}, .after = {0, 1}};
    cr_assert_str_eq(window_text(b.arena, &w), "2x2, stride 2x1, pad (1, 0, 0, 1), dilation 3");
    arena_free(b.arena);
}

Test(shape, checked_multiplication)
{
    int64_t product = 0;
    cr_assert(multiply_checked(1 << 20, 1 << 20, &product) && product == INT64_C(1) << 40);
    cr_assert_not(multiply_checked((INT64_C(1) << 40) + 1, 1, &product));
    cr_assert_not(multiply_checked(INT64_MAX, 2, &product));
    cr_assert_not(multiply_checked(INT64_MAX, INT64_MAX, &product));
    cr_assert(multiply_checked(0, INT64_MAX, &product) && product == 0);
}

Test(shape, sizes_are_bounded_not_wrapped)
{
    Bench b;
    bench_open(&b, "conv", (Shape){3, {1, 1 << 20, 1 << 19}});
    bench_set(&b, "channels", 1, 1);
    bench_set(&b, "kernel", 1, 1);
    cr_assert(infer_layer(&b.layer), "2 x 2^20 x 2^19 elements are the limit");
    bench_set(&b, "channels", 2, 2);
    cr_assert_not(infer_layer(&b.layer));
    cr_assert_eq(b.layer.output.rank, 0);
    cr_assert_eq(b.diag.errors, 1);
    bench_set(&b, "channels", INT32_MAX, 0);
    cr_assert_not(infer_layer(&b.layer));

    b.input.output = (Shape){3, {1 << 20, 1, 1}};               /* the weights, not the output, are too many */
    bench_set(&b, "channels", 1 << 21, 0);
    cr_assert_not(infer_layer(&b.layer));

    bench_set(&b, "channels", 1, 1);                            /* a kernel that only padding makes fit */
    b.input.output = (Shape){3, {1, 1, 1}};
    bench_set(&b, "kernel", INT32_MAX, INT32_MAX);
    bench_set(&b, "dilation", INT32_MAX, INT32_MAX);
    cr_assert_not(infer_layer(&b.layer));
    bench_pad(&b, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX);
    bench_set(&b, "dilation", 1, 1);
    cr_assert_not(infer_layer(&b.layer));
    arena_free(b.arena);
}

Test(shape, unknown_input_stays_silent)
{
    Bench b;
    bench_open(&b, "conv", (Shape){0});
    cr_assert_not(infer_layer(&b.layer));
    cr_assert_eq(b.diag.errors, 0);
    arena_free(b.arena);
}

Test(shape, parameters_and_texts)
{
    Bench b;
    bench_open(&b, "conv", (Shape){3, {6, 14, 14}});
    bench_set(&b, "channels", 16, 16);
    bench_set(&b, "kernel", 5, 5);
    cr_assert(infer_layer(&b.layer));
    cr_assert_eq(b.layer.param_count, 2);
    cr_assert_eq(b.layer.param[0].count, 16 * 6 * 5 * 5);
    cr_assert_eq(b.layer.param[0].fan_in, 150);
    cr_assert_eq(b.layer.param[1].count, 16);
    cr_assert(b.layer.param[0].trainable);
    cr_assert_str_eq(shape_text(b.arena, &b.layer.output), "16x10x10");
    cr_assert_eq(shape_count(&b.layer.output), 1600);
    Shape flat = {1, {10}}, none = {0};
    cr_assert_str_eq(shape_text(b.arena, &flat), "10");
    cr_assert_eq(shape_count(&none), 0);
    cr_assert_not(shape_equal(&flat, &b.layer.output));
    arena_free(b.arena);
}
