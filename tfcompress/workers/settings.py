"""`Workers`: how many processes there are, where, and their limits."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any, Literal

from tfcompress import expect
from tfcompress.workers.pool import Pool

__all__ = ["Workers", "opened"]

_WHAT = 'a number of processes, "ray", Workers(...), or None to work in this process'


@dataclasses.dataclass(frozen=True)
class Workers:
    """The processes that run jobs, and their limits.

    Attributes:
        where: a number of processes on this machine, or `"ray"` for a Ray cluster, which runs as many jobs at the same
            time as it has processors. The cluster is that of `RAY_ADDRESS`, or the one started on this machine.
        threads: TensorFlow's threads in each process; `None` for as many as this process has. The last digits of sums
            of floats depend on it.
        job_seconds: time limit of a job, after which its process is ended and the job is run again.
        memory_gb: memory in 10^9 bytes above which a process is ended and its job run again; `None` for an equal share
            of the machine's.
        jobs_each: number of jobs after which a process is replaced by a new one.
        reruns: how often a job is repeated if its process died, took too long, or needed too much memory.

    Raises:
        TypeError, ValueError: a setting has another type, or is out of range.
    """

    where: int | Literal["ray"] = 2
    threads: int | None = 1
    job_seconds: float = 3600.0
    memory_gb: float | None = None
    jobs_each: int = 50
    reruns: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.where, str):
            expect.settings(self, expect.one_of, "where", options=("ray",), what='a number of processes, or "ray"')
        else:
            expect.settings(self, expect.whole, "where", least=1, what='a number of processes, 1 or more, or "ray"')
        expect.settings(self, expect.whole, "threads", least=1, or_none=True)
        expect.settings(self, expect.number, "job_seconds", above=0)
        expect.settings(self, expect.number, "memory_gb", above=0, or_none=True)
        expect.settings(self, expect.whole, "jobs_each", least=1)
        expect.settings(self, expect.whole, "reruns", least=0)

    @classmethod
    def of(cls, name: str, value: Any) -> Workers | None:
        """Returns the workers that an argument asks for; `None` for none.

        Raises:
            TypeError, ValueError: not a number of processes, `"ray"`, `Workers`, or `None`.
        """
        if value is None or isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(where=expect.one_of(name, value, ("ray",), what=_WHAT))
        return cls(where=expect.whole(name, value, least=1, what=_WHAT))

    @property
    def memory_bytes(self) -> int:
        """Memory limit of a process."""
        if self.memory_gb is not None:
            return int(self.memory_gb * 1e9)
        import psutil

        shares = self.where + 1 if isinstance(self.where, int) else 1
        return int(psutil.virtual_memory().total) // shares

    def check(self) -> None:
        """Refuses what is not installed, and a Ray cluster that cannot be reached, before any work.

        Raises:
            ImportError: Pebble, psutil or Ray is not installed.
            ValueError: there is no cluster, or it does not answer.
        """
        expect.extra("rl", "psutil", "watches the memory of workers", "workers=None works without it.")
        expect.extra("rl", "pebble", "runs workers", "workers=None works without it.")
        if self.where == "ray":
            from tfcompress.workers import cluster

            cluster.check()


def opened(workers: Workers, folder: pathlib.Path, temporary: pathlib.Path | None = None) -> Pool:
    """Returns a pool; close it, or use it in a `with` statement.

    Args:
        workers: how many processes, where, and their limits.
        folder: folder for the processes' output and for notes; on a cluster every node has to see it.
        temporary: a folder that is removed when this process is killed.

    Raises:
        ImportError, ValueError: as for `Workers.check`.
    """
    if workers.where == "ray":
        from tfcompress.workers.cluster import ClusterPool

        return ClusterPool(workers, folder)
    from tfcompress.workers.processes import LocalPool

    return LocalPool(workers, folder, temporary)
