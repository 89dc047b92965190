"""`N2N`: two policies learn to remove and to shrink layers (Ashok, Rhinehart, Beainy and Kitani 2018)."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import keras

from tfcompress import expect
from tfcompress.agents import load_tf_agents
from tfcompress.channels import Control
from tfcompress.costs import Budget, Cost, CostModel
from tfcompress.costs.metrics import LOOKED_UP
from tfcompress.fingerprint import Contents
from tfcompress.methods import phases
from tfcompress.methods.base import Search
from tfcompress.methods.n2n.constraints import SmallStudent, check_limits, least, small_students, student_within
from tfcompress.methods.n2n.policies import Policies
from tfcompress.methods.n2n.published import PUBLISHED
from tfcompress.methods.n2n.rules import RELEASED, TEXT, Rules
from tfcompress.methods.n2n.scoring import Scoring
from tfcompress.methods.n2n.space import Space
from tfcompress.methods.n2n.stages import Stages, phase_of
from tfcompress.methods.n2n.students import Students
from tfcompress.methods.registry import register_method
from tfcompress.methods.trained import TrainedMethod
from tfcompress.plan import Plan, Trail
from tfcompress.process import lock
from tfcompress.task import Task
from tfcompress.training import PhasePlan, Training
from tfcompress.training.optimizers import OptimizerName
from tfcompress.training.teaching import Teaching
from tfcompress.workers import Workers

__all__ = ["N2N"]


@register_method("n2n")
@dataclasses.dataclass(frozen=True)
class N2N(TrainedMethod):
    """Learns by reinforcement which layers a student can do without, and how small the others can be.

    "N2N Learning: Network to Network Compression via Policy Gradient Reinforcement Learning" (ICLR 2018). In the first
    stage a bidirectional LSTM decides for each layer whether it is removed; in the second an LSTM decides for each
    kernel size, padding and number of outputs what share of it stays. A student has fresh weights, learns the teacher's
    logits for a few epochs, and earns `R = C (2 - C) A / A_teacher`; REINFORCE makes the policies draw students that
    earn more (Algorithm 1, Equation 2). The best one is trained fully on labels and logits.

    Without a budget only the reward decides how small the student becomes. With a budget, students above it earn -1,
    and the finished model is within it whatever the policies do.

    Attributes:
        epochs: epochs of the winner's training; 150 in the paper.
        stage: "removal", "shrinkage", or "both", one after the other.
        updates: number of updates of each policy; the paper makes at least 100. By default the 100 students of both
            stages, trained for an epoch each at half the network's size, take about as long as 80 epochs of the
            teacher. With so few updates a policy learns little more than which draw was best; with 30, shrinkage
            learned (recipes/n2n_against_baselines.py).
        rollouts: number of students for each update.
        score_epochs: epochs that a student is trained before it is scored; 5 in the paper.
        score_rate: Adam's learning rate while students are scored. Decided.
        score_on: the target of students while they are scored: the teacher's "logits", or "labels", as in the authors'
            code for Caltech-256.
        removal_rate: Adam's learning rate of the removal policy.
        shrinkage_rate: Adam's learning rate of the shrinkage policy; `None` for 0.01, and with `as_released` for 0.1,
            which is also in the paper's appendix.
        baseline_decay: decay of the moving average of rewards. Decided.
        actor_critic: whether a value network replaces the moving average.
        constraint: how students above the budget are treated. "strict": a student earns -1, and is not trained; in a
            search of both stages, this does not apply to the first. "relaxed": it earns `epsilon (R + 1) - 1` in both
            stages, with epsilon falling from 1 to 0 in the first half of the updates. `None` for "strict", and with
            `as_released` for "relaxed".
        soft_weight: lambda of the winner's loss, `L_hard + lambda L_KD`, computed as the two's weighted mean. Decided.
        inherit: whether students start with the teacher's weights where the shapes allow it; in the paper they start
            fresh.
        policies: a folder with policies that an earlier search saved, to start from (Table 5); `None` to start anew.
        random: whether students are drawn at random, each action as likely as any other, without learning: the baseline
            of a search with as many students.
        workers: processes that score the students of an update in parallel: a number of them on this machine, `"ray"`
            for a Ray cluster, or `Workers` with limits of time and memory. `None` to score students in this process.
        halving: factor by which the students of an update become fewer (successive halving): they are compared after
            `score_epochs` divided by it once, twice and so on down to one epoch, and the worse ones are not trained
            further and keep their score. `None` to train all of them for `score_epochs`.
        as_released: whether the search follows the authors' code where that differs from the paper's text, in all
            points that docs/methods/n2n.md lists.

    Raises:
        TypeError, ValueError: a setting has another type, or is out of range.
    """

    epochs: int = 30
    learning_rate: float | None = 0.001
    optimizer: OptimizerName | keras.optimizers.Optimizer = "adam"
    stage: Literal["both", "removal", "shrinkage"] = "both"
    updates: int = 10
    rollouts: int = 5
    score_epochs: int = 1
    score_rate: float = 5e-4
    score_on: Literal["logits", "labels"] = "logits"
    removal_rate: float = 0.003
    shrinkage_rate: float | None = None
    baseline_decay: float = 0.95
    actor_critic: bool = False
    constraint: Literal["strict", "relaxed"] | None = None
    soft_weight: float = 0.1
    inherit: bool = False
    policies: str | None = None
    random: bool = False
    workers: int | Literal["ray"] | Workers | None = None
    halving: int | None = None
    as_released: bool = False

    when: ClassVar[str] = "small networks on small data, with layers to spare, and no known budget"
    kind: ClassVar[str] = "layers"
    controlled_by: ClassVar[tuple[str, ...] | None] = ()
    fast: ClassVar[Mapping[str, Any]] = {"updates": 1, "epochs": 5}

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.one_of, "stage", options=("both", "removal", "shrinkage"))
        expect.settings(self, expect.whole, "updates", "rollouts", "score_epochs", least=1)
        expect.settings(self, expect.number, "score_rate", "removal_rate", above=0)
        expect.settings(self, expect.number, "shrinkage_rate", above=0, or_none=True)
        expect.settings(self, expect.one_of, "score_on", options=("logits", "labels"))
        expect.settings(self, expect.number, "baseline_decay", at_least=0, below=1)
        expect.settings(self, expect.flag, "actor_critic", "inherit", "random", "as_released")
        expect.settings(self, expect.one_of, "constraint", options=(None, "strict", "relaxed"))
        expect.settings(self, expect.number, "soft_weight", above=0)
        if self.policies is not None:
            expect.settings(self, expect.text, "policies", what="a folder of saved policies")
        if self.random and (self.policies is not None or self.actor_critic):
            raise ValueError(
                "Expected neither policies nor actor_critic with random=True, which has no policy. Received: "
                f"policies={self.policies!r}, actor_critic={self.actor_critic}. Leave them out."
            )
        Workers.of("workers", self.workers)
        expect.settings(self, expect.whole, "halving", least=2, or_none=True)
        if self.halving is not None and self.halving > self.score_epochs:
            what = (
                f"None, or at most score_epochs={self.score_epochs}, as students are compared after fewer epochs first"
            )
            expect.refuse("halving", what, self.halving, "Give score_epochs=5, for example.")

    advice = "That is without all removable layers, and with the smallest kernels and outputs."

    def budget(self, given: Budget) -> Budget:
        """Returns the budget; none is needed, because the reward itself favours small students."""
        return given

    @property
    def _rules(self) -> Rules:
        return RELEASED if self.as_released else TEXT

    @property
    def _players(self) -> Policies:
        return Policies(
            self._rules,
            self.rollouts,
            self.removal_rate,
            self.shrinkage_rate,
            self.baseline_decay,
            self.actor_critic,
            self.random,
        )

    @property
    def _removes(self) -> bool:
        return self.stage in ("both", "removal")

    @property
    def _shrinks(self) -> bool:
        return self.stage in ("both", "shrinkage")

    def least(self, costs: CostModel, control: Control) -> Cost:
        """Returns the least of each metric among the smallest known students."""
        return least(self._small_students(costs))

    def _small_students(self, costs: CostModel) -> tuple[SmallStudent, ...]:
        return small_students(costs, self._rules, self._removes, self._shrinks)

    def check_model(self, task: Task) -> None:
        """Refuses a model in which nothing may be removed or shrunk, and limits that no student meets; also if
        tf-agents is missing.
        """
        if not self.random:
            with lock:  # it changes the warning filters and `sys.modules` for a while
                load_tf_agents()
        if (workers := Workers.of("workers", self.workers)) is not None:
            workers.check()
        if set(task.control.settings()):
            raise ValueError(
                f"Expected no exclude, only, ratio_limits, round_to or through_norms for method={self.name!r}, whose "
                f"policies decide for every layer. Received: {task.control.settings()}. Leave them out."
            )
        if self.policies is not None:
            self._players.check(self.policies, self._removes, self._shrinks)
        name, space = task.groups.graph.name, Space.of(task.costs, self._rules)
        if self._removes and not space.removable.allowed.any():
            raise ValueError(
                f"Expected a model with layers that may be removed. Received: {name!r}, which has none: the first and "
                "the last layer with weights stay, and strided convolutions do; as_released=True keeps more of them. "
                "stage='shrinkage' shrinks layers."
            )
        if self.stage == "shrinkage" and not space.shrinkable.variables:
            raise ValueError(
                f"Expected a model with kernels, paddings or outputs that may be smaller. Received: {name!r}, which "
                "has none. Use another method."
            )
        check_limits(task, self._small_students(task.costs))

    def check(self, task: Task) -> None:
        """Refuses models without logits to learn from, and metrics for which less is better."""
        super().check(task)
        phases.check_outputs(task, (), "Use a method that needs no teacher, such as 'uniform'.")
        if task.objective.metric_name is None or task.objective.sign < 0:
            raise ValueError(
                "Expected a metric for which higher is better, because rewards are shares of the teacher's. Received: "
                f"{task.objective.metric_name}. Compile the model with an accuracy, or give objective=."
            )

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """The settings for each teacher of the paper: section 4 for the search, section 10.2 for the winner."""
        return PUBLISHED

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Returns the updates of each stage, for students half as large as their teacher, and the winner's training."""
        teacher = 1 / 3 if self.score_on == "logits" else 0.0
        workers = Workers.of("workers", self.workers)
        at_once = workers.where if workers is not None and isinstance(workers.where, int) else 1
        students = self.rollouts / min(at_once, self.rollouts)  # of an update, one after the other
        update = students * self.score_epochs * (0.5 + teacher)
        names = [name for name, played in (("removal", self._removes), ("shrinkage", self._shrinks)) if played]
        builds = students * self.updates
        stages = (PhasePlan(phase_of(name), self.updates, update, unit="update", builds=builds) for name in names)
        return (*stages, PhasePlan("training of the winner", self.epochs, 0.5 + 1 / 3))

    def trains_with(self, task: Task) -> str | None:
        """Returns the optimizer of the winner's training in words."""
        return self.training.words(False)

    def taught_by(self, task: Task) -> str | None:
        """Returns in words what the winner learns from: labels and the teacher's logits, or the setting `teach`."""
        if self.teaching is not None:
            return super().taught_by(task)
        return "learns from labels and logits of the original model"

    def contents(self, contents: Contents) -> dict[str, Any]:
        """Returns the settings that decide the outcome: all but `workers`."""
        return {name: value for name, value in super().contents(contents).items() if name != "workers"}

    # The search.

    def search(self, task: Task) -> Search:
        """Plays `updates` updates of each stage's policy, and takes the best student within the budget."""
        with contextlib.ExitStack() as opened:
            return self._searched(task, opened)

    def _searched(self, task: Task, opened: contextlib.ExitStack) -> Search:
        if not (task.accuracy or 0) > 0:
            raise ValueError(
                "Expected a teacher whose metric on the validation split is above 0, because rewards are shares of it. "
                f"Received: {task.objective.metric_name} {task.accuracy}. Train the model first."
            )
        rules = self._rules
        scoring = Training(
            epochs=self.score_epochs,
            batch_size=rules.score_batch or self.batch_size,
            learning_rate=self.score_rate,
            optimizer="adam",
            weight_decay=rules.score_decay,
            mixed_precision=self.mixed_precision,
        )
        soft = rules.soft if self.score_on == "logits" else None
        workers = Workers.of("workers", self.workers)
        students = Students(Scoring(task, scoring, self.inherit, soft), rules.reads, workers, self.halving)
        opened.enter_context(students)
        stage = Stages(task, students, self.updates, self.constraint or rules.constraint, rules, self.policies)
        network, trail = task.network, Trail((Plan(weights="fresh"),))
        small = self._small_students(task.costs)
        if self._removes:
            removable = Space.of(task.costs, rules).removable
            removing, draw_removals = self._players.removal(task, removable)
            first = stage.played(
                "removal",
                network,
                (),
                removing,
                draw_removals,
                removable.plan,
                lambda: (student_within(task, small) or small[0]).plans[0],
                is_last=not self._shrinks,
            )
            trail = first.trail
        if self._shrinks:
            plans: tuple[Plan, ...] = ()
            if self._removes and trail.last.structural:
                lookups = network.costs.after(trail.last).lookups(LOOKED_UP)
                network = task.network_of(stage.students.built(network, trail.last))
                if lookups is not None:  # of latency, which nothing in a model says
                    network.costs.look_up(LOOKED_UP, lookups)
                plans = trail.plans
            shrinkable = Space.of(network.costs, rules).shrinkable
            if shrinkable.variables:
                shrinking, draw_shares = self._players.shrinkage(task, shrinkable)
                stage.played(
                    "shrinkage",
                    network,
                    plans,
                    shrinking,
                    draw_shares,
                    shrinkable.plan,
                    lambda: stage.largest_uniform(network, shrinkable),
                )
        return stage.search()

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Trains the winner on labels and on the teacher's logits."""
        teaching = self.teaching or Teaching(alpha=1 / (1 + self.soft_weight), soft="logits")
        return phases.train_student(
            student, task, self.training, "training of the winner", teaching=teaching, keep=self.keep
        )
