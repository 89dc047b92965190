"""The act of training a whole student on its outputs, beside its teacher: a function for the whole family."""

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
    """Trains all of a student, in place; returns the history.

    Args:
        student, teacher: built models; both compute in the precision of `training`.
        task: the task.
        training: how.
        phase: its name.
        lesson: L_KD, another loss on outputs, or a teaching that the user gave; the teacher that it names, if
            any, teaches.
        keep: the weights of which epoch stay.
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
