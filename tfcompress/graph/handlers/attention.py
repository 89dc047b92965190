"""Attention. Heads, and the widths of keys and values inside a layer, are channels that never leave the layer.

Heads do not see one another, and value channels are only weighted and summed: both can be removed without a change to
the rest. Scores are divided by the square root of the key width, so the keys' channels stay, unless the groups are
made with `through_norms=True`: then the query's weights are multiplied by sqrt(new / old width), and the scores are
those of the old scale over the remaining channels.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import numpy as np

from tfcompress.graph.handlers.base import Call, Handler, MacTerm, WeightAxes, Width, handles, sizes
from tfcompress.graph.labels import Ids, Labels

__all__ = ["GroupedQueryAttention", "MultiHeadAttention", "ScoresOfChannels"]

_layers = keras.layers
_Shape = tuple[int | None, ...]


class _Inner(NamedTuple):
    """Labels inside a layer: heads of the queries, heads of keys and values, and two widths."""

    heads: Ids
    value_heads: Ids
    key: Ids
    value: Ids


class _Projected(Handler):
    """Projections `[inputs, heads, width]` to queries, keys and values, and `[heads, width, outputs]` to the output."""

    def runs_on_slices(self, call: Call) -> bool:
        """False: heads and widths are static numbers of the layer."""
        return False

    def inner(self, call: Call) -> _Inner:
        """Returns the labels inside the layer."""
        raise NotImplementedError

    def output(self, call: Call, query: Ids) -> Ids:
        """Returns the labels of the layer's output."""
        raise NotImplementedError

    def _index(self, call: Call, argument: str) -> int:
        return (call.inputs_of(argument) or call.inputs_of("value"))[0]  # keys are the values where none are given

    def _input(self, call: Call, argument: str) -> Ids:
        return call.input_along(-1, self._index(call, argument))

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels for the output; the channels of returned scores are the heads."""
        query, _, _ = (self._input(call, argument) for argument in ("query", "value", "key"))
        for argument in ("attention_mask", "query_mask", "value_mask", "key_mask"):
            for index in call.inputs_of(argument):
                call.fix(call.inputs[index].ids, "positions that are masked")
        inner = self.inner(call)
        if not call.through_norms:
            call.fix(inner.key, "scores are divided by the square root of the key width")
        output = Labels(self.output(call, query), len(call.node.output_shapes[0]) - 1)
        scores = call.node.output_shapes[1:]
        return (output, *(Labels(inner.heads, len(shape) - 3) for shape in scores))

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Kernels and biases of the projections.

        A key channel is written by the key's projection and read by the query's: if the latter is zero, the scores do
        not depend on the channel.
        """
        layer, inner, out = call.layer, self.inner(call), outputs[0].ids
        query = self._input(call, "query")
        axes = [
            *_projection(layer._query_dense, query, inner.heads, inner.key, reads_width=True),
            *_projection(layer._key_dense, self._input(call, "key"), inner.value_heads, inner.key),
            *_projection(layer._value_dense, self._input(call, "value"), inner.value_heads, inner.value),
        ]
        if getattr(layer, "_gate_dense", None) is not None:
            axes += _projection(layer._gate_dense, query, inner.heads, inner.value)
        kernel, bias = layer._output_dense.kernel, layer._output_dense.bias
        last = len(kernel.shape) - 1
        axes.append(WeightAxes(kernel, reads={0: inner.heads, 1: inner.value}, writes={last: out}))
        if bias is not None:
            axes.append(WeightAxes(bias, writes={len(bias.shape) - 1: out}))
        return tuple(axes)

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Projections at every position, and the products with keys and with values for each pair of positions."""
        inner, node = self.inner(call), call.node
        kernel = call.layer._output_dense.kernel
        query, value = (node.input_shapes[self._index(call, name)][1:-1] for name in ("query", "value"))
        queries, values = sizes(query, node), sizes(value, node)
        pairs = queries * sizes(self._attended(call, value), node)
        projected = [(queries, "query", inner.heads, inner.key), (values, "key", inner.value_heads, inner.key)]
        projected.append((values, "value", inner.value_heads, inner.value))
        if getattr(call.layer, "_gate_dense", None) is not None:
            projected.append((queries, "query", inner.heads, inner.value))
        return (
            *(MacTerm(positions, (self._input(call, of), heads, width)) for positions, of, heads, width in projected),
            MacTerm(pairs, (inner.heads, inner.key)),
            MacTerm(pairs, (inner.heads, inner.value)),
            MacTerm(queries * math.prod(kernel.shape[2:-1]), (inner.heads, inner.value, outputs[0].ids)),
        )

    def _attended(self, call: Call, shape: _Shape) -> _Shape:
        return shape

    def _key_width(self, layer: Any) -> int:
        raise NotImplementedError

    def finish(self, layer: Any, call: Call) -> None:
        """Keeps the scale of the scores: a narrower layer divides them by less."""
        ratio = math.sqrt(self._key_width(layer) / self._key_width(call.layer))
        if ratio != 1.0:
            for variable in layer._query_dense.weights:
                variable.assign(variable * ratio)


def _projection(dense: Any, inputs: Ids, heads: Ids, width: Ids, reads_width: bool = False) -> tuple[WeightAxes, ...]:
    """Kernel `[inputs, heads, width]` and bias `[heads, width]`."""

    def axes(first: int) -> tuple[dict[int, Ids], dict[int, Ids]]:
        at = {first: heads}, {first + 1: width}
        return (at[1], at[0]) if reads_width else ({}, {**at[0], **at[1]})

    reads, writes = axes(1)
    kernel = WeightAxes(dense.kernel, reads={0: inputs, **reads}, writes=writes)
    if dense.bias is None:
        return (kernel,)
    reads, writes = axes(0)
    return (kernel, WeightAxes(dense.bias, reads=reads, writes=writes))


@handles(_layers.MultiHeadAttention)
class MultiHeadAttention(_Projected):
    """Heads, each with a key and a value of its own."""

    def inner(self, call: Call) -> _Inner:
        """Heads, key channels and value channels, each a group."""
        heads = call.inner_channels("heads", call.layer.num_heads)
        key = call.inner_channels("key", call.layer.key_dim)
        return _Inner(heads, heads, key, call.inner_channels("value", call.layer.value_dim))

    def output(self, call: Call, query: Ids) -> Ids:
        """New labels."""
        return call.new_output(call.node.output_shapes[0][-1] or 0)

    def _attended(self, call: Call, shape: _Shape) -> _Shape:
        axes = [axis % (len(shape) + 2) for axis in call.layer.attention_axes]
        return tuple(size for axis, size in enumerate(shape, start=1) if axis in axes)

    def _key_width(self, layer: Any) -> int:
        return int(layer.key_dim)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns fewer and narrower heads; the output's width is set if it is not the query's."""
        inner, old = self.inner(call), call.layer._output_shape
        new = width(outputs[0].ids)
        shape = (*old[:-1], new) if old else None
        if not old and new != width(self._input(call, "query")):
            shape = (new,)
        widths = {"num_heads": width(inner.heads), "key_dim": width(inner.key), "value_dim": width(inner.value)}
        return {**widths, "output_shape": shape}


@handles(_layers.GroupQueryAttention)
class GroupedQueryAttention(_Projected):
    """Several heads of queries for each head of keys and values; keys and values have the same width.

    A head of keys and values is removed with all its heads of queries. If there is only one, the heads of queries are
    removed one by one.
    """

    def inner(self, call: Call) -> _Inner:
        """Heads, and the width of keys and values."""
        layer = call.layer
        width = call.inner_channels("key", layer.head_dim)
        if layer.num_key_value_heads == 1:
            shared = call.inner_channels("shared", 1)
            call.fix(shared, "the only head of keys and values")
            return _Inner(call.inner_channels("heads", layer.num_query_heads), shared, width, width)
        heads = call.inner_channels("heads", layer.num_key_value_heads)
        if "queries" not in call.inner:
            call.inner["queries"] = np.repeat(heads, layer.num_repeats)
        return _Inner(call.inner["queries"], heads, width, width)

    def output(self, call: Call, query: Ids) -> Ids:
        """Returns new labels, as many as the query's: the layer takes its width there, and needs values as wide."""
        ids = call.new_output(call.node.output_shapes[0][-1] or 0)
        call.book.tie(query, ids)
        call.book.tie(query, self._input(call, "value"))
        return ids

    def _key_width(self, layer: Any) -> int:
        return int(layer.head_dim)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns fewer and narrower heads."""
        inner = self.inner(call)
        heads = {"num_query_heads": width(inner.heads), "num_key_value_heads": width(inner.value_heads)}
        return {**heads, "head_dim": width(inner.key)}


@handles(_layers.Attention, _layers.AdditiveAttention)
class ScoresOfChannels(Handler):
    """Scores without projections: all channels of queries and keys are in them. Values are weighted and summed."""

    def runs_on_slices(self, call: Call) -> bool:
        """False: masks are used, which are known to be right."""
        return False

    def _indices(self, call: Call) -> tuple[int, int, int]:
        """Returns the positions of query, value and key among the inputs."""
        query, value, *key = call.inputs_of("inputs")
        return query, value, key[0] if key else value

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Fixes queries and keys; the values' labels pass through."""
        query, value, key = self._indices(call)
        reason = "attention scores are sums over these channels"
        for index in {*range(len(call.inputs))} - {value} | {query, key}:
            call.fix(call.inputs[index].ids, reason)
        output = Labels(call.input_along(-1, value), len(call.node.output_shapes[0]) - 1)
        scores = [Labels(call.book.new(shape[-1] or 0), len(shape) - 1) for shape in call.node.output_shapes[1:]]
        for labels in scores:
            call.fix(labels.ids, "attention scores")
        return (output, *scores)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """The scale `[channels]` of additive attention; that of the other is one number."""
        key = call.input_along(-1, self._indices(call)[2])
        return tuple(WeightAxes(v, reads={0: key} if len(v.shape) else {}) for v in call.layer.weights)

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """The products with keys and with values for each pair of positions."""
        query, value, key = self._indices(call)
        shapes = call.node.input_shapes
        pairs = sizes((*shapes[query][1:-1], shapes[value][-2]), call.node)
        return (MacTerm(pairs, (call.input_along(-1, key),)), MacTerm(pairs, (outputs[0].ids,)))
