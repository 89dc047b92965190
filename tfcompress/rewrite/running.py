"""Runs models to compare their outputs without changing them: no state advances, nothing random happens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.graph.run import outputs_of, run
from tfcompress.network import Network

__all__ = ["Differences", "Runner", "compare", "one_seed", "run_without"]

_Array = npt.NDArray[Any]
# A loop that is unrolled into calls of its own costs about a millisecond a step; a trace about a second.
_LONG_LOOP = 64
_NOISE = tuple(
    getattr(keras.layers, name)
    for name in ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D")
)


def run_without(model: keras.Model | Network, nodes: Collection[str], inputs: Any) -> Any:
    """Returns the outputs of a model whose layers are called one by one, with those in `nodes` skipped.

    The output of a removed part is replaced by the input of its first layer. It builds nothing.

    Args:
        model: a built Functional or Sequential model.
        nodes: names of nodes of its `LayerGraph`.
        inputs: one batch.
    """
    graph = Network.of(model).graph
    return outputs_of(graph, run(graph, keras.tree.flatten(inputs), without=nodes))


class Runner:
    """Runs a model in inference mode with other values for some of its variables.

    Dropout and noise pass on their inputs, even if the model switches them on: with fewer channels they would draw
    other numbers.

    Args:
        model: a built Functional or Sequential model.
        values: values that replace variables, by id.
        calls: replacements for the `call` of some layers.
        without: names of nodes to skip.
    """

    def __init__(
        self,
        model: keras.Model | Network,
        values: Mapping[int, Any] | None = None,
        calls: Iterable[tuple[Any, Callable[..., Any]]] = (),
        without: Collection[str] = (),
    ) -> None:
        self.network = Network.of(model)
        self.model = self.network.model
        self.values = dict(values or {})
        self._calls = list(calls)
        self._without = set(without)
        self._function = tf.function(self._call) if _loops_for_long(self.model) else self._call

    def __call__(self, inputs: Any, values: Mapping[int, Any] | None = None) -> list[_Array]:
        """Returns the outputs for one batch, flat.

        Args:
            inputs: one batch, in the model's structure.
            values: further values for variables; unless a loop has to be traced again, they cost nothing.
        """
        if values is None:
            outputs = self._function(inputs)
        else:
            before, self.values = self.values, {**self.values, **values}
            try:
                outputs = self._call(inputs)
            finally:
                self.values = before
        return [_as_array(tensor) for tensor in keras.tree.flatten(outputs)]

    def _call(self, inputs: Any) -> Any:
        with self.scope():
            if self._without:
                return run_without(self.network, self._without, inputs)
            return self.model(inputs, training=False)

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Makes the model's layers use these values and calls inside, without changing anything."""
        scope = keras.StatelessScope()
        scope.state_mapping.update(self.values)
        with _calling([*_quiet(self.model), *self._calls]), scope:
            yield


def _quiet(model: keras.Model) -> list[tuple[Any, Callable[..., Any]]]:
    def passed_on(inputs: Any, *_: Any, **__: Any) -> Any:
        return inputs

    return [(layer, passed_on) for layer in model._flatten_layers() if isinstance(layer, _NOISE) and _is_stock(layer)]


def _is_stock(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras.")


@contextlib.contextmanager
def _calling(calls: Iterable[tuple[Any, Callable[..., Any]]]) -> Iterator[None]:
    replaced = []
    try:
        for layer, call in calls:
            layer.call = call  # hides the method of its class
            replaced.append(layer)
        yield
    finally:
        for layer in {id(layer): layer for layer in replaced}.values():
            del layer.call


def _loops_for_long(model: keras.Model) -> bool:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.RNN):
            shape = getattr(layer, "_build_shapes_dict", None) or {}
            steps = [s[1] for s in shape.values() if isinstance(s, (tuple, list)) and len(s) > 2]
            if not steps or steps[0] is None or steps[0] > _LONG_LOOP:
                return True
    return False


def _as_array(tensor: Any) -> _Array:
    array: _Array = np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)
    if array.dtype.kind in "biufcOSU":
        return array
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")))  # bfloat16 and the like


def one_seed(source: Network, student: Network) -> dict[int, Any]:
    """Returns, by the id of a variable of the student, the source's value of each random state that both have."""
    old, new = (network.graph.operations for network in (source, student))
    states: dict[int, Any] = {}
    for name in old.keys() & new.keys():
        pair = [[v for v in getattr(operation, "variables", ()) if _is_seed(v)] for operation in (old[name], new[name])]
        if len(pair[0]) == len(pair[1]):
            states.update((id(b), keras.ops.convert_to_tensor(a)) for a, b in zip(*pair, strict=True))
    return states


def _is_seed(variable: Any) -> bool:
    return str(variable.name) == "seed_generator_state"


class Differences(NamedTuple):
    """The differences between some outputs and the expected ones.

    Attributes:
        relative: by output, the largest difference relative to the largest expected number; 1 if entries that are not
            floats differ, infinite if numbers are not finite on one side only.
        absolute: by output, the largest difference.
        places: by output, bool of its shape: where entries that are not floats differ.
    """

    relative: list[float]
    absolute: list[float]
    places: list[_Array | None]

    @property
    def largest(self) -> float:
        """The largest relative difference."""
        return max(self.relative, default=0.0)


def compare(expected: list[_Array], received: list[_Array]) -> Differences:
    """Compares outputs of any type: floats by their size, others (booleans, whole numbers, strings) for equality."""
    result = Differences([], [], [])
    for first, second in zip(expected, received, strict=True):
        relative, absolute, places = _difference(first, second)
        result.relative.append(relative)
        result.absolute.append(absolute)
        result.places.append(places)
    return result


def _difference(first: _Array, second: _Array) -> tuple[float, float, _Array | None]:
    if first.shape != second.shape or first.dtype.kind != second.dtype.kind:
        return np.inf, np.inf, None
    if first.dtype.kind not in "fc":
        differs = np.asarray(first != second)
        return float(differs.any()), float(differs.any()), differs
    wide = "complex128" if first.dtype.kind == "c" else "float64"
    a, b = first.astype(wide), second.astype(wide)
    finite = np.isfinite(a) & np.isfinite(b)
    same = finite | (a == b) | (np.isnan(a) & np.isnan(b))
    if not same.all():
        return np.inf, np.inf, None
    if not finite.any():
        return 0.0, 0.0, None
    absolute = float(np.abs(a[finite] - b[finite]).max())
    return absolute / max(float(np.abs(a[finite]).max()), 1e-12), absolute, None
