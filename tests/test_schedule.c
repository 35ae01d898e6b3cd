/* test_schedule.c - what -fno-winograd, -fno-fuse and --schedule change, as --dump=schedule and --dump=fuse show it,
 * and what a rule that speaks of nothing is told. That each choice computes the same, test_fast.c checks.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

static const char text[] =
    "network fast {\n"
    "    input(3, 24, 24);\n"
    "    stem: conv(32, 3, pad = 1); relu;\n"
    "    residual { c1: conv(32, 3, pad = 1, bias = no); n1: batchnorm; relu; c2: conv(32, 3, pad = 1); } relu;\n"
    "    concat { { b1: conv(16, 1); relu; } { b2: conv(64, 7, pad = 3); n2: batchnorm; relu; } }\n"
    "    n3: batchnorm; tanh; maxpool(2); flatten; fc: linear(10);\n"
    "    train { batch = 16; }\n"
    "}\n";

/* What `cnnc FLAGS fast.net` prints and says; the output must succeed or fail as `status` says. */
static Outcome run_flags(const char *flags, int status)
{
    char name[40], path[700];
    snprintf(name, sizeof name, "schedule_%d", (int)getpid());          /* tests run beside each other */
    char *folder = scratch_folder(name);
    snprintf(path, sizeof path, "%s/fast.net", folder);
    write_whole(path, text, sizeof text - 1);
    Outcome o = run_command("%s/cnnc --target x86-64-v4 %s %s -o -", BUILD, flags, path);
    cr_expect(o.status == status && (status == 0 ? *o.err == 0 : *o.out == 0), "%s: status %d\n%s", flags, o.status,
              o.err);
    Outcome gone = run_command("rm -r %s", folder);
    outcome_free(&gone);
    free(folder);
    return o;
}

/* The line of a dump that has both words, up to its end; NULL: none. Owned by the caller. */
static char *line_with(const char *dump, const char *first, const char *second)
{
    for (const char *at = dump; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        char *line = strndup(at, strcspn(at, "\n"));
        if (strstr(line, first) && strstr(line, second))
            return line;
        free(line);
    }
    return NULL;
}

/* In the dump of `flags`, layer's pass is computed by `algorithm`. */
static void expect_algorithm(const char *flags, const char *layer, const char *pass, const char *algorithm)
{
    char all[300], word[60];
    snprintf(all, sizeof all, "--dump=schedule %s", flags);
    snprintf(word, sizeof word, " %s", pass);
    Outcome o = run_flags(all, 0);
    char *line = line_with(o.out, layer, word);
    const char *at = line ? strstr(line, word) + strlen(word) : "";
    at += strspn(at, " ");
    bool same = strcspn(at, ":") == strlen(algorithm) && strncmp(at, algorithm, strlen(algorithm)) == 0;
    cr_expect(same, "%s: %s.%s is computed by '%s', not by %s", flags, layer, pass, at, algorithm);
    free(line);
    outcome_free(&o);
}

/* ---- algorithms -------------------------------------------------------------------------------------------------- */

Test(schedule, best_first)
{
    expect_algorithm("", "stem", "forward", "first");
    expect_algorithm("", "b2", "forward", "direct");
    expect_algorithm("", "fc", "forward", "lanes");
}

Test(schedule, no_winograd)
{
    Outcome with = run_flags("--dump=schedule --schedule=c1.forward=winograd", 0);
    Outcome without = run_flags("--dump=schedule -fno-winograd", 0);
    cr_expect(strstr(with.out, " winograd") && !strstr(without.out, " winograd"), "%s", without.out);
    expect_algorithm("-fno-winograd", "c1", "forward", "direct");
    expect_algorithm("-fno-winograd --schedule=c1.forward=winograd", "c1", "forward", "winograd");
    expect_algorithm("-fno-winograd --schedule=c1.forward=winograd", "c2", "forward", "direct");
    outcome_free(&with);
    outcome_free(&without);
}

Test(schedule, rules_are_kept)
{
    expect_algorithm("--schedule=c1.forward=winograd", "c1", "forward", "winograd");
    expect_algorithm("--schedule=c1.forward=direct", "c1", "forward", "direct");
    expect_algorithm("--schedule=c1.grad_weight=direct", "c1", "grad_weight", "direct");
    expect_algorithm("--schedule=c1.forward=textbook", "c1", "forward", "textbook");
    expect_algorithm("--schedule=fc.forward=dot", "fc", "forward", "dot");
    /* The last one wins. */
    expect_algorithm("--schedule=c1.forward=direct --schedule=c1.forward=textbook", "c1", "forward", "textbook");
    expect_algorithm("--schedule='*.forward=textbook' --schedule=c1.forward=direct", "c1", "forward", "direct");
    expect_algorithm("--schedule='*.forward=textbook' --schedule=c1.forward=direct", "c2", "forward", "textbook");
}

/* A rule for every layer holds where the algorithm can compute it; the others are computed as ever. */
Test(schedule, a_rule_for_every_layer_leaves_out_what_cannot)
{
    expect_algorithm("--schedule='*.forward=direct'", "c1", "forward", "direct");
    expect_algorithm("--schedule='*.forward=direct'", "fc", "forward", "lanes");
    expect_algorithm("--schedule='*.grad_input=direct'", "c1", "grad_input", "direct");
}

Test(schedule, a_rule_that_speaks_of_nothing_is_an_error)
{
    static const char *const cases[][2] = {
        {"c1.forward=direkt", "no algorithm 'direkt' for it\n  = help: there are "},
        {"c1.forward=first", "'first' does not fit these sizes\n  = help: these do: "},
        {"c1.forward=lanes", "no algorithm 'lanes' for it"},
        {"fc.forward=winograd", "no algorithm 'winograd' for it\n  = help: there are lanes, dot and textbook"},
        {"'*.forward=depthwise'", "'depthwise' fits the sizes of no layer"},
        {"c1.forwards=direct",
         "'forwards' is no pass of c1\n  = help: there are forward, grad_weight, grad_input, sgd_update, "},
        {"'*.folding=direct'", "'folding' is no pass of any layer"},
        {"c11.forward=direct", "no layer 'c11' that computes\n  = help: did you mean 'c1'?"},
        {"nothing.like.it=direct", "no layer 'nothing.like' that computes\n  = help: --dump=schedule lists"},
        {"direct", "is not LAYER.PASS=ALGORITHM"}, {"c1=direct", "is not LAYER.PASS=ALGORITHM"},
        {"c1.forward", "is not LAYER.PASS=ALGORITHM"}, {"c1.forward=", "is not LAYER.PASS=ALGORITHM"},
        {"c1.=direct", "is not LAYER.PASS=ALGORITHM"}, {".forward=direct", "is not LAYER.PASS=ALGORITHM"},
        {"''", "is not LAYER.PASS=ALGORITHM"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char flags[100];
        snprintf(flags, sizeof flags, "--schedule=%s", cases[i][0]);
        Outcome o = run_flags(flags, 1);
        cr_expect(strstr(o.err, cases[i][1]), "%s: '%s' is missing in\n%s", flags, cases[i][1], o.err);
        char *second = line_with(o.err, "  = help: ", "");
        cr_expect(strncmp(o.err, "cnnc: error: --schedule=", 24) == 0 && second, "%s:\n%s", flags, o.err);
        free(second);
        outcome_free(&o);
    }
    Outcome o = run_flags("-O0 --schedule=c1.forward=direct", 1);
    cr_expect(strstr(o.err, "-O0 computes as the textbook does: it has no --schedule\n"), "%s", o.err);
    outcome_free(&o);
}

/* ---- fusions ----------------------------------------------------------------------------------------------------- */

static const char *const fusions[] = {"fold", "add", "relu", "gate", "relu-gradient", "statistics", "concat", "copy",
                                      "in-place", "sgd"};
enum { FUSIONS = sizeof fusions / sizeof *fusions };

/* Lines of --dump=fuse that begin with this fusion. */
static int lines_of(const char *dump, const char *fusion)
{
    char line[40];
    int count = 0;
    snprintf(line, sizeof line, "\n  %s ", fusion);
    for (const char *at = dump; (at = strstr(at, line)); at++)
        count++;
    return count;
}

/* Each is found in the network, and -fno-fuse=NAME takes out all of it. */
Test(schedule, each_fusion_has_its_name)
{
    Outcome all = run_flags("--dump=fuse", 0), none = run_flags("--dump=fuse -fno-fuse", 0);
    cr_expect_str_eq(none.out, "predict\ngradients\nupdate\n");
    for (int i = 0; i < FUSIONS; i++) {
        char flags[100];
        snprintf(flags, sizeof flags, "--dump=fuse -fno-fuse=%s", fusions[i]);
        Outcome o = run_flags(flags, 0);
        cr_expect(lines_of(all.out, fusions[i]) > 0, "this network has no fusion '%s':\n%s", fusions[i], all.out);
        cr_expect(lines_of(o.out, fusions[i]) == 0, "-fno-fuse=%s leaves\n%s", fusions[i], o.out);
        cr_expect(lines_of(o.out, fusions[(i + 1) % FUSIONS]) > 0 || lines_of(o.out, fusions[(i + 2) % FUSIONS]) > 0,
                  "-fno-fuse=%s takes out others:\n%s", fusions[i], o.out);
        outcome_free(&o);
    }
    outcome_free(&all);
    outcome_free(&none);
}

/* Where a channel's values stay in the cache, reading them twice costs no more than what Winograd would spend. */
Test(schedule, a_fusion_can_be_asked_for)
{
    static const char joined[] = "statistics     n1.forward_train into c1.forward\n";
    Outcome small = run_flags("--dump=fuse", 0), asked = run_flags("--dump=fuse -ffuse=statistics", 0);
    Outcome sums = run_flags("--dump=fuse -ffuse=bn-sums", 0), huge = run_flags("--dump=fuse --batch 600", 0);
    cr_expect(strstr(sums.out, "bn-sums        n1.grad into c2.grad_input\n") && !strstr(small.out, "bn-sums"), "%s",
              sums.out);
    cr_expect(lines_of(sums.out, "bn-sums") == 2 && lines_of(huge.out, "bn-sums") == 1 &&
                  !strstr(huge.out, "n1.grad into"),
              "%s\n%s", sums.out, huge.out);
    outcome_free(&sums);
    outcome_free(&huge);
    Outcome large = run_flags("--dump=fuse --batch 400", 0),
            off = run_flags("--dump=fuse --batch 400 -fno-fuse=statistics", 0);
    cr_expect(!strstr(small.out, joined) && strstr(asked.out, joined) && strstr(large.out, joined), "%s", large.out);
    cr_expect(!strstr(off.out, joined), "%s", off.out);
    outcome_free(&small);
    outcome_free(&asked);
    outcome_free(&large);
    outcome_free(&off);
}

Test(schedule, an_unknown_fusion_is_an_error)
{
    Outcome wish = run_flags("-ffuse=nothing", 1);
    cr_expect(strstr(wish.err, "-ffuse=nothing: there is no fusion 'nothing'; there are fold, "), "%s", wish.err);
    outcome_free(&wish);
    Outcome o = run_flags("-fno-fuse=relus", 1);
    cr_expect(strstr(o.err, "there is no fusion 'relus'; there are "), "%s", o.err);
    for (int i = 0; i < FUSIONS; i++)
        cr_expect(strstr(o.err, fusions[i]), "%s is missing in\n%s", fusions[i], o.err);
    outcome_free(&o);
}
