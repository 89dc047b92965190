"""`compress`: decide, edit, recover."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from absl import logging

from tfcompress import data as data_lib
from tfcompress.budget import Budget
from tfcompress.control import Control, Pattern
from tfcompress.costs import CostModel, cost
from tfcompress.data.sources import ArraySource
from tfcompress.given import given_model, given_seed, given_splits, is_of_keras
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods import Method, Search, method_by_name
from tfcompress.plan import Plan
from tfcompress.result import Measured, Result, candidate_from_dict, candidate_to_dict
from tfcompress.rewrite import apply
from tfcompress.rewrite.verify import verify
from tfcompress.task import Task
from tfcompress.training import Evaluator, Objective, Progress, RunFolder, Score, model_digest, open_run, seed_layers
from tfcompress.training.ignored import words_for_ignored
from tfcompress.training.state import check_finite_weights
from tfcompress.training.thawing import cut_layers, thawed, to_thaw, words_for

__all__ = ["compress"]

_CALIBRATION_SAMPLES = 256
_COMPARED_SAMPLES = 64
# Random stream of the seed, for what a student's layers draw in training: its own, as its source may come from a file.
_STUDENT = 102


def compress(
    model: keras.Model | str | os.PathLike[str],
    method: str | Method = "rlal",
    data: Any = None,
    *,
    validation_data: Any = None,
    test_data: Any = None,
    flops_budget: float | int | None = None,
    params_budget: float | int | None = None,
    exclude: Pattern | Iterable[Pattern] = (),
    only: Pattern | Iterable[Pattern] | None = None,
    ratio_limits: Mapping[Pattern, float | tuple[float, float]] | None = None,
    round_to: int = 1,
    through_norms: bool = False,
    objective: Objective | Score | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> Result:
    """Makes a trained network cheaper, within a budget, with one of the published methods.

    Args:
        model: a built Functional or Sequential `keras.Model`, or the path of a .keras or .h5 file. It is never changed.
        method: a name for the paper's defaults, or an instance with settings, such as
            `tfcompress.methods.RLAL(epochs=90)`. `"rlal"`, `"uniform"` and `"random"` remove channels; `"lit"`, `"kd"`,
            `"hint"`, `"born_again"` and `"scratch"` train a shallower student (docs/distillation.md).
        data: the name of a dataset (`"cifar10"`, `"digits"`), `tfcompress.data.load(...)`, a tuple `(x, y)` of
            arrays, a batched `tf.data.Dataset` or a keras `PyDataset`.
        validation_data: what choices are made by; without it a seeded part of the training data is held out.
        test_data: read once, for the report; named datasets bring theirs.
        flops_budget: upper limit for the finished model's FLOPs: a share of the original (0 < share <= 1) as a float,
            or an absolute number as an int.
        params_budget: the same for parameters. One budget or both.
        exclude: layers that keep all the channels they write: names, patterns such as `"stage4_*"`, or classes.
        only: the layers that may be pruned; `None` for all.
        ratio_limits: `{pattern: (least, greatest)}`, shares in [0, 1] of the channels to remove, or the greatest alone.
        round_to: channel counts are multiples of this where a group is large enough; 8 suits most devices.
        through_norms: whether channels over which a layer takes a statistic may be removed too (LayerNormalization, the
            key width of attention), which changes the statistic. `Control` says all this in full.
        objective: how good the model is, where accuracy does not say it (detectors, segmenters, several outputs): a
            function `(y, outputs) -> [batch]` of one number a sample, the higher the better, written with `keras.ops`;
            labels and outputs come in the model's own structure. The losses are those that the model is compiled with.
            Or an `Objective` with losses and score.
        run_dir: a folder for checkpoints, logs and the result. The same call on the same folder goes on where a killed
            run stopped, after its last finished epoch.
        seed: what all randomness comes from.
        verbose: 0 silent, 1 with a progress display, 2 one line an epoch.

    Returns:
        A `Result`. The finished model is never above the budget.

    Raises:
        TypeError, ValueError: before any training, for anything that cannot work; the message says what was expected,
            what came, and what to do.
        tfcompress.training.TrainingDiverged: the loss became NaN; the last good state is kept in the run folder.
    """
    chosen = method_by_name(method)
    budget = chosen.budget(flops_budget, params_budget)
    control = Control.of(exclude, only, ratio_limits, round_to, through_norms)
    seed = given_seed(seed)
    original = given_model(model)
    splits = given_splits(original, data, validation_data, test_data, seed)
    check_finite_weights(original)
    splits.check_whole()
    with open_run(run_dir, _fingerprint(original, chosen, budget, control, objective, splits, seed)) as run:
        task, notes = _task(original, chosen, splits, budget, control, objective, seed, run, Progress(verbose))
        chosen.check(task)
        on_test = _accuracy(original, task, ("test",)).get("test")  # what is wrong with it shows before training
        task.progress.plan(chosen.phases(task))
        search = _decide(chosen, task)
        groups = task.on(search.source).groups
        student = apply(search.source, search.plan, groups)
        seed_layers(student, seed, _STUDENT)
        verify(search.source, search.plan, student, _inputs(task, 8), tolerance=1e-3, groups=groups)
        history = _recover(chosen, student, search, task)
        result = _report(original, student, search, history, chosen, task, notes, on_test)
        if isinstance(run, RunFolder):
            result.save(run.path / "result")
        return result


def _fingerprint(
    model: keras.Model,
    method: Method,
    budget: Budget,
    control: Control,
    objective: Any,
    splits: data_lib.Splits,
    seed: int,
) -> dict[str, Any]:
    return {
        "model": model_digest(model),
        "method": {"name": method.name, **method.settings()},
        "flops_budget": budget.flops,
        "params_budget": budget.params,
        "control": control.settings(),
        "objective": None if objective is None else getattr(objective, "__qualname__", type(objective).__name__),
        "data": splits.describe().splitlines(),
        "samples": [_samples(split) for split in (splits.train, splits.validation)],
        "seed": seed,
    }


def _samples(split: data_lib.Split) -> str | None:
    """A hash of the first samples as the model reads them, which finds out other data or another preprocessing.

    Of data in memory only: what a stream gives first may change from one reading to the next.
    """
    if not isinstance(split.source, ArraySource):
        return None
    digest = hashlib.sha256()
    for array in keras.tree.flatten(split.take(_COMPARED_SAMPLES)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _task(
    original: keras.Model,
    method: Method,
    splits: data_lib.Splits,
    budget: Budget,
    control: Control,
    objective: Objective | Score | None,
    seed: int,
    run: Any,
    progress: Progress,
) -> tuple[Task, list[str]]:
    """The task, and what is to be known of it; measures the model as it is, and says so first."""
    costs = CostModel(ChannelGroups.of(LayerGraph.from_keras(original), control.through_norms))
    limits = _limits(method, budget, control, costs)
    task = Task.of(original, splits, limits, seed, run, progress, control, objective)
    if not run.has("before"):
        run.write_json("before", _accuracy(original, task, ("validation",)).get("validation"))
    task = dataclasses.replace(task, accuracy=run.read_json("before"))
    notes = _first_notes(task, costs, words_for_ignored(original, task.objective, method.trains_with(task)))
    for note in notes:
        progress.note(note)
    return task, notes


def _limits(method: Method, budget: Budget, control: Control, costs: CostModel) -> dict[str, int]:
    """The budget in units of `Cost`, if the method can reach it with what may be pruned."""
    least = method.least(costs, control)
    try:
        return budget.limits(costs.total, least, method.advice)
    except ValueError as error:
        if not control.settings():
            raise
        limits = budget.limits(
            costs.total, method.least(costs, Control()), method.advice
        )  # is control what stands in the way?
        given = ", ".join(f"{name}={value}" for name, value in control.settings().items())
        raise ValueError(f"{error} Without {given} this budget ({limits}) could be reached.") from None


def _first_notes(task: Task, costs: CostModel, ignored: Sequence[str]) -> list[str]:
    total, objective = costs.total, task.objective
    notes = [task.splits.describe(), objective.description]
    if control := task.control.settings():
        notes.append("pruned under " + ", ".join(f"{name}={value}" for name, value in control.items()))
    shown = (
        "no metric" if task.accuracy is None else f"{objective.metric_name} {task.accuracy:.4f} on the validation split"
    )
    notes.append(f"{task.model.name}: {shown}, {total.macs:,} MACs, {total.params:,} parameters")
    if costs.unknown:
        notes.append(f"MACs of these layers are not known and not counted: {', '.join(costs.unknown)}")
    notes += ignored
    if task.warning is not None:
        logging.warning("%s", task.warning)
        notes.append(f"Warning: {task.warning}")
    return notes


def _decide(method: Method, task: Task) -> Search:
    """The method's search, or what it found before the run was interrupted."""
    run = task.run
    if not method.stores_search:
        return method.search(task)
    if run.has("search") and run.has_model("source"):
        stored = run.read_json("search")
        task.progress.note("the search was finished before, taken from the run folder")
        candidates = tuple(candidate_from_dict(entry) for entry in stored["candidates"])
        plan = Plan.from_json(stored["plan"])
        removed = Plan.from_json(stored["removed"])
        source = apply(task.model, removed, task.groups) if len(removed) else task.model
        run.load_weights("source", source)
        return Search(source, plan, removed, candidates, stored["history"], tuple(stored["notes"]))
    search = method.search(task)
    run.save_model("source", search.source)
    run.write_json(
        "search",
        {
            "plan": search.plan.to_json(),
            "removed": search.removed.to_json(),
            "candidates": [candidate_to_dict(candidate) for candidate in search.candidates],
            "history": search.history,
            "notes": list(search.notes),
        },
    )
    return search


def _recover(method: Method, student: keras.Model, search: Search, task: Task) -> dict[str, list[Any]]:
    """The method's recovery, which trains frozen layers too where their weights changed."""
    layers = to_thaw(student, cut_layers(task.groups, search.removed.then(search.plan)))
    if layers:
        task.say(words_for(layers))
    with thawed(student, layers):
        return method.recover(student, task.on(search.teacher or search.source))


def _inputs(task: Task, count: int) -> Any:
    return task.splits.calibration.take(count)[0]


def _report(
    original: keras.Model,
    student: keras.Model,
    search: Search,
    history: dict[str, Any],
    method: Method,
    task: Task,
    notes: Sequence[str],
    on_test: float | None,
) -> Result:
    finished = cost(student)
    if not task.fits(finished):
        raise RuntimeError(
            f"Expected a model within {dict(task.limits)}. Received: {finished}. This is a bug: report it."
        )
    after = _accuracy(student, task, ("validation", "test"))
    all_notes = [*notes, *search.notes, *task.said]
    metrics = task.objective.new_metrics()
    losses = [loss for loss in keras.tree.flatten(task.objective.loss) if loss is not None]
    if all(map(is_of_keras, [*losses, *(metrics or [])])):
        weights = task.objective.loss_weights
        student.compile(optimizer="sgd", loss=task.objective.loss, loss_weights=weights, metrics=metrics)
    else:
        note = "The model is not compiled: a file with a loss or metric that is not Keras' own loads nowhere else."
        all_notes.append(note)
    return Result(
        model=student,
        plan=search.removed.then(search.plan),
        candidates=search.candidates,
        before=Measured.of(cost(original), task.accuracy, on_test),
        after=Measured.of(finished, after.get("validation"), after.get("test")),
        history={"search": search.history, "recover": history},
        metric=task.objective.metric_name or "",
        method=method.name,
        settings=method.settings(),
        seed=task.seed,
        notes=tuple(all_notes),
        calibration=_inputs(task, _CALIBRATION_SAMPLES),
    )


def _accuracy(model: keras.Model, task: Task, names: tuple[str, ...]) -> dict[str, float]:
    """The metric on each of the splits that there are."""
    metric, evaluator = task.objective.metric_name, Evaluator(model, task.objective)
    splits = {name: getattr(task.splits, name) for name in names}
    if metric is None:
        return {}
    found = {}
    for name, split in splits.items():
        if split is not None:
            values = evaluator(split.batches(250), f"{name} data")
            found[name] = values[metric]
            if bad := [key for key, value in values.items() if not np.isfinite(value)]:
                task.say(f"Warning: {' and '.join(bad)} of {model.name} on the {name} split: NaN or infinite.")
    return found
