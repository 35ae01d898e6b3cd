#!/usr/bin/env python3
"""Makes resize.txt, the reference of tests/test_resize.c: python3 resize.py > resize.txt   (Pillow 3.3 to 12)

One line a case: in_height in_width out_height out_width, then the input and Pillow's result in hexadecimal.
"""
import random

import PIL
from PIL import Image

CASES = [(28, 28, 28, 28), (28, 28, 32, 32), (28, 28, 14, 14), (28, 28, 56, 40), (28, 28, 10, 45), (5, 7, 11, 3),
         (1, 1, 4, 4), (3, 1, 1, 5), (2, 2, 3, 3), (4, 4, 1, 1), (40, 40, 7, 9), (50, 3, 3, 50), (9, 8, 9, 16),
         (9, 8, 18, 8), (33, 31, 32, 32), (60, 2, 1, 2)]

random.seed(1)
print(f"# Pillow {PIL.__version__}, Image.resize(..., BILINEAR) of mode L; made by resize.py")
for number, (h, w, out_h, out_w) in enumerate(CASES):
    extremes = number % 3 == 1              # black and white: rounding at both ends
    pixels = bytes(random.choice((0, 255)) if extremes else random.randrange(256) for _ in range(h * w))
    out = Image.frombytes("L", (w, h), pixels).resize((out_w, out_h), Image.BILINEAR)
    print(h, w, out_h, out_w, pixels.hex(), out.tobytes().hex())
