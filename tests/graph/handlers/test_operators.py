import numpy as np
import pytest
from handled import handled, keeps_channels_apart, registered, written
from keras import ops

from tfcompress.graph.handlers.operators import ElementwiseFunction, Normalizing, Reduction

ARGUMENTS = {"Threshold": (0.5, 0.1), "Clip": (0.2, 0.7), "Cast": ("float16",), "SaturateCast": ("float16",)}


def numbers(name):
    """`[2, 5, 3]`, between 0 and 1, or whole ones for functions of bits."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 9, (2, 5, 3)) if name.startswith("Bitwise") else rng.random((2, 5, 3), dtype="float32")


@pytest.mark.parametrize("name", registered(ElementwiseFunction))
def test_every_function_of_each_number(name):
    def function(x):
        return getattr(ops, written(name))(x, *ARGUMENTS.get(name, ()))

    passed = handled(function, (5, 3))
    assert type(passed.handler) is ElementwiseFunction
    assert (passed.labels, passed.fixed, passed.ties) == ([(2, [0, 1, 2])], [], [])
    assert keeps_channels_apart(function, numbers(name))


@pytest.mark.parametrize("name", registered(Reduction))
def test_every_reduction(name):
    def reduced(axis):
        return lambda x: getattr(ops, written(name))(x, axis=axis)

    over_steps = handled(reduced(1), (5, 3))
    assert type(over_steps.handler) is Reduction
    assert (over_steps.labels, over_steps.fixed) == ([(1, [0, 1, 2])], [])
    assert handled(reduced(-1), (5, 3)).fixed[:3] == [0, 1, 2]
    assert handled(reduced(None), (5, 3)).fixed[:3] == [0, 1, 2]
    assert keeps_channels_apart(reduced(1), numbers(name))


@pytest.mark.parametrize("name", registered(Normalizing))
def test_everything_that_normalises_along_an_axis(name):
    def along(axis):
        return lambda x: getattr(ops, written(name))(x, axis=axis)

    assert (handled(along(1), (5, 3)).labels, handled(along(1), (5, 3)).fixed) == ([(2, [0, 1, 2])], [])
    assert handled(along(-1), (5, 3)).fixed[:3] == [0, 1, 2]
    assert keeps_channels_apart(along(1), numbers(name))
    assert not keeps_channels_apart(along(-1), numbers(name), kept=(1, 2))


@pytest.mark.parametrize(
    "function",
    [ops.relu, ops.exp, ops.abs, ops.sqrt, ops.isnan, ops.logical_not, ops.ones_like, ops.round],
    ids=lambda function: function.__name__,
)
def test_functions_of_each_number(function):
    passed = handled(function, (5, 3))
    assert passed.labels == [(2, [0, 1, 2])]
    assert (passed.fixed, passed.macs) == ([], [])


def test_bounds_for_each_channel_fix_them():
    assert handled(lambda x: ops.clip(x, 0.0, 1.0), (5, 3)).fixed == []
    bounds = np.array([1.0, 2.0, 3.0], "float32")
    assert handled(lambda x: ops.clip(x, 0.0, bounds), (5, 3)).fixed == [0, 1, 2]


@pytest.mark.parametrize("function", [ops.mean, ops.sum, ops.max, ops.var, ops.logsumexp, ops.argmax, ops.median])
def test_reductions(function):
    assert handled(lambda x: function(x, axis=1), (5, 3)).labels == [(1, [0, 1, 2])]
    assert handled(lambda x: function(x, axis=1, keepdims=True), (5, 3)).labels == [(2, [0, 1, 2])]
    over = handled(lambda x: function(x, axis=-1), (5, 3))
    assert over.fixed[:3] == [0, 1, 2]
    assert all(label in over.fixed for _, ids in over.labels for label in ids)


def test_a_reduction_of_axes_behind_the_channels_leaves_their_axis():
    assert handled(lambda x: ops.mean(x, axis=(2, 3)), (3, 5, 7), axes=[1]).labels == [(1, [0, 1, 2])]
    assert handled(lambda x: ops.mean(x, axis=(1, 3)), (5, 3, 7), axes=[2]).labels == [(1, [0, 1, 2])]


def test_axes_that_a_reduction_leaves_free():
    mean = handled(lambda x: ops.mean(x, axis=(1, 2)), (5, 7, 3))
    assert mean.handler.channel_axes(mean.layer, 4) == {0, 3}


@pytest.mark.parametrize("function", [ops.softmax, ops.log_softmax, ops.cumsum, ops.cumprod])
def test_normalising_along_an_axis(function):
    along = handled(lambda x: function(x, axis=1), (5, 3))
    assert (along.labels, along.fixed) == ([(2, [0, 1, 2])], [])
    assert handled(lambda x: function(x, axis=-1), (5, 3)).fixed[:3] == [0, 1, 2]
