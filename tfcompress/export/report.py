"""What an export wrote, and how near each file comes to the Keras model."""

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
        quantize: `"float32"`, `"float16"`, `"dynamic"` or `"int8"` for TFLite, None otherwise.
        bytes: size of the file, or of all files in the folder.
        max_difference: largest absolute difference of any output number from the Keras model's; infinite where one of
            the two is not a number, or where shapes differ.
        top1_agreement: share of the samples whose largest class is the Keras model's, in every output of shape
            [batch, classes > 1]; None where there is no such output.
        samples: number of samples compared.
        suspect: True where the file should compute what the Keras model computes and does not: a float32 file that is
            further off than rounding explains, or any file that answers with numbers that are not finite.
    """

    path: str
    format: str
    quantize: str | None
    bytes: int
    max_difference: float
    top1_agreement: float | None
    samples: int
    suspect: bool = False


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """The written files, and what a reader of their numbers should know.

    Attributes:
        files: one entry a file, in the order keras, saved_model, tflite.
        largest_output: the largest absolute output of the Keras model on the samples; what `max_difference` is
            measured against.
        notes: sentences, such as that the comparison was made on random inputs.
    """

    files: tuple[ExportedFile, ...]
    largest_output: float
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Returns a text table, one line a file, with the notes below."""
        rows: list[tuple[str, ...]] = [("file", "format", "bytes", "largest difference", "top-1 agreement", "samples")]
        rows += [_row(file) for file in self.files]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(map(_pad, row, widths, range(len(row)))) for row in rows]
        lines.insert(1, "-" * len(lines[0]))
        lines.append(f"Largest absolute output of the Keras model: {self.largest_output:.4g}.")
        return "\n".join([line.rstrip() for line in lines] + list(self.notes))

    def to_json(self) -> str:
        """Returns the report as JSON; numbers that are not finite are written as strings."""
        content = dataclasses.asdict(self)
        content["largest_output"] = _json_number(self.largest_output)
        for entry in content["files"]:
            entry["max_difference"] = _json_number(entry["max_difference"])
        return json.dumps(content, indent=2, allow_nan=False)


def _row(file: ExportedFile) -> tuple[str, ...]:
    form = file.format if file.quantize is None else f"{file.format} {file.quantize}"
    agreement = "-" if file.top1_agreement is None else f"{file.top1_agreement:.2%}"
    difference = f"{file.max_difference:.3g}" + (" (!)" if file.suspect else "")
    return pathlib.PurePath(file.path).name, form, f"{file.bytes:,}", difference, agreement, f"{file.samples:,}"


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column < 2 else cell.rjust(width)


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
