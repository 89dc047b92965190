import numpy as np
import pytest
from handled import handled, keeps_channels_apart, registered, written
from keras import layers, ops

from tfcompress.graph.handlers.merge import ElementwiseMerge


@pytest.mark.parametrize("name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"])
def test_layers_tie_channels_in_the_same_place(name):
    merged = handled(lambda *x: getattr(layers, name)()(list(x)), (5, 3), (5, 3))
    assert merged.labels == [(2, [0, 1, 2])]
    assert merged.ties == [[0, 3], [1, 4], [2, 5]]
    assert (merged.fixed, merged.macs, merged.weights) == ([], [], {})


@pytest.mark.parametrize("function", [ops.add, ops.divide, ops.power, ops.arctan2, ops.greater, ops.logaddexp])
def test_functions_tie_channels_in_the_same_place(function):
    merged = handled(function, (5, 3), (5, 3))
    assert merged.labels == [(2, [0, 1, 2])]
    assert merged.ties == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("name", [name for name in registered(ElementwiseMerge) if name != "Where"])
def test_every_function_of_two_tensors(name):
    function = getattr(ops, written(name))
    merged = handled(function, (5, 3), (5, 3))
    assert type(merged.handler) is ElementwiseMerge
    assert (merged.labels, merged.ties, merged.fixed) == ([(2, [0, 1, 2])], [[0, 3], [1, 4], [2, 5]], [])
    rng = np.random.default_rng(0)
    kind = "int32" if name.startswith("Bitwise") else "float32"
    assert keeps_channels_apart(function, *(rng.integers(1, 4, (2, 5, 3)).astype(kind) for _ in range(2)))


def test_a_choice_between_two_ties_the_condition_too():
    chosen = handled(ops.where, (5, 3), (5, 3), (5, 3))
    assert chosen.labels == [(2, [0, 1, 2])]
    assert chosen.ties == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_one_channel_spread_over_all_keeps_itself():
    merged = handled(ops.multiply, (5, 3), (5, 1))
    assert merged.labels == [(2, [0, 1, 2])]
    assert (merged.ties, merged.fixed) == ([], [3])


def test_a_tensor_with_fewer_axes_meets_the_last_ones():
    merged = handled(lambda x, y: ops.add(x, y[0]), (5, 3), (3,))
    assert merged.labels == [(2, [0, 1, 2])]
    assert merged.ties == [[0, 3], [1, 4], [2, 5]]


def test_channels_on_different_axes_stay():
    merged = handled(ops.add, (3, 3), (3, 3), axes=[1, 2])
    assert merged.fixed == [0, 1, 2, 3, 4, 5]


def test_constants_lose_the_entries_of_channels_that_go():
    constant = np.array([2.0, 3.0, 5.0], "float32")
    scaled = handled(lambda x: ops.multiply(x, constant), (7, 3))
    assert scaled.labels == [(2, [0, 1, 2])]
    assert not scaled.handler.runs_on_slices(scaled.call)
    args, kwargs = scaled.arguments(1)
    assert [np.asarray(leaf).tolist() for leaf in (*args, *kwargs.values()) if np.ndim(leaf)] == [[2.0, 5.0]]
    number = handled(lambda x: ops.multiply(x, 2.0), (7, 3))
    assert number.handler.runs_on_slices(number.call)


def test_concatenation_along_the_channels():
    joined = handled(lambda *x: layers.Concatenate()(list(x)), (5, 3), (5, 2))
    assert joined.labels == [(2, [0, 1, 2, 3, 4])]
    assert (joined.ties, joined.fixed) == ([], [])


def test_concatenation_along_another_axis():
    joined = handled(lambda *x: layers.Concatenate(axis=1)(list(x)), (5, 3), (7, 3))
    assert joined.labels == [(2, [0, 1, 2])]
    assert joined.ties == [[0, 3], [1, 4], [2, 5]]


def test_stacking():
    for axis, expected in ((-1, 2), (1, 3), (2, 3), (3, 2)):
        stacked = handled(lambda *x: ops.stack(list(x), axis=axis), (5, 3), (5, 3))  # noqa: B023
        assert stacked.labels == [(expected, [0, 1, 2])]
        assert stacked.ties == [[0, 3], [1, 4], [2, 5]]
