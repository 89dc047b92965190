"""`export`: writes a model in the requested formats, runs every file, and reports how close it is to the model."""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfcompress import expect
from tfcompress.export import differences, edge_quantizer, integers, onnx_file, parity, saved_model, tflite
from tfcompress.export import inputs as inputs_lib
from tfcompress.export.comparison import Compared, Written
from tfcompress.export.errors import ExportError, ExportMismatch
from tfcompress.export.lambdas import kept_lambdas
from tfcompress.export.metadata import Metadata, facts_of, with_metadata
from tfcompress.export.network import in_float32, network_of
from tfcompress.export.operators import keeps_state, unquantized
from tfcompress.export.quality import TaskMetric
from tfcompress.export.report import ExportReport
from tfcompress.graph import check_runs_here
from tfcompress.staging import Stage, refuse_foreign

DEFAULT_FORMATS = ("keras", "saved_model", "tflite")
FORMATS = (*DEFAULT_FORMATS, "onnx")
ON_MISMATCH = ("error", "warn")
_FILES = {"keras": "model.keras", "saved_model": "saved_model", "onnx": "model.onnx"}
_LABELS = "labels.txt"
_SUFFIXES = (".keras", ".tflite", ".onnx", ".h5", ".pb")
_READY = ("sparse", "qat")  # what methods make beside a model


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    formats: str | Sequence[str] = DEFAULT_FORMATS,
    quantize: str | Sequence[str | None] | None = (None,),
    calibration: Any = None,
    samples: Any = None,
    labels: Any = None,
    metric: Callable[[Any, Any], Any] | None = None,
    higher_is_better: bool = True,
    integer_io: str | None = None,
    recipe: Any = None,
    metadata: Metadata | None = None,
    on_mismatch: str = "error",
    ready: Mapping[str, bytes] | None = None,
) -> ExportReport:
    """Writes a model into a folder, reads every file back, runs it and compares it with the model.

    The files are `model.keras`, `saved_model/`, `model.onnx`, and one `.tflite` for each form, such as
    `model_float32.tflite` and `model_int8.tflite`; `labels.txt` where the metadata have labels; and a manifest of them.
    They hold only the network, without optimizer and loss. All are written and run in another place first and then
    renamed: after an error, but for `ExportMismatch`, no file in the folder has changed.

    Args:
        model: a Functional or built Sequential Keras model on the TensorFlow backend; it is not changed.
        path: the folder; it is created if it is missing. Files of the same names in it are replaced if the manifest
            proves that an export wrote them; all other files are left alone.
        formats: one or several of `"keras"`, `"saved_model"`, `"tflite"`, `"onnx"` (needs the extra `onnx`).
        quantize: one or several of None or `"float32"`, `"float16"`, `"dynamic"`, `"int8"`, `"int16x8"`, `"sparse"`,
            and with the extra `quantizer` `"int4"` and `"mixed"`; for TFLite only. See `tfcompress.export.convert`.
        calibration: inputs that int8, int16x8 and mixed take the ranges of the activations from: an array
            [samples, ...]; for several inputs a tuple of arrays or a dictionary by input name; or an iterable of such
            batches, without labels. All of them are used; some hundred are enough.
        samples: real inputs on which the files are compared with the model, in the same forms. By default the
            calibration inputs; without these, seeded random numbers, and the report says so.
        labels: labels of the samples, for `metric`.
        metric: the metric of the task: a function `(y, outputs) -> float` of all labels and of outputs in the model's
            own structure, or a `keras.metrics.Metric`. The report contains it for the model and for each file.
        higher_is_better: whether a larger metric means a better model.
        integer_io: the type of inputs and outputs of int8, int16x8 and mixed files: `"int8"`, `"uint8"`, or None for
            float32. See `tfcompress.export.convert`.
        recipe: rules of ai-edge-quantizer for `"mixed"`, as a list or a JSON file, in place of ours.
        metadata: facts about the network that the TFLite files shall hold: labels, range and normalisation of inputs,
            provenance. `tfcompress.export.metadata_of` reads them.
        on_mismatch: `"error"` or `"warn"`: what follows where a file does not compute what the model computes.
        ready: contents of TFLite files that were made already, by their `quantize`: `"sparse"`, `"qat"`. They are
            written, run and compared like the others, where TFLite is among the formats.

    Returns:
        The report, one entry per file.

    Raises:
        ExportMismatch: a file does not compute what the model computes, and `on_mismatch` is `"error"`. All files lie
            in the folder, and the error has the report.
        ImportError: an extra is not installed.
        ExportError: the model is not Functional or Sequential, cannot be converted, or a file cannot be read back.
        MissingOperatorError: a layer needs an operator that TensorFlow Lite lacks; names the layer.
        FileExistsError: a file with one of these names is not from an export, or has been changed since.
        OSError: the disk is full, or the folder cannot be written.
        ValueError: a name is unknown, calibration inputs are missing or constant, inputs do not fit the model, integer
            inputs are asked for where an input has no range, or TensorFlow cannot run a layer on this machine.
    """
    ready = _checked_files(ready)
    formats = _names("formats", formats, FORMATS)
    quantizations = _names("quantize", quantize, tflite.QUANTIZATIONS)
    if "tflite" not in formats:
        quantizations, ready = (), {}
    quantizations = tuple(name for name in quantizations if name not in ready)
    on_mismatch = expect.one_of("on_mismatch", on_mismatch, ON_MISMATCH)
    metadata = expect.instance(
        "metadata", Metadata() if metadata is None else metadata, Metadata, "a tfcompress.export.Metadata"
    )
    integer_io = integers.checked(integer_io, quantizations)
    recipe = integers.checked_recipe(recipe, quantizations)
    tflite_names = [_tflite_name(name) for name in (*quantizations, *ready)]
    names = [*(_FILES[name] for name in formats if name != "tflite"), *tflite_names]
    folder = _folder(path, [*names, *([_LABELS] if tflite_names and metadata.labels else [])])
    network = network_of(model)
    check_runs_here(network)
    tflite.require_calibration(quantizations, calibration, recipe)
    integers.refuse_inputs_without_range(integer_io, network)
    if "onnx" in formats:
        onnx_file.require()
    if "keras" in formats and (kept := kept_lambdas(network)):
        raise ExportError(
            f"Expected layers that Keras reads back from a .keras file. Received: Lambda {kept[0]!r}, whose function is"
            " Python code. Write it with keras.ops, or register it with @keras.saving.register_keras_serializable(), or"
            " leave 'keras' out of the formats."
        )
    calibration = None if calibration is None else inputs_lib.as_arrays(calibration, network, "calibration")
    if calibration is not None and set(integers.CALIBRATED) & set(quantizations):
        integers.refuse_constant(calibration, network)
    arrays, notes = _samples(samples, calibration, network)
    task_metric = TaskMetric.checked(metric, labels, samples, len(arrays[0]), higher_is_better)
    expected = parity.keras_outputs(model, network, arrays)
    compared = Compared(
        network,
        arrays,
        expected,
        is_real=samples is not None or calibration is not None,
        metric=task_metric,
        own_metric=None if task_metric is None else task_metric.of(expected, network),
    )

    conversion = tflite.Conversion(calibration, None, integer_io, recipe)
    with Stage(folder) as stage:
        written = _write(network, stage.new, formats, quantizations, conversion)
        written += _ready(stage.new, ready)
        _add_metadata(written, metadata, arrays if compared.is_real else None)
        entries = [compared.entry(file) for file in written]
        notes += _notes_of(written) + _batch_notes(network, formats, quantizations)
        stage.place()
    mismatches = [
        _mismatch(file.path.name, reasons) for (_, reasons), file in zip(entries, written, strict=True) if reasons
    ]
    report = ExportReport(
        tuple(dataclasses.replace(entry, path=str(folder / pathlib.Path(entry.path).name)) for entry, _ in entries),
        differences.largest_magnitude(expected),
        (*notes, *mismatches),
        "" if task_metric is None else task_metric.name,
        compared.own_metric,
    )
    if mismatches and on_mismatch == "error":
        advice = f"All files are in {folder}; the error's `report` has the numbers, on_mismatch='warn' only warns."
        raise ExportMismatch(" ".join([*mismatches, advice]), report)
    for mismatch in mismatches:
        warnings.warn(mismatch, stacklevel=2)
    return report


def _checked_files(ready: Any) -> Mapping[str, bytes]:
    """Returns contents of TFLite files by what they are; empty for `None`."""
    what = f"contents of TFLite files by what they are, of {_READY}"
    files: Mapping[str, bytes] = expect.instance("ready", ready, Mapping, what, or_none=True) or {}
    if not all(name in _READY and isinstance(content, bytes) for name, content in files.items()):
        expect.refuse("ready", what, {name: type(content).__name__ for name, content in files.items()})
    return files


def _tflite_name(quantize: str) -> str:
    return f"model_{quantize}.tflite"


_NAMES = {*_FILES.values(), _LABELS, *map(_tflite_name, (*tflite.QUANTIZATIONS, *_READY))}


def _names(argument: str, given: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the requested names in the order of `known`; None stands for float32."""
    if argument == "formats":
        return expect.some_of(argument, given, known)
    names = expect.some_of(argument, given, (None, *known))
    return tuple(name for name in known if name in names or (name == "float32" and None in names))


def _folder(path: str | os.PathLike[str], names: list[str]) -> pathlib.Path:
    """Returns the folder if files of these names can be written there without replacing foreign ones."""
    folder: pathlib.Path = expect.path("path", path, "a folder")
    if folder.suffix in _SUFFIXES or (folder.exists() and not folder.is_dir()):
        raise ValueError(
            "Expected `path` to be a folder, for files such as model.keras. "
            f"Received: path={str(path)!r}. Give a folder's name."
        )
    unrelated = [name for name in refuse_foreign(folder, names) if name.partition("/")[0] not in _NAMES]
    if unrelated:
        raise FileExistsError(
            f"Expected a folder only for exported files. Received: path={str(path)!r}, a folder in which tfcompress"
            f" wrote {unrelated[0]}. Give another folder, such as one in it."
        )
    return folder


def _samples(
    samples: Any, calibration: list[np.ndarray] | None, network: keras.Model
) -> tuple[list[np.ndarray], list[str]]:
    if samples is not None:
        return inputs_lib.as_arrays(samples, network, "samples"), []
    if calibration is not None:
        return calibration, ["Compared on the calibration inputs."]
    return inputs_lib.random_arrays(network), ["Compared on seeded random inputs, because no real ones were given."]


def _write(
    network: keras.Model,
    stage: pathlib.Path,
    formats: tuple[str, ...],
    quantizations: tuple[str, ...],
    conversion: tflite.Conversion,
) -> list[Written]:
    written = []
    if "keras" in formats:
        written.append(Written(stage / _FILES["keras"], "keras", None))
        saved_model.write_keras(network, written[-1].path)
    if "saved_model" in formats:
        written.append(Written(stage / _FILES["saved_model"], "saved_model", None))
        saved_model.write_saved_model(network, written[-1].path)
    if quantizations:
        for name, content in tflite.convert_network(network, quantizations, conversion).items():
            kept_float = unquantized(content, name, has_own_recipe=conversion.recipe is not None)
            written.append(Written(stage / _tflite_name(name), "tflite", name, kept_float))
            written[-1].path.write_bytes(content)
    if "onnx" in formats:
        written.append(Written(stage / _FILES["onnx"], "onnx", None))
        onnx_file.write(in_float32(network), written[-1].path)
    return written


def _ready(stage: pathlib.Path, ready: Mapping[str, bytes]) -> list[Written]:
    """Writes TFLite files that were made already."""
    written = [Written(stage / _tflite_name(name), "tflite", name) for name in ready]
    for file in written:
        file.path.write_bytes(ready[file.quantize or ""])
    return written


def _add_metadata(written: list[Written], metadata: Metadata, samples: list[np.ndarray] | None) -> None:
    """Adds facts to the TFLite files, and writes the labels beside them."""
    files = [file for file in written if file.quantize is not None]
    for file in files:
        assert file.quantize is not None
        content = file.path.read_bytes()
        facts = facts_of(content, file.quantize, metadata, samples, keeps_state(content))
        file.path.write_bytes(with_metadata(content, facts))
    if files and metadata.labels:
        (files[0].path.parent / _LABELS).write_text(
            "".join(f"{label}\n" for label in metadata.labels), encoding="utf-8"
        )


def _notes_of(written: list[Written]) -> list[str]:
    """Returns what to know of the TFLite files: what stayed float32 and why, int4 weights, states that are kept."""
    notes = []
    for file in written:
        rows: dict[tuple[str, str], None] = {(row.operator, row.reason): None for row in file.unquantized}
        if file.quantize in integers.CALIBRATED and rows:
            named = ", ".join(f"{operator} ({reason})" for operator, reason in rows)
            notes.append(f"{file.path.name} still computes these operators in float32: {named}.")
        elif rows:
            named = ", ".join(f"{operator} ({reason})" for operator, reason in rows)
            notes.append(f"{file.path.name} holds weights in float32: {named}.")
        if file.quantize in edge_quantizer.FORMS:
            narrow, all_weighted = edge_quantizer.counts(file.path.read_bytes())
            notes.append(f"{file.path.name} has int4 weights in {narrow} of its {all_weighted} operators with weights.")
    stateful = [file.path.name for file in written if file.quantize and keeps_state(file.path.read_bytes())]
    if stateful:
        notes.append(
            f"The LSTM of {', '.join(stateful)} keeps its state from call to call: an app calls reset_all_variables()"
            " of the interpreter before each new sequence."
        )
    return notes


def _batch_notes(network: keras.Model, formats: tuple[str, ...], quantizations: tuple[str, ...]) -> list[str]:
    size = network.inputs[0].shape[0] or 1
    if size == 1:
        return []
    notes = []
    if quantizations and tflite.batch_size(network) > 1:
        notes.append(f"The TFLite files take {size} samples at a time, as the network does: it does not run with one.")
    if "saved_model" in formats:
        notes.append(f"The SavedModel takes {size} samples at a time, the number that the model's inputs state.")
    return notes


def _mismatch(name: str, reasons: list[str]) -> str:
    return (
        f"(!) {name} does not compute what the Keras model computes: {'; '.join(reasons)}. Do not use it before the"
        " reason is known."
    )
