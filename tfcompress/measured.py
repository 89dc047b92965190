"""`Measured`: what a model costs and how good it is."""

from __future__ import annotations

import dataclasses

from tfcompress.costs import Cost

__all__ = ["Measured"]


@dataclasses.dataclass(frozen=True)
class Measured:
    """Cost and accuracy of a model.

    Attributes:
        macs: multiply-adds of one sample (FLOPs = 2 x MACs).
        params: learned weights.
        bytes: size of all weights.
        accuracy: the metric on `split`, or `None` where there is no metric.
        split: `"test"`, or `"validation"` where no test split was given.
        validation_accuracy: the metric on the validation split, which was used to choose.
    """

    macs: int
    params: int
    bytes: int
    accuracy: float | None
    split: str
    validation_accuracy: float | None

    @classmethod
    def of(cls, cost: Cost, validation: float | None, test: float | None) -> Measured:
        """Puts a cost and accuracies together; the test split's, where there is one, is the accuracy."""
        split = "validation" if test is None else "test"
        return cls(cost.macs, cost.params, cost.bytes, validation if test is None else test, split, validation)
