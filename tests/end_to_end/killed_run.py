"""Compresses a tiny network in a run folder, and kills itself (kill -9) where `test_resume.py` says.

    python killed_run.py

imports everything once and then forks a process for each job, so that a restart costs no imports. A job is a line of
JSON on standard input: the arguments of `run`. The answer is a line with the exit code, -9 for a killed process.
"""

import collections
import functools
import hashlib
import json
import os
import pathlib
import shutil
import signal

import keras
import numpy as np
import sklearn.datasets
import tensorflow as tf
from keras import layers

import tfcompress
from tests.helpers import not_measured  # noqa: F401
from tests.helpers.forking import serve
from tests.helpers.trained_students import TrainedStudents
from tfcompress import stage, workflow
from tfcompress.agents import DdpgAgent, PruningAgent, _tf_agents
from tfcompress.methods import AMC, DARC, LIT, N2N, RLAL, Random, TaylorPruning, Uniform, phases, register_method
from tfcompress.methods.agent_search import AgentSearch
from tfcompress.methods.amc import AgentSettings as OfAMC
from tfcompress.methods.n2n.records import Records
from tfcompress.methods.n2n.stages import Stages
from tfcompress.methods.rlal import AgentSettings
from tfcompress.methods.rlal import method as rlal
from tfcompress.methods.taylor.pruning import GreedyRun
from tfcompress.training import Checkpoints, RunFolder, StepTime, _files, callbacks

LONGEST_S = 1800  # of a job of some ten seconds, on a machine that ten others use

register_method("trained_students")(TrainedStudents)

_SHORT = {"batch_size": 32, "learning_rate": 0.1, "schedule": "step", "reference_epochs": 6, "milestones": (3, 5)}
METHODS = {
    # Epochs 1: weights only, 2: the buffer is filled, 3 and 4: the agent learns, 5 and 6: alignment.
    "rlal": RLAL(
        epochs=6,
        finetune_epochs=3,
        agent_epochs=(1, 2, 4),
        episodes_per_epoch=2,
        alignment=1e-2,
        reward_images=100,
        recalibrate_batches=1,
        agent=AgentSettings(hidden=(8,), batch_size=8, updates_per_epoch=2),
        **_SHORT,
    ),
    # Two rounds of ten episodes; the agent learns from the third on. Then three moves of channels.
    "rlal on fixed weights": RLAL(
        joint=False,
        agent_epochs=(1, 2, 4),  # no later than `reference_epochs`
        episodes=20,
        local_search=3,
        epochs=3,
        reward_images=100,
        teach="kd",
        agent=AgentSettings(hidden=(8,), batch_size=8, updates_per_epoch=2),
        **_SHORT,
    ),
    "uniform": Uniform(epochs=2, steps=2, step_epochs=2, **_SHORT),
    "lit": LIT(
        epochs=3,
        finetune_epochs=3,
        finetune_learning_rate=0.05,
        finetune_milestones=(2,),
        finetune_reference_epochs=3,
        **_SHORT,
    ),
    "trained_students": TrainedStudents(epochs=3, student_epochs=2, **_SHORT),
    # The first block replaces one unit, or none; a snapshot is within the budget after the second.
    "darc": DARC(
        replacements=("1x1FC", "3x3+1x1"),
        epochs=1,
        batch_size=32,
        blocks=2,
        block_epochs=2,
        strength=4.6,
        growth=4.0,
        rate_decay=1.0,
        alpha_rate=1.0,
        mixup=1.0,
    ),
    # Two rounds of ten episodes; the agent learns from the sixth on.
    "amc": AMC(
        episodes=20,
        exploring=5,
        epochs=3,
        reward_images=100,
        recalibrate_batches=1,
        agent=OfAMC(hidden=(8,), batch_size=8),
        **_SHORT,
    ),
    "taylor": TaylorPruning(runs=2, filters=3, updates=5, update_rate=0.05, epochs=3, **_SHORT),
    # Two students a stage; the removal policy learns of the first two, the shrinkage policy of the others.
    "n2n": N2N(updates=1, rollouts=2, score_epochs=1, epochs=3, batch_size=32),
    "random": Random(epochs=3, tries=3, reward_images=100, recalibrate_batches=1, **_SHORT),
}


class Places:
    """Names each place that a run passes, notes it in a file, and acts where something is to be done at that place.

    A place is called `part: kind number`, as in `fine-tuning, epoch 2: step 3`. A continued run passes the places
    behind its last checkpoint under the same names.
    """

    def __init__(self, notes, actions):
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._actions = actions
        self.phase = ""
        self.enter("start")

    def enter(self, part):
        self._part = part
        self._passed = collections.Counter()

    def reach(self, kind):
        self._passed[kind] += 1
        place = f"{self._part}: {kind} {self._passed[kind]}"
        os.write(self._notes, f"{place}\n".encode())  # unbuffered: the system keeps it when the process is killed
        if place in self._actions:
            self._actions[place]()

    def watch(self, owner, name, kind, part=None):
        """Makes each call of `owner.name` a place; `part(*arguments)` names a part of the run that begins with it."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def reached(*args, **kwargs):
            if part is not None:
                self.enter(part(*args, **kwargs))
            self.reach(kind)
            return function(*args, **kwargs)

        setattr(owner, name, reached)


def watch_everything(places):
    def begin(*args, phase, **kwargs):
        places.phase = phase.name
        return f"{phase.name}, start"

    places.watch(phases, "fit", "fit", begin)

    def begin_stage(stages, name, *args, **kwargs):
        places.phase = name
        return f"{name}, start"

    places.watch(Stages, "played", "stage", begin_stage)
    places.watch(Records, "add", "record", lambda *a: "record of a student")
    places.watch(
        callbacks.EpochStart, "on_epoch_begin", "begin", lambda _, epoch, *a: f"{places.phase}, epoch {epoch + 1}"
    )
    places.watch(PruningAgent, "act", "act")
    places.watch(PruningAgent, "learn", "learn")
    places.watch(AgentSearch, "run", "search", lambda *a: "search of an agent")
    places.watch(rlal, "local_search", "move", lambda *a: "moves of channels")
    places.watch(PruningAgent, "remember", "episode")
    places.watch(DdpgAgent, "remember", "episode")
    places.watch(GreedyRun, "_trained", "begin", lambda run, _, step: f"run {run._number} of pruning, epoch {step + 1}")
    places.watch(callbacks.Guard, "on_train_batch_begin", "step")
    places.watch(callbacks.Reporter, "on_test_begin", "validation")
    places.watch(callbacks.Recorder, "on_epoch_end", "end")
    places.watch(_files, "sync", "sync")
    places.watch(Checkpoints, "_remove", "remove")
    places.watch(Checkpoints, "finish", "finish", lambda checkpoints, *a: f"{checkpoints.folder.name}, finish")
    places.watch(RunFolder, "write_json", "write", lambda _, name, *a: f"write {name}")
    places.watch(RunFolder, "save_model", "save", lambda _, name, *a: f"save {name}")
    places.watch(stage, "verify", "verify", lambda *a, **k: "verify")
    places.watch(workflow, "result_of", "report", lambda *a: "report")
    places.watch(tfcompress.Result, "save", "save", lambda *a: "result")


class Double(layers.Layer):
    """A layer of the user's own, which Keras could not make from a file."""

    def call(self, x):
        return 2 * x


# By method, how often the first block follows itself. What a run of these takes is tracing its networks, layer by layer.
_REPEATED = {"lit": 3, "n2n": 0, "rlal": 0, "uniform": 0}


def network(repeated):
    """Residual blocks with 6 channels inside, and one with 9; the weights are the same in every process."""

    def convolution(x, filters, size, strides, name):
        x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False, name=name)(x)
        return layers.BatchNormalization(momentum=0.7, name=f"{name}_norm")(x)

    def block(x, inner, outer, strides, name):
        y = layers.ReLU(name=f"{name}_relu1")(convolution(x, inner, 3, strides, f"{name}_conv1"))
        y = convolution(layers.Dropout(0.1, name=f"{name}_dropout")(y), outer, 3, 1, f"{name}_conv2")
        x = x if strides == 1 else convolution(x, outer, 1, strides, f"{name}_shortcut")
        return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, y]))

    inputs = keras.Input((8, 8, 1), name="images")
    x = convolution(inputs, 4, 3, 1, "stem")
    for number in range(repeated):
        x = block(x, 6, 4, 1, f"block1{'abc'[number] if number else ''}")
    x = block(x, 9, 8, 2, "block2")
    x = Double(name="double")(layers.GlobalAveragePooling2D(name="pool")(x))
    x = layers.Dropout(0.2, name="dropout")(x)
    model = keras.Model(inputs, layers.Dense(10, name="classes")(x), name="tiny")
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if len(weight.shape) > 1:
            weight.assign(rng.normal(size=weight.shape) * 0.3)
    return model


def digits():
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
    return (x[:100], y[:100]), (x[100:200], y[100:200])


def digest(model):
    """A hash of a model's weights; `None` of no model."""
    weights = model and b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights())
    return weights and hashlib.sha256(weights).hexdigest()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def run(method, folder, kill_at, copy_at):
    """Compresses in `folder/run`.

    The places that it passes go to `folder/places`, what it prints to `folder/printed`, and what came out to
    `folder/outcome.json`; at the place `copy_at` the run folder is copied to `folder/copy`.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    signal.alarm(LONGEST_S)  # a run that hangs ends
    output = os.open(folder / "printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # Refused where TensorFlow was at work before the fork; and operations may run in several threads on any machine.
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.experimental.enable_op_determinism()
    # Other numbers in each process: nothing may depend on the global random state, which no checkpoint holds.
    keras.utils.set_random_seed(os.getpid())
    train, validation = digits()
    actions = {copy_at: lambda: shutil.copytree(folder / "run", folder / "copy"), kill_at: kill}
    watch_everything(Places(folder / "places", actions))
    # Timing a step beforehand compiles the training once more: for one method, and where it runs to the end.
    if method != "uniform" or kill_at is not None:
        workflow.measured_step = lambda *_: StepTime(epoch_s=0.01, compile_s=1.0)
    model = network(_REPEATED.get(method, 1))
    result = tfcompress.compress(
        model, METHODS[method], train, validation_data=validation, flops_budget=0.6, run_dir=folder / "run", seed=7
    )
    result.history["search"].pop("students: seconds", None)
    content = {"trail": result.trail.to_json(), "weights": digest(result.model), "history": result.history}
    content["candidates"] = [(c.trail.to_json(), c.score, digest(c.model)) for c in result.candidates]
    (folder / "outcome.json").write_text(json.dumps(content))


if __name__ == "__main__":
    _tf_agents.load()
    serve(run)
