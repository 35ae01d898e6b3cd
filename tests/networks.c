/* networks.c - network texts compiled inside the test (networks.h). */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "networks.h"

Net net_with(const char *text, const Overrides *overrides)
{
    Net net = {.arena = arena_new()};
    size_t length;
    net.diag = (Diag){.out = open_memstream(&net.messages, &length), .limit = 20};
    net.source = source_from_text(net.arena, "test.net", text);
    net.diag.source = net.source;
    net.tree = parse(net.arena, &net.diag, net.source);
    if (net.tree)
        net.graph = expand(net.arena, &net.diag, net.source, net.tree, overrides);
    fclose(net.diag.out);
    return net;
}

Net net_of(const char *text)
{
    Overrides none = {0};
    return net_with(text, &none);
}

void net_free(Net *net)
{
    free(net->messages);
    arena_free(net->arena);
}

char *layers_text(const Net *net)
{
    if (!net->graph)
        return net->messages;
    char *text = "";
    for (int i = 1; i < net->graph->layers.count; i++) {
        const Layer *l = net->graph->layers.items[i];
        text = arena_printf(net->arena, "%s%s%s:%s:%s", text, i > 1 ? " " : "", l->name, l->op->keyword,
                            shape_text(net->arena, &l->output));
    }
    return text;
}

char *inputs_text(const Net *net)
{
    if (!net->graph)
        return net->messages;
    char *text = "";
    for (int i = 1; i < net->graph->layers.count; i++) {
        const Layer *l = net->graph->layers.items[i];
        text = arena_printf(net->arena, "%s%s%s<-", text, i > 1 ? " " : "", l->name);
        for (int k = 0; k < l->input_count; k++)
            text = arena_printf(net->arena, "%s%s%s", text, k ? "," : "", l->input[k]->name);
    }
    return text;
}

const Layer *layer_named(const Net *net, const char *name)
{
    cr_assert_not_null(net->graph, "%s", net->messages);
    for (int i = 0; i < net->graph->layers.count; i++)
        if (strcmp(net->graph->layers.items[i]->name, name) == 0)
            return net->graph->layers.items[i];
    cr_assert_fail("no layer is named %s", name);
    return NULL;
}

void expect_layers(const char *text, const char *layers)
{
    Net net = net_of(text);
    cr_assert_str_eq(layers_text(&net), layers, "%s\n  gives  %s\n  not    %s", text, layers_text(&net), layers);
    net_free(&net);
}

void expect_inputs(const char *text, const char *inputs)
{
    Net net = net_of(text);
    cr_assert_str_eq(inputs_text(&net), inputs, "%s\n  gives  %s\n  not    %s", text, inputs_text(&net), inputs);
    net_free(&net);
}

void expect_error(const char *text, const char *part)
{
    Net net = net_of(text);
    cr_assert_null(net.graph, "%s\n  has no error, but should say: %s", text, part);
    cr_assert(net.diag.errors > 0);
    cr_assert_not_null(strstr(net.messages, part), "%s\n  says: %s\n  not:  %s", text, net.messages, part);
    net_free(&net);
}

static char *wrapped(Arena *arena, const char *body)
{
    return arena_printf(arena, "network test { input(1, 8, 8); %s }", body);
}

void expect_body(const char *body, const char *layers)
{
    Arena *arena = arena_new();
    expect_layers(wrapped(arena, body), layers);
    arena_free(arena);
}

void expect_wires(const char *body, const char *inputs)
{
    Arena *arena = arena_new();
    expect_inputs(wrapped(arena, body), inputs);
    arena_free(arena);
}

void expect_mistake(const char *body, const char *part)
{
    Arena *arena = arena_new();
    expect_error(wrapped(arena, body), part);
    arena_free(arena);
}
