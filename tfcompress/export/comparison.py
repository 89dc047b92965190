"""Compares written files with the Keras model, and says which of them are suspect."""

import dataclasses
import pathlib

import keras
import numpy as np

from tfcompress.export import differences, parity, saved_model
from tfcompress.export.network import is_float32
from tfcompress.export.operators import Unquantized
from tfcompress.export.quality import RELATIVE_TOLERANCE, TOP1_TOLERANCE, TaskMetric, drop_tolerance
from tfcompress.export.report import ExportedFile

_OUTPUTS_OF = {
    "keras": parity.keras_file_outputs,
    "saved_model": parity.saved_model_outputs,
    "tflite": parity.tflite_outputs,
    "onnx": parity.onnx_outputs,
}


@dataclasses.dataclass(frozen=True)
class Written:
    """A file that is written but not yet compared: where, in which format and form, and what stayed float32."""

    path: pathlib.Path
    format: str
    quantize: str | None
    unquantized: tuple[Unquantized, ...] = ()


@dataclasses.dataclass(frozen=True)
class Compared:
    """The reference for files: the network's outputs on the samples, and its metric."""

    network: keras.Model
    arrays: list[np.ndarray]
    expected: list[np.ndarray]
    is_real: bool
    metric: TaskMetric | None
    own_metric: float | None

    def entry(self, file: Written) -> tuple[ExportedFile, list[str]]:
        """Runs a file; returns its entry in the report, and the reasons to suspect it."""
        actual = _OUTPUTS_OF[file.format](file.path, self.network, self.arrays)
        entry = ExportedFile(
            path=str(file.path),
            format=file.format,
            quantize=file.quantize,
            bytes=saved_model.size_in_bytes(file.path),
            max_difference=differences.largest_difference(self.expected, actual),
            top1_agreement=differences.top1_agreement(self.expected, actual),
            samples=len(self.arrays[0]),
            relative_error=differences.relative_error(self.expected, actual),
            metric=None if self.metric is None else self.metric.of(actual, self.network),
            unquantized=file.unquantized,
        )
        reasons = self._reasons(entry)
        return dataclasses.replace(entry, suspect=bool(reasons)), reasons

    def _reasons(self, entry: ExportedFile) -> list[str]:
        if not np.isfinite(entry.max_difference):
            return ["some of its outputs are not numbers, or have another shape"]
        if entry.quantize in (None, "float32", "sparse"):
            tolerance = parity.FLOAT32_TOLERANCE if is_float32(self.network) else parity.HALF_TOLERANCE
            largest = max(differences.largest_magnitude(self.expected), float(np.finfo(np.float32).tiny))
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
