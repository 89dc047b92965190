"""`Budget`: upper limits for the cost of the finished model."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

import keras

from tfcompress import expect
from tfcompress.costs.counts import Cost
from tfcompress.costs.metrics import LOOKED_UP, Measure, Metric, columns, metric_of, registered_metrics

__all__ = ["ADVICE", "Budget", "LimitMissed", "as_budget", "share_that_reaches", "shown"]

# What a message says of a limit below what can be reached, where a method says nothing else.
ADVICE = "tfcompress.inspect(model) shows what cannot be pruned, and why."
_FLOPS, _PARAMS, _LATENCY, _SIZE = "flops_budget", "params_budget", "latency_budget", "size_budget"
_LATENCY_MS = "latency_ms"


class LimitMissed(RuntimeError):
    """The finished student exceeds the budget when measured.

    Attributes:
        model: the student, trained.
        measured: `{metric: number}`.
    """

    def __init__(self, message: str, model: keras.Model, measured: Mapping[str, float]) -> None:
        super().__init__(message)
        self.model = model
        self.measured = measured


class Budget(Mapping[str, float | int]):
    """Upper limits for a model's cost: one for each limited metric.

    Methods plan for the limits of metrics with terms; limits of measured metrics are checked on the finished model.

    A limit is a share of the original (a float, `0 < share <= 1`) or an absolute number (an int above 1). It is read
    like a dictionary: `Budget({"macs": 0.5})["macs"]`. Budgets with equal limits are equal.

    Args:
        limits: `{metric: limit}` of "macs", "params", "bytes" and metrics registered with
            `tfcompress.costs.register_metric`; or another budget.
        flops: the limit of "macs" in FLOPs, of which two are one MAC.
        params: the limit of "params".
        latency: the limit of "latency_ms", which is measured, and planned for by a table of operators.
        size: the limit of "file_bytes", the size of the float32 TFLite file, which is planned and measured.

    Raises:
        TypeError: not a mapping, or not a number.
        ValueError: an unknown metric, a metric twice, a number out of range, or the whole number 1, which may mean
            either form.
    """

    def __init__(
        self,
        limits: Mapping[str, float | int] | None = None,
        *,
        flops: float | int | None = None,
        params: float | int | None = None,
        latency: float | int | None = None,
        size: float | int | None = None,
    ) -> None:
        what = "a mapping from metrics to limits, such as {'macs': 0.5, 'params': 100_000}"
        expect.instance("budget", limits, Mapping, what, or_none=True)
        self._limits: dict[str, float | int] = {}
        self._said: dict[str, tuple[str, float | int]] = {}  # each limit as it was given, for messages
        self._metrics: dict[str, Metric] = {}
        self._reserve: dict[str, int] = dict(limits._reserve) if isinstance(limits, Budget) else {}
        self._scale: float | None = None  # of a limit of latency, where that is planned
        given = limits or {}
        for metric, limit in given.items():
            if metric not in registered_metrics() and metric not in columns():
                hint = "Two FLOPs are one MAC: limit 'macs', or" if metric == "flops" else "To add a metric,"
                named = f"metrics, of {tuple(registered_metrics())}"
                expect.refuse("budget", named, metric, f"{hint} see tfcompress.costs.register_metric.")
            said = given._said[metric] if isinstance(given, Budget) else (f"budget[{metric!r}]", limit)
            self._add(metric, *said)
        for name, metric, value in (
            (_FLOPS, "macs", flops),
            (_PARAMS, "params", params),
            (_LATENCY, _LATENCY_MS, latency),
            (_SIZE, "file_bytes", size),
        ):
            if value is not None:
                self._add(metric, name, value)

    def _add(self, metric: str, name: str, value: float | int) -> None:
        self._metrics[metric] = metric_of(metric)
        unit = "FLOPs" if name == _FLOPS else self._metrics[metric].unit
        checked = expect.share_or_count(name, value, unit)
        if metric in self._limits:
            raise ValueError(
                f"Expected one limit for each metric. Received: {self.said(metric)} and {name}={checked!r}. Give one."
            )
        self._said[metric] = name, checked
        self._limits[metric] = checked // 2 if name == _FLOPS and isinstance(checked, int) else checked

    def __getitem__(self, metric: str) -> float | int:
        return self._limits[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(self._limits)

    def __len__(self) -> int:
        return len(self._limits)

    def __hash__(self) -> int:
        return hash(frozenset(self._limits.items()))

    def __repr__(self) -> str:
        return f"Budget({self._limits})"

    def part(self, metrics: Iterable[str]) -> Budget:
        """Returns the budget with the limits of these metrics alone, as they were given."""
        part, kept = Budget(), set(metrics)
        for metric, (name, value) in self._said.items():
            if metric in kept:
                part._add(metric, name, value)
        part._reserve = {metric: number for metric, number in self._reserve.items() if metric in kept}
        return part

    def reserving(self, more: Mapping[str, int]) -> Budget:
        """Returns the same limits, planned for with so much less, as a finished model may measure more than its plan.

        Args:
            more: for planned metrics a number in the unit of `Cost`, added to what is reserved already.
        """
        budget = copy.copy(self)
        budget._reserve = self._reserve | {name: self._reserve.get(name, 0) + number for name, number in more.items()}
        return budget

    def said(self, metric: str) -> str:
        """Returns the limit of a metric as it was given, such as "flops_budget=0.5"."""
        name, value = self._said[_of_column(metric)]
        return f"{name}={value!r}"

    def with_latency_planned(self, measure: Measure | None, scale: float = 1.0) -> Budget:
        """Returns the budget with the limit of latency as one that methods plan for, by the column "latency_ns".

        Args:
            measure: measures the latency of a finished model in milliseconds, to be checked; `None` if the device is
                another one, where nothing can be measured.
            scale: what is planned for, as a share of the limit; see `docs/latency.md`.
        """
        budget = copy.copy(self)
        latency = self._metrics[_LATENCY_MS]
        budget._metrics = {**self._metrics, _LATENCY_MS: dataclasses.replace(latency, measure=measure)}
        budget._scale = scale
        return budget

    def only_measuring(self, metric: str) -> Budget:
        """Returns the budget with the limit of a measured metric as one that is checked and not planned for."""
        budget = copy.copy(self)
        budget._metrics = {**self._metrics, metric: dataclasses.replace(self._metrics[metric], is_planned=False)}
        return budget

    def tighter(self, factor: float) -> Budget:
        """Returns the budget with as much less latency planned for; its limit stays."""
        return self.with_latency_planned(self._metrics[_LATENCY_MS].measure, (self._scale or 1.0) * factor)

    @property
    def scale(self) -> float | None:
        """The share of a limit of latency that is planned for; `None` if latency is not planned for."""
        return self._scale

    @property
    def plans_latency(self) -> bool:
        """Whether latency is planned for."""
        return self._scale is not None

    def asked(self, metric: str, cost: Cost, total: Cost) -> str:
        """Returns the limit of a metric that would allow a cost, such as "flops_budget=0.5001".

        Args:
            metric: a limited and planned metric.
            cost: the cost to allow.
            total: cost of the original.
        """
        name, value = self._said[_of_column(metric)]
        if isinstance(value, float):
            return f"{name}={share_that_reaches(cost[metric], total[metric])}"
        return f"{name}={math.ceil(cost[metric] * (2 if name == _FLOPS else 1) / metric_of(metric).per_unit)}"

    @property
    def planned(self) -> tuple[str, ...]:
        """The limited metrics that are columns of a cost, which is known for any plan."""
        planned = tuple(name for name in self if name not in self.only_measured and name != _LATENCY_MS)
        return (*planned, *[LOOKED_UP] * self.plans_latency)

    def is_planned(self, metric: str) -> bool:
        """Whether methods plan for a limited metric."""
        return self.plans_latency if metric == _LATENCY_MS else metric in self.planned

    @property
    def measured(self) -> tuple[str, ...]:
        """The limited metrics that are measured on a finished model, whether or not they are planned too."""
        return tuple(name for name in self if self._metrics[name].measure is not None)

    @property
    def only_measured(self) -> tuple[str, ...]:
        """The limited metrics that are measured on a finished model and cannot be planned."""
        return tuple(name for name in self.measured if not self._metrics[name].is_planned)

    def measure(
        self, model: keras.Model, known: Mapping[str, float] | None = None, names: Iterable[str] | None = None
    ) -> dict[str, float]:
        """Measures the limited metrics of a model that are measured: `{metric: number}`.

        Args:
            model: the model.
            known: numbers that were measured already.
            names: those of `measured` that are asked for; all by default.

        Raises:
            TypeError, ValueError: a number is not a valid cost; or an error of the functions.
        """
        known = known or {}
        asked = self.measured if names is None else names
        return {name: known[name] if name in known else self._metrics[name].of(model) for name in asked}

    def measured_limits(self, before: Mapping[str, float]) -> dict[str, float]:
        """Returns the limits of the measured metrics.

        Args:
            before: result of `measure` for the original.

        Returns:
            `{metric: limit}`.

        Raises:
            ValueError: a limit is a share of a metric that was not measured for the original.
        """
        limits = {name: self._limits[name] for name in self.measured}
        for name in limits.keys() - before.keys():
            if isinstance(limits[name], float):
                raise ValueError(
                    f"Expected an absolute limit of {name!r}, for which the original was not measured. Received: "
                    f"{self.said(name)}. Write a whole number of {self._metrics[name].unit}."
                )
        return {name: limit * before[name] if isinstance(limit, float) else limit for name, limit in limits.items()}

    def check_measured(self, before: Mapping[str, float], after: Mapping[str, float], student: keras.Model) -> None:
        """Checks a finished student against the limits of measured metrics.

        Args:
            before: result of `measure` for the original.
            after: result of `measure` for the student.
            student: the finished model.

        Raises:
            LimitMissed: a number is above its limit.
        """
        for name, limit in self.measured_limits(before).items():
            if name in after and after[name] > limit:
                unit = self._metrics[name].unit
                less = " and ".join(map(self.said, self.planned or self.measured))
                whole = before.get(name)
                share = f", {after[name] / whole:.4f} of the original's" if whole else ""
                how = (
                    "It was planned for, and measures more" if self.is_planned(name) else "It is measured, not planned"
                )
                raise LimitMissed(
                    f"Expected a finished student of at most {shown(limit)} {unit}: {self.said(name)}. Received: "
                    f"{shown(after[name])} {unit}{share}. {how}: ask for less "
                    f"than {less}. The student is the `model` of this error.",
                    student,
                    dict(after),
                )

    def limits(self, total: Cost) -> dict[str, int]:
        """Returns the limits of the planned metrics of the finished model, in the units of `Cost`.

        Args:
            total: cost of the original.

        Returns:
            `{metric: limit}` of the limited metrics; none is above the original.
        """
        return {
            metric: total[metric] if limit >= total[metric] else limit - self._reserve.get(metric, 0)
            for metric, limit in ((metric, self._limit(metric, total)) for metric in self.planned)
        }

    def _limit(self, metric: str, total: Cost) -> int:
        value = self._limits[_of_column(metric)]
        scale = Fraction(self._scale or 1) if metric == LOOKED_UP else Fraction(1)
        # A share as it is written: in floats, 0.29 * 100 is below 29.
        number = (
            Fraction(str(value)) * total[metric] if isinstance(value, float) else value * metric_of(metric).per_unit
        )
        return math.floor(number * scale)

    def check_reachable(self, total: Cost, least: Cost, advice: str = ADVICE) -> None:
        """Refuses a limit that cannot be reached.

        Args:
            total: cost of the original.
            least: the lowest cost that can be reached.
            advice: advice for the message.

        Raises:
            ValueError: a limit is below `least`; the message gives the smallest share that is accepted.
        """
        for metric in self.planned:
            needed = min(least[metric] + self._reserve.get(metric, 0), total[metric])
            if self._limit(metric, total) < needed:
                name, _ = self._said[_of_column(metric)]
                amounts = [as_budget({metric: number}, name != _FLOPS) for number in (needed, total[metric])]
                raise ValueError(
                    f"Expected a {name} that can be reached: at least "
                    f"{share_that_reaches(needed, total[metric])} of the "
                    f"original ({amounts[0].split(' ')[0]} of {amounts[1]}). Received: "
                    f"{self.said(metric)}. {advice}"
                )


def shown(number: float) -> str:
    """Returns a measured number as text."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def share_that_reaches(least: int, whole: int) -> str:
    """Returns a share as text, rounded up so that a budget of the printed number allows it."""
    return f"{math.ceil(Fraction(least, whole) * 10**4) / 1e4:.4f}"


def as_budget(costs: Mapping[str, int], in_macs: bool = False) -> str:
    """Returns limits or costs in the units of budgets, such as "1,334 FLOPs and 250 parameters".

    Args:
        costs: `{metric: number}`.
        in_macs: whether multiply-adds are given as such, and not as two FLOPs each.
    """
    flops = Metric("flops", None, "FLOPs")
    return " and ".join(
        flops.shown(2 * number) if metric == "macs" and not in_macs else metric_of(metric).shown(number)
        for metric, number in costs.items()
    )


def _of_column(metric: str) -> str:
    """Returns the metric that is limited, for a column."""
    return _LATENCY_MS if metric == LOOKED_UP else metric
