#!/usr/bin/env python3
"""lenet_accuracy.py - LeNet on Fashion-MNIST as Dive into Deep Learning 7.6 trains it, in PyTorch: what the README
compares its accuracy with.

    build/venv/bin/python tests/zoo/lenet_accuracy.py [SEED ...]        (make venv; one to two minutes a seed; default 1 2 3)

Batch 256, Xavier, SGD with learning rate 0.9, 10 epochs; prints the test accuracy after the last one.
"""
import gzip
import pathlib
import sys

import numpy
import torch
from torch import nn

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


def accuracy(seed, train, test):
    torch.manual_seed(seed)
    net = lenet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.9)
    for _ in range(10):
        for batch in torch.randperm(len(train[0])).split(256):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(train[0][batch]), train[1][batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return (net(test[0]).argmax(1) == test[1]).float().mean().item()


if __name__ == "__main__":
    splits = read_split("train"), read_split("t10k")
    for seed in [int(s) for s in sys.argv[1:]] or [1, 2, 3]:
        print("seed %d  test accuracy %.4f" % (seed, accuracy(seed, *splits)), flush=True)
