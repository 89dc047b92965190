"""The same jobs on a Ray cluster of two nodes with a processor each, which the tests start."""

import os
import pathlib
import socket
import sys

import clusters
import pytest

from tfcompress.workers import Job, JobError, Workers, opened

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster."""
    pytest.importorskip("ray")
    with clusters.started(HERE) as address:
        yield address


def job(name, **arguments):
    return Job(f"work:{name}", arguments, name)


def test_jobs_on_a_cluster_with_workers_that_die_or_take_too_long(cluster, tmp_path):
    import ray

    with opened(Workers("ray", job_seconds=20), tmp_path / "notes") as pool:
        assert pool.count == 2
        jobs = [job("process"), job("die", folder=str(tmp_path / "jobs"), times=2), job("slow", seconds=0.2)]
        first, died, slept = pool.run(jobs)
        assert (died, slept) == (3, 0.2)
        assert first["threads"] == "1"
        assert first["pid"] != os.getpid()
        with pytest.raises(JobError, match=r"answer of fail\. Received: ValueError: Expected another number"):
            pool.run([job("fail")])
    assert not ray.is_initialized()
    with (
        opened(Workers("ray", job_seconds=0.5, reruns=0), tmp_path / "notes") as pool,
        pytest.raises(JobError, match=r"ended 1 time \(more than the 0.5 seconds"),
    ):
        pool.run([job("slow", seconds=60)])


def test_a_cluster_that_cannot_be_reached_is_refused(monkeypatch):
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ValueError, match=rf"Ray cluster at '{address}'.*refused.*ray start --head.*Nothing was begun"):
        Workers("ray").check()


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'tfcompress\[ray\]'"):
        Workers("ray").check()
