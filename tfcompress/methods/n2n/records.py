"""`Records`: the results of students, written to disk at once, one line each."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from tfcompress.task import Task

__all__ = ["Records"]

_FILE = "students"


class Records:
    """The records of students by name; those in a run folder are read again when the run continues.

    Each is a line at the end of `students.jsonl`; `gather` collects all of them in `students.json`. A process that is
    killed while it writes leaves an incomplete line, which is ignored.

    Args:
        task: the task, whose run folder keeps them.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._path: pathlib.Path | None = None if task.run.path is None else task.run.path / f"{_FILE}.jsonl"
        self._known: dict[str, dict[str, Any]] = task.run.recall(_FILE, task.progress.note) or {}
        self._is_gathered = True
        for line in self._lines():
            try:
                name, record = json.loads(line)
                self._known[name] = record
            except (ValueError, TypeError):
                continue

    def _lines(self) -> list[str]:
        if self._path is None or not self._path.exists():
            return []
        self._is_gathered = False
        return self._path.read_text(encoding="utf-8", errors="replace").splitlines()

    def get(self, name: str) -> dict[str, Any] | None:
        """Returns the record with this name."""
        return self._known.get(name)

    def add(self, name: str, record: dict[str, Any]) -> None:
        """Keeps a record; it is on the disk when this returns."""
        self._known[name] = record
        self._is_gathered = False
        if self._path is None:
            return
        # A line break before it as well: the line before may be half of one.
        line = f"\n{json.dumps([name, record])}\n".encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def gather(self) -> None:
        """Writes all records into one file, instead of the lines."""
        if self._is_gathered:
            return
        self._task.run.write_json(_FILE, self._known)
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._is_gathered = True
