from handled import handled
from keras import layers


def test_dense():
    dense = handled(layers.Dense(5), (7, 3))
    assert dense.labels == [(2, [3, 4, 5, 6, 7])]
    assert dense.weights == {
        "kernel": {"reads": {0: [0, 1, 2]}, "writes": {1: [3, 4, 5, 6, 7]}},
        "bias": {"writes": {0: [3, 4, 5, 6, 7]}},
    }
    assert dense.macs == [(7, 3, 5)]
    assert dense.config(1, 4, 7) == {"units": 3}
    assert (dense.fixed, dense.ties) == ([], [])


def test_dense_without_bias():
    assert list(handled(layers.Dense(5, use_bias=False), (3,)).weights) == ["kernel"]


def test_dense_with_an_activation_that_mixes():
    assert handled(layers.Dense(5, activation="softmax"), (3,)).fixed == [3, 4, 5, 6, 7]
    assert handled(layers.Dense(5, activation="relu"), (3,)).fixed == []


def test_dense_along_an_axis_that_has_no_channels():
    dense = handled(layers.Dense(5), (7, 3), axes=[1])
    assert dense.fixed == [*range(7), 7, 8, 9]  # the channels, and the 3 numbers that are read in their place
    assert dense.labels == [(2, [10, 11, 12, 13, 14])]


def test_dense_with_lora():
    def adapted(x):
        dense = layers.Dense(5)
        dense.build(x.shape)
        dense.enable_lora(2)
        return dense(x)

    weights = handled(adapted, (3,)).weights
    assert weights["lora_kernel_a"] == {"reads": {0: [0, 1, 2]}}
    assert weights["lora_kernel_b"] == {"writes": {1: [3, 4, 5, 6, 7]}}


def test_prelu():
    slopes = handled(layers.PReLU(), (7, 3))
    assert slopes.labels == [(2, [0, 1, 2])]
    assert slopes.weights == {"alpha": {"carries": {1: [0, 1, 2]}}}
    assert slopes.macs == []
    assert handled(layers.PReLU(shared_axes=[1]), (7, 3)).weights == {"alpha": {"carries": {1: [0, 1, 2]}}}
    assert handled(layers.PReLU(shared_axes=[2]), (7, 3)).weights == {"alpha": {}}
