"""The stages of an N2N search: a policy draws students, they are scored, and it learns from their rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.n2n.constraints import SmallStudent, holds_measured
from tfcompress.methods.n2n.reward import RELAXATIONS
from tfcompress.methods.n2n.rules import Rules
from tfcompress.methods.n2n.space import Shrinkable, Space
from tfcompress.methods.n2n.students import Scored, Students
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.task import Task

__all__ = ["Stages", "phase_of"]


def phase_of(stage: str) -> str:
    """Returns the name of a stage for the display of a run."""
    return f"search by {stage}"


class Stages:
    """The stages of a search, with all students that were tried and the best of each stage.

    Args:
        task: the task.
        students: makes and scores students.
        updates: number of updates of each stage's policy.
        constraint: "strict" or "relaxed", how the budget enters the reward.
        rules: the meaning of "relaxed", and how far the next stage may shrink.
        policies: a folder with policies to start from, or `None`.
    """

    def __init__(
        self, task: Task, students: Students, updates: int, constraint: str, rules: Rules, policies: str | None = None
    ) -> None:
        self.students = students
        self._task, self._updates, self._rules, self._policies = task, updates, rules, policies
        self._is_strict = constraint == "strict"
        self._history: dict[str, list[Any]] = {}
        self._best: list[tuple[str, Scored, Network]] = []

    def played(
        self,
        name: str,
        network: Network,
        before: Sequence[Plan],
        learner: Any,
        draw: Callable[[], Sequence[Any]],
        plan_of: Callable[[Sequence[Any]], Plan],
        smallest: Callable[[], Plan],
        is_last: bool = True,
    ) -> Scored:
        """Plays all updates of one stage; returns its best student.

        Args:
            name: name of the stage.
            network: the network that its plans apply to.
            before: the plans that led to it.
            learner: the policy, `None` if students are drawn at random.
            draw: draws the rollouts of an update.
            plan_of: makes a plan from a rollout's actions.
            smallest: returns the smallest known plan, for a stage without a student within the budget.
            is_last: whether its best student must meet the budget; else the next stage must still be able to meet it.
        """
        task = self._task
        if learner is not None and self._policies is not None:
            learner.load(f"{self._policies}/{name}")
        strict = is_last and self._is_strict
        epsilon = RELAXATIONS["strict" if self._is_strict else self._rules.relaxation]
        if self._is_strict and not is_last:
            epsilon = _unconstrained
        best: Scored | None = None
        begun = False
        for update in range(self._updates):
            rollouts = draw()
            trails = [Trail((*before, plan_of(rollout.actions.tolist()))) for rollout in rollouts]
            if not begun and not self.students.know(trails):  # updates of an interrupted run take no time
                task.progress.begin(phase_of(name), self._updates, done=update)
                begun = True
            shown = "-" if best is None else f"{self._reward(best):.4f}"
            task.progress.doing(f"{name}: update {update + 1} of {self._updates}, best reward {shown}")
            scores = self.students.score_all(network, trails, strict)
            for score in scores:
                if self._is_better(score, best) and (
                    score.within if is_last else self._can_hold(network, score.trail.last)
                ):
                    best = score
            self.students.keep(name, None if best is None else best.trail)
            rewards = [self._reward(score, epsilon(update, self._updates)) for score in scores]
            if learner is not None:
                learner.update(rollouts, rewards)
            for score, value in zip(scores, rewards, strict=True):
                self._record(name, update, score, value)
            if begun:
                shown_best = {} if best is None else {"best reward": self._reward(best)}
                task.progress.epoch_done(update + 1, {"reward": sum(rewards) / len(rewards), **shown_best})
        task.progress.end()
        if best is None:
            task.say(f"{name}: no student drawn is within the budget, the smallest known plan is used")
            trail = Trail((*before, smallest()))
            best = self.students.score(network, trail.last, trail, strict=False)
            self.students.keep(name, trail)
        if learner is not None and task.run.path is not None:
            learner.save(str(task.run.path / "policies" / name))
        self._best.append((name, best, network))
        return best

    def largest_uniform(self, network: Network, shrinkable: Shrinkable) -> Plan:
        """Returns the plan of the greatest uniform share whose student meets the budget, else of the least share."""
        plans = [shrinkable.uniform(share) for share in sorted(set(self._rules.shares), reverse=True)]
        return next((plan for plan in plans if self._holds(network, plan)), plans[-1])

    def _holds(self, network: Network, plan: Plan) -> bool:
        """Whether the student of a plan is smaller than the teacher and within the budget."""
        cost = network.costs.of(plan)
        return (
            cost.params < self._task.costs.total.params
            and self._task.fits(cost)
            and (not self._task.budget.measured or holds_measured(self._task, self.students.built(network, plan)))
        )

    def search(self) -> Search:
        """Returns the decision: the best student of each stage with its weights, and the best within the budget."""
        task, candidates = self._task, []
        for name, best, network in self._best:
            model = self.students.model_of(network, best.trail)
            assert best.cost is not None
            candidates.append(Candidate(best.trail, best.cost, self._reward(best), f"best of {name}", model))
        # One that was not worth scoring is the smallest that is known, and within if its cost is.
        holds = [best.within or (best.accuracy is None and self._fits(best)) for _, best, *_ in self._best]
        within = [candidate for candidate, held in zip(candidates, holds, strict=True) if held]
        chosen = max(within or candidates, key=lambda each: each.score or 0.0)
        notes = tuple(f"{name}: best reward {self._reward(best):.4f}" for name, best, _ in self._best)
        return Search(task.model, chosen.trail, tuple(candidates), self._history, notes, student=chosen.model)

    def _fits(self, score: Scored) -> bool:
        return score.cost is not None and self._task.fits(score.cost)

    def _is_better(self, score: Scored, best: Scored | None) -> bool:
        return score.accuracy is not None and (best is None or self._reward(score) > self._reward(best))

    def _can_hold(self, network: Network, plan: Plan) -> bool:
        """Whether the student of a first-stage plan can be shrunk to meet the budget."""
        task, left = self._task, network.costs.after(plan)
        smallest = Space.of(left, self._rules).shrinkable.uniform(self._rules.shares[0])
        if not task.fits(left.of(smallest)):
            return False
        return not task.budget.measured or holds_measured(
            task, SmallStudent((plan, smallest), left.of(smallest)).built(network, task.seed)
        )

    def _reward(self, score: Scored, epsilon: float = 1.0) -> float:
        assert self._task.accuracy is not None
        return score.reward(self._task.whole.costs.total, self._task.accuracy, epsilon)

    def _record(self, name: str, update: int, score: Scored, value: float) -> None:
        columns = {
            "stage": name,
            "update": update + 1,
            "trail": score.trail.to_json(),
            "params": None if score.cost is None else score.cost.params,
            "macs": None if score.cost is None else score.cost.macs,
            "accuracy": score.accuracy,
            "reward": value,
            "seconds": score.seconds,
            "refused": score.why,
        }
        for column, entry in columns.items():
            self._history.setdefault(f"students: {column}", []).append(entry)


def _unconstrained(update: int, updates: int) -> float:
    return 1.0
