"""`Task`: what is compressed, on what data, and under which limits; what every method is given."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tfcompress.control import Control, Widths
from tfcompress.costs import Cost, CostModel
from tfcompress.data import Splits
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.importance import Evidence
from tfcompress.rewrite.working_copy import working_copy
from tfcompress.training import (
    NoRunFolder,
    Objective,
    Phase,
    Progress,
    RunFolder,
    Score,
    infer,
    loss_function,
    seed_layers,
)

__all__ = ["Task"]

# Random stream of the seed, for what the working copy's layers draw in training.
_WORKING_COPY = 101
_SCORED_SAMPLES, _BATCH = 256, 32
_COPIED_SAMPLES = 4  # by which the working copy is compared with the original


@dataclass(frozen=True, eq=False)
class Task:
    """One compression task.

    Attributes:
        model: the working copy; methods may train it, the user's own model is never touched.
        splits: training, validation, calibration and, perhaps, test data.
        objective: loss and metric.
        limits: `{metric of Cost: upper limit}` for the finished model.
        accuracy: the metric of the untouched model on the validation split, or `None` if there is no metric.
        chance: the metric that guessing would give, or `None` where that is not known.
        luck: how far above `chance` guessing may come by luck; `None` where that follows from `chance`, a share.
        control: what of the model may be pruned, and by how much.
        seed: what all randomness comes from.
        run: the run folder, or its stand-in.
        progress: the display.
        first: the model that the task was for before `on`, if that was another one.
    """

    model: keras.Model
    splits: Splits
    objective: Objective
    limits: Mapping[str, int]
    accuracy: float | None = None
    chance: float | None = None
    luck: float | None = None
    control: Control = field(default_factory=Control)
    seed: int = 0
    run: RunFolder | NoRunFolder = field(default_factory=NoRunFolder)
    progress: Progress = field(default_factory=lambda: Progress(verbose=0))
    first: keras.Model | None = None

    @classmethod
    def of(
        cls,
        original: keras.Model,
        splits: Splits,
        limits: Mapping[str, int],
        seed: int,
        run: RunFolder | NoRunFolder,
        progress: Progress,
        control: Control | None = None,
        objective: Objective | Score | None = None,
    ) -> Task:
        """The task on a working copy of a model, with the loss and metric of the original, or an objective given."""
        labels = splits.validation.take(1000)[1]
        found = objective if isinstance(objective, Objective) else infer(original, labels, objective)
        working = working_copy(original, splits.calibration.take(_COPIED_SAMPLES)[0])
        chance, luck = _chance(original, found, labels), None
        if found.score is not None:
            chance, luck = _score_of_strangers(working, found.scores, *splits.validation.take(_SCORED_SAMPLES))
        seed_layers(working, seed, _WORKING_COPY)
        rest: dict[str, Any] = {"control": control or Control(), "seed": seed, "run": run, "progress": progress}
        return cls(working, splits, found, limits, chance=chance, luck=luck, **rest)

    def on(self, model: keras.Model) -> Task:
        """The same task for another model, such as one that a search has pruned on its way."""
        return self if model is self.model else dataclasses.replace(self, model=model, first=self.first or self.model)

    @property
    def original(self) -> keras.Model:
        """The working copy of the user's model, whichever model the task is `on`."""
        return self.first or self.model

    @cached_property
    def groups(self) -> ChannelGroups:
        """Channel groups of the working copy."""
        return ChannelGroups.of(LayerGraph.from_keras(self.model), self.control.through_norms)

    @cached_property
    def costs(self) -> CostModel:
        """Costs of any plan for the working copy."""
        return CostModel(self.groups)

    @cached_property
    def widths(self) -> Widths:
        """The widths that each group may have."""
        return self.control.widths(self.groups)

    def evidence(self) -> Evidence:
        """What criteria may look at: the weights of the working copy, and its calibration data with the task's loss."""
        loss = loss_function(self.model, self.objective)
        return Evidence(self.groups, self.splits.calibration, loss, self.seed)

    @property
    def is_trained(self) -> bool:
        """Whether the model is clearly above chance: more than twice chance (or half way from chance to perfect), and
        by more than three standard deviations of guessing on as many samples."""
        if self.accuracy is None or self.chance is None:
            return False
        if self.luck is not None:
            return self.accuracy > self.chance + self.luck
        samples = self.splits.validation.num_samples or math.inf
        luck = 3 * math.sqrt(self.chance * (1 - self.chance) / samples)
        return self.accuracy > max(min(2 * self.chance, (1 + self.chance) / 2), self.chance + luck)

    @property
    def warning(self) -> str | None:
        """What to say of a model that is at chance level, or `None`."""
        if self.accuracy is None or self.chance is None:
            return None
        if self.is_trained if self.luck is not None else self.accuracy >= 1.2 * self.chance:
            return None
        return (
            f"The model is at chance level on the validation split ({self.objective.metric_name} {self.accuracy:.4f}, "
            f"guessing gives {self.chance:.4f}). If it is trained, its inputs may be scaled otherwise than this data: "
            "names give float32 images in [0, 1]; tfcompress.data.load(name, preprocess=...) changes that."
        )

    def phase(self, name: str, stateful: Mapping[str, Any] | None = None) -> Phase:
        """A training phase of this task's run."""
        return Phase(name, self.run, self.progress, stateful or {})

    def fits(self, cost: Cost) -> bool:
        """Whether a cost is within the limits."""
        return all(getattr(cost, metric) <= limit for metric, limit in self.limits.items())

    def fits_kept(self, kept: Any, limits: Mapping[str, int] | None = None) -> bool:
        """Whether the plan in which group i keeps `kept[i]` channels is within the limits, or within other ones."""
        within = self.limits if limits is None else limits
        return all(int(self.costs.count(metric, kept)) <= limit for metric, limit in within.items())

    def per_sample_score(self) -> Callable[[Any, Any], Any]:
        """The metric as a function `(y, outputs) -> [batch]` numbers of which a higher one is better.

        Classifiers give 1 for a right answer and 0 for a wrong one; others the negative mean squared error.
        """
        if self.objective.score is not None:
            return self.objective.scores
        if not self.objective.higher_is_better:
            return _negative_squared_error
        return functools.partial(_correct, threshold=0.0 if self.objective.from_logits else 0.5)

    def rng(self, *stream: int) -> np.random.Generator:
        """An independent random stream of this task's seed."""
        return np.random.default_rng([self.seed, *stream])


def _chance(model: keras.Model, objective: Objective, labels: Any) -> float | None:
    """The share of the most frequent class, which always guessing it would reach."""
    if objective.score is not None or "accuracy" not in (objective.metric_name or ""):
        return None
    labels = np.asarray(labels)
    if labels.ndim == len(model.outputs[0].shape) and labels.shape[-1] > 1:  # one-hot, and not a map of classes
        labels = labels.argmax(-1)
    counts = np.unique(labels, return_counts=True)[1]
    return float(counts.max() / counts.sum())


def _score_of_strangers(model: keras.Model, score: Score, x: Any, y: Any) -> tuple[float, float]:
    """The mean score when each sample's labels meet another one's outputs, and three standard errors of the difference
    that its own make: what guessing without a look at the sample gives, for any score.

    Raises:
        ValueError: the score does not give one finite number a sample.
    """
    samples = len(keras.tree.flatten(y)[0])
    outputs = _in_batches(lambda part: model(part, training=False), x, samples)
    scores = []
    for shift in (0, max(1, samples // 2)):
        labels = keras.tree.map_structure(lambda a: np.roll(np.asarray(a), shift, axis=0), y)  # noqa: B023
        given = keras.ops.convert_to_numpy(score(labels, outputs))
        if given.shape != (samples,) or given.dtype.kind not in "biuf" or not np.isfinite(given).all():
            raise ValueError(
                f"Expected `objective(y, outputs)` to give one finite number for each of {samples} samples. Received: "
                f"an array of shape {given.shape}, dtype {given.dtype}. Take the mean over all axes but the first."
            )
        scores.append(given.astype("float64"))
    own, others = scores
    return float(others.mean()), float(3 * (own - others).std() / math.sqrt(samples))


def _in_batches(call: Callable[[Any], Any], x: Any, samples: int) -> Any:
    parts = [
        call(keras.tree.map_structure(lambda a: np.asarray(a)[at : at + _BATCH], x))  # noqa: B023
        for at in range(0, samples, _BATCH)
    ]
    return keras.tree.map_structure(lambda *arrays: keras.ops.concatenate(arrays), *parts)


def _correct(y: Any, outputs: Any, threshold: float) -> Any:
    """1 where the largest output is the label's (a single output: where it is on its side of the threshold)."""
    ops = keras.ops
    if outputs.shape[-1] == 1:
        says_one = ops.cast(ops.reshape(outputs, (-1,)) > threshold, "int32")
        return ops.equal(says_one, ops.cast(ops.reshape(y, (-1,)), "int32"))
    if len(y.shape) == len(outputs.shape) and y.shape[-1] == outputs.shape[-1]:
        y = ops.argmax(y, axis=-1)
    if len(y.shape) == len(outputs.shape):
        y = ops.squeeze(y, axis=-1)
    right = ops.cast(ops.equal(ops.cast(ops.argmax(outputs, axis=-1), "int64"), ops.cast(y, "int64")), "float32")
    return ops.mean(ops.reshape(right, (ops.shape(right)[0], -1)), axis=-1)


def _negative_squared_error(y: Any, outputs: Any) -> Any:
    ops = keras.ops
    errors = ops.square(ops.cast(outputs, "float32") - ops.reshape(ops.cast(y, "float32"), ops.shape(outputs)))
    return -ops.mean(ops.reshape(errors, (ops.shape(errors)[0], -1)), axis=-1)
