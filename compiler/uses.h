/* uses.h - who reads and writes each tensor, while fuse.c and alias.c join kernels and tensors. */
#ifndef USES_H
#define USES_H

#include "step.h"

typedef struct { Kernel *kernel; Access access; } Use;
typedef LIST(Use) UseList;

/* Lists by number of the storage, in the order of the program; kernels that were removed are left out by the readers of
 * the lists (is_removed). */
typedef struct {
    Program       *p;
    UseList       *of;
    LIST(Kernel *) first;       /* kernels to stand before all others                           */
} Uses;

Uses   *find_uses(Program *);
bool    is_removed(const Kernel *);
bool    is_kernel_of(const Kernel *, const Op *, const char *suffix);           /* false for a removed one */
void    note_fusion(Program *, const char *what, const Kernel *, const Kernel *into);        /* for --dump=fuse */
void    remove_kernel(Uses *, Kernel *, const char *why, const Kernel *into);   /* noted likewise; into may be NULL */

/* The last kernel that writes `storage` before `before` (NULL: at all); NULL: none. */
Kernel *last_writer(const Uses *, const Tensor *storage, const Kernel *before);
int     count_uses(const Uses *, const Tensor *storage, bool writes);           /* kernels that write or only read it */
/* Index of the last kernel that uses the storage, and of the first behind kernel `after` that writes it; -1: none. */
int     last_use(const Uses *, const Tensor *storage, const Kernel *except);
int     first_write(const Uses *, const Tensor *storage, const Kernel *after);

/* The kernel's operand now is another tensor, or it gets one more. */
void    replace_operand(Uses *, Kernel *, const char *role, Tensor *);
void    add_use(Uses *, Kernel *, const char *role, Tensor *, Access);

/* `view` and all its views become channels `slice` and up of `storage` (0 and the same size: the whole of it). */
void    merge_storage(Uses *, Tensor *view, Tensor *storage, int64_t slice);

/* Drops removed kernels, puts uses->first in front, and numbers the rest anew. */
void    compact_kernels(Uses *);

/* alias.c: tensors that can share memory: slices of concatenations, copies that need not be made, work in place. */
void    share_slices(Uses *);
void    share_copies(Uses *);
void    work_in_place(Uses *);

#endif
