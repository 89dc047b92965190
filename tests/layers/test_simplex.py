"""The projection onto the simplex, against vectors worked out by hand and its properties; the penalty on costs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcompress.layers import CostPenalty, SimplexConstraint

PROJECT = SimplexConstraint()


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        ([0.2, 0.6], [0.25, 0.75]),  # 0.2 / 0.8, 0.6 / 0.8
        ([-0.5, 1.0, 3.0], [0.0, 0.25, 0.75]),
        ([0.0, 0.0, 7.0], [0.0, 0.0, 1.0]),
        ([1.0], [1.0]),
        ([-3.0, -1.0, -2.0], [0.0, 1.0, 0.0]),  # none is positive: the largest
        ([0.0, 0.0, -1.0], [1.0, 0.0, 0.0]),  # the first of equals
        ([-2.0, -2.0], [1.0, 0.0]),
        ([1e-30, 3e-30], [0.25, 0.75]),
    ],
)
def test_vectors_worked_out_by_hand(alpha, expected):
    np.testing.assert_allclose(PROJECT(keras.ops.convert_to_tensor(alpha, "float32")), expected, rtol=1e-6)


def test_it_lies_on_the_simplex_is_idempotent_and_keeps_zeros_and_the_order():
    for row in np.random.default_rng(0).normal(size=(200, 5)).astype("float32"):
        row[1] = 0
        once = np.array(PROJECT(keras.ops.convert_to_tensor(row)))
        assert (once >= 0).all()
        np.testing.assert_allclose(once.sum(), 1, rtol=1e-6)
        np.testing.assert_allclose(PROJECT(keras.ops.convert_to_tensor(once)), once, rtol=1e-6)
        assert once[1] == 0 or row.max() == 0
        positive = row[row > 0]
        np.testing.assert_allclose(once[row > 0], positive / positive.sum() if len(positive) else 1, rtol=1e-5)


def test_the_gradient_of_the_penalty_is_strength_times_costs():
    penalty = CostPenalty([4.0, 1.0, 0.5], 0.25)
    alpha = tf.Variable([0.5, 0.25, 0.25])
    with tf.GradientTape() as tape:
        value = penalty(alpha)
    np.testing.assert_allclose(value, 0.25 * (2 + 0.25 + 0.125))
    np.testing.assert_allclose(tape.gradient(value, alpha), [1.0, 0.25, 0.125])


def test_under_softmax_the_penalty_is_on_the_shares():
    penalty = CostPenalty([3.0, 1.0], 2.0, "softmax")
    logits = tf.Variable([np.log(3.0), 0.0], dtype="float32")  # shares 3/4 and 1/4
    with tf.GradientTape() as tape:
        value = penalty(logits)
    np.testing.assert_allclose(value, 2 * (3 * 0.75 + 0.25), rtol=1e-6)
    # d/dz_j sum_i C_i s_i = s_j (C_j - mean cost), the mean cost being 2.5.
    np.testing.assert_allclose(tape.gradient(value, logits), [2 * 0.75 * 0.5, 2 * 0.25 * -1.5], rtol=1e-5)


@pytest.mark.parametrize("weighting", ["simplex", "softmax"])
def test_a_rate_multiplies_gradients_and_leaves_values(weighting):
    alpha = tf.Variable([0.5, 0.25, 0.25])
    values, gradients = [], []
    for rate in (1.0, 8.0):
        with tf.GradientTape() as tape:
            values.append(CostPenalty([4.0, 1.0, 0.5], 0.25, weighting, rate)(alpha))
        gradients.append(np.array(tape.gradient(values[-1], alpha)))
    np.testing.assert_array_equal(*values)
    np.testing.assert_allclose(gradients[1], 8 * gradients[0], rtol=1e-6)


def test_a_penalty_is_written_down_and_read_again():
    config = keras.saving.serialize_keras_object(CostPenalty([4.0, 1.0], 0.25, "softmax", 2.0))
    again = keras.saving.deserialize_keras_object(config)
    assert (again.costs, again.strength, again.weighting, again.rate) == ((4.0, 1.0), 0.25, "softmax", 2.0)
    assert isinstance(
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(PROJECT)), SimplexConstraint
    )


@pytest.mark.parametrize("costs", [[-1.0, 2.0], [float("nan"), 1.0], [float("inf")], [], 3.0, ["a"], [True]])
def test_costs_that_are_none(costs):
    with pytest.raises(ValueError, match="Expected `costs"):
        CostPenalty(costs, 1.0)
