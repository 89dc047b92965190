"""What all channel pruners do with what is left of a model: who teaches it, and whose statistics it begins with."""

import dataclasses

import numpy as np
import pytest
import small_tasks
from keras import layers

import tfcompress
from tfcompress import Plan
from tfcompress.methods import AMC, RLAL, Random, TaylorPruning, Teaching, Uniform, phases
from tfcompress.rewrite import apply

PRUNERS = (Uniform, Random, RLAL, AMC, TaylorPruning)


def task_for(model=None, **changes):
    model = small_tasks.trained_block() if model is None else model
    return small_tasks.task_for(model, **{"accuracy": 0.9, "flops": 0.6} | changes)


def test_a_trained_classifier_teaches_what_is_left_of_it():
    task = task_for()
    assert task.is_trained
    for pruner in PRUNERS:
        assert pruner().teaching_for(task) == Teaching()
        assert pruner().teaching is None  # what was asked for
        assert pruner(teach=None).teaching_for(task) is None
        own = Teaching(alpha=0.3, tau=2.0)
        assert pruner(teach=own).teaching_for(task) == pruner(teach=own).teaching == own


@pytest.mark.parametrize("accuracy", [None, 0.25])
def test_a_fresh_model_has_nothing_to_teach(accuracy):
    assert Uniform().teaching_for(task_for(accuracy=accuracy)) is None


def test_a_model_without_classes_does_not_teach():
    model, (x, y) = small_tasks.regression()
    result = tfcompress.compress(model, Uniform(epochs=1, learning_rate=1e-3), (x, y), flops_budget=0.6, verbose=0)
    assert "teaches" not in " ".join(result.notes)
    assert "loss_outputs" not in result.history["recover"]


@pytest.mark.parametrize(("activation", "teaches"), [(None, False), ("softmax", True)])
def test_outputs_of_a_squared_error_are_no_logits(activation, teaches):
    """Of one-hot labels there is an accuracy, but what the model gives need not be logits."""
    model = small_tasks.residual_network(activation=activation)
    model.compile("sgd", "mse", metrics=["accuracy"])
    x, y = small_tasks.pictures()
    task = task_for(model, arrays=(x, np.eye(4, dtype="float32")[y]))
    assert phases.can_teach(task) == teaches
    assert (Uniform().teaching_for(task) is not None) == teaches


def test_samples_with_weights_are_taught_by_their_weights():
    """Twice the weight of all samples is twice the loss, that of the teacher too."""
    x, y = small_tasks.pictures()
    method, losses = Uniform(epochs=1, learning_rate=1e-9, weight_decay=0.0), []
    for weight in (1, 2):
        data = (x, y, np.full(len(x), weight, "float32"))
        result = tfcompress.compress(small_tasks.trained_block(), method, data, flops_budget=0.6, verbose=0)
        assert "teaches" in " ".join(result.notes)
        losses.append(result.history["recover"])
    for name in ("loss", "loss_outputs"):
        assert losses[1][name][0] == pytest.approx(2 * losses[0][name][0], rel=1e-4)


def test_it_is_said_and_done():
    data, model = small_tasks.pictures(), small_tasks.trained_block()
    result = tfcompress.compress(model, Uniform(epochs=1), data, flops_budget=0.6, verbose=0)
    (note,) = [note for note in result.notes if "teaches" in note]
    teaching = Teaching()
    assert f"alpha {teaching.alpha:g} and tau {teaching.tau:g} (teach=None for labels alone)" in note
    assert len(result.history["recover"]["loss_outputs"]) == 1


def test_a_teacher_adds_to_the_time_of_a_trained_model():
    trained, fresh = (sum(phase.cost for phase in Uniform().phases(task_for(accuracy=a))) for a in (0.9, None))
    assert trained == pytest.approx(fresh + 1 / 3)


def cut(task):
    return apply(task.model, Plan.keeping_first({"block1_conv1": np.arange(6)}, {"block1_conv1": 2}))


def statistics(model):
    layers_ = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    return [np.array(values) for layer in layers_ for values in (layer.moving_mean, layer.moving_variance)]


def test_statistics_are_taken_anew_over_some_batches_before_training():
    """As if two batches had been seen in training with momentum 0, and both had counted the same."""
    data = small_tasks.pictures(320)
    task = task_for(arrays=data)
    student = cut(task)
    assert Uniform(epochs=0, recalibrate_student=2).recover(student, task) == {}
    observed = []
    inputs = task.splits.calibration.take(256)[0]
    for batch in (inputs[:128], inputs[128:]):
        seen = cut(task)
        for layer in seen.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = 0.0
        seen(batch, training=True)
        observed.append(statistics(seen))
    for value, *each in zip(statistics(student), *observed, strict=True):
        np.testing.assert_allclose(value, np.mean(each, axis=0), rtol=1e-4, atol=1e-5)
    before = statistics(cut(task))
    assert max(np.abs(a - b).max() for a, b in zip(before, statistics(student), strict=True)) > 1e-3


def test_statistics_stay_where_no_batches_are_asked_for():
    task = task_for()
    student = cut(task)
    before = statistics(student)
    Uniform(epochs=0, recalibrate_student=0).recover(student, task)
    for old, new in zip(before, statistics(student), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(("updates", "same"), [(0, False), (1, True), (None, True)])
def test_statistics_of_a_student_that_was_trained_since_the_cut_stay(updates, same):
    task = task_for()
    student = cut(task)
    before = statistics(student)
    TaylorPruning(epochs=0, updates=updates).recover(student, task)
    after = statistics(student)
    assert all((old == new).all() for old, new in zip(before, after, strict=True)) == same


@pytest.mark.parametrize("pruner", PRUNERS)
def test_refused(pruner):
    for wrong in (-1, 2.5, None):
        with pytest.raises((ValueError, TypeError), match=r"Expected `recalibrate_student`.*Received"):
            pruner(recalibrate_student=wrong)
    for wrong in ("dk", 3, True):
        with pytest.raises((ValueError, TypeError), match=r"Expected `teach` to be 'auto', 'kd'.*Received"):
            pruner(teach=wrong)


def test_a_training_of_papers_and_the_defaults_are_two():
    method = Uniform()
    assert (method.epochs, method.schedule, method.keep) == (30, "cosine", "best")
    assert dataclasses.replace(method, teach=None) != method
    assert phases.cost_of_teacher(Teaching()) == pytest.approx(1 / 3)
