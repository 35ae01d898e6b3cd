/* test_runs.c - what a run leaves in its folder: config, best and numbered checkpoints, curves, the report; checkpoints
 * of others and damaged ones; losses that are no number; signals at any moment. */
#include "capture.h"
#include "commands/command.h"
#include "fake_network.h"
#include "fake_program.h"

#include <jansson.h>
#include <math.h>
#include <png.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

TestSuite(runs, .init = build_fake);

#define RUN(o, expected, ...)                                                                                          \
    Outcome o = run_command(__VA_ARGS__);                                                                              \
    cr_assert(o.status == (expected), "status %d, not %d\n%s%s", o.status, (expected), o.out, o.err)

static void expect_contains(const char *text, const char *piece)
{
    cr_expect(strstr(text, piece) != NULL, "'%s' is missing in:\n%.2000s", piece, text);
}

static int count(const char *text, const char *piece)
{
    int n = 0;
    for (const char *at = strstr(text, piece); at; at = strstr(at + 1, piece))
        n++;
    return n;
}

static char *read_of(const char *folder, const char *name, size_t *length)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *text = read_whole(path, length);
    cr_assert(text != NULL, "%s is missing", path);
    return text;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

Test(runs, config_tells_every_option_in_force)
{
    char *folder = scratch_folder("runs_config");
    RUN(o, 0, FAKE " train --epochs 2 --lr 0.03 --nesterov --freeze '0.*' --limit-batches 9 --out %s", folder);
    outcome_free(&o);
    char *text = read_of(folder, "config.json", NULL);
    json_t *config = json_loads(text, JSON_REJECT_DUPLICATES, NULL), *options = json_object_get(config, "options");
    cr_assert(options != NULL, "%s", text);
    cr_expect_str_eq(json_string_value(json_object_get(config, "network")), "fake");
    cr_expect_eq(json_integer_value(json_object_get(config, "batch")), 8);
    cr_expect_eq(json_integer_value(json_object_get(config, "parameters")), 12 * 36 + 12 + 10 * 12 + 10);
    json_t *train = json_object_get(json_object_get(config, "data"), "train");
    cr_expect_eq(json_integer_value(json_object_get(train, "pictures")), 2048);
    cr_expect_str_eq(json_string_value(json_object_get(json_object_get(config, "compiler"), "cnnc")), "0.1");
    cr_expect_eq(json_real_value(json_object_get(options, "lr")), 0.03);
    cr_expect_eq(json_real_value(json_object_get(options, "momentum")), 0.9);           /* of train { } */
    cr_expect(json_is_true(json_object_get(options, "nesterov")));
    cr_expect_str_eq(json_string_value(json_array_get(json_object_get(options, "freeze"), 0)), "0.*");
    cr_expect(json_is_null(json_object_get(options, "init")));
    json_decref(config);
    free(text);

    RUN(go, 0, FAKE " train --resume --epochs 3 --out %s", folder);
    outcome_free(&go);
    text = read_of(folder, "config.json", NULL);
    expect_contains(text, "\"epochs\": 3");
    expect_contains(text, "\"lr\": 0.03");
    free(text);
    free(folder);
}

Test(runs, best_is_the_first_of_the_highest_accuracy)
{
    char *folder = scratch_folder("runs_best");
    RUN(o, 0, FAKE " train --limit-batches 20 --epochs 12 --lr 0.05 --keep 20 --out %s", folder);
    outcome_free(&o);
    char *csv = read_of(folder, "metrics.csv", NULL), name[64];
    double highest = -1, accuracy;
    long epoch, best = 0;
    for (const char *row = strchr(csv, '\n');
         row && sscanf(row, "%ld,%*[^,],%*[^,],%*[^,],%*[^,],%lf", &epoch, &accuracy) == 2; row = strchr(row + 1, '\n'))
        if (accuracy > highest)
            highest = accuracy, best = epoch;
    cr_assert(best > 1 && best < 12, "the highest accuracy should come in between, not in epoch %ld:\n%s", best, csv);
    snprintf(name, sizeof name, "step-%08ld.safetensors", best * 20);
    RUN(same, 0, "cd %s && cmp %s best.safetensors && ! cmp -s best.safetensors last.safetensors", folder, name);
    outcome_free(&same);
    RUN(go, 0, FAKE " train --resume --epochs 13 --lr 1e-6 --out %1$s && cmp %1$s/%2$s %1$s/best.safetensors", folder,
        name);
    outcome_free(&go);
    RUN(damage, 0, "echo >> %s/best.safetensors", folder);
    outcome_free(&damage);
    RUN(bad, 1, FAKE " train --resume --epochs 14 --out %s", folder);
    expect_contains(bad.err, "best.safetensors");
    expect_contains(bad.err, "remove it to go on");
    outcome_free(&bad);
    free(csv);
    free(folder);
}

Test(runs, keeps_numbered_checkpoints_and_saves_within_an_epoch)
{
    char *folder = scratch_folder("runs_keep");
    RUN(o, 0, FAKE " train --limit-batches 10 --epochs 2 --keep 4 --save-every 3 --out %1$s && cd %1$s && ls step-*",
        folder);
    /* saved after 3, 6, 9, 10 (epoch), 12, 15, 18, 20 (epoch) */
    const char *steps = strstr(o.out, "step-");
    cr_assert(steps != NULL);
    cr_expect_str_eq(steps, "step-00000012.safetensors\nstep-00000012.state.safetensors\nstep-00000015.safetensors\n"
                     "step-00000015.state.safetensors\nstep-00000018.safetensors\nstep-00000018.state.safetensors\n"
                     "step-00000020.safetensors\nstep-00000020.state.safetensors\n");
    outcome_free(&o);
    /* a run goes on from each of them, to the same bits */
    RUN(back, 0, "cd %1$s && mkdir b && cp config.json metrics.csv b && cd - > /dev/null && "
        "cp %1$s/step-00000012.safetensors %1$s/b/last.safetensors && "
        "cp %1$s/step-00000012.state.safetensors %1$s/b/last.state.safetensors && "
        FAKE " train --resume --out %1$s/b && cmp %1$s/last.safetensors %1$s/b/last.safetensors", folder);
    outcome_free(&back);
    RUN(usage, 2, FAKE " train --keep 1 --out %s", folder);
    expect_contains(usage.err, "must be from 2");
    outcome_free(&usage);
    free(folder);
}

Test(runs, a_new_run_sets_the_old_one_aside_and_removes_leftovers)
{
    char *folder = scratch_folder("runs_aside");
    RUN(o, 0, FAKE " train --limit-batches 5 --epochs 2 --out %1$s && cd %1$s && cp last.safetensors ../aside && "
        "touch last.safetensors.tmp curves.svg.tmp step-00000003.state.safetensors.tmp mine.tmp", folder);
    outcome_free(&o);
    RUN(again, 0, FAKE " train --limit-batches 5 --epochs 0 --out %1$s && cd %1$s && ls && "
        "cmp previous.safetensors ../aside", folder);
    cr_expect_str_eq(again.out, "config.json\nlast.safetensors\nlast.state.safetensors\nmetrics.csv\nmine.tmp\n"
                     "previous.best.safetensors\nprevious.config.json\nprevious.curves.svg\nprevious.metrics.csv\n"
                     "previous.report.html\nprevious.safetensors\nprevious.state.safetensors\n");
    outcome_free(&again);
    free(folder);
}

/* ---- the report and the curves ----------------------------------------------------------------------------------- */

/* The sum of all numbers in the cells of a class in a page. */
static long sum_of(const char *page, const char *class)
{
    long sum = 0;
    for (const char *at = strstr(page, class); at; at = strstr(at + 1, class))
        sum += strtol(strchr(at, '>') + 1, NULL, 10);
    return sum;
}

Test(runs, the_report_is_one_page_with_pictures)
{
    char *folder = scratch_folder("runs_report");
    RUN(o, 0, FAKE " train --limit-batches 60 --epochs 2 --out %1$s && " FAKE
        " eval --limit-batches 60 --weights %1$s/last.safetensors --report %1$s/eval.html", folder);
    const char *line = strrchr(o.out, 'y');
    double accuracy = line ? strtod(line + 1, NULL) : -1;
    outcome_free(&o);
    char *page = read_of(folder, "report.html", NULL), *of_eval = read_of(folder, "eval.html", NULL);
    long right = sum_of(page, "<td class=\"right\""), wrong = sum_of(page, "<td class=\"wrong\"");
    cr_expect_eq(right + wrong, 60 * 8);
    cr_expect_float_eq((double)right / 480, accuracy, 1e-4);
    cr_expect_eq(count(page, "<img "), wrong < 24 ? wrong : 24);
    cr_expect_eq(count(page, "http"), 1, "it needs more than itself");              /* SVG's name space is named so */
    cr_expect(count(page, "<svg") == 1 && count(of_eval, "<svg") == 0);
    cr_expect_str_eq(strstr(page, "<h2>Accuracy"), strstr(of_eval, "<h2>Accuracy"));

    /* the first picture is a PNG of the network's size */
    char command[700];
    snprintf(command, sizeof command, "cd %s && grep -o 'base64,[^\"]*' report.html | head -n 1 | cut -c8- | "
             "base64 -d > p.png", folder);
    RUN(decode, 0, "%s", command);
    outcome_free(&decode);
    size_t length;
    char *bytes = read_of(folder, "p.png", &length);
    png_image image = {.version = PNG_IMAGE_VERSION};
    uint8_t pixels[FAKE_INPUT];
    cr_assert(png_image_begin_read_from_memory(&image, bytes, length), "%s", image.message);
    cr_expect(image.width == FAKE_SIDE && image.height == FAKE_SIDE && image.format == PNG_FORMAT_GRAY);
    cr_assert(png_image_finish_read(&image, NULL, pixels, 0, NULL), "%s", image.message);
    free(bytes);
    free(page);
    free(of_eval);
    RUN(nowhere, 1, FAKE " eval --weights %1$s/last.safetensors --report %1$s/none/r.html", folder);
    expect_contains(nowhere.err, "none/r.html: cannot be saved");
    outcome_free(&nowhere);
    free(folder);
}

Test(runs, curves_show_each_epoch_and_leave_out_what_is_no_number)
{
    static const char metrics[] = "epoch,step,loss,accuracy,test_loss,test_accuracy,learning_rate\n"
                                  "1,5,2.5,0.1,2.25,0.2,0.1\n2,10,nan,0.3,2,0.4,0.05\n3,15,1.5,0.5,1.75,,0.025\n";
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    cr_assert(cnn_curves_write(out, "a & b", "test", metrics));
    fclose(out);
    expect_contains(text, "a &amp; b");
    expect_contains(text, ">epoch<");
    expect_contains(text, ">loss, nats a picture<");
    expect_contains(text, ">accuracy, %<");
    expect_contains(text, ">learning rate<");                   /* as it changes */
    expect_contains(text, "prefers-color-scheme: dark");
    cr_expect_eq(count(text, "class=\"l0\" d=\"M76.0 76.5L700.0 241.5\""), 1, "%s", text);    /* 2.5, nothing, 1.5 */
    cr_expect(strstr(text, "nan") == NULL, "%s", text);
    free(text);
}

/* ---- checkpoints of others, and damaged ones --------------------------------------------------------------------- */

/* Replaces `from` by `to`, of the same length, in a file, and makes its checksum right again. */
static void forge(const char *folder, const char *name, const char *from, const char *to)
{
    char path[512], digits[9];
    size_t length;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *bytes = read_of(folder, name, &length);
    char *at = memmem(bytes, length, from, strlen(from)), *sum = memmem(bytes, length, "crc32\":\"", 8);
    cr_assert(at && sum && strlen(from) == strlen(to), "%s", from);
    memcpy(at, to, strlen(to));
    memset(sum + 8, '0', 8);
    snprintf(digits, sizeof digits, "%08lx", crc32(0, (Bytef *)bytes, (uInt)length));
    memcpy(sum + 8, digits, 8);
    write_whole(path, bytes, length);
    free(bytes);
}

Test(runs, checkpoints_of_others_each_have_their_message)
{
    static const struct { const char *from, *to, *both, *message, *mend; int status; } cases[] = {
        {"\"network\":\"fake\"", "\"network\":\"lake\"", "y", "is a run of the network lake, and this is fake",
         "--out", 1},
        {"\"cnnc\":\"0.1\"", "\"cnnc\":\"9.9\"", "y", "is one of cnnc 9.9, and this trainer is of cnnc 0.1",
         "--init", 1},
        {"\"numbers\":\"float\"", "\"numbers\":\"other\"", NULL,
         "computes in other, and this trainer in float", "cnnc", 1},
        {"\"batch_size\":\"8\"", "\"batch_size\":\"9\"", NULL, "has batches of 9, this trainer has batches of 8",
         "cnnc --batch 9", 1},
        {"\"target\":\"generic\"", "\"target\":\"general\"", NULL,
         "another target (general, now generic)", "last bits", 0},
        {"\"code\":\"plain loops\"", "\"code\":\"plain hoops\"", NULL,
         "another code (plain hoops, now plain loops)", "last bits", 0},
        {"\"epoch\":\"2\"", "\"epoch\":\"x\"", NULL, "lacks what a state must say", "not written by a trainer", 1},
    };
    char *folder = scratch_folder("runs_others"), bad[512];
    snprintf(bad, sizeof bad, "%s/bad", folder);
    RUN(o, 0, FAKE " train --limit-batches 5 --epochs 2 --out %s/good", folder);
    outcome_free(&o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RUN(copy, 0, "rm -rf %1$s/bad; cp -r %1$s/good %1$s/bad", folder);
        outcome_free(&copy);
        forge(bad, "last.state.safetensors", cases[i].from, cases[i].to);
        if (cases[i].both)
            forge(bad, "last.safetensors", cases[i].from, cases[i].to);
        RUN(refused, cases[i].status, FAKE " train --resume --epochs 3 --out %s", bad);
        expect_contains(refused.err, cases[i].message);
        expect_contains(refused.err, cases[i].mend);
        outcome_free(&refused);
    }
    free(folder);
}

static int fake_net_tensors(void) { return fake_tensors(); }
static cnn_tensor fake_net_tensor(int i) { return fake_tensor(i); }

/* Every truncation and every flipped byte of both files of a checkpoint: refused, and the one before is offered. */
Test(runs, every_damage_of_a_checkpoint_is_refused, .timeout = 120)
{
    char *folder = scratch_folder("runs_damage"), path[512];
    const char *names[] = {"last.safetensors", "last.state.safetensors"};
    const cnn_network network = {.facts = &fake_facts, .tensors = fake_net_tensors, .tensor = fake_net_tensor,
                                 .shape = fake_shape};
    RUN(o, 0, FAKE " train --limit-batches 5 --epochs 2 --out %s", folder);
    outcome_free(&o);
    for (int file = 0; file < 2; file++) {
        size_t length;
        char *bytes = read_of(folder, names[file], &length);
        snprintf(path, sizeof path, "%s/%s", folder, names[file]);
        for (size_t at = 0; at < 2 * length; at++) {
            static Capture c;
            cnn_session s = {.network = &network, .facts = &fake_facts};
            cnn_position p;
            int flips = at < length;
            cnn_options_defaults(&s.options, fake_facts.defaults);
            if (flips)
                bytes[at] ^= (char)(1 << at % 8);
            write_whole(path, bytes, flips ? length : at - length);
            capture_begin(&c);
            int found = cnn_checkpoint_find(&s, folder, &p);
            const char *text = capture_end(&c);
            cnn_safetensors_close(s.state);
            cr_assert(!found, "%s is taken with %s %zu", names[file], flips ? "a flip of byte" : "length", at % length);
            cr_assert(strstr(text, names[file]) && strstr(text, "the checkpoint before is still there"), "%s", text);
            if (flips)
                bytes[at] ^= (char)(1 << at % 8);
        }
        write_whole(path, bytes, length);
        free(bytes);
    }
    RUN(go, 0, FAKE " train --resume --epochs 3 --out %s", folder);
    outcome_free(&go);
    free(folder);
}

/* ---- losses that are no number ----------------------------------------------------------------------------------- */

static void write_network(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.net", folder, name);
    write_whole(path, text, strlen(text));
}

/* A first step with such a rate leaves weights that overflow in the second layer of the next one. */
Test(runs, the_first_tensor_that_is_not_finite_is_named)
{
    char *folder = scratch_folder("runs_nan");
    write_network(folder, "two", "network two() { input(1, 6, 6); flatten; a: linear(8); b: linear(10);\n"
                  "train { batch = 8; optimizer = sgd(lr = 0.01); } }\n");
    for (int level = 0; level <= 2; level += 2) {
        RUN(o, 0, "%2$s/cnnc -O%3$d %1$s/two.net -o %1$s/two%3$d", folder, BUILD, level);
        outcome_free(&o);
        RUN(nan, 1, "%1$s/two%2$d train --lr 1e30 --limit-batches 4 --out %1$s/run%2$d", folder, level);
        expect_contains(nan.err, "step 1 (epoch 1, batch 2): the loss is nan; the first tensor that is not finite: "
                        "output of b (forward)");
        expect_contains(nan.err, "--allow-nan");
        outcome_free(&nan);
        RUN(large, 1, "%1$s/two%2$d train --deviation 1e-20 --lr 1e20 --limit-batches 4 --out %1$s/run%2$d", folder, level);
        expect_contains(large.err, "step 0 (epoch 1, batch 1): the loss is finite, the weights are not after the update; the "
                        "first tensor: b.");
        outcome_free(&large);
        RUN(good, 0, "%1$s/two%2$d train --epochs 1 --limit-batches 3 --out %1$s/run%2$d && "
            "! %1$s/two%2$d train --resume --epochs 2 --lr 1e30 --out %1$s/run%2$d 2> %1$s/err && cat %1$s/err && "
            "%1$s/two%2$d eval --weights %1$s/run%2$d/last.safetensors", folder, level);
        expect_contains(good.out, "last.safetensors holds the weights after epoch 1");
        outcome_free(&good);
        RUN(on, 0, "%1$s/two%2$d train --allow-nan --epochs 2 --lr 1e30 --limit-batches 4 --out %1$s/on%2$d && "
            "%1$s/two%2$d train --resume --epochs 3 --out %1$s/on%2$d", folder, level);
        expect_contains(on.out, "epoch 3/3  loss nan");
        outcome_free(&on);
    }
    free(folder);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

Test(runs, signals_at_any_moment_lose_nothing, .timeout = 300)
{
    char *folder = scratch_folder("runs_signals");
    RUN(sums, 0, FAKE " train --limit-batches 40 --epochs 6 --out %1$s/whole > /dev/null && cd %1$s/whole && "
        "sha256sum last.safetensors best.safetensors curves.svg report.html", folder);
    for (int i = 0; i < 40; i++) {
        unsigned delay = 1000 + (unsigned)(cnn_uniform(11, 0, 0, (uint32_t)i) * 40000);        /* microseconds */
        int second = i % 3 == 0, number = i % 2 ? SIGTERM : SIGINT;
        RUN(cut, 0, "rm -rf %1$s/part; " FAKE " train --limit-batches 40 --epochs 6 --out %1$s/part > /dev/null 2>&1 & "
            "sleep %2$u.%3$06u; kill -%4$d $!; %5$s kill -%4$d $!; wait $!; echo $?", folder, delay / 1000000,
            delay % 1000000, number, second ? "" : "true");
        int status = atoi(cut.out);
        cr_assert(status == 0 || status == 128 + number, "%d: %s", status, cut.out);
        RUN(go, 0, "test -e %1$s/part/last.state.safetensors && r=--resume || r='--limit-batches 40 --epochs 6'; "
            FAKE " train $r --out %1$s/part > /dev/null && cd %1$s/part && "
            "sha256sum last.safetensors best.safetensors curves.svg report.html", folder);
        cr_assert_str_eq(go.out, sums.out, "delay %u us", delay);
        outcome_free(&cut);
        outcome_free(&go);
    }
    outcome_free(&sums);
    free(folder);
}

/* ---- resuming ---------------------------------------------------------------------------------------------------- */

/* A network that cnnc compiled, with dropout and batch normalisation: each of its first 20 checkpoints leads to the
 * same end, in float and in double, in plain and in fast code. */
Test(runs, every_step_resumes_to_the_same_bits, .timeout = 300)
{
    static const char *const flags[] = {"-O0", "-O2", "--double"};
    char *folder = scratch_folder("runs_steps");
    write_network(folder, "conv", "network conv() { input(1, 10, 10); conv(4, 3, pad = 1); batchnorm; relu;\n"
                  "maxpool(2); conv(8, 3); batchnorm; relu; dropout(0.3); flatten; linear(20); relu;\n"
                  "dropout(0.5); linear(10);\n"
                  "train { batch = 8; optimizer = sgd(lr = 0.05, momentum = 0.9, weight_decay = 1e-4); } }\n");
    for (int i = 0; i < 3; i++) {
        RUN(whole, 0, "%2$s/cnnc %3$s %1$s/conv.net -o %1$s/conv && cd %1$s && rm -rf whole && "
            "./conv train --limit-batches 7 --epochs 3 --keep 30 --save-every 1 --out whole", folder, BUILD, flags[i]);
        outcome_free(&whole);
        for (int step = 1; step <= 20; step++) {
            RUN(go, 0, "cd %1$s && rm -rf part && mkdir part && cp whole/metrics.csv part && "
                "cp whole/step-%2$08d.safetensors part/last.safetensors && "
                "cp whole/step-%2$08d.state.safetensors part/last.state.safetensors && "
                "./conv train --resume --out part && cmp part/last.safetensors whole/last.safetensors && "
                "cmp part/curves.svg whole/curves.svg && cmp part/report.html whole/report.html && "
                "for r in whole part; do cut -d, -f1-6,9 $r/metrics.csv > $r/m; done && cmp whole/m part/m", folder,
                step);
            outcome_free(&go);
        }
    }
    free(folder);
}
