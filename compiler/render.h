/* render.h - statements of generated C, before they have indentation and braces. */
#ifndef RENDER_H
#define RENDER_H

#include "cnnc.h"

typedef enum {
    NODE_LINE, NODE_PRAGMA, NODE_COMMENT, NODE_RAW, NODE_LOOP, NODE_IF, NODE_ELSE, NODE_FUNCTION, NODE_BLOCK,
    NODE_END
} NodeKind;

typedef struct { NodeKind kind; const char *text; } Node;

/* Their text in one style; aborts where one is not ended. */
char *render_nodes(Arena *, const Node *, int count);

/* The text of a file, whose lines all end in '\n', with statements broken where lines would be too long. */
char *break_lines(Arena *, const char *text);

#endif
