#!/usr/bin/env python3
"""update.py - writes update.txt: what PyTorch's optimisers and its loss with soft targets compute.

    python3 tests/reference/update.py > tests/reference/update.txt        (needs torch; made with 2.x, float64)

Numbers come from unit() of tests/golden/make.py, which the tests compute too. An optimiser makes four steps on the
tensors of SHAPES: element i of tensor t begins as unit(i, t), and its gradient at step s is unit(i, 100 * (s + 1) + t);
then its values and moments are told. Settings are binary fractions, which a float holds.
The loss is that of x (BATCH x FEATURES) through one linear layer: tensors 0 and 1, and 1000 for x.
"""
import os
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
import make                                                     # noqa: E402

SHAPES = [(7, 5), (7,), (3, 7), (3,)]                           # of tests/test_update.c's network, as its state_dict
LR_SCALE, DECAY_SCALE = (1, 0.5, 2, 0.25), (1, 0, 0.5, 2)
STEPS = 4
BATCH, FEATURES, CLASSES = 6, 4, 5


def numbers(shape, t):
    tensor = torch.empty(shape)
    return torch.from_numpy(make.unit(tensor.numel(), t)).reshape(shape)


def show(*key, values):
    print(*key, *("%.17g" % v for v in values.detach().flatten().tolist()))


def optimise(name, rule, kind, scaled=False, **settings):
    """`name` is printed with the settings as cnn_update's: lr momentum weight_decay nesterov ... scaled."""
    weights = [torch.nn.Parameter(numbers(shape, t)) for t, shape in enumerate(SHAPES)]
    groups = [{"params": [w]} for w in weights]
    for t, group in enumerate(groups):
        if scaled:
            group["lr"] = settings["lr"] * LR_SCALE[t]
            group["weight_decay"] = settings["weight_decay"] * DECAY_SCALE[t]
    optimizer = kind(groups, **settings)
    for step in range(STEPS):
        for t, w in enumerate(weights):
            w.grad = numbers(SHAPES[t], 100 * (step + 1) + t)
        optimizer.step()
    beta1, beta2 = settings.get("betas", (0, 0))
    print("optimizer", name, rule, settings["lr"], settings.get("momentum", 0), settings.get("weight_decay", 0),
          int(settings.get("nesterov", False)), beta1, beta2, settings.get("eps", 0), settings.get("alpha", 0),
          int(scaled))
    for t, w in enumerate(weights):
        state = optimizer.state[w]
        show("value", t, values=w)
        for key, order in (("exp_avg", "first"), ("momentum_buffer", "first"), ("exp_avg_sq", "second"),
                           ("square_avg", "second")):
            if state.get(key) is not None:
                show(order, t, values=state[key])


def compare(name, smoothing, mixed):
    """q of cnn_target, as PyTorch takes it: the probabilities of a mixture, and label_smoothing."""
    w, b = (torch.nn.Parameter(numbers(shape, t)) for t, shape in enumerate([(CLASSES, FEATURES), (CLASSES,)]))
    label, other = (torch.tensor([(a * n + 1) % CLASSES for n in range(BATCH)]) for a in (3, 2))
    share = (numbers((BATCH,), 9) + 1) / 2
    logits = numbers((BATCH, FEATURES), 1000) @ w.T + b
    goal = label
    if mixed:
        goal = share[:, None] * F.one_hot(label, CLASSES) + (1 - share)[:, None] * F.one_hot(other, CLASSES)
    loss = F.cross_entropy(logits, goal, label_smoothing=smoothing)
    loss.backward()
    print("target", name, smoothing, int(mixed))
    show("loss", 0, values=loss)
    show("grad", 0, values=w.grad)
    show("grad", 1, values=b.grad)


optim, decay = torch.optim, {"lr": 0.125, "weight_decay": 0.0625}
adam = {**decay, "betas": (0.875, 0.96875), "eps": 2 ** -10}
print("# What PyTorch computes; written by update.py. See there.")
optimise("sgd", 0, optim.SGD, lr=0.125)
optimise("sgd-decay", 0, optim.SGD, **decay)
optimise("sgd-momentum", 0, optim.SGD, **decay, momentum=0.75)
optimise("sgd-nesterov", 0, optim.SGD, **decay, momentum=0.75, nesterov=True)
optimise("sgd-scaled", 0, optim.SGD, **decay, momentum=0.75, scaled=True)
optimise("adam", 1, optim.Adam, **{**adam, "weight_decay": 0})
optimise("adam-decay", 1, optim.Adam, **adam)
optimise("adam-scaled", 1, optim.Adam, **adam, scaled=True)
optimise("adamw", 2, optim.AdamW, **adam)
optimise("adamw-scaled", 2, optim.AdamW, **adam, scaled=True)
optimise("rmsprop", 3, optim.RMSprop, lr=0.125, alpha=0.9375, eps=2 ** -10)
optimise("rmsprop-decay", 3, optim.RMSprop, **decay, alpha=0.9375, eps=2 ** -10)
optimise("rmsprop-momentum", 3, optim.RMSprop, **decay, alpha=0.9375, eps=2 ** -10, momentum=0.75)
optimise("rmsprop-scaled", 3, optim.RMSprop, **decay, alpha=0.9375, eps=2 ** -10, momentum=0.75, scaled=True)
compare("plain", 0, False)
compare("smoothed", 0.125, False)
compare("mixed", 0, True)
compare("smoothed-and-mixed", 0.25, True)
print("# PyTorch", torch.__version__.split("+")[0], file=sys.stderr)
