"""make bench: kernels against the machine's limits, and whole steps against PyTorch, ONNX Runtime and OpenVINO.

    python tests/bench/run.py [--cnnc build/cnnc] [--level 2] [--nets resnet18,lenet] [--passes train,predict]
                              [--what kernels,steps] [--modes nchw,nhwc,...] [--repeat 7] [--threads 2] [--batch N]

Prints Markdown, and leaves bench.md and bench.json in --out. Ratios within one run are what counts: machines differ.
"""
import argparse
import json
import os
import platform
import sys
import time

import kernels
import steps
from zoo import NETWORKS

ROOT = os.path.dirname(os.path.dirname(steps.HERE))


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    return names[0] if names else platform.machine()


def note(text):
    print(text, file=sys.stderr, flush=True)


def bench_kernels(options, networks, report):
    """Adds what is measured to the report and returns Markdown lines."""
    report["kernels"], lines = {}, []
    for network in networks:
        note(f"building {network.name}")
        peak = kernels.Peak(options, kernels.build(options, network))
    for way in options.passes:
        rows = {}
        for network in networks:
            note(f"kernels of {network.name}, {way}")
            kernels.profile(options, network, way, peak, rows)
        report["kernels"][way] = list(rows.values())
    best = report["peak"] = peak.best
    least = min(turn["peak"] for turn in peak.turns)
    for way, rows in report["kernels"].items():
        for row in rows:
            kernels.rate(row, best)
        title = "training" if way == "train" else "prediction"
        lines += [f"## Kernels of {title}", "", *kernels.summary(rows), "", *kernels.table(rows), ""]
    return [f"Peak {best['peak']} GF/s on {options.threads} threads ({best['peak_one']} on one), memory "
            f"{best['bandwidth']} GB/s ({best['bandwidth_one']}); in the worst of {len(peak.turns)} turns between the "
            f"measurements the peak was {least} GF/s: where that is much less, others used the machine.", "", *lines]


def bench_steps(options, networks, report):
    lines, report["steps"] = [], []
    for way in options.passes:
        for network in networks:
            note(f"steps of {network.name}, {way}")
            result = steps.measure(options, network, way, options.batch or network.batch)
            report["steps"].append(result)
            note(f"    {result['sides']['ours']['min_ms']:.2f} ms, best peer ÷ ours {result.get('ratio', 0):.2f}")
        title = "Training steps" if way == "train" else "Prediction"
        lines += [f"## {title}, {options.threads} threads, the fastest of {options.repeat} turns", "",
                  *steps.table(report["steps"], way), ""]
    return lines


def main(options):
    began = time.monotonic()
    options.cnnc, options.out = os.path.abspath(options.cnnc), os.path.abspath(options.out)
    os.makedirs(options.out, exist_ok=True)
    os.chdir(ROOT)
    networks = [NETWORKS[name] for name in options.nets]
    report = {"processor": processor(), "threads": options.threads, "level": options.level}
    lines = [f"# cnnc -O{options.level} on {report['processor']}", ""]
    if "kernels" in options.what:
        lines += bench_kernels(options, networks, report)
    if "steps" in options.what:
        lines += bench_steps(options, networks, report)
    report["seconds"] = round(time.monotonic() - began)
    lines.append(f"This took {report['seconds'] // 60} minutes {report['seconds'] % 60} seconds.")
    with open(os.path.join(options.out, "bench.json"), "w", encoding="utf-8") as out:
        json.dump(report, out, indent=1)
    with open(os.path.join(options.out, "bench.md"), "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    print("\n".join(lines))


def words(text):
    return text.split(",")


def chosen(known):
    """A type for argparse: some of the known words."""
    def some(text):
        for word in words(text):
            if word not in known:
                raise argparse.ArgumentTypeError(f"there is no '{word}'; there are {', '.join(known)}")
        return words(text)
    return some


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How fast is cnnc's code?")
    parser.add_argument("--cnnc", default=os.path.join(ROOT, "build", "cnnc"))
    parser.add_argument("--level", choices=["0", "2"], default="2")
    parser.add_argument("--what", type=chosen(["kernels", "steps"]), default="kernels,steps")
    parser.add_argument("--nets", type=chosen(list(NETWORKS)), default=",".join(NETWORKS))
    parser.add_argument("--passes", type=chosen(["train", "predict"]), default="train,predict")
    parser.add_argument("--modes", type=chosen(steps.PYTORCH + steps.ENGINES),
                        default=",".join(steps.PYTORCH + steps.ENGINES), help="whom to compare with")
    parser.add_argument("--repeat", type=int, default=7, help="turns of each side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, help="of the whole steps, instead of each network's own")
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "bench"))
    main(parser.parse_args())
