"""The networks of dsl-examples/ in PyTorch, and the sizes at which the tests here compare them with ours.

The names of the d2l models' state_dicts are those of the .net files, written here a second time, by hand; those of
torchvision/ are torchvision's own models. Nothing is read from the .net files, so a slip there shows as a difference.

Each network is a Case with two sizes: `live` for compare.py (make test-pytorch), and `tiny` for the committed
references, which `make test` reads. Sizes are those at which loops written to be read take seconds; a network of many
stages keeps a last picture of 2x2 or more where batch normalisation needs it: over the one value of a 1x1 picture a
variance says little, and dividing by it multiplies rounding errors.

Two parameters make networks smaller without leaving out a layer: `ratio`, `growth` and `width` scale channels, and
`hidden` is the width of the linear layers of AlexNet and VGG, which hold nine tenths of their parameters.
"""
import os
import re
import sys
from dataclasses import dataclass

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "golden"))
import make                                                     # noqa: E402  (the protocol and its formulas)
from make import named                                          # noqa: E402

relu = torch.relu


# ---- d2l: multilayer perceptrons and LeNets --------------------------------------------------------------------------

def softmax_regression(classes=10):
    return named(nn.Flatten(), ("fc", nn.LazyLinear(classes)))


def mlp(classes=10, hidden=256):
    return named(nn.Flatten(), ("fc1", nn.LazyLinear(hidden)), nn.ReLU(), ("fc2", nn.Linear(hidden, classes)))


def mlp_batchnorm(classes=10, hidden=256):
    return named(nn.Flatten(), ("fc1", nn.LazyLinear(hidden)), ("bn1", nn.BatchNorm1d(hidden)), nn.ReLU(),
                 ("fc2", nn.Linear(hidden, classes)))


def lenet():
    return make.lenet()[1]


def lenet_batchnorm(classes=10):
    return named(
        ("conv1", nn.LazyConv2d(6, 5)), ("bn1", nn.BatchNorm2d(6)), nn.Sigmoid(), nn.AvgPool2d(2),
        ("conv2", nn.Conv2d(6, 16, 5)), ("bn2", nn.BatchNorm2d(16)), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
        ("fc1", nn.LazyLinear(120)), ("bn3", nn.BatchNorm1d(120)), nn.Sigmoid(),
        ("fc2", nn.Linear(120, 84)), ("bn4", nn.BatchNorm1d(84)), nn.Sigmoid(), ("fc3", nn.Linear(84, classes)))


# ---- d2l: AlexNet, VGG, NiN ------------------------------------------------------------------------------------------

def head(classes, hidden):
    """The three linear layers at the end of AlexNet and VGG."""
    return [nn.Flatten(), ("fc1", nn.LazyLinear(hidden)), nn.ReLU(), nn.Dropout(0.5),
            ("fc2", nn.Linear(hidden, hidden)), nn.ReLU(), nn.Dropout(0.5), ("fc3", nn.Linear(hidden, classes))]


def alexnet(ratio=1, classes=10, hidden=4096):
    def conv(channels, kernel, **window):
        return nn.LazyConv2d(channels // ratio, kernel, **window)
    return named(
        ("conv1", conv(96, 11, stride=4, padding=1)), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        ("conv2", conv(256, 5, padding=2)), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        ("conv3", conv(384, 3, padding=1)), nn.ReLU(), ("conv4", conv(384, 3, padding=1)), nn.ReLU(),
        ("conv5", conv(256, 3, padding=1)), nn.ReLU(), nn.MaxPool2d(3, stride=2), *head(classes, hidden))


def vgg(*convolutions):
    """A maker of the network with so many convolutions in its five stages."""
    def build(ratio=1, classes=10, hidden=4096):
        stages = []
        for i, (convs, channels) in enumerate(zip(convolutions, (64, 128, 256, 512, 512)), 1):
            stage = []
            for j in range(1, convs + 1):
                stage += [(f"conv{j}", nn.LazyConv2d(channels // ratio, 3, padding=1)), nn.ReLU()]
            stages.append((f"stage{i}", named(*stage, nn.MaxPool2d(2))))
        return named(*stages, *head(classes, hidden))
    return build


def nin(ratio=1, classes=10):
    def block(channels, kernel, **window):
        return named(("conv1", nn.LazyConv2d(channels, kernel, **window)), nn.ReLU(),
                     ("conv2", nn.Conv2d(channels, channels, 1)), nn.ReLU(),
                     ("conv3", nn.Conv2d(channels, channels, 1)), nn.ReLU())
    return named(("nin1", block(96 // ratio, 11, stride=4)), nn.MaxPool2d(3, stride=2),
                 ("nin2", block(256 // ratio, 5, padding=2)), nn.MaxPool2d(3, stride=2),
                 ("nin3", block(384 // ratio, 3, padding=1)), nn.MaxPool2d(3, stride=2), nn.Dropout(0.5),
                 ("nin4", block(classes, 3, padding=1)), nn.AdaptiveAvgPool2d(1), nn.Flatten())


# ---- d2l: GoogLeNet, ResNet, DenseNet, MobileNet, U-Net --------------------------------------------------------------

class Inception(nn.Module):
    def __init__(self, *channels, ratio):
        super().__init__()
        c1, reduce3, c3, reduce5, c5, project = (c // ratio for c in channels)
        self.conv1 = nn.LazyConv2d(c1, 1)
        self.reduce3 = nn.LazyConv2d(reduce3, 1)
        self.conv3 = nn.Conv2d(reduce3, c3, 3, padding=1)
        self.reduce5 = nn.LazyConv2d(reduce5, 1)
        self.conv5 = nn.Conv2d(reduce5, c5, 5, padding=2)
        self.project = nn.LazyConv2d(project, 1)

    def forward(self, x):
        return torch.cat((relu(self.conv1(x)), relu(self.conv3(relu(self.reduce3(x)))),
                          relu(self.conv5(relu(self.reduce5(x)))),
                          relu(self.project(F.max_pool2d(x, 3, stride=1, padding=1)))), 1)


def googlenet(ratio=1, classes=10):
    def conv(channels, kernel, **window):
        return nn.LazyConv2d(channels // ratio, kernel, **window)

    def mixed(*channels):
        return Inception(*channels, ratio=ratio)

    def halve():
        return nn.MaxPool2d(3, stride=2, padding=1)
    return named(
        ("stage1", nn.Sequential(conv(64, 7, stride=2, padding=3), nn.ReLU(), halve())),
        ("stage2", nn.Sequential(conv(64, 1), nn.ReLU(), conv(192, 3, padding=1), nn.ReLU(), halve())),
        ("stage3", nn.Sequential(mixed(64, 96, 128, 16, 32, 32), mixed(128, 128, 192, 32, 96, 64), halve())),
        ("stage4", nn.Sequential(
            mixed(192, 96, 208, 16, 48, 64), mixed(160, 112, 224, 24, 64, 64), mixed(128, 128, 256, 24, 64, 64),
            mixed(112, 144, 288, 32, 64, 64), mixed(256, 160, 320, 32, 128, 128), halve())),
        ("stage5", nn.Sequential(mixed(256, 160, 320, 32, 128, 128), mixed(384, 192, 384, 48, 128, 128))),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), ("fc", nn.LazyLinear(classes)))


class Residual(nn.Module):
    def __init__(self, channels, stride=1, widen=False):
        super().__init__()
        self.conv1 = nn.LazyConv2d(channels, 3, stride=stride, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.LazyConv2d(channels, 1, stride=stride) if widen else None

    def forward(self, x):
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(y + (self.conv3(x) if self.conv3 else x))


def resnet(*blocks):
    def build(ratio=1, classes=10):
        stages = [("stage1", nn.Sequential(nn.LazyConv2d(64 // ratio, 7, stride=2, padding=3),
                                           nn.BatchNorm2d(64 // ratio), nn.ReLU(),
                                           nn.MaxPool2d(3, stride=2, padding=1)))]
        for i, (count, channels) in enumerate(zip(blocks, (64 // ratio, 128 // ratio, 256 // ratio, 512 // ratio))):
            first = Residual(channels, 2, widen=True) if i else Residual(channels)
            stages.append((f"stage{i + 2}", nn.Sequential(first, *(Residual(channels) for _ in range(count - 1)))))
        return named(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), ("fc", nn.Linear(512 // ratio, classes)))
    return build


def bn_conv(channels, kernel):
    return named(("bn", nn.LazyBatchNorm2d()), nn.ReLU(),
                 ("conv", nn.LazyConv2d(channels, kernel, padding=kernel // 2)))


class DenseBlock(nn.Module):
    def __init__(self, layers, growth):
        super().__init__()
        for i in range(1, layers + 1):
            self.add_module(f"layer{i}", bn_conv(growth, 3))

    def forward(self, x):
        for layer in self.children():
            x = torch.cat((x, layer(x)), 1)
        return x


def densenet(classes=10, growth=32):
    modules, channels = [], 2 * growth
    for i in range(1, 5):
        modules.append((f"dense{i}", DenseBlock(4, growth)))
        channels += 4 * growth
        if i < 4:
            channels //= 2
            modules += [(f"transition{i}", bn_conv(channels, 1)), nn.AvgPool2d(2)]
    return named(("conv1", nn.LazyConv2d(2 * growth, 7, stride=2, padding=3)), ("bn1", nn.BatchNorm2d(2 * growth)),
                 nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1), *modules, ("bn2", nn.BatchNorm2d(channels)),
                 nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), ("fc", nn.Linear(channels, classes)))


def mobilenet(ratio=1, classes=1000):
    def separable(before, channels, stride=1):
        return named(("depthwise", nn.Conv2d(before, before, 3, stride=stride, padding=1, groups=before, bias=False)),
                     ("bn1", nn.BatchNorm2d(before)), nn.ReLU(),
                     ("pointwise", nn.Conv2d(before, channels, 1, bias=False)), ("bn2", nn.BatchNorm2d(channels)),
                     nn.ReLU())
    before, stages = 32 // ratio, []
    for i, (blocks, channels) in enumerate(((1, 64), (2, 128), (2, 256), (6, 512), (2, 1024)), 1):
        channels //= ratio
        stages.append((f"stage{i}", nn.Sequential(separable(before, channels, 2 if i > 1 else 1),
                                                  *(separable(channels, channels) for _ in range(blocks - 1)))))
        before = channels
    return named(("conv1", nn.LazyConv2d(32 // ratio, 3, stride=2, padding=1, bias=False)),
                 ("bn1", nn.BatchNorm2d(32 // ratio)), nn.ReLU(), *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                 ("fc", nn.Linear(before, classes)))


class UNet(nn.Module):
    def __init__(self, classes=10, width=16):
        super().__init__()
        def conv_bn(channels):
            return named(("conv", nn.LazyConv2d(channels, 3, padding=1, bias=False)), ("bn", nn.BatchNorm2d(channels)),
                         nn.ReLU())

        def twice(channels):
            return nn.Sequential(conv_bn(channels), conv_bn(channels))

        def enlarge(channels):
            return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), conv_bn(channels))

        self.down1, self.down2, self.down3 = twice(width), twice(2 * width), twice(4 * width)
        self.bottom = twice(8 * width)
        self.enlarge3, self.up3 = enlarge(4 * width), twice(4 * width)
        self.enlarge2, self.up2 = enlarge(2 * width), twice(2 * width)
        self.enlarge1, self.up1 = enlarge(width), twice(width)
        self.score = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        fine = self.down1(x)
        middle = self.down2(F.max_pool2d(fine, 2))
        coarse = self.down3(F.max_pool2d(middle, 2))
        x = self.bottom(F.max_pool2d(coarse, 2))
        x = self.up3(torch.cat((self.enlarge3(x), coarse), 1))
        x = self.up2(torch.cat((self.enlarge2(x), middle), 1))
        x = self.up1(torch.cat((self.enlarge1(x), fine), 1))
        return self.score(x).mean((2, 3))


# ---- torchvision -----------------------------------------------------------------------------------------------------

def torchvision_model(name):
    """A maker of torchvision's network; `hidden` narrows the linear layers of its classifier, nothing else."""
    def build(classes=1000, hidden=None):
        options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
        model = getattr(torchvision.models, name)(weights=None, num_classes=classes, **options)
        if hidden:
            linear = [i for i, m in enumerate(model.classifier) if isinstance(m, nn.Linear)]
            for i in linear:
                old = model.classifier[i]
                model.classifier[i] = nn.Linear(old.in_features if i == linear[0] else hidden,
                                                old.out_features if i == linear[-1] else hidden)
        return model
    return build


# ---- the zoo ---------------------------------------------------------------------------------------------------------

@dataclass
class Size:
    """A batch, a picture (channels, height, width), and parameters of the network."""
    batch: int
    picture: tuple
    defines: dict

    def flags(self):
        """For cnnc."""
        return ["--batch", str(self.batch), "--input", "x".join(map(str, self.picture)),
                *(word for name, value in self.defines.items() for word in ("-D", f"{name}={value}"))]


@dataclass
class Case:
    """A network below dsl-examples/: its path without .net, its maker, and the sizes at which it is compared."""
    path: str
    build: object
    live: Size
    tiny: Size

    @property
    def name(self):
        return os.path.basename(self.path)

    @property
    def file(self):
        return os.path.join("dsl-examples", self.path + ".net")

    @property
    def reference(self):
        """Of the tiny size; the two folders share some names."""
        return os.path.join(HERE, self.path.replace("/", "_") + ".ref")

    def model(self, size, generated):
        """The PyTorch model at a size, whose dropout layers draw the masks that `generated` (C code) draws.

        A mask is a function of the seed, the step, and a stream number that says which layer asks (make.Dropout).
        """
        model = self.build(**size.defines)
        with torch.no_grad():
            model.eval()(torch.zeros(1, *size.picture))         # sizes of the lazy modules
        streams = iter(re.findall(r"cnn_uniform\(seed, (\d+), step", generated))
        for path, module in list(model.named_modules()):
            if isinstance(module, nn.Dropout):
                parent, _, last = path.rpartition(".")
                model.get_submodule(parent).add_module(last, make.Dropout(module.p, int(next(streams))))
        assert next(streams, None) is None, f"{self.path} has more dropout layers than PyTorch's model"
        return model


def case(path, build, batch, live, tiny, **defines):
    """`live` and `tiny` are heights, with a batch and parameters where these differ from those given for both."""
    channels = 3 if path.startswith("torchvision") else 1
    sizes = []
    for given in (live, tiny):
        own = dict(given) if isinstance(given, dict) else {"height": given}
        height, count = own.pop("height"), own.pop("batch", batch)
        sizes.append(Size(count, (channels, height, height), {**defines, **own}))
    return Case(path, build, *sizes)


def torchvision_case(name, batch, live, tiny, **defines):
    return case("torchvision/" + name, torchvision_model(name), batch, live, tiny, classes=10, **defines)


ZOO = [
    case("lenet", lenet, 4, 28, 28),
    case("d2l/softmax_regression", softmax_regression, 4, 28, 8),
    case("d2l/mlp", mlp, 4, 28, 8),
    case("d2l/mlp_batchnorm", mlp_batchnorm, 16, 28, 8),
    case("d2l/lenet_batchnorm", lenet_batchnorm, 16, 28, 28),
    case("d2l/alexnet", alexnet, 2, 69, {"height": 69, "ratio": 8}, hidden=128),
    case("d2l/vgg11", vgg(1, 1, 2, 2, 2), 2, 32, {"height": 32, "ratio": 8}, hidden=128),
    case("d2l/vgg13", vgg(2, 2, 2, 2, 2), 2, 32, {"height": 32, "ratio": 8}, hidden=128),
    case("d2l/vgg16", vgg(2, 2, 3, 3, 3), 2, 32, {"height": 32, "ratio": 8}, hidden=128),
    case("d2l/vgg19", vgg(2, 2, 4, 4, 4), 2, 32, {"height": 32, "ratio": 8}, hidden=128),
    case("d2l/nin", nin, 2, 81, {"height": 81, "ratio": 8}),
    case("d2l/googlenet", googlenet, 2, 48, {"height": 33, "ratio": 4}),
    case("d2l/resnet18", resnet(2, 2, 2, 2), 4, 64, {"height": 48, "ratio": 8}),
    case("d2l/resnet34", resnet(3, 4, 6, 3), 4, 64, {"height": 48, "ratio": 8}),
    case("d2l/densenet", densenet, 4, 64, {"height": 64, "growth": 4}),
    case("d2l/mobilenet", mobilenet, 4, {"height": 64, "ratio": 2}, {"height": 48, "ratio": 8}, classes=10),
    case("d2l/unet", UNet, 4, 32, {"height": 16, "width": 4}),
    torchvision_case("alexnet", 2, 67, {"height": 67, "batch": 1}, hidden=16),
    torchvision_case("vgg11", 2, 32, {"height": 32, "batch": 1}, hidden=16),
    torchvision_case("vgg16", 2, 32, {"height": 32, "batch": 1}, hidden=16),
    torchvision_case("vgg11_bn", 4, 32, {"height": 32, "batch": 2}, hidden=16),
    torchvision_case("squeezenet1_0", 2, 63, {"height": 37, "batch": 1}),
    torchvision_case("googlenet", 4, 48, 48),
    torchvision_case("resnet18", 4, 64, {"height": 33, "batch": 2}),
    torchvision_case("resnet34", 4, 64, {"height": 33, "batch": 2}),
    torchvision_case("resnet50", 4, 64, 33),
    torchvision_case("mobilenet_v2", 4, 64, {"height": 33, "batch": 2}),
    torchvision_case("densenet121", 4, 64, {"height": 32, "batch": 8}),
]
