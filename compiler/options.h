/* options.h - the command line of cnnc as one struct. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "cnnc.h"
#include "step.h"

typedef enum { COMMAND_COMPILE, COMMAND_SHOW, COMMAND_EXPLAIN, COMMAND_KERNEL } Command;
typedef enum { OUTPUT_C, OUTPUT_OBJECT, OUTPUT_SHARED, OUTPUT_PROGRAM, OUTPUT_NOTHING } OutputKind;
typedef enum { DUMP_NOTHING, DUMP_TREE, DUMP_GRAPH, DUMP_STEP, DUMP_MEMORY, DUMP_SCHEDULE, DUMP_FUSE } Dump;

typedef struct {
    Command       command;
    const char   *input;        /* the .net file; COMMAND_EXPLAIN: the operator, or NULL for the list;
                                 * COMMAND_KERNEL: a statement, conv(64, 3)                                     */
    const char   *output;       /* -o, or the default for the kind                                          */
    OutputKind    kind;
    Dump          dump;
    int           level;        /* -O: 0 textbook, 2 fast                                                   */
    const Target *target;
    Tuning        tuning;       /* of -O2                                                                   */
    const char   *cc;           /* NULL: the first of clang-19, clang, gcc that there is                    */
    unsigned      with;         /* bit i: feature i (with.h) is compiled in                             */
    bool          verbose;      /* print the commands that are run                                          */
    bool          double_precision;
    bool          memory_chart; /* show --memory                                                            */
    bool          smallest_input;       /* show only the smallest picture that the network takes             */
    Overrides     overrides;
    const char   *summary;      /* what was asked for, without folders: for the generated head comment      */
} Options;

/* Prints usage errors itself; false: exit with status 1. --help and --version end the process with status 0. */
bool parse_options(Arena *, int argc, char **argv, Options *);

#endif
