"""Narrows the student that a search found, where it measures above a limit that it was planned for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.channels import Widths
from tfcompress.costs.budget import shown
from tfcompress.costs.latency import LATENCY
from tfcompress.costs.metrics import LOOKED_UP, metric_of
from tfcompress.importance import by_name, ranking
from tfcompress.latency_planning import limit_ms
from tfcompress.methods import Candidate, Method, Search
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import apply
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import seed_layers

__all__ = ["narrowed"]

_Int = npt.NDArray[np.int64]
_CRITERION = "next_layer_l1_norm"  # needs no data, and is the default of nearly all methods
_TRIES = 5
_GOAL = 0.98  # of a limit of latency, what is aimed at: the finished model is measured anew


def narrowed(method: Method, task: Task, search: Search, before: Mapping[str, float]) -> Search:
    """Returns a search whose student measures within its limits: the same, or with fewer channels in its student.

    A search that trains is not made again for some percent too much. All groups of the student that the method may
    prune lose the same share of their channels, the least important ones, and what that leaves of the limit is spent
    channel by channel; this is measured, and repeated.

    Args:
        method: the method; one that removes no channels is left alone.
        task: the task.
        search: what the method decided.
        before: what was measured of the original.

    Returns:
        The search, with another trail, student and note if it was narrowed. Unchanged if nothing narrower holds.
    """
    if method.kind != "channels" or any(plan.structural for plan in search.trail) or search.teacher is not None:
        return search
    first = _Student.of(task, search)
    if first is None:
        return search
    numbers = first.measured(first.kept)
    limits = {name: limit for name, limit in task.budget.measured_limits(before).items() if name in numbers}
    if LATENCY in numbers:
        limits[LATENCY] = limit_ms(task)
    above = {name: number for name, number in numbers.items() if number > limits[name]}
    if not above:
        return search
    task.progress.doing("narrowing the student, which measures above its limit")
    kept, planned = first.kept, dict(task.limits)
    for _ in range(_TRIES):
        cost = task.costs.of_kept(kept)
        for name, number in numbers.items():
            if number > limits[name]:
                column = LOOKED_UP if name == LATENCY else name
                less = (
                    int(cost[column] * _GOAL * limits[name] / number)
                    if name == LATENCY
                    else int(cost[column] - np.ceil(number - limits[name]))
                )
                planned[column] = min(planned[column], less)
        kept = first.narrower(method.widths(task), kept, planned)
        if not task.fits_kept(kept, planned):
            return search
        numbers = first.measured(kept)
        if all(number <= limits[name] for name, number in numbers.items()):
            words = " and ".join(
                f"{shown(above[name])} {metric_of(name).unit}, above {shown(limits[name])} ({task.budget.said(name)}), "
                f"and now {shown(numbers[name])}"
                for name in above
            )
            macs = [int(task.costs.count("macs", each)) for each in (kept, first.kept)]
            note = (
                f"The student that was found measured {words}: it was narrowed without another search, and keeps "
                f"{kept.sum():,} of its {first.kept.sum():,} channels and {macs[0] / macs[1]:.1%} of its MACs."
            )
            return first.search_of(kept, note)
    return search


@dataclasses.dataclass(frozen=True, eq=False)
class _Student:
    """The student of a search, as channels of a network that is cut further.

    Attributes:
        task: the task.
        search: the search.
        network: the network that is cut: the search's source, or its trained student.
        positions: for each group of it the channels that the student keeps, ascending.
    """

    task: Task
    search: Search
    network: Network
    positions: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, task: Task, search: Search) -> _Student | None:
        """Returns the student of a search; `None` if the task's groups are not those of its network."""
        network = task.network_of(search.source if search.student is None else search.student)
        if list(network.groups.groups) != list(task.groups.groups):
            return None
        positions = {group.name: tuple(range(group.size)) for group in network.groups}
        if search.student is None:
            positions |= {edit.group: edit.indices for edit in search.plan.channels}
        return cls(task, search, network, positions)

    @property
    def kept(self) -> _Int:
        """int64 `[groups]`: how many channels each group keeps."""
        return np.array([len(self.positions[group.name]) for group in self.task.groups], np.int64)

    def measured(self, kept: _Int) -> dict[str, float]:
        """Measures what is planned and measured of the student with so many channels: `{metric: number}`."""
        task = self.task
        numbers = {}
        if task.latency is not None and task.budget.plans_latency and task.latency.table.is_of_this_device:
            numbers[LATENCY] = task.latency.measured_ms(kept)
        if any(name not in task.budget.only_measured for name in task.budget.measured):
            numbers |= task.budget.measure_planned(self._cut(kept))
        return numbers

    def narrower(self, allowed: Widths, kept: _Int, limits: Mapping[str, int]) -> _Int:
        """Returns int64 `[groups]`: the widths at an equal share of what is kept that fit the limits."""
        widths = dataclasses.replace(allowed, sizes=kept, least=np.minimum(allowed.least, kept), greatest=kept)
        return widths.even(lambda each: self.task.fits_kept(each, limits))

    def search_of(self, kept: _Int, note: str) -> Search:
        """Returns the search whose student has so many channels."""
        search, left = self.search, self._left(kept)
        student = None
        if search.student is not None:
            student = self._cut(kept)
            earlier = {edit.group: edit.indices for edit in search.plan.channels}
            left = {
                name: tuple(earlier[name][place] for place in places) if name in earlier else places
                for name, places in left.items()
            }
            left = {**earlier, **left}
        plan = dataclasses.replace(search.plan, edits=Plan.keeping(left).edits)
        trail = Trail((*search.trail.plans[:-1], plan), search.trail.layers)
        candidate = Candidate(trail, self.task.costs.of_kept(kept), origin="narrowed after the search")
        candidates, notes = (candidate, *search.candidates), (*search.notes, note)
        return dataclasses.replace(search, trail=trail, student=student, candidates=candidates, notes=notes)

    def _left(self, kept: _Int) -> dict[str, tuple[int, ...]]:
        """Returns the channels of the network that stay, of groups that lose any: the most important of those kept."""
        evidence, criterion = self.task.on(self.network.model).evidence(), by_name(_CRITERION)
        left = {}
        for group, width in zip(self.network.groups, kept.tolist(), strict=True):
            positions = self.positions[group.name]
            if width < len(positions):
                inside = set(positions)
                order = [int(place) for place in ranking(group, evidence, criterion) if int(place) in inside]
                positions = tuple(sorted(order[:width]))
            if len(positions) < group.size:
                left[group.name] = positions
        return left

    def _cut(self, kept: _Int) -> keras.Model:
        student = apply(self.network.model, Plan.keeping(self._left(kept)), self.network.groups, seed=self.task.seed)
        seed_layers(student, self.task.seed, Stream.STUDENT)
        return student
