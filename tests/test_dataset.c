/* test_dataset.c - data sets by name, folders of IDX files with every mistake, and the synthetic pictures. */
#include "capture.h"
#include "data/data.h"
#include "support.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static const int GREY[4] = {4, 1, 4, 6}, COLOUR[4] = {4, 3, 4, 6};

/* A split, 1 for train and 0 for test, for a network of that input. */
static cnn_dataset *open_split(const char *name, int train, const int input[4], int classes, uint64_t seed)
{
    cnn_wish wish = {.input = {input[0], input[1], input[2], input[3]}, .classes = classes, .seed = seed};
    return cnn_dataset_open(name, train ? CNN_TRAIN : CNN_TEST, &wish);
}

/* Reads pictures index[0..count) into x, and their labels. */
static int read_pictures(cnn_dataset *d, const size_t *index, int count, size_t pixels, cnn_real *x, int32_t *labels)
{
    cnn_reader reader = {0};
    int32_t    label, read = 1;

    for (int i = 0; read && i < count; i++)
        read = cnn_dataset_picture(d, index[i], 0, &reader, x + (size_t)i * pixels, labels ? &labels[i] : &label) == 1;
    cnn_reader_free(&reader);
    return read;
}

static char *fresh(const char *test)
{
    char name[64];
    snprintf(name, sizeof name, "dataset-%s", test);
    return scratch_folder(name);
}

/* Writes an IDX file of consecutive bytes, starting with `start`, each modulo `modulo`. */
static void write_idx(const char *folder, const char *file, int rank, const int *sizes, int start, int modulo, int gz)
{
    char    path[PATH_MAX];
    uint8_t head[20] = {0, 0, 8, (uint8_t)rank};
    size_t  count = 1;

    for (int i = 0; i < rank; i++) {
        head[4 * i + 7] = (uint8_t)sizes[i];
        count *= (size_t)sizes[i];
    }
    snprintf(path, sizeof path, "%s/%s%s", folder, file, gz ? ".gz" : "");
    gzFile f = gzopen(path, gz ? "wb" : "wbT");         /* T: plain */
    gzwrite(f, head, 4 + 4 * (unsigned)rank);
    for (size_t i = 0; i < count; i++)
        gzputc(f, (int)((start + i) % (size_t)modulo));
    gzclose(f);
}

/* Five train and three test pictures of 1x4x6, labels 0, 1, 2, 3, 4. */
static void write_folder(const char *folder)
{
    write_idx(folder, "train-images-idx3-ubyte", 3, (int[]){5, 4, 6}, 0, 256, 0);
    write_idx(folder, "train-labels-idx1-ubyte", 1, (int[]){5}, 0, 256, 0);
    write_idx(folder, "t10k-images-idx3-ubyte", 3, (int[]){3, 4, 6}, 100, 256, 1);
    write_idx(folder, "t10k-labels-idx1-ubyte", 1, (int[]){3}, 1, 256, 1);
}

static void refuse(const char *name, int train, const int input[4], int classes, const char *part)
{
    static Capture c;

    capture_begin(&c);
    cnn_dataset *d = open_split(name, train, input, classes, 1);
    const char  *text = capture_end(&c);
    cr_assert_null(d, "taken, not refused with '%s'", part);
    expect_one_error(text, name, part);
}

Test(dataset, folder_gives_bytes_over_255_and_labels)
{
    char *folder = fresh("bytes");
    write_folder(folder);
    for (int train = 0; train < 2; train++) {
        cnn_dataset *d = open_split(folder, train, GREY, 10, 1);
        cnn_real     x[3 * 24];
        int32_t      labels[3];

        cr_assert(d);
        cr_assert_eq(cnn_dataset_size(d), train ? 5u : 3u);
        cr_assert(read_pictures(d, (size_t[]){2, 0, 2}, 3, 24, x, labels));
        for (int i = 0; i < 3; i++) {
            int picture = i == 1 ? 0 : 2;
            cr_assert_eq(labels[i], picture + !train);
            for (int k = 0; k < 24; k++)
                cr_assert_eq(x[24 * i + k], (cnn_real)(picture * 24 + k + 100 * !train) / 255);
        }
        cr_assert(read_pictures(d, (size_t[]){1}, 1, 24, x, NULL));
        cr_assert_eq(x[0], (cnn_real)(24 + 100 * !train) / 255);
        cr_assert_str_eq(cnn_dataset_class(d, 7), "7");
        cr_assert_str_eq(cnn_dataset_class(d, 10), "?");
        cr_assert_str_eq(cnn_dataset_class(d, -1), "?");
        cr_assert(strstr(cnn_dataset_text(d), "pictures of 1x4x6 in "));
        cnn_dataset_close(d);
    }
    cnn_dataset_close(NULL);
    free(folder);
}

Test(dataset, grey_pictures_fill_every_channel)
{
    char *folder = fresh("grey");
    write_folder(folder);
    cnn_dataset *d = open_split(folder, 1, COLOUR, 10, 1);
    cnn_real     x[3 * 24];

    cr_assert(d);
    cr_assert(read_pictures(d, (size_t[]){1}, 1, 72, x, NULL));
    for (int k = 0; k < 72; k++)
        cr_assert_eq(x[k], (cnn_real)(24 + k % 24) / 255);
    cnn_dataset_close(d);
    free(folder);
}

Test(dataset, colour_pictures_keep_their_channels_and_do_not_become_grey)
{
    char *folder = fresh("colour");
    write_idx(folder, "train-images-idx3-ubyte", 4, (int[]){2, 3, 4, 6}, 0, 256, 0);
    write_idx(folder, "train-labels-idx1-ubyte", 1, (int[]){2}, 0, 256, 0);
    cnn_dataset *d = open_split(folder, 1, COLOUR, 10, 1);
    cnn_real     x[3 * 24];

    cr_assert(d);
    cr_assert(read_pictures(d, (size_t[]){1}, 1, 72, x, NULL));
    for (int k = 0; k < 72; k++)
        cr_assert_eq(x[k], (cnn_real)(72 + k) / 255);
    cnn_dataset_close(d);
    refuse(folder, 1, GREY, 10,
           "its pictures are 3x4x6, the network takes 1x4x6\n  help: compile the network with cnnc "
           "--input 3x4x6");
    free(folder);
}

/* Pictures keep their proportions: they cover the input, and their middle is shown. */
Test(dataset, resizes_to_the_network)
{
    char *folder = fresh("resize");
    const int input[4] = {8, 2, 9, 5};
    cnn_real  expected[45], x[5 * 90];
    uint8_t   in[24], scratch[4 * 64];

    write_folder(folder);
    cnn_view    v = cnn_view_cover(4, 6, 9, 5, 5);
    cnn_resize *r = cnn_resize_new(&v);
    for (int i = 0; i < 24; i++)
        in[i] = (uint8_t)(24 + i);
    cnn_resize_bytes(r, in, 6, scratch, expected);
    cnn_resize_free(r);
    cnn_dataset *d = open_split(folder, 1, input, 10, 1);
    cr_assert(d);
    cr_assert(read_pictures(d, (size_t[]){1, 0, 2, 3, 4}, 5, 90, x, NULL));
    cr_assert_arr_eq(x, expected, sizeof expected);
    cr_assert_arr_eq(x + 45, expected, sizeof expected);
    cnn_dataset_close(d);
    free(folder);
}

Test(dataset, refuses_folders_that_do_not_fit)
{
    char *folder = fresh("misfit");
    char  path[PATH_MAX];

    write_idx(folder, "train-images-idx3-ubyte", 3, (int[]){5, 4, 6}, 0, 256, 0);
    refuse(folder, 1, GREY, 10, "has no train-labels-idx1-ubyte");
    refuse(folder, 0, GREY, 10, "has no t10k-images-idx3-ubyte");
    write_idx(folder, "train-labels-idx1-ubyte", 1, (int[]){4}, 0, 256, 0);
    refuse(folder, 1, GREY, 10, "holds 5 entries, but there are 4 labels");
    write_idx(folder, "train-labels-idx1-ubyte", 1, (int[]){5}, 7, 256, 0);
    refuse(folder, 1, GREY, 10,
           "label 10 of picture 3 is beyond the network's 10 classes\n  help: the network needs at "
           "least 11 outputs");
    refuse(folder, 1, GREY, 1, "label 7 of picture 0 is beyond the network's 1 classes");
    write_idx(folder, "train-labels-idx1-ubyte", 3, (int[]){5, 1, 1}, 0, 256, 0);
    refuse(folder, 1, GREY, 10, "its rank is 3, labels have rank 1");
    write_idx(folder, "train-labels-idx1-ubyte", 1, (int[]){5}, 0, 256, 0);
    write_idx(folder, "train-images-idx3-ubyte", 1, (int[]){5}, 0, 256, 0);
    refuse(folder, 1, GREY, 10, "its rank is 1, pictures have rank 3");

    snprintf(path, sizeof path, "%s/train-images-idx3-ubyte", folder);
    uint8_t wide[17 + 65536] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0};
    write_whole(path, wide, 16 + 65536);
    write_idx(folder, "train-labels-idx1-ubyte", 1, (int[]){1}, 0, 256, 0);
    refuse(folder, 1, GREY, 10, "its pictures are 1 x 65536, the largest side that is read is 65535");
    free(folder);
}

Test(dataset, unknown_names_are_told_what_is_known)
{
    refuse("no-such-data", 1, GREY, 10, "no data set 'no-such-data': neither a name that is known nor a folder\n"
           "  help: give fashion-mnist, mnist, cifar10, cifar100, imagenet-folder, synthetic, or a folder");
    refuse("", 1, GREY, 10, "no data set ''");
}

Test(dataset, known_names_are_looked_up_in_order)
{
    char *folder = fresh("lookup"), path[PATH_MAX];
    static Capture c;

    setenv("CNN_DATA", folder, 1);
    setenv("HOME", folder, 1);
    unsetenv("XDG_CACHE_HOME");
    capture_begin(&c);
    cnn_dataset *d = open_split("mnist", 1, GREY, 10, 1);
    const char  *text = capture_end(&c);
    cr_assert_null(d, "the tests' machine has no MNIST in the usual places");
    snprintf(path, sizeof path, "  %s/mnist\n  ./data/mnist\n  ./data/MNIST/raw\n  %s/.cache/cnnc/mnist\n"
             "  /usr/share/datasets/mnist\n  help: ", folder, folder);
    cr_assert(strstr(text, path), "%s", text);

    snprintf(path, sizeof path, "%s/.cache", folder), mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/.cache/cnnc", folder), mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/.cache/cnnc/mnist", folder), mkdir(path, 0700);
    write_folder(path);
    cr_assert(d = open_split("mnist", 1, GREY, 10, 1));
    cr_assert(strstr(cnn_dataset_text(d), ".cache/cnnc/mnist"));
    cr_assert_str_eq(cnn_dataset_class(d, 9), "9");
    cnn_dataset_close(d);
    snprintf(path, sizeof path, "%s/mnist", folder), mkdir(path, 0700);
    write_folder(path);
    cr_assert(d = open_split("mnist", 1, GREY, 10, 1));
    cr_assert_null(strstr(cnn_dataset_text(d), ".cache"));
    cnn_dataset_close(d);
    free(folder);
}

Test(dataset, unknown_data_is_told_what_is_known)
{
    char *folder = fresh("unknown"), path[PATH_MAX];
    static Capture c;
    cnn_dataset *d[2];

    snprintf(path, sizeof path, "%s/notes.txt", folder);
    write_whole(path, "1", 1);
    capture_begin(&c);
    d[0] = open_split(folder, 1, GREY, 10, 1);
    d[1] = open_split(path, 1, GREY, 10, 1);
    const char *text = capture_end(&c);
    cr_assert(!d[0] && !d[1]);
    cr_assert_eq(occurrences(text, "error: "), 2, "%s", text);
    cr_assert(strstr(text, "there is no data in it that is known") &&
              strstr(text, "notes.txt: not data that is known"));
    cr_assert_eq(occurrences(text, "  the four IDX files"), 2, "%s", text);
    cr_assert_eq(occurrences(text, "  the binary version of CIFAR-100"), 2, "%s", text);
    free(folder);
}

/* The real thing, as the Debian package dataset-fashion-mnist installs it. */
Test(dataset, fashion_mnist_is_the_published_one)
{
    static const int32_t first[2][6] = {{9, 2, 1, 1, 6, 1}, {9, 0, 0, 3, 0, 2}};        /* test, train */
    const int input[4] = {6, 1, 28, 28};
    static cnn_real x[6 * 784];
    int32_t labels[6];

    unsetenv("CNN_DATA");
    for (int train = 0; train < 2; train++) {
        cnn_dataset *d = open_split("fashion-mnist", train, input, 10, 1);
        cr_assert(d);
        cr_assert_eq(cnn_dataset_size(d), train ? 60000u : 10000u);
        cr_assert(read_pictures(d, (size_t[]){0, 1, 2, 3, 4, 5}, 6, 784, x, labels));
        cr_assert_arr_eq(labels, first[train], sizeof labels);
        cr_assert_str_eq(cnn_dataset_class(d, labels[0]), "ankle boot");
        cr_assert_str_eq(cnn_dataset_class(d, 0), "t-shirt");
        double sum = 0;
        for (size_t i = 0; i < cnn_dataset_size(d); i++) {
            cr_assert(read_pictures(d, &i, 1, 784, x, NULL));
            for (int k = 0; k < 784; k++)
                sum += (double)x[k] / 784 / (double)cnn_dataset_size(d);
        }
        cr_assert_float_eq(sum, train ? 0.2860406 : 0.2868493, 1e-6, "mean %.7f", sum);
        cnn_dataset_close(d);
    }
}

/* ---- synthetic ---- */

enum { SIDE = 12, PIXELS = 2 * SIDE * SIDE };
static const int SYNTHETIC[4] = {32, 2, SIDE, SIDE};

static void whole_split(int train, int classes, uint64_t seed, cnn_real **x, int32_t **labels, size_t *size)
{
    cnn_dataset *d = open_split("synthetic", train, SYNTHETIC, classes, seed);
    cr_assert(d);
    *size = cnn_dataset_size(d);
    size_t *index = malloc(*size * sizeof *index);
    *x = malloc(*size * PIXELS * sizeof **x);
    *labels = malloc(*size * sizeof **labels);
    for (size_t i = 0; i < *size; i++)
        index[i] = i;
    cr_assert(read_pictures(d, index, (int)*size, PIXELS, *x, *labels));
    free(index);
    cnn_dataset_close(d);
}

Test(dataset, synthetic_depends_on_the_seed_alone)
{
    cnn_real *a, *b;
    int32_t  *labels;
    size_t    size, test;

    whole_split(1, 10, 7, &a, &labels, &size);
    cr_assert_eq(size, 2048);
    for (size_t i = 0; i < size * PIXELS; i++)
        cr_assert(a[i] >= 0 && a[i] < 1);
    int32_t times[10] = {0};
    for (size_t i = 0; i < size; i++)
        times[labels[i]]++;
    for (int k = 0; k < 10; k++)
        cr_assert(times[k] == 204 || times[k] == 205);
    whole_split(1, 10, 7, &b, &labels, &size);
    cr_assert(memcmp(a, b, size * PIXELS * sizeof *a) == 0, "the same again");
    whole_split(1, 10, 8, &b, &labels, &size);
    cr_assert(memcmp(a, b, PIXELS * sizeof *a) != 0, "another seed, another noise");
    whole_split(0, 10, 7, &b, &labels, &test);
    cr_assert_eq(test, 512);
    cr_assert(memcmp(a, b, PIXELS * sizeof *a) != 0, "test pictures are not train pictures");
    cr_assert(memcmp(a, a + 10 * PIXELS, PIXELS * sizeof *a) != 0, "pictures of a class differ");
}

/* The nearest class mean of the train split classifies the test split of another seed. */
Test(dataset, synthetic_can_be_learnt)
{
    enum { CLASSES = 20 };
    static double mean[CLASSES][PIXELS];
    int       times[CLASSES] = {0}, right = 0;
    cnn_real *x;
    int32_t  *labels;
    size_t    size;

    whole_split(1, CLASSES, 1, &x, &labels, &size);
    for (size_t i = 0; i < size; i++) {
        times[labels[i]]++;
        for (int k = 0; k < PIXELS; k++)
            mean[labels[i]][k] += x[i * PIXELS + (size_t)k];
    }
    whole_split(0, CLASSES, 2, &x, &labels, &size);
    for (size_t i = 0; i < size; i++) {
        double least = 1e30;
        int    best = -1;
        for (int c = 0; c < CLASSES; c++) {
            double distance = 0;
            for (int k = 0; k < PIXELS; k++) {
                double difference = mean[c][k] / times[c] - x[i * PIXELS + (size_t)k];
                distance += difference * difference;
            }
            if (distance < least) {
                least = distance;
                best = c;
            }
        }
        right += best == labels[i];
    }
    cr_assert_gt(right, (int)(0.95 * (double)size), "%d of %zu", right, size);
}

Test(dataset, synthetic_takes_any_shape)
{
    static const int shapes[][4] = {{1, 1, 1, 1}, {3000, 1, 1, 2}, {2, 5, 3, 17}, {1, 3, 224, 224}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int   *s = shapes[i];
        cnn_dataset *d = open_split("synthetic", 1, s, 1000, 1);
        size_t       count = (size_t)s[1] * (size_t)s[2] * (size_t)s[3];
        cnn_real    *x = malloc(count * sizeof *x);             /* exactly: sanitizers watch its ends */
        int32_t      label;

        cr_assert(d);
        cr_assert_eq(cnn_dataset_size(d), s[0] > 2048 ? (size_t)s[0] : 2048);
        cr_assert(read_pictures(d, (size_t[]){2047}, 1, count, x, &label));
        cr_assert_eq(label, 47);
        cr_assert_str_eq(cnn_dataset_class(d, 999), "999");
        cnn_dataset_close(d);
        free(x);
    }
}
