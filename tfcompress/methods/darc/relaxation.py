"""The relaxed network, with mixtures in place of units, and the weights that all of its forms share."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from tfcompress.graph import TensorRef
from tfcompress.layers import Mixture
from tfcompress.methods.darc.units import ORIGINAL, Choice, Unit, as_one
from tfcompress.network import Network
from tfcompress.plan import Plan, ReplaceLayers
from tfcompress.replacements import Replacement
from tfcompress.rewrite import apply
from tfcompress.rewrite.verify import verify
from tfcompress.training.initial import draw_anew

__all__ = [
    "Penalized",
    "Relaxed",
    "Remaining",
    "Weights",
    "check_student",
    "chosen_network",
    "chosen_student",
    "first_weights",
    "plan_of",
    "relax",
]

Remaining = Mapping[str, Sequence[str]]
"""The remaining alternatives of each unit, by its name."""

Arrays = list[np.ndarray]
_TOLERANCE = 1e-3
_NUMBERS_READ = 2**25  # at once, of what units read: 128 MiB


@dataclasses.dataclass(frozen=True)
class Penalized:
    """The penalty of a relaxed network: `strength * sum of costs * alpha`, Equation (1) with its constraint relaxed.

    Attributes:
        costs: the cost of each alternative, for each unit.
        strength: lambda.
        weighting: "simplex", or "softmax" as in DARTS.
        alpha_rate: learning rate of alpha relative to that of the weights.
    """

    costs: Mapping[str, Mapping[str, float]]
    strength: float = 0.0
    weighting: Literal["simplex", "softmax"] = "simplex"
    alpha_rate: float = 1.0


class Weights:
    """Weights by their owner: layers outside of all units, or an alternative of a unit.

    A network that changes its form between blocks of epochs is rebuilt, and gets its weights from here.
    """

    def __init__(self) -> None:
        self._layers: dict[str, Arrays] = {}
        self._alternatives: dict[tuple[str, str], dict[str, Arrays]] = {}
        self.alpha: dict[str, dict[str, float]] = {}

    def copy(self) -> Weights:
        """Returns a copy of the weights, to continue from."""
        new = Weights()
        new._layers, new._alternatives = dict(self._layers), dict(self._alternatives)
        new.alpha = {unit: dict(values) for unit, values in self.alpha.items()}
        return new

    def update(self, later: Weights) -> None:
        """Takes over all weights of another store."""
        self._layers.update(later._layers)
        self._alternatives.update(later._alternatives)
        self.alpha.update(later.alpha)

    def take_layers(self, network: Network, without: Sequence[str]) -> None:
        """Stores the weights of all layers of a network except some."""
        self._layers.update(
            {name: _values(layer) for name, layer in network.graph.operations.items() if name not in set(without)}
        )

    def take(self, unit: Unit, alternative: str, layers: Sequence[Any]) -> None:
        """Stores the weights of an alternative's layers, by their names."""
        self._alternatives[unit.name, alternative] = {layer.name: _values(layer) for layer in _inner(layers)}

    def give_layers(self, network: Network) -> None:
        """Loads the weights of layers outside of units."""
        for name, layer in network.graph.operations.items():
            if name in self._layers:
                _assign(layer, self._layers[name])

    def give(self, unit: Unit, alternative: str, layers: Mapping[str, Any]) -> None:
        """Loads the weights of an alternative's layers, given by their names in it."""
        for name, arrays in self._alternatives[unit.name, alternative].items():
            _assign(layers[name], arrays)


def _values(layer: Any) -> Arrays:
    return [keras.ops.convert_to_numpy(variable) for variable in getattr(layer, "variables", ())]


def _assign(layer: Any, arrays: Arrays) -> None:
    for variable, value in zip(getattr(layer, "variables", ()), arrays, strict=True):
        variable.assign(value)


def _inner(layers: Sequence[Any]) -> list[Any]:
    """Returns the layers of an alternative: for a Functional or Sequential one, its layers without the inputs."""
    each = [inner for layer in layers for inner in (layer.layers if isinstance(layer, keras.Model) else [layer])]
    return [layer for layer in each if not isinstance(layer, keras.layers.InputLayer)]  # named anew each time


@dataclasses.dataclass(frozen=True, eq=False)
class Relaxed:
    """A relaxed network.

    Attributes:
        network: the network, with mixtures in place of units that have several alternatives left.
        units: all units.
        remaining: the remaining alternatives of each unit.
        mixtures: the mixtures, by the names of their units.
        names: for each unit with one alternative left, the layers of it, by their names in the alternative.
    """

    network: Network
    units: tuple[Unit, ...]
    remaining: Remaining
    mixtures: Mapping[str, Mixture]
    names: Mapping[str, Mapping[str, Any]]

    def alpha(self) -> dict[str, dict[str, float]]:
        """Returns the weight of each remaining alternative, for each unit."""
        return {
            unit.name: self.mixtures[unit.name].weights_of_parts
            if unit.name in self.mixtures
            else dict.fromkeys(self.remaining[unit.name], 1.0)
            for unit in self.units
        }

    def store(self, weights: Weights) -> None:
        """Stores all weights of this form."""
        weights.take_layers(self.network, self._of_units())
        for unit in self.units:
            if unit.name in self.mixtures:
                for alternative, layers in self.parts_of(unit).items():
                    weights.take(unit, alternative, layers)
            else:
                weights.take(unit, self.remaining[unit.name][0], _named(self.names[unit.name]))
        weights.alpha = self.alpha()

    def load(self, weights: Weights) -> None:
        """Loads the stored weights into this form, and alpha if it is stored."""
        weights.give_layers(self.network)
        for unit in self.units:
            if unit.name not in self.mixtures:
                weights.give(unit, self.remaining[unit.name][0], self.names[unit.name])
                continue
            for alternative, layers in self.parts_of(unit).items():
                weights.give(unit, alternative, {layer.name: layer for layer in _inner(layers)})
            if unit.name in weights.alpha:
                mixture = self.mixtures[unit.name]
                shares = np.array([weights.alpha[unit.name][name] for name in mixture.parts()])
                if mixture.weighting == "softmax":
                    shares = np.log(np.maximum(shares, 1e-30))
                mixture.alpha.assign(shares.astype("float32"))

    def learners(self) -> list[tuple[Unit, str, list[Any]]]:
        """Returns the replacements inside mixtures: `(unit, alternative, its layers in sequence)`."""
        return [
            (unit, alternative, layers)
            for unit in self.units
            if unit.name in self.mixtures
            for alternative, layers in self.parts_of(unit).items()
            if alternative != ORIGINAL
        ]

    def parts_of(self, unit: Unit) -> dict[str, list[Any]]:
        """Returns the layers of each alternative in a unit's mixture, in sequence."""
        parts = self.mixtures[unit.name].parts()
        return {name: list(part) if isinstance(part, tuple) else [part] for name, part in parts.items()}

    def _of_units(self) -> list[str]:
        alone = [layer.name for layers in self.names.values() for layer in layers.values()]
        return [*alone, *(mixture.name for mixture in self.mixtures.values())]


class _Alias:
    """A layer under its name in its alternative."""

    def __init__(self, name: str, layer: Any) -> None:
        self.name, self.variables = name, getattr(layer, "variables", ())


def _named(layers: Mapping[str, Any]) -> list[Any]:
    return [_Alias(name, layer) for name, layer in layers.items()]


def plan_of(source: Network, units: Sequence[Unit], choice: Choice) -> Plan:
    """Returns the plan that replaces the units by the chosen alternatives."""
    edits = [
        ReplaceLayers.by(unit.part.nodes, as_one(unit.layers(choice[unit.name], source.model)))
        for unit in units
        if choice[unit.name] != ORIGINAL
    ]
    return Plan(tuple(edits))


def relax(source: Network, units: Sequence[Unit], remaining: Remaining, penalty: Penalized) -> Relaxed:
    """Builds the relaxed network, without loading its weights.

    Args:
        source: the network of the units; it is not changed.
        units: the units.
        remaining: the remaining alternatives of each unit.
        penalty: costs, lambda, and the weighting of alpha.
    """
    edits, mixed = [], []
    alone_in: dict[str, list[str]] = {}  # by unit the names of the layers that stand there, in their alternative
    for unit in units:
        left = remaining[unit.name]
        if len(left) > 1:
            parts = {alternative: unit.layers(alternative, source.model) for alternative in left}
            costs = {alternative: penalty.costs[unit.name][alternative] for alternative in left}
            mixture = Mixture(parts, costs, penalty.strength, penalty.weighting, penalty.alpha_rate, name="mixture")
            edits.append(ReplaceLayers.by(unit.part.nodes, mixture))
            mixed.append(unit)
        elif left[0] != ORIGINAL:
            layers = unit.layers(left[0], source.model)
            alone_in[unit.name] = [layer.name for layer in _inner(layers)]
            edits.append(ReplaceLayers.by(unit.part.nodes, as_one(layers)))
    network = Network(apply(source.model, Plan(tuple(edits)), source.groups), source.through_norms)
    new = _new_layers(source, network)
    mixtures = {unit.name: _layer_after(new, unit, "mixture") for unit in mixed}
    operations = network.graph.operations
    alone = {
        unit.name: {name: _layer_after(new, unit, name) for name in alone_in[unit.name]}
        if unit.name in alone_in
        else {name: operations[name] for name in unit.layer_names}
        for unit in units
        if unit.name not in mixtures
    }
    return Relaxed(network, tuple(units), dict(remaining), mixtures, alone)


def _new_layers(source: Network, network: Network) -> dict[str, Any]:
    known = source.graph.operations.keys()
    return {name: layer for name, layer in network.graph.operations.items() if name not in known}


def _layer_after(new: dict[str, Any], unit: Unit, name: str) -> Any:
    """Returns the layer named after a unit's first one; its name has a number if the name was taken."""
    wanted = f"{unit.name}_{name}"
    matching = [key for key in new if key == wanted or re.fullmatch(re.escape(wanted) + r"_\d+", key)]
    return new.pop(matching[0])


def first_weights(source: Network, relaxed: Relaxed, inputs: Any, rng: np.random.Generator) -> Weights:
    """Returns the initial weights of a relaxed network: the source's, and replacements' weights computed if possible.

    Args:
        source: the network.
        relaxed: its first form, with all alternatives; it gets the weights.
        inputs: some of the model's inputs, for replacements that are computed from a layer's inputs.
        rng: draws the weights of replacements that start from their initializers.
    """
    weights = Weights()
    weights.take_layers(source, [])
    read = _Read(source, relaxed.units, inputs)
    for unit in relaxed.units:
        for alternative, layers in relaxed.parts_of(unit).items():
            if alternative == ORIGINAL:
                names = unit.layer_names
                for inner in _inner(layers):
                    if inner.name in names:
                        _assign(inner, _values(source.graph.operations[inner.name]))
            elif not _started(unit, unit.replacements[alternative], layers, read):
                draw_anew(_inner(layers), rng)
            weights.take(unit, alternative, layers)
    relaxed.load(weights)
    return weights


class _Read:
    """Inputs of units whose replacements are computed from them, read in one pass if they are small."""

    def __init__(self, source: Network, units: Sequence[Unit], inputs: Any) -> None:
        self._source, self._inputs = source, inputs
        needed = [unit for unit in units if any(each.needs_inputs for each in unit.replacements.values())]
        self._left = list(dict.fromkeys(unit.reads[0] for unit in needed))
        self._read: dict[TensorRef, Any] = {}

    def __call__(self, unit: Unit) -> Any:
        """Returns the first input of a unit, `[samples, ...]`; units have to come in the order of the network."""
        ref = unit.reads[0]
        if ref not in self._read:
            refs = self._next(ref)
            taps = keras.Model(self._source.model.input, [self._source.graph.tensors[each] for each in refs])
            arrays = keras.tree.flatten(taps.predict(self._inputs, verbose=0))
            self._read = dict(zip(refs, arrays, strict=True))
        return self._read[ref]

    def _next(self, ref: TensorRef) -> list[TensorRef]:
        """Returns the tensor, and those after it that are read in the same pass."""
        samples = len(keras.tree.flatten(self._inputs)[0])
        refs: list[TensorRef] = []
        held = 0
        for each in self._left[self._left.index(ref) :]:
            held += samples * math.prod(size or 1 for size in self._source.graph.shape(each)[1:])
            if refs and held > _NUMBERS_READ:
                break
            refs.append(each)
        return refs


def _started(unit: Unit, replacement: Replacement, layers: Sequence[Any], read: _Read) -> bool:
    inner = _inner(layers)
    if not replacement.needs_inputs:
        return replacement.start(unit.part, inner)
    return replacement.start_from(unit.part, inner, read(unit))


def chosen_student(source: Network, units: Sequence[Unit], choice: Choice, weights: Weights) -> keras.Model:
    """Returns the student with the chosen alternative of each unit, and its weights: stock Keras layers only."""
    return chosen_network(source, units, choice, weights).model


def chosen_network(source: Network, units: Sequence[Unit], choice: Choice, weights: Weights) -> Network:
    """Returns the network of a student, see `chosen_student`, as read when the student was made."""
    student = relax(source, units, {name: (alternative,) for name, alternative in choice.items()}, Penalized({}))
    student.load(weights)
    return student.network


def check_student(relaxed: Relaxed, choice: Choice, student: keras.Model, inputs: Any) -> None:
    """Compares an untrained student with the relaxed network in which its alternatives have alpha 1.

    Raises:
        RuntimeError: their outputs or costs differ.
    """
    edits = [
        ReplaceLayers.by_part(mixture.name, choice[unit])
        for unit, mixture in relaxed.mixtures.items()
        if choice[unit] in relaxed.remaining[unit]
    ]
    if len(edits) == len(relaxed.mixtures):
        verify(relaxed.network, Plan(tuple(edits)), student, inputs, tolerance=_TOLERANCE)
