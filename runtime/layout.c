/* layout.c - PyTorch's layout of a tensor to that of fast code and back, and room for tensors (cnn.h). */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "cnn.h"

static size_t pieces(size_t n, size_t lanes)
{
    return (n + lanes - 1) / lanes;
}

/* Calls for every element: where it lies in PyTorch's order, and where in fast code's. */
#define FOR_ELEMENTS(at, plain_index, laid_index)                                                                      \
    for (size_t k = 0; k < at->k; k++)                                                                                 \
        for (size_t c = 0; c < at->c; c++)                                                                             \
            for (size_t t = 0, plain_index = (k * at->c + c) * at->taps,                                               \
                        row = (k / at->k_lanes * pieces(at->c, at->c_lanes) + c / at->c_lanes) * at->taps,             \
                        laid_index = (row * at->c_lanes + c % at->c_lanes) * at->k_lanes + k % at->k_lanes;            \
                 t < at->taps; t++, plain_index++, laid_index += at->c_lanes * at->k_lanes)

void cnn_lay(const cnn_layout *at, cnn_real *laid, const cnn_real *plain)
{
    size_t all = pieces(at->k, at->k_lanes) * at->k_lanes * pieces(at->c, at->c_lanes) * at->c_lanes * at->taps;
    if (all != at->k * at->c * at->taps)
        memset(laid, 0, sizeof *laid * all);
    FOR_ELEMENTS(at, from, to)
        laid[to] = plain[from];
}

void cnn_unlay(const cnn_layout *at, cnn_real *plain, const cnn_real *laid)
{
    FOR_ELEMENTS(at, to, from)
        plain[to] = laid[from];
}

enum { HUGE_PAGE = 2 << 20, PAGE = 4096 };

static size_t whole_pages(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* Large rooms begin at a huge page: the pages before and behind the room are given back. */
void *cnn_room(size_t bytes)
{
    size_t size = whole_pages(bytes ? bytes : 1), slack = size < HUGE_PAGE ? 0 : HUGE_PAGE;
    char *start = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    if (slack == 0)
        return start;
    char *room = start + (HUGE_PAGE - (uintptr_t)start % HUGE_PAGE) % HUGE_PAGE;
    if (room > start)
        munmap(start, (size_t)(room - start));
    if (room + size < start + size + slack)
        munmap(room + size, (size_t)(start + slack - room));
    madvise(room, size, MADV_HUGEPAGE);
    return room;
}

void cnn_room_free(void *room, size_t bytes)
{
    if (room)
        munmap(room, whole_pages(bytes ? bytes : 1));
}
