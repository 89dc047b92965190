"""Training a student on what a teacher gives: its outputs, and what its sections hand on."""

from tfcompress.training.distillation.logits import logits_of
from tfcompress.training.distillation.losses import HINT_LOSSES, KDLoss, OutputLoss, OutputsLoss, SoftTargets, hint_loss
from tfcompress.training.distillation.model import Distillation, Hints
from tfcompress.training.distillation.parts import SplitModel
from tfcompress.training.distillation.settings import computing_in, frozen

__all__ = [
    "HINT_LOSSES",
    "Distillation",
    "Hints",
    "KDLoss",
    "OutputLoss",
    "OutputsLoss",
    "SoftTargets",
    "SplitModel",
    "computing_in",
    "frozen",
    "hint_loss",
    "logits_of",
]
