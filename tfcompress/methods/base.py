"""Base of methods: `search` decides, `recover` trains the student. Everything else is the workflow's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np

from tfcompress import expect
from tfcompress.channels import Control, reachable
from tfcompress.costs import Cost, CostModel
from tfcompress.costs.budget import ADVICE, Budget
from tfcompress.costs.metrics import columns
from tfcompress.fingerprint import Contents, model_digest
from tfcompress.plan import Plan, Trail
from tfcompress.task import Task
from tfcompress.training import PhasePlan

__all__ = ["Candidate", "Method", "Search"]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An answer of a search.

    Attributes:
        trail: the plans from the task's model to the student.
        cost: what the finished student would cost.
        score: the reward it earned on the validation split, or, where it has a model, the task's metric there; `None`
            where nothing was measured.
        origin: where it came from.
        model: the student with its weights, where the search trained it.
    """

    trail: Trail
    cost: Cost
    score: float | None = None
    origin: str = ""
    model: keras.Model | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        expect.settings(self, _trail, "trail")
        expect.settings(self, expect.instance, "cost", kinds=Cost)
        expect.settings(self, expect.instance, "model", kinds=keras.Model, or_none=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """The decision of a method.

    Attributes:
        source: the model that the trail's last plan is applied to, and that the student learns from: the task's model,
            or, where the search pruned on its way, what the plans before the last left of it.
        trail: the decision: the plans from the task's model to the student.
        candidates: every answer worth keeping.
        history: for each name in the logs of the search its values, epoch by epoch.
        notes: what the report should say of it.
        teacher: what the student is to learn from, where that is not the source.
        student: the student with its weights, where the search trained it, such as a candidate's model: a copy of it is
            recovered, no plan is applied, and the source may be the task's model whatever the trail's length.
    """

    source: keras.Model
    trail: Trail
    candidates: tuple[Candidate, ...] = ()
    history: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    teacher: keras.Model | None = None
    student: keras.Model | None = None

    def __post_init__(self) -> None:
        expect.settings(self, _trail, "trail")
        expect.settings(self, expect.instance, "source", kinds=keras.Model)
        expect.settings(self, expect.instance, "teacher", "student", kinds=keras.Model, or_none=True)
        expect.settings(self, expect.each, "candidates", check=expect.instance, kinds=Candidate, what="candidates")

    @property
    def plan(self) -> Plan:
        """The last plan of the trail, which makes the student of the source."""
        return self.trail.last


def _trail(name: str, value: Any) -> Trail:
    """Checks a trail."""
    return expect.instance(name, value, Trail, "a Trail", advice="Write Trail((plan,)) for one plan.")


class Method:
    """Base of all methods. A method is a frozen dataclass whose fields are its settings.

    To add one: derive a frozen dataclass, decorate it with `register_method("name")`, fill in `search` and `recover`.
    """

    name: ClassVar[str] = ""
    # Whether a run that goes on takes the search from its folder; otherwise it is done again, its phases restored.
    stores_search: ClassVar[bool] = True

    # What to say of a budget that the method cannot reach.
    advice: ClassVar[str] = ADVICE

    # In one line when to choose it, for `tfcompress methods`.
    when: ClassVar[str] = ""

    # Of the preset "fast" the settings that are not defaults; `None` where a class does not say.
    fast: ClassVar[Mapping[str, Any] | None] = None

    def budget(self, given: Budget) -> Budget:
        """The budget that holds, of the one that the call gives; a method may know it without being told.

        Raises:
            ValueError: an empty budget, or one of measured metrics alone, by which nothing can be planned.
        """
        if not given:
            raise ValueError(
                "Expected a budget. Received neither `flops_budget` nor `params_budget`, and no `budget`. "
                "Pass for example flops_budget=0.5 for half the FLOPs."
            )
        if not given.planned:
            raise ValueError(
                f"Expected a budget with a metric that can be planned, of {tuple(columns())}. Received: "
                f"{', '.join(map(given.said, given))}, which is measured on the finished student. Limit one of the "
                "others as well, for example flops_budget=0.5."
            )
        return given

    def least(self, costs: CostModel, control: Control) -> Cost:
        """The lowest cost that the method can reach: with the least channels in each group that control allows."""
        return reachable(costs, control.widths(costs.groups))

    def cheapest(self, costs: CostModel, control: Control, metrics: Sequence[str]) -> str:
        """A sentence on the student of the lowest cost of each metric, with a space before it, or nothing."""
        return ""

    def for_model(self, model: keras.Model) -> Self:
        """The method with settings that only the model says, such as the optimizer that it is compiled with.

        Args:
            model: the user's own, as it was given.

        Raises:
            ValueError: the model does not say it.
        """
        return self

    def check_model(self, task: Task) -> None:
        """Refuses what this method cannot do for the model, before any data is read.

        Args:
            task: without its data: `splits` and `objective` are not known yet.
        """

    def check(self, task: Task) -> None:
        """Refuses what this method cannot do for the task, before anything is trained."""

    def trains_with(self, task: Task) -> str | None:
        """The optimizer of the training in words, for the notes; `None` where a method does not say."""
        return None

    def taught_by(self, task: Task) -> str | None:
        """The teachers of the training in words, for the header; `None` where a method does not say."""
        return None

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """The training phases that are to come, for the estimate of time."""
        raise NotImplementedError

    def search(self, task: Task) -> Search:
        """Decides what to remove; may train `task.model` on the way."""
        raise NotImplementedError

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Trains the student in place; returns the history by name.

        Args:
            student: what the search's trail leads to.
            task: on the model that the student may learn from, `search.teacher` or else `search.source`.
        """
        raise NotImplementedError

    # Settings by name. The defaults of a class are its preset "balanced".

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """For each network of the method's paper its settings, all that the paper tells; the main network first."""
        return {}

    @classmethod
    def paper_settings(cls, network: str | None = None) -> Mapping[str, Any]:
        """The settings of `as_published`.

        Args:
            network: one of `published`; `None` for the first one.
        """
        published = cls.published()
        if not published:
            raise ValueError(
                f"Expected a method with settings of a paper. Received: {cls.__name__}, which has none. Give the "
                f"settings themselves: {cls.__name__}(...)."
            )
        names = tuple(published)
        return published[names[0] if network is None else expect.one_of("network", network, names)]

    @classmethod
    def as_published(cls, network: str | None = None, **changes: Any) -> Self:
        """The method with the settings that its paper has for a network, to the letter, whatever the defaults are.

        Args:
            network: one of `published`; `None` for the main one.
            **changes: settings that are to be others.

        Raises:
            ValueError: a network that the paper does not have; the message lists those that it has.
        """
        return cls(**{**cls.paper_settings(network), **changes})

    @classmethod
    def presets(cls) -> dict[str, Mapping[str, Any]]:
        """For each preset the settings that are not defaults: "fast", of minutes; "balanced", the defaults, of an
        evening; "paper", `as_published()`. What a class does not say it does not have.
        """
        presets: dict[str, Mapping[str, Any]] = {} if cls.fast is None else {"fast": cls.fast}
        presets["balanced"] = {}
        if cls.published():
            presets["paper"] = cls.paper_settings()
        return presets

    @classmethod
    def with_preset(cls, preset: str = "balanced", **changes: Any) -> Self:
        """The method with the settings of a preset.

        Args:
            preset: "fast", "balanced" or "paper"; a class may have "balanced" alone, or others.
            **changes: settings that are to be others.

        Raises:
            ValueError: a preset that the class does not have.
        """
        presets = cls.presets()
        says = f"{cls.__name__} says no other: give its settings themselves." if len(presets) == 1 else ""
        preset = expect.one_of("preset", preset, tuple(presets), says)
        return cls(**{**presets[preset], **changes})

    def contents(self, contents: Contents) -> dict[str, Any]:
        """The settings that decide the outcome, for the run folder: functions by what they compute, and so on.

        Args:
            contents: takes a value, and gives plain data that is equal for an equal value.
        """
        values = self.settings()
        held = {name: getattr(self, name) for name in values if hasattr(self, name)}
        return {name: contents.of(held.get(name, value), f"method.{name}") for name, value in values.items()}

    def settings(self) -> dict[str, Any]:
        """The settings as plain data, for reports."""
        return {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
        }


def _qualified(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"


def _plain(value: Any) -> Any:
    if isinstance(value, keras.Model):
        return {"model": value.name, "digest": model_digest(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"name": _qualified(type(value)), **plain} if callable(value) else plain
    if isinstance(value, keras.optimizers.Optimizer):
        return keras.optimizers.serialize(value)
    if callable(value):
        return _qualified(value)
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value
