"""Recurrent layers and attention cut by hand: the student's weights are the slices written here, and its outputs those
of the published formula over the units, heads and channels that stay."""

import formulas
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from topologies.registry import randomise

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.plan import Plan
from tfcompress.rewrite import apply

RNG = np.random.default_rng(11)


def gates(kept, units, count):
    """Columns of the units that stay, gate after gate."""
    return [gate * units + unit for gate in range(count) for unit in kept]


def arrays(layer):
    return [np.array(w, "float64") for w in layer.get_weights()]


class RecurrentTest(tf.test.TestCase):
    """An LSTM or GRU of 5 units, of which 0, 2 and 3 stay, and a dense layer on its outputs."""

    kept = (0, 2, 3)

    def check(self, layer, count, run, sequences=True):
        x = keras.Input((4, 3))
        y = layer(x)
        model = keras.Model(x, layers.Dense(2, name="logits")(y))
        randomise(model, RNG)
        inputs = RNG.normal(size=(6, 4, 3))
        student = apply(model, Plan.keeping({layer.name: self.kept}))
        columns = gates(self.kept, 5, count)
        kernel, recurrent, bias = arrays(layer)
        cut = [kernel[:, columns], recurrent[list(self.kept)][:, columns], bias[..., columns]]
        for received, expected in zip(student.get_layer(layer.name).get_weights(), cut, strict=True):
            self.assertAllEqual(received, expected.astype("float32"))
        dense, offset = arrays(model.get_layer("logits"))
        last = slice(None) if sequences else -1
        expected = run(inputs, *cut)[:, last] @ dense[list(self.kept)] + offset
        self.assertAllClose(student(inputs), expected, 1e-5, 1e-6)
        # The original in which nothing reads units 1 and 4: neither the layer itself nor the one behind it.
        recurrent[[1, 4]] = dense[[1, 4]] = 0.0
        masked = run(inputs, kernel, recurrent, bias)[:, last] @ dense + offset
        self.assertAllClose(student(inputs), masked, 1e-5, 1e-6)
        self.assertNotAllClose(student(inputs), model(inputs), 1e-2, 1e-2)

    def test_lstm(self):
        self.check(layers.LSTM(5, return_sequences=True), 4, formulas.lstm)

    def test_last_output_of_an_lstm(self):
        self.check(layers.LSTM(5), 4, formulas.lstm, sequences=False)

    def test_gru(self):
        self.check(layers.GRU(5, return_sequences=True), 3, lambda *a: formulas.gru(*a, reset_after=True))

    def test_gru_with_reset_before_the_product(self):
        gru = layers.GRU(5, return_sequences=True, reset_after=False)
        self.check(gru, 3, lambda *a: formulas.gru(*a, reset_after=False))

    def test_bidirectional(self):
        """Unit i goes from both directions: columns i and 3 + i of what the next layer reads."""
        x = keras.Input((4, 3))
        y = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")(x)
        model = keras.Model(x, layers.Dense(2, name="logits")(y))
        randomise(model, RNG)
        student = apply(model, Plan.keeping({"both": (0, 2)}))
        inputs, columns = RNG.normal(size=(6, 4, 3)), gates((0, 2), 3, 4)
        outputs = []
        for layer, flip in ((model.get_layer("both").forward_layer, 1), (model.get_layer("both").backward_layer, -1)):
            kernel, recurrent, bias = arrays(layer)
            cut = kernel[:, columns], recurrent[[0, 2]][:, columns], bias[columns]
            outputs.append(formulas.lstm(inputs[:, ::flip], *cut)[:, ::flip])
        dense, offset = arrays(model.get_layer("logits"))
        expected = np.concatenate(outputs, -1) @ dense[[0, 2, 3, 5]] + offset
        self.assertAllClose(student(inputs), expected, 1e-5, 1e-6)

    def test_units_of_a_user_s_own_activation_stay(self):
        x = keras.Input((4, 3))
        y = layers.LSTM(5, recurrent_activation=lambda t: keras.ops.softmax(t), name="lstm")(x)
        groups = ChannelGroups.of(LayerGraph.from_keras(keras.Model(x, layers.Dense(2)(y))))
        self.assertLen(groups, 0)
        self.assertIn("activation '<lambda>'", str(groups))


class AttentionTest(tf.test.TestCase):
    """Three heads of 4 key and 5 value channels, from a query of 6 channels and values of 7."""

    def check(self, kept, through_norms=False, scale=0.5, **options):
        query, value = keras.Input((2, 6)), keras.Input((3, 7))
        layer = layers.MultiHeadAttention(3, 4, value_dim=5, name="attention", **options)
        model = keras.Model([query, value], layer(query, value))
        randomise(model, RNG)
        groups = ChannelGroups.of(LayerGraph.from_keras(model), through_norms)
        student = apply(model, Plan.keeping(kept), groups)
        heads, values, keys = (
            list(kept.get(f"attention:{name}", range(count)))
            for name, count in (("heads", 3), ("value", 5), ("key", 4))
        )
        one = (keras.ops.convert_to_numpy(w).astype("float64") for w in layer.weights)
        (wq, bq), (wk, bk), (wv, bv), (wo, bo) = zip(one, one, strict=True)
        at = np.ix_(range(6), heads, keys), np.ix_(range(7), heads, keys), np.ix_(range(7), heads, values)
        weights = (
            (wq[at[0]], bq[np.ix_(heads, keys)]),
            (wk[at[1]], bk[np.ix_(heads, keys)]),
            (wv[at[2]], bv[np.ix_(heads, values)]),
            (wo[np.ix_(heads, values)], bo),
        )
        x, z = RNG.normal(size=(5, 2, 6)), RNG.normal(size=(5, 3, 7))
        expected = formulas.attention(x, z, weights, scale)
        self.assertAllClose(student([x, z]), expected, 1e-5, 1e-6)
        new = student.get_layer("attention")
        self.assertEqual((new.num_heads, new.key_dim, new.value_dim), (len(heads), len(keys), len(values)))
        return groups

    def test_whole(self):
        groups = self.check({})
        self.assertEqual(
            [str(line) for line in groups],
            [
                "attention:heads: 3 channels, written by attention, read by attention",
                "attention:value: 5 channels, written by attention, read by attention",
            ],
        )
        self.assertIn("4 channels stay: scores are divided by the square root of the key width", str(groups))

    def test_heads(self):
        self.check({"attention:heads": (0, 2)})

    def test_value_width(self):
        self.check({"attention:value": (1, 2, 4)})

    def test_key_width_keeps_the_scale_of_the_scores(self):
        """1 / sqrt(4), with one key channel as with four."""
        self.check({"attention:key": (1, 3)}, through_norms=True)
        self.check({"attention:key": (2,), "attention:heads": (1,)}, through_norms=True)

    def test_all_with_dropout(self):
        """With dropout, Keras takes another way through the layer."""
        kept = {"attention:key": (0, 3), "attention:heads": (0, 1), "attention:value": (4,)}
        self.check(kept, through_norms=True, dropout=0.5)

    def test_cutting_the_key_width_twice_is_cutting_once(self):
        x = keras.Input((2, 6))
        layer = layers.MultiHeadAttention(2, 6, name="attention")
        model = keras.Model(x, layer(x, x))
        once = apply(model, Plan.keeping({"attention:key": (1, 4)}), through_norms=True)
        twice = apply(model, Plan.keeping({"attention:key": (1, 2, 4)}), through_norms=True)
        twice = apply(twice, Plan.keeping({"attention:key": (0, 2)}), through_norms=True)
        for one, other in zip(once.get_weights(), twice.get_weights(), strict=True):
            self.assertAllClose(one, other, 1e-6, 1e-7)

    def test_heads_of_keys_take_their_heads_of_queries_along(self):
        """Heads of queries 2 and 3 read head 1 of the keys."""
        x = keras.Input((2, 6))
        layer = layers.GroupQueryAttention(4, 6, 3, name="attention")
        model = keras.Model(x, layer(x, x))
        randomise(model, RNG)
        student = apply(model, Plan.keeping({"attention:heads": (0, 2)})).get_layer("attention")
        queries, keys = [0, 1, 4, 5], [0, 2]
        for name, heads in (("query", queries), ("key", keys), ("value", keys)):
            old, new = (getattr(item, f"_{name}_dense").kernel for item in (layer, student))
            self.assertAllEqual(new, np.array(old)[:, heads], name)
        self.assertAllEqual(student._output_dense.kernel, np.array(layer._output_dense.kernel)[queries])
        self.assertEqual((student.num_query_heads, student.num_key_value_heads, student.head_dim), (4, 2, 4))

    def test_two_tensors_share_one_attention(self):
        """Its heads are one group, however often it is called."""
        shared = layers.MultiHeadAttention(3, 4, name="attention")
        x, z = keras.Input((2, 6)), keras.Input((3, 6))
        model = keras.Model([x, z], [shared(x, x), shared(z, x)])
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        self.assertEqual([group.name for group in groups], ["attention:heads", "attention:value"])


if __name__ == "__main__":
    tf.test.main()
