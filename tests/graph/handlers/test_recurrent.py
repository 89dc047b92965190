import pytest
from handled import handled
from keras import layers

MADE = [3, 4, 5, 6, 7]


@pytest.mark.parametrize(("layer", "gates"), [(layers.LSTM, 4), (layers.GRU, 3), (layers.SimpleRNN, 1)])
def test_recurrent(layer, gates):
    """5 units on 7 steps of 3 numbers; gates side by side."""
    rnn = handled(layer(5), (7, 3))
    assert rnn.labels == [(1, MADE)]
    weights = {name.rsplit("/", 1)[-1]: kinds for name, kinds in rnn.weights.items()}
    assert weights["kernel"] == {"reads": {0: [0, 1, 2]}, "writes": {1: MADE * gates}}
    assert weights["recurrent_kernel"] == {"reads": {0: MADE}, "writes": {1: MADE * gates}}
    assert weights["bias"] == {"writes": {1 if layer is layers.GRU else 0: MADE * gates}}
    assert rnn.macs == [(7 * gates, 3, 5), (7 * gates, 5, 5)]
    assert rnn.config(3, 7) == {"units": 3}
    assert (rnn.fixed, rnn.ties) == ([], [])
    assert not rnn.handler.runs_on_slices(rnn.call)


def test_sequences_and_states_have_the_same_labels():
    rnn = handled(layers.LSTM(5, return_sequences=True, return_state=True), (7, 3))
    assert rnn.labels == [(2, MADE), (1, MADE), (1, MADE)]


def test_states_that_are_given_are_tied():
    rnn = handled(lambda x, h: layers.GRU(2)(x, initial_state=h), (7, 3), (2,))
    assert rnn.labels == [(1, [5, 6])]
    assert rnn.ties == [[3, 5], [4, 6]]


def test_an_activation_that_mixes_units():
    assert handled(layers.SimpleRNN(5, activation="softmax"), (7, 3)).fixed == MADE


def test_convolutional_recurrent():
    """3 steps of 5 x 7 images of 2 channels, 3 x 3 kernels and no border: 3 x 5 places are left."""
    rnn = handled(layers.ConvLSTM2D(3, 3), (3, 5, 7, 2))
    made = [2, 3, 4]
    assert rnn.labels == [(3, made)]
    weights = {name.rsplit("/", 1)[-1]: kinds for name, kinds in rnn.weights.items()}
    assert weights["kernel"] == {"reads": {2: [0, 1]}, "writes": {3: made * 4}}
    assert weights["recurrent_kernel"] == {"reads": {2: made}, "writes": {3: made * 4}}
    assert rnn.macs == [(3 * 15 * 4 * 9, 2, 3), (3 * 15 * 4 * 9, 3, 3)]
    assert rnn.config(2) == {"filters": 2}
    assert handled(layers.ConvLSTM1D(3, 3, return_sequences=True), (3, 7, 2)).labels == [(3, made)]
    assert handled(layers.ConvLSTM3D(3, 1), (3, 2, 2, 2, 2)).labels == [(4, made)]


def test_masking():
    masking = handled(layers.Masking(), (7, 3))
    assert (masking.labels, masking.fixed) == ([(2, [0, 1, 2])], [0, 1, 2])
