"""The depthwise-separable convolution."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfcompress.replacements.base import Layers, Part, Replacement, register_replacement
from tfcompress.replacements.convolutions import grouped, is_pointwise, pointwise
from tfcompress.replacements.starting import start_separable

__all__ = ["Separable"]

_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


class Separable(Replacement):
    """ "3x3+1x1" of DARC (Section 5): a depthwise 3x3 convolution followed by a 1x1 one (Howard et al. 2017).

    The first has the part's strides and dilation, the second its bias, because a bias between the two would have no
    further effect. It has `9 * in + in * out` weights, and a bias if the part has one.
    """

    name = "3x3+1x1"

    def layers(self, part: Part) -> Layers | None:
        """Returns both layers; `None` if the part is not a convolution, is a 1x1 one, or is already separable."""
        is_itself = type(part.layer) in _SEPARABLE and set(part.kernel_size) == {3}
        if not part.convolves or is_pointwise(part) or is_itself:
            return None
        return [*grouped(part, part.channels_in), *pointwise(part)]

    def start(self, part: Part, layers: Sequence[keras.layers.Layer]) -> bool:
        """Starts with weights computed from the kernel of a convolution."""
        return start_separable(part, layers)


register_replacement(Separable())
