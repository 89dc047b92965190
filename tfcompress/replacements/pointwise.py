"""The 1x1 convolution."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfcompress.replacements.base import Layers, Part, Replacement, register_replacement
from tfcompress.replacements.convolutions import is_pointwise, pointwise
from tfcompress.replacements.starting import start_pointwise

__all__ = ["Pointwise"]


class Pointwise(Replacement):
    """ "1x1FC" of DARC (Section 5): a full 1x1 convolution, with the part's strides and bias.

    It has `in * out` weights, and a bias if the part has one.
    """

    name = "1x1FC"

    def layers(self, part: Part) -> Layers | None:
        """Returns the layer; `None` if the part is not a convolution, or is a 1x1 convolution itself."""
        return pointwise(part, of_input=True) if part.convolves and not is_pointwise(part) else None

    def start(self, part: Part, layers: Sequence[keras.layers.Layer]) -> bool:
        """Starts with weights computed from the kernel of a convolution."""
        return start_pointwise(part, layers)


register_replacement(Pointwise())
