"""What a method is: `search` decides, `recover` trains what is left. Everything else is the workflow's."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import keras
import numpy as np

from tfcompress.channels import Control, reachable
from tfcompress.costs import Cost, CostModel
from tfcompress.costs.budget import ADVICE, Budget
from tfcompress.fingerprint import Contents, model_digest
from tfcompress.plan import Plan
from tfcompress.task import Task
from tfcompress.training import PhasePlan

__all__ = ["Candidate", "Method", "Search"]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An answer worth keeping.

    Attributes:
        plan: what it keeps.
        cost: what the finished model would cost.
        score: the reward it earned, on the validation split, or `None` where nothing was measured.
        origin: where it came from.
    """

    plan: Plan
    cost: Cost
    score: float | None = None
    origin: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """What a method decided.

    Attributes:
        source: the model that the plan is applied to.
        plan: the decision.
        removed: what the source had lost already, against the task's model, where the search pruned on its way.
        candidates: every other answer worth keeping.
        history: for each name in the logs of the search its values, epoch by epoch.
        notes: what the report should say of it.
        teacher: what the student is to learn from, where that is not the source.
    """

    source: keras.Model
    plan: Plan
    removed: Plan = dataclasses.field(default_factory=Plan)
    candidates: tuple[Candidate, ...] = ()
    history: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    teacher: keras.Model | None = None


class Method:
    """Base of all methods. A method is a frozen dataclass whose fields are its settings.

    To add one: derive a frozen dataclass, decorate it with `register_method("name")`, fill in `search` and `recover`.
    """

    name: ClassVar[str] = ""
    # Whether a run that goes on takes the search from its folder; otherwise it is done again, its phases restored.
    stores_search: ClassVar[bool] = True

    # What to say of a budget that the method cannot reach.
    advice: ClassVar[str] = ADVICE

    def budget(self, given: Budget) -> Budget:
        """The budget that holds, of the one that the call gives; a method may know it without being told.

        Raises:
            ValueError: an empty budget.
        """
        if not given:
            raise ValueError(
                "Expected a budget. Received neither `flops_budget` nor `params_budget`, and no `budget`. "
                "Pass for example flops_budget=0.5 for half the FLOPs."
            )
        return given

    def least(self, costs: CostModel, control: Control) -> Cost:
        """The lowest cost that the method can reach: with the least channels in each group that control allows."""
        return reachable(costs, control.widths(costs.groups))

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

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """The training phases that are to come, for the estimate of time."""
        raise NotImplementedError

    def search(self, task: Task) -> Search:
        """Decides what to remove; may train `task.model` on the way."""
        raise NotImplementedError

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Trains the student in place; returns the history by name.

        Args:
            student: what the search's plan made.
            task: on the model that the student may learn from, `search.teacher` or else `search.source`.
        """
        raise NotImplementedError

    def contents(self, contents: Contents) -> dict[str, Any]:
        """What of the settings decides the outcome, for the run folder: functions by what they compute, and so on.

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
    if callable(value):
        return _qualified(value)
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value
