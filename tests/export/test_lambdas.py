"""Lambdas as Keras operations: what is traced, what is not, and that files load without code."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcompress.export import ExportError, export
from tfcompress.export.lambdas import as_operations, kept_lambdas, without_lambdas

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
MEAN = np.array([1.0, 2.0, 3.0, 4.0], "float32")


def scaled(t, by=2.0):
    return t * by


def lambda_on(function, shape=(4,), dtype=None, **settings):
    layer = keras.layers.Lambda(function, dtype=dtype, **settings)
    layer(keras.Input(shape))
    return layer


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (lambda_on(lambda t: t / 2 - 1), lambda x: x / 2 - 1),
        (lambda_on(lambda t: (t - MEAN) / 3), lambda x: (x - MEAN) / 3),
        (lambda_on(lambda t: t - tf.constant(MEAN)), lambda x: x - MEAN),
        (lambda_on(scaled, arguments={"by": 3.0}), lambda x: 3 * x),
        (lambda_on(lambda t: keras.ops.concatenate([t[:, :2], keras.ops.relu(t)], -1)), None),
        (lambda_on(lambda t: [t[:, 0], keras.ops.mean(t, axis=1)]), None),
    ],
)
def test_functions_of_operators_and_keras_ops(layer, expected):
    model = as_operations(layer)
    again = keras.Model.from_config(model.get_config())
    assert not any(isinstance(part, keras.layers.Lambda) for part in model.layers)
    outputs = keras.tree.flatten(again(X))
    for one, other in zip(outputs, keras.tree.flatten(layer(X)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    if expected is not None:
        np.testing.assert_allclose(outputs[0], expected(X), rtol=1e-6)


def depends_on_training(t, training=False):
    return t * 0 if training else t + 1


def closed_over_a_layer():
    dense = keras.layers.Dense(4)
    dense.build((None, 4))
    return lambda t: dense(t)


@pytest.mark.parametrize(
    "function",
    [
        lambda t: tf.nn.relu(t),
        lambda t: t + keras.random.normal((1,)),
        lambda t: keras.random.dropout(t, 0.5),
        lambda t: t,
        lambda t: 3.0,
        lambda t, mask=None: t + 1,
        depends_on_training,
        closed_over_a_layer(),
    ],
)
def test_functions_that_stay(function):
    layer = keras.layers.Lambda(function, output_shape=(4,))
    layer(keras.Input((4,)))
    assert as_operations(layer) is None


def test_half_precision_is_cast_as_the_layer_casts():
    layer = lambda_on(lambda t: t / 3, dtype="mixed_float16")
    assert as_operations(layer)(X).dtype == tf.float16


def test_half_precision_becomes_a_tflite_file(tmp_path):
    def model(function):
        i = keras.Input((4,))
        h = keras.layers.Dense(8, dtype="mixed_float16", activation="relu")(i)
        h = keras.layers.Lambda(function, dtype="mixed_float16", output_shape=(8,))(h)
        return keras.Model(i, keras.layers.Dense(2)(h))

    for number, function in enumerate((lambda t: t / 2 - 1, lambda t: tf.nn.relu(t))):
        report = export(model(function), tmp_path / str(number), "tflite", samples=X)
        assert not report.files[0].suspect


def network(function, seed=0):
    """A Lambda in a nested Sequential, one in a nested Functional model, and one outside."""
    keras.utils.set_random_seed(seed)
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), keras.layers.Lambda(lambda t: t + 1)])
    i = keras.Input((5,))
    other = keras.Model(i, keras.layers.Dense(4)(keras.layers.Lambda(function, name="own", output_shape=(5,))(i)))
    i = keras.Input((4,))
    normalized = keras.layers.Normalization()
    normalized.adapt(X * 7 + 1)
    h = other(inner(normalized(i)))
    return keras.Model(i, keras.layers.Lambda(lambda pair: pair[0] * pair[1])([h, h]))


def test_a_network_without_lambdas_is_stored_and_loaded(tmp_path):
    model = network(lambda t: t * 2)
    assert kept_lambdas(model) == ()
    calls = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    copy = without_lambdas(model)
    assert [len(layer._inbound_nodes) for layer in model._flatten_layers()] == calls
    copy.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(X), model(X), rtol=1e-5, atol=1e-6)
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in loaded._flatten_layers())


def test_a_network_stays_as_it_is_where_one_lambda_cannot_be_replaced_or_there_is_none():
    model = network(lambda t: tf.nn.relu(t))
    assert kept_lambdas(model) == ("own",)
    assert without_lambdas(model) is model
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    assert without_lambdas(plain) is plain and kept_lambdas(plain) == ()
    wrapped = keras.layers.TimeDistributed(keras.layers.Lambda(lambda t: t + 1, name="inside"))
    i = keras.Input((3, 4))
    assert kept_lambdas(keras.Model(i, wrapped(i))) == ("inside",)


@keras.saving.register_keras_serializable("tests")
def registered(t):
    return tf.nn.relu(t)


def test_a_registered_function_is_read_back_and_another_is_refused_by_name(tmp_path):
    def model(function):
        i = keras.Input((4,))
        h = keras.layers.Lambda(function, name="own", output_shape=(4,))(i)
        return keras.Model(i, keras.layers.Dense(2)(keras.layers.Lambda(lambda t: t * 2, name="double")(h)))

    assert kept_lambdas(model(registered)) == ()
    report = export(model(registered), tmp_path, "keras", samples=X)
    assert report.files[0].max_difference < 1e-5
    loaded = keras.saving.load_model(report.files[0].path)
    assert [layer.name for layer in loaded.layers if isinstance(layer, keras.layers.Lambda)] == ["own"]
    with pytest.raises(ExportError, match="Received: Lambda 'own', whose function is Python code"):
        export(model(lambda t: tf.nn.relu(t)), tmp_path)
