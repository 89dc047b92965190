"""What the teacher gives, in memory: the same batches in the same order, and the same loss as with the teacher beside."""

import dataclasses

import keras
import numpy as np
import pytest
import small_tasks
import teachers

from tfcompress import data
from tfcompress.training.teaching import Distillation, KDLoss, SoftTargets, remembered

ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def source(**settings):
    arrays = small_tasks.pictures(20, seed=2)
    return data.splits(arrays, classes=4, input_shape=(None, 8, 8, 1), **settings).train.source


def test_batches_bring_the_teachers_outputs_and_the_loss_is_the_same():
    student, teacher = teachers.classifier(blocks=(1, 1), seed=1), teachers.classifier(blocks=(2, 2), seed=2)
    loss = KDLoss(student, teacher, SoftTargets(0.3, 2.0), ENTROPY)
    cached, computed = (
        Distillation(student, teacher, outputs_loss=loss, cached=is_cached) for is_cached in (True, False)
    )
    plain = source()  # a part of the arrays, as some are held out
    assert plain.indices is not None
    ours, theirs = remembered(plain, teacher).batches(8, training=True), plain.batches(8, training=True)
    assert len(ours) == len(theirs) == 3
    for index in range(3):
        (x, y), (inputs, labels) = ours[index], theirs[index]
        np.testing.assert_array_equal(x["inputs"], inputs)
        np.testing.assert_array_equal(y, labels)
        np.testing.assert_allclose(x["outputs"], teacher(inputs, training=False), rtol=1e-5, atol=1e-5)
        both = [
            float(model.compute_loss(x=given, y=y, y_pred=model(given, training=True), training=True))
            for model, given in ((cached, x), (computed, inputs))
        ]
        assert both[0] == pytest.approx(both[1], rel=1e-4)


def test_samples_are_preprocessed_as_before():
    halved = dataclasses.replace(source(), preprocess=lambda x: x / 2)
    teacher = teachers.classifier(blocks=(1, 1), seed=2)
    x, _ = remembered(halved, teacher).batches(4)[0]
    np.testing.assert_array_equal(x["inputs"], halved.batches(4)[0][0])
    np.testing.assert_allclose(x["outputs"], teacher(halved.batches(4)[0][0], training=False), rtol=1e-5, atol=1e-5)


def test_samples_that_change_are_not_remembered():
    teacher = teachers.classifier(blocks=(1, 1), seed=2)
    assert remembered(dataclasses.replace(source(), augment=lambda x, rng: x), teacher) is None
