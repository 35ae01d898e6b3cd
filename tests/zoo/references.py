"""Writes NAME.ref beside it for every network of models.py: what tests/test_zoo_pytorch.c compares without Python.

    python tests/zoo/references.py [--cnnc build/cnnc] [NAME ...]

The protocol and the first values are those of compare.py, at the tiny size, in double precision. The lines about values
are those of tests/golden/make.py, for a few tensors of each network; `flags` and `rates` say what to compile and how to
train. Every tensor is in the digest: in the state_dict's order, one number for each, the sum of u * v over its
elements. v is the momentum of a parameter after the three steps, which all of its gradients are in, and the value of a
buffer; u is make.unit(count, 2000 + t) for tensor number t. A value that is wrong, missing or elsewhere changes it.
"""
import argparse
import os
import sys
import tempfile

import torch

from compare import RATES, compile_network, fill
from models import ROOT, ZOO, make

TENSORS, make.SAMPLES, make.DIGITS = 6, 5, 12


def chosen(names):
    """The first, the last and some between."""
    step = max(1, (len(names) - 1) / (TENSORS - 1))
    return {names[round(i * step)] for i in range(TENSORS) if round(i * step) < len(names)}


def write(case, cnnc):
    size = case.tiny
    with tempfile.TemporaryDirectory() as folder:
        generated, _ = compile_network(case, size, cnnc, folder)
    model, last = case.model(size, generated), {}
    trained = [name for name, _ in model.named_parameters()]
    shown = chosen(trained) | chosen([name for name, _ in model.named_buffers() if "running" in name] or trained)
    with open(case.reference, "w", encoding="ascii") as out:
        print(f"# {os.path.basename(case.reference)} - made by PyTorch {torch.__version__.split('+')[0]}; the head of "
              "tests/zoo/references.py explains the lines", file=out)
        print("network", case.name, case.file, file=out)
        print("flags", *size.flags(), file=out)
        print("rates", *RATES, file=out)
        print("tensors", len(model.state_dict()), file=out)
        for section, name, tensor in make.answers(model, size.batch, size.picture, 10, fill, RATES):
            assert torch.isfinite(tensor).all(), f"{case.path} blows up: {section} {name}"
            if section in ("momentum", "value"):
                last[section, name] = tensor
            about = name.removeprefix("grad.")
            if (name in ("-", "loss", "logits") or about in shown) and (section != "value" or "running" in name):
                make.record(out, section, name, tensor)
        digest = []
        for t, name in enumerate(model.state_dict()):
            v = last.get(("momentum", name), last["value", name]).detach().double().flatten()
            digest.append(float(torch.from_numpy(make.unit(v.numel(), 2000 + t)) @ v))
        print("digest of", len(digest), "tensors:", *(f"{d:.8g}" for d in digest), file=out)
    return os.path.getsize(case.reference)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The committed references of the zoo.")
    parser.add_argument("--cnnc", default=os.path.join(ROOT, "build", "cnnc"))
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for network in ZOO:
        if not options.names or any(name in network.path for name in options.names):
            print(f"{network.path}: {write(network, options.cnnc):,} bytes", flush=True)
    sys.exit(0)
