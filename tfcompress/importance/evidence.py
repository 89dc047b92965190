"""The data for importance criteria: weights, and activations and gradients on calibration data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import keras
import numpy as np
import numpy.typing as npt

from tfcompress import expect
from tfcompress.graph import ChannelGroup, ChannelGroups
from tfcompress.graph.handlers import WeightAxes
from tfcompress.importance.passes import Activations, Gates, Passes, Place, Products

__all__ = ["Criterion", "Evidence", "GroupWeight", "MissingData", "ranking", "scores_of"]

Scores = npt.NDArray[np.float32]
Role = Literal["writes", "reads", "carries"]

_OFFSETS = ("bias", "beta")


class MissingData(ValueError):
    """A criterion needs calibration data or a loss, and there is none."""


@dataclass(frozen=True, eq=False)
class GroupWeight:
    """A weight of a group, arranged by channel.

    Attributes:
        layer: the layer that holds it.
        name: its name in the layer, such as "kernel", "bias" or "gamma".
        role: whether it writes the group's channels, reads them, or carries them through its layer.
        values: float32 `[size, values]`, the weights of each position.
    """

    layer: str
    name: str
    role: Role
    values: Scores

    @property
    def is_offset(self) -> bool:
        """Whether it is an offset (a bias, the beta of a normalization), which says nothing about a channel's size."""
        return self.name in _OFFSETS


class Evidence:
    """The weights of a model, arranged by channel, and its activations and gradients on calibration data.

    Weights are read when they are needed. Activations and gradients are computed for all groups at once when a
    criterion first needs them, batch by batch, and kept: call `weights_changed` after training.

    The model runs in inference mode (`training=False`: moving statistics, no dropout) and is not changed.

    Args:
        groups: the channel groups of the model.
        data: calibration samples for criteria that need them: `(x, y)`, structures of arrays `[samples, ...]`, or any
            object with `take(count) -> (x, y)` such as `tfcompress.data.Splits.calibration`; `None` for none.
        loss: the loss for gradients: the name of a Keras loss or a function `(y, outputs) -> numbers`, of which the
            mean over a batch is used; `None` for none.
        seed: random seed of criteria that draw random numbers.
    """

    def __init__(
        self,
        groups: ChannelGroups,
        data: Any = None,
        loss: str | Callable[[Any, Any], Any] | None = None,
        seed: int = 0,
    ) -> None:
        if data is not None and not _is_pair(data) and (not hasattr(data, "take") or hasattr(data, "__array__")):
            raise TypeError(
                "Expected `data` to be a tuple (inputs, labels), or to have take(count). "
                f"Received: {type(data).__name__}. Labels may be None if no criterion needs gradients."
            )
        self.groups = groups
        self.seed = expect.seed("seed", seed)
        self._data, self._loss = data, _loss_of(loss)
        self._axes = groups.weight_axes()
        self._made: Passes | None = None
        self._found: dict[tuple[Any, ...], Any] = {}

    def weights_changed(self) -> None:
        """Discards activations and gradients, which belong to the old weights."""
        self._found.clear()

    def written(self, group: ChannelGroup) -> Iterator[Scores]:
        """Yields, for each kernel that writes the group, float32 `[size, values]`: the values writing each position."""
        for _, weight, role, axis, owner in self._slices(group):
            if role == "writes" and len(weight.variable.shape) > 1:  # a bias says nothing of a filter's size
                yield _by_position(keras.ops.convert_to_numpy(weight.variable), axis, owner, group.size)

    def read(self, group: ChannelGroup) -> Iterator[Scores]:
        """Yields, for each kernel that reads the group, float32 `[size, values]`: the values that read each position.

        Layers that pass channels through (normalizations, depthwise convolutions) read none.
        """
        return (weight.values for weight in self.weights(group) if weight.role == "reads" and not weight.is_offset)

    def weights(self, group: ChannelGroup) -> Iterator[GroupWeight]:
        """Yields all learned weights of the group: those that write its channels, read them, or carry them through.

        Running statistics are left out. A kernel that both writes and reads the group is yielded twice.
        """
        for layer, weight, role, axis, owner in self._slices(group):
            values = _by_position(keras.ops.convert_to_numpy(weight.variable), axis, owner, group.size)
            yield GroupWeight(layer, weight.variable.name, role, values)

    def gradients(self, group: ChannelGroup, samples: int = 256, batch_size: int = 32) -> Iterator[Scores]:
        """Yields, for each of `weights(group)` in order, float32 `[size, values]`: the gradient of the mean loss.

        Memory: one array of the size of all weights is kept.

        Args:
            group: the group.
            samples: maximum number of calibration samples.
            batch_size: samples in a batch.

        Raises:
            MissingData: no calibration data, no labels, or no loss.
        """
        self._require_loss(f"the gradients of {group.name!r}")
        gradients = self._once("gradients", samples, batch_size)
        for _, weight, _, axis, owner in self._slices(group):
            yield _by_position(gradients[id(weight.variable)], axis, owner, group.size)

    def products(self, group: ChannelGroup, samples: int = 256, batch_size: int = 32) -> Products:
        """Returns sums of gradient x weight over `weights(group)` by batch, squared and absolute: see `Products`.

        Memory: a few numbers per channel are kept.

        Args:
            group: the group.
            samples: maximum number of calibration samples.
            batch_size: samples whose mean loss gives a gradient; 1 for the gradients of single samples.

        Raises:
            MissingData: no calibration data, no labels, or no loss.
        """
        self._require_loss(f"the gradients of {group.name!r}")
        return self._once("products", samples, batch_size).at(group.roots)

    def gates(self, group: ChannelGroup, samples: int = 256, batch_size: int = 32) -> Gates:
        """Returns gradient x activation of the group's feature maps, as layers read them, per sample: see `Gates`.

        Args:
            group: the group.
            samples: maximum number of calibration samples.
            batch_size: samples in a batch; the loss is a mean over them.

        Raises:
            MissingData: no calibration data, no labels, or no loss.
        """
        self._require_loss(f"the gradients of {group.name!r}")
        return self._once("gates", samples, batch_size).at(group.roots)

    def activations(
        self, group: ChannelGroup, at: Place = "written", samples: int = 256, batch_size: int = 32
    ) -> Activations:
        """Returns the activations of the group's channels on the calibration data: see `Activations`.

        A channel's activation is the output of the layer that writes it, after that layer's own activation function
        (`at="written"`), or the input of the layers that read it, after all normalization and activation layers in
        between (`at="read"`). Means are taken over samples and positions, over the calls of a shared layer, and then
        over the layers. Channels that no layer writes (reads) have zeros.

        Args:
            group: the group.
            at: where the channels are measured.
            samples: maximum number of calibration samples.
            batch_size: samples in a batch.

        Raises:
            MissingData: no calibration data.
        """
        expect.one_of("at", at, ("written", "read"))
        self._require_data(f"the activations of {group.name!r}")
        return self._once("activations", samples, batch_size, at).at(group.roots)

    def _slices(self, group: ChannelGroup) -> Iterator[tuple[str, WeightAxes, Role, int, npt.NDArray[np.int64]]]:
        """Yields every axis of every learned weight with channels of the group, and the position of each slice."""
        position = np.full(len(self.groups.roots), -1, dtype=np.int64)
        position[group.roots] = np.arange(group.size)
        for layer in dict.fromkeys((*group.producers, *group.carriers, *group.readers)):
            for weight in filter(Passes.is_learned, self._axes[layer]):
                roles: tuple[Role, ...] = ("writes", "reads", "carries")
                for role in roles:
                    for axis, ids in getattr(weight, role).items():
                        owner = position[self.groups.roots[ids]]
                        if (owner >= 0).any():
                            yield layer, weight, role, axis, owner

    def _require_data(self, what: str) -> None:
        if self._data is None:
            raise MissingData(
                f"Expected calibration data, for {what}. Received: data=None. Pass Evidence(groups, data=(inputs, "
                "labels), loss=...), with a Keras loss or its name; the methods do so with a task's own data."
            )

    def _require_loss(self, what: str) -> None:
        self._require_data(what)
        if isinstance(self._data, tuple) and self._data[1] is None:
            raise MissingData(f"Expected labels with the calibration data, for {what}. Received: data=(inputs, None).")
        if self._loss is None:
            raise MissingData(
                f"Expected a loss, for {what}. Received: loss=None. Pass Evidence(groups, data=..., loss=...): the "
                "name of a Keras loss, or a function (labels, outputs) -> numbers."
            )

    def _once(self, what: str, samples: int, batch_size: int, *more: Any) -> Any:
        samples = expect.whole("samples", samples, least=1)
        batch_size = expect.whole("batch_size", batch_size, least=1)
        key = (what, samples, batch_size, *more)
        if key not in self._found:
            self._made = self._made or Passes(self.groups, self._loss)
            self._found[key] = getattr(self._made, what)(*self._taken(samples), batch_size, *more)
        return self._found[key]

    def _taken(self, samples: int) -> tuple[Any, Any]:
        taken = self._data if _is_pair(self._data) else self._data.take(samples)
        if not _is_pair(taken):
            raise TypeError(f"Expected `data.take(count)` to give (inputs, labels). Received: {type(taken).__name__}")
        x, y = taken
        return _first(x, samples), _first(y, samples)


def _loss_of(loss: Any) -> Any:
    what = "the name of a Keras loss, or a function (y, outputs) -> numbers"
    if not isinstance(loss, str):
        return expect.function("loss", loss, what, or_none=True)
    try:
        return keras.losses.get(loss)
    except ValueError:
        expect.refuse("loss", what, loss)


def _is_pair(data: Any) -> bool:
    return isinstance(data, tuple) and len(data) == 2


def _first(structure: Any, count: int) -> Any:
    return None if structure is None else keras.tree.map_structure(lambda array: array[:count], structure)


def _by_position(array: Any, axis: int, owner: npt.NDArray[np.int64], size: int) -> Scores:
    values = np.moveaxis(array, axis, 0).astype("float32")
    values = values.reshape(len(owner), -1)
    order = np.argsort(owner, kind="stable")
    order = order[np.searchsorted(owner[order], 0) :]  # -1: channels of other groups
    return values[order].reshape(size, -1)


class Criterion(Protocol):
    """Scores the channels of a group; higher is more important. A function, or an instance with settings."""

    def __call__(self, group: ChannelGroup, evidence: Evidence) -> Scores:
        """Returns float32 `[size]`: one number per channel."""


def _name(criterion: Any) -> str:
    return str(getattr(criterion, "name", None) or getattr(criterion, "__name__", type(criterion).__name__))


def ranking(group: ChannelGroup, evidence: Evidence, criterion: Criterion) -> npt.NDArray[np.int64]:
    """Returns int64 `[size]`: positions of the group, the most important first; equal scores in their own order.

    Raises:
        ValueError: as for `scores_of`.
    """
    return np.argsort(-scores_of(group, evidence, criterion), kind="stable")


def scores_of(group: ChannelGroup, evidence: Evidence, criterion: Criterion) -> Scores:
    """Returns float32 `[size]`: the criterion's scores, checked.

    Raises:
        ValueError: the scores are not one number per channel, are not numbers, or are NaN; or the criterion needs data
            that are missing.
    """
    try:
        scores = np.asarray(criterion(group, evidence))
    except MissingData as error:
        raise MissingData(f"The criterion {_name(criterion)!r}: {error}") from None
    if scores.shape != (group.size,) or scores.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected the criterion to give one number for each of the {group.size} channels of {group.name!r}. "
            f"Received: an array of shape {scores.shape} and dtype {scores.dtype}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"Expected the criterion's scores of {group.name!r} to be numbers. Received: NaN")
    return scores
