/* test_predict.c - `predict` on pictures as users have them: named files, a folder in which they lie, an array without
 * labels; what the weights remember of the data; what --out writes; what is refused.
 */
#include "capture.h"
#include "data/names.h"
#include "fake_network.h"
#include "fake_program.h"
#include "files/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(predict, .init = build_fake);

#define PICTURES "tests/reference/pictures"
#define INSIDE "fake=$(realpath " FAKE ") && cd %1$s && $fake"         /* the trainer, in a folder */

#define RUN(o, expected, ...)                                                                                          \
    Outcome o = run_command(__VA_ARGS__);                                                                              \
    cr_assert(o.status == (expected), "status %d, not %d\n%s%s", o.status, (expected), o.out, o.err)

static void expect(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "'%s' is not in:\n%s", part, text);
}

/* A folder with data/ (five classes: ape, bee, cat, dog and "an \"eel\""), flat/ (three pictures that lie in it, and what is
 * none), and run/, trained on data/ with these words. */
static char *trained(const char *name, const char *words)
{
    char *folder = scratch_folder(name);
    RUN(made, 0, "cd %s && mkdir data flat flat/more && for c in ape bee cat dog 'an \"eel\"'; do mkdir \"data/$c\" && "
        "for i in 1 2 3; do cp $OLDPWD/" PICTURES "/rgb.png \"data/$c/$i.png\" && "
        "cp $OLDPWD/" PICTURES "/420.jpg \"data/$c/$i.jpg\"; done; done && "
        "cp $OLDPWD/" PICTURES "/rgb.png flat/b.png && cp $OLDPWD/" PICTURES "/420.jpg flat/a.jpg && "
        "cp $OLDPWD/" PICTURES "/grey.jpg flat/c.jpeg && cp flat/a.jpg flat/more/d.jpg && echo no > flat/notes.txt", folder);
    RUN(train, 0, FAKE " train --data %1$s/data --validation 0.3 --epochs 20 --lr 0.1 %2$s --out %1$s/run", folder, words);
    outcome_free(&made);
    outcome_free(&train);
    return folder;
}

/* Each line of `text` but its picture's number, "picture 3  ". */
static char *without_numbers(const char *text)
{
    char *all = calloc(strlen(text) + 1, 1);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *rest = strstr(line, "  ");
        cr_assert(strncmp(line, "picture ", 8) == 0 && rest, "%s", text);
        strncat(all, rest, (size_t)(strchr(line, '\n') + 1 - rest));
    }
    return all;
}

/* Files that are named, one by one or together, and the folder in which they lie: the same lines, with the names of the
 * classes that the weights know. */
Test(predict, files_and_folders_of_pictures)
{
    char *folder = trained("predict-files", "");
    char  three[3000] = "";

    RUN(flat, 0, INSIDE " predict --top 2 --weights run/last.safetensors --data flat", folder);
    RUN(argument, 0, INSIDE " predict flat --top 2 --weights run/last.safetensors", folder);
    cr_assert_str_eq(flat.out, argument.out);
    RUN(files, 0, INSIDE " predict --weights run/last.safetensors flat/a.jpg --top 2 flat/b.png flat/c.jpeg",
        folder);
    cr_assert_str_eq(flat.out, files.out);
    static const char *const names[] = {"flat/a.jpg", "flat/b.png", "flat/c.jpeg"};
    for (int i = 0; i < 3; i++) {
        RUN(one, 0, INSIDE " predict --weights run/last.safetensors --top 2 %2$s", folder, names[i]);
        char *rest = without_numbers(one.out);
        strcat(three, rest);
        free(rest);
        outcome_free(&one);
    }
    char *rest = without_numbers(flat.out);
    cr_assert_str_eq(rest, three);

    char file[64], name[64], name2[64];
    int picture, class, class2;
    double probability, probability2;
    cr_assert_eq(sscanf(flat.out, "picture %d  file %63s  class %d  probability %lf  name %63s class2 %d  probability2 %lf  "
                        "name2 %63s", &picture, file, &class, &probability, name, &class2, &probability2, name2), 8,
                 "%s", flat.out);
    cr_assert(picture == 0 && strcmp(file, "flat/a.jpg") == 0 && class != class2 && probability >= probability2);
    cr_assert(!strstr(flat.out, "true"), "%s", flat.out);

    RUN(classes, 0, INSIDE " predict --split test --weights run/last.safetensors --data data", folder);
    expect(classes.out, "  file data/dog/3.png  ");
    expect(classes.out, "  true 4  ");
    cr_assert_eq(occurrences(classes.out, "\n"), 30);
    outcome_free(&classes);
    outcome_free(&flat);
    outcome_free(&argument);
    outcome_free(&files);
    free(rest);
    free(folder);
}

Test(predict, tables_and_arrays)
{
    char *folder = trained("predict-out", ""), path[4096];
    size_t length;

    RUN(csv, 0, FAKE " predict %1$s/flat --top 2 --weights %1$s/run/last.safetensors --out %1$s/t.csv", folder);
    snprintf(path, sizeof path, "%s/t.csv", folder);
    char *table = read_whole(path, NULL), *line = strtok(table, "\n");
    cr_assert_str_eq(line, "picture,file,class,probability,name,class2,probability2,name2");
    for (int i = 0; i < 3; i++) {
        int picture;
        cr_assert((line = strtok(NULL, "\n")) && sscanf(line, "%d,", &picture) == 1 && picture == i);
        expect(line, (const char *[]){"/flat/a.jpg\",", "/flat/b.png\",", "/flat/c.jpeg\","}[i]);
    }
    cr_assert_null(strtok(NULL, "\n"));
    RUN(all, 0, FAKE " predict --split test --data %1$s/data --top 10 --weights %1$s/run/last.safetensors --out %1$s/t.csv",
        folder);
    free(table);
    table = read_whole(path, NULL);
    expect(table, "picture,file,class,probability,true,name,");
    expect(table, ",\"an \"\"eel\"\"\"");

    RUN(npy, 0, FAKE " predict %1$s/flat --weights %1$s/run/last.safetensors --out %1$s/t.npy", folder);
    snprintf(path, sizeof path, "%s/t.npy", folder);
    char *array = read_whole(path, &length);
    cr_assert(array && length == 128 + 3 * 10 * sizeof(float) && strstr(array + 10, "'shape': (3, 10)"));
    for (int i = 0; i < 3; i++) {
        float row[10], sum = 0;
        memcpy(row, array + 128 + 40 * i, sizeof row);
        for (int k = 0; k < 10; k++)
            sum += row[k];
        cr_assert_float_eq(sum, 1, 1e-5);
    }
    outcome_free(&csv);
    outcome_free(&all);
    outcome_free(&npy);
    free(array);
    free(table);
    free(folder);
}

/* An array x needs no labels y here, and is refused where they are needed. */
Test(predict, arrays_without_labels)
{
    char *folder = trained("predict-array", ""), path[4096], head[129], *file = NULL;
    size_t length;
    FILE *out = open_memstream(&file, &length);

    snprintf(head, sizeof head, "%-127s\n", "");
    memcpy(head, "\x93NUMPY\1\0\x76\0", 10);
    head[10 + snprintf(head + 10, 118, "{'descr': '|u1', 'fortran_order': False, 'shape': (9, 6, 6), }")] = ' ';
    fwrite(head, 1, 128, out);
    for (int i = 0; i < 9 * 36; i++)
        putc(i * 37 % 251, out);
    fclose(out);
    snprintf(path, sizeof path, "%s/x.npy", folder);
    write_whole(path, file, length);
    RUN(one, 0, FAKE " predict %1$s/x.npy --weights %1$s/run/last.safetensors", folder);
    cr_assert_eq(occurrences(one.out, "\n"), 9, "%s", one.out);
    expect(one.out, "picture 8  class ");
    RUN(data, 0, "mkdir %1$s/arrays && cp %1$s/x.npy %1$s/arrays && " FAKE " predict --data %1$s/arrays --weights "
        "%1$s/run/last.safetensors", folder);
    cr_assert_str_eq(one.out, data.out);
    RUN(eval, 1, FAKE " eval --data %1$s/x.npy --weights %1$s/run/last.safetensors", folder);
    expect(eval.err, "x.npy: has no labels\n  help: put it as x.npy into a folder with them as y.npy");
    outcome_free(&eval);
    outcome_free(&data);
    outcome_free(&one);
    free(file);
    free(folder);
}

Test(predict, what_is_refused)
{
    static const struct { const char *words, *message; int status; } cases[] = {
        {"none.jpg", "no data set 'none.jpg': neither a name that is known nor a folder nor a picture", 1},
        {"flat/a.jpg none.jpg", "none.jpg: No such file or directory\n  help: check the name of the picture", 1},
        {"flat/notes.txt", "flat/notes.txt: neither a JPEG nor a PNG", 1},
        {"flat/a.jpg flat/notes.txt", "flat/notes.txt: neither a JPEG nor a PNG", 1},
        {"flat empty", "empty: no picture (.jpg, .jpeg, .png) lies in it", 1},
        {"empty", "empty: there is no data in it that is known", 1},
        {"flat --skip-bad-pictures cut/1.png", "", 0},
        {"cut --skip-bad-pictures", "none of them can be read", 1},
        {"cut", "cut/1.png: the PNG is damaged", 1},
        {"other", "other/ant: the weights know no class of that name\n  help: their classes are an \"eel\", ape and so on", 1},
        {"flat --data flat", "give the pictures as arguments or with --data, not both", 2},
        {"flat --out x.txt", "--out x.txt: must end in .csv or .npy", 2},
        {"flat --layer 0 --out x.csv", "--layer needs a file for what it computes: --out FILE.npy", 2},
        {"flat --out none/x.csv", "none/x.csv: cannot be saved", 1},
        {"flat --out none/x.npy", "none/x.npy: cannot be saved", 1},
        {"flat --top 0", "must be from 1 to 1000", 2},
    };
    char *folder = trained("predict-refused", "");
    RUN(made, 0, "cd %1$s && mkdir empty cut other other/ant && head -c 60 flat/b.png > cut/1.png && cp cut/1.png cut/2.png && "
        "cp flat/b.png other/ant", folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Outcome o = run_command(INSIDE " predict --weights run/last.safetensors %2$s", folder, cases[i].words);
        cr_assert_eq(o.status, cases[i].status, "%s: status %d\n%s", cases[i].words, o.status, o.err);
        cr_assert(strstr(o.err, cases[i].message), "'%s' is not in:\n%s", cases[i].message, o.err);
        outcome_free(&o);
    }
    RUN(skipped, 0, INSIDE " predict --weights run/last.safetensors --skip-bad-pictures cut flat", folder);
    cr_assert_eq(occurrences(skipped.out, "\n"), 3, "%s", skipped.out);
    expect(skipped.out, "picture 2  file flat/a.jpg  ");
    cr_assert_eq(occurrences(skipped.err, "warning: cut/"), 2, "each is named once:\n%s", skipped.err);
    expect(skipped.err, "5 pictures, the first cut/1.png: 2 cannot be read and were left out");
    RUN(eval, 1, FAKE " eval --data %1$s/flat --weights %1$s/run/last.safetensors", folder);
    expect(eval.err, "/flat/more");              /* a folder in it is taken for a class */
    RUN(loose, 1, "rm -r %1$s/flat/more && " FAKE " eval --data %1$s/flat --weights %1$s/run/last.safetensors", folder);
    expect(loose.err, "flat: pictures lie in it that have no class\n  help: put them into a folder for each class");
    outcome_free(&loose);
    outcome_free(&eval);
    outcome_free(&skipped);
    outcome_free(&made);
    free(folder);
}

/* ---- what the weights remember ----------------------------------------------------------------------------------- */

/* How pictures are prepared, and which class is which: eval on a folder without the first classes counts the others right. */
Test(predict, weights_remember_size_and_classes)
{
    char *folder = trained("predict-remember", "--resize-short 20 --mean 0.4 --seed 3"), path[4096];

    RUN(run, 0, FAKE " eval --data %1$s/data --split validation --weights %1$s/run/last.safetensors", folder);
    RUN(same, 0, FAKE " eval --data %1$s/data --split validation --resize-short 20 --weights %1$s/run/last.safetensors", folder);
    RUN(other, 0, FAKE " eval --data %1$s/data --split validation --resize-short 0 --weights %1$s/run/last.safetensors", folder);
    cr_assert_str_eq(run.out, same.out);
    cr_assert_str_neq(run.out, other.out);

    snprintf(path, sizeof path, "%s/run/last.safetensors", folder);
    cnn_safetensors *f = cnn_safetensors_open(path);
    cr_assert(f && cnn_safetensors_metadata(f, "classes") && cnn_safetensors_metadata(f, "resize-short"));
    cr_assert_str_eq(cnn_safetensors_metadata(f, "classes"), "[\"an \\\"eel\\\"\",\"ape\",\"bee\",\"cat\",\"dog\"]");
    cr_assert_str_eq(cnn_safetensors_metadata(f, "resize-short"), "20");
    cnn_safetensors_close(f);

    RUN(some, 0, "mkdir %1$s/some && cp -r %1$s/data/dog %1$s/data/bee %1$s/some && " FAKE " predict --split test --data "
        "%1$s/some --weights %1$s/run/last.safetensors", folder);
    cr_assert(occurrences(some.out, "  true 2  ") == 6 && occurrences(some.out, "  true 4  ") == 6, "%s", some.out);
    outcome_free(&run);
    outcome_free(&same);
    outcome_free(&other);
    outcome_free(&some);
    free(folder);
}

Test(predict, names_that_are_no_names)
{
    static const char *const wrong[] = {"", "{", "{}", "\"cat\"", "[1]", "[\"\"]", "[[\"cat\"]]", "[\"a\",\"b\",\"c\",\"d\"]",
                                        "[\"a\",null]", "[\"\\ud800\"]"};
    static Capture c;
    cnn_names names = {0};
    char deep[20000], *text;

    cr_assert(cnn_names_read(&names, "[\"cat\",\"ro\\u0065\",\"\\u001b[2J\"]", 3, "w") && names.count == 3);
    cr_assert_str_eq(names.items[1], "roe");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        capture_begin(&c);
        int read = cnn_names_read(&names, wrong[i], 3, "w.safetensors");
        expect_one_error(capture_end(&c), "w.safetensors", "its classes are not a list of at most 3 names");
        cr_assert(!read && names.count == 0, "%s", wrong[i]);
    }
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    capture_begin(&c);
    cr_assert(!cnn_names_read(&names, deep, 3, "w"));
    memcpy(deep, "[\"", 2);                      /* a name of 300 bytes */
    memset(deep + 2, 'x', 300);
    memcpy(deep + 302, "\"]", 3);
    cr_assert(!cnn_names_read(&names, deep, 3, "w"));
    capture_end(&c);

    cr_assert(cnn_names_text(&names, &text) && text == NULL);
    cr_assert(cnn_names_add(&names, "a\"b") && cnn_names_add(&names, "\xc3\xa9") && cnn_names_text(&names, &text));
    cr_assert_str_eq(text, "[\"a\\\"b\",\"\xc3\xa9\"]");
    free(text);
    cr_assert(cnn_names_add(&names, "\xff") && cnn_names_text(&names, &text) && text == NULL, "not UTF-8");
    cnn_names_free(&names);
}
