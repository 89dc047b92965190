"""The check has the model itself for its reference, knows rounding from mistakes, and leaves no trace."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.rewrite.verify import check_copy, verify

RNG = np.random.default_rng(0)


class Forgetful(layers.Layer):
    """Its config leaves out an argument that has a default."""

    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return super().get_config()


class Noisy(layers.Layer):
    """Random at inference too."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        return inputs + keras.random.normal(ops.shape(inputs), seed=self.seed_generator)


def chain(*after, shape=(6,), units=16):
    keras.utils.set_random_seed(1)
    x = keras.Input(shape)
    y = layers.Dense(units, activation="relu", name="dense")(x)
    for layer in after:
        y = layer(y)
    return keras.Model(x, layers.Dense(3, name="head")(y))


def inputs_of(model, count=8):
    return RNG.normal(size=(count, *model.input_shape[1:])).astype("float32")


HALF = Plan.keeping({"dense": range(0, 16, 2)})


def test_a_layer_whose_config_forgets_an_argument_is_named():
    model = chain(layers.Dense(4, name="four"), Forgetful(3.0, name="forgetful"))
    with pytest.raises(TypeError, match=r"made so by layer 'forgetful' \(Forgetful\).*get_config\(\)"):
        check_copy(model, apply(model, Plan()), inputs_of(model))
    good = chain(layers.Dense(4, name="four"))
    check_copy(good, apply(good, Plan()), inputs_of(good))


def test_random_layers_neither_disturb_nor_are_disturbed():
    model = chain(Noisy())
    student = apply(model, Plan())
    generators = [m.layers[2].seed_generator for m in (model, student)]
    generators[1].state.assign(generators[1].state + 5)
    before = [np.array(g.state) for g in generators]
    assert verify(model, Plan(), student, inputs_of(model)) < 1e-6
    for state, generator in zip(before, generators, strict=True):
        np.testing.assert_array_equal(state, generator.state)


def test_dropout_that_is_always_on_is_passed_over():
    x = keras.Input((6,))
    y = layers.Dropout(0.5)(layers.Dense(16, name="dense")(x), training=True)
    model = keras.Model(x, layers.Dense(3, name="head")(y))
    assert verify(model, HALF, apply(model, HALF), inputs_of(model)) < 1e-5
    assert model(ops.ones((4, 6))).shape == (4, 3)
    assert "call" not in vars(model.layers[2])


def cancelling():
    """Two sums of thousands whose difference is a thousand times smaller."""
    keras.utils.set_random_seed(1)
    x = keras.Input((20,))
    p, q = layers.Dense(1, name="p"), layers.Dense(1, name="q")
    y = layers.Dense(64, activation="relu", name="last")(layers.Dense(64, activation="relu", name="dense")(x))
    model = keras.Model(x, p(y) - q(y))
    kernel = np.asarray(p.kernel) + 300
    bias = np.full(1, 300.0)
    p.set_weights([kernel, bias])
    q.set_weights([kernel + 0.1 * RNG.normal(size=kernel.shape), bias])
    return model, (10 * RNG.normal(size=(8, 20))).astype("float32")


def test_rounding_is_no_mistake_and_a_mistake_is_no_rounding():
    model, inputs = cancelling()
    kept = np.sort(RNG.permutation(64)[:37]).tolist()
    plan = Plan.keeping({"dense": kept, "last": kept})
    student = apply(model, plan)
    assert verify(model, plan, student, inputs) > 1e-4  # more than the tolerance, and explained
    for wrong in (
        lambda s: s.get_layer("last").kernel.assign(np.roll(s.get_layer("last").kernel, 1, axis=0)),
        lambda s: s.get_layer("p").kernel.assign(s.get_layer("p").kernel * 1.001),
    ):
        student = apply(model, plan)
        wrong(student)
        with pytest.raises(RuntimeError, match="outputs of the masked one"):
            verify(model, plan, student, inputs)


def test_outputs_that_are_no_floats():
    x = keras.Input((6,))
    y = layers.Dense(3, name="head")(layers.Dense(16, activation="relu", name="dense")(x))
    outputs = {"yes": y > 0.0, "which": ops.argmax(y, axis=-1), "much": y}
    model = keras.Model(x, outputs)
    inputs = inputs_of(model)
    assert verify(model, HALF, apply(model, HALF), inputs) < 1e-5
    wrong = apply(model, HALF)
    wrong.get_layer("dense").kernel.assign(-wrong.get_layer("dense").kernel)
    with pytest.raises(RuntimeError, match=r"Received: [1-9]"):
        verify(model, HALF, wrong, inputs)
    # Without the floats beside them: entries that no rounding moves.
    model = keras.Model(x, outputs["which"])
    wrong = apply(model, HALF)
    wrong.get_layer("dense").kernel.assign(-wrong.get_layer("dense").kernel)
    with pytest.raises(RuntimeError, match="Received: 1"):
        verify(model, HALF, wrong, inputs)


def test_numbers_that_are_none_are_compared_too():
    x = keras.Input((6,))
    y = layers.Dense(3, name="head")(layers.Dense(16, name="dense")(x))
    model = keras.Model(x, ops.sqrt(y))  # not a number where y is negative
    inputs = inputs_of(model)
    assert verify(model, HALF, apply(model, HALF), inputs) < 1e-4
    wrong = apply(model, HALF)
    wrong.get_layer("dense").kernel.assign(-wrong.get_layer("dense").kernel)
    with pytest.raises(RuntimeError, match="inf"):
        verify(model, HALF, wrong, inputs)


def test_the_masks_are_put_on_the_model_itself():
    """A rebuilt copy of the source would hide that its layer is another one."""
    model = chain(layers.Dense(16, name="next"), Forgetful(3.0))
    with pytest.raises(RuntimeError, match="outputs of the masked one"):
        verify(model, HALF, apply(model, HALF), inputs_of(model))


def test_long_loops_are_compiled():
    calls = []

    class Counted(layers.SimpleRNN):
        def call(self, sequences, initial_state=None, mask=None, training=False):
            calls.append(len(calls))
            return super().call(sequences, initial_state, mask, training)

    from tfcompress.rewrite.running import Runner

    x = keras.Input((100, 2))
    model = keras.Model(x, Counted(3)(x))
    runner = Runner(model)
    calls.clear()
    first, again = (runner(np.full((2, 100, 2), value, "float32")) for value in (0.5, 0.25))
    assert len(calls) == 1  # one trace for both
    np.testing.assert_allclose(first[0], model(np.full((2, 100, 2), 0.5, "float32")), atol=1e-6)
    assert not np.allclose(first[0], again[0])
