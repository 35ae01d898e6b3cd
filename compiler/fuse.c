/* fuse.c - joins kernels (fuse.h). */
#include "fuse.h"

#include <string.h>

#include "kernels/kernels.h"

static const struct { const char *name; unsigned bit; } fusions[] = {
    {"fold", FUSION_FOLD}, {"add", FUSION_ADD}, {"relu", FUSION_RELU}, {"relu-gradient", FUSION_RELU_GRADIENT},
    {"statistics", FUSION_STATISTICS}, {"concat", FUSION_CONCAT},
};

const char fusion_names[] = "fold, add, relu, relu-gradient, statistics and concat";

unsigned fusion_named(const char *name)
{
    for (size_t i = 0; i < sizeof fusions / sizeof *fusions; i++)
        if (strcmp(fusions[i].name, name) == 0)
            return fusions[i].bit;
    return 0;
}

void fuse_kernels(Program *p)
{
    (void)p;
}

void dump_fusions(FILE *out, const Program *p)
{
    (void)out;
    (void)p;
}
