"""What may stand in the place of an LSTM: shapes, weights and multiply-adds by their formulas, causality."""

import keras
import numpy as np
import pytest
from keras import layers
from replaced import network, part_of

from tfcompress.costs import cost
from tfcompress.graph import LayerGraph
from tfcompress.replacements import Part, SelfAttention, Separable1D, SmallerLSTM

STEPS, INSIDE, UNITS = 7, 5, 6


def lstm(sequences, **settings):
    return layers.LSTM(UNITS, return_sequences=sequences, **settings)


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
def test_costs(sequences, use_bias):
    part = part_of(lstm(sequences, use_bias=use_bias), (STEPS, INSIDE))
    once = STEPS if sequences else 1
    gru = 3 * UNITS * (INSIDE + UNITS)
    small = 4 * 3 * (INSIDE + 3)
    separable = 3 * INSIDE + INSIDE * UNITS
    attention = 4 * (3 * INSIDE + UNITS)  # four heads of one
    for replacement, macs, weights, biases in (
        ("gru", STEPS * gru, gru, 6 * UNITS),
        ("smaller_lstm", STEPS * small + once * 3 * UNITS, small + 3 * UNITS, 4 * 3 + UNITS),
        (SmallerLSTM(3), STEPS * small + once * 3 * UNITS, small + 3 * UNITS, 4 * 3 + UNITS),
        ("separable_1d", STEPS * separable, separable, UNITS),
        (Separable1D(1), STEPS * (INSIDE + INSIDE * UNITS), INSIDE + INSIDE * UNITS, UNITS),
        ("self_attention", STEPS * attention + 2 * STEPS**2 * 4, attention, 3 * 4 + UNITS),
    ):
        model, _ = network(part, replacement)
        counted = cost(model)
        assert (counted.macs, counted.params) == (macs, weights + use_bias * biases), replacement
        assert model(np.ones((2, STEPS, INSIDE))).shape == (2, *([STEPS] if sequences else []), UNITS)


@pytest.mark.parametrize("name", ["gru", "smaller_lstm", "separable_1d", "self_attention"])
def test_a_step_reads_itself_and_earlier_ones(name):
    model, _ = network(part_of(lstm(True), (STEPS, INSIDE)), name)
    steps = np.random.default_rng(0).normal(size=(1, STEPS, INSIDE)).astype("float32")
    later = steps.copy()
    later[:, 4:] += 1
    before, after = np.array(model(steps)), np.array(model(later))
    np.testing.assert_allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert (np.abs(before[:, 4] - after[:, 4]) > 1e-4).any()


def test_settings_are_kept():
    regularizer = keras.regularizers.L2(0.1)
    layer = lstm(True, go_backwards=True, activation="relu", dropout=0.25, recurrent_regularizer=regularizer)
    part = part_of(layer, (STEPS, INSIDE))
    for name in ("gru", "smaller_lstm"):
        made = network(part, name)[1][0]
        assert (made.go_backwards, made.activation.__name__, made.dropout) == (True, "relu", 0.25)
        assert made.cell.recurrent_regularizer is regularizer
    assert [network(part, name) for name in ("separable_1d", "self_attention")] == [(None, None)] * 2


def test_steps_of_any_number():
    part = part_of(lstm(True), (None, INSIDE))
    for name in ("gru", "smaller_lstm", "separable_1d", "self_attention"):
        assert network(part, name)[0](np.ones((2, 4, INSIDE))).shape == (2, 4, UNITS)


def test_where_they_have_no_meaning():
    steps = keras.Input(batch_shape=(2, STEPS, INSIDE))
    stateful = keras.Model(steps, lstm(True, stateful=True, name="kept")(steps))
    parts = [part_of(layer, (STEPS, INSIDE)) for layer in (layers.GRU(3), layers.Conv1D(3, 3))]
    for part in (*parts, Part.of(LayerGraph.from_keras(stateful), ["kept"])):
        for name in ("gru", "smaller_lstm", "separable_1d", "self_attention"):
            assert network(part, name) == (None, None)


def test_wrong_settings():
    for make, value in (
        (SmallerLSTM, 0),
        (SmallerLSTM, 1.5),
        (Separable1D, 0),
        (SelfAttention, 0),
        (SelfAttention, 1.5),
    ):
        with pytest.raises(ValueError, match=r"Expected `(share|size|heads)`"):
            make(value)


def masked_part(sequences, count=STEPS, **settings):
    steps, mask = keras.Input((count, INSIDE)), keras.Input((count,), dtype="bool")
    model = keras.Model([steps, mask], lstm(sequences, name="masked", **settings)(steps, mask=mask))
    return Part.of(LayerGraph.from_keras(model), ["masked"])


@pytest.mark.parametrize("name", ["gru", "smaller_lstm", "separable_1d", "self_attention"])
@pytest.mark.parametrize("sequences", [True, False])
def test_a_text_with_masked_steps_is_read_as_one_that_ends_there(name, sequences):
    part = masked_part(sequences, None)
    assert (part.input_shapes, part.mask_shape) == (((None, None, INSIDE),), (None, None))
    model, _ = network(part, name)
    steps = np.random.default_rng(0).normal(size=(3, STEPS, INSIDE)).astype("float32")
    mask = np.ones((3, STEPS), bool)
    mask[0, 4:] = mask[1] = False
    outputs = np.array(model([steps, mask]))
    assert np.isfinite(outputs).all()  # of the second one too, of which all is masked
    for text, length in ((0, 4), (2, STEPS)):
        alone = np.array(model([steps[text : text + 1, :length], mask[text : text + 1, :length]]))[0]
        np.testing.assert_allclose(outputs[text, :length] if sequences else outputs[text], alone, atol=1e-6)
    if not sequences:
        unmasked = np.array(model([steps, mask[[2, 2, 2]]]))
        assert (np.abs(outputs[0] - unmasked[0]) > 1e-4).any()


@pytest.mark.parametrize("name", ["gru", "smaller_lstm", "separable_1d", "self_attention"])
def test_a_mask_costs_nothing(name):
    for sequences in (True, False):
        masked = cost(network(masked_part(sequences), name)[0])
        whole = cost(network(part_of(lstm(sequences), (STEPS, INSIDE)), name)[0])
        assert (masked.macs, masked.params) == (whole.macs, whole.params)


def test_masked_steps_are_zeros_where_the_lstm_gives_zeros():
    for name, layer in (("gru", keras.layers.GRU), ("smaller_lstm", keras.layers.LSTM)):
        _, made = network(masked_part(True, zero_output_for_mask=True), name)
        assert [each.zero_output_for_mask for each in made if type(each) is layer] == [True]


def test_two_layers_with_a_mask_are_one_region():
    steps, mask = keras.Input((STEPS, INSIDE)), keras.Input((STEPS,), dtype="bool")
    x = lstm(False, name="second")(lstm(True, name="first")(steps, mask=mask), mask=mask)
    part = Part.of(LayerGraph.from_keras(keras.Model([steps, mask], x)), ["first", "second"])
    assert (part.input_shapes, part.mask_shape) == (((None, STEPS, INSIDE),), (None, STEPS))
    second = keras.Input((STEPS,), dtype="bool")
    x = lstm(False, name="second")(lstm(True, name="first")(steps, mask=mask), mask=second)
    with pytest.raises(ValueError, match="one region"):
        Part.of(LayerGraph.from_keras(keras.Model([steps, mask, second], x)), ["first", "second"])
