"""Training of a whole student on its outputs, by its teacher: a function for all distillation methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfcompress.methods import phases
from tfcompress.task import Task
from tfcompress.training import Keep, Training, loss_function
from tfcompress.training.teaching import (
    Distillation,
    DomainCritic,
    OutputsLoss,
    SoftTargets,
    Teaching,
    computing_in,
)

__all__ = ["train_on_outputs"]


def train_on_outputs(
    student: keras.Model,
    teacher: keras.Model,
    task: Task,
    training: Training,
    phase: str,
    lesson: SoftTargets | OutputsLoss | Teaching,
    *,
    keep: Keep = "last",
    shuffled_inputs: Sequence[int] = (),
    critic: DomainCritic | None = None,
) -> dict[str, list[Any]]:
    """Trains the whole student in place; returns the history.

    Args:
        student, teacher: built models; both compute in the precision of `training`.
        task: the task.
        training: settings of the training.
        phase: name of the phase.
        lesson: L_KD, another loss on outputs, or a user's teaching, whose teacher is used if it names one.
        keep: which epoch's weights to keep.
        shuffled_inputs, critic: as for `Distillation`.
    """
    short = phases.statistics_keep_up(student, task, training)
    with short, computing_in(training.mixed_precision, (student, teacher)):
        if isinstance(lesson, Teaching):
            model = phases.taught(student, task, lesson, teacher)
        else:
            if isinstance(lesson, SoftTargets):
                lesson = phases.kd_loss(student, teacher, task, lesson)
            model = Distillation(
                student,
                teacher,
                outputs_loss=lesson,
                validation_loss=loss_function(student, task.objective),
                seed=task.seed,
                shuffled_inputs=shuffled_inputs,
                critic=critic,
            )
        stateful = None if critic is None else {"critic": critic}
        return phases.train_phase(model, task, training, phase, stateful=stateful, keep=keep)
