/* test_diagnostics.c - what the compiler says to each mistake, word for word.
 *
 * tests/diagnostics/NAME.net holds one mistake, NAME.expected what stderr must be, NAME.flags (optional) what stands on
 * the command line. A name that begins with "warning" compiles all the same. UPDATE_GOLDENS=1 rewrites them.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { MOST = 1000 };
typedef struct { char name[80]; } Mistake;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const Mistake *)a)->name, ((const Mistake *)b)->name);
}

static int list_mistakes(Mistake *list)
{
    int count = 0;
    DIR *folder = opendir("tests/diagnostics");
    struct dirent *entry;
    while (folder && (entry = readdir(folder)) && count < MOST) {
        size_t length = strlen(entry->d_name);
        if (length < 5 || length >= sizeof list->name || strcmp(entry->d_name + length - 4, ".net") != 0)
            continue;
        memcpy(list[count].name, entry->d_name, length - 4);
        list[count++].name[length - 4] = '\0';
    }
    if (folder)
        closedir(folder);
    qsort(list, (size_t)count, sizeof *list, by_name);
    return count;
}

ParameterizedTestParameters(diagnostics, golden)
{
    static Mistake list[MOST];
    return cr_make_param_array(Mistake, list, (size_t)list_mistakes(list));
}

ParameterizedTest(Mistake *m, diagnostics, golden)
{
    char path[200];
    snprintf(path, sizeof path, "tests/diagnostics/%s.flags", m->name);
    char *flags = read_whole(path, NULL);
    if (flags)
        flags[strcspn(flags, "\n")] = '\0';
    Outcome o = run_command("NO_COLOR=1 %s/cnnc -fsyntax-only %s%s%s 'tests/diagnostics/%s.net'", BUILD,
                            flags ? "'" : "", flags ? flags : "", flags ? "'" : "", m->name);
    cr_assert_eq(o.status, strncmp(m->name, "warning", 7) != 0, "%s: exit status %d\n%s", m->name, o.status, o.err);
    cr_assert_str_eq(o.out, "", "%s: prints %s", m->name, o.out);
    cr_assert_null(strchr(o.err, '\33'), "%s: colour without a terminal", m->name);
    snprintf(path, sizeof path, "tests/diagnostics/%s.expected", m->name);
    expect_golden(path, o.err);
    outcome_free(&o);
    free(flags);
}

Test(diagnostics, there_are_at_least_sixty)
{
    static Mistake list[MOST];
    cr_assert(list_mistakes(list) >= 60);
}
