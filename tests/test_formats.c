/* test_formats.c - data sets as CIFAR's files and folders of pictures; a share for validation; every mistake.
 *
 * IDX files and the synthetic pictures are in test_dataset.c, arrays in test_arrays.c, decoders in test_picture.c.
 */
#include "sources.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static const cnn_decoder *const only_png[] = {&cnn_decoder_png, NULL};

/* ---- CIFAR ------------------------------------------------------------------------------------------------------- */

enum { CIFAR = 3 * 32 * 32 };

/* `count` records with labels first, first + 1, ...; of CIFAR-100 with a superclass before each. Byte k of picture n of
 * a file that starts at `shade` is shade + n + k. */
static void write_cifar(const char *folder, const char *name, int count, int first, int shade, int hundred)
{
    size_t   record = CIFAR + 1 + (size_t)hundred, at = 0;
    uint8_t *bytes = malloc(record * (size_t)count);
    for (int n = 0; n < count; n++) {
        if (hundred)
            bytes[at++] = 19;
        bytes[at++] = (uint8_t)(first + n);
        for (int k = 0; k < CIFAR; k++)
            bytes[at++] = (uint8_t)(shade + n + k);
    }
    write_whole(in(folder, name), bytes, at);
    free(bytes);
}

static void write_cifar10(const char *folder)
{
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i + 1);
        write_cifar(folder, name, 2, 2 * i, 10 * i, 0);
    }
    write_cifar(folder, "test_batch.bin", 3, 7, 100, 0);
}

Test(formats, cifar10_is_read_file_by_file)
{
    char       *folder = fresh("cifar10");
    cnn_picture p = {0};

    write_cifar10(folder);
    cnn_source *s = open_source(folder, CNN_TRAIN, wish_of(3, 32, 32, 10));
    cr_assert_eq(cnn_source_size(s), 10u);
    for (size_t i = 0; i < 10; i++) {
        cr_assert_eq(cnn_source_label(s, i), (int)i);
        cr_assert_eq(cnn_source_read(s, i, &p), 1);
        cr_assert(p.channels == 3 && p.height == 32 && p.width == 32);
        for (size_t k = 0; k < CIFAR; k++)
            cr_assert_eq(p.bytes[k], (uint8_t)(10 * (i / 2) + i % 2 + k));
    }
    cr_assert_null(cnn_source_class(s, 3));
    cr_assert_not(cnn_source_whole(s));
    cr_assert(strstr(cnn_source_text(s), "10 pictures of 3x32x32 in "));
    cnn_source_close(s);

    write_whole(in(folder, "batches.meta.txt"), "plane\r\ncar\nbird\n\n", 17);
    s = open_source(folder, CNN_TEST, wish_of(3, 32, 32, 10));
    cr_assert_eq(cnn_source_size(s), 3u);
    cr_assert_eq(cnn_source_label(s, 2), 9);
    cr_assert_str_eq(cnn_source_class(s, 0), "plane");
    cr_assert_str_eq(cnn_source_class(s, 2), "bird");
    cr_assert_null(cnn_source_class(s, 3));
    cnn_source_close(s);
    cnn_picture_free(&p);
    free(folder);
}

Test(formats, cifar100_has_the_fine_labels)
{
    char       *folder = fresh("cifar100");
    cnn_picture p = {0};

    write_cifar(folder, "train.bin", 100, 0, 0, 1);
    write_cifar(folder, "test.bin", 2, 98, 5, 1);
    cnn_source *s = open_source(folder, CNN_TRAIN, wish_of(3, 32, 32, 100));
    cr_assert_eq(cnn_source_size(s), 100u);
    cr_assert_eq(cnn_source_label(s, 99), 99);
    cnn_source_close(s);
    s = open_source(folder, CNN_TEST, wish_of(3, 32, 32, 100));
    cr_assert_eq(cnn_source_label(s, 0), 98);
    cr_assert_eq(cnn_source_read(s, 1, &p), 1);
    cr_assert_eq(p.bytes[0], 6);
    cnn_source_close(s);
    cnn_picture_free(&p);
    free(folder);
}

Test(formats, cifar_files_that_are_wrong)
{
    char    *folder = fresh("cifar-wrong");
    cnn_wish wish = wish_of(3, 32, 32, 10);

    write_cifar10(folder);
    refuse(folder, CNN_TRAIN, wish_of(1, 28, 28, 10), "its pictures are 3x32x32, the network takes 1x28x28\n"
                                                      "  help: compile the network with cnnc --input 3x28x28");
    refuse(folder, CNN_TEST, wish_of(3, 32, 32, 9), "label 9 of picture 2 is beyond the network's 9 classes");
    write_cifar(folder, "data_batch_3.bin", 2, 9, 0, 0);
    refuse(folder, CNN_TRAIN, wish, "data_batch_3.bin: label 10 of picture 1 is beyond the 10 classes of CIFAR-10");
    write_whole(in(folder, "data_batch_3.bin"), "", 0);
    refuse(folder, CNN_TRAIN, wish, "data_batch_3.bin: the file is empty");
    write_whole(in(folder, "data_batch_3.bin"), "\1\2\3", 3);
    refuse(folder, CNN_TRAIN, wish, "data_batch_3.bin: 3 bytes are no whole number of records of 3073");
    cr_assert_eq(truncate(in(folder, "data_batch_3.bin"), 3073l << 20), 0);
    refuse(folder, CNN_TRAIN, wish, "data_batch_3.bin: more than 1 GiB is no file of CIFAR");
    unlink(in(folder, "data_batch_3.bin"));
    refuse(folder, CNN_TRAIN, wish, "data_batch_3.bin: cannot be opened: No such file");
    mkdir(in(folder, "data_batch_3.bin"), 0700);
    refuse(folder, CNN_TRAIN, wish, "data_batch_3.bin: not a file of data");
    free(folder);
}

/* A file that becomes shorter while it is open: the picture is bad, and nothing is printed. */
Test(formats, a_file_that_is_cut_under_way)
{
    char       *folder = fresh("cifar-cut");
    cnn_picture p = {0};

    write_cifar10(folder);
    cnn_source *s = open_source(folder, CNN_TRAIN, wish_of(3, 32, 32, 10));
    cr_assert_eq(truncate(in(folder, "data_batch_2.bin"), 4000), 0);
    cr_assert_eq(cnn_source_read(s, 2, &p), 1);
    cr_assert_eq(cnn_source_read(s, 3, &p), 0);
    cr_assert(strstr(p.cause, "data_batch_2.bin: picture 1 ends early"), "%s", p.cause);
    cnn_source_close(s);
    cnn_picture_free(&p);
    free(folder);
}

/* ---- folders of pictures ----------------------------------------------------------------------------------------- */

#define PICTURES "tests/reference/pictures/"

/* FOLDER/cat with two pictures, one of them in a folder of its own, FOLDER/dog with one; and what is passed over. */
static void write_classes(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    static const char *const folders[] = {"", "cat", "cat/more", "dog", ".hidden"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        mkdir(in(folder, folders[i]), 0700);
    copy(PICTURES "rgb.png", in(folder, "cat/a.PNG"));
    copy(PICTURES "420.jpg", in(folder, "cat/more/b.jpeg"));
    copy(PICTURES "grey.jpg", in(folder, "dog/1.jpg"));
    copy(PICTURES "rgb.png", in(folder, ".hidden/x.png"));
    copy(PICTURES "rgb.png", in(folder, "dog/.x.png"));
    write_whole(in(folder, "dog/notes.txt"), "1", 1);
    write_whole(in(folder, "loose.jpg"), "1", 1);
}

Test(formats, folders_are_classes)
{
    char       *folder = fresh("classes");
    cnn_picture p = {0}, reference = {0};

    write_classes(folder);
    cnn_source *s = open_source(folder, CNN_TRAIN, wish_of(3, 8, 8, 2));
    cr_assert_eq(cnn_source_size(s), 3u);
    cr_assert(cnn_source_label(s, 0) == 0 && cnn_source_label(s, 1) == 0 && cnn_source_label(s, 2) == 1);
    cr_assert_str_eq(cnn_source_class(s, 0), "cat");
    cr_assert_str_eq(cnn_source_class(s, 1), "dog");
    cr_assert(cnn_source_whole(s) && strstr(cnn_source_text(s), "3 pictures of 2 classes in "));
    cr_assert_eq(cnn_picture_read(&reference, PICTURES "420.jpg", both, 3), 1);
    cr_assert_eq(cnn_source_read(s, 1, &p), 1);
    cr_assert(p.channels == 3 && p.height == reference.height && p.width == reference.width);
    cr_assert_arr_eq(p.bytes, reference.bytes, (size_t)(3 * p.height * p.width));
    cr_assert_eq(cnn_source_read(s, 2, &p), 1);
    cr_assert_eq(p.channels, 1);
    cnn_source_close(s);
    s = open_source(folder, CNN_TEST, wish_of(1, 8, 8, 2));
    cr_assert_eq(cnn_source_read(s, 0, &p), 1);
    cr_assert_eq(p.channels, 1, "a network of one channel sees grey");
    cnn_source_close(s);
    cnn_picture_free(&p);
    cnn_picture_free(&reference);
    free(folder);
}

Test(formats, folders_of_splits)
{
    char    *folder = fresh("splits");
    cnn_wish wish = wish_of(3, 8, 8, 2);

    write_classes(in(folder, "train"));
    refuse(folder, CNN_TEST, wish, "has no folder test or val\n"
                                   "  help: put pictures there, or keep a share of train/ with --validation 0.1");
    write_classes(in(folder, "val"));
    unlink(in(folder, "val/cat/a.PNG"));
    cnn_source *s = open_source(folder, CNN_TEST, wish);
    cr_assert(cnn_source_size(s) == 2 && !cnn_source_whole(s) && strstr(cnn_source_text(s), "/val"));
    cnn_source_close(s);

    mkdir(in(folder, "test"), 0700);                    /* only dogs: they keep their number */
    mkdir(in(folder, "test/dog"), 0700);
    copy(PICTURES "rgb.png", in(folder, "test/dog/1.png"));
    s = open_source(folder, CNN_TEST, wish);
    cr_assert(cnn_source_size(s) == 1 && cnn_source_label(s, 0) == 1 && strstr(cnn_source_text(s), "/test"));
    cnn_source_close(s);
    s = open_source(folder, CNN_VALIDATION, wish);
    cr_assert(strstr(cnn_source_text(s), "/val"));
    cnn_source_close(s);
    mkdir(in(folder, "test/dgo"), 0700);
    refuse(folder, CNN_TEST, wish, "/test/dgo: train has no folder of that name, so it is no class");
    free(folder);
}

Test(formats, folders_that_do_not_fit)
{
    char    *folder = fresh("folders-wrong");
    cnn_wish wish = wish_of(3, 8, 8, 2);

    mkdir(in(folder, "cat"), 0700);
    refuse(folder, CNN_TRAIN, wish, "there is no picture (.jpg, .jpeg, .png) in its folders");
    write_classes(folder);
    refuse(folder, CNN_TRAIN, wish_of(3, 8, 8, 1), "its 2 folders are as many classes, and the network has 1 outputs\n"
           "  help: compile the network with 2 classes (cnnc -D classes=2");
    refuse(folder, CNN_TRAIN, wish_of(4, 8, 8, 2), "the network takes 4x8x8\n  help: compile the network with cnnc "
                                                   "--input 3x8x8");
    wish.decoders = only_png;
    refuse(folder, CNN_TRAIN, wish, "/cat/more/b.jpeg: is a JPEG, which this trainer cannot decode\n"
                                    "  help: compile the trainer with cnnc --with=jpeg,png");
    wish.decoders = NULL;
    unlink(in(folder, "cat/a.PNG"));
    refuse(folder, CNN_TRAIN, wish, "compile the trainer with cnnc --with=jpeg");
    symlink("..", in(folder, "cat/up"));
    wish.decoders = both;
    refuse(folder, CNN_TRAIN, wish, "more than 16 folders in each other, or too long a path");
    free(folder);
}

/* Names that are looked up: the folder's name, or the one that the published archive has. */
Test(formats, known_names)
{
    char *folder = fresh("known"), cwd[PATH_MAX], *absolute = realpath(folder, NULL);
    static Capture c;

    cr_assert(getcwd(cwd, sizeof cwd) && absolute);
    cr_assert_eq(chdir(folder), 0);
    setenv("HOME", absolute, 1);
    unsetenv("CNN_DATA");
    unsetenv("XDG_CACHE_HOME");
    for (int i = 0; i < 2; i++) {
        cnn_wish wish = wish_of(3, 32, 32, i ? 2 : 10);
        const char *name = i ? "imagenet-folder" : "cifar10";
        capture_begin(&c);
        cnn_source *s = cnn_source_open(name, CNN_TRAIN, &wish);
        const char *text = capture_end(&c);
        cr_assert_null(s);
        cr_assert(strstr(text, "not found on this machine; looked in"));
        cr_assert(strstr(text, i ? "./data/imagenet\n" : "./data/cifar-10-batches-bin\n"));
    }
    mkdir("data", 0700);
    mkdir("data/cifar-10-batches-bin", 0700);
    write_cifar10("data/cifar-10-batches-bin");
    cnn_source_close(open_source("cifar10", CNN_TRAIN, wish_of(3, 32, 32, 10)));
    mkdir("data/imagenet", 0700);
    cr_assert_eq(symlink(cwd, "tree"), 0);
    mkdir("data/imagenet/train", 0700);
    mkdir("data/imagenet/train/n01440764", 0700);
    copy("tree/" PICTURES "420.jpg", "data/imagenet/train/n01440764/x.JPEG");
    cnn_source *s = open_source("imagenet-folder", CNN_TRAIN, wish_of(3, 32, 32, 1000));
    cr_assert_str_eq(cnn_source_class(s, 0), "n01440764");
    cnn_source_close(s);
    free(absolute);
    free(folder);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* A number for each picture, from all of its bytes; 0: it cannot be read. */
typedef struct { const cnn_source *source; uint64_t sums[10]; } Reading;

static void *read_all(void *context)
{
    Reading    *r = context;
    cnn_picture p = {0};

    for (size_t k = 0; k < cnn_source_size(r->source); k++) {
        r->sums[k] = 14695981039346656037u;
        if (cnn_source_read(r->source, k, &p) != 1)
            r->sums[k] = 0;
        for (size_t j = 0; r->sums[k] && j < (size_t)(p.channels * p.height * p.width); j++)
            r->sums[k] = (r->sums[k] ^ p.bytes[j]) * 1099511628211u;
    }
    cnn_picture_free(&p);
    return NULL;
}

/* Eight threads read what one reads. */
Test(formats, several_threads_read_at_once)
{
    char *folder = fresh("threads"), path[PATH_MAX];

    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%d", folder, i);
        mkdir(path, 0700);
        (i ? write_cifar10 : write_classes)(path);
        cnn_source *s = open_source(path, CNN_TRAIN, wish_of(3, 32, 32, 10));
        Reading     alone = {.source = s}, reading[8];
        pthread_t   threads[8];

        read_all(&alone);
        cr_assert(alone.sums[0] && alone.sums[0] != alone.sums[1]);
        for (int turn = 0; turn < 20; turn++) {
            for (int t = 0; t < 8; t++) {
                reading[t] = (Reading){.source = s};
                cr_assert_eq(pthread_create(&threads[t], NULL, read_all, &reading[t]), 0);
            }
            for (int t = 0; t < 8; t++) {
                pthread_join(threads[t], NULL);
                cr_assert_arr_eq(reading[t].sums, alone.sums, sizeof alone.sums);
            }
        }
        cnn_source_close(s);
    }
    free(folder);
}

/* ---- validation -------------------------------------------------------------------------------------------------- */

/* Every picture is in exactly one of the two, the same ones each time; another seed keeps others. */
Test(formats, a_share_for_validation)
{
    cnn_wish wish = {.input = {1, 1, 4, 4}, .classes = 2048, .seed = 3, .validation = 0.1};
    int      times[2048] = {0}, other = 0;

    for (int turn = 0; turn < 2; turn++)
        for (cnn_split split = CNN_TRAIN; split <= CNN_VALIDATION; split++) {
            cnn_source *s = open_source("synthetic", split, wish);
            cr_assert_eq(cnn_source_size(s), split == CNN_TRAIN ? 1843u : 205u);
            for (size_t i = 0; i < cnn_source_size(s); i++) {
                times[cnn_source_label(s, i)] += split == CNN_TRAIN ? 1 : 100;  /* the label is the picture's number */
                cr_assert(i == 0 || cnn_source_label(s, i) > cnn_source_label(s, i - 1));
            }
            cnn_source_close(s);
        }
    for (int i = 0; i < 2048; i++)
        cr_assert(times[i] == 2 || times[i] == 200, "picture %d: %d", i, times[i]);
    wish.seed = 4;
    cnn_source *s = open_source("synthetic", CNN_VALIDATION, wish);
    for (size_t i = 0; i < cnn_source_size(s); i++)
        other += times[cnn_source_label(s, i)] == 2;
    cr_assert_gt(other, 150);
    cnn_source_close(s);
    s = open_source("synthetic", CNN_TEST, wish);
    cr_assert_eq(cnn_source_size(s), 512u, "the test split is not touched");
    cnn_source_close(s);
}

Test(formats, validation_leaves_pictures_to_train_on)
{
    char    *folder = fresh("validation");
    cnn_wish wish = wish_of(3, 8, 8, 2);

    write_classes(folder);
    wish.validation = 0.9;
    refuse(folder, CNN_TRAIN, wish, "0.9 of its 3 pictures for validation leave none to train on");
    wish.validation = 0.01;                             /* at least one */
    cnn_source *s = open_source(folder, CNN_VALIDATION, wish);
    cr_assert_eq(cnn_source_size(s), 1u);
    cnn_source_close(s);
    s = open_source(folder, CNN_TRAIN, wish);
    cr_assert_eq(cnn_source_size(s), 2u);
    cnn_source_close(s);
    free(folder);
}
