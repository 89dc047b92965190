"""Jobs of the tests of the pool, which need no TensorFlow."""

import os
import pathlib
import signal
import sys
import time


def process():
    """The process that runs the job, and what it has imported."""
    return {"pid": os.getpid(), "tensorflow": "tensorflow" in sys.modules, "threads": os.environ["OMP_NUM_THREADS"]}


def slow(seconds):
    time.sleep(seconds)
    return seconds


def shout():
    print("said")
    os.write(2, b"noise\n")


def fail():
    raise ValueError("Expected another number")


def leave():
    sys.exit(3)


def grow(folder, until, megabytes=0):
    """Takes memory, in all processes but those after the first `until`."""
    started = _count(folder)
    if started <= until:
        memory = bytearray(os.urandom(10**6) * megabytes)
        time.sleep(20)
        del memory
    return started


def hoard(megabytes):
    """Takes memory, and keeps it after the job."""
    block = bytearray(megabytes * 10**6)
    block[::4096] = b"x" * len(block[::4096])
    _KEPT.append(block)
    return os.getpid()


def meet(folder, count):
    """Waits until so many have begun."""
    began = _count(folder)
    for _ in range(6000):
        if len(list(pathlib.Path(folder).iterdir())) >= count:
            return began
        time.sleep(0.01)
    raise TimeoutError(f"{began} of {count} came")


_KEPT = []


def die(folder, times):
    """Kills its own process the first `times` times."""
    started = _count(folder)
    if started <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return started


def _count(folder):
    """How many processes have begun this job."""
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    (folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
    return len(list(folder.iterdir()))
