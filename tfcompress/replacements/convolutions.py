"""Layers that replacements of convolutions consist of, for one and two axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from tfcompress.replacements.base import Part

__all__ = ["brought_to_size", "common", "convolution", "grouped", "is_pointwise", "pointwise"]

_LAYERS = keras.layers
_CONVOLUTION = {1: _LAYERS.Conv1D, 2: _LAYERS.Conv2D}
_DEPTHWISE = {1: _LAYERS.DepthwiseConv1D, 2: _LAYERS.DepthwiseConv2D}
_CROPPING = {1: _LAYERS.Cropping1D, 2: _LAYERS.Cropping2D}
_ZEROS = {1: _LAYERS.ZeroPadding1D, 2: _LAYERS.ZeroPadding2D}


def is_pointwise(part: Part) -> bool:
    """Whether the part is a convolution that reads a single place."""
    return set(part.kernel_size) == {1}


def brought_to_size(part: Part, extents: Sequence[int]) -> tuple[list[keras.layers.Layer], str]:
    """Returns layers that bring a kernel of other extents to the part's output size, and that kernel's padding.

    With "valid" padding a smaller kernel would give more places: the input is cropped by the difference of the kernels'
    reach. A larger kernel reads zeros there.
    """
    if part.padding == "same":
        return [], "same"
    if part.padding == "causal":
        before = extents[0] - 1
        return ([_ZEROS[1]((before, 0), name="zeros", **common(part))] if before else []), "valid"
    surplus = [old - new for old, new in zip(part.extents, extents, strict=True)]
    if set(part.extents) == {1} == set(part.strides):
        return [], "same"
    layers: list[keras.layers.Layer] = []
    for kind, name, sizes in (
        (_ZEROS, "zeros", [max(-size, 0) for size in surplus]),
        (_CROPPING, "cropped", [max(size, 0) for size in surplus]),
    ):
        if any(sizes):
            sides: Any = tuple((size // 2, size - size // 2) for size in sizes)
            options = {"dtype": part.dtype} if kind[part.rank] is _LAYERS.Cropping1D else common(part)
            layers.append(kind[part.rank](sides[0] if part.rank == 1 else sides, name=name, **options))
    return layers, "valid"


def common(part: Part) -> dict[str, Any]:
    """Returns arguments of every layer with a data format."""
    return {"dtype": part.dtype, "data_format": part.data_format}


def grouped(part: Part, channels_out: int, size: int = 3, is_last: bool = False) -> list[keras.layers.Layer]:
    """Returns a fully grouped convolution of the part's input, with the part's strides and dilation.

    Its number of groups is the greatest common divisor of the channels: it is depthwise if each channel becomes the
    same number of output channels.

    Args:
        part: the part to replace.
        channels_out: number of output channels.
        size: size of its kernel on each axis.
        is_last: whether it adds the part's bias and applies its activation.
    """
    layers, padding = brought_to_size(part, [(size - 1) * d + 1 for d in part.dilation_rate])
    shared = {
        "kernel_size": size,
        "strides": part.strides,
        "padding": padding,
        "dilation_rate": part.dilation_rate,
        **(part.last_settings if is_last else {"use_bias": False}),
        **common(part),
    }
    if channels_out % part.channels_in == 0 and len(set(part.strides)) == 1:
        shared.update(depthwise_regularizer=part.kernel_regularizer, name="depthwise")
        made = _DEPTHWISE[part.rank](depth_multiplier=channels_out // part.channels_in, **shared)
    else:
        groups = math.gcd(part.channels_in, channels_out)
        shared.update(kernel_regularizer=part.kernel_regularizer, name="grouped")
        made = _CONVOLUTION[part.rank](channels_out, groups=groups, **shared)
    return [*layers, made]


def pointwise(part: Part, of_input: bool = False) -> list[keras.layers.Layer]:
    """Returns a 1x1 convolution to the part's channels, with its bias and activation.

    Args:
        part: the part to replace.
        of_input: whether it reads the part's input, with the part's strides; otherwise it comes last.
    """
    layers, padding = brought_to_size(part, (1,) * part.rank) if of_input else ([], "same")
    made = _CONVOLUTION[part.rank](
        part.channels_out,
        1,
        strides=part.strides if of_input else 1,
        padding=padding,
        kernel_regularizer=part.kernel_regularizer,
        name="pointwise",
        **part.last_settings,
        **common(part),
    )
    return [*layers, made]


def convolution(part: Part, filters: int, name: str, *, is_last: bool, **settings: Any) -> keras.layers.Layer:
    """Returns a convolution of the part's rank.

    Args:
        part: the part to replace.
        filters: number of output channels.
        name: name of the layer.
        is_last: whether it adds the part's bias and applies its activation.
        settings: further arguments, `kernel_size` among them.
    """
    ending = part.last_settings if is_last else {"use_bias": False}
    regularizer = part.kernel_regularizer
    return _CONVOLUTION[part.rank](
        filters, kernel_regularizer=regularizer, name=name, **settings, **ending, **common(part)
    )
