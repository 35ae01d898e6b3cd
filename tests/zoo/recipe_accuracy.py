#!/usr/bin/env python3
"""recipe_accuracy.py - three networks on Fashion-MNIST in PyTorch, with the recipes and seeds that the README gives
cnnc's trainers: what it compares their accuracy with.

    build/venv/bin/python tests/zoo/recipe_accuracy.py NETWORK [SEED ...]          (make venv; default 1 2 3)

NETWORK: lenet     as Dive into Deep Learning 7.6 trains it: batch 256, 10 epochs of SGD (rate 0.9), Xavier; one to two
                   minutes a seed
         small     tests/zoo/small.net: batch 128, 3 epochs of AdamW (rate 0.003, decay 0.05), smoothing 0.1; a minute
                   or three a seed
         resnet18  dsl-examples/d2l/resnet18.net at 96x96: batch 64, one epoch of SGD (rate 0.1), Xavier; a quarter of
                   an hour or more a seed on two cores
The last two go down a cosine by the step and leave out the last partial batch. Prints the test accuracy after the last
epoch.
"""
import gzip
import pathlib
import sys

import numpy
import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR

from models import resnet

FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")


def read_idx(stem, header):
    path = next(FOLDER.glob("**/" + stem + "*"))
    data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    return torch.from_numpy(numpy.frombuffer(data, numpy.uint8, offset=header).copy())


def read_split(name):
    pictures = read_idx(name + "-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28).float() / 255
    return pictures, read_idx(name + "-labels-idx1-ubyte", 8).long()


def lenet():
    net = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Sigmoid(),
                        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84),
                        nn.Sigmoid(), nn.Linear(84, 10))
    for module in net:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
    return net


def small():
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10))


def resnet18():
    net = resnet(2, 2, 2, 2)()
    net(torch.zeros(2, 1, 96, 96))                               # lazy layers learn their channels
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return net.to(memory_format=torch.channels_last)


class Recipe:
    def __init__(self, build, optimizer, batch, epochs, size=28, smoothing=0.0, cosine=True, partial=False):
        self.build, self.optimizer, self.batch, self.epochs = build, optimizer, batch, epochs
        self.size, self.loss = size, nn.CrossEntropyLoss(label_smoothing=smoothing)
        self.cosine, self.partial = cosine, partial

    def pictures(self, split, batch):
        x = split[0][batch]
        return x if self.size == 28 else nn.functional.interpolate(x, size=self.size, mode="bilinear", antialias=True)

    def batches(self, count):
        return [b for b in torch.randperm(count).split(self.batch) if self.partial or len(b) == self.batch]

    def schedule(self, optimizer, count):
        steps = self.epochs * (count // self.batch)
        return CosineAnnealingLR(optimizer, steps) if self.cosine else ConstantLR(optimizer, factor=1)


RECIPES = {
    "lenet": Recipe(lenet, lambda p: torch.optim.SGD(p, lr=0.9), 256, 10, cosine=False, partial=True),
    "small": Recipe(small, lambda p: torch.optim.AdamW(p, lr=0.003, weight_decay=0.05), 128, 3, smoothing=0.1),
    "resnet18": Recipe(resnet18, lambda p: torch.optim.SGD(p, lr=0.1), 64, 1, size=96),
}


def accuracy(recipe, seed, train, test):
    torch.manual_seed(seed)
    net = recipe.build()
    optimizer = recipe.optimizer(net.parameters())
    schedule = recipe.schedule(optimizer, len(train[0]))
    for _ in range(recipe.epochs):
        for batch in recipe.batches(len(train[0])):
            optimizer.zero_grad()
            recipe.loss(net(recipe.pictures(train, batch)), train[1][batch]).backward()
            optimizer.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        hits = sum((net(recipe.pictures(test, batch)).argmax(1) == test[1][batch]).sum().item()
                   for batch in torch.arange(len(test[0])).split(500))
    return hits / len(test[0])


if __name__ == "__main__":
    torch.set_default_dtype(torch.float32)                       # models.py asks for double
    if len(sys.argv) < 2 or sys.argv[1] not in RECIPES:
        sys.exit("recipe_accuracy.py: which network? " + ", ".join(RECIPES))
    splits = read_split("train"), read_split("t10k")
    for seed in [int(s) for s in sys.argv[2:]] or [1, 2, 3]:
        print("seed %d  test accuracy %.4f" % (seed, accuracy(RECIPES[sys.argv[1]], seed, *splits)), flush=True)
