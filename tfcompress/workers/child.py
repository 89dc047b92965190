"""The inside of a process that runs jobs: its settings, its watch, and the call of a function by name."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import shutil
import threading
import time
import traceback
from typing import Any, NoReturn

__all__ = ["LOCK_SECONDS", "Surroundings", "on_cluster", "prepare", "run", "sees"]

LOCK_SECONDS = 10.0
"""How long processes of a pool wait for a lock that is normally held for a moment; a dead process holds it forever."""

_EVERY_S = 0.2
_ENOUGH = 0.9  # of the memory that is allowed: a process that has as much before a job begins makes room


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """The settings of a process that runs jobs.

    Attributes:
        threads: TensorFlow's threads; `None` to leave the environment unchanged.
        memory_bytes: memory above which the process ends.
        log: the folder for the process' output.
        parent: the process whose end also ends this one; `None` if another program takes care of that.
        job_seconds: time after which a job is ended with its process; `None` if another program takes care of that.
        temporary: a folder that is removed when the parent ends.
    """

    threads: int | None
    memory_bytes: int
    log: str
    parent: int | None = None
    job_seconds: float | None = None
    temporary: str | None = None

    def to_json(self) -> str:
        """Returns the settings as text."""
        return json.dumps(dataclasses.asdict(self))


class _Watch(threading.Thread):
    """Ends the process when its parent is gone, or when a running job exceeds its limits."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(daemon=True, name="watch")
        import psutil

        self._limits, self._process = surroundings, psutil.Process()
        self._job: tuple[pathlib.Path, float] | None = None
        self._done = 0

    def begin(self, note: pathlib.Path) -> None:
        """Begins a job; a process that has grown too large first ends in favour of a new one."""
        if self._done and self._memory > _ENOUGH * self._limits.memory_bytes:
            _end(note, "it had grown over earlier jobs", renewed=True)
        self._job = (note, time.monotonic())

    def end(self) -> None:
        """Ends the job."""
        self._job = None
        self._done += 1

    @property
    def _memory(self) -> int:
        return int(self._process.memory_info().rss)

    def run(self) -> None:
        """Checks at intervals."""
        while True:
            time.sleep(_EVERY_S)
            if self._limits.parent is not None and os.getppid() != self._limits.parent:
                if self._limits.temporary is not None:
                    shutil.rmtree(self._limits.temporary, ignore_errors=True)
                os._exit(1)
            job = self._job
            if job is None:
                continue
            note, start = job
            memory = self._memory
            if memory > self._limits.memory_bytes:
                _end(note, f"{memory / 1e9:.3g} GB of memory, of {self._limits.memory_bytes / 1e9:.3g} GB allowed")
            seconds = self._limits.job_seconds
            if seconds is not None and time.monotonic() - start > seconds:
                _end(note, f"more than the {seconds:g} seconds that a job may take")


def _end(note: pathlib.Path, why: str, renewed: bool = False) -> NoReturn:
    """Ends this process at once, with a note that says why."""
    with contextlib.suppress(OSError):
        part = note.with_suffix(".part")
        part.write_text(json.dumps({"why": why, "renewed": renewed}))
        part.replace(note)
    os._exit(1)


_watch: _Watch | None = None


def prepare(surroundings: str) -> None:
    """Prepares this process before TensorFlow is imported: threads, output, and its watch."""
    global _watch
    here = Surroundings(**json.loads(surroundings))
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if here.threads is not None:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ[name] = str(here.threads)
    if here.parent is not None:  # Ray sees to its own
        import pebble

        pebble.CONSTS.channel_lock_timeout = LOCK_SECONDS
        log = os.open(pathlib.Path(here.log) / f"{os.getpid()}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
    _watch = _Watch(here)
    _watch.start()


def run(text: str) -> str:
    """Runs a job; returns its answer, or its error, as JSON."""
    job = json.loads(text)
    note = pathlib.Path(job["note"])
    if _watch is not None:
        _watch.begin(note)
    try:
        module, _, name = job["function"].partition(":")
        answer: Any = getattr(importlib.import_module(module), name)(**job["arguments"])
        return json.dumps({"answer": answer})
    except BaseException as error:  # whatever it is, `sys.exit` too, it ends the job alone
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            _end(note, f"no memory left ({' '.join(str(error).split())[:200]})")
        words = " ".join(str(error).split())
        return json.dumps({"error": f"{type(error).__name__}: {words}", "traceback": traceback.format_exc()})
    finally:
        if _watch is not None:
            _watch.end()


def on_cluster(surroundings: str, text: str) -> str:
    """Runs a job in a process that Ray started, and that may have run others before."""
    if _watch is None:
        prepare(surroundings)
    return run(text)


def sees(folder: str) -> bool:
    """Whether the machine of this process has a folder."""
    return os.path.isdir(folder)
