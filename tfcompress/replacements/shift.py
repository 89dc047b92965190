"""The shift followed by a 1x1 convolution."""

from __future__ import annotations

import math

import keras
import numpy as np

from tfcompress.replacements.base import Layers, Part, Replacement, register_replacement
from tfcompress.replacements.convolutions import brought_to_size, common, pointwise

__all__ = ["Shift"]

_DEPTHWISE = {1: keras.layers.DepthwiseConv1D, 2: keras.layers.DepthwiseConv2D}


class Shift(Replacement):
    """ "shift" (Wu et al. 2017; Section 3 of DARC): every channel is moved by one place of the kernel, then a 1x1.

    The channels are spread evenly over the places of the part's kernel; the remaining ones are not moved. The shift is
    a depthwise convolution that is not trained, with a single 1 for each channel, so that stock layers and TensorFlow
    Lite run it. Its `places * in` numbers are in the file, and its products are computed and counted, although the
    paper's own operator has neither; `in * out` weights are learned, and a bias if the part has one.
    """

    name = "shift"

    def layers(self, part: Part) -> Layers | None:
        """Returns both layers; `None` without a convolution, for one place, too few channels, or unequal strides.

        No depthwise convolution has different strides on the two axes.
        """
        places = math.prod(part.kernel_size)
        if not part.convolves or not 1 < places <= part.channels_in or len(set(part.strides)) > 1:
            return None
        kernel = np.zeros((places, part.channels_in, 1), "int64")
        each = part.channels_in // places
        middle = int(np.ravel_multi_index([(size - 1) // 2 for size in part.kernel_size], part.kernel_size))
        for channel in range(part.channels_in):
            kernel[channel // each if channel < each * places else middle, channel] = 1
        values = kernel.reshape(*part.kernel_size, part.channels_in, 1).tolist()  # a config holds lists, no arrays
        layers, padding = brought_to_size(part, part.extents)
        shift = _DEPTHWISE[part.rank](
            part.kernel_size,
            part.strides,
            padding,
            dilation_rate=part.dilation_rate,
            use_bias=False,
            depthwise_initializer=keras.initializers.Constant(values),
            trainable=False,
            name="shift",
            **common(part),
        )
        return [*layers, shift, *pointwise(part)]


register_replacement(Shift())
