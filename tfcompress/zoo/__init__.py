"""The networks of the papers, built from stock Keras layers; one family per file."""

from tfcompress import _keras  # noqa: F401
from tfcompress.zoo.conv4 import conv4
from tfcompress.zoo.fitnet import fitnet4
from tfcompress.zoo.mobilenet import mobilenet_v2
from tfcompress.zoo.resnet import resnet18, resnet20, resnet32, resnet34, resnet44, resnet56, resnet110
from tfcompress.zoo.resnet50 import resnet50
from tfcompress.zoo.resnet_v2 import resnet20_v2, resnet56_v2, resnet110_v2
from tfcompress.zoo.resnext import resnext20, resnext32, resnext44, resnext56, resnext110
from tfcompress.zoo.squeezenet import squeezenet
from tfcompress.zoo.stargan import stargan_discriminator, stargan_generator
from tfcompress.zoo.vdcnn import vdcnn9, vdcnn17, vdcnn29
from tfcompress.zoo.vgg import vgg7, vgg11, vgg13, vgg16, vgg19, vgg_small
from tfcompress.zoo.wide_resnet import wide_resnet, wide_resnet16_10, wide_resnet28_10, wide_resnet40_8

__all__ = [
    "conv4",
    "fitnet4",
    "mobilenet_v2",
    "resnet18",
    "resnet20",
    "resnet20_v2",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet56_v2",
    "resnet110",
    "resnet110_v2",
    "resnext20",
    "resnext32",
    "resnext44",
    "resnext56",
    "resnext110",
    "squeezenet",
    "stargan_discriminator",
    "stargan_generator",
    "vdcnn9",
    "vdcnn17",
    "vdcnn29",
    "vgg7",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "vgg_small",
    "wide_resnet",
    "wide_resnet16_10",
    "wide_resnet28_10",
    "wide_resnet40_8",
]
