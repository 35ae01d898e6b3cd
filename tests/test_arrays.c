/* test_arrays.c - data sets as .npy and safetensors files, and every way in which one can be wrong. */
#include "sources.h"

#include <math.h>
#include <unistd.h>

/* A .npy as NumPy writes it: 16 + 64 k bytes of head. */
static void write_npy(const char *folder, const char *name, const char *type, const char *shape, const void *data,
                      size_t size)
{
    char head[128], *file;
    size_t length;
    snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    FILE *f = open_memstream(&file, &length);
    fwrite("\x93NUMPY\1\0\x76\0", 1, 10, f);
    fprintf(f, "%-117s\n", head);
    fwrite(data, 1, size, f);
    fclose(f);
    write_whole(in(folder, name), file, length);
    free(file);
}

Test(arrays, npy_of_bytes_and_of_real_numbers)
{
    char       *folder = fresh("npy");
    uint8_t     bytes[24];
    float       floats[24];
    double      doubles[24];
    cnn_picture p = {0};

    for (int i = 0; i < 24; i++) {
        bytes[i] = (uint8_t)i;
        floats[i] = (float)i - 7.5f;
        doubles[i] = i - 7.25;
    }
    write_npy(folder, "train_x.npy", "|u1", "(2, 3, 2, 2)", bytes, 24);
    write_npy(folder, "train_y.npy", "<i8", "(2,)", (int64_t[]){4, 1}, 16);
    write_npy(folder, "validation_x.npy", "<f4", "(2, 3, 4)", floats, sizeof floats);
    write_npy(folder, "validation_y.npy", "|u1", "(2, 1)", (uint8_t[]){2, 3}, 2);
    write_npy(folder, "test_x.npy", "<f8", "(2, 12)", doubles, sizeof doubles);
    write_npy(folder, "test_y.npy", "<u2", "(2,)", (uint16_t[]){0, 4}, 4);

    cnn_source *s = open_source(folder, CNN_TRAIN, wish_of(3, 2, 2, 5));
    cr_assert(cnn_source_size(s) == 2 && cnn_source_label(s, 0) == 4 && cnn_source_label(s, 1) == 1);
    cr_assert(!cnn_source_whole(s) && cnn_source_has_validation(s));
    cr_assert_eq(cnn_source_read(s, 1, &p), 1);
    cr_assert(p.channels == 3 && p.height == 2 && p.width == 2 && !p.values);
    cr_assert_arr_eq(p.bytes, bytes + 12, 12);
    cnn_source_close(s);
    s = open_source(folder, CNN_VALIDATION, wish_of(3, 2, 2, 5));
    cr_assert(cnn_source_label(s, 0) == 2 && cnn_source_label(s, 1) == 3);
    cr_assert_eq(cnn_source_read(s, 1, &p), 1);
    cr_assert(p.channels == 1 && p.height == 3 && p.width == 4 && !p.bytes);
    cr_assert_arr_eq(p.values, floats + 12, 12 * sizeof *floats);
    cnn_source_close(s);
    s = open_source(folder, CNN_TEST, wish_of(3, 2, 2, 5));
    cr_assert_eq(cnn_source_read(s, 0, &p), 1);
    cr_assert(p.channels == 3 && p.height == 2 && p.width == 2);
    for (int i = 0; i < 12; i++)
        cr_assert_eq(p.values[i], (float)doubles[i]);
    cnn_source_close(s);
    cnn_picture_free(&p);
    free(folder);
}

Test(arrays, arrays_that_are_wrong)
{
    char    *folder = fresh("npy-wrong");
    uint8_t  bytes[48] = {0};
    float    floats[12] = {0, NAN};
    cnn_wish wish = wish_of(3, 2, 2, 5);
    const struct { const char *file, *type, *shape; size_t size; const char *part; } cases[] = {
        {"x.npy", ">f4", "(2, 3, 2, 2)", 48, "x.npy: its elements have a type that is not read"},
        {"x.npy", "<f2", "(2, 3, 2, 2)", 24, "x.npy: its elements have a type that is not read"},
        {"x.npy", "|O", "(2, 3, 2, 2)", 24, "x.npy: its elements have a type that is not read"},
        {"x.npy", "<i4", "(2, 3, 2)", 48, "x.npy: pictures are bytes or real numbers"},
        {"x.npy", "|u1", "(2, 3, 2, 2)", 23, "x.npy: the file ends early: its shape needs 24 bytes, it has 23"},
        {"x.npy", "|u1", "(2, 3, 2, 2)", 25, "x.npy: the file ends late"},
        {"x.npy", "|u1", "()", 1, "x.npy: its shape is not one of 1 to 4 sizes above 0"},
        {"x.npy", "|u1", "(2, 0)", 0, "x.npy: its shape is not one of"},
        {"x.npy", "|u1", "(2, 1, 1, 1, 1)", 2, "x.npy: its shape is not one of"},
        {"x.npy", "|u1", "(4294967296, 4294967296, 16)", 2, "x.npy: its shape is not one of"},
        {"x.npy", "|u1", "(-2, 3)", 6, "x.npy: its shape is not one of"},
        {"x.npy", "|u1", "(2, 3", 6, "x.npy: its shape is not one of"},
        {"x.npy", "|u1", "(3, 3, 2, 2)", 36, "x.npy: holds 3 pictures, but there are 2 labels"},
        {"x.npy", "|u1", "(2,)", 2, "x.npy: its shape is 2, the network takes 3x2x2"},
        {"x.npy", "|u1", "(2, 5)", 10, "x.npy: its shape is 2x5, the network takes 3x2x2"},
        {"x.npy", "|u1", "(2, 2, 2, 3)", 24, "x.npy: its shape is 2x2x2x3, which has the channels last"},
        {"x.npy", "|u1", "(2, 4, 2, 2)", 32, "x.npy: its pictures are 4x2x2, the network takes 3x2x2"},
        {"y.npy", "<f4", "(2,)", 8, "y.npy: labels are integers, one a picture"},
        {"y.npy", "|u1", "(2, 2)", 4, "y.npy: labels are integers, one a picture"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_npy(folder, "x.npy", "|u1", "(2, 3, 2, 2)", bytes, 24);
        write_npy(folder, "y.npy", "|u1", "(2,)", bytes, 2);
        write_npy(folder, cases[i].file, cases[i].type, cases[i].shape, bytes, cases[i].size);
        refuse(folder, CNN_TRAIN, wish, cases[i].part);
    }
    write_npy(folder, "y.npy", "|i1", "(2,)", "\0\xff", 2);
    refuse(folder, CNN_TRAIN, wish, "y.npy: label -1 of picture 1 is below 0");
    write_npy(folder, "y.npy", "<u8", "(2,)", "\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16);
    refuse(folder, CNN_TRAIN, wish, "y.npy: label 9223372036854775807 of picture 1 is beyond the network's 5 classes");
    write_whole(in(folder, "y.npy"), "\x93NUMPY\1\0\xff\xff{}", 12);
    refuse(folder, CNN_TRAIN, wish, "y.npy: the header of a .npy file is damaged");
    write_whole(in(folder, "y.npy"), "\x93NUMPY\1\0\2\0{}", 12);
    refuse(folder, CNN_TRAIN, wish, "y.npy: the header is not one that NumPy writes");
    write_whole(in(folder, "y.npy"), "no array at all", 15);
    refuse(folder, CNN_TRAIN, wish, "y.npy: not a .npy file");
    unlink(in(folder, "y.npy"));
    refuse(folder, CNN_TRAIN, wish, "has neither y.npy nor train.safetensors");

    cnn_picture p = {0};
    write_npy(folder, "x.npy", "<f4", "(2, 1, 2, 3)", floats, 48);
    write_npy(folder, "y.npy", "|u1", "(2,)", bytes, 2);
    cnn_source *s = open_source(folder, CNN_TEST, wish);
    cr_assert(cnn_source_whole(s));
    cr_assert_eq(cnn_source_read(s, 1, &p), 1);
    cr_assert_eq(cnn_source_read(s, 0, &p), 0);
    cr_assert(strstr(p.cause, "x.npy: picture 0 has a value that is not finite"), "%s", p.cause);
    cnn_source_close(s);
    cnn_picture_free(&p);
    free(folder);
}

/* A safetensors file of one array x of 2 x 1 x 2 x 2 floats and one of labels, with names that begin with `prefix`. */
static void write_tensors(const char *path, const char *prefix)
{
    char head[512], bytes[1024];
    int length = snprintf(head, sizeof head,
                          "{\"%1$sx\":{\"dtype\":\"F32\",\"shape\":[2,1,2,2],\"data_offsets\":[0,32]},"
                          "\"%1$sy\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[32,48]}}", prefix);
    memcpy(bytes, &(uint64_t){(uint64_t)length}, 8);
    memcpy(bytes + 8, head, (size_t)length);
    memcpy(bytes + 8 + length, (float[]){1, 2, 3, 4, 5, 6, 7, 8}, 32);
    memcpy(bytes + 40 + length, (int64_t[]){1, 0}, 16);
    write_whole(path, bytes, 56 + (size_t)length);
}

Test(arrays, safetensors)
{
    char       *folder = fresh("safetensors");
    cnn_picture p = {0};
    cnn_wish    wish = wish_of(1, 2, 2, 2);
    const struct { const char *file, *prefix, *name; int whole; } cases[] = {
        {"train.safetensors", "", "", 0}, {"own.safetensors", "train_", "own.safetensors", 0},
        {"all.safetensors", "", "all.safetensors", 1}};

    for (int i = 0; i < 3; i++) {
        write_tensors(in(folder, cases[i].file), cases[i].prefix);
        cnn_source *s = open_source(in(folder, cases[i].name), CNN_TRAIN, wish);
        cr_assert(cnn_source_size(s) == 2 && cnn_source_label(s, 0) == 1 && cnn_source_label(s, 1) == 0);
        cr_assert_eq(cnn_source_whole(s), cases[i].whole);
        cr_assert_eq(cnn_source_read(s, 1, &p), 1);
        cr_assert(p.values[0] == 5 && p.values[3] == 8);
        cnn_source_close(s);
    }
    refuse(in(folder, "own.safetensors"), CNN_TEST, wish, "has no tensor 'test_x'");
    refuse(folder, CNN_TEST, wish, "has neither test_x.npy nor test.safetensors");
    refuse(in(folder, "none.safetensors"), CNN_TEST, wish, "cannot be opened: No such file");
    write_whole(in(folder, "train.safetensors"), "\x10\0\0\0\0\0\0\0{", 9);
    refuse(folder, CNN_TRAIN, wish, "train.safetensors");
    cnn_picture_free(&p);
    free(folder);
}
