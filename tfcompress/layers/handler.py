"""The handler of `Mixture`: its channels stay; its weights and multiply-adds are those of all parts together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras

from tfcompress.graph.handlers import Call, Handler, MacTerm, WeightAxes, handler_of, handles
from tfcompress.graph.labels import LabelBook, Labels
from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef, readers_of
from tfcompress.layers.mixture import Mixture

__all__ = ["MixtureHandler"]


@handles(Mixture)
class MixtureHandler(Handler):
    """Leaves a mixture whole; counts it part by part, with the handlers of the layers inside."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Fixes all inputs and outputs."""
        return call.whole("a mixture has not chosen its part yet")

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Returns all weights of the parts, and `alpha`, which is not a parameter: choosing a part removes it."""
        own = [WeightAxes(call.layer.alpha, is_parameter=False)]
        for handler, inner, labels in _calls(call):
            known = {id(weight.variable): weight.is_parameter for weight in handler.weights(inner, labels)}
            for variable in getattr(inner.layer, "weights", ()):
                learned = variable.trainable or not inner.layer.trainable
                own.append(WeightAxes(variable, is_parameter=known.get(id(variable), learned)))
        return tuple(own)

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Returns one number: the sum of the parts."""
        terms = (term for handler, inner, labels in _calls(call) for term in handler.macs(inner, labels))
        macs = sum(term.factor * math.prod(map(len, term.widths)) for term in terms)
        return (MacTerm(macs, ()),) if macs else ()

    def counts_all(self, call: Call) -> bool:
        """Whether all parts are counted in full."""
        return all(handler.counts_all(inner) for handler, inner, _ in _calls(call))


def _calls(call: Call) -> Iterator[tuple[Handler, Call, tuple[Labels, ...]]]:
    """Yields the calls inside all parts, with labels of their own, which no plan names."""
    for part in call.layer.parts().values():
        chain = part if isinstance(part, tuple) else (part,)
        is_model = len(chain) == 1 and isinstance(chain[0], keras.Model)
        graph = LayerGraph.from_keras(chain[0]) if is_model else _chained(call, chain)
        book = LabelBook()
        labels: dict[TensorRef, Labels] = {}
        for node in graph.nodes.values():
            inner = Call(node, tuple(labels[ref] for ref in node.inputs), book, graph=graph)
            if node.is_input:
                axis = len(node.output_shapes[0]) - 1
                labels[node.outputs[0]] = Labels(book.new(node.output_shapes[0][axis] or 0), axis)
                continue
            handler = handler_of(node.operation)
            outputs = handler.flow(inner)
            labels.update(zip(node.outputs, outputs, strict=True))
            yield handler, inner, outputs


def _chained(call: Call, chain: tuple[keras.layers.Layer, ...]) -> LayerGraph:
    """Returns the graph of layers in sequence, built without calling any of them."""
    assert call.graph is not None
    nodes: dict[str, Node] = {}
    tensors: dict[TensorRef, Any] = {}
    read = []
    for index, (ref, shape) in enumerate(zip(call.node.inputs, call.node.input_shapes, strict=True)):
        dtype = call.graph.tensors[ref].dtype
        name = f"input_{index}"
        layer = keras.layers.InputLayer(batch_shape=shape, dtype=dtype)
        nodes[name] = Node(name, name, layer, (), {}, (), (), (shape,))
        tensors[TensorRef(name)] = keras.KerasTensor(shape, dtype=dtype)
        read.append(TensorRef(name))
    inputs = tuple(read)
    for index, layer in enumerate(chain):
        name = f"{index}_{layer.name}"
        shapes = tuple(tuple(tensors[ref].shape) for ref in read)
        output = tuple(layer.compute_output_shape(*_arguments(list(shapes))))
        nodes[name] = Node(name, name, layer, _arguments(read), {}, tuple(read), shapes, (output,))
        read = [TensorRef(name)]
        tensors[read[0]] = keras.KerasTensor(output, dtype=layer.compute_dtype)
    return LayerGraph("part", nodes, inputs, read[0], readers_of(nodes), tensors)


def _arguments(read: list[Any]) -> tuple[Any, ...]:
    return (read[0],) if len(read) == 1 else (list(read),)
