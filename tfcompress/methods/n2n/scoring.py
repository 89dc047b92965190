"""`Scoring`: builds a student and trains it for a few epochs to score it, in the same way in every process."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import keras
import numpy as np

from tfcompress.data import Split
from tfcompress.data.sources.arrays import ArraySource
from tfcompress.methods import phases
from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import Checkpoints, Constant, NoRunFolder, Phase, Training, WeightDecay, fit, seed_layers
from tfcompress.training.teaching import Teaching, computing_in, remembered

__all__ = ["Scoring", "Soft"]

Soft: TypeAlias = Literal["logits", "mean_logits"]


class Scoring:
    """The steps from a plan to a score.

    Args:
        task: the task.
        training: settings of the training for a score.
        inherit: whether a student starts with the teacher's weights where the shapes allow it.
        soft: the loss on the teacher's logits, see `Teaching`; `None` for labels only.
    """

    def __init__(self, task: Task, training: Training, inherit: bool, soft: Soft | None = "logits") -> None:
        self.task, self.training, self.inherit, self.soft = task, training, inherit, soft

    def built(self, network: Network, plan: Plan) -> keras.Model:
        """Returns the student with fresh weights, or with the teacher's where these are inherited and fit."""
        student = apply(network.model, plan, network.groups, seed=self.task.seed)
        if self.inherit:
            given = {layer.name: layer for layer in self.task.teacher.layers}
            for layer in student.layers:
                weights = given[layer.name].weights if layer.name in given else []
                if weights and [w.shape for w in weights] == [w.shape for w in layer.weights]:
                    layer.set_weights(given[layer.name].get_weights())
        return student

    @functools.cached_property
    def _lessons(self) -> ArraySource | None:
        """Returns the training data with the teacher's logits, the same for all students, if they can be stored."""
        return remembered(self.task.splits.train.source, self.task.teacher)

    def _lesson(self, student: keras.Model) -> tuple[keras.Model, Split | ArraySource]:
        """Returns the model to train, and its data."""
        if self.soft is None:
            return student, self.task.splits.train
        remembered_logits = self._lessons
        teaching = Teaching(alpha=0.0, soft=self.soft)
        model = phases.taught(student, self.task, teaching, cached=remembered_logits is not None)
        return model, remembered_logits or self.task.splits.train

    def train(
        self, student: keras.Model, epochs: int | None = None, folder: pathlib.Path | None = None
    ) -> float | None:
        """Trains a student in place, and measures it on the validation split.

        Args:
            student: the student from `built`.
            epochs: number of epochs; `None` for all.
            folder: folder of its training state, to continue from and to write to; `None` for none.

        Returns:
            The task's metric, `None` if there is none.
        """
        task, training = self.task, self.training
        epochs = training.epochs if epochs is None else epochs
        seed_layers(student, task.seed, Stream.STUDENT)
        decay = [WeightDecay(training.weight_decay)] if training.weight_decay else []
        rate = float(training.learning_rate or 0)
        with computing_in(training.mixed_precision, (student,)):
            model, source = self._lesson(student)
            fit(
                model,
                source.batches(training.batch_size, training=True),
                task.objective,
                optimizer=training.new_optimizer(rate),
                epochs=epochs,
                schedule=Constant(rate),
                penalties=decay,
                phase=Phase("scoring") if folder is None else Phase("scoring", _UpTo(folder, epochs)),  # type: ignore[arg-type]
            )
        return phases.score_of(student, task)


class _UpTo(NoRunFolder):
    """Keeps the state of a training in a folder, so that a longer training can continue from it."""

    def __init__(self, folder: pathlib.Path, epochs: int) -> None:
        super().__init__()
        self._folder, self._epochs = folder, epochs

    def checkpoints(self, phase: str) -> Checkpoints:
        """Returns the checkpoints, of which only the one after the last epoch is written; never counts as finished."""
        return _Last(self._folder, self._epochs)


class _Last(Checkpoints):
    def __init__(self, folder: pathlib.Path, epochs: int) -> None:
        super().__init__(folder)
        self._epochs = epochs

    def save(self, epoch: int, tensors: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        if epoch == self._epochs:
            super().save(epoch, tensors, info)

    def finish(self, epoch: int, tensors: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        pass
