"""Models whose labels are no classes, or come as `keras.Model.fit` takes them: what `compress` makes of them."""

import keras
import numpy as np
import pytest
import small_tasks
from keras import layers, losses, ops

import tfcompress
from tfcompress.given import given_splits
from tfcompress.methods import LIT, Uniform

N = 32
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 6)).astype("float32")
CLASSES = RNG.integers(0, 3, N)


def network(units, loss=None, activation=None, **settings):
    keras.utils.set_random_seed(units)
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(units, activation=activation)(hidden))
    if loss is not None:
        model.compile("sgd", loss, **settings)
    return model


def compress(model, y, method=None, x=X, weights=(), **settings):
    method = method or Uniform(epochs=0)
    return tfcompress.compress(
        model, method, (x, y, *weights), validation_data=(x, y), params_budget=0.7, verbose=0, **settings
    )


def pulled(y, outputs):
    """Of each sample the squared distances to those of its identity, less those to others."""
    distances = ops.sum(ops.square(outputs[:, None] - outputs[None]), axis=-1)
    same = ops.cast(ops.equal(ops.reshape(y, (-1, 1)), ops.reshape(y, (1, -1))), "float32")
    return ops.mean(distances * same - distances * (1 - same), axis=1)


def test_identities_of_an_embedding_are_no_classes():
    identities = np.arange(N) % 20
    result = compress(network(4, pulled), identities)
    outputs = result.model.predict(X, verbose=0)
    expected = np.mean(ops.convert_to_numpy(pulled(identities, outputs)))
    assert (result.metric, result.after.accuracy) == ("loss", pytest.approx(expected, rel=1e-4))
    assert "pass objective=" in " ".join(result.notes)
    nearness = compress(network(4, pulled), identities, objective=lambda y, outputs: ops.mean(outputs, axis=-1))
    assert nearness.metric == "objective"
    not_compiled = tfcompress.Objective(pulled, None, score=lambda y, outputs: -pulled(y, outputs))
    assert compress(network(4), identities, objective=not_compiled).before.accuracy is not None


def test_ctc_reports_its_loss():
    inputs = keras.Input((6, 4))
    hidden = layers.Dense(8, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(5, activation="softmax")(hidden))
    model.compile("sgd", losses.CTC())
    x, y = RNG.normal(size=(N, 6, 4)).astype("float32"), RNG.integers(1, 4, (N, 2))
    result = compress(model, y, Uniform(epochs=1), x=x)
    assert result.metric == "loss"
    assert result.before.accuracy == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-4)


def test_numbers_of_a_model_that_is_not_compiled():
    y = RNG.normal(size=(N, 2)).astype("float32")
    model = network(2)
    result = compress(model, y)
    assert result.metric == "mean_squared_error"
    assert result.before.accuracy == pytest.approx(np.mean(np.square(model.predict(X, verbose=0) - y)), rel=1e-5)
    assert "numbers as labels" in " ".join(result.notes)


def test_an_autoencoder_is_measured_by_its_loss():
    y = 1 / (1 + np.exp(-X))
    model = network(6, "binary_crossentropy", "sigmoid", metrics=["accuracy"])
    result = compress(model, y)
    assert result.metric == "loss"
    assert result.before.accuracy == pytest.approx(model.evaluate(X, y, verbose=0)[0], rel=1e-5)
    assert "not all 0 or 1" in " ".join(result.notes)


def test_sample_weights_count_in_the_training_loss_alone():
    """Half of the samples weigh nothing: the loss of training is half of the mean over the others; by numpy."""
    weights = np.repeat([1.0, 0.0], N // 2)
    model = network(3, "sparse_categorical_crossentropy", "softmax")
    method = Uniform(epochs=1, batch_size=N, learning_rate=1e-9, weight_decay=0)
    result = compress(model, CLASSES, method, weights=(weights,))
    each = -np.log(result.model.predict(X, verbose=0)[np.arange(N), CLASSES])
    recovered = result.history["recover"]
    assert recovered["loss"][0] == pytest.approx(np.mean(each * weights), rel=1e-4)
    assert recovered["val_loss"][0] == pytest.approx(np.mean(each), rel=1e-4)
    x, y = small_tasks.pictures(N)
    model = small_tasks.residual_network()
    result = tfcompress.compress(model, LIT(epochs=1), (x, y, weights), flops_budget=0.6, verbose=0)
    assert np.isfinite(result.history["recover"]["loss"]).all()
    assert "sample weights: of the training loss, and of a teacher's lessons" in str(result.notes)


@pytest.mark.parametrize(
    ("loss", "labels", "words"),
    [
        ("sparse_categorical_crossentropy", np.eye(3)[CLASSES], r"y.argmax\(-1\)"),
        ("categorical_crossentropy", CLASSES, r"to_categorical\(y, 3\).*\"sparse_categorical_crossentropy\""),
        ("kl_divergence", CLASSES, "to_categorical"),
        ("binary_crossentropy", CLASSES, "to_categorical"),
        ("mean_squared_error", np.zeros((N, 2)), r"shape \[batch, 3\], as the outputs"),
        (lambda y, outputs: ops.mean(y + outputs), np.zeros((N, 2)), "labels that the loss <lambda> can compare"),
    ],
)
def test_labels_of_another_form_are_refused_with_what_mends_them(loss, labels, words):
    with pytest.raises(ValueError, match=words):
        compress(network(3, loss, "softmax"), labels)


def test_a_named_dataset_brings_indices_of_classes():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.Dense(8)(layers.Flatten()(inputs))))
    model.compile("sgd", "categorical_crossentropy")
    with pytest.raises(ValueError, match=r"'digits'.*compile the model with .sparse_categorical_crossentropy"):
        tfcompress.compress(model, Uniform(epochs=0), "digits", params_budget=0.7, verbose=0)


def test_a_model_of_numbers_says_what_to_do_with_strings():
    with pytest.raises(TypeError, match="Turn strings into numbers first"):
        compress(network(3), CLASSES, x=np.full((N, 6), "word"))


def test_a_dict_of_inputs_with_other_names_is_refused():
    rows, classes = np.zeros((8, 4), "float32"), np.zeros(8, "int64")

    def given(names, inputs):
        outputs = keras.layers.Dense(3)(keras.layers.Concatenate()(keras.tree.flatten(inputs)))
        return given_splits(keras.Model(inputs, outputs), (dict.fromkeys(names, rows), classes), None)

    def two(**names):
        return [keras.Input((4,), **{key: value[at] for key, value in names.items()}) for at in (0, 1)]

    given(["b", "a"], two(name="ab"))
    with pytest.raises(ValueError, match=r"with the names \['a', 'b'\]. Received: \['a', 'c'\]"):
        given(["a", "c"], two(name="ab"))
    given(["p", "q"], dict(zip("pq", two(name="ab"), strict=True)))
    with pytest.raises(ValueError, match=r"with the names \['p', 'q'\]. Received: \['a', 'b'\]"):
        given(["a", "b"], dict(zip("pq", two(name="ab"), strict=True)))
    with pytest.raises(ValueError, match=r"which have no names\. Received: a dict with the names"):
        given(["input_layer", "input_layer_1"], two())
