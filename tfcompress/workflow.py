"""`compress`: checks everything, runs the method's stage, or those of several methods in turn, reports."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras

from tfcompress import data as data_lib
from tfcompress import expect
from tfcompress.channels import Control, Pattern
from tfcompress.costs import CostModel, registered_metrics
from tfcompress.costs.budget import Budget, as_budget, shown
from tfcompress.costs.metrics import planned_by
from tfcompress.export import kept_lambdas
from tfcompress.feasibility import check_budget
from tfcompress.flow import Call, given_split, methods_of, run_flow
from tfcompress.given import (
    check_surroundings,
    given_callbacks,
    given_monitor,
    given_objective,
    given_seed,
    given_splits,
    given_with_shape,
    read_model,
)
from tfcompress.graph import check_runs_here
from tfcompress.header import header, measured_step, warning_of_time
from tfcompress.input_shapes import InputShape
from tfcompress.latency_planning import (
    calibrated,
    check_latency_table,
    given_table,
    is_needed,
    keep_table,
    with_latency,
    with_planned_latency,
)
from tfcompress.measured import measured_first, measurements_of, metrics_of, planned_file
from tfcompress.methods import Method
from tfcompress.methods.presets import share_of_fast, words_for_preset
from tfcompress.network import Network
from tfcompress.operators import OperatorTable
from tfcompress.outcome import put_together, result_of
from tfcompress.process import ignored_warnings, log, unheard_log, warmed_up, without_chatter
from tfcompress.result import Result
from tfcompress.result_files import about_lambdas, check_result_folder
from tfcompress.rewrite.working_copy import fixed_batch
from tfcompress.run_contents import begin_run, check_same_table
from tfcompress.stage import run_stage
from tfcompress.task import WARNING, Task
from tfcompress.time_budget import fitted_settings, given_time, words_for_fitted
from tfcompress.training import (
    Objective,
    Progress,
    RunFolder,
    Score,
    StepTime,
    open_run,
)
from tfcompress.training.ignored import words_for_ignored
from tfcompress.training.state import check_finite_weights

__all__ = ["compress"]


def compress(
    model: keras.Model | str | os.PathLike[str],
    method: str | Method | Sequence[str | Method] = "rlal",
    data: Any = None,
    *,
    validation_data: Any = None,
    validation_split: float | None = None,
    test_data: Any = None,
    class_weight: Mapping[int, float] | None = None,
    flops_budget: float | int | None = None,
    params_budget: float | int | None = None,
    latency_budget: float | int | None = None,
    size_budget: float | int | None = None,
    budget: Mapping[str, float | int] | None = None,
    split: Mapping[str | int, float] | Sequence[float | None] | None = None,
    exclude: Pattern | Iterable[Pattern] = (),
    only: Pattern | Iterable[Pattern] | None = None,
    ratio_limits: Mapping[Pattern, float | tuple[float, float]] | None = None,
    round_to: int | str = 1,
    latency_table: OperatorTable | str | os.PathLike[str] | None = None,
    through_norms: bool = False,
    objective: Objective | Score | None = None,
    monitor: str | None = None,
    preset: str | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    optimizer: str | keras.optimizers.Optimizer | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    time_budget: str | float | None = None,
    input_shape: InputShape | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> Result:
    """Makes a trained network cheaper, within a budget, with one of the published methods.

    Args:
        model: a built Functional or Sequential `keras.Model`, or the path of a .keras, .h5 or .hdf5 file. It is never
            changed.
        method: a name, or an instance with settings, such as `tfcompress.methods.RLAL(epochs=90)`. `"rlal"`, `"amc"`,
            `"uniform"`, `"knapsack"`, `"taylor"` and `"random"` remove channels; `"darc"` and `"replaced"` put cheaper
            layers in the place of others (docs/methods/darc.md); `"n2n"` removes layers and makes kernels smaller
            (docs/methods/n2n.md); `"lit"`, `"kd"`, `"hint"`, `"born_again"` and `"scratch"` train a shallower student
            (docs/methods/distillation.md); `"magnitude"`, `"cluster"` and `"qat"` change weights and leave the
            architecture, and take no budget on FLOPs or parameters. A list of several, `["lit", "rlal"]`, runs as a
            flow: one after the other, each from the last one's result (docs/guides/flow.md). Data in
            this place, as in `compress(model, (x, y), ...)`, are taken for `data`, with the default method.
        data: the name of a dataset (`"cifar10"`, `"digits"`), the path of a folder of images or of an .npz file,
            `"package.module:function"`, `tfcompress.data.load(...)`, a tuple `(x, y)` of arrays, a batched
            `tf.data.Dataset` or a keras `PyDataset`. Sample weights may be a third part: they count in the training
            loss, as in `fit` (docs/guides/own_data.md).
        validation_data: the data that choices are made by; without it, a seeded random part of the training data is
            held out.
        validation_split: the share of the training data to hold out, between 0 and 1; `None` for a tenth. Cannot be
            combined with `validation_data`.
        test_data: data for the report, read once; named datasets bring their own.
        class_weight: `{class: weight}` as for `fit`: the weight of each class in the training loss.
        flops_budget: upper limit for the finished model's FLOPs: a share of the original (0 < share <= 1) as a float,
            or an absolute number as an int above 1 (two FLOPs are one multiply-add).
        params_budget: the same for parameters.
        latency_budget: the same for the latency in LiteRT on this machine (one sample, one thread); an absolute number
            is in milliseconds. Methods plan for it by a table of the model's operators, which is measured first
            (docs/latency.md), and the finished model is checked by measuring.
        size_budget: the same for the size of the model as a float32 TFLite file; an absolute number is in bytes. Every
            method plans for it, and the finished model's file is made and measured. With `"qat"`, alone or last in a
            flow, it limits the int8 file, as a share of the original's float32 file.
        budget: `{metric: limit}` of "macs", "params", "bytes" and metrics that were registered
            (`tfcompress.costs.register_metric`), or a `Budget`: shares as floats, absolute numbers as ints. At
            least one budget is needed, and each metric may be limited once.
        split: how far each stage of a flow has to come: `{"lit": 0.7}`, or shares of the original in the order of the
            stages, `(0.7,)`. `None`: each stage that can lower a metric takes off the same factor. The last of them
            holds the whole budget.
        exclude: layers whose output channels are all kept: names, patterns such as `"stage4_*"`, or classes.
        only: the layers that may be pruned; `None` for all.
        ratio_limits: `{pattern: (least, greatest)}`, shares in [0, 1] of the channels to remove, or only the greatest.
        round_to: channel counts are multiples of this in groups that are large enough; 8 suits most devices. "auto":
            the counts that pay in latency, by the same table.
        latency_table: the table for the latter two, or the path of its file: it is read, and on the device that it was
            measured on completed. A table of another device plans for that one. By default the table is kept in the run
            folder.
        through_norms: whether channels that enter a layer's statistic may be removed too (LayerNormalization, the key
            width of attention), which changes the statistic. `Control` describes all these settings in full.
        objective: the quality of the model, where accuracy does not describe it (detectors, segmenters, several
            outputs): a function `(y, outputs) -> [batch]` that gives one number per sample, higher is better, written
            with `keras.ops`; labels and outputs have the model's own structure. The losses are those that the model is
            compiled with. Or an `Objective` with losses and score.
        monitor: the name of the metric that choices are made by: "loss", or one that the model is compiled with ("auc",
            "f1_score"); by default the model's first accuracy, else its first metric. All metrics are reported.
        preset: the settings of a method given by name: "fast" (minutes: cheap ranking instead of a search, few epochs),
            "balanced" (an evening; `None` is the same) or "paper" (exactly as published; hundreds of epochs, used only
            on request). The expected time is printed before the first step. An instance has settings of its own:
            `RLAL.with_preset("fast", epochs=8)`.
        epochs: epochs of training the finished model. `method="rlal", epochs=10` is short for `RLAL(epochs=10)`, works
            with every method and preset, and overrides the setting of an instance.
        learning_rate: the initial learning rate of that training, likewise.
        optimizer: the optimizer of that training, likewise: a keras optimizer, `"sgd"`, `"adam"`, or `"compiled"` for
            the model's own.
        callbacks: Keras callbacks, such as `EarlyStopping`; they see epochs and logs of the finished model's training
            as in `fit`, in each of its phases. Their own state is lost if a run is interrupted.
        time_budget: the time that the run may take: `"1h"`, `"45 min"`, or seconds. Before the first step two batches
            are timed, and epochs and search episodes are reduced to fit; they are never increased.
        input_shape: for a model that takes inputs of any size, such as images `(None, None, 3)`: the size that costs
            are counted for and that the data has, without the batch; by name for several inputs. The result takes any
            size.
        run_dir: a folder for checkpoints, logs and the result. The same call with the same folder continues a killed
            run after its last finished epoch.
        seed: random seed.
        verbose: 0 silent, 1 a line that is updated in a terminal or a notebook, 2 one line per epoch.

    Returns:
        A `Result`. The finished model never exceeds the budget.

    Raises:
        TypeError, ValueError: before any training, if something cannot work; the message says what was expected, what
            was received, and what to do.
        tfcompress.costs.LimitMissed: the finished model exceeds a limit that is measured, not planned; the error holds
            the model.
        tfcompress.training.TrainingDiverged: the loss became NaN; the last good state is kept in the run folder.
    """
    method, data = _in_their_places(method, data)
    stages = methods_of(method, preset, epochs, learning_rate, optimizer)
    shares = given_split(split, stages)
    whole = Budget(budget, flops=flops_budget, params=params_budget, latency=latency_budget, size=size_budget)
    limited = stages[0].budget(whole) if len(stages) == 1 else whole
    control = Control.of(exclude, only, ratio_limits, round_to, through_norms)
    table = given_table(latency_table)
    check_latency_table(table, limited, control, any(each.plans_latency for each in stages))
    seed, objective, progress = given_seed(seed), given_objective(objective), Progress(verbose)
    callbacks, monitor = given_callbacks(callbacks), given_monitor(monitor, objective)
    time_s = given_time(time_budget)
    run_dir = expect.path("run_dir", run_dir, "a folder", or_none=True)
    data_lib.check_forms(data, validation_data, test_data, validation_split, class_weight)
    check_surroundings()
    given = read_model(model)
    stages = tuple(each.for_model(given.model) for each in stages)
    original = Network(given.model, control.through_norms, given.graph)
    as_given = original.graph
    if input_shape is not None:
        original = Network(given_with_shape(given.model, input_shape), control.through_norms)
    check_runs_here(original.graph)
    check_finite_weights(original.model)
    how: dict[str, Any] = {"validation_split": validation_split, "class_weight": class_weight}
    call = Call(
        model=given.model,
        original=original,
        as_given=as_given,
        notes=given.notes,
        data={"data": data, "validation_data": validation_data, "test_data": test_data, **how},
        control=control,
        seed=seed,
        progress=progress,
        objective=objective,
        monitor=monitor,
        callbacks=callbacks,
        time_s=time_s,
        input_shape=input_shape,
        latency_table=table,
    )
    with _calm(verbose), progress:
        if len(stages) == 1:
            return _run_one(call, stages[0], limited, run_dir)
        return run_flow(call, stages, shares, limited, run_dir, _run_one)


def _run_one(call: Call, chosen: Method, limited: Budget, run_dir: Any) -> Result:
    """Runs a single method: the whole of a call, or one stage of a flow, whose data and objective are known."""
    original, seed, control, progress, time_s = call.original, call.seed, call.control, call.progress, call.time_s
    with open_run(run_dir) as run, contextlib.ExitStack() as stack:
        if isinstance(run, RunFolder):
            check_result_folder(run.result)
        progress.doing("checking model, budget and data")
        limited, columns, known = planned_file(original, limited)
        stack.enter_context(planned_by(columns))
        check_budget(chosen, limited, original.costs, control)
        task = Task.before_data(original, limited, seed, run, progress, control)
        if call.first_of_flow is not None:
            task = dataclasses.replace(task, first_of_flow=call.first_of_flow)
        plans = is_needed(limited, control, chosen.plans_latency)
        if not plans:
            chosen.check_model(task)
        measurements = measurements_of(task.network, limited, known)  # a function that does not work shows here
        splits = call.splits or given_splits(original.model, **call.data, seed=seed, objective=call.objective)
        if call.splits is None:
            splits.check_whole()
        if plans:  # measuring takes a while: what could be refused without was
            check_same_table(run, call.latency_table)
            task = with_latency(original, task, call.latency_table, chosen.plans_latency)
            check_budget(chosen, task.budget, original.costs, task.control)
            task, measurements = calibrated(task), with_planned_latency(task, measurements)
            chosen.check_model(task)
        task = task.with_data(splits, call.objective, call.monitor)
        chosen.check(task)
        progress.doing("measuring the original model")
        on_test = metrics_of(original, task, ("test",)).get("test")  # what is wrong with it shows before training
        # All that can be refused was: from here on it is the folder of this run.
        notes = begin_run(original, chosen, task, time_s, is_stage=bool(call.turn))
        keep_table(task)
        task, first, notes = _measured(original, chosen, task, measurements, notes, call.model)
        is_shown = progress.verbose and not run.is_finished
        step = measured_step(chosen, task) if time_s is not None or is_shown else None
        if time_s is not None:
            chosen = _in_time(chosen, task, step, time_s)
        _say_first(call, chosen, task, notes, step)
        recovered = run_stage(chosen, task, call.callbacks)
        before = put_together(original.costs.total, first["validation"], on_test, task, first["measurements"])
        result = result_of(before, recovered, chosen, task, [*call.notes, *notes], call.as_given)
        if isinstance(run, RunFolder):
            with run.room(result.after.bytes):
                result.save(run.result)
        return result


def _in_their_places(method: Any, data: Any) -> tuple[Any, Any]:
    """Returns method and data, swapped if only data was given, in the method's place."""
    if data is None and not isinstance(method, str) and data_lib.has_form(method):
        return "rlal", method  # as if it had been left out
    return method, data


@contextlib.contextmanager
def _calm(verbose: int) -> Iterator[None]:
    """Hides TensorFlow's messages unless `verbose` is 2; with 0 also all log messages and warnings."""
    with contextlib.ExitStack() as stack:
        if verbose < 2:
            warmed_up()
            stack.enter_context(without_chatter())
        if verbose == 0:
            stack.enter_context(unheard_log())
            stack.enter_context(ignored_warnings())
        yield


def _measured(
    original: Network,
    method: Method,
    task: Task,
    measurements: dict[str, float],
    notes: Sequence[str],
    given: keras.Model,
) -> tuple[Task, dict[str, Any], list[str]]:
    """Returns the task with the metric of the uncompressed model, the measurements that this run's first call made (all
    metrics on the validation split, and measured limits), and notes on them, which are shown first.
    """
    said: list[str] = []
    task, before = measured_first(original, task, measurements, said.append)
    used = getattr(method, "optimizer", None)
    ignored = words_for_ignored(given, task.objective, method.trains_with(task), used)
    first = [*_first_notes(task, original.costs, ignored), *_held_to(task.budget, before["measurements"])]
    return task, before, [*first, *words_for_preset(method), *notes, *said]


def _in_time(method: Method, task: Task, step: StepTime | None, seconds: float) -> Method:
    """Returns the method with settings that fit a time budget; a run that goes on keeps those of its first call."""
    changes = task.run.recall("in_time", task.progress.note)
    if changes is None:
        changes = fitted_settings(method, task, step, seconds)
        task.run.write_json("in_time", changes)
    task.say(words_for_fitted(method, task, changes, seconds))
    return dataclasses.replace(method, **changes) if changes else method  # type: ignore[type-var]


def _say_first(call: Call, method: Method, task: Task, notes: Sequence[str], step: StepTime | None) -> None:
    """Prints the header of the run, or of a stage, and warnings; declares its phases."""
    if task.progress.verbose:
        lines = header(call.original, method, task, step)
        if call.turn:  # the header of the flow has said the rest
            said = ("plan", "time") if call.first_of_flow is None else ("model", "plan", "time")
            lines = {"stage": call.turn, **{name: lines[name] for name in said}}
        task.progress.header(lines)
    warnings = [note for note in notes if note.startswith(WARNING) and note not in call.shown]
    if not call.turn and (long := warning_of_time(method, task, step)):
        task.say(long)
    for note in warnings:
        task.progress.note(note)
    share = share_of_fast(method, task)
    faster = None if share is None else ("preset='fast'", share)
    task.progress.plan(method.phases(task), " ".join(words_for_preset(method)), faster, step)


def _held_to(budget: Budget, before: Mapping[str, float]) -> list[str]:
    """Returns notes on the limits that are checked at the end, not planned."""
    units = {name: registered_metrics()[name].unit for name in budget.measured}
    return [
        f"{name} is {'planned and measured' if budget.is_planned(name) else 'measured, not planned'}: the finished "
        f"student is held to {shown(limit)} {units[name]} "
        f"({budget.said(name)}; the original has {shown(before[name])})"
        for name, limit in budget.measured_limits(before).items()
    ]


def _first_notes(task: Task, costs: CostModel, ignored: Sequence[str]) -> list[str]:
    total, objective = costs.total, task.objective
    notes = [*task.splits.describe().splitlines(), *task.splits.notes, objective.description]
    if task.limits:
        notes.append(f"budget: at most {as_budget(task.limits)}")
    if control := task.control.settings():
        notes.append("pruned under " + ", ".join(f"{name}={value}" for name, value in control.items()))
    shown = (
        "no metric" if task.accuracy is None else f"{objective.metric_name} {task.accuracy:.4f} on the validation split"
    )
    notes.append(f"{task.model.name}: {shown}, {total.macs:,} MACs, {total.params:,} parameters")
    if batch := fixed_batch(costs.groups.graph):
        notes.append(f"The model takes {batch} samples at once; the compressed model takes any number.")
    if kept := kept_lambdas(task.original):
        notes.append(about_lambdas(kept))
    if not_known := dict.fromkeys((*costs.unknown, *costs.unmeasured)):
        notes.append(f"MACs of these layers are not known and not counted: {', '.join(not_known)}")
    notes += ignored
    if task.warning is not None:
        if not task.progress.verbose:  # otherwise it is shown
            log.warning("%s", task.warning)
        notes.append(f"Warning: {task.warning}")
    return notes
