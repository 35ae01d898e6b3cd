/* test_idx.c - IDX files that are right, and every way in which one can be wrong: each is one clear line. */
#include "capture.h"
#include "data/data.h"
#include "support.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

/* Bytes being put together. */
typedef struct { uint8_t *at; size_t length; } Bytes;

static void append(Bytes *b, const void *more, size_t length)
{
    b->at = realloc(b->at, b->length + length + 1);
    memcpy(b->at + b->length, more, length);
    b->length += length;
}

/* An IDX header: type, rank and sizes as given, right or wrong. */
static Bytes header(int type, int rank, const uint32_t *sizes)
{
    Bytes b = {0};
    append(&b, (uint8_t[]){0, 0, (uint8_t)type, (uint8_t)rank}, 4);
    for (int i = 0; i < rank; i++)
        append(&b, (uint8_t[]){sizes[i] >> 24, sizes[i] >> 16 & 255, sizes[i] >> 8 & 255, sizes[i] & 255}, 4);
    return b;
}

/* Three pictures of 2x5, bytes 1, 2, 3, ... */
static Bytes pictures(void)
{
    Bytes b = header(8, 3, (uint32_t[]){3, 2, 5});
    for (uint8_t i = 1; i <= 30; i++)
        append(&b, &i, 1);
    return b;
}

static char *path_of(const char *name)
{
    static char path[4096];
    static char *folder;
    if (!folder) {
        char test[128];
        snprintf(test, sizeof test, "idx-%s", criterion_current_test->name);
        folder = scratch_folder(test);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* One gzip member. */
static Bytes gzip(const void *bytes, size_t length)
{
    z_stream z = {0};
    Bytes    b = {malloc(length + length / 1000 + 1000), 0};

    cr_assert(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_in = (Bytef *)bytes;
    z.avail_in = (uInt)length;
    z.next_out = b.at;
    z.avail_out = (uInt)(length + length / 1000 + 1000);
    cr_assert(deflate(&z, Z_FINISH) == Z_STREAM_END);
    b.length = z.total_out;
    deflateEnd(&z);
    return b;
}

/* A gzip of `first` and then so many zeros. */
static void write_bomb(const char *path, Bytes first, uint64_t zeros)
{
    static uint8_t none[1 << 20];
    gzFile f = gzopen(path, "wb9");

    gzwrite(f, first.at, (unsigned)first.length);
    for (; zeros > 0; zeros -= zeros < sizeof none ? zeros : sizeof none)
        gzwrite(f, none, (unsigned)(zeros < sizeof none ? zeros : sizeof none));
    gzclose(f);
}

/* The file is refused with one error that holds `part`, and nothing is left in *out. */
static void expect_refusal(const char *path, int least, int most, long first, const char *part)
{
    static Capture c;
    cnn_idx out;

    memset(&out, 0xaa, sizeof out);
    capture_begin(&c);
    int ok = cnn_idx_read(path, least, most, first, &out);
    const char *text = capture_end(&c);
    cr_assert_not(ok, "%s was taken, not refused with '%s'", path, part);
    expect_one_error(text, path, part);
    cr_assert(out.bytes == NULL && out.count == 0);
}

static void refuse(const char *name, Bytes b, int least, int most, long first, const char *part)
{
    char *path = path_of(name);
    write_whole(path, b.at, b.length);
    expect_refusal(path, least, most, first, part);
    free(b.at);
}

static void expect_pictures(const char *path)
{
    cnn_idx idx;

    cr_assert(cnn_idx_read(path, 3, 4, 3, &idx));
    cr_assert(idx.rank == 3 && idx.shape[0] == 3 && idx.shape[1] == 2 && idx.shape[2] == 5 && idx.count == 30);
    for (int i = 0; i < 30; i++)
        cr_assert_eq(idx.bytes[i], i + 1);
    cnn_idx_free(&idx);
    cr_assert_null(idx.bytes);
}

Test(idx, reads_plain_gzip_and_gzip_in_members)
{
    Bytes b = pictures(), z = gzip(b.at, b.length), one = gzip(b.at, 20), two = gzip(b.at + 20, b.length - 20);
    char *path = path_of("pictures");

    write_whole(path, b.at, b.length);
    expect_pictures(path);
    write_whole(path, z.at, z.length);
    expect_pictures(path);
    append(&one, two.at, two.length);
    write_whole(path, one.at, one.length);
    expect_pictures(path);
}

Test(idx, reads_rank_1_and_rank_4)
{
    Bytes   labels = header(8, 1, (uint32_t[]){4}), colour = header(8, 4, (uint32_t[]){2, 3, 1, 1});
    cnn_idx idx;

    append(&labels, "\1\2\3\377", 4);
    append(&colour, "abcdef", 6);
    write_whole(path_of("l"), labels.at, labels.length);
    cr_assert(cnn_idx_read(path_of("l"), 1, 1, -1, &idx));
    cr_assert(idx.rank == 1 && idx.shape[0] == 4 && idx.bytes[3] == 255);
    cnn_idx_free(&idx);
    write_whole(path_of("c"), colour.at, colour.length);
    cr_assert(cnn_idx_read(path_of("c"), 3, 4, 2, &idx));
    cr_assert(idx.rank == 4 && idx.shape[1] == 3 && memcmp(idx.bytes, "abcdef", 6) == 0);
    cnn_idx_free(&idx);
}

Test(idx, refuses_what_is_no_file)
{
    expect_refusal(path_of("absent"), 3, 3, -1, "No such file");
    expect_refusal("/usr", 3, 3, -1, "not a file of data");
    cr_assert(mkfifo(path_of("pipe"), 0600) == 0);
    expect_refusal(path_of("pipe"), 3, 3, -1, "not a file of data");    /* and does not wait for a writer */
    expect_refusal("/dev/zero", 3, 3, -1, "not a file of data");
    refuse("empty", (Bytes){malloc(1), 0}, 3, 3, -1, "the file ends early, after 0 of the 4 bytes of the header");
}

Test(idx, refuses_wrong_headers)
{
    Bytes png = {0}, swapped = {0};

    append(&png, "\x89PNG\r\n\x1a\n", 8);
    refuse("png", png, 3, 3, -1, "not an IDX file: it begins with 89 50 4e 47");
    append(&swapped, "\3\10\0\0", 4);
    refuse("swapped", swapped, 3, 3, -1, "not an IDX file: it begins with 03 08 00 00");
    refuse("float", header(0x0d, 3, (uint32_t[]){1, 1, 1}), 3, 3, -1, "IDX type 0x0d");
    refuse("rank0", header(8, 0, NULL), 3, 3, -1, "its rank is 0");
    refuse("rank1", header(8, 1, (uint32_t[]){1}), 3, 4, -1, "its rank is 1, pictures have rank 3");
    refuse("rank3", pictures(), 1, 1, -1, "its rank is 3, labels have rank 1");
    refuse("rank5", header(8, 5, (uint32_t[]){1, 1, 1, 1, 1}), 3, 4, -1, "its rank is 5");
    uint32_t many[255] = {0};
    refuse("rank255", header(8, 255, many), 3, 4, -1, "its rank is 255");
    refuse("zero", header(8, 3, (uint32_t[]){2, 0, 4}), 3, 3, -1, "size 2 of 3 is 0");
}

Test(idx, refuses_sizes_that_overflow)
{
    static const uint32_t sizes[][4] = {
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0x80000000, 1, 1, 1}, {65536, 65536, 2, 1},
        {0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff}, {65536, 65536, 65536, 65536}, {1, 65536, 65537, 1},
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        Bytes b = header(8, 4, sizes[i]), z = gzip(b.at, b.length);
        refuse("overflow", b, 3, 4, -1, "promises more than 4 GiB");
        refuse("overflow.gz", z, 3, 4, -1, "promises more than 4 GiB");
    }
    refuse("4GiB", header(8, 3, (uint32_t[]){65536, 256, 256}), 3, 4, -1, "the file ends early: it has 16 bytes");
}

Test(idx, refuses_every_truncation)
{
    Bytes b = pictures(), z = gzip(b.at, b.length);
    char *path = path_of("cut");

    for (size_t length = 0; length < b.length; length++) {
        write_whole(path, b.at, length);
        expect_refusal(path, 3, 3, -1, "ends early");
    }
    for (size_t length = 2; length < z.length; length++) {
        write_whole(path, z.at, length);
        expect_refusal(path, 3, 3, -1, "");
    }
    write_whole(path, z.at, z.length - 1);
    expect_refusal(path, 3, 3, -1, "gzip");
}

Test(idx, refuses_trailing_bytes)
{
    Bytes b = pictures();

    append(&b, "x", 1);
    Bytes z = gzip(b.at, b.length);
    refuse("late", b, 3, 3, -1, "the file ends late: it has 47 bytes, its header says 46");
    refuse("late.gz", z, 3, 3, -1, "more bytes follow the 30");
}

Test(idx, refuses_another_count)
{
    refuse("count", pictures(), 3, 3, 4, "holds 3 entries, but there are 4 labels");
}

/* Whatever bit of a gzip is damaged, the pictures are the right ones or there is an error. */
Test(idx, survives_every_flipped_bit_of_a_gzip)
{
    Bytes b = pictures(), z = gzip(b.at, b.length);
    char *path = path_of("flipped");
    int   taken = 0;
    static Capture c;

    for (size_t bit = 0; bit < 8 * z.length; bit++) {
        cnn_idx idx;
        z.at[bit / 8] ^= 1 << bit % 8;
        write_whole(path, z.at, z.length);
        z.at[bit / 8] ^= 1 << bit % 8;
        capture_begin(&c);
        int ok = cnn_idx_read(path, 3, 3, -1, &idx);
        const char *text = capture_end(&c);
        if (ok) {
            taken++;
            cr_assert(idx.count == 30 && idx.bytes[0] == 1 && idx.bytes[29] == 30, "bit %zu", bit);
            cnn_idx_free(&idx);
        } else {
            expect_one_error(text, path, "");
        }
    }
    cr_assert_lt(taken, 80, "only the gzip's time, system and flags are free: %d", taken);
}

/* At most a second and 256 MiB for each. */
Test(idx, defuses_bombs, .timeout = 60)
{
    char         *path = path_of("bomb.gz");
    struct rusage before, after;
    static const struct { uint32_t sizes[3]; uint64_t zeros; const char *part; } bombs[] = {
        {{1, 10, 100},           300 << 20, "more bytes follow the 1000"},         /* more than announced           */
        {{300, 1024, 1024},      300 << 20, "more than 200 times as many"},        /* as announced, but no pictures */
        {{4000, 1024, 1024},     16,        "more than 200 times as many"},        /* announced, not there          */
        {{63, 1024, 1024},       16,        "after 16 of the 66060288"},           /* small enough to try           */
    };

    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        struct timespec start, end;
        write_bomb(path, header(8, 3, bombs[i].sizes), bombs[i].zeros);
        getrusage(RUSAGE_SELF, &before);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
        expect_refusal(path, 3, 3, -1, bombs[i].part);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
        getrusage(RUSAGE_SELF, &after);
        cr_assert_lt(after.ru_maxrss - before.ru_maxrss, 256 << 10, "bomb %zu", i);
        cr_assert_lt(end.tv_sec - start.tv_sec + 1e-9 * (end.tv_nsec - start.tv_nsec), 1.0, "bomb %zu", i);
    }
}
