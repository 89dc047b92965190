from handled import handled
from keras import layers


def test_a_product_along_the_last_axis():
    dense = handled(layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d"), (7, 3))
    assert dense.labels == [(2, [3, 4, 5, 6, 7])]
    assert dense.weights == {
        "kernel": {"reads": {0: [0, 1, 2]}, "writes": {1: [3, 4, 5, 6, 7]}},
        "bias": {"writes": {0: [3, 4, 5, 6, 7]}},
    }
    assert dense.macs == [(7, 3, 5)]
    assert dense.config(3, 4) == {"output_shape": (None, 3)}


def test_heads_stay_and_their_width_goes():
    heads = handled(layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 5), bias_axes="de"), (7, 3))
    assert heads.labels == [(3, [3, 4, 5, 6, 7])]
    assert heads.weights["kernel"] == {"reads": {0: [0, 1, 2]}, "writes": {2: [3, 4, 5, 6, 7]}}
    assert heads.weights["bias"] == {"writes": {1: [3, 4, 5, 6, 7]}}
    assert heads.macs == [(7 * 2, 3, 5)]
    assert heads.config(7) == {"output_shape": (None, 2, 4)}


def test_channels_that_are_not_contracted_stay_on_their_axis():
    mixing = handled(layers.EinsumDense("abc,bd->adc", output_shape=(5, 3)), (7, 3))
    assert mixing.labels == [(2, [0, 1, 2])]
    assert mixing.weights == {"kernel": {}}
    assert mixing.macs == [(7 * 5, 3)]


def test_a_kernel_that_carries_the_channels():
    scaled = handled(layers.EinsumDense("abc,c->abc", output_shape=(None, 3)), (7, 3))
    assert scaled.labels == [(2, [0, 1, 2])]
    assert scaled.weights == {"kernel": {"carries": {0: [0, 1, 2]}}}
    assert scaled.macs == [(7, 3)]


def test_an_equation_with_an_ellipsis():
    dense = handled(layers.EinsumDense("...c,cd->...d", output_shape=(5,)), (2, 7, 3))
    assert dense.labels == [(3, [3, 4, 5, 6, 7])]
    assert dense.macs == [(14, 3, 5)]
