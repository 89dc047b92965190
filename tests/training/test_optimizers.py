"""Optimizers that a user gives: made anew by their config, with the rate of a phase, and not changed."""

import keras
import pytest

from tfcompress.methods import Uniform
from tfcompress.training import Training


def test_an_optimizer_is_made_anew_for_each_phase():
    given = keras.optimizers.AdamW(0.002, weight_decay=0.03, beta_1=0.8, clipnorm=1.0)
    training = Training(optimizer=given)
    first, second = training.new_optimizer(0.5), training.new_optimizer(0.25)
    assert first is not given and first is not second
    assert type(first) is keras.optimizers.AdamW
    assert (first.weight_decay, first.beta_1, first.clipnorm) == (0.03, 0.8, 1.0)
    assert [round(float(each.learning_rate), 6) for each in (given, first, second)] == [0.002, 0.5, 0.25]


def test_its_rate_is_the_first_one():
    """Trained or fresh; a rate of the method's overrules it, and a cosine starts there."""
    given = keras.optimizers.RMSprop(0.004)
    for is_trained in (True, False):
        assert Training(optimizer=given).first_learning_rate(is_trained) == pytest.approx(0.004)
    assert Training(optimizer=given, learning_rate=0.1).first_learning_rate(True) == 0.1
    assert Training(optimizer=given, epochs=2).schedule_for()(1, 2) == pytest.approx(0.002)
    assert Training(optimizer=given).words(True) == "RMSprop with learning rate 0.004"


def test_a_schedule_of_its_own_stays():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.08, decay_steps=10, end_learning_rate=0.02)
    training = Training(optimizer=keras.optimizers.SGD(schedule))
    assert training.schedule_for() is None
    assert training.first_learning_rate(True) == pytest.approx(0.08)
    optimizer = training.new_optimizer(0.5)
    optimizer.iterations.assign(5)
    assert float(optimizer.learning_rate) == pytest.approx(0.05)  # half of the way from 0.08 to 0.02
    with pytest.raises(ValueError, match=r"Expected no `learning_rate` with an optimizer that has a LearningRateS"):
        Training(optimizer=keras.optimizers.SGD(schedule), learning_rate=0.1)


def test_a_constant_rate_is_left_to_the_optimizer():
    assert Training(schedule="constant").schedule_for() is None


def test_one_decay_of_weights():
    """An optimizer with a weight decay of its own takes the place of the penalty."""
    assert Training(optimizer=keras.optimizers.AdamW(weight_decay=0.1)).penalty_of_weights == 0
    assert Training(optimizer=keras.optimizers.Adam()).penalty_of_weights == 1e-4
    assert Training(weight_decay=0.5).penalty_of_weights == 0.5


def test_a_scaled_loss():
    """Keras scales the loss itself where a phase computes in float16."""
    given = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.3))
    assert type(Training(optimizer=given).new_optimizer(0.5)) is keras.optimizers.Adam
    assert Training(optimizer=given).first_learning_rate(True) == pytest.approx(0.3)


def test_settings_say_it_as_plain_data():
    told = Uniform(optimizer=keras.optimizers.Adam(0.5, beta_1=0.25)).settings()["optimizer"]
    assert told["class_name"] == "Adam"
    assert (told["config"]["learning_rate"], told["config"]["beta_1"]) == (0.5, 0.25)


class _Unmade(keras.optimizers.SGD):
    def __init__(self, needed, **kwargs):
        super().__init__(**kwargs)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ("AdamW", ValueError, r"optimizer=keras\.optimizers\.get\('AdamW'\)"),
        ("lamp", ValueError, r"'sgd', 'adam', 'compiled'.*Received: optimizer='lamp'"),
        (keras.optimizers.Adam, TypeError, r"Write its parentheses: optimizer=keras\.optimizers\.Adam\(\)"),
        (0.1, TypeError, r"'sgd', 'adam', 'compiled'.*Received: optimizer=0\.1"),
        (_Unmade(1), ValueError, "that can be rebuilt from its config"),
    ],
)
def test_refusals(wrong, error, words):
    with pytest.raises(error, match=words):
        Training(optimizer=wrong)


def test_momentum_is_the_optimizers():
    with pytest.raises(ValueError, match=r"Expected no `momentum` with an optimizer that has its own"):
        Training(optimizer=keras.optimizers.SGD(), momentum=0.5)
