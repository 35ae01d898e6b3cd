"""The networks that are measured: files, sizes and flags for cnnc. The PyTorch side of them is in networks.py."""
from dataclasses import dataclass


@dataclass
class Network:
    name: str
    file: str                   # below dsl-examples/
    picture: tuple              # channels, height, width
    batch: int
    classes: int

    def flags(self, batch):
        """For cnnc."""
        words = ["--batch", str(batch), "--input", "x".join(map(str, self.picture)), "-D", f"classes={self.classes}"]
        return [*words, f"dsl-examples/{self.file}.net"]


NETWORKS = {n.name: n for n in (
    Network("lenet", "lenet", (1, 28, 28), 256, 10),
    Network("alexnet", "d2l/alexnet", (1, 224, 224), 32, 10),
    Network("vgg11", "d2l/vgg11", (1, 224, 224), 16, 10),
    Network("nin", "d2l/nin", (1, 224, 224), 32, 10),
    Network("googlenet", "d2l/googlenet", (1, 96, 96), 64, 10),
    Network("resnet18", "torchvision/resnet18", (3, 224, 224), 16, 1000),
    Network("densenet", "d2l/densenet", (1, 96, 96), 64, 10),
    Network("mobilenet", "d2l/mobilenet", (3, 224, 224), 16, 1000),
)}
