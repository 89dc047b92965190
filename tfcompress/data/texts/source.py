"""The protocol of texts on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["TextSource"]


class TextSource(Protocol):
    """Texts with a class each: a split of a dataset, or a file."""

    @property
    def count(self) -> int:
        """Number of examples on disk."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """The class of each example, int64 `[count]`, -1 for no class."""
        ...

    def read(self, start: int, stop: int) -> tf.data.Dataset:
        """Returns the examples between two places, in their order on disk."""
        ...

    def parse(self, examples: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns texts (string `[batch]`) and labels (int64 `[batch]`) of a batch of examples."""
        ...
