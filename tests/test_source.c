/* test_source.c - what can be named as a network file, lines and columns, and the arena. */
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "support.h"
#include "syntax.h"

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* Reading `path` says `message` (after "cnnc: error: <path>") and takes no time. */
static void expect_unreadable(const char *path, const char *message)
{
    alarm(5);
    Arena *arena = arena_new();
    char *output;
    size_t size;
    FILE *out = open_memstream(&output, &size);
    Diag diag = {.out = out};
    cr_expect(!source_read(arena, &diag, path));
    fclose(out);
    cr_expect(diag.errors == 1, "%d errors", diag.errors);
    cr_expect(strstr(output, message) && strstr(output, path), "%s: %s", path, output);
    free(output);
    arena_free(arena);
    alarm(0);
}

static void expect_refused_bytes(const char *bytes, size_t length, const char *message)
{
    char *output = parse_text("x.net", bytes, length);
    cr_expect(strstr(output, message), "%s", output);
    free(output);
}

Test(source, a_file)
{
    char *folder = scratch_folder("source_file");
    char path[4096];
    snprintf(path, sizeof path, "%s/a.net", folder);
    write_whole(path, "network a { }\n", 14);
    Arena *arena = arena_new();
    Diag diag = {0};
    Source *s = source_read(arena, &diag, path);
    cr_assert(s && diag.source == s && diag.errors == 0);
    cr_expect(s->length == 14 && strcmp(s->text, "network a { }\n") == 0 && strcmp(s->path, path) == 0);
    arena_free(arena);
    free(folder);
}

Test(source, what_is_no_file)
{
    char *folder = scratch_folder("source_kinds");
    char path[4096];
    expect_unreadable(folder, "is a folder, not a network file");
    snprintf(path, sizeof path, "%s/none.net", folder);
    expect_unreadable(path, "No such file or directory");
    cr_assert(mkfifo(path, 0600) == 0);
    expect_unreadable(path, "is a pipe, not a network file");
    expect_unreadable("/dev/zero", "is a device, not a network file");
    expect_unreadable("/dev/null", "is a device, not a network file");
    snprintf(path, sizeof path, "%s/loop.net", folder);
    cr_assert(symlink(path, path) == 0);
    expect_unreadable(path, "cannot read");
    expect_unreadable("", "cannot read");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (snprintf(address.sun_path, sizeof address.sun_path, "%s/s.net", folder) < (int)sizeof address.sun_path) {
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        cr_assert(bind(s, (struct sockaddr *)&address, sizeof address) == 0);
        expect_unreadable(address.sun_path, "is a socket, not a network file");
        close(s);
    }
    free(folder);
}

Test(source, empty_and_large_files)
{
    char *folder = scratch_folder("source_sizes");
    char path[4096];
    snprintf(path, sizeof path, "%s/a.net", folder);
    write_whole(path, "", 0);
    expect_unreadable(path, "is empty");
    write_whole(path, " \t\r\n\n", 5);
    expect_unreadable(path, "is empty");
    cr_assert(truncate(path, (off_t)1 << 40) == 0);     /* sparse: takes no room */
    expect_unreadable(path, "is larger than 4 MiB");
    cr_assert(truncate(path, SOURCE_LIMIT + 1) == 0);
    expect_unreadable(path, "is larger than 4 MiB");
    free(folder);
}

Test(source, bytes_that_are_no_text)
{
    expect_refused_bytes("network a\0{}", 12, "x.net:1:10: error: the file contains a NUL byte");
    expect_refused_bytes("network\n \xff a", 11, "x.net:2:2: error: byte 0xff is not UTF-8");
    expect_refused_bytes("a\xc0\x80", 3, "x.net:1:2: error: byte 0xc0 is not UTF-8");
    expect_refused_bytes("\xed\xa0\x80", 3, "byte 0xed is not UTF-8");
    expect_refused_bytes("\xf4\x90\x80\x80", 4, "byte 0xf4 is not UTF-8");
    expect_refused_bytes("// \xe2\x82", 5, "x.net:1:4: error: byte 0xe2 is not UTF-8");
    expect_refused_bytes("\xff\xfen\0e\0t\0", 8, "x.net is UTF-16 text");
    expect_refused_bytes("\xfe\xff\0n", 4, "x.net is UTF-16 text");
}

Test(source, utf8)
{
    static const struct { const char *text; int bytes; uint32_t code; } cases[] = {
        {"a", 1, 'a'}, {"\x7f", 1, 0x7f}, {"\xc2\x80", 2, 0x80}, {"\xdf\xbf", 2, 0x7ff}, {"\xe0\xa0\x80", 3, 0x800},
        {"\xef\xbf\xbf", 3, 0xffff}, {"\xf0\x90\x80\x80", 4, 0x10000}, {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
        {"\x80", 0, 0}, {"\xc1\xbf", 0, 0}, {"\xe0\x9f\xbf", 0, 0}, {"\xf0\x8f\xbf\xbf", 0, 0},
        {"\xf5\x80\x80\x80", 0, 0}, {"\xc3", 0, 0}, {"\xe2\x82", 0, 0}, {"\xe2\x28\xa1", 0, 0}, {"", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t code = 0;
        int bytes = decode_utf8(cases[i].text, (int)strlen(cases[i].text), &code);
        cr_expect(bytes == cases[i].bytes, "case %zu: %d bytes", i, bytes);
        cr_expect(bytes == 0 || code == cases[i].code, "case %zu: U+%x", i, code);
    }
}

Test(source, lines_and_columns)
{
    Arena *arena = arena_new();
    Source *s = source_from_text(arena, "x", "ab\n\n\xc3\xa9z\nlast");
    static const struct { int offset, line, column; } cases[] = {
        {0, 1, 1}, {1, 1, 2}, {2, 1, 3}, {3, 2, 1}, {4, 3, 1}, {6, 3, 2}, {7, 3, 3}, {8, 4, 1}, {12, 4, 5}, {99, 4, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int column, line = source_line(s, cases[i].offset, &column);
        cr_expect(line == cases[i].line && column == cases[i].column, "%d: %d:%d", cases[i].offset, line, column);
        cr_expect(source_line(s, cases[i].offset, NULL) == line);
    }
    s = source_from_text(arena, "x", "");
    cr_expect(source_line(s, 0, NULL) == 1);
    arena_free(arena);
}

/* ---- the arena --------------------------------------------------------------------------------------------------- */

Test(arena, memory_is_zeroed_aligned_and_apart)
{
    Arena *arena = arena_new();
    unsigned char *items[500];
    for (int i = 0; i < 500; i++) {
        size_t size = (size_t)i * 37 % 9000 + 1;
        items[i] = arena_alloc(arena, size);
        cr_assert((uintptr_t)items[i] % 16 == 0);
        for (size_t k = 0; k < size; k++)
            cr_assert(items[i][k] == 0);
        memset(items[i], i & 255, size);
    }
    for (int i = 0; i < 500; i++) {
        size_t size = (size_t)i * 37 % 9000 + 1;
        cr_assert(items[i][0] == (i & 255) && items[i][size - 1] == (i & 255));
    }
    cr_expect(arena_alloc(arena, 0) != NULL);
    cr_expect(strcmp(arena_printf(arena, "%d %s", 7, "x"), "7 x") == 0);
    cr_expect(strcmp(arena_copy(arena, "abcdef", 3), "abc") == 0);
    arena_free(arena);
    arena_free(NULL);
}

Test(arena, lists_grow)
{
    Arena *arena = arena_new();
    LIST(int) list = {0};
    for (int i = 0; i < 10000; i++)
        APPEND(arena, &list, i * 3);
    cr_assert(list.count == 10000);
    for (int i = 0; i < 10000; i++)
        cr_assert(list.items[i] == i * 3);
    arena_free(arena);
}

/* What was freed can be taken again: the limit is for what is held at one time. */
Test(arena, freed_memory_does_not_count)
{
    for (int i = 0; i < 100; i++) {
        Arena *arena = arena_new();
        arena_alloc(arena, 64 << 20);
        arena_free(arena);
    }
}

Test(arena, too_much_ends_in_exit_1, .exit_code = 1)
{
    static Arena *held[64];
    for (int i = 0; i < 64; i++)
        arena_alloc(held[i] = arena_new(), 16 << 20);
}

Test(arena, one_huge_allocation_ends_in_exit_1, .exit_code = 1)
{
    static Arena *held;
    arena_alloc(held = arena_new(), SIZE_MAX - 8);
}
