"""Replacements of a part that reads a mask of its steps, such as that of an Embedding with `mask_zero=True`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from tfcompress.replacements.base import Part

__all__ = ["inputs_of", "never_empty", "with_mask"]


def inputs_of(part: Part) -> list[Any]:
    """Returns new inputs of a model that replaces a part: one for each input tensor, and the last for its mask."""
    dtype = keras.dtype_policies.get(part.dtype).compute_dtype
    made = [keras.Input(batch_shape=shape, dtype=dtype) for shape in part.input_shapes]
    if part.mask_shape is not None:
        made.append(keras.Input(batch_shape=part.mask_shape, dtype="bool", name="mask"))
    return made


def with_mask(part: Part, made: list[keras.layers.Layer] | keras.Model) -> keras.Model:
    """Returns a replacement as a model that reads a part's inputs, and after them its mask.

    Each layer that accepts a mask gets it, as long as the number of steps is that of the inputs: also after a
    convolution, where Keras would drop it.

    Args:
        part: a part with a mask.
        made: layers in sequence, or a model; a model with an input for the mask is returned unchanged.
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
    """Returns a mask in which a sample without any step has all of them, because a mean over none would be NaN."""
    is_empty = keras.ops.logical_not(keras.ops.any(mask, axis=1, keepdims=True))
    return keras.ops.logical_or(mask, is_empty)
