"""Layers that hold other layers: cut where a handler says how, else left whole and counted."""

import keras
from keras import layers

from topologies.chains import conv, head, image
from topologies.registry import topology
from topologies.sequences import steps


def spectral(layer):
    """The layer with its kernel's norm held at one in training."""
    return layers.SpectralNormalization(layer)


@topology(smallest=30 * 9 * 3 + 30 * 9 + 30 + 2 * 30 + 2 * 30 * 9 + 3)
def spectral_normalization():
    # The last axis of a transposed kernel is what it reads, that of a depthwise one the multiplier.
    x = image()
    y = spectral(conv(7))(spectral(conv(5))(x))
    y = spectral(layers.Dense(4, activation="elu"))(y)
    y = spectral(layers.DepthwiseConv2D(1, depth_multiplier=2))(y)
    return keras.Model(x, head(spectral(layers.Conv2DTranspose(6, 3, padding="same"))(y)))


@topology(smallest=4 * 3 + 4 * 1 + 2)
def spectral_normalization_at_every_step():
    x = steps()
    y = layers.TimeDistributed(spectral(layers.Dense(5, activation="elu")))(x)
    y = layers.Conv1D(7, 1, activation="elu")(y)
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(y)))


@topology(smallest=4 * (30 * 9 * 3 * 2 + 60 * 5) + 4 * 5 + 2)
def a_network_at_every_step():
    # The network inside stays whole: 2 filters at 5 x 6 positions, and 60 numbers to 5.
    frame = image()
    inner = keras.Model(frame, layers.Dense(5)(layers.Flatten()(conv(2)(frame))))
    x = keras.Input((4, *frame.shape[1:]))
    y = layers.Conv1D(7, 1, activation="elu")(layers.TimeDistributed(inner, name="network")(x))
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(y)))


@topology(smallest=4 * 3 * 3 + 4 * (4 * 5 * (3 + 5) + 3 * 2 * (5 + 2) + 2 * 4 * 6 * (2 + 6)) + 12 + 2)
def cells():
    # 3 channels stay, as an RNN reads them: an LSTM of 5 and a GRU of 2 in one stack; an LSTM of 6 to either side.
    x = steps()
    y = layers.Conv1D(3, 1, activation="elu")(x)
    y = layers.RNN([layers.LSTMCell(5), layers.GRUCell(2)], return_sequences=True, name="stack")(y)
    y = layers.Bidirectional(layers.RNN(layers.LSTMCell(6)), name="both")(y)
    return keras.Model(x, layers.Dense(2)(layers.Dense(7, activation="elu")(y)))
