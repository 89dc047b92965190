"""`Pool`: runs jobs in other processes, and repeats those whose process died."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import json
import pathlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from tfcompress.workers.jobs import Job, JobError, RaisedInJob

if TYPE_CHECKING:
    from tfcompress.workers.settings import Workers

__all__ = ["Lost", "Pool"]

_SHOWN = 1500  # characters of what a process printed last


@dataclasses.dataclass(frozen=True)
class Lost:
    """The end of a job without an answer.

    Attributes:
        why: the reason for the end of its process, as far as the pool knows it.
        counts: whether the job may have been the reason.
    """

    why: str
    counts: bool = True


class Pool(abc.ABC):
    """Processes that run jobs.

    Args:
        workers: how many, where, and their limits.
        folder: folder for the processes' output and for notes.
    """

    def __init__(self, workers: Workers, folder: pathlib.Path) -> None:
        self.workers, self.folder = workers, folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """Number of jobs that run at the same time."""

    @abc.abstractmethod
    def _ended(self, texts: dict[int, str]) -> Iterator[tuple[int, str | Lost]]:
        """Runs jobs, and yields the number and answer of each one as soon as it has ended.

        Args:
            texts: jobs by their numbers. The caller adds those to be run again.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Ends all processes, even busy ones."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, jobs: Sequence[Job], done: Callable[[int, Any], None] | None = None) -> list[Any]:
        """Runs jobs in parallel.

        Args:
            jobs: the jobs.
            done: called with the number and the answer of each job as soon as it has ended.

        Returns:
            Their answers, in the order of the jobs.

        Raises:
            JobError: a job raised an error, or its process died `reruns + 1` times.
        """
        answers: list[Any] = [None] * len(jobs)
        losses: dict[int, list[str]] = {number: [] for number in range(len(jobs))}
        notes = [self.folder / f"{uuid.uuid4().hex}.note" for _ in jobs]
        texts = {number: job.to_json(str(notes[number])) for number, job in enumerate(jobs)}
        try:
            for number, end in self._ended(texts):
                job = jobs[number]
                if isinstance(end, Lost):
                    why, renewed = _read(notes[number], end.why)
                    if end.counts and not renewed:
                        losses[number].append(why)
                    if len(losses[number]) > self.workers.reruns:
                        raise JobError(self._given_up(job, losses[number]))
                    texts[number] = job.to_json(str(notes[number]))
                    continue
                content = json.loads(end)
                if "error" in content:
                    raise RaisedInJob(job.name, content["error"], content["traceback"])
                answers[number] = content["answer"]
                if done is not None:
                    done(number, answers[number])
        finally:
            for note in notes:
                note.unlink(missing_ok=True)
        return answers

    def _given_up(self, job: Job, losses: Sequence[str]) -> str:
        times = f"{len(losses)} time{'s' if len(losses) > 1 else ''}"
        text = (
            f"Expected {job.name} to end. Received: a process that ended {times} ({'; '.join(dict.fromkeys(losses))}). "
            "Finished work is kept if there is a run_dir. Give jobs more time or memory, "
            "Workers(job_seconds=, memory_gb=), or use fewer workers."
        )
        last = self._printed_last()
        return f"{text} The process printed last:\n{last}" if last else text

    def _printed_last(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            newest = max(self.folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
            return newest.read_text(errors="replace")[-_SHOWN:].strip()
        return ""


def _read(note: pathlib.Path, otherwise: str) -> tuple[str, bool]:
    """Returns why a process ended, from its own note if there is one, and whether only to be replaced by a new one."""
    try:
        content = json.loads(note.read_text())
        note.unlink()
    except (OSError, ValueError):
        return otherwise, False
    return content["why"], content["renewed"]
