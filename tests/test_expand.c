/* test_expand.c - every construct of the language: the layers and connections that it becomes. */
#include <criterion/criterion.h>
#include <string.h>

#include "networks.h"

/* ---- statements in a row ----------------------------------------------------------------------------------------- */

Test(expand, statements_follow_one_another)
{
    expect_body("conv(2, 3); relu; flatten; linear(10);", "0:conv:2x6x6 1:relu:2x6x6 2:flatten:72 3:linear:10");
    expect_wires("conv(2, 3); relu;", "0<-input 1<-0");
    expect_layers("network test { input(784); linear(10); }", "0:linear:10");
}

Test(expand, labels_replace_numbers_and_count)
{
    expect_body("first: conv(2, 3); relu; last: conv(1, 3); relu;",
                "first:conv:2x6x6 1:relu:2x6x6 last:conv:1x4x4 3:relu:1x4x4");
    expect_body("repeat i in 2..3 { conv[i]: conv(i, 1); }", "conv2:conv:2x8x8 conv3:conv:3x8x8");
}

Test(expand, attributes)
{
    expect_body("conv(2, (3, 1), pad = (0, 1));", "0:conv:2x6x10");
    expect_body("conv(2, 3, 1, (1, 0, 2, 3));", "0:conv:2x7x11");
    expect_body("conv(channels = 2, kernel = 4, pad = same);", "0:conv:2x8x8");
    expect_body("conv(2, kernel = 3, dilation = 2, stride = (2, 1));", "0:conv:2x2x4");
    expect_body("maxpool(3, stride = 2, ceil = yes);", "0:maxpool:1x4x4");
    expect_body("repeat k in [1, (3, 1)] { conv(1, k); }", "0:conv:1x8x8 1:conv:1x6x8");
}

/* A variable called same wins over the word. */
Test(expand, same_is_a_word_unless_it_is_a_variable)
{
    expect_layers("network test(same = 2) { input(1, 8, 8); conv(1, 3, pad = same); }", "0:conv:1x10x10");
    expect_layers("network test { input(1, 8, 8); conv(1, 3, pad = same); }", "0:conv:1x8x8");
}

/* ---- groups and blocks ------------------------------------------------------------------------------------------- */

Test(expand, groups_open_scopes)
{
    expect_body("stem: { conv(2, 3); relu; } relu;", "stem.0:conv:2x6x6 stem.1:relu:2x6x6 1:relu:2x6x6");
    expect_body("{ conv(2, 3); { relu; } }", "0.0:conv:2x6x6 0.1.0:relu:2x6x6");
    expect_wires("{} relu;", "1<-input");
}

Test(expand, blocks)
{
    expect_layers("block two(c, k = c + 1, p = k / 2) { conv(c, k, pad = p); relu; }"
                  "network test { input(1, 9, 9); two(2); named: two(4, p = 0); two(1, 1, 0); }",
                  "0.0:conv:2x9x9 0.1:relu:2x9x9 named.0:conv:4x5x5 named.1:relu:4x5x5 2.0:conv:1x5x5 2.1:relu:1x5x5");
    expect_layers("network test { input(1, 8, 8); outer(3); }"
                  "block outer(c) { inner(c); inner(c * 2); } block inner(c) { conv(c, 1); }",
                  "0.0.0:conv:3x8x8 0.1.0:conv:6x8x8");
    expect_layers("block twice { conv(in.channels * 2, 1); } network test { input(3, 4, 4); twice; twice; }",
                  "0.0:conv:6x4x4 1.0:conv:12x4x4");
}

/* A block sees its parameters, not its caller's variables or tensors. */
Test(expand, blocks_are_closed)
{
    expect_error("block b { conv(c, 1); } network test(c = 2) { input(1, 8, 8); b; }", "a block sees only its own");
    expect_error("block b { add(skip); } network test { input(1, 8, 8); as skip; b; }", "no tensor is named 'skip'");
    expect_inputs("block b { as skip; relu; add(skip); } network test { input(1, 8, 8); b; b; }",
                  "0.0<-input 0.1<-0.0,input 1.0<-0.1 1.1<-1.0,0.1");
}

/* ---- repeat ------------------------------------------------------------------------------------------------------ */

Test(expand, repeat_counts)
{
    expect_body("repeat 3 { relu; }", "0:relu:1x8x8 1:relu:1x8x8 2:relu:1x8x8");
    expect_body("repeat 0 { relu; } tanh;", "0:tanh:1x8x8");
    expect_body("repeat 2 { repeat 2 { relu; } tanh; }",
                "0:relu:1x8x8 1:relu:1x8x8 2:tanh:1x8x8 3:relu:1x8x8 4:relu:1x8x8 5:tanh:1x8x8");
}

Test(expand, repeat_ranges_include_both_ends)
{
    expect_body("repeat i in 1..3 { conv(i * 10, 1); }", "0:conv:10x8x8 1:conv:20x8x8 2:conv:30x8x8");
    expect_body("repeat i in 3..3 { conv(i, 1); }", "0:conv:3x8x8");
    expect_body("repeat i in 3..2 { conv(i, 1); } relu;", "0:relu:1x8x8");
    expect_body("repeat i in -1..1 { conv(i + 2, 1); }", "0:conv:1x8x8 1:conv:2x8x8 2:conv:3x8x8");
}

Test(expand, repeat_lists)
{
    expect_body("repeat c in [4, 2] { conv(c, 1); }", "0:conv:4x8x8 1:conv:2x8x8");
    expect_body("repeat n, c in [(1, 4), (2, 3)] { repeat n { conv(c, 1); } }",
                "0:conv:4x8x8 1:conv:3x8x8 2:conv:3x8x8");
    expect_body("repeat x in [] { relu; } tanh;", "0:tanh:1x8x8");
    expect_layers("network test(widths = [2, 3]) { input(1, 8, 8); repeat c in widths { conv(c, 1); } }",
                  "0:conv:2x8x8 1:conv:3x8x8");
}

/* A loop variable hides an outer one, and only inside the loop. */
Test(expand, loop_variables_nest)
{
    expect_body("repeat i in 1..2 { repeat i in 5..5 { conv(i, 1); } conv(i, 1); }",
                "0:conv:5x8x8 1:conv:1x8x8 2:conv:5x8x8 3:conv:2x8x8");
    expect_mistake("repeat i in 1..2 { relu; } conv(i, 1);", "unknown name 'i'");
}

/* ---- if ---------------------------------------------------------------------------------------------------------- */

Test(expand, conditions)
{
    expect_body("if (yes) { relu; } else { tanh; }", "0:relu:1x8x8");
    expect_body("if (no) { relu; } else { tanh; }", "0:tanh:1x8x8");
    expect_body("if (no) { relu; } sigmoid;", "0:sigmoid:1x8x8");
    expect_body("if (in.height > 8) { relu; } else if (in.height == 8) { tanh; } else { sigmoid; }", "0:tanh:1x8x8");
    expect_layers("network test(act = \"tanh\") { input(1, 8, 8); if (act == \"relu\") { relu; } else { tanh; } }",
                  "0:tanh:1x8x8");
}

/* ---- residual ---------------------------------------------------------------------------------------------------- */

Test(expand, residual_adds_its_input)
{
    expect_body("residual { conv(1, 3, pad = 1); relu; } tanh;",
                "0:conv:1x8x8 1:relu:1x8x8 add:add:1x8x8 2:tanh:1x8x8");
    expect_wires("residual { conv(1, 3, pad = 1); relu; } tanh;", "0<-input 1<-0 add<-1,input 2<-add");
    expect_wires("residual {}", "add<-input,input");
}

Test(expand, residual_with_a_shortcut)
{
    expect_wires("residual { conv(2, 1); } shortcut { conv(2, 3, pad = 1); }", "0<-input 1<-input add<-0,1");
    expect_wires("residual { conv(2, 1); } shortcut when (in.channels != 2) { conv(2, 1); }",
                 "0<-input 1<-input add<-0,1");
    expect_wires("residual { conv(1, 1); } shortcut when (in.channels != 1) { conv(2, 1); }", "0<-input add<-0,input");
}

/* `in` in the condition is the tensor that reaches the residual, not the end of its body. */
Test(expand, residual_condition_sees_its_input)
{
    expect_wires("conv(4, 1); residual { conv(2, 1); conv(4, 1); } shortcut when (in.channels == 4) { conv(4, 1); }",
                 "0<-input 1<-0 2<-1 3<-0 add<-2,3");
}

/* ---- concat ------------------------------------------------------------------------------------------------------ */

Test(expand, concat_joins_branches)
{
    expect_body("concat { { conv(2, 1); relu; } { conv(3, 1); } {} }",
                "0:conv:2x8x8 1:relu:2x8x8 2:conv:3x8x8 concat:concat:6x8x8");
    expect_wires("concat { { conv(2, 1); relu; } { conv(3, 1); } {} } tanh;",
                 "0<-input 1<-0 2<-input concat<-1,2,input 3<-concat");
    expect_wires("concat { a: { conv(2, 1); } b: { conv(3, 1); } }", "a.0<-input b.0<-input concat<-a.0,b.0");
    expect_wires("concat { { relu; } }", "0<-input");
}

Test(expand, a_dense_block_grows)
{
    expect_layers("block dense(n, growth) { repeat n { concat { {} { batchnorm; relu; conv(growth, 3, pad = 1); } } } }"
                  "network test { input(1, 8, 8); d: dense(2, 4); }",
                  "d.0:batchnorm:1x8x8 d.1:relu:1x8x8 d.2:conv:4x8x8 d.concat:concat:5x8x8 "
                  "d.3:batchnorm:5x8x8 d.4:relu:5x8x8 d.5:conv:4x8x8 d.concat2:concat:9x8x8");
}

/* ---- as, from, add, concat --------------------------------------------------------------------------------------- */

Test(expand, named_tensors_make_any_graph)
{
    expect_wires("as a; relu; as b; from a; tanh; add(b); concat(a, b);",
                 "0<-input 1<-input 2<-1,0 3<-2,input,0");
    expect_body("relu; as a; conv(2, 1); concat(a, a);", "0:relu:1x8x8 1:conv:2x8x8 2:concat:4x8x8");
}

Test(expand, a_u_net)
{
    expect_inputs("network unet { input(1, 8, 8); enc: { conv(2, 3, pad = 1); } as skip; maxpool(2); "
                  "conv(2, 3, pad = 1); as low; from skip; maxpool(2); add(low); }",
                  "enc.0<-input 1<-enc.0 2<-1 3<-enc.0 4<-3,2");
}

/* In a repeat the name moves on with each turn. */
Test(expand, as_in_a_repeat_renames)
{
    expect_wires("repeat 2 { as a; relu; add(a); }", "0<-input 1<-0,input 2<-1 3<-2,1");
    expect_mistake("as a; relu; as a;", "two tensors are named 'a'");
}

/* ---- the network ------------------------------------------------------------------------------------------------- */

static Net with_define(const char *text, const char *name, const char *value)
{
    Overrides o = {0};
    Define d = {name, value};
    o.defines.items = &d;
    o.defines.count = 1;
    return net_with(text, &o);
}

Test(expand, definitions_override_parameters)
{
    const char *text = "network test(classes = 10, wide = classes * 2) { input(1, 8, 8); flatten; linear(wide); "
                       "linear(classes); }";
    Net net = with_define(text, "classes", "50 * 2");
    cr_assert_str_eq(layers_text(&net), "0:flatten:64 1:linear:200 2:linear:100");
    net_free(&net);
    net = with_define(text, "clases", "100");
    cr_assert(strstr(net.messages, "did you mean 'classes'?"), "%s", net.messages);
    cr_assert_null(net.graph);
    net_free(&net);
    const char *const bad[] = {"", "1 +", "1; relu", "1) { }", "1 / 0", "other", "1 // 2\n", "\"", "in.channels"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        net = with_define(text, "classes", bad[i]);
        if (i != 6)             /* a comment behind the value does no harm */
            cr_assert(net.graph == NULL && strstr(net.messages, "no value of the network language"), "%s: %s", bad[i],
                      net.messages);
        net_free(&net);
    }
}

Test(expand, the_input_can_be_overridden)
{
    Overrides o = {.input = {3, {3, 32, 16}}, .batch = 7};
    const char *text = "network test { input(1, 8, 8); conv(2, 3); train { batch = 5; } }";
    Net net = net_with(text, &o);
    cr_assert_str_eq(layers_text(&net), "0:conv:2x30x14");
    cr_assert_eq(net.graph->batch, 7);
    net_free(&net);
    o = (Overrides){.input = {1, {12}}};
    net = net_with("network test { input(1, 8, 8); linear(3); }", &o);
    cr_assert_str_eq(layers_text(&net), "0:linear:3");
    cr_assert_eq(net.graph->input->output.rank, 1);
    net_free(&net);
}

Test(expand, train_settings)
{
    Net net = net_of("network test(rate = 0.5) { input(1, 8, 8); relu; train { data = \"cifar10\"; batch = 64; "
                     "epochs = 3; optimizer = sgd(lr = rate, momentum = 0.9, weight_decay = 1e-4, nesterov = yes);"
                     " init = xavier; seed = 42; } }");
    cr_assert_not_null(net.graph, "%s", net.messages);
    const Train *t = &net.graph->train;
    cr_assert(t->batch == 64 && net.graph->batch == 64);
    cr_assert_str_eq(t->init, "xavier");
    const char *options[] = {"data=cifar10", "epochs=3", "lr=0.5", "momentum=0.9", "weight_decay=0.0001",
                             "nesterov=yes", "optimizer=sgd", "seed=42"};
    cr_assert_eq(t->options.count, 8);
    for (int i = 0; i < 8; i++)
        cr_assert_str_eq(t->options.items[i], options[i]);
    net_free(&net);
    net = net_of("network test(p = 4) { input(1, 8, 8); relu; train { flip = yes; crop = p; resized_crop = (0.08, 1); "
                 "brightness = 0.4; contrast = 1; cutout = 8; mixup = 0.2; resize_short = 0; } }");
    cr_assert_not_null(net.graph, "%s", net.messages);
    t = &net.graph->train;
    const char *changes[] = {"flip=yes", "crop=4", "resized_crop=0.08,1", "brightness=0.4", "contrast=1", "cutout=8",
                             "mixup=0.2", "resize_short=0"};
    cr_assert_eq(t->options.count, 8);
    for (int i = 0; i < 8; i++)
        cr_assert_str_eq(t->options.items[i], changes[i]);
    net_free(&net);
    net = net_of("network test { input(1, 8, 8); relu; }");
    t = &net.graph->train;
    cr_assert_str_eq(t->init, "default");
    cr_assert(t->batch == 32 && t->options.count == 0);
    net_free(&net);
}

Test(expand, users_and_order)
{
    Net net = net_of("network test { input(1, 8, 8); relu; as a; tanh; add(a); concat { {} {} } }");
    cr_assert_not_null(net.graph, "%s", net.messages);
    cr_assert_eq(net.graph->input->users, 1);
    cr_assert_eq(layer_named(&net, "0")->users, 2);
    cr_assert_eq(layer_named(&net, "2")->users, 2);
    cr_assert_eq(layer_named(&net, "concat")->users, 0);
    cr_assert_eq(net.graph->output, layer_named(&net, "concat"));
    for (int i = 0; i < net.graph->layers.count; i++) {
        const Layer *l = net.graph->layers.items[i];
        cr_assert_eq(l->index, i);
        for (int k = 0; k < l->input_count; k++)
            cr_assert(l->input[k]->index < i);
    }
    net_free(&net);
}

Test(expand, warnings_do_not_stop)
{
    Net net = net_of("network test { input(1, 8, 8); relu; as a; tanh; from a; flatten; softmax; }");
    cr_assert_not_null(net.graph);
    cr_assert_eq(net.diag.warnings, 2);
    cr_assert(strstr(net.messages, "nothing uses the output of '1'"), "%s", net.messages);
    cr_assert(strstr(net.messages, "the loss already contains softmax"), "%s", net.messages);
    net_free(&net);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static void expect_errors(const char *text, int count)
{
    Net net = net_of(text);
    cr_assert_null(net.graph);
    cr_assert_eq(net.diag.errors, count, "%d errors, not %d:\n%s", net.diag.errors, count, net.messages);
    net_free(&net);
}

Test(expand, every_mistake_is_reported_and_none_twice)
{
    expect_errors("network test { input(1, 8, 8); conv(2, 30); conv(2, 3); conv(wide, 3); rely; flatten; "
                  "linear(x); }", 4);
    expect_errors("network test { input(1, 8, 8); repeat 100 { conv(0, 3); } }", 1);
    expect_errors("network test { input(1, 8, 8); repeat 100 { rely; } }", 1);
    expect_errors("network test { input(1, 8, 8); repeat 100 { a: relu; } }", 1);
    expect_errors("network test { conv(2, 3); conv(2, y); }", 2);
    expect_errors("block b(k) { conv(2, k); } network test { input(1, 8, 8); b(0); b(-1); }", 2);
}

Test(expand, the_smallest_input_is_found)
{
    expect_error("network test { input(1, 4, 4); conv(1, 5); }", "the smallest input that works is 1x5x5");
    expect_error("network test { input(3, 8, 8); repeat 5 { conv(1, 3); maxpool(2); } }",
                 "the smallest input that works is 3x94x94");
    /* 3, 4 and 5 do not fit both; 7 is not even. */
    expect_error("network test { input(1, 3, 3); concat { { conv(1, 6); } { conv(1, 6, pad = 0); } } }",
                 "the smallest input that works is 1x6x6");
    /* Another mistake in the file: no size works, and none is promised. */
    expect_error("network test { input(1, 4, 4); conv(1, 5); rely; }", "use a smaller kernel");
}
