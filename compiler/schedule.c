/* schedule.c - which family computes each kernel (schedule.h); `--dump=schedule`.
 *
 * Candidates stand in the KernelDef, best first. The first that fits the shape is taken, unless the command line names
 * another: --schedule=conv1.forward=direct. A rule for every layer, *.forward=direct, holds where that algorithm can.
 */
#include "schedule.h"

#include <string.h>

#include "kernels/kernels.h"

static const char textbook[] = "textbook";

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

/* The first family that can compute k, of this name unless NULL; false: there is none. */
static bool choose_family(Program *p, Kernel *k, const char *name)
{
    for (int i = 0; k->def->fast && k->def->fast[i]; i++) {
        const FastKernel *f = k->def->fast[i];
        const bool allowed = name ? strcmp(name, f->name) == 0
                                  : !(p->tuning->no_winograd && strcmp(f->name, "winograd") == 0);
        if (!allowed || (f->fits && !f->fits(k, p->target)))
            continue;
        k->fast = f;
        if (f->plan)
            f->plan(p, k);
        if (!wants_impossible_border(p, k))
            return true;
        take_back(k);
    }
    return false;
}

void schedule_kernel(Program *p, Kernel *k)
{
    const char *asked = asked_algorithm(p, k);
    if (asked && (strcmp(asked, textbook) == 0 || choose_family(p, k, asked)))
        return;
    choose_family(p, k, NULL);
}

void schedule_kernels(Program *p)
{
    for (int i = 0; i < p->kernels.count; i++)
        schedule_kernel(p, p->kernels.items[i]);
}

/* ---- rules that speak of nothing --------------------------------------------------------------------------------- */

/* "conv1.forward=direct" in its parts. */
typedef struct { const char *layer, *pass, *algorithm; } Rule;
typedef LIST(const char *) Names;

/* What there is instead, and whether it would do. */
typedef struct { Names layers, passes, algorithms; bool computed, known, fits; } Findings;

static bool split_rule(Arena *arena, const char *text, Rule *r)
{
    const char *equals = strchr(text, '='), *dot = NULL;
    for (const char *at = text; equals && at < equals; at++)
        dot = *at == '.' ? at : dot;
    if (!dot || dot == text || dot + 1 == equals || !equals[1])
        return false;
    *r = (Rule){arena_copy(arena, text, (size_t)(dot - text)), arena_copy(arena, dot + 1, (size_t)(equals - dot - 1)),
                equals + 1};
    return true;
}

static void add_name(Arena *arena, Names *names, const char *name)
{
    for (int i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return;
    APPEND(arena, names, name);
}

/* "forward, grad_weight and grad_input" */
static const char *list_text(Arena *arena, const Names *names)
{
    const char *text = "";
    for (int i = 0; i < names->count; i++)
        text = arena_printf(arena, "%s%s%s", text, i == 0 ? "" : i + 1 < names->count ? ", " : " and ",
                            names->items[i]);
    return text;
}

static void look_at(const Program *p, const Kernel *k, const Rule *r, Findings *f)
{
    add_name(p->arena, &f->layers, k->layer->name);
    if (strcmp(r->layer, "*") != 0 && strcmp(r->layer, k->layer->name) != 0)
        return;
    add_name(p->arena, &f->passes, k->def->suffix);
    if (strcmp(r->pass, k->def->suffix) != 0)
        return;
    f->computed = true;
    for (int i = 0; k->def->fast && k->def->fast[i]; i++) {
        const FastKernel *family = k->def->fast[i];
        const bool fits = !family->fits || family->fits(k, p->target);
        f->known |= strcmp(family->name, r->algorithm) == 0;
        f->fits |= fits && strcmp(family->name, r->algorithm) == 0;
        if (fits)
            add_name(p->arena, &f->algorithms, family->name);
    }
}

static bool check_rule(Diag *diag, const char *text, const Program *const programs[], int count)
{
    Arena *arena = programs[0]->arena;
    Findings f = {0};
    Rule r;
    if (!split_rule(arena, text, &r)) {
        error_plain(diag, "--schedule=%s is not LAYER.PASS=ALGORITHM\nfor example --schedule=conv1.forward=direct, or "
                    "*.forward=direct for every layer; --dump=schedule lists what there is", text);
        return false;
    }
    for (int i = 0; i < count; i++)
        for (int j = 0; j < programs[i]->kernels.count; j++)
            look_at(programs[i], programs[i]->kernels.items[j], &r, &f);
    if (f.fits || (f.computed && strcmp(r.algorithm, textbook) == 0))
        return true;
    add_name(arena, &f.algorithms, textbook);
    const char *nearest = f.passes.count ? NULL : nearest_name(r.layer, f.layers.items, f.layers.count);
    const char *algorithms = list_text(arena, &f.algorithms);
    if (f.passes.count == 0 && nearest)
        error_plain(diag, "--schedule=%s: there is no layer '%s' that computes\ndid you mean '%s'?", text, r.layer,
                    nearest);
    else if (f.passes.count == 0)
        error_plain(diag, "--schedule=%s: there is no layer '%s' that computes\n--dump=schedule lists layers and "
                    "passes", text, r.layer);
    else if (!f.computed)
        error_plain(diag, "--schedule=%s: '%s' is no pass of %s\nthere are %s", text, r.pass,
                    *r.layer == '*' ? "any layer" : r.layer, list_text(arena, &f.passes));
    else if (f.known && *r.layer == '*')
        error_plain(diag, "--schedule=%s: '%s' fits the sizes of no layer\n--dump=schedule shows what does", text,
                    r.algorithm);
    else if (f.known)
        error_plain(diag, "--schedule=%s: '%s' does not fit these sizes\nthese do: %s", text, r.algorithm, algorithms);
    else
        error_plain(diag, "--schedule=%s: there is no algorithm '%s' for it\nthere are %s", text, r.algorithm,
                    algorithms);
    return false;
}

bool check_rules(Diag *diag, const Program *const programs[], int count)
{
    const Tuning *t = programs[0]->tuning;
    bool good = true;
    for (int i = 0; i < t->algorithms.count; i++)
        good &= check_rule(diag, t->algorithms.items[i], programs, count);
    return good;
}

void dump_schedule(FILE *out, const Program *p)
{
    static const char *const names[] = {"predict", "gradients", "update"};
    fprintf(out, "%s for %s\n", names[p->mode], p->target->name);
    for (int i = 0; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        fprintf(out, "  %3d %-28s %-16s %s%s%s\n", i, k->layer->name, k->def->suffix,
                k->fast ? k->fast->name : "textbook", k->schedule.text ? ": " : "",
                k->schedule.text ? k->schedule.text : "");
    }
}
