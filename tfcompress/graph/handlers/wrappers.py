"""Layers around other layers: Bidirectional, TimeDistributed and SpectralNormalization."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from tfcompress.graph.copying import config_of
from tfcompress.graph.handlers.base import Call, Handler, MacTerm, WeightAxes, Width, handler_of, handles, sizes
from tfcompress.graph.handlers.recurrent import Recurrent
from tfcompress.graph.labels import Labels

__all__ = ["Bidirectional", "SpectralNormalization", "TimeDistributed"]


def _units(layer: Any) -> int:
    handler = handler_of(layer)
    assert isinstance(handler, Recurrent)  # `serves` has looked
    return handler.units(layer)


@handles(keras.layers.Bidirectional)
class Bidirectional(Handler):
    """A recurrent layer forwards and another backwards.

    Keras gives both the same width, so unit i of one and unit i of the other are one channel.
    """

    def serves(self, operation: Any) -> bool:
        """Whether both layers are known, equally wide, and have their channels where Keras concatenates."""
        pair = (operation.forward_layer, operation.backward_layer)
        return (
            all(isinstance(handler_of(layer), Recurrent) for layer in pair)
            and len({*map(_units, pair)}) == 1
            and all(getattr(layer, "data_format", "") != "channels_first" for layer in pair)
        )

    def runs_on_slices(self, call: Call) -> bool:
        """False, because the layers inside do not run on slices."""
        return False

    def _directions(self, call: Call) -> list[tuple[Handler, Call]]:
        """Returns the two inner calls; each gets half of the initial states."""
        node = call.node
        units = _units(call.layer.forward_layer)
        states = call.inputs_of("initial_state")
        calls = []
        for layer, mine in (
            (call.layer.forward_layer, states[: len(states) // 2]),
            (call.layer.backward_layer, states[len(states) // 2 :]),
        ):
            shapes = layer.compute_output_shape(node.input_shapes[0])
            indices = [0, *mine, *call.inputs_of("mask")]
            refs = tuple(node.inputs[i] for i in indices)
            kwargs: dict[str, Any] = {"initial_state": list(refs[1 : 1 + len(mine)])} if mine else {}
            if len(indices) > 1 + len(mine):
                kwargs["mask"] = refs[-1]
            inner = dataclasses.replace(
                node,
                operation=layer,
                args=refs[:1],
                kwargs=kwargs,
                inputs=refs,
                input_shapes=tuple(node.input_shapes[i] for i in indices),
                output_shapes=tuple(map(tuple, shapes)) if layer.return_state else (tuple(shapes),),
            )
            written = call.written[:units] if call.written is not None else None
            labels = tuple(call.inputs[i] for i in indices)
            calls.append((handler_of(layer), dataclasses.replace(call, node=inner, inputs=labels, written=written)))
        return calls

    def _inner(self, call: Call, outputs: tuple[Labels, ...]) -> list[tuple[Handler, Call, tuple[Labels, ...]]]:
        directions = self._directions(call)
        units = _units(call.layer.forward_layer)
        ids = outputs[0].ids if len(outputs[0]) == units else outputs[0].ids[:units]
        labels = (Labels(ids, outputs[0].axis),)
        return [(handler, inner, labels) for handler, inner in directions]

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Returns the labels of both layers, which are equal, concatenated or merged."""
        (handler, forwards), (backward_handler, backwards) = self._directions(call)
        first, *states = handler.flow(forwards)
        # The same labels for the same units, whatever layer they are in.
        backward_handler.flow(dataclasses.replace(backwards, written=first.ids))
        if call.layer.merge_mode is None:
            return (first, first, *states, *states)
        merged = Labels(np.tile(first.ids, 2), first.axis) if call.layer.merge_mode == "concat" else first
        return (merged, *states, *states)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """The weights of both layers."""
        return tuple(w for handler, inner, labels in self._inner(call, outputs) for w in handler.weights(inner, labels))

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """The terms of both layers."""
        return tuple(m for handler, inner, labels in self._inner(call, outputs) for m in handler.macs(inner, labels))

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns fewer units for both."""
        config = config_of(call.layer)
        for key, (handler, inner, labels) in zip(("layer", "backward_layer"), self._inner(call, outputs), strict=True):
            entry = {k: v for k, v in config[key].items() if k != "build_config"}  # it speaks of the old widths
            config[key] = {**entry, "config": {**entry["config"], **handler.config(inner, labels, width)}}
        return {key: config[key] for key in ("layer", "backward_layer")}


class _Around(Handler):
    """A layer around a single other one, which the inner layer's own handler describes."""

    def serves(self, operation: Any) -> bool:
        """Whether the layer inside is known."""
        return handler_of(operation.layer).known

    def _inner(self, call: Call) -> tuple[Handler, Call]:
        raise NotImplementedError

    def _with_outputs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[Handler, Call, tuple[Labels, ...]]:
        return (*self._inner(call), outputs)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns the inner layer's changed config as the value of `layer`."""
        handler, inner, labels = self._with_outputs(call, outputs)
        return {"layer": {**config_of(inner.layer), **handler.config(inner, labels, width)}}

    def create(self, call: Call, config: dict[str, Any]) -> Any:
        """Returns a wrapper around a new inner layer, which its own handler makes."""
        handler, inner = self._inner(call)
        return type(call.layer)(handler.create(inner, config.pop("layer")), **config)

    def finish(self, layer: Any, call: Call) -> None:
        """Finishes the inner layer."""
        handler, inner = self._inner(call)
        handler.finish(layer.layer, inner)


@handles(keras.layers.TimeDistributed)
class TimeDistributed(_Around):
    """A layer at every step: the layer's own handler is used, without the axis of the steps."""

    def runs_on_slices(self, call: Call) -> bool:
        """Returns True if the inner layer runs on slices without its width in the config."""
        handler, inner = self._inner(call)
        return not handler.width_attributes and handler.runs_on_slices(inner)

    def _inner(self, call: Call) -> tuple[Handler, Call]:
        node = call.node
        shapes = [
            tuple((shape[0], *shape[2:]) for shape in some) for some in (node.input_shapes[:1], node.output_shapes)
        ]
        for index in call.inputs_of("mask"):
            call.fix(call.inputs[index].ids, "steps that are masked")
        labels = call.inputs[0]
        if labels.axis == 1:
            labels = Labels(call.input_along(-1), len(node.input_shapes[0]) - 1)
        inner = dataclasses.replace(
            node,
            operation=call.layer.layer,
            args=node.inputs[:1],
            kwargs={},
            inputs=node.inputs[:1],
            input_shapes=shapes[0],
            output_shapes=shapes[1],
        )
        moved = (Labels(labels.ids, labels.axis - 1),)
        # A normalisation inside cannot be told which channels are masked: it keeps its channels.
        return handler_of(inner.operation), dataclasses.replace(call, node=inner, inputs=moved, through_norms=False)

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """The inner layer's labels, one axis further on."""
        handler, inner = self._inner(call)
        return tuple(Labels(labels.ids, labels.axis + 1) for labels in handler.flow(inner))

    def _with_outputs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[Handler, Call, tuple[Labels, ...]]:
        return (*self._inner(call), tuple(Labels(labels.ids, labels.axis - 1) for labels in outputs))

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Returns the inner layer's weights; its statistics are updated at every step, not per batch."""
        handler, inner, labels = self._with_outputs(call, outputs)
        return tuple(dataclasses.replace(weight, momentum=None) for weight in handler.weights(inner, labels))

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Returns steps x the inner layer's MACs."""
        handler, inner, labels = self._with_outputs(call, outputs)
        terms = handler.macs(inner, labels)
        steps = sizes(call.node.input_shapes[0][1:2], call.node) if terms else 1
        return tuple(MacTerm(steps * term.factor, term.widths) for term in terms)


@handles(keras.layers.SpectralNormalization)
class SpectralNormalization(_Around):
    """A layer whose kernel is divided by its largest singular value in training; otherwise the layer itself.

    The vector of the power iteration, `vector_u` `[1, last axis of the kernel]`, is cut like that axis.
    """

    def runs_on_slices(self, call: Call) -> bool:
        """False: the kernel's static shape is kept for training."""
        return False

    def _inner(self, call: Call) -> tuple[Handler, Call]:
        first = call.node.inputs[:1]
        node = dataclasses.replace(call.node, operation=call.layer.layer, args=first, kwargs={}, inputs=first)
        return handler_of(node.operation), dataclasses.replace(call, node=node)

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """The inner layer's labels."""
        handler, inner = self._inner(call)
        outputs = handler.flow(inner)
        if call.node.kwargs.get("training"):
            for labels in (*call.inputs, *outputs):
                call.fix(labels.ids, "SpectralNormalization in training takes the norm of the whole kernel")
        return outputs

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Returns the inner layer's weights, and the vector of the power iteration, which is not a parameter."""
        handler, inner = self._inner(call)
        weights = handler.weights(inner, outputs)
        last = len(call.layer.kernel.shape) - 1
        axes = [weight.axes for weight in weights if weight.variable is call.layer.kernel]
        carries = {1: axes[0][last]} if axes and last in axes[0] else {}
        return (*weights, WeightAxes(call.layer.vector_u, carries=carries, is_parameter=False))

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """The terms of the inner layer."""
        handler, inner = self._inner(call)
        return handler.macs(inner, outputs)
