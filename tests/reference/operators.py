#!/usr/bin/env python3
"""operators.py - writes operators.txt: what PyTorch computes for every operator of the language.

    python3 tests/reference/operators.py > tests/reference/operators.txt        (needs torch; made with 2.x, float64)

Each case is a small network  input -> c: conv(1x1) -> the operator -> flatten -> fc: linear(3).  Inputs and weights are
multiples of 1/2 from a hash that operators.c computes too, so that pooling meets ties and ReLU meets zeros, exactly. A
tensor is told by three projections, sum_i value[i] * probe[k][i], which hardly any error in an element leaves alone.
"""
import math
import sys

import torch
from torch import nn
from torch.nn import functional as F

BATCH, PROBES = 2, 3
MASK = (1 << 64) - 1


def number(stream, i):
    """splitmix64's finaliser (Steele, Lea and Flood 2014) of a counter."""
    z = ((stream << 32) + i + 1) * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def halves(stream, shape):
    """-1.5, -1 ... 2"""
    count = math.prod(shape)
    return torch.tensor([(number(stream, i) % 8 - 3) / 2 for i in range(count)], dtype=torch.float64).reshape(shape)


def probe(k, count):
    return torch.tensor([(number(2000 + k, i) % 256 - 127.5) / 128 for i in range(count)], dtype=torch.float64)


def show(key, values):
    print(key, *("%.17g" % float(v.detach() if torch.is_tensor(v) else v) for v in values))


def show_tensor(key, tensor):
    flat = tensor.detach().double().reshape(-1)
    show(key, [torch.dot(flat, probe(k, flat.numel())) for k in range(PROBES)])


class Net(nn.Module):
    """`tail` flattens what is not flat yet; `body` is the operator, a function of c's output."""

    def __init__(self, channels, body, modules):
        super().__init__()
        self.c = nn.Conv2d(channels, 6, 1)
        for name, module in modules.items():
            self.add_module(name, module)
        self.body = body

    def build(self, x):
        self.eval()
        self.fc = nn.Linear(self.features(x).shape[1], 3).double()

    def features(self, x):
        return torch.flatten(self.body(self, self.c(x)), 1)

    def forward(self, x):
        return self.fc(self.features(x))


def run(name, text, body, modules=None, shape=(4, 9, 8)):
    net = Net(shape[0], body, modules or {}).double()
    x = halves(1000, (BATCH, *shape))
    net.build(x)
    with torch.no_grad():
        for i, (key, tensor) in enumerate(net.state_dict().items()):
            if key.endswith("num_batches_tracked"):
                continue
            values = halves(i, tensor.shape)
            tensor.copy_(values / 64 if key == "fc.weight" else values + 2 if key.endswith("running_var") else values)
    labels = torch.tensor([n % 3 for n in range(BATCH)])
    print("case", name)
    print("net network probe { input(%d, %d, %d); c: conv(6, 1); %s flatten; fc: linear(3); }" % (*shape, text))

    net.eval()
    show("predict", net(x).reshape(-1))
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.125, momentum=0.5, weight_decay=0.0625)
    for step in range(3):
        optimizer.param_groups[0]["nesterov"] = step == 2
        optimizer.zero_grad()
        logits = net(x)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        if step == 0:
            show("train", logits.reshape(-1))
            show("loss", [loss])
            for key, parameter in net.named_parameters():
                show_tensor("grad " + key, parameter.grad)
        optimizer.step()
    for key, tensor in net.state_dict().items():
        show_tensor("value " + key, tensor)


def op(module):
    """A case whose operator is one torch module named op."""
    return {"body": lambda net, y: net.op(y), "modules": {"op": module}}


def fn(function):
    return {"body": lambda net, y: function(y)}


def padded(module, top, bottom, left, right, value=0.0):
    return {"body": lambda net, y: net.op(F.pad(y, (left, right, top, bottom), value=value)), "modules": {"op": module}}


print("# What PyTorch computes; written by operators.py. See there.")

run("conv stride", "op: conv(5, 3, stride = 2);", **op(nn.Conv2d(6, 5, 3, stride=2)))
run("conv rectangle", "op: conv(5, (3, 2), stride = (2, 1), pad = (1, 0));",
    **op(nn.Conv2d(6, 5, (3, 2), stride=(2, 1), padding=(1, 0))))
run("conv asymmetric pad", "op: conv(5, 3, stride = 2, pad = (1, 0, 2, 1));",
    **padded(nn.Conv2d(6, 5, 3, stride=2), 1, 0, 2, 1))
run("conv same, even kernel", "op: conv(5, 4, pad = same);", **padded(nn.Conv2d(6, 5, 4), 2, 1, 2, 1))
run("conv dilation", "op: conv(5, 3, dilation = (2, 1), pad = 2);",
    **op(nn.Conv2d(6, 5, 3, dilation=(2, 1), padding=2)))
run("conv groups", "op: conv(4, 3, groups = 2, bias = no);", **op(nn.Conv2d(6, 4, 3, groups=2, bias=False)))
run("conv depthwise", "op: conv(12, 3, pad = 1, groups = 6);", **op(nn.Conv2d(6, 12, 3, padding=1, groups=6)))

for name, text, arguments in [
        ("2", "2", dict(kernel_size=2)),
        ("overlapping", "3, stride = 2", dict(kernel_size=3, stride=2)),
        ("padded", "3, stride = 2, pad = 1", dict(kernel_size=3, stride=2, padding=1)),
        ("rectangle", "(3, 2), stride = (2, 3), pad = (1, 0)",
         dict(kernel_size=(3, 2), stride=(2, 3), padding=(1, 0))),
        ("ceil", "2, ceil = yes", dict(kernel_size=2, ceil_mode=True)),
        ("ceil, overlapping", "3, stride = 2, ceil = yes", dict(kernel_size=3, stride=2, ceil_mode=True)),
        ("ceil, padded", "3, stride = 2, pad = 1, ceil = yes",
         dict(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
        ("ceil, padded, stride 3", "(2, 4), stride = 3, pad = (1, 2), ceil = yes",
         dict(kernel_size=(2, 4), stride=3, padding=(1, 2), ceil_mode=True)),
        ("ceil, window in the padding left out", "2, stride = 4, pad = 1, ceil = yes",
         dict(kernel_size=2, stride=4, padding=1, ceil_mode=True))]:
    run("maxpool " + name, f"maxpool({text});", **op(nn.MaxPool2d(**arguments)))
    run("avgpool " + name, f"avgpool({text});", **op(nn.AvgPool2d(**arguments)))
    run(f"avgpool {name}, count_pad no", f"avgpool({text}, count_pad = no);",
        **op(nn.AvgPool2d(**arguments, count_include_pad=False)))
run("maxpool asymmetric pad", "maxpool(3, stride = 2, pad = (0, 1, 2, 0));",
    **padded(nn.MaxPool2d(3, 2), 0, 1, 2, 0, -math.inf))
run("avgpool asymmetric pad", "avgpool(3, stride = 2, pad = (0, 1, 2, 0));", **padded(nn.AvgPool2d(3, 2), 0, 1, 2, 0))

for size in [(1, 1), (3, 3), (4, 5), (9, 8), (11, 13)]:
    run("adaptive_avgpool %dx%d" % size, "adaptive_avgpool((%d, %d));" % size, **op(nn.AdaptiveAvgPool2d(size)))
run("global_avgpool", "global_avgpool;", **fn(lambda y: y.mean((2, 3), keepdim=True)))

run("batchnorm", "op: batchnorm;", **op(nn.BatchNorm2d(6)))
run("batchnorm eps, momentum", "op: batchnorm(eps = 0.5, momentum = 0.3);", **op(nn.BatchNorm2d(6, 0.5, 0.3)))
run("batchnorm flat", "avgpool(3); flatten; op: batchnorm;", body=lambda net, y: net.op(F.avg_pool2d(y, 3).flatten(1)),
    modules={"op": nn.BatchNorm1d(6 * 3 * 2)})

run("lrn", "lrn;", **op(nn.LocalResponseNorm(5)))
run("lrn even", "lrn(4, alpha = 0.5, beta = 0.6, k = 2);", **op(nn.LocalResponseNorm(4, 0.5, 0.6, 2)))
run("lrn wider than the channels", "lrn(15, alpha = 2);", **op(nn.LocalResponseNorm(15, 2)))
run("lrn one channel", "lrn(1, alpha = 2);", **op(nn.LocalResponseNorm(1, 2)))

run("relu", "relu;", **op(nn.ReLU()))
run("relu6", "relu6;", **op(nn.ReLU6()))
run("leaky_relu", "leaky_relu;", **op(nn.LeakyReLU()))
run("leaky_relu 0.25", "leaky_relu(0.25);", **op(nn.LeakyReLU(0.25)))
run("sigmoid", "sigmoid;", **op(nn.Sigmoid()))
run("tanh", "tanh;", **op(nn.Tanh()))
run("silu", "silu;", **op(nn.SiLU()))
run("softmax", "softmax;", **op(nn.Softmax(1)))
run("softmax flat", "flatten; softmax;", body=lambda net, y: net.op(y.flatten(1)), modules={"op": nn.Softmax(1)})
run("dropout 0", "dropout(0);", **op(nn.Dropout(0)))
run("linear no bias", "flatten; op: linear(7, bias = no); tanh;",
    body=lambda net, y: torch.tanh(net.op(y.flatten(1))), modules={"op": nn.Linear(6 * 72, 7, bias=False)})
run("flatten twice", "flatten; flatten;", **fn(lambda y: y))

run("add", "as a; tanh; add(a);", **fn(lambda y: torch.tanh(y) + y))
run("add of three", "as a; tanh; add(a, a);", **fn(lambda y: torch.tanh(y) + y + y))
run("add of many", "as a; tanh; add(a, a, a, a, a, a, a, a, a, a, a, a, a);", **fn(lambda y: torch.tanh(y) + 13 * y))
run("concat", "as a; tanh; concat(a);", **fn(lambda y: torch.cat([torch.tanh(y), y], 1)))
run("concat of one tensor twice", "as a; tanh; as b; concat(a, b);",
    **fn(lambda y: torch.cat([torch.tanh(y), y, torch.tanh(y)], 1)))
run("concat flat", "flatten; as a; sigmoid; concat(a);",
    **fn(lambda y: torch.cat([torch.sigmoid(y.flatten(1)), y.flatten(1)], 1)))
run("flatten beside another user", "as a; flatten; tanh; as b; from a; relu; flatten; add(b);",
    **fn(lambda y: torch.relu(y.flatten(1)) + torch.tanh(y.flatten(1))))
run("dropout 0 beside another user", "as a; dropout(0); tanh; add(a);", **fn(lambda y: torch.tanh(y) + y))
print("# PyTorch", torch.__version__.split("+")[0], file=sys.stderr)
