from handled import handled
from keras import layers

MADE = [3, 4, 5, 6, 7]


def bidirectional(**options):
    return handled(layers.Bidirectional(layers.LSTM(5, **options)), (7, 3))


def test_bidirectional():
    """One width: unit i of the one direction and of the other are one channel."""
    rnn = bidirectional()
    assert rnn.labels == [(1, MADE * 2)]
    assert [kinds.get("writes") for kinds in rnn.weights.values()] == [{1: MADE * 4}, {1: MADE * 4}, {0: MADE * 4}] * 2
    assert rnn.macs == [(28, 3, 5), (28, 5, 5)] * 2
    config = rnn.config(4, 5)
    assert [config[key]["config"]["units"] for key in ("layer", "backward_layer")] == [3, 3]


def test_directions_that_are_merged_or_apart():
    inner = layers.GRU(5, return_sequences=True)
    assert handled(layers.Bidirectional(inner, merge_mode="sum"), (7, 3)).labels == [(2, MADE)]
    assert handled(layers.Bidirectional(inner, merge_mode=None), (7, 3)).labels == [(2, MADE)] * 2


def test_time_distributed():
    """A layer at each of 7 steps."""
    steps = handled(layers.TimeDistributed(layers.Conv1D(5, 2)), (7, 11, 3))
    assert steps.labels == [(3, MADE)]
    assert next(iter(steps.weights.values())) == {"reads": {1: [0, 1, 2]}, "writes": {2: MADE}}
    assert steps.macs == [(7 * 2 * 10, 3, 5)]
    assert steps.config(3)["layer"]["filters"] == 4


def test_statistics_at_every_step_are_not_those_of_a_batch():
    steps = handled(layers.TimeDistributed(layers.BatchNormalization()), (7, 3))
    said = {(w.is_parameter, w.momentum) for w in steps.handler.weights(steps.call, steps.outputs)}
    assert said == {(True, None), (False, None)}


def test_a_wrapper_around_an_unknown_layer_is_unknown():
    class Own(layers.Layer):
        def call(self, x):
            return x

        def compute_output_shape(self, shape):
            return shape

    assert not handled(layers.TimeDistributed(Own()), (7, 3)).handler.known


def test_spectral_normalization():
    """The vector of the power iteration goes with the outputs, and is no parameter."""
    dense = handled(layers.SpectralNormalization(layers.Dense(5)), (3,))
    assert dense.labels == [(1, MADE)]
    *_, vector = dense.handler.weights(dense.call, dense.outputs)
    assert {axis: ids.tolist() for axis, ids in vector.carries.items()} == {1: MADE}
    assert not vector.is_parameter
    assert dense.macs == [(1, 3, 5)]
    assert dense.config(3)["layer"]["units"] == 4
    assert dense.fixed == []
    training = handled(lambda x: layers.SpectralNormalization(layers.Dense(5))(x, training=True), (3,))
    assert training.fixed == [0, 1, 2, *MADE]
