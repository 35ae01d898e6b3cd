#!/usr/bin/env python3
"""Makes rate.txt, the reference of tests/test_rate.c: python3 rate.py > rate.txt   (torch)

Each case is a line of settings, named as the fields of cnn_schedule (runtime/train/rate.h), and a line "lr momentum"
for each step, as PyTorch's scheduler gives them when it is stepped once a training step. The momentum is the
optimiser's, or beta1.
"""
import warnings

import torch
from torch.optim import lr_scheduler as S

warnings.filterwarnings("ignore")

ONECYCLE = dict(pct_start=0.3, div_factor=25.0, final_div_factor=1e4, base_momentum=0.85, max_momentum=0.95,
                cycle_momentum=1)


def main_schedule(kind, optimizer, c, n, total):
    if kind == "step":
        return S.StepLR(optimizer, c["every"] * n, c["gamma"])
    if kind == "multistep":
        return S.MultiStepLR(optimizer, [m * n for m in c["milestones"]], c["gamma"])
    if kind == "cosine":
        return S.CosineAnnealingLR(optimizer, total, c["least"])
    if kind == "onecycle":
        o = {**ONECYCLE, **c}
        return S.OneCycleLR(optimizer, o["lr"], total, pct_start=o["pct_start"], div_factor=o["div_factor"],
                            final_div_factor=o["final_div_factor"], base_momentum=o["base_momentum"],
                            max_momentum=o["max_momentum"], cycle_momentum=bool(o["cycle_momentum"]))
    return S.LambdaLR(optimizer, lambda t: 1.0)


def case(kind, epochs, steps, adam=False, **c):
    lr, momentum, warmup = c.setdefault("lr", 0.1), c.setdefault("momentum", 0.9), c.get("warmup", 0)
    weight = [torch.nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.Adam(weight, lr, betas=(momentum, 0.999)) if adam else torch.optim.SGD(weight, lr, momentum)
    total, warm = epochs * steps, round(warmup * steps)
    schedule = main_schedule(kind, optimizer, c, steps, total - warm)
    if warm:
        ramp = S.LinearLR(optimizer, c.setdefault("warmup_from", 0.01), total_iters=warm)
        schedule = S.SequentialLR(optimizer, [ramp, schedule], [warm])
    settings = {**(ONECYCLE if kind == "onecycle" else {}), **c}
    text = ["%s=%s" % (k, ",".join(map(str, v)) if isinstance(v, list) else v) for k, v in settings.items()]
    print("case", kind, "epochs=%d" % epochs, "steps=%d" % steps, *text)
    for _ in range(total):
        group = optimizer.param_groups[0]
        print("%.17g %.17g" % (group["lr"], group["betas"][0] if adam else group["momentum"]))
        optimizer.step()
        schedule.step()


case("constant", 2, 3)
case("constant", 3, 4, warmup=1, warmup_from=0.25)
case("step", 7, 3, every=2, gamma=0.1)
case("step", 6, 5, every=1, gamma=0.5, warmup=2, lr=0.9)
case("multistep", 9, 3, milestones=[3, 6, 8], gamma=0.2)
case("multistep", 5, 4, milestones=[1, 3], gamma=0.1, warmup=0.5)
case("cosine", 5, 7, least=0.0)
case("cosine", 4, 9, least=1e-4, lr=0.05, warmup=1)
case("cosine", 3, 11, least=0.0, warmup=0.7, warmup_from=0.1)
case("onecycle", 6, 7)
case("onecycle", 3, 10, adam=True, lr=0.01, pct_start=0.25, div_factor=10.0, final_div_factor=100.0)
case("onecycle", 4, 5, cycle_momentum=0, momentum=0.5)
case("onecycle", 4, 4, base_momentum=0.6, max_momentum=0.8, pct_start=0.5)
