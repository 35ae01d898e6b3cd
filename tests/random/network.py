"""A network as a small tree that is rendered twice: as a .net file for cnnc, and as a PyTorch model.

Every number in the tree is concrete: a Number knows its value, which PyTorch gets, and how the file writes it, an
expression such as `in.channels / 2 + 1`, which the compiler has to evaluate to the same value. A repeat, a block and an
`if` are unrolled in the tree, and their text is that of one turn, so the turns must render alike (`same_text`).

The model is built by the language's rules as DESIGN states them: sizes, paddings and names are found here once more, in
Python, and agree with the compiler's only when both follow the rules.
"""
import os
import sys
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
import make  # noqa: E402  (the fill of parameters and pictures, dropout's masks, the order of a reference)


# ---- the tree -----------------------------------------------------------------------------------------------------

class Number(int):
    """An integer, and how the network file writes it."""
    def __new__(cls, value, text=None):
        number = super().__new__(cls, value)
        number.text = text or str(int(value))
        return number


@dataclass
class Op:
    """An operator's call; `label` is (name, text) or None: ("conv2", "conv[i]")."""
    keyword: str
    args: dict = field(default_factory=dict)
    label: tuple = None


@dataclass
class Mark:
    """`as name;` or `from name;`"""
    keyword: str
    name: str


@dataclass
class Group:
    body: list
    label: tuple = None


@dataclass
class Concat:
    """Branches are Groups; one without a label opens no scope."""
    branches: list


@dataclass
class Residual:
    """`when` is (text, value) or None; it may only stand with a shortcut."""
    body: list
    shortcut: list = None
    when: tuple = None


@dataclass
class If:
    condition: str
    value: bool
    yes: list
    no: list = None


@dataclass
class Repeat:
    """`head` is what stands between `repeat` and the brace; one body a turn."""
    head: str
    turns: list


@dataclass
class Call:
    """A block's call: the body with its values, for which the file has `name(args)`."""
    name: str
    args: str
    body: list
    label: tuple = None


@dataclass
class Block:
    name: str
    params: str
    body: list


@dataclass
class Network:
    name: str
    params: str
    batch: int
    shape: tuple                # (channels, height, width) or (features,)
    classes: int
    blocks: list
    body: list


# ---- as a .net file -----------------------------------------------------------------------------------------------

# Attributes that are written without their name, in this order.
POSITIONAL = {"conv": ("channels", "kernel"), "linear": ("features",), "maxpool": ("kernel",), "avgpool": ("kernel",),
              "adaptive_avgpool": ("size",), "leaky_relu": ("slope",), "dropout": ("p",), "lrn": ("size",),
              "add": ("tensors",), "concat": ("tensors",)}


def text(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "(" + ", ".join(text(v) for v in value) + ")"
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, float):
        return "%.12g" % value
    return value.text if isinstance(value, Number) else str(value)


def call_text(op):
    positional = POSITIONAL.get(op.keyword, ())
    args = [text(op.args[name]) for name in positional if name in op.args]
    args += [f"{name} = {text(value)}" for name, value in op.args.items() if name not in positional]
    return op.keyword + (f"({', '.join(args)})" if args else "")


def same_text(bodies):
    lines = [render(body) for body in bodies]
    assert all(other == lines[0] for other in lines), "turns differ:\n" + "\n".join("\n".join(t) for t in lines)
    return lines[0]


def braces(head, lines):
    """Short bodies stand on one line."""
    flat = " ".join(line.strip() for line in lines)
    if len(flat) < 60 and "{" not in flat:
        return [f"{head}{{ {flat} }}" if flat else f"{head}{{}}"]
    return [f"{head}{{", *("    " + line for line in lines), "}"]


def render(body):
    """Lines of text, not indented."""
    lines = []
    for node in body:
        label = node.label[1] + ": " if getattr(node, "label", None) else ""
        if isinstance(node, Op):
            lines.append(f"{label}{call_text(node)};")
        elif isinstance(node, Mark):
            lines.append(f"{node.keyword} {node.name};")
        elif isinstance(node, Call):
            lines.append(f"{label}{node.name}{node.args};")
        elif isinstance(node, Group):
            lines += braces(label, render(node.body))
        elif isinstance(node, Concat):
            lines += ["concat {", *("    " + line for branch in node.branches for line in render([branch])), "}"]
        elif isinstance(node, Repeat):
            lines += braces(f"repeat {node.head} ", same_text(node.turns))
        elif isinstance(node, Residual):
            lines += braces("residual ", render(node.body))
            if node.shortcut is not None:
                when = f" when ({node.when[0]})" if node.when else ""
                lines[-1:] = braces(f"{lines[-1]} shortcut{when} ", render(node.shortcut))
        elif isinstance(node, If):
            lines += braces(f"if ({node.condition}) ", render(node.yes))
            if node.no is not None:
                lines[-1:] = braces(f"{lines[-1]} else ", render(node.no))
    return lines


def net_file(network, comment):
    lines = [f"// {line}" for line in comment.split("\n")]
    for block in network.blocks:
        lines += [f"block {block.name}({block.params}) {{", *("    " + line for line in render(block.body)), "}", ""]
    lines += [f"network {network.name}({network.params}) {{", f"    input({', '.join(map(str, network.shape))});",
              *("    " + line for line in render(network.body)), "",
              f"    train {{ batch = {network.batch}; }}", "}"]
    return "\n".join(lines) + "\n"


# ---- operators in PyTorch -----------------------------------------------------------------------------------------

def pair(value):
    return tuple(int(v) for v in value) if isinstance(value, tuple) else (int(value), int(value))


def borders(pad, extent):
    """top, bottom, left, right; `same` is extent - 1 in all, the larger half above and to the left."""
    if pad == "same":
        return tuple(n for e in extent for n in (e // 2, (e - 1) // 2))
    if isinstance(pad, tuple) and len(pad) == 4:
        return tuple(int(n) for n in pad)
    vertical, horizontal = pair(pad)
    return vertical, vertical, horizontal, horizontal


def output_size(n, before, after, extent, stride, ceil=False):
    """floor((n - k + p + s) / s); rounded up, the last window must still begin in the picture or before it."""
    out = (n + before + after - extent + (stride - 1 if ceil else 0)) // stride + 1
    return out - 1 if ceil and (out - 1) * stride >= n + before else out


def window_sizes(shape, kernel, stride, pad, dilation=(1, 1), ceil=False):
    """The picture's output height and width, and its borders."""
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation))
    border = borders(pad, extent)
    return tuple(output_size(shape[d], border[2 * d], border[2 * d + 1], extent[d], stride[d], ceil)
                 for d in (0, 1)), border


class Conv(nn.Conv2d):
    def __init__(self, channels, args):
        kernel, dilation = pair(args["kernel"]), pair(args.get("dilation", 1))
        _, border = window_sizes((1, 1), kernel, (1, 1), args.get("pad", 0), dilation)
        self.border = None if border[0] == border[1] and border[2] == border[3] else border
        super().__init__(channels, int(args["channels"]), kernel, stride=pair(args.get("stride", 1)),
                         padding=0 if self.border else (border[0], border[2]), dilation=dilation,
                         groups=int(args.get("groups", 1)), bias=args.get("bias", True))

    def forward(self, x):
        if self.border:
            top, bottom, left, right = self.border
            x = F.pad(x, (left, right, top, bottom))
        return super().forward(x)


class Pool(nn.Module):
    """PyTorch's own pooling where it has these borders (equal on both sides, at most half the kernel); else by hand."""
    def __init__(self, args, maximum):
        super().__init__()
        self.maximum, self.kernel = maximum, pair(args["kernel"])
        self.stride, self.pad = pair(args.get("stride", args["kernel"])), args.get("pad", 0)
        self.ceil, self.count_pad = args.get("ceil", False), args.get("count_pad", True)

    def spread(self, x, border, out, value):
        """The pixels that the windows cover: padded with `value`, or cut where no window reaches."""
        need = [(out[d] - 1) * self.stride[d] + self.kernel[d] - border[2 * d] - x.shape[2 + d] for d in (0, 1)]
        return F.pad(x, (border[2], need[1], border[0], need[0]), value=value)

    def windows(self, x):
        """Every window of a padded picture, flat in the last dimension."""
        out, border = window_sizes(x.shape[2:], self.kernel, self.stride, self.pad, ceil=self.ceil)
        x = self.spread(x, border, out, -float("inf"))
        return x.unfold(2, self.kernel[0], self.stride[0]).unfold(3, self.kernel[1], self.stride[1]).flatten(4)

    def forward(self, x):
        out, border = window_sizes(x.shape[2:], self.kernel, self.stride, self.pad, ceil=self.ceil)
        top, bottom, left, right = border
        if top == bottom and left == right and 2 * top <= self.kernel[0] and 2 * left <= self.kernel[1]:
            if self.maximum:
                return F.max_pool2d(x, self.kernel, self.stride, (top, left), ceil_mode=self.ceil)
            return F.avg_pool2d(x, self.kernel, self.stride, (top, left), self.ceil, self.count_pad)
        if self.maximum:
            return F.max_pool2d(self.spread(x, border, out, -float("inf")), self.kernel, self.stride)
        ones = torch.ones_like(x[:1, :1])
        if self.count_pad:      # a window counts where the picture or its padding is
            ones = F.pad(ones, (left, right, top, bottom), value=1.0)
        count = self.spread(ones, (0, 0, 0, 0) if self.count_pad else border, out, 0.0)
        total = F.avg_pool2d(self.spread(x, border, out, 0.0), self.kernel, self.stride, divisor_override=1)
        return total / F.avg_pool2d(count, self.kernel, self.stride, divisor_override=1)


class Function(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, *x):
        return self.call(*x)


def module_of(op, shape, index):
    """The PyTorch module of an operator; `shape` reaches it, and it is layer number `index`."""
    a = op.args
    return {
        "conv": lambda: Conv(shape[0], a),
        "linear": lambda: nn.Linear(shape[0], int(a["features"]), bias=a.get("bias", True)),
        "batchnorm": lambda: (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(
            shape[0], eps=a.get("eps", 1e-5), momentum=a.get("momentum", 0.1)),
        "maxpool": lambda: Pool(a, True),
        "avgpool": lambda: Pool(a, False),
        "adaptive_avgpool": lambda: nn.AdaptiveAvgPool2d(pair(a["size"])),
        "global_avgpool": lambda: nn.AdaptiveAvgPool2d(1),
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "leaky_relu": lambda: nn.LeakyReLU(a.get("slope", 0.01)),
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "silu": nn.SiLU,
        "softmax": lambda: nn.Softmax(1),
        "dropout": lambda: make.Dropout(a.get("p", 0.5), stream=index),
        "lrn": lambda: nn.LocalResponseNorm(int(a.get("size", 5)), a.get("alpha", 1e-4), a.get("beta", 0.75),
                                            float(a.get("k", 1))),
        "flatten": nn.Flatten,
        "add": lambda: Function(lambda *x: sum(x[1:], x[0])),
        "concat": lambda: Function(lambda *x: torch.cat(x, 1)),
    }[op.keyword]()


# ---- the model ----------------------------------------------------------------------------------------------------

class Model(nn.Module):
    """Layers in execution order, number 0 the input; modules are registered below the names that the state_dict has.

    `margin` is the smallest distance from a kink that any value had, relative to the largest value of its tensor: where
    it is as small as float rounding, a float network may rightly take the other side (see run.py).
    """
    def __init__(self, network):
        super().__init__()
        self.plan = []          # (operator's keyword, module, numbers of the layers that reach it)
        self.shapes = [network.shape]
        self.margin, self.watch = float("inf"), False
        self.expand(network.body, "", [0], {}, 0)
        for p in self.parameters():
            p.requires_grad_(True)

    # -- the language's rules --

    def add(self, op, inputs, name=None):
        index = len(self.plan) + 1
        module = module_of(op, self.shapes[inputs[0]], index)
        parent = self
        *path, last = (name or f"joined.{index}").split(".")
        for part in path:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent._modules[part]
        assert last not in parent._modules, f"{name} twice"
        parent.add_module(last, module)
        self.plan.append((op.keyword, module, inputs))
        with torch.no_grad():
            module.eval()
            x = [torch.zeros(2, *self.shapes[i]) for i in inputs]
            self.shapes.append(tuple(module(*x).shape[1:]))
        return index

    def name_of(self, node, prefix, position):
        """Every call and every group takes a position in its scope; a label replaces the number."""
        name = prefix + (node.label[0] if node.label else str(position[0]))
        position[0] += 1
        return name

    def expand(self, body, prefix, position, marks, current):
        """Statements from tensor `current` on; the number of the tensor that comes out."""
        for node in body:
            current = self.statement(node, prefix, position, marks, current)
        return current

    def statement(self, node, prefix, position, marks, current):
        if isinstance(node, Op):
            named = [marks[name] for name in node.args.get("tensors", [])]
            return self.add(node, [current] + named, self.name_of(node, prefix, position))
        if isinstance(node, Mark):
            if node.keyword == "as":
                marks[node.name] = current
            return marks[node.name]
        if isinstance(node, Call):
            return self.expand(node.body, self.name_of(node, prefix, position) + ".", [0], {}, current)
        if isinstance(node, Group):
            return self.expand(node.body, self.name_of(node, prefix, position) + ".", [0], marks, current)
        if isinstance(node, Repeat):
            for turn in node.turns:
                current = self.expand(turn, prefix, position, marks, current)
            return current
        if isinstance(node, If):
            return self.expand((node.yes if node.value else node.no) or [], prefix, position, marks, current)
        if isinstance(node, Concat):
            ends = [self.statement(b, prefix, position, marks, current) if b.label
                    else self.expand(b.body, prefix, position, marks, current) for b in node.branches]
            return ends[0] if len(ends) == 1 else self.add(Op("concat"), ends)
        end = self.expand(node.body, prefix, position, marks, current)
        if node.shortcut is not None and (node.when is None or node.when[1]):
            current = self.expand(node.shortcut, prefix, position, marks, current)
        return self.add(Op("add"), [end, current])

    # -- computing --

    def forward(self, x):
        values = [x]
        for keyword, module, inputs in self.plan:
            x = [values[i] for i in inputs]
            if self.watch:
                self.margin = min(self.margin, kink_distance(keyword, module, x[0]))
            values.append(module(*x))
        return values[-1].flatten(1)

    def keywords(self):
        return [keyword for keyword, _, _ in self.plan]


def kink_distance(keyword, module, x):
    """Of all values of x the smallest distance from where the operator's derivative jumps, over the largest |x|.

    Values that lie on the kink exactly, as after another relu, do so in every precision and do not count.
    """
    with torch.no_grad():
        if keyword in ("relu", "leaky_relu"):
            gaps = x.abs()
        elif keyword == "relu6":
            gaps = torch.cat([x.abs().flatten(), (x - 6).abs().flatten()])
        elif keyword == "maxpool":
            windows = module.windows(x)
            best = windows.amax(-1, keepdim=True)
            gaps = best - torch.where(windows < best, windows, -float("inf"))
        else:
            return float("inf")
        gaps = gaps[(gaps > 0) & gaps.isfinite()]
        return float(gaps.min() / x.abs().max()) if gaps.numel() else float("inf")
