"""Prunes a network with Torch-Pruning, whenever it is told to; runs where PyTorch is installed, without TensorFlow.

    python torch_pruning_side.py ResNet50

It reads a line from standard input for each thing to do, and answers with a line of JSON:
`prune`: builds the network (not measured), prunes it, and gives wall_s, cpu_s, macs and whole_macs.
"""

import json
import sys
import time

import torch
import torch_pruning
from torch import nn

STEPS_OF_RATIO = 100


class Bottleneck(nn.Module):
    """He et al. (2016), with the stride in the 3x3 convolution as torchvision has it."""

    def __init__(self, inputs, width, stride, has_projection):
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.projection = None
        if has_projection:
            self.projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        """The sum of shortcut and branch."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.projection is None else self.projection(x)))


class ResNet50(nn.Module):
    """ResNet-50 for 224x224 images and 1000 classes: 25.56 M parameters."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks, inputs = [], 64
        for repeats, width, stride in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)):
            for index in range(repeats):
                blocks.append(Bottleneck(inputs, width, 1 if index else stride, index == 0))
                inputs = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, 1000)

    def forward(self, x):
        """Logits."""
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        return self.classifier(torch.flatten(self.average(self.blocks(x)), 1))


class DenseLayer(nn.Module):
    """Huang et al. (2017): BatchNormalization, ReLU, 1x1 and 3x3 convolution; its channels join those it read."""

    def __init__(self, inputs, growth):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        """The input with the new channels behind it."""
        y = self.conv1(self.relu(self.bn1(x)))
        return torch.cat([x, self.conv2(self.relu(self.bn2(y)))], 1)


class DenseNet121(nn.Module):
    """DenseNet-121 for 224x224 images and 1000 classes: 7.98 M parameters."""

    def __init__(self, growth=32):
        super().__init__()
        width = 2 * growth
        parts = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        for repeats in (6, 12, 24, 16):
            for _ in range(repeats):
                parts.append(DenseLayer(width, growth))
                width += growth
            if repeats != 16:
                parts += [
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                    nn.Conv2d(width, width // 2, 1, bias=False),
                    nn.AvgPool2d(2),
                ]
                width //= 2
        self.features = nn.Sequential(*parts, nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(width, 1000)

    def forward(self, x):
        """Logits."""
        return self.classifier(torch.flatten(self.features(x), 1))


NETWORKS = {"ResNet50": ResNet50, "DenseNet121": DenseNet121}


def prune(model, inputs, ratio):
    """Uniform pruning by group l1 norm, as Torch-Pruning's own examples do it."""
    pruner = torch_pruning.pruner.MetaPruner(
        model,
        inputs,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=1),
        pruning_ratio=ratio,
        ignored_layers=[model.classifier],
    )
    pruner.step()


def macs_of(model, inputs):
    """Multiply-adds, as Torch-Pruning counts them."""
    return torch_pruning.utils.count_ops_and_params(model, inputs)[0]


def main():
    """Finds the ratio that halves the MACs, then does what the lines say."""
    network = NETWORKS[sys.argv[1]]
    inputs = torch.randn(1, 3, 224, 224)
    whole = macs_of(network().eval(), inputs)

    def halves(ratio):
        model = network().eval()
        prune(model, inputs, ratio)
        return macs_of(model, inputs) <= whole / 2

    low, high = 0, STEPS_OF_RATIO // 2  # the smallest ratio that is enough lies above the one, not above the other
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if halves(middle / STEPS_OF_RATIO) else (middle, high)
    ratio = high / STEPS_OF_RATIO
    versions = {"torch": torch.__version__, "torch_pruning": torch_pruning.__version__}
    print(json.dumps({"ratio": ratio, "threads": torch.get_num_threads(), **versions}), flush=True)
    for _ in sys.stdin:
        model = network().eval()
        wall, cpu = time.perf_counter(), time.process_time()
        prune(model, inputs, ratio)
        spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        print(json.dumps({**spent, "macs": macs_of(model, inputs), "whole_macs": whole}), flush=True)


if __name__ == "__main__":
    main()
