"""What a user's model brings along that is not used: each thing is said."""

import functools

import keras
import pytest
from keras import layers

from tfcompress import training
from tfcompress.training.ignored import words_for_ignored

OBJECTIVE = training.Objective(None, lambda: keras.metrics.SparseCategoricalAccuracy("accuracy"))


def plain(kind=keras.Model):
    inputs = keras.Input((4,))
    return kind(inputs, layers.Dense(3, activation="softmax")(inputs))


def words(model, objective=OBJECTIVE):
    return "\n".join(words_for_ignored(model, objective, "SGD with learning rate 0.01"))


class Own(keras.Model):
    def train_step(self, data):
        return super().train_step(data)

    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs)


def test_nothing_to_say():
    assert words(plain()) == ""


def test_a_class_with_steps_of_its_own():
    said = words(plain(Own))
    assert "own train_step and compute_loss are not used" in said
    assert "the class Own is not carried over" in said


def test_the_optimizer():
    model = plain()
    model.compile(keras.optimizers.Adam(3e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    assert words(model) == (
        "The optimizer that the model is compiled with, Adam with learning rate 0.0003, is not used: SGD with learning "
        "rate 0.01 trains instead."
    )
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.5, 10)), "mse")
    assert "SGD with learning rate 0.5, is" in words(model)
    assert "the method brings its own." in words_for_ignored(model, OBJECTIVE, None)[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"metrics": ["mae", "accuracy", keras.metrics.AUC(name="area")]},
            "not measured: mae, area. Measured: acc",
        ),
        ({"weighted_metrics": {"dense": [keras.metrics.MeanSquaredError()]}}, "not measured: mean_squared_error."),
        ({"metrics": ["accuracy"], "loss_weights": 2.0}, "loss_weights=2.0 of the model's compile() are not used."),
        ({"steps_per_execution": 4, "jit_compile": True}, "not used: steps_per_execution=4, jit_compile=True."),
        ({"run_eagerly": True}, "not used: run_eagerly=True."),
    ],
)
def test_compile(settings, said):
    model = plain()
    model._resolve_auto_jit_compile = lambda: False  # as on a machine without a GPU
    model.compile("sgd", "sparse_categorical_crossentropy", **settings)
    assert said in words(model)


def test_losses_and_metrics_without_a_config():
    model = plain()
    error = functools.partial(keras.losses.categorical_crossentropy, from_logits=False)
    model.compile("sgd", error, metrics=["accuracy", functools.partial(keras.metrics.top_k_categorical_accuracy, k=2)])
    assert "Further metrics of the model are not measured: top_k_categorical_accuracy." in words(model)
