"""Every network of the zoo live against PyTorch: logits, loss, every gradient, running statistics, SGD's steps.

    python tests/zoo/compare.py [--cnnc build/cnnc] [--level 0|2] [--jobs 2] [NAME ...]     exit status 1 if one differs

A NAME is a path below dsl-examples without .net, or a part of one: d2l, resnet18, torchvision/resnet18. The networks
and their sizes are in models.py.

The protocol is that of tests/golden/make.py: prediction; three steps of SGD with momentum and weight decay on pictures
of their own, the third with Nesterov's rule; prediction again. Compared are all values: the logits of both modes, the
loss and every gradient at each step, and afterwards momenta, parameters and running statistics. Dropout draws the same
masks on both sides. First weights are uniform in +-sqrt(6 / fan-in) (He et al. 2015), which keeps the size of
activations and gradients through twenty layers of ReLU; the rate of 0.001 keeps the steps from blowing them up, and
the weight decay of 0.01 is a hundred times the tolerance in what a step changes.

An error is relative to the largest value of its tensor in PyTorch. A bias is measured with the weight of its layer,
where that is larger: the gradient of a bias that batch normalisation removes is 0 but for rounding.

    double  The C code and PyTorch both compute in double precision, and must agree to 1e-8. They differ in the order
            of sums alone, some 1e-15 a layer, which batch normalisation over few values multiplies. This decides
            whether the network is the same.
    float   The C code in float against PyTorch in double shows that rounding is all that a float adds: 1e-4, or 10
            times the network's own sensitivity where that is more. For this comparison batch normalisation's scale
            and shift keep values away from the kinks of ReLU (fill_calm): among a million values some lie within
            rounding of a kink, and where a float takes the other side, a gradient jumps, in PyTorch as in ours. The
            sensitivity is the larger of PyTorch's own error in float, and what double precision makes of parameters
            that are disturbed by as much as storing them in float does. Networks without batch normalisation have no
            such protection and rarely need it, and max-pooling has kinks too; where rounding does cross one, in ours
            or in PyTorch's own float, up to six draws of first values are tried, and every tensor must agree in one of
            them: a defect would show in each. Gradients and momenta that are smaller than a hundredth of the network's
            largest are measured with that hundredth: they are what is left of sums that cancel.

Columns: the largest error of any value in double; in float those of forward (logits of both modes, first step), loss,
gradients (first step), running statistics, and all that two more steps make of it (losses, gradients, momenta,
parameters, prediction); then the sensitivity of forward, gradients and steps.
"""
import argparse
import ctypes
import functools
import multiprocessing
import os
import sys
import tempfile
import time
import traceback

import numpy as np
import torch

import models
from models import ROOT, ZOO, make

sys.path.insert(0, os.path.join(ROOT, "tests", "random"))
from run import Loaded, Update, command                         # noqa: E402

RATES = 1e-3, 0.9, 1e-2
DOUBLE, FLOAT, FACTOR, CALM, DRAWS = 1e-8, 1e-4, 10, 1e-3, 6
COLUMNS = ["forward", "loss", "gradients", "statistics", "steps"]


# ---- what goes in ----------------------------------------------------------------------------------------------------

def fill(name, tensor, t):
    """make.fill, but for weights: uniform in +-sqrt(6 / fan-in), rounded so that a float holds them."""
    if tensor.dim() < 2:
        return make.fill(name, tensor, t)
    bound = np.float32(np.sqrt(6 / (tensor.numel() // tensor.shape[0])))
    values = (make.unit(tensor.numel(), t) * np.float64(bound)).astype(np.float32)
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(values).reshape(tensor.shape))
    return None


def fill_calm(name, tensor, t, draw=0):
    """Those values, but batch normalisation gives 3 and a little, on which ReLU and ReLU6 are smooth. Every fourth
    channel is switched off instead: so far below 0 that no sum of a residual network brings it back."""
    t += 3000 * draw
    fill(name, tensor, t)
    u = make.unit(tensor.numel(), t)
    if name in fill_calm.normalised:
        kind = name.rpartition(".")[2]
        u = (1 + u / 4) / 2 if kind == "weight" else np.where(u < -0.5, -24.0, 3.0) + u / 4
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(u))


def fill_disturbed(name, tensor, t, draw):
    """Calm values with relative errors of up to 2^-24, as storing a real number in a float makes."""
    fill_calm(name, tensor, t, draw)
    if tensor.is_floating_point():
        with torch.no_grad():
            tensor *= torch.from_numpy(1 + make.unit(tensor.numel(), 5000 + t) / 2 ** 24).reshape(tensor.shape)


# ---- both sides: (section, tensor, values), in one order -------------------------------------------------------------

def pytorch(case, size, generated, dtype, first):
    model = case.model(size, generated).to(dtype)
    for section, name, tensor in make.answers(model, size.batch, size.picture, 10, first, RATES):
        yield section, name, tensor.detach().to(torch.float64).numpy()


def ours(net, size, keys):
    """The generated code does what the sections of `keys` say."""
    section, logits, count = "", None, size.batch * int(np.prod(size.picture))
    for now, name in keys:
        if now != section:
            if section.startswith("step"):
                rate = Update(*RATES, section == f"step{make.STEPS - 1}")
                net.function("update")(net.net, ctypes.byref(rate))
            if now.startswith("step"):
                step = int(now[4:])
                labels = [(3 * n + 2 * step + 1) % 10 for n in range(size.batch)]
                loss, logits = net.gradients(make.unit(count, 1000 + step), labels, (size.batch, 10))
            elif name == "-":
                logits = net.predict(make.unit(count, 1000), (size.batch, 10))
            section = now
        if name == "loss":
            yield now, name, loss
        elif name in ("logits", "-"):
            yield now, name, logits
        elif name.startswith("grad."):
            yield now, name, net.get("get_grad", name[5:])
        else:
            yield now, name, net.get("get_moment", name, 1) if now == "momentum" else net.get("get", name)


def compile_network(case, size, cnnc, folder, level="-O0"):
    """Writes the textbook's C, and returns its text and a function that compiles this level's: library(real) is a path.

    The textbook at -O1: its loops run for a second, and to compile them at cnnc's own -O3 takes ten times as long.
    """
    source = os.path.join(folder, case.name + ".c")
    command(cnnc, "-O0", *size.flags(), os.path.join(ROOT, case.file), "-o", source)
    here = os.path.dirname(os.path.abspath(cnnc))

    def library(real):
        archive = os.path.join(here, "libcnn-double.a" if real == "double" else "libcnn.a")
        path = os.path.join(folder, f"{case.name}_{real}.so")
        if level != "-O0":
            double = ["--double"] if real == "double" else []
            command(cnnc, level, *double, "--shared", *size.flags(), os.path.join(ROOT, case.file), "-o", path)
            return path
        command("clang-19", "-std=gnu11", "-O1", "-march=native", "-ffp-contract=fast", f"-DREAL={real}", "-fPIC",
                "-shared", f"-I{here}/include", source, archive, "-lm", "-o", path)
        return path
    with open(source, encoding="ascii") as text:
        return text.read(), library


# ---- comparing -------------------------------------------------------------------------------------------------------

def column(section, name):
    if section == "start" or (section, name) == ("step0", "logits"):
        return "forward"
    if section == "step0":
        return "loss" if name == "loss" else "gradients"
    return "statistics" if section == "value" and ".running_" in name else "steps"


def scales(expected, floor):
    """The largest value of each tensor; of a bias, that of its weight where it is larger; of a gradient or momentum, at
    least `floor` times the largest of the network."""
    largest = {key: np.abs(values).max(initial=0) for key, values in expected.items()}

    def is_gradient(key):
        return key[0] == "momentum" or key[1].startswith("grad.")
    least = floor * max(largest[key] for key in largest if is_gradient(key))
    return {(section, name): max(size, least if is_gradient((section, name)) else 0, 1e-30,
                                 largest.get((section, name.removesuffix("bias") + "weight"), 0)
                                 if name.endswith("bias") else 0) for (section, name), size in largest.items()}


def errors(expected, actual, floor=0.0):
    """{key: error} of every tensor."""
    scale, found = scales(expected, floor), {}
    for section, name, values in actual:
        key = section, name
        same = values.shape == expected[key].shape and np.isfinite(values).all()
        found[key] = float(np.abs(values - expected[key]).max(initial=0) / scale[key]) if same else float("inf")
    assert set(found) == set(expected), "not everything was compared"
    return found


def worst(found):
    """{column: its largest error}."""
    largest = dict.fromkeys(COLUMNS, 0.0)
    for key, error in found.items():
        largest[column(*key)] = max(largest[column(*key)], error)
    return largest


def least(before, now):
    """The smaller of both for each key."""
    return {key: min(value, before.get(key, value)) for key, value in now.items()}


class Comparison:
    """One network: `complaints` are lines about what differs."""
    def __init__(self, case, cnnc, level, folder):
        self.case, self.size, self.complaints = case, case.live, []
        self.generated, self.library = compile_network(case, self.size, cnnc, folder, level)
        self.model = case.model(self.size, self.generated)
        self.parameters = sum(p.numel() for p in self.model.parameters())
        fill_calm.normalised = {f"{path}.{kind}" for path, module in self.model.named_modules()
                                if hasattr(module, "running_var") for kind in ("weight", "bias")}

    def pytorch(self, dtype, first):
        return pytorch(self.case, self.size, self.generated, dtype, first)

    def expected(self, first):
        answers = {(section, name): values.copy() for section, name, values in self.pytorch(torch.float64, first)}
        wild = [key for key, values in answers.items() if not np.isfinite(values).all()]
        assert not wild, f"PyTorch has no number at {wild[0]}: the protocol blows this network up"
        return answers

    def ours(self, real, first, expected):
        """A loaded network with its first values does the same."""
        net, state = Loaded(self.library(real), self.case.name, real == "double"), self.model.state_dict()
        for a, b in zip(net.state_dict(), ((name, tuple(tensor.shape)) for name, tensor in state.items())):
            assert a == b, f"the state_dict has {a}, PyTorch's has {b} there"
        assert len(net.tensors) == len(state), f"{len(net.tensors)} tensors, PyTorch has {len(state)}"
        for t, (name, tensor) in enumerate(state.items()):
            first(name, tensor, t)
            net.set(t, tensor.numpy())
        yield from ours(net, self.size, expected)
        net.function("free")(net.net)

    def judge(self, real, found, allowed):
        """One complaint for each column in which something differs by more than `allowed`: its worst tensor."""
        for name in COLUMNS:
            error, key = max(((error, key) for key, error in found.items() if column(*key) == name), default=(0.0, ()))
            if not error <= allowed[name]:
                self.complaints.append(f"{real}: {name}: {' '.join(key)} differs by {error:.2g}; {allowed[name]:.1g} "
                                       "is allowed")

    def in_float(self, first, disturbed):
        """(errors of our float code, {column: sensitivity}) with these first values."""
        expected = self.expected(first)
        noise = [worst(errors(expected, self.pytorch(*how), 0.01)) for how in ((torch.float32, first),
                                                                               (torch.float64, disturbed))]
        return (errors(expected, self.ours("float", first, expected), 0.01),
                {name: max(n[name] for n in noise) for name in COLUMNS})

    def run(self):
        """(parameters, worst in double, {column: error in float}, {column: sensitivity}, complaints)"""
        expected = self.expected(fill)
        double = errors(expected, self.ours("double", fill, expected))
        self.judge("double", double, dict.fromkeys(COLUMNS, DOUBLE))

        single, noise = {}, {}
        for draw in range(DRAWS):
            now, sensitivity = self.in_float(*(functools.partial(first, draw=draw) for first in (fill_calm,
                                                                                                 fill_disturbed)))
            single, noise = least(single, now), least(noise, sensitivity)
            allowed = {name: max(FACTOR * noise[name], FLOAT) for name in COLUMNS}
            if noise["steps"] < CALM and all(error <= allowed[column(*key)] for key, error in single.items()):
                break
        self.judge("float", single, allowed)
        return self.parameters, max(double.values()), worst(single), noise, self.complaints


# ---- the table -------------------------------------------------------------------------------------------------------

def work(pipe, case, cnnc, level):
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            pipe.send(Comparison(case, cnnc, level, folder).run())
    except Exception as problem:            # whatever goes wrong in a network is that network's line
        last = traceback.extract_tb(problem.__traceback__)[-1]
        where = f"({os.path.basename(last.filename)}:{last.lineno})"
        pipe.send((0, float("inf"), {}, {}, [f"{type(problem).__name__}: {problem} {where}"]))


def outcomes(cases, cnnc, level, jobs):
    """Yields (case, what Comparison.run returns) in the order of `cases`. A process each: a crash is a failure."""
    fork, waiting, running, done, turn = multiprocessing.get_context("fork"), list(cases), {}, {}, 0
    while turn < len(cases):
        while waiting and len(running) < jobs:
            here, there = fork.Pipe(duplex=False)
            process = fork.Process(target=work, args=(there, waiting[0], cnnc, level))
            process.start()
            there.close()
            running[here] = waiting.pop(0), process
        for pipe in multiprocessing.connection.wait(list(running)):
            case, process = running.pop(pipe)
            try:
                done[case.path] = pipe.recv()
            except EOFError:
                done[case.path] = 0, float("inf"), {}, {}, ["the process died"]
            process.join()
        while turn < len(cases) and cases[turn].path in done:
            yield cases[turn], done.pop(cases[turn].path)
            turn += 1


def row(first, cells):
    return f"{first:26}" + "".join(f"{cell:>11}" for cell in cells)


def number(errors_of, name):
    return f"{errors_of[name]:.1e}" if name in errors_of else "-"


def main(options):
    cases = [c for c in ZOO if not options.names or any(name in c.path for name in options.names)]
    failed, began = [], time.monotonic()
    print(row("", ["", "double", "float", "", "", "", "", "sensitivity", "", ""]))
    print(row("network", ["parameters", "all", *COLUMNS, "forward", "gradients", "steps"]), flush=True)
    for case, (count, double, single, noise, complaints) in outcomes(cases, options.cnnc, "-O" + options.level,
                                                                    options.jobs):
        print(row(case.path, [f"{count:,}", f"{double:.1e}", *(number(single, name) for name in COLUMNS),
                              *(number(noise, name) for name in ("forward", "gradients", "steps"))]), flush=True)
        for line in complaints:
            print(f"    {case.path}: FAILED: {line}", flush=True)
        failed += [case.path] if complaints else []
    print(f"{len(cases) - len(failed)} passed, {len(failed)} failed in {time.monotonic() - began:.0f} s; allowed are "
          f"{DOUBLE:.0e} in double, and in float {FLOAT:.0e} or {FACTOR} times the sensitivity")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The zoo against PyTorch.")
    parser.add_argument("--cnnc", default="build/cnnc")
    parser.add_argument("--level", choices=["0", "2"], default="0", help="0: the textbook; 2: fast code")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*")
    sys.exit(main(parser.parse_args()))
