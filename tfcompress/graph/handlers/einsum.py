"""EinsumDense: a matrix product along any axes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tfcompress.graph.handlers.base import Call, Handler, MacTerm, WeightAxes, Width, adapted, handles, sizes
from tfcompress.graph.handlers.elementwise import fix_if_mixing
from tfcompress.graph.labels import Ids, Labels

__all__ = ["EinsumDense"]

_EQUATION = re.compile(
    r"(?P<left>\.\.\.)?(?P<inputs>[a-zA-Z]+)(\.\.\.)?,(?P<kernel>[a-zA-Z]+)->(\.\.\.)?(?P<outputs>[a-zA-Z]+)(\.\.\.)?"
)


@dataclass(frozen=True)
class _Equation:
    """Names of the axes of input, kernel and output; axes behind an ellipsis have names of two characters."""

    inputs: tuple[str, ...]
    kernel: str
    outputs: tuple[str, ...]
    letters: str  # of the output, without those behind an ellipsis
    elided_left: int

    @classmethod
    def of(cls, call: Call) -> _Equation:
        match = _EQUATION.fullmatch(call.layer.equation)
        assert match is not None  # `serves` has looked
        left, inputs, kernel, outputs = match.group("left", "inputs", "kernel", "outputs")
        elided = tuple(f"#{i}" for i in range(len(call.node.input_shapes[0]) - len(inputs)))
        before, after = (elided, ()) if left else ((), elided)
        return cls((*before, *inputs, *after), kernel, (*before, *outputs, *after), outputs, len(before))

    def new(self) -> list[str]:
        """The axes that the kernel adds."""
        return [name for name in self.outputs if name in self.kernel and name not in self.inputs]


def _weight_axes(variable: Any, equation: _Equation, labelled: dict[str, Ids], axes: Sequence[str]) -> WeightAxes:
    """Returns the labelled axes of a weight whose axes have these names."""
    own = {name: ids for name, ids in labelled.items() if name in axes}

    def where(inside: bool, outside: bool) -> dict[int, Ids]:
        return {
            axes.index(name): ids
            for name, ids in own.items()
            if (name in equation.inputs, name in equation.outputs) == (inside, outside)
        }

    return WeightAxes(variable, reads=where(True, False), writes=where(False, True), carries=where(True, True))


@handles(keras.layers.EinsumDense)
class EinsumDense(Handler):
    """The input's channels are contracted, or keep their place; the output's channels are the last new axis.

    If the kernel adds several axes (heads and their width), all but the last stay whole.
    """

    def serves(self, operation: Any) -> bool:
        """Whether each axis has a name of its own."""
        match = _EQUATION.fullmatch(operation.equation)
        return match is not None and all(
            len(set(part)) == len(part) for part in match.group("inputs", "kernel", "outputs")
        )

    def _channel(self, call: Call, equation: _Equation) -> str:
        """Returns the name of the input's channel axis."""
        return equation.inputs[call.inputs[0].axis]

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels on the last new axis; labels that are not contracted stay on their axis."""
        equation, labels, shape = _Equation.of(call), call.inputs[0], call.node.output_shapes[0]
        channel, new = self._channel(call, equation), equation.new()
        if channel in equation.outputs:
            output = Labels(labels.ids, equation.outputs.index(channel))
        elif new:
            axis = equation.outputs.index(new[-1])
            output = Labels(call.new_output(shape[axis] or 0), axis)
        else:
            output = Labels(call.book.new(shape[-1] or 0), len(shape) - 1)
            call.fix(output.ids, "the last axis of an EinsumDense that adds none")
        if channel not in equation.outputs and channel not in equation.kernel:
            call.fix(labels.ids, "EinsumDense sums over the channels")
        fix_if_mixing(call, call.layer.activation, output.ids)
        return (output,)

    def _labelled(self, call: Call, equation: _Equation, outputs: tuple[Labels, ...]) -> dict[str, Ids]:
        """Returns labels by the name of their axis, for input and output channels."""
        labelled = {self._channel(call, equation): call.inputs[0].ids}
        name = equation.outputs[outputs[0].axis]
        if name in equation.kernel:
            labelled[name] = outputs[0].ids
        return labelled

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Kernel with the axes of its letters; bias with those of the output from its first letter on."""
        equation, layer = _Equation.of(call), call.layer
        labelled = self._labelled(call, equation, outputs)
        kernels = adapted(layer, _weight_axes(layer.kernel, equation, labelled, equation.kernel))
        if layer.bias is None:
            return kernels
        first = min(equation.letters.index(name) for name in layer.bias_axes)
        axes = [name if name in layer.bias_axes else "" for name in equation.letters[first:]]  # others have length 1
        return (*kernels, _weight_axes(layer.bias, equation, labelled, axes))

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """The product of all axes but the batch."""
        equation = _Equation.of(call)
        labelled = self._labelled(call, equation, outputs)
        lengths = dict(zip(equation.inputs, call.node.input_shapes[0], strict=True))
        lengths.update(zip(equation.kernel, call.layer.kernel.shape, strict=True))
        rest = [size for name, size in lengths.items() if name not in labelled and name != equation.inputs[0]]
        return (MacTerm(sizes(tuple(rest), call.node), tuple(labelled.values())),)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns a shorter axis of the output, if the layer's config has its length."""
        equation, axis = _Equation.of(call), outputs[0].axis
        shape = list(call.layer.partial_output_shape)
        if equation.outputs[axis] in equation.letters:
            place = axis - max(equation.elided_left, 1)
            if shape[place] is not None:
                shape[place] = width(outputs[0].ids)
        return {"output_shape": tuple(shape)}
