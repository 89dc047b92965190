"""Training of a student by a teacher: on its outputs, and on the outputs of its sections."""

from tfcompress.training.teaching.adversarial import Adversarial, DomainCritic, check_discriminator
from tfcompress.training.teaching.cached import bytes_of_cache, cached_batches, check_cache
from tfcompress.training.teaching.logits import logits_of
from tfcompress.training.teaching.losses import (
    HINT_LOSSES,
    KDLoss,
    LabelsLoss,
    OutputLoss,
    OutputsLoss,
    SoftTargets,
    Step,
    hint_loss,
)
from tfcompress.training.teaching.model import Critic, Distillation, Hints, PointHints
from tfcompress.training.teaching.parts import Points, SplitModel
from tfcompress.training.teaching.regressors import regressor
from tfcompress.training.teaching.remembered import remembered
from tfcompress.training.teaching.settings import computing_in, frozen
from tfcompress.training.teaching.teaching import Teach, Teaching

__all__ = [
    "HINT_LOSSES",
    "Adversarial",
    "Critic",
    "Distillation",
    "DomainCritic",
    "Hints",
    "KDLoss",
    "LabelsLoss",
    "OutputLoss",
    "OutputsLoss",
    "PointHints",
    "Points",
    "SoftTargets",
    "SplitModel",
    "Step",
    "Teach",
    "Teaching",
    "bytes_of_cache",
    "cached_batches",
    "check_cache",
    "check_discriminator",
    "computing_in",
    "frozen",
    "hint_loss",
    "logits_of",
    "regressor",
    "remembered",
]
