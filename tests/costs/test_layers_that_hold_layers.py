"""Layers that hold layers, cells, and code of a user's own: their multiply-adds by hand and by TensorFlow's profiler."""

import keras
import numpy as np
import oracles
import profiler
import small_tasks
import tensorflow as tf
from keras import layers, ops

import tfcompress
from tfcompress.costs import CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods import Uniform
from tfcompress.rewrite import apply


def model_of(layer, shape):
    """A model of one layer."""
    x = keras.Input(shape)
    return keras.Model(x, layer(x))


def network():
    """8 x 8 images to 5 numbers: 36 x 27 x 4 and 144 x 5 multiply-adds."""
    x = keras.Input((8, 8, 3))
    return keras.Model(x, layers.Dense(5)(layers.Flatten()(layers.Conv2D(4, 3)(x))))


class Product(layers.Layer):
    """A matrix product, written as its subclasses have it."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], 6), name="matrix")

    def call(self, x):
        return ops.matmul(x, self.matrix)


class Einsum(Product):
    def call(self, x):
        return ops.einsum("...i,ij->...j", x, self.matrix)


class ByElements(Product):
    def call(self, x):
        return ops.sum(x[..., None] * self.matrix, axis=-2)


class InNumPy(Product):
    def call(self, x):
        product = tf.numpy_function(lambda a, b: a @ b, [x, self.matrix.value], tf.float32)
        return tf.ensure_shape(product, (*x.shape[:-1], 6))


class Lookup(Product):
    def call(self, x):
        return ops.take(self.matrix, ops.cast(x, "int32"), axis=0)


class ScaledLookup(Product):
    """More steps than rows, and each number times a constant: no product with the weights."""

    def call(self, x):
        return 2.0 * ops.take(self.matrix, ops.cast(x, "int32"), axis=0)


class Distance(Product):
    def call(self, x):
        return ops.sum(ops.square(x[..., None] - self.matrix), axis=-2)


class Branching(layers.Layer):
    """A composite of stock layers, of which one is called in either branch, and the wider one counts."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first, self.narrow, self.wide = layers.Dense(4), layers.Dense(4), layers.Conv1D(4, 3, padding="same")

    def build(self, shape):
        self.first.build(shape)
        for layer in (self.narrow, self.wide):
            layer.build((*shape[:-1], 4))

    def call(self, x):
        x = self.first(x)
        return ops.cond(ops.sum(x) > 0, lambda: self.narrow(x), lambda: self.wide(x))


class Doubled(layers.Wrapper):
    """A wrapper of one's own, which calls what it holds twice."""

    def call(self, x):
        return self.layer(x) + self.layer(2.0 * x)

    def compute_output_shape(self, shape):
        return self.layer.compute_output_shape(shape)


class Cell(layers.Layer):
    """A cell of one's own: a product with the input and the state together."""

    state_size = output_size = 6

    def build(self, shape):
        self.dense = layers.Dense(6)
        self.dense.build((None, shape[-1] + 6))

    def call(self, x, states):
        y = self.dense(ops.concatenate([x, states[0]], -1))
        return y, [y]


class CountsTest(tf.test.TestCase):
    def check(self, layer, shape, macs, profiled=True):
        model = model_of(layer, shape)
        found = cost(model)
        self.assertEqual((found.macs, found.unmeasured), (macs, ()))
        if profiled:
            self.assertEqual(profiler.multiply_adds(model, [(1, *shape)]), macs)

    def test_wrappers(self):
        self.check(layers.SpectralNormalization(layers.Conv2D(7, 3)), (8, 8, 3), 36 * 27 * 7)
        self.check(layers.TimeDistributed(network()), (7, 8, 8, 3), 7 * (36 * 27 * 4 + 144 * 5))
        self.check(layers.TimeDistributed(layers.TimeDistributed(layers.Dense(5))), (2, 7, 3), 2 * 7 * 3 * 5)
        self.check(layers.TimeDistributed(Doubled(layers.Dense(5))), (7, 3), 2 * 7 * 3 * 5)
        self.check(Doubled(layers.SpectralNormalization(layers.Dense(5))), (7, 3), 2 * 7 * 3 * 5)

    def test_cells(self):
        """The profiler sees the steps where the loop is unrolled, and one of them where it is not."""
        for unroll in (False, True):
            self.check(layers.RNN(layers.LSTMCell(6), unroll=unroll), (7, 5), 7 * 4 * 6 * 11, unroll)
            self.check(layers.RNN(Cell(), unroll=unroll), (7, 5), 7 * 6 * 11, unroll)
        stack = [layers.GRUCell(6), layers.SimpleRNNCell(4)]
        self.check(layers.RNN(stack, return_sequences=True), (7, 5), 7 * (3 * 6 * 11 + 4 * 10), False)
        both = layers.Bidirectional(layers.RNN(layers.LSTMCell(6), go_backwards=False))
        self.check(both, (7, 5), 2 * 7 * 4 * 6 * 11, False)

    def test_steps_that_are_masked_are_counted(self):
        x = keras.Input((7,))
        model = keras.Model(x, layers.RNN(layers.LSTMCell(6))(layers.Embedding(9, 5, mask_zero=True)(x)))
        self.assertEqual((cost(model).macs, cost(model).unmeasured), (7 * 4 * 6 * 11, ()))

    def test_a_users_own(self):
        self.check(Product(), (3, 20), 3 * 20 * 6)
        self.check(Einsum(), (3, 20), 3 * 20 * 6, False)  # the profiler has no rule for Einsum
        self.check(Branching(), (5, 3), 5 * 3 * 4 + 5 * 3 * 4 * 4, False)
        self.check(layers.Lambda(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))), (5, 3), 5 * 5 * 3)
        self.check(Lookup(), (7,), 0)
        self.check(ScaledLookup(), (70,), 0)

    def test_a_fixed_batch_is_one_sample_each(self):
        x = keras.Input(batch_shape=(4, 3, 20))
        self.assertEqual(cost(keras.Model(x, Product()(x))).macs, 3 * 20 * 6)

    def test_what_no_graph_shows_is_named(self):
        for kind in (ByElements, Distance, InNumPy):
            with self.subTest(kind.__name__):
                self.assertEqual(cost(model_of(kind(name="own"), (20,))).unmeasured, ("own",))
        x = keras.Input((None, 20))
        self.assertEqual(cost(keras.Model(x, Product(name="own")(x))).unmeasured, ("own",))

    def test_counting_changes_nothing(self):
        class Counting(layers.Layer):
            """Adds a loss and changes a variable whenever it is called."""

            def build(self, shape):
                self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

            def call(self, x):
                self.calls.assign_add(1.0)
                self.add_loss(ops.sum(x))
                return x

        own = Counting()
        model = model_of(own, (3,))
        before = len(model.losses)
        self.assertEqual(cost(model).macs, 0)
        self.assertEqual((float(own.calls.numpy()), len(model.losses)), (0.0, before))


class PlanTest(tf.test.TestCase):
    def test_the_predicted_share_is_the_profilers(self):
        x = keras.Input((4, 8, 8, 3))
        y = layers.TimeDistributed(layers.SpectralNormalization(layers.Conv2D(8, 3, activation="relu")))(x)
        y = layers.TimeDistributed(layers.GlobalAveragePooling2D())(y)
        y = layers.RNN(layers.GRUCell(3), unroll=True)(layers.Conv1D(12, 1)(y))
        model = keras.Model(x, layers.Dense(2)(layers.Dense(9, activation="relu")(y)))
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        plan = oracles.some_channels(groups, np.random.default_rng(0))
        student, costs = apply(model, plan, groups), CostModel(groups)
        shares = [profiler.multiply_adds(m, [x.shape]) for m in (student, model)]
        self.assertEqual([costs.of(plan).macs, costs.total.macs], shares)
        self.assertLess(shares[0], 0.9 * shares[1])


class BudgetTest(tf.test.TestCase):
    """A FLOPs budget is not met on paper."""

    def test_layers_of_unknown_arithmetic_and_many_weights(self):
        x = keras.Input((8, 8, 1))
        y = layers.GlobalAveragePooling2D()(layers.Conv2D(24, 3, activation="relu")(x))
        model = keras.Model(x, layers.Dense(4, activation="softmax")(layers.Dense(2)(ByElements(name="own")(y))))
        # 240 weights of the convolution, 144 of the layer, 14 and 12: 144 / 410.
        with self.assertRaisesRegex(ValueError, r"'own' \(35% of the parameters\).*a handler.*params_budget"):
            tfcompress.compress(model, Uniform(epochs=0), small_tasks.pictures(32), flops_budget=0.5, verbose=0)
        self.assertEqual(list(CostModel(ChannelGroups.of(LayerGraph.from_keras(model))).heavy_unmeasured()), ["own"])

    def test_few_weights_do_not_matter(self):
        x = keras.Input((8, 8, 1))
        y = layers.GlobalAveragePooling2D()(layers.Conv2D(24, 3, activation="relu")(x))
        model = keras.Model(x, ByElements(name="own")(layers.Dense(2)(layers.Dense(60)(y))))
        costs = CostModel(ChannelGroups.of(LayerGraph.from_keras(model)))
        self.assertEqual((costs.unmeasured, costs.heavy_unmeasured()), (("own",), {}))


if __name__ == "__main__":
    tf.test.main()
