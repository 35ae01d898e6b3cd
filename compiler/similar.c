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

/* A whole number that is no index, offset or step by 1. */
static bool is_size(const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isdigit((unsigned char)word[i]))
            return false;
    return length > 1 || *word > '1';
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
        if ((parameters || !fixed) && is_size(text, length)) {
            if (name && name[i])
                fputs(name[i], out);
            else if (name)
                fwrite(text, 1, length, out);
            else
                fputc('?', out);
            if (sizes) {
                const char *copy = arena_copy(arena, text, length);
                APPEND(arena, sizes, copy);
            }
            i++;
        } else {
            fwrite(text, 1, length, out);
        }
        text += length;
    }
}

const char *without_sizes(Arena *arena, const char *text, Sizes *sizes)
{
    char *skeleton = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&skeleton, &length);
    walk(out, text, NULL, arena, sizes);
    fclose(out);
    char *copy = arena_copy(arena, skeleton, length);
    free(skeleton);
    return copy;
}

const char *with_sizes(Arena *arena, const char *text, const char *const *names)
{
    char *named = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&named, &length);
    walk(out, text, names, arena, NULL);
    fclose(out);
    char *copy = arena_copy(arena, named, length);
    free(named);
    return copy;
}

/* The name of the i-th size of the text: "X_blocks" after the parameter that has it first, or "size". */
static const char *size_name(Arena *arena, const char *text, int i)
{
    const char *role = text;
    for (int count = 0, bracket = 0; *text && *text != '\n'; ) {
        size_t length = 0;
        while (in_word(text[length]))
            length++;
        if (length > 0 && is_size(text, length)) {
            if (count++ == i)
                return arena_printf(arena, "%.*s_%s", (int)strcspn(role, "["), role,
                                    starts(text + length, "][") && bracket > 1 ? "blocks" : bracket > 1 ? "length" : "count");
        } else if (isalpha((unsigned char)*text)) {
            role = text;
            bracket = 0;
        }
        text += length;
        if (length == 0)
            bracket += *text++ == '[';
    }
    return "size";
}

int name_sizes(Arena *arena, const char *text, const Sizes *members, int count, const char **names, int *position, int most)
{
    int found = 0;
    for (int i = 0; i < members[0].count; i++) {
        bool same = true;
        for (int m = 1; m < count; m++)
            same = same && strcmp(members[m].items[i], members[0].items[i]) == 0;
        names[i] = NULL;
        if (same)
            continue;
        int c = 0;
        for (; c < found; c++) {
            int m = 0;
            while (m < count && strcmp(members[m].items[i], members[m].items[position[c]]) == 0)
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
        const char *base = size_name(arena, text, i), *name = base;
        for (int k = 0, ordinal = 2; k < found; k++)
            if (strcmp(names[position[k]], name) == 0)
                name = arena_printf(arena, "%s_%d", base, ordinal++), k = -1;
        names[i] = name;
        position[found++] = i;
    }
    return found;
}
