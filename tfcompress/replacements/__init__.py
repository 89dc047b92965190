"""Replacements: cheaper things that may stand in the place of a layer or region, one a file."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.replacements.base import Part, Replacement, by_name, fitting, names, register_replacement
from tfcompress.replacements.depthwise import Depthwise
from tfcompress.replacements.pointwise import Pointwise
from tfcompress.replacements.separable import Separable

__all__ = [
    "Depthwise",
    "Part",
    "Pointwise",
    "Replacement",
    "Separable",
    "by_name",
    "fitting",
    "names",
    "register_replacement",
]
