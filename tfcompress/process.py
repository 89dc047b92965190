"""The state that a whole process shares, changed for a while only: standard error, and the warning filters.

Each change is made under one lock, counted, so that threads may overlap, and undone by the last one to leave. Objects
that others may hold (`sys.stdout`, `sys.stderr`, log handlers, log levels) are never exchanged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator

__all__ = [
    "absl_level_kept",
    "ignored_warnings",
    "lock",
    "log",
    "quiet",
    "quiet_tensorflow",
    "unheard_log",
    "warmed_up",
    "without_chatter",
]

lock = threading.RLock()
"""Held while something that the whole process shares is changed."""


log = logging.getLogger("absl")
"""What is said beside the progress display. Not by absl's own functions: where the root logger has no handler, they add
one, and `logging.basicConfig` of the user's program, called later, does nothing then."""


@contextlib.contextmanager
def absl_level_kept() -> Iterator[None]:
    """Puts absl's level back, which TensorFlow sets while it saves, and says nothing of the saving; within `lock`."""
    level = log.level
    try:
        with without_chatter():
            yield
    finally:
        log.setLevel(level)


class _Silence:
    """Standard error's descriptor on the way to nowhere, for as long as at least one thread wants it."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._wanted = 0
        self._saved: int | None = None
        self._sink = -1

    def enter(self) -> None:
        with lock:
            if self._wanted == 0:
                self._begin()
            self._wanted += 1

    def leave(self) -> None:
        with lock:
            self._wanted -= 1
            if self._wanted == 0:
                self._end()

    def _begin(self) -> None:
        with contextlib.suppress(Exception):  # what a user put there may be anything
            sys.stderr.flush()
        try:
            self._saved = os.dup(self._descriptor)
        except OSError:  # a program without a terminal may have no standard error
            self._saved = None
            return
        self._sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(self._sink, self._descriptor)

    def _end(self) -> None:
        if self._saved is None:
            return
        # Where somebody has redirected it meanwhile, that is what stays.
        if os.path.samestat(os.fstat(self._descriptor), os.fstat(self._sink)):
            os.dup2(self._saved, self._descriptor)
        os.close(self._saved)
        os.close(self._sink)
        self._saved = None


_standard_error = _Silence(2)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences what C++ code writes to standard error, past Python, while it lasts.

    In the whole process: keep it around the calls that need it. Whatever matters comes as an exception.
    """
    _standard_error.enter()
    try:
        yield
    finally:
        _standard_error.leave()


_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Loads TensorFlow, where the program has not, without what it says of processors and drivers, then and later on.

    Its C++ code reads TF_CPP_MIN_LOG_LEVEL once, while it is loaded: the variable is set for so long, unless the user
    has set it, and is gone afterwards. What it says before it has read that goes nowhere.
    """
    if "tensorflow" in sys.modules or _LEVEL in os.environ:
        yield
        return
    with lock, quiet():
        os.environ[_LEVEL] = "3"
        try:
            yield
        finally:
            os.environ.pop(_LEVEL, None)


def warmed_up() -> None:
    """Makes TensorFlow find its devices and read its first batch, of which its C++ code says something each time."""
    import tensorflow as tf

    with quiet():
        spec = tf.TensorSpec((), "int32")
        for _ in tf.data.Dataset.from_generator(lambda: iter((1,)), output_signature=spec):
            pass


@contextlib.contextmanager
def unheard_log() -> Iterator[None]:
    """Keeps `log` from standard error, where Python writes what no handler of the program takes."""
    handler = logging.NullHandler()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


_CHATTER = ("triggered tf.function retracing", "Assets written to: ")


class _WithoutChatter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return not any(words in text for words in _CHATTER)


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Leaves out what TensorFlow's logger says of files that it has written, and its warnings of functions that are
    traced anew, as those of each new network are.
    """
    logger, without = logging.getLogger("tensorflow"), _WithoutChatter()
    logger.addFilter(without)
    try:
        yield
    finally:
        logger.removeFilter(without)


@contextlib.contextmanager
def ignored_warnings(message: str = "", module: str = "") -> Iterator[None]:
    """Ignores warnings whose text begins with a regular expression, given from modules whose name begins with another.

    `warnings.catch_warnings` puts back the list of filters that it found; where two threads overlap, the second one's
    "before" is the first one's "within". Here only the filter that was added is taken out again.
    """
    entry = ("ignore", re.compile(message, re.IGNORECASE), Warning, re.compile(module), 0)
    with lock:
        warnings.filters.insert(0, entry)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        with lock:
            places = [place for place, existing in enumerate(warnings.filters) if existing is entry]
            for place in places:  # none where somebody has reset all filters
                del warnings.filters[place]  # type: ignore[attr-defined]
