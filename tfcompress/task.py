"""`Task`: what is compressed, on what data, and under which limits; what every method is given."""

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
from tfcompress.data import Splits
from tfcompress.evaluation import check_objective, guessing
from tfcompress.graph import ChannelGroups
from tfcompress.importance import Evidence
from tfcompress.network import Network
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
"""How a note begins that is shown when it comes up, and below the table of the result."""

_COPIED_SAMPLES = 4  # by which the working copy is compared with the original


class _Unknown:
    """Stands for a part of a task that only its data says."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"Expected `check` to ask for the {self._name} of a task. Received: a task without its data")


@dataclass(frozen=True, eq=False)
class Task:
    """One compression task.

    Attributes:
        model: the working copy; methods may train it, the user's own model is never touched.
        splits: training, validation, calibration and, perhaps, test data.
        objective: loss and metric.
        budget: upper limits for the finished model, as they were given; `limits` are what they come to.
        accuracy: the metric of the untouched model on the validation split, or `None` if there is no metric.
        chance: the metric that guessing would give, or `None` where that is not known.
        luck: how far above `chance` guessing may come by luck; `None` where that follows from `chance`, a share.
        control: what of the model may be pruned, and by how much.
        seed: random seed.
        run: the run folder, or its stand-in.
        progress: the display.
        first: the model that the task was for before `on`, if that was another one.
        networks: what has been read of models so far; see `network_of`.
        said: what `say` was told, for the report.
        given: the user's own model, which nothing changes.
        callbacks: the user's, which see every epoch of the recovery; none while a method searches.
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
    given: keras.Model | None = None
    networks: list[Network] = field(default_factory=list)
    callbacks: tuple[keras.callbacks.Callback, ...] = ()

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
        """The task on a working copy of a model, with the loss and metric of the original, or an objective given."""
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
        """The task on a working copy of a model, whose `splits` and `objective` are not known yet."""
        splits: Any = _Unknown("splits")
        objective: Any = _Unknown("objective")
        copy = unchecked_copy(original)
        known: dict[str, Any] = {"control": control or Control(), "seed": seed, "run": run, "progress": progress}
        return cls(copy.model, splits, objective, budget, given=original.model, networks=[original, copy], **known)

    def with_data(self, splits: Splits, objective: Objective | Score | None = None, monitor: str | None = None) -> Task:
        """The task with its data, which says what the objective is, and by which the copy is compared with the model.

        Args:
            splits: the data.
            objective: an objective that was given; `None` for the loss and metric of the user's model.
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
        """The same task for another model, such as one that a search has pruned on its way, or with callbacks."""
        if model is self.model and not callbacks:
            return self
        first = self.first or (None if model is self.model else self.model)
        return dataclasses.replace(self, model=model, first=first, callbacks=(*self.callbacks, *callbacks))

    @property
    def original(self) -> keras.Model:
        """The working copy of the user's model, whichever model the task is `on`."""
        return self.first or self.model

    @property
    def whole(self) -> Network:
        """The user's model, or its working copy where a task was made without it."""
        return self.network_of(self.original if self.given is None else self.given)

    @cached_property
    def limits(self) -> Mapping[str, int]:
        """`{metric of Cost: upper limit}` for the finished model: what the budget comes to."""
        return MappingProxyType(self.budget.limits(self.whole.costs.total))

    @cached_property
    def teacher(self) -> keras.Model:
        """A copy of the model as it was given, to learn from where the working copy itself is trained."""
        return flat_copy(self.whole)

    def network_of(self, model: keras.Model | Network) -> Network:
        """The network of a model, which is read once in a task and in all that come from it by `on`; or one to keep."""
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
        """The evidence of criteria: the weights of the working copy, and its calibration data with the task's loss."""
        loss = loss_function(self.model, self.objective)
        return Evidence(self.groups, self.splits.calibration, loss, self.seed)

    @property
    def is_trained(self) -> bool:
        """Whether the model is clearly better than guessing.

        An accuracy has to be above chance by more than luck explains, and by as much again as chance itself or
        half of what is missing to perfect; by less where one class dominates, as nothing but what was learned goes
        beyond always naming it. Other metrics have to be better than on labels of other samples, by three standard
        errors.
        """
        if self.accuracy is None or self.chance is None:
            return False
        chance, least = self.chance, 0.0
        if self.luck is None:
            least = min(chance, (1 - chance) / 2, (1 - chance) ** 2)
        return self.objective.sign * (self.accuracy - chance) > max(least, self._by_luck)

    @property
    def _by_luck(self) -> float:
        """How much better than `chance` guessing may come out: three standard errors.

        Where one class has more than half of the samples, whoever names others at random loses on the average what he
        may win by luck: the bound is what three standard errors leave of the best share of them. Maps and sequences
        are guessed place by place.
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
        """A warning of a model that is not better than guessing, or `None`."""
        if self.accuracy is None or self.chance is None:
            return None
        if self.objective.sign * (self.accuracy - self.chance) > self._by_luck:
            return None
        return (
            f"The model is at chance level on the validation split ({self.objective.metric_name} {self.accuracy:.4f}, "
            f"guessing gives {self.chance:.4f}). If it is trained, its inputs may be scaled otherwise than this data: "
            "names and paths give float32 images in [0, 1], where no other usual scaling does better; "
            "tfcompress.data.load(name, preprocess=...) changes that."
        )

    def phase(self, name: str, stateful: Mapping[str, Any] | None = None) -> Phase:
        """A training phase of this task's run."""
        return Phase(name, self.run, self.progress, stateful or {})

    def say(self, text: str) -> None:
        """Keeps a line for the notes of the result, once; shows it where it is a warning."""
        if text not in self.said:
            self.said.append(text)
            if text.startswith(WARNING):
                self.progress.note(text)

    def fits(self, cost: Cost) -> bool:
        """Whether a cost is within the limits."""
        return all(cost[metric] <= limit for metric, limit in self.limits.items())

    def fits_kept(self, kept: Any, limits: Mapping[str, int] | None = None) -> bool:
        """Whether the plan in which group i keeps `kept[i]` channels is within the limits, or within other ones."""
        within = self.limits if limits is None else limits
        return all(int(self.costs.count(metric, kept)) <= limit for metric, limit in within.items())

    def rng(self, stream: Stream, *part: int) -> np.random.Generator:
        """An independent random stream of this task's seed, or a part of one."""
        return np.random.default_rng([self.seed, stream, *part])
