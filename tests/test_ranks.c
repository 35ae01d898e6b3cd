/* test_ranks.c - several processes that train one network: against one process with the whole batch, and when things go
 * wrong. Trainers of cnnc --with=mpi are started by mpirun, one thread a process; nothing outlives its test.
 */
#include "support.h"

#include <criterion/criterion.h>
#include <math.h>
#include <png.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRAINERS BUILD "/tests/ranks"

/* A shell that may run mpirun as root, on as many processes as it likes. */
#define MPIRUN "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1; " \
               "timeout -k 5 150 mpirun --oversubscribe --bind-to none "

/* Batch norms of pictures and of rows, also behind a residual, and dropout. With -D plain=yes nothing depends on the
 * pictures of a batch together, nor on chance: then batches may be dealt out in any way. */
static const char network[] =
    "network ranks(classes = 10, plain = no) {\n"
    "    input(1, 28, 28);\n"
    "    conv1: conv(20, 3, stride = 2, pad = 1, bias = no); if (!plain) { bn1: batchnorm; } relu;\n"
    "    residual { conv2: conv(20, 3, pad = 1, bias = no); if (!plain) { bn2: batchnorm; } }\n"
    "    relu; maxpool(2); flatten;\n"
    "    fc1: linear(30); if (!plain) { bn3: batchnorm; } relu; if (!plain) { dropout(0.25); }\n"
    "    fc: linear(classes);\n"
    "    train { data = \"synthetic\"; optimizer = sgd(lr = 0.05, momentum = 0.9, weight_decay = 0.01); }\n"
    "}\n";

/* Trainers in double precision, by level and batch: TRAINERS/O2-8; with batches of 8, TRAINERS/plain, which reads
 * pictures; and with batches of 16, TRAINERS/fused, whose batch norms are joined to other layers in both directions.
 * One test makes them, others wait. */
static void build_trainers(void)
{
    Outcome o = run_command(
        "mkdir -p %1$s && flock %1$s/lock sh -c '"
        "for made in %2$s/cnnc %2$s/libcnn-double.a tests/test_ranks.c; do test %1$s/plain -nt $made || old=yes; done;"
        "test $old || exit 0;"
        "cat > %1$s/ranks.net;"
        "for level in 0 2; do for batch in 8 16 32; do"
        "  %2$s/cnnc -O$level --double --with=mpi --batch $batch %1$s/ranks.net -o %1$s/O$level-$batch || exit 1;"
        "  done; done;"
        "fused=\"--batch 16 -ffuse=statistics -ffuse=bn-sums\";"
        "for kind in statistics bn-sums; do"
        "  %2$s/cnnc $fused %1$s/ranks.net --dump=fuse | grep -q \" $kind \" || { echo no $kind; exit 1; }; done;"
        "%2$s/cnnc --double --with=mpi $fused %1$s/ranks.net -o %1$s/fused &&"
        "%2$s/cnnc --double --with=mpi,png --batch 8 -D plain=yes %1$s/ranks.net -o %1$s/plain"
        "' <<'END'\n%3$sEND\n", TRAINERS, BUILD, network);
    cr_assert(o.status == 0, "the trainers do not build: %s%s", o.out, o.err);
    outcome_free(&o);
}

TestSuite(ranks, .init = build_trainers, .timeout = 300);

#define RUN(o, expected, ...)                                                                                          \
    Outcome o = run_command(__VA_ARGS__);                                                                              \
    cr_assert(o.status == (expected), "status %d, not %d\n%s%s", o.status, (expected), o.out, o.err)

static int occurrences(const char *text, const char *piece)
{
    int count = 0;
    for (; (text = strstr(text, piece)); text += strlen(piece))
        count++;
    return count;
}

/* The values of a weights file: what follows its header. */
static double *weights_of(const char *folder, char **bytes, size_t *count)
{
    char path[4096];
    size_t length;
    uint64_t header;
    snprintf(path, sizeof path, "%s/last.safetensors", folder);
    *bytes = read_whole(path, &length);
    cr_assert(*bytes && length > 8, "%s", path);
    memcpy(&header, *bytes, 8);
    *count = (length - 8 - header) / sizeof(double);
    return (double *)(void *)(*bytes + 8 + header);
}

/* The largest difference of two runs' weights. */
static double difference(const char *a, const char *b)
{
    char *bytes[2];
    size_t count[2];
    const double *x = weights_of(a, &bytes[0], &count[0]), *y = weights_of(b, &bytes[1], &count[1]);
    double most = 0;
    cr_assert(count[0] == count[1] && count[0] > 1000);
    for (size_t i = 0; i < count[0]; i++)
        most = fmax(most, fabs(x[i] - y[i]));
    free(bytes[0]);
    free(bytes[1]);
    return most;
}

/* ---- the same step, whoever computes it -------------------------------------------------------------------------- */

/* `ranks` of a trainer, of batches of 32 / ranks, against one of `level` with the whole batch. */
static void expect_same(const char *folder, const char *whole, const char *trainer, int ranks, const char *recipe)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%d", folder, trainer, ranks);
    RUN(o, 0,
        MPIRUN "-n %d " TRAINERS "/%s train --epochs 2 --limit-batches %d --sync-batchnorm --bucket 0.05 --out %s %s",
        ranks, trainer, 4 * ranks, path, recipe);
    cr_expect(occurrences(o.out, "epoch ") == 2, "%s", o.out);
    cr_expect(difference(whole, path) < 1e-9, "%d of %s: %g", ranks, trainer, difference(whole, path));
    outcome_free(&o);
}

static void expect_agreement(int level, const char *recipe)
{
    char *folder = scratch_folder(level ? "ranks-fast" : "ranks-textbook"), whole[4096], trainer[32];
    snprintf(whole, sizeof whole, "%s/1", folder);
    RUN(alone, 0, TRAINERS "/O%d-32 train --epochs 2 --limit-batches 4 --threads 1 --out %s %s", level, whole, recipe);
    for (int ranks = 2; ranks <= 4; ranks += 2) {
        snprintf(trainer, sizeof trainer, "O%d-%d", level, 32 / ranks);
        expect_same(folder, whole, trainer, ranks, recipe);
    }
    if (level > 0)
        expect_same(folder, whole, "fused", 2, recipe);
    outcome_free(&alone);
    free(folder);
}

Test(ranks, agree_with_one_process_in_fast_code)
{
    expect_agreement(2, "--clip-norm 0.5 --label-smoothing 0.1 --ema 0.5");
}

Test(ranks, agree_with_one_process_in_textbook_code)
{
    expect_agreement(0, "");
}

/* Batches that 2 ranks take together and one after the other are those of 4 that one process takes for a step; of the
 * last step of an epoch there are fewer. What is frozen stays. */
Test(ranks, accumulate_as_one_process_does)
{
    char *folder = scratch_folder("ranks-accumulate"), path[2][4096];
    for (int ranks = 1; ranks <= 2; ranks++) {
        snprintf(path[ranks - 1], sizeof path[0], "%s/%d", folder, ranks);
        RUN(o, 0, MPIRUN "-n %d " TRAINERS "/plain train --epochs 2 --limit-batches 6 --accumulate %d "
            "--freeze 'conv1.*' --bucket 0.01 --schedule cosine --out %s", ranks, 4 / ranks, path[ranks - 1]);
        outcome_free(&o);
    }
    cr_expect(difference(path[0], path[1]) < 1e-9, "%g", difference(path[0], path[1]));
    free(folder);
}

/* Each rank's batch norms see its own pictures: another result, though one network. Bits
 * come out the same each time. */
Test(ranks, normalise_alone_unless_told_otherwise)
{
    char *folder = scratch_folder("ranks-own"), path[3][4096];
    for (int i = 0; i < 3; i++) {
        snprintf(path[i], sizeof path[i], "%s/%d", folder, i);
        RUN(o, 0, MPIRUN "-n 2 " TRAINERS "/O2-16 train --epochs 2 --limit-batches 8 --out %s %s --loader-threads %d",
            path[i], i < 2 ? "" : "--sync-batchnorm --threads 2", i);
        outcome_free(&o);
    }
    cr_expect(difference(path[0], path[1]) == 0);
    cr_expect(difference(path[0], path[2]) > 1e-4);
    free(folder);
}

Test(ranks, one_process_under_mpirun_is_the_program_alone)
{
    char *folder = scratch_folder("ranks-one");
    RUN(a, 0, TRAINERS "/O2-16 train --epochs 1 --limit-batches 4 --threads 1 --out %s/a", folder);
    RUN(b, 0, MPIRUN "-n 1 " TRAINERS "/O2-16 train --epochs 1 --limit-batches 4 --sync-batchnorm --out %s/b", folder);
    RUN(same, 0, "cmp %1$s/a/last.safetensors %1$s/b/last.safetensors", folder);
    RUN(eval, 0, TRAINERS "/O2-16 eval --weights %1$s/a/last.safetensors --limit-batches 5 --threads 1 "
        "--report %1$s/1.html", folder);
    for (int ranks = 2; ranks <= 4; ranks += 2) {       /* 5 batches do not divide evenly */
        RUN(shared, 0, MPIRUN "-n %2$d " TRAINERS "/O2-16 eval --weights %1$s/a/last.safetensors --limit-batches 5 "
            "--report %1$s/%2$d.html && cmp %1$s/1.html %1$s/%2$d.html", folder, ranks);
        cr_expect_str_eq(shared.out, eval.out);
        outcome_free(&shared);
    }
    outcome_free(&a), outcome_free(&b), outcome_free(&same), outcome_free(&eval);
    free(folder);
}

Test(ranks, bench_tells_what_reduction_costs)
{
    RUN(o, 0, MPIRUN "-n 2 " TRAINERS "/O2-16 bench --steps 3 --sync-batchnorm --profile");
    for (const char *const *piece = (const char *const[]){"ranks 2", "reduce_ms", "exposed_ms", "sum_us", NULL}; *piece;
         piece++)
        cr_expect(strstr(o.out, *piece) != NULL, "'%s' is missing in:\n%s", *piece, o.out);
    cr_expect(occurrences(o.out, "step_ms") == 1);
    outcome_free(&o);
}

/* The C of a program for several processes, which -O0 and -O2 write, compiles without warnings wherever it is used. */
Test(ranks, code_compiles_without_warnings)
{
    char *folder = scratch_folder("ranks-code");
    for (int level = 0; level <= 2; level += 2) {
        RUN(o, 0, "%2$s/cnnc -O%3$d --with=mpi " TRAINERS "/ranks.net -o %1$s/ranks.c && for cc in gcc clang-19; do "
            "$cc -std=gnu11 -Wall -Wextra -Werror -fopenmp -I%2$s/include -c %1$s/ranks.c -o %1$s/ranks.o || "
            "exit 1; done",
            folder, BUILD, level);
        outcome_free(&o);
    }
    RUN(plain, 0, "%1$s/cnnc -O0 " TRAINERS "/ranks.net -o %2$s/plain.c && ! grep -q exchange %2$s/plain.c", BUILD,
        folder);
    RUN(refused, 1, "%1$s/cnnc --with=jpeg,mpi " TRAINERS "/ranks.net -o %2$s/ranks.c", BUILD, folder);
    outcome_free(&plain);
    outcome_free(&refused);
    free(folder);
}

/* ---- going on with other ranks ----------------------------------------------------------------------------------- */

/* Learning rates and steps of a run's metrics.csv, by epoch. */
typedef struct { int epochs; double lr[8]; long step[8]; } Rates;

static Rates read_rates(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/metrics.csv", folder);
    char *text = read_whole(path, NULL);
    Rates r = {0};
    cr_assert(text, "%s", path);
    for (const char *row = strchr(text, '\n'); row && row[1] && r.epochs < 8; row = strchr(row + 1, '\n'), r.epochs++)
        cr_assert(sscanf(row + 1, "%*d,%ld,%*f,%*f,%*f,%*f,%*f,%*f,%lf", &r.step[r.epochs], &r.lr[r.epochs]) == 2, "%s",
                  text);
    free(text);
    return r;
}

#define COSINE "--epochs 4 --limit-batches 8 --schedule cosine --warmup 0.5 --keep 100 --save-every 1"

/* After the first half of its second epoch a run of 2 ranks goes on with 1, and one of 1 with 2. The rates at the
 * ends of the epochs before are those of a run that had the old number of ranks all along, after it those of one
 * with the new number; the steps of both are counted. With as many pictures to a step, the weights are those of
 * the run that never changed. */
Test(ranks, keep_the_schedule_when_their_number_changes)
{
    char *folder = scratch_folder("ranks-schedule"), path[4096];
    Rates whole[2];
    for (int ranks = 1; ranks <= 2; ranks++) {
        snprintf(path, sizeof path, "%s/%d", folder, ranks);
        RUN(o, 0, MPIRUN "-n %d " TRAINERS "/plain train " COSINE " --out %s", ranks, path);
        whole[ranks - 1] = read_rates(path);
        cr_assert(whole[ranks - 1].epochs == 4);
        outcome_free(&o);
    }
    for (int ranks = 1; ranks <= 2; ranks++) {
        const int new = 3 - ranks, half = 12 / ranks;
        RUN(o, 0, "cd %1$s && mkdir to%2$d && cp %3$d/metrics.csv to%2$d && for kind in state. \"\"; do "
            "cp %3$d/step-%4$08d.${kind}safetensors to%2$d/last.${kind}safetensors || exit 1; done; "
            "cp -r to%2$d same%2$d",
            folder, new, ranks, half);
        snprintf(path, sizeof path, "%s/to%d", folder, new);
        RUN(on, 0, MPIRUN "-n %d " TRAINERS "/plain train --resume --out %s", new, path);
        const Rates r = read_rates(path);
        cr_assert(r.epochs == 4);
        for (int e = 0; e < 4; e++) {
            const double expected = whole[(e < 1 ? ranks : new) - 1].lr[e];
            cr_expect_float_eq(r.lr[e], expected, 1e-5 * expected, "%d ranks, epoch %d: %g, not %g", new, e + 1,
                               r.lr[e], expected);
            cr_expect(r.step[e] == (e < 1 ? 8 / ranks : half + (8 * e - 4) / new), "%d ranks, epoch %d: step %ld", new,
                      e + 1, r.step[e]);
        }
        outcome_free(&o), outcome_free(&on);
    }
    RUN(same, 0, TRAINERS "/plain train --resume --accumulate 2 --threads 1 --out %s/same1", folder);
    char *same1, *path2;
    cr_assert(asprintf(&same1, "%s/same1", folder) > 0 && asprintf(&path2, "%s/2", folder) > 0);
    cr_expect(difference(same1, path2) < 1e-9, "%g", difference(same1, path2));
    outcome_free(&same);
    free(same1), free(path2);
    free(folder);
}

/* ---- when things go wrong ---------------------------------------------------------------------------------------- */

/* Trains with two ranks in the background, kills rank 1 with `signal` once there is a checkpoint, and waits. */
static Outcome kill_rank(const char *folder, const char *signal)
{
    return run_command(
        MPIRUN "-n 2 " TRAINERS "/O2-8 train --epochs 100000 --limit-batches 4 --out %1$s & run=$!;"
               "for i in $(seq 600); do test -e %1$s/previous.safetensors && break; sleep 0.1; done;"
               "mpirun=$(pgrep -P $run mpirun); rank=$(pgrep -P $mpirun | tail -1); kill -%2$s $rank; wait $run",
        folder, signal);
}

/* The run of kill_rank goes on for another epoch, on any number of ranks. */
static void expect_resumable(const char *folder)
{
    for (int ranks = 1; ranks <= 4; ranks += ranks == 1 ? 1 : 2) {
        RUN(o, 0, "cp -r %1$s %1$s-%2$d; rows=$(tail -n +2 %1$s-%2$d/metrics.csv | wc -l); " MPIRUN
            "-n %2$d " TRAINERS "/O2-8 train --resume --epochs $((rows + 2)) --out %1$s-%2$d", folder, ranks);
        cr_expect(occurrences(o.out, "epoch ") >= 1, "%s", o.out);
        outcome_free(&o);
    }
}

Test(ranks, a_signal_to_one_stops_all)
{
    char *folder = scratch_folder("ranks-signal"), path[4096];
    snprintf(path, sizeof path, "%s/run", folder);
    Outcome o = kill_rank(path, "TERM");
    cr_expect(o.status == 143, "%d\n%s", o.status, o.err);
    cr_expect(occurrences(o.err, "stopped after step") == 1, "%s", o.err);
    expect_resumable(path);
    outcome_free(&o);
    free(folder);
}

Test(ranks, a_lost_one_ends_the_job_and_the_run_goes_on)
{
    char *folder = scratch_folder("ranks-lost"), path[4096];
    snprintf(path, sizeof path, "%s/run", folder);
    Outcome o = kill_rank(path, "KILL");
    cr_expect(o.status != 0 && o.status != 124, "%d", o.status);
    cr_expect(strstr(o.err, "signal 9"), "%s", o.err);          /* mpirun's line about it */
    expect_resumable(path);
    outcome_free(&o);
    free(folder);
}

/* 2 ranks, stopped in mid-epoch and resumed on 2, give the bits of a run that was never stopped. */
Test(ranks, resume_to_the_same_bits)
{
    char *folder = scratch_folder("ranks-resume"), path[2][4096];
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/%d", folder, i);
        RUN(o, 0, MPIRUN "-n 2 " TRAINERS "/O2-8 train --epochs %d --limit-batches 6 --out %s", 1 + i, path[i]);
        outcome_free(&o);
    }
    RUN(o, 0, MPIRUN "-n 2 " TRAINERS "/O2-8 train --resume --epochs 2 --out %s", path[0]);
    cr_expect(difference(path[0], path[1]) == 0);
    outcome_free(&o);
    free(folder);
}

/* FOLDER/pictures/{a,b}: 32 grey pictures of each class. */
static void write_pictures(const char *folder)
{
    char path[4096];
    unsigned char pixels[28 * 28];
    png_image image = {.version = PNG_IMAGE_VERSION, .width = 28, .height = 28, .format = PNG_FORMAT_GRAY};
    RUN(made, 0, "mkdir -p %1$s/pictures/a %1$s/pictures/b", folder);
    outcome_free(&made);
    for (int i = 0; i < 64; i++) {
        for (int k = 0; k < 28 * 28; k++)
            pixels[k] = (unsigned char)(i % 2 ? k % 28 * 9 : k / 28 * 9 + i / 2);
        snprintf(path, sizeof path, "%s/pictures/%c/%02d.png", folder, i % 2 ? 'b' : 'a', i / 2);
        cr_assert(png_image_write_to_file(&image, path, 0, pixels, 0, NULL), "%s", path);
    }
}

#define PICTURES                                                                                                       \
    MPIRUN "-n 2 " TRAINERS "/plain train --epochs 1 --validation 0.25 --data %1$s/pictures --out %1$s/run %2$s"

static void damage(const char *folder, int picture)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/pictures/a/%02d.png", folder, picture);
    write_whole(path, "\x89PNG\r\n\x1a\n and so on", 18);
}

/* A picture that one rank cannot read ends the run in both, with its name, or is counted whoever meets with it. */
Test(ranks, bad_pictures)
{
    char *folder = scratch_folder("ranks-pictures");
    for (int rank = 1; rank >= 0; rank--) {         /* 04 is met with by rank 1, 05 by rank 0, in two splits */
        write_pictures(folder);
        damage(folder, 5 - rank);
        Outcome o = run_command(PICTURES, folder, "");
        cr_expect(o.status == 1 && occurrences(o.err, "error: ") == 1, "status %d\n%s", o.status, o.err);
        cr_expect(strstr(o.err, rank ? "rank 1: plain: error: " : "plain: error: ") &&
                      strstr(o.err, rank ? "04.png" : "05.png"),
                  "%s", o.err);
        cr_expect(rank || !strstr(o.err, "rank "), "%s", o.err);
        outcome_free(&o);
        RUN(nothing, 0, "test ! -e %s/run/last.safetensors", folder);
        outcome_free(&nothing);
    }
    damage(folder, 4);
    RUN(o, 0, PICTURES, folder, "--skip-bad-pictures");
    cr_expect(occurrences(o.err, "warning: ") == 4 && occurrences(o.err, ": 1 cannot be read and was left out") == 2 &&
              occurrences(o.err, "04.png: ") == 1 && occurrences(o.err, "05.png: ") == 1, "%s", o.err);
    outcome_free(&o);
    free(folder);
}

/* One report, by whoever comes first, and status 1. */
Test(ranks, report_once)
{
    char *folder = scratch_folder("ranks-report");
    const struct { const char *arguments, *reason; } cases[] = {
        {"--data /nowhere", "/nowhere"},
        {"--limit-batches 1", "fewer than there are processes"},
        {"--lr 1e30 --limit-batches 40", "is not finite"},
        {"--freeze nothing", "nothing"},
        {"--resume", "there is no run to resume"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Outcome o = run_command(MPIRUN "-n 2 " TRAINERS "/O2-8 train --out %s/run %s", folder, cases[i].arguments);
        cr_expect(o.status == 1, "%s: status %d\n%s", cases[i].arguments, o.status, o.err);
        cr_expect(occurrences(o.err, "error: ") == 1 && strstr(o.err, cases[i].reason), "%s:\n%s", cases[i].arguments,
                  o.err);
        outcome_free(&o);
    }
    free(folder);
}
