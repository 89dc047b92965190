"""A small training with everything that a resume must restore; `test_resume.py` interrupts it.

python resumed_run.py KILLED WHOLE      trains in KILLED until it kills itself (kill -9) in the third epoch, goes on there,
                                        and trains in WHOLE from beginning to end

Each of the three is a process of its own, forked from one that has imported everything; it prints their exit codes.
What came out is in KILLED/outcome.npz and WHOLE/outcome.npz.
"""

import json
import os
import pathlib
import random
import signal
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress import training
from tfcompress.data.batches.epochs import ArrayBatches

EPOCHS = 4


class Wandering(keras.callbacks.Callback):
    """A penalty whose mask is drawn anew after each epoch: state that only a checkpoint can bring back."""

    name = "wandering"

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(11)
        self.mask = keras.Variable(np.zeros(3, "float32"), trainable=False)

    def build(self, model):
        self.bias = model.trainable_variables[-1]

    def __call__(self):
        return keras.ops.sum(self.mask * self.bias)

    def on_epoch_end(self, epoch, logs=None):
        self.mask.assign(self.rng.normal(size=3))
        logs["drawn"] = float(self.mask[0])

    def state_dict(self):
        state = json.dumps(self.rng.bit_generator.state).encode()
        return {"mask": np.array(keras.ops.convert_to_numpy(self.mask)), "rng": np.frombuffer(state, "uint8")}

    def load_state_dict(self, tensors):
        self.mask.assign(tensors["mask"])
        self.rng.bit_generator.state = json.loads(tensors["rng"].tobytes())


class Interrupt(keras.callbacks.Callback):
    """Calls `action` at a place in the training: "step" before a step, "epoch" at the end of an epoch."""

    def __init__(self, where, epoch, step, action):
        super().__init__()
        self.at, self.action, self.epoch = (where, epoch, step), action, None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.at == ("step", self.epoch, batch):
            self.action()

    def on_epoch_end(self, epoch, logs=None):
        if self.at[:2] == ("epoch", epoch):
            self.action()


class Last(keras.callbacks.Callback):
    """Notes the optimizer's variables at the end of the training."""

    def on_train_end(self, logs=None):
        self.variables = training.optimizer_state(self.model.optimizer)


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.5, seed=4),
            layers.Dense(3),
        ]
    )


def train(folder, callbacks=(), epochs=EPOCHS):
    """Returns everything that has come out, by name."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 6, 6, 1)).astype("float32"), rng.integers(0, 3, 20)
    batches = ArrayBatches(x, y, 8, shuffle=True, seed=5)
    model, wandering, last = network(), Wandering(), Last()
    random.seed()  # nothing may depend on Python's global random state, which no checkpoint holds
    np.random.seed()
    metric = keras.metrics.SparseCategoricalAccuracy
    with training.open_run(folder, {"epochs": epochs}) as run:
        history = training.fit(
            model,
            batches,
            training.Objective(keras.losses.SparseCategoricalCrossentropy(from_logits=True), metric),
            optimizer=keras.optimizers.Adam(0.9),
            epochs=epochs,
            validation=ArrayBatches(x, y, 10),
            schedule=training.Cosine(0.02),
            penalties=[training.WeightDecay(0.01), wandering],
            callbacks=[wandering, last, *callbacks],
            phase=training.Phase("joint", run, stateful={"wandering": wandering}),
        )
    outcome = {f"model/{name}": tensor for name, tensor in training.model_state(model).items()}
    outcome |= {f"optimizer/{name}": tensor for name, tensor in getattr(last, "variables", {}).items()}
    outcome |= {f"history/{name}": np.array(values) for name, values in history.items()}
    outcome["next draw"] = wandering.rng.normal(size=2)
    return outcome


def main(killed, whole):
    kill = Interrupt("step", 2, 1, lambda: os.kill(os.getpid(), signal.SIGKILL))
    for folder, callbacks in ((killed, [kill]), (killed, []), (whole, [])):
        process = os.fork()
        if not process:
            code = 1
            try:
                tf.config.experimental.enable_op_determinism()
                np.savez(pathlib.Path(folder) / "outcome.npz", **train(folder, callbacks))
                code = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
