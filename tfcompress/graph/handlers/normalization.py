"""Layers that normalize: with statistics of each channel, or with statistics over the channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tfcompress.graph.handlers.base import Call, Handler, WeightAxes, Width, handles
from tfcompress.graph.labels import Ids, Labels

__all__ = ["BatchNorm", "GroupNorm", "LayerNorm", "RMSNorm", "StatisticsOverChannels", "UnitNorm"]

_layers = keras.layers


@handles(_layers.BatchNormalization)
class BatchNorm(Handler):
    """Scale, offset and running statistics of each channel, or of each position on another axis."""

    keeps_axes = True

    def channel_axes(self, layer: Any, rank: int) -> frozenset[int] | None:
        """Returns the axis that it normalizes."""
        axis = layer.axis[0] if isinstance(layer.axis, (tuple, list)) else layer.axis
        return frozenset({int(axis) % rank})

    def _axis(self, call: Call) -> int:
        (axis,) = self.channel_axes(call.layer, len(call.node.input_shapes[0])) or (0,)
        return axis

    def _passes(self, call: Call) -> bool:
        """Whether its running statistics are computed over the channels, and do not change."""
        return call.through_norms and self._axis(call) != call.inputs[0].axis

    def runs_on_slices(self, call: Call) -> bool:
        """Returns True with the axis -1; for a positive axis Keras reshapes its weights by the static width."""
        return call.inputs[0].axis == self._axis(call) and call.layer.axis in (-1, [-1], (-1,))

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels pass through; on another axis than the channels only if statistics over them may change."""
        if not self._passes(call):
            call.input_along(self._axis(call))
        return (call.inputs[0],)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """gamma, beta, moving mean and variance, each `[channels]`."""
        layer, passes = call.layer, self._passes(call)
        axes = {} if passes else {0: call.input_along(self._axis(call))}
        momentum = None if passes else layer.momentum
        parameters = [v for v in (layer.gamma, layer.beta) if v is not None]
        statistics = (layer.moving_mean, layer.moving_variance)
        return (
            *(WeightAxes(v, carries=axes) for v in parameters),
            *(WeightAxes(v, carries=axes, is_parameter=False, momentum=momentum) for v in statistics),
        )


class StatisticsOverChannels(Handler):
    """Normalizes each sample over the channels, so that removing one changes the statistics of the others.

    Such a stream is fixed unless the groups are made with `through_norms=True`. A layer that normalizes over other axes
    treats each channel separately.
    """

    parameters: tuple[str, ...] = ()
    keeps_axes = True

    def axes(self, call: Call) -> list[int]:
        """Returns the axes of the statistics, counted from 0, in the order of the weights."""
        axis = call.layer.axis
        rank = len(call.node.input_shapes[0])
        return [a % rank for a in (axis if isinstance(axis, (tuple, list)) else [axis])]

    def mixes(self, call: Call) -> bool:
        """Whether statistics run over several channels."""
        return call.inputs[0].axis in self.axes(call)

    def tie(self, call: Call, ids: Ids) -> None:
        """Ties channels that can only be removed together."""

    def formula(self, layer: Any, x: Any, mean: Callable[[Any], Any], weight: Callable[[Any], Any]) -> Any:
        """Returns the layer's output: `mean` is over the remaining channels, `weight` brings a weight to its rank."""
        raise NotImplementedError

    def runs_on_slices(self, call: Call) -> bool:
        """False: Keras reads the number of channels from the static shape."""
        return False

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels pass through; they are fixed if statistics run over them, unless these may change."""
        labels = call.inputs[0]
        if self.mixes(call):
            if not call.through_norms:
                call.fix(labels.ids, f"{call.node.type_name} normalises over the channels")
            elif call.written is not None and len(call.written) == len(labels):
                call.book.tie(call.written, labels.ids)  # one number of channels in all calls of the layer
            self.tie(call, labels.ids)
        return (labels,)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Returns scales and offsets, with one axis for each axis of the statistics."""
        labels, axes = call.inputs[0], self.axes(call)
        carries = {axes.index(labels.axis): labels.ids} if labels.axis in axes else {}
        variables = [getattr(call.layer, name, None) for name in self.parameters]
        return tuple(WeightAxes(variable, carries=carries) for variable in variables if variable is not None)

    def masked_call(self, call: Call, layer: Any, kept: Any) -> Callable[..., Any] | None:
        """Returns the layer's formula with statistics over the remaining channels."""
        if not call.through_norms or not self.mixes(call):
            return None
        rank, axes = len(call.node.input_shapes[0]), self.axes(call)
        mask = ops.reshape(kept, _only(rank, call.inputs[0].axis))

        def masked(inputs: Any, **_: Any) -> Any:
            x = ops.cast(inputs, "float64" if layer.compute_dtype == "float64" else "float32")
            stays = ops.cast(mask, x.dtype)

            def mean(values: Any) -> Any:
                return ops.mean(values * stays, axis=axes, keepdims=True) / ops.mean(stays)

            def weight(variable: Any) -> Any:
                shape = [call.node.input_shapes[0][axis] if axis in axes else 1 for axis in range(rank)]
                return ops.reshape(ops.cast(variable, x.dtype), shape)

            return ops.cast(self.formula(layer, x, mean, weight), layer.compute_dtype)

        return masked


def _only(rank: int, axis: int) -> list[int]:
    return [-1 if a == axis else 1 for a in range(rank)]


def _scaled(y: Any, gamma: Any, beta: Any, weight: Callable[[Any], Any]) -> Any:
    y = y if gamma is None else y * weight(gamma)
    return y if beta is None else y + weight(beta)


@handles(_layers.LayerNormalization)
class LayerNorm(StatisticsOverChannels):
    """Mean zero and variance one over the axes."""

    parameters = ("gamma", "beta")

    def formula(self, layer: Any, x: Any, mean: Callable[[Any], Any], weight: Callable[[Any], Any]) -> Any:
        """`(x - mean) / sqrt(variance + epsilon) * gamma + beta`."""
        centred = x - mean(x)
        scale = ops.rsqrt(mean(centred * centred) + layer.epsilon)
        return _scaled((x if layer.rms_scaling else centred) * scale, layer.gamma, layer.beta, weight)


@handles(_layers.RMSNormalization)
class RMSNorm(StatisticsOverChannels):
    """Mean square one over the axes."""

    parameters = ("scale",)

    def formula(self, layer: Any, x: Any, mean: Callable[[Any], Any], weight: Callable[[Any], Any]) -> Any:
        """`x / sqrt(mean square + epsilon) * scale`."""
        epsilon = keras.config.epsilon() if layer.epsilon is None else layer.epsilon
        return x * ops.rsqrt(mean(x * x) + epsilon) * weight(layer.scale)


@handles(_layers.UnitNormalization)
class UnitNorm(StatisticsOverChannels):
    """Length one over the axes."""

    def masked_call(self, call: Call, layer: Any, kept: Any) -> Callable[..., Any] | None:
        """Returns `None`: channels of zeros do not make a vector longer."""
        if not call.through_norms or not self.mixes(call):
            return None
        mask = ops.reshape(kept, _only(len(call.node.input_shapes[0]), call.inputs[0].axis))
        return lambda inputs, **_: type(layer).call(layer, inputs * ops.cast(mask, inputs.dtype))


@handles(_layers.GroupNormalization)
class GroupNorm(StatisticsOverChannels):
    """Mean zero and variance one of each group of channels, over all positions.

    Each group loses the same number of channels: channels in the same place of all groups are tied. With one channel
    per group (instance normalization) each channel is separate.
    """

    parameters = ("gamma", "beta")

    def axes(self, call: Call) -> list[int]:
        """The axis of the groups."""
        return [call.layer.axis % len(call.node.input_shapes[0])]

    def _per_group(self, call: Call) -> int:
        return int(call.node.input_shapes[0][self.axes(call)[0]] or 0) // int(call.layer.groups)

    def mixes(self, call: Call) -> bool:
        """Returns True if a group has several channels, or the groups lie on another axis than the channels."""
        return call.inputs[0].axis not in self.axes(call) or self._per_group(call) > 1

    def tie(self, call: Call, ids: Ids) -> None:
        """Ties the channels in the same place of all groups."""
        if call.inputs[0].axis not in self.axes(call):
            call.fix(ids, "GroupNormalization has its groups on another axis than the channels")
            return
        places = ids.reshape(call.layer.groups, -1)
        for place in places[1:]:
            call.book.tie(places[0], place)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns as many groups as channels, if their numbers were equal before."""
        instance = self._per_group(call) == 1 and call.inputs[0].axis in self.axes(call)
        return {"groups": width(outputs[0].ids) if instance else call.layer.groups}

    def masked_call(self, call: Call, layer: Any, kept: Any) -> Callable[..., Any] | None:
        """Returns the layer's formula, in groups of the remaining channels."""
        if not call.through_norms or not self.mixes(call) or call.inputs[0].axis not in self.axes(call):
            return None
        axis, shape = self.axes(call)[0], call.node.input_shapes[0]
        per_group = self._per_group(call)

        def grouped(values: Any, sizes: Sequence[Any]) -> Any:
            return ops.reshape(values, [*sizes[:axis], layer.groups, per_group, *sizes[axis + 1 :]])

        def masked(inputs: Any, **_: Any) -> Any:
            x = ops.cast(inputs, "float64" if inputs.dtype == "float64" else "float32")
            ones = [1] * len(shape)
            stays = ops.cast(grouped(kept, ones), x.dtype)
            reduced = [a for a in range(1, len(shape) + 1) if a != axis]
            y = grouped(x, ops.shape(x))

            def mean(values: Any) -> Any:
                return ops.mean(values * stays, axis=reduced, keepdims=True) / ops.mean(stays)

            centred = y - mean(y)
            y = centred * ops.rsqrt(mean(centred * centred) + layer.epsilon)
            y = _scaled(y, layer.gamma, layer.beta, lambda v: ops.cast(grouped(v, ones), x.dtype))
            return ops.cast(ops.reshape(y, ops.shape(x)), layer.compute_dtype)

        return masked


@handles(_layers.Normalization)
class InputNormalization(Handler):
    """Mean and variance adapted to the data; the layer stands at the inputs, whose channels stay anyway."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Fixes the stream."""
        call.fix(call.inputs[0].ids, "Normalization holds the statistics of the data for these channels")
        return (call.inputs[0],)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Returns the statistics, which are not parameters."""
        return tuple(WeightAxes(v, is_parameter=False) for v in call.layer.weights)

    def finish(self, layer: Any, call: Call) -> None:
        """Updates the layer's copy of its statistics, with which it computes."""
        layer.finalize_state()
