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
from tfcompress.export import inputs as inputs_lib
from tfcompress.export import parity, saved_model, tflite
from tfcompress.export.errors import ExportError
from tfcompress.export.lambdas import kept_lambdas
from tfcompress.export.network import is_float32, network_of
from tfcompress.export.quality import RELATIVE_TOLERANCE, TOP1_TOLERANCE, TaskMetric, drop_tolerance, relative_error
from tfcompress.export.report import ExportedFile, ExportReport
from tfcompress.graph import check_runs_here
from tfcompress.staging import Stage, refuse_foreign

FORMATS = ("keras", "saved_model", "tflite")
_FILES = {"keras": "model.keras", "saved_model": "saved_model"}
_READY = ("sparse", "qat")  # what methods make beside a model
_SUFFIXES = (".keras", ".tflite", ".h5", ".pb")
_OUTPUTS_OF = {
    "keras": parity.keras_file_outputs,
    "saved_model": parity.saved_model_outputs,
    "tflite": parity.tflite_outputs,
}


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    formats: str | Sequence[str] = FORMATS,
    quantize: str | Sequence[str | None] | None = (None,),
    calibration: Any = None,
    samples: Any = None,
    labels: Any = None,
    metric: Callable[[Any, Any], Any] | None = None,
    higher_is_better: bool = True,
    ready: Mapping[str, bytes] | None = None,
) -> ExportReport:
    """Writes a model into a folder, reads every file back, runs it and compares it with the model.

    The files are `model.keras`, `saved_model/`, `model_float32.tflite`, `model_float16.tflite`,
    `model_dynamic.tflite` `model_int8.tflite` and `model_sparse.tflite`, and a manifest of them. They hold only the
    network, without optimizer and loss. All are written and run in another place first and then renamed: after an
    error no file in the folder has changed.

    Args:
        model: a Functional or built Sequential Keras model on the TensorFlow backend; it is not changed.
        path: the folder; it is created if it is missing. Files of the same names in it are replaced if the manifest
            proves that an export wrote them; all other files are left alone.
        formats: one or several of `"keras"`, `"saved_model"`, `"tflite"`.
        quantize: any of None or `"float32"`, `"float16"`, `"dynamic"`, `"int8"`, `"sparse"`; for TFLite alone.
            See `tfcompress.export.convert`. Inputs and outputs of an int8 file are float32.
        calibration: inputs that int8 takes the ranges of the activations from: an array [samples, ...]; for several
            inputs a tuple of arrays or a dictionary by input name; or an iterable of such batches, without labels.
            All of them are used; some hundred are enough.
        samples: real inputs on which the files are compared with the model, in the same forms. By default the
            calibration inputs; without these, seeded random numbers, and the report says so.
        labels: labels of the samples, for `metric`.
        metric: the metric of the task: a function `(y, outputs) -> float` of all labels and of outputs in the model's
            own structure, or a `keras.metrics.Metric`. The report contains it for the model and for each file.
        higher_is_better: whether a larger metric means a better model.
        ready: contents of TFLite files that were made already, by their `quantize`: `"sparse"`, `"qat"`. They are
            written, run and compared like the others, where TFLite is among the formats.

    Returns:
        The report, one entry per file.

    Raises:
        ExportError: the model is not Functional or Sequential, cannot be converted, or a file cannot be read back.
        MissingOperatorError: a layer needs an operator that TensorFlow Lite lacks; names the layer.
        FileExistsError: a file with one of these names is not from an export, or has been changed since.
        ValueError: a name is unknown, int8 has no calibration inputs, inputs do not fit the model, or TensorFlow
            cannot run a layer on this machine.
    """
    ready = _checked_files(ready)
    formats = _names("formats", formats, FORMATS)
    quantizations = _names("quantize", quantize, tflite.QUANTIZATIONS)
    if "tflite" not in formats:
        quantizations, ready = (), {}
    quantizations = tuple(name for name in quantizations if name not in ready)
    tflite_names = map(_tflite_name, (*quantizations, *ready))
    folder = _folder(path, [*(_FILES[name] for name in formats if name != "tflite"), *tflite_names])
    network = network_of(model)
    check_runs_here(network)
    tflite.require_calibration(quantizations, calibration)
    if "keras" in formats and (kept := kept_lambdas(network)):
        raise ExportError(
            f"Expected layers that Keras reads back from a .keras file. Received: Lambda {kept[0]!r}, whose function is"
            " Python code. Write it with keras.ops, or register it with @keras.saving.register_keras_serializable(), or"
            " leave 'keras' out of the formats."
        )
    calibration = None if calibration is None else inputs_lib.as_arrays(calibration, network, "calibration")
    arrays, notes = _samples(samples, calibration, network)
    task_metric = TaskMetric.checked(metric, labels, samples, len(arrays[0]), higher_is_better)
    expected = parity.keras_outputs(model, network, arrays)
    compared = _Compared(
        network,
        arrays,
        expected,
        is_real=samples is not None or calibration is not None,
        metric=task_metric,
        own_metric=None if task_metric is None else task_metric.of(expected, network),
    )

    with Stage(folder) as stage:
        written = _write(network, stage.new, formats, quantizations, calibration)
        written += [_Written(stage.new / _tflite_name(name), "tflite", name) for name in ready]
        for file in written[len(written) - len(ready) :]:
            file.path.write_bytes(ready[file.quantize or ""])
        entries = [compared.entry(file) for file in written]
        notes += _float_notes(written) + _batch_notes(network, formats, quantizations)
        stage.place()
    for (_, reasons), file in zip(entries, written, strict=True):
        if reasons:
            notes.append(_warning(file.path.name, reasons))
            warnings.warn(notes[-1], stacklevel=2)
    return ExportReport(
        tuple(dataclasses.replace(entry, path=str(folder / pathlib.Path(entry.path).name)) for entry, _ in entries),
        parity.largest_magnitude(expected),
        tuple(notes),
        "" if task_metric is None else task_metric.name,
        compared.own_metric,
    )


def _checked_files(ready: Any) -> Mapping[str, bytes]:
    """Returns contents of TFLite files by what they are; empty for `None`."""
    what = f"contents of TFLite files by what they are, of {_READY}"
    files: Mapping[str, bytes] = expect.instance("ready", ready, Mapping, what, or_none=True) or {}
    if not all(name in _READY and isinstance(content, bytes) for name, content in files.items()):
        expect.refuse("ready", what, {name: type(content).__name__ for name, content in files.items()})
    return files


def _tflite_name(quantize: str) -> str:
    return f"model_{quantize}.tflite"


_NAMES = {*_FILES.values(), *map(_tflite_name, (*tflite.QUANTIZATIONS, *_READY))}


@dataclasses.dataclass(frozen=True)
class _Written:
    path: pathlib.Path
    format: str
    quantize: str | None


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
    calibration: list[np.ndarray] | None,
) -> list[_Written]:
    written = []
    if "keras" in formats:
        written.append(_Written(stage / _FILES["keras"], "keras", None))
        saved_model.write_keras(network, written[-1].path)
    if "saved_model" in formats:
        written.append(_Written(stage / _FILES["saved_model"], "saved_model", None))
        saved_model.write_saved_model(network, written[-1].path)
    if quantizations:
        for name, content in tflite.convert_network(network, quantizations, calibration).items():
            written.append(_Written(stage / _tflite_name(name), "tflite", name))
            written[-1].path.write_bytes(content)
    return written


@dataclasses.dataclass(frozen=True)
class _Compared:
    """The reference for files: the network's outputs on the samples, and its metric."""

    network: keras.Model
    arrays: list[np.ndarray]
    expected: list[np.ndarray]
    is_real: bool
    metric: TaskMetric | None
    own_metric: float | None

    def entry(self, file: _Written) -> tuple[ExportedFile, list[str]]:
        """Runs a file; returns its entry in the report, and the reasons to suspect it."""
        actual = _OUTPUTS_OF[file.format](file.path, self.network, self.arrays)
        entry = ExportedFile(
            path=str(file.path),
            format=file.format,
            quantize=file.quantize,
            bytes=saved_model.size_in_bytes(file.path),
            max_difference=parity.largest_difference(self.expected, actual),
            top1_agreement=parity.top1_agreement(self.expected, actual),
            samples=len(self.arrays[0]),
            relative_error=relative_error(self.expected, actual),
            metric=None if self.metric is None else self.metric.of(actual, self.network),
        )
        reasons = self._reasons(entry)
        return dataclasses.replace(entry, suspect=bool(reasons)), reasons

    def _reasons(self, entry: ExportedFile) -> list[str]:
        if not np.isfinite(entry.max_difference):
            return ["some of its outputs are not numbers, or have another shape"]
        if entry.quantize in (None, "float32", "sparse"):
            tolerance = parity.FLOAT32_TOLERANCE if is_float32(self.network) else parity.HALF_TOLERANCE
            largest = max(parity.largest_magnitude(self.expected), float(np.finfo(np.float32).tiny))
            if entry.max_difference > tolerance * largest:
                return [f"its outputs differ by up to {entry.max_difference:.3g}, where rounding explains far less"]
            return []
        reasons = []
        if entry.relative_error > RELATIVE_TOLERANCE:
            reasons.append(f"its outputs differ by {entry.relative_error:.0%} of their size")
        if self.is_real and entry.top1_agreement is not None and entry.top1_agreement < TOP1_TOLERANCE:
            reasons.append(f"its top-1 answers agree on {entry.top1_agreement:.2%} of the samples")
        if self.metric is not None and self.own_metric is not None and entry.metric is not None:
            drop = self.own_metric - entry.metric if self.metric.higher_is_better else entry.metric - self.own_metric
            better = self.metric.higher_is_better
            tolerated = drop_tolerance(self.own_metric, better, entry.samples, entry.top1_agreement)
            if not drop <= tolerated:
                reasons.append(
                    f"its {self.metric.name} is {entry.metric:.4g}, that of the Keras model {self.own_metric:.4g}"
                )
        return reasons


def _float_notes(written: list[_Written]) -> list[str]:
    notes = []
    for file in written:
        operators = tflite.float_operators(file.path.read_bytes()) if file.quantize == "int8" else ()
        if operators:
            notes.append(f"{file.path.name} still computes these operators in float32: {', '.join(operators)}.")
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


def _warning(name: str, reasons: list[str]) -> str:
    return (
        f"(!) {name} does not compute what the Keras model computes: {'; '.join(reasons)}. Do not use it before the"
        " reason is known."
    )
