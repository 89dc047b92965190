"""The methods, one file or folder per paper, and the baselines that the papers compare with.

A method is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from tfcompress._lazy import loader
from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.methods.base import Candidate, Method, Search
from tfcompress.methods.registry import method_by_name, register_method, registered_methods
from tfcompress.training import Training

if TYPE_CHECKING:
    from tfcompress.methods.amc import AMC
    from tfcompress.methods.channel_pruner import ChannelPruner
    from tfcompress.methods.darc import DARC, Replaced
    from tfcompress.methods.distillation import KD, LIT, AdversarialSettings, BornAgain, Hint, Scratch, Tuning
    from tfcompress.methods.knapsack import Knapsack
    from tfcompress.methods.n2n import N2N
    from tfcompress.methods.random import Random
    from tfcompress.methods.rlal import RLAL
    from tfcompress.methods.taylor import TaylorPruning
    from tfcompress.methods.trained import TrainedMethod
    from tfcompress.methods.uniform import Uniform
    from tfcompress.methods.weights import QAT, Cluster, Magnitude
    from tfcompress.training.teaching import Teaching

__all__ = [
    "AMC",
    "DARC",
    "KD",
    "LIT",
    "N2N",
    "QAT",
    "RLAL",
    "AdversarialSettings",
    "BornAgain",
    "Candidate",
    "ChannelPruner",
    "Cluster",
    "Hint",
    "Knapsack",
    "Magnitude",
    "Method",
    "Random",
    "Replaced",
    "Scratch",
    "Search",
    "TaylorPruning",
    "Teaching",
    "TrainedMethod",
    "Training",
    "Tuning",
    "Uniform",
    "method_by_name",
    "register_method",
    "registered_methods",
]

_HOMES = {
    "AMC": "amc",
    "AdversarialSettings": "distillation",
    "BornAgain": "distillation",
    "ChannelPruner": "channel_pruner",
    "Cluster": "weights",
    "DARC": "darc",
    "Hint": "distillation",
    "Knapsack": "knapsack",
    "KD": "distillation",
    "LIT": "distillation",
    "Magnitude": "weights",
    "N2N": "n2n",
    "QAT": "weights",
    "RLAL": "rlal",
    "Random": "random",
    "Replaced": "darc",
    "Scratch": "distillation",
    "TaylorPruning": "taylor",
    "Teaching": "trained",
    "TrainedMethod": "trained",
    "Tuning": "distillation",
    "Uniform": "uniform",
}

__getattr__ = loader(__name__, _HOMES, ("phases", *_HOMES.values()))


def __dir__() -> list[str]:
    return sorted({*__all__, *_HOMES.values()})
