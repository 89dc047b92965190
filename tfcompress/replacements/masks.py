"""Replacements of a part that reads a mask of its steps, as an Embedding with `mask_zero=True` gives one."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from tfcompress.replacements.base import Part

__all__ = ["inputs_of", "never_empty", "with_mask"]


def inputs_of(part: Part) -> list[Any]:
    """New inputs of a model that stands in for a part: for each tensor that comes in, and last for its mask."""
    dtype = keras.dtype_policies.get(part.dtype).compute_dtype
    made = [keras.Input(batch_shape=shape, dtype=dtype) for shape in part.input_shapes]
    if part.mask_shape is not None:
        made.append(keras.Input(batch_shape=part.mask_shape, dtype="bool", name="mask"))
    return made


def with_mask(part: Part, made: list[keras.layers.Layer] | keras.Model) -> keras.Model:
    """A replacement as a model that reads what comes into a part, and its mask after that.

    Each layer that takes a mask is given it, as long as the steps are as many as those that came in: behind a
    convolution too, where Keras would drop it.

    Args:
        part: a part with a mask.
        made: layers one after the other, or a model; one that has an input for the mask stays as it is.
    """
    if isinstance(made, keras.Model) and len(made.inputs) > len(part.input_shapes):
        return made
    *tensors, mask = inputs_of(part)
    output: Any = tensors[0] if len(tensors) == 1 else tensors
    for layer in [made] if isinstance(made, keras.Model) else made:
        shape = getattr(output, "shape", part.input_shapes[0])
        is_given = "mask" in inspect.signature(layer.call).parameters and not isinstance(layer, keras.Model)
        if is_given and len(shape) > 2 and shape[1] == part.mask_shape[1]:  # type: ignore[index]
            is_mean = isinstance(layer, keras.layers.GlobalAveragePooling1D)
            output = layer(output, mask=never_empty(mask) if is_mean else mask)
        else:
            output = layer(output)
    return keras.Model([*tensors, mask], output, name="with_mask")


def never_empty(mask: Any) -> Any:
    """A mask in which a sample that has no step has all of them, as a mean over none would be NaN."""
    is_empty = keras.ops.logical_not(keras.ops.any(mask, axis=1, keepdims=True))
    return keras.ops.logical_or(mask, is_empty)
