"""`LatencyTable`: the latencies of small pieces of networks, each measured once on a machine and kept in a file."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from tfcompress import expect
from tfcompress.costs.latency import Latency, device, measure_latency
from tfcompress.costs.metrics import Term
from tfcompress.export.responsible import calls_of, model_of_calls
from tfcompress.graph.copying import Copies

__all__ = ["LatencyTable", "PartLatency", "latency_of_parts"]

_FORMAT = 1
_NANOSECONDS = 1e6  # in a millisecond
# Settings that say nothing of how long a layer takes.
_IDLE = ("name", "trainable", "seed", "momentum", "epsilon", "rate", "build_config", "shared_object_id")
_IDLE_ENDINGS = ("_initializer", "_regularizer", "_constraint")
# What the converter puts into the operator before it.
_ABSORBED = (
    keras.layers.BatchNormalization,
    keras.layers.ReLU,
    keras.layers.Activation,
    keras.layers.Dropout,
)

Shapes = Sequence[Sequence[int]]


class LatencyTable:
    """Latencies of pieces, measured when they are first needed and read from a file afterwards.

    A piece is a few layers behind inputs of given shapes. Equal pieces share one entry, whatever the names of their
    layers. An entry is valid for one batch size, number of threads, and `device()`. The constant time of any invocation
    (measured with one multiplication) is in no piece: it is `overhead_ms`, once for a whole model.

    Args:
        path: a JSON file, see docs/latency.md; created with the first entry. Processes may share it.
        batch: samples in one invocation.
        threads: threads of the interpreter.
        measure: measures a piece: a function of a model, `batch` and `threads` that returns a `Latency`.

    Raises:
        ValueError: the file is not such a table.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        batch: int = 1,
        threads: int = 1,
        measure: Callable[..., Latency] = measure_latency,
    ) -> None:
        self.path: pathlib.Path = expect.path("path", path)
        self.batch, self.threads = expect.whole("batch", batch, 1), expect.whole("threads", threads, 1)
        self._measure = expect.function("measure", measure, "a function of a model, batch and threads")
        self._device = device()
        self._entries = _read(self.path)

    def of(
        self, layers: Sequence[keras.layers.Layer], input_shapes: Shapes, dtypes: Sequence[str] | None = None
    ) -> float:
        """Returns the latency of layers that are called in sequence, in milliseconds, without the overhead.

        Args:
            layers: layers or models, which are not changed; the first one is called on all inputs. No layers cost
                nothing.
            input_shapes: the shape of each input, without the batch.
            dtypes: the dtype of each input; float32 by default.

        Raises:
            MissingOperatorError: LiteRT lacks an operator; the message names it and the layer.
        """
        layers = expect.each("layers", layers, expect.instance, "layers", kinds=keras.Layer)
        if not layers:
            return 0.0
        what = "shapes, one for each input, of known sizes and without the batch, such as [(32, 32, 16)]"
        shapes = expect.each("input_shapes", input_shapes, _shape, what, empty=False)
        kinds = ("float32",) * len(shapes) if dtypes is None else expect.each("dtypes", dtypes, expect.text, "dtypes")
        if len(kinds) != len(shapes):
            expect.refuse("dtypes", f"{len(shapes)} dtypes, one for each input", kinds)
        return self.of_model(_chain(layers, shapes, kinds))

    def of_model(self, model: keras.Model) -> float:
        """Returns the latency of a piece given as a Functional model, in milliseconds, without the overhead."""
        expect.instance("model", model, keras.Model, "a Functional model")
        overhead = self.overhead_ms
        return max(0.0, self._entry(model).median_ms - overhead)

    def term(
        self,
        layers: Sequence[keras.layers.Layer],
        input_shapes: Shapes,
        dtypes: Sequence[str] | None = None,
        alternative: str | None = None,
    ) -> Term:
        """Returns the latency of layers as a term of a metric, in whole nanoseconds, of a node or an alternative."""
        return Term(round(_NANOSECONDS * self.of(layers, input_shapes, dtypes)), (), alternative)

    @property
    def overhead_ms(self) -> float:
        """Milliseconds that any invocation takes, whatever the model."""
        one_number = keras.Input((1,))
        return self._entry(keras.Model(one_number, keras.layers.Rescaling(2.0)(one_number)), "overhead", 1).median_ms

    @property
    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        """All entries of the file, by key."""
        return dict(self._entries)

    def _entry(self, model: keras.Model, piece: str | None = None, batch: int | None = None) -> Latency:
        """Returns the entry of a piece, measured if there is none."""
        batch = self.batch if batch is None else batch
        content = {
            "piece": piece or _content(model),
            "batch": batch,
            "threads": self.threads,
            "device": self._device,
        }
        key = hashlib.sha256(_json(content).encode()).hexdigest()[:32]
        if key not in self._entries:
            latency = self._measure(model, batch=batch, threads=self.threads)
            self._entries = _read(self.path) | self._entries  # another process may have added some
            self._entries[key] = {
                "piece": piece or " > ".join(type(call.operation).__name__ for call in calls_of(model)),
                "inputs": [[int(size) for size in tensor.shape[1:]] for tensor in model.inputs],
                **asdict(latency),
                "device": self._device,
            }
            _write(self.path, self._entries)
        entry = self._entries[key]
        return Latency(**{name: entry[name] for name in Latency.__dataclass_fields__})


@dataclass(frozen=True)
class PartLatency:
    """The latency of a part of a network: `nodes` by the names of their layers, and `ms` without the overhead."""

    nodes: tuple[str, ...]
    ms: float


def latency_of_parts(model: keras.Model, table: LatencyTable) -> tuple[PartLatency, ...]:
    """Cuts a network into small parts and looks up the latency of each.

    A part is a layer with the normalization and activation after it, and the padding before it, which LiteRT computes
    as one operator; a nested model is one part.

    Args:
        model: a Functional or Sequential model; it is not changed.
        table: the table to look the parts up in; missing ones are measured.

    Returns:
        The parts, in the order of the graph. Their sum plus `table.overhead_ms` approximates the whole model's latency.
    """
    expect.instance("model", model, keras.Model, "a Functional or Sequential model")
    operations = [layer for layer in model.operations if isinstance(layer, keras.Layer)]
    with Copies(operations) as copies:  # parts are models on the layers, which a user's model should not know of
        network = keras.models.clone_model(model, clone_function=copies.new)
    calls = calls_of(network)
    reads = [id(tensor) for call in calls for tensor in call.input_tensors] + [id(tensor) for tensor in network.outputs]
    parts: list[list[Any]] = []
    for call in calls:
        before = parts[-1][-1] if parts else None
        joins = (
            before is not None
            and len(call.input_tensors) == 1
            and call.input_tensors[0] is before.output_tensors[0]
            and reads.count(id(before.output_tensors[0])) == 1
            and (isinstance(call.operation, _ABSORBED) or isinstance(before.operation, keras.layers.ZeroPadding2D))
        )
        if joins:
            parts[-1].append(call)
        else:
            parts.append([call])
    return tuple(
        PartLatency(tuple(call.operation.name for call in part), table.of_model(model_of_calls(part))) for part in parts
    )


def _chain(
    layers: Sequence[keras.layers.Layer], shapes: Sequence[tuple[int, ...]], dtypes: Sequence[str]
) -> keras.Model:
    """Returns a model of copies of the layers behind inputs of its own."""
    inputs = [keras.Input(shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    tensors: Any = inputs[0] if len(inputs) == 1 else inputs
    flat = _flat(layers)
    names = [layer.name for layer in flat]
    with Copies(flat) as copies:
        for number, layer in enumerate(flat):
            copy = copies.new(layer)
            if layer.name in names[:number] and layer not in flat[:number]:  # a model has no name twice
                copy.name = f"{layer.name}_{number}"
            tensors = copy(tensors)
    return keras.Model(inputs, tensors)


def _flat(layers: Sequence[keras.layers.Layer]) -> list[Any]:
    """Returns the layers, with Sequential models replaced by their layers."""
    return [
        inner for layer in layers for inner in (_flat(layer.layers) if isinstance(layer, keras.Sequential) else [layer])
    ]


def _shape(name: str, value: Any) -> tuple[int, ...]:
    sizes: tuple[int, ...] = expect.each(
        name, value, _size, "a shape of whole numbers of at least 1, without the batch"
    )
    return sizes


def _size(name: str, value: Any) -> int:
    size: int = expect.whole(name, value, 1)
    return size


def _content(model: keras.Model) -> dict[str, Any]:
    """Returns all data of a model that its latency depends on, without names."""
    places: dict[int, list[Any]] = {id(tensor): ["input", index] for index, tensor in enumerate(model.inputs)}

    def written(leaf: Any) -> Any:
        return places.get(id(leaf), _plain(leaf))

    calls = []
    for number, call in enumerate(calls_of(model)):
        arguments = keras.tree.map_structure(written, (call.arguments.args, call.arguments.kwargs))
        calls.append([_described(call.operation), arguments])
        places |= {id(tensor): [number, index] for index, tensor in enumerate(call.output_tensors)}
    inputs = [[list(tensor.shape[1:]), str(tensor.dtype)] for tensor in model.inputs]
    return {"inputs": inputs, "calls": calls, "outputs": [places[id(tensor)] for tensor in model.outputs]}


def _described(operation: Any) -> dict[str, Any]:
    if isinstance(operation, keras.Model) and hasattr(operation, "operations"):
        return {"model": _content(operation)}
    try:
        config = operation.get_config()
    except NotImplementedError:  # operations of keras.ops whose arguments Keras does not write down
        config = {name: _plain(value) for name, value in vars(operation).items() if not name.startswith("_")}
    cls = type(operation)
    return {"class": f"{cls.__module__}.{cls.__qualname__}", "config": _without_idle(config)}


def _without_idle(config: Any) -> Any:
    if isinstance(config, Mapping):
        kept = {key: value for key, value in config.items() if key not in _IDLE and not key.endswith(_IDLE_ENDINGS)}
        return {key: _without_idle(value) for key, value in kept.items()}
    return [_without_idle(value) for value in config] if isinstance(config, (list, tuple)) else _plain(config)


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, np.ndarray):
        return ["array", list(value.shape), str(value.dtype), hashlib.sha256(value.tobytes()).hexdigest()]
    return repr(value)


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, default=repr)


def _read(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns the entries of a file; empty if it does not exist."""
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        data = None
    fields = {"piece", "inputs", "device", *Latency.__dataclass_fields__}
    entries = data.get("entries") if isinstance(data, dict) and data.get("format") == _FORMAT else None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) and set(e) == fields for e in entries.values()):
        raise ValueError(
            f"Expected a latency table of format {_FORMAT}. Received: {path}, which is not one. Remove it, or give "
            "another path: latencies are measured again."
        )
    return entries


def _write(path: pathlib.Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes the file under another name and renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part.{os.getpid()}.{path.name}")
    part.write_text(json.dumps({"format": _FORMAT, "entries": entries}, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
