"""Students of N2N: made of a plan, trained for a few epochs on the teacher's logits, and scored, equal ones once."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import Any

import keras

from tfcompress.costs import Cost
from tfcompress.methods import phases
from tfcompress.methods.n2n.constraints import holds_measured, numbers_read
from tfcompress.methods.n2n.reward import DEGENERATE, constrained, reward
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import apply
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import Constant, Phase, Training, WeightDecay, fit, seed_layers
from tfcompress.training.teaching import Teaching, computing_in

__all__ = ["Scored", "Students"]

_FILE = "students"


@dataclasses.dataclass(frozen=True)
class Scored:
    """A student that was tried.

    Attributes:
        trail: from the teacher to it.
        why: what is wrong with it, where it was not trained; "" for one that was.
        cost: what it costs, `None` where it cannot be built.
        accuracy: the metric on the validation split after its few epochs, `None` where it was not trained.
        within: whether it holds the budget.
        seconds: what building, training and scoring it took.
    """

    trail: Trail
    why: str = ""
    cost: Cost | None = None
    accuracy: float | None = None
    within: bool = False
    seconds: float = 0.0

    def reward(self, teacher: Cost, teacher_accuracy: float, epsilon: float = 0.0) -> float:
        """Its reward, -1 for a degenerate one; `epsilon` is how much a broken constraint leaves of it."""
        if self.accuracy is None or self.cost is None:
            return DEGENERATE
        return constrained(
            reward(self.cost.params, teacher.params, self.accuracy, teacher_accuracy), self.within, epsilon
        )


class Students:
    """All students of a search; what was scored is kept in the run folder, and never scored again.

    Args:
        task: the task.
        training: how a student is trained to be scored.
        inherit: whether a student begins with the teacher's weights where the shapes allow it.
        teaching: what it learns to be scored; `None` for labels alone.
        reads: fewest and most numbers that a dense layer of a student may read.
    """

    def __init__(
        self, task: Task, training: Training, inherit: bool, teaching: Teaching | None, reads: tuple[int, int]
    ) -> None:
        self._task, self._training, self._inherit = task, training, inherit
        self._teaching, self._reads = teaching, reads
        self._known: dict[str, dict[str, Any]] = task.run.recall(_FILE, task.progress.note) or {}
        self._teacher_params = task.costs.total.params
        self._last: tuple[Trail, keras.Model] | None = None

    def degenerate(self, network: Network, plan: Plan, trail: Trail) -> Scored | None:
        """The score of a plan that leaves no student worth training, before anything is built; else `None`."""
        try:
            left = network.costs.after(plan)
        except ValueError as error:
            return Scored(trail, "shapes do not fit: " + " ".join(str(error).split())[:200])
        cost, (fewest, most) = left.of(Plan(plan.channels)), self._reads
        if cost.params >= self._teacher_params:
            return Scored(trail, "not smaller than its teacher", cost)
        for name, number in numbers_read(left, plan).items():
            if not fewest <= number <= most:
                size = "large" if number > most else "small"
                return Scored(trail, f"a feature map of {number} numbers before {name}, too {size} to train", cost)
        return None

    def score(self, network: Network, plan: Plan, trail: Trail, strict: bool) -> Scored:
        """The score of the student that a plan makes of a network.

        Args:
            network: what the plan speaks of.
            plan: the plan, the trail's last.
            trail: from the teacher to the student.
            strict: whether a student that breaks the budget is not trained at all.
        """
        key = hashlib.sha256(trail.to_json().encode()).hexdigest()
        if key in self._known:
            return _scored(self._known[key], trail)
        start = time.monotonic()
        result = self.degenerate(network, plan, trail)
        if result is None:
            result, _ = self.trained(network, plan, trail, strict)
        result = dataclasses.replace(result, seconds=time.monotonic() - start)
        self._known[key] = _plain(result)
        self._task.run.write_json(_FILE, self._known)
        return result

    def latest(self, trail: Trail) -> keras.Model | None:
        """The student with its weights, if it is the one that was trained last."""
        return self._last[1] if self._last is not None and self._last[0] == trail else None

    def trained(self, network: Network, plan: Plan, trail: Trail, strict: bool) -> tuple[Scored, keras.Model]:
        """The student, trained for a few epochs, and its score."""
        task = self._task
        student = self.built(network, plan)
        own = Network(student, task.control.through_norms)
        cost = own.costs.total
        within = task.fits(cost) and holds_measured(task, student)
        if strict and not within:
            return Scored(trail, "over the budget", cost, within=False), student
        seed_layers(student, task.seed, Stream.STUDENT)
        training = self._training
        decay = [WeightDecay(training.weight_decay)] if training.weight_decay else []
        rate = float(training.learning_rate or 0)
        with computing_in(training.mixed_precision, (student,)):
            fit(
                student if self._teaching is None else phases.taught(student, task, self._teaching),
                task.splits.train.batches(training.batch_size, training=True),
                task.objective,
                optimizer=training.new_optimizer(rate),
                epochs=training.epochs,
                schedule=Constant(rate),
                penalties=decay,
                phase=Phase("scoring"),
            )
        self._last = (trail, student)
        return Scored(trail, "", cost, phases.score_of(student, task), within), student

    def built(self, network: Network, plan: Plan) -> keras.Model:
        """The student with fresh weights, or the teacher's where these are inherited and fit."""
        student = apply(network.model, plan, network.groups, seed=self._task.seed)
        if self._inherit:
            given = {layer.name: layer for layer in self._task.teacher.layers}
            for layer in student.layers:
                weights = given[layer.name].weights if layer.name in given else []
                if weights and [w.shape for w in weights] == [w.shape for w in layer.weights]:
                    layer.set_weights(given[layer.name].get_weights())
        return student


def _plain(scored: Scored) -> dict[str, Any]:
    cost = None if scored.cost is None else dataclasses.asdict(scored.cost)
    return {**{f.name: getattr(scored, f.name) for f in dataclasses.fields(scored) if f.name != "trail"}, "cost": cost}


def _scored(plain: dict[str, Any], trail: Trail) -> Scored:
    cost = None if plain["cost"] is None else Cost(**plain["cost"])
    return Scored(trail, **{**plain, "cost": cost})
