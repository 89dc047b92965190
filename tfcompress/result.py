"""`Result`: the compressed model, what it cost before and after, and how it came about."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfcompress import expect
from tfcompress.costs import Cost
from tfcompress.export import ExportReport
from tfcompress.export import export as write_exports
from tfcompress.methods import Candidate
from tfcompress.plan import Plan
from tfcompress.report.table import in_columns
from tfcompress.training import Checkpoints

__all__ = ["Measured", "Result"]

_MODEL, _PLAN, _RESULT, _CALIBRATION = "model.keras", "plan.json", "result.json", "calibration"


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
        calibration: inputs for int8 export and for comparing exported files.
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
    ) -> ExportReport:
        """Writes the model for other runtimes; every file is read back, run, and compared with the model.

        Args:
            path: a folder.
            formats: any of `"keras"`, `"saved_model"`, `"tflite"`.
            quantize: for TFLite, any of `None` (float32), `"float16"`, `"dynamic"`, `"int8"`.

        Returns:
            An `ExportReport`: for each file its size, the largest difference of outputs, the agreement of top-1
            answers on the calibration inputs.
        """
        return write_exports(self.model, path, formats, quantize, calibration=self.calibration)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the result into a folder, which `Result.load` reads; an older result there is replaced as a whole.

        Raises:
            OSError: the folder cannot be written.
        """
        target: pathlib.Path = expect.path("folder", folder, "a folder")
        part = target.with_name(f"{target.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        self.model.save(part / _MODEL)
        (part / _PLAN).write_text(self.plan.to_json())
        (part / _RESULT).write_text(json.dumps(self._to_dict(), indent=1))
        flat = {f"{i:03d}": np.asarray(array) for i, array in enumerate(keras.tree.flatten(self.calibration))}
        Checkpoints(part / _CALIBRATION).finish(0, flat, {"keys": _keys(self.calibration)})
        old = target.with_name(f"{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        part.rename(target)
        shutil.rmtree(old, ignore_errors=True)

    def _to_dict(self) -> dict[str, Any]:
        return {
            "format": 1,
            "before": dataclasses.asdict(self.before),
            "after": dataclasses.asdict(self.after),
            "candidates": [candidate_to_dict(candidate) for candidate in self.candidates],
            "history": self.history,
            "metric": self.metric,
            "method": self.method,
            "settings": self.settings,
            "seed": self.seed,
            "notes": list(self.notes),
        }

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Result:
        """Reads what `save` wrote; a run folder of a finished run will do as well.

        Raises:
            FileNotFoundError: no result there.
        """
        path: pathlib.Path = expect.path("folder", folder, "a folder")
        if not (path / _RESULT).exists() and (path / "result" / _RESULT).exists():
            path = path / "result"
        if not (path / _RESULT).exists():
            raise FileNotFoundError(
                "Expected the folder of a saved result, or the run folder of a finished run. "
                f"Received: {str(folder)!r}, which has no {_RESULT}."
            )
        data = json.loads((path / _RESULT).read_text())
        if data.pop("format") != 1:
            raise ValueError(f"Expected a result of format 1. Received: {path}")
        stored = Checkpoints(path / _CALIBRATION).latest()
        calibration = None if stored is None else _structure(stored.tensors, stored.info["keys"])
        return cls(
            model=keras.saving.load_model(path / _MODEL),
            plan=Plan.from_json((path / _PLAN).read_text()),
            candidates=tuple(candidate_from_dict(entry) for entry in data.pop("candidates")),
            before=Measured(**data.pop("before")),
            after=Measured(**data.pop("after")),
            notes=tuple(data.pop("notes")),
            calibration=calibration,
            **data,
        )


def _row(name: str, before: int, after: int) -> tuple[str, str, str, str]:
    return name, f"{before:,}", f"{after:,}", f"{after / before:.1%}" if before else "-"


def candidate_to_dict(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON data."""
    return {**dataclasses.asdict(candidate), "plan": candidate.plan.to_json()}


def candidate_from_dict(data: dict[str, Any]) -> Candidate:
    """What `candidate_to_dict` made."""
    return Candidate(Plan.from_json(data["plan"]), Cost(**data["cost"]), data["score"], data["origin"])


def _keys(structure: Any) -> list[str] | int | None:
    """Names of a dict of arrays, length of a tuple, `None` for a single array."""
    if isinstance(structure, dict):
        return sorted(structure)
    return len(structure) if isinstance(structure, (tuple, list)) else None


def _structure(tensors: dict[str, np.ndarray], keys: Any) -> Any:
    arrays = [tensors[name] for name in sorted(tensors)]
    if isinstance(keys, list):
        return dict(zip(keys, arrays, strict=True))
    return arrays[0] if keys is None else tuple(arrays)
