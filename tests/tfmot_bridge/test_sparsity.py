"""Patterns of zeros, counted by hand, and masks that keep them."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress.graph import LayerGraph
from tfcompress.tfmot_bridge import Bridged
from tfcompress.tfmot_bridge.sparsity import Pruning, keeping_zeros, policy_layers, pruned, sparse_in_fours

ROW = np.array([0.1, -0.9, 0.3, 0.5, -0.2, 0.8, 0.7, -0.4], "float32")


def dense(kernel):
    inputs = keras.Input((len(kernel),))
    model = keras.Model(inputs, layers.Dense(len(kernel[0]), use_bias=False, name="dense")(inputs))
    model.set_weights([np.asarray(kernel, "float32")])
    return model


def kernel_after(model, how, steps, names=("dense",)):
    """The kernel after some steps in training, without an optimizer: masks alone change it."""
    graph = LayerGraph.from_keras(model)
    legacy = pruned(graph, names, how)
    side = Bridged(model, graph, legacy)
    call = tf.function(lambda x: side(x, training=True))
    for _ in range(steps):
        call(tf.zeros((1, *model.input_shape[1:])))
    return side.learner.layers[1].kernel.numpy()


class PatternTest(tf.test.TestCase):
    def test_the_smallest_go_along_the_schedule(self):
        # Equation (1) of Zhu and Gupta: s = 0.75 + (0 - 0.75) (1 - t/4)^3, at t = 1, 2, 3, 4 of 8 weights:
        # 0.434, 0.656, 0.738, 0.75, so 8 - round(8 (1 - s)) = 3, 5, 6, 6 zeros.
        how = Pruning(0.75, 0.0, steps=4, every=1)
        order = np.argsort(np.abs(ROW))
        for steps, zeros in ((1, 3), (2, 5), (3, 6), (4, 6), (6, 6)):
            expected = ROW.copy()
            expected[order[:zeros]] = 0
            self.assertAllEqual(kernel_after(dense(ROW[:, None]), how, steps)[:, 0], expected)

    def test_two_of_four(self):
        kernel = kernel_after(dense(np.stack([ROW, ROW[::-1]], axis=1)), Pruning(0.5, 0.0, 1, 1, "2:4"), 1)
        self.assertAllEqual(kernel[:, 0], ROW * [0, 1, 0, 1, 0, 1, 1, 0])
        self.assertFalse(np.any(np.signbit(kernel) & (kernel == 0)))  # -0 would be a number of its own to gzip
        self.assertAllEqual(kernel[:, 1], ROW[::-1] * [0, 1, 1, 0, 1, 0, 1, 0])
        self.assertTrue(sparse_in_fours(kernel))
        self.assertFalse(sparse_in_fours(np.roll(kernel, 1, axis=0)))

    def test_two_of_four_input_channels_of_a_convolution(self):
        inputs = keras.Input((4, 4, 8))
        model = keras.Model(inputs, layers.Conv2D(3, 3, name="conv", use_bias=False)(inputs))
        kernel = kernel_after(model, Pruning(0.5, 0.0, 1, 1, "2:4"), 1, ("conv",))
        self.assertTrue(sparse_in_fours(kernel))
        self.assertEqual(np.count_nonzero(kernel), 3 * 3 * 8 * 3 // 2)

    def test_blocks_by_the_mean_of_their_magnitudes(self):
        kernel = kernel_after(dense(np.stack([ROW, ROW[::-1]], axis=1)), Pruning(0.5, 0.0, 1, 1, "block", (4, 1)), 1)
        # Means of the blocks: 0.45 and 0.525, in the second column the other way round.
        self.assertAllEqual(kernel[:, 0], [0, 0, 0, 0, *ROW[4:]])
        self.assertAllEqual(kernel[:, 1], [*ROW[:3:-1], 0, 0, 0, 0])

    def test_layers_that_are_not_named_stay(self):
        self.assertAllEqual(kernel_after(dense(ROW[:, None]), Pruning(0.75, 0.0, 1, 1), 2, ())[:, 0], ROW)


class KeepingTest(tf.test.TestCase):
    def test_zeros_stay_zero_while_others_are_trained(self):
        kernel = np.where(np.abs(ROW) > 0.4, ROW, 0)[:, None]
        model = dense(kernel)
        graph = LayerGraph.from_keras(model)
        side = Bridged(model, graph, keeping_zeros(graph, ("dense",)))
        side.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
        rng = np.random.default_rng(0)
        side.fit(rng.random((32, 8)), rng.random((32, 1)), batch_size=4, verbose=0)
        side(np.zeros((1, 8)))  # masks after the last update
        after = side.learner.layers[1].kernel.numpy()
        self.assertAllEqual(after == 0, kernel == 0)
        self.assertNotAllClose(after, kernel)


class XnnpackTest(tf.test.TestCase):
    def network(self, padding=1):
        inputs = keras.Input((32, 32, 3))
        x = layers.Conv2D(8, 3, 2, name="stem")(layers.ZeroPadding2D(padding)(inputs))
        x = layers.Conv2D(16, 1, name="point")(layers.ReLU()(x))
        x = layers.DepthwiseConv2D(3, padding="same", name="depth")(x)
        x = layers.Conv2D(16, 1, name="point2")(x)
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        return LayerGraph.from_keras(keras.Model(inputs, layers.Flatten()(x)))

    def test_pointwise_convolutions_alone(self):
        self.assertEqual(policy_layers(self.network()), {"point", "point2"})

    def test_a_network_that_xnnpack_does_not_take_is_refused(self):
        with self.assertRaisesRegex(ValueError, "`padding == 1`"):
            policy_layers(self.network(padding=2))


if __name__ == "__main__":
    tf.test.main()
