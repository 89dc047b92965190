"""Measures on the validation split which of the usual scalings of images a model was trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tfcompress.data import Split
from tfcompress.data.batches.scaling import SCALINGS, Prepared, as_held, words_for
from tfcompress.evaluation.chance import outputs_of, traced
from tfcompress.evaluation.measuring import meter
from tfcompress.training.loss import LossFunction, loss_function
from tfcompress.training.objectives import Objective, Score, infer

__all__ = ["measured_scaling"]

_USUAL = "unit_interval"
_SAMPLES, _PARTS = 256, 16
_LARGE = 128  # pixels a side, from which on half as many samples have to do
_CLEAR = 3.0  # standard errors


@dataclass(frozen=True)
class _Tried:
    """The measurements of a scaling.

    Attributes:
        own: the loss of each part of the samples.
        others: the same with labels of other samples.
        metric: the metric, negated if less is better; `None` if there is none besides the loss.
    """

    own: np.ndarray
    others: np.ndarray
    metric: float | None

    @property
    def tells(self) -> bool:
        """Whether the model distinguishes the samples' own labels from those of others."""
        return _clearly_less(self.own, self.others)

    @property
    def rank(self) -> tuple[float, float]:
        """The metric, and then the loss, for comparing scalings; higher is better."""
        return 0.0 if self.metric is None else self.metric, -float(self.own.mean())

    def beats(self, rival: _Tried) -> bool:
        """Whether it is clearly better by the loss, and better by the metric.

        The loss alone is not enough: a scaling that makes all answers more confident lowers it if they are right.
        """
        by_metric = self.metric is None or rival.metric is None or self.metric > rival.metric
        return by_metric and _clearly_less(self.own, rival.own)


def _clearly_less(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether losses of the same parts are less by three standard errors of their differences."""
    gained = second - first
    finite = gained[np.isfinite(gained)]
    if len(finite) < len(gained):  # of a scaling far off, losses may be infinite
        return bool(np.isfinite(first).all())
    return bool(finite.mean() > _CLEAR * finite.std(ddof=1) / math.sqrt(len(finite)))


def measured_scaling(
    model: keras.Model, splits: Sequence[Split], objective: Objective | Score | None = None
) -> tuple[str | None, list[str]]:
    """Returns the scaling with which a model does best on raw images, if that is clear; [0, 1] otherwise.

    The best scaling is clear if its metric is better than with any other one, and its loss is less by three standard
    errors, compared in parts of the same samples. A model that distinguishes no labels with any scaling is not
    trained.

    Args:
        model: a built model.
        splits: splits; the first one with raw images is measured on; its images are scaled to [0, 1].
        objective: the objective given to `compress`.

    Returns:
        `(name of the scaling, notes)`.
    """
    split = next((each for each in splits if getattr(each.source, "preprocess", None) is not None), splits[0])
    source: Any = split.source
    preprocess = getattr(source, "preprocess", None)
    if preprocess is None or len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        return _USUAL, []
    raw = Prepared(preprocess.size, as_held) if isinstance(preprocess, Prepared) else as_held
    height, width = (side or _LARGE for side in model.inputs[0].shape[1:3])
    images, labels = replace(source, preprocess=raw).take(_SAMPLES if height * width < _LARGE**2 else _SAMPLES // 2)
    samples = len(images)
    if samples < 2 * _PARTS or images.dtype != np.uint8:
        return _USUAL, []
    chosen = objective if isinstance(objective, Objective) else infer(model, labels, objective)
    loss = loss_function(model, chosen)
    if loss is None:
        return _USUAL, []
    call = traced(model)
    tried = {
        name: _tried(model, chosen, loss, outputs_of(model, scaling(images), samples, call), labels)
        for name, scaling in SCALINGS.items()
        if images.shape[-1] == 3 or name not in ("caffe", "torch")
    }
    telling = {name: each for name, each in tried.items() if each.tells}
    if not telling:
        return _USUAL, []
    best = max(telling, key=lambda name: telling[name].rank)
    figures = _figures(tried, chosen, f"{samples} images of the {split.name} split")
    near = [name for name, each in tried.items() if name != best and not tried[best].beats(each)]
    if not near:
        return best, [f"scaling: {words_for(best)}, by which the model does best: {figures}"]
    if best == _USUAL and all(tried[name].rank[0] < tried[best].rank[0] for name in near):
        return best, [f"scaling: {words_for(best)}, by which the model does best, if not clearly: {figures}"]
    if _USUAL in near:
        best = _USUAL
    return best, [
        f"Warning: it is not clear how the images were scaled for the model's training: {figures}. "
        f"{words_for(best)} is used. Set the right one of these names with "
        "tfcompress.data.load(..., preprocess=...) or --preprocess."
    ]


def _tried(model: keras.Model, objective: Objective, loss: LossFunction, outputs: Any, y: Any) -> _Tried:
    samples = len(keras.tree.flatten(y)[0])
    strangers = keras.tree.map_structure(lambda a: np.roll(a, samples // 2, axis=0), y)

    def parts(labels: Any) -> np.ndarray:
        losses = []
        for part in np.array_split(np.arange(samples), _PARTS):
            some = slice(part[0], part[-1] + 1)
            given = keras.tree.map_structure(lambda a: a[some], (labels, outputs))  # noqa: B023
            losses.append(float(keras.ops.convert_to_numpy(loss(*given))))
        return np.array(losses)

    value = None
    if objective.metric_name not in (None, "loss"):
        metric = meter(model, objective)
        metric.reset_state()
        metric.update_state(y, outputs)
        value = objective.sign * float(keras.ops.convert_to_numpy(metric.result()))
        metric.reset_state()
    return _Tried(parts(y), parts(strangers), value)


def _figures(tried: Mapping[str | None, _Tried], objective: Objective, of: str) -> str:
    shown = []
    for name, each in tried.items():
        loss = float(each.own.mean())
        value = f"loss {loss:.3g}" if each.metric is None else f"{objective.sign * each.metric:.3f}"
        shown.append(f"{words_for(name)} {value}")
    measured = "" if objective.metric_name in (None, "loss") else f"{objective.metric_name} "
    return f"{measured}on {of}: {', '.join(shown)}"
