"""What users of Keras are used to: `epochs=`, an optimizer, callbacks, in `compress` as in `fit`."""

from unittest import mock

import keras
import numpy as np
import pytest
import small_tasks

import tfcompress
from tfcompress import workflow
from tfcompress.methods import RLAL, Random, Uniform
from tfcompress.methods.rlal import AgentSettings


class _Seen(keras.callbacks.Callback):
    """Notes what it is told."""

    def __init__(self):
        super().__init__()
        self.epochs, self.logs, self.optimizers = [], [], []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)
        self.logs.append(dict(logs))
        self.optimizers.append(self.model.optimizer)


def _compressed(method="uniform", model=None, **arguments):
    model = small_tasks.three_convolutions() if model is None else model
    given = {"flops_budget": 0.6, "verbose": 0, **arguments}
    return tfcompress.compress(model, method, small_tasks.pictures(96), **given)


def test_short_forms_are_the_methods_settings(tmp_path):
    seen, adam = _Seen(), keras.optimizers.Adam(0.004, beta_1=0.75)
    path = tmp_path / "epoch.keras"
    callbacks = [seen, keras.callbacks.ModelCheckpoint(path)]
    result = _compressed(epochs=2, learning_rate=0.002, optimizer=adam, callbacks=callbacks)
    assert result.settings["epochs"] == 2
    assert result.settings["optimizer"]["config"]["beta_1"] == 0.75
    # A cosine from 0.002: half of it in the second of two epochs. The given optimizer stays as it was.
    np.testing.assert_allclose([logs["learning_rate"] for logs in seen.logs], [0.002, 0.001], rtol=1e-6)
    assert [type(each) for each in seen.optimizers] == [keras.optimizers.Adam] * 2
    assert not any(each is adam for each in seen.optimizers)
    assert not adam.built and float(adam.learning_rate) == pytest.approx(0.004)
    assert seen.epochs == [0, 1]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(seen.logs[0])
    # What a callback saves is the plain student, as it was after the last epoch.
    saved = keras.saving.load_model(path)
    assert [layer.name for layer in saved.layers] == [layer.name for layer in result.model.layers]


def test_early_stopping_ends_the_training():
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", mode="max", patience=1)  # it falls: nothing gets better
    history = _compressed(epochs=5, callbacks=stop).history["recover"]
    assert len(history["loss"]) == 2  # Keras stops from the second epoch on


def test_the_optimizer_that_the_model_is_compiled_with():
    model = small_tasks.three_convolutions()
    compiled = keras.optimizers.RMSprop(0.005)
    model.compile(compiled, "sparse_categorical_crossentropy", metrics=["accuracy"])
    seen = _Seen()
    result = _compressed(Uniform(epochs=1, schedule="constant"), model, optimizer="compiled", callbacks=[seen])
    assert type(seen.optimizers[0]) is keras.optimizers.RMSprop
    assert seen.logs[0]["learning_rate"] == pytest.approx(0.005)
    assert not any("is not used" in note for note in result.notes)
    assert model.optimizer is compiled and not compiled.built


def test_a_compiled_adam_goes_on_where_it_was_stopped(tmp_path):
    """The run folder knows the optimizer again, fresh or used; tests/training/test_resume.py resumes one bit for bit."""
    model = small_tasks.three_convolutions()
    model.compile(keras.optimizers.Adam(0.004), "sparse_categorical_crossentropy", metrics=["accuracy"])

    class Killed(BaseException):
        """Stands for a kill: nothing catches it."""

    with mock.patch.object(workflow, "_measured", side_effect=Killed):  # the folder is that of this run by then
        for _ in range(2):
            with pytest.raises(Killed):
                _compressed(model=model, optimizer="compiled", run_dir=tmp_path)
            model.optimizer.build(model.trainable_variables)
        model.optimizer.beta_1 = 0.5
        with pytest.raises(ValueError, match=r"method.optimizer.config.config.beta_1: 0.9 in the folder, 0.5 now"):
            _compressed(model=model, optimizer="compiled", run_dir=tmp_path)


def test_an_uncompiled_model_has_no_optimizer():
    model = small_tasks.residual_network(activation="softmax")
    with pytest.raises(ValueError, match=r"compiled with an optimizer, for optimizer='compiled'"):
        _compressed(model=model, optimizer="compiled")


def test_a_plateau_lowers_a_rate_that_is_constant():
    """Its factor holds in the epoch after, where a schedule would set the rate again."""
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=1e9)
    method = Uniform(epochs=3, schedule="constant", learning_rate=0.008)
    history = _compressed(method, callbacks=[plateau]).history["recover"]
    np.testing.assert_allclose(history["learning_rate"], [0.008, 0.008, 0.004], rtol=1e-6)


def test_callbacks_do_not_see_a_search():
    """The agent's joint training has epochs of its own; one that ended it early would leave no plan."""
    seen = _Seen()
    agent = AgentSettings(hidden=(8,), batch_size=4, updates_per_epoch=1)
    method = RLAL(epochs=4, joint=True, batch_size=32, episodes_per_epoch=2, agent=agent)
    result = _compressed(method, callbacks=[seen])
    assert len(result.history["search"]["loss"]) == 4
    assert len(seen.epochs) == len(result.history["recover"]["loss"]) == 4


def test_a_preset_and_an_instance_are_overruled():
    for arguments in ({"method": "random", "preset": "fast"}, {"method": Random(tries=2, epochs=9)}):
        result = _compressed(**arguments, epochs=1)
        assert result.settings["epochs"] == 1
        assert len(result.history["recover"]["loss"]) == 1


def test_metrics_of_ones_own_are_reported_and_chosen_by(tmp_path):
    model = small_tasks.three_convolutions()
    f1 = keras.metrics.F1Score(average="macro", name="f1")
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy", f1])
    x, y = small_tasks.pictures(96)
    test = small_tasks.pictures(64, seed=5)
    one_hot = keras.utils.to_categorical
    given = (x, one_hot(y, 4))
    arguments = {"flops_budget": 0.6, "test_data": (test[0], one_hot(test[1], 4)), "verbose": 0}
    result = tfcompress.compress(model, Uniform(epochs=2), given, monitor="f1", **arguments)
    assert result.metric == "f1"
    answers = [each.predict(test[0], verbose=0).argmax(-1) for each in (model, result.model)]
    for measured, answer in zip((result.before, result.after), answers, strict=True):
        shares = []
        for number in range(4):  # macro F1 by hand: 2 TP / (2 TP + FP + FN), meant over classes
            right = np.sum((answer == number) & (test[1] == number))
            shares.append(2 * right / (np.sum(answer == number) + np.sum(test[1] == number)))
        assert measured.accuracy == pytest.approx(np.mean(shares), abs=1e-5)
        assert measured.metrics["accuracy"] == pytest.approx(np.mean(answer == test[1]), abs=1e-6)
    history = result.history["recover"]
    assert {"val_f1", "val_accuracy"} <= set(history)
    best = int(np.argmax(history["kept"]))
    assert history["val_f1"][best] == max(history["val_f1"])
    assert "accuracy (test)" in str(result)
    result.save(tmp_path / "result")
    assert tfcompress.Result.load(tmp_path / "result").after == result.after


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"epochs": "many"}, TypeError, "Expected `epochs`"),
        ({"epochs": -1}, ValueError, "Expected `epochs`"),
        ({"optimizer": "lamp"}, ValueError, "Expected `optimizer`"),
        ({"monitor": "auc"}, ValueError, r"Expected `monitor` to name a metric .* 'accuracy', 'loss'"),
        ({"monitor": 3}, TypeError, "Expected `monitor`"),
        ({"monitor": "accuracy", "objective": lambda y, outputs: y}, ValueError, "None beside `objective`"),
        ({"callbacks": [print]}, TypeError, r"Expected `callbacks` to be keras callbacks"),
        ({"callbacks": keras.callbacks.EarlyStopping}, TypeError, r"Expected `callbacks` to be keras callbacks"),
    ],
)
def test_refusals(arguments, error, words):
    with pytest.raises(error, match=words):
        _compressed(**arguments)
