"""The report of an export: the files, and how close each is to the Keras model."""

import dataclasses
import json
import math
import pathlib


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """One written file, read back, run, and compared with the Keras model.

    Attributes:
        path: the file, or the folder of a SavedModel.
        format: `"keras"`, `"saved_model"` or `"tflite"`.
        quantize: `"float32"`, `"float16"`, `"dynamic"`, `"int8"`, `"sparse"` or `"qat"` for TFLite, None otherwise.
        bytes: size of the file, or of all files in the folder.
        max_difference: largest absolute difference of any output number from the Keras model's; infinite if one of the
            two is not a number, or if shapes differ.
        top1_agreement: share of the samples with the same largest class as the Keras model, in every output of shape
            [batch, classes > 1]; None if there is no such output.
        samples: number of samples compared.
        suspect: True if the file must not be used before the reason is known: a float32 file that differs more than
            rounding explains, a quantized file whose outputs, top-1 answers or metric differ more than quantization
            explains (the tolerances of `tfcompress.export.quality`), or any file with outputs that are not finite. The
            report's notes give the reasons.
        relative_error: root mean square of the differences, divided by that of the Keras model's outputs.
        metric: the task's metric of the file's outputs on the samples; None if the task's labels are not known.
    """

    path: str
    format: str
    quantize: str | None
    bytes: int
    max_difference: float
    top1_agreement: float | None
    samples: int
    suspect: bool = False
    relative_error: float = 0.0
    metric: float | None = None


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """The written files, and notes on their numbers.

    Attributes:
        files: one entry per file, in the order keras, saved_model, tflite.
        largest_output: the largest absolute output of the Keras model on the samples, to compare `max_difference` with.
        notes: sentences, such as that the comparison was made on random inputs.
        metric_name: the name of the task's metric, "" if it is not known.
        metric: the metric of the Keras model on the samples, to compare each file's `metric` with.
    """

    files: tuple[ExportedFile, ...]
    largest_output: float
    notes: tuple[str, ...] = ()
    metric_name: str = ""
    metric: float | None = None

    def noted(self, note: str) -> "ExportReport":
        """Returns the report with a further note, placed first."""
        return dataclasses.replace(self, notes=(note, *self.notes))

    def summary(self) -> str:
        """Returns a text table with one line per file, and the notes below."""
        rows: list[tuple[str, ...]] = [("file", "format", "bytes", "largest difference", "top-1 agreement", "samples")]
        rows += [_row(file) for file in self.files]
        if self.metric is not None:
            metrics = [self.metric_name, *(_number(file.metric) for file in self.files)]
            rows = [(*row, cell) for row, cell in zip(rows, metrics, strict=True)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(map(_pad, row, widths, range(len(row)))) for row in rows]
        lines.insert(1, "-" * len(lines[0]))
        lines.append(f"Largest absolute output of the Keras model: {self.largest_output:.4g}.")
        if self.metric is not None:
            lines.append(f"{self.metric_name} of the Keras model: {_number(self.metric)}.")
        return "\n".join([line.rstrip() for line in lines] + list(self.notes))

    def to_json(self) -> str:
        """Returns the report as JSON; numbers that are not finite are written as strings."""
        content = dataclasses.asdict(self)
        for entry in (content, *content["files"]):
            for name, value in entry.items():
                if isinstance(value, float):
                    entry[name] = _json_number(value)
        return json.dumps(content, indent=2, allow_nan=False)


def _row(file: ExportedFile) -> tuple[str, ...]:
    form = file.format if file.quantize is None else f"{file.format} {file.quantize}"
    agreement = "-" if file.top1_agreement is None else f"{file.top1_agreement:.2%}"
    difference = f"{file.max_difference:.3g}" + (" (!)" if file.suspect else "")
    return pathlib.PurePath(file.path).name, form, f"{file.bytes:,}", difference, agreement, f"{file.samples:,}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column < 2 else cell.rjust(width)


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
