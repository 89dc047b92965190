"""Temporary changes of state that the whole process shares: standard error, and the warning filters.

Each change is made under one lock and counted, so that threads may overlap; the last thread to leave undoes it.
Objects that other code may hold (`sys.stdout`, `sys.stderr`, log handlers, log levels) are never replaced.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
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
    "quiet_output",
    "quiet_tensorflow",
    "unheard_log",
    "warmed_up",
    "without_chatter",
]

lock = threading.RLock()
"""Held while state that the whole process shares is changed."""


log = logging.getLogger("absl")
"""Logger for messages beside the progress display. absl's own functions are not used: if the root logger has no
handler, they add one, and a later `logging.basicConfig` of the user's program has no effect."""


@contextlib.contextmanager
def absl_level_kept() -> Iterator[None]:
    """Restores absl's level, which TensorFlow changes while it saves, and hides its messages; within `lock`."""
    level = log.level
    try:
        with without_chatter():
            yield
    finally:
        log.setLevel(level)


class _Silence:
    """Redirects a descriptor, of standard error or output, to nowhere, as long as at least one thread wants that."""

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
            (sys.stdout if self._descriptor == 1 else sys.stderr).flush()
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


_standard_error, _standard_output = _Silence(2), _Silence(1)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences, while it lasts, C++ code that writes to standard error past Python.

    It acts on the whole process: keep it around the calls that need it. Important errors arrive as exceptions.
    """
    _standard_error.enter()
    try:
        yield
    finally:
        _standard_error.leave()


@contextlib.contextmanager
def quiet_output() -> Iterator[None]:
    """Silences, while it lasts, C++ code that writes to standard output past Python."""
    _flush_c()
    _standard_output.enter()
    try:
        yield
    finally:
        _flush_c()  # C keeps what is written to a file or a pipe, and would write it afterwards
        _standard_output.leave()


def _flush_c() -> None:
    with contextlib.suppress(Exception):  # of a system whose C library is not the process itself
        ctypes.CDLL(None).fflush(None)


_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Loads TensorFlow if the program has not, and hides its messages on processors and drivers, then and later.

    Its C++ code reads TF_CPP_MIN_LOG_LEVEL once, while it is loaded: the variable is set for that time, unless the user
    has set it, and removed afterwards. Messages from before that are discarded. A user who sets it to 0 sees them all.
    """
    level = os.environ.get(_LEVEL) or None
    if "tensorflow" in sys.modules or level == "0":
        yield
        return
    with lock, quiet():
        os.environ[_LEVEL] = level or "3"
        try:
            yield
        finally:
            if level is None:
                del os.environ[_LEVEL]


@functools.cache
def warmed_up() -> None:
    """Makes TensorFlow find its devices and read a first batch, each of which its C++ code reports on the screen.

    It does so once in a process, and so does this.
    """
    import tensorflow as tf

    with quiet():
        spec = tf.TensorSpec((), "int32")
        for _ in tf.data.Dataset.from_generator(lambda: iter((1,)), output_signature=spec):
            pass


@contextlib.contextmanager
def unheard_log() -> Iterator[None]:
    """Keeps `log` off standard error, where Python writes records that no handler of the program takes."""
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
    """Hides messages of TensorFlow's logger on files that it has written, and its warnings of functions that are
    traced again, which every new network causes.
    """
    logger, without = logging.getLogger("tensorflow"), _WithoutChatter()
    logger.addFilter(without)
    try:
        yield
    finally:
        logger.removeFilter(without)


@contextlib.contextmanager
def ignored_warnings(message: str = "", module: str = "") -> Iterator[None]:
    """Ignores warnings by two regular expressions: for the start of their text, and of their module's name.

    `warnings.catch_warnings` restores the list of filters that it saw on entry; if two threads overlap, the second
    restores the first one's filters. Here only the filter that was added is removed.
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
