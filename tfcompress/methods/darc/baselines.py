"""`Replaced`: replacements chosen without training mixtures; the baseline of DARC."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import keras

from tfcompress import expect
from tfcompress.costs.budget import Budget
from tfcompress.costs.latency import LATENCY
from tfcompress.evaluation import Evaluator
from tfcompress.methods import phases
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.darc.base import Replacing, refuse, words_for
from tfcompress.methods.darc.choice import at_random, exact_choice
from tfcompress.methods.darc.latency import latency_of
from tfcompress.methods.darc.measured import MARGIN, TRIES, above_of_file, tightened, words_above
from tfcompress.methods.darc.relaxation import Weights, chosen_network, chosen_student, plan_of
from tfcompress.methods.darc.units import ORIGINAL, Choice, Unit
from tfcompress.methods.registry import register_method
from tfcompress.plan import Trail
from tfcompress.streams import Stream
from tfcompress.task import Task

__all__ = ["Replaced"]


@register_method("replaced")
@dataclasses.dataclass(frozen=True)
class Replaced(Replacing):
    """Replaces units by a rule, lets the replacements imitate the originals, and fine-tunes.

    Attributes:
        choice: "all": each unit becomes the first of `replacements` that fits it, as in MobileNet with "3x3+1x1"; it
            needs no budget. "random": random replacements, as close to the budget as random choices come. "knapsack":
            the exact choice with the least sum of increases of the loss, each measured on the calibration data with
            only that replacement in the network, like a search driven by a table.

    Raises:
        TypeError, ValueError: a setting has another type, or is out of range.
    """

    choice: Literal["all", "random", "knapsack"] = "knapsack"

    when: ClassVar[str] = "cheaper layers instead of others by a rule, without a search"

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.one_of, "choice", options=("all", "random", "knapsack"))

    def budget(self, given: Budget) -> Budget:
        """Returns the budget; none is needed if all units are replaced."""
        return Budget(flops=1.0) if not given and self.choice == "all" else super().budget(given)

    def check_model(self, task: Task) -> None:
        """Refuses a budget that the choice cannot meet."""
        super().check_model(task)
        units = self.units(task.costs, task.control)
        table = self.table(task, units)
        if self.choice == "all" and not table.fits(_all(units), self.limits(task, table)):
            raise ValueError(
                f"Expected a budget that {words_for(_all(units))} can meet. Received: {dict(task.limits)}. Leave the "
                "budget out, or give choice='knapsack'."
            )

    def search(self, task: Task) -> Search:
        """Chooses, and makes the student from the replacements after imitation."""
        units = self.units(task.costs, task.control)
        weights, history = self.imitate(task, units)
        choice = self._choice(task, units, weights)
        network = task.network_of(chosen_network(task.network, units, choice, weights))
        trail = Trail((plan_of(task.network, units, choice),))
        candidates = (Candidate(trail, network.costs.total, origin=words_for(choice)),)
        return Search(task.model, trail, candidates, history, (words_for(choice),), student=network.model)

    def _choice(self, task: Task, units: Sequence[Unit], weights: Weights) -> Choice:
        """Returns a choice that is within the limits when measured, as those are refused before anything is trained."""
        table = self.table(task, units)
        limits = self.limits(task, table)
        values = self._values(task, units, weights) if self.choice == "knapsack" else {}
        planned = dict(limits)
        for _ in range(TRIES):
            if self.choice == "random":
                choice = at_random(table, planned, task.rng(Stream.RATES))
            else:
                choice = _all(units) if self.choice == "all" else exact_choice(table, values, planned)
            if choice is None:
                break
            student = functools.partial(chosen_student, task.network, units, choice, weights)
            above, slow = above_of_file(student, task), None
            if LATENCY in limits:
                measured = latency_of(student(), self.latency_batch, self.latency_threads)
                margin = 1.0 if self.choice == "all" else MARGIN  # there is no other choice to take
                slow = measured if measured > margin * limits[LATENCY] else None
            if not above and slow is None:
                return choice
            task.say(f"a choice is left out: {words_above(limits, slow, above)}")
            if self.choice == "all" or (slow is not None and choice == table.cheapest(LATENCY)):
                break
            planned = tightened(planned, table, choice, slow, above)
        return refuse(limits)

    def _values(self, task: Task, units: Sequence[Unit], weights: Weights) -> dict[str, dict[str, float]]:
        """Returns for each alternative the loss of the unchanged network minus the loss with only that one in it."""
        untouched = {unit.name: ORIGINAL for unit in units}

        def loss(choice: Choice) -> float:
            student = chosen_student(task.network, units, choice, weights)
            return Evaluator(student, task.objective)(task.splits.calibration.batches(250))["loss"]

        before = loss(untouched)
        values: dict[str, dict[str, float]] = {}
        for number, unit in enumerate(units, start=1):
            task.progress.doing(f"replacing only part {number} of {len(units)}")
            values[unit.name] = {
                name: 0.0 if name == ORIGINAL else before - loss({**untouched, unit.name: name})
                for name in unit.alternatives
            }
        return values

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Fine-tunes the student."""
        how: dict[str, Any] = {"teaching": self.teaching, "keep": self.keep}
        return phases.train_student(student, task, self.training, "fine-tuning", **how)


def _all(units: Sequence[Unit]) -> dict[str, str]:
    return {unit.name: next(iter(unit.replacements)) for unit in units}
