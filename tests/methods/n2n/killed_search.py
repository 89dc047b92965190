"""Searches with N2N in a run folder, and kills itself (kill -9) where `test_workers.py` says.

    python killed_search.py

imports everything once and then forks a process for each job, as `tests/end_to_end/killed_run.py` does: a job is a line
of JSON on standard input, the arguments of `run`; the answer is a line with the exit code, -9 for a killed process.
"""

import hashlib
import json
import os
import pathlib
import signal
import sys

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "helpers"))

import not_measured  # noqa: F401
import small_tasks
from forking import serve

import tfcompress
from tfcompress.methods import N2N, phases
from tfcompress.methods.n2n.records import Records
from tfcompress.training import callbacks
from tfcompress.workers import Workers

LONGEST_S = 900


def model():
    """The network of the small tasks with weights that no training made, so that all processes have the same."""
    network = small_tasks.residual_network(activation="softmax")
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(3)
    for weight in network.weights:
        if len(weight.shape) > 1:
            weight.assign(rng.normal(size=weight.shape) * 0.3)
    return network


def kill_at(place):
    """Kills this process where it records its nth student, or begins the nth epoch of the winner's training."""
    what, _, number = place.partition(" ")
    left = [int(number)]

    def reached(owner, name):
        real = getattr(owner, name)

        def counted(*args, **kwargs):
            result = real(*args, **kwargs)
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, counted)

    if what == "record":
        reached(Records, "add")
    else:
        train = phases.train_student

        def begun(*args, **kwargs):
            reached(callbacks.EpochStart, "on_epoch_begin")
            return train(*args, **kwargs)

        phases.train_student = begun


def run(folder, workers, place=None):
    """Searches in `folder/run`; what came out goes to `folder/outcome.json`, what is printed to `folder/printed`."""
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    signal.alarm(LONGEST_S)
    printed = os.open(folder / "printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    if place is not None:
        kill_at(place)
    # Refused where TensorFlow was at work before the fork; and operations may run in several threads on any machine.
    tf.config.experimental.enable_op_determinism()
    method = N2N(
        random=True,  # needs no policies, which take longer than such students
        updates=1,
        rollouts=4,
        score_epochs=2,
        epochs=2,
        batch_size=32,
        workers=None if workers is None else Workers(workers, threads=None),
        halving=2,
    )
    result = tfcompress.compress(model(), method, small_tasks.pictures(96), params_budget=0.6, run_dir=folder / "run")
    search = {name: values for name, values in result.history["search"].items() if not name.endswith("seconds")}
    content = {"trail": result.trail.to_json(), "search": search, "recover": result.history["recover"]}
    content["weights"] = [
        hashlib.sha256(b"".join(weight.tobytes() for weight in each.get_weights())).hexdigest()
        for each in (result.model, *(candidate.model for candidate in result.candidates))
    ]
    content["notes"] = [note for note in result.notes if "in this process" in note]
    (folder / "outcome.json").write_text(json.dumps(content))


if __name__ == "__main__":
    serve(run)
