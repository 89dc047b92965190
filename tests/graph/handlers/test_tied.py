"""A layer of one's own that reads another layer's kernel: the roles of its axes are found out with numbers."""

import keras
from keras import layers, ops

from tfcompress.graph import ChannelGroups, LayerGraph


class Back(layers.Layer):
    """The transpose of a Dense layer, without a bias."""

    def __init__(self, dense, **options):
        super().__init__(**options)
        self.dense = dense

    def call(self, inputs):
        return ops.matmul(inputs, ops.transpose(self.dense.kernel))

    def get_config(self):
        return {**super().get_config(), "dense": keras.saving.serialize_keras_object(self.dense)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "dense": keras.saving.deserialize_keras_object(config["dense"])})


def test_the_axes_of_a_kernel_that_is_read_the_other_way_round():
    x = keras.Input((5,))
    first, second = layers.Dense(7, name="first"), layers.Dense(3, name="second")
    y = Back(second, name="back")(second(first(x)))
    groups = ChannelGroups.of(LayerGraph.from_keras(keras.Model(x, layers.Dense(2, name="last")(y))))
    item = groups.layers["back"]
    (axes,) = [weight for weight in item.weights if weight.variable is second.kernel]
    assert [(list(kind), [len(ids) for ids in kind.values()]) for kind in (axes.reads, axes.writes)] == [
        ([1], [3]),
        ([0], [7]),
    ]
    (term,) = item.macs
    assert (term.factor, [len(ids) for ids in term.widths]) == (1, [3, 7])
    # The 7 that it writes are read by the kernel's first axis elsewhere: both are one group.
    assert {group.name: (group.size, group.producers) for group in groups} == {
        "first": (7, ("first", "back")),
        "second": (3, ("second",)),
    }
