"""Steps that wait for their batch: data of unknown length train as the same batches of known length do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfcompress import training

EPOCHS = 2


@pytest.fixture(scope="module")
def batches():
    """Two batches of 8, whose size is static, so that Keras' metrics count by a constant."""
    rng = np.random.default_rng(1)
    arrays = rng.normal(size=(16, 4)).astype("float32"), rng.integers(0, 3, 16)
    return tf.data.Dataset.from_tensor_slices(arrays).batch(8, drop_remainder=True)


def trained(batches):
    """Weights and history after a training that hangs on the step number (Adam), a random state, and counts."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, activation="relu"), layers.Dropout(0.5, seed=3), layers.Dense(3)]
    )
    accuracy = training.Objective(
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        lambda: keras.metrics.SparseCategoricalAccuracy("accuracy"),
    )
    history = training.fit(
        model,
        batches,
        accuracy,
        optimizer=keras.optimizers.Adam(0.1),
        epochs=EPOCHS,
        validation=batches,
        penalties=[training.WeightDecay(1e-2)],
    )
    return model.get_weights(), history


@pytest.fixture(scope="module")
def expected(batches):
    return trained(batches)


@pytest.mark.parametrize("kind", ["filtered", "generated", "rebatched"])
def test_data_of_unknown_length(batches, expected, kind):
    made = {
        "filtered": lambda: batches.filter(lambda x, y: True),
        "generated": lambda: tf.data.Dataset.from_generator(
            lambda: iter(batches.as_numpy_iterator()), output_signature=batches.element_spec
        ),
        "rebatched": lambda: batches.filter(lambda x, y: True).rebatch(4).rebatch(8, drop_remainder=True),
    }[kind]()
    assert int(made.cardinality()) == tf.data.UNKNOWN_CARDINALITY
    weights, history = trained(made)
    for weight, other in zip(weights, expected[0], strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-6)
    assert history.keys() == expected[1].keys()
    for name, values in expected[1].items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
