"""The best epoch's weights: which they are, and that they survive an interruption."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress import training
from tfcompress.data.batches.epochs import ArrayBatches
from tfcompress.training.keeping import Best

LOSS = keras.losses.MeanSquaredError()


def chosen(objective, *logs):
    """The number of the best epoch."""
    best = Best(objective)
    for epoch, row in enumerate(logs, start=1):
        best.look(epoch, row, {"0": np.array(epoch)})
    assert best.epoch == 0 or best.tensors["0"] == best.epoch
    return best.epoch


def row(accuracy, loss):
    return {"val_accuracy": accuracy, "val_loss": loss}


def test_the_rule():
    higher = training.Objective(LOSS, lambda: keras.metrics.BinaryAccuracy("accuracy"))
    lower = training.Objective(LOSS, lambda: keras.metrics.MeanSquaredError("accuracy"), higher_is_better=False)
    assert chosen(higher, row(0.17, 3.0), row(0.69, 2.0), row(0.44, 1.0)) == 2
    assert chosen(lower, row(0.17, 3.0), row(0.69, 2.0), row(0.44, 1.0)) == 1
    assert chosen(training.Objective(LOSS, None), row(0.17, 3.0), row(0.69, 2.0), row(0.44, 1.0)) == 3
    assert chosen(higher, row(0.5, 2.0), row(0.5, 1.0), row(0.5, 3.0)) == 2  # of equal ones the lower loss
    assert chosen(higher, row(0.5, 2.0), row(0.5, 2.0)) == 2  # of equal ones the later
    assert chosen(higher, row(0.5, 2.0), row(math.nan, 1.0), row(0.9, math.inf)) == 1
    assert chosen(higher, row(math.nan, math.nan)) == 0


# Three epochs on y = 0 from w = 1: the learning rates make w what the schedule says.
TARGETS = (0.5, 0.25, 2.0)


def one_weight():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    return model


def batches():
    return ArrayBatches(np.ones((4, 1), "float32"), np.zeros((4, 1), "float32"), 4)


class Sets(keras.callbacks.Callback):
    """Gives the weight its value of each epoch, and stops the process in one."""

    def __init__(self, dies_in=None):
        super().__init__()
        self.dies_in = dies_in

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.dies_in:
            raise KeyboardInterrupt
        self.model.inner.layers[-1].kernel.assign([[TARGETS[epoch]]])


def train(model, keep, run=None, dies_in=None, metric=None):
    objective = training.Objective(LOSS, metric, higher_is_better=False)
    phase = None if run is None else training.Phase("fine-tuning", run)
    settings = {"optimizer": keras.optimizers.SGD(0.0), "epochs": len(TARGETS), "validation": batches()}
    return training.fit(model, batches(), objective, callbacks=[Sets(dies_in)], phase=phase, keep=keep, **settings)


def test_best_and_last():
    model = one_weight()
    history = train(model, "best")
    assert model.get_weights()[0].item() == 0.25
    assert history["kept"] == [0.0, 1.0, 0.0]
    words = training.words_for_kept("fine-tuning", history, training.Objective(LOSS, None))
    assert words == (
        "fine-tuning: the weights of epoch 2 of 3 are kept, the best on the validation split: val_loss 0.0625, "
        "4.0000 in the last epoch"
    )
    model = one_weight()
    history = train(model, "last")
    assert model.get_weights()[0].item() == 2.0
    assert "kept" not in history
    assert training.words_for_kept("fine-tuning", history, training.Objective(LOSS, None)) is None


@pytest.mark.parametrize("dies_in", [1, 2])
def test_an_interruption(tmp_path, dies_in):
    with training.open_run(tmp_path / "run", {}) as run:
        with pytest.raises(KeyboardInterrupt):
            train(one_weight(), "best", run, dies_in)
        for _ in range(2):  # goes on; then finds it finished
            model = one_weight()
            history = train(model, "best", run)
            assert model.get_weights()[0].item() == 0.25
            assert history["kept"] == [0.0, 1.0, 0.0]


def test_nothing_to_choose_by():
    with pytest.raises(ValueError, match="Expected `validation`, to find the best weights"):
        training.fit(
            one_weight(),
            batches(),
            training.Objective(LOSS, None),
            optimizer=keras.optimizers.SGD(0.0),
            epochs=1,
            keep="best",
        )
