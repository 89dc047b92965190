"""Fresh weights are a function of the seed, whatever was drawn before; what is given is not drawn."""

import dataclasses
import random

import keras
import numpy as np
import pytest
import small_tasks
import teachers
from keras import layers

from tfcompress.methods import Search, Uniform
from tfcompress.plan import KeepChannels, Plan, Reconfigure, ReplaceLayers, Trail
from tfcompress.rewrite import apply, replay
from tfcompress.rewrite.drawing import drawing_from


@keras.saving.register_keras_serializable("tests")
def drawn_by_keras(shape, dtype=None):
    """An initializer as Keras' guide shows one: a function that draws without a seed."""
    return keras.random.normal(shape, dtype=dtype)


@keras.saving.register_keras_serializable("tests")
class Own(layers.Layer):
    """Its initializer stands in no config."""

    def build(self, shape):
        self.table = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="table")

    def call(self, inputs):
        return inputs * self.table


def network():
    keras.utils.set_random_seed(0)
    x = keras.Input((6,), name="x")
    y = layers.Dense(5, kernel_initializer=drawn_by_keras, name="function")(x)
    y = Own(name="own")(layers.Dense(5, activation="relu", name="plain")(y))
    return keras.Model(x, layers.Dense(2, name="head")(y))


FRESH = Plan(
    (
        ReplaceLayers.by(("plain",), keras.Sequential([layers.Dense(7, name="a"), layers.Dense(4, name="b")])),
        KeepChannels("plain_a", (0, 2, 3)),
    ),
    weights="fresh",
)


def disturb(number):
    """Other global random states, other counters."""
    keras.utils.set_random_seed(number)
    keras.random.normal((number,))
    layers.Dense(3).build((None, number))


def weights_of(model):
    return {weight.path: np.array(weight) for weight in model.weights}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for path, value in first.items():
        np.testing.assert_array_equal(value, second[path], err_msg=path)


def test_a_student_with_fresh_weights_is_a_function_of_the_seed():
    model = network()
    students = []
    for number, seed in ((1, 3), (2, 3), (3, 4)):
        disturb(number)
        students.append(weights_of(apply(model, FRESH, seed=seed)))
    assert_same(*students[:2])
    for path in ("function/kernel", "plain_a/kernel", "plain_b/kernel", "own/table", "head/kernel"):
        assert np.abs(students[0][path] - students[2][path]).max() > 1e-3, path
    assert students[0]["plain_a/kernel"].std() > 0.1
    assert_same(students[0], weights_of(replay(model, Trail((FRESH,)), seed=3)))
    with pytest.raises(ValueError, match="Expected `seed`"):
        apply(model, FRESH, seed=-1)


@pytest.mark.parametrize("build", [apply, lambda model, plan, seed: replay(model, Trail((plan,)), seed=seed)])
def test_global_states_are_left_as_they_were(build):
    model, states = network(), []
    for seed in (0, 1):
        keras.utils.set_random_seed(7)
        keras.random.normal((1,))
        build(model, FRESH, seed=seed)
        states.append((random.getstate(), np.array(keras.random.normal((3,)))))
    keras.utils.set_random_seed(7)
    keras.random.normal((1,))
    assert states[0][0] == states[1][0] == random.getstate()
    untouched = np.array(keras.random.normal((3,)))
    for _, numbers in states:
        np.testing.assert_array_equal(numbers, untouched)


def test_a_file_of_weights_needs_no_random_state(tmp_path):
    model = network()
    trail = Trail((FRESH,)).ending_with("model.keras")
    apply(model, FRESH, seed=0).save(tmp_path / "model.keras")
    keras.utils.set_random_seed(7)
    before = random.getstate()
    replay(model, trail, tmp_path)
    assert random.getstate() == before
    replay(model, trail)  # weights to be trained
    assert random.getstate() != before


def test_the_states_come_back_after_an_error():
    before = random.getstate()
    with pytest.raises(KeyError), drawing_from((1, 2)):
        random.random()
        raise KeyError
    assert random.getstate() == before


@dataclasses.dataclass(frozen=True)
class Fresh(Uniform):
    """Takes a kernel of another size, and half of another layer's channels, everything from the beginning."""

    def search(self, task):
        edits = (Reconfigure("block2_conv1", {"kernel_size": 1}), KeepChannels("block1_conv1", (0,)))
        return Search(task.model, Trail((Plan(edits, weights="fresh"),)))


def test_a_run_with_a_fresh_plan_is_a_function_of_its_seed():
    model, students = small_tasks.residual_network(), []
    for number, seed in ((1, 0), (2, 0), (3, 1)):
        disturb(number)
        result = teachers.compress(model, Fresh(epochs=0), flops_budget=0.9, seed=seed)
        students.append(weights_of(result.model))
    assert_same(*students[:2])
    assert np.abs(students[0]["stem/kernel"] - students[2]["stem/kernel"]).max() > 1e-3
