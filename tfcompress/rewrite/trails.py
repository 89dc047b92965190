"""`replay(source, trail)`: builds the student at the end of a trail, with its weights if they are in a folder."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping

import keras

from tfcompress import expect
from tfcompress.graph import LayerGraph
from tfcompress.input_shapes import InputShape, with_input_shape
from tfcompress.manifest import MANIFEST, check_manifest
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite.apply import apply
from tfcompress.rewrite.nesting import nests
from tfcompress.rewrite.working_copy import nested_copy

__all__ = ["check_end", "replay"]

_NUMBERED = re.compile(r"^variable_\d+$")  # what Keras calls a weight without a name of its own, anew in each copy


def replay(
    source: keras.Model,
    trail: Trail,
    folder: str | os.PathLike[str] | None = None,
    through_norms: bool = False,
    seed: int | None = None,
    input_shape: InputShape | None = None,
) -> keras.Model:
    """Builds the student at the end of a trail, one plan after the other.

    If a plan's weights come from a file of a run folder, they are read from there; without a folder the student has
    only the architecture, and its weights have to be trained or loaded.

        trail = tfcompress.Trail.from_json(text)
        student = tfcompress.rewrite.replay(model, trail, "runs/x")

    Args:
        source: the model that the trail starts from, or the same architecture built again: a built Functional or
            Sequential model, which is not changed.
        trail: the trail.
        folder: the run folder, or the folder of the saved result, with the files that the trail names.
        through_norms: as in the run, see `Control`.
        input_shape: for a source that takes inputs of any size, the size of the run, without the batch.
        seed: random seed of fresh weights, see `apply`; with the run's seed, fresh weights are the same as in the run.

    Returns:
        A new `keras.Model`, not compiled; with the source's nested models if the file of its weights has
        them.

    Raises:
        TypeError: `trail` is not a trail.
        FileNotFoundError: a file that the trail names is not in the folder; raised before anything is built.
        ValueError: the file is damaged, or holds weights of another model; or the source is not the model that the
            trail starts from. The message names the plan.
    """
    expect.instance("source", source, keras.Model, "a built keras.Model")
    expect.instance("trail", trail, Trail, "a Trail", advice="Write Trail((plan,)) for one plan.")
    path = expect.path("folder", folder, "a folder", or_none=True)
    folders = {} if path is None else {name: _folder(path, name) for name in trail.files}
    for name, its_folder in folders.items():
        if (its_folder / MANIFEST).exists():
            check_manifest(its_folder, [name])
    network = Network(source, through_norms)
    as_given = network.graph
    if input_shape is not None:
        network = Network(with_input_shape(source, input_shape), through_norms)
    student = _replayed(network, trail.of_layers(tuple(as_given.operations)), folders, seed, as_given)
    last = trail.last.weights_file or ""
    as_saved = last in folders and nests(folders[last] / last)
    return nested_copy(as_given, Network(student, through_norms)) if as_saved or input_shape is not None else student


def _replayed(
    source: Network,
    trail: Trail,
    folders: Mapping[str, pathlib.Path],
    seed: int | None,
    as_given: LayerGraph | None = None,
) -> keras.Model:
    """Returns the student at the end of a trail; weights are read from these folders, by file name."""
    as_given = as_given or source.graph
    student, network = source.model, source
    for number, plan in enumerate(trail, start=1):
        folder = folders.get(plan.weights_file or "")
        try:
            # What is read over at once need not be drawn from any state that others draw from.
            student = apply(student, _built(plan), network.groups, seed=seed if folder is None else 0)
            network = Network(student, source.through_norms)
            if folder is not None:
                file = folder / str(plan.weights_file)
                nested = nested_copy(as_given, network) if nests(file) else student
                nested.load_weights(file)
                if nested is not student:
                    _give_weights(nested, network)
        except (KeyError, ValueError) as error:
            first = (str(error).strip().splitlines() or [""])[0]
            raise ValueError(
                f"Expected the model that the trail starts from. Received: model {source.model.name!r}, which does not "
                f"fit plan {number} of {len(trail)}: {first}"
            ) from error
    return student


def _give_weights(nested: keras.Model, flat: Network) -> None:
    """Copies weights to the layers of a student without nested models from its copy with them."""
    for name, layer in LayerGraph.from_keras(nested).operations.items():
        if getattr(layer, "weights", ()):
            flat.graph.operations[name].set_weights(layer.get_weights())


def _built(plan: Plan) -> Plan:
    """Returns the plan for building the student before its weights are read from a file: with any weights."""
    return plan if plan.weights_file is None else dataclasses.replace(plan, weights="fresh")


def _folder(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the folder with a file: that of a result, a run folder, or the result in it."""
    for path in (folder, folder / "result"):
        if (path / name).is_file():
            return path
    raise FileNotFoundError(
        f"Expected a folder with {name}, which the trail takes weights from. Received: {str(folder)!r}. Give the run "
        "folder or the saved result of the trail, or no folder for only the architecture."
    )


def check_end(
    source: keras.Model | Network, trail: Trail, student: keras.Model | Network, through_norms: bool = False
) -> None:
    """Checks that a trained student of a search has the weights, by name and shape, of its trail's student.

    Args:
        source: the model that the trail starts from.
        trail: the trail.
        student: the student.
        through_norms: as for `replay`.

    Raises:
        RuntimeError: its weights differ.
        ValueError: the trail does not fit the source.
    """
    replayed = _replayed(Network.of(source, through_norms), trail, {}, seed=0)
    expected, received = (_weights(Network.of(model)) for model in (replayed, student))
    if expected != received:
        pairs = zip(expected, received, strict=False)
        led_to, given = next((pair for pair in pairs if pair[0] != pair[1]), (len(expected), len(received)))
        raise RuntimeError(
            f"Expected a trained student that matches its trail, with {led_to}. Received: student "
            f"{Network.of(student).model.name!r} with {given}. Build it with tfcompress.rewrite.replay(model, trail), "
            "and train that."
        )


def _weights(network: Network) -> list[tuple[str, tuple[int, ...]]]:
    """Returns the weights of a network by layer and name, with their shapes, in the order of its graph."""
    return [
        (f"{name}/{_NUMBERED.sub('variable', weight.name)}", tuple(weight.shape))
        for name, layer in network.graph.operations.items()
        for weight in getattr(layer, "weights", ())
    ]
