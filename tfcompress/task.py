"""`Task`: the model to compress, its data, and the limits; every method is given one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from tfcompress.channels import Control, Widths
from tfcompress.costs import Budget, Cost, CostModel
from tfcompress.costs.metrics import LOOKED_UP
from tfcompress.data import Splits
from tfcompress.evaluation import check_objective, guessing
from tfcompress.graph import ChannelGroups
from tfcompress.importance import Evidence
from tfcompress.network import Network
from tfcompress.operators import LatencyPrediction
from tfcompress.rewrite.working_copy import check_working_copy, flat_copy, unchecked_copy
from tfcompress.streams import Stream
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

__all__ = ["WARNING", "Task"]

WARNING = "Warning: "
"""Prefix of a note that is shown at once, and again below the table of the result."""

_COPIED_SAMPLES = 4  # by which the working copy is compared with the original


class _Unknown:
    """Placeholder for a part of a task that is known only once its data is given."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"Expected a task with data, to read its {self._name}. Received: one without, as in `check`")


@dataclass(frozen=True, eq=False)
class Task:
    """One compression task.

    Attributes:
        model: the working copy, which methods may train; the user's own model is never changed.
        splits: training, validation, calibration and, perhaps, test data.
        objective: loss and metric.
        budget: upper limits for the finished model, as they were given; `limits` holds them as absolute numbers.
        accuracy: the metric of the uncompressed model on the validation split, or `None` if there is no metric.
        chance: the metric of random guessing, or `None` if that is not known.
        luck: how far random guessing may come out above `chance`; `None` if that follows from `chance`, a share.
        control: which channels may be pruned, and how many.
        seed: random seed.
        run: the run folder, or its stand-in.
        progress: the display.
        first: the model of the task before `on`, if that was another one.
        networks: the networks of models that were read so far; see `network_of`.
        said: texts passed to `say`, for the report.
        files: TFLite files passed to `deliver`, by what they are.
        given: the user's own model, which is never changed.
        callbacks: the user's, which see every epoch of the recovery; empty while a method searches.
        first_of_flow: in a later stage of a flow the network that the first stage was given; else `None`.
        latency: the prediction of latency, where that is planned for.
    """

    model: keras.Model
    splits: Splits
    objective: Objective
    budget: Budget = field(default_factory=Budget)
    accuracy: float | None = None
    chance: float | None = None
    luck: float | None = None
    control: Control = field(default_factory=Control)
    seed: int = 0
    run: RunFolder | NoRunFolder = field(default_factory=NoRunFolder)
    progress: Progress = field(default_factory=lambda: Progress(verbose=0))
    first: keras.Model | None = None
    said: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    given: keras.Model | None = None
    networks: list[Network] = field(default_factory=list)
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    first_of_flow: Network | None = None
    latency: LatencyPrediction | None = None

    @classmethod
    def of(
        cls,
        original: keras.Model | Network,
        splits: Splits,
        budget: Budget,
        seed: int,
        run: RunFolder | NoRunFolder,
        progress: Progress,
        control: Control | None = None,
        objective: Objective | Score | None = None,
    ) -> Task:
        """Returns the task on a working copy of a model, with an objective, or the loss and metric of the original."""
        task = cls.before_data(
            Network.of(original, (control or Control()).through_norms), budget, seed, run, progress, control
        )
        return task.with_data(splits, objective)

    @classmethod
    def before_data(
        cls,
        original: Network,
        budget: Budget,
        seed: int,
        run: RunFolder | NoRunFolder,
        progress: Progress,
        control: Control | None = None,
    ) -> Task:
        """Returns the task on a working copy of a model, without `splits` and `objective`: see `with_data`."""
        splits: Any = _Unknown("splits")
        objective: Any = _Unknown("objective")
        copy = unchecked_copy(original)
        known: dict[str, Any] = {"control": control or Control(), "seed": seed, "run": run, "progress": progress}
        return cls(copy.model, splits, objective, budget, given=original.model, networks=[original, copy], **known)

    def with_data(self, splits: Splits, objective: Objective | Score | None = None, monitor: str | None = None) -> Task:
        """Returns the task with its data, from which the objective is inferred and the working copy is checked.

        Args:
            splits: the data.
            objective: the user's objective; `None` for the loss and metric of the user's model.
            monitor: name of the metric of the user's model that choices are made by; see `infer`.

        Raises:
            TypeError, ValueError: as for `working_copy`, `infer` and `check_objective`.
        """
        given = self.whole
        labels = splits.validation.take(1000)[1]
        chosen = objective if isinstance(objective, Objective) else infer(given.model, labels, objective, monitor)
        if chosen.weighted and splits.own_weights:
            splits = splits.measured_with_weights()
        weights = splits.validation.take_weights(1000) if splits.weighing else None
        check_working_copy(given, self.network, splits.calibration.take(_COPIED_SAMPLES)[0])
        check_objective(self.model, chosen, labels)
        chance, luck = guessing(self.model, chosen, labels, splits.validation.take, weights)
        seed_layers(self.model, self.seed, Stream.WORKING_COPY)
        return dataclasses.replace(self, splits=splits, objective=chosen, chance=chance, luck=luck)

    def on(self, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Task:
        """Returns the same task for another model, such as one pruned during a search, or with callbacks."""
        if model is self.model and not callbacks:
            return self
        first = self.first or (None if model is self.model else self.model)
        return dataclasses.replace(self, model=model, first=first, callbacks=(*self.callbacks, *callbacks))

    @property
    def original(self) -> keras.Model:
        """The working copy of the user's model, also if the task is `on` another model."""
        return self.first or self.model

    @property
    def whole(self) -> Network:
        """The user's model, or its working copy if the task was made without it."""
        return self.network_of(self.original if self.given is None else self.given)

    @cached_property
    def limits(self) -> Mapping[str, int]:
        """`{metric of Cost: upper limit}` for the finished model, computed from the budget."""
        return MappingProxyType(self.budget.limits(self.whole.costs.total))

    @cached_property
    def teacher(self) -> keras.Model:
        """A copy of the model that was given, as a teacher for runs that train the working copy itself."""
        return flat_copy(self.whole)

    @cached_property
    def first_teacher(self) -> keras.Model:
        """A copy of the model that teaches unless another is named: the user's own, also in a later stage of a flow."""
        return self.teacher if self.first_of_flow is None else flat_copy(self.first_of_flow)

    def network_of(self, model: keras.Model | Network) -> Network:
        """Returns the network of a model, read once for this task and all made from it by `on`; keeps a given one."""
        network = Network.of(model, self.control.through_norms)
        for known in self.networks:
            if known.model is network.model:
                return known
        self.networks.append(network)
        return network

    @property
    def network(self) -> Network:
        """The working copy with its graph, channel groups and costs."""
        return self.network_of(self.model)

    @property
    def groups(self) -> ChannelGroups:
        """Channel groups of the working copy."""
        return self.network.groups

    @property
    def costs(self) -> CostModel:
        """Costs of any plan for the working copy."""
        return self.network.costs

    @cached_property
    def widths(self) -> Widths:
        """The widths that each group may have."""
        return self.control.widths(self.groups)

    def evidence(self) -> Evidence:
        """The data for importance criteria: the working copy's weights, and calibration data with the task's loss."""
        loss = loss_function(self.model, self.objective)
        return Evidence(self.groups, self.splits.calibration, loss, self.seed)

    @property
    def is_trained(self) -> bool:
        """Whether the model is clearly better than guessing.

        An accuracy must exceed chance by more than random variation explains, and also by at least chance itself or
        half of the distance from chance to 1 (less if one class dominates, because only a trained model does better
        than always naming it). Other metrics must be better than on labels of other samples, by three standard errors.
        """
        if self.accuracy is None or self.chance is None:
            return False
        chance, least = self.chance, 0.0
        if self.luck is None:
            least = min(chance, (1 - chance) / 2, (1 - chance) ** 2)
        return self.objective.sign * (self.accuracy - chance) > max(least, self._by_luck)

    @property
    def _by_luck(self) -> float:
        """How far guessing may come out above `chance` by random variation: three standard errors.

        If one class has more than half of the samples, guessing other classes for some samples loses more on average
        than it may win by random variation: the bound is the largest net win, over all shares of such samples. Maps
        and sequences are guessed place by place.
        """
        if self.luck is not None:
            return self.luck
        places = math.prod(size or 1 for size in self.model.outputs[0].shape[1:-1])
        chance, guesses = self.chance or 0.0, places * (self.splits.validation.num_samples or math.inf)
        lost = 2 * chance - 1
        if lost <= 0:
            return 3 * math.sqrt(chance * (1 - chance) / guesses)
        return (math.hypot(lost, 3 / math.sqrt(guesses)) - lost) / 2

    @property
    def warning(self) -> str | None:
        """A warning if the model is not better than guessing, else `None`."""
        if self.accuracy is None or self.chance is None:
            return None
        if self.objective.sign * (self.accuracy - self.chance) > self._by_luck:
            return None
        return (
            f"The model is at chance level on the validation split ({self.objective.metric_name} {self.accuracy:.4f}, "
            f"guessing gives {self.chance:.4f}). If it is trained, it may expect inputs in another scaling than this "
            "data has: names and paths give float32 images in [0, 1], unless another usual scaling does better; "
            "tfcompress.data.load(name, preprocess=...) changes that."
        )

    def phase(self, name: str, stateful: Mapping[str, Any] | None = None) -> Phase:
        """A training phase of this task's run."""
        return Phase(name, self.run, self.progress, stateful or {})

    @property
    def measured_before(self) -> Mapping[str, float]:
        """The measurements of the original by the run's first call, `{metric: number}`; empty before there are any."""
        stored = self.run.recall("before", self.progress.note) or {}
        numbers: Mapping[str, float] = stored.get("measurements", {})
        return numbers

    def say(self, text: str) -> None:
        """Adds a line to the notes of the result, once; a warning is also shown at once."""
        if text not in self.said:
            self.said.append(text)
            if text.startswith(WARNING):
                self.progress.note(text)

    def deliver(self, name: str, content: bytes) -> None:
        """Adds a TFLite file to the result, beside its model.

        Args:
            name: what it is: "sparse" or "qat".
            content: the file.
        """
        self.files[name] = content

    def fits(self, cost: Cost) -> bool:
        """Whether a cost is within the limits."""
        return all(cost[metric] <= limit for metric, limit in self.limits.items())

    def check_finished(self, cost: Cost) -> None:
        """Checks the cost of a finished model against the limits that can be counted.

        Raises:
            RuntimeError: it is above a limit, which is a bug.
        """
        if any(cost[metric] > limit for metric, limit in self.limits.items() if metric != LOOKED_UP):
            raise RuntimeError(
                f"Expected a model within {dict(self.limits)}. Received: {cost}. This is a bug: report it."
            )

    def fits_kept(self, kept: Any, limits: Mapping[str, int] | None = None) -> bool:
        """Whether the plan that keeps `kept[i]` channels of group i is within the given limits, or the task's."""
        within = self.limits if limits is None else limits
        return all(int(self.costs.count(metric, kept)) <= limit for metric, limit in within.items())

    def rng(self, stream: Stream, *part: int) -> np.random.Generator:
        """Returns an independent random generator for a stream of the seed, or a part of that stream."""
        return np.random.default_rng([self.seed, stream, *part])
