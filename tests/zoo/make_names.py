"""Writes NAME.names beside this file: names and shapes of torchvision's state_dicts, in its order.

usage: make_names.py [NAME ...]         needs torch and torchvision from PyPI

One line a tensor, parameters and buffers alike: "layer1.0.bn1.running_mean 64". Sizes are joined by x; a number
without dimensions (num_batches_tracked) is "scalar". test_zoo.c compares them with dsl-examples/torchvision/NAME.net.
"""
import pathlib
import sys

import torch
import torchvision

HERE = pathlib.Path(__file__).parent
NETWORKS = HERE.parent.parent / "dsl-examples" / "torchvision"


def build(name):
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):          # shapes alone: no memory, no initialisation
        return getattr(torchvision.models, name)(weights=None, **options)


for name in sys.argv[1:] or sorted(path.stem for path in NETWORKS.glob("*.net")):
    model = build(name)
    lines = [f"{key} {'x'.join(map(str, tensor.shape)) or 'scalar'}\n" for key, tensor in model.state_dict().items()]
    (HERE / f"{name}.names").write_text("".join(lines))
    print(f"{name}: {len(lines)} tensors, {sum(p.numel() for p in model.parameters()):,} parameters")
