/* test_names.c - names as PyTorch's state_dict has them, and C symbols that nothing clashes with. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"
#include "networks.h"
#include "support.h"

/* ---- state_dict -------------------------------------------------------------------------------------------------- */

static const char resnet18[] =
    "block basic(channels, stride = 1) {\n"
    "    residual {\n"
    "        conv1: conv(channels, 3, stride = stride, pad = 1, bias = no);\n"
    "        bn1:   batchnorm;\n"
    "        relu;\n"
    "        conv2: conv(channels, 3, pad = 1, bias = no);\n"
    "        bn2:   batchnorm;\n"
    "    } shortcut when (stride != 1 || in.channels != channels) {\n"
    "        downsample: { conv(channels, 1, stride = stride, bias = no); batchnorm; }\n"
    "    }\n"
    "    relu;\n"
    "}\n"
    "network resnet18(classes = 1000) {\n"
    "    input(3, 224, 224);\n"
    "    conv1: conv(64, 7, stride = 2, pad = 3, bias = no);\n"
    "    bn1:   batchnorm;\n"
    "    relu;\n"
    "    maxpool(3, stride = 2, pad = 1);\n"
    "    repeat stage in 1..4 {\n"
    "        layer[stage]: {\n"
    "            basic(32 << stage, stride = stage > 1 ? 2 : 1);\n"
    "            basic(32 << stage);\n"
    "        }\n"
    "    }\n"
    "    global_avgpool;\n"
    "    flatten;\n"
    "    fc: linear(classes);\n"
    "}\n";

/* The names of torchvision.models.resnet18().state_dict(), in its order, made as its constructor makes them. */
static int torchvision_names(Arena *a, const char *names[200])
{
    static const char *const bn[] = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"};
    int count = 0;
#define CONV(...) (names[count++] = arena_printf(a, __VA_ARGS__))
#define BN(name) for (int b = 0; b < 5; b++) names[count++] = arena_printf(a, "%s.%s", name, bn[b])
    CONV("conv1.weight");
    BN("bn1");
    for (int stage = 1; stage <= 4; stage++)
        for (int block = 0; block < 2; block++) {
            char *at = arena_printf(a, "layer%d.%d", stage, block);
            CONV("%s.conv1.weight", at);
            BN(arena_printf(a, "%s.bn1", at));
            CONV("%s.conv2.weight", at);
            BN(arena_printf(a, "%s.bn2", at));
            if (stage > 1 && block == 0) {
                CONV("%s.downsample.0.weight", at);
                BN(arena_printf(a, "%s.downsample.1", at));
            }
        }
    CONV("fc.weight");
    CONV("fc.bias");
    return count;
}

Test(names, resnet18_equals_torchvision)
{
    Net net = net_of(resnet18);
    cr_assert_not_null(net.graph, "%s", net.messages);
    const char *want[200];
    int count = torchvision_names(net.arena, want), at = 0;
    cr_assert_eq(count, 122);
    int64_t parameters = 0;
    for (int i = 0; i < net.graph->layers.count; i++) {
        const Layer *l = net.graph->layers.items[i];
        for (int p = 0; p < l->param_count; p++, at++) {
            char *name = arena_printf(net.arena, "%s.%s", l->name, l->param[p].name);
            cr_assert(at < count);
            cr_assert_str_eq(name, want[at], "number %d is %s, in torchvision %s", at, name, want[at]);
            parameters += l->param[p].trainable ? l->param[p].count : 0;
        }
    }
    cr_assert_eq(at, 122);
    cr_assert_eq(parameters, 11689512);
    net_free(&net);
}

static void expect_state(const char *text, const char *want)
{
    Net net = net_of(text);
    cr_assert_not_null(net.graph, "%s", net.messages);
    char *names = "";
    for (int i = 0; i < net.graph->layers.count; i++)
        for (int p = 0; p < net.graph->layers.items[i]->param_count; p++)
            names = arena_printf(net.arena, "%s%s%s.%s", names, *names ? " " : "", net.graph->layers.items[i]->name,
                                 net.graph->layers.items[i]->param[p].name);
    cr_assert_str_eq(names, want, "%s", names);
    net_free(&net);
}

/* Dive into Deep Learning 7.6: nn.Sequential(Conv2d, Sigmoid, AvgPool2d, Conv2d, Sigmoid, AvgPool2d, Flatten, Linear,
 * Sigmoid, Linear, Sigmoid, Linear): the net of the classic LeNet, by position. */
Test(names, d2l_lenet_counts_like_sequential)
{
    expect_state("network lenet { input(1, 28, 28); conv(6, 5, pad = 2); sigmoid; avgpool(2); conv(16, 5); sigmoid; "
                 "avgpool(2); flatten; linear(120); sigmoid; linear(84); sigmoid; linear(10); }",
                 "0.weight 0.bias 3.weight 3.bias 7.weight 7.bias 9.weight 9.bias 11.weight 11.bias");
}

/* Dive into Deep Learning 8.2: each vgg_block is an nn.Sequential inside the outer one. */
Test(names, d2l_vgg_nests_like_sequential)
{
    expect_state("block vgg_block(convs, channels) { repeat convs { conv(channels, 3, pad = 1); relu; } maxpool(2); }"
                 "network vgg { input(1, 32, 32); repeat n, c in [(1, 4), (2, 8)] { vgg_block(n, c); } flatten; "
                 "linear(10); }",
                 "0.0.weight 0.0.bias 1.0.weight 1.0.bias 1.2.weight 1.2.bias 3.weight 3.bias");
}

/* torchvision's vgg11: the groups are modules, and dropout and relu count. */
Test(names, torchvision_vgg)
{
    expect_state("network vgg11(classes = 10) { input(3, 32, 32); features: { repeat c in [4, 8] { conv(c, 3, "
                 "pad = 1); relu; maxpool(2); } } flatten; classifier: { linear(16); relu; dropout(0.5); linear(16); "
                 "relu; dropout(0.5); linear(classes); } }",
                 "features.0.weight features.0.bias features.3.weight features.3.bias classifier.0.weight "
                 "classifier.0.bias classifier.3.weight classifier.3.bias classifier.6.weight classifier.6.bias");
}

/* ---- names made for residual and concat -------------------------------------------------------------------------- */

Test(names, joins_are_numbered)
{
    expect_body("residual { relu; } residual { relu; } residual { relu; }",
                "0:relu:1x8x8 add:add:1x8x8 1:relu:1x8x8 add2:add:1x8x8 2:relu:1x8x8 add3:add:1x8x8");
    expect_body("g: { residual { relu; } } residual { relu; }",
                "g.0:relu:1x8x8 g.add:add:1x8x8 1:relu:1x8x8 add:add:1x8x8");
}

/* A label is the user's: a name that was only made up gives way. */
Test(names, labels_win_over_made_up_names)
{
    expect_body("residual { relu; } add: tanh;", "0:relu:1x8x8 add2:add:1x8x8 add:tanh:1x8x8");
    expect_body("add: tanh; residual { relu; }", "add:tanh:1x8x8 1:relu:1x8x8 add2:add:1x8x8");
    expect_body("residual { relu; } residual { relu; } add2: tanh;",
                "0:relu:1x8x8 add:add:1x8x8 1:relu:1x8x8 add3:add:1x8x8 add2:tanh:1x8x8");
}

Test(names, duplicates_are_refused)
{
    expect_mistake("a: relu; b: relu; a: tanh;", "the label 'a' is used twice in test");
    expect_mistake("a: relu; b: relu; a: tanh;", "first used here");
    expect_mistake("g: { a: relu; a: tanh; }", "the label 'a' is used twice in g");
    expect_mistake("g: { relu; } g: { relu; }", "the label 'g' is used twice in test");
    expect_mistake("conv1: conv(1, 1); repeat i in 1..1 { conv[i]: conv(1, 1); }", "the label 'conv1' is used twice");
    expect_mistake("repeat 2 { a: relu; }", "number it with a loop variable");
    expect_mistake("repeat i in -1..1 { a[i]: relu; }", "cannot be negative");
    expect_body("g: { a: relu; } h: { a: relu; } a: relu;", "g.a:relu:1x8x8 h.a:relu:1x8x8 a:relu:1x8x8");
}

/* ---- C symbols --------------------------------------------------------------------------------------------------- */

static void expect_symbol(const char *body, const char *layer, const char *symbol)
{
    Net net = net_of(body);
    cr_assert_str_eq(layer_named(&net, layer)->symbol, symbol, "%s is %s, not %s", layer,
                     layer_named(&net, layer)->symbol, symbol);
    net_free(&net);
}

#define IN_NET(body) "network lenet { input(1, 8, 8); " body " }"

Test(names, symbols_are_c_identifiers)
{
    expect_symbol(IN_NET("conv(1, 1); relu;"), "1", "relu_1");
    expect_symbol(IN_NET("features: { conv(1, 1); }"), "features.0", "features_0");
    expect_symbol(IN_NET("{ conv1: conv(1, 1); }"), "0.conv1", "layer_0_conv1");
    expect_symbol(IN_NET("layer1: { { conv1: conv(1, 1); } }"), "layer1.0.conv1", "layer1_0_conv1");
}

Test(names, symbols_keep_clear_of_c_and_of_generated_code)
{
    expect_symbol(IN_NET("int: relu;"), "int", "int_");
    expect_symbol(IN_NET("exp: relu;"), "exp", "exp_");
    expect_symbol(IN_NET("sinf: relu;"), "sinf", "sinf_");
    expect_symbol(IN_NET("linux: relu;"), "linux", "linux_");
    expect_symbol(IN_NET("X: relu;"), "X", "X_");
    expect_symbol(IN_NET("loss: relu;"), "loss", "loss_");
    expect_symbol(IN_NET("kept_x: relu;"), "kept_x", "layer_kept_x");
    expect_symbol(IN_NET("net: relu;"), "net", "net_");
    expect_symbol(IN_NET("labels: relu;"), "labels", "labels_");
    expect_symbol(IN_NET("input: relu;"), "input", "input_");
    expect_symbol(IN_NET("conv_forward: relu;"), "conv_forward", "conv_forward_");
    expect_symbol(IN_NET("a_grad_input: relu;"), "a_grad_input", "a_grad_input_");
    expect_symbol(IN_NET("d_conv: relu;"), "d_conv", "layer_d_conv");
    expect_symbol(IN_NET("cnn_lap: relu;"), "cnn_lap", "layer_cnn_lap");
    expect_symbol(IN_NET("lenet: relu;"), "lenet", "layer_lenet");
    expect_symbol(IN_NET("lenet_new: relu;"), "lenet_new", "layer_lenet_new");
    expect_symbol(IN_NET("__x: relu;"), "__x", "layer___x");
    expect_symbol("network fc_forward { input(4); fc: linear(3); }", "fc", "layer_fc");
    expect_symbol("network fc_small { input(4); fc: linear(3); }", "fc", "fc");
}

Test(names, symbols_are_unique)
{
    const char *clash = IN_NET("a_b: relu; a: { b: relu; } a_b_2: relu; int: relu; int_: relu;");
    expect_symbol(clash, "a_b", "a_b");
    expect_symbol(clash, "a.b", "a_b_2");
    expect_symbol(clash, "a_b_2", "a_b_2_2");
    expect_symbol(clash, "int", "int_");
    expect_symbol(clash, "int_", "int__2");
    Net net = net_of(resnet18);
    Table seen = {0};
    for (int i = 0; i < net.graph->layers.count; i++) {
        const Layer *l = net.graph->layers.items[i];
        cr_assert_eq(table_put(net.arena, &seen, l->symbol)->number++, 0, "%s", l->symbol);
        for (int p = 0; p < l->param_count; p++)
            cr_assert_eq(table_put(net.arena, &seen, l->param[p].symbol)->number++, 0, "%s", l->param[p].symbol);
    }
    cr_assert_str_eq(layer_named(&net, "layer1.0.conv1")->param[0].symbol, "layer1_0_conv1_weight");
    net_free(&net);
}

Test(names, of_networks)
{
    static const char *const refused[] = {"int", "class", "main", "exit", "printf", "float", "cnn_lenet", "_net",
                                          "uint8_t", "sinf", "trainer_x", "omp_x", "linux", "net", "real", "sgd_update",
                                          "KERNELS", "real_exp", "cnn", "trainer", "loss_forward"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        cr_expect_not_null(reserved_name(refused[i]), "%s is free", refused[i]);
    static const char *const fine[] = {"lenet", "resnet18", "LeNet_5", "vgg", "nin", "n", "x", "unet", "mobilenet_v2"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        cr_expect_null(reserved_name(fine[i]), "%s is reserved", fine[i]);
    expect_error("network main { input(1, 8, 8); relu; }", "call it my_main");
}

/* What the tables promise, tried: a network full of awkward labels compiles without a warning. */
Test(names, awkward_labels_compile)
{
    static const char *const labels[] = {
        "int", "class", "exp", "expf", "linux", "EOF", "isnan", "errno", "stdin", "uint8_t", "size_t", "net", "x", "X",
        "W", "dX", "labels", "logits", "arena", "input", "loss", "sgd", "loss_forward", "at", "inside", "real",
        "real_exp", "facts", "flow", "TENSORS", "RUN", "ARENA", "SEEN", "tensors", "n", "i", "j", "mean_loss", "_x",
        "__x", "a", "a_forward", "a_grad_input", "a_weight", "d_a", "kept_a", "kept_a_mask", "a_mask", "awkward",
        "awkward_new", "cnn_lap", "trainer_create", "omp_get_max_threads", "main", "abort", "sqrtf", "INT_MAX",
    };
    char *folder = scratch_folder("names-awkward"), path[600];
    snprintf(path, sizeof path, "%s/awkward.net", folder);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs("network awkward {\n    input(4);\n", f);
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        fprintf(f, "    %s: batchnorm;\n    dropped%zu: dropout(0.1);\n", labels[i], i);
    fputs("    linear(3);\n    train { batch = 2; }\n}\n", f);
    fclose(f);
    Outcome o = run_command("%s/cnnc -O0 '%s' -o '%s/awkward.c' && for cc in clang-19 gcc; do "
                            "$cc -std=gnu11 -Wall -Wextra -Werror -Iruntime -fsyntax-only '%s/awkward.c' || exit 1; "
                            "done", BUILD, path, folder, folder);
    cr_assert_eq(o.status, 0, "%s", o.err);
    outcome_free(&o);
    free(folder);
}
