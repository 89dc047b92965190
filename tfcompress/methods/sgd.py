"""The training that the channel pruners share: SGD with the schedule of RLAL's appendix B."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras

from tfcompress import expect
from tfcompress.methods.base import Method
from tfcompress.task import Task
from tfcompress.training import Cosine, Objective, Schedule, StepDecay, WeightDecay, fit, scaled, words_for_kept

__all__ = ["Keep", "SGDMethod"]

Keep = Literal["best", "last"]


@dataclasses.dataclass(frozen=True)
class SGDMethod(Method):
    """Settings of a method that trains with SGD; defaults are RLAL's for CIFAR-10 (appendix B).

    Attributes:
        epochs: length of a training phase.
        batch_size: images in a batch; a dataset that comes in batches keeps its own.
        learning_rate: the first one. `None`: 0.1 as in the paper, or 0.01 where the model comes trained (clearly above
            chance on the validation split), as 0.1 would throw away what its owner trained. Decided.
        schedule: `"step"` (x0.1 at each milestone) or `"cosine"`.
        milestones: epochs of `"step"`, for a phase of `reference_epochs`; a shorter phase scales them.
        reference_epochs: the length of phase that milestones speak of.
        momentum: of SGD.
        weight_decay: strength * w is added to the gradient of every weight.
        keep: which weights recovery leaves: `"best"` for those of the epoch that did best on the validation split (by
            the metric, of equal ones the one with the lower loss; by the loss where there is no metric), `"last"` for
            those of the last epoch, as the papers have it. It speaks of fine-tuning and of the last phase of a
            distillation; searches that train, and training against a discriminator, keep their last weights.

    Raises:
        TypeError, ValueError: a setting of another type, or out of its range.
    """

    epochs: int = 200
    batch_size: int = 128
    learning_rate: float | None = None
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[int, ...] = (100, 150)
    reference_epochs: int = 200
    momentum: float = 0.9
    weight_decay: float = 1e-4
    keep: Keep = "best"

    def __post_init__(self) -> None:
        expect.settings(self, expect.whole, "epochs")
        expect.settings(self, expect.whole, "batch_size", "reference_epochs", least=1)
        expect.settings(self, expect.each, "milestones", check=expect.whole, what="epochs such as (100, 150)")
        expect.settings(self, expect.number, "learning_rate", above=0, or_none=True)
        expect.settings(self, expect.one_of, "schedule", options=("step", "cosine"))
        expect.settings(self, expect.number, "momentum", at_least=0, below=1)
        expect.settings(self, expect.number, "weight_decay", at_least=0)
        expect.settings(self, expect.one_of, "keep", options=("best", "last"))

    def first_learning_rate(self, task: Task) -> float:
        """The learning rate that the schedule starts from."""
        if self.learning_rate is not None:
            return float(self.learning_rate)
        return 0.01 if task.is_trained else 0.1

    def trains_with(self, task: Task) -> str | None:
        """The optimizer and its first learning rate."""
        rate = self.first_learning_rate(task)
        return f"{type(self.new_optimizer(rate)).__name__} with learning rate {rate:g}"

    def schedule_for(self, task: Task, epochs: int) -> Schedule:
        """The learning rate by epoch of a phase of `epochs`."""
        first = self.first_learning_rate(task)
        if self.schedule == "cosine":
            return Cosine(first)
        return StepDecay(first, scaled(self.milestones, of=self.reference_epochs, to=max(epochs, 1)))

    def new_optimizer(self, learning_rate: float) -> keras.optimizers.Optimizer:
        """The optimizer of one phase."""
        return keras.optimizers.SGD(learning_rate, momentum=self.momentum)

    def train(
        self,
        model: keras.Model,
        task: Task,
        phase: str,
        epochs: int,
        *,
        objective: Objective | None = None,
        schedule: Schedule | None = None,
        data: Any = None,
        penalties: Sequence[Any] = (),
        callbacks: Sequence[keras.callbacks.Callback] = (),
        stateful: Mapping[str, Any] | None = None,
        keep: Keep = "last",
    ) -> dict[str, list[Any]]:
        """Trains `model` in place for one phase of the run; returns its history.

        Args:
            model: a built model.
            task: the task.
            phase: name of the phase.
            epochs: its length.
            objective: other than the task's.
            schedule: other than `schedule_for`.
            data: batches other than the task's training split, augmented.
            penalties, callbacks, stateful: as for `fit`.
            keep: `self.keep` where this is the recovery.
        """
        decay = [WeightDecay(self.weight_decay)] if self.weight_decay else []
        schedule = schedule or self.schedule_for(task, epochs)
        history = fit(
            model,
            task.splits.train.batches(self.batch_size, training=True) if data is None else data,
            objective or task.objective,
            optimizer=self.new_optimizer(schedule(0, max(epochs, 1))),
            epochs=epochs,
            validation=task.splits.validation.batches(250),
            schedule=schedule,
            penalties=[*decay, *penalties],
            callbacks=callbacks,
            phase=task.phase(phase, stateful),
            keep=keep,
        )
        if said := words_for_kept(phase, history, task.objective):
            task.say(said)
        return history
