"""What the project knows of each layer class: one file a family of layers, one handler a class."""

from tfcompress.graph.handlers import (
    applications,
    convolution,
    custom,
    dense,
    elementwise,
    merge,
    operators,
    reshape,
    shape,
)
from tfcompress.graph.handlers.base import Call, Handler, MacTerm, WeightAxes, Width, handler_of, handles

__all__ = [
    "Call",
    "Handler",
    "MacTerm",
    "WeightAxes",
    "Width",
    "applications",
    "convolution",
    "custom",
    "dense",
    "elementwise",
    "handler_of",
    "handles",
    "merge",
    "operators",
    "reshape",
    "shape",
]
