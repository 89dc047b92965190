"""The bridge: a Keras 3 model made of tf_keras layers, and its weights back again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras

from tfcompress.graph import LayerGraph, Node, TensorRef
from tfcompress.graph.layer_graph import map_refs
from tfcompress.tfmot_bridge._tfmot import load
from tfcompress.tfmot_bridge.carrying import check_node, legacy_layer, shell_for
from tfcompress.training.own_loss import InPlaceOf

__all__ = ["Bridged", "Legacy", "Pair", "check_graph", "legacy_of"]

Wrap = Callable[[Node, Any], Any]
"""A function of a node and its tf_keras layer, built, or its `Shell`, that returns what is called in its place."""


class Pair(NamedTuple):
    """A weight on both sides of the bridge.

    Attributes:
        own: the `keras.Variable` of the Keras 3 model.
        carried: the `tf.Variable` of the tf_keras layer; for a `Shell` the one that `own` itself holds.
    """

    own: Any
    carried: Any


class Legacy(NamedTuple):
    """A tf_keras model that computes what a Keras 3 model computes.

    Attributes:
        model: the tf_keras model; its inputs and outputs are those of the graph, flat.
        layers: the tf_keras layer of each Keras 3 layer that was carried as such, by layer name, before any wrapping.
        pairs: the weights on both sides.
        constraints: functions of a weight that are applied after each training step, by the id of the Keras 3 weight,
            in place of its own constraint.
        values: functions that return what a Keras 3 weight is to be, by its id, where that is not the carried one.
    """

    model: Any
    layers: Mapping[str, Any]
    pairs: tuple[Pair, ...]
    constraints: Mapping[int, Callable[[Any], Any]] = MappingProxyType({})
    values: Mapping[int, Callable[[], Any]] = MappingProxyType({})

    def carry_back(self) -> None:
        """Gives the Keras 3 model the weights of the tf_keras model."""
        for own, carried in self.pairs:
            if id(own) in self.values:
                own.assign(self.values[id(own)]())
            elif own.value is not carried:
                own.assign(keras.ops.convert_to_tensor(carried) + 0)  # masks leave zeros with a sign


def check_graph(graph: LayerGraph) -> None:
    """Refuses a model with a layer that cannot be carried.

    Raises:
        CannotBeCarried: names the first such layer.
    """
    for node in graph.nodes.values():
        check_node(node)


def legacy_of(graph: LayerGraph, wrap: Wrap | None = None) -> Legacy:
    """Returns a tf_keras model with the layers, operations and weights of a Keras 3 model.

    Args:
        graph: the graph of the model, whose nested models are flat.
        wrap: called once for each layer that is carried to its tf_keras class and for each `Shell`, to wrap it.

    Raises:
        CannotBeCarried: a layer cannot be carried; the message names it.
    """
    check_graph(graph)
    layers: dict[str, Any] = {}
    stands: dict[str, Any] = {}
    pairs: list[Pair] = []
    tensors: dict[TensorRef, Any] = {}
    for node in graph.nodes.values():
        if node.is_input:
            (ref,) = node.outputs
            tensors[ref] = load().keras.Input(graph.shape(ref)[1:], dtype=graph.tensors[ref].dtype)
            continue
        if node.layer_name not in stands:
            layer = legacy_layer(node)
            if layer is not None:
                layers[node.layer_name] = layer
                pairs += [Pair(*both) for both in zip(node.operation.weights, layer.weights, strict=True)]
                stands[node.layer_name] = layer if wrap is None else wrap(node, layer)
            else:
                pairs += [Pair(v, v.value) for v in getattr(node.operation, "variables", ())]
                stands[node.layer_name] = None
        layer = stands[node.layer_name]
        if layer is None:
            given = [tensors[ref] for ref in dict.fromkeys(node.inputs)]
            shell = shell_for(node)
            outputs = (shell if wrap is None else wrap(node, shell))(given if len(given) > 1 else given[0])
        else:
            outputs = layer(map_refs(tensors.__getitem__, node.args[0]))
        tensors.update(zip(node.outputs, keras.tree.flatten(outputs), strict=True))
    inputs, outputs = ([tensors[ref] for ref in refs] for refs in (graph.input_refs, graph.output_refs))
    return Legacy(load().keras.Model(inputs, outputs), layers, tuple(pairs))


class Bridged(InPlaceOf):
    """A Keras 3 model that runs a tf_keras model, whose variables are its own: `fit` trains it as any other.

    Args:
        student: the model in whose place it is trained; it gets the weights by `carry_back`.
        graph: the graph of `student`.
        legacy: the tf_keras model, which may have further variables, such as masks.
    """

    def __init__(self, student: keras.Model, graph: LayerGraph, legacy: Legacy) -> None:
        super().__init__(name=f"{student.name}_on_keras_2")
        self._held = lambda: (student, graph, legacy)  # a function, as Keras would look for layers in attributes
        learned = {id(weight) for weight in legacy.model.trainable_weights}
        known = {id(pair.carried): pair.own for pair in legacy.pairs}
        variables = [*legacy.model.weights, *(pair.carried for pair in legacy.pairs)]
        for carried in {id(variable): variable for variable in variables}.values():
            own = known.get(id(carried))
            if own is not None and own.value is carried:
                self._track_variable(own)
                continue
            trainable = id(carried) in learned and (own is None or own.trainable)
            variable = keras.Variable(carried, trainable=trainable, dtype=carried.dtype.name, name=_name(carried))
            if own is not None:
                variable.regularizer = own.regularizer
                variable.constraint = legacy.constraints.get(id(own), own.constraint)
            self._track_variable(variable)
        self.output_names = list(getattr(student, "output_names", None) or ())
        self.built = True

    @property
    def learner(self) -> keras.Model:
        """The model in whose place this one is trained, with the present weights."""
        student, _, legacy = self._held()
        legacy.carry_back()
        return student

    @property
    def legacy(self) -> Legacy:
        """The tf_keras model and its weights."""
        held: Legacy = self._held()[2]
        return held

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the outputs in the structure of the student's."""
        student, graph, legacy = self._held()
        if isinstance(inputs, dict) and not isinstance(graph.inputs, dict):
            inputs = [inputs[tensor.name] for tensor in student.inputs]
        flat = [
            keras.ops.cast(given, graph.tensors[ref].dtype)
            for given, ref in zip(keras.tree.flatten(inputs), graph.input_refs, strict=True)
        ]
        outputs = legacy.model(flat if len(flat) > 1 else flat[0], training=bool(training))
        values = dict(zip(graph.output_refs, keras.tree.flatten(outputs), strict=True))
        return map_refs(values.__getitem__, graph.outputs)


def _name(variable: Any) -> str:
    return str(variable.name).split(":")[0].replace("/", "_")
