"""`TaylorPruning`: greedy pruning by a Taylor criterion with training in between, the best of several runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar

import keras

from tfcompress import expect
from tfcompress.costs import Budget
from tfcompress.importance import Criterion, by_name
from tfcompress.methods import phases
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.channel_pruner import ChannelPruner
from tfcompress.methods.n2n.published import TRAININGS
from tfcompress.methods.n2n.reward import reward
from tfcompress.methods.registry import register_method
from tfcompress.methods.taylor.pruning import ROUND, GreedyRun, Pruned, Rules, Steps, phase_of
from tfcompress.plan import Trail
from tfcompress.task import Task
from tfcompress.training import PhasePlan

__all__ = ["TaylorPruning"]

_DROP = 0.01  # of the accuracy, which N2N's baseline may lose


@register_method("taylor")
@dataclasses.dataclass(frozen=True)
class TaylorPruning(ChannelPruner):
    """Repeatedly removes the least important filter and trains for some updates; takes the best of several runs.

    Molchanov et al. (2017), "Pruning convolutional neural networks for resource efficient inference"
    (arXiv:1611.06440), as the baseline of N2N (Ashok et al. 2018, section 4.4.1): "removes filters using a greedy
    criteria based approach and then finetunes the network [...] To ensure a fair comparison, we stop pruning when 1.
    accuracy drops below 1% of the student model obtained by our method or 2. the number of parameters is less than our
    method. Pruning is done 5 times to control for variance and the best performing model is reported."

    In each step all filters of the network are ranked together, by scores that are divided by their l2 norm in each
    channel group (in each layer in Molchanov's paper); the lowest ones are cut, and the rest is trained. With a budget
    a run continues until the budget is met, and the run with the best metric on the validation split wins. Without a
    budget the two rules say when a run ends: `stop_accuracy` with the last network that meets it, `stop_params` with
    the first one that has fewer. The run with the greatest reward of N2N wins then, because runs end at different
    sizes. The winner is fine-tuned.

    Runs differ in the order of the training data and in the random numbers of layers. Decided: the momentum of the
    updates starts anew in each step, because the weights that it belongs to change their shapes.

    Attributes:
        runs: number of pruning runs, of which the best is taken; five in N2N's paper.
        filters: channels to remove in a step, as a number, or as a share of all channels; Molchanov's paper removes
            one. Each step makes a network and compiles its training, which takes some seconds in any case: with a share
            of 0.02 half of the channels are removed in 25 steps, one at a time in hundreds or thousands.
        updates: training steps after each step of pruning, 30 as in Molchanov's paper; `None` for an epoch, 0 for none.
        update_rate: learning rate of these training steps.
        criterion: criterion that ranks channels: a name such as `"feature_map_taylor"`, Molchanov's (docs/criteria.md
            lists them), an instance with settings, or a function `(group, evidence) -> one number per channel`.
        stop_accuracy: without a budget, a run ends before the metric on the validation split falls below this; `None`
            for 0.01 less than the original model. N2N's rule is 0.01 less than its student.
        stop_params: without a budget, a run ends once there are fewer parameters than this, in N2N those of its
            student; `None` for as few as the other rule allows.

    Raises:
        TypeError, ValueError: a setting has another type, or is out of range.
    """

    runs: int = 2
    filters: int | float = 0.02
    updates: int | None = 30
    update_rate: float = 1e-4
    criterion: str | Criterion = "feature_map_taylor"
    stop_accuracy: float | None = None
    stop_params: int | None = None

    when: ClassVar[str] = (
        "pruning a little at a time until a budget, or an accuracy, is reached, if there is time for it"
    )
    fast: ClassVar[Mapping[str, Any]] = {"runs": 1, "filters": 0.1, "epochs": 5}

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.whole, "runs", least=1)
        if isinstance(self.filters, Integral):
            expect.settings(self, expect.whole, "filters", least=1)
        else:
            advice = "A whole number is a number of channels."
            expect.settings(self, expect.number, "filters", above=0, at_most=1, advice=advice)
        expect.settings(self, expect.whole, "updates", or_none=True)
        expect.settings(self, expect.number, "update_rate", above=0)
        by_name(self.criterion)
        expect.settings(self, expect.number, "stop_accuracy", or_none=True)
        expect.settings(self, expect.whole, "stop_params", least=1, or_none=True)

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """Five runs, as in N2N's paper (section 4.4.1), with steps as in Molchanov's: a filter, and 30 updates at 1e-4
        with momentum 0.9 and weight decay 1e-4. Decided: the student is trained as N2N's teachers are (section 10.2).
        """
        paper = {
            "runs": 5,
            "filters": 1,
            "updates": 30,
            "update_rate": 1e-4,
            "criterion": "feature_map_taylor",
            "teach": None,
            "recalibrate_student": 0,
        }
        return {network: {**training, **paper} for network, training in TRAININGS.items()}

    def budget(self, given: Budget) -> Budget:
        """Returns the budget; without one the rules say when to stop."""
        if not given:
            return given
        expect.unused(self, ["stop_accuracy", "stop_params"], "beside a budget, which already says when to stop")
        return super().budget(given)

    def check_model(self, task: Task) -> None:
        """Refuses a model without removable channels, if there is no budget (a budget may be met already)."""
        if not task.budget and not task.widths.free.any():
            raise ValueError(
                f"Expected a model with prunable channels. Received: {task.model.name!r}, without a removable channel. "
                "tfcompress.inspect(model) shows why; loosen exclude=, only= or ratio_limits= where they are given."
            )

    def check(self, task: Task) -> None:
        """Refuses a teaching that does not fit, and without a budget metrics that the rules cannot use."""
        super().check(task)
        if not task.budget and (task.objective.metric_name is None or task.objective.sign < 0):
            raise ValueError(
                "Expected a budget, or a metric for which higher is better, because a run ends before it falls. "
                f"Received: neither; the metric is {task.objective.metric_name}. Give for example params_budget=0.5."
            )

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Returns the runs, in rounds of some steps, and fine-tuning."""
        teacher, rounds = phases.cost_of_teacher(self.teaching_for(task)), self._rounds(task)
        batches = task.splits.train.num_batches(self.batch_size) or 1
        share = 1 if self.updates is None else self.updates / batches
        runs = (
            PhasePlan(
                phase_of(number), rounds, max(ROUND * share * (1 + teacher), 1e-6), unit="round", builds=ROUND * rounds
            )
            for number in range(1, self.runs + 1)
        )
        return (*runs, self.finetuning_phase(task, self.epochs))

    def _rounds(self, task: Task) -> int:
        """Returns how many rounds a run has, if all groups lose the same share."""
        limits = dict(task.limits)
        if not task.budget and self.stop_params is not None:
            limits["params"] = self.stop_params
        kept = task.widths.same_ratio(lambda widths: task.fits_kept(widths, limits)) if limits else task.widths.least
        steps = (task.costs.sizes.sum() - kept.sum()) / self._filters(task)
        return max(1, math.ceil(steps / ROUND))

    def _filters(self, task: Task) -> int:
        """Returns how many channels to remove in a step."""
        return self.filters if isinstance(self.filters, int) else max(1, round(self.filters * task.costs.sizes.sum()))

    def search(self, task: Task) -> Search:
        """Plays all runs, and takes the best one."""
        steps = Steps(
            criterion=by_name(self.criterion),
            filters=self._filters(task),
            updates=self.updates,
            rate=self.update_rate,
            training=self.training,
            teaching=self.teaching_for(task),
        )
        rules, rounds = self._rules(task), self._rounds(task)
        history: dict[str, list[Any]] = {}
        notes, ends, candidates = [], [], []
        for number in range(1, self.runs + 1):
            run = GreedyRun(task, number, steps, rules, rounds)
            end = run.play()
            task.network_of(end.network)  # keeps what was read of it
            for name, values in run.history.items():
                history.setdefault(name, []).extend(values)
            value = f"{task.objective.metric_name or 'loss'} {end.metric:.4f}"
            note = f"{phase_of(number)}: {run.ended}; {end.cost.params:,} parameters, {end.cost.macs:,} MACs, {value}"
            notes.append(note)
            ends.append(end)
            trail = Trail((run.plan(end.kept),))
            score = None if task.objective.metric_name is None else end.metric
            candidates.append(Candidate(trail, end.cost, score, f"run {number}", end.network.model))
        worth = [self._worth(end, task) for end in ends]
        best = candidates[worth.index(max(worth))]
        return Search(task.model, best.trail, tuple(candidates), history, tuple(notes), student=best.model)

    def _rules(self, task: Task) -> Rules | None:
        if task.budget:
            return None
        if not (task.accuracy or 0) > 0:
            raise ValueError(
                "Expected a model whose metric on the validation split is above 0, as runs are compared by shares of "
                f"it. Received: {task.objective.metric_name} {task.accuracy}. Train the model first, or give a budget."
            )
        assert task.accuracy is not None
        least = task.accuracy - _DROP if self.stop_accuracy is None else self.stop_accuracy
        return Rules(least, self.stop_params)

    def _worth(self, end: Pruned, task: Task) -> float:
        """Returns the quality of the end of a run: its metric with a budget, N2N's reward without one."""
        if end.metric is None or not math.isfinite(end.metric):
            return -math.inf
        if task.budget:
            return task.objective.sign * end.metric
        assert task.accuracy is not None
        return reward(end.cost.params, task.costs.total.params, end.metric, task.accuracy)

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Fine-tunes the student, which the updates have already trained."""
        anew = self.updates == 0
        return self.train_cut(student, task, self.training, "fine-tuning", anew=anew, keep=self.keep)
