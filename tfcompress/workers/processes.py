"""`LocalPool`: jobs in spawned processes of this machine, with Pebble."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing.context
import os
import pathlib
import types
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import popen_spawn_posix, spawn
from typing import Any

import pebble

from tfcompress.workers import child
from tfcompress.workers.jobs import JobError
from tfcompress.workers.pool import Lost, Pool
from tfcompress.workers.settings import Workers

__all__ = ["LocalPool"]


def _without_main(name: str) -> dict[str, Any]:
    return {key: value for key, value in spawn.get_preparation_data(name).items() if not key.startswith("init_main")}


# A spawned process of multiprocessing first runs the script of its parent again, which a script without
# `if __name__ == "__main__"` does not stand. Ours needs nothing of it.
_spawn = types.SimpleNamespace(**{**vars(spawn), "get_preparation_data": _without_main})
_launch: Any = popen_spawn_posix.Popen._launch  # type: ignore[attr-defined]


class _Popen(popen_spawn_posix.Popen):
    _launch = types.FunctionType(_launch.__code__, {**_launch.__globals__, "spawn": _spawn}, "_launch")


class _Process(multiprocessing.context.SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _Popen(process_obj)


class _Context(multiprocessing.context.SpawnContext):
    Process = _Process


class LocalPool(Pool):
    """Processes of this machine; they end with this one.

    Args:
        workers: how many, and their limits.
        folder: folder for the processes' output and for notes.
        temporary: a folder that is removed when this process is killed.
    """

    def __init__(self, workers: Workers, folder: pathlib.Path, temporary: pathlib.Path | None = None) -> None:
        super().__init__(workers, folder)
        assert isinstance(workers.where, int)
        self._count = workers.where
        self._pool: pebble.ProcessPool | None = None
        self._temporary = None if temporary is None else str(temporary)

    @property
    def count(self) -> int:
        """Number of processes."""
        return self._count

    def _opened(self) -> pebble.ProcessPool:
        if self._pool is None:
            # A process that dies holds its locks for ever; Pebble's own minute is for locks that are held for a moment.
            pebble.CONSTS.channel_lock_timeout = child.LOCK_SECONDS
            surroundings = child.Surroundings(
                threads=self.workers.threads,
                memory_bytes=self.workers.memory_bytes,
                log=str(self.folder),
                parent=os.getpid(),
                temporary=self._temporary,
            )
            self._pool = pebble.ProcessPool(
                max_workers=self._count,
                max_tasks=self.workers.jobs_each,
                initializer=child.prepare,
                initargs=(surroundings.to_json(),),
                context=_Context(),
            )
        return self._pool

    def _ended(self, texts: dict[int, str]) -> Iterator[tuple[int, str | Lost]]:
        running: dict[Any, int] = {}
        broken = 0
        while texts or running:
            ends: list[tuple[int, str | Lost]] = []
            for number in list(texts):
                try:
                    future = self._opened().schedule(child.run, args=(texts[number],), timeout=self.workers.job_seconds)
                except RuntimeError:  # of a pool that is of no use any more
                    ends.append((number, Lost("no process", counts=False)))
                else:
                    running[future] = number
                del texts[number]
            if not ends:
                ended, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                ends = [(running.pop(future), _end(future, self.workers.job_seconds)) for future in ended]
            if any(isinstance(end, Lost) and not end.counts for _, end in ends):
                # A process that had no job died, and with it the pool, whatever the others do.
                broken += 1
                if broken > self.workers.reruns + 1:
                    raise JobError(
                        "Expected processes that wait for jobs. Received: processes that end before they have one, "
                        f"{broken} times. {self._printed_last()}"
                    )
                self.close()
                ends += [(number, Lost("the pool was renewed", counts=False)) for number in running.values()]
                running.clear()
            yield from ends

    def close(self) -> None:
        """Ends all processes, even busy ones."""
        if self._pool is not None:
            pool: Any = self._pool
            self._pool = None
            with contextlib.suppress(RuntimeError):
                pool.stop()
                pool.join()


def _end(future: Any, seconds: float) -> str | Lost:
    try:
        text: str = future.result()
        return text
    except (TimeoutError, concurrent.futures.TimeoutError):
        return Lost(f"more than the {seconds:g} seconds that a job may take")
    except BrokenProcessPool as error:
        return Lost(f"{error}", counts=False)
    except pebble.ProcessExpired as error:
        return Lost(f"its process died with exit code {error.exitcode}")
    except concurrent.futures.CancelledError:
        return Lost("the pool was renewed", counts=False)
