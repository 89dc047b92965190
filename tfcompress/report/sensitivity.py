"""`sensitivity`: the accuracy of a model when only one channel group is cut, for each group and several ratios."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from tfcompress import expect
from tfcompress.costs import Budget
from tfcompress.data import check_forms
from tfcompress.evaluation import Reward
from tfcompress.given import check_surroundings, given_objective, given_seed, given_splits, given_with_shape, read_model
from tfcompress.graph import check_runs_here
from tfcompress.importance import Criterion, by_name, ranking
from tfcompress.input_shapes import InputShape
from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.process import log
from tfcompress.report.plots import plot_sensitivity
from tfcompress.report.table import in_columns
from tfcompress.task import Task
from tfcompress.training import NoRunFolder, Objective, PhasePlan, Progress, Score

__all__ = ["Sensitivity", "sensitivity"]

_FORMAT = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Sensitivity:
    """The result of `tfcompress.sensitivity`: the effect of cutting each group alone.

    Attributes:
        keep_ratios: shares of a group's channels that are kept, as given.
        groups: names of the channel groups, in the order of the graph.
        sizes: int64 `[groups]`, the number of channels of each group.
        kept: int64 `[groups, ratios]`, the number of channels that stay.
        accuracy: float64 `[groups, ratios]`, `metric` when this group alone is cut to this ratio.
        baseline: `metric` of the uncut model, on the same samples.
        macs: float64 `[groups, ratios]`, the remaining share of the model's MACs.
        total_macs: multiply-adds of the whole model for one sample (FLOPs = 2 x MACs).
        metric: name of the objective or of the model's metric; for instance "negative mean squared error" if less is
            better. Higher is better.
        samples: number of samples of the validation split that it was measured on.
        model: name of the model.
        notes: criterion, split, warnings.
    """

    keep_ratios: tuple[float, ...]
    groups: tuple[str, ...]
    sizes: np.ndarray
    kept: np.ndarray
    accuracy: np.ndarray
    baseline: float
    macs: np.ndarray
    total_macs: int
    metric: str
    samples: int
    model: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = [
            f"{self.model}: {self.metric} {self.baseline:.4f} of the whole model, on {self.samples:,} validation "
            f"samples; {self.total_macs:,} MACs",
            f"{self.metric[0].upper()}{self.metric[1:]} with this share of one group's channels kept, and all others "
            "whole; in brackets the remaining share of the model's MACs",
            "",
        ]
        rows = [("group", "channels", *(f"{ratio:g}" for ratio in self.keep_ratios))]
        for name, size, scores, shares in zip(self.groups, self.sizes, self.accuracy, self.macs, strict=True):
            cells = [f"{score:.4f} ({share:.1%})" for score, share in zip(scores, shares, strict=True)]
            rows.append((name, str(size), *cells))
        return "\n".join([*head, *in_columns(rows, left=1), *([""] if self.notes else []), *self.notes])

    def summary(self) -> None:
        """Prints the table: one line per group, in the order of the graph."""
        print(self)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draws a line for each group: the metric over the ratio.

        Args:
            path: the file to write, its ending gives the format (.png, .svg, .pdf); `None` for no file.

        Returns:
            The matplotlib figure, which Jupyter shows.
        """
        return plot_sensitivity(self, path)

    def to_json(self) -> str:
        """Returns all of it as JSON, which `from_json` reads."""
        data = {"format": _FORMAT}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            data[field.name] = value.tolist() if isinstance(value, np.ndarray) else value
        return json.dumps(data, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Sensitivity:
        """Reads the JSON that `to_json` wrote.

        Raises:
            ValueError: not JSON, or another format.
        """
        expect.text("text", text, "what Sensitivity.to_json() writes")
        try:
            data = json.loads(text)
        except ValueError:
            data = None
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(data, dict) or data.pop("format", None) != _FORMAT or set(data) != names:
            raise ValueError(f"Expected what Sensitivity.to_json() writes, format {_FORMAT}. Received: {text[:80]!r}")
        for name in ("sizes", "kept"):
            data[name] = np.array(data[name], np.int64)
        for name in ("accuracy", "macs"):
            data[name] = np.array(data[name], np.float64)
        for name in ("keep_ratios", "groups", "notes"):
            data[name] = tuple(data[name])
        return cls(**data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_json()` into a file."""
        target: pathlib.Path = expect.path("path", path)
        target.write_text(self.to_json(), encoding="utf-8")


def sensitivity(
    model: keras.Model | str | os.PathLike[str],
    data: Any,
    *,
    validation_data: Any = None,
    validation_split: float | None = None,
    input_shape: InputShape | None = None,
    keep_ratios: Sequence[float] = (0.75, 0.5, 0.25),
    criterion: str | Criterion = "l1_norm",
    images: int | None = 1000,
    recalibrate_batches: int = 0,
    seed: int = 0,
    objective: Objective | Score | None = None,
    verbose: int = 1,
) -> Sensitivity:
    """Measures the accuracy of a model when only one channel group is cut: for each group, at each ratio.

    Li et al. (2017), "Pruning filters for efficient convnets" (arXiv:1608.08710), section 3.2: each layer is pruned
    independently of the others, and the pruned network is evaluated without retraining. Here a group is used instead of
    a layer. No model is rebuilt: the network runs as its own sub-network, with one trace for all plans.

    Args:
        model: a built Functional or Sequential `keras.Model`, or the path of a .keras, .h5 or .hdf5 file. It is
            not changed.
        data: as in `tfcompress.compress`.
        validation_data: the data to measure on, as in `tfcompress.compress`; without it the part of the training data
            that `compress` with the same seed would hold out.
        validation_split: the share of the training data to hold out, as in `tfcompress.compress`.
        input_shape: for a model that takes inputs of any size, such as images `(None, None, 3)`, the size that costs
            are counted for and that the data have, without the batch; see `tfcompress.cost`.
        keep_ratios: shares of a group's channels to keep, each above 0 and at most 1. A group of `size` channels keeps
            `floor(ratio * size)`, and at least one.
        criterion: ranks the channels: a name, an instance or a function, as for the methods.
        images: maximum number of validation samples; `None` for all.
        recalibrate_batches: number of batches of 128 training samples from which the BatchNormalization statistics of
            each cut network are computed anew; 0, as in the paper, for those of the whole model.
        seed: random seed of the held-out choice, and of criteria that draw random numbers.
        objective: the quality of the model, as in `tfcompress.compress`.
        verbose: 0 silent, 1 with a progress display, 2 one line per group.

    Returns:
        A `Sensitivity`, with one row for each group and one column for each ratio.

    Raises:
        TypeError, ValueError: before anything is measured, if something cannot work; the message says what was
            expected, what was received, and what to do.
    """
    shares = _checked_ratios(keep_ratios)
    chosen = by_name(criterion)
    images = expect.whole("images", images, 1, or_none=True)
    recalibrate_batches = expect.whole("recalibrate_batches", recalibrate_batches)
    seed, objective, progress = given_seed(seed), given_objective(objective), Progress(verbose)
    check_forms(data, validation_data, validation_split=validation_split)
    check_surroundings()
    given = read_model(model)
    network = Network(given.model, graph=given.graph)
    if input_shape is not None:
        network = Network(given_with_shape(given.model, input_shape))
    original = network.model
    check_runs_here(network.graph)
    splits = given_splits(
        original, data, validation_data, seed=seed, objective=objective, validation_split=validation_split
    )
    task = Task.of(network, splits, Budget(), seed, NoRunFolder(), progress, objective=objective)
    kept = _kept(task, shares)
    plans = _plans(task, kept, chosen)
    reward = Reward(task, None, images, recalibrate_batches)
    with progress:
        baseline, accuracy = _measured(task, reward, plans, shares)
    return Sensitivity(
        keep_ratios=shares,
        groups=tuple(task.groups.groups),
        sizes=task.costs.sizes,
        kept=kept,
        accuracy=accuracy,
        baseline=baseline,
        macs=_macs(task, kept),
        total_macs=task.costs.total.macs,
        metric=_metric(task),
        samples=reward.samples,
        model=original.name,
        notes=_notes(task, baseline, chosen, recalibrate_batches),
    )


def _checked_ratios(keep_ratios: Any) -> tuple[float, ...]:
    what = "one or more different shares of a group's channels that are kept, each above 0 and at most 1"
    limits: dict[str, Any] = {"above": 0, "at_most": 1}
    ratios: tuple[float, ...] = expect.each(
        "keep_ratios", keep_ratios, expect.number, what, empty=False, unique=True, **limits
    )
    return ratios


def _kept(task: Task, keep_ratios: Sequence[float]) -> np.ndarray:
    """Returns int64 `[groups, ratios]`: the number of channels that stay."""
    if not len(task.groups):
        raise ValueError(
            f"Expected a model with channels that can be pruned. Received: {task.model.name!r}, which has none. "
            "tfcompress.inspect(model) says why."
        )
    exact = [Fraction(str(ratio)) for ratio in keep_ratios]  # as they are written: in floats, 0.29 * 100 is below 29
    kept = [[max(1, int(ratio * group.size)) for ratio in exact] for group in task.groups]
    return np.array(kept, np.int64)


def _plans(task: Task, kept: np.ndarray, criterion: Criterion) -> dict[str, list[Plan]]:
    """Returns for each group the plans that cut only this group; empty plans if all its channels stay.

    All groups are ranked here, so that a criterion that does not work fails before anything is measured.
    """
    evidence = task.evidence()
    plans = {}
    for group, widths in zip(task.groups, kept.tolist(), strict=True):
        orders = {group.name: ranking(group, evidence, criterion)}
        plans[group.name] = [Plan.keeping_first(orders, {group.name: width}) for width in widths]
    return plans


def _measured(
    task: Task, reward: Reward, plans: dict[str, list[Plan]], keep_ratios: Sequence[float]
) -> tuple[float, np.ndarray]:
    """Returns the metric of the whole model, and float64 `[groups, ratios]` for the cut ones."""
    metric, progress = _metric(task), task.progress
    progress.plan([PhasePlan("sensitivity", len(plans), unit="group")])
    progress.begin("sensitivity", len(plans), steps=len(keep_ratios))
    baseline = reward.whole()
    progress.step(0, {metric: baseline})
    rows = []
    for number, of_group in enumerate(plans.values(), start=1):
        known = {Plan(): baseline}
        values = []
        for step, (ratio, plan) in enumerate(zip(keep_ratios, of_group, strict=True), start=1):
            if plan not in known:
                known[plan] = reward(plan)
            values.append(known[plan])
            shown = {f"{metric} at {ratio:g}": values[-1]}
            if progress.due(step):
                progress.step(step, shown)
        progress.epoch_done(number, shown)
        rows.append(values)
    progress.end()
    return baseline, np.array(rows, np.float64)


def _macs(task: Task, kept: np.ndarray) -> np.ndarray:
    """Returns float64 `[groups, ratios]`: the remaining share of the MACs when only one group is cut."""
    sizes = task.costs.sizes
    widths = np.tile(sizes, (*kept.shape, 1))
    each = np.arange(len(sizes))
    widths[each, :, each] = kept
    return task.costs.count("macs", widths) / max(task.costs.total.macs, 1)


def _metric(task: Task) -> str:
    name = str(task.objective.metric_name or "loss")
    return name if task.objective.sign > 0 else f"negative {name.replace('_', ' ')}"


def _notes(task: Task, baseline: float, criterion: Criterion, recalibrate_batches: int) -> tuple[str, ...]:
    name = getattr(criterion, "name", None) or getattr(criterion, "__name__", type(criterion).__name__)
    statistics = "those of the whole model"
    if recalibrate_batches:
        statistics = f"computed from up to {recalibrate_batches} x 128 training samples"
    notes = [
        f"validation: {task.splits.validation.describe()}",
        *task.splits.notes,
        f"criterion {name}; nothing was trained after a cut; BatchNormalization statistics: {statistics}",
    ]
    warning = dataclasses.replace(task, accuracy=baseline).warning
    if warning is not None:
        log.warning("%s", warning)
        notes.append(f"Warning: {warning}")
    return tuple(notes)
