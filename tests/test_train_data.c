/* test_train_data.c - trainers from cnnc on data as users have it: files of CIFAR-10, folders of JPEG and PNG, arrays.
 * What is normalised, kept for validation and left out is looked at from outside.
 *
 * A class is a shade of each channel, and pictures of it are that and a little noise, so a small network learns it.
 */
#include "data/data.h"
#include "fake_program.h"
#include "files/safetensors.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jpeglib.h>
#include <png.h>

static const char network[] =
    "network small(classes = 3) {\n"
    "    input(3, 12, 12);\n"
    "    conv(4, 3, stride = 3);\n"
    "    flatten;\n"
    "    linear(classes);\n"
    "    train { batch = 10; epochs = 10; optimizer = sgd(lr = 0.05, momentum = 0.9); %s }\n"
    "}\n";

/* A trainer FOLDER/run of the network with these settings; `flags` are cnnc's. */
static void compile(const char *folder, const char *settings, const char *flags)
{
    char path[4096], text[2048];
    snprintf(path, sizeof path, "%s/small.net", folder);
    snprintf(text, sizeof text, network, settings);
    write_whole(path, text, strlen(text));
    Outcome o = run_command("%s/cnnc %s %s -o %s/run", BUILD, flags, path, folder);
    cr_assert(o.status == 0, "%s", o.err);
    outcome_free(&o);
}

/* FOLDER/run with these words, which ends with that status. */
__attribute__((format(printf, 3, 4)))
static Outcome run_in(const char *folder, int status, const char *format, ...)
{
    char    words[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    Outcome o = run_command("cd %s && ./run %s", folder, words);
    cr_assert(o.status == status, "%s: status %d\n%s%s", words, o.status, o.out, o.err);
    return o;
}

static void expect(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "'%s' is not in:\n%s", part, text);
}

/* The number behind the last `name` in a text of lines. */
static double last(const char *text, const char *name)
{
    const char *found = NULL;
    for (const char *at = text; (at = strstr(at, name)); at++)
        found = at;
    cr_assert(found, "'%s' is not in:\n%s", name, text);
    return strtod(found + strlen(name), NULL);
}

/* Byte (y, x) of channel c of picture i of a class. */
static uint8_t shade(int class, int i, int c, int y, int x)
{
    uint32_t noise = (uint32_t)(((i * 3 + c) * 64 + y) * 64 + x) * 2654435761u;
    return (uint8_t)(40 + 70 * ((class + c) % 3) + (noise >> 27));
}

static void picture(int class, int i, int channels, int side, uint8_t *planes)
{
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++)
                *planes++ = shade(class, i, c, y, x);
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

/* A .npy with a head of 128 bytes. */
static void write_npy(const char *folder, const char *name, const char *type, const char *shape, const void *data,
                      size_t size)
{
    char head[129], path[4096];
    snprintf(head, sizeof head, "%-127s\n", "");
    memcpy(head, "\x93NUMPY\1\0\x76\0", 10);
    head[10 + snprintf(head + 10, 118, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape)] = ' ';
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(head, 1, 128, file) == 128 && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

/* FOLDER/arrays: 60 pictures of real numbers around 0 to train on, 30 to test on, 3 x 12 x 12. */
static void write_arrays(const char *folder)
{
    static float   x[60][432];
    static int64_t y[60];
    uint8_t        bytes[432];
    char           path[4096];

    snprintf(path, sizeof path, "%s/arrays", folder);
    mkdir(path, 0700);
    for (int test = 0; test < 2; test++) {
        for (int i = 0; i < 60; i++) {
            y[i] = i % 3;
            picture(i % 3, 60 * test + i, 3, 12, bytes);
            for (int k = 0; k < 432; k++)
                x[i][k] = ((float)bytes[k] - 128) / 64;
        }
        write_npy(path, test ? "test_x.npy" : "train_x.npy", "<f4", test ? "(30, 3, 12, 12)" : "(60, 3, 12, 12)", x,
                  sizeof x / (test ? 2 : 1));
        write_npy(path, test ? "test_y.npy" : "train_y.npy", "<i8", test ? "(30,)" : "(60,)", y,
                  sizeof y / (test ? 2 : 1));
    }
}

Test(train_data, arrays_of_real_numbers, .timeout = 120)
{
    char *folder = scratch_folder("train-arrays"), path[4096];

    write_arrays(folder);
    compile(folder, "data = \"arrays\";", "-O0");
    Outcome o = run_in(folder, 0, "train --out out");
    cr_assert_eq(last(o.out, "test_accuracy "), 1.0, "%s", o.out);
    outcome_free(&o);

    snprintf(path, sizeof path, "%s/arrays/train_x.npy", folder);        /* picture 7 */
    FILE *file = fopen(path, "r+b");
    cr_assert(file && fseek(file, 128 + 7 * 432 * 4, SEEK_SET) == 0 && fwrite(&(float){NAN}, 4, 1, file) == 1);
    fclose(file);
    o = run_in(folder, 1, "train --out out");
    expect(o.err, "arrays/train_x.npy: picture 7 has a value that is not finite\n  help: ");
    outcome_free(&o);
    free(folder);
}

/* ---- CIFAR-10 ---------------------------------------------------------------------------------------------------- */

static void write_cifar(const char *folder)
{
    static uint8_t bytes[20][1 + 3072];
    for (int file = 0; file < 6; file++) {
        char path[4096];
        for (int i = 0; i < 20; i++) {
            bytes[i][0] = (uint8_t)(i % 3);
            picture(i % 3, 20 * file + i, 3, 32, bytes[i] + 1);
        }
        snprintf(path, sizeof path, file < 5 ? "%s/cifar/data_batch_%d.bin" : "%s/cifar/test_batch.bin", folder,
                 file + 1);
        write_whole(path, bytes, sizeof bytes);
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/cifar/batches.meta.txt", folder);
    write_whole(path, "red\ngreen\nblue\n", 15);
}

/* Mean and deviation by channel over the train split, in the network's size. */
static void measure(const char *data, double mean[3], double deviation[3])
{
    cnn_wish     wish = {.input = {1, 3, 12, 12}, .classes = 3};
    cnn_dataset *d = cnn_dataset_open(data, CNN_TRAIN, &wish);
    cnn_reader   r = {0};
    double       squares[3] = {0}, count = 144.0 * (double)cnn_dataset_size(d);

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < cnn_dataset_size(d); i++) {
            cnn_real x[432];
            int32_t  label;
            cr_assert_eq(cnn_dataset_picture(d, i, 0, &r, x, &label), 1);
            for (int k = 0; k < 432; k++)
                if (pass == 0)
                    mean[k / 144] += (double)x[k] / count;
                else
                    squares[k / 144] += ((double)x[k] - mean[k / 144]) * ((double)x[k] - mean[k / 144]) / count;
        }
    for (int c = 0; c < 3; c++)
        deviation[c] = sqrt(squares[c]);
    cnn_reader_free(&r);
    cnn_dataset_close(d);
}

/* The metadata of a file, as three numbers. */
static void expect_numbers(const char *folder, const char *key, const double expected[3])
{
    char path[4096];
    snprintf(path, sizeof path, "%s/out/last.safetensors", folder);
    cnn_safetensors *f = cnn_safetensors_open(path);
    cr_assert(f);
    const char *text = cnn_safetensors_metadata(f, key);
    cr_assert(text, "no %s", key);
    for (int c = 0; c < 3; c++, text += *text == ',') {
        double is = strtod(text, (char **)&text);
        cr_assert_float_eq(is, expected[c], 1e-6, "%s[%d] is %g, not %g", key, c, is, expected[c]);
    }
    cnn_safetensors_close(f);
}

Test(train_data, cifar10_with_measured_mean_and_deviation, .timeout = 120)
{
    char  *folder = scratch_folder("train-cifar"), path[4096], line[64];
    double mean[3] = {0}, deviation[3] = {0};

    snprintf(path, sizeof path, "%s/cifar", folder);
    mkdir(path, 0700);
    write_cifar(folder);
    compile(folder, "data = \"cifar\"; normalize = data;", "-O0");
    Outcome o = run_in(folder, 0, "train --out out");
    cr_assert_eq(last(o.out, "test_accuracy "), 1.0, "%s", o.out);
    measure(path, mean, deviation);
    expect_numbers(folder, "mean", mean);
    expect_numbers(folder, "deviation", deviation);

    snprintf(line, sizeof line, "loss %.4f  accuracy 1.0000\n", last(o.out, "test_loss "));
    Outcome eval = run_in(folder, 0, "eval --weights out/last.safetensors");
    cr_assert_str_eq(eval.out, line, "eval normalises as the run did");
    outcome_free(&eval);
    eval = run_in(folder, 0, "predict --weights out/last.safetensors --limit-batches 1");
    expect(eval.out, "true 2  name blue");

    snprintf(path, sizeof path, "%s/out/metrics.csv", folder);          /* and so does a run that goes on */
    char *one = read_whole(path, NULL);
    Outcome half = run_in(folder, 0, "train --out half --epochs 2");
    Outcome rest = run_in(folder, 0, "train --out half --resume --epochs 10");
    cr_assert_eq(last(rest.out, " loss "), last(o.out, " loss "));
    cr_assert_eq(last(rest.out, "test_loss "), last(o.out, "test_loss "));
    outcome_free(&rest);
    rest = run_in(folder, 1, "train --out half --resume --mean 0.5");
    expect(rest.err, "--mean 0.5: the run was begun without --mean\n  help: leave --mean out");
    free(one);
    outcome_free(&half);
    outcome_free(&rest);
    outcome_free(&eval);
    outcome_free(&o);
    free(folder);
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

static void write_jpeg(const char *path, const uint8_t *planes, int side)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    uint8_t row[64 * 3], *rows[] = {row};
    FILE   *file = fopen(path, "wb");

    cr_assert(file, "%s", path);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_width = jpeg.image_height = (JDIMENSION)side;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < side; y++) {
        for (int k = 0; k < 3 * side; k++)
            row[k] = planes[(k % 3 * side + y) * side + k / 3];
        jpeg_write_scanlines(&jpeg, rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    cr_assert_eq(fclose(file), 0);
}

static void write_png(const char *path, const uint8_t *planes, int side)
{
    uint8_t   pixels[64 * 64 * 3];
    png_image image = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)side, .height = (png_uint_32)side,
                       .format = PNG_FORMAT_RGB};

    for (int k = 0; k < 3 * side * side; k++)
        pixels[k] = planes[k % 3 * side * side + k / 3];
    cr_assert(png_image_write_to_file(&image, path, 0, pixels, 0, NULL), "%s", path);
}

/* FOLDER/pictures/{green,red,white}: `each` pictures of a class, of several sizes, every other one a JPEG. */
static void write_folder(const char *folder, int each)
{
    static const char *const classes[] = {"green", "red", "white"};
    uint8_t planes[3 * 64 * 64];
    char    path[4096];

    snprintf(path, sizeof path, "%s/pictures", folder);
    mkdir(path, 0700);
    for (int class = 0; class < 3; class++) {
        snprintf(path, sizeof path, "%s/pictures/%s", folder, classes[class]);
        mkdir(path, 0700);
        for (int i = 0; i < each; i++) {
            int side = 12 + 5 * (i % 4);
            picture(class, i, 3, side, planes);
            snprintf(path, sizeof path, "%s/pictures/%s/%02d.%s", folder, classes[class], i, i % 2 ? "jpg" : "png");
            (i % 2 ? write_jpeg : write_png)(path, planes, side);
        }
    }
}

Test(train_data, a_folder_of_pictures_with_a_share_for_validation, .timeout = 120)
{
    char *folder = scratch_folder("train-folder"), path[4096], line[64];

    write_folder(folder, 20);
    compile(folder, "", "-O0 --with=jpeg,png");
    Outcome o = run_in(folder, 1, "train --data pictures --out out");
    expect(o.err, "pictures: is of one piece, without pictures to score on\n"
                  "  help: keep a share for that: --validation 0.1");
    outcome_free(&o);

    o = run_in(folder, 0, "train --data pictures --out out --validation 0.25 --mean 0.5 --deviation 0.25,0.25,0.3");
    cr_assert_eq(last(o.out, "validation_accuracy "), 1.0, "%s", o.out);
    cr_assert(!strstr(o.out, "test_"));
    snprintf(path, sizeof path, "%s/out/metrics.csv", folder);
    char *csv = read_whole(path, NULL);
    expect(csv, "validation_loss,validation_accuracy,seconds");
    expect_numbers(folder, "mean", (double[]){0.5, 0.5, 0.5});
    expect_numbers(folder, "deviation", (double[]){0.25, 0.25, 0.3});

    snprintf(line, sizeof line, "loss %.4f  accuracy 1.0000\n", last(o.out, "validation_loss "));
    Outcome eval = run_in(folder, 0, "eval --data pictures --weights out/last.safetensors");
    cr_assert_str_eq(eval.out, line, "the pictures that were kept");
    outcome_free(&eval);
    eval = run_in(folder, 0, "predict --data pictures --split test --weights out/last.safetensors");
    expect(eval.out, "picture 59 ");
    free(csv);
    outcome_free(&eval);
    outcome_free(&o);
    free(folder);
}

/* train/, val/ and test/: training scores val/ alone, which it can do without test/'s pictures; eval scores test/. */
Test(train_data, the_test_pictures_are_for_eval_alone, .init = build_fake, .timeout = 120)
{
    char *folder = scratch_folder("train-three"), line[64];

    write_folder(folder, 8);
    Outcome o = run_command("cd %1$s && mkdir three && for s in train val test; do cp -r pictures three/$s; done && "
                            "rm three/val/*/0[4-7]* && for c in green red white; do echo no > three/test/$c/00.png; done", folder);
    cr_assert(o.status == 0, "%s", o.err);
    outcome_free(&o);
    o = run_command(FAKE " train --epochs 2 --data %1$s/three --out %1$s/out && head -n 1 %1$s/out/metrics.csv", folder);
    cr_assert(o.status == 0, "%s", o.err);
    expect(o.out, "validation_loss,validation_accuracy");
    cr_assert(!strstr(o.out, "test_"), "%s", o.out);
    snprintf(line, sizeof line, "loss %.4f  ", last(o.out, "validation_loss "));
    Outcome eval = run_command(FAKE " eval --split validation --data %1$s/three --weights %1$s/out/last.safetensors", folder);
    cr_assert(eval.status == 0 && strncmp(eval.out, line, strlen(line)) == 0, "%s, not: %s%s", line, eval.out, eval.err);
    outcome_free(&eval);
    eval = run_command(FAKE " eval --data %1$s/three --weights %1$s/out/last.safetensors", folder);
    cr_assert(eval.status == 1);
    expect(eval.err, "three/test/green/00.png: neither a JPEG nor a PNG");
    outcome_free(&eval);
    outcome_free(&o);
    free(folder);
}

/* A picture that cannot be read ends the run with its name, or is counted. */
Test(train_data, bad_pictures, .timeout = 120)
{
    char *folder = scratch_folder("train-bad"), path[4096];

    write_folder(folder, 20);
    compile(folder, "data = \"pictures\"; validation = 0.2;", "--with=jpeg,png");
    snprintf(path, sizeof path, "%s/pictures/red/04.png", folder);
    write_whole(path, "\x89PNG\r\n\x1a\n and so on", 18);
    Outcome o = run_in(folder, 1, "train --out out --loader-threads 3");
    expect(o.err, "error: pictures/red/04.png: the PNG is damaged: ");
    expect(o.err, "\n  help: fetch the file again");
    outcome_free(&o);
    o = run_in(folder, 0, "train --out out --loader-threads 3 --skip-bad-pictures");
    expect(o.err, " of 60 pictures of 3 classes in pictures: 1 cannot be read and was left out");
    cr_assert_eq(last(o.out, "validation_accuracy "), 1.0, "%s", o.out);
    outcome_free(&o);
    o = run_in(folder, 0, "eval --split test --weights out/last.safetensors --skip-bad-pictures");
    expect(o.err, "60 pictures of 3 classes in pictures: 1 cannot be read and was left out");
    outcome_free(&o);
    o = run_in(folder, 1, "eval --split test --weights out/last.safetensors");
    expect(o.err, "pictures/red/04.png: ");
    outcome_free(&o);

    compile(folder, "data = \"pictures\"; validation = 0.2;", "--with=png");
    o = run_in(folder, 1, "train --out out");
    expect(o.err, "pictures/green/01.jpg: is a JPEG, which this trainer cannot decode\n"
                  "  help: compile the trainer with cnnc --with=jpeg,png");
    outcome_free(&o);
    o = run_in(folder, 1, "predict --weights out/last.safetensors pictures/red/03.jpg");
    expect(o.err, "pictures/red/03.jpg: is a JPEG, which this trainer cannot decode\n"
                  "  help: compile the trainer with cnnc --with=jpeg,png");
    outcome_free(&o);
    free(folder);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* What the network sees is (byte / 255 - mean) / deviation, whoever says so; the weights count more than train { }. */
Test(train_data, normalised_values, .timeout = 120)
{
    char *folder = scratch_folder("train-normal"), path[4096];
    const double given[3] = {0.1, 0.2, 0.3};

    snprintf(path, sizeof path, "%s/cifar", folder);
    mkdir(path, 0700);
    write_cifar(folder);
    compile(folder, "data = \"cifar\"; mean = (0.4, 0.5, 0.6); deviation = 0.5;", "-O0");
    Outcome o = run_in(folder, 0, "train --out out --epochs 1 --mean 0.1,0.2,0.3");
    outcome_free(&o);
    o = run_in(folder, 0, "predict --weights out/last.safetensors --limit-batches 1 --dump dump > /dev/null");
    outcome_free(&o);

    cnn_wish     wish = {.input = {1, 3, 12, 12}, .classes = 3};
    cnn_dataset *d = cnn_dataset_open(path, CNN_TEST, &wish);
    cnn_reader   r = {0};
    cnn_real     x[432];
    int32_t      label;
    snprintf(path, sizeof path, "%s/dump/input.npy", folder);
    char *npy = read_whole(path, NULL);
    cr_assert(npy && cnn_dataset_picture(d, 0, 0, &r, x, &label) == 1);
    for (int k = 0; k < 432; k++) {
        float is;
        memcpy(&is, npy + 128 + 4 * k, sizeof is);
        cr_assert_eq(is, (x[k] - (float)given[k / 144]) / 0.5f, "value %d: %g", k, (double)is);
    }
    cnn_reader_free(&r);
    cnn_dataset_close(d);
    free(npy);
    free(folder);
}

Test(train_data, lists_and_shares_that_are_wrong, .timeout = 120)
{
    char *folder = scratch_folder("train-wrong");
    static const struct { const char *words, *message; int status; } cases[] = {
        {"--mean 1,2", "--mean 1,2: 2 numbers, and the network takes pictures of 3 channels", 1},
        {"--mean 1,,2", "--mean 1,,2: not a list of at most 64 numbers", 1},
        {"--mean ''", "--mean : not a list", 1},
        {"--mean 1e99", "--mean 1e99: not a list", 1},
        {"--mean 1x", "--mean 1x: not a list", 1},
        {"--deviation 0", "--deviation 0: must be above 0", 1},
        {"--deviation -1", "--deviation -1: must be above 0", 1},
        {"--normalize all", "must be no or data", 2},
        {"--validation 1", "must be from 0 to 0.99", 2},
        {"--validation half", "not a number", 2},
    };

    compile(folder, "", "-O0");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Outcome o = run_in(folder, cases[i].status, "train --epochs 0 %s", cases[i].words);
        expect(o.err, cases[i].message);
        outcome_free(&o);
    }
    Outcome o = run_in(folder, 0, "train --epochs 0 --validation 0.1");
    outcome_free(&o);
    o = run_in(folder, 1, "eval --split validation --validation 0");
    expect(o.err, "synthetic: has no validation split\n"
                  "  help: keep a share of the train split for it: --validation 0.1");
    outcome_free(&o);
    o = run_in(folder, 0, "eval --split validation");
    outcome_free(&o);
    free(folder);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Each allocation that the trainer itself makes fails once: one message that speaks of memory, and exit status 1. */
Test(train_data, reports_every_allocation_that_fails, .init = build_fake, .timeout = 300)
{
    static const char *const commands[] = {
        "train --data %1$s/pictures --validation 0.5 --normalize data --epochs 1 --loader-threads 0 --out %1$s/out",
        "eval --data %1$s/grey --weights %1$s/good/last.safetensors --skip-bad-pictures --loader-threads 0",
        "predict --data %1$s/pictures/red --weights %1$s/good/last.safetensors --loader-threads 0 --out %1$s/t.csv",
    };
    char   *folder = scratch_folder("train-memory"), path[4096], command[4096];
    uint8_t labels[10] = {0};
    double  reals[10][36] = {{0}};

    write_folder(folder, 6);
    snprintf(path, sizeof path, "%s/grey", folder);
    mkdir(path, 0700);
    write_npy(path, "x.npy", "<f8", "(10, 6, 6)", reals, sizeof reals);
    write_npy(path, "y.npy", "|u1", "(10,)", labels, sizeof labels);
    Outcome o = run_command(FAKE " train --epochs 1 --out %s/good", folder);
    cr_assert(o.status == 0, "%s", o.err);
    outcome_free(&o);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        int allocations = 0;
        snprintf(command, sizeof command, "FAKE_ALLOC=%%2$d FAKE_COUNT=1 " FAKE " %s", commands[i]);
        for (int n = 0; n <= allocations; n++) {                        /* the first run fails nothing, and counts */
            o = run_command(command, folder, n);
            const char *count = strrchr(o.err, ' ');
            cr_assert(o.status <= (n > 0) && count, "%s: %d: status %d\n%s", command, n, o.status, o.err);
            cr_expect(o.status == 0 || strstr(o.err, "memory"), "%s: %d:\n%s", command, n, o.err);
            if (n == 0)
                allocations = atoi(count);
            outcome_free(&o);
        }
        cr_expect(allocations > 20, "%d allocations", allocations);
    }
    free(folder);
}
