/* schedule.c - which family computes each kernel (schedule.h); `--dump=schedule`.
 *
 * Candidates stand in the KernelDef, best first. The first that fits the shape is taken, unless the command line names
 * another: --schedule=conv1.forward=direct.
 */
#include "schedule.h"

#include <string.h>

#include "kernels/kernels.h"

/* Does `rule`, "conv1.forward=direct", speak of this kernel? Then the algorithm it names; NULL otherwise. */
static const char *algorithm_in(const char *rule, const Kernel *k)
{
    size_t layer = strlen(k->layer->name), suffix = strlen(k->def->suffix);
    if (rule[0] == '*' && rule[1] == '.')
        rule += 2;
    else if (strncmp(rule, k->layer->name, layer) == 0 && rule[layer] == '.')
        rule += layer + 1;
    else
        return NULL;
    return strncmp(rule, k->def->suffix, suffix) == 0 && rule[suffix] == '=' ? rule + suffix + 1 : NULL;
}

/* The algorithm that the command line asks for; the last rule wins. NULL: none. */
static const char *asked_algorithm(const Program *p, const Kernel *k)
{
    const char *asked = NULL;
    for (int i = 0; i < p->tuning->algorithms.count; i++) {
        const char *algorithm = algorithm_in(p->tuning->algorithms.items[i], k);
        asked = algorithm ? algorithm : asked;
    }
    return asked;
}

static bool is_allowed(const Program *p, const FastKernel *f, const char *asked)
{
    if (asked)
        return strcmp(asked, f->name) == 0;
    return !(p->tuning->no_winograd && strcmp(f->name, "winograd") == 0);
}

/* Forgets a family, and the room that its plan asked for. */
static void take_back(Kernel *k)
{
    int count = 0;
    for (int o = 0; o < k->operand_count; o++)
        if (!k->operand[o].tensor->scratch)
            k->operand[count++] = k->operand[o];
    k->operand_count = count;
    k->fast = NULL;
    k->schedule = (Schedule){0};
}

void schedule_kernel(Program *p, Kernel *k)
{
    const char *asked = asked_algorithm(p, k);
    for (int i = 0; k->def->fast && k->def->fast[i]; i++) {
        const FastKernel *f = k->def->fast[i];
        if (!is_allowed(p, f, asked) || (f->fits && !f->fits(k, p->target)))
            continue;
        k->fast = f;
        if (f->plan)
            f->plan(p, k);
        if (!wants_impossible_border(p, k))
            return;
        take_back(k);
    }
}

void schedule_kernels(Program *p)
{
    for (int i = 0; i < p->kernels.count; i++)
        schedule_kernel(p, p->kernels.items[i]);
}

void dump_schedule(FILE *out, const Program *p)
{
    static const char *const names[] = {"predict", "gradients", "update"};
    fprintf(out, "%s for %s\n", names[p->mode], p->target->name);
    for (int i = 0; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        fprintf(out, "  %3d %-28s %-16s %s%s%s\n", i, k->layer->name, k->def->suffix, k->fast ? k->fast->name : "textbook",
                k->schedule.text ? ": " : "", k->schedule.text ? k->schedule.text : "");
    }
}
