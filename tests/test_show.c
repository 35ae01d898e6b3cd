/* test_show.c - the tables for people: cnnc show, cnnc explain, --dump=graph. */
#include <criterion/criterion.h>
#include <string.h>

#include "op.h"
#include "support.h"

static void expect_output(const char *arguments, const char *golden)
{
    Outcome o = run_command("%s/cnnc %s", BUILD, arguments);
    cr_assert_eq(o.status, 0, "cnnc %s: %s", arguments, o.err);
    cr_assert_str_eq(o.err, "");
    expect_golden(golden, o.out);
    outcome_free(&o);
}

Test(show, lenet) { expect_output("show dsl-examples/lenet.net", "tests/golden/show-lenet.txt"); }
Test(show, scopes) { expect_output("show tests/golden/scopes.net", "tests/golden/show-scopes.txt"); }
Test(show, graph) { expect_output("--dump=graph tests/golden/scopes.net", "tests/golden/graph-scopes.txt"); }
Test(show, explain) { expect_output("explain conv", "tests/golden/explain-conv.txt"); }

/* Figures that others have published, whatever the table looks like. */
Test(show, lenet_has_the_known_sizes)
{
    static const char *const parts[] = {"61,706", "256x6x28x28", "256x6x14x14", "256x16x10x10", "256x16x5x5",
                                        "256x400 ", "256x120 ", "256x84 ", "256x10 ", "416.5 K a picture"};
    Outcome o = run_command("%s/cnnc show dsl-examples/lenet.net", BUILD);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cr_expect_not_null(strstr(o.out, parts[i]), "%s is missing in\n%s", parts[i], o.out);
    outcome_free(&o);
}

/* The memory plan as a chart: each row as wide as the step, the arena full at its fullest moment. */
Test(show, memory)
{
    for (int level = 0; level <= 2; level += 2) {
        Outcome o = run_command("%s/cnnc show --memory -O%d --target x86-64-v4 dsl-examples/lenet.net", BUILD, level);
        cr_assert(o.status == 0 && *o.err == 0, "%s", o.err);
        int rows = 0, charts = 0;
        for (char *rest = NULL, *at = strtok_r(o.out, "\n", &rest); at; at = strtok_r(NULL, "\n", &rest)) {
            const char *bar = strchr(at, '|');
            charts += strncmp(at, "predict: ", 9) == 0 || strncmp(at, "gradients: ", 11) == 0;
            cr_expect(!bar || (strlen(bar) == 74 && bar[73] == '|'), "%s", at);
            cr_expect(!bar || strchr(bar, '=') || strchr(bar, '9') || strchr(bar, '#'), "nothing lives in %s", at);
            rows += bar != NULL;
        }
        cr_expect(charts == 2 && rows > 20, "%d charts, %d rows", charts, rows);
        outcome_free(&o);
    }
}

/* Every operator explains itself: all texts are there, and no template variable is left. */
Test(show, every_operator_is_explained)
{
    for (int i = 0; op_at(i); i++) {
        Outcome o = run_command("%s/cnnc explain %s", BUILD, op_at(i)->keyword);
        cr_assert_eq(o.status, 0, "%s", o.err);
        cr_assert(strstr(o.out, op_at(i)->summary) && strstr(o.out, op_at(i)->reference));
        cr_assert_null(strchr(o.out, '$'), "%s", o.out);
        cr_assert_null(strstr(o.out, "(null)"), "%s", o.out);
        for (int a = 0; op_at(i)->attrs[a].name; a++)
            cr_assert(strstr(o.out, op_at(i)->attrs[a].doc), "%s", o.out);
        outcome_free(&o);
    }
}
