/* test_safetensors.c - weights files: what is written is read back, what is wrong is refused with one clear line. The
 * failures of saving are in test_save.c. */
#include "capture.h"
#include "files/safetensors.h"
#include "support.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A network of four tensors. */
typedef struct { cnn_real values[4][6]; int sets; } Net;

static void get(const void *net, int i, cnn_real *out)
{
    memcpy(out, ((const Net *)net)->values[i], (size_t)(i == 0 ? 6 : i == 3 ? 1 : 2) * sizeof *out);
}

static void set(void *net, int i, const cnn_real *in)
{
    memcpy(((Net *)net)->values[i], in, (size_t)(i == 0 ? 6 : i == 3 ? 1 : 2) * sizeof *in);
    ((Net *)net)->sets++;
}

static const cnn_tensor tensors[4] = {
    {"conv1.weight", 3, {2, 1, 3}, 6, 1, 0}, {"conv1.bias", 1, {2}, 2, 1, 0}, {"bn1.running_mean", 1, {2}, 2, 0, 0},
    {"bn1.num_batches_tracked", 0, {0}, 1, 0, 1},
};

static const Net example = {{{1, -2, 3.5f, 0, 1e-40f, 1e30f}, {7, 8}, {9, 10}, {1234567}}, 0};

/* The four tensors and the momentum of the first two. */
static void items_of(Net *net, cnn_stored items[6])
{
    for (int i = 0; i < 6; i++)
        items[i] = (cnn_stored){i < 4 ? "" : "momentum.", tensors[i % 4], get, set, net, i % 4};
}

static char *path_of(const char *name)
{
    static char path[4096], *folder;
    if (!folder) {
        char test[128];
        snprintf(test, sizeof test, "safetensors-%s", criterion_current_test->name);
        folder = scratch_folder(test);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static char *save_example(const char *name)
{
    Net        net = example;
    cnn_stored items[6];

    items_of(&net, items);
    cr_assert(cnn_safetensors_write(path_of(name), items, 6,
                                    (cnn_metadata[]){{"epoch", "3"}, {"command", "--out \"a\\b\" \xc3\xa9\n"}}, 2));
    return path_of(name);
}

/* A file made by hand: its header as text (NUL-terminated, padded or not) and so many bytes of data. */
static char *write_file(const char *header, const void *data, size_t length)
{
    size_t   text = strlen(header);
    uint8_t *bytes = calloc(1, 8 + text + length + 1);

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)text >> 8 * i);
    memcpy(bytes + 8, header, text);
    if (data)
        memcpy(bytes + 8 + text, data, length);
    write_whole(path_of("file"), bytes, 8 + text + length);
    free(bytes);
    return path_of("file");
}

static void refuse_path(const char *path, const char *part)
{
    static Capture c;

    capture_begin(&c);
    cnn_safetensors *f = cnn_safetensors_open(path);
    const char      *text = capture_end(&c);
    cr_assert_null(f, "taken, not refused with '%s'", part);
    expect_one_error(text, path, part);
}

static void refuse(const char *header, size_t data, const char *part)
{
    refuse_path(write_file(header, NULL, data), part);
}

/* ---- writing and reading back ---- */

Test(safetensors, what_is_written_is_read_back)
{
    Net        net = {0};
    cnn_stored items[6];

    cnn_safetensors *f = cnn_safetensors_open(save_example("w"));
    cr_assert(f);
    items_of(&net, items);
    cr_assert_eq(cnn_safetensors_load(f, items, 6, 0), 6);
    cr_assert_eq(net.sets, 6);
    cr_assert(memcmp(net.values, example.values, sizeof net.values) == 0, "every bit");
    cr_assert_str_eq(cnn_safetensors_metadata(f, "epoch"), "3");
    cr_assert_str_eq(cnn_safetensors_metadata(f, "command"), "--out \"a\\b\" \xc3\xa9\n");
    cr_assert_str_eq(cnn_safetensors_metadata(f, "format"), "pt");
    cr_assert_null(cnn_safetensors_metadata(f, "step"));
    cr_assert(cnn_safetensors_has(f, "momentum.conv1.bias"));
    cr_assert_not(cnn_safetensors_has(f, "momentum.bn1.running_mean"));
    cr_assert_not(cnn_safetensors_has(f, "__metadata__"));
    cnn_safetensors_close(f);
    cnn_safetensors_close(NULL);
    cr_assert_neq(access(path_of("w.tmp"), F_OK), 0);
}

Test(safetensors, the_layout_is_the_formats)
{
    size_t length, again, header;
    char  *a = read_whole(save_example("a"), &length), *b = read_whole(save_example("b"), &again);

    cr_assert(length == again && memcmp(a, b, length) == 0, "the same bytes each time");
    header = (uint8_t)a[0] | (size_t)(uint8_t)a[1] << 8;
    cr_assert_eq(header % 8, 0);
    cr_assert_eq(length, 8 + header + 8 + 4 * (6 + 2 + 2 + 6 + 2));
    a[8 + header] = 0;
    const char *text = a + 8, *last = text;
    cr_assert(strncmp(text, "{\"__metadata__\":{", 17) == 0);
    for (int i = 0; i < 6; i++) {                       /* in state_dict order */
        char name[64];
        snprintf(name, sizeof name, "\"%s%s\":{\"dtype\":\"%s\",", i < 4 ? "" : "momentum.", tensors[i % 4].name,
                 i == 3 ? "I64" : "F32");
        const char *at = strstr(text, name);
        cr_assert(at && at > last, "%s in %s", name, text);
        last = at;
    }
    cr_assert(strstr(text, "\"bn1.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}"));
    cr_assert(strstr(text, "\"conv1.weight\":{\"dtype\":\"F32\",\"shape\":[2,1,3],\"data_offsets\":[8,32]}"));
    int64_t tracked;
    memcpy(&tracked, b + 8 + header, 8);
    cr_assert_eq(tracked, 1234567);
}

Test(safetensors, a_network_without_tensors_or_metadata)
{
    cr_assert(cnn_safetensors_write(path_of("none"), NULL, 0, NULL, 0));
    cnn_safetensors *f = cnn_safetensors_open(path_of("none"));
    cr_assert(f);
    cr_assert_eq(cnn_safetensors_load(f, NULL, 0, 0), 0);
    cnn_safetensors_close(f);
}

Test(safetensors, reads_the_types_of_others)
{
    static const char header[] =
        "{\"half\":{\"dtype\":\"F16\",\"shape\":[6],\"data_offsets\":[0,12]},"
        "\"brain\":{\"dtype\":\"BF16\",\"shape\":[2,1],\"data_offsets\":[12,16]},"
        "\"double\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[16,32]},"
        "\"int\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[32,36]},"
        "\"other\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[36,39]}}  ";
    static const uint16_t half[6] = {0x3c00, 0xc100, 0x0001, 0x7bff, 0x8000, 0x0400}, brain[2] = {0x4049, 0xbf80};
    static const double   numbers[2] = {0.1, -2};
    static const int32_t  n = -7;
    uint8_t data[39];
    Net     net = {0};

    memcpy(data, half, 12), memcpy(data + 12, brain, 4), memcpy(data + 16, numbers, 16), memcpy(data + 32, &n, 4);
    cnn_safetensors *f = cnn_safetensors_open(write_file(header, data, sizeof data));
    cr_assert(f);
    cnn_stored items[4] = {
        {"", {"half", 1, {6}, 6, 1, 0}, NULL, set, &net, 0}, {"", {"brain", 2, {2, 1}, 2, 1, 0}, NULL, set, &net, 1},
        {"", {"double", 1, {2}, 2, 1, 0}, NULL, set, &net, 2}, {"", {"int", 1, {1}, 1, 0, 1}, NULL, set, &net, 3},
    };
    cr_assert_eq(cnn_safetensors_load(f, items, 4, CNN_ALLOW_UNEXPECTED), 4);
    static const cnn_real expected[6] = {1, -2.5, 0x1p-24f, 65504, -0.0f, 0x1p-14f};
    cr_assert(memcmp(net.values[0], expected, sizeof expected) == 0);
    cr_assert(net.values[1][0] == 3.140625f && net.values[1][1] == -1);
    cr_assert(net.values[2][0] == (cnn_real)0.1 && net.values[2][1] == -2);
    cr_assert_eq(net.values[3][0], -7);
    cnn_safetensors_close(f);
}

/* ---- files that do not fit the network ---- */

/* Loads the example into items changed by the caller; it fails, with every part in its message, and sets nothing. */
static void refuse_load(cnn_stored items[6], int count, const char *parts[], const char *headline)
{
    static Capture c;
    Net *net = items[0].context, before = *net;

    cnn_safetensors *f = cnn_safetensors_open(save_example("misfit"));
    capture_begin(&c);
    int         loaded = cnn_safetensors_load(f, items, count, 0);
    const char *text = capture_end(&c);
    cnn_safetensors_close(f);
    cr_assert_eq(loaded, -1);
    cr_assert(strstr(text, headline), "'%s' is not in:\n%s", headline, text);
    for (; *parts; parts++)
        cr_assert(strstr(text, *parts), "'%s' is not in:\n%s", *parts, text);
    cr_assert_eq(occurrences(text, ": error: "), 1);
    cr_assert_eq(occurrences(text, "\n  help: "), 1);
    cr_assert(memcmp(net, &before, sizeof before) == 0, "nothing is changed");
}

Test(safetensors, a_table_tells_what_does_not_fit)
{
    Net        net = {0};
    cnn_stored items[6];

    items_of(&net, items);
    items[0].tensor.shape[2] = 5;
    items[1].tensor.name = "conv2.bias";
    items[2].tensor.integer = 1;
    refuse_load(items, 5, (const char *[]){
        "  shape       conv1.weight                      2x1x5 in the network, 2x1x3 in the file\n",
        "  missing     conv2.bias                        2\n",
        "  type        bn1.running_mean                  integer numbers in the network, F32 in the file\n",
        "  unexpected  conv1.bias                        2\n",
        "  unexpected  momentum.conv1.bias               2\n", NULL},
        "1 missing, 2 unexpected, 1 of another shape, 1 of another type");
    items_of(&net, items);
    items[0].tensor.rank = 2;
    refuse_load(items, 6, (const char *[]){"2x1 in the network, 2x1x3 in the file", NULL}, "1 of another shape");
}

Test(safetensors, long_tables_are_cut)
{
    Net        net = {0};
    cnn_stored items[60];
    char       names[60][16];

    for (int i = 0; i < 60; i++) {
        snprintf(names[i], sizeof names[i], "absent%d", i);
        items[i] = (cnn_stored){"", {names[i], 1, {2}, 2, 1, 0}, get, set, &net, 1};
    }
    refuse_load(items, 60, (const char *[]){"absent19", "\n  ... and 46 more\n", NULL}, "60 missing, 6 unexpected");
}

Test(safetensors, what_is_allowed_is_left_as_it_was)
{
    Net        net = {0};
    cnn_stored items[6];

    net.values[0][0] = net.values[1][0] = 55;
    items_of(&net, items);
    items[0].tensor.shape[2] = 5;
    items[1].tensor.name = "conv2.bias";
    cnn_safetensors *f = cnn_safetensors_open(save_example("allowed"));
    cr_assert_eq(cnn_safetensors_load(f, items, 4, CNN_ALLOW_MISSING | CNN_ALLOW_UNEXPECTED | CNN_ALLOW_SHAPE), 2);
    cr_assert(net.values[0][0] == 55 && net.values[1][0] == 55 && net.values[2][1] == 10 &&
              net.values[3][0] == 1234567);
    items_of(&net, items);
    items[3].tensor.name = "bn2.num_batches_tracked";   /* integers may be missing: old files lack them */
    cr_assert_eq(cnn_safetensors_load(f, items, 4, CNN_ALLOW_UNEXPECTED), 3);
    cnn_safetensors_close(f);
}

Test(safetensors, nan_weights_are_loaded_and_warned_of)
{
    static Capture c;
    Net        net = example;
    cnn_stored items[6];

    items_of(&net, items);
    net.values[1][1] = NAN;
    net.values[2][0] = -INFINITY;
    cr_assert(cnn_safetensors_write(path_of("nan"), items, 4, NULL, 0));
    net = example;
    cnn_safetensors *f = cnn_safetensors_open(path_of("nan"));
    capture_begin(&c);
    int         loaded = cnn_safetensors_load(f, items, 4, 0);
    const char *text = capture_end(&c);
    cr_assert_eq(loaded, 4);
    cr_assert(isnan(net.values[1][1]) && isinf(net.values[2][0]));
    cr_assert(strstr(text, ": warning: ") && strstr(text, "2 of 11 values are NaN or infinite, the first of them in "
                                                    "conv1.bias"), "%s", text);
    cnn_safetensors_close(f);
}

/* ---- hostile files ---- */

#define T(dtype, shape, begin, end) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

Test(safetensors, refuses_what_is_no_file)
{
    refuse_path(path_of("absent"), "cannot be opened: No such file");
    refuse_path("/usr", "not a file of weights");
    refuse_path("/dev/zero", "not a file of weights");
    write_whole(path_of("short"), "1234567", 7);
    refuse_path(path_of("short"), "it has only 7 bytes");
    write_whole(path_of("zip"), "PK\3\4\0\0\10\10\0\0 a PyTorch file", 25);
    refuse_path(path_of("zip"), "its header would have 578712552184433488 bytes, 2 to 33554432 are read");
    write_whole(path_of("long"), "\0\0\0\1\0\0\0\0{}", 10);
    refuse_path(path_of("long"), "its header should have 16777216 bytes, the file has 10: it is cut");
    write_whole(path_of("100MB"), "\1\341\365\5\0\0\0\0{}", 10);
    refuse_path(path_of("100MB"), "its header would have 100000001 bytes");
    write_whole(path_of("zero"), "\0\0\0\0\0\0\0\0{}", 10);
    refuse_path(path_of("zero"), "its header would have 0 bytes");
}

Test(safetensors, refuses_headers_that_are_not_json)
{
    refuse("[]", 0, "its header is not JSON");
    refuse("  {}", 0, "its header is not JSON");
    refuse("{\"a\":", 0, "its header is not JSON");
    refuse("{} {}", 0, "its header is not JSON");
    refuse("{\"a\\u0000b\":1}", 0, "its header is not JSON");
    refuse("{\"\xff\xfe\":1}", 0, "its header is not JSON");
    refuse("{\"a\":" T("F32", "[1e400]", "0", "4") "}", 4, "its header is not JSON");
    refuse("{\"a\":" T("F32", "[99999999999999999999]", "0", "4") "}", 4, "its header is not JSON");
    refuse("{\"a\":" T("F32", "[1]", "0", "4") ",\"a\":" T("F32", "[1]", "4", "8") "}", 8, "the same key twice");
    refuse("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
           "the same key twice");
}

Test(safetensors, refuses_members_that_are_no_tensors)
{
    refuse("{\"a\":1}", 0, "tensor 'a' lacks its dtype, its shape or two data_offsets");
    refuse("{\"a\":{}}", 0, "tensor 'a' lacks");
    refuse("{\"a\":[1,2,3]}", 0, "tensor 'a' lacks");
    refuse("{\"a\":" T("F32", "4", "0", "4") "}", 4, "tensor 'a' lacks");
    refuse("{\"a\":" T("F32", "[1]", "0", "4.0") "}", 4, "tensor 'a' lacks");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "tensor 'a' lacks");
    refuse("{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor 'a' lacks");
    refuse("{\"a\":" T("F33", "[1]", "0", "4") "}", 4, "unknown dtype 'F33'");
    refuse("{\"a\":" T("F32", "[\\\"1\\\"]", "0", "4") "}", 4, "not JSON");
    refuse("{\"a\":" T("F32", "[\"1\"]", "0", "4") "}", 4, "the shape of tensor 'a' is not made of sizes");
    refuse("{\"a\":" T("F32", "[-1]", "0", "4") "}", 4, "the shape of tensor 'a' is not made of sizes");
    refuse("{\"a\":" T("F32", "[1.0]", "0", "4") "}", 4, "the shape of tensor 'a' is not made of sizes");
    refuse("{\"__metadata__\":[]}", 0, "its __metadata__ is not an object of strings");
    refuse("{\"__metadata__\":{\"epoch\":3}}", 0, "its __metadata__ is not an object of strings");
    refuse("{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "its __metadata__ is not an object of strings");
}

Test(safetensors, refuses_bytes_that_do_not_add_up)
{
    refuse("{\"a\":" T("F32", "[2]", "0", "4") "}", 4, "tensor 'a' has 4 bytes, its dtype and shape need 8");
    refuse("{\"a\":" T("F16", "[2]", "0", "8") "}", 8, "tensor 'a' has 8 bytes, its dtype and shape need 4");
    refuse("{\"a\":" T("F32", "[]", "0", "8") "}", 8, "tensor 'a' has 8 bytes, its dtype and shape need 4");
    refuse("{\"a\":" T("F32", "[4294967296,4294967296]", "0", "0") "}", 0, "the shape of tensor 'a' is too large");
    refuse("{\"a\":" T("F32", "[4611686018427387904]", "0", "0") "}", 0, "the shape of tensor 'a' is too large");
    refuse("{\"a\":" T("F32", "[9223372036854775807,9223372036854775807,0]", "0", "0") "}", 0, "is too large");
    refuse("{\"a\":" T("F32", "[1]", "4", "0") "}", 4, "tensor 'a' ends at byte 0, before its start at 4");
    refuse("{\"a\":" T("F32", "[1]", "-4", "0") "}", 4, "tensor 'a' ends at byte 0, before its start at -4");
    refuse("{\"a\":" T("F32", "[1]", "0", "4") "}", 3, "tensor 'a' ends at byte 4 of 3 bytes of data");
    refuse("{\"a\":" T("F32", "[1]", "9223372036854775800", "9223372036854775804") "}", 4, "ends at byte 92233720");
    refuse("{\"a\":" T("F32", "[1]", "0", "4") "}", 5, "1 bytes follow the last tensor");
    refuse("{}", 1, "1 bytes follow the last tensor");
    refuse("{\"a\":" T("F32", "[1]", "4", "8") "}", 8, "a hole of 4 bytes before tensor 'a'");
    refuse("{\"a\":" T("F32", "[1]", "0", "4") ",\"b\":" T("F32", "[1]", "8", "12") "}", 12,
           "a hole of 4 bytes before tensor 'b'");
    refuse("{\"a\":" T("F32", "[2]", "0", "8") ",\"b\":" T("F32", "[1]", "4", "8") "}", 8,
           "tensors 'a' and 'b' overlap");
    refuse("{\"a\":" T("F32", "[1]", "0", "4") ",\"b\":" T("F32", "[1]", "0", "4") "}", 4, "' overlap");
}

Test(safetensors, takes_what_the_format_allows)
{
    static const char *const headers[] = {
        "{}", "{}        ", "{ \"a\" : " T("F32", "[ 1 ]", "0", "4") " }",
        "{\"b\":" T("U8", "[2]", "2", "4") ",\"a\":" T("BOOL", "[1,2]", "0", "2") "}",        /* not in order */
        "{\"e\":" T("F32", "[0,7]", "0", "0") ",\"a\":" T("F32", "[1]", "0", "4") "}",        /* empty */
        "{\"__metadata__\":{},\"a\":{\"x\":1,\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[0,4]}}",
    };

    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        cnn_safetensors *f = cnn_safetensors_open(write_file(headers[i], NULL, i < 2 ? 0 : 4));
        cr_assert(f, "%s", headers[i]);
        cnn_safetensors_close(f);
    }
}

Test(safetensors, names_cannot_reach_the_terminal)
{
    static Capture c;

    refuse("{\"\\u001b[31m\\n  help: x\\u0001\":1}", 0, "tensor '?[31m?  help: x?' lacks");
    cnn_safetensors *f = cnn_safetensors_open(write_file("{\"a\\nb\":" T("F32", "[1]", "0", "4") "}", NULL, 4));
    capture_begin(&c);
    int         loaded = cnn_safetensors_load(f, NULL, 0, 0);
    const char *text = capture_end(&c);
    cr_assert_eq(loaded, -1);
    cr_assert(strstr(text, "  unexpected  a?b "), "%s", text);
    cnn_safetensors_close(f);
}

/* At most a second and 256 MiB, whatever the header holds. */
Test(safetensors, large_headers_stay_cheap, .timeout = 60)
{
    static const struct { const char *begin, *repeat, *part; } hostile[] = {
        {"{\"a\":[", "[],", "more than 1000000 values"}, {"{\"a\":[", "{},", "more than 1000000 values"},
        {"{\"a\":", "[", "more than 1000000 values"},    {"{\"a\":\"", "xxxx", "not JSON"},
        {"{", "    ", "not JSON"},
    };
    enum { LENGTH = 32 << 20 };
    char *header = malloc(LENGTH + 1);

    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct rusage   before, after;
        struct timespec start, end;
        size_t          at = (size_t)sprintf(header, "%s", hostile[i].begin), some = strlen(hostile[i].repeat);
        for (; at + some <= LENGTH; at += some)
            memcpy(header + at, hostile[i].repeat, some);
        header[at] = 0;
        write_file(header, NULL, 0);
        getrusage(RUSAGE_SELF, &before);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
        refuse_path(path_of("file"), hostile[i].part);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
        getrusage(RUSAGE_SELF, &after);
        cr_assert_lt(after.ru_maxrss - before.ru_maxrss, 256 << 10, "header %zu", i);
        cr_assert_lt(end.tv_sec - start.tv_sec + 1e-9 * (end.tv_nsec - start.tv_nsec), 1.0, "header %zu", i);
    }
    free(header);
    refuse("{\"a\":[[[[[[[[[[[[[[[[[[[[[[", 0, "not JSON");
}

/* ---- damage ---- */

Test(safetensors, every_truncation_of_a_saved_file_is_refused)
{
    size_t length;
    char  *whole = read_whole(save_example("whole"), &length);

    for (size_t n = 0; n < length; n++) {
        write_whole(path_of("cut"), whole, n);
        refuse_path(path_of("cut"), "");
    }
    write_whole(path_of("cut"), whole, length + 1);     /* read_whole ends with a NUL */
    refuse_path(path_of("cut"), "");
}

Test(safetensors, every_flipped_bit_of_a_saved_file_is_refused)
{
    size_t length;
    char  *whole = read_whole(save_example("whole"), &length);

    for (size_t bit = 0; bit < 8 * length; bit++) {
        whole[bit / 8] ^= 1 << bit % 8;
        write_whole(path_of("flipped"), whole, length);
        whole[bit / 8] ^= 1 << bit % 8;
        refuse_path(path_of("flipped"), "");
    }
    write_whole(path_of("flipped"), whole, length);
    cnn_safetensors *f = cnn_safetensors_open(path_of("flipped"));
    cr_assert(f, "unharmed, it is taken");
    cnn_safetensors_close(f);
}
