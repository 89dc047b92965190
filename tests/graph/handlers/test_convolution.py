import pytest
from handled import handled
from keras import layers


@pytest.mark.parametrize(
    ("layer", "shape", "factor"),
    [
        (layers.Conv1D, (11,), 3 * 9),
        (layers.Conv2D, (7, 11), 9 * 5 * 9),
        (layers.Conv3D, (5, 7, 3), 27 * 3 * 5 * 1),
    ],
)
def test_convolutions(layer, shape, factor):
    """Kernels of 3 along each axis, without a border."""
    conv, rank = handled(layer(5, 3), (*shape, 2)), len(shape)
    made = [2, 3, 4, 5, 6]
    assert conv.labels == [(rank + 1, made)]
    assert conv.weights == {
        "kernel": {"reads": {rank: [0, 1]}, "writes": {rank + 1: made}},
        "bias": {"writes": {0: made}},
    }
    assert conv.macs == [(factor, 2, 5)]
    assert conv.config(0, 3, 4) == {"filters": 3, "groups": 1}
    assert (conv.fixed, conv.ties) == ([], [])


def test_channels_first():
    conv = handled(layers.Conv2D(5, 3, data_format="channels_first"), (2, 7, 11), axes=[1])
    assert conv.labels == [(1, [2, 3, 4, 5, 6])]
    assert conv.weights["kernel"] == {"reads": {2: [0, 1]}, "writes": {3: [2, 3, 4, 5, 6]}}
    assert conv.macs == [(9 * 5 * 9, 2, 5)]


def test_grouped_convolution():
    """2 groups of 3 inputs and 2 outputs: what is in one of them goes together, and so does the number of groups."""
    conv = handled(layers.Conv2D(4, 1, groups=2), (5, 7, 6))
    assert conv.labels == [(3, [6, 7, 8, 9])]
    assert conv.ties == [[0, 1, 2, 6, 7], [3, 4, 5, 8, 9]]
    assert conv.weights["kernel"] == {"writes": {3: [6, 7, 8, 9]}}
    assert conv.macs == [(5 * 7 * 3, 4)]
    assert conv.config(0, 1, 2, 6, 7) == {"filters": 2, "groups": 1}


@pytest.mark.parametrize(
    ("layer", "shape", "factor"),
    [
        (layers.Conv1DTranspose, (11,), 3 * 11),
        (layers.Conv2DTranspose, (7, 11), 9 * 77),
        (layers.Conv3DTranspose, (2, 3, 5), 27 * 30),
    ],
)
def test_transposed_convolutions(layer, shape, factor):
    """The kernel is `[..., filters, inputs]`, and used once at each position of the input."""
    conv, rank = handled(layer(5, 3, strides=2), (*shape, 2)), len(shape)
    made = [2, 3, 4, 5, 6]
    assert conv.labels == [(rank + 1, made)]
    assert conv.weights == {
        "kernel": {"reads": {rank + 1: [0, 1]}, "writes": {rank: made}},
        "bias": {"writes": {0: made}},
    }
    assert conv.macs == [(factor, 2, 5)]
    assert conv.config(6) == {"filters": 4}
    assert not conv.handler.runs_on_slices(conv.call)


def test_depthwise_convolutions():
    """Each channel twice, one next to itself."""
    conv = handled(layers.DepthwiseConv2D(3, depth_multiplier=2), (5, 7, 3))
    assert conv.labels == [(3, [0, 0, 1, 1, 2, 2])]
    assert conv.weights == {"kernel": {"carries": {2: [0, 1, 2]}}, "bias": {"carries": {0: [0, 0, 1, 1, 2, 2]}}}
    assert conv.macs == [(9 * 3 * 5, 6)]
    assert conv.config(1) == {}
    one = handled(layers.DepthwiseConv1D(5, use_bias=False), (11, 3))
    assert one.labels == [(2, [0, 1, 2])]
    assert one.weights == {"kernel": {"carries": {1: [0, 1, 2]}}}
    assert one.macs == [(5 * 7, 3)]
    assert (conv.handler.runs_on_slices(conv.call), one.handler.runs_on_slices(one.call)) == (False, True)


def test_separable_convolutions():
    conv = handled(layers.SeparableConv2D(5, 3, depth_multiplier=2), (5, 7, 3))
    made = [3, 4, 5, 6, 7]
    assert conv.labels == [(3, made)]
    assert conv.weights == {
        "depthwise_kernel": {"carries": {2: [0, 1, 2]}},
        "pointwise_kernel": {"reads": {2: [0, 0, 1, 1, 2, 2]}, "writes": {3: made}},
        "bias": {"writes": {0: made}},
    }
    assert conv.macs == [(9 * 15, 6), (15, 6, 5)]
    assert conv.config(0, 3) == {"filters": 4}
    assert handled(layers.SeparableConv1D(5, 3), (11, 3)).macs == [(3 * 9, 3), (9, 3, 5)]


def test_an_activation_that_mixes_channels():
    for layer in (layers.Conv2D, layers.SeparableConv2D, layers.Conv2DTranspose):
        assert handled(layer(3, 1, activation="softmax"), (2, 3, 2)).fixed == [2, 3, 4]
