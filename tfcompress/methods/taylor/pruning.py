"""One run of greedy pruning: removes the least important filters, trains for some updates, and repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.costs import Cost
from tfcompress.data import set_epoch
from tfcompress.evaluation import Evaluator
from tfcompress.importance import Criterion, scores_of
from tfcompress.methods import phases
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import apply
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import (
    Constant,
    NoRunFolder,
    Progress,
    Training,
    load_model_state,
    model_state,
    seed_layers,
)
from tfcompress.training.teaching import Teaching
from tfcompress.training.thawing import cut_layers, thawed, to_thaw

__all__ = ["ROUND", "GreedyRun", "Pruned", "Rules", "Steps", "measured", "normalised", "phase_of"]

ROUND = 10
"""Steps in a round, the unit of the display."""

_EPOCHS = 10**6  # of the training data between the first epochs of two runs
_COLUMNS = ("run", "step", "removed", "params", "macs", "loss", "metric")

_Kept = Mapping[str, npt.NDArray[np.int64]]


@dataclasses.dataclass(frozen=True)
class Steps:
    """The steps of a run, as settings.

    Attributes:
        criterion: scores channels.
        filters: number of filters to remove in a step.
        updates: training updates after it; `None` for an epoch.
        rate: learning rate of the updates.
        training: other settings of the updates.
        teaching: in addition to the labels, or `None`.
    """

    criterion: Criterion
    filters: int
    updates: int | None
    rate: float
    training: Training
    teaching: Teaching | None


@dataclasses.dataclass(frozen=True)
class Rules:
    """The rules by which a run without a budget stops.

    Attributes:
        least_metric: the run ends before the metric falls below this.
        params: the run ends once there are fewer parameters than this; `None` for no such rule.
    """

    least_metric: float
    params: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Pruned:
    """A network during a run, or at its end.

    Attributes:
        network: the network, trained so far.
        kept: the remaining positions of each channel group of the task's model, ascending.
        metric: on the validation split, or the loss there if the task has no metric; `None` if not measured.
    """

    network: Network
    kept: _Kept
    metric: float | None = None

    @property
    def cost(self) -> Cost:
        """Returns the cost of the network."""
        return self.network.costs.total


def phase_of(number: int) -> str:
    """Returns the name of a run's phase; runs are counted from 1."""
    return f"run {number} of pruning"


def normalised(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns scores of a group divided by their l2 norm (Molchanov et al. 2017, section 2.2); zeros stay zeros."""
    values = np.asarray(scores, np.float64)
    norm = float(np.sqrt(np.sum(values**2)))
    return values / norm if norm and np.isfinite(norm) else values


def measured(model: keras.Model, task: Task) -> float:
    """Returns the metric of a model on the validation split, or its loss there if the task has no metric."""
    return Evaluator(model, task.objective)(task.splits.validation.batches(250))[task.objective.metric_name or "loss"]


class GreedyRun:
    """One run, from the task's model to a pruned network.

    An interrupted run continues after its last finished step, and ends as it would have without the interruption.

    Args:
        task: the task.
        number: number of the run, counted from 1: runs differ in the order of the training data and in random numbers.
        steps: how it prunes and trains.
        rules: when it stops; `None` for a task with a budget, which alone decides.
        rounds: expected number of rounds, for the display.

    Attributes:
        history: a list with a number for each step, by name, see `TaylorPruning`.
        ended: the reason for its end in words, once it has ended.
    """

    def __init__(self, task: Task, number: int, steps: Steps, rules: Rules | None, rounds: int) -> None:
        self._task, self._number, self._steps, self._rules, self._rounds = task, number, steps, rules, rounds
        # Updates are no phases of the run: they show nothing, and write no checkpoints.
        networks = list(task.networks)
        self._quiet = dataclasses.replace(task, run=NoRunFolder(), progress=Progress(verbose=0), networks=networks)
        self._known = len(networks)
        self.history: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self.ended = ""

    def play(self) -> Pruned:
        """Prunes and trains until it is time to stop; returns the network of the last step that the rules allow."""
        task, phase = self._task, phase_of(self._number)
        checkpoints, progress = task.run.checkpoints(phase), task.progress
        last = None if checkpoints is None else checkpoints.latest()
        for message in () if checkpoints is None else checkpoints.skipped:
            progress.note(message)
        if last is None:
            now, step = self._first(), 0
        else:
            kept = {name: np.array(positions, np.int64) for name, positions in last.info["kept"].items()}
            now, step, self.history = self._rebuilt(kept), last.epoch, last.info["history"]
            load_model_state(now.network.model, last.tensors)
            if last.finished:
                progress.skip(phase)
                self.ended = last.info["ended"]
                return dataclasses.replace(now, metric=last.info["metric"])
        progress.begin(phase, max(self._rounds, step // ROUND + 1), done=step // ROUND)
        while not (ended := self._ended(now)):
            progress.doing(f"step {step + 1}: {now.cost.params:,} parameters, {now.cost.macs:,} MACs")
            smaller = self._smaller(now)
            if smaller is None:
                ended = "nothing more may be removed"
                break
            loss = self._trained(smaller, step)
            if self._rules is not None:
                smaller = dataclasses.replace(smaller, metric=measured(smaller.network.model, task))
            self._record(smaller, step + 1, loss)
            if ended := self._failed(smaller):
                break
            now, step = smaller, step + 1
            if checkpoints is not None:
                checkpoints.save(step, model_state(now.network.model), self._info(now))
            if step % ROUND == 0:
                progress.epoch_done(step // ROUND, {"parameters": now.cost.params, "MACs": now.cost.macs})
        progress.end()
        if now.metric is None:
            now = dataclasses.replace(now, metric=measured(now.network.model, task))
        self.ended = ended
        if checkpoints is not None:
            info = {**self._info(now), "metric": now.metric, "ended": ended}
            checkpoints.finish(step, model_state(now.network.model), info)
        return now

    def plan(self, kept: _Kept) -> Plan:
        """Returns the plan of the task's model that keeps these positions."""
        sizes = {group.name: group.size for group in self._task.groups}
        return Plan.keeping({name: tuple(p.tolist()) for name, p in kept.items() if len(p) < sizes[name]})

    def _info(self, now: Pruned) -> dict[str, Any]:
        return {"kept": {name: positions.tolist() for name, positions in now.kept.items()}, "history": self.history}

    def _first(self) -> Pruned:
        """Returns the task's model without the channels that have to be removed in any case."""
        task, kept = self._task, {group.name: np.arange(group.size) for group in self._task.groups}
        now = Pruned(task.network, kept)
        if np.array_equal(task.widths.greatest, task.widths.sizes):
            return now
        scores = self._scores(now)
        most = zip(task.groups, task.widths.greatest.tolist(), strict=True)
        forced = {group.name: _best(scores[group.name], width) for group, width in most if width < group.size}
        return self._rebuilt({**kept, **forced})

    def _rebuilt(self, kept: _Kept) -> Pruned:
        """Returns the task's model with only these positions, with its weights."""
        plan, whole = self.plan(kept), self._task.network
        return Pruned(self._cut(whole, plan) if plan.edits else whole, kept)

    def _cut(self, network: Network, plan: Plan) -> Network:
        student = apply(network.model, plan, network.groups, seed=self._task.seed)
        return Network(student, self._task.control.through_norms)

    def _ended(self, now: Pruned) -> str:
        """Returns why a network is the end of the run, or an empty string."""
        if self._rules is None:
            widths = np.array([len(now.kept[group.name]) for group in self._task.groups], np.int64)
            return "the budget is met" if self._task.fits_kept(widths) else ""
        few = self._rules.params is not None and now.cost.params < self._rules.params
        return f"fewer than {self._rules.params:,} parameters" if few else ""

    def _failed(self, pruned: Pruned) -> str:
        """Returns why the network before this one is the end of the run, or an empty string."""
        if self._rules is None or pruned.metric is None or pruned.metric >= self._rules.least_metric:
            return ""
        name, least = self._task.objective.metric_name, self._rules.least_metric
        return f"{name} would fall to {pruned.metric:.4f}, below {least:.4f}"

    def _scores(self, now: Pruned) -> dict[str, npt.NDArray[np.float64]]:
        """Returns the normalized scores of each group that may lose channels, by the present weights."""
        task, least = self._task, self._task.widths.least.tolist()
        self._quiet.networks[self._known :] = [now.network]
        evidence = self._quiet.on(now.network.model).evidence()
        free = (group.name for group, few in zip(task.groups, least, strict=True) if few < len(now.kept[group.name]))
        groups = now.network.groups
        return {name: normalised(scores_of(groups[name], evidence, self._steps.criterion)) for name in free}

    def _smaller(self, now: Pruned) -> Pruned | None:
        """Returns the network without the filters of the lowest scores, or `None` if nothing more may be removed."""
        task = self._task
        scores = self._scores(now)
        blocks = [
            (key, index, removed)
            for index, group in enumerate(task.groups)
            if group.name in scores
            for key, removed in self._blocks(index, scores[group.name])
        ]
        if not blocks:
            return None
        names, gone, count = list(task.groups.groups), dict[str, list[int]](), 0
        widths = np.array([len(now.kept[name]) for name in names], np.int64)
        for _, index, removed in sorted(blocks, key=lambda block: block[0]):
            gone.setdefault(names[index], []).extend(removed)
            widths[index] -= len(removed)
            count += len(removed)
            if count >= self._steps.filters or (self._rules is None and task.fits_kept(widths)):
                break
        left = {name: np.delete(np.arange(len(now.kept[name])), positions) for name, positions in gone.items()}
        plan = Plan.keeping({name: tuple(positions.tolist()) for name, positions in left.items()})
        kept = {**now.kept, **{name: now.kept[name][positions] for name, positions in left.items()}}
        return Pruned(self._cut(now.network, plan), kept)

    def _blocks(self, index: int, scores: npt.NDArray[np.float64]) -> Iterator[tuple[float, list[int]]]:
        """Yields the removable positions of a group, block by block, each with the mean of its scores.

        A block is one filter, or as many as lead to the next allowed width.
        """
        widths, order = self._task.widths, np.argsort(scores, kind="stable")
        width = whole = len(scores)
        while width > widths.least[index] and whole - width < self._steps.filters:
            lower = int(widths.floor([width - 1], [index])[0])
            removed = order[whole - width : whole - lower]
            yield float(scores[removed].mean()), removed.tolist()
            width = lower

    def _trained(self, pruned: Pruned, step: int) -> float | None:
        """Makes the updates after a step; returns the mean training loss."""
        steps, task = self._steps, self._task
        if steps.updates == 0:
            return None
        model = pruned.network.model
        seed_layers(model, task.seed, Stream.STEP, self._number, step)
        batches = task.splits.train.batches(steps.training.batch_size, training=True)
        passes = 1
        if steps.updates is not None:
            known = task.splits.train.num_batches(steps.training.batch_size)
            passes = -(-steps.updates // known) if known else steps.updates
        updates = _Updates(batches, self._number * _EPOCHS + step * passes, steps.updates)
        self._quiet.networks[self._known :] = [pruned.network]
        layers = to_thaw(
            pruned.network, cut_layers(task.groups.graph, pruned.network, Trail((self.plan(pruned.kept),)))
        )
        with thawed(model, layers):
            history = phases.train_student(
                model,
                self._quiet,
                dataclasses.replace(steps.training, epochs=passes),
                "updates",
                teaching=steps.teaching,
                schedule=Constant(steps.rate),
                data=batches,
                callbacks=(updates,),
                validate=False,
            )
        return float(np.mean(history["loss"]))

    def _record(self, pruned: Pruned, step: int, loss: float | None) -> None:
        row = {
            "run": self._number,
            "step": step,
            "removed": int(self._task.costs.sizes.sum()) - sum(map(len, pruned.kept.values())),
            "params": pruned.cost.params,
            "macs": pruned.cost.macs,
            "loss": loss,
            "metric": pruned.metric,
        }
        for name, value in row.items():
            self.history[name].append(value)


def _best(scores: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """Returns the positions of the highest scores, ascending."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


class _Updates(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training after some updates, and begins it with the batches of an epoch of its own.

    Args:
        batches: the training data.
        first: number of the first epoch.
        count: number of updates; `None` for whole epochs.
    """

    def __init__(self, batches: Any, first: int, count: int | None) -> None:
        super().__init__()
        self._batches, self._first, self._left = batches, first, count

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the data the number of the epoch."""
        set_epoch(self._batches, self._first + epoch)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops the training if this is its last update."""
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.model.stop_training = True
