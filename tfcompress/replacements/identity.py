"""The identity: a shallower model."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfcompress.replacements.base import Layers, Part, Replacement, register_replacement

__all__ = ["Identity"]


class Identity(Replacement):
    """ "identity": nothing, or only the part's activation, if the shapes before and after it are the same.

    It has neither weights nor multiply-adds; "skip connect" of DARTS (Liu et al. 2018).
    """

    name = "identity"

    def layers(self, part: Part) -> Layers | None:
        """Returns the layer; `None` if shapes differ or may differ, or several tensors are read."""
        if part.input_shapes != (part.output_shape,) or (None in part.output_shape[1:] and not _keeps_its_size(part)):
            return None
        if part.activation is keras.activations.linear:
            # By its name, as Keras writes down no Identity that was given a policy.
            return [keras.layers.Identity(name="identity", dtype=getattr(part.dtype, "name", part.dtype))]
        return [keras.layers.Activation(part.activation, name="activation", dtype=part.dtype)]

    def start(self, part: Part, layers: Sequence[keras.layers.Layer]) -> bool:
        """Returns True: there is nothing to learn."""
        return True


def _keeps_its_size(part: Part) -> bool:
    """Whether a convolution keeps the sizes of its input, whatever they are."""
    is_convolution = part.convolves and part.layer is not None
    return is_convolution and set(part.strides) == {1} and (part.padding != "valid" or set(part.extents) == {1})


register_replacement(Identity())
