"""What the project knows of each layer class: one file a family of layers, one handler a class."""

from tfcompress.graph.handlers import (
    attention,
    convolution,
    custom,
    dense,
    einsum,
    elementwise,
    embedding,
    merge,
    normalization,
    recurrent,
    shape,
    wrappers,
)
from tfcompress.graph.handlers.base import Call, Handler, MacTerm, WeightAxes, handler_of, handles

__all__ = [
    "Call",
    "Handler",
    "MacTerm",
    "WeightAxes",
    "attention",
    "convolution",
    "custom",
    "dense",
    "einsum",
    "elementwise",
    "embedding",
    "handler_of",
    "handles",
    "merge",
    "normalization",
    "recurrent",
    "shape",
    "wrappers",
]
