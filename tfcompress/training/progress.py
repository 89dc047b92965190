"""The display of a long run: phase, epoch, values, time left, and after its first steps the time of all of it."""

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TextIO

from tfcompress import expect

__all__ = ["PhasePlan", "Progress", "duration"]

_REFRESH_S = 0.5
_STEPS_TO_ESTIMATE = 5


class PhasePlan(NamedTuple):
    """A phase that a run will have.

    Attributes:
        name: as it is shown.
        epochs: their number.
        cost: how long one epoch takes, relative to the other phases.
        extra: what the phase does besides training (an agent's episodes), in epochs of its training.
        unit: what its steps are counted in, where that is no epoch: "group".
    """

    name: str
    epochs: int
    cost: float = 1.0
    extra: float = 0.0
    unit: str = "epoch"


class Progress:
    """Says in plain text how far a run is.

    `plan` declares the phases up front, so that the first few steps of the first phase give an estimate of the whole
    run. Keras callbacks of the caller add values to what is shown by putting them into the `logs` of `on_epoch_end`.

    Args:
        verbose: 0: nothing; 1: a line that is updated in a terminal, one line an epoch elsewhere; 2: one line an epoch.
        stream: where to; standard output by default. A program may have none (`sys.stdout` is None): then nothing is
            shown. One that does not say whether it is a terminal is taken for a file.
        clock: gives seconds; `time.monotonic` by default.
    """

    def __init__(
        self, verbose: int = 1, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.verbose: int = expect.one_of("verbose", verbose, (0, 1, 2), what="0, 1 or 2")
        self._stream: Any = sys.stdout if stream is None else stream
        if self._stream is None:
            self.verbose = 0
        self._clock = clock
        self._updates = self.verbose == 1 and _is_terminal(self._stream)
        self._line = ""
        self._refreshed = -math.inf
        self._phases: list[PhasePlan] = []
        self._said = ""
        self._faster: tuple[str, float] | None = None
        self._estimated = False
        self._phase = PhasePlan("", 0)
        self._done = 0
        self._steps: int | None = None
        self._epoch_start = 0.0
        self._timed_from: tuple[int, float] | None = None  # a step behind the first one, and when it ended
        self._epoch_seconds: list[float] = []

    def plan(
        self,
        phases: Iterable[PhasePlan | tuple[str, int] | tuple[str, int, float]],
        said: str = "",
        faster: tuple[str, float] | None = None,
    ) -> None:
        """Declares the phases of the run, in their order.

        Args:
            phases: the phases.
            said: what the run is, in words, before its estimated time.
            faster: another way to do it in words, and the share of the time that it would take.

        Raises:
            ValueError: for a cost that is not above 0.
        """
        self._phases = [PhasePlan(*phase) for phase in phases]
        self._said, self._faster = said, faster
        for phase in self._phases:
            if not phase.cost > 0:
                raise ValueError(f"Expected the cost of an epoch to be above 0. Received: {phase}")

    def begin(self, name: str, epochs: int, steps: int | None = None, done: int = 0) -> None:
        """A phase begins, or goes on after `done` epochs.

        Args:
            name: of the phase.
            epochs: of the whole phase.
            steps: training steps in one epoch, where known.
            done: epochs that an interrupted run has finished.
        """
        planned = [phase for phase in self._phases if phase.name == name]
        self._phase = planned[0]._replace(epochs=epochs) if planned else PhasePlan(name, epochs)
        self._phases = [self._phase if phase.name == name else phase for phase in self._phases]
        self._done, self._steps, self._epoch_seconds = done, steps, []
        self._epoch_start, self._timed_from = self._clock(), None
        if done >= epochs:
            self.note(f"{name}: its {self._phase.unit}s were finished before")
            return
        unit = self._phase.unit
        where = f"going on with {unit} {done + 1}" if done else f"{unit} 1"
        self.note(f"{name}: {where} of {epochs}, preparing (the first step compiles, it takes longer)")

    def skip(self, name: str) -> None:
        """A phase was finished by the run that this one continues."""
        self.note(f"{name}: finished before, taken from the run folder")

    def due(self, step: int) -> bool:
        """Whether `step` should be called now, with values, which may have to be fetched from a device."""
        if self.verbose == 0:
            return False
        if self._timed_from is None:
            return True
        if not self._estimated and step - self._timed_from[0] >= _STEPS_TO_ESTIMATE:
            return True
        return self._updates and self._clock() - self._refreshed >= _REFRESH_S

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """`step` steps of the epoch are done."""
        now = self._clock()
        first, since = self._timed_from = self._timed_from or (step, now)
        if not self._estimated and step - first >= _STEPS_TO_ESTIMATE and self._steps:
            self._estimate(self._steps * (now - since) / (step - first))
        if self._updates:
            self._refreshed = now
            of = f"/{self._steps}" if self._steps else ""
            self._update(f"{self._head(self._done + 1)}  step {step}{of}  {_values(values)}{self._left()}")

    def epoch_done(self, done: int, values: Mapping[str, float]) -> None:
        """`done` epochs of the phase are finished."""
        now = self._clock()
        seconds = now - self._epoch_start
        if not self._epoch_seconds and self._timed_from and self._steps and self._steps > self._timed_from[0]:
            # Of the first epoch, which compiles, only what came after its first step tells how long the others take.
            first, since = self._timed_from
            seconds = (now - since) * self._steps / (self._steps - first)
        self._epoch_seconds.append(seconds)
        self._epoch_start, self._done = now, done
        if not self._estimated:
            self._estimate(seconds)
        line = f"{self._head(done)}  {_values(values)}  {duration(seconds)} {self._each()}{self._left()}"
        if self._updates:
            self._update(line)
        else:
            self._print(line)

    def doing(self, text: str) -> None:
        """Says what is going on where it takes some seconds; only a terminal shows it."""
        if self._updates:
            self._update(f"{self._head(self._done + 1)}  {text}")

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        if self._line:
            self._write("\r\x1b[K")
            self._line = ""
        self._print(text)

    def end(self) -> None:
        """The phase is over: its last line stays."""
        if self._line:
            self._write("\n")
            self._line = ""

    def _head(self, epoch: int) -> str:
        return f"{self._phase.name}  {self._phase.unit} {epoch}/{self._phase.epochs}"

    def _each(self) -> str:
        return f"{'an' if self._phase.unit[0] in 'aeiou' else 'a'} {self._phase.unit}"

    def _later(self) -> list[PhasePlan]:
        names = [phase.name for phase in self._phases]
        return self._phases[names.index(self._phase.name) + 1 :] if self._phase.name in names else []

    def _left(self) -> str:
        if not self._epoch_seconds:
            return ""
        # The first epoch is the odd one; once there are others it does not count.
        recent = self._epoch_seconds[1:][-5:] or self._epoch_seconds
        epoch_seconds = sum(recent) / len(recent)
        phase = (self._phase.epochs - self._done) * epoch_seconds
        later = sum(phase.epochs * phase.cost for phase in self._later()) * epoch_seconds / self._phase.cost
        whole = f", of the whole run {duration(phase + later)}" if later else ""
        return f"  left {duration(phase)}{whole}"

    def _estimate(self, epoch_seconds: float) -> None:
        self._estimated = True
        parts, total = [], 0.0
        for phase in [self._phase, *self._later()]:
            epochs = phase.epochs - (self._done if phase is self._phase else 0)
            work = epochs * (1 + phase.extra / phase.epochs) if phase.epochs else 0.0
            seconds = work * epoch_seconds * phase.cost / self._phase.cost
            total += seconds
            parts.append(f"{phase.name} {epochs} {phase.unit}s ({duration(seconds)})")
        said = f"{self._said}: " if self._said else ""
        text = f"{said}about {duration(total)} to go: {', '.join(parts)}"
        if self._faster and len(parts) == len(self._phases) and self._done <= 1:  # a run from its beginning
            way, share = self._faster
            whole = sum((phase.epochs + phase.extra) * phase.cost for phase in self._phases)
            text = f"{text}; with {way} all in about {duration(share * whole * epoch_seconds / self._phase.cost)}"
        self.note(text)

    def _print(self, text: str) -> None:
        if self.verbose:
            self._write(text + "\n")

    def _update(self, text: str) -> None:
        # A line that wraps could not be overwritten.
        self._line = text[: shutil.get_terminal_size().columns - 1]
        self._write(f"\r{self._line}\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        if flush := getattr(self._stream, "flush", None):
            flush()


def _is_terminal(stream: Any) -> bool:
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and bool(isatty())


def duration(seconds: float) -> str:
    """`2 h 10 min`, `3 min 20 s`, `12 s`, `0.4 s`: two units at most."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    total = round(seconds)
    days, hours, minutes = total // 86400, total // 3600 % 24, total // 60 % 60
    for large, small, units in ((days, hours, "d h"), (hours, minutes, "h min"), (minutes, total % 60, "min s")):
        if large:
            first, second = units.split()
            return f"{large} {first} {small} {second}"
    return f"{total} s"


def _values(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {_number(value)}" for name, value in values.items())


def _number(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4f}"
    return f"{value:.3g}"
