"""The two protocols of sources: where the samples of a split come from."""

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
        """Samples in a batch, where no other number is asked for."""
        ...

    @property
    def weighted(self) -> bool:
        """Whether samples have weights, which training batches give as their third part."""
        ...

    @property
    def num_samples(self) -> int | None:
        """Number of samples, or `None` where only a pass over the data would tell."""
        ...

    def num_batches(self, batch_size: int | None = None) -> int | None:
        """Number of batches in an epoch, or `None` where only a pass over the data would tell."""
        ...

    def batches(self, batch_size: int | None = None, training: bool = False) -> Batches:
        """The samples in batches; for training shuffled, augmented and weighted."""
        ...

    def take(self, count: int) -> tuple[Arrays, Arrays]:
        """`(x, y)` of the first `count` samples, as the model reads them."""
        ...

    def take_weights(self, count: int) -> Arrays | None:
        """The weights of the first `count` samples; `None` where they have none."""
        ...

    def weighing(self) -> Source:
        """The same samples, whose batches to measure on have the weights too."""
        ...

    def describe(self) -> str:
        """The source in words, such as "45,000 images"."""
        ...

    def shuffled(self) -> Source:
        """The same samples so that the first ones are a fair sample."""
        ...


class DivisibleSource(Source, Protocol):
    """A source that a part can be taken of."""

    def hold_out(self, share: float, expected: Expected) -> tuple[DivisibleSource, DivisibleSource, str]:
        """`(rest, held out, how)`: splits off a share of the samples, chosen by the source's seed."""
        ...

    def weighing_classes(self, classes: ClassWeights) -> DivisibleSource:
        """The same samples, weighted by their classes too."""
        ...

    def first(self, count: int) -> Source:
        """A source of `count` samples at most, without augmentation."""
        ...

    def shuffled(self) -> DivisibleSource:
        """The same samples so that the first ones are a fair sample."""
        ...
