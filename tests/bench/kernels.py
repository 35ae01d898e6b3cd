"""Each distinct kernel of the networks as a percentage of what the machine can do, measured in the same run.

A kernel's time is that of the trainer's own profile (`NET bench --profile`). Its bound is the larger of its
multiply-adds at the peak and its operands' bytes at the memory bandwidth (peak.c): the percentage says how near it
comes. Bytes are those of the operands in the step program, each read or written once; what stays in a cache between
two kernels can be faster than memory, so a kernel may pass 100 %. Equal kernels are one row; the fastest counts.
"""
import json
import os
import re

from steps import HERE, command



class Peak:
    """The machine's limits: the best of turns that alternate with what is measured against them."""
    def __init__(self, options, flags):
        self.program, self.threads = os.path.join(options.out, "peak"), options.threads
        self.best, self.turns = {}, []
        command(["clang-19", *flags, os.path.join(HERE, "peak.c"), "-o", self.program])

    def turn(self):
        self.turns.append(json.loads(command([self.program, str(self.threads)])))
        self.best = {key: max(turn[key] for turn in self.turns) for key in self.turns[0]}


def results_of(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def operands(options, network):
    """{kernel: (shapes, bytes)} of the gradients and predict programs, from cnnc --dump=step."""
    text = command([options.cnnc, f"-O{options.level}", "--dump=step", *network.flags(network.batch)])
    programs, now = {}, None
    for line in text.splitlines():
        if line.startswith("program "):
            now = programs.setdefault(line.split()[1].rstrip(":"), {})
        kernel = re.match(r"\s+\d+\s+(\S+) +(.*)", line)
        if kernel:
            found = re.findall(r"(\w+)=[^\s(]+\(([\dx]+)\)", kernel[2])
            size = sum(4 * product(shape) for _, shape in found)
            shapes = " ".join(f"{role} {shape}" for role, shape in found if "x" in shape)
            now[kernel[1]] = shapes, size
    return programs


def product(shape):
    total = 1
    for size in shape.split("x"):
        total *= int(size)
    return total


def layer_of(kernel, layers):
    """(operator, the rest of the name): conv1_forward -> ("conv 6, 5x5", "forward")."""
    for name in sorted(layers, key=len, reverse=True):
        symbol = re.sub(r"\W", "_", name)
        if symbol[0].isdigit():
            symbol = f"{layers[name].split()[0]}_{symbol}"
        if kernel.startswith(symbol + "_"):
            return layers[name], kernel[len(symbol) + 1:]
    return "loss" if kernel.startswith("loss_") else kernel, kernel.removeprefix("loss_")


def profile(options, network, way, peak, rows):
    """Adds this network's kernels to rows: {(operator, kernel, shapes): row}."""
    program = os.path.join(options.out, network.name)
    known = operands(options, network)["predict" if way == "predict" else "gradients"]
    layers = {line["name"]: line["operator"] for line in results_of(command([program, "info", "--json"]))
              if line["result"] == "layer"}
    words = [program, "bench", "--profile", "--json", "--threads", str(options.threads), "--steps", "3"]
    fastest = {}
    for _ in range(max(2, options.repeat // 2)):
        peak.turn()
        for line in results_of(command(words + (["--predict"] if way == "predict" else []))):
            if line["result"] == "kernel" and 0 < line["ms"] < fastest.get(line["name"], {"ms": float("inf")})["ms"]:
                fastest[line["name"]] = line
    for kernel, line in fastest.items():
        if kernel not in known:                 # the update
            continue
        shapes, size = known[kernel]
        operator, suffix = layer_of(kernel, layers)
        row = {"networks": [network.name], "kernel": suffix, "operator": operator, "shapes": shapes, "count": 1,
               "ms": line["ms"], "flop": line["GF/s"] * line["ms"] * 1e6, "bytes": size}
        key = operator, suffix, shapes
        if key in rows:
            row["count"] += rows[key]["count"]
            row["networks"] = list(dict.fromkeys(rows[key]["networks"] + row["networks"]))
            row["ms"] = min(row["ms"], rows[key]["ms"])
        rows[key] = row


def rate(row, peak):
    """How near the row comes to the limits."""
    work, traffic = row["flop"] / (peak["peak"] * 1e6), row["bytes"] / (peak["bandwidth"] * 1e6)      # least ms
    row.update(gflops=row["flop"] / row["ms"] * 1e-6, gbytes=row["bytes"] / row["ms"] * 1e-6,
               of_peak=work / row["ms"], of_bandwidth=traffic / row["ms"],
               bound="multiply-adds" if work >= traffic else "memory")


def build(options, network):
    command([options.cnnc, f"-O{options.level}", *network.flags(network.batch), "-o",
             os.path.join(options.out, network.name)])
    about = results_of(command([os.path.join(options.out, network.name), "info", "--json"]))[-1]
    return about["flags"].split()


def kind_of(row):
    """The classes for which the project has figures to reach."""
    conv = re.match(r"conv (\d+), (\d+)x(\d+)(.*)", row["operator"])
    if not conv:
        return row["operator"].split()[0]
    channels = re.search(r"\bX \d+x(\d+)x", row["shapes"]) or re.search(r"\bdX \d+x(\d+)x", row["shapes"])
    if "groups" in conv[4]:
        name = "depthwise conv"
    elif channels and int(channels[1]) <= 4:
        name = "first-layer conv"
    elif int(conv[1]) < 16 or (channels and int(channels[1]) < 16):
        name = "narrow conv"
    else:
        name = f"conv {conv[2]}x{conv[3]}" + (", strided" if "stride" in conv[4] else "")
    return f"{name}: {row['kernel']}"


def reached(row):
    return row["of_peak"] if row["bound"] == "multiply-adds" else row["of_bandwidth"]


def summary(rows):
    """Markdown lines: the least and the best of each class, and its share of the time."""
    classes = {}
    for row in rows:
        classes.setdefault(kind_of(row), []).append(row)
    whole = sum(row["ms"] * row["count"] for row in rows)
    lines = ["| class | kernels | share of time | of the bound: least | mean by time | most |",
             "|---|--:|--:|--:|--:|--:|"]
    for name, group in sorted(classes.items(), key=lambda item: -sum(r["ms"] * r["count"] for r in item[1])):
        time = sum(r["ms"] * r["count"] for r in group)
        ideal = sum(r["ms"] * r["count"] * reached(r) for r in group)
        lines.append(f"| {name} | {len(group)} | {100 * time / whole:.1f} % | {100 * min(map(reached, group)):.0f} % | "
                     f"{100 * ideal / time:.0f} % | {100 * max(map(reached, group)):.0f} % |")
    return lines


def table(rows):
    """Markdown lines, the longest first."""
    lines = ["| kernel | operator | shapes | networks | times | ms | GF/s | of peak | GB/s | of bandwidth | bound by |",
             "|---|---|---|---|--:|--:|--:|--:|--:|--:|---|"]
    for row in sorted(rows, key=lambda r: -r["ms"] * r["count"]):
        lines.append(f"| {row['kernel']} | {row['operator']} | {row['shapes']} | {', '.join(row['networks'])} | "
                     f"{row['count']} | {row['ms']:.4f} | {row['gflops']:.1f} | {100 * row['of_peak']:.0f} % | "
                     f"{row['gbytes']:.1f} | {100 * row['of_bandwidth']:.0f} % | {row['bound']} |")
    return lines
