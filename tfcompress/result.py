"""`Result`: the compressed model, what it cost before and after, and how it came about."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfcompress import expect
from tfcompress.costs import Cost
from tfcompress.export import ExportReport, MetricError, kept_lambdas, without_lambdas
from tfcompress.export import export as write_exports
from tfcompress.manifest import check_manifest
from tfcompress.methods import Candidate
from tfcompress.plan import Plan
from tfcompress.process import ignored_warnings
from tfcompress.report.table import in_columns
from tfcompress.rewrite import apply
from tfcompress.staging import Stage, recover, refuse_foreign
from tfcompress.training import load_arrays, save_arrays

__all__ = ["Measured", "Result"]

_MODEL, _PLAN, _RESULT = "model.keras", "plan.json", "result.json"
_CALIBRATION, _HELD_OUT = "calibration", "held_out"
_FORMAT = 2
_STORED = {
    "before",
    "after",
    "candidates",
    "history",
    "metric",
    "method",
    "settings",
    "seed",
    "notes",
    "higher_is_better",
}


@dataclasses.dataclass(frozen=True)
class Measured:
    """Cost and accuracy of a model.

    Attributes:
        macs: multiply-adds of one sample (FLOPs = 2 x MACs).
        params: learned weights.
        bytes: size of all weights.
        accuracy: the metric on `split`, or `None` where there is no metric.
        split: `"test"`, or `"validation"` where no test split was given.
        validation_accuracy: the metric on the validation split, which was used to choose.
    """

    macs: int
    params: int
    bytes: int
    accuracy: float | None
    split: str
    validation_accuracy: float | None

    @classmethod
    def of(cls, cost: Cost, validation: float | None, test: float | None) -> Measured:
        """Puts a cost and accuracies together; the test split's, where there is one, is the accuracy."""
        split = "validation" if test is None else "test"
        return cls(cost.macs, cost.params, cost.bytes, validation if test is None else test, split, validation)


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What `tfcompress.compress` returns.

    Attributes:
        model: the compressed `keras.Model`: stock Keras layers, loads where only Keras is installed.
        plan: what was removed.
        candidates: other answers that the search found worth keeping, each a plan with its cost and score.
        before: cost and accuracy of the model as it was given.
        after: those of `model`.
        history: `{"search": logs by epoch, "recover": logs by epoch}`.
        metric: name of the metric that `accuracy` stands for.
        method: name of the method.
        settings: its settings.
        seed: the seed.
        notes: what should be known of the run: the splits, warnings, decisions.
        calibration: inputs for int8 export.
        held_out: `(x, y)` of some hundred samples of the test split, or else of the validation split, on which exported
            files are compared; `None` where a result has none, then the calibration inputs serve.
        measure: `metric` as a function `(y, outputs) -> float` of all labels and outputs, or `None`. A loaded result
            has it from what its model is compiled with.
        higher_is_better: whether a larger `metric` means a better model.
    """

    model: keras.Model
    plan: Plan
    candidates: tuple[Candidate, ...]
    before: Measured
    after: Measured
    history: dict[str, dict[str, list[Any]]]
    metric: str
    method: str
    settings: dict[str, Any]
    seed: int
    notes: tuple[str, ...]
    calibration: Any
    held_out: tuple[Any, Any] | None = None
    measure: Callable[[Any, Any], Any] | None = None
    higher_is_better: bool = True

    def __str__(self) -> str:
        rows = [
            ("", "before", "after", "share"),
            _row("MACs", self.before.macs, self.after.macs),
            _row("parameters", self.before.params, self.after.params),
            _row("bytes of weights", self.before.bytes, self.after.bytes),
        ]
        for split in ("test", "validation"):
            before, after = self._metric(self.before, split), self._metric(self.after, split)
            if before is not None and after is not None:
                rows.append((f"{self.metric} ({split})", f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"))
        return "\n".join([f"{self.method}, seed {self.seed}", *in_columns(rows, left=1), *self.notes])

    @staticmethod
    def _metric(measured: Measured, split: str) -> float | None:
        if split == "validation":
            return measured.validation_accuracy
        return measured.accuracy if measured.split == "test" else None

    def summary(self) -> None:
        """Prints cost and accuracy before and after, and on which split each accuracy was measured."""
        print(self)

    def export(
        self,
        path: str | os.PathLike[str],
        formats: str | Sequence[str] = ("keras", "saved_model", "tflite"),
        quantize: str | Sequence[str | None] | None = (None,),
        metric: Callable[[Any, Any], Any] | None = None,
    ) -> ExportReport:
        """Writes the model for other runtimes; every file is read back, run, and compared with the model.

        Args:
            path: a folder.
            formats: any of `"keras"`, `"saved_model"`, `"tflite"`.
            quantize: for TFLite, any of `None` (float32), `"float16"`, `"dynamic"`, `"int8"`.
            metric: how good outputs are, `(y, outputs) -> float`, where a loaded result does not know its own metric
                any more: it was a function of the caller's. Larger is better if `higher_is_better`.

        Returns:
            An `ExportReport`: for each file its size, the largest difference of outputs, the agreement of top-1
            answers, and the task's metric, on held-out samples.
        """
        inputs = self.calibration
        if self.held_out is None:
            report = write_exports(self.model, path, formats, quantize, inputs)
            return report.noted("This result holds no labels to measure files by.")
        x, y = self.held_out
        own = self.measure or (_compiled_measure(self.model, self.metric) if self.model.compiled else None)
        if metric is not None:
            report = write_exports(self.model, path, formats, quantize, inputs, x, y, metric, self.higher_is_better)
            return report.noted("Compared on held-out samples.")
        if own is not None and self.metric:
            named = _named(own, self.metric)
            with contextlib.suppress(MetricError):
                report = write_exports(self.model, path, formats, quantize, inputs, x, y, named, self.higher_is_better)
                return report.noted("Compared on held-out samples.")
        report = write_exports(self.model, path, formats, quantize, inputs, x)
        lost = f"{self.metric} is not known any more, metric= gives it" if self.metric else "the task has no metric"
        return report.noted(f"Compared on held-out samples by outputs alone: {lost}.")

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the result into a folder, which `Result.load` reads; an older result there is replaced as a whole.

        A Lambda layer whose function is made of operators and `keras.ops` is written as these operations, as Keras
        does not read functions back. Where another one is left, a warning says how the result is loaded.

        Args:
            folder: a new or empty folder, or that of an older result; a link to one stands for it.

        Raises:
            FileExistsError: something in the folder is not of a result that `save` wrote, or has been changed since;
                nothing has been touched.
            OSError: the folder cannot be written; what was there before is there still.
        """
        path = expect.path("folder", folder, "a folder")
        refuse_others(path)
        network = without_lambdas(self.model)
        if kept := kept_lambdas(network):
            warnings.warn(about_lambdas(kept), stacklevel=2)
        with Stage(path) as stage:
            with ignored_warnings("The object being serialized includes a `lambda`"):  # said in our own words
                network.save(stage.new / _MODEL)
            (stage.new / _PLAN).write_text(self.plan.to_json(), encoding="utf-8")
            (stage.new / _RESULT).write_text(json.dumps(self._to_dict(), indent=1), encoding="utf-8")
            save_arrays(stage.new / _CALIBRATION, self.calibration)
            if self.held_out is not None:
                save_arrays(stage.new / _HELD_OUT, self.held_out)
            stage.place(whole=True)

    def _to_dict(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "before": dataclasses.asdict(self.before),
            "after": dataclasses.asdict(self.after),
            "candidates": [candidate_to_dict(candidate) for candidate in self.candidates],
            "history": self.history,
            "metric": self.metric,
            "method": self.method,
            "settings": self.settings,
            "seed": self.seed,
            "notes": list(self.notes),
            "higher_is_better": self.higher_is_better,
        }

    @classmethod
    def load(cls, folder: str | os.PathLike[str], model: keras.Model | None = None) -> Result:
        """Reads what `save` wrote; a run folder of a finished run will do as well.

        Args:
            folder: the folder of the result, or of the run.
            model: the model that was compressed, which is needed where Keras cannot make the compressed one from its
                file: it has a Lambda with code of its own, or a layer whose class is not registered. It is rebuilt by
                the plan then; the weights come from the file.

        Raises:
            FileNotFoundError: no result there.
            ValueError: a file is damaged or missing, or belongs to another result; the message names it. Or Keras
                cannot make the model, or `model` is not the one that was compressed.
        """
        path = expect.path("folder", folder, "a folder")
        if not (path / _RESULT).exists() and (path / "result").is_dir():
            path = path / "result"
        recover(path)
        if not (path / _RESULT).exists():
            raise FileNotFoundError(
                "Expected the folder of a saved result, or the run folder of a finished run. "
                f"Received: {str(folder)!r}, which has no {_RESULT}."
            )
        check_manifest(path)
        data = _read(path / _RESULT)
        return cls(
            model=_load_model(path / _MODEL) if model is None else _rebuilt(path, model),
            plan=Plan.from_json((path / _PLAN).read_text(encoding="utf-8")),
            calibration=load_arrays(path / _CALIBRATION),
            held_out=load_arrays(path / _HELD_OUT),
            **data,
        )


def about_lambdas(names: Sequence[str]) -> str:
    """What to know of a result with Lambda layers that hold code of their own."""
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


def _read(path: pathlib.Path) -> dict[str, Any]:
    """The fields of a result that are stored as JSON."""
    data = json.loads(path.read_text(encoding="utf-8"))
    stated = data.pop("format", None) if isinstance(data, dict) else None
    if stated != _FORMAT:
        raise ValueError(f"Expected a result of format {_FORMAT}. Received: format={stated!r} in {path}")
    if missing := sorted(_STORED - data.keys()):
        raise ValueError(f"Expected {', '.join(missing)} in {path}. Received: a result without. Save it again.")
    if unknown := sorted(data.keys() - _STORED):
        raise ValueError(f"Expected {', '.join(sorted(_STORED))} in {path}. Received besides: {', '.join(unknown)}.")
    try:
        data["candidates"] = tuple(candidate_from_dict(entry) for entry in data["candidates"])
        data["before"], data["after"] = Measured(**data["before"]), Measured(**data["after"])
        data["notes"] = tuple(data["notes"])
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


def _rebuilt(path: pathlib.Path, source: keras.Model) -> keras.Model:
    """The compressed model, from the one that was compressed, the plan, and the weights in the file."""
    try:
        model = apply(source, Plan.from_json((path / _PLAN).read_text(encoding="utf-8")))
        model.load_weights(path / _MODEL)
    except (ValueError, TypeError, KeyError) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            f"Expected `model` to be the model that the result in {path} was made from. Received: model {source.name!r}"
            f", which does not fit: {first}"
        ) from error
    with zipfile.ZipFile(path / _MODEL) as archive:
        config = json.loads(archive.read("config.json")).get("compile_config")
    if config:
        model.compile_from_config(config)
    return model


def _compiled_measure(model: keras.Model, name: str) -> Callable[[Any, Any], float]:
    """The metric of this name that a model is compiled with, as a function `(y, outputs) -> float`.

    Calling it raises KeyError where there is no such metric. The model's own record of metrics is reset.
    """

    def measure(y: Any, outputs: Any) -> float:
        model.reset_metrics()
        value = model.compute_metrics(x=None, y=y, y_pred=outputs, sample_weight=None)[name]
        model.reset_metrics()
        return float(value)

    return measure


def _named(function: Callable[[Any, Any], Any], name: str) -> Callable[[Any, Any], Any]:
    """The function under a name for the report."""

    def named(y: Any, outputs: Any) -> Any:
        return function(y, outputs)

    named.__name__ = name
    return named


def _row(name: str, before: int, after: int) -> tuple[str, str, str, str]:
    return name, f"{before:,}", f"{after:,}", f"{after / before:.1%}" if before else "-"


def candidate_to_dict(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON data."""
    return {**dataclasses.asdict(candidate), "plan": candidate.plan.to_json()}


def candidate_from_dict(data: dict[str, Any]) -> Candidate:
    """What `candidate_to_dict` made."""
    return Candidate(Plan.from_json(data["plan"]), Cost(**data["cost"]), data["score"], data["origin"])
