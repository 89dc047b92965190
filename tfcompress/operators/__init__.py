"""Latency of a network with any widths, predicted from LiteRT's operators, each measured over its widths."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.operators.prediction import LatencyPrediction, MissingFromTable
from tfcompress.operators.shapes import FileOfWidths, Unresolved
from tfcompress.operators.table import Correction, OperatorTable

__all__ = ["Correction", "FileOfWidths", "LatencyPrediction", "MissingFromTable", "OperatorTable", "Unresolved"]
