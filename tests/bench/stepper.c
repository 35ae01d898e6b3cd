/* stepper.c - our side of the comparison with other programs: a process that does steps when it is told to.
 *
 *     stepper LIBRARY NAME train|predict FOLDER
 *
 * LIBRARY is what `cnnc --shared` made of network NAME. FOLDER holds weights.bin (every tensor in state_dict order) and
 * pictures.bin, both of floats, and labels.bin, of int32. The process prints "ready" (after a prediction, whose scores
 * it writes to FOLDER/ours.bin, where it is to predict), and answers each line "SECONDS" with "MILLISECONDS COUNT": the
 * fastest step of as many as take that time, at least one. It ends with its input.
 */
#include "cnn.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    void      *library, *net;
    const char *name, *folder;
    int        train, input[4], output[4];
    float     *pictures, *logits;
    int32_t   *labels;
    void     (*predict)(void *, const float *, float *);
    float    (*train_step)(void *, const float *, const int32_t *, float *, const cnn_update *);
} Stepper;

static void fail(const char *what, const char *which)
{
    fprintf(stderr, "stepper: %s %s\n", what, which);
    exit(1);
}

static void *function(const Stepper *s, const char *verb)
{
    char name[256];
    snprintf(name, sizeof name, "%s_%s", s->name, verb);
    void *address = dlsym(s->library, name);
    if (!address)
        fail("there is no", name);
    return address;
}

/* `count` words of four bytes, from `skip` on. */
static void *read_words(const Stepper *s, const char *file, size_t skip, size_t count)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", s->folder, file);
    FILE *f = fopen(path, "rb");
    void *words = malloc(4 * count);
    if (!f || !words || fseek(f, (long)(4 * skip), SEEK_SET) != 0 || fread(words, 4, count, f) != count)
        fail("cannot read all of", path);
    fclose(f);
    return words;
}

static void write_logits(const Stepper *s, size_t count)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/ours.bin", s->folder);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(s->logits, sizeof(float), count, f) != count || fclose(f) != 0)
        fail("cannot write", path);
}

static void set_weights(const Stepper *s)
{
    int (*tensors)(void) = (int (*)(void))function(s, "tensors");
    cnn_tensor (*tensor)(int) = (cnn_tensor (*)(int))function(s, "tensor");
    void (*set)(void *, int, const float *) = (void (*)(void *, int, const float *))function(s, "set");
    size_t at = 0;
    for (int i = 0; i < tensors(); i++) {
        size_t count = tensor(i).count;
        float *values = read_words(s, "weights.bin", at, count);
        set(s->net, i, values);
        free(values);
        at += count;
    }
}

static Stepper begin(char **argv)
{
    Stepper s = {.library = dlopen(argv[1], RTLD_NOW), .name = argv[2], .folder = argv[4]};
    if (!s.library)
        fail("cannot load", argv[1]);
    s.train = strcmp(argv[3], "train") == 0;
    void *(*create)(uint64_t) = (void *(*)(uint64_t))function(&s, "new");
    ((void (*)(int *, int *))function(&s, "shape"))(s.input, s.output);
    s.predict = (void (*)(void *, const float *, float *))function(&s, "predict");
    s.train_step = (float (*)(void *, const float *, const int32_t *, float *, const cnn_update *))function(&s, "step");
    s.net = create(1);
    size_t pictures = (size_t)s.input[0] * (size_t)s.input[1] * (size_t)s.input[2] * (size_t)s.input[3];
    size_t logits = (size_t)s.output[0] * (size_t)s.output[1];
    s.logits = calloc(logits, sizeof(float));
    if (!s.net || !s.logits)
        fail("not enough memory for", argv[2]);
    s.pictures = read_words(&s, "pictures.bin", 0, pictures);
    s.labels = read_words(&s, "labels.bin", 0, (size_t)s.input[0]);
    set_weights(&s);
    if (!s.train) {
        s.predict(s.net, s.pictures, s.logits);
        write_logits(&s, logits);
    }
    return s;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one step. */
static double step(const Stepper *s)
{
    static const cnn_update rule = {.lr = 0.01f, .momentum = 0.9f, .weight_decay = 1e-4f};
    double start = now();
    if (s->train) {
        s->train_step(s->net, s->pictures, s->labels, s->logits, &rule);
    } else {
        s->predict(s->net, s->pictures, s->logits);
    }
    return now() - start;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: stepper LIBRARY NAME train|predict FOLDER\n");
        return 2;
    }
    Stepper s = begin(argv);
    char line[64];
    double budget;
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%lf", &budget) == 1) {
        double best = 1e30, from = now();
        int count = 0;
        while (count == 0 || now() - from < budget) {
            double seconds = step(&s);
            best = seconds < best ? seconds : best;
            count++;
        }
        printf("%.6f %d\n", 1e3 * best, count);
        fflush(stdout);
    }
    return 0;
}
