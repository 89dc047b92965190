import pytest
from handled import handled
from keras import layers, ops


def test_a_lambda_that_treats_each_number_alone():
    passed = handled(layers.Lambda(lambda x: ops.tanh(x) + 0.5), (5, 3))
    assert passed.handler.known
    assert (passed.labels, passed.fixed) == ([(2, [0, 1, 2])], [])
    assert not passed.handler.runs_on_slices(passed.call)


@pytest.mark.parametrize(
    "function", [lambda x: ops.softmax(x), lambda x: x[..., ::-1], lambda x: ops.mean(x, axis=-1, keepdims=True)]
)
def test_a_lambda_that_mixes_is_unknown(function):
    mixed = handled(layers.Lambda(function), (5, 3))
    assert not mixed.handler.known
    assert mixed.fixed[:3] == [0, 1, 2]
