"""DARC on a recurrent network: an LSTM against what may stand in its place, on made-up texts."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.methods import DARC

REPLACEMENTS = ("gru", "smaller_lstm", "separable_1d", "self_attention")


def texts(count=160):
    """Eight words of twelve, and whether the word 3 is among them."""
    rng = np.random.default_rng(0)
    x = rng.integers(4, 12, size=(count, 8)).astype("int32")
    y = np.arange(count) % 2
    x[y == 1, rng.integers(0, 8, size=(y == 1).sum())] = 3
    return x, y


class SequencesTest(tf.test.TestCase):
    def test_an_lstm_becomes_cheaper(self):
        keras.utils.set_random_seed(0)
        words = keras.Input((8,), dtype="int32")
        x = layers.LSTM(16, name="lstm")(layers.Embedding(12, 8)(words))
        model = keras.Model(words, layers.Dense(2, name="classes")(x))
        method = DARC(
            replacements=REPLACEMENTS, batch_size=32, imitation_epochs=1, blocks=1, block_epochs=1, epochs=1, mixup=0
        )
        result = tfcompress.compress(model, method, texts(), flops_budget=0.5, seed=0, verbose=0)
        # By hand: 8 steps of 4 * 16 * (8 + 16), and 16 * 2; nothing else multiplies.
        self.assertEqual(result.before.macs, 8 * 4 * 16 * 24 + 32)
        self.assertLessEqual(result.after.macs, 0.5 * result.before.macs)
        self.assertNotIn("lstm", [layer.name for layer in result.model.layers])
        self.assertIn("0 of 1 units stay", " ".join(result.notes))


if __name__ == "__main__":
    tf.test.main()
