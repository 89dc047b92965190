"""What the functions that train a phase hand to `fit`, and to the model that stands beside a teacher."""

import dataclasses
from types import SimpleNamespace
from unittest import mock

import keras
import numpy as np
import pytest
import small_tasks
from keras import layers

from tfcompress.costs import Budget
from tfcompress.evaluation import Evaluator
from tfcompress.methods import LIT, RLAL, Random, Teaching, Training, Uniform, phases
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.training import Constant, Objective
from tfcompress.training.teaching import SoftTargets

TRAINING = Training(epochs=3, learning_rate=0.25, batch_size=32, weight_decay=0.0)


@pytest.fixture
def task():
    return small_tasks.task_for(small_tasks.residual_network(), flops=1.0)


def handed_to_fit(train, *args, **options):
    """The arguments of `fit`, by name, where its history is empty; `watched` is what it returns of the model."""
    with mock.patch.object(phases, "fit", return_value={}) as fit:
        train(*args, **options)
    (model, batches, objective), named = fit.call_args
    return SimpleNamespace(model=model, batches=batches, objective=objective, **named)


def test_weight_decay_is_a_penalty_of_its_strength_before_the_others(task):
    other = object()
    fit = handed_to_fit(phases.train_phase, task.model, task, TRAINING, "p", penalties=[other])
    assert fit.penalties == [other]
    training = dataclasses.replace(TRAINING, weight_decay=0.5)
    decay, last = handed_to_fit(phases.train_phase, task.model, task, training, "p", penalties=[other]).penalties
    assert last is other
    decay.build(task.model)
    squares = sum(np.square(np.array(weight, np.float64)).sum() for weight in task.model.trainable_variables)
    np.testing.assert_allclose(float(decay()), 0.5 / 2 * squares, rtol=1e-5)


def test_settings_of_the_call_come_before_those_of_task_and_training(task):
    objective, data, callback = Objective("mse", None), object(), keras.callbacks.Callback()
    given = {"objective": objective, "schedule": Constant(0.125), "data": data, "callbacks": [callback]}
    fit = handed_to_fit(phases.train_phase, task.model, task, TRAINING, "p", **given, keep="best", stateful={"a": 1})
    assert fit.model is task.model and fit.objective is objective and fit.batches is data
    assert (fit.schedule(0, 3), float(fit.optimizer.learning_rate)) == (0.125, 0.125)
    assert (fit.keep, fit.epochs, list(fit.callbacks)) == ("best", 3, [callback])
    assert (fit.phase.name, dict(fit.phase.stateful)) == ("p", {"a": 1})


def test_without_them_task_and_training_say_how(task):
    fit = handed_to_fit(phases.train_phase, task.model, task, TRAINING, "p")
    assert fit.objective is task.objective
    assert [fit.schedule(epoch, 3) for epoch in range(3)] == [
        TRAINING.schedule_for(task.is_trained)(epoch, 3) for epoch in range(3)
    ]
    assert (float(fit.optimizer.learning_rate), fit.keep, dict(fit.phase.stateful)) == (0.25, "last", {})
    seen = [len(part[1]) for part in fit.batches]
    assert seen[0] == 32 and sum(seen) == task.splits.train.num_samples
    held_out = np.concatenate([np.array(part[1]) for part in fit.validation])
    np.testing.assert_array_equal(held_out, task.splits.validation.take(task.splits.validation.num_samples)[1])


@pytest.mark.parametrize("teaching", [None, Teaching()])
def test_a_student_computes_in_the_precision_of_the_training(task, teaching):
    student, seen = apply(task.model, Plan()), []
    training = dataclasses.replace(TRAINING, mixed_precision="mixed_bfloat16")

    def fit(model, *_, **__):
        seen.extend((model is student, student.get_layer(name).compute_dtype) for name in ("stem", "head"))
        return {}

    with mock.patch.object(phases, "fit", fit):
        phases.train_student(student, task, training, "p", teaching=teaching)
    assert seen == [(teaching is None, "bfloat16"), (teaching is None, "float32")]
    assert student.get_layer("stem").compute_dtype == "float32"


def test_a_teacher_adds_a_third_to_each_phase_that_it_teaches(task):
    def costs(method):
        return np.array([phase.cost for phase in method.phases(task) if phase.name != "search"])

    for method in (Uniform(steps=2, step_epochs=1), Random(), RLAL()):
        np.testing.assert_allclose(costs(dataclasses.replace(method, teach="kd")), costs(method) + 1 / 3)


def test_validation_measures_the_loss_on_labels_alone(task):
    teacher = small_tasks.residual_network(seed=1)
    model = phases.taught(task.model, task, Teaching(teacher=teacher, alpha=0.0))
    inputs, labels = small_tasks.pictures(8)
    model.compile()
    measured = float(model.compute_loss(x=inputs, y=labels, y_pred=model(inputs, training=False), training=False))
    logits = np.array(task.model(inputs, training=False), np.float64)
    by_hand = np.log(np.exp(logits).sum(-1)) - logits[np.arange(8), labels]
    np.testing.assert_allclose(measured, by_hand.mean(), rtol=1e-5)


def with_two_answers(seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2, name="answers")(inputs))
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True), metrics=["binary_accuracy"])
    return model


def test_answers_of_their_own_are_softened_each_on_its_own():
    """Two answers, yes or no: the soft term is the binary cross-entropy of each, summed over the two sides."""
    student, teacher = with_two_answers(0), with_two_answers(1)
    inputs = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    labels = np.array([[0, 1], [1, 1], [0, 0], [1, 0], [0, 1]], "float32")
    objective = Objective(student.loss, None, from_logits=True, name="binary_crossentropy")
    task = SimpleNamespace(objective=objective)
    loss = phases.kd_loss(student, teacher, task, SoftTargets(alpha=0.0, tau=2.0))
    outputs, wanted = (np.array(model(inputs), np.float64) for model in (student, teacher))
    yes, own = (1 / (1 + np.exp(-part / 2)) for part in (wanted, outputs))
    by_hand = -(yes * np.log(own) + (1 - yes) * np.log(1 - own)).mean() * 4
    given = keras.ops.convert_to_tensor(outputs, "float32")
    step = SimpleNamespace(y=labels, outputs=given, teacher=wanted, weights=None)
    np.testing.assert_allclose(float(loss(step)), by_hand, rtol=1e-5)


def test_each_regressor_has_a_seed_of_its_own_that_follows_from_the_tasks(task):
    narrow, wide = (small_tasks.residual_network(inner=inner) for inner in ((3, 3), (5, 5)))
    teaching = Teaching(teacher=wide, alpha=1, hints=("block1_conv1", "block2_conv1"))

    def kernels(seed):
        model = phases.taught(narrow, dataclasses.replace(task, seed=seed), teaching)
        return [np.array(layer.kernel) for layer in model.regressors]

    first, second = kernels(0)
    assert first.shape == second.shape == (3, 5) and np.abs(first - second).max() > 0.01
    again, other = kernels(0), kernels(7)
    np.testing.assert_array_equal(again, [first, second])
    assert np.abs(other[0] - first).max() > 0.01


def test_sections_are_compared_where_each_ends_and_the_stem_is_not(task):
    network = task.network_of(task.original)
    names = phases._hint_layers(Teaching(hints="sections"), network.graph)
    sums = [name for name, node in network.graph.nodes.items() if node.type_name == "Add"]
    assert names == tuple(sums[-1:])


def test_a_teacher_made_for_one_batch_size_teaches_any_and_is_read_inside(task):
    inner = small_tasks.residual_network(seed=1)
    image, four = keras.Input((8, 8, 1)), keras.Input(batch_shape=(4, 8, 8, 1))
    nested = keras.Model(image, inner(image))
    fixed = keras.Model(four, keras.ops.reshape(inner(four), (4, small_tasks.CLASSES)))
    inputs, hints = small_tasks.pictures(6)[0], ("block1_conv1",)
    for teaching in (
        Teaching(teacher=fixed),
        Teaching(teacher=nested, alpha=1, hints=hints),
        Teaching(teacher=fixed, alpha=0.5, hints=hints),
    ):
        phases.check_teaching(teaching, task)
        model = phases.taught(task.model, task, teaching)
        outputs = model(inputs, training=True)
        given = keras.tree.flatten(outputs)
        assert all(part.shape[0] == 6 for part in given if part is not None)


def test_the_score_of_a_student_is_the_tasks_metric_of_the_validation_split(task):
    name = task.objective.metric_name
    batches = task.splits.validation.batches(250)
    assert phases.score_of(task.model, task) == Evaluator(task.model, task.objective)(batches)[name]
    without = dataclasses.replace(task, objective=Objective("mse", None), budget=Budget())
    assert phases.score_of(task.model, without) is None
    assert LIT().teaching is None
