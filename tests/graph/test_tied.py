"""Layers that share weights: cut together where each axis is understood, whole where not, and counted once."""

import keras
import numpy as np
from keras import layers, ops

from tfcompress.costs import CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.rewrite.verify import verify


class Back(layers.Layer):
    """The transpose of a Dense layer."""

    def __init__(self, dense, steps=1, **options):
        super().__init__(**options)
        self.dense, self.steps = dense, steps

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(self.dense.kernel.shape[0],), name="bias")

    def call(self, inputs):
        return ops.matmul(inputs, ops.transpose(self.dense.kernel)) + self.bias

    def get_config(self):
        dense = keras.saving.serialize_keras_object(self.dense)
        return {**super().get_config(), "dense": dense, "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "dense": keras.saving.deserialize_keras_object(config["dense"])})


class BackAndMixed(Back):
    """The same, with a sum over all channels, of which some are not to go."""

    def call(self, inputs):
        y = super().call(inputs)
        return y + ops.mean(y, axis=-1, keepdims=True)


def autoencoder(back=Back, **options):
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    first, second = layers.Dense(8, activation="relu", name="first"), layers.Dense(4, name="second")
    y = back(second, name="back_second", **options)(second(first(x)))
    return keras.Model(x, back(first, name="back_first", **options)(y))


def groups_of(model):
    return ChannelGroups.of(LayerGraph.from_keras(model))


def test_a_tied_autoencoder_is_cut_and_stays_tied():
    model = autoencoder()
    groups = groups_of(model)
    assert {group.name: group.size for group in groups} == {"first": 8, "second": 4}
    # 6 x 8 and 8 x 4 there, and the same back; kernels once, and a bias for each of four layers.
    assert (cost(model).macs, cost(model).params) == (2 * (48 + 32), 48 + 32 + 8 + 4 + 8 + 6)
    plan = Plan.keeping({"first": (1, 4, 6), "second": (0, 3)})
    student = apply(model, plan)
    assert CostModel(groups).of(plan) == cost(student)
    assert (cost(student).macs, cost(student).params) == (2 * (18 + 6), 18 + 6 + 3 + 2 + 3 + 6)
    assert student.get_layer("back_first").dense is student.get_layer("first")
    assert student.count_params() == cost(student).params
    inputs = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    assert verify(model, plan, student, inputs) < 1e-5


def test_what_is_not_understood_stays_whole():
    for model in (autoencoder(BackAndMixed), autoencoder(steps=8)):  # 8 may be a width that does not follow
        groups = groups_of(model)
        assert len(groups) == 0 or "first" not in groups.groups
        assert "shares weights with" in " ".join(map(str, groups.fixed))


def test_a_layer_called_alone_and_at_every_step_stays_one():
    x = keras.Input((3, 6))
    dense = layers.Dense(6, name="dense")
    y = layers.TimeDistributed(dense, name="steps")(dense(x))
    model = keras.Model(x, layers.Dense(2, name="head")(layers.Dense(5, name="free")(y)))
    groups = groups_of(model)
    assert list(groups.groups) == ["free"]
    copy = apply(model, Plan.keeping({"free": (1, 2)}))
    assert copy.get_layer("steps").layer is copy.get_layer("dense")
    assert copy.count_params() == 6 * 6 + 6 + 6 * 2 + 2 + 2 * 2 + 2
