"""Dense layers, normalisation and other layers with weights along the channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfcompress.graph.handlers.base import Call, Handler, MacTerm, WeightAxes, handles, sizes
from tfcompress.graph.handlers.elementwise import fix_if_mixing
from tfcompress.graph.labels import Ids, Labels

__all__ = ["BatchNorm", "Dense", "PReLU", "StatisticsOverChannels"]

_layers = keras.layers


@handles(_layers.Dense)
class Dense(Handler):
    """Matrix product along the last axis."""

    def channel_axes(self, layer: Any, rank: int) -> frozenset[int] | None:
        """The last."""
        return frozenset({rank - 1})

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels on the last axis."""
        call.input_along(-1)
        ids = call.new_output(call.layer.units)
        fix_if_mixing(call, call.layer.activation, ids)
        return (Labels(ids, len(call.node.output_shapes[0]) - 1),)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Kernel `[inputs, units]`, bias `[units]`."""
        layer = call.layer
        kernel = WeightAxes(layer.kernel, reads={0: call.input_along(-1)}, writes={1: outputs[0].ids})
        return (kernel, WeightAxes(layer.bias, writes={0: outputs[0].ids})) if layer.use_bias else (kernel,)

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Positions x inputs x units."""
        positions = sizes(call.node.output_shapes[0][1:-1], call.node)
        return (MacTerm(positions, (call.input_along(-1), outputs[0].ids)),)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Callable[[Ids], int]) -> dict[str, Any]:
        """Fewer units."""
        return {"units": width(outputs[0].ids)}


@handles(_layers.BatchNormalization)
class BatchNorm(Handler):
    """Scale, offset and running statistics of each channel on its own."""

    keeps_axes = True

    def channel_axes(self, layer: Any, rank: int) -> frozenset[int] | None:
        """The one that it normalises."""
        axis = layer.axis[0] if isinstance(layer.axis, (tuple, list)) else layer.axis
        return frozenset({axis % rank})

    def _ids(self, call: Call) -> Ids:
        axis = call.layer.axis
        return call.input_along(axis[0] if isinstance(axis, (tuple, list)) else axis)

    def runs_on_slices(self, call: Call) -> bool:
        """With the channels last; else Keras reshapes its weights by the input's static width."""
        return call.inputs[0].axis == len(call.node.input_shapes[0]) - 1

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels pass through."""
        self._ids(call)
        return (call.inputs[0],)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """gamma, beta, moving mean and variance, each `[channels]`."""
        layer, axes = call.layer, {0: self._ids(call)}
        parameters = [v for v in (layer.gamma, layer.beta) if v is not None]
        statistics = (layer.moving_mean, layer.moving_variance)
        return (
            *(WeightAxes(v, carries=axes) for v in parameters),
            *(WeightAxes(v, carries=axes, is_parameter=False, momentum=layer.momentum) for v in statistics),
        )


@handles(_layers.PReLU)
class PReLU(Handler):
    """A learned slope: its weight has the input's shape, with ones along shared axes."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels pass through."""
        return (call.inputs[0],)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """alpha `[height, width, channels]`."""
        labels, alpha = call.inputs[0], call.layer.alpha
        axis = labels.axis - 1
        return (WeightAxes(alpha, carries={axis: labels.ids} if alpha.shape[axis] == len(labels) else {}),)


@handles(_layers.LayerNormalization, _layers.GroupNormalization, _layers.RMSNormalization, _layers.UnitNormalization)
class StatisticsOverChannels(Handler):
    """Normalises over the channels: removing one would change the statistics of the others."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Fixes the stream."""
        call.fix(call.inputs[0].ids, f"{call.node.type_name} normalises over the channels")
        return (call.inputs[0],)


@handles(_layers.Normalization)
class InputNormalization(Handler):
    """Mean and variance adapted to the data: it stands at the inputs, whose channels stay anyway."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Fixes the stream."""
        call.fix(call.inputs[0].ids, "Normalization holds the statistics of the data for these channels")
        return (call.inputs[0],)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Statistics, which are no parameters."""
        return tuple(WeightAxes(v, is_parameter=False) for v in call.layer.weights)

    def finish(self, layer: Any) -> None:
        """The layer computes with a copy of its statistics."""
        layer.finalize_state()
