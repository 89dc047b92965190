"""The pool of processes: limits, renewal, and deaths; with jobs that need no TensorFlow."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tfcompress.workers import Job, JobError, Workers, opened

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


def job(name, **arguments):
    return Job(f"work:{name}", arguments, name)


def run(folder, jobs, **settings):
    with opened(Workers(**{"where": 1, **settings}), folder) as pool:
        return pool.run(jobs)


def test_answers_come_in_order_from_processes_that_are_renewed(tmp_path, capfd):
    answers = run(tmp_path, [job("process")] * 4 + [job("shout")], jobs_each=2)
    first, second, third, fourth, nothing = answers
    assert nothing is None
    assert first["pid"] == second["pid"] != third["pid"] == fourth["pid"]
    assert {answer["threads"] for answer in answers[:4]} == {"1"}
    assert not any(answer["tensorflow"] for answer in answers[:4])  # nor is this process's script run again
    assert os.getpid() not in {first["pid"], third["pid"]}
    assert capfd.readouterr() == ("", "")
    printed = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert "said" in printed
    assert "noise" in printed


def test_jobs_run_side_by_side(tmp_path):
    ended = []
    with opened(Workers(2), tmp_path / "pool") as pool:
        assert pool.count == 2
        jobs = [job("meet", folder=str(tmp_path / "jobs"), count=2)] * 2  # each waits for the other
        answers = pool.run(jobs, lambda *end: ended.append(end))
    assert len(answers) == 2
    assert sorted(ended) == list(enumerate(answers))


def test_a_job_that_takes_too_long_is_run_again_and_then_given_up(tmp_path):
    with pytest.raises(JobError, match=r"slow to end.*ended 2 times \(more than the 0.3 seconds.*job_seconds="):
        run(tmp_path, [job("slow", seconds=30)], job_seconds=0.3, reruns=1)


def test_an_error_of_a_job_is_told_and_not_repeated(tmp_path):
    with pytest.raises(JobError, match=r"answer of leave. Received: SystemExit: 3"):
        run(tmp_path, [job("leave")])
    with pytest.raises(JobError, match=r"answer of fail. Received: ValueError: Expected another number"):
        run(tmp_path, [job("fail")])


def test_a_process_above_its_memory_is_ended_and_its_job_run_again(tmp_path):
    assert run(tmp_path / "pool", [job("grow", folder=str(tmp_path / "a"), until=1, megabytes=300)], memory_gb=0.2) == [
        2
    ]
    with pytest.raises(JobError, match=r"ended 2 times \(0\.\d+ GB of memory, of 0.2 GB allowed\)"):
        jobs = [job("grow", folder=str(tmp_path / "b"), until=9, megabytes=300)]
        run(tmp_path / "pool", jobs, memory_gb=0.2, reruns=1)


def test_a_process_that_grew_over_its_jobs_makes_room_and_costs_no_job(tmp_path):
    # Less at a time than lies between 0.9 of the limit and the limit.
    processes = run(tmp_path, [job("hoard", megabytes=15)] * 14, memory_gb=0.2, reruns=0)
    assert len(set(processes)) > 1


def test_a_dead_process_costs_its_own_job_which_is_run_again(tmp_path):
    jobs = [job("slow", seconds=0.5), job("die", folder=str(tmp_path / "jobs"), times=2)]
    assert run(tmp_path / "pool", jobs, where=2) == [0.5, 3]
    with pytest.raises(JobError, match=r"die to end.*ended 3 times \(its process died with exit code -9\)"):
        run(tmp_path / "pool", [job("die", folder=str(tmp_path / "more"), times=9)])


def test_a_process_that_dies_without_a_job_is_replaced(tmp_path):
    with opened(Workers(1), tmp_path) as pool:
        (first,) = pool.run([job("process")])
        os.kill(first["pid"], signal.SIGKILL)
        time.sleep(0.5)
        (second,) = pool.run([job("process")])
    assert first["pid"] != second["pid"]


SCRIPT = """
import pathlib, sys
from tfcompress.workers import Job, Workers, opened

print("begun", flush=True)
pool = opened(Workers(2), pathlib.Path(sys.argv[1]), temporary=pathlib.Path(sys.argv[1]))
pool.run([Job("work:process")], lambda number, answer: print(answer["pid"], flush=True))
pool.run([Job("work:slow", {"seconds": 60})] * 2)
"""


def test_no_process_outlives_its_parent_and_a_script_needs_no_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "pool"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    parent = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout.readline() == "begun\n"
    worker = int(parent.stdout.readline())
    children = psutil.Process(parent.pid).children(recursive=True)
    assert worker in {child.pid for child in children}
    time.sleep(0.3)
    parent.kill()
    printed, noise = parent.communicate(timeout=60)
    assert printed == ""  # no process ran the script again
    assert all("resource_tracker" in line for line in noise.splitlines() if not line.startswith(" "))  # Python's own
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert not folder.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"where": 0}, "`where`.*1 or more"),
        ({"where": "dask"}, "`where`.*ray"),
        ({"job_seconds": 0}, "`job_seconds`"),
        ({"memory_gb": -1}, "`memory_gb`"),
        ({"jobs_each": 0}, "`jobs_each`"),
        ({"reruns": -1}, "`reruns`"),
        ({"threads": 0}, "`threads`"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Workers(**settings)


def test_workers_are_said_in_short():
    assert Workers.of("workers", None) is None
    assert Workers.of("workers", 3) == Workers(3)
    assert Workers.of("workers", "ray") == Workers("ray")
    for value in (0, "dask", 1.5, True):
        with pytest.raises(ValueError, match=r"`workers`.*Workers"):
            Workers.of("workers", value)


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = "import sys, json, tfcompress.workers; print(json.dumps([n for n in ('pebble', 'ray', 'psutil') if n in sys.modules]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == []
