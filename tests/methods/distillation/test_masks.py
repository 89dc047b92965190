"""Encoders with padding masks: their sections, fed by the teacher, see the masks of the same inputs."""

import keras
import numpy as np
import pytest
import teachers
import tensorflow as tf
from keras import layers

from tfcompress.methods import LIT
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.training.teaching import Distillation, Hints, SplitModel

RNG = np.random.default_rng(0)
TOKENS = np.where(np.arange(6) < RNG.integers(2, 7, (40, 1)), RNG.integers(1, 9, (40, 6)), 0)
LABELS = TOKENS.sum(1) % 2


def encoder(masked_by):
    """Two blocks that attend to words, and the head of the first word; padding is 0."""
    keras.utils.set_random_seed(0)
    inputs = tokens = keras.Input((6,), dtype="int32", name="tokens")
    given = {}
    if masked_by == "input":
        padding = keras.Input((6,), dtype="bool", name="padding")
        inputs = {"tokens": tokens, "padding": padding}
        given = {"attention_mask": keras.ops.expand_dims(padding, 1)}
    y = layers.Embedding(9, 4, mask_zero=masked_by == "embedding", name="embedding")(tokens)
    for i in (1, 2):
        attended = layers.MultiHeadAttention(2, 2, name=f"attention{i}")(y, y, **given)
        y = layers.Add(name=f"attended{i}")([y, attended])
        y = layers.Add(name=f"mixed{i}")([y, layers.Dense(4, activation="tanh", name=f"mlp{i}")(y)])
    model = keras.Model(inputs, layers.Dense(2, name="head")(y[:, 0]))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def inputs_of(masked_by):
    return {"tokens": TOKENS, "padding": TOKENS > 0} if masked_by == "input" else TOKENS


@pytest.mark.parametrize("masked_by", ["embedding", "input"])
def test_a_copy_of_the_teacher_gives_in_its_section_what_the_teacher_gives(masked_by):
    teacher, student = (apply(encoder(masked_by), Plan()) for _ in range(2))
    points = ("embedding", "mixed2")
    hints = Hints(SplitModel(student, points), SplitModel(teacher, points), (1,))
    pair = Distillation(student, teacher, hints=hints, beta=0.0)
    batch = keras.tree.map_structure(tf.constant, inputs_of(masked_by))
    given = pair(batch, training=True)
    np.testing.assert_allclose(given["hints"][0], given["targets"][0], rtol=1e-5, atol=1e-6)
    # Where the mask is another, so is what sections give.
    blind = SplitModel(student, points).section(1) if masked_by == "embedding" else None
    if blind is not None:
        at_entry = pair.teacher_taps(batch)[0][0]
        assert np.abs(blind(tf.identity(at_entry)) - given["targets"][0]).max() > 0.01


@pytest.mark.parametrize("masked_by", ["embedding", "input"])
def test_lit_leaves_one_block_of_two(masked_by):
    method = LIT(epochs=1, finetune_epochs=1, blocks=(1,))
    result = teachers.compress(encoder(masked_by), method, (inputs_of(masked_by), LABELS))
    names = [layer.name for layer in result.model.layers]
    assert "attention1" in names
    assert "attention2" not in names
    assert np.isfinite(result.history["recover"]["loss_hints"]).all()
