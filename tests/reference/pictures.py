#!/usr/bin/env python3
"""Makes tests/reference/pictures/ and pictures.txt, what tests/test_picture.c compares decoders with.

    python3 tests/reference/pictures.py        (Pillow; run in the root of the tree)

pictures.txt has a line a file: name, height, width, and Pillow's convert("RGB") and convert("L") in hexadecimal. Of
grey with 16 bits, which Pillow clips, the upper 8 bits are expected. PNG files are written here, bit by bit, since
Pillow writes few of the kinds that there are.
"""
import os
import struct
import zlib

import PIL
from PIL import Image

FOLDER = "tests/reference/pictures"
HEIGHT, WIDTH = 13, 21


def sample(x, y, c, most):
    """A smooth picture with an edge, from 0 to most."""
    wave = (x * (3 + c) + y * (5 - c)) % 31 / 30
    return round(most * (0.7 * wave + (0.3 if x > y else 0)))


def jpeg(name, mode="RGB", size=(WIDTH, HEIGHT), **how):
    channels = len(mode)
    pixels = bytes(sample(x, y, c, 255) for y in range(size[1]) for x in range(size[0]) for c in range(channels))
    Image.frombytes(mode, size, pixels).save(f"{FOLDER}/{name}.jpg", **how)


def pack(row, depth):
    """Samples of one row as bytes, big-endian and from the left."""
    if depth == 16:
        return b"".join(struct.pack(">H", v) for v in row)
    bits = "".join(f"{v:0{depth}b}" for v in row)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(name, kind, depth, interlaced=False, palette=None, transparent=None):
    """kind: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    most = len(palette) - 1 if palette else (1 << depth) - 1
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    data = b""
    for x0, y0, dx, dy in passes if interlaced else [(0, 0, 1, 1)]:
        columns = range(x0, WIDTH, dx)
        for y in range(y0, HEIGHT, dy) if columns else []:
            data += b"\0" + pack([sample(x, y, c, most) for x in columns for c in range(channels)], depth)
    with open(f"{FOLDER}/{name}.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.write(chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, kind, 0, 0, interlaced)))
        if palette:
            file.write(chunk(b"PLTE", bytes(v for colour in palette for v in colour)))
        if transparent:
            file.write(chunk(b"tRNS", transparent))
        file.write(chunk(b"IDAT", zlib.compress(data, 9)))
        file.write(chunk(b"IEND", b""))


def colours(count):
    return [(37 * i % 256, 91 * i % 256, 255 - 53 * i % 256) for i in range(count)]


os.makedirs(FOLDER, exist_ok=True)
jpeg("grey", "L", quality=90)
jpeg("444", quality=90, subsampling=0)
jpeg("422", quality=75, subsampling=1)
jpeg("420", quality=75, subsampling=2)
jpeg("420-one-pixel", size=(1, 1), quality=75, subsampling=2)
jpeg("progressive", quality=60, progressive=True)
jpeg("restarts", quality=30, restart_marker_blocks=1)
jpeg("cmyk", "CMYK", quality=90)
turned = Image.Exif()
turned[0x0112] = 6                                  # orientation: turn right; torchvision leaves it alone
jpeg("turned", quality=90, exif=turned)

for depth in (1, 2, 4, 8):
    png(f"grey-{depth}", 0, depth)
    png(f"palette-{depth}", 3, depth, palette=colours(1 << depth if depth < 8 else 200))
png("grey-16", 0, 16)
png("rgb", 2, 8)
png("rgb-16", 2, 16)
png("grey-alpha", 4, 8)
png("rgb-alpha", 6, 8)
png("rgb-alpha-16", 6, 16)
png("palette-transparent", 3, 8, palette=colours(50), transparent=bytes(range(50)))
png("rgb-interlaced", 2, 8, interlaced=True)
png("palette-interlaced", 3, 2, interlaced=True, palette=colours(4))

with open("tests/reference/pictures.txt", "w") as out:
    out.write(f"# Pillow {PIL.__version__}: height, width, convert('RGB'), convert('L'); made by pictures.py\n")
    for name in sorted(os.listdir(FOLDER)):
        with Image.open(f"{FOLDER}/{name}") as picture:
            if picture.mode == "I;16":
                picture = Image.frombytes("L", picture.size, picture.tobytes()[1::2])
            rgb, grey = picture.convert("RGB"), picture.convert("L")
            out.write(f"{name} {rgb.height} {rgb.width} {rgb.tobytes().hex()} {grey.tobytes().hex()}\n")
