/* safetensors.h - weights files: https://github.com/huggingface/safetensors, as PyTorch users exchange them.
 *
 *     8 bytes   length of the header, little-endian
 *     header    JSON {"__metadata__": {"key": "value", ...},
 *                     "name": {"dtype": "F32", "shape": [6, 1, 5, 5], "data_offsets": [begin, end]}, ...}
 *     data      the tensors, little-endian, row-major, without gaps
 *
 * The header lists tensors in the order given (state_dict order) and is padded with spaces to a multiple of 8. Data
 * holds 8-byte types first, so that every tensor is aligned (PyTorch's reader insists). A float build writes F32, a
 * double build F64, and integer tensors are I64. Files of ours carry a CRC-32 of header and data among their metadata.
 *
 * Saving a network and the momentum of its parameters, and loading it:
 *     cnn_stored items[2 * n];       for each tensor i: { "", tensor(i), network->get, network->set, net, i },
 *                                    and if trainable:  { "momentum.", tensor(i), get_first, set_first, session, i }
 *     cnn_safetensors_write(path, items, count, (cnn_metadata[]){{"epoch", "3"}, {"step", "702"}}, 2);
 *
 *     cnn_safetensors *file = cnn_safetensors_open(path);
 *     if (file && cnn_safetensors_load(file, items, count, 0) >= 0)
 *         epoch = cnn_safetensors_metadata(file, "epoch");
 *     cnn_safetensors_close(file);
 */
#ifndef CNN_SAFETENSORS_H
#define CNN_SAFETENSORS_H

#include "cnn.h"

/* One tensor of a file: its name there is prefix + tensor.name; its values come from get and go to set, both called as
 * f(context, index, values) with tensor.count values (the functions of cnn_network fit). set may be NULL for writing
 * and get for loading. Nothing is kept after the call.                                                               */
typedef struct {
    const char *prefix;                         /* "" or "momentum."                                                 */
    cnn_tensor  tensor;
    void      (*get)(const void *context, int index, cnn_real *out);
    void      (*set)(void *context, int index, const cnn_real *in);
    void       *context;
    int         index;
} cnn_stored;

typedef struct { const char *key, *value; } cnn_metadata;      /* UTF-8                                             */

/* Saves, whole or not at all (save.h). 1, or 0 after one cnn_error. The metadata keys "format", "writer" and
 * "cnnc.crc32" are ours.                                                                                             */
int cnn_safetensors_write(const char *path, const cnn_stored *items, int count, const cnn_metadata *metadata,
                          int metadata_count);

typedef struct cnn_safetensors cnn_safetensors;

/* Opens a file and checks all of it but the values: the length and syntax of the header, dtypes, shapes, that the
 * tensors fill the data exactly, and the checksum of a file of ours (which reads it once). NULL after cnn_error.     */
cnn_safetensors *cnn_safetensors_open(const char *path);

/* The value of a metadata key, or NULL where there is none; owned by the file, valid until it is closed.            */
const char *cnn_safetensors_metadata(const cnn_safetensors *, const char *key);

/* Whether the file has a tensor of this name (prefix included).                                                     */
int cnn_safetensors_has(const cnn_safetensors *, const char *name);

/* What load lets pass instead of refusing; tensors that pass are left as they are in the network.                   */
enum {
    CNN_ALLOW_MISSING    = 1,   /* items that the file lacks                                                         */
    CNN_ALLOW_UNEXPECTED = 2,   /* tensors of the file that no item names (optimiser state, for `eval`)              */
    CNN_ALLOW_SHAPE      = 4,   /* items that have another shape in the file (another classifier, for `--init`)      */
};

/* Loads the items: F32, F64, F16, BF16 (I64 and I32 into integer tensors), converted to cnn_real. Everything is
 * compared and read before the first `set`, so after a failure the network is as it was. The number of items set, or -1
 * after one cnn_error with a table of what is missing, unexpected or of another shape. A missing integer tensor
 * always passes (old files lack num_batches_tracked). NaN and infinity are loaded and warned of.                     */
int cnn_safetensors_load(cnn_safetensors *, const cnn_stored *items, int count, unsigned allow);

void cnn_safetensors_close(cnn_safetensors *);  /* NULL is allowed                                                   */

#endif
