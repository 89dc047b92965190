"""Whether a file is as good as the model: by its outputs, and by the task's metric on held-out samples."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcompress.export import parity
from tfcompress.export.errors import MetricError

# What a quantised file may differ by before it is marked. Post-training int8 costs a sound network less than a point
# of accuracy, agrees with it on 95% of the samples and more, and is a few hundredths off in its outputs.
SCORE_TOLERANCE = 0.02
"""Of the model's own metric where a higher one is better; two points of an accuracy near 1."""
ERROR_TOLERANCE = 0.25
"""The same where a lower one is better: small errors grow by a larger share of themselves."""
TOP1_TOLERANCE = 0.8
"""Least agreement of top-1 answers on real samples. Networks that are seldom sure disagree on ties."""
RELATIVE_TOLERANCE = 0.3
"""Root mean square of the differences, as a share of that of the outputs."""


@dataclasses.dataclass(frozen=True)
class TaskMetric:
    """The metric of a task on its held-out samples.

    Attributes:
        function: `(y, outputs) -> float`, outputs in the structure of the model's.
        labels: of the samples on which files are compared.
        higher_is_better: whether a larger number means a better model.
    """

    function: Callable[[Any, Any], Any]
    labels: Any
    higher_is_better: bool = True

    @classmethod
    def checked(
        cls, function: Any, labels: Any, samples: Any, count: int, higher_is_better: bool
    ) -> "TaskMetric | None":
        """The metric that a caller gives, None where there is none.

        Raises:
            TypeError: the metric cannot be called.
            ValueError: one of samples, labels and metric is missing, or there are not as many labels as samples.
        """
        if function is None and labels is None:
            return None
        if function is None or labels is None or samples is None:
            arguments = {"samples": samples, "labels": labels, "metric": function}
            given = [name for name, value in arguments.items() if value is not None]
            raise ValueError(
                f"Expected `samples`, `labels` and `metric` together. Received: {' and '.join(given)} alone. Give all"
                " three, or samples without the others."
            )
        if not callable(function):
            raise TypeError(
                "Expected `metric` to be a function (y, outputs) -> float, or a keras.metrics.Metric."
                f" Received: metric={function!r}"
            )
        labels = keras.tree.map_structure(np.asarray, labels)
        lengths = {len(part) if part.ndim else 0 for part in keras.tree.flatten(labels)}
        if lengths != {count}:
            raise ValueError(
                f"Expected a label for each of {count} samples. Received: {sorted(lengths)} labels. Give as many."
            )
        return cls(function, labels, bool(higher_is_better))

    @property
    def name(self) -> str:
        """The name of the metric in the report."""
        name = str(getattr(self.function, "name", None) or getattr(self.function, "__name__", "metric"))
        return "metric" if name == "<lambda>" else name

    def of(self, outputs: list[np.ndarray], network: keras.Model) -> float:
        """The metric of outputs, given in the order of `network.outputs`.

        Raises:
            MetricError: the function does not give a number.
        """
        if isinstance(self.function, keras.metrics.Metric):
            self.function.reset_state()
        structured = keras.tree.pack_sequence_as(network.output, outputs)
        try:
            return float(keras.ops.convert_to_numpy(self.function(self.labels, structured)))
        except Exception as error:  # whatever a function of the caller's says
            raise MetricError(
                f"Expected `metric` ({self.name}) to give one number for the labels and the model's outputs. Received:"
                f" {type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
            ) from error


def relative_error(expected: list[np.ndarray], actual: list[np.ndarray]) -> float:
    """Returns the root mean square of the differences, as a share of that of the outputs; the largest of all outputs.

    Infinite where a number or a shape is missing.
    """
    return max(map(_relative_error, expected, actual), default=0.0)


def _relative_error(expected: np.ndarray, actual: np.ndarray) -> float:
    if not math.isfinite(parity.largest_difference([expected], [actual])):
        return float("inf")
    first, second = (np.asarray(part, np.float64)[np.isfinite(expected)] for part in (expected, actual))
    size = float(np.linalg.norm(first))
    return float(np.linalg.norm(first - second)) / max(size, float(np.finfo(np.float32).tiny))


def drop_tolerance(own: float, higher_is_better: bool, samples: int, top1: float | None) -> float:
    """Returns by how much a quantised file's metric may be worse than the model's `own`.

    A share of it, and what chance makes of the samples that are answered otherwise: one and a half times the standard
    deviation of as many answers right or wrong, one sample where that number is not known.
    """
    share = SCORE_TOLERANCE if higher_is_better else ERROR_TOLERANCE
    changed = 1.0 if top1 is None else samples * (1.0 - top1)
    chance = 1.5 * math.sqrt(changed) / samples if higher_is_better else 0.0
    return share * abs(own) + chance * math.sqrt(min(abs(own), 1.0))
