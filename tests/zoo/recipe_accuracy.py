#!/usr/bin/env python3
"""recipe_accuracy.py - small.net on Fashion-MNIST with AdamW, a cosine schedule and label smoothing, in PyTorch: what the
README compares its accuracy with.

    build/venv/bin/python tests/zoo/recipe_accuracy.py [SEED ...]       (make venv; one to three minutes a seed; default 1 2 3)

Batch 128, rate 0.003, decay 0.05, smoothing 0.1, 3 epochs of whole batches; prints the test accuracy after the last one.
"""
import sys

import torch
from torch import nn

from lenet_accuracy import read_split

EPOCHS, BATCH = 3, 128


def small():
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10))


def accuracy(seed, train, test):
    torch.manual_seed(seed)
    net = small()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.003, weight_decay=0.05)
    steps = len(train[0]) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * steps)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(train[0])).split(BATCH)[:steps]:
            optimizer.zero_grad()
            loss(net(train[0][batch]), train[1][batch]).backward()
            optimizer.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        return (net(test[0]).argmax(1) == test[1]).float().mean().item()


if __name__ == "__main__":
    splits = read_split("train"), read_split("t10k")
    for seed in [int(s) for s in sys.argv[1:]] or [1, 2, 3]:
        print("seed %d  test accuracy %.4f" % (seed, accuracy(seed, *splits)), flush=True)
