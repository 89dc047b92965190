"""Replacements: cheaper layers that can replace a layer or region; one per file."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.replacements.base import Part, Replacement, by_name, fitting, names, register_replacement
from tfcompress.replacements.depthwise import Depthwise
from tfcompress.replacements.gru import Gru
from tfcompress.replacements.identity import Identity
from tfcompress.replacements.low_rank import LowRank, LowRankDense
from tfcompress.replacements.pointwise import Pointwise
from tfcompress.replacements.self_attention import SelfAttention
from tfcompress.replacements.separable import Separable
from tfcompress.replacements.separable_1d import Separable1D
from tfcompress.replacements.shift import Shift
from tfcompress.replacements.smaller_lstm import SmallerLSTM

__all__ = [
    "Depthwise",
    "Gru",
    "Identity",
    "LowRank",
    "LowRankDense",
    "Part",
    "Pointwise",
    "Replacement",
    "SelfAttention",
    "Separable",
    "Separable1D",
    "Shift",
    "SmallerLSTM",
    "by_name",
    "fitting",
    "names",
    "register_replacement",
]
