/* test_zoo.c - every network below dsl-examples: the compiler takes it without a word, its head comment tells the truth
 * about shapes and parameters, and the networks of torchvision/ have exactly the tensors of torchvision's state_dict
 * (tests/zoo/NAME.names, made by make_names.py there), in its order.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "programs.h"
#include "support.h"

/* ---- the files --------------------------------------------------------------------------------------------------- */

typedef void Check(Arena *, const char *path);

/* Calls `check` for each file of the pattern; there are at least `least`. */
static void for_each(const char *pattern, size_t least, Check *check)
{
    glob_t found;
    cr_assert(glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc >= least, "%zu or more files are to be %s", least,
              pattern);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        Arena *arena = arena_new();
        check(arena, found.gl_pathv[i]);
        arena_free(arena);
    }
    globfree(&found);
}

static void for_each_network(Check *check)
{
    for_each("dsl-examples/*.net", 1, check);
    for_each("dsl-examples/d2l/*.net", 16, check);
    for_each("dsl-examples/torchvision/*.net", 11, check);
}

static void is_accepted(Arena *arena, const char *path)
{
    (void)arena;
    Outcome o = run_command(BUILD "/cnnc -fsyntax-only %s", path);
    cr_expect(o.status == 0 && *o.err == 0 && *o.out == 0, "%s: status %d\n%s%s", path, o.status, o.err, o.out);
    outcome_free(&o);
}

static void is_short(Arena *arena, const char *path)
{
    (void)arena;
    int lines = 0;
    char *text = read_whole(path, NULL);
    cr_assert(text, "%s cannot be read", path);
    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    cr_expect(lines < 60, "%s has %d lines; an example has fewer than 60", path, lines);
    free(text);
}

Test(zoo, accepted_without_a_word, .timeout = 300)
{
    for_each_network(is_accepted);
}

Test(zoo, short)
{
    for_each_network(is_short);
}

/* ---- the head comment -------------------------------------------------------------------------------------------- */

/* The comment lines at the top of the file, without their slashes and line ends. */
static char *head_comment(Arena *arena, const char *path)
{
    char *text = read_whole(path, NULL), *head = arena_printf(arena, "%s", "");
    cr_assert(text, "%s cannot be read", path);
    for (const char *at = text; strncmp(at, "//", 2) == 0;) {
        const char *stop = strchr(at, '\n');
        cr_assert(stop, "%s is a comment only", path);
        head = arena_printf(arena, "%s%.*s ", head, (int)(stop - at - 2), at + 2);
        at = stop + 1;
    }
    free(text);
    return head;
}

/* The number, commas left out, that ends where `stop` points; -1: there is none. */
static int64_t number_before(const char *head, const char *stop)
{
    int64_t number = 0, unit = 1;
    const char *at = stop;
    for (; at > head && (isdigit((unsigned char)at[-1]) || at[-1] == ','); at--)
        if (at[-1] != ',') {
            number += unit * (at[-1] - '0');
            unit *= 10;
        }
    return at == stop ? -1 : number;
}

static void counts_as_its_head_says(Arena *arena, const char *path)
{
    const Graph *graph = graph_from_file(arena, path);
    const char *head = head_comment(arena, path), *word = strstr(head, " parameters");
    int64_t sum = 0;
    for (int i = 0; i < graph->layers.count; i++)
        for (int p = 0; p < graph->layers.items[i]->param_count; p++)
            if (graph->layers.items[i]->param[p].trainable)
                sum += graph->layers.items[i]->param[p].count;
    cr_assert(word && number_before(head, word) >= 0, "%s: the head comment says no number of parameters", path);
    cr_expect(number_before(head, word) == sum, "%s: the head comment says %" PRId64 " parameters, but it has %" PRId64,
              path, number_before(head, word), sum);
    cr_expect(graph->diag->warnings == 0, "%s: %d warnings", path, graph->diag->warnings);
}

/* "1x28x28 -> 784 -> 10" in a head comment names outputs of layers, in their order, from the input's to the last. */
static void shapes_are_as_its_head_says(Arena *arena, const char *path)
{
    const Graph *graph = graph_from_file(arena, path);
    const char *head = head_comment(arena, path), *at = strstr(head, " -> ");
    cr_assert(at, "%s: the head comment shows no shapes", path);
    while (at > head && at[-1] != ' ')
        at--;
    int layer = 0;
    for (bool last = false; !last;) {
        int length = (int)strspn(at, "0123456789x");
        const char *shape = arena_copy(arena, at, (size_t)length);
        if (layer == 0)
            cr_expect_str_eq(shape, shape_text(arena, &graph->input->output), "%s: %s is not the input", path, shape);
        int count = graph->layers.count;
        while (layer < count && strcmp(shape_text(arena, &graph->layers.items[layer]->output), shape) != 0)
            layer++;
        cr_assert(layer < count, "%s: no layer has the output %s there", path, shape);
        layer++;
        at += length + strspn(at + length, " ");
        last = strncmp(at, "->", 2) != 0;
        at += last ? 0 : 2 + strspn(at + 2, " ");
        if (last)
            cr_expect_str_eq(shape, shape_text(arena, &graph->output->output), "%s: %s is not the output", path, shape);
    }
}

Test(zoo, parameters_of_the_head_comment)
{
    for_each_network(counts_as_its_head_says);
}

Test(zoo, shapes_of_the_head_comment)
{
    for_each_network(shapes_are_as_its_head_says);
}

/* ---- the C ------------------------------------------------------------------------------------------------------- */

enum { MOST_SECONDS = 20, MOST_MEGABYTES = 4 };

/* cnnc -O2 twice gives the same bytes, without a word, in time (a tenth of a second, but machines are busy), and no
 * more of them than a C compiler can take: layers of one shape share their functions. */
static void is_written_the_same_twice(Arena *arena, const char *path)
{
    char *text[2];
    for (int i = 0; i < 2; i++) {
        Outcome o = run_command("timeout %d " BUILD "/cnnc --target x86-64-v4 %s -o -", MOST_SECONDS, path);
        cr_assert(o.status == 0 && *o.err == 0, "%s: status %d\n%s", path, o.status, o.err);
        text[i] = arena_copy(arena, o.out, strlen(o.out));
        outcome_free(&o);
    }
    cr_expect(strcmp(text[0], text[1]) == 0, "%s: the C is not the same twice", path);
    cr_expect(strlen(text[0]) < (size_t)MOST_MEGABYTES << 20, "%s: %zu bytes of C", path, strlen(text[0]));
}

Test(zoo, written_the_same_twice, .timeout = 300)
{
    for_each_network(is_written_the_same_twice);
}

static int functions_of(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, "\nstatic void ")); at++) {
        const char *stop = strchr(at + 1, '(');
        char *name = strndup(at + 1, (size_t)(stop - at - 1));
        count += strstr(name, word) != NULL;
        free(name);
    }
    return count;
}

/* Ten blocks of one shape have the functions of two: the first reads another layout, the others share theirs. */
Test(zoo, equal_shapes_share_one_function)
{
    char *folder = scratch_folder("zoo_shared"), path[700];
    int weights[2], all[2];
    for (int i = 0; i < 2; i++) {
        char text[300];
        snprintf(path, sizeof path, "%s/net%d.net", folder, i);
        int length = snprintf(text, sizeof text,
                              "network same { input(3, 8, 8); conv(16, 3, pad = 1); relu; repeat %d {"
                              " conv(16, 3, pad = 1); batchnorm; relu; } flatten; linear(10); }", i ? 10 : 2);
        write_whole(path, text, (size_t)length);
        Outcome o = run_command(BUILD "/cnnc --target x86-64-v4 %s -o -", path);
        weights[i] = functions_of(o.out, "grad_weight");
        all[i] = functions_of(o.out, "");
        outcome_free(&o);
    }
    cr_expect(weights[0] > 0 && weights[0] == weights[1], "%d and %d functions of weight gradients", weights[0],
              weights[1]);
    cr_expect(all[0] > 10 && all[1] <= all[0] + 2, "%d functions of 2 blocks, %d of 10", all[0], all[1]);
    free(folder);
}

/* ---- torchvision's names ----------------------------------------------------------------------------------------- */

/* One line a tensor, as make_names.py writes it. */
static char *names_of(Arena *arena, const Graph *graph)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    for (int i = 0; i < graph->layers.count; i++) {
        const Layer *l = graph->layers.items[i];
        for (int p = 0; p < l->param_count; p++) {
            const Parameter *param = &l->param[p];
            fprintf(out, "%s.%s %s", l->name, param->name, param->rank ? "" : "scalar");
            for (int d = 0; d < param->rank; d++)
                fprintf(out, "%s%" PRId64, d ? "x" : "", param->dim[d]);
            fputc('\n', out);
        }
    }
    fclose(out);
    char *copy = arena_copy(arena, text, length);
    free(text);
    return copy;
}

/* The line at which two texts differ first, for a message. */
static int first_difference(const char *a, const char *b, const char **line_a, const char **line_b)
{
    int line = 1;
    *line_a = a, *line_b = b;
    for (; *a && *a == *b; a++, b++)
        if (*a == '\n')
            *line_a = a + 1, *line_b = b + 1, line++;
    return line;
}

static void has_the_names_listed(Arena *arena, const char *list)
{
    const char *slash = strrchr(list, '/') + 1;
    int length = (int)strcspn(slash, ".");
    const char *path = arena_printf(arena, "dsl-examples/torchvision/%.*s.net", length, slash);
    const Graph *graph = graph_from_file(arena, path);
    char *expected = read_whole(list, NULL), *actual = names_of(arena, graph);
    const char *here, *there;
    int line = first_difference(actual, expected, &here, &there);
    cr_expect(strcmp(actual, expected) == 0, "%s:%d: torchvision has '%.*s', the network '%.*s'", list, line,
              (int)strcspn(there, "\n"), there, (int)strcspn(here, "\n"), here);
    free(expected);
}

static void has_a_list(Arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/') + 1;
    char *list = arena_printf(arena, "tests/zoo/%.*s.names", (int)strcspn(slash, "."), slash);
    char *text = read_whole(list, NULL);
    cr_expect(text, "%s is missing: run tests/zoo/make_names.py", list);
    free(text);
}

Test(zoo, names_of_torchvision)
{
    for_each("dsl-examples/torchvision/*.net", 11, has_a_list);
    for_each("tests/zoo/*.names", 11, has_the_names_listed);
}
