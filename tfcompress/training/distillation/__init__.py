"""Training a student on what a teacher gives: its outputs, and what its sections hand on."""

from tfcompress.training.distillation.adversarial import Adversarial, DomainCritic, check_discriminator
from tfcompress.training.distillation.cached import bytes_of_cache, cached_batches, check_cache
from tfcompress.training.distillation.logits import logits_of
from tfcompress.training.distillation.losses import (
    HINT_LOSSES,
    KDLoss,
    OutputLoss,
    OutputsLoss,
    SoftTargets,
    Step,
    hint_loss,
)
from tfcompress.training.distillation.model import Critic, Distillation, Hints
from tfcompress.training.distillation.parts import SplitModel
from tfcompress.training.distillation.settings import computing_in, frozen

__all__ = [
    "HINT_LOSSES",
    "Adversarial",
    "Critic",
    "Distillation",
    "DomainCritic",
    "Hints",
    "KDLoss",
    "OutputLoss",
    "OutputsLoss",
    "SoftTargets",
    "SplitModel",
    "Step",
    "bytes_of_cache",
    "cached_batches",
    "check_cache",
    "check_discriminator",
    "computing_in",
    "frozen",
    "hint_loss",
    "logits_of",
]
