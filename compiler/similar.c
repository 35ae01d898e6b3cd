/* similar.c - kernels that differ only in sizes: one function, with these sizes as arguments.
 *
 * Requires: texts of functions, "parameters\nbody". Establishes: the text without its sizes, by which functions are
 * compared, and the text with names in their place. What decides how code is unrolled and which registers it uses is no
 * size: pragmas and the loops below them, and the lengths of local arrays.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "similar.h"

static bool starts(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

/* Must the numbers of this line stay? `*unrolled`: the line before says how often this loop is unrolled. */
static bool is_fixed(const char *line, bool *unrolled)
{
    static const char *const words[] = {"#", "vec ", "_Alignas", "mask ", "wide ", "real ", "static "};
    line += strspn(line, " ");
    bool fixed = *unrolled;
    *unrolled = starts(line, "#pragma GCC unroll");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        fixed |= starts(line, words[i]) && !starts(line, "real (*");
    size_t length = strcspn(line, "\n");
    return fixed || memmem(line, length, "__builtin", strlen("__builtin")) != NULL;
}

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* Digits of a whole number that is no index, offset or step by 1; "16.0" is one too. 0: the word is something else. */
static size_t size_digits(const char *word, size_t length)
{
    size_t digits = 0;
    while (digits < length && isdigit((unsigned char)word[digits]))
        digits++;
    if (digits < length && (length != digits + 2 || memcmp(word + digits, ".0", 2) != 0))
        return 0;
    return digits > 1 || *word > '1' ? digits : 0;
}

/* Copies the text to `out` with what `name` gives in place of size i; NULL: with a mark. Lists the sizes. */
static void walk(FILE *out, const char *text, const char *const *name, Arena *arena, Sizes *sizes)
{
    bool parameters = true, fixed = false, unrolled = false;
    for (int i = 0; *text; ) {
        size_t length = 0;
        while (in_word(text[length]))
            length++;
        if (length == 0) {
            if (*text == '\n') {
                fixed = is_fixed(text + 1, &unrolled);
                parameters = false;
            }
            fputc(*text++, out);
            continue;
        }
        const size_t digits = parameters || !fixed ? size_digits(text, length) : 0;
        if (digits) {
            if (name && name[i])
                fputs(name[i], out);
            else if (name)
                fwrite(text, 1, length, out);
            else
                fputc('?', out);
            if (sizes) {
                const Size size = {arena_copy(arena, text, digits), text};
                APPEND(arena, sizes, size);
            }
            i++;
        } else {
            fwrite(text, 1, length, out);
        }
        text += length;
    }
}

/* What walk writes, in the arena. */
static const char *walked(Arena *arena, const char *text, const char *const *names, Sizes *sizes)
{
    char *written = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&written, &length);
    walk(out, text, names, arena, sizes);
    fclose(out);
    char *copy = arena_copy(arena, written, length);
    free(written);
    return copy;
}

const char *without_sizes(Arena *arena, const char *text, Sizes *sizes)
{
    return walked(arena, text, NULL, sizes);
}

const char *with_sizes(Arena *arena, const char *text, const char *const *names)
{
    return walked(arena, text, names, NULL);
}

/* How many brackets stand one behind the other: 5 for "[16][4][58][58][16], ...". */
static int count_brackets(const char *text)
{
    int count = 0;
    for (; *text == '['; text += strcspn(text, "]") + 1)
        count++;
    return count;
}

/* The name of the size at `place` in the parameters "const real X[16][4][58][58][16], ...": X_blocks, X_height, ... */
static const char *parameter_size(Arena *arena, const char *text, const char *place)
{
    static const char *const picture[] = {"images", "blocks", "height", "width", "lanes"};
    const char *role = place;
    int number = 0;
    while (role > text && (role[-1] != ' ' || number == 0))
        number += *--role == '[';
    const size_t length = strcspn(role, "[");
    const int count = count_brackets(role + length);
    const char *what = number == 1 ? "count" : number < count ? "blocks" : "length";
    return arena_printf(arena, "%.*s_%s", (int)length, role, count == 5 ? picture[number - 1] : what);
}

/* The name of a size: after the parameter that has it first; in the body "values" where something is divided by it. */
static const char *size_name(Arena *arena, const char *text, const char *place)
{
    if (place < strchr(text, '\n'))
        return parameter_size(arena, text, place);
    return memcmp(place - 2, "/ ", 2) == 0 || memcmp(place - 6, "splat(", 6) == 0 ? "values" : "size";
}

int name_sizes(Arena *arena, const char *text, const Sizes *members, int count, const char **names, int *position,
               int most)
{
    int found = 0;
    for (int i = 0; i < members[0].count; i++) {
        bool same = true;
        for (int m = 1; m < count; m++)
            same = same && strcmp(members[m].items[i].value, members[0].items[i].value) == 0;
        names[i] = NULL;
        if (same)
            continue;
        int c = 0;
        for (; c < found; c++) {
            int m = 0;
            while (m < count && strcmp(members[m].items[i].value, members[m].items[position[c]].value) == 0)
                m++;
            if (m == count)
                break;
        }
        if (c < found) {
            names[i] = names[position[c]];
            continue;
        }
        if (found == most)
            return -1;
        const char *base = size_name(arena, text, members[0].items[i].place), *name = base;
        for (int k = 0, ordinal = 2; k < found; k++)
            if (strcmp(names[position[k]], name) == 0)
                name = arena_printf(arena, "%s_%d", base, ordinal++), k = -1;
        names[i] = name;
        position[found++] = i;
    }
    return found;
}
