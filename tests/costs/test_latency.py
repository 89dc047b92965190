"""Measured latency: the rounds against a made-up clock, LiteRT on a tiny model, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfcompress.costs import device, measure_latency
from tfcompress.export import ExportError, MissingOperatorError, convert
from tfcompress.litert import timed


class Clock:
    """A clock that stands still but for the calls, which take given milliseconds, the last of them for ever."""

    def __init__(self, *milliseconds):
        self.milliseconds, self.calls, self.now = list(milliseconds), 0, 0.0

    def invoke(self):
        self.now += self.milliseconds[min(self.calls, len(self.milliseconds) - 1)] / 1e3
        self.calls += 1

    def __call__(self):
        return self.now


def times(clock, warm_up=0, runs=3, tolerance=0.02, seconds=1.0):
    return timed(clock.invoke, warm_up, runs, tolerance, seconds, clock, clock)


def test_three_rounds_that_agree_are_enough_and_warm_up_does_not_count():
    clock = Clock(50, 50, 2)
    counted, settled = times(clock, warm_up=2)
    assert settled
    assert counted == pytest.approx([2.0] * 9)
    assert clock.calls == 2 + 9


def test_a_busy_round_does_not_count_once_three_others_agree():
    counted, settled = times(Clock(7, 7, 7, 2))
    assert settled
    assert counted == pytest.approx([2.0] * 9)


def test_medians_that_drift_apart_never_settle_and_all_count_until_time_is_up():
    clock = Clock(*(10 * 1.05 ** (number // 3) for number in range(90)))
    counted, settled = times(clock, seconds=0.5)
    assert not settled
    assert sum(counted[:-1]) < 500 <= sum(counted)
    assert len(counted) == clock.calls
    assert times(Clock(*(10 * 1.05 ** (number // 3) for number in range(90))), tolerance=0.2)[1]


def test_of_slow_calls_three_are_made_whatever_the_limit():
    counted, settled = times(Clock(900), seconds=0.1)
    assert counted == pytest.approx([900.0] * 3)
    assert not settled or len(counted) == 3


@pytest.fixture(scope="module")
def model():
    image = keras.Input((6, 6, 3), name="image")
    return keras.Model(image, layers.Conv2D(4, 3, name="conv")(image))


def test_a_model_and_its_file(model):
    latency = measure_latency(model, batch=4, runs=5, warm_up=1)
    assert (latency.batch, latency.threads) == (4, 1)
    assert latency.median_ms > 0
    assert latency.spread_ms >= 0
    assert latency.runs >= 15
    content = convert(model, batch=3)
    assert measure_latency(content, runs=2, seconds=0.2).batch == 3
    with pytest.raises(ValueError, match=r"Expected `batch` to be the file's own, 3. Received: batch=4"):
        measure_latency(content, batch=4)


def test_the_device_is_described_by_text_alone():
    described = device()
    assert set(described) == {"cpu", "cores", "system", "litert", "tensorflow"}
    assert all(isinstance(value, str) and value for value in described.values())
    assert described["tensorflow"] == tf.__version__


def test_an_operator_that_litert_does_not_have_is_named_with_its_layer():
    vector = keras.Input((4,))
    inner = layers.Lambda(tf.math.erfinv, output_shape=(4,), name="inverse")(layers.Dense(4, name="dense")(vector))
    with pytest.raises(MissingOperatorError, match=r"layer 'inverse', which needs Erfinv.*limit 'macs'") as caught:
        measure_latency(keras.Model(vector, inner))
    assert (caught.value.layer, caught.value.operators) == ("inverse", ("Erfinv",))


def test_an_operator_of_a_file_that_litert_cannot_run_is_named():
    function = tf.function(tf.math.erfinv).get_concrete_function(tf.TensorSpec((1, 4)))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.allow_custom_ops = True
    with pytest.raises(ExportError, match=r"Received: a file with Erfinv, which LiteRT cannot run"):
        measure_latency(converter.convert())
    with pytest.raises(ExportError, match="Received: a file that it cannot run"):
        measure_latency(b"no file")


def test_refused_before_anything_is_converted(model, monkeypatch):
    monkeypatch.setattr("tfcompress.costs.latency.convert", lambda *_, **__: pytest.fail("converted"))
    open_model = keras.Sequential([keras.Input((None, None, 3), name="any"), layers.Conv2D(2, 3)])
    with pytest.raises(
        ValueError, match=r"Expected inputs of known size.*input 'any' of shape \(None, None, None, 3\)"
    ):
        measure_latency(open_model)
    for name, value in (
        ("batch", 0),
        ("threads", 0),
        ("threads", 1.5),
        ("warm_up", -1),
        ("runs", 0),
        ("tolerance", 0),
        ("seconds", float("nan")),
    ):
        with pytest.raises(ValueError, match=f"Expected `{name}`"):
            measure_latency(model, **{name: value})
    with pytest.raises(TypeError, match="Expected `model`"):
        measure_latency(np.zeros(3))
