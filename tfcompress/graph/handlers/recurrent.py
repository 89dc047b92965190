"""Recurrent layers: LSTM, GRU, SimpleRNN and the ConvLSTMs."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from tfcompress.graph.handlers.base import Call, Handler, MacTerm, WeightAxes, Width, handles, sizes
from tfcompress.graph.handlers.elementwise import fix_if_mixing
from tfcompress.graph.labels import Labels

__all__ = ["ConvolutionalRecurrent", "Masking", "Recurrent"]

_layers = keras.layers


@handles(_layers.LSTM, _layers.GRU, _layers.SimpleRNN)
class Recurrent(Handler):
    """Gates are concatenated in each weight; units are the channels of states, read and written by every gate."""

    width_name = "units"

    def runs_on_slices(self, call: Call) -> bool:
        """False: states of zeros are made with the layer's own width."""
        return False

    def _channel_axis(self, call: Call, rank: int) -> int:
        return rank - 1

    def units(self, layer: Any) -> int:
        """Returns the number of units of the layer."""
        return int(getattr(layer, self.width_name))

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels, the same for the outputs and for all states, given or returned."""
        layer, shapes = call.layer, call.node.input_shapes
        call.input_along(self._channel_axis(call, len(shapes[0])))
        ids = call.new_output(self.units(layer))
        for activation in (layer.activation, getattr(layer, "recurrent_activation", None)):
            fix_if_mixing(call, activation, ids)
        for index in call.inputs_of("initial_state"):
            call.book.tie(ids, call.input_along(self._state_axis(call, len(shapes[index])), index))
        for index in call.inputs_of("mask"):
            call.fix(call.inputs[index].ids, "steps that are masked")
        ranks = [len(shape) for shape in call.node.output_shapes]
        first = Labels(ids, (self._channel_axis if layer.return_sequences else self._state_axis)(call, ranks[0]))
        return (first, *(Labels(ids, self._state_axis(call, rank)) for rank in ranks[1:]))

    def _state_axis(self, call: Call, rank: int) -> int:
        return rank - 1

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Kernel `[..., inputs, gates * units]`, recurrent kernel `[..., units, gates * units]`, bias.

        The bias is `[gates * units]`, that of a GRU with `reset_after` `[2, gates * units]`.
        """
        cell, ids = call.layer.cell, outputs[0].ids
        rank = len(cell.kernel.shape)
        inputs = call.input_along(self._channel_axis(call, len(call.node.input_shapes[0])))
        gates = np.tile(ids, cell.kernel.shape[-1] // len(ids))
        kernels = (
            WeightAxes(cell.kernel, reads={rank - 2: inputs}, writes={rank - 1: gates}),
            WeightAxes(cell.recurrent_kernel, reads={rank - 2: ids}, writes={rank - 1: gates}),
        )
        if not cell.use_bias:
            return kernels
        return (*kernels, WeightAxes(cell.bias, writes={len(cell.bias.shape) - 1: gates}))

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Steps x (inputs + units) x gates x units."""
        shape, kernel, ids = call.node.input_shapes[0], call.layer.cell.kernel, outputs[0].ids
        gates = kernel.shape[-1] // len(ids)
        factor = sizes((shape[1], *self._positions(call)), call.node) * gates * math.prod(kernel.shape[:-2])
        inputs = call.input_along(self._channel_axis(call, len(shape)))
        return (MacTerm(factor, (inputs, ids)), MacTerm(factor, (ids, ids)))

    def _positions(self, call: Call) -> tuple[int | None, ...]:
        return ()

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Fewer units."""
        return {self.width_name: width(outputs[0].ids)}


@handles(_layers.ConvLSTM1D, _layers.ConvLSTM2D, _layers.ConvLSTM3D)
class ConvolutionalRecurrent(Recurrent):
    """As an LSTM, with convolutions for matrix products; that of the state is at the output's positions."""

    width_name = "filters"

    def _channel_axis(self, call: Call, rank: int) -> int:
        return 2 if call.layer.data_format == "channels_first" else rank - 1

    def _state_axis(self, call: Call, rank: int) -> int:
        return 1 if call.layer.data_format == "channels_first" else rank - 1

    def _positions(self, call: Call) -> tuple[int | None, ...]:
        shape = call.node.output_shapes[0][2 if call.layer.return_sequences else 1 :]
        return shape[1:] if call.layer.data_format == "channels_first" else shape[:-1]


@handles(_layers.Masking)
class Masking(Handler):
    """Skips steps whose channels all have one value: which steps those are depends on all channels."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Fixes the stream."""
        call.fix(call.inputs[0].ids, "Masking compares all channels with its value")
        return (call.inputs[0],)
