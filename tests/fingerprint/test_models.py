"""Contents of models: the same whatever layers are called and however they are compiled, and other ones told apart."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfcompress.fingerprint import Contents, differences, model_contents, model_digest
from tfcompress.plan import KeepChannels, Plan, RemoveLayers


def network(units=4, activation="relu", names=(None, None), swap=False, rate=0.5, scale=1.0):
    inputs = keras.Input((6,))
    first = layers.Dense(units, activation=activation, name=names[0])(inputs)
    second = layers.Dense(units, activation="tanh", name=names[1])(inputs)
    x = layers.Subtract()([second, first] if swap else [first, second])
    x = layers.Dropout(rate)(layers.Lambda(lambda t: scale * t)(x))
    inner = keras.Sequential([keras.Input((units,)), layers.Dense(3)])
    x = layers.TimeDistributed(inner)(ops.expand_dims(x, 1))
    model = keras.Model(inputs, layers.Flatten()(x))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.weights])
    return model


def contents_of(model):
    contents = Contents()
    found = model_contents(model, contents, "model")
    assert not contents.unknown, contents.unknown
    return json.loads(json.dumps(found))


def test_names_and_compile_state_decide_nothing():
    expected = contents_of(network())
    other = network(names=("a", "z"))
    other.compile(keras.optimizers.Adam(0.3), "mse", run_eagerly=True)
    assert not differences(expected, contents_of(other), "model")
    assert expected["names"] != contents_of(other)["names"]
    assert model_digest(network()) == model_digest(other)


@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        ({"activation": "sigmoid"}, "dense"),
        ({"activation": lambda x: x * 2}, "dense"),
        ({"rate": 0.25}, "dropout"),
        ({"scale": 2.0}, "lambda"),  # what a Lambda's function reads
    ],
)
def test_other_architectures_are_told_by_the_layer(changes, layer):
    keras.backend.clear_session(free_memory=False)
    expected = contents_of(network())
    keras.backend.clear_session(free_memory=False)
    (difference,) = differences(expected, contents_of(network(**changes)), "model")
    assert difference == f"model.architecture: differs in layer {layer}"


def test_other_ways_through_the_same_layers_are_told():
    def model(swap):
        inputs = keras.Input((4,))
        one, other = layers.ReLU()(inputs), layers.ReLU()(inputs)
        return keras.Model(inputs, layers.Subtract()([one, inputs] if swap else [inputs, other]))

    assert model_digest(model(True)) != model_digest(model(False))


def test_other_weights_are_told_by_the_layer():
    model = network(names=("one", "two"))
    expected = contents_of(model)
    kernel = model.get_layer("two").kernel
    kernel.assign(kernel + np.eye(6, 4) * 1e-6)
    assert differences(expected, contents_of(model), "model") == ["model.weights: differ in layer two"]


def test_the_code_and_the_state_of_ones_own_layers():
    def model(factor, held):
        class Scale(layers.Layer):  # whose configuration says nothing
            def __init__(self):
                super().__init__()
                self.held = held
                self.inner = layers.Activation("relu" if held < 3 else "tanh")

            def call(self, x):
                return self.inner(x) * self.held * (2 if factor == 2 else 3)

        Scale.call.__defaults__ = None
        inputs = keras.Input((3,))
        return keras.Model(inputs, Scale()(inputs))

    found = [contents_of(model(*which))["architecture"] for which in ((2, 1.0), (2, 1.0), (3, 1.0), (2, 2.0), (2, 4.0))]
    assert found[0] == found[1]
    assert len(set(map(str, found))) == 4


def test_a_layer_that_notes_its_tensors():
    class Noting(layers.Layer):
        def __init__(self):
            super().__init__()
            self.table = ops.ones((2, 3))

        def call(self, x):
            self.last = {"scores": [ops.softmax(x)]}
            return x + self.table[0]

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Noting()(inputs))
    expected = contents_of(model)
    model.predict(np.ones((4, 3)), verbose=0)
    assert not differences(expected, contents_of(model), "model")
    model.layers[1].table = 2 * model.layers[1].table
    assert differences(expected, contents_of(model), "model")


def test_a_vocabulary_is_state():
    def model(words):
        inputs = keras.Input((2,), dtype="int64")
        return keras.Model(inputs, layers.IntegerLookup(vocabulary=words)(inputs))

    assert model_digest(model([1, 2])) == model_digest(model([1, 2])) != model_digest(model([2, 1]))


def test_plans_follow_the_names():
    plan = Plan((RemoveLayers(("dense_3@2", "act")), KeepChannels("dense_3", (0, 2)), KeepChannels("mha:key:2", (1,))))
    there = plan.renamed(["dense_3", "act", "mha"], ["dense_9", "act", "dense_3"])
    assert there.removed == ("dense_9@2", "act")
    assert [edit.group for edit in there.channels] == ["dense_9", "dense_3:key:2"]
    assert there.renamed(["dense_9", "act", "dense_3"], ["dense_3", "act", "mha"]) == plan
