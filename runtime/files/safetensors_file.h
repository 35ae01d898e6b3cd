/* safetensors_file.h - an open weights file, shared by safetensors.c (opening) and safetensors_load.c (loading). */
#ifndef CNN_SAFETENSORS_FILE_H
#define CNN_SAFETENSORS_FILE_H

#include "safetensors.h"

#include <jansson.h>

struct cnn_safetensors {
    char    *path;
    int      file;
    uint64_t size, data;        /* bytes of the file; where the data section begins */
    json_t  *header;
};

/* A dtype of the format; kind is 'f' for real numbers and 'i' for integers that load understands, else 0. */
typedef struct { const char *name; int bytes; char kind; } cnn_dtype;

/* A tensor of the file; begin and end count from the data section. */
typedef struct {
    const char      *name;
    const cnn_dtype *dtype;
    json_t          *shape;     /* an array of sizes, owned by the header */
    uint64_t         begin, end;
} cnn_entry;

/* Reads `length` bytes at `offset` of the file. 1, or 0 after a report. */
int cnn_safetensors_read(const cnn_safetensors *, void *out, uint64_t length, uint64_t offset);

/* Takes one member of the header apart and checks it. 1, or 0 after a report. */
int cnn_safetensors_entry(const cnn_safetensors *, const char *name, json_t *value, cnn_entry *);

#endif
