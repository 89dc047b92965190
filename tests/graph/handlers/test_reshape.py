"""Each operation with its labels; the rule itself is in tests/graph/test_reshape.py."""

import pytest
from handled import handled
from keras import layers, ops


def test_flatten():
    assert handled(layers.Flatten(), (2, 3)).labels == [(1, [0, 1, 2, 0, 1, 2])]
    first = handled(layers.Flatten(data_format="channels_first"), (3, 2), axes=[1])
    assert first.labels == [(1, [0, 1, 2, 0, 1, 2])]  # Keras moves the channels to the end before
    assert first.handler.channel_axes(first.layer, 3) is None


@pytest.mark.parametrize("reshape", [layers.Reshape((5, 2, 3)), lambda x: ops.reshape(x, (-1, 5, 2, 3))])
def test_reshape_of_positions(reshape):
    reshaped = handled(reshape, (10, 3))
    assert reshaped.labels == [(3, [0, 1, 2])]
    assert reshaped.ties == []
    assert not reshaped.handler.runs_on_slices(reshaped.call)


def test_a_shape_that_is_written_down_shrinks():
    assert handled(layers.Reshape((5, 2, 3)), (10, 3)).config(1) == {"target_shape": (5, 2, 2)}


def test_channels_in_two_factors():
    """6 as [2, 3]: what lies in one place of the second axis goes together."""
    reshaped = handled(layers.Reshape((5, 2, 3)), (5, 6))
    assert reshaped.labels == [(3, [0, 1, 2])]
    assert reshaped.ties == [[0, 3], [1, 4], [2, 5]]


def test_axes_of_one():
    assert handled(lambda x: ops.expand_dims(x, 1), (5, 3)).labels == [(3, [0, 1, 2])]
    assert handled(lambda x: ops.expand_dims(x, -1), (5, 3)).labels == [(2, [0, 1, 2])]
    assert handled(lambda x: ops.squeeze(x, 1), (1, 3)).labels == [(1, [0, 1, 2])]


@pytest.mark.parametrize(
    "turn",
    [
        layers.Permute((3, 1, 2)),
        lambda x: ops.transpose(x, (0, 3, 1, 2)),
        lambda x: ops.moveaxis(x, -1, 1),
    ],
)
def test_channels_to_the_front(turn):
    turned = handled(turn, (5, 7, 3))
    assert turned.labels == [(1, [0, 1, 2])]
    assert (turned.ties, turned.fixed) == ([], [])


def test_swapped_axes():
    assert handled(lambda x: ops.swapaxes(x, 1, 2), (5, 7, 3)).labels == [(3, [0, 1, 2])]
    assert handled(lambda x: ops.swapaxes(x, -1, 2), (5, 7, 3)).labels == [(2, [0, 1, 2])]


def test_repeated_vectors():
    assert handled(layers.RepeatVector(5), (3,)).labels == [(2, [0, 1, 2])]
