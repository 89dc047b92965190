"""Runs a flow: checks everything, then one stage after the other, each in a run folder of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tfcompress.channels import Control
from tfcompress.costs import Budget, Cost
from tfcompress.costs.budget import LimitMissed, as_budget
from tfcompress.costs.file_size import FILE, INT8_FILE
from tfcompress.costs.metrics import planned_by
from tfcompress.expect import WrongType
from tfcompress.feasibility import check_budget
from tfcompress.finished_stage import FinishedStage
from tfcompress.flow.call import Call
from tfcompress.flow.last_file import LastFile, keep_last_file, last_file
from tfcompress.flow.merging import merged, stage_of
from tfcompress.flow.split import (
    Shares,
    check_split,
    counted,
    file_shares,
    limits_of,
    measured_limits_of,
    stages_for,
    words_for_split,
)
from tfcompress.flow.stages import label_of
from tfcompress.flow.timing import fitted_methods, lines_of, long_run
from tfcompress.given import given_splits, given_with_shape
from tfcompress.header import measured_step
from tfcompress.input_shapes import of_one_size
from tfcompress.measured import measured_first, measurements_of
from tfcompress.methods import Method
from tfcompress.methods.order import is_of_weights, obeyed
from tfcompress.network import Network
from tfcompress.outcome import on_one_machine
from tfcompress.plan import Plan
from tfcompress.result import Result
from tfcompress.result_files import check_result_folder
from tfcompress.run_contents import begin_run
from tfcompress.task import Task
from tfcompress.training import NoRunFolder, RunFolder, open_run

__all__ = ["run_flow"]

_RunOne = Callable[..., Result]  # (call, method, budget, run_dir): the run of a single method


def run_flow(
    call: Call, methods: Sequence[Method], shares: Shares, budget: Budget, run_dir: Any, run_one: _RunOne
) -> Result:
    """Runs the stages of a flow in turn, each from the result of the one before.

    Args:
        call: the arguments of the call.
        methods: the methods, in an order that works.
        shares: the shares that `split` gave.
        budget: the whole budget.
        run_dir: the folder of the flow; `None` for none.
        run_one: runs a single method.

    Returns:
        The result, with the figures of all stages.

    Raises:
        TypeError, ValueError, LimitMissed, TrainingDiverged: as for `compress`; the message says which stage refuses.
    """
    with open_run(run_dir) as run:
        return _Flow(call, methods, shares, budget, run, run_one).run()


class _Flow:
    """A flow in its run folder."""

    def __init__(
        self,
        call: Call,
        methods: Sequence[Method],
        shares: Shares,
        budget: Budget,
        run: RunFolder | NoRunFolder,
        run_one: _RunOne,
    ) -> None:
        self._call, self._methods, self._shares = call, tuple(methods), shares
        self._budget, self._run, self._run_one = budget, run, run_one
        self._limits: list[dict[str, int]] = []
        self._last: LastFile | None = None
        self._seconds: list[float | None] = []

    @property
    def _total(self) -> Cost:
        """The cost of the original."""
        return self._call.original.costs.total

    def run(self) -> Result:
        """Checks everything, runs the stages, and returns the result of all."""
        with contextlib.ExitStack() as stack:
            return self._run_in(stack)

    def _run_in(self, stack: contextlib.ExitStack) -> Result:
        call, run = self._call, self._run
        if isinstance(run, RunFolder):
            check_result_folder(run.result)
        call.progress.doing("checking model, budget and data")
        self._check_control()
        check_split(self._shares, self._methods, self._budget, self._total)
        self._limits = limits_of(self._shares, self._methods, self._budget, self._total)
        whole = Task.before_data(call.original, counted(self._budget), call.seed, run, call.progress, call.control)
        measured: dict[str, float] = {}
        with self._named(len(self._methods) - 1):
            self._last = last_file(call, self._methods, whole, self._budget, run)
        if self._last is not None:
            stack.enter_context(planned_by({INT8_FILE: self._last.size.terms}))
            # Read anew, as its costs have another column now.
            original = Network(call.original.model, call.original.through_norms)
            self._call = call = dataclasses.replace(call, original=original)
            whole = Task.before_data(original, whole.budget, call.seed, run, call.progress, call.control)
            file = file_shares(self._shares, self._methods, self._last.size.measured, self._last.limit)
            self._limits = [held | more for held, more in zip(self._limits, file, strict=True)]
            measured[FILE] = self._last.whole
        tasks = [self._checked_model(place, whole) for place in range(len(self._methods))]
        measurements = measurements_of(whole.network, self._budget, measured)
        splits = given_splits(call.original.model, **call.data, seed=call.seed, objective=call.objective)
        splits.check_whole()
        whole = whole.with_data(splits, call.objective, call.monitor)
        for place, task in enumerate(tasks):
            with self._named(place):
                self._methods[place].check(_with_data(task, whole))
        # All that can be refused was: from here on it is the folder of this run.
        named = dataclasses.replace(whole, budget=self._budget)
        notes = begin_run(call.original, self._methods, named, call.time_s, self._shares)
        keep_last_file(self._last, run)
        whole, first = measured_first(call.original, whole, measurements, call.progress.note)
        notes = [*notes, *self._begun(whole, [_with_data(task, whole) for task in tasks])]
        self._call = dataclasses.replace(call, splits=splits, objective=whole.objective, monitor=None, time_s=None)
        return self._finished(whole, first["measurements"], notes)

    # Before the first stage.

    def _check_control(self) -> None:
        """Refuses settings of the control that no stage obeys."""
        known = {name for method in self._methods for name in obeyed(method)}
        if unused := {name: said for name, said in self._call.control.settings().items() if name not in known}:
            raise ValueError(
                f"Expected settings that a stage obeys, of {sorted(known) or 'none'}. Received: "
                f"{', '.join(f'{name}={said}' for name, said in unused.items())} for "
                f"method={[method.name for method in self._methods]}. Leave them out."
            )

    def _control(self, place: int, control: Control) -> Control:
        return control.part(obeyed(self._methods[place]))

    def _budget_of(
        self, place: int, limits: Mapping[str, int], held: Mapping[str, float] = MappingProxyType({})
    ) -> Budget:
        """Returns limits as the budget of a stage's method."""
        given: dict[str, float | int] = {metric: max(2, limit) for metric, limit in limits.items()}
        flops = 2 * given.pop("macs") if "macs" in given else None
        params = given.pop("params", None)
        return self._methods[place].budget(Budget({**given, **held}, flops=flops, params=params))

    def _measured_shares(self, place: int, network: Network) -> dict[str, float]:
        """Returns the measured limits that a stage is held to, as shares of the model that it begins with."""
        before = self._run.read_json("before")["measurements"]
        limits = self._held(place, before)
        now = before if not place else measurements_of(network, self._budget.part(limits))
        return {metric: min(1.0, limit / now[metric]) for metric, limit in limits.items() if now[metric]}

    def _held(self, place: int, before: Mapping[str, float]) -> dict[str, float]:
        """Returns the measured limits that a stage is held to; the size that is planned by another file is none."""
        limits = measured_limits_of(place, self._shares, self._methods, self._budget, before)
        return limits if self._last is None else {name: limit for name, limit in limits.items() if name != FILE}

    def _checked_model(self, place: int, whole: Task) -> Task:
        """Checks a stage against the model that is given, and returns its task there.

        Of a later stage the limits are as far as it could come by itself: what earlier stages leave is not known yet.
        """
        method, limits = self._methods[place], self._limits[place]
        control = self._control(place, whole.control)
        with self._named(place):
            lowered = [metric for metric in self._budget if place in stages_for(metric, self._methods)]
            method.budget(self._budget.part([] if is_of_weights(method) and not limits else lowered))
            least = method.least(whole.costs, control)
            if not place:
                limits = self._relaxed(place, least)
                if limits:
                    check_budget(method, self._budget_of(place, limits), whole.costs, control)
            else:
                for metric, limit in limits.items():
                    if (bound := self._bound(metric, place, control)) is not None:
                        check_budget(method, self._budget_of(place, {metric: limit}), whole.costs, bound)
                limits = {metric: max(limit, least[metric]) for metric, limit in limits.items()}
            if not limits and not is_of_weights(method):  # all that it is held to is measured
                limits = {"macs": self._total.macs}
            task = dataclasses.replace(whole, budget=self._budget_of(place, limits), control=control, said=[])
            method.check_model(task)
        return task

    def _bound(self, metric: str, place: int, control: Control) -> Control | None:
        """Returns the control under which the original's least cost bounds what a later stage can reach, if it does.

        If nothing lowers a metric before, it is the stage's own. Where only channels go before, the fewest channels of
        all stages together are those of the original; limits of ratios hold in each stage anew. Which layers will be
        left is not known.
        """
        able = [self._methods[each] for each in stages_for(metric, self._methods) if each <= place]
        if len(able) == 1:
            return control
        whole = control.part(name for name in obeyed(able[-1]) if name != "ratio_limits")
        return whole if all(each.kind == "channels" for each in able) else None

    def _relaxed(self, place: int, least: Any) -> dict[str, int]:
        """Returns the limits of a stage, without what it cannot reach, which is left to later stages.

        A share that was given, and the limit of the last stage that can lower a metric, stay as they are.
        """
        limits = dict(self._limits[place])
        for metric, limit in limits.items():
            is_last = stages_for(metric, self._methods)[-1] == place
            if self._shares[place] is None and not is_last:
                limits[metric] = min(max(limit, least[metric]), self._total[metric])
        self._limits[place] = limits
        return limits

    def _begun(self, whole: Task, tasks: Sequence[Task]) -> list[str]:
        """Fits the stages to the time, shows the header of the flow, and returns notes on it."""
        call = self._call
        before = self._run.read_json("before")["measurements"]
        held = [self._held(place, before) for place in range(len(self._methods))]
        words = words_for_split(self._limits, self._methods, self._total, held, before)
        notes = [f"stages: {words}"]
        if whole.limits:
            notes.append(f"whole budget: at most {as_budget(whole.limits)}")
        is_shown = call.progress.verbose and not self._run.is_finished
        step = measured_step(self._methods[0], tasks[0]) if call.time_s is not None or is_shown else None
        if call.time_s is not None:
            self._methods, said = fitted_methods(self._methods, tasks, step, call.time_s, self._run)
            notes += said
        if call.progress.verbose:
            call.progress.header(lines_of(call.original, whole, self._methods, tasks, words, step))
        if long := long_run(self._methods, tasks, step):
            notes.append(long)
            call.progress.note(long)
        return notes

    # Stage by stage.

    def _finished(self, whole: Task, measurements: Mapping[str, float], notes: Sequence[str]) -> Result:
        call, stages = self._call, []
        plans: list[Plan] = []
        results: list[Result] = []
        for place, method in enumerate(self._methods):
            with self._named(place):
                result = self._stage(place, method, call)
            stages.append(stage_of(result, self._limits[place], self._seconds[place]))
            results = [*results[:1], result]  # the first one knows the original
            if place < len(self._methods) - 1:
                # Weights that later stages trained on are not in the file of the result: it is built, then read over.
                own = result.trail.of_layers(tuple(call.original.graph.operations)).ending_with("fresh")
                plans += own.plans
                call = self._after(call, result)
        return self._result(whole, measurements, results, stages, plans, notes)

    def _after(self, call: Call, result: Result) -> Call:
        """Returns the call with the model that a stage left."""
        network = Network(result.model, self._call.control.through_norms)
        as_given = network.graph
        if call.input_shape is not None:
            network = Network(given_with_shape(result.model, call.input_shape), self._call.control.through_norms)
        return dataclasses.replace(
            call,
            original=network,
            as_given=as_given,
            notes=(),
            first_of_flow=call.first_of_flow or self._call.original,
            shown=call.shown | set(result.notes),
        )

    def _stage(self, place: int, method: Method, call: Call) -> Result:
        """Runs a stage, or reads its result if it was finished before and others follow it."""
        label, number, run = label_of(place + 1, method), len(self._methods), self._run
        folder = None if run.path is None else run.path / "stages" / label
        control = self._control(place, call.control)
        if place:  # layers that the user named may be gone
            control = control.left_in(call.original.groups)
            self._relaxed(place, method.least(call.original.costs, control))
        known = run.recall(f"seconds of {label}", call.progress.note)
        if folder is not None and place < number - 1 and (result := _read(folder, call)) is not None:
            call.progress.note(f"stage {place + 1} of {number}, {method.name}: finished before, taken from its folder")
            self._seconds.append(known)
            return result
        held = run.recall(f"limits of {label}", call.progress.note)
        if held is None and (held := self._measured_shares(place, call.original)) and place:
            run.write_json(f"limits of {label}", held)  # in another call other numbers are measured
        budget = self._budget_of(place, self._limits[place], held)
        # Read anew, as its costs may have other columns under the limits of this stage.
        network = Network(call.original.model, call.original.through_norms)
        title = f"{place + 1} of {number}: {method.name}"
        turn = dataclasses.replace(call, original=network, control=control, turn=title)
        since = time.monotonic()
        try:
            result = self._run_one(turn, method, budget, folder)
        except LimitMissed as missed:  # in the words of the whole budget
            before = run.read_json("before")["measurements"]
            self._budget.part(missed.measured).check_measured(before, missed.measured, missed.model)
            raise
        seconds = time.monotonic() - since
        if known is None:
            run.write_json(f"seconds of {label}", seconds)
        self._seconds.append(seconds if known is None else known)
        return result

    def _result(
        self,
        whole: Task,
        measurements: Mapping[str, float],
        results: Sequence[Result],
        stages: Sequence[FinishedStage],
        plans: Sequence[Plan],
        notes: Sequence[str],
    ) -> Result:
        """Returns the result of all stages, checked against the whole budget, and saved in the run folder."""
        first, last = results[0], results[-1]
        self._call.progress.doing("measuring the result")
        cost = last.after.cost
        whole.check_finished(cost)
        student = of_one_size(last.model, last.calibration)
        # What changes weights alone is measured by the file that it made.
        of_file = dict(last.after.on_device) if is_of_weights(self._methods[-1]) else {}
        if last.files:
            of_file[FILE] = float(len(next(iter(last.files.values()))))
        now = {metric: of_file[metric] for metric in self._budget.measured if metric in of_file}
        now |= measurements_of(student, self._budget.part(set(self._budget.measured) - set(now)))
        self._budget.check_measured(measurements, now, last.model)
        before = dataclasses.replace(first.before, measurements=dict(measurements))
        after = dataclasses.replace(last.after, measurements=now)
        if not is_of_weights(self._methods[-1]):
            before, after = on_one_machine(whole.model, student, before, after)
        result = merged(
            last=last,
            stages=stages,
            plans=plans,
            methods=self._methods,
            before=before,
            after=after,
            layers_before=first.layers_before,
            layers=tuple(whole.whole.graph.operations),
            budget=self._budget,
            control=self._call.control,
            shares=self._shares,
            notes=notes,
        )
        if isinstance(self._run, RunFolder):
            with self._run.room(result.after.bytes):
                result.save(self._run.result)
        return result

    @contextlib.contextmanager
    def _named(self, place: int) -> Iterator[None]:
        """Says in an error which stage refuses."""
        try:
            yield
        except (TypeError, ValueError) as error:
            method, number = self._methods[place], len(self._methods)
            before = f", which begins with what {self._methods[place - 1].name!r} leaves" if place else ""
            words = f" Said by stage {place + 1} of {number}, {method.name!r}{before}."
            if INT8_FILE in str(error):
                last = self._methods[-1].name
                words += f" {INT8_FILE!r} is the size of the file that {last!r} leaves, by {self._budget.said(FILE)}."
            if type(error) not in (TypeError, ValueError, WrongType):
                raise  # which may not be made again from its text
            raise type(error)(f"{error}{words}") from error


def _with_data(task: Task, whole: Task) -> Task:
    """Returns the task of a stage with the data of the flow."""
    parts = {name: getattr(whole, name) for name in ("splits", "objective", "accuracy", "chance", "luck")}
    return dataclasses.replace(task, **parts, said=[])


def _read(folder: Any, call: Call) -> Result | None:
    """Returns the result of a finished stage; `None` if there is none, or if it cannot be read."""
    if not (folder / "result").is_dir():
        return None
    for source in (call.original.model, None):
        # Built from its source it has the layer names of this process, and classes that Keras does not know.
        with contextlib.suppress(ValueError, TypeError, FileNotFoundError):
            return Result.load(folder, source)
    return None
