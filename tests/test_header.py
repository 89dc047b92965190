"""What a run says before its first step."""

import dataclasses
from unittest import mock

import keras
import numpy as np
import pytest
import small_tasks
from keras import layers

import tfcompress
from tfcompress import header as header_lib
from tfcompress.header import header, measured_step, warning_of_time
from tfcompress.methods import KD, Random, Scratch, Uniform
from tfcompress.network import Network
from tfcompress.training import StepTime, open_run
from tfcompress.training.step_time import timed_step


@pytest.fixture(scope="module")
def task():
    """A quarter right by chance, 0.9 right: trained. 96 pictures, of which 10 are held out."""
    return small_tasks.task_for(small_tasks.trained_network(), accuracy=0.9, flops=0.5)


def lines(method, task, step=None):
    with mock.patch.object(header_lib, "_processor", return_value="2 CPU cores"):
        return header(Network.of(task.model), method, task, step)


def test_model_plan_and_training(task):
    said = lines(Uniform(epochs=7, batch_size=16), task)
    assert list(said) == ["model", "plan", "training", "time"]
    assert said["model"] == (
        "small: 21,696 MACs, 1,486 parameters; accuracy 0.9000 on the validation split "
        "(loss sparse_categorical_crossentropy)"
    )
    assert said["plan"] == (
        "uniform, at most 21,696 FLOPs (50.0%); preset balanced, except epochs=7, batch_size=16; "
        "channels ranked by next_layer_l1_norm"
    )
    assert said["training"] == (
        "fine-tuning 7 epochs; SGD with learning rate 0.01; batches of 16; learns from labels and soft targets "
        "of the original model"
    )


def test_what_teaches(task):
    assert "learns from labels only" in lines(Uniform(teach=None), task)["training"]
    assert "learns from labels only" in lines(Scratch(), task)["training"]
    assert "soft targets of the original model (alpha 0.5, tau 4)" in lines(KD(), task)["training"]


def test_nothing_is_trained(task):
    said = lines(Uniform(epochs=0), task)
    assert (said["training"], said["time"]) == ("none", "nothing is trained")


def test_control_and_frozen_layers():
    model = small_tasks.residual_network(activation="softmax")
    model.get_layer("stem").trainable = model.get_layer("stem_bn").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    control = tfcompress.Control(exclude="block1_conv1", round_to=4)
    task = small_tasks.task_for(model, accuracy=0.25, flops=0.5)
    said = lines(Uniform(), dataclasses.replace(task, control=control))
    assert said["plan"].endswith("widths in multiples of 4; exclude=['block1_conv1']")
    assert said["training"].endswith("of 2 frozen layers, only those whose weights change are trained")
    said = lines(Uniform(), dataclasses.replace(task, control=tfcompress.Control(round_to="auto")))
    assert said["plan"].endswith("widths that pay in latency, by a table of operators that is measured")


def test_the_time_of_all_phases(task, tmp_path):
    """10 epochs with 3/4 of the MACs and 30 with half of them, a teacher of 1/3 beside both; 60 s an epoch of all."""
    method = Uniform(steps=2, step_epochs=10)
    said = lines(method, task, StepTime(60.0, 15.0))
    # 10 x 60 x 13/12 + 15 = 665 s; 30 x 60 x 5/6 + 15 = 1,515 s; with 5 of these 30 epochs 15 / 35.83 of the work.
    assert said["time"] == (
        "about 36 min 20 s on 2 CPU cores (training after step 1 11 min 5 s, fine-tuning 25 min 15 s); "
        "preset='fast' takes about 15 min 13 s"
    )
    assert lines(method, task, StepTime(1.0, 1.0))["time"] == "under a minute on 2 CPU cores"
    assert warning_of_time(method, task, StepTime(60.0, 15.0)) is None
    # 35.83 epochs and 30 s of compiling: 99.6 s an epoch make an hour.
    assert warning_of_time(method, task, StepTime(99.0, 15.0)) is None
    assert warning_of_time(method, task, StepTime(101.0, 15.0)).startswith(
        "Warning: this run takes about 1 h 0 min, and"
    )
    with open_run(tmp_path / "run") as run:
        kept = dataclasses.replace(task, run=run)
        assert warning_of_time(method, kept, StepTime(101.0, 15.0)) is None
        assert "; Ctrl-C is safe, the same call goes on; preset=" in lines(method, kept, StepTime(60.0, 15.0))["time"]
        (run.path / "result").mkdir()
        assert lines(method, kept, None)["time"].startswith("this run was finished before; ")


def test_without_a_measured_step_the_time_is_said_later(task):
    assert lines(Uniform(), task)["time"] == "known after the first epoch"


def dropping():
    """A network with everything that a training step changes: statistics, states of random layers, weights."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6,))
    x = layers.BatchNormalization()(layers.Dense(8)(inputs))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Dropout(0.5)(x)))


def test_a_timed_step_changes_nothing():
    model, now = dropping(), iter([0.0, 10.0, 20.0, 21.0, 30.0, 33.0])
    before, x = [np.array(variable) for variable in model.variables], np.ones((4, 6), "float32")
    keras.utils.set_random_seed(11)
    assert timed_step(model, x, lambda: next(now)) == (2.0, 8.0)  # of 1 s and 3 s, and 10 s less 2 s
    drawn = keras.random.uniform((3,))
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, variable)
    keras.utils.set_random_seed(11)
    np.testing.assert_array_equal(drawn, keras.random.uniform((3,)))


def test_a_timed_step_computes_all_gradients():
    """It runs the layers as in training, and backwards to the first of them."""
    seen = []

    class Looks(layers.Layer):
        def call(self, x, training=None):
            seen.append(training)

            @keras.ops.custom_gradient
            def same(inputs):
                return inputs, lambda *args, upstream=None: seen.append("backwards") or (upstream or args[0])

            return same(x)

    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(3)(Looks()(layers.Dense(4)(inputs))))
    seen.clear()
    assert timed_step(model, np.ones((4, 6), "float32")) is not None
    assert seen == [True, "backwards"]
    whole = keras.Model(inputs, keras.ops.cast(inputs, "int32"))
    assert timed_step(whole, np.ones((4, 6), "float32")) is None


def test_the_time_of_an_epoch(task):
    """86 pictures are left for training; a step of 16 takes 2 s: 86 / 16 x 2 s."""
    with mock.patch.object(header_lib, "timed_step", return_value=(2.0, 3.0)) as timed:
        assert measured_step(Uniform(batch_size=16), task) == StepTime(10.75, 9.0)
        inputs = timed.call_args.args[1]
        assert (inputs.shape, inputs.dtype) == ((16, 8, 8, 1), "float32")
        assert abs(inputs.std() - 1) < 0.1  # no picture, whose deviation is 0.3
        assert measured_step(Uniform(epochs=0), task) is None
    with mock.patch.object(header_lib, "timed_step", side_effect=NotImplementedError):
        assert measured_step(Random(), task) is None


def test_a_call_says_it_and_warns(capsys):
    model = small_tasks.three_convolutions()
    call = {"data": small_tasks.pictures(64), "flops_budget": 0.8}
    method = Uniform(epochs=1, batch_size=32)
    with mock.patch("tfcompress.workflow.measured_step", return_value=StepTime(8000.0, 0.0)) as measured:
        result = tfcompress.compress(model, method, verbose=1, **call)
        shown = capsys.readouterr()
        silent = tfcompress.compress(model, method, verbose=0, **call)
        assert measured.call_count == 1  # nobody reads it where nothing is shown
    lines = shown.out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["model", "plan", "training", "time"]
    warnings = [line for line in lines if line.startswith("Warning: ")]
    assert any("this run takes about 1 h 46 min" in line for line in warnings)  # 8,000 s x 0.8
    assert any("at chance level" in line for line in warnings)
    assert lines.index(warnings[-1]) < next(i for i, line in enumerate(lines) if "epoch 1 of 1" in line)
    assert all(line in result.notes for line in warnings)
    assert all(line in str(result) for line in warnings)
    assert shown.err == "" and capsys.readouterr() == ("", "")
    assert not any("takes about" in note for note in silent.notes)


def test_inputs_of_any_size_and_of_several_kinds():
    inputs = {
        "image": keras.Input((None, None, 1), name="image"),
        "word": keras.Input((5,), dtype="int32", name="word"),
    }
    known = {**inputs, "image": keras.Input((8, 8, 1), name="image")}
    models = [keras.Model(each, layers.GlobalAveragePooling2D()(each["image"])) for each in (known, inputs)]
    numbers = header_lib._numbers(models[0], 3)
    assert {name: (each.shape, str(each.dtype), each.any()) for name, each in numbers.items()} == {
        "image": ((3, 8, 8, 1), "float32", True),
        "word": ((3, 5), "int32", False),
    }
    assert header_lib._numbers(models[1], 3) is None
