import numpy as np
import pytest
from keras import activations, ops

from tfcompress.graph.handlers.functions import treats_numbers_alone


@pytest.mark.parametrize(
    "function", [activations.relu, ops.exp, lambda x: 2 * x + 1, lambda x: ops.where(x > 0, x, 0.1)]
)
def test_functions_of_one_number(function):
    assert treats_numbers_alone(function)


@pytest.mark.parametrize(
    "function",
    [
        activations.softmax,
        lambda x: x - ops.mean(x, axis=-1, keepdims=True),
        lambda x: ops.flip(x, axis=-1),
        lambda x: x * ops.arange(x.shape[-1], dtype=x.dtype),
        lambda x: np.float32(0) * ops.sum(x),
    ],
)
def test_functions_of_several_numbers_or_of_places(function):
    assert not treats_numbers_alone(function)
