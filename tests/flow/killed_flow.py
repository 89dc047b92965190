"""Runs a flow of three stages in a run folder, and kills itself (kill -9) where `test_killed.py` says.

    python killed_flow.py

imports everything once and then forks a process for each job, a line of JSON on standard input: the arguments of `run`.
"""

import collections
import functools
import json
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "helpers"))

import flow_methods
import keras
import numpy as np
import perceptrons
import small_tasks
import tensorflow as tf

import tfcompress
from tests.helpers import not_measured  # noqa: F401
from tests.helpers.forking import serve
from tfcompress import workflow
from tfcompress.methods import Uniform
from tfcompress.training import RunFolder, _files, callbacks

LONGEST_S = 900  # of a job of some seconds
SETTINGS = {"epochs": 2, "batch_size": 32, "learning_rate": 0.05, "teach": "kd"}
STAGES = (flow_methods.Drops(**SETTINGS), Uniform(**SETTINGS), flow_methods.Rounds())


class Places:
    """Names each place that a run passes, such as `2 of 3: uniform: step 4`, notes it in a file, and ends at one."""

    def __init__(self, notes, kill_at):
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._kill_at, self._part, self._passed = kill_at, "start", collections.Counter()

    def enter(self, part):
        self._part, self._passed = part, collections.Counter()

    def watch(self, owner, name, kind, part=None):
        """Makes each call of `owner.name` a place; `part(*arguments)` names a part of the run that begins with it."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def reached(*args, **kwargs):
            if part is not None:
                self.enter(part(*args, **kwargs))
            self._passed[kind] += 1
            place = f"{self._part}: {kind} {self._passed[kind]}"
            os.write(self._notes, f"{place}\n".encode())  # the system keeps it when the process is killed
            if place == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        setattr(owner, name, reached)


def run(folder, kill_at):
    """Compresses in `folder/run`; what came out goes to `folder/outcome.json`, what it passed to `folder/places`."""
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    signal.alarm(LONGEST_S)  # a run that hangs ends
    output = os.open(folder / "printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(os.getpid())  # nothing may depend on the global random state
    places = Places(folder / "places", kill_at)
    places.watch(workflow, "_run_one", "begin", lambda call, *_: call.turn)
    places.watch(callbacks.Guard, "on_train_batch_begin", "step")
    places.watch(RunFolder, "write_json", "write")
    places.watch(RunFolder, "save_model", "model")
    places.watch(_files, "sync", "sync")
    places.watch(workflow, "result_of", "report")
    places.watch(tfcompress.Result, "save", "save")
    for _ in range(os.getpid() % 3):
        keras.layers.Flatten()  # the names that Keras gives are others in each process
    x, y = small_tasks.pictures(96)
    result = tfcompress.compress(
        perceptrons.perceptron(6, 6),
        STAGES,
        (x[:64], y[:64]),
        validation_data=(x[64:], y[64:]),
        flops_budget=0.5,
        run_dir=folder / "run",
        seed=7,
    )
    content = {
        "weights": [np.asarray(weight).tolist() for weight in result.model.weights],
        "history": result.history,
        "stages": [[stage.limits, stage.plans, stage.after.validation_accuracy] for stage in result.stages],
        "plans": [[sorted(map(str, plan.removed)), len(plan)] for plan in result.trail],
        "notes": [note for note in result.notes if "perceptron" not in note and "functional" not in note],
    }
    (folder / "outcome.json").write_text(json.dumps(content))


if __name__ == "__main__":
    serve(run)
