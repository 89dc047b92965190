"""Students that learn from a teacher: LIT, and the baselines of its paper."""

from tfcompress.methods.distillation.baselines import KD, BornAgain, Scratch
from tfcompress.methods.distillation.generative import AdversarialSettings
from tfcompress.methods.distillation.hint import Hint
from tfcompress.methods.distillation.lit import LIT
from tfcompress.methods.distillation.tuning import Tuning

__all__ = ["KD", "LIT", "AdversarialSettings", "BornAgain", "Hint", "Scratch", "Tuning"]
