"""Students of N2N: made from a plan, trained for a few epochs, and scored; equal ones are scored once."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import keras

from tfcompress.costs import Cost
from tfcompress.methods.n2n.constraints import holds_measured, numbers_read
from tfcompress.methods.n2n.elsewhere import Elsewhere, NotElsewhere
from tfcompress.methods.n2n.records import Records
from tfcompress.methods.n2n.reward import DEGENERATE, constrained, reward
from tfcompress.methods.n2n.scoring import Scoring
from tfcompress.methods.n2n.weights import KeptStudents, key_of
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.workers import Workers

__all__ = ["Scored", "Students", "rungs"]


@dataclasses.dataclass(frozen=True)
class Scored:
    """A student that was tried.

    Attributes:
        trail: the trail from the teacher to it.
        why: why it was not trained; "" if it was.
        cost: its cost, `None` if it cannot be built.
        accuracy: the metric on the validation split after its few epochs, `None` if it was not trained.
        within: whether it meets the budget.
        seconds: seconds of building, training and scoring it.
    """

    trail: Trail
    why: str = ""
    cost: Cost | None = None
    accuracy: float | None = None
    within: bool = False
    seconds: float = 0.0

    def reward(self, teacher: Cost, teacher_accuracy: float, epsilon: float = 0.0) -> float:
        """Returns its reward, -1 for a degenerate student; `epsilon` is the share left with a broken constraint."""
        if self.accuracy is None or self.cost is None:
            return DEGENERATE
        return constrained(
            reward(self.cost.params, teacher.params, self.accuracy, teacher_accuracy), self.within, epsilon
        )


def rungs(epochs: int, factor: int | None) -> tuple[int, ...]:
    """Returns the epochs after which students are compared: `epochs`, `epochs / factor`, and so on down to 1."""
    lengths = [epochs]
    while factor is not None and lengths[0] // factor >= 1:
        lengths.insert(0, lengths[0] // factor)
    return tuple(lengths)


class Students:
    """All students of a search; scores are kept in the run folder, and no student is scored twice.

    Use it in a `with` statement, which ends its processes.

    Args:
        scoring: how students are scored, and for which task.
        reads: minimum and maximum number of inputs of a dense layer of a student.
        workers: the processes that score students; `None` for this process.
        halving: factor by which the students of an update become fewer at each comparison; `None` to train all of them
            for the same number of epochs.
    """

    def __init__(
        self, scoring: Scoring, reads: tuple[int, int], workers: Workers | None = None, halving: int | None = None
    ) -> None:
        self._task, self._scoring, self._reads = scoring.task, scoring, reads
        self._halving, self._workers = halving, workers
        self._rungs = rungs(scoring.training.epochs, halving)
        self._records = Records(scoring.task)
        self._final: dict[str, Scored] = {}  # of this search, in which those of an interrupted one are looked up again
        self._weights = KeptStudents(scoring.task, scoring)
        self._elsewhere: Elsewhere | None = None
        self._teacher_params = scoring.task.costs.total.params

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        if self._elsewhere is not None:
            self._elsewhere.close()
        if kind is None or issubclass(kind, Exception):
            self._records.gather()
        self._weights.close(finished=kind is None)

    def degenerate(self, network: Network, plan: Plan, trail: Trail) -> Scored | None:
        """Returns the score of a plan without a student worth training, before anything is built; else `None`."""
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

    def know(self, trails: Sequence[Trail]) -> bool:
        """Whether all of these students have scores already."""
        return all(self._records.get(self._key(trail)) is not None for trail in trails)

    def score_all(self, network: Network, trails: Sequence[Trail], strict: bool) -> list[Scored]:
        """Returns the scores of the students of an update, which are trained in parallel if there are workers.

        Args:
            network: the network that the last plan of each trail applies to.
            trails: the trails from the teacher to each student.
            strict: whether students above the budget are not trained at all.
        """
        self._weights.begin()
        if self._workers is not None or self._halving is not None:
            return self._side_by_side(network, trails, strict)
        return [self.score(network, trail.last, trail, strict) for trail in trails]

    def score(self, network: Network, plan: Plan, trail: Trail, strict: bool) -> Scored:
        """Returns the score of the student that a plan makes from a network.

        Args:
            network: the network that the plan applies to.
            plan: the plan, the trail's last.
            trail: the trail from the teacher to the student.
            strict: whether a student above the budget is not trained at all.
        """
        if self._workers is not None or self._halving is not None:
            return self._side_by_side(network, [trail], strict)[0]
        key = self._key(trail)
        record = self._records.get(key)
        if record is not None:
            return _scored(record, trail)
        start = time.monotonic()
        result = self.degenerate(network, plan, trail)
        if result is None:
            result, student = self.trained(network, plan, trail, strict)
            self._weights.add(trail, student)
        result = dataclasses.replace(result, seconds=time.monotonic() - start)
        self._records.add(key, _plain(result))
        return result

    def keep(self, stage: str, trail: Trail | None) -> None:
        """Keeps the weights of a stage's best student so far, and drops the last update's other students."""
        self._weights.keep(stage, trail)

    def model_of(self, network: Network, trail: Trail) -> keras.Model:
        """Returns a kept student with the weights of its score; it is trained again if they are lost."""
        student = self._weights.model_of(network, trail)
        if student is None:  # of an interrupted run
            self._task.progress.doing("the best student is trained again")
            epochs = (self._records.get(self._key(trail)) or {}).get("epochs")
            student = self._scoring.built(network, trail.last)
            self._scoring.train(student, epochs)
        return student

    def trained(self, network: Network, plan: Plan, trail: Trail, strict: bool) -> tuple[Scored, keras.Model]:
        """Returns the student, trained for a few epochs, and its score."""
        student = self.built(network, plan)
        cost = network.costs.after(plan).of(Plan(plan.channels))
        self._task.progress.doing(f"training a student of {cost.params:,} parameters")
        within = self._holds(cost, lambda: student)
        if strict and not within:
            return Scored(trail, "over the budget", cost, within=False), student
        return Scored(trail, "", cost, self._scoring.train(student), within), student

    def built(self, network: Network, plan: Plan) -> keras.Model:
        """Returns the student with fresh weights, or with the teacher's where these are inherited and fit."""
        return self._scoring.built(network, plan)

    # Side by side, in this process or in others.

    def _open(self) -> None:
        """Starts the workers, or notes why there are none."""
        if self._workers is None:
            return
        try:
            self._elsewhere = Elsewhere(self._scoring, self._workers, self._weights)
        except NotElsewhere as error:
            self._workers = None
            self._task.say(f"Students are scored in this process, one after the other, because {error}.")

    def _side_by_side(self, network: Network, trails: Sequence[Trail], strict: bool) -> list[Scored]:
        keys = [self._key(trail) for trail in trails]
        waiting: dict[str, Scored] = {}
        for key, trail in zip(keys, trails, strict=True):
            if key in self._final or key in waiting:
                continue
            waiting[key] = self._untrained(network, key, trail, strict)
            if waiting[key].why:
                self._final[key] = waiting.pop(key)
        alive = list(waiting)
        for epochs in self._rungs:
            is_last = epochs == self._rungs[-1]
            names = {key: key if is_last else f"{key}:{epochs}" for key in alive}
            missing = [(key, waiting[key].trail) for key in alive if self._records.get(names[key]) is None]
            self._train(network, missing, epochs, functools.partial(self._note, waiting, names, epochs))
            for key in alive:
                result = _scored(self._records.get(names[key]) or {}, waiting[key].trail)
                waiting[key] = dataclasses.replace(result, seconds=waiting[key].seconds + result.seconds)
            better = alive if is_last else self._better([waiting[key] for key in alive], alive)
            for key in alive:
                if is_last or key not in better:
                    self._final[key] = waiting[key]
                    self._weights.forget_rungs(key)
                    if self._records.get(key) is None:
                        self._records.add(key, {**_plain(waiting[key]), "epochs": epochs})
            alive = better
        # With its own trail: a student that the second stage leaves as it is was scored in the first.
        return [dataclasses.replace(self._final[key], trail=trail) for key, trail in zip(keys, trails, strict=True)]

    def _note(
        self,
        waiting: Mapping[str, Scored],
        names: Mapping[str, str],
        epochs: int,
        key: str,
        accuracy: float | None,
        seconds: float,
    ) -> None:
        result = dataclasses.replace(waiting[key], accuracy=accuracy, seconds=seconds)
        self._records.add(names[key], {**_plain(result), "epochs": epochs})

    def _untrained(self, network: Network, key: str, trail: Trail, strict: bool) -> Scored:
        """Returns the entry of an untrained student, with `why` if it will not be trained."""
        record = self._records.get(key)
        if record is not None and record["why"]:
            return _scored(record, trail)
        start = time.monotonic()
        result = self.degenerate(network, trail.last, trail)
        if result is None:
            cost = network.costs.after(trail.last).of(Plan(trail.last.channels))
            within = self._holds(cost, lambda: self.built(network, trail.last))
            why = "over the budget" if strict and not within else ""
            result = Scored(trail, why, cost, within=within)
        result = dataclasses.replace(result, seconds=time.monotonic() - start)
        if result.why:
            self._records.add(key, _plain(result))
        return result

    def _train(
        self,
        network: Network,
        students: Sequence[tuple[str, Trail]],
        epochs: int,
        noted: Callable[[str, float | None, float], None],
    ) -> None:
        """Trains students up to a number of epochs, and calls `noted` with each one's metric and seconds."""
        if students and self._elsewhere is None:
            self._open()
        if self._elsewhere is not None:
            self._elsewhere.train(network, students, epochs, len(self._rungs) > 1, noted)
            return
        for key, trail in students:
            start = time.monotonic()
            student = self.built(network, trail.last)
            folder = self._weights.rungs_of(key) if len(self._rungs) > 1 else None
            accuracy = self._scoring.train(student, epochs, folder)
            self._weights.add(trail, student)
            noted(key, accuracy, time.monotonic() - start)

    def _better(self, results: Sequence[Scored], keys: Sequence[str]) -> list[str]:
        """Returns the students to train further: the highest rewards without a budget, of equal ones the first."""
        accuracy = self._task.accuracy
        assert accuracy is not None
        assert self._halving is not None
        earned = [result.reward(self._task.whole.costs.total, accuracy, epsilon=1.0) for result in results]
        count = -(-len(keys) // self._halving)
        order = sorted(range(len(keys)), key=lambda place: -earned[place])[:count]
        return [keys[place] for place in sorted(order)]

    def _holds(self, cost: Cost, built: Callable[[], keras.Model]) -> bool:
        """Whether a student is within the budget; it is built if something has to be measured."""
        task = self._task
        return task.fits(cost) and (not task.budget.measured or holds_measured(task, built()))

    def _key(self, trail: Trail) -> str:
        return key_of(self._task, trail)


def _plain(scored: Scored) -> dict[str, Any]:
    cost = None if scored.cost is None else dataclasses.asdict(scored.cost)
    return {**{f.name: getattr(scored, f.name) for f in dataclasses.fields(scored) if f.name != "trail"}, "cost": cost}


def _scored(plain: Mapping[str, Any], trail: Trail) -> Scored:
    cost = None if plain["cost"] is None else Cost(**plain["cost"])
    own = {f.name: plain[f.name] for f in dataclasses.fields(Scored) if f.name not in ("trail", "cost")}
    return Scored(trail, cost=cost, **own)
