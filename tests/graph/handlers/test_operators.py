import numpy as np
import pytest
from handled import handled
from keras import ops


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
