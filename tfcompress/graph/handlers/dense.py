"""Dense layers and other layers with weights along the channels."""

from __future__ import annotations

from typing import Any

import keras

from tfcompress.graph.handlers.base import Call, Handler, MacTerm, WeightAxes, Width, adapted, handles, sizes
from tfcompress.graph.handlers.elementwise import fix_if_mixing
from tfcompress.graph.labels import Labels

__all__ = ["Dense", "PReLU"]

_layers = keras.layers


@handles(_layers.Dense)
class Dense(Handler):
    """Matrix product along the last axis."""

    def channel_axes(self, layer: Any, rank: int) -> frozenset[int] | None:
        """Returns the last axis."""
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
        kernels = adapted(layer, kernel)
        return (*kernels, WeightAxes(layer.bias, writes={0: outputs[0].ids})) if layer.use_bias else kernels

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Positions x inputs x units."""
        positions = sizes(call.node.output_shapes[0][1:-1], call.node)
        return (MacTerm(positions, (call.input_along(-1), outputs[0].ids)),)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Fewer units."""
        return {"units": width(outputs[0].ids)}


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
