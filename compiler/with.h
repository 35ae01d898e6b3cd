/* with.h - what a trainer can have beyond the least, each with a library of its own: cnnc --with=jpeg,png. */
#ifndef WITH_H
#define WITH_H

#include "cnnc.h"

/* To add one: a row in with.c, and in runtime/trainer.h what its macro puts into the table of the network. */
typedef struct {
    const char *name;           /* "jpeg"                                                                    */
    const char *flags;          /* for the C compiler; the trainer is compiled with the runtime's trainer.h  */
    const char *library;        /* "jpeg": linked as -ljpeg, after libcnn.a                                  */
    const char *package;        /* the Debian package that brings it                                         */
    bool        exchanges;      /* generated code is for one of several processes (Graph.exchanges)          */
} Feature;

const Feature *feature_at(int i);                       /* NULL past the last                                */
int  find_feature(const char *name, size_t length);     /* its number, or -1                                 */
const char *feature_names(Arena *);                     /* "jpeg, png"                                       */

#endif
