"""Training a student on what a teacher gives: its outputs, and what its sections hand on."""

from tfcompress.training.teaching.adversarial import Adversarial, DomainCritic, check_discriminator
from tfcompress.training.teaching.cached import bytes_of_cache, cached_batches, check_cache
from tfcompress.training.teaching.logits import logits_of
from tfcompress.training.teaching.losses import (
    HINT_LOSSES,
    KDLoss,
    OutputLoss,
    OutputsLoss,
    SoftTargets,
    Step,
    hint_loss,
)
from tfcompress.training.teaching.model import Critic, Distillation, Hints
from tfcompress.training.teaching.parts import SplitModel
from tfcompress.training.teaching.settings import computing_in, frozen

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
