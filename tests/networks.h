/* networks.h - network texts compiled inside the test: graph and messages. */
#ifndef NETWORKS_H
#define NETWORKS_H

#include "op.h"

typedef struct {
    Arena  *arena;
    Diag    diag;
    Source *source;
    Tree   *tree;
    Graph  *graph;              /* NULL after errors                                     */
    char   *messages;           /* what was printed                                      */
} Net;

Net  net_of(const char *text);
Net  net_with(const char *text, const Overrides *);
void net_free(Net *);

/* "conv1:conv:6x28x28 1:relu:6x28x28": the layers behind the input, or the messages after errors. */
char *layers_text(const Net *);
/* "0<-input add<-0,input": who reads whom. */
char *inputs_text(const Net *);
const Layer *layer_named(const Net *, const char *name);        /* fails the test when there is none */

/* The whole text compiles to these layers; to these connections; or fails with a message that contains `part`. */
void expect_layers(const char *text, const char *layers);
void expect_inputs(const char *text, const char *inputs);
void expect_error(const char *text, const char *part);
/* The same for what stands behind "input(1, 8, 8);" in a network. */
void expect_body(const char *body, const char *layers);
void expect_wires(const char *body, const char *inputs);
void expect_mistake(const char *body, const char *part);

#endif
