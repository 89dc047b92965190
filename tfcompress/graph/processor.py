"""Checks which channels_first layers TensorFlow can run on this machine, by one trial of each kind on a tiny tensor.

TensorFlow's own CPU kernels have only channels_last convolutions. Those of oneDNN have both; TensorFlow enables them by
itself if the processor has AVX-512, and otherwise only if it is told so before it is loaded.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfcompress.graph.layer_graph import LayerGraph

__all__ = ["check_runs_here"]

_FIRST = "channels_first"
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_ops = keras.ops

# A name of a kind, and a call of it on `x` in `rank` dimensions, with `ones(shape)` for kernels and the data format.
_Trial = Callable[[Any, int, Callable[[tuple[int, ...]], Any], str], Any]
_TRIALS: dict[str, _Trial] = {
    "Conv": lambda x, rank, ones, form: _ops.conv(x, ones((3,) * rank + (2, 2)), data_format=form),
    "grouped Conv": lambda x, rank, ones, form: _ops.conv(x, ones((3,) * rank + (1, 2)), data_format=form),
    "ConvTranspose": lambda x, rank, ones, form: _ops.conv_transpose(x, ones((3,) * rank + (2, 2)), data_format=form),
    "DepthwiseConv": lambda x, rank, ones, form: _ops.depthwise_conv(x, ones((3,) * rank + (2, 1)), data_format=form),
    "SeparableConv": lambda x, rank, ones, form: _ops.separable_conv(
        x, ones((3,) * rank + (2, 1)), ones((1,) * rank + (2, 2)), data_format=form
    ),
    "MaxPool": lambda x, rank, ones, form: _ops.max_pool(x, 2, data_format=form),
    "AveragePool": lambda x, rank, ones, form: _ops.average_pool(x, 2, data_format=form),
}
_LAYERS = {
    "Conv": ("Conv{}D", "ConvLSTM{}D"),
    "ConvTranspose": ("Conv{}DTranspose",),
    "DepthwiseConv": ("DepthwiseConv{}D",),
    "SeparableConv": ("SeparableConv{}D",),
    "MaxPool": ("MaxPooling{}D",),
    "AveragePool": ("AveragePooling{}D",),
}
_KINDS: tuple[tuple[Any, str, int], ...] = tuple(
    (cls, kind, rank)
    for kind, names in _LAYERS.items()
    for name in names
    for rank in (1, 2, 3)
    for cls in [getattr(keras.layers, name.format(rank), None)]
    if cls is not None
)


def check_runs_here(model: keras.Model | LayerGraph) -> None:
    """Refuses a model with a channels_first layer that TensorFlow cannot run on this machine; does not run the model.

    Args:
        model: a built Functional or Sequential model, or its graph. Layers inside wrappers are checked too.

    Raises:
        ValueError: a kind of layer fails on a tiny tensor; the message names it and the way out.
    """
    for operation, kind, rank, dtype in _first(
        model if isinstance(model, LayerGraph) else LayerGraph.from_keras(model)
    ):
        error = _failure(kind, rank, dtype)
        if error is not None:
            onednn = os.environ.get(_ONEDNN) != "1" and dtype in ("float32", "bfloat16")
            first = f"Set the environment variable {_ONEDNN}=1 before TensorFlow is loaded, or build"
            raise ValueError(
                f"Expected layers that TensorFlow can run on this machine. Received: {operation.name!r}, a "
                f"{type(operation).__name__} in {dtype} with data_format='channels_first' ({error}). "
                f"{first if onednn else 'Build'} the model with data_format='channels_last'."
            )


def _first(graph: LayerGraph) -> Iterator[tuple[Any, str, int, str]]:
    """Yields the channels_first operations to try: `(operation, kind, dimensions, dtype)`."""
    for node in graph.nodes.values():
        operation = node.operation
        if not isinstance(operation, keras.layers.Layer):
            if getattr(operation, "data_format", None) == _FIRST and type(operation).__name__ in _TRIALS:
                dtype = graph.tensors[node.outputs[0]].dtype
                yield operation, type(operation).__name__, len(node.output_shapes[0]) - 2, dtype
            continue
        for layer in operation._flatten_layers():
            if getattr(layer, "data_format", None) == _FIRST:
                for cls, kind, rank in _KINDS:
                    if isinstance(layer, cls):
                        grouped = "grouped " if kind == "Conv" and getattr(layer, "groups", 1) > 1 else ""
                        yield layer, grouped + kind, rank, layer.compute_dtype


@functools.cache
def _failure(kind: str, rank: int, dtype: str) -> str | None:
    """Returns how a tiny call of this kind fails, in one line; `None` if it runs, or fails channels_last too."""

    def ones(shape: tuple[int, ...]) -> Any:
        return _ops.ones(shape, dtype)

    try:
        _TRIALS[kind](ones((1, 2, *(5,) * rank)), rank, ones, _FIRST)
        return None
    except tf.errors.OpError as error:
        reason = re.sub(r"{{.*?}}|\[Op:.*", "", str(error.message)).split("\n")[0].strip().removesuffix(".")
    try:
        _TRIALS[kind](ones((1, *(5,) * rank, 2)), rank, ones, "channels_last")
    except tf.errors.OpError:
        return None
    return reason
