"""What the project knows of each layer class: one file a family of layers, one handler a class."""

from tfcompress.graph.handlers import convolution, custom, dense, elementwise, merge, shape
from tfcompress.graph.handlers.base import Call, Handler, MacTerm, WeightAxes, handler_of, handles

__all__ = [
    "Call",
    "Handler",
    "MacTerm",
    "WeightAxes",
    "convolution",
    "custom",
    "dense",
    "elementwise",
    "handler_of",
    "handles",
    "merge",
    "shape",
]
