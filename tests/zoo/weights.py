"""Weights files both ways between our trainers and torchvision, through the safetensors package.

    python tests/zoo/weights.py [--cnnc build/cnnc] [NAME ...]         exit status 1 when a network differs

For each network, with all its 1000 classes, at a small picture:

    theirs  torchvision's state_dict(), saved by safetensors.torch, is what `predict --weights` loads; its logits are
            PyTorch's for the same pictures (`--dump` writes both).
    ours    `train --init` of that file for two steps writes last.safetensors, which load_state_dict(strict=True) takes;
            every num_batches_tracked is then an int64 of 2, every weight has moved from its first value, and PyTorch's
            logits with these weights are those of `predict`.

Weights are those of compare.py, running statistics too, so that no tensor could be left out without a difference.
Logits must agree to 1e-4 of the largest: both sides compute in float, and the order of sums costs some 1e-6 (printed).
"""
import argparse
import glob
import os
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from compare import command, fill
from models import ROOT, torchvision_model

NETWORKS = {"resnet18": 64, "mobilenet_v2": 64, "densenet121": 64, "googlenet": 64, "squeezenet1_0": 63}
TOLERANCE = 1e-4


def trainer(name, height, cnnc, folder):
    """A trainer of two pictures a batch, compiled at -O1 for the reason that compare.py gives."""
    source, program, here = f"{folder}/{name}.c", f"{folder}/{name}", os.path.dirname(os.path.abspath(cnnc))
    command(cnnc, "-O0", "--batch", "2", "--input", f"3x{height}x{height}",
            os.path.join(ROOT, "dsl-examples", "torchvision", name + ".net"), "-o", source)
    command("clang-19", "-std=gnu11", "-O1", "-march=native", "-fopenmp", "-DCNN_MAIN", f"-I{here}/include", source,
            f"{here}/libcnn.a", "-lz", "-ljansson", "-lm", "-o", program)
    return program


def predicted(program, weights, folder):
    """(pictures, logits) of the first batch; in each of these networks one layer's output is of the logits' shape."""
    command(program, "predict", "--data", "synthetic", "--limit-batches", "1", "--weights", weights, "--dump", folder)
    outputs = [np.load(path) for path in glob.glob(f"{folder}/*.npy")]
    logits = [values for values in outputs if values.shape == (2, 1000)]
    assert len(logits) == 1
    return np.load(f"{folder}/input.npy"), logits[0]


def difference(model, pictures, logits):
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(pictures).float()).double().numpy()
    return float(np.abs(logits - expected).max() / np.abs(expected).max())


def check(name, height, cnnc, folder):
    """(error with their weights, error with ours, complaints)"""
    program, complaints = trainer(name, height, cnnc, folder), []
    model = torchvision_model(name)().float()
    for t, (key, tensor) in enumerate(model.state_dict().items()):
        fill(key, tensor, t)
    first = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    save_file(first, f"{folder}/theirs.safetensors")
    theirs = difference(model, *predicted(program, f"{folder}/theirs.safetensors", f"{folder}/before"))

    command(program, "train", "--data", "synthetic", "--epochs", "1", "--limit-batches", "2", "--lr", "0.001",
            "--init", f"{folder}/theirs.safetensors", "--out", f"{folder}/run")
    written = load_file(f"{folder}/run/last.safetensors")
    model.load_state_dict(written, strict=True)
    for key, tensor in written.items():
        if tensor.dtype != first[key].dtype:
            complaints.append(f"{key} is {tensor.dtype}, PyTorch's is {first[key].dtype}")
        if key.endswith("num_batches_tracked"):
            if int(tensor) != 2:
                complaints.append(f"{key} is {int(tensor)} after two steps")
        elif torch.equal(tensor, first[key]):
            complaints.append(f"{key} has not moved")
    ours = difference(model, *predicted(program, f"{folder}/run/last.safetensors", f"{folder}/after"))
    for what, error in (("torchvision's weights", theirs), ("our weights", ours)):
        if not error <= TOLERANCE:
            complaints.append(f"with {what} the logits differ by {error:.2g}; {TOLERANCE:.0e} is allowed")
    return theirs, ours, complaints


def main(options):
    failed, names = 0, options.names or list(NETWORKS)
    print(f"{'network':20}{'their weights':>15}{'our weights':>15}     largest error of the logits", flush=True)
    for name in names:
        try:
            with tempfile.TemporaryDirectory() as folder:
                theirs, ours, complaints = check(name, NETWORKS[name], options.cnnc, folder)
        except RuntimeError as problem:     # a command that failed, or a state_dict that PyTorch does not take
            theirs, ours, complaints = float("nan"), float("nan"), [str(problem)]
        print(f"{name:20}{theirs:>15.1e}{ours:>15.1e}", flush=True)
        for line in complaints:
            print(f"    {name}: FAILED: {line}", flush=True)
        failed += bool(complaints)
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Weights to torchvision and back.")
    parser.add_argument("--cnnc", default="build/cnnc")
    parser.add_argument("names", nargs="*")
    torch.set_default_dtype(torch.float32)      # make.py's is double
    sys.exit(main(parser.parse_args()))
