#!/usr/bin/env python3
"""Makes augment.txt, the reference of tests/test_augment.c (torch, torchvision, Pillow 3.3 to 12):

    python3 augment.py > augment.txt

Each case is what torchvision computes for given draws: a line with the kind and its numbers, the input in hexadecimal,
and the result, in hexadecimal where it is of bytes, else as numbers.

    box H W  top left h w  oh ow          resized_crop of a PIL picture
    cover H W  short oh ow                resize(short), center_crop((oh, ow)) of a PIL picture
    shift H W  pad top left flip          pad(pad), crop(top, left, H, W), hflip
    colour C H W  brightness contrast contrast_first      adjust_brightness, adjust_contrast of a float tensor
    mix C H W  share_a share_b            two pictures mixed with each other, as timm's elementwise mixup
"""
import random

import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional as F
from torchvision.transforms import InterpolationMode

random.seed(3)
torch.manual_seed(3)


def picture(c, h, w, extremes=False):
    return bytes(random.choice((0, 255)) if extremes else random.randrange(256) for _ in range(c * h * w))


def pil(data, h, w):
    return Image.frombytes("L", (w, h), data)


def tensor(data, *shape):
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).reshape(shape).float() / 255


def numbers(t):
    return " ".join(f"{v:.9g}" for v in t.flatten().tolist())


print(f"# torchvision {torchvision.__version__.split('+')[0]}, Pillow {PIL.__version__}; made by augment.py")
for number, (h, w, top, left, bh, bw, oh, ow) in enumerate([
        (9, 12, 0, 0, 9, 12, 9, 12), (9, 12, 2, 3, 5, 5, 8, 8), (28, 28, 3, 7, 20, 13, 28, 28),
        (40, 50, 1, 9, 39, 41, 12, 10), (16, 16, 15, 0, 1, 16, 7, 7), (16, 16, 0, 15, 16, 1, 7, 7),
        (30, 20, 4, 2, 24, 17, 24, 6), (30, 20, 4, 2, 24, 17, 6, 17)]):
    data = picture(1, h, w, number % 3 == 2)
    out = F.resized_crop(pil(data, h, w), top, left, bh, bw, (oh, ow), InterpolationMode.BILINEAR)
    print("box", h, w, top, left, bh, bw, oh, ow, data.hex(), out.tobytes().hex())
for h, w, short, oh, ow in [(12, 9, 8, 8, 8), (9, 12, 8, 8, 8), (17, 17, 8, 8, 8), (30, 20, 16, 14, 14),
                            (21, 50, 10, 7, 7), (50, 21, 9, 6, 6), (8, 11, 8, 8, 8), (5, 4, 16, 13, 13),
                            (5, 40, 4, 4, 4), (40, 5, 4, 3, 3)]:
    data = picture(1, h, w)
    out = F.center_crop(F.resize(pil(data, h, w), short, InterpolationMode.BILINEAR), (oh, ow))
    print("cover", h, w, short, oh, ow, data.hex(), out.tobytes().hex())
for h, w, pad, top, left, flip in [(6, 5, 0, 0, 0, 1), (6, 5, 2, 0, 0, 0), (6, 5, 2, 4, 4, 0), (6, 5, 2, 1, 3, 1),
                                   (6, 5, 2, 3, 0, 1), (4, 7, 3, 0, 6, 1), (3, 3, 5, 0, 10, 0), (3, 3, 5, 5, 9, 1)]:
    data = picture(1, h, w)
    t = F.crop(F.pad(torch.frombuffer(bytearray(data), dtype=torch.uint8).reshape(1, h, w), pad), top, left, h, w)
    t = F.hflip(t) if flip else t
    print("shift", h, w, pad, top, left, flip, data.hex(), bytes(t.flatten().tolist()).hex())
for c, h, w, brightness, contrast, contrast_first in [
        (3, 4, 5, 1.3, 1, 0), (3, 4, 5, 1, 0.6, 0), (1, 4, 5, 0.7, 1.4, 0), (3, 4, 5, 0.7, 1.4, 1),
        (3, 4, 5, 1.6, 0.5, 1), (3, 6, 6, 0, 1.9, 0), (3, 6, 6, 1.9, 0, 1)]:
    data = picture(c, h, w)
    t = tensor(data, c, h, w)
    for step in range(2):
        t = F.adjust_brightness(t, brightness) if step == contrast_first else F.adjust_contrast(t, contrast)
    print("colour", c, h, w, brightness, contrast, contrast_first, data.hex(), numbers(t))
for c, h, w, a, b in [(1, 2, 3, 0.25, 0.75), (3, 2, 2, 1, 0.4), (2, 3, 1, 0, 0)]:
    data = picture(2 * c, h, w)
    x, share = tensor(data, 2, c, h, w), torch.tensor([a, b]).reshape(2, 1, 1, 1)
    print("mix", c, h, w, a, b, data.hex(), numbers(share * x + (1 - share) * x.flip(0)))
