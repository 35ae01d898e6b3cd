"""How training would scale to many machines: measured on this one, modelled for the others.

Measured, with a trainer of cnnc --with=mpi:
    step       time of a training step of one process alone, and of each of its kernels (bench --profile)
    gradients  bytes that a step exchanges, and when the backward pass has completed them
    check      the same step with 2 processes on this machine: what the reduction takes by itself (reduce_ms), what of
               it a step waits for (exposed_ms), the sum of one number (sum_us)
Modelled: n processes, one a machine, whose network has a latency and a bandwidth (assumptions, given as options). A
bucket of m bytes is reduced in a ring (Thakur, Rabenseifner and Gropp 2005, section 4.4; Patarasuk and Yuan 2009):
    T(m) = 2 (n - 1) latency + 2 (n - 1) / n * m / bandwidth + (n - 1) / n * m / memory
`memory` being bytes that a process adds up in a second. Buckets go one after the other, each when its gradients are
complete (Li et al. 2020); the step ends when the last has arrived, and a sum of one number follows (a tree: 2 log2 n
latency). Slower machines and shared links are not modelled.

    build/venv/bin/python tests/bench/scaling.py --cnnc build/cnnc dsl-examples/torchvision/resnet18.net \
        --input 3x224x224 --batch 16 --threads 1

Needs nothing but Python's library, so python3 does as well.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import tempfile


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("--cnnc", default="build/cnnc")
    parser.add_argument("--input", help="as cnnc takes it")
    parser.add_argument("--batch", default="16", help="pictures a process")
    parser.add_argument("--threads", default="1", help="of a process")
    parser.add_argument("--steps", default="5")
    parser.add_argument("--bucket", type=float, default=25, help="MiB")
    parser.add_argument("--latency", type=float, default=2e-6, help="seconds a message (assumption)")
    parser.add_argument("--bandwidth", type=float, default=100e9 / 8, help="bytes a second of a link (assumption)")
    parser.add_argument("--memory", type=float, default=5e9, help="bytes added up in a second (assumption)")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 8, 64, 256, 1024])
    return parser.parse_args()


def results(command):
    """The JSON lines that a trainer prints."""
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def measure(o, trainer):
    """Seconds of each kernel of a step; the figures of two processes."""
    bench = [trainer, "bench", "--steps", o.steps, "--threads", o.threads, "--json"]
    alone = results(bench + ["--profile"])
    kernels = {line["name"]: line["ms"] / 1e3 for line in alone if line["result"] == "kernel"}
    mpirun = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2"]
    two = [line for line in results(mpirun + bench) if "ranks" in line]
    return kernels, two[0]


def completed(kernels, layers):
    """(bytes, seconds from the start of the step until they are complete) of each layer's gradients, in state_dict
    order: the forward pass, then the layers from last to first. What kernels of layers without parameters take is
    spread."""
    backward = {name: seconds for name, seconds in kernels.items() if "_grad" in name}
    own = {}
    for layer, parameters in layers:
        symbol = layer.replace(".", "_") + "_grad"
        own[layer] = sum(seconds for name, seconds in backward.items() if name.startswith(symbol))
    stretch = sum(backward.values()) / max(sum(own.values()), 1e-9)
    clock = sum(kernels.values()) - sum(backward.values()) - kernels["update"]
    ranges = []
    for layer, parameters in reversed(layers):
        clock += own[layer] * stretch
        ranges.insert(0, (4 * parameters, clock))
    return ranges, clock


def buckets(ranges, size):
    """Cuts the gradients from their end; (bytes, when all of them are complete)."""
    cut, left, late = [], size, 0.0
    for bytes_, when in reversed(ranges):
        late = max(late, when)
        while bytes_ >= left:
            cut.append((size, late))
            bytes_, left, late = bytes_ - left, size, when
        left -= bytes_
    if left < size:
        cut.append((size - left, late))
    return cut


def ring(o, n, m):
    return 0 if n == 1 else 2 * (n - 1) * o.latency + (n - 1) / n * m * (2 / o.bandwidth + 1 / o.memory)


def step_time(o, n, cut, compute, update):
    """A step of n processes: the last bucket's arrival, the agreement, the update."""
    free = 0.0
    for m, when in cut:
        free = max(free, when) + ring(o, n, m)
    agreement = 2 * math.ceil(math.log2(n)) * o.latency
    return max(compute, free) + agreement + update, sum(ring(o, n, m) for m, _ in cut)


def main():
    o = arguments()
    with tempfile.TemporaryDirectory() as folder:
        trainer = str(pathlib.Path(folder) / "trainer")
        shape = ["--input", o.input] if o.input else []
        subprocess.run([o.cnnc, "--with=mpi", "--batch", o.batch, *shape, o.network, "-o", trainer], check=True)
        kernels, two = measure(o, trainer)
        layers = [(line["name"], line["parameters"]) for line in results([trainer, "info", "--json"])
                  if line["result"] == "layer" and line["parameters"]]
    ranges, compute = completed(kernels, layers)
    cut = buckets(ranges, int(o.bucket * 2**20))
    total = sum(size for size, _ in ranges)
    print(f"measured here: {1e3 * compute:.1f} ms forward and backward of {o.batch} pictures on {o.threads} thread(s), "
          f"{1e3 * kernels['update']:.1f} ms update, {total / 1e6:.1f} MB of gradients in {len(cut)} bucket(s)")
    print(f"with 2 processes here: step {two['step_ms_min']:.1f} ms, reduction by itself {two['reduce_ms']:.1f} ms, "
          f"of which a step waits for {two['exposed_ms']:.1f} ms, sum of one number {two['sum_us']:.1f} us")
    print(f"assumed: {8e-9 * o.bandwidth:.0f} Gb/s, {1e6 * o.latency:.1f} us, {1e-9 * o.memory:.0f} GB/s added up\n")
    print("| processes | step, ms | reduction, ms | not hidden, ms | pictures/s | efficiency |")
    print("|--:|--:|--:|--:|--:|--:|")
    one, _ = step_time(o, 1, cut, compute, kernels["update"])
    for n in o.ranks:
        step, reduction = step_time(o, n, cut, compute, kernels["update"])
        print(f"| {n} | {1e3 * step:.1f} | {1e3 * reduction:.1f} | {1e3 * (step - one):.2f} "
              f"| {n * int(o.batch) / step:.0f} | {100 * one / step:.1f} % |")


if __name__ == "__main__":
    main()
