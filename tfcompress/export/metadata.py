"""Metadata in TFLite files: what an app must know of inputs and outputs, and how the file came about.

It is JSON in a buffer of the file, named by an entry of the model's own list of metadata (schema of ai_edge_litert).
"""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress import expect

METADATA_NAME = "TFCOMPRESS_METADATA"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Facts about a network that a file of it should hold.

    Attributes:
        labels: the names of the classes, in the order of the outputs.
        input_range: least and greatest number that the network reads, such as (0, 1) for scaled pixels; None if it is
            not known.
        normalization: what has been done to raw inputs before, such as {"scale": 1 / 255} or {"mean": [0.5],
            "std": [0.5]}; `(raw * scale - mean) / std` is what the network reads.
        description: a sentence on the model.
        provenance: how the network came about, as plain data: methods, trail, seed.
    """

    labels: Sequence[str] = ()
    input_range: tuple[float, float] | None = None
    normalization: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    description: str = ""
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the facts. Raises TypeError or ValueError."""
        if isinstance(self.labels, str) or not all(isinstance(label, str) for label in self.labels):
            expect.refuse(
                "labels",
                "names of classes, in order",
                self.labels,
                "Give a list such as ['cat', 'dog'].",
                wrong_type=True,
            )
        object.__setattr__(self, "labels", tuple(self.labels))
        if self.input_range is not None:
            _check_range(self.input_range)
            object.__setattr__(self, "input_range", tuple(map(float, self.input_range)))
        expect.text("description", self.description, empty=True)
        for name in ("normalization", "provenance"):
            value = getattr(self, name)
            if not isinstance(value, Mapping) or not _is_json(value):
                what = "a dictionary of texts, finite numbers and lists"
                expect.refuse(name, what, value, "Give what JSON can hold.", wrong_type=True)


def metadata_of(file: str | os.PathLike[str] | bytes) -> dict[str, Any]:
    """Returns the metadata that an export wrote into a TFLite file.

    Args:
        file: the file, or its content.

    Returns:
        `labels`, `input_range`, `normalization`, `description`, `provenance`, `inputs` and `outputs` (each with name,
        shape, type, scale and zero point; inputs with the range of the samples), `quantize`, `versions`, `keeps_state`.

    Raises:
        ValueError: the file is no TFLite file, or has no metadata of tfcompress.
    """
    content = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
    from ai_edge_litert import schema_py_generated as schema

    if not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise ValueError(f"Expected a TFLite file. Received: {_shown(file)}. Give a file that export wrote.")
    model = schema.Model.GetRootAs(content)
    for entry in (model.Metadata(index) for index in range(model.MetadataLength())):
        if entry.Name() == METADATA_NAME.encode():
            facts: dict[str, Any] = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
            return facts
    raise ValueError(
        f"Expected a TFLite file with metadata of tfcompress. Received: {_shown(file)}, which has none."
        " tfcompress.export.export writes it."
    )


def with_metadata(content: bytes, facts: Mapping[str, Any]) -> bytes:
    """Returns the content of a TFLite file with facts added to its metadata, in place of older ones."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    data = np.frombuffer(json.dumps({"format": _FORMAT, **facts}, separators=(",", ":")).encode(), np.uint8)
    kept = [entry for entry in model.metadata or [] if entry.name != METADATA_NAME.encode()]
    buffer = schema.BufferT()
    buffer.data = data
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    model.metadata = [*kept, entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def facts_of(
    content: bytes, quantize: str, metadata: Metadata, samples: Sequence[np.ndarray] | None, keeps_state: bool
) -> dict[str, Any]:
    """Returns the facts for a TFLite file: the given ones, and those that the file and the samples tell.

    Args:
        content: the file.
        quantize: the name of its form.
        metadata: what is known of the network.
        samples: real inputs, one array [samples, ...] for each; None where there are none.
        keeps_state: whether operators of the file keep a state from call to call.
    """
    from ai_edge_litert.interpreter import Interpreter

    from tfcompress.process import quiet

    with quiet():
        runner = Interpreter(model_content=content).get_signature_runner()
        inputs = [_tensor(name, detail) for name, detail in runner.get_input_details().items()]
        outputs = [_tensor(name, detail) for name, detail in runner.get_output_details().items()]
    return {
        "labels": list(metadata.labels),
        "input_range": metadata.input_range,
        "normalization": dict(metadata.normalization),
        "description": metadata.description,
        "provenance": dict(metadata.provenance),
        "inputs": inputs,
        "outputs": outputs,
        "sample_ranges": None if samples is None else [_range(array) for array in samples],
        "quantize": quantize,
        "keeps_state": keeps_state,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Returns the versions of the packages that a file depends on."""
    import importlib.metadata

    named = {"keras": keras.__version__, "tensorflow": tf.__version__}
    for package in ("tfcompress", "ai-edge-litert"):
        try:
            named[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
            named[package] = "unknown"
    return named


def _tensor(name: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    scale, zero_point = detail["quantization"]
    return {
        "name": name,
        "shape": [int(size) for size in detail["shape_signature"]],
        "type": np.dtype(detail["dtype"]).name,
        "scale": float(scale),
        "zero_point": int(zero_point),
    }


def _range(array: np.ndarray) -> list[float] | None:
    return [float(array.min()), float(array.max())] if array.dtype.kind in "iuf" else None


def _check_range(given: Any) -> None:
    is_pair = isinstance(given, (tuple, list)) and len(given) == 2
    if not is_pair or not all(isinstance(end, (int, float)) and math.isfinite(end) for end in given):
        advice = "Give (0, 1) for pixels that are divided by 255."
        expect.refuse("input_range", "two numbers, (least, greatest)", given, advice, wrong_type=True)
    if given[0] >= given[1]:
        expect.refuse("input_range", "two numbers that rise", given, "Give the least number first.")


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _shown(file: Any) -> str:
    return f"{len(file)} bytes" if isinstance(file, bytes) else repr(str(file))
