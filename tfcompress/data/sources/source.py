"""The two protocols of sources of samples."""

from __future__ import annotations

from typing import Protocol

from tfcompress.data.batches.checks import Expected
from tfcompress.data.batches.class_weights import ClassWeights
from tfcompress.data.batches.forms import Arrays, Batches

__all__ = ["DivisibleSource", "Source"]


class Source(Protocol):
    """A source of samples and of batches of them."""

    @property
    def batch_size(self) -> int:
        """Samples in a batch, unless another number is asked for."""
        ...

    @property
    def weighted(self) -> bool:
        """Whether samples have weights, which training batches give as their third part."""
        ...

    @property
    def num_samples(self) -> int | None:
        """Number of samples, or `None` if it is known only after a pass over the data."""
        ...

    def num_batches(self, batch_size: int | None = None) -> int | None:
        """Returns the number of batches in an epoch, or `None` if it is known only after a pass over the data."""
        ...

    def batches(self, batch_size: int | None = None, training: bool = False) -> Batches:
        """The samples in batches; for training shuffled, augmented and weighted."""
        ...

    def take(self, count: int) -> tuple[Arrays, Arrays]:
        """`(x, y)` of the first `count` samples, as the model reads them."""
        ...

    def take_weights(self, count: int) -> Arrays | None:
        """Returns the weights of the first `count` samples; `None` if they have none."""
        ...

    def weighing(self) -> Source:
        """Returns the same samples; batches for measuring have the weights too."""
        ...

    def describe(self) -> str:
        """The source in words, such as "45,000 images"."""
        ...

    def shuffled(self) -> Source:
        """Returns the same samples in an order in which the first ones are a fair sample."""
        ...


class DivisibleSource(Source, Protocol):
    """A source that can be divided."""

    def hold_out(self, share: float, expected: Expected) -> tuple[DivisibleSource, DivisibleSource, str]:
        """`(rest, held out, how)`: splits off a share of the samples, chosen by the source's seed."""
        ...

    def weighing_classes(self, classes: ClassWeights) -> DivisibleSource:
        """Returns the same samples, also weighted by their classes."""
        ...

    def first(self, count: int) -> Source:
        """A source of `count` samples at most, without augmentation."""
        ...

    def shuffled(self) -> DivisibleSource:
        """Returns the same samples in an order in which the first ones are a fair sample."""
        ...
