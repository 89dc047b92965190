"""Base of methods: `search` decides, `recover` trains the student. Everything else is the workflow's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np

from tfcompress import expect
from tfcompress.channels import Control, Widths, reachable
from tfcompress.costs import Cost, CostModel, FileSize
from tfcompress.costs.budget import ADVICE, Budget
from tfcompress.costs.latency import LATENCY
from tfcompress.costs.metrics import columns
from tfcompress.fingerprint import Contents, model_digest
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.task import Task
from tfcompress.training import PhasePlan

__all__ = ["Candidate", "Method", "Search"]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An answer of a search.

    Attributes:
        trail: the plans from the task's model to the student.
        cost: the cost of the finished student.
        score: its reward on the validation split, or, if it has a model, the task's metric there; `None` if nothing was
            measured.
        origin: how it was made, in words.
        model: the student with its weights, if the search trained it.
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
            or, if the search pruned in steps, the model that the plans before the last left.
        trail: the decision: the plans from the task's model to the student.
        candidates: every answer worth keeping.
        history: values by epoch for each name in the logs of the search.
        notes: remarks for the report.
        teacher: the model to learn from, if it is not the source.
        student: the student with its weights, if the search trained it, such as a candidate's model. A copy of it is
            recovered, no plan is applied, and the source may be the task's model for a trail of any length.
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
        """The last plan of the trail, which turns the source into the student."""
        return self.trail.last


def _trail(name: str, value: Any) -> Trail:
    """Checks a trail."""
    return expect.instance(name, value, Trail, "a Trail", advice="Write Trail((plan,)) for one plan.")


class Method:
    """Base of all methods. A method is a frozen dataclass whose fields are its settings.

    To add one: derive a frozen dataclass, decorate it with `register_method("name")`, write `search` and `recover`.
    """

    name: ClassVar[str] = ""
    # Whether a run that goes on takes the search from its folder; otherwise it is done again, its phases restored.
    stores_search: ClassVar[bool] = True

    # Whether a limit of latency becomes a column that the method plans for; otherwise it has a way of its own.
    plans_latency: ClassVar[bool] = True

    # What to say of a budget that the method cannot reach.
    advice: ClassVar[str] = ADVICE

    # In one line when to choose it, for `tfcompress methods`.
    when: ClassVar[str] = ""

    # What it changes, "layers", "channels", "sparsity", "clusters" or "quantization", by which a flow is ordered,
    # see `tfcompress.methods.order`.
    kind: ClassVar[str] = "channels"

    # In a flow: the kinds that may follow, the metrics that it can lower, and the arguments of `Control` that it obeys
    # and is given; `None` for those of its kind.
    followed_by: ClassVar[tuple[str, ...] | None] = None
    lowers: ClassVar[tuple[str, ...] | None] = None
    controlled_by: ClassVar[tuple[str, ...] | None] = None

    # Of the preset "fast" the settings that are not defaults; `None` where a class does not say.
    fast: ClassVar[Mapping[str, Any] | None] = None

    def budget(self, given: Budget) -> Budget:
        """Returns the budget to use, from the one that the call gives; a method may have a budget of its own.

        Raises:
            ValueError: the budget is empty, or has only measured metrics, for which nothing can be planned.
        """
        if not given:
            raise ValueError(
                "Expected a budget. Received neither `flops_budget` nor `params_budget`, and no `budget`. "
                "Pass for example flops_budget=0.5 for half the FLOPs."
            )
        if not given.planned and not (self.plans_latency and LATENCY in given):
            raise ValueError(
                f"Expected a budget with a metric that can be planned, of {tuple(columns())}. Received: "
                f"{', '.join(map(given.said, given))}, which is measured on the finished student. Limit one of the "
                "others too, for example flops_budget=0.5."
            )
        return given

    def least(self, costs: CostModel, control: Control) -> Cost:
        """Returns the lowest cost that the method can reach: with the fewest channels that control allows."""
        return reachable(costs, control.widths(costs.groups))

    def file_left(self, network: Network) -> FileSize | None:
        """Returns the size of the file that the method makes of a network, by which a flow plans for the stages before.

        `None` for a method that makes no file of its own: its model is judged by the float32 file.
        """
        return None

    def widths(self, task: Task) -> Widths:
        """Returns the widths that the groups of a student may have: those that the task allows."""
        return task.widths

    def cheapest(self, costs: CostModel, control: Control, metrics: Sequence[str]) -> str:
        """Returns a sentence on the cheapest student by each metric, with a leading space; may be empty."""
        return ""

    def for_model(self, model: keras.Model) -> Self:
        """Returns the method with settings that depend on the model, such as the optimizer that it is compiled with.

        Args:
            model: the user's own model, unchanged.

        Raises:
            ValueError: the model lacks such a setting.
        """
        return self

    def for_data(self, task: Task) -> Self:
        """Returns the method with settings that depend on the data, such as the number of plans that a search tries.

        Args:
            task: the task, with its data.
        """
        return self

    def check_model(self, task: Task) -> None:
        """Refuses a model that this method cannot compress, before any data is read.

        Args:
            task: the task without its data: `splits` and `objective` are not known yet.
        """

    def check(self, task: Task) -> None:
        """Refuses a task that this method cannot do, before anything is trained."""

    def trains_with(self, task: Task) -> str | None:
        """Returns the optimizer of the training in words, for the notes; `None` if the method does not say."""
        return None

    def taught_by(self, task: Task) -> str | None:
        """Returns the teachers of the training in words, for the header; `None` if the method does not say."""
        return None

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Returns the training phases of the method, for the estimate of time."""
        raise NotImplementedError

    def plans_again(self) -> bool:
        """Whether `search` may be called again with other limits: it trains nothing and writes nothing."""
        return False

    def search(self, task: Task) -> Search:
        """Decides what to remove; may train `task.model` meanwhile."""
        raise NotImplementedError

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Trains the student in place; returns the history by name.

        Args:
            student: the student of the search's trail.
            task: on the model that the student may learn from, `search.teacher` or else `search.source`.
        """
        raise NotImplementedError

    # Settings by name. The defaults of a class are its preset "balanced".

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """The settings of the method's paper for each of its networks, complete; the main network first."""
        return {}

    @classmethod
    def paper_settings(cls, network: str | None = None) -> Mapping[str, Any]:
        """The settings of `as_published`.

        Args:
            network: a network of `published`; `None` for the first one.
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
        """Returns the method exactly as its paper sets it for a network, whatever the defaults are.

        Args:
            network: a network of `published`; `None` for the main one.
            **changes: settings with other values.

        Raises:
            ValueError: a network that is not in the paper; the message lists those that are.
        """
        return cls(**{**cls.paper_settings(network), **changes})

    @classmethod
    def presets(cls) -> dict[str, Mapping[str, Any]]:
        """The settings of each preset that differ from the defaults: "fast", for minutes; "balanced", the defaults, for
        an evening; "paper", `as_published()`. A class has only the presets that it defines.
        """
        presets: dict[str, Mapping[str, Any]] = {} if cls.fast is None else {"fast": cls.fast}
        presets["balanced"] = {}
        if cls.published():
            presets["paper"] = cls.paper_settings()
        return presets

    @classmethod
    def with_preset(cls, preset: str = "balanced", **changes: Any) -> Self:
        """Returns the method with the settings of a preset.

        Args:
            preset: "fast", "balanced" or "paper"; a class may have only "balanced", or others.
            **changes: settings with other values.

        Raises:
            ValueError: the class does not have the preset.
        """
        presets = cls.presets()
        says = f"{cls.__name__} has no other: give its settings themselves." if len(presets) == 1 else ""
        preset = expect.one_of("preset", preset, tuple(presets), says)
        return cls(**{**presets[preset], **changes})

    def contents(self, contents: Contents) -> dict[str, Any]:
        """Returns the settings that decide the outcome, for the run folder: functions by what they compute, and so on.

        Args:
            contents: converts a value to plain data that is equal for equal values.
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
