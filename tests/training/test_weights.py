"""Weights of samples and of classes in `compress`, against Keras' own `fit`, and by hand where a teacher is in it."""

import keras
import numpy as np
import pytest
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.costs import Budget
from tfcompress.data.sources.arrays import ArraySource
from tfcompress.evaluation import Reward
from tfcompress.given import given_splits
from tfcompress.methods import DARC, Uniform
from tfcompress.task import Task
from tfcompress.training import NoRunFolder, Progress, fit, infer, loss_function
from tfcompress.training.mixup import Mixup
from tfcompress.training.teaching import Distillation, KDLoss
from tfcompress.training.teaching.cached import cached_batches
from tfcompress.training.teaching.losses import HINT_LOSSES, SoftTargets, hint_loss, weights_of_samples
from tfcompress.training.teaching.remembered import remembered

RNG = np.random.default_rng(0)
N = 24
X, Y = RNG.normal(size=(N, 4)).astype("float32"), RNG.integers(0, 3, N)
WEIGHTS = RNG.uniform(0, 2, N).astype("float32")


def network(**compiled):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Dense(6, activation="relu")(inputs)))
    model.compile(
        keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", **(compiled or {"metrics": ["accuracy"]})
    )
    return model


@pytest.mark.parametrize("data", [(X, Y, WEIGHTS), tf.data.Dataset.from_tensor_slices((X, Y, WEIGHTS)).batch(8)])
def test_a_step_is_that_of_keras_fit_with_sample_weights(data):
    theirs, ours = network(), network()
    theirs.fit(X, Y, sample_weight=WEIGHTS, batch_size=8, epochs=2, shuffle=False, verbose=0)
    splits = given_splits(ours, data, (X, Y))
    batches = splits.train.source.as_given() if isinstance(data, tf.data.Dataset) else splits.train.source.as_given(8)
    fit(ours, batches, infer(ours, Y), optimizer=keras.optimizers.SGD(0.1), epochs=2)
    for own, weight in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, weight, rtol=1e-5, atol=1e-6)


def test_class_weights_are_those_of_keras_fit():
    theirs, ours = network(), network()
    given = {0: 4.0, 2: 0.25}
    theirs.fit(X, Y, class_weight=given, batch_size=N, epochs=1, verbose=0)
    splits = given_splits(ours, (X, Y), (X, Y), class_weight=given)
    train = splits.train.batches(N, training=True)
    fit(ours, train, infer(ours, Y), optimizer=keras.optimizers.SGD(0.1), epochs=1)
    for own, weight in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, weight, rtol=1e-5, atol=1e-6)


def test_compress_takes_class_weight_validation_split_and_data_in_the_methods_place():
    model = network()
    method = Uniform(epochs=1, batch_size=N, learning_rate=1e-9, weight_decay=0, teach=None, recalibrate_student=0)
    settings = {"params_budget": 0.7, "verbose": 0, "validation_split": 0.25}
    result = tfcompress.compress(model, method, (X, Y), class_weight={0: 0, 1: 0, 2: 0}, **settings)
    assert result.history["recover"]["loss"] == [0.0]
    assert "6 samples held out" in " ".join(result.notes)
    assert "class weights: 0: 0, 1: 0, 2: 0" in " ".join(result.notes)
    with pytest.raises(ValueError, match="either `validation_split` or `validation_data`"):
        tfcompress.compress(model, method, (X, Y), validation_data=(X, Y), **settings)
    with pytest.raises(ValueError, match="Expected a budget"):
        tfcompress.compress(model, (X, Y), verbose=0)  # understood: what is missing is a budget
    with pytest.raises(TypeError, match="`method` to be a name or a Method"):
        tfcompress.compress(model, (X, Y), (X, Y), params_budget=0.7)


def test_a_metric_is_weighted_where_the_model_is_compiled_so():
    """By numpy: the weighted share of samples that are named right."""
    for compiled, weighted in (({"weighted_metrics": ["accuracy"]}, True), ({"metrics": ["acc"]}, False)):
        model = network(**compiled)
        right = model.predict(X, verbose=0).argmax(1) == Y
        expected = np.average(right, weights=WEIGHTS if weighted else None)
        settings = {"validation_data": (X, Y, WEIGHTS), "params_budget": 0.7, "verbose": 0}
        result = tfcompress.compress(model, Uniform(epochs=0), (X, Y, WEIGHTS), **settings)
        assert result.before.accuracy == pytest.approx(expected, rel=1e-5)
        assert ("as the model is compiled with weighted_metrics" in " ".join(result.notes)) == weighted
        splits = given_splits(model, (X, Y, WEIGHTS), (X, Y, WEIGHTS))
        task = Task.of(model, splits, Budget(), 0, NoRunFolder(), Progress(verbose=0))
        assert Reward(task, None, None).whole() == pytest.approx(expected, rel=1e-5)
        unweighted = tfcompress.compress(model, Uniform(epochs=0), (X, Y), params_budget=0.7, verbose=0)
        assert "weighted" not in " ".join(unweighted.notes)


LOGITS, TAUGHT = RNG.normal(size=(4, 3)).astype("float32"), RNG.normal(size=(4, 3)).astype("float32")
FOUR = np.array([1.0, 0.0, 2.0, 0.5], "float32")


def test_soft_targets_count_by_the_weights_of_samples():
    """Keras divides the sum of weighted losses by the number of samples, and so do we."""
    for targets in (SoftTargets(0.0, 2.0), SoftTargets(0.0, soft="logits"), SoftTargets(0.0, soft="mean_logits")):
        each = [float(targets.of_logits(LOGITS[i : i + 1], TAUGHT[i : i + 1])) for i in range(4)]
        for weights in (FOUR, FOUR[:, None]):
            assert float(targets.of_logits(LOGITS, TAUGHT, weights)) == pytest.approx(np.mean(each * FOUR), rel=1e-5)
    sequences, places = RNG.normal(size=(2, 2, 3)).astype("float32"), FOUR.reshape(2, 2)
    taught = TAUGHT.reshape(2, 2, 3)
    each = [
        float(SoftTargets(0.0, 2.0).of_logits(*(a.reshape(4, 1, 3)[i : i + 1] for a in (sequences, taught))))
        for i in range(4)
    ]
    found = SoftTargets(0.0, 2.0).of_logits(sequences, taught, places)
    assert float(found) == pytest.approx(np.mean(each * FOUR), rel=1e-5)


@pytest.mark.parametrize("weights", [FOUR, np.stack([FOUR * 2, FOUR * 0], axis=1)])
def test_hints_count_by_the_weights_of_samples(weights):
    """A map inside the network has no places of its own among the weights: a sample's mean counts."""
    student, teacher = (RNG.normal(size=(4, 5, 5, 2)).astype("float32") for _ in range(2))
    for name in HINT_LOSSES:
        each = [float(hint_loss(name, teacher[i : i + 1], student[i : i + 1])) for i in range(4)]
        found = float(hint_loss(name, teacher, student, weights=weights))
        assert found == pytest.approx(np.mean(each * FOUR), rel=1e-5)


def test_weights_of_several_outputs_are_their_mean():
    np.testing.assert_allclose(weights_of_samples({"a": FOUR, "b": np.zeros((4, 2))}), FOUR / 2)
    assert weights_of_samples((None, FOUR)) is FOUR
    assert weights_of_samples(None) is None


def test_mixed_images_take_the_weight_of_each_label():
    model = network()
    loss = loss_function(model, infer(model, Y))
    mixed = Mixup(model, loss, seed=3)
    given = mixed(X, training=True)
    share = float(given["share"])
    each = -np.log(np.array(given["mixed"]))
    of_y = [np.mean(each[np.arange(N), y] * w) for y, w in ((Y, WEIGHTS), (Y[::-1], WEIGHTS[::-1]))]
    found = mixed.compute_loss(X, Y, given, sample_weight=WEIGHTS)
    assert float(found) == pytest.approx(share * of_y[0] + (1 - share) * of_y[1], rel=1e-5)


def test_darc_mixes_images_with_weights():
    x, y = small_tasks.pictures()
    model, weights = small_tasks.residual_network(), np.ones(len(y), "float32")
    splits = given_splits(model, (x, y, weights), None)
    task = Task.of(model, splits, Budget(flops=0.6), 0, NoRunFolder(), Progress(verbose=0))
    assert DARC()._concentration(task) == 1.0
    DARC(mixup=1.0).check(task)


def test_a_source_in_its_order_has_its_weights():
    source = ArraySource(X, Y, indices=np.arange(5, 10), weights=WEIGHTS)
    (batch,) = [source.as_given(8)[i] for i in range(1)]
    np.testing.assert_array_equal(batch[2], WEIGHTS[5:10])
    np.testing.assert_array_equal(source.take_weights(2), WEIGHTS[5:7])


def test_lessons_that_are_kept_bring_the_weights_along(tmp_path):
    x, y = small_tasks.pictures(12)
    model = small_tasks.residual_network()
    train = given_splits(model, (x, y, np.arange(12.0)), (x, y)).train
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    taught = KDLoss(model, model, SoftTargets(0.3, 2.0), entropy)
    cached = Distillation(small_tasks.residual_network(seed=1), model, outputs_loss=taught, cached=True)
    with cached_batches(cached, train, 5, 1.0, tmp_path / "cache", 0) as batches:
        kept = [tuple(batch) for batch in batches]
    in_memory = remembered(train.source, model).batches(5, training=True)
    for of_one in (kept, [in_memory[number] for number in range(len(in_memory))]):
        seen = []
        for given, _, weights in of_one:
            for image, weight in zip(np.asarray(given["inputs"]), np.asarray(weights), strict=True):
                (index,) = [number for number in range(12) if np.array_equal(x[number], image)]
                assert weight == index
                seen.append(index)
        assert sorted(seen) == list(range(12))
