/* dump_program.c - `cnnc --dump=step`: each kernel of a step program on a line, what it reads -> what it writes. */
#include "op.h"
#include "unit.h"

static void dump_operand(FILE *out, const Program *p, const Operand *o, const char *before)
{
    fprintf(out, "%s%s=%s(%s)", before, o->role, o->tensor->name,
            dims_text(p->arena, o->tensor->rank, o->tensor->dim, "", "x"));
}

static void dump_kernel(FILE *out, const Program *p, const Kernel *k)
{
    fprintf(out, "%5d  %-28s", k->index, kernel_function(p->arena, p, k));
    for (int i = 0; i < k->operand_count; i++)
        if (k->operand[i].access != OPERAND_WRITE)
            dump_operand(out, p, &k->operand[i], " ");
    fprintf(out, "  ->");
    for (int i = 0; i < k->operand_count; i++)
        if (k->operand[i].access != OPERAND_READ)
            dump_operand(out, p, &k->operand[i], k->operand[i].access == OPERAND_UPDATE ? " += " : " ");
    fputc('\n', out);
}

void dump_program(FILE *out, const Program *p)
{
    static const char *const names[] = {"predict", "gradients", "update"};
    fprintf(out, "program %s: %d kernels\n", names[p->mode], p->kernels.count);
    for (int i = 0; i < p->kernels.count; i++) {
        if (p->mode == PROGRAM_TRAIN && i == p->backward_from)
            fprintf(out, "  backward\n");
        dump_kernel(out, p, p->kernels.items[i]);
    }
}
