"""`ClusterPool`: jobs on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import socket
from collections.abc import Iterator
from typing import Any

from tfcompress import expect
from tfcompress.workers import child
from tfcompress.workers.pool import Lost, Pool
from tfcompress.workers.settings import Workers

__all__ = ["ClusterPool", "check", "connect"]

_ANSWERS_IN_S = 10.0
_ADVICE = (
    "Start one with `ray start --head`, name the address of another in RAY_ADDRESS, or use workers=2 for processes of "
    "this machine. Nothing was begun."
)


def _ray() -> Any:
    return expect.extra("ray", "ray", "workers='ray' runs on", "workers=2 takes processes of this machine.")


def connect() -> Any:
    """Connects to the cluster, if this process is not connected to one yet; returns the module `ray`.

    Raises:
        ImportError: Ray is not installed.
        ValueError: there is no cluster, it does not answer, or it has no processor to run jobs on.
    """
    ray = _ray()
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS", "auto")
        _check_answers(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray raises whatever its parts do
            words = " ".join(str(error).split())[:200].rstrip(".")
            raise ValueError(f"Expected a Ray cluster at {address!r}. Received: {words}. {_ADVICE}") from None
    if ray.cluster_resources().get("CPU", 0) < 1:
        raise ValueError(f"Expected a Ray cluster with a processor for jobs. Received: none. {_ADVICE}")
    return ray


def check() -> None:
    """Refuses a cluster that cannot be reached, and does not stay connected. Raises as `connect` does."""
    connected = _ray().is_initialized()
    ray = connect()
    if not connected:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuses an address where nothing answers, because Ray would wait for minutes."""
    if not (match := re.fullmatch(r"(?:ray://)?\[?([^\[\]]+?)\]?:(\d+)", address)):
        return
    try:
        socket.create_connection((match[1], int(match[2])), _ANSWERS_IN_S).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"Expected a Ray cluster at {address!r}. Received: {error}. {_ADVICE}") from None


class ClusterPool(Pool):
    """Processes of a Ray cluster, as many as it can run.

    Args:
        workers: their limits.
        folder: folder for notes; every node has to see it.

    Raises:
        ImportError, ValueError: as for `connect`; or a node does not see the folder.
    """

    def __init__(self, workers: Workers, folder: pathlib.Path) -> None:
        self._connected_before = _ray().is_initialized()
        self._ray = connect()
        super().__init__(workers, folder)
        threads = workers.threads or 1
        once = self._ray.remote(num_cpus=threads, max_calls=workers.jobs_each, max_retries=0)
        self._job = once(child.on_cluster)
        limits = child.Surroundings(
            threads=workers.threads,
            memory_bytes=workers.memory_bytes,
            log=str(folder),
            job_seconds=workers.job_seconds,
        )
        self._surroundings = limits.to_json()
        try:
            self._check_nodes()
        except BaseException:
            self.close()
            raise

    @property
    def count(self) -> int:
        """Number of jobs that the cluster has processors for."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)) // (self.workers.threads or 1))

    def _check_nodes(self) -> None:
        """Refuses a cluster with a node that does not see the folder, or lacks tfcompress."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        seen = self._ray.remote(num_cpus=0, max_retries=2)(child.sees)
        for node in self._ray.nodes():
            if not node["Alive"]:
                continue
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            try:
                sees = self._ray.get(seen.options(scheduling_strategy=where).remote(str(self.folder)), timeout=120)
            except self._ray.exceptions.RayError as error:
                words = " ".join(str(error).split())[-300:]
                raise ValueError(
                    f"Expected nodes that can import tfcompress. Received: {words}. Install the same version on all of "
                    "them. Nothing was begun."
                ) from None
            if not sees:
                raise ValueError(
                    f"Expected a folder that all nodes of the cluster see. Received: {str(self.folder)!r}, which the "
                    f"node {node['NodeManagerAddress']} does not. Give a run_dir on a file system that they share."
                )

    def _ended(self, texts: dict[int, str]) -> Iterator[tuple[int, str | Lost]]:
        ray = self._ray
        running: dict[Any, int] = {}
        try:
            while texts or running:
                for number in list(texts):
                    running[self._job.remote(self._surroundings, texts.pop(number))] = number
                ready, _ = ray.wait(list(running), num_returns=1)
                for reference in ready:
                    number = running.pop(reference)
                    try:
                        end: str | Lost = ray.get(reference)
                    except ray.exceptions.RayError as error:
                        end = Lost(f"its process died: {' '.join(str(error).split())[:200]}")
                    yield number, end
        finally:
            for reference in running:
                with contextlib.suppress(Exception):
                    ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leaves the cluster, if it was joined for this pool."""
        if not self._connected_before and self._ray.is_initialized():
            self._ray.shutdown()
