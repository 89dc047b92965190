"""Running statistics that are taken anew, against means and variances that NumPy works out."""

import keras
import numpy as np
from keras import layers

from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite.statistics import reestimate_statistics
from tfcompress.rewrite.subnetwork import Subnetwork


def network(momentum=0.9):
    inputs = keras.Input((3,))
    x = layers.BatchNormalization(momentum=momentum, name="first")(inputs)
    x = layers.Dense(4, name="dense")(x)
    x = layers.BatchNormalization(momentum=0.5, name="second")(x)
    return Network(keras.Model(inputs, layers.Dense(2, name="head")(x)))


def batches():
    rng = np.random.default_rng(0)
    return [rng.normal(loc, 2, (16, 3)).astype("float32") for loc in (1, 3)]


def statistics(network, name):
    layer = network.model.get_layer(name)
    return np.array(layer.moving_mean), np.array(layer.moving_variance)


def test_means_over_batches_along_the_models_own_path():
    net, (a, b) = network(), batches()
    assert reestimate_statistics(net, [a, b])
    mean, variance = statistics(net, "first")
    np.testing.assert_allclose(mean, (a.mean(0) + b.mean(0)) / 2, rtol=1e-5)
    np.testing.assert_allclose(variance, (a.var(0) + b.var(0)) / 2, rtol=1e-4)
    # In training, what the second normalisation reads was normalised by the batch itself.
    kernel = np.array(net.model.get_layer("dense").kernel)
    hidden = [((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)) @ kernel for x in (a, b)]
    mean, variance = statistics(net, "second")
    np.testing.assert_allclose(mean, (hidden[0].mean(0) + hidden[1].mean(0)) / 2, atol=1e-5)
    np.testing.assert_allclose(variance, (hidden[0].var(0) + hidden[1].var(0)) / 2, rtol=1e-4)


def test_what_training_leaves_alone_stays():
    for change in ({"momentum": 1.0}, {}):
        net = network(**change)
        first = net.model.get_layer("first")
        first.trainable = bool(change)
        first.moving_mean.assign([5.0, 6.0, 7.0])
        assert reestimate_statistics(net, batches())
        np.testing.assert_array_equal(statistics(net, "first")[0], [5, 6, 7])
        np.testing.assert_array_equal(statistics(net, "first")[1], [1, 1, 1])
        assert (statistics(net, "second")[1] != 1).all()


def test_a_frozen_layer_of_a_sub_network_keeps_its_statistics():
    net = network()
    net.model.get_layer("first").trainable = False
    sub = Subnetwork(net.model, net.groups)
    values = dict(zip([v.path for v in sub.statistics], sub.recalibrate(Plan(), batches()), strict=True))
    np.testing.assert_array_equal(values["first/moving_variance"], [1, 1, 1])


def test_nothing_to_do():
    assert not reestimate_statistics(network(), [])
    inputs = keras.Input((3,))
    assert not reestimate_statistics(Network(keras.Model(inputs, layers.Dense(2)(inputs))), batches())
