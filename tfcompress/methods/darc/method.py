"""`DARC`: learns which layers can be replaced by cheaper ones (Differentiable ARchitecture Compression, 2020)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import keras

from tfcompress import expect
from tfcompress.costs.latency import LATENCY
from tfcompress.evaluation import Evaluator
from tfcompress.methods import phases
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.darc.base import Replacing, refuse, words_for
from tfcompress.methods.darc.choice import exact_choice
from tfcompress.methods.darc.latency import latency_of
from tfcompress.methods.darc.measured import MARGIN, TRIES, above_of_file, tightened, words_above
from tfcompress.methods.darc.relaxation import (
    Penalized,
    Relaxed,
    Remaining,
    Weights,
    check_student,
    chosen_network,
    chosen_student,
    plan_of,
    relax,
)
from tfcompress.methods.darc.units import ORIGINAL, Choice, CostTable, Unit
from tfcompress.methods.registry import register_method
from tfcompress.plan import Trail
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import Constant, PhasePlan, loss_function, seed_layers
from tfcompress.training.mixup import Mixup
from tfcompress.training.teaching import computing_in

__all__ = ["DARC"]

_SAMPLES = 8
_BALANCE = 0.1  # of the penalty to the loss at the start
_PREDICTED, _MEASURED = "latency_ms by the table", "latency_ms measured"
_SNAPSHOTS, _LEFT_OUT = "snapshots: ", "choices left out: "


@register_method("darc")
@dataclasses.dataclass(frozen=True)
class DARC(Replacing):
    """Trains mixtures of each layer and cheaper replacements with a penalty on cost, which makes one of them win.

    "Differentiable Architecture Compression" (2020): every unit becomes a convex mixture of itself and its
    replacements, which imitate it first. Weights and mixtures are trained together on one training set, alpha on the
    simplex, in blocks of epochs with a penalty that doubles (Algorithm 1). After each block the alternatives with alpha
    0 leave the network, and a snapshot is taken, with the costliest remaining alternative in each place. The search
    ends when one alternative is left everywhere, or a snapshot is within the budget. Each snapshot is fine-tuned; the
    snapshots are the result's candidates, and the best one within the budget is its model.

    If no snapshot is within the budget after `blocks` blocks, the exact choice that gives up the least alpha is taken
    (an integer program, among the remaining alternatives or else among all): alpha of the alternatives that cost more
    than the chosen ones, because further blocks would remove these next. If it exceeds a latency limit when measured,
    it is not trained; the next one is planned with a lower limit.

    Attributes:
        minimize: the cost that the penalty counts: "params" (DARC(S)), "latency_ms" (DARC(T)), "macs" or another
            metric; `None` for those that the budget limits, each as a share of the model's.
        blocks: maximum number of blocks of epochs.
        block_epochs: epochs in a block; 20 for CIFAR-10 and 10 for ImageNet in the paper. An epoch of mixtures takes
            half as long again as one of the network: four blocks of four are 24 of these, the paper's first four 120.
        strength: lambda of the first block, with costs as shares of the cost of all units together. `None`: the initial
            penalty is a tenth of the loss. The paper balances their orders of magnitude by hand, for losses that are
            sums over a batch: with the mean over a batch and equal terms, alpha goes to the cheapest before the weights
            can follow (docs/methods/darc.md).
        growth: factor of lambda after each block.
        rate_decay: factor of the learning rate after each block.
        mixup: concentration of the Beta distribution for mixing images in joint training, 0 for none; `None`: 1 if the
            inputs are images, else 0. Zhang et al. (2018).
        weighting: "simplex": alpha is projected onto the simplex after each step, and becomes 0 if a replacement is not
            worth its cost. "softmax": alpha is the softmax of free numbers, as in DARTS (Liu et al. 2018b): nothing
            becomes 0, and after the last block the greatest within the budget are taken.
        alpha_rate: learning rate of alpha relative to that of the weights, with SGD; 1 in the paper. The default is 5,
            because a block is a fifth as long as in the paper, so that alpha can move as far.
    Raises:
        TypeError, ValueError: a setting has another type, or is out of range.
    """

    minimize: str | None = None
    blocks: int = 4
    block_epochs: int = 4
    strength: float | None = None
    growth: float = 2.0
    rate_decay: float = 0.5
    mixup: float | None = None
    weighting: Literal["simplex", "softmax"] = "simplex"
    alpha_rate: float = 5.0

    when: ClassVar[str] = (
        "networks of 3x3 convolutions: replaces them by cheaper layers; gives several trained models to choose from"
    )
    fast: ClassVar[Mapping[str, Any]] = {"blocks": 1, "block_epochs": 3, "epochs": 5}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.minimize is not None:
            expect.settings(self, expect.text, "minimize", what="the name of a cost")
        expect.settings(self, expect.whole, "blocks", "block_epochs", least=1)
        expect.settings(self, expect.number, "strength", at_least=0, or_none=True)
        expect.settings(self, expect.number, "growth", at_least=1)
        expect.settings(self, expect.number, "rate_decay", "alpha_rate", above=0)
        if self.optimizer == "adam" and self.alpha_rate != 1:
            expect.unused(self, ["alpha_rate"], "with optimizer='adam', whose steps do not scale with gradients")
        expect.settings(self, expect.number, "mixup", at_least=0, or_none=True)
        expect.settings(self, expect.one_of, "weighting", options=("simplex", "softmax"))

    def check_model(self, task: Task) -> None:
        """Refuses a model without layers to replace, and an unknown cost."""
        super().check_model(task)
        if self.minimize is None:
            return
        expect.one_of("minimize", self.minimize, (*CostTable.of((), task.costs.total).whole, LATENCY))
        table = self.table(task, self.units(task.costs, task.control), self.minimize)
        if table.lowest(self.minimize) >= table.whole[self.minimize]:
            lowered = [metric for metric, whole in table.whole.items() if table.lowest(metric) < whole]
            expect.refuse("minimize", f"a cost that some replacement lowers, of {lowered}", self.minimize)

    def check(self, task: Task) -> None:
        """Refuses data that cannot be mixed, and a teaching that does not fit."""
        super().check(task)
        if not self._concentration(task):
            return
        advice = "Leave mixing out: mixup=0."
        if loss_function(task.model, task.objective) is None:
            raise ValueError(f"Expected a loss on labels, for mixed images. Received: a model with none. {advice}")
        whole = [tensor.name for tensor in task.model.inputs if "float" not in str(tensor.dtype)]
        if whole:
            raise ValueError(f"Expected floating-point inputs, to mix them. Received: {whole}. {advice}")

    def _concentration(self, task: Task) -> float:
        if self.mixup is not None:
            return float(self.mixup)
        images = all(len(tensor.shape) == 4 and "float" in str(tensor.dtype) for tensor in task.model.inputs)
        has_loss = loss_function(task.model, task.objective) is not None
        return float(images and has_loss)

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Returns imitation, the maximum number of blocks, and fine-tuning of the last snapshot."""
        imitation, fine_tuning = super().phases(task)
        blocks = [PhasePlan(_block(number), self.block_epochs, 1.5) for number in range(1, self.blocks + 1)]
        return (imitation, *blocks, fine_tuning._replace(name=_fine_tuning(1)))

    def search(self, task: Task) -> Search:
        """Imitates, trains mixtures block by block, and fine-tunes every snapshot."""
        units = self.units(task.costs, task.control)
        imitated, history = self.imitate(task, units)
        weights = imitated.copy()
        table = self.table(task, units, self.minimize)
        limits = self.limits(task, table)
        costs = table.shares([self.minimize] if self.minimize else list(limits))
        remaining: Remaining = {unit.name: unit.alternatives for unit in units}
        strength = self.strength
        snapshots: list[tuple[Choice, Weights]] = []
        relaxed: Relaxed | None = None
        for number in range(1, self.blocks + 1):
            if strength is None:
                strength = self._balanced(task, units, remaining, costs, weights)
                task.say(f"initial lambda {strength:.4g}: the penalty is a tenth of the loss")
            penalty = Penalized(costs, strength * self.growth ** (number - 1), self.weighting, self.alpha_rate)
            relaxed = relax(task.network, units, remaining, penalty)
            relaxed.load(weights)
            history.update(self._train_block(relaxed, task, number))
            relaxed.store(weights)
            remaining = self._left(relaxed)
            choice = _costliest(units, remaining, costs)
            if set(choice.values()) != {ORIGINAL} and (not snapshots or snapshots[-1][0] != choice):
                snapshots.append((choice, weights.copy()))
                _check(relaxed, choice, chosen_student(task.network, units, choice, weights), task)
            if all(len(left) == 1 for left in remaining.values()) or (snapshots and table.fits(choice, limits)):
                break
        holds = [self._holds(task, units, snapshot, table, limits, history) for snapshot in snapshots]
        planned = dict(limits)
        for _ in range(TRIES):
            if any(holds):
                break
            task.say("no snapshot is within the budget: the choice within it that gives up the least alpha is taken")
            tried = self._within(table, costs, planned, relaxed, imitated, weights) or refuse(limits)
            if self._holds(task, units, tried, table, limits, history):
                snapshots.append(tried)
                holds.append(True)
                break
            above, slow = above_of_file(functools.partial(chosen_student, task.network, units, *tried), task), None
            if LATENCY in table.whole:
                measured, limit = _leave_out(history), limits.get(LATENCY, float("inf"))
                slow = measured if measured > MARGIN * limit else None
            if slow is not None and tried[0] == table.cheapest(LATENCY):
                break
            task.say(f"it is left out: {words_above(limits, slow, above)}")
            planned = tightened(planned, table, tried[0], slow, above)
        if not any(holds):
            refuse(limits)
        candidates = [
            self._candidate(task, units, choice, snapshot, number, history)
            for number, (choice, snapshot) in enumerate(snapshots, start=1)
        ]
        chosen = _best([each for each, within in zip(candidates, holds, strict=True) if within], task)
        best = snapshots[candidates.index(chosen)][0]
        notes = (words_for(best), _listed(best), *_compared(history))
        return Search(task.model, chosen.trail, tuple(candidates), history, notes, student=chosen.model)

    def _holds(
        self,
        task: Task,
        units: Sequence[Unit],
        snapshot: tuple[Choice, Weights],
        table: CostTable,
        limits: Mapping[str, float],
        history: dict[str, list[Any]],
    ) -> bool:
        """Whether a snapshot is within limits; its file is measured, and its latency, kept beside the table's value."""
        choice, weights = snapshot
        holds = table.fits(choice, {name: limit for name, limit in limits.items() if name != LATENCY})
        student = functools.partial(chosen_student, task.network, units, choice, weights)
        holds = holds and not above_of_file(student, task)
        if LATENCY not in table.whole:
            return holds
        number = 1 + sum(len(history.get(f"{each}{_MEASURED}", ())) for each in (_SNAPSHOTS, _LEFT_OUT))
        # Of an interrupted run: measured again it would be another.
        measured = task.run.recall(f"latency-{number}", task.progress.note)
        if measured is None:
            measured = latency_of(student(), self.latency_batch, self.latency_threads)
            task.run.write_json(f"latency-{number}", measured)
        history.setdefault(f"{_SNAPSHOTS}{_PREDICTED}", []).append(table.total(choice, LATENCY))
        history.setdefault(f"{_SNAPSHOTS}{_MEASURED}", []).append(measured)
        return holds and measured <= MARGIN * limits.get(LATENCY, float("inf"))

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Does nothing: the search has fine-tuned every snapshot."""
        return {}

    def _balanced(
        self, task: Task, units: Sequence[Unit], remaining: Remaining, costs: Mapping[str, Any], weights: Weights
    ) -> float:
        """Returns the lambda with which the penalty is a tenth of the loss, measured on the calibration data."""
        relaxed = relax(task.network, units, remaining, Penalized(costs, 0.0, self.weighting))
        relaxed.load(weights)
        loss = Evaluator(relaxed.network.model, task.objective)(task.splits.calibration.batches(250))["loss"]
        alpha = relaxed.alpha()
        penalty = sum(costs[unit][name] * share for unit, shares in alpha.items() for name, share in shares.items())
        return _BALANCE * abs(loss) / penalty if penalty else 0.0  # of a metric that no layer of a unit counts in

    def _train_block(self, relaxed: Relaxed, task: Task, number: int) -> dict[str, list[Any]]:
        model, name = relaxed.network.model, _block(number)
        rate = float(self.learning_rate or 0.01) * self.rate_decay ** (number - 1)
        training = dataclasses.replace(self.training, epochs=self.block_epochs, learning_rate=rate)
        seed_layers(model, task.seed, Stream.STEP, number)
        with computing_in(self.mixed_precision, (model,)):
            trained = model if self.teaching is None else phases.taught(model, task, self.teaching)
            concentration = self._concentration(task)
            if concentration:
                loss = loss_function(model, task.objective)
                assert loss is not None
                trained = Mixup(trained, loss, concentration, task.seed + number)
            callbacks = [_Alpha(relaxed)]
            history = phases.train_phase(
                trained, task, training, name, schedule=Constant(rate), callbacks=callbacks, keep="last"
            )
        return {f"{name}: {key}": values for key, values in history.items()}

    def _left(self, relaxed: Relaxed) -> dict[str, tuple[str, ...]]:
        """Returns the alternatives whose alpha is above 0; with a softmax all."""
        return {
            unit: tuple(name for name, share in shares.items() if share > 0) for unit, shares in relaxed.alpha().items()
        }

    def _within(
        self,
        table: CostTable,
        costs: Mapping[str, Mapping[str, float]],
        limits: Mapping[str, float],
        relaxed: Relaxed | None,
        imitated: Weights,
        weights: Weights,
    ) -> tuple[Choice, Weights] | None:
        """Returns the choice within the limits that gives up the least alpha, and its weights."""
        assert relaxed is not None
        alpha = relaxed.alpha()
        # A further block would take the costliest alternatives of the smallest alpha, and then what is costliest next.
        worth = {
            unit: {
                name: -sum(share for held, share in alpha[unit].items() if costs[unit][held] > costs[unit][name])
                for name in of_unit
            }
            for unit, of_unit in table.parts.items()
        }
        left = {unit: {name: worth[unit][name] for name in shares} for unit, shares in alpha.items()}
        choice = exact_choice(table, left, limits) or exact_choice(table, worth, limits)
        if choice is None:
            return None
        together = imitated.copy()
        together.update(weights)
        return choice, together

    def _candidate(
        self,
        task: Task,
        units: Sequence[Unit],
        choice: Choice,
        weights: Weights,
        number: int,
        history: dict[str, list[Any]],
    ) -> Candidate:
        plan = plan_of(task.network, units, choice)
        trail = Trail((plan,))
        network = task.network_of(chosen_network(task.network, units, choice, weights))
        student = network.model
        seed_layers(student, task.seed, Stream.STUDENT, number)
        trained = self.fine_tune(student, trail, task, _fine_tuning(number))
        history.update({f"{_fine_tuning(number)}: {name}": values for name, values in trained.items()})
        return Candidate(
            trail,
            network.costs.total,
            phases.score_of(student, task),
            f"snapshot {number}: {words_for(choice)}",
            student,
        )


class _Alpha(keras.callbacks.Callback):
    """Logs the number of remaining alternatives, and the mean alpha of the originals."""

    def __init__(self, relaxed: Relaxed) -> None:
        super().__init__()
        self._relaxed = relaxed

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds both to the logs of the epoch."""
        alpha = self._relaxed.alpha()
        shares = [share for of_unit in alpha.values() for share in of_unit.values()]
        if logs is not None:
            logs["alternatives"] = float(sum(share > 0 for share in shares))
            logs["original"] = sum(of_unit.get(ORIGINAL, 0.0) for of_unit in alpha.values()) / len(alpha)


def _leave_out(history: dict[str, list[Any]]) -> float:
    """Moves the latency of the last choice, which is no candidate, to the history of choices that are left out."""
    for name in (_PREDICTED, _MEASURED):
        history.setdefault(f"{_LEFT_OUT}{name}", []).append(history[f"{_SNAPSHOTS}{name}"].pop())
    return float(history[f"{_LEFT_OUT}{_MEASURED}"][-1])


def _compared(history: Mapping[str, list[Any]]) -> tuple[str, ...]:
    """Returns a note for the report: the latency of each snapshot by the table, and as measured."""
    names = (f"{_SNAPSHOTS}{_PREDICTED}", f"{_SNAPSHOTS}{_MEASURED}")
    pairs = list(zip(*(history.get(name, ()) for name in names), strict=True))
    said = [f"{table:.3f} and {measured:.3f} ms ({table / measured - 1:+.1%})" for table, measured in pairs if measured]
    return (f"latency of the snapshots by the table and measured: {', '.join(said)}",) if said else ()


def _block(number: int) -> str:
    return f"block {number}"


def _fine_tuning(number: int) -> str:
    return f"fine-tuning of snapshot {number}"


def _costliest(units: Sequence[Unit], remaining: Remaining, costs: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Returns the costliest remaining alternative of each unit, the first of equals."""
    return {unit.name: max(remaining[unit.name], key=costs[unit.name].__getitem__) for unit in units}


def _check(relaxed: Relaxed, choice: Choice, student: keras.Model, task: Task) -> None:
    check_student(relaxed, choice, student, task.splits.calibration.take(_SAMPLES)[0])


def _best(candidates: Sequence[Candidate], task: Task) -> Candidate:
    """Returns the candidate with the best score; without scores the one that uses most of the budget."""
    sign = task.objective.sign
    return max(candidates, key=lambda c: (0.0 if c.score is None else sign * c.score, -c.cost.macs))


def _listed(choice: Choice) -> str:
    became = [f"{unit} -> {name}" for unit, name in choice.items() if name != ORIGINAL]
    return "replaced: " + ", ".join(became)
