"""Layers with code of the user."""

from __future__ import annotations

import functools
from typing import Any

import keras

from tfcompress.graph.handlers.base import Call, handles
from tfcompress.graph.handlers.elementwise import PassThrough
from tfcompress.graph.handlers.functions import treats_numbers_alone
from tfcompress.graph.labels import Labels

__all__ = ["ElementwiseLambda"]


@handles(keras.layers.Lambda)
class ElementwiseLambda(PassThrough):
    """A user's function that treats each number separately; any other function is left whole."""

    def serves(self, operation: Any) -> bool:
        """Whether the function is of this kind, by a trial with numbers."""
        return not callable(operation.mask) and treats_numbers_alone(
            functools.partial(operation.function, **operation.arguments) if operation.arguments else operation.function
        )

    def runs_on_slices(self, call: Call) -> bool:
        """False: the function may use a static shape."""
        return False

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels pass through."""
        if len(call.inputs) != 1 or call.node.output_shapes != call.node.input_shapes:
            return call.whole("Lambda gives another shape than it reads")
        return (call.inputs[0],)
