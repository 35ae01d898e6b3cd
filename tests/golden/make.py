"""Makes the references beside it, which tests/test_pytorch.c compares the generated code with:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch numpy
    /tmp/venv/bin/python tests/golden/make.py [lenet windows normal graph]

The models are those of dsl-examples/lenet.net and of the .net files here, in PyTorch, double precision, on the CPU.
`make test` needs none of this: it reads the committed NAME.ref.

Nothing that goes in is stored; both sides compute it. Element i of tensor number t (state_dict order; the pictures of
step s are tensor 1000 + s) is unit(i, t) below, a multiple of 2^-16 in [-1, 1), times a power of two that depends on
the tensor's name and shape alone (`fill`), so that a float holds it exactly. Label n of step s is (3 n + 2 s + 1) mod
classes. Hyper-parameters are the floats nearest to lr 0.1, momentum 0.9, weight decay 1e-4, as cnn_update holds them.

What is done: predict; three training steps, the last with Nesterov's momentum; predict again. Dropout's masks come
from the Philox generator below, written from the paper, with seed SEED, the layer's position as stream and the number
of updates done as step.

A line of NAME.ref is: section, tensor (or -), shape, sum, Euclidean norm, stride, and every stride-th value from 0.
    start    logits of predict before training          step0, step1, step2   loss, logits, gradients (grad.NAME)
    momentum, value    after the three steps            finish                logits of predict after them
"""
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SEED = 7
SAMPLES, DIGITS = 32, 15
STEPS = 3
HERE = os.path.dirname(os.path.abspath(__file__))

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


# ---- what goes in ----------------------------------------------------------------------------------------------------

def unit(count, t):
    """count numbers in [-1, 1), multiples of 2^-16: a 32-bit hash of the position and the tensor's number."""
    m = np.uint64(0xFFFFFFFF)
    x = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(t * 2246822519 & 0xFFFFFFFF)) & m
    x ^= x >> np.uint64(15)
    x = x * np.uint64(2246822519) & m
    x ^= x >> np.uint64(13)
    return (x >> np.uint64(15)).astype(np.float64) / 65536 - 1


def fill(name, tensor, t):
    """First values: weights in about +-sqrt(3 / fan_in), batch normalisation's scale and variance around 1."""
    u = unit(tensor.numel(), t)
    if name.endswith("num_batches_tracked"):
        u = 0 * u
    elif name.endswith("running_var"):
        u = 1 + u / 2
    elif tensor.dim() >= 2:
        fan_in, scale = tensor.numel() // tensor.shape[0], 1.0
        while scale * scale * fan_in > 4:
            scale /= 2
        u = scale * u
    elif name.endswith(".weight"):
        u = 1 + u / 4
    else:
        u = u / 4
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(u).reshape(tensor.shape))


def uniform(seed, stream, step, count):
    """Philox 4x32-10 (Salmon et al. 2011): word i % 4 of block i / 4, its upper 24 bits as a number in [0, 1)."""
    out = []
    for block in range((count + 3) // 4):
        c = [block, stream, step & 0xFFFFFFFF, step >> 32]
        k = [seed & 0xFFFFFFFF, seed >> 32]
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
            k = [k[0] + 0x9E3779B9 & 0xFFFFFFFF, k[1] + 0xBB67AE85 & 0xFFFFFFFF]
        out += [word >> 8 for word in c]
    return np.array(out[:count], dtype=np.float64) / 2 ** 24


# ---- modules that PyTorch does not have under these rules ------------------------------------------------------------

class Dropout(nn.Module):
    def __init__(self, p, stream):
        super().__init__()
        self.p, self.stream, self.step = p, stream, 0

    def forward(self, x):
        if not self.training:
            return x
        mask = torch.from_numpy(uniform(SEED, self.stream, self.step, x.numel()) >= self.p).reshape(x.shape)
        self.step += 1
        return x * mask / (1 - self.p)


class Pad(nn.Module):
    """Zeros above, below, left, right."""
    def __init__(self, top, bottom, left, right):
        super().__init__()
        self.pad = (left, right, top, bottom)

    def forward(self, x):
        return F.pad(x, self.pad)


def named(*modules):
    """Sequential whose children carry the names given; what has no parameters may go without one."""
    s = nn.Sequential()
    for i, m in enumerate(modules):
        s.add_module(*(m if isinstance(m, tuple) else (f"unnamed{i}", m)))
    return s


# ---- the models ------------------------------------------------------------------------------------------------------

def lenet():
    return (4, (1, 28, 28), 10), named(
        ("conv1", nn.Conv2d(1, 6, 5, padding=2)), nn.Sigmoid(), nn.AvgPool2d(2),
        ("conv2", nn.Conv2d(6, 16, 5)), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
        ("fc1", nn.Linear(400, 120)), nn.Sigmoid(), ("fc2", nn.Linear(120, 84)), nn.Sigmoid(),
        ("fc3", nn.Linear(84, 10)))


def windows():
    return (3, (3, 25, 22), 5), named(
        Pad(2, 1, 2, 2), ("same", nn.Conv2d(3, 6, (4, 3), dilation=(1, 2))), nn.LeakyReLU(0.125),
        Pad(2, 1, 1, 3), ("grouped", nn.Conv2d(6, 9, 3, stride=(2, 1), groups=3)), nn.SiLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        ("depthwise", nn.Conv2d(9, 18, 3, padding=1, groups=9, bias=False)), nn.ReLU6(),
        nn.AvgPool2d((2, 3), stride=(1, 2), padding=1, ceil_mode=True),
        ("narrow", nn.Conv2d(18, 7, 1)), nn.Tanh(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False, ceil_mode=True),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), ("fc", nn.Linear(28, 5)))


def normal():
    return (6, (2, 9, 8), 4), named(
        ("conv1", nn.Conv2d(2, 6, 3, padding=1, bias=False)), ("bn1", nn.BatchNorm2d(6)), nn.ReLU(),
        nn.LocalResponseNorm(3, alpha=0.5), nn.MaxPool2d(2),
        ("conv2", nn.Conv2d(6, 8, 3, padding=1)), ("bn2", nn.BatchNorm2d(8, eps=0.001, momentum=0.25)),
        nn.Softmax(1), nn.LocalResponseNorm(4, alpha=2, beta=0.5, k=2), Dropout(0.25, stream=10), nn.Flatten(),
        ("fc1", nn.Linear(128, 12, bias=False)), ("bn3", nn.BatchNorm1d(12)), nn.Sigmoid(), Dropout(0.5, stream=15),
        ("fc2", nn.Linear(12, 7)), nn.Softmax(1), ("fc3", nn.Linear(7, 4)))


class Basic(nn.Module):
    def __init__(self, before, channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or before != channels:
            self.downsample = nn.Sequential(nn.Conv2d(before, channels, 1, stride=stride, bias=False),
                                            nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.downsample(x) if self.downsample else x))


class Inception(nn.Module):
    def __init__(self, before, c1, c3r, c3, proj):
        super().__init__()
        self.b1 = nn.Conv2d(before, c1, 1)
        self.b2 = nn.Conv2d(before, c3r, 1)
        self.b3 = nn.Conv2d(c3r, c3, 3, padding=1)
        self.b4 = nn.Conv2d(before, proj, 1)

    def forward(self, x):
        return torch.cat([torch.relu(self.b1(x)), torch.relu(self.b3(torch.relu(self.b2(x)))),
                          torch.relu(self.b4(F.max_pool2d(x, 3, stride=1, padding=1)))], 1)


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.layer1 = nn.Sequential(Basic(6, 6), Basic(6, 8, stride=2))
        self.mixed = Inception(8, 2, 3, 4, 2)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 3, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(11)
        self.conv2 = nn.Conv2d(11, 3, 3, padding=1)
        self.down = nn.Conv2d(6, 14, 2, stride=2)
        self.head = nn.Conv2d(36, 4, 1)

    def forward(self, x):
        stem = self.stem(x)
        low = self.layer1(stem)
        x = self.mixed(low) + low
        x = torch.cat([x, self.conv1(torch.relu(self.norm1(x)))], 1)
        dense = torch.cat([x, self.conv2(torch.relu(self.norm2(x)))], 1)
        side = self.down(stem)
        x = torch.relu(side + dense + side)
        x = torch.cat([x, low, side], 1)
        return self.head(x.mean((2, 3), keepdim=True)).flatten(1)


def graph():
    return (2, (3, 10, 10), 4), Graph()


# ---- what comes out --------------------------------------------------------------------------------------------------

def record(out, section, name, tensor):
    values = tensor.detach().to(torch.float64).flatten()
    stride = max(1, values.numel() // SAMPLES) | 1
    shape = "x".join(str(d) for d in tensor.shape) or "1"
    text = ["%.*g" % (DIGITS, v) for v in [values.sum(), values.norm(), *values[::stride]]]
    print(section, name, shape, *text[:2], stride, *text[2:], file=out)


def answers(model, batch, shape, classes, fill=fill, rates=(0.1, 0.9, 1e-4)):
    """Fills the model, trains it as the head says, and yields (section, tensor's name or -, tensor) on the way."""
    for t, (key, tensor) in enumerate(model.state_dict().items()):
        fill(key, tensor, t)
    lr, momentum, decay = (float(np.float32(v)) for v in rates)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
    dtype = next(model.parameters()).dtype

    def pictures(step):
        return torch.from_numpy(unit(batch * int(np.prod(shape)), 1000 + step)).reshape(batch, *shape).to(dtype)

    model.eval()
    yield "start", "-", model(pictures(0))
    model.train()
    for step in range(STEPS):
        optimizer.param_groups[0]["nesterov"] = step == STEPS - 1
        labels = torch.tensor([(3 * n + 2 * step + 1) % classes for n in range(batch)])
        logits = model(pictures(step))
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        yield f"step{step}", "loss", loss
        yield f"step{step}", "logits", logits
        for key, p in model.named_parameters():
            yield f"step{step}", "grad." + key, p.grad
        optimizer.step()
    for key, p in model.named_parameters():
        yield "momentum", key, optimizer.state[p]["momentum_buffer"]
    for key, tensor in model.state_dict().items():
        yield "value", key, tensor
    model.eval()
    yield "finish", "-", model(pictures(0))


def begin(out, name, state):
    """The lines before the values: the state_dict's names and shapes."""
    print(f"# {name}.ref - made by PyTorch {torch.__version__.split('+')[0]}; the head of tests/golden/make.py "
          "explains the lines", file=out)
    print("tensors", len(state), file=out)
    for key, tensor in state.items():
        print("tensor", key, "x".join(str(d) for d in tensor.shape) or "1", file=out)


def make(name):
    (batch, shape, classes), model = globals()[name]()
    with open(os.path.join(HERE, name + ".ref"), "w") as out:
        begin(out, name, model.state_dict())
        for section, key, tensor in answers(model, batch, shape, classes):
            record(out, section, key, tensor)


if __name__ == "__main__":
    for which in sys.argv[1:] or ["lenet", "windows", "normal", "graph"]:
        make(which)
