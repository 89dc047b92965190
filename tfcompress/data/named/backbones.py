"""Finds the keras.applications network in a model, and the scaling of images that it was trained with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import keras

from tfcompress.data.batches.scaling import words_for

__all__ = ["scaling_of_backbone"]

# By the names that keras.applications gives, from the start of the name of the model or of a model inside it.
_BY_NAME = (
    (r"resnet\d+v2", "plus_minus_one"),
    (r"resnet\d+|vgg1[69]", "caffe"),
    (r"densenet|convnext", "torch"),
    (r"mobilenet|xception|inception|nasnet|efficientnetv2", "plus_minus_one"),
)
# By the names of layers, where the backbone's own layers are those of the model: the first that it has.
_BY_LAYER = {
    "conv2_block1_preact_bn": ("ResNetV2", "plus_minus_one"),
    "conv2_block1_concat": ("DenseNet", "torch"),
    "conv2_block1_1_conv": ("ResNet", "caffe"),
    "block5_conv3": ("VGG", "caffe"),
    "conv_dw_1": ("MobileNet", "plus_minus_one"),
    "block_1_depthwise": ("MobileNetV2", "plus_minus_one"),
    "expanded_conv_depthwise": ("MobileNetV3", "plus_minus_one"),
    "block14_sepconv2": ("Xception", "plus_minus_one"),
    "mixed_7a": ("InceptionResNetV2", "plus_minus_one"),
    "mixed10": ("InceptionV3", "plus_minus_one"),
    "block2a_expand_conv": ("EfficientNetV2", "plus_minus_one"),
}
_SCALES = ("Rescaling", "Normalization", "TrueDivide", "Divide", "Subtract", "Multiply", "Add")
_READS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense", "EinsumDense")


def scaling_of_backbone(model: keras.Model) -> tuple[str | None, str]:
    """Returns the scaling that a model's keras.applications network expects, and words on how it was found.

    A model that scales its inputs itself, as EfficientNet, MobileNetV3 and ConvNeXt do by `Rescaling` or
    `Normalization` layers or by arithmetic before the first convolution, reads images unscaled.

    Args:
        model: a built Functional or Sequential model.

    Returns:
        `(name of the scaling, words)`, the name as `tfcompress.data.load(preprocess=...)` takes it.

    Raises:
        ValueError: the model contains no such network.
    """
    if (scaling_layer := _scales_itself(model)) is not None:
        return None, f"scaling: {words_for(None)}: the model scales its images itself ({scaling_layer})"
    operations = list(_operations(model))
    names = [model.name, *(each.name for each in operations if isinstance(each, keras.Model))]
    for name in names:
        for pattern, scaling in _BY_NAME:
            if re.match(pattern, name.lower()):
                return scaling, f"scaling: {words_for(scaling)}, used to train {name!r} of keras.applications"
    layers = {each.name for each in operations}
    for layer, (network, scaling) in _BY_LAYER.items():
        if layer in layers:
            return scaling, f"scaling: {words_for(scaling)}, used to train {network} of keras.applications ({layer!r})"
    raise ValueError(
        "Expected a network of keras.applications in the model, for preprocess='keras.applications'. Received: the "
        f"model {model.name!r}, whose names and layers match none. Leave preprocess out, so that it is "
        "measured which scaling the model was trained with, or name it: 'unit_interval', 'plus_minus_one', None, "
        "'caffe' or 'torch'."
    )


def _operations(model: Any) -> Iterator[Any]:
    """Yields layers and operations in order; those of nested models follow their model."""
    functional = getattr(model, "_functional", None) or model  # that of a Sequential model
    for operation in getattr(functional, "operations", None) or model.layers:
        yield operation
        if isinstance(operation, keras.Model):
            yield from _operations(operation)


def _scales_itself(model: keras.Model) -> str | None:
    """Returns the operation that scales inputs before the first layer with learned weights, if there is one."""
    for operation in _operations(model):
        kind = type(operation).__name__
        if kind in _READS:
            return None
        if kind in _SCALES:
            return str(operation.name)
    return None
