"""Gradients against finite differences, what is kept and when it is forgotten, and refusals."""

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.importance import Evidence, Fisher, MissingData, Taylor, by_name, ranking
from tfcompress.plan import Plan
from tfcompress.rewrite import apply

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def groups_of(model):
    return ChannelGroups.of(LayerGraph.from_keras(model))


def a_network():
    model = small_tasks.residual_network()
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights(
                [rng.uniform(low, high, shape) for low, high in ((0.5, 2), (0, 1), (-0.2, 0.2), (0.1, 0.5))]
            )
    return model


class GradientsTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = a_network()
        cls.groups = groups_of(cls.model)
        cls.data = small_tasks.pictures(24)
        cls.evidence = Evidence(cls.groups, cls.data, LOSS)

    def loss(self):
        return float(LOSS(self.data[1], self.model(self.data[0], training=False)))

    def slope(self, change):
        """d loss / d t at 0, where `change(t)` changes the weights; central differences."""
        before = self.model.get_weights()
        found = []
        for t in (0.0003, -0.0003):  # small, for the kinks of the ReLUs
            change(t)
            found.append(self.loss())
            self.model.set_weights(before)
        return (found[0] - found[1]) / 0.0006

    def test_a_channels_products_are_the_slope_along_its_weights(self):
        """All weights of a channel times 1 + t; one that plays two roles, times (1 + t)^2."""
        for name in ("stem", "block1_conv1"):
            group = self.groups[name]
            found = self.evidence.products(group, batch_size=24).joint_absolutes
            slopes = [abs(self.slope(lambda t, i=i: self._scale(group, i, 1 + t))) for i in range(group.size)]  # noqa: B023
            self.assertAllClose(found, slopes, rtol=0.02, atol=2e-3 * max(slopes))
            self.assertGreater(max(slopes), 5e-3)

    def _scale(self, group, index, factor):
        roots, label = self.groups.roots, group.roots[index]
        for weights in self.groups.weight_axes().values():
            for weight in weights:
                if weight.is_parameter:
                    value = weight.variable.numpy()
                    for axis, ids in weight.axes.items():
                        shape = [-1 if i == axis else 1 for i in range(value.ndim)]
                        value = value * np.where(roots[ids] == label, factor, 1).reshape(shape)
                    weight.variable.assign(value)

    def test_gradients_lie_beside_the_weights(self):
        group = self.groups["stem"]
        weights = list(self.evidence.weights(group))
        gradients = list(self.evidence.gradients(group, batch_size=7))
        self.assertEqual([w.values.shape for w in weights], [g.shape for g in gradients])
        roles = [(w.layer, w.name, w.role) for w in weights]
        self.assertIn(("stem_bn", "beta", "carries"), roles)
        self.assertNotIn("moving_mean", [name for _, name, _ in roles])
        # Of one weight by finite differences: the third gamma.
        position = roles.index(("stem_bn", "gamma", "carries"))
        gamma = self.model.get_layer("stem_bn").gamma
        slope = self.slope(lambda t: gamma.assign(gamma.numpy() + t * (np.arange(6) == 2)))
        self.assertAllClose(gradients[position][2, 0], slope, rtol=0.02)
        # And all of them by Keras' own model.
        with tf.GradientTape() as tape:
            loss = LOSS(self.data[1], self.model(self.data[0], training=False))
        kernel = self.model.get_layer("block1_conv1").kernel
        expected = np.moveaxis(tape.gradient(loss, kernel.value).numpy(), 2, 0).reshape(6, -1)
        found = gradients[roles.index(("block1_conv1", "kernel", "reads"))]
        self.assertAllClose(found, expected, rtol=1e-4, atol=1e-6)

    def test_products_of_one_batch_are_gradients_times_weights(self):
        group = self.groups["block2_conv1"]
        products = self.evidence.products(group, samples=20, batch_size=20)
        pairs = zip(self.evidence.weights(group), self.evidence.gradients(group, samples=20), strict=True)
        product = np.concatenate([weight.values * gradient for weight, gradient in pairs], axis=1)
        self.assertAllClose(products.joint_squares, product.sum(axis=1) ** 2, rtol=1e-3, atol=1e-9)
        self.assertAllClose(products.squares, (product**2).sum(axis=1), rtol=1e-4)
        self.assertAllClose(products.absolutes, np.abs(product).sum(axis=1), rtol=1e-4)

    def test_a_linear_model_in_closed_form(self):
        """y = x W v: with e = y - label, dE/dv = 2 mean(e h), dE/dW = 2 mean(e x v')."""
        rng = np.random.default_rng(0)
        x, label = rng.normal(size=(9, 3)).astype("float32"), rng.normal(size=(9, 1)).astype("float32")
        inputs = keras.Input((3,))
        hidden = layers.Dense(4, use_bias=False, name="hidden")(inputs)
        model = keras.Model(inputs, layers.Dense(1, use_bias=False)(hidden))
        w, v = model.get_weights()
        groups = groups_of(model)
        evidence = Evidence(groups, (x, label), "mse")
        error = x @ w @ v - label
        by_v, by_w = 2 * (x @ w).T @ error / 9, 2 * x.T @ (error * v.T) / 9
        write, read = evidence.gradients(groups["hidden"], batch_size=4)
        self.assertAllClose(write, by_w.T, rtol=1e-4, atol=1e-6)
        self.assertAllClose(read, by_v, rtol=1e-4, atol=1e-6)
        # Fisher: sample by sample.
        squares = [
            ((2 * x[i] * e * v) ** 2 * w.T**2).sum(axis=1) + (2 * e * x[i] @ w) ** 2 * v[:, 0] ** 2
            for i, e in enumerate(error[:, 0])
        ]
        self.assertAllClose(Fisher()(groups["hidden"], evidence), np.mean(squares, axis=0) / 2, rtol=1e-4)


class Counting(layers.Layer):
    """Counts its calls, in inference too."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, inputs):
        self.calls.assign_add(1.0)
        return inputs


class RunTest(tf.test.TestCase):
    """The graph runs as the model itself does, and leaves no trace."""

    def check(self, model, x, y):
        """The gradient of the first layer that writes a group is that of Keras' own forward pass."""
        groups = groups_of(model)
        evidence = Evidence(groups, (x, y), "mse")
        before = [weight.numpy() for weight in model.variables]
        for group in groups:
            for name in ("taylor", "feature_map_taylor", "fisher", "activation_mean"):
                scores = by_name(name)(group, evidence)
                self.assertAllInSet(np.isfinite(scores), [True])
        for old, weight in zip(before, model.variables, strict=True):
            self.assertAllEqual(old, weight)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.mean_squared_error(y, model(x, training=False)))
        group = next(iter(groups))
        layer = groups.graph.operations[group.producers[0]]
        expected = tape.gradient(loss, layer.kernel.value).numpy()
        found = next(g for w, g in zip(evidence.weights(group), evidence.gradients(group), strict=True))
        self.assertAllClose(np.sort(found.ravel()), np.sort(expected.ravel()), rtol=1e-3, atol=1e-6)
        self.assertGreater(np.abs(expected).max(), 1e-4)

    def test_layers_that_train_by_default_do_not(self):
        x = keras.Input((6, 6, 2))
        y = layers.Conv2D(3, 3, name="conv")(Counting()(layers.RandomFlip()(x)))
        y = layers.BatchNormalization()(layers.Dropout(0.5)(y))
        model = keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
        rng = np.random.default_rng(1)
        self.check(model, rng.random((5, 6, 6, 2), dtype="float32"), rng.random((5, 2), dtype="float32"))

    def test_nested_models_and_shared_layers(self):
        inner_in = keras.Input((5,))
        inner = keras.Model(inner_in, layers.Dense(5, "tanh", name="inner")(inner_in))
        x = keras.Input((5,))
        y = layers.Dense(5, name="first")(x)
        y = layers.Add()([inner(inner(y)), y])
        model = keras.Model(x, layers.Dense(1)(y))
        rng = np.random.default_rng(1)
        self.check(model, rng.random((7, 5), dtype="float32"), rng.random((7, 1), dtype="float32"))

    def test_frozen_layers_and_half_precision(self):
        policy = "mixed_float16"
        x = keras.Input((5,))
        y = layers.Dense(4, name="hidden", dtype=policy)(x)
        model = keras.Model(x, layers.Dense(1, dtype="float32")(y))
        model.get_layer("hidden").trainable = False
        rng = np.random.default_rng(1)
        groups = groups_of(model)
        evidence = Evidence(groups, (rng.random((7, 5)), rng.random((7, 1))), "mse")
        write, *_ = evidence.gradients(groups["hidden"])
        self.assertGreater(np.abs(write).min(), 0)
        self.assertEqual(write.dtype, np.float32)

    def test_inputs_by_name_and_of_another_type(self):
        a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
        y = layers.Dense(3, name="hidden")(layers.Concatenate()([a, b]))
        model = keras.Model({"a": a, "b": b}, layers.Dense(1)(y))
        groups = groups_of(model)
        first, second = np.array([[1, 2], [3, 4]]), np.array([5.0, 6.0])  # whole numbers; no last axis of 1
        found = Evidence(groups, ({"b": second, "a": first}, None)).activations(groups["hidden"])
        kernel, bias = model.get_layer("hidden").get_weights()
        hidden = np.concatenate([first, second[:, None]], axis=1) @ kernel + bias
        self.assertAllClose(found.mean, hidden.mean(axis=0), rtol=1e-5)
        self.assertAllClose(found.square, (hidden**2).mean(axis=0), rtol=1e-5)
        with self.assertRaisesRegex(ValueError, r"inputs \['a', 'b'\]. Received: \['a'\]"):
            Evidence(groups, ({"a": first}, None)).activations(groups["hidden"])
        with self.assertRaisesRegex(ValueError, r"Expected 2 calibration input\(s\).*Received: 1"):
            Evidence(groups, (first, None)).activations(groups["hidden"])


class CacheTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.model = apply(a_network(), Plan())
        self.groups = groups_of(self.model)
        self.taken = []
        x, y = small_tasks.pictures(24)

        class Data:
            @staticmethod
            def take(count):
                self.taken.append(count)
                return x[:count], y[:count]

        self.evidence = Evidence(self.groups, Data(), LOSS)

    def test_data_are_read_once_for_all_groups_and_only_if_asked_for(self):
        for name in ("l1_norm", "group_l2_norm", "next_layer_l1_norm", "bn_scale", "geometric_median", "random"):
            by_name(name)(self.groups["stem"], self.evidence)
        self.assertEmpty(self.taken)
        for group in self.groups:
            for criterion in (Taylor(samples=8), Taylor(samples=8, joint=False), Fisher(samples=3)):
                criterion(group, self.evidence)
            self.evidence.activations(group, samples=5)
        self.assertEqual(self.taken, [8, 3, 5])

    def test_changed_weights(self):
        group = self.groups["block1_conv1"]
        criteria = [by_name(name) for name in ("taylor", "feature_map_taylor", "fisher", "activation_mean")]
        before = [criterion(group, self.evidence) for criterion in criteria]
        kernel = self.model.get_layer("block1_conv1").kernel
        kernel.assign(kernel.numpy()[..., ::-1])
        for criterion, old in zip(criteria, before, strict=True):
            self.assertAllEqual(criterion(group, self.evidence), old)
        self.evidence.weights_changed()
        fresh = Evidence(self.groups, small_tasks.pictures(24), LOSS)
        for criterion, old in zip(criteria, before, strict=True):
            new = criterion(group, self.evidence)
            self.assertNotAllClose(new, old)
            self.assertAllClose(new, criterion(group, fresh))


class RefusalTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.groups = groups_of(small_tasks.residual_network())
        cls.group = cls.groups["stem"]

    def test_a_criterion_that_needs_data_and_gets_none(self):
        for name in ("taylor", "feature_map_taylor", "fisher", "activation_mean"):
            with self.assertRaisesRegex(
                MissingData, f"criterion '{name}': Expected calibration data.*'stem'.*data=None"
            ):
                ranking(self.group, Evidence(self.groups), by_name(name))

        def mine(group, evidence):
            return evidence.activations(group).mean

        with self.assertRaisesRegex(ValueError, "The criterion 'mine'.*Pass Evidence"):
            ranking(self.group, Evidence(self.groups), mine)

    def test_gradients_need_labels_and_a_loss(self):
        x, y = small_tasks.pictures(8)
        for name in ("taylor", "feature_map_taylor", "fisher"):
            with self.assertRaisesRegex(MissingData, f"criterion '{name}': Expected a loss.*Received: loss=None"):
                ranking(self.group, Evidence(self.groups, (x, y)), by_name(name))
            with self.assertRaisesRegex(MissingData, f"criterion '{name}': Expected labels.*None"):
                ranking(self.group, Evidence(self.groups, (x, None), LOSS), by_name(name))
        self.assertLen(ranking(self.group, Evidence(self.groups, (x, None)), by_name("activation_mean")), 6)

    def test_data_of_another_form(self):
        x, y = small_tasks.pictures(8)
        for data in (x, [x, y], (x, y, y)):
            with self.assertRaisesRegex(TypeError, r"Expected `data` to be a tuple.*Received: (ndarray|list|tuple)"):
                Evidence(self.groups, data)
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)  # its `take` counts batches
        with self.assertRaisesRegex(TypeError, r"Expected `data.take\(count\)` to give.*Received: "):
            Evidence(self.groups, dataset, LOSS).activations(self.group)
        with self.assertRaisesRegex(ValueError, "Expected calibration samples.*Received: none"):
            Evidence(self.groups, (x[:0], y[:0]), LOSS).activations(self.group)

    def test_places_and_counts(self):
        evidence = Evidence(self.groups, small_tasks.pictures(8), LOSS)
        with self.assertRaisesRegex(ValueError, "Expected `at`.*Received: at='inside'"):
            evidence.activations(self.group, at="inside")
        with self.assertRaisesRegex(ValueError, "Expected `batch_size`.*Received: batch_size=0"):
            evidence.products(self.group, batch_size=0)


if __name__ == "__main__":
    tf.test.main()
