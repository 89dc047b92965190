"""Convolutions of every kind."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from tfcompress.graph.handlers.base import (
    Call,
    Handler,
    MacTerm,
    WeightAxes,
    Width,
    adapted,
    channel_axis,
    handles,
    sizes,
)
from tfcompress.graph.handlers.elementwise import fix_if_mixing
from tfcompress.graph.labels import Ids, Labels

__all__ = ["Convolution", "DepthwiseConvolution", "SeparableConvolution", "TransposedConvolution"]

_layers = keras.layers


def _spatial(shape: tuple[int | None, ...], axis: int) -> tuple[int | None, ...]:
    return tuple(size for i, size in enumerate(shape) if i not in (0, axis))


class _Convolutional(Handler):
    def _axis(self, call: Call) -> int:
        return channel_axis(call.layer, len(call.node.input_shapes[0]))

    def _positions(self, call: Call) -> int:
        return sizes(_spatial(call.node.output_shapes[0], self._axis(call)), call.node)

    def _output(self, call: Call, ids: Ids) -> tuple[Labels, ...]:
        fix_if_mixing(call, call.layer.activation, ids)
        return (Labels(ids, self._axis(call)),)


@handles(_layers.Conv1D, _layers.Conv2D, _layers.Conv3D)
class Convolution(_Convolutional):
    """Plain and grouped convolutions; a grouped one can lose only whole groups."""

    width_attributes = ("filters",)

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels; in a grouped convolution each group's inputs and outputs are tied together."""
        layer = call.layer
        inputs = call.input_along(self._axis(call))
        outputs = call.new_output(layer.filters)
        if layer.groups > 1:
            for group_in, group_out in zip(
                inputs.reshape(layer.groups, -1), outputs.reshape(layer.groups, -1), strict=True
            ):
                call.book.tie_all(np.concatenate([group_in, group_out]))
        return self._output(call, outputs)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Kernel `[..., inputs / groups, filters]`, bias `[filters]`."""
        layer = call.layer
        out = outputs[0].ids
        rank = len(layer.kernel.shape)
        reads = {rank - 2: call.input_along(self._axis(call))} if layer.groups == 1 else {}
        kernels = adapted(layer, WeightAxes(layer.kernel, reads=reads, writes={rank - 1: out}))
        return (*kernels, WeightAxes(layer.bias, writes={0: out})) if layer.use_bias else kernels

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Kernel positions x output positions x inputs / groups x filters."""
        layer = call.layer
        factor = math.prod(layer.kernel_size) * self._positions(call)
        if layer.groups == 1:
            return (MacTerm(factor, (call.input_along(self._axis(call)), outputs[0].ids)),)
        return (MacTerm(factor * layer.kernel.shape[-2], (outputs[0].ids,)),)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Fewer filters, and groups."""
        layer = call.layer
        filters = width(outputs[0].ids)
        groups = filters * layer.groups // layer.filters if layer.groups > 1 else 1
        return {"filters": filters, "groups": groups}


@handles(_layers.Conv1DTranspose, _layers.Conv2DTranspose, _layers.Conv3DTranspose)
class TransposedConvolution(_Convolutional):
    """Transposed convolutions: kernel `[..., filters, inputs]`."""

    def runs_on_slices(self, call: Call) -> bool:
        """False: Keras computes the output's shape from static widths."""
        return False

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels."""
        call.input_along(self._axis(call))
        return self._output(call, call.new_output(call.layer.filters))

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Kernel `[..., filters, inputs]`, bias `[filters]`."""
        layer = call.layer
        rank = len(layer.kernel.shape)
        out = outputs[0].ids
        kernel = WeightAxes(layer.kernel, reads={rank - 1: call.input_along(self._axis(call))}, writes={rank - 2: out})
        return (kernel, WeightAxes(layer.bias, writes={0: out})) if layer.use_bias else (kernel,)

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Kernel positions x input positions x inputs x filters."""
        axis = self._axis(call)
        positions = sizes(_spatial(call.node.input_shapes[0], axis), call.node)
        factor = math.prod(call.layer.kernel_size) * positions
        return (MacTerm(factor, (call.input_along(axis), outputs[0].ids)),)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Fewer filters."""
        return {"filters": width(outputs[0].ids)}


@handles(_layers.DepthwiseConv1D, _layers.DepthwiseConv2D)
class DepthwiseConvolution(_Convolutional):
    """One or several filters per channel: the output channels are the input's."""

    def runs_on_slices(self, call: Call) -> bool:
        """Returns False with a bias, which Keras reshapes by the input's static width."""
        return not call.layer.use_bias

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Each input label, `depth_multiplier` times."""
        ids = call.input_along(self._axis(call))
        return self._output(call, _multiplied(ids, call.layer.depth_multiplier))

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Kernel `[..., inputs, multiplier]`, bias `[inputs * multiplier]`."""
        layer = call.layer
        rank = len(layer.kernel.shape)
        kernel = WeightAxes(layer.kernel, carries={rank - 2: call.input_along(self._axis(call))})
        return (kernel, WeightAxes(layer.bias, carries={0: outputs[0].ids})) if layer.use_bias else (kernel,)

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Kernel positions x output positions x output channels."""
        return (MacTerm(math.prod(call.layer.kernel_size) * self._positions(call), (outputs[0].ids,)),)


@handles(_layers.SeparableConv1D, _layers.SeparableConv2D)
class SeparableConvolution(_Convolutional):
    """A depthwise convolution and a 1x1 one in a single layer."""

    width_attributes = ("filters",)

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels."""
        call.input_along(self._axis(call))
        return self._output(call, call.new_output(call.layer.filters))

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Depthwise kernel `[..., inputs, multiplier]`, pointwise `[..., inputs * multiplier, filters]`, bias."""
        layer = call.layer
        ids = call.input_along(self._axis(call))
        rank = len(layer.depthwise_kernel.shape)
        out = outputs[0].ids
        middle = _multiplied(ids, layer.depth_multiplier)
        weights = (
            WeightAxes(layer.depthwise_kernel, carries={rank - 2: ids}),
            WeightAxes(layer.pointwise_kernel, reads={rank - 2: middle}, writes={rank - 1: out}),
        )
        return (*weights, WeightAxes(layer.bias, writes={0: out})) if layer.use_bias else weights

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """The depthwise part at the output's resolution, and the pointwise part."""
        layer = call.layer
        middle = _multiplied(call.input_along(self._axis(call)), layer.depth_multiplier)
        positions = self._positions(call)
        return (
            MacTerm(math.prod(layer.kernel_size) * positions, (middle,)),
            MacTerm(positions, (middle, outputs[0].ids)),
        )

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Fewer filters."""
        return {"filters": width(outputs[0].ids)}


def _multiplied(ids: Ids, multiplier: int) -> Ids:
    return ids if multiplier == 1 else np.repeat(ids, multiplier)
