"""The networks that the papers compress, built from stock Keras layers; one family a file."""

from tfcompress.zoo.mobilenet import mobilenet_v2
from tfcompress.zoo.resnet import resnet18, resnet20, resnet32, resnet34, resnet44, resnet56, resnet110
from tfcompress.zoo.vgg import vgg13, vgg16, vgg19

__all__ = [
    "mobilenet_v2",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet56",
    "resnet110",
    "vgg13",
    "vgg16",
    "vgg19",
]
