"""Every layer that the bridge claims computes the same on both sides: outputs, gradients, and statistics in training."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress.graph import LayerGraph
from tfcompress.tfmot_bridge import CARRIED, Bridged, CannotBeCarried, legacy_of
from tfcompress.tfmot_bridge.carrying import is_shell, legal_name

CLASSES = {  # of CARRIED: the shape of a sample, and layers of that class
    "Dense": ((5,), [{"units": 4, "activation": "relu"}, {"units": 4, "activation": "gelu", "use_bias": False}]),
    "Conv1D": ((6, 3), [{"filters": 4, "kernel_size": 3, "padding": "causal"}]),
    "Conv2D": (
        (6, 6, 4),
        [{"filters": 4, "kernel_size": 3, "strides": 2}, {"filters": 2, "kernel_size": 3, "groups": 2}],
    ),
    "Conv3D": ((4, 4, 4, 2), [{"filters": 3, "kernel_size": 2}]),
    "Conv1DTranspose": ((6, 3), [{"filters": 4, "kernel_size": 3}]),
    "Conv2DTranspose": ((4, 4, 3), [{"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"}]),
    "Conv3DTranspose": ((3, 3, 3, 2), [{"filters": 2, "kernel_size": 2}]),
    "DepthwiseConv1D": ((6, 3), [{"kernel_size": 3}]),
    "DepthwiseConv2D": ((6, 6, 3), [{"kernel_size": 3, "strides": 2, "padding": "same", "depth_multiplier": 2}]),
    "SeparableConv1D": ((6, 3), [{"filters": 4, "kernel_size": 3}]),
    "SeparableConv2D": ((6, 6, 3), [{"filters": 4, "kernel_size": 3}]),
    "BatchNormalization": ((4, 3), [{}, {"scale": False, "momentum": 0.5, "epsilon": 0.1}]),
    "LSTM": ((5, 3), [{"units": 4, "return_sequences": True}]),
    "GRU": ((5, 3), [{"units": 4}]),
    "SimpleRNN": ((5, 3), [{"units": 4, "go_backwards": True}]),
    "Activation": ((6,), [{"activation": "hard_sigmoid"}, {"activation": "tanh"}]),
    "ReLU": ((6,), [{"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}]),
    "LeakyReLU": ((6,), [{"negative_slope": 0.2}]),
    "PReLU": ((6,), [{}]),
    "ELU": ((6,), [{"alpha": 0.5}]),
    "Softmax": ((6,), [{}]),
    "Flatten": ((3, 2), [{}]),
    "Reshape": ((3, 2), [{"target_shape": (2, -1)}]),
    "Permute": ((3, 2), [{"dims": (2, 1)}]),
    "RepeatVector": ((3,), [{"n": 2}]),
    "ZeroPadding2D": ((3, 3, 2), [{"padding": ((1, 0), (2, 1))}]),
    "UpSampling2D": ((3, 3, 2), [{"size": 2, "interpolation": "bilinear"}]),
    **{f"ZeroPadding{rank}D": ((3,) * rank + (2,), [{"padding": 1}]) for rank in (1, 3)},
    **{f"Cropping{rank}D": ((4,) * rank + (2,), [{"cropping": 1}]) for rank in (1, 2, 3)},
    **{f"UpSampling{rank}D": ((2,) * rank + (2,), [{"size": 2}]) for rank in (1, 3)},
    **{
        f"{kind}Pooling{rank}D": ((5,) * rank + (2,), [{"pool_size": 2, "padding": "same"}])
        for kind in ("Max", "Average")
        for rank in (1, 2, 3)
    },
    **{
        f"Global{kind}Pooling{rank}D": ((4,) * rank + (2,), [{"keepdims": True}, {}])
        for kind in ("Max", "Average")
        for rank in (1, 2, 3)
    },
}
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")


def with_numbers(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        low = 0.1 if "variance" in weight.path else -0.6
        weight.assign(rng.uniform(low, 0.6, weight.shape))
    return model


def bridged(model, **options):
    graph = LayerGraph.from_keras(model)
    legacy = legacy_of(graph, **options)
    return Bridged(model, graph, legacy)


def outputs_and_gradients(model, inputs, training=False):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = keras.tree.flatten(model(inputs[0] if len(inputs) == 1 else inputs, training=training))
        slopes = [tf.reshape(tf.sin(tf.range(tf.size(y), dtype=y.dtype)), tf.shape(y)) for y in outputs]
        loss = tf.add_n([tf.reduce_sum(y * slope) for y, slope in zip(outputs, slopes, strict=True)])
    variables = [variable.value for variable in model.trainable_variables]
    return outputs, [tf.convert_to_tensor(part) for part in tape.gradient(loss, variables + inputs)]


class CarryingTest(tf.test.TestCase):
    def assertSame(self, model, inputs, carried=(), shells=0):
        """Outputs are equal; gradients too, but for the order in which sums are taken."""
        other_side = bridged(model)
        legacy = other_side.legacy
        self.assertEqual(sorted(type(layer).__name__ for layer in legacy.layers.values()), sorted(carried))
        self.assertLen([layer for layer in legacy.model.layers if is_shell(layer)], shells)
        for training in (False, True):
            with self.subTest(carried=carried, training=training):
                state = [variable.numpy() for variable in model.variables]
                expected, slopes = outputs_and_gradients(model, inputs, training)
                moved = [variable.numpy() for variable in model.variables]
                for variable, value in zip(model.variables, state, strict=True):
                    variable.assign(value)
                actual, same_slopes = outputs_and_gradients(other_side, inputs, training)
                legacy.carry_back()
                for first, second in zip(expected, actual, strict=True):
                    self.assertAllEqual(first, second)
                for first, second in zip(slopes, same_slopes, strict=True):
                    self.assertAllClose(first, second, rtol=1e-5, atol=1e-5)
                for first, variable in zip(moved, model.variables, strict=True):
                    self.assertAllClose(first, variable, rtol=1e-6, atol=1e-6)  # statistics, after a step in training

    def inputs_of(self, *shapes):
        rng = np.random.default_rng(1)
        return [tf.constant(rng.standard_normal((3, *shape)), tf.float32) for shape in shapes]

    def test_all_classes_are_here(self):
        self.assertCountEqual([*CLASSES, *MERGES, "Embedding"], CARRIED)

    def test_layers_of_one_input(self):
        for name, (shape, all_settings) in CLASSES.items():
            tensor = keras.Input(shape)
            outputs = [getattr(layers, name)(**settings)(tensor) for settings in all_settings]
            self.assertSame(
                with_numbers(keras.Model(tensor, outputs)), self.inputs_of(shape), [name] * len(all_settings)
            )

    def test_merging_layers(self):
        tensors = [keras.Input((3, 2)), keras.Input((3, 2))]
        model = keras.Model(tensors, [getattr(layers, name)()(tensors) for name in MERGES])
        self.assertSame(model, self.inputs_of((3, 2), (3, 2)), MERGES)

    def test_an_embedding(self):
        tokens = keras.Input((4,), dtype="int32")
        model = with_numbers(keras.Model(tokens, layers.Embedding(7, 3)(tokens)))
        side, x = bridged(model), tf.constant([[0, 3, 6, 3]])
        self.assertAllEqual(model(x), side(x))
        self.assertEqual(list(side.legacy.layers), [model.layers[1].name])

    def test_operators_and_other_layers_run_as_themselves(self):
        tensor = keras.Input((4, 6))
        constant = np.arange(4, dtype="float32")[:, None]
        outputs = [
            2.0 * tensor + constant,
            tensor[:, 1:3],
            keras.ops.mean(tensor, axis=1) - 1.0,
            *keras.ops.split(tensor, 2, axis=-1),
            layers.LayerNormalization()(tensor),
            layers.MultiHeadAttention(2, 3)(tensor, tensor),
            layers.Bidirectional(layers.GRU(2))(tensor),
            layers.Rescaling(0.5, 1.0)(tensor),
        ]
        self.assertSame(with_numbers(keras.Model(tensor, outputs)), self.inputs_of((4, 6)), (), shells=10)

    def test_shared_layers_and_nested_models(self):
        tensor = keras.Input((4,))
        dense, inner = layers.Dense(4, name="shared"), keras.Sequential([keras.Input((4,)), layers.Dense(4, "tanh")])
        model = with_numbers(keras.Model(tensor, inner(dense(dense(tensor))) + inner(tensor)))
        self.assertSame(model, self.inputs_of((4,)), ["Dense", "Dense"], shells=1)

    def test_dropout_draws_from_the_seed_of_its_layer(self):
        tensor = keras.Input((50,))
        model = keras.Model(tensor, layers.Dropout(0.5, seed=3)(tensor))
        side, x, seed = bridged(model), tf.ones((2, 50)), model.layers[1].seed_generator.state
        state = seed.numpy()
        first = model(x, training=True)
        seed.assign(state)
        self.assertAllEqual(first, side(x, training=True))
        self.assertNotAllEqual(first, side(x, training=True))
        self.assertIn(seed, side.non_trainable_variables)

    def test_a_frozen_layer_stays_frozen(self):
        tensor = keras.Input((4, 4, 3))
        x = layers.BatchNormalization(trainable=False, name="norm")(layers.Conv2D(2, 1, name="conv")(tensor))
        model = with_numbers(keras.Model(tensor, x))
        side, (x,) = bridged(model), self.inputs_of((4, 4, 3))
        self.assertLen(side.trainable_variables, 2)
        self.assertAllEqual(model(x, training=True), side(x, training=True))

    def test_layers_that_cannot_be_carried_are_named(self):
        tokens, tensor = keras.Input((4,), dtype="int32"), keras.Input((4, 3))
        embedded = layers.Embedding(5, 3, mask_zero=True, name="words")(tokens)
        for model, message in (
            (keras.Model(tokens, layers.LSTM(2)(embedded)), "layer 'words' .Embedding., a mask"),
            (keras.Model(tensor, layers.Masking(name="hole")(tensor)), "layer 'hole' .Masking., a mask"),
            (
                keras.Model(tensor, layers.Dense(2, dtype="mixed_float16", name="half")(tensor)),
                "'half' .Dense., computes in float16",
            ),
            (
                keras.Model(tensor, layers.Dense(2, activity_regularizer="l2", name="quiet")(tensor)),
                "'quiet' .Dense., an activity regularizer",
            ),
        ):
            with self.assertRaisesRegex(
                CannotBeCarried, f"^Expected layers that can be carried.*Received: .*{message}"
            ):
                bridged(model)

    def test_names(self):
        self.assertEqual([legal_name(name) for name in ("conv1", "a b/c", "_x")], ["conv1", "a_b_c", "layer_x"])


if __name__ == "__main__":
    tf.test.main()
