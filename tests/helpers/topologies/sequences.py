"""Models of sequences: embeddings, recurrent layers of every kind, layers at every step."""

import keras
from keras import layers, ops

from topologies.registry import topology


def steps(channels=3, length=4):
    """Sequences of vectors."""
    return keras.Input((length, channels))


def words(length=6):
    """Sequences of whole numbers."""
    return keras.Input((length,), dtype="int32")


def lstm(inputs, units=1):
    """Multiply-adds of one step of an LSTM."""
    return 4 * units * (inputs + units)


def gru(inputs, units=1):
    """Multiply-adds of one step of a GRU."""
    return 3 * units * (inputs + units)


@topology(smallest=9 + 9 * 2 * lstm(1) + 2)
def recurrent():
    x = keras.Input((9,), dtype="int32")
    y = layers.Conv1D(4, 1, activation="elu", name="conv")(layers.Embedding(7, 5, name="embedding")(x))
    y = layers.Bidirectional(layers.LSTM(2), name="lstm")(y)  # 4 outputs
    return keras.Model(x, layers.Dense(1)(y))


@topology(smallest=4 * 3 + 4 * 3 + 2 * 4)
def convolutions_over_text():
    # Two kernel sizes side by side: 6 - 3 + 1 positions each of 3 taps.
    x = words()
    y = layers.SpatialDropout1D(0.2)(layers.Embedding(7, 5)(x))
    pooled = [layers.GlobalMaxPooling1D()(layers.Conv1D(n, 3, activation="elu")(y)) for n in (4, 7)]
    return keras.Model(x, layers.Dense(4)(layers.Concatenate()(pooled)))


@topology(smallest=9 * 3 + 3 * 2)
def k_max_pooling():
    # The 3 largest numbers of each channel at 9 positions, in their order; 3 taps.
    x = words(9)
    y = ops.transpose(layers.Conv1D(5, 3, padding="same", activation="elu")(layers.Embedding(7, 4)(x)), (0, 2, 1))
    y = ops.take_along_axis(y, ops.sort(ops.top_k(y, 3)[1], axis=-1), axis=2)
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))


@topology(smallest=4 * (lstm(3) + lstm(1)) + 2)
def stacked_lstm():
    x = steps()
    y = layers.LSTM(5, return_sequences=True, name="first")(x)
    return keras.Model(x, layers.Dense(2)(layers.LSTM(4, name="second")(layers.Dropout(0.2)(y))))


@topology(smallest=4 * (gru(3) + gru(1) + 2) + 2)
def stacked_recurrent_layers():
    # GRU in both forms and SimpleRNN, without biases and with, backwards.
    x = steps()
    y = layers.GRU(5, return_sequences=True, use_bias=False, recurrent_activation="hard_sigmoid")(x)
    y = layers.GRU(4, return_sequences=True, reset_after=False, go_backwards=True)(y)
    return keras.Model(x, layers.Dense(2)(layers.SimpleRNN(3, activation="tanh", unroll=True)(y)))


@topology(smallest=4 * gru(3) + 4 * 2)
def gru_reset_before():
    x = steps()
    y = layers.GRU(5, return_sequences=True, reset_after=False)(x)
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))


@topology(smallest=4 * 2 * lstm(3) + 4 * 2 * gru(1) + 4 * 2 * 2 + 2)
def bidirectional_merged():
    # Sums, means and products have the width of one direction.
    x = steps()
    y = layers.Bidirectional(layers.LSTM(5, return_sequences=True), merge_mode="sum")(x)
    y = layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="ave")(y)
    y = layers.Bidirectional(layers.SimpleRNN(3), merge_mode="mul")(y)
    return keras.Model(x, layers.Dense(2)(y))


@topology(smallest=4 * 2 * lstm(3) + 4 * 2 * gru(2) + 2 * 2)
def bidirectional_concatenated():
    # Of each direction one unit: two channels.
    x = steps()
    y = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)
    backward = layers.GRU(4, go_backwards=True, reset_after=False, name="back")
    y = layers.Bidirectional(layers.GRU(4, name="there"), backward_layer=backward)(y)
    return keras.Model(x, layers.Dense(2)(y))


@topology(smallest=4 * 2 * lstm(3) + 4 * 2 * lstm(2) + 4 * 4 + 2 * 2)
def bidirectional_states():
    # Four states go from one pair to the other; two of them are read by a dense layer as well.
    x = steps()
    y, *states = layers.Bidirectional(layers.LSTM(5, return_sequences=True, return_state=True))(x)
    z = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(y, initial_state=states)
    heads = [layers.Dense(2)(z), layers.Dense(2)(layers.Concatenate()([states[0], states[3]]))]
    return keras.Model(x, heads)


@topology(smallest=6 * lstm(1) + 4 * lstm(1) + 4 * 7)
def encoder_decoder():
    # The decoder begins with the encoder's states, so their units go together.
    source, target = words(), words(4)
    _, *states = layers.LSTM(5, return_state=True, name="encoder")(layers.Embedding(7, 4)(source))
    y = layers.LSTM(5, return_sequences=True, name="decoder")(layers.Embedding(7, 3)(target), initial_state=states)
    return keras.Model([source, target], layers.Dense(7, activation="softmax")(y))


@topology(smallest=3 + 4 * 3 + 4 * gru(1) + 2)
def state_from_a_dense_layer():
    facts, x = keras.Input((3,)), steps()
    start = layers.Dense(5, activation="tanh", name="start")(facts)
    y = layers.GRU(5, name="gru")(layers.Dense(4)(x), initial_state=start)
    return keras.Model([facts, x], layers.Dense(2)(y))


@topology(smallest=6 * lstm(1) + 6 * gru(1) + 2)
def masked_words():
    # Zeros are skipped: the mask goes along with the sequences.
    x = words()
    y = layers.Embedding(7, 5, mask_zero=True)(x)
    y = layers.LSTM(4, return_sequences=True)(y)
    return keras.Model(x, layers.Dense(2)(layers.GRU(3)(y)))


@topology(smallest=2 * 4 * lstm(3) + 4)
def shared_lstm():
    # One layer reads both sequences.
    shared = layers.LSTM(5, name="shared")
    left, right = steps(), steps()
    y = layers.Concatenate()([shared(left), shared(right)])
    return keras.Model([left, right], layers.Dense(2)(y))


@topology(smallest=2 * (6 * 2 * gru(1)) + 4)
def shared_bidirectional():
    shared = layers.Bidirectional(layers.GRU(3), merge_mode="concat", name="shared")
    left, right = words(), words()
    y = layers.Subtract()([shared(layers.Embedding(7, n)(x)) for n, x in ((5, left), (5, right))])
    return keras.Model([left, right], layers.Dense(2)(y))


@topology(smallest=3 * (12 * 9 * 3 + 2) + 3 * lstm(1) + 2)
def convolutions_at_every_step():
    # Films of 3 images: a network for each, then an LSTM; 4 x 3 positions are pooled to 2 x 1.
    x = keras.Input((3, 6, 5, 3))
    y = layers.TimeDistributed(layers.Conv2D(5, 3, activation="elu"), name="conv")(x)
    y = layers.TimeDistributed(layers.BatchNormalization(), name="norm")(y)
    y = layers.TimeDistributed(layers.MaxPooling2D(2), name="pool")(y)
    y = layers.TimeDistributed(layers.Flatten(), name="flat")(y)
    y = layers.TimeDistributed(layers.Dense(7, activation="tanh"), name="dense")(y)
    return keras.Model(x, layers.Dense(2)(layers.LSTM(4, name="lstm")(y)))


@topology(smallest=3 * 9 * (30 * lstm(3) + 12 * lstm(1)) + 2)
def convolutional_lstm():
    # At 6 x 5 positions, and without a border at 4 x 3: there the state is, too.
    x = keras.Input((3, 6, 5, 3))
    y = layers.ConvLSTM2D(5, 3, padding="same", return_sequences=True, name="first")(x)
    y = layers.ConvLSTM2D(4, 3, name="second")(y)
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)))
