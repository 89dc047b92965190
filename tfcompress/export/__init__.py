"""Exports a Keras model to files that run elsewhere: .keras, SavedModel and TensorFlow Lite.

`export` writes the files, reads each one back, runs it on real inputs and reports how close it is to the Keras model.
`convert` returns the content of one TFLite file, `run_tflite` runs one with LiteRT, `sparse_tensors` reads its sparse
tensors.
"""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.export.errors import ExportError, MetricError, MissingOperatorError
from tfcompress.export.lambdas import kept_lambdas, without_lambdas
from tfcompress.export.parity import run_tflite
from tfcompress.export.report import ExportedFile, ExportReport
from tfcompress.export.sparse import SparseTensor, sparse_tensors
from tfcompress.export.tflite import convert
from tfcompress.export.writer import export

__all__ = [
    "ExportError",
    "ExportReport",
    "ExportedFile",
    "MetricError",
    "MissingOperatorError",
    "SparseTensor",
    "convert",
    "export",
    "kept_lambdas",
    "run_tflite",
    "sparse_tensors",
    "without_lambdas",
]
