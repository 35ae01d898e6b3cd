"""Random networks live against PyTorch: generated code and a PyTorch model from one description must agree.

    python tests/random/run.py [--cnnc build/cnnc] [--level 0|2] [--count 300] [--first 1]     compares fresh networks
    python tests/random/run.py --write tests/random 3 7 11 ...                              NAME.net and NAME.ref

Each network is compiled twice: in float at -O1 with -Wall -Wextra -Werror (by clang, every third by gcc, and every
tenth with the flags that cnnc itself gives), and in double with checks of undefined behaviour, array bounds among
them. Fast code (--level 2) is made for each target that this machine runs in turn. Compared are all values of the
logits in both modes, the loss, every gradient, momenta, parameters and running statistics, over three training steps
(the protocol is at the head of tests/golden/make.py). An error is relative to the largest value of its tensor; where
that is less, to 1e-3, and among gradients and momenta to 1e-2 of the largest of that step: the gradient of a bias that
batch normalisation removes is a sum of such that cancel.

    double  1e-9: the same formulas, other orders of summing; batch norm over few values multiplies 1e-16 by up to 1e5
            (seed 301: 1.8e-11), while a wrong formula is wrong by 1e-6 and more
    float   3e-5: the same at 6e-8 a rounding, some hundred of them

A float and a double network can differ rightly where rounding decides: next to a relu's kink, between two candidates
of a max-pool window, or where a batch normalisation divides by nearly nothing. So the float comparison is left out, and
that is counted, where a value lies within 1e-6 of a kink (relative to its tensor's largest) or PyTorch's own float
model differs by more than 1e-5 from its double one; a seed is left out altogether in the rare case that the same can
happen in double: 1e-13, and a float model that is off by 1e-3. A failure prints one line with the seed that reproduces
it; only the last line sums up.
"""
import argparse
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import subprocess
import sys
import tempfile
import traceback

import numpy as np
import torch

from generate import file_of, generate
from network import Model, make

TOLERANCE = {"float": 3e-5, "double": 1e-9}
NEAR_KINK = {"float": 1e-6, "double": 1e-13}
NOISE = {"float": 1e-5, "double": 1e-3}
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Tensor(ctypes.Structure):
    """cnn_tensor of runtime/cnn.h"""
    _fields_ = [("name", ctypes.c_char_p), ("rank", ctypes.c_int), ("shape", ctypes.c_int * 4),
                ("count", ctypes.c_size_t), ("trainable", ctypes.c_int), ("integer", ctypes.c_int)]


class Update(ctypes.Structure):
    """cnn_update of runtime/cnn.h"""
    _fields_ = [("lr", ctypes.c_float), ("momentum", ctypes.c_float), ("weight_decay", ctypes.c_float),
                ("nesterov", ctypes.c_int), ("optimizer", ctypes.c_int), ("beta1", ctypes.c_float),
                ("beta2", ctypes.c_float), ("epsilon", ctypes.c_float), ("alpha", ctypes.c_float),
                ("lr_scale", ctypes.c_void_p), ("decay_scale", ctypes.c_void_p)]


# ---- PyTorch's side -----------------------------------------------------------------------------------------------

def reference(network, dtype):
    """{(section, tensor): values} in order, and the model."""
    model = Model(network).to(dtype)
    model.watch = dtype == torch.float64
    answers = {}
    for section, name, tensor in make.answers(model, network.batch, network.shape, network.classes):
        answers[section, name] = tensor.detach().to(torch.float64).numpy().copy()
    return answers, model


def errors(actual, expected):
    """{(section, tensor): the largest error}, relative to the scale that the head of this file names."""
    floor, found = {}, {}
    for (section, name), values in expected.items():
        if name.startswith("grad.") or section == "momentum":
            floor[section] = max(floor.get(section, 1e-3), 1e-2 * np.abs(values).max())
    for key, values in expected.items():
        worst = np.inf
        if actual[key].shape == values.shape and np.isfinite(values).all():
            worst = np.abs(actual[key] - values).max() / max(np.abs(values).max(), floor.get(key[0], 1e-3))
        found[key] = float(worst) if np.isfinite(worst) else np.inf
    return found


def well_posed(network, answers, model):
    """The precisions in which generated code and PyTorch must agree."""
    single, _ = reference(network, torch.float32)
    noise = max(errors(single, answers).values())
    return [precision for precision in TOLERANCE if model.margin > NEAR_KINK[precision] and noise < NOISE[precision]]


# ---- the generated code's side ------------------------------------------------------------------------------------

def command(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().split("\n")
        raise RuntimeError(f"{os.path.basename(words[0])}: {lines[0]}")
    return done


def targets():
    """{target: the C compiler's flags} for those that this machine runs."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        words = set(info.read().split())
    known = {"generic": []}
    if {"avx2", "fma"} <= words:
        known["x86-64-v3"] = ["-march=x86-64-v3"]
    if {"avx512vl", "avx512bw", "avx512dq", "avx512cd"} <= words:
        known["x86-64-v4"] = ["-march=x86-64-v4", "-mprefer-vector-width=512"]
    return known


def compile_network(cnnc, level, folder, seed, precision):
    """The path of a shared library. Fast code is made for one target after the other, and runs in parallel in float."""
    name = os.path.join(folder, f"random{seed}")
    library = f"{name}_{precision}.so"
    if precision == "float" and seed % 10 == 0:
        command(cnnc, level, "--shared", name + ".net", "-o", library)
        return library
    here, known = os.path.dirname(cnnc), targets()
    target = list(known)[seed // 3 % len(known)]
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", f"-I{here}/include"]
    compiler = "gcc" if precision == "float" and seed % 3 == 0 else "clang-19"
    flags += {"float": ["-O1"],
              "double": ["-O0", "-DREAL=double", "-fsanitize=undefined", "-fsanitize-trap=all"]}[precision]
    if level != "-O0":
        flags += known[target] + (["-fopenmp"] if precision == "float" else [])
    command(cnnc, level, "--target", target, name + ".net", "-o", name + ".c")
    archive = os.path.join(here, "libcnn-double.a" if precision == "double" else "libcnn.a")
    command(compiler, *flags, name + ".c", archive, "-lm", "-o", library)
    return library


class Loaded:
    """A generated network in this process."""
    def __init__(self, library, name, double):
        self.library, self.name = ctypes.CDLL(library), name
        self.real = np.float64 if double else np.float32
        self.new, self.tensor = self.function("new", ctypes.c_void_p), self.function("tensor", Tensor)
        self.net = ctypes.c_void_p(self.new(ctypes.c_uint64(make.SEED)))
        self.run = self.function("gradients", ctypes.c_double if double else ctypes.c_float)
        self.tensors = [self.tensor(i) for i in range(self.function("tensors", ctypes.c_int)())]

    def function(self, verb, result=None):
        f = getattr(self.library, f"{self.name}_{verb}")
        f.restype = result
        return f

    def state_dict(self):
        return [(t.name.decode(), tuple(t.shape[:t.rank])) for t in self.tensors]

    def get(self, verb, name, *order):
        i = next(i for i, t in enumerate(self.tensors) if t.name.decode() == name)
        t = self.tensors[i]
        out = np.full(tuple(t.shape[:t.rank]), np.nan, self.real)
        self.function(verb)(self.net, *order, i, out.ctypes.data_as(ctypes.c_void_p))
        return out.astype(np.float64)

    def set(self, i, values):
        values = np.ascontiguousarray(values, self.real)
        self.function("set")(self.net, i, values.ctypes.data_as(ctypes.c_void_p))

    def predict(self, x, shape):
        logits = np.full(shape, np.nan, self.real)
        x = np.ascontiguousarray(x, self.real)
        self.function("predict")(self.net, x.ctypes.data_as(ctypes.c_void_p), logits.ctypes.data_as(ctypes.c_void_p))
        return logits.astype(np.float64)

    def gradients(self, x, labels, shape):
        logits = np.full(shape, np.nan, self.real)
        x, labels = np.ascontiguousarray(x, self.real), np.ascontiguousarray(labels, np.int32)
        loss = self.run(self.net, *(a.ctypes.data_as(ctypes.c_void_p) for a in (x, labels, logits)))
        return np.array(loss, np.float64), logits.astype(np.float64)

    def update(self, nesterov):
        step = Update(0.1, 0.9, 1e-4, nesterov)
        self.function("update")(self.net, ctypes.byref(step))


def follow(loaded, network, keys):
    """The values of every (section, tensor) in `keys`, from the generated code."""
    answers, shape, section = {}, (network.batch, network.classes), ""
    count = network.batch * int(np.prod(network.shape))

    def pictures(step):
        return make.unit(count, 1000 + step)

    for now, name in keys:
        if now != section:
            if section.startswith("step"):
                loaded.update(section == f"step{make.STEPS - 1}")
            if now.startswith("step"):
                step = int(now[4:])
                labels = [(3 * n + 2 * step + 1) % network.classes for n in range(network.batch)]
                answers[now, "loss"], answers[now, "logits"] = loaded.gradients(pictures(step), labels, shape)
            elif name == "-":
                answers[now, name] = loaded.predict(pictures(0), shape)
            section = now
        if name.startswith("grad."):
            answers[now, name] = loaded.get("get_grad", name[5:])
        elif (now, name) not in answers:
            answers[now, name] = loaded.get("get_moment", name, 1) if now == "momentum" else loaded.get("get", name)
    return answers


# ---- one seed -----------------------------------------------------------------------------------------------------

def filled(network):
    """The parameters at the start, in the state_dict's order."""
    state = Model(network).state_dict()
    for t, (key, tensor) in enumerate(state.items()):
        make.fill(key, tensor, t)
    return state


def compare(cnnc, level, folder, seed):
    """("passed" | "in double" | "failed" | "left out", a line, the operators used)"""
    network = generate(seed)
    answers, model = reference(network, torch.float64)
    precisions = well_posed(network, answers, model)
    if not precisions:
        return "left out", "", []
    with open(os.path.join(folder, f"random{seed}.net"), "w", encoding="ascii") as out:
        out.write(file_of(seed))
    state, notes = filled(network), []
    for precision in precisions:
        tolerance = TOLERANCE[precision]
        library = compile_network(cnnc, level, folder, seed, precision)
        loaded = Loaded(library, network.name, precision == "double")
        expected = [(key, tuple(tensor.shape)) for key, tensor in state.items()]
        if loaded.state_dict() != expected:
            return "failed", f"state_dict: {loaded.state_dict()} instead of {expected}", []
        for i, tensor in enumerate(state.values()):
            loaded.set(i, tensor.numpy())
        got = follow(loaded, network, answers)
        off = errors(got, answers)
        worst, wrong = max(off, key=off.get), [key for key in off if off[key] > tolerance]
        notes.append(f"{precision} {off[worst]:.1e}")
        if wrong:
            return "failed", (f"{precision}: {' '.join(wrong[0])} and {len(wrong) - 1} others, the worst "
                              f"{' '.join(worst)} by {off[worst]:.2g}"), []
    return "passed" if len(precisions) == 2 else "in double", ", ".join(notes), model.keywords()


def work(pipe, cnnc, level, folder, seed):
    try:
        pipe.send(compare(cnnc, level, folder, seed))
    except Exception as problem:            # whatever a seed does wrong is that seed's line
        last = traceback.extract_tb(problem.__traceback__)[-1]
        place = f"{os.path.basename(last.filename)}:{last.lineno}"
        pipe.send(("failed", f"{type(problem).__name__}: {problem} ({place})", []))


def outcomes(cnnc, level, folder, count, first, jobs):
    """Yields (seed, kind, line, operators) until `count` networks are compared, each in a process: it may crash."""
    fork, running, seed, compared = multiprocessing.get_context("fork"), {}, first, 0
    while compared < count or running:
        while len(running) < jobs and compared + len(running) < count:
            here, there = fork.Pipe(duplex=False)
            process = fork.Process(target=work, args=(there, cnnc, level, folder, seed))
            process.start()
            there.close()
            running[here] = seed, process
            seed += 1
        for pipe in multiprocessing.connection.wait(list(running)):
            number, process = running.pop(pipe)
            try:
                kind, line, keywords = pipe.recv()
            except EOFError:
                process.join()
                kind, line, keywords = "failed", f"crashed with signal {-process.exitcode}", []
            process.join()
            compared += kind != "left out"
            yield number, kind, line, keywords


def run(options):
    counts, used = {"passed": 0, "in double": 0, "failed": 0, "left out": 0}, {}
    with tempfile.TemporaryDirectory() as folder:
        where = options.keep or folder
        os.makedirs(where, exist_ok=True)
        for seed, kind, line, keywords in outcomes(os.path.abspath(options.cnnc), "-O" + options.level, where,
                                                   options.count, options.first, options.jobs):
            counts[kind] += 1
            for keyword in set(keywords):
                used[keyword] = used.get(keyword, 0) + 1
            if kind == "failed" or (options.verbose and kind != "left out"):
                print(f"seed {seed}: {kind}: {line}   (tests/random/generate.py {seed})", flush=True)
    print("networks with", ", ".join(f"{k} {n}" for k, n in sorted(used.items())))
    passed = counts["passed"] + counts["in double"]
    print(f"{passed} passed, {counts['failed']} failed   ({counts['in double']} compared in double only and "
          f"{counts['left out']} seeds left out, where rounding decides)")
    return 1 if counts["failed"] else 0


# ---- committed references -----------------------------------------------------------------------------------------

def write(folder, seeds):
    """NAME.net and a short NAME.ref for tests/test_random_networks.c: few samples, gradients of two steps."""
    make.SAMPLES, make.DIGITS = 4, 9
    for seed in seeds:
        network = generate(seed)
        answers, model = reference(network, torch.float64)
        if "float" not in well_posed(network, answers, model):
            print(f"seed {seed} is left out: rounding decides", file=sys.stderr)
            continue
        base = os.path.join(folder, network.name)
        with open(base + ".net", "w", encoding="ascii") as out:
            out.write(file_of(seed))
        with open(base + ".ref", "w", encoding="ascii") as out:
            make.begin(out, network.name, model.state_dict())
            for (section, name), values in answers.items():
                if section != "momentum" and not (section == "step1" and name.startswith("grad.")):
                    make.record(out, section, name, torch.from_numpy(values))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Random networks against PyTorch; the head of this file says how.")
    parser.add_argument("--cnnc", default=os.path.join(ROOT, "build", "cnnc"))
    parser.add_argument("--level", choices=["0", "2"], default="0", help="0: the textbook; 2: fast code")
    parser.add_argument("--count", type=int, default=300, help="networks to compare")
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", metavar="FOLDER", help="keep networks, C and libraries here")
    parser.add_argument("--verbose", action="store_true", help="a line for every network")
    parser.add_argument("--write", metavar="FOLDER", help="write .net and .ref of the seeds named, and stop")
    parser.add_argument("seeds", type=int, nargs="*")
    given = parser.parse_args()
    if given.write:
        write(given.write, given.seeds)
    else:
        sys.exit(run(given))
