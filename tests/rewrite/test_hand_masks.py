"""Small cuts worked out by hand: which slice of which weight the student has, and what the original computes without.

Nothing here asks the channel labels: removed channels are written down, and the zeros are put into a copy of the
original by name.
"""

import keras
import numpy as np
import processor
import tensorflow as tf
from keras import layers, ops
from topologies.registry import randomise

from tfcompress.plan import Plan
from tfcompress.rewrite import apply

RNG = np.random.default_rng(7)


def conv(filters, name, kernel_size=3, **options):
    return layers.Conv2D(filters, kernel_size, padding="same", name=name, activation="tanh", **options)


class HandMaskTest(tf.test.TestCase):
    def check(self, outputs, inputs, kept, slices, zeros):
        """Cuts a model and compares it with weights sliced, and with the original masked, by hand.

        Args:
            outputs, inputs: of the model.
            kept: `{group: positions}`.
            slices: `{layer: [index of each weight that the student has]}`; layers that are not named stay whole.
            zeros: `{layer: index of the first weight that becomes zero}` in the original.
        """
        model = keras.Model(inputs, outputs)
        processor.skip_where_it_cannot_run(model)
        randomise(model, RNG)
        x = RNG.normal(size=(4, *inputs.shape[1:])).astype("float32")
        student = apply(model, Plan.keeping(kept))
        for layer in model.layers:
            weights = layer.get_weights()
            taken = slices.get(layer.name, [np.s_[...]] * len(weights))
            for weight, index, cut in zip(weights, taken, student.get_layer(layer.name).get_weights(), strict=True):
                self.assertAllEqual(weight[index], cut, layer.name)
        actual, unmasked = student(x).numpy(), model(x).numpy()
        for name, index in zeros.items():
            layer = model.get_layer(name)
            weights = layer.get_weights()
            weights[0][index] = 0.0
            layer.set_weights(weights)
        expected = model(x).numpy()
        self.assertLessEqual(np.max(np.abs(actual - expected)), 1e-5 * np.max(np.abs(expected)))
        self.assertGreater(np.max(np.abs(unmasked - expected)), 1e-2 * np.max(np.abs(expected)))

    def test_chain(self):
        x = keras.Input((6, 5, 3))
        y = layers.BatchNormalization(name="norm")(conv(5, "first")(x))
        y = layers.GlobalAveragePooling2D()(conv(4, "second")(y))
        self.check(
            layers.Dense(2, name="logits")(y),
            x,
            {"first": (0, 2, 3), "second": (1, 3)},
            {
                "first": [np.s_[..., [0, 2, 3]], np.s_[[0, 2, 3]]],
                "norm": [np.s_[[0, 2, 3]]] * 4,
                "second": [np.ix_(range(3), range(3), [0, 2, 3], [1, 3]), np.s_[[1, 3]]],
                "logits": [np.s_[[1, 3]], np.s_[:]],
            },
            {"second": np.s_[:, :, [1, 4]], "logits": np.s_[[0, 2]]},
        )

    def test_residual_sum(self):
        x = keras.Input((6, 5, 3))
        y = conv(4, "stem")(x)
        z = conv(4, "out", 1)(conv(5, "inner", 1)(y))
        y = layers.Add()([y, z])
        self.check(
            conv(2, "head", 1)(y),
            x,
            {"stem": (1, 2), "inner": (4,)},
            {
                "stem": [np.s_[..., [1, 2]], np.s_[[1, 2]]],
                "inner": [np.ix_([0], [0], [1, 2], [4]), np.s_[[4]]],
                "out": [np.ix_([0], [0], [4], [1, 2]), np.s_[[1, 2]]],
                "head": [np.ix_([0], [0], [1, 2], [0, 1]), np.s_[:]],
            },
            {"inner": np.s_[:, :, [0, 3]], "out": np.s_[:, :, [0, 1, 2, 3]], "head": np.s_[:, :, [0, 3]]},
        )

    def test_padded_shortcut(self):
        """Two channels become channels 1 and 2 of 5. Kept: the second of them, and zeros 0 and 4 of 0, 3 and 4."""
        x = keras.Input((6, 4, 3))
        y = conv(2, "stem")(x)
        short = ops.pad(y[:, ::2, ::2, :], [[0, 0], [0, 0], [0, 0], [1, 2]])
        y = layers.Add()([short, conv(5, "wide", strides=2)(y)])
        y = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(y))
        self.check(
            y,
            x,
            {"stem": (1,), "wide": (0, 2)},
            {
                "stem": [np.s_[..., [1]], np.s_[[1]]],
                "wide": [np.ix_(range(3), range(3), [1], [0, 2, 4]), np.s_[[0, 2, 4]]],
                "logits": [np.s_[[0, 2, 4]], np.s_[:]],
            },
            {"wide": np.s_[:, :, [0]], "logits": np.s_[[1, 3]]},
        )

    def test_concatenation(self):
        """[left 3, right 4]: of the joined channels 0-6 stay 1, 2 and 3, 6."""
        x = keras.Input((6, 5, 3))
        y = layers.Concatenate()([conv(3, "left")(x), conv(4, "right")(x)])
        y = layers.BatchNormalization(name="norm")(y)
        self.check(
            conv(2, "after", 1)(y),
            x,
            {"left": (1, 2), "right": (0, 3)},
            {
                "left": [np.s_[..., [1, 2]], np.s_[[1, 2]]],
                "right": [np.s_[..., [0, 3]], np.s_[[0, 3]]],
                "norm": [np.s_[[1, 2, 3, 6]]] * 4,
                "after": [np.s_[:, :, [1, 2, 3, 6]], np.s_[:]],
            },
            {"after": np.s_[:, :, [0, 4, 5]]},
        )

    def test_flatten(self):
        """2 positions of 4 channels: channel 1 is rows 1 and 5 of the kernel, channel 3 rows 3 and 7."""
        x = keras.Input((2, 1, 3))
        y = layers.Flatten()(conv(4, "conv", 1)(x))
        self.check(
            layers.Dense(2, name="logits")(y),
            x,
            {"conv": (1, 3)},
            {
                "conv": [np.s_[..., [1, 3]], np.s_[[1, 3]]],
                "logits": [np.s_[[1, 3, 5, 7]], np.s_[:]],
            },
            {"logits": np.s_[[0, 2, 4, 6]]},
        )

    def test_flatten_of_channels_first(self):
        """4 channels of 2 x 5 positions each: channel 1 is rows 10 to 19."""
        x = keras.Input((3, 2, 5))
        y = layers.Conv2D(4, 1, data_format="channels_first", activation="tanh", name="conv")(x)
        y = layers.Flatten(data_format="channels_last")(y)
        rows = [*range(10, 20), *range(30, 40)]
        self.check(
            layers.Dense(2, name="logits")(y),
            x,
            {"conv": (1, 3)},
            {"conv": [np.s_[..., [1, 3]], np.s_[[1, 3]]], "logits": [np.s_[rows], np.s_[:]]},
            {"logits": np.s_[[*range(10), *range(20, 30)]]},
        )

    def test_depthwise_with_a_multiplier(self):
        """Each of 3 channels becomes 2: channel 2 becomes channels 4 and 5."""
        x = keras.Input((6, 5, 3))
        y = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(conv(3, "expand")(x))
        y = layers.BatchNormalization(name="norm")(y)
        self.check(
            conv(2, "project", 1)(y),
            x,
            {"expand": (0, 2)},
            {
                "expand": [np.s_[..., [0, 2]], np.s_[[0, 2]]],
                "depthwise": [np.s_[:, :, [0, 2]], np.s_[[0, 1, 4, 5]]],
                "norm": [np.s_[[0, 1, 4, 5]]] * 4,
                "project": [np.s_[:, :, [0, 1, 4, 5]], np.s_[:]],
            },
            {"project": np.s_[:, :, [2, 3]]},
        )

    def test_separable_with_a_multiplier(self):
        x = keras.Input((6, 5, 3))
        y = layers.SeparableConv2D(4, 3, depth_multiplier=2, name="separable")(conv(3, "before")(x))
        model_output = conv(2, "after", 1)(y)
        # The masks of the pointwise kernel are put into the depthwise one, which has only zeros to give then.
        self.check(
            model_output,
            x,
            {"before": (0, 2), "separable": (3,)},
            {
                "before": [np.s_[..., [0, 2]], np.s_[[0, 2]]],
                "separable": [np.s_[:, :, [0, 2]], np.ix_([0], [0], [0, 1, 4, 5], [3]), np.s_[[3]]],
                "after": [np.s_[:, :, [3]], np.s_[:]],
            },
            {"separable": np.s_[:, :, [1]], "after": np.s_[:, :, [0, 1, 2]]},
        )

    def test_grouped(self):
        """3 blocks of 2 inputs and 3 outputs; the first and the last stay: inputs 0, 1, 4, 5, outputs 0-2, 6-8."""
        x = keras.Input((6, 5, 3))
        y = conv(9, "grouped", groups=3)(conv(6, "before")(x))
        self.check(
            conv(2, "after", 1)(y),
            x,
            {"before": (0, 2)},
            {
                "before": [np.s_[..., [0, 1, 4, 5]], np.s_[[0, 1, 4, 5]]],
                "grouped": [np.s_[..., [0, 1, 2, 6, 7, 8]], np.s_[[0, 1, 2, 6, 7, 8]]],
                "after": [np.s_[:, :, [0, 1, 2, 6, 7, 8]], np.s_[:]],
            },
            {"after": np.s_[:, :, [3, 4, 5]]},
        )

    def test_transposed(self):
        """A transposed convolution's kernel has its outputs before its inputs."""
        x = keras.Input((3, 2, 3))
        y = layers.Conv2DTranspose(4, 3, strides=2, name="up")(conv(5, "before")(x))
        self.check(
            conv(2, "after", 1)(y),
            x,
            {"before": (0, 4), "up": (1, 2)},
            {
                "before": [np.s_[..., [0, 4]], np.s_[[0, 4]]],
                "up": [np.ix_(range(3), range(3), [1, 2], [0, 4]), np.s_[[1, 2]]],
                "after": [np.s_[:, :, [1, 2]], np.s_[:]],
            },
            {"up": np.s_[..., [1, 2, 3]], "after": np.s_[:, :, [0, 3]]},
        )

    def test_slopes_of_prelu(self):
        x = keras.Input((2, 3, 3))
        y = layers.PReLU(name="own")(layers.Conv2D(4, 1, name="first")(x))
        y = layers.PReLU(shared_axes=[1, 2], name="shared")(layers.Conv2D(3, 1, name="second")(y))
        self.check(
            layers.Conv2D(2, 1, name="after")(y),
            x,
            {"first": (0, 3), "second": (2,)},
            {
                "first": [np.s_[..., [0, 3]], np.s_[[0, 3]]],
                "own": [np.s_[:, :, [0, 3]]],
                "second": [np.ix_([0], [0], [0, 3], [2]), np.s_[[2]]],
                "shared": [np.s_[:, :, [2]]],
                "after": [np.s_[:, :, [2]], np.s_[:]],
            },
            {"second": np.s_[:, :, [1, 2]], "after": np.s_[:, :, [0, 1]]},
        )

    def test_squeeze_and_excite(self):
        x = keras.Input((6, 5, 3))
        y = conv(4, "wide")(x)
        s = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(y))
        s = layers.Dense(4, activation="sigmoid", name="excite")(layers.Dense(3, name="squeeze")(s))
        self.check(
            conv(2, "after", 1)(layers.Multiply()([y, s])),
            x,
            {"wide": (1, 3), "squeeze": (0, 1)},
            {
                "wide": [np.s_[..., [1, 3]], np.s_[[1, 3]]],
                "squeeze": [np.ix_([1, 3], [0, 1]), np.s_[[0, 1]]],
                "excite": [np.ix_([0, 1], [1, 3]), np.s_[[1, 3]]],
                "after": [np.s_[:, :, [1, 3]], np.s_[:]],
            },
            {"squeeze": np.s_[[0, 2]], "excite": np.s_[[2]], "after": np.s_[:, :, [0, 2]]},
        )

    def test_slices_of_channels(self):
        """Of 6 channels the first 4 go left and the last 2 right."""
        x = keras.Input((6, 5, 3))
        y = conv(6, "whole")(x)
        y = layers.Add()([conv(2, "left", 1)(y[..., :4]), conv(2, "right", 1)(y[..., 4:])])
        self.check(
            layers.GlobalAveragePooling2D()(y),
            x,
            {"whole": (0, 3), "whole:2": (1,)},
            {
                "whole": [np.s_[..., [0, 3, 5]], np.s_[[0, 3, 5]]],
                "left": [np.s_[:, :, [0, 3]], np.s_[:]],
                "right": [np.s_[:, :, [1]], np.s_[:]],
            },
            {"left": np.s_[:, :, [1, 2]], "right": np.s_[:, :, [0]]},
        )

    def test_a_shared_layer_is_cut_once(self):
        x = keras.Input((6, 5, 3))
        shared = conv(4, "shared")
        y = conv(4, "before")(x)
        y = shared(shared(y))  # what it reads and what it writes is tied
        self.check(
            conv(2, "after", 1)(y),
            x,
            {"before": (0, 2, 3)},
            {
                "before": [np.s_[..., [0, 2, 3]], np.s_[[0, 2, 3]]],
                "shared": [np.ix_(range(3), range(3), [0, 2, 3], [0, 2, 3]), np.s_[[0, 2, 3]]],
                "after": [np.s_[:, :, [0, 2, 3]], np.s_[:]],
            },
            {"shared": np.s_[:, :, [1]], "after": np.s_[:, :, [1]]},
        )

    def test_dense_and_convolution_of_one_dimension(self):
        x = keras.Input((7, 3))
        y = layers.Conv1D(4, 3, activation="tanh", name="conv")(layers.Dense(5, activation="tanh", name="dense")(x))
        self.check(
            layers.Dense(2, name="logits")(layers.GlobalMaxPooling1D()(y)),
            x,
            {"dense": (0, 4), "conv": (1, 2, 3)},
            {
                "dense": [np.s_[:, [0, 4]], np.s_[[0, 4]]],
                "conv": [np.ix_(range(3), [0, 4], [1, 2, 3]), np.s_[[1, 2, 3]]],
                "logits": [np.s_[[1, 2, 3]], np.s_[:]],
            },
            {"conv": np.s_[:, [1, 2, 3]], "logits": np.s_[[0]]},
        )


if __name__ == "__main__":
    tf.test.main()
