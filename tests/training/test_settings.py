"""`Training`: the optimizer and the schedule that follow from settings."""

import keras
import pytest

from tfcompress.training import Cosine, StepDecay, Training


def test_the_first_learning_rate():
    """0.1 as in the paper; a model that comes trained begins with a tenth of it; what is given stands."""
    assert Training().first_learning_rate(is_trained=False) == 0.1
    assert Training().first_learning_rate(is_trained=True) == 0.01
    for is_trained in (False, True):
        assert Training(learning_rate=0.3).first_learning_rate(is_trained) == 0.3


def test_milestones_are_scaled_to_the_phase():
    """100 and 150 of 200 epochs are 10 and 15 of 20."""
    assert Training(epochs=20, schedule="step", decay=0.2).schedule_for() == StepDecay(0.1, (10, 15), 0.2)
    assert Training(epochs=20, schedule="step").schedule_for(is_trained=True) == StepDecay(0.01, (10, 15), 0.1)
    settings = {"epochs": 60, "schedule": "step", "milestones": (10, 20), "reference_epochs": 30}
    assert Training(**settings, learning_rate=0.5).schedule_for() == StepDecay(0.5, (20, 40), 0.1)
    assert Training(epochs=20).schedule_for(is_trained=True) == Cosine(0.01)
    assert Training(epochs=0).schedule_for()(0, 1) == pytest.approx(0.1)


def test_optimizers():
    sgd = Training(momentum=0.7).new_optimizer(0.25)
    assert isinstance(sgd, keras.optimizers.SGD)
    assert (float(sgd.learning_rate), sgd.momentum, sgd.nesterov, sgd.weight_decay) == (0.25, 0.7, False, None)
    adam = Training(optimizer="adam").new_optimizer(0.125)
    assert isinstance(adam, keras.optimizers.Adam)
    assert (float(adam.learning_rate), adam.beta_1, adam.beta_2, adam.weight_decay) == (0.125, 0.5, 0.999, None)


def test_words():
    assert Training().words(is_trained=True) == "SGD with learning rate 0.01"
    assert Training(optimizer="adam", learning_rate=1e-3).words(is_trained=True) == "Adam with learning rate 0.001"


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("epochs", -1, 0),
        ("batch_size", 0, 1),
        ("reference_epochs", 0, 1),
        ("milestones", (1, -1), ()),
        ("learning_rate", 0.0, 1e-9),
        ("schedule", "linear", "cosine"),
        ("decay", 0.0, 2.0),
        ("momentum", 1.0, 0.0),
        ("momentum", -0.1, 0.999),
        ("weight_decay", -1e-9, 0.0),
        ("optimizer", "adamw", "adam"),
        ("mixed_precision", "float16", "mixed_float16"),
        ("keep", "first", "last"),
    ],
)
def test_ends_of_ranges(name, wrong, right):
    assert getattr(Training(**{name: right}), name) == right
    with pytest.raises(ValueError, match=f"Expected `{name}`.*Received: {name}="):
        Training(**{name: wrong})


def test_a_momentum_that_adam_does_not_have():
    with pytest.raises(ValueError, match=r"momentum.*with optimizer='adam'"):
        Training(optimizer="adam", momentum=0.5)
