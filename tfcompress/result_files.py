"""The folder of a saved result: its model, its trail, its figures, and the models of its candidates."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfcompress import expect
from tfcompress.candidates import candidate_from_dict, candidate_to_dict, named
from tfcompress.export import kept_lambdas, without_lambdas
from tfcompress.finished_stage import FinishedStage
from tfcompress.input_shapes import InputShape, of_one_size, shapes_of_samples
from tfcompress.manifest import check_manifest, read_manifest
from tfcompress.measured import Measured
from tfcompress.methods import Candidate
from tfcompress.network import Network
from tfcompress.plan import Trail
from tfcompress.process import ignored_warnings
from tfcompress.report.layers import LayerFacts, layers_of
from tfcompress.rewrite import replay
from tfcompress.staging import Stage, recover, refuse_foreign
from tfcompress.training import load_arrays, save_arrays

__all__ = ["MODEL", "about_lambdas", "check_result_folder", "figures", "read", "refuse_others", "write"]

MODEL = "model.keras"
_TRAIL, _RESULT = "trail.json", "result.json"
_CALIBRATION, _HELD_OUT = "calibration", "held_out"
_FILES = "files"  # a folder with the TFLite files that the method made, each named for what it is
_PAGES = (".html", ".htm")  # which `Result.report` wrote, and which may be moved or changed
_FORMAT = 5
_WITHOUT_LAYERS = 4  # the format before, which says nothing of the original's layers
_STORED = {
    "before",
    "after",
    "candidates",
    "history",
    "metric",
    "method",
    "settings",
    "seed",
    "budget",
    "control",
    "notes",
    "higher_is_better",
    "layers_before",
}
_OF_A_FLOW = "stages"  # which results of a single method do not have


def write(
    folder: str | os.PathLike[str],
    model: keras.Model,
    trail: Trail,
    candidates: Sequence[Candidate],
    calibration: Any,
    held_out: tuple[Any, Any] | None,
    before: Measured,
    after: Measured,
    layers_before: Sequence[LayerFacts],
    files: Mapping[str, bytes],
    stages: Sequence[FinishedStage] = (),
    **others: Any,
) -> None:
    """Writes the fields of a result, see `Result.save`; `others` are fields that already are JSON data."""
    path = expect.path("folder", folder, "a folder")
    refuse_others(path)
    candidates = named(candidates)
    models = {c.trail.last.weights: c.model for c in candidates if c.model is not None} | {MODEL: model}
    networks = {name: without_lambdas(network) for name, network in models.items()}
    if kept := kept_lambdas(networks[MODEL]):
        warnings.warn(about_lambdas(kept), stacklevel=3)
    data = {
        "format": _FORMAT,
        "before": dataclasses.asdict(before),
        "after": dataclasses.asdict(after),
        "candidates": [{**candidate_to_dict(c), "model": c.model is not None} for c in candidates],
        "layers_before": [dataclasses.asdict(facts) for facts in layers_before],
        **({_OF_A_FLOW: [stage.to_dict() for stage in stages]} if stages else {}),
        **others,
    }
    with Stage(path) as stage:
        with ignored_warnings("The object being serialized includes a `lambda`"):  # said in our own words
            for name, network in networks.items():
                network.save(stage.new / name)
        (stage.new / _TRAIL).write_text(trail.to_json(), encoding="utf-8")
        (stage.new / _RESULT).write_text(json.dumps(data, indent=1), encoding="utf-8")
        save_arrays(stage.new / _CALIBRATION, calibration)
        if held_out is not None:
            save_arrays(stage.new / _HELD_OUT, held_out)
        if files:
            (stage.new / _FILES).mkdir()
        for name, content in files.items():
            (stage.new / _FILES / f"{name}.tflite").write_bytes(content)
        stage.place(whole=True)


def read(folder: str | os.PathLike[str], source: keras.Model | None) -> dict[str, Any]:
    """Reads the fields of a result that `write` wrote, see `Result.load`; `source` is its argument `model`."""
    path = _folder(folder)
    expect.instance("model", source, keras.Model, "the model that was compressed", or_none=True)
    fields = _read(path / _RESULT)
    trail = Trail.from_json((path / _TRAIL).read_text(encoding="utf-8"))

    norms = bool(fields["control"].get("through_norms"))

    calibration = load_arrays(path / _CALIBRATION)

    def model(trail: Trail) -> keras.Model:
        if source is None:
            return _load_model(path / trail.last.weights)
        return _rebuilt(path, source, trail, norms, shapes_of_samples(source, calibration))

    candidates = tuple(
        dataclasses.replace(candidate, model=model(dataclasses.replace(candidate.trail, layers=trail.layers)))
        if trained
        else candidate
        for candidate, trained in fields["candidates"]
    )
    student = model(trail.ending_with(MODEL))
    if source is not None and not fields["layers_before"]:
        fields["layers_before"] = layers_of(Network(of_one_size(source, calibration), norms))
    return {
        **fields,
        "candidates": candidates,
        "model": student,
        "trail": trail,
        "calibration": calibration,
        "held_out": load_arrays(path / _HELD_OUT),
        "files": {file.stem: file.read_bytes() for file in sorted((path / _FILES).glob("*.tflite"))},
    }


def figures(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the fields of a result that `write` stored as JSON: no models, no arrays, no candidates."""
    fields = _read(_folder(folder) / _RESULT)
    del fields["candidates"]
    return fields


def about_lambdas(names: Sequence[str]) -> str:
    """Returns a warning about Lambda layers that hold code of their own."""
    return (
        f"Lambda layer {', '.join(map(repr, names))} holds Python code, which Keras does not read back from a file: "
        "load the saved result with Result.load(folder, model=...), given the model that was compressed, and leave "
        "'keras' out of the formats to export."
    )


def refuse_others(path: pathlib.Path) -> None:
    """Refuses a folder that holds anything but an older result.

    Raises:
        FileExistsError: names what is in the way.
    """
    written = refuse_foreign(path)
    if written and _RESULT not in written:
        raise FileExistsError(
            f"Expected a new folder, or that of an older result. Received: {str(path)!r}, in which tfcompress wrote "
            f"{min(written)} and no result. Nothing was written. Give another folder."
        )


def check_result_folder(path: pathlib.Path) -> None:
    """Refuses a run whose result could not be written to its folder, before any work.

    Raises:
        FileExistsError: names what is in the way.
    """
    try:
        refuse_others(path)
    except FileExistsError as error:
        again = "Without them the same call makes the result again, from the checkpoints of the run."
        raise FileExistsError(f"{error} {again}") from None


def _folder(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the folder of a result, checked for damage: the given folder, or the one in a run folder.

    Raises:
        FileNotFoundError: the folder holds no result.
        ValueError: a file is damaged or missing.
    """
    path: pathlib.Path = expect.path("folder", folder, "a folder")
    if not (path / _RESULT).exists() and (path / "result").is_dir():
        path = path / "result"
    recover(path)
    if not (path / _RESULT).exists():
        raise FileNotFoundError(
            "Expected the folder of a saved result, or the run folder of a finished run. "
            f"Received: {str(folder)!r}, which has no {_RESULT}."
        )
    check_manifest(path, [name for name in read_manifest(path) if not name.lower().endswith(_PAGES)])
    return path


def _read(path: pathlib.Path) -> dict[str, Any]:
    """Reads the fields of a result that are stored as JSON."""
    data = json.loads(path.read_text(encoding="utf-8"))
    stated = data.pop("format", None) if isinstance(data, dict) else None
    if stated == _WITHOUT_LAYERS:
        data["layers_before"] = []
    elif stated != _FORMAT:
        earlier = " of an earlier version of tfcompress" if stated in range(_FORMAT) else ""
        raise ValueError(
            f"Expected a result of format {_FORMAT}. Received: format={stated!r} in {path}{earlier}. Load it with the "
            "version that wrote it, or compress again into another folder."
        )
    if missing := sorted(_STORED - data.keys()):
        raise ValueError(f"Expected {', '.join(missing)} in {path}. Received: a result without them. Save it again.")
    data.setdefault(_OF_A_FLOW, [])
    if unknown := sorted(data.keys() - _STORED - {_OF_A_FLOW}):
        raise ValueError(f"Expected {', '.join(sorted(_STORED))} in {path}. Received besides: {', '.join(unknown)}.")
    try:
        candidates = [(candidate_from_dict(entry), entry["model"]) for entry in data["candidates"]]
        data["candidates"] = tuple(candidates)
        data["before"], data["after"] = Measured(**data["before"]), Measured(**data["after"])
        data["notes"] = tuple(data["notes"])
        data[_OF_A_FLOW] = tuple(FinishedStage.from_dict(stage) for stage in data[_OF_A_FLOW])
        data["layers_before"] = tuple(LayerFacts(**facts) for facts in data["layers_before"])
    except (TypeError, KeyError) as error:
        raise ValueError(f"Expected {path} to be what `Result.save` writes. Received: {error}") from error
    return data


def _load_model(path: pathlib.Path) -> keras.Model:
    try:
        return keras.saving.load_model(path)
    except Exception as error:  # Keras has no one type for what it cannot make
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"Expected Keras to make the model from {path}. Received: {type(error).__name__}: {first} "
            "Call Result.load(folder, model=...) with the model that was compressed, or register its own classes with "
            "@keras.saving.register_keras_serializable() and import them first."
        ) from error


def _rebuilt(
    path: pathlib.Path, source: keras.Model, trail: Trail, through_norms: bool, input_shape: InputShape | None
) -> keras.Model:
    """Rebuilds the student of a trail from the model that was compressed, and loads its weights and loss."""
    try:
        model = replay(source, trail, path, through_norms, input_shape=input_shape)
    except (ValueError, TypeError, KeyError) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            f"Expected `model` to be the model that the result in {path} was made from. Received: model {source.name!r}"
            f", which does not fit: {first}"
        ) from error
    with zipfile.ZipFile(path / trail.last.weights) as archive:
        config = json.loads(archive.read("config.json")).get("compile_config")
    if config:
        model.compile_from_config(config)
    return model
