/* arena.c - memory by lifetime: everything that a pass makes is freed at once.
 *
 * An arena is a list of blocks that are filled from the front; an allocation that does not fit gets a new block.
 * Blocks come from calloc, so memory is zeroed, and what is never touched costs no page.
 *
 * Establishes: all arenas of the process together stay below ARENA_LIMIT, so that a hostile network file ends in one
 * line and exit 1 and not in a machine that swaps. That sum is the one thing in the compiler that is shared by all
 * threads, and an atomic.
 */
#include "cnnc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The promise is 256 MB for the process: the rest is for code, stacks and stdio. */
#define ARENA_LIMIT ((size_t)236 << 20)
enum { ALIGN = 16, SMALLEST_BLOCK = 1 << 16, LARGEST_BLOCK = 1 << 22 };

/* Under AddressSanitizer each allocation gets a block of its own, so that an overrun is seen. */
#if defined(__SANITIZE_ADDRESS__)
#define ONE_EACH 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONE_EACH 1
#endif
#endif
#ifndef ONE_EACH
#define ONE_EACH 0
#endif

typedef struct ArenaBlock {
    struct ArenaBlock *next;
    size_t             used, size;
    _Alignas(ALIGN) char bytes[];
} ArenaBlock;

struct Arena {
    ArenaBlock *blocks;         /* the newest first: the one that is being filled */
    size_t      next_size;
};

static atomic_size_t total;     /* bytes in the blocks of all arenas */

_Noreturn void out_of_memory(void)
{
    fputs("cnnc: error: there is not enough memory\n  = help: close other programs\n", stderr);
    exit(1);
}

_Noreturn static void pass_limit(void)
{
    fprintf(stderr, "cnnc: error: this network needs more than %d MiB to compile, and no more is allowed\n"
                    "  = help: write it with fewer layers or shorter labels\n", (int)(ARENA_LIMIT >> 20));
    exit(1);
}

static void *take(size_t size)
{
    if (size > ARENA_LIMIT || atomic_fetch_add(&total, size) + size > ARENA_LIMIT)
        pass_limit();
    void *memory = calloc(1, size);
    if (!memory)
        out_of_memory();
    return memory;
}

Arena *arena_new(void)
{
    Arena *a = calloc(1, sizeof *a);
    if (!a)
        out_of_memory();
    a->next_size = SMALLEST_BLOCK;
    return a;
}

void arena_free(Arena *a)
{
    if (!a)
        return;
    for (ArenaBlock *b = a->blocks, *next; b; b = next) {
        next = b->next;
        atomic_fetch_sub(&total, sizeof *b + b->size);
        free(b);
    }
    free(a);
}

/* Blocks double in size, so that a large graph needs few of them. */
static ArenaBlock *add_block(Arena *a, size_t size)
{
    size_t room = ONE_EACH || size > a->next_size ? size : a->next_size;
    if (a->next_size < LARGEST_BLOCK)
        a->next_size *= 2;
    ArenaBlock *b = take(sizeof *b + room);
    b->size = room;
    b->next = a->blocks;
    a->blocks = b;
    return b;
}

void *arena_alloc(Arena *a, size_t size)
{
    if (size > ARENA_LIMIT)
        pass_limit();
    if (!ONE_EACH)
        size = (size + ALIGN - 1) / ALIGN * ALIGN;
    ArenaBlock *b = a->blocks;
    if (!b || b->size - b->used < size)
        b = add_block(a, size);
    void *memory = b->bytes + b->used;
    b->used += size;
    return memory;
}

char *arena_copy(Arena *a, const char *text, size_t length)
{
    if (length >= ARENA_LIMIT)
        pass_limit();
    char *copy = arena_alloc(a, length + 1);
    if (length > 0)
        memcpy(copy, text, length);
    return copy;
}

/* Most texts are short: formatted once, beside the arena, and copied. Only longer ones are formatted again. */
char *arena_printf(Arena *a, const char *format, ...)
{
    char brief[512];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(brief, sizeof brief, format, args);
    va_end(args);
    if (length < 0)
        out_of_memory();
    char *text = arena_alloc(a, (size_t)length + 1);
    if ((size_t)length < sizeof brief)
        memcpy(text, brief, (size_t)length);
    else
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

void *arena_grow(Arena *a, void *items, size_t item_size, int count, int *capacity)
{
    if (count < *capacity)
        return items;
    if (*capacity > (1 << 29))
        pass_limit();
    int room = *capacity ? *capacity * 2 : 4;
    if ((size_t)room > ARENA_LIMIT / item_size)
        pass_limit();
    void *grown = arena_alloc(a, item_size * (size_t)room);
    if (count > 0)
        memcpy(grown, items, item_size * (size_t)count);
    *capacity = room;
    return grown;
}
