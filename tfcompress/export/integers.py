"""Checks of what files with integer activations need: calibration inputs that vary, and inputs that have a range."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress import expect
from tfcompress.export import edge_quantizer

CALIBRATED = ("int8", "int16x8", "mixed")
"""The forms whose activations are integers, so that their ranges have to be known."""
FROM_FLOAT32 = edge_quantizer.FORMS
"""The forms that ai-edge-quantizer makes of the float32 file."""
IO_TYPES = (None, "int8", "uint8")


def checked(integer_io: Any, quantizations: Sequence[str]) -> str | None:
    """Returns the type of integer inputs and outputs, None for float32.

    Raises:
        ValueError: the type is unknown, or no requested form has such inputs.
    """
    integer_io = expect.one_of("integer_io", integer_io, IO_TYPES, "Use one of these.")
    if integer_io is None:
        return None
    if not set(CALIBRATED) & set(quantizations):
        expect.refuse(
            "integer_io",
            "None where no form has integer activations",
            integer_io,
            f"It needs one of quantize={CALIBRATED}; quantize is {tuple(quantizations)}.",
        )
    if integer_io == "uint8" and "mixed" in quantizations:
        expect.refuse("integer_io", "'int8' or None for quantize='mixed'", integer_io, "Its activations are int8.")
    return str(integer_io)


def checked_recipe(recipe: Any, quantizations: Sequence[str]) -> list[dict[str, Any]] | None:
    """Returns the user's rules for "mixed", None for none.

    Raises:
        ValueError: ai-edge-quantizer does not know them, or "mixed" is not requested.
    """
    if recipe is not None and "mixed" not in quantizations:
        expect.refuse("recipe", "None without quantize='mixed'", recipe, "It says how the mixed file is made.")
    return edge_quantizer.checked_recipe(recipe)


def refuse_inputs_without_range(integer_io: str | None, network: keras.Model) -> None:
    """Refuses integer inputs and outputs for a network that reads something else than float numbers.

    Raises:
        ValueError: names the input.
    """
    if integer_io is None:
        return
    for tensor in network.inputs:
        if not tf.as_dtype(tensor.dtype).is_floating:
            raise ValueError(
                f"Expected inputs of float numbers for integer_io={integer_io!r}, as only these have a range that"
                f" integers can stand for. Received: input {tensor.name!r} of type {tensor.dtype}. Leave integer_io"
                " out: the file takes such an input as the model does."
            )


def refuse_constant(arrays: list[np.ndarray], network: keras.Model) -> None:
    """Refuses calibration inputs that do not vary: ranges taken from them fit no other input.

    Raises:
        ValueError: names the input, or says that all samples are the same.
    """
    for array, tensor in zip(arrays, network.inputs, strict=True):
        if array.dtype.kind == "f" and array.size > 1 and array.min() == array.max():
            raise ValueError(
                f"Expected calibration inputs that vary. Received: {array.flat[0]:g} everywhere in input"
                f" {tensor.name!r}. Give some hundred real inputs, scaled as in training."
            )
    if len(arrays[0]) > 1 and all((array == array[:1]).all() for array in arrays):
        raise ValueError(
            f"Expected calibration inputs that vary. Received: {len(arrays[0])} times the same sample. Give some"
            " hundred different real inputs."
        )
