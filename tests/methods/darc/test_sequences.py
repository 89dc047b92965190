"""DARC on a recurrent network: an LSTM against what may stand in its place, on made-up texts."""

import pathlib

import keras
import numpy as np
import pytest
import relaxed_networks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.channels import Control
from tfcompress.methods import DARC
from tfcompress.methods.darc.imitation import Imitation
from tfcompress.methods.darc.relaxation import Penalized, first_weights, relax
from tfcompress.network import Network
from tfcompress.replacements import Replacement

REPLACEMENTS = ("gru", "smaller_lstm", "separable_1d", "self_attention")


def texts(count=160):
    """Eight words of twelve, and whether the word 3 is among them."""
    rng = np.random.default_rng(0)
    x = rng.integers(4, 12, size=(count, 8)).astype("int32")
    y = np.arange(count) % 2
    x[y == 1, rng.integers(0, 8, size=(y == 1).sum())] = 3
    return x, y


def padded():
    """Two layers that read texts of two to eight words, and such texts; their biases are zero."""
    keras.utils.set_random_seed(0)
    words = keras.Input((8,), dtype="int32")
    x = layers.Embedding(12, 8, mask_zero=True)(words)
    x = layers.LSTM(16, return_sequences=True, unit_forget_bias=False, name="first")(x)
    x = layers.LSTM(8, unit_forget_bias=False, name="second")(layers.Dropout(0.1)(x))
    model = keras.Model(words, layers.Dense(2, activation="softmax", name="classes")(x))
    x, _ = texts(16)
    x[np.arange(8) >= 2 + np.arange(16)[:, None] % 7] = 0
    return model, x


class WithoutBias(Replacement):
    """An LSTM without its bias."""

    name = "without_bias"

    def layers(self, part):
        if type(part.layer) is not layers.LSTM:
            return None
        settings = {"return_sequences": part.layer.return_sequences, "use_bias": False}
        return [layers.LSTM(part.layer.units, name="lstm", **settings)]

    def start(self, part, layers):
        for inner in layers:
            inner.set_weights(part.layer.get_weights()[:2])
        return True


class SequencesTest(tf.test.TestCase):
    def test_an_lstm_becomes_cheaper(self):
        keras.utils.set_random_seed(0)
        words = keras.Input((8,), dtype="int32")
        x = layers.LSTM(16, name="lstm")(layers.Embedding(12, 8, mask_zero=True)(words))
        model = keras.Model(words, layers.Dense(2, name="classes")(x))
        method = DARC(
            replacements=("smaller_lstm", "self_attention"),  # one layer, and several beside each other
            batch_size=32,
            imitation_epochs=1,
            blocks=1,
            block_epochs=1,
            epochs=1,
            mixup=0,
        )
        result = tfcompress.compress(model, method, texts(), flops_budget=0.5, seed=0, verbose=0)
        # By hand: 8 steps of 4 * 16 * (8 + 16), and 16 * 2; nothing else multiplies.
        self.assertEqual(result.before.macs, 8 * 4 * 16 * 24 + 32)
        self.assertLessEqual(result.after.macs, 0.5 * result.before.macs)
        self.assertNotIn("lstm", [layer.name for layer in result.model.layers])
        self.assertIn("0 of 1 units stay", " ".join(result.notes))

    @pytest.mark.slow
    def test_texts_with_padding(self):
        model, x = padded()
        method = DARC(replacements=REPLACEMENTS, **relaxed_networks.OPTIONS)
        seen = relaxed_networks.check_forms(model, method, x, pathlib.Path(self.get_temp_dir()))
        self.assertEqual((seen["units"], seen["alternatives"]), (2, 2 * 5))

    def test_what_imitates_is_given_the_mask_of_the_original(self):
        model, x = padded()
        source = Network(model)
        units = DARC(replacements=(WithoutBias(),)).units(source.costs, Control())
        everything = {unit.name: unit.alternatives for unit in units}
        relaxed = relax(
            source, units, everything, Penalized({name: dict.fromkeys(of, 0.0) for name, of in everything.items()})
        )
        first_weights(source, relaxed, x, np.random.default_rng(0))
        self.assertAllClose(Imitation(source, relaxed.learners())(x), [0.0, 0.0], atol=1e-12)


if __name__ == "__main__":
    tf.test.main()
