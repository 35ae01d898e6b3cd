/* nearest.c - the name that was probably meant, for "did you mean" in errors.
 *
 * The distance is Damerau's with adjacent transpositions (optimal string alignment): one letter too many, missing,
 * wrong, or two neighbours swapped count 1 each. Upper and lower case are the same letter.
 */
#include "cnnc.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 64 };          /* longer names are not compared */

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int edit_distance(const char *a, int m, const char *b, int n)
{
    int rows[3][LONGEST + 1];   /* two rows above the current one, one above, and the current one */
    int *above2 = rows[0], *above = rows[1], *row = rows[2];
    for (int j = 0; j <= n; j++)
        above[j] = j;
    for (int i = 1; i <= m; i++) {
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int p = tolower((unsigned char)a[i - 1]), q = tolower((unsigned char)b[j - 1]);
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + (p != q));
            if (i > 1 && j > 1 && p == tolower((unsigned char)b[j - 2]) && q == tolower((unsigned char)a[i - 2]))
                row[j] = least(row[j], above2[j - 2] + 1);
        }
        int *oldest = above2;
        above2 = above, above = row, row = oldest;
    }
    return above[n];
}

/* One edit for each three letters, at least one, and never all of them: "a" is not taken
 * for "b", nor "add" for "lrn". */
const char *nearest_name(const char *name, const char *const *candidates, int count)
{
    size_t length = strlen(name);
    if (length == 0 || length > LONGEST)
        return NULL;
    const char *best = NULL;
    int best_distance = LONGEST;
    for (int i = 0; i < count; i++) {
        size_t other = strlen(candidates[i]);
        if (other == 0 || other > LONGEST)
            continue;
        int longer = (int)(other > length ? other : length);
        int distance = edit_distance(name, (int)length, candidates[i], (int)other);
        int allowed = longer < 6 ? 1 : longer / 3;
        if (distance <= allowed && distance < longer && distance < best_distance) {
            best = candidates[i];
            best_distance = distance;
        }
    }
    return best;
}
