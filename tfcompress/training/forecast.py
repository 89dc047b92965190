"""Estimates the time of a run's phases: first by a step timed beforehand, then by their own epochs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Forecast", "PhasePlan", "StepTime", "duration"]

_RECENT = 5


class PhasePlan(NamedTuple):
    """A phase of a run to come.

    Attributes:
        name: its name on the screen.
        epochs: number of epochs.
        cost: time of one epoch relative to the other phases.
        extra: work besides training (an agent's episodes), in epochs of its training.
        unit: unit of its steps, if that is not an epoch: "group".
        builds: number of networks to compile, each of which takes as long as the first step.
    """

    name: str
    epochs: int
    cost: float = 1.0
    extra: float = 0.0
    unit: str = "epoch"
    builds: float = 1.0


class StepTime(NamedTuple):
    """The time of training the whole network, measured before a run.

    Attributes:
        epoch_s: seconds of one epoch, for a phase of cost 1.
        compile_s: seconds of compiling, once for each network that is trained.
    """

    epoch_s: float
    compile_s: float


class Forecast:
    """Estimates the time left, in seconds.

    Args:
        phases: the phases of the run, in their order.
        measured: the time of an epoch, if it is known before the first one.

    Attributes:
        phase: the phase that the run is in.
        done: number of its finished epochs.

    Raises:
        ValueError: a cost is not above 0.
    """

    def __init__(self, phases: Iterable[PhasePlan] = (), measured: StepTime | None = None) -> None:
        self._phases = list(phases)
        for phase in self._phases:
            if not phase.cost > 0:
                raise ValueError(f"Expected the cost of an epoch to be above 0. Received: {phase}")
        self._measured = measured
        self.phase = PhasePlan("", 0)
        self.done = self._from = 0
        self._took: list[float] = []
        self._by_steps: float | None = None

    def begin(self, name: str, epochs: int, done: int) -> None:
        """Begins a phase, or continues it after `done` epochs."""
        planned = [phase for phase in self._phases if phase.name == name]
        self.phase = planned[0]._replace(epochs=epochs) if planned else PhasePlan(name, epochs)
        self._phases = [self.phase if phase.name == name else phase for phase in self._phases]
        self.done, self._from, self._took, self._by_steps = done, done, [], None

    def by_steps(self, seconds: float) -> None:
        """Estimates an epoch of this phase at `seconds`, from its first steps."""
        self._by_steps = seconds

    def took(self, seconds: float, done: int, compiled: bool = False) -> None:
        """Records that an epoch took `seconds`, including compiling if `compiled`; `done` epochs are finished."""
        self.done = done
        if not compiled or self._measured is None:
            self._took.append(seconds)

    @property
    def epoch_s(self) -> float | None:
        """Seconds of an epoch of this phase; `None` if unknown."""
        if self._took:
            # The first epoch is the odd one; once there are others it does not count.
            recent = self._took[1:][-_RECENT:] or self._took
            return sum(recent) / len(recent)
        if self._by_steps is not None or self._measured is None or not self.phase.epochs:
            return self._by_steps
        return self._measured.epoch_s * _work(self.phase) / self.phase.epochs

    def left(self, share: float = 0.0, elapsed: float = 0.0) -> tuple[float, float] | None:
        """Returns the seconds left of this phase and of the whole run; `None` if unknown.

        Args:
            share: finished share of the present epoch.
            elapsed: seconds since it began.
        """
        epoch_s = self.epoch_s
        if epoch_s is None:
            return None
        of_phase = max(self.phase.epochs - self.done - share, 0.0) * epoch_s
        if not self._took and self._by_steps is None and self._measured is not None:
            is_first = self.done == self._from
            builds = self.phase.builds if is_first else (self.phase.builds - 1) * (1 - self.done / self.phase.epochs)
            of_phase += max(builds * self._measured.compile_s - elapsed * is_first, 0.0)
        return of_phase, of_phase + sum(self._later(epoch_s).values())

    def parts(self, epoch_s: float) -> dict[PhasePlan, float]:
        """Returns the seconds left by phase, if an epoch of this phase takes `epoch_s` without its extra."""
        left = self.phase.epochs - self.done
        share = left / self.phase.epochs if self.phase.epochs else 0.0
        now = {self.phase._replace(epochs=left): _work(self.phase) * share * epoch_s / self.phase.cost}
        return {**now, **self._later(epoch_s)}

    def whole(self) -> dict[PhasePlan, float] | None:
        """Returns the seconds by phase of a whole run, including compiling, from the time measured beforehand."""
        if self._measured is None:
            return None
        epoch_s, compile_s = self._measured
        return {phase: _work(phase) * epoch_s + phase.builds * compile_s for phase in self._phases if phase.epochs}

    @property
    def is_at_the_beginning(self) -> bool:
        """Whether the run starts from nothing."""
        return self.done <= 1 and bool(self._phases) and self._phases[0].name == self.phase.name

    def work(self) -> float:
        """Returns the work of the whole run, in epochs of cost 1."""
        return sum(map(_work, self._phases))

    def _later(self, epoch_s: float) -> dict[PhasePlan, float]:
        """Returns the seconds of the later phases."""
        names = [phase.name for phase in self._phases]
        if self.phase.name not in names:
            return {}
        later = self._phases[names.index(self.phase.name) + 1 :]
        epoch_of_one, compile_s = epoch_s / self.phase.cost, 0.0
        if self._measured is not None:
            compile_s = self._measured.compile_s
            if self.phase.unit != "epoch":  # rounds of episodes say little of the time that training takes
                epoch_of_one = self._measured.epoch_s
        return {phase: _work(phase) * epoch_of_one + phase.builds * compile_s for phase in later}


def _work(phase: PhasePlan) -> float:
    """Returns the work of a phase, in epochs of cost 1."""
    return (phase.epochs + phase.extra) * phase.cost


def duration(seconds: float) -> str:
    """Returns a time as `2 h 10 min`, `3 min 20 s`, `12 s`, `0.4 s`: two units at most."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    total = round(seconds)
    days, hours, minutes = total // 86400, total // 3600 % 24, total // 60 % 60
    for large, small, units in ((days, hours, "d h"), (hours, minutes, "h min"), (minutes, total % 60, "min s")):
        if large:
            first, second = units.split()
            return f"{large} {first} {small} {second}"
    return f"{total} s"
