"""Exports a Keras model to files that run elsewhere: .keras, SavedModel, TensorFlow Lite and ONNX.

`export` writes the files, reads each one back, runs it on real inputs and reports how close it is to the Keras model.
`convert` returns the content of one TFLite file, `run_tflite` runs one with LiteRT, `metadata_of` reads
the facts that an export wrote into one, `sparse_tensors` its sparse tensors.
"""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.export.errors import ExportError, ExportMismatch, MetricError, MissingOperatorError
from tfcompress.export.lambdas import kept_lambdas, without_lambdas
from tfcompress.export.metadata import Metadata, metadata_of
from tfcompress.export.operators import Unquantized
from tfcompress.export.report import ExportedFile, ExportReport
from tfcompress.export.running import run_tflite
from tfcompress.export.sparse import SparseTensor, sparse_tensors
from tfcompress.export.tflite import convert
from tfcompress.export.writer import export

__all__ = [
    "ExportError",
    "ExportMismatch",
    "ExportReport",
    "ExportedFile",
    "Metadata",
    "MetricError",
    "MissingOperatorError",
    "SparseTensor",
    "Unquantized",
    "convert",
    "export",
    "kept_lambdas",
    "metadata_of",
    "run_tflite",
    "sparse_tensors",
    "without_lambdas",
]
