"""`size_budget`: planned by every method, and held by the file that is made of the finished model."""

import dataclasses

import keras
import numpy as np
import pytest
import small_tasks
from converted_once import converted_once
from keras import layers

import tfcompress
from tfcompress import methods
from tfcompress.costs import LimitMissed, metrics
from tfcompress.costs.file_size import FILE
from tfcompress.export import ExportError, convert

X, Y = small_tasks.pictures(64)


@pytest.fixture(autouse=True)
def files_are_made_once():
    with converted_once():
        yield


@pytest.fixture(scope="module")
def model():
    """A network with fewer bytes beside its weights than in them."""
    made = small_tasks.residual_network(activation="softmax", width=12, inner=(24, 32))
    rng = np.random.default_rng(0)  # as if it were trained: no two normalizations are alike
    for layer in (layer for layer in made.layers if isinstance(layer, layers.BatchNormalization)):
        for weight in layer.weights:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    made.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def compressed(model, method, **budgets):
    return tfcompress.compress(model, method, (X, Y), verbose=0, **budgets)


@pytest.mark.parametrize(
    ("method", "budgets"),
    [
        (methods.Uniform(epochs=0), {"size_budget": 32_000}),
        (methods.Knapsack(epochs=0), {"size_budget": 0.5, "flops_budget": 0.6, "params_budget": 0.5}),
        pytest.param(
            methods.RLAL(episodes=2, local_search=0, epochs=0, joint=False),
            {"size_budget": 0.6, "flops_budget": 0.7},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_file_is_within_the_budget_and_close_to_it(model, method, budgets):
    result = compressed(model, method, **budgets)
    whole, size = len(convert(model)), len(convert(result.model))
    limit = budgets["size_budget"]
    limit = limit if isinstance(limit, int) else limit * whole
    assert size <= limit
    assert result.after.measurements == {FILE: size}
    assert FILE not in result.after.others
    assert result.after[FILE] == result.pick(budget={FILE: limit / whole}).after[FILE] == size
    assert result.before.measurements[FILE] == pytest.approx(whole, abs=64)
    if "flops_budget" in budgets:
        assert result.after.macs <= budgets["flops_budget"] * result.before.macs
    if len(budgets) == 1:  # a channel of the widest layer has 4 * 9 * 24 bytes
        assert size > limit - 4 * 9 * 24 - 600
    assert any(f"{FILE} is planned and measured" in note for note in result.notes)
    assert "budget: at most" in "".join(result.notes)


def test_a_plan_that_measures_more_is_made_again_with_less(model, monkeypatch):
    known = metrics._METRICS[FILE]
    asked = []

    def measure(student):
        asked.append(student.count_params())
        return known.measure(student) + 1500.0

    monkeypatch.setitem(metrics._METRICS, FILE, dataclasses.replace(known, measure=measure))
    whole = len(convert(model))
    result = compressed(model, methods.Knapsack(epochs=0), size_budget=int(0.6 * whole))
    assert len(convert(result.model)) + 1500 <= int(0.6 * whole)
    assert asked[1] < asked[0]
    assert any(note.startswith("A first plan measured ") and "with as much less" in note for note in result.notes)


def test_what_no_plan_reaches_is_refused_with_the_floor_and_what_misses_has_its_student(model, monkeypatch):
    with pytest.raises(ValueError, match=r"size_budget that can be reached: at least 0\.\d+ of .* bytes of the TFLite"):
        compressed(model, methods.Uniform(epochs=0), size_budget=0.05)
    for value, error in ((0, "above 0"), (1.5, "a share of the original"), ("small", "a number")):
        with pytest.raises(ValueError, match=f"`size_budget`.*{error}"):
            compressed(model, methods.Uniform(epochs=0), size_budget=value)
    known = metrics._METRICS[FILE]
    grown = dataclasses.replace(known, measure=lambda student: 10 * known.measure(student))
    monkeypatch.setitem(metrics._METRICS, FILE, grown)
    with pytest.raises(LimitMissed, match=r"size_budget=0\.6.*planned for, and measures more") as caught:
        compressed(model, methods.Uniform(epochs=3), size_budget=0.6)
    assert caught.value.model.count_params() < model.count_params()


def test_a_model_without_a_file_is_refused_before_any_data_is_read():
    inputs = keras.Input((8, 8, 1))
    x = keras.ops.erfinv(layers.Conv2D(8, 3, name="conv")(inputs) * 0.1)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ExportError, match=r"for a size budget\. Received: layer .*erfinv.*limit 'bytes' or 'params'"):
        tfcompress.compress(model, "uniform", "no_such_data", size_budget=0.5, verbose=0)
