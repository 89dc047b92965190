"""The limits of an N2N search: which students are known to meet them, and refusals if none is (section 3.3.1).

`A x <= b` is a `Budget`: each limited metric is a row, and a user's own function is a registered metric.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from tfcompress.costs import Cost, CostModel
from tfcompress.costs.budget import as_budget, shown
from tfcompress.costs.metrics import BUILT_IN, metric_of
from tfcompress.methods.n2n.rules import Rules
from tfcompress.methods.n2n.space import Space
from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.task import Task

__all__ = [
    "SmallStudent",
    "check_limits",
    "holds_measured",
    "least",
    "numbers_read",
    "small_students",
    "student_within",
]


@dataclasses.dataclass(frozen=True)
class SmallStudent:
    """A student that is as small as known students get.

    Attributes:
        plans: the plan of each stage.
        cost: its cost.
    """

    plans: tuple[Plan, ...]
    cost: Cost

    def built(self, network: Network, seed: int) -> keras.Model:
        """Returns the student, with fresh weights."""
        for plan in self.plans:
            network = Network(apply(network.model, plan, network.groups, seed=seed), network.through_norms)
        return network.model


def small_students(costs: CostModel, rules: Rules, removes: bool, shrinks: bool) -> tuple[SmallStudent, ...]:
    """Returns the smallest known students; different ones may have the least of different metrics.

    One lacks all layers that may be removed together; one lacks only those of them that keep the width, because others
    may narrow what follows; one has all layers. The remaining layers have the smallest kernels and outputs.

    Args:
        costs: costs of the network.
        rules: the rules for what may be removed.
        removes, shrinks: the stages to play.
    """
    removals = [Plan(weights="fresh")]
    if removes:
        removable = Space.of(costs, rules).removable
        removals = [removable.smallest(), removable.smallest(keeping_widths=True), *removals[: int(shrinks)]]
    students = []
    for removal in dict.fromkeys(removals):
        left, plans = costs.after(removal), [removal] * removes
        if shrinks:
            plans.append(Space.of(left, rules).shrinkable.uniform(rules.shares[0]))
        students.append(SmallStudent(tuple(plans), left.of(plans[-1]) if shrinks else left.total))
    return tuple(students)


def least(students: Sequence[SmallStudent]) -> Cost:
    """Returns the least of each metric among students."""
    costs = [student.cost for student in students]
    macs, params, size = (min(cost[name] for cost in costs) for name in BUILT_IN)
    return Cost(macs, params, size, {name: min(cost[name] for cost in costs) for name in costs[0].others})


def student_within(task: Task, students: Sequence[SmallStudent]) -> SmallStudent | None:
    """Returns the first student that meets all limits, measured ones included; `None` if none does."""
    for student in students:
        if task.fits(student.cost) and (
            not task.budget.measured or holds_measured(task, student.built(task.network, task.seed))
        ):
            return student
    return None


def check_limits(task: Task, students: Sequence[SmallStudent]) -> None:
    """Refuses limits that no known student meets together.

    Measured metrics are measured on the students that meet the other limits; not in a run that has begun, because
    another measurement gives another number.

    Args:
        task: the task without its data.
        students: the smallest known students.

    Raises:
        ValueError: the message names the limits, and the costs or measurements of each student.
    """
    budget, within = task.budget, [student for student in students if task.fits(student.cost)]
    if not within:
        rows = {}
        for metric in budget.planned:
            student = min(students, key=lambda student: student.cost[metric])
            rows[metric] = as_budget({name: student.cost[name] for name in budget.planned})
        words = "; ".join(f"the one with the least {metric} has {costs}" for metric, costs in rows.items())
        raise ValueError(
            f"Expected limits that one student can meet. Received: {' and '.join(map(budget.said, budget))}. Of "
            f"the smallest known students, {words}. Raise one of the limits."
        )
    if not budget.measured or task.run.recall("before", task.progress.note) is not None:
        return
    limits = budget.measured_limits(_measured(task, task.network.model))
    numbers = [_measured(task, student.built(task.network, task.seed)) for student in within]
    if not any(_holds(limits, each) for each in numbers):
        words = "; ".join(
            " and ".join(f"{shown(number)} {metric_of(name).unit}" for name, number in each.items()) for each in numbers
        )
        asked = " and ".join(f"at most {shown(limit)} {metric_of(name).unit}" for name, limit in limits.items())
        raise ValueError(
            f"Expected limits that one student can meet together: {asked}. Received: "
            f"{' and '.join(map(budget.said, budget))}, while the smallest known students measure {words}. "
            "Raise one of the limits."
        )


def numbers_read(costs: CostModel, plan: Plan) -> dict[str, int]:
    """Returns, by layer, the number of inputs of each dense layer that reads vectors, in the student of a plan.

    Args:
        costs: costs of the network that the plan's structural edits leave.
        plan: the plan; its channel edits are used.
    """
    graph, owner = costs.groups.graph, costs.groups.group_of_labels()
    kept, sizes = costs.kept(Plan(plan.channels)), costs.sizes
    numbers = {}
    for name, item in costs.groups.layers.items():
        if isinstance(item.node.operation, keras.layers.Dense) and len(graph.shape(item.node.inputs[0])) == 2:
            owners = owner[item.call.inputs[0].ids]
            of_group = np.bincount(owners[owners >= 0], minlength=len(sizes))
            numbers[name] = int((owners < 0).sum() + (of_group * kept // np.maximum(sizes, 1)).sum())
    return numbers


def holds_measured(task: Task, student: keras.Model) -> bool:
    """Whether a student, trained or not, meets the limits of measured metrics, such as latency.

    Shares refer to the measurement of the original, made before the run begins or during it.
    """
    if not task.budget.measured:
        return True
    return _holds(task.budget.measured_limits(task.measured_before), task.budget.measure(student))


def _holds(limits: Mapping[str, float], numbers: Mapping[str, float]) -> bool:
    return all(numbers[name] <= limit for name, limit in limits.items())


def _measured(task: Task, model: keras.Model) -> dict[str, float]:
    """Returns measurements of a copy of a model."""
    return task.budget.measure(apply(model, Plan(), task.network_of(model).groups if model is task.model else None))
