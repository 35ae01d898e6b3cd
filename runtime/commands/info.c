/* info.c - `info`: what the compiler knows about the network, without creating it. */
#include "command.h"

#include <stdio.h>
#include <string.h>

/* "256x6x28x28" */
static void shape_text(char *out, size_t size, int rank, const int *shape)
{
    *out = '\0';
    for (int i = 0; i < rank; i++) {
        size_t used = strlen(out);
        snprintf(out + used, size - used, i ? "x%d" : "%d", shape[i]);
    }
}

static int widest(int width, const char *text)
{
    return (int)strlen(text) > width ? (int)strlen(text) : width;
}

static void print_layers(const cnn_session *s)
{
    const cnn_facts *f = s->facts;
    char shape[64];
    int name = 5, op = 8;
    for (int i = 0; i < f->layer_count; i++) {
        name = widest(name, f->layers[i].name);
        op = widest(op, f->layers[i].op);
    }
    size_t parameters = 0;
    double macs = 0;
    if (!s->options.json)
        printf("%-*s  %-*s  %-18s %12s %15s\n", name, "layer", op, "operator", "output", "parameters", "MFLOP forward");
    for (int i = 0; i < f->layer_count; i++) {
        const cnn_layer *layer = &f->layers[i];
        shape_text(shape, sizeof shape, layer->rank, layer->shape);
        parameters += layer->parameters;
        macs += layer->macs;
        if (s->options.json) {
            cnn_line line = cnn_line_begin(&s->options, "layer");
            cnn_line_text(&line, "name", layer->name);
            cnn_line_text(&line, "operator", layer->op);
            cnn_line_text(&line, "output", shape);
            cnn_line_integer(&line, "parameters", (long long)layer->parameters);
            cnn_line_real(&line, "mflop", 2e-6 * layer->macs, 0);
            cnn_line_end(&line);
        } else {
            printf("%-*s  %-*s  %-18s %12zu %15.3f\n", name, layer->name, op, layer->op, shape, layer->parameters,
                   2e-6 * layer->macs);
        }
    }
    if (!s->options.json)
        printf("%-*s  %-*s  %-18s %12zu %15.3f\n\n", name, "total", op, "", "", parameters, 2e-6 * macs);
}

int cnn_info(cnn_session *s)
{
    const cnn_facts *f = s->facts;
    int input[4], output[4];
    char text[64];
    s->network->shape(input, output);
    print_layers(s);

    size_t trainable = 0;
    for (int i = 0; i < s->network->tensors(); i++)
        trainable += s->network->tensor(i).trainable ? s->network->tensor(i).count : 0;
    double macs = 0;
    for (int i = 0; i < f->gradients_count; i++)
        macs += f->gradients[i].macs;

    if (s->options.json) {
        cnn_line line = cnn_line_begin(&s->options, "info");
        cnn_line_text(&line, "network", f->name);
        cnn_line_text(&line, "source", f->source);
        cnn_line_text(&line, "cnnc", f->version);
        shape_text(text, sizeof text, 4, input);
        cnn_line_text(&line, "input", text);
        cnn_line_integer(&line, "classes", (long long)output[1] * output[2] * output[3]);
        cnn_line_integer(&line, "parameters", (long long)trainable);
        cnn_line_integer(&line, "parameter_bytes", (long long)f->parameter_bytes);
        cnn_line_integer(&line, "arena_bytes", (long long)f->arena_bytes);
        cnn_line_real(&line, "step_mflop", 2e-6 * macs, 0);
        cnn_line_integer(&line, "real_bits", 8 * (long long)sizeof(cnn_real));
        cnn_line_text(&line, "target", f->target);
        cnn_line_text(&line, "flags", f->flags);
        cnn_line_text(&line, "schedule", f->schedule);
        cnn_line_end(&line);
        return CNN_OK;
    }
    shape_text(text, sizeof text, 4, input);
    printf("network     %s, from %s, by cnnc %s\n", f->name, f->source, f->version);
    printf("input       %s, %zu bits a number\n", text, 8 * sizeof(cnn_real));
    printf("classes     %d\n", output[1] * output[2] * output[3]);
    printf("parameters  %zu learnt, %.2f MiB, and as much again for gradients and for each moment\n", trainable,
           (double)f->parameter_bytes / 1048576);
    printf("arena       %.2f MiB\n", (double)f->arena_bytes / 1048576);
    printf("step        %.1f MFLOP, in %d kernels and an update\n", 2e-6 * macs, f->gradients_count);
    printf("target      %s\nflags       %s\nschedule    %s\n", f->target, f->flags, f->schedule);
    printf("training   ");
    for (const char *const *given = f->defaults; *given; given++)
        printf(" %s", *given);
    putchar('\n');
    return CNN_OK;
}
