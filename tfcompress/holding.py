"""Holds a search to the limits that are measured: its plan is made again, or its student narrowed, until both hold.

Each limit has a reserve of its own, which stays while another limit is seen to: of a file so many bytes, of latency a
share. What was measured goes with the search, so that the file of a student is made once before it is trained.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.channels import Widths
from tfcompress.costs.budget import shown
from tfcompress.costs.latency import LATENCY
from tfcompress.costs.metrics import LOOKED_UP, metric_of
from tfcompress.importance import by_name, ranking
from tfcompress.latency_planning import GOAL, SPENT, limit_ms
from tfcompress.methods import Candidate, Method, Search
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import apply
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import seed_layers

__all__ = ["Held", "held"]

_Int = npt.NDArray[np.int64]
_CRITERION = "next_layer_l1_norm"  # needs no data, and is the default of nearly all methods
_PLANS, _PLANS_BY_LATENCY = 3, 4  # that are made after the first, as a metric is above, or as latency is not near
_NARROWINGS = 5
_TOO_LOW = 0.955  # of that limit: below this there is latency left to spend
_NEAR = 0.995  # of that limit: above this another measurement may be above it


@dataclasses.dataclass(frozen=True, eq=False)
class Held:
    """A search, with what its planned student measures.

    Attributes:
        search: what the method decided.
        numbers: of limited metrics that are planned and measured, `{metric: number}` of the student before it is
            trained; without latency, which a measurement does not settle.
    """

    search: Search
    numbers: Mapping[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class _Planned:
    """A search with what its student measures, and what the task was told on the way.

    Attributes:
        search: the search.
        numbers: `{metric: number}`.
        limits: the limits of these, measured at the same time where they are shares of the original's latency.
        said: what the search said.
    """

    search: Search
    numbers: Mapping[str, float]
    limits: Mapping[str, float]
    said: tuple[str, ...] = ()

    @property
    def above(self) -> dict[str, float]:
        """The numbers that are above their limits."""
        return {name: number for name, number in self.numbers.items() if number > self.limits[name]}

    @property
    def share(self) -> float | None:
        """The latency as a share of its limit; `None` where it is not limited, or not known before the training."""
        return self.numbers[LATENCY] / self.limits[LATENCY] if LATENCY in self.numbers else None

    @property
    def held(self) -> Held:
        """The search with its numbers."""
        return Held(self.search, {name: number for name, number in self.numbers.items() if name != LATENCY})


def held(method: Method, task: Task, before: Mapping[str, float]) -> Held:
    """Runs a method's search; again with less or more as its student measures, if the method plans without training.

    Where the student is above a limit, as much less is planned for; where only latency is limited by measuring and its
    student is far below, more. A student that is above it all the same, as where a search is not made again, is
    narrowed.

    Args:
        method: the method.
        task: the task.
        before: what was measured of the original.

    Returns:
        The search whose student is within all limits, and of several the one nearest to that of latency; the last one
        if none is.
    """
    now, told, lines = task, len(task.said), list[str]()
    best: _Planned | None = None
    left = Counter({name: _PLANS_BY_LATENCY if name == LATENCY else _PLANS for name in task.budget.measured})
    while True:
        del task.said[told:]
        for line in lines:
            task.say(line)
        search = method.search(now)
        last = dataclasses.replace(_measured(method, now, search, before), said=tuple(task.said[told:]))
        if not last.above and (best is None or (last.share or 0.0) > (best.share or 0.0)):
            best = last
        tighter = _tighter(method, now, last, left, lines)
        if tighter is None:
            break
        now = tighter
    chosen = best or _narrowed(method, task, last)
    task.said[told:] = chosen.said
    return chosen.held


def _measured(method: Method, task: Task, search: Search, before: Mapping[str, float]) -> _Planned:
    """Measures a search's student by all metrics that are planned and measured, and that may still change it."""
    names = [name for name in task.budget.measured if task.budget.is_planned(name)]
    student = _Student.of(task, search) if names else None
    is_built = any(name != LATENCY for name in names)
    if LATENCY in names and student is None:
        # In no file of the original: it is built, where its latency can be mended by another plan.
        is_mended = method.plans_again() and search.student is None and len(search.trail) == 1
        is_built, names = is_built or is_mended, names if is_mended else [name for name in names if name != LATENCY]
    if not names:
        return _Planned(search, {}, {})
    task.progress.doing("measuring the student")
    numbers: dict[str, float] = {}
    if LATENCY in names and student is not None:
        numbers[LATENCY] = student.measured_ms(student.kept)
    if is_built:
        numbers |= task.budget.measure(_student_of(search, task), numbers, names)
    limits = task.budget.measured_limits(before)
    return _Planned(search, numbers, {name: limit_ms(task) if name == LATENCY else limits[name] for name in numbers})


def _student_of(search: Search, task: Task) -> keras.Model:
    if search.student is not None:
        return search.student
    return apply(search.source, search.plan, task.network_of(search.source).groups, seed=task.seed)


def _tighter(method: Method, task: Task, last: _Planned, left: Counter[str], lines: list[str]) -> Task | None:
    """Returns the task with other planned limits, by what the last search measures; `None` where it stays.

    Less of what is above goes first, as that may lower the latency too.

    Args:
        method: the method.
        task: the task of the last search.
        last: the last search, measured.
        left: how many plans may still be made for each metric; counted down.
        lines: is given a line for the notes.
    """
    if not method.plans_again() or last.search.student is not None:
        return None
    over = {name: math.ceil(n - last.limits[name]) for name, n in last.above.items() if name != LATENCY}
    if over:
        left.subtract(over.keys())
        tighter = dataclasses.replace(task, budget=task.budget.reserving(over))
        least = method.least(task.costs, task.control)
        if any(left[name] < 0 or tighter.limits[name] < least[name] for name in over):
            return None
        more = " and ".join(f"{number:,} {metric_of(name).unit}" for name, number in over.items())
        lines.append(f"A first plan measured {more} more than the limit; it was made again with as much less.")
        return tighter
    share, is_structural = last.share, last.search.plan.structural
    if share is None or _TOO_LOW <= share <= _NEAR or not left[LATENCY]:
        return None
    if share <= 1 and (is_structural or not _spends(last.search, task)):  # blocks are large steps
        return None
    left[LATENCY] -= 1
    tighter = dataclasses.replace(task, budget=task.budget.tighter(min(1.2, max(0.5, GOAL / share))))
    if is_structural and method.least(task.costs, task.control)[LOOKED_UP] > tighter.limits[LOOKED_UP]:
        return None  # of channels the narrowest student may take less than the table says
    return tighter


def _spends(search: Search, task: Task) -> bool:
    """Whether a search comes near the planned limit of latency, so that more of it would give another plan."""
    return int(task.costs.of(search.plan)[LOOKED_UP]) > SPENT * task.limits[LOOKED_UP]


def _narrowed(method: Method, task: Task, first: _Planned) -> _Planned:
    """Returns a search whose student measures within its limits, with fewer channels in its student.

    A search that trains is not made again for some percent too much. All groups of the student that the method may
    prune lose the same share of their channels, the least important ones, and what that leaves of the limit is spent
    channel by channel; this is measured, and repeated.

    Args:
        method: the method; one that removes no channels is left alone.
        task: the task.
        first: what the method decided, measured.

    Returns:
        The search, with another trail, student and note. Unchanged if nothing narrower holds.
    """
    student = _Student.of(task, first.search)
    if method.kind != "channels" or first.search.teacher is not None or student is None:
        return first
    task.progress.doing("narrowing the student, which measures above its limit")
    kept, planned, now = student.kept, dict(task.limits), first
    for _ in range(_NARROWINGS):
        cost = task.costs.of_kept(kept)
        for name, number in now.above.items():
            column, limit = LOOKED_UP if name == LATENCY else name, now.limits[name]
            less = cost[column] * GOAL * limit / number if name == LATENCY else cost[column] - np.ceil(number - limit)
            planned[column] = min(planned[column], int(less))
        kept = student.narrower(method.widths(task), kept, planned)
        if not task.fits_kept(kept, planned):
            break
        now = dataclasses.replace(now, numbers=student.measured(kept, now.numbers))
        if not now.above:
            return dataclasses.replace(now, search=student.search_of(kept, _words(task, student, kept, first, now)))
    return first


def _words(task: Task, student: _Student, kept: _Int, first: _Planned, now: _Planned) -> str:
    """Returns the note on a student that was narrowed."""
    words = " and ".join(
        f"{shown(number)} {metric_of(name).unit}, above {shown(first.limits[name])} ({task.budget.said(name)}), "
        f"and now {shown(now.numbers[name])}"
        for name, number in first.above.items()
    )
    macs = [int(task.costs.count("macs", each)) for each in (kept, student.kept)]
    return (
        f"The student that was found measured {words}: it was narrowed without another search, and keeps "
        f"{kept.sum():,} of its {student.kept.sum():,} channels and {macs[0] / macs[1]:.1%} of its MACs."
    )


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
        if any(plan.structural for plan in search.trail):
            return None
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

    def measured_ms(self, kept: _Int) -> float:
        """Measures the latency with so many channels, in a file of these widths."""
        assert self.task.latency is not None
        return self.task.latency.measured_ms(kept)

    def measured(self, kept: _Int, names: Iterable[str]) -> dict[str, float]:
        """Measures metrics of the student with so many channels: `{metric: number}`."""
        numbers = {LATENCY: self.measured_ms(kept)} if LATENCY in names else {}
        others = [name for name in names if name not in numbers]
        return self.task.budget.measure(self._cut(kept), numbers, names) if others else numbers

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
