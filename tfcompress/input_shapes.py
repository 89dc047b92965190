"""Fixes models with unknown input sizes, such as images of any size, to one size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfcompress import expect

__all__ = ["InputShape", "checked_shapes", "of_one_size", "shapes_of_samples", "with_input_shape"]

InputShape = tuple[int, ...] | Mapping[str, tuple[int, ...]]
"""The shape of a single input without the batch; for several inputs, a shape by the name of each."""


def checked_shapes(model: keras.Model, input_shape: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each input by its name, without the batch.

    Args:
        model: a built model.
        input_shape: the shape of a single input, or the shapes of several inputs by name.

    Raises:
        TypeError, ValueError: not shapes, not of these inputs, or not shapes that the model can take.
    """
    known = {name: tuple(tensor.shape[1:]) for name, tensor in _inputs_of(model).items()}
    what = f"sizes without the batch such as (224, 224, 3), for inputs of shapes {known}"
    by_name = input_shape
    if not isinstance(input_shape, Mapping):
        if len(known) != 1:
            expect.refuse("input_shape", f"a dictionary of {what}", input_shape, wrong_type=True)
        by_name = dict.fromkeys(known, input_shape)
    if set(by_name) != set(known):
        expect.refuse("input_shape", f"a dictionary of {what}", input_shape)
    shapes = {}
    for name, sizes in by_name.items():
        whole: tuple[int, ...] = expect.each("input_shape", sizes, check=expect.whole, what=what, least=1)
        fits = len(whole) == len(known[name]) and all(
            wanted in (None, size) for size, wanted in zip(whole, known[name], strict=True)
        )
        if not fits:
            expect.refuse("input_shape", what, input_shape)
        shapes[name] = whole
    return shapes


def _inputs_of(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Returns the inputs by the names of their layers, which Keras names where the user did not; of the tensors it
    calls all such the same.
    """
    return {tensor._keras_history.operation.name: tensor for tensor in model.inputs}


def shapes_of_samples(model: keras.Model, samples: Any) -> dict[str, tuple[int, ...]] | None:
    """Returns the input sizes of samples, for a model that takes inputs of any size; `None` for any other model.

    Args:
        model: a built model.
        samples: arrays of inputs, in the model's structure.
    """
    if all(None not in tensor.shape[1:] for tensor in model.inputs):
        return None
    arrays = keras.tree.flatten(samples)
    return {name: np.shape(array)[1:] for name, array in zip(_inputs_of(model), arrays, strict=True)}


def with_input_shape(model: keras.Model, input_shape: Any) -> keras.Model:
    """Returns a model around the given one that takes inputs of one size; it has the same layers and is not compiled.

    Args:
        model: a built model.
        input_shape: see `checked_shapes`.

    Raises:
        TypeError, ValueError: see `checked_shapes`; or a layer of the model does not accept inputs of that size.
    """
    shapes = checked_shapes(model, input_shape)
    inputs = [
        keras.Input(shapes[name], dtype=tensor.dtype, sparse=tensor.sparse or None, name=name)
        for name, tensor in _inputs_of(model).items()
    ]
    functional = getattr(model, "_functional", None) or model  # a Sequential model has no `input` before a call
    structure = keras.tree.pack_sequence_as(functional.input, inputs)
    try:
        outputs = model(structure)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        why = f"Model {model.name!r} does not accept them: {first}"
        expect.refuse("input_shape", "sizes that the model accepts", input_shape, why)
    return keras.Model(structure, outputs, name=model.name)


def of_one_size(model: keras.Model, samples: Any) -> keras.Model:
    """Returns the model fixed to the size of the samples if it takes any size; else the model itself.

    Args:
        model: a built model.
        samples: arrays of inputs, in the model's structure.
    """
    shapes = shapes_of_samples(model, samples)
    return model if shapes is None else with_input_shape(model, shapes)
