/* fuzz_png.c - libFuzzer target: any bytes as a picture file, decoded in colour and in grey. A cause is fine; anything
 * else is a finding.
 */
#define _GNU_SOURCE
#include "file.h"
#include "picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    fuzz_picture(&cnn_decoder_png, bytes, length);
    return 0;
}
