"""`Training`: the settings of a training phase; methods list its fields among their own settings."""

from __future__ import annotations

import dataclasses
from typing import Literal

import keras

from tfcompress import expect
from tfcompress.training.optimizers import OptimizerName, checked_optimizer, decays_weights, like, own_rate, schedules
from tfcompress.training.schedules import Cosine, Schedule, StepDecay, scaled

__all__ = ["Keep", "Precision", "Training", "TrainingFields"]

Keep = Literal["best", "last"]
Precision = Literal["mixed_float16", "mixed_bfloat16"]

_OF_SGD = {"momentum", "nesterov"}


@dataclasses.dataclass(frozen=True)
class TrainingFields:
    """Fields of `Training` and their checks, without training code; the defaults suit an evening's run, not a paper's.

    They are declared once, here. A method lists them among its own fields, so that `Uniform(epochs=20)`,
    `dataclasses.replace`, `dataclasses.fields`, `--set epochs=20` and type checkers know them without any machinery.

    Attributes:
        epochs: length of a training phase in epochs.
        batch_size: samples in a batch; a dataset that comes in batches keeps its own.
        learning_rate: initial learning rate. `None`: the rate of the given optimizer; else 0.1 as in the paper, or 0.01
            if the model is already trained (clearly above chance on the validation split), because 0.1 would destroy
            what it has learned. Decided.
        schedule: learning rate schedule: `"step"` (x `decay` at each milestone), `"cosine"`, or `"constant"`, which
            leaves the rate to the optimizer and to callbacks. An optimizer with its own `LearningRateSchedule` keeps
            that.
        milestones: epochs of `"step"`, for a phase of `reference_epochs`; a shorter phase scales them.
        reference_epochs: length of the phase that the milestones are given for.
        decay: factor of the learning rate at a milestone.
        momentum: momentum of SGD.
        nesterov: whether to use Nesterov momentum.
        weight_decay: strength of the weight decay: strength * w is added to every weight's gradient, unless the given
            optimizer has its own weight decay.
        optimizer: `"sgd"` with momentum, `"adam"` with betas (0.5, 0.999), which generators need when trained from
            scratch, a Keras optimizer, which is copied for each phase and never changed, or `"compiled"` for a copy of
            the optimizer that the model is compiled with.
        mixed_precision: dtype policy for computing during training; `None` for float32. Weights stay float32.
        keep: which weights recovery keeps: `"best"` for those of the epoch that did best on the validation split (by
            the metric, and of equal ones by the lower loss; by the loss if there is no metric), `"last"` for those of
            the last epoch, as in the papers. It applies to fine-tuning and to the last phase of a distillation;
            searches that train, and training against a discriminator, keep their last weights.

    Raises:
        TypeError, ValueError: a setting has another type, is out of range, or has no effect.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float | None = None
    schedule: Literal["step", "cosine", "constant"] = "cosine"
    milestones: tuple[int, ...] = (100, 150)
    reference_epochs: int = 200
    decay: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    optimizer: OptimizerName | keras.optimizers.Optimizer = "sgd"
    mixed_precision: Precision | None = None
    keep: Keep = "best"

    def __post_init__(self) -> None:
        expect.settings(self, expect.whole, "epochs")
        expect.settings(self, expect.whole, "batch_size", "reference_epochs", least=1)
        expect.settings(self, expect.each, "milestones", check=expect.whole, what="epochs such as (100, 150)")
        expect.settings(self, expect.number, "learning_rate", above=0, or_none=True)
        expect.settings(self, expect.one_of, "schedule", options=("step", "cosine", "constant"))
        expect.settings(self, expect.number, "decay", above=0)
        expect.settings(self, expect.number, "momentum", at_least=0, below=1)
        expect.settings(self, expect.flag, "nesterov")
        expect.settings(self, expect.number, "weight_decay", at_least=0)
        expect.settings(self, checked_optimizer, "optimizer")
        policies = (None, "mixed_float16", "mixed_bfloat16")
        expect.settings(self, expect.one_of, "mixed_precision", options=policies)
        expect.settings(self, expect.one_of, "keep", options=("best", "last"))
        if self.optimizer == "adam":
            expect.unused(self, sorted(_OF_SGD), "with optimizer='adam', whose betas are (0.5, 0.999)")
        elif self.optimizer != "sgd":
            expect.unused(self, sorted(_OF_SGD), "with an optimizer that has its own value")
            if self.learning_rate is not None and schedules(self.optimizer):
                advice = "with an optimizer that has a LearningRateSchedule"
                expect.unused(self, ["learning_rate"], advice)


@dataclasses.dataclass(frozen=True)
class Training(TrainingFields):
    """A phase of training: its settings, and the optimizer and schedule made from them.

    `dataclasses.asdict` of it gives the keywords of any method: `Uniform(**dataclasses.asdict(training))`.
    """

    @classmethod
    def of(cls, fields: TrainingFields) -> Training:
        """Returns the training of an object that lists these fields among its own, possibly with other defaults."""
        names = {field.name for field in dataclasses.fields(TrainingFields)}
        if fields.optimizer != "sgd":
            names -= _OF_SGD
        return cls(**{name: getattr(fields, name) for name in names})

    def first_learning_rate(self, is_trained: bool) -> float:
        """Returns the initial learning rate of the schedule.

        Args:
            is_trained: whether the model to train is already clearly better than guessing.
        """
        if self.learning_rate is not None:
            return float(self.learning_rate)
        if not isinstance(self.optimizer, str):
            return own_rate(self.optimizer)
        return 0.01 if is_trained else 0.1

    def schedule_for(self, is_trained: bool = False) -> Schedule | None:
        """Returns the learning rate by epoch: a cosine, or milestones scaled to the length of the phase; `None` if
        the optimizer sets the rate.
        """
        first = self.first_learning_rate(is_trained)
        if self.schedule == "constant" or schedules(self.optimizer):
            return None
        if self.schedule == "cosine":
            return Cosine(first)
        return StepDecay(first, scaled(self.milestones, of=self.reference_epochs, to=max(self.epochs, 1)), self.decay)

    def new_optimizer(self, learning_rate: float) -> keras.optimizers.Optimizer:
        """Returns the optimizer of one phase."""
        if self.optimizer == "compiled":
            raise RuntimeError(
                "Expected the optimizer itself, which `Method.for_model` puts in the place of 'compiled'. "
                "Received: optimizer='compiled'. Call it with the model, as compress() does."
            )
        if not isinstance(self.optimizer, str):
            return like(self.optimizer, learning_rate)
        if self.optimizer == "adam":
            return keras.optimizers.Adam(learning_rate, beta_1=0.5, beta_2=0.999)
        return keras.optimizers.SGD(learning_rate, momentum=self.momentum, nesterov=self.nesterov)

    @property
    def penalty_of_weights(self) -> float:
        """The strength of the penalty on weights; 0 with an optimizer that has its own weight decay."""
        return 0.0 if decays_weights(self.optimizer) else self.weight_decay

    def words(self, is_trained: bool) -> str:
        """Returns the optimizer and its initial learning rate in words."""
        rate = self.first_learning_rate(is_trained)
        return f"{type(self.new_optimizer(rate)).__name__} with learning rate {rate:g}"
