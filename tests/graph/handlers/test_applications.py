"""Layers that models of `keras.applications` bring along."""

from handled import handled
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer


def test_a_factor_for_each_channel():
    scaled = handled(LayerScale(1e-6, 3), (5, 7, 3))
    assert (scaled.labels, scaled.fixed, scaled.macs) == ([(3, [0, 1, 2])], [], [])
    assert list(scaled.weights.values()) == [{"carries": {0: [0, 1, 2]}}]  # Keras numbers the variable's name
    assert scaled.config(1) == {"projection_dim": 2}


def test_stochastic_depth():
    passed = handled(StochasticDepth(0.5), (5, 7, 3))
    assert (passed.labels, passed.fixed, passed.weights) == ([(3, [0, 1, 2])], [], {})


def test_a_scaled_sum():
    merged = handled(lambda *x: CustomScaleLayer(0.2)(list(x)), (5, 3), (5, 3))
    assert merged.labels == [(2, [0, 1, 2])]
    assert merged.ties == [[0, 3], [1, 4], [2, 5]]
