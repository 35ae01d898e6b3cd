#!/usr/bin/env python3
"""Makes recipe.txt, the reference of tests/test_recipe.c: python3 recipe.py > recipe.txt   (torch)

Each case is a line of the trainer's options and the weights of recipe.net after six epochs with them, computed in
double by PyTorch: torch.optim, torch.optim.lr_scheduler, clip_grad_norm_, CrossEntropyLoss(label_smoothing),
AveragedModel. An epoch is one step: it has one batch of 8 pictures, or three where --accumulate 3 makes them one step.
Pictures and first weights are those of a formula (reference_unit in tests/programs.c). The trainer takes rates and
factors as floats; so does this.
"""
import argparse
import fnmatch
import itertools
import warnings

import numpy
import torch
from torch.optim import lr_scheduler as S
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

warnings.filterwarnings("ignore")
torch.set_default_dtype(torch.float64)
EPOCHS = 6

parser = argparse.ArgumentParser()
for name, default in [("lr", None), ("momentum", 0), ("weight-decay", None), ("beta1", 0.9), ("beta2", 0.999),
                      ("epsilon", 1e-8), ("alpha", 0.99), ("gamma", 0.1), ("least", 0), ("pct-start", 0.3),
                      ("div-factor", 25), ("final-div-factor", 1e4), ("base-momentum", 0.85), ("max-momentum", 0.95),
                      ("warmup", 0), ("warmup-from", 0.01), ("label-smoothing", 0), ("clip-norm", 0), ("ema", 0)]:
    parser.add_argument("--" + name, type=float, default=default)
for name, default in [("every", 30), ("accumulate", 1)]:
    parser.add_argument("--" + name, type=int, default=default)
for name, default in [("nesterov", "no"), ("decay-biases", "yes"), ("cycle-momentum", "yes"), ("optimizer", "sgd"),
                      ("schedule", "constant"), ("milestones", ""), ("lr-scale", ""), ("freeze", "")]:
    parser.add_argument("--" + name, default=default)


def single(x):
    return float(numpy.float32(x))


def unit(count, t):
    i = numpy.arange(1, count + 1, dtype=numpy.uint32)
    x = i * numpy.uint32(2654435761) + numpy.uint32(t * 2246822519 & 0xffffffff)
    x ^= x >> numpy.uint32(15)
    x *= numpy.uint32(2246822519)
    x ^= x >> numpy.uint32(13)
    return torch.from_numpy((x >> numpy.uint32(15)).astype(float) / 65536 - 1)


def rates(o, lr, adam):
    """Learning rate and momentum (or beta1) of each step."""
    weight = [torch.nn.Parameter(torch.zeros(1))]
    first = o.beta1 if adam else o.momentum
    dummy = torch.optim.Adam(weight, lr, betas=(first, 0.9)) if adam else torch.optim.SGD(weight, lr, momentum=first)
    warm = round(o.warmup)
    left = EPOCHS - warm
    schedule = {
        "constant": lambda: S.LambdaLR(dummy, lambda t: 1.0),
        "step": lambda: S.StepLR(dummy, o.every, o.gamma),
        "multistep": lambda: S.MultiStepLR(dummy, [int(m) for m in o.milestones.split(",")], o.gamma),
        "cosine": lambda: S.CosineAnnealingLR(dummy, left, o.least),
        "onecycle": lambda: S.OneCycleLR(dummy, lr, left, pct_start=o.pct_start, div_factor=o.div_factor,
                                         final_div_factor=o.final_div_factor, base_momentum=o.base_momentum,
                                         max_momentum=o.max_momentum, cycle_momentum=o.cycle_momentum == "yes"),
    }[o.schedule]()
    if warm:
        schedule = S.SequentialLR(dummy, [S.LinearLR(dummy, o.warmup_from, total_iters=warm), schedule], [warm])
    for _ in range(EPOCHS):
        group = dummy.param_groups[0]
        yield single(group["lr"]), single(group["betas"][0] if adam else group["momentum"])
        dummy.step()
        schedule.step()


def optimizer_of(o, groups, lr):
    decay = {"adamw": 0.01}.get(o.optimizer, 0) if o.weight_decay is None else o.weight_decay
    for g in groups:
        g["weight_decay"] = single(decay) * g.pop("decay_scale")
    if o.optimizer == "sgd":
        return torch.optim.SGD(groups, lr, momentum=single(o.momentum), nesterov=o.nesterov == "yes")
    if o.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr, alpha=single(o.alpha), eps=single(o.epsilon),
                                   momentum=single(o.momentum))
    kind = torch.optim.Adam if o.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr, betas=(single(o.beta1), single(o.beta2)), eps=single(o.epsilon))


def factor(o, name):
    scale = 1.0
    for item in o.lr_scale.split(",") if o.lr_scale else []:
        pattern, value = item.split("=")
        scale = single(value) if fnmatch.fnmatch(name, pattern) else scale
    return scale


def train(flags):
    o = parser.parse_args(flags.split())
    adam = o.optimizer in ("adam", "adamw")
    net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Sigmoid(), torch.nn.Linear(4, 3))
    groups = []
    for t, (name, p) in enumerate(net.named_parameters()):
        p.data = unit(p.numel(), t).reshape(p.shape)
        p.requires_grad = not (o.freeze and fnmatch.fnmatch(name, o.freeze))
        groups.append({"params": [p], "scale": factor(o, name),
                       "decay_scale": 1 if o.decay_biases == "yes" or p.dim() > 1 else 0})
    lr = o.lr or {"sgd": 0.1, "rmsprop": 0.01}.get(o.optimizer, 0.001)
    optimizer = optimizer_of(o, groups, lr)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=single(o.label_smoothing))
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(o.ema)) if o.ema else None
    count = 8 * o.accumulate
    x = unit(count * 8, 1000).reshape(count, 8)
    y = torch.tensor([(n * n + n // 3) % 3 for n in range(count)])
    for rate, momentum in rates(o, lr, adam):
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
            if adam:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum
        optimizer.zero_grad()
        for k in range(o.accumulate):
            (loss_of(net(x[8 * k:8 * k + 8]), y[8 * k:8 * k + 8]) / o.accumulate).backward()
        if o.clip_norm:
            torch.nn.utils.clip_grad_norm_([p for p in net.parameters() if p.requires_grad], o.clip_norm)
        optimizer.step()
        if averaged:
            averaged.update_parameters(net)
    print("case", flags)
    for p in (averaged.module if averaged else net).parameters():
        print(" ".join("%.15g" % v for v in p.flatten().tolist()))


OPTIMIZERS = ["--optimizer sgd --lr 0.5 --momentum 0.9 --weight-decay 0.01", "--optimizer adam --lr 0.05",
              "--optimizer adamw --lr 0.05", "--optimizer rmsprop --lr 0.05"]
SCHEDULES = ["--schedule constant --warmup 2", "--schedule step --every 2 --gamma 0.5",
             "--schedule multistep --milestones 1,4 --gamma 0.3", "--schedule cosine --least 0.001 --warmup 1",
             "--schedule onecycle --pct-start 0.4"]
EXTRAS = ["", " --label-smoothing 0.1 --clip-norm 0.1 --ema 0.8 --accumulate 3 --decay-biases=no --lr-scale 2.*=3"]

for optimizer, schedule, extras in itertools.product(OPTIMIZERS, SCHEDULES, EXTRAS):
    train(optimizer + " " + schedule + extras)
for flags in ["--optimizer sgd", "--optimizer adam", "--optimizer adamw", "--optimizer rmsprop",    # torch's defaults
              "--lr 0.2 --momentum 0.9 --nesterov=yes", "--optimizer rmsprop --momentum 0.5 --alpha 0.9 --epsilon 1e-4",
              "--optimizer adamw --beta1 0.8 --beta2 0.95 --weight-decay 0.1 --freeze 0.*",
              "--lr 0.3 --clip-norm 0.05 --freeze 2.*", "--lr 0.3 --lr-scale 0.weight=0.5,2.*=10,2.bias=0",
              "--optimizer adam --schedule onecycle --cycle-momentum=no", "--label-smoothing 0.3", "--ema 0.9 --lr 1",
              "--accumulate 3 --lr 1", "--lr 0.5 --clip-norm 100"]:
    train(flags)
