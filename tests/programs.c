/* programs.c - graphs, step programs and loaded networks for tests; declared and described in programs.h. */
#include "programs.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse.h"
#include "schedule.h"
#include "support.h"

/* ---- graphs and programs ----------------------------------------------------------------------------------------- */

static Graph *graph_of(Arena *arena, Diag *diag, const Source *source, const char *what)
{
    Overrides none = {0};
    diag->source = source;
    Tree *tree = source ? parse(arena, diag, source) : NULL;
    Graph *graph = tree ? expand(arena, diag, source, tree, &none) : NULL;
    cr_assert(graph, "this network has an error:\n%s", what);
    cr_assert(check_trainable(graph), "this network cannot be trained:\n%s", what);
    return graph;
}

static Diag *new_diag(Arena *arena)
{
    Diag *diag = NEW(arena, Diag);
    *diag = (Diag){.out = stderr, .limit = 20};
    return diag;
}

Graph *graph_from_text(Arena *arena, const char *text)
{
    return graph_of(arena, new_diag(arena), source_from_text(arena, "test.net", text), text);
}

Graph *graph_from_file(Arena *arena, const char *path)
{
    Diag *diag = new_diag(arena);
    return graph_of(arena, diag, source_read(arena, diag, path), path);
}

Program *placed_program(const Graph *graph, ProgramMode mode)
{
    Program *p = build_program(graph, mode, NULL);
    if (mode != PROGRAM_UPDATE)
        plan_memory(p);
    return p;
}

Program *fast_program(const Graph *graph, ProgramMode mode, const Tuning *tuning)
{
    Program *p = build_program(graph, mode, tuning);
    schedule_kernels(p);
    fuse_kernels(p);
    choose_layouts(p);
    return p;
}

const char *network_file(int i)
{
    static const char *const files[] = {
        "dsl-examples/lenet.net",    "tests/golden/windows.net",  "tests/golden/normal.net", "tests/golden/graph.net",
        "tests/golden/residual.net", "tests/golden/branches.net", "tests/golden/perceptron.net"};
    return i < (int)(sizeof files / sizeof *files) ? files[i] : NULL;
}

const char *any_network_file(int i)
{
    static glob_t examples;
    if (i == 0 && examples.gl_pathc == 0) {
        cr_assert(glob("dsl-examples/*.net", 0, NULL, &examples) == 0, "there are no examples");
        glob("dsl-examples/*/*.net", GLOB_APPEND, NULL, &examples);
    }
    int small = 0;
    while (network_file(small))
        small++;
    if (i < small)
        return network_file(i);
    return i - small < (int)examples.gl_pathc ? examples.gl_pathv[i - small] : NULL;
}

int count_kernels(const Program *p, const char *suffix, const char *keyword, const char *layer)
{
    int count = 0;
    for (int i = 0; i < p->kernels.count; i++) {
        const Kernel *k = p->kernels.items[i];
        count += (!suffix || strcmp(k->def->suffix, suffix) == 0) &&
                 (!keyword || (k->layer->op && strcmp(k->layer->op->keyword, keyword) == 0)) &&
                 (!layer || strcmp(k->layer->name, layer) == 0);
    }
    return count;
}

/* ---- libraries --------------------------------------------------------------------------------------------------- */

void compile_library(const char *file, const char *flags, const char *library)
{
    Outcome o = run_command("%s/cnnc --shared %s '%s' -o '%s'", BUILD, flags, file, library);
    cr_assert(o.status == 0, "cnnc --shared %s %s: status %d\n%s", flags, file, o.status, o.err);
    outcome_free(&o);
}

static bool is_newer(const char *path, const char *than)
{
    struct stat a, b;
    return stat(path, &a) == 0 && stat(than, &b) == 0 &&
           (a.st_mtim.tv_sec != b.st_mtim.tv_sec ? a.st_mtim.tv_sec > b.st_mtim.tv_sec
                                                 : a.st_mtim.tv_nsec > b.st_mtim.tv_nsec);
}

static void *symbol(const Loaded *l, const char *name, const char *verb)
{
    char full[256];
    snprintf(full, sizeof full, "%s_%s", name, verb);
    return dlsym(l->library, full);
}

Loaded load_network(const char *library, const char *name, bool is_double, uint64_t seed)
{
    char path[4096];
    snprintf(path, sizeof path, "%s%s", strchr(library, '/') ? "" : "./", library);
    Loaded l = {.library = dlopen(path, RTLD_NOW | RTLD_LOCAL), .is_double = is_double};
    cr_assert(l.library, "%s", dlerror());
    void (*shape)(int[4], int[4]);
    struct { const char *verb; void *slot; } needed[] = {
        {"new", &l.create}, {"free", &l.destroy}, {"tensors", &l.tensors}, {"tensor", &l.tensor}, {"shape", &shape},
        {"get", &l.get}, {"set", &l.set}, {"get_grad", &l.get_grad}, {"get_moment", &l.get_moment}, {"flat", &l.flat},
        {"span", &l.span}, {"freeze", &l.freeze}, {"predict", &l.predict}, {"gradients", &l.gradients},
        {"update", &l.update}, {"step", &l.step}, {"target", &l.target}, {"watch", &l.watch}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        void *address = symbol(&l, name, needed[i].verb);
        cr_assert(address, "%s has no %s_%s", library, name, needed[i].verb);
        memcpy(needed[i].slot, &address, sizeof address);
    }
    void *poison = symbol(&l, name, "poison");
    memcpy(&l.poison, &poison, sizeof poison);
    shape(l.input, l.output);
    l.net = l.create(seed);
    cr_assert(l.net, "%s_new ran out of memory", name);
    return l;
}

/* Tests run in processes of their own, several at a time: who holds the lock compiles, the others find it done. */
static void compile_once(const char *file, const char *flags, const char *library)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.lock", library);
    int lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    cr_assert(lock >= 0 && flock(lock, LOCK_EX) == 0, "cannot lock %s", path);
    if (!is_newer(library, BUILD "/cnnc") || !is_newer(library, BUILD "/libcnn.a") || !is_newer(library, file))
        compile_library(file, flags, library);
    close(lock);
}

Loaded load_file(const char *file, const char *name, const char *flags, uint64_t seed)
{
    static const char folder[] = BUILD "/tests/libraries";
    char library[4096];
    mkdir(folder, 0777);
    snprintf(library, sizeof library, "%s/%s %s.so", folder, file, flags);
    for (char *at = library + sizeof folder; *at; at++)
        if (*at == '/' || *at == ' ')
            *at = '_';
    compile_once(file, flags, library);
    return load_network(library, name, strstr(flags, "--double") != NULL, seed);
}

void unload_network(Loaded *l)
{
    l->destroy(l->net);
    dlclose(l->library);
    *l = (Loaded){0};
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static size_t product(const int n[4])
{
    return (size_t)n[0] * (size_t)n[1] * (size_t)n[2] * (size_t)n[3];
}

/* `count` values as the library takes them; owned by the caller. */
static void *to_real(const Loaded *l, const double *values, size_t count)
{
    if (l->is_double) {
        double *copy = malloc(sizeof *copy * count);
        memcpy(copy, values, sizeof *copy * count);
        return copy;
    }
    float *copy = malloc(sizeof *copy * count);
    for (size_t i = 0; i < count; i++)
        copy[i] = (float)values[i];
    return copy;
}

static void from_real(const Loaded *l, const void *real, double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = l->is_double ? ((const double *)real)[i] : (double)((const float *)real)[i];
}

/* The doubles of `real`, which is freed. */
static double *in_doubles(const Loaded *l, void *real, size_t count)
{
    double *values = malloc(sizeof *values * count);
    from_real(l, real, values, count);
    free(real);
    return values;
}

double *fetch(const Loaded *l, void (*get)(const void *, int, void *), int i)
{
    size_t count = l->tensor(i).count;
    void *real = malloc(sizeof(double) * count);
    get(l->net, i, real);
    return in_doubles(l, real, count);
}

double *fetch_moment(const Loaded *l, int order, int i)
{
    size_t count = l->tensor(i).count;
    void *real = malloc(sizeof(double) * count);
    l->get_moment(l->net, order, i, real);
    return in_doubles(l, real, count);
}

void store(Loaded *l, int i, const double *values)
{
    void *real = to_real(l, values, l->tensor(i).count);
    l->set(l->net, i, real);
    free(real);
}

void run_predict(Loaded *l, const double *x, double *logits)
{
    void *real = to_real(l, x, product(l->input)), *out = calloc(product(l->output), sizeof(double));
    l->predict(l->net, real, out);
    from_real(l, out, logits, product(l->output));
    free(real);
    free(out);
}

double run_gradients(Loaded *l, const double *x, const int32_t *labels, double *logits)
{
    void *real = to_real(l, x, product(l->input)), *out = calloc(product(l->output), sizeof(double));
    float (*in_float)(void *, const void *, const int32_t *, void *);
    double (*in_double)(void *, const void *, const int32_t *, void *);
    memcpy(&in_float, &l->gradients, sizeof in_float);
    memcpy(&in_double, &l->gradients, sizeof in_double);
    double loss = l->is_double ? in_double(l->net, real, labels, out) : (double)in_float(l->net, real, labels, out);
    if (logits)
        from_real(l, out, logits, product(l->output));
    free(real);
    free(out);
    return loss;
}

double run_step(Loaded *l, const double *x, const int32_t *labels, const cnn_update *u)
{
    void *real = to_real(l, x, product(l->input));
    float (*in_float)(void *, const void *, const int32_t *, void *, const cnn_update *);
    double (*in_double)(void *, const void *, const int32_t *, void *, const cnn_update *);
    memcpy(&in_float, &l->step, sizeof in_float);
    memcpy(&in_double, &l->step, sizeof in_double);
    double loss = l->is_double ? in_double(l->net, real, labels, NULL, u)
                               : (double)in_float(l->net, real, labels, NULL, u);
    free(real);
    return loss;
}

/* ---- the formula of tests/golden/make.py ------------------------------------------------------------------------- */

double reference_unit(size_t i, uint32_t t)
{
    uint32_t x = (uint32_t)(i + 1) * 2654435761u + t * 2246822519u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return (double)(x >> 15) / 65536 - 1;
}

double *reference_pictures(const Loaded *l, int step)
{
    size_t count = product(l->input);
    double *x = malloc(sizeof *x * count);
    for (size_t i = 0; i < count; i++)
        x[i] = reference_unit(i, 1000 + (uint32_t)step);
    return x;
}

int32_t *reference_labels(const Loaded *l, int step)
{
    int32_t *labels = malloc(sizeof *labels * (size_t)l->input[0]);
    for (int n = 0; n < l->input[0]; n++)
        labels[n] = (3 * n + 2 * step + 1) % l->output[1];
    return labels;
}
