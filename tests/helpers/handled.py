"""One call of an operation as its handler sees it, with labels that are counted from 0 input after input."""

import dataclasses
import re

import keras
import numpy as np

from tfcompress.graph import LayerGraph
from tfcompress.graph.handlers import base, handler_of
from tfcompress.graph.handlers.base import Call
from tfcompress.graph.labels import LabelBook, Labels


@dataclasses.dataclass
class Handled:
    """A call and the answers of its handler.

    Labels of the first input are 0, 1, ..., those of the second follow, and then what the layer makes.
    """

    call: Call
    handler: object
    outputs: tuple

    @property
    def layer(self):
        return self.call.layer

    @property
    def labels(self):
        """`[(axis, ids), ...]` of the outputs."""
        return [(labels.axis, labels.ids.tolist()) for labels in self.outputs]

    @property
    def fixed(self):
        """The labels that have to stay."""
        return sorted(self.call.book.fixed_reasons)

    @property
    def ties(self):
        """The labels that go together, where they are several."""
        members = {}
        for label, root in enumerate(self.call.book.roots().tolist()):
            members.setdefault(root, []).append(label)
        return [group for group in members.values() if len(group) > 1]

    @property
    def weights(self):
        """`{name: {kind: {axis: ids}}}` of the weights that are spoken of."""
        kinds = ("reads", "writes", "carries")
        return {
            weight.variable.path.split("/", 1)[-1]: {
                kind: {axis: ids.tolist() for axis, ids in getattr(weight, kind).items()}
                for kind in kinds
                if getattr(weight, kind)
            }
            for weight in self.handler.weights(self.call, self.outputs)
        }

    @property
    def macs(self):
        """`[(factor, widths...), ...]`."""
        return [(term.factor, *map(len, term.widths)) for term in self.handler.macs(self.call, self.outputs)]

    def config(self, *gone):
        """What changes in the config where these labels go."""
        return self.handler.config(self.call, self.outputs, _Width(gone))

    def arguments(self, *gone):
        """Arguments of the call where these labels go."""
        return self.handler.arguments(self.call, self.outputs, _Width(gone))


class _Width:
    def __init__(self, gone):
        self._gone = gone

    def __call__(self, ids):
        return int(self.stays(ids).sum())

    def stays(self, ids):
        return ~np.isin(ids, self._gone)


def handled(operation, *shapes, axes=None, dtype="float32", through_norms=False):
    """The only call that `operation(*inputs)` makes, channels on the last axis of each input or on `axes`."""
    inputs = [keras.Input(shape, dtype=dtype, name=f"input{number}") for number, shape in enumerate(shapes)]
    graph = LayerGraph.from_keras(keras.Model(inputs, operation(*inputs)))
    node = list(graph.nodes.values())[-1]
    book = LabelBook()
    labels = []
    for number, shape in enumerate(node.input_shapes):
        axis = len(shape) - 1 if axes is None else axes[number]
        labels.append(Labels(book.new(shape[axis]), axis))
    call = Call(node, tuple(labels), book, graph=graph, through_norms=through_norms)
    handler = handler_of(node.operation)
    return Handled(call, handler, handler.flow(call))


def registered(kind):
    """The operations of `keras.ops`, by the names of their classes, that a class of handlers serves."""
    return [name for name, handler in base._BY_OPERATION_NAME.items() if type(handler) is kind]


def written(name):
    """The name of the function of `keras.ops` that makes an operation of this class."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def keeps_channels_apart(function, *inputs, kept=(0, 2)):
    """Whether a function gives of some channels alone, which are the last axis, what it gives of them among all."""
    kept = list(kept)
    whole, alone = function(*inputs), function(*(x[..., kept] for x in inputs))
    whole, alone = (np.asarray(keras.ops.convert_to_numpy(outputs), "float64") for outputs in (whole, alone))
    return np.allclose(whole[..., kept], alone, rtol=1e-5, atol=1e-6, equal_nan=True)
