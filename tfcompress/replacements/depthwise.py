"""The fully grouped convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from tfcompress.replacements.base import Layers, Part, Replacement, register_replacement
from tfcompress.replacements.convolutions import grouped
from tfcompress.replacements.starting import start_grouped

__all__ = ["Depthwise"]


class Depthwise(Replacement):
    """ "3x3DS" of DARC (Section 5): only a fully grouped 3x3 convolution, with the part's strides, dilation and bias.

    It has `9 * max(in, out)` weights if one number of channels divides the other, and a bias if the part has one. In
    general it has `9 * in * out / gcd(in, out)` weights.
    """

    name = "3x3DS"

    def layers(self, part: Part) -> Layers | None:
        """Returns the layer; `None` if the part is not a convolution, or the layer would equal it or not be grouped."""
        if not part.convolves:
            return None
        groups = math.gcd(part.channels_in, part.channels_out)
        is_itself = set(part.kernel_size) == {3} and part.groups == groups and part.layer is not None
        is_full = groups == 1 and part.channels_in > 1
        return None if is_itself or is_full else grouped(part, part.channels_out, is_last=True)

    def start(self, part: Part, layers: Sequence[keras.layers.Layer]) -> bool:
        """Starts with weights computed from the kernel of a convolution."""
        return start_grouped(part, layers)


register_replacement(Depthwise())
