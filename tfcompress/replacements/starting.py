"""Initial weights of a convolution's replacements, computed from its kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.replacements.base import Part

__all__ = ["start_grouped", "start_pointwise", "start_separable"]

_Kernel = npt.NDArray[np.float64]


def _kernel(part: Part) -> _Kernel | None:
    """Returns the kernel `[*sizes, in, out]` of a plain convolution; `None` for other parts."""
    layer: Any = part.layer
    if type(layer) not in (keras.layers.Conv1D, keras.layers.Conv2D) or part.groups != 1:
        return None
    return np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float64)


def _centre(kernel: _Kernel, size: int = 3) -> _Kernel:
    """Returns the middle of a kernel, or the kernel padded with zeros, with `size` places on each axis."""
    for axis, old in enumerate(kernel.shape[:-2]):
        if old >= size:
            first = (old - size) // 2
            kernel = np.take(kernel, range(first, first + size), axis=axis)
        else:
            before = (size - old) // 2
            sides = [(0, 0)] * kernel.ndim
            sides[axis] = (before, size - old - before)
            kernel = np.pad(kernel, sides)
    return kernel


def _give(part: Part, layers: Sequence[Any], kernels: dict[str, _Kernel]) -> bool:
    """Sets kernels of layers by name, and the part's bias in the last layer that has one."""
    for layer in layers:
        if layer.name in kernels:
            layer.kernel.assign(kernels[layer.name])
            if layer.use_bias and part.layer is not None and part.use_bias:
                layer.bias.assign(part.layer.bias)
    return True


def start_grouped(part: Part, layers: Sequence[Any]) -> bool:
    """Sets a fully grouped convolution's kernel to the part's kernel inside its groups.

    Returns:
        Whether the part has such a kernel.
    """
    kernel = _kernel(part)
    if kernel is None:
        return False
    kernel = _centre(kernel)
    channels_in, channels_out = kernel.shape[-2:]
    (layer,) = (each for each in layers if each.name in ("depthwise", "grouped"))
    if layer.name == "depthwise":
        multiplier = channels_out // channels_in
        read = np.arange(channels_out) // multiplier
        own = kernel[..., read, np.arange(channels_out)].reshape(*kernel.shape[:-2], channels_in, multiplier)
        return _give(part, layers, {"depthwise": own})
    inside = channels_in // layer.groups
    first = np.arange(channels_out) // (channels_out // layer.groups) * inside
    own = kernel[..., first + np.arange(inside)[:, None], np.arange(channels_out)]
    return _give(part, layers, {"grouped": own})


def start_pointwise(part: Part, layers: Sequence[Any]) -> bool:
    """Sets a 1x1 convolution's kernel to the part's, summed over its places: equal where maps are flat.

    Returns:
        Whether the part has such a kernel.
    """
    kernel = _kernel(part)
    if kernel is None:
        return False
    rank = kernel.ndim - 2
    return _give(part, layers, {"pointwise": kernel.sum(axis=tuple(range(rank)), keepdims=True)})


def start_separable(part: Part, layers: Sequence[Any]) -> bool:
    """Sets the kernels of a depthwise and a 1x1 convolution to the best product for the part's, per input channel.

    That is the first singular vector of each input channel's matrix `[places, out]`, the best approximation of the
    kernel in squared error.

    Returns:
        Whether the part has such a kernel.
    """
    kernel = _kernel(part)
    if kernel is None:
        return False
    kernel = _centre(kernel)
    *sizes, channels_in, channels_out = kernel.shape
    matrices = np.moveaxis(kernel.reshape(-1, channels_in, channels_out), 1, 0)
    left, values, right = np.linalg.svd(matrices, full_matrices=False)
    scale = np.sqrt(values[:, 0])
    depthwise = (left[:, :, 0] * scale[:, None]).T.reshape(*sizes, channels_in, 1)
    pointwise = (right[:, 0] * scale[:, None]).reshape(*[1] * len(sizes), channels_in, channels_out)
    return _give(part, layers, {"depthwise": depthwise, "pointwise": pointwise})
