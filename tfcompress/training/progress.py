"""The display of a long run: its header, its time, and one line of phase, epoch, time left and values."""

from __future__ import annotations

import math
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TextIO

from tfcompress import expect
from tfcompress.training.forecast import Forecast, PhasePlan, StepTime, duration
from tfcompress.training.screen import screen_of

__all__ = ["Progress", "words_for_parts"]

_REFRESH_S = 0.5
_TICK_S = 1.0
_SILENCE_S = 60.0  # after which a file is told what is going on
_SHOWN_S = 2.0  # from which on an activity says how long it has lasted
_STEPS_TO_ESTIMATE = 5
_WORTH_SAYING_S = 60.0
_FAR_OFF = 1.5  # by which factor an estimate may be wrong before that is said
_BAR, _LEAST_BAR = 10, 3
_NEEDED = 3  # parts of a line for which the bar gives way: time left, loss, metric
_WIDE = 200
_LABEL = 10  # columns of the labels of what is said first


class Progress:
    """Shows in plain text how far a run is.

    `plan` declares the phases up front, with the time of a step if it was measured; otherwise the first few steps of
    the first phase give an estimate for the whole run. The caller's Keras callbacks can show further values by putting
    them into the `logs` of `on_epoch_end`. Within `with progress:` a long activity shows signs of life: each second in
    place, once a minute in a file.

    Args:
        verbose: 0: nothing; 1: a line that is updated in a terminal or a notebook, elsewhere one line per epoch; 2: one
            line per epoch.
        stream: the output stream; standard output by default. If the program has none (`sys.stdout` is None), nothing
            is shown. A stream that does not say whether it is a terminal counts as a file.
        clock: returns seconds; `time.monotonic` by default.
    """

    def __init__(
        self, verbose: int = 1, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.verbose: int = expect.one_of("verbose", verbose, (0, 1, 2), what="0, 1 or 2")
        to: Any = sys.stdout if stream is None else stream
        if to is None:
            self.verbose = 0
        self._screen = screen_of(to, in_place=self.verbose == 1)
        self._updates = self.verbose == 1 and self._screen.updates
        self._clock = clock
        self._lock = threading.RLock()
        self._ticking: threading.Event | None = None
        self._refreshed = -math.inf
        self._shown_at = clock()  # when anything was shown
        self._forecast = Forecast()
        self._said = ""
        self._faster: tuple[str, float] | None = None
        self._estimated = False
        self._expected_s: float | None = None
        self._activity, self._since = "", clock()
        self._is_over = True  # the phase, or none has begun
        self._room = _BAR
        self._values: dict[str, float] = {}
        self._best = ""
        self._step = 0
        self._steps: int | None = None
        self._epoch_start = 0.0
        self._is_first = True  # of the epochs that this process trains in the phase
        self._timed_from: tuple[int, float] | None = None  # a step behind the first one, and when it ended

    def __enter__(self) -> Self:
        if self.verbose:
            self._ticking = threading.Event()
            threading.Thread(target=self._tick_until, args=(self._ticking,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._ticking is not None:
            self._ticking.set()
            self._ticking = None
        self.end()

    def plan(
        self,
        phases: Iterable[PhasePlan | tuple[str, int] | tuple[str, int, float]],
        said: str = "",
        faster: tuple[str, float] | None = None,
        measured: StepTime | None = None,
    ) -> None:
        """Declares the phases of the run, in their order.

        Args:
            phases: the phases.
            said: description of the run, shown before its estimated time.
            faster: another way to do it in words, and its share of the time.
            measured: the time of an epoch, if it was measured and shown before the first one.

        Raises:
            ValueError: a cost is not above 0.
        """
        self._forecast = Forecast([PhasePlan(*phase) for phase in phases], measured)
        self._said, self._faster = said, faster
        self._expected_s = None if measured is None else measured.epoch_s

    def header(self, lines: Mapping[str, str]) -> None:
        """Shows the header of the run before its first step: a line per label, wrapped to the width of the screen."""
        shown: list[str] = []
        for label, text in lines.items():
            head, columns = f"{label:<{_LABEL - 1}} ", self._screen.columns
            if columns is None:
                shown.append(head + text)
                continue
            indent = " " * _LABEL
            wrapper = textwrap.TextWrapper(max(columns, 40), initial_indent=head, subsequent_indent=indent)
            wrapper.break_on_hyphens = wrapper.break_long_words = False
            shown += wrapper.wrap(text)
        self._activity = ""
        self.note("\n".join(shown))

    def begin(self, name: str, epochs: int, steps: int | None = None, done: int = 0) -> None:
        """Begins a phase, or continues it after `done` epochs.

        Args:
            name: name of the phase.
            epochs: epochs of the whole phase.
            steps: training steps in one epoch, if known.
            done: epochs that an interrupted run has finished.
        """
        self._forecast.begin(name, epochs, done)
        self._steps, self._step, self._values, self._best, self._is_first = steps, 0, {}, "", True
        self._epoch_start, self._timed_from = self._clock(), None
        self._is_over, self._room = False, _BAR
        if done >= epochs:
            self.note(f"{name}: its {self._phase.unit}s were finished before")
            return
        unit = self._phase.unit
        where = f"going on with {unit} {done + 1}" if done else f"{unit} 1"
        if done or not self._updates:
            self.note(f"{name}: {where} of {epochs}, preparing (the first step compiles, it takes longer)")
        self.doing("preparing the first step")

    def skip(self, name: str) -> None:
        """Skips a phase that the continued run had finished."""
        self.note(f"{name}: finished before, taken from the run folder")

    def due(self, step: int) -> bool:
        """Whether `step` should be called now, with values that may have to be fetched from a device."""
        if self.verbose == 0:
            return False
        if self._timed_from is None:
            return True
        if not self._estimated and step - self._timed_from[0] >= _STEPS_TO_ESTIMATE:
            return True
        return self._updates and self._clock() - self._refreshed >= _REFRESH_S

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Records that `step` steps of the epoch are done."""
        now = self._clock()
        first, since = self._timed_from = self._timed_from or (step, now)
        if step > first and self._steps:
            self._forecast.by_steps(self._steps * (now - since) / (step - first))
        if not self._estimated and step - first >= _STEPS_TO_ESTIMATE and self._steps:
            self._estimate(self._steps * (now - since) / (step - first))
        with self._lock:
            self._step, self._activity = step, ""
            # Of an epoch that is not finished there is no validation: what the last one gave stays.
            self._values = {**self._values, **values}
            self._show(now)

    def epoch_done(self, done: int, values: Mapping[str, float], best: str = "") -> None:
        """Records that `done` epochs of the phase are finished.

        Args:
            done: number of epochs.
            values: values of the last epoch to show.
            best: name of the value that is the best so far, if there is one.
        """
        now = self._clock()
        seconds = now - self._epoch_start
        compiled = self._is_first
        if self._is_first and self._steps and self._timed_from:
            # Of the first epoch, which compiles, only what came after its first step tells how long the others take.
            first, since = self._timed_from
            if self._steps > first:
                seconds, compiled = (now - since) * self._steps / (self._steps - first), False
        self._is_first = False
        self._forecast.took(seconds, done, compiled)
        if not self._estimated and not (compiled and self._expected_s is not None):
            self._estimate(seconds)
        with self._lock:
            self._epoch_start, self._step, self._activity = now, 0, ""
            self._values, self._best = dict(values), best
            if self._updates:
                self._show(now, epoch=done)
            else:
                self._print(self._plain_line(done, seconds))

    def doing(self, text: str) -> None:
        """Shows the present activity if it takes some seconds; in a file only if it takes long."""
        if not self.verbose:
            return
        with self._lock:
            self._activity, self._since = text, self._clock()
            self._show(self._since)

    def tick(self) -> None:
        """Shows that the activity is still running; called each second by another thread."""
        with self._lock:
            now = self._clock()
            if not self._activity or not self.verbose:
                return
            if self._updates:
                if now - self._refreshed >= _TICK_S:
                    self._show(now)
            elif now - self._shown_at >= _SILENCE_S:
                self._print("  ".join(filter(None, (self._head(self._forecast.done + 1), self._doing(now)))))

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        with self._lock:
            self._print(text)

    def end(self) -> None:
        """Ends the phase: its last line stays, but no activity."""
        with self._lock:
            if self.verbose:
                if self._activity:
                    self._screen.clear()
                else:
                    self._screen.keep()
            self._activity, self._is_over = "", True

    def _tick_until(self, stop: threading.Event) -> None:
        while not stop.wait(_TICK_S):
            self.tick()

    @property
    def _phase(self) -> PhasePlan:
        return self._forecast.phase

    def _head(self, epoch: int) -> str:
        """Returns phase and epoch; empty between phases."""
        phase = self._phase
        return "" if self._is_over else f"{phase.name}  {phase.unit} {min(epoch, phase.epochs)}/{phase.epochs}"

    def _each(self) -> str:
        return f"{'an' if self._phase.unit[0] in 'aeiou' else 'a'} {self._phase.unit}"

    def _doing(self, now: float) -> str:
        """Returns the activity, and for how long it has been running."""
        lasted = now - self._since
        return f"{self._activity}, {duration(lasted)}" if lasted >= _SHOWN_S else self._activity

    def _share(self, now: float) -> float:
        """Returns the finished share of the epoch, from 0 to 1."""
        if self._steps:
            return min(self._step / self._steps, 1.0)
        epoch_s = self._forecast.epoch_s
        return min((now - self._epoch_start) / epoch_s, 1.0) if epoch_s else 0.0

    def _show(self, now: float, epoch: int | None = None) -> None:
        """Writes the temporary line: phase, epoch, bar, time left, and as many values as fit."""
        if not self._updates:
            return
        self._refreshed = self._shown_at = now
        share = 0.0 if epoch is not None else self._share(now)
        parts = [self._doing(now)] if self._activity else self._valued()
        if self._step and not self._activity:
            parts.append(f"step {self._step}{f'/{self._steps}' if self._steps else ''}")
        columns, phase = self._screen.columns or _WIDE, self._phase
        if self._is_over:
            self._screen.update("  ".join(parts)[:columns])
            return
        head = f"{phase.name} {min(self._forecast.done + (epoch is None), phase.epochs)}/{phase.epochs}"
        if left := self._forecast.left(share, now - self._epoch_start):
            parts.insert(0, f"left {_briefly(left[1])}")
        room = min(columns - len(_fitting([head, *parts[:_NEEDED]], columns)) - 3, self._room)
        if not self._activity:
            self._room = room  # a bar that changes its length with each number would flicker
        bar = _bar((self._forecast.done + share) / max(phase.epochs, 1), room)
        self._screen.update(_fitting([head + bar, *parts], columns))

    def _valued(self) -> list[str]:
        best = self._best
        return [f"{name} {_number(value)}{' (best)' * (name == best)}" for name, value in self._values.items()]

    def _plain_line(self, epoch: int, seconds: float) -> str:
        parts = [self._head(epoch)]
        if left := self._forecast.left():
            of_phase, of_run = left
            this = f" ({duration(of_phase)} of this phase)" if of_run > of_phase else ""
            parts.append(f"left {duration(of_run)}{this}")
        return "  ".join([*parts, *self._valued(), f"{duration(seconds)} {self._each()}"])

    def _estimate(self, epoch_s: float) -> None:
        """Prints the time of the whole run, or a corrected estimate."""
        self._estimated = True
        expected, per_cost = self._expected_s, epoch_s / self._phase.cost
        parts = self._forecast.parts(epoch_s)
        if expected is not None:
            by_then = self._forecast.parts(expected * self._phase.cost)
            whole, said_whole = sum(parts.values()), sum(by_then.values())
            far_off = not said_whole / _FAR_OFF <= whole <= said_whole * _FAR_OFF
            if not far_off or abs(whole - said_whole) < _WORTH_SAYING_S:
                return
        text = f"about {duration(sum(parts.values()))} to go: {words_for_parts(parts)}"
        if expected is not None:
            self.note(f"measured: {text}")
            return
        text = f"{self._said}: {text}" if self._said else text
        if self._faster and self._forecast.is_at_the_beginning:
            way, share = self._faster
            text = f"{text}; with {way} all in about {duration(share * self._forecast.work() * per_cost)}"
        self.note(text)

    def _print(self, text: str) -> None:
        if self.verbose:
            self._shown_at = self._clock()
            self._screen.line(text)


def words_for_parts(parts: Mapping[PhasePlan, float]) -> str:
    """Returns phases with their seconds, such as "search 15 rounds (5 min 0 s), fine-tuning 30 epochs (19 min 0 s)"."""
    return ", ".join(f"{phase.name} {phase.epochs} {phase.unit}s ({duration(s)})" for phase, s in parts.items())


def _fitting(parts: list[str], columns: int) -> str:
    """Returns the parts in one line, as many of the first ones as fit."""
    line = parts[0]
    for part in parts[1:]:
        if len(line) + 2 + len(part) > columns:
            break
        line = f"{line}  {part}"
    return line


def _bar(share: float, room: int) -> str:
    """Returns a bar after a space, such as " [###.......]"; empty if it would be too short."""
    filled = int(room * share + 1e-9)
    return f" [{'#' * filled}{'.' * (room - filled)}]" if room >= _LEAST_BAR else ""


def _briefly(seconds: float) -> str:
    """Returns the time left, in one unit below an hour."""
    return f"{round(seconds / 60)} min" if 90 <= seconds < 3570 else duration(seconds)


def _number(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4f}"
    return f"{value:.3g}"
