"""Judges whether a file is as good as the model: by its outputs, and by the task's metric on held-out samples."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcompress.export.errors import MetricError

# What a quantised file may differ by before it is marked. Post-training int8 costs a sound network less than a point
# of accuracy, agrees with it on 95% of the samples and more, and is a few hundredths off in its outputs.
SCORE_TOLERANCE = 0.02
"""Share of the model's own metric, if a higher one is better; two points of an accuracy near 1."""
ERROR_TOLERANCE = 0.25
"""The same if a lower one is better: small errors grow by a larger share of themselves."""
TOP1_TOLERANCE = 0.8
"""Least agreement of top-1 answers on real samples. Uncertain networks disagree on ties."""
RELATIVE_TOLERANCE = 0.3
"""Root mean square of the differences, divided by that of the outputs."""


@dataclasses.dataclass(frozen=True)
class TaskMetric:
    """The metric of a task on its held-out samples.

    Attributes:
        function: `(y, outputs) -> float`, with outputs in the model's structure.
        labels: labels of the samples that files are compared on.
        higher_is_better: whether a larger number means a better model.
    """

    function: Callable[[Any, Any], Any]
    labels: Any
    higher_is_better: bool = True

    @classmethod
    def checked(
        cls, function: Any, labels: Any, samples: Any, count: int, higher_is_better: bool
    ) -> "TaskMetric | None":
        """Returns the metric that a caller gives, None if there is none.

        Raises:
            TypeError: the metric cannot be called.
            ValueError: samples, labels or metric are missing, or the numbers of labels and samples differ.
        """
        if function is None and labels is None:
            return None
        if function is None or labels is None or samples is None:
            arguments = {"samples": samples, "labels": labels, "metric": function}
            given = [name for name, value in arguments.items() if value is not None]
            raise ValueError(
                f"Expected `samples`, `labels` and `metric` together. Received: only {' and '.join(given)}. Give all"
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
                f"Expected one label for each of {count} samples. Received: {sorted(lengths)} labels. Give as many."
            )
        return cls(function, labels, bool(higher_is_better))

    @property
    def name(self) -> str:
        """The name of the metric in the report."""
        name = str(getattr(self.function, "name", None) or getattr(self.function, "__name__", "metric"))
        return "metric" if name == "<lambda>" else name

    def of(self, outputs: list[np.ndarray], network: keras.Model) -> float:
        """Returns the metric of outputs in the order of `network.outputs`.

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


def drop_tolerance(own: float, higher_is_better: bool, samples: int, top1: float | None) -> float:
    """Returns by how much the metric of a quantized file may be worse than the model's `own`.

    The tolerance is a share of the metric, plus the random variation from samples whose answers changed: one and a half
    standard deviations of as many right-or-wrong answers, or one sample if their number is not known.
    """
    share = SCORE_TOLERANCE if higher_is_better else ERROR_TOLERANCE
    changed = 1.0 if top1 is None else samples * (1.0 - top1)
    chance = 1.5 * math.sqrt(changed) / samples if higher_is_better else 0.0
    return share * abs(own) + chance * math.sqrt(min(abs(own), 1.0))
