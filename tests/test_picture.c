/* test_picture.c - JPEG and PNG files: the pixels of Pillow, and every way in which a file can be wrong.
 *
 * The references are made by tests/reference/pictures.py.
 */
#include "capture.h"
#include "data/data.h"
#include "support.h"
#include "trainer.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define FOLDER "tests/reference/pictures"

static const cnn_decoder *const both[] = {&cnn_decoder_jpeg, &cnn_decoder_png, NULL};
static const cnn_decoder *const only_jpeg[] = {&cnn_decoder_jpeg, NULL};

/* 256 MB of memory, as RELIABILITY promises; the sanitizers need their own. */
static void limit_memory(void)
{
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
#if defined __has_feature
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
    setrlimit(RLIMIT_DATA, &(struct rlimit){256 << 20, 256 << 20});
#endif
#endif
#endif
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static char *scratch_file(const char *name)
{
    static char path[PATH_MAX], *folder;
    if (!folder) {
        char test[128];
        snprintf(test, sizeof test, "picture-%s", criterion_current_test->name);
        folder = scratch_folder(test);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* The same in memory, for tests that write thousands of files. */
static char *memory_file(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", memfd_create("picture", 0));
    return path;
}

/* ---- right ones -------------------------------------------------------------------------------------------------- */

/* Planes against interleaved hexadecimal digits; a grey picture stands for three equal channels. */
static void expect_pixels(const char *name, const cnn_picture *p, const char *hex, int channels)
{
    size_t plane = (size_t)p->height * (size_t)p->width;
    cr_assert_eq(strlen(hex), 2 * plane * (size_t)channels, "%s", name);
    for (size_t i = 0; i < plane * (size_t)channels; i++) {
        int byte = 16 * digit(hex[2 * i]) + digit(hex[2 * i + 1]), c = (int)(i % (size_t)channels);
        int is = p->bytes[(size_t)(c < p->channels ? c : 0) * plane + i / (size_t)channels];
        cr_assert_eq(is, byte, "%s: channel %d of pixel %zu is %d, Pillow's is %d", name, c, i / (size_t)channels, is,
                     byte);
    }
}

Test(picture, pixels_are_those_of_Pillow)
{
    size_t length;
    char  *text = read_whole("tests/reference/pictures.txt", &length);
    int    files = 0;

    cr_assert(text);
    cnn_picture p = {0};
    for (char *rest, *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *words, *name = strtok_r(line, " ", &words), path[PATH_MAX];
        if (*name == '#')
            continue;
        int   height = atoi(strtok_r(NULL, " ", &words)), width = atoi(strtok_r(NULL, " ", &words));
        char *rgb = strtok_r(NULL, " ", &words), *grey = strtok_r(NULL, " ", &words);
        snprintf(path, sizeof path, FOLDER "/%s", name);
        cr_assert_eq(cnn_picture_read(&p, path, both, 3), 1, "%s", p.cause);
        cr_assert(p.height == height && p.width == width && (p.channels == 1 || p.channels == 3));
        expect_pixels(name, &p, rgb, 3);
        cr_assert_eq(cnn_picture_read(&p, path, both, 1), 1, "%s", p.cause);
        cr_assert_eq(p.channels, 1);
        expect_pixels(name, &p, grey, 1);
        files++;
    }
    cr_assert_eq(files, 26);
    cnn_picture_free(&p);
    free(text);
}

/* ---- wrong ones -------------------------------------------------------------------------------------------------- */

/* The file is refused, with a cause that begins with its name and says `part`, and nothing is printed. */
static void refuse(const char *path, const cnn_decoder *const *decoders, const char *part)
{
    static Capture c;
    cnn_picture    p = {0};

    capture_begin(&c);
    int status = cnn_picture_read(&p, path, decoders, 3);
    cr_assert_str_empty(capture_end(&c));
    cr_assert_eq(status, 0, "%s: %d, not refused with '%s'", path, status, part);
    cr_assert(strncmp(p.cause, path, strlen(path)) == 0 && strstr(p.cause, part), "not '%s' in: %s", part, p.cause);
    cr_assert(p.mend && *p.mend);
    cnn_picture_free(&p);
}

Test(picture, files_that_are_no_pictures, .timeout = 20)
{
    char *path = scratch_file("file.jpg");

    limit_memory();
    refuse(path, both, "cannot be opened: No such file");
    write_whole(path, "", 0);
    refuse(path, both, "the file is empty");
    write_whole(path, "GIF89a", 6);
    refuse(path, both, "neither a JPEG nor a PNG");
    write_whole(path, "\xff", 1);
    refuse(path, both, "neither a JPEG nor a PNG");
    write_whole(path, "\xff\xd8\xff", 3);
    refuse(path, both, "the JPEG is damaged");
    refuse(path, NULL, "a JPEG, which this trainer cannot decode");
    refuse(FOLDER "/rgb.png", only_jpeg, "a PNG, which this trainer cannot decode");
    refuse("tests", both, "not a file of data");
    cr_assert_eq(truncate(path, (64 << 20) + 1), 0);
    refuse(path, both, "more than 64 MiB are no picture");
}

/* Any beginning of a file is refused, but for one that lacks nothing that libjpeg or libpng needs. */
Test(picture, files_that_end_early, .timeout = 60)
{
    static const char *const names[] = {"420.jpg", "progressive.jpg", "cmyk.jpg", "rgb.png", "rgb-interlaced.png",
                                        "palette-4.png"};
    char *path = memory_file();

    limit_memory();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char   whole[PATH_MAX];
        size_t length;
        snprintf(whole, sizeof whole, FOLDER "/%s", names[i]);
        char *bytes = read_whole(whole, &length);
        for (size_t cut = 8; cut < length - 4; cut += 7) {
            write_whole(path, bytes, cut);
            refuse(path, both, "is damaged: ");
        }
        free(bytes);
    }
}

/* A byte that is not what it was may be read or refused, but does no harm. */
Test(picture, files_with_a_wrong_byte, .timeout = 60)
{
    static const char *const names[] = {"420.jpg", "progressive.jpg", "rgb.png", "palette-interlaced.png"};
    char       *path = memory_file();
    cnn_picture p = {0};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char   whole[PATH_MAX];
        size_t length;
        snprintf(whole, sizeof whole, FOLDER "/%s", names[i]);
        char *bytes = read_whole(whole, &length);
        for (size_t at = 0; at < length; at++) {
            bytes[at] ^= (char)(1 << at % 8);
            write_whole(path, bytes, length);
            int status = cnn_picture_read(&p, path, both, 3);
            cr_assert(status == 1 || (status == 0 && *p.cause), "%s, byte %zu: %d", names[i], at, status);
            bytes[at] ^= (char)(1 << at % 8);
        }
        free(bytes);
    }
    cnn_picture_free(&p);
}

/* Where the size stands: in the frame header of a JPEG, in the first chunk of a PNG (whose checksum must be right). */
static size_t find_frame(const char *bytes, size_t length)
{
    for (size_t i = 0; i + 9 < length; i++)
        if ((uint8_t)bytes[i] == 0xff && ((uint8_t)bytes[i + 1] == 0xc0 || (uint8_t)bytes[i + 1] == 0xc2))
            return i + 5;
    cr_assert_fail("no frame");
    return 0;
}

Test(picture, headers_that_promise_too_much, .timeout = 20)
{
    static const char *const names[] = {"420.jpg", "progressive.jpg"};
    char  *path = scratch_file("large"), source[PATH_MAX];
    size_t length;

    limit_memory();
    for (int i = 0; i < 2; i++) {
        snprintf(source, sizeof source, FOLDER "/%s", names[i]);
        char *bytes = read_whole(source, &length);
        char *size = bytes + find_frame(bytes, length);
        memset(size, 0xff, 4);                          /* libjpeg has a limit of its own */
        write_whole(path, bytes, length);
        refuse(path, both, "Maximum supported image dimension is 65500 pixels");
        memcpy(size, "\xea\x60\xea\x60", 4);
        write_whole(path, bytes, length);
        refuse(path, both, "60000 x 60000 pixels are more than the 33554432");
        memcpy(size, "\x16\xa0\x16\xa0", 4);            /* 5792 x 5792 are allowed, and then the file ends */
        write_whole(path, bytes, length - 2);
        refuse(path, both, "is damaged: ");
        free(bytes);
    }
    static const uint8_t png[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff\x08\x02\0\0\0\x39\x67\x4e\x07"
                                 "\0\0\0\1IDAT";
    write_whole(path, png, sizeof png - 1);
    refuse(path, both, "65535 x 65535 pixels are more than the 33554432");
}
