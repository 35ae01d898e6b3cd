"""Whole steps, ours and those of PyTorch, ONNX Runtime and OpenVINO, alternating on the same network and pictures.

Each side is a process (stepper.c, peers.py) that does steps when it is told to, so that compiling and starting are paid
once; all but the one whose turn it is are stopped, so that no thread of theirs spins. A turn is an untimed step where
steps are short, and then steps for TURN seconds, at least one. What counts is the fastest step of all turns.

Before anything is timed, every side has predicted the same scores from the same weights.
"""
import math
import os
import re
import signal
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
PYTORCH = ["nchw", "nhwc", "nchw+compile", "nhwc+compile"]
ENGINES = ["onnxruntime", "openvino"]
TURN, LONG_STEP = 0.3, 1000         # seconds; milliseconds: a step that needs no warming


class Side:
    """A process that steps on demand; stopped but while it is its turn."""
    def __init__(self, name, words, settings, log):
        environment = {**os.environ, **settings}
        with open(log, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            text=True, env=environment)
        self.name, self.log, self.times = name, log, []

    def wait_until_ready(self):
        for line in self.process.stdout:        # libraries may talk before
            if line == "ready\n":
                self.process.send_signal(signal.SIGSTOP)
                return self
        self.process.wait()
        with open(self.log, encoding="utf-8") as errors:
            last = errors.read().strip().split("\n")[-1]
        raise RuntimeError(f"{self.name} ended with status {self.process.returncode}: {last}")

    def ask(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            answer = re.fullmatch(r"([\d.]+) (\d+)\n", line)
            if answer:
                return float(answer[1])
        raise RuntimeError(f"{self.name} died; see {self.log}")

    def turn(self):
        self.process.send_signal(signal.SIGCONT)
        if not self.times or min(self.times) < LONG_STEP:
            self.ask(0)
        self.times.append(self.ask(TURN))
        self.process.send_signal(signal.SIGSTOP)

    def peak_mib(self):
        """The most memory that the process has used so far."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) / 1024

    def end(self):
        self.process.kill()
        self.process.wait()


def command(words, **options):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def our_side(options, network, batch, way, folder):
    library = os.path.join(folder, f"{network.name}.so")
    command([options.cnnc, f"-O{options.level}", "--shared", *network.flags(batch), "-o", library])
    stepper = os.path.join(options.out, "stepper")
    command(["clang-19", "-O2", f"-I{os.path.dirname(options.cnnc)}/include", os.path.join(HERE, "stepper.c"), "-ldl",
             "-o", stepper])
    return Side("ours", [stepper, library, network.name, way, folder], {"OMP_NUM_THREADS": str(options.threads)},
                os.path.join(folder, "ours.log"))


def peer(options, name, network, batch, way, folder):
    words = [sys.executable, os.path.join(HERE, "peers.py"), name, network.name, str(batch), way, folder,
             str(options.threads)]
    settings = {"TORCHINDUCTOR_CACHE_DIR": os.path.join(options.out, "inductor")}
    return Side(name, words, settings, os.path.join(folder, name + ".log"))


def check_scores(folder):
    """Ours, as peers.py checks the others."""
    ours, expected = (np.fromfile(os.path.join(folder, f"{n}.bin"), np.float32) for n in ("ours", "logits"))
    error = np.abs(ours - expected).max() / np.abs(expected).max()
    assert error < 1e-3, f"cnnc's network predicts other scores than PyTorch's: {error:.1e}"


def measure(options, network, way, batch):
    """{"net", "pass", "batch", "sides": {name: {"min_ms", "median_ms", "peak_mib"}}, "ratio", "memory"}"""
    folder = os.path.join(options.out, f"{network.name}-{batch}")
    command([sys.executable, os.path.join(HERE, "peers.py"), "prepare", network.name, str(batch), folder])
    names = [m for m in options.modes if m in PYTORCH or way == "predict"]
    sides, missing = [], {}
    try:
        sides.append(our_side(options, network, batch, way, folder).wait_until_ready())
        if way == "predict":
            check_scores(folder)
        for name in names:                      # one after the other: compiling takes both cores
            side = peer(options, name, network, batch, way, folder)
            sides.append(side)
            try:
                side.wait_until_ready()
            except RuntimeError as problem:
                missing[name] = str(problem)
                print(f"    {problem}", file=sys.stderr, flush=True)
                sides.pop().end()
        for _ in range(options.repeat):
            for side in sides:
                side.turn()
        found = {s.name: {"min_ms": min(s.times), "median_ms": sorted(s.times)[len(s.times) // 2],
                          "peak_mib": s.peak_mib()} for s in sides}
    finally:
        for side in sides:
            side.end()
    result = {"net": network.name, "pass": way, "batch": batch, "sides": found, "missing": missing}
    peers = {name: value for name, value in found.items() if name != "ours"}
    if peers:
        best = min(peers, key=lambda name: peers[name]["min_ms"])
        result.update(best=best, ratio=peers[best]["min_ms"] / found["ours"]["min_ms"],
                      memory=found["ours"]["peak_mib"] / peers[best]["peak_mib"])
    return result


def mean(values):
    """Geometric."""
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def table(results, way):
    """Markdown lines."""
    rows = [r for r in results if r["pass"] == way]
    names = [n for n in PYTORCH + ENGINES if any(n in r["sides"] for r in rows)]
    titles = {"nchw": "PyTorch nchw", "nhwc": "nhwc", "nchw+compile": "nchw compiled", "nhwc+compile": "nhwc compiled",
              "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    lines = ["| network | batch | ours, ms | " + " | ".join(titles[n] for n in names)
             + " | best ÷ ours | memory, MiB: ours | best peer's | ours ÷ peer's |",
             "|---|--:" + "|--:" * (len(names) + 5) + "|"]
    for r in rows:
        cells = [r["net"], str(r["batch"]), f"{r['sides']['ours']['min_ms']:.2f}"]
        cells += [f"{r['sides'][n]['min_ms']:.2f}" if n in r["sides"] else "-" for n in names]
        if "best" in r:
            cells += [f"**{r['ratio']:.2f}**", f"{r['sides']['ours']['peak_mib']:.0f}",
                      f"{r['sides'][r['best']]['peak_mib']:.0f}", f"{r['memory']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    compared = [r for r in rows if "best" in r]
    if compared:
        lines.append(f"| geometric mean | | |{' |' * len(names)} **{mean(r['ratio'] for r in compared):.2f}** | | | "
                     f"{mean(r['memory'] for r in compared):.2f} |")
    return lines
