/* fuzz_net.c - libFuzzer target: any bytes as a network file, parsed and expanded as `cnnc -fsyntax-only` does.
 *
 * Must hold for every input: no signal, no sanitizer report, a graph exactly when no error was counted, every message
 * printable. Run as: fuzz_net -max_len=4096 -timeout=5 <new inputs> tests/fuzz/corpus/net
 */
#include <stdlib.h>
#include <string.h>

#include "cnnc.h"

/* Messages hold text and line ends, no control character of the input. */
static void check_messages(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\n') || text[i] == 0x7f)
            abort();
}

static void compile(Arena *arena, Diag *diag, const Source *source)
{
    Tree *tree = parse(arena, diag, source);
    if ((tree != NULL) != (diag->errors == 0))
        abort();
    if (!tree)
        return;
    dump_tree(diag->out, tree);
    Overrides overrides = {0};
    Graph *graph = expand(arena, diag, source, tree, &overrides);
    if ((graph != NULL) != (diag->errors == 0))
        abort();
    if (graph)
        dump_graph(diag->out, graph);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new();
    char *messages = NULL;
    size_t length = 0;
    Diag diag = {.out = open_memstream(&messages, &length)};
    Source *source = source_from_bytes(arena, &diag, "fuzz.net", (const char *)data, size);
    if (source)
        compile(arena, &diag, source);
    else if (diag.errors != 1)
        abort();
    fclose(diag.out);
    check_messages(messages, length);
    free(messages);
    arena_free(arena);
    return 0;
}
