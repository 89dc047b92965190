"""Models split at points, frozen parts, and other dtypes, for a while."""

import keras
import numpy as np
import small_tasks
import teachers
import tensorflow as tf
from keras import layers

from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.training.teaching import SplitModel, computing_in, frozen


class SplitModelTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = teachers.classifier(blocks=(2, 2))
        cls.points = ("stem_relu", "section1_block2_relu", "section2_block2_relu")
        cls.split = SplitModel(cls.model, cls.points)
        cls.x = small_tasks.pictures(3)[0]
        tapped = keras.Model(cls.model.input, [cls.model.get_layer(name).output for name in cls.points])
        cls.expected = [np.array(t) for t in tapped(cls.x, training=False)]

    def test_names_and_shapes(self):
        self.assertEqual(self.split.names, ("stem", "section1", "section2", "head"))
        self.assertEqual([self.split.shape(i) for i in range(3)], [(None, 8, 8, 6), (None, 8, 8, 6), (None, 4, 4, 8)])

    def test_every_layer_is_in_one_part(self):
        parts = {name: {layer.name for layer in found} for name, found in self.split.layers.items()}
        self.assertEqual(list(parts), list(self.split.names))
        weighty = {layer.name for layer in self.model.layers if layer.weights}
        self.assertEqual(parts["stem"] & weighty, {"stem", "stem_bn"})
        self.assertEqual(parts["head"] & weighty, {"head"})
        for name in ("section1", "section2"):
            self.assertEqual(parts[name] & weighty, {layer for layer in weighty if layer.startswith(name)})
        self.assertIn("section1_block2_relu", parts["section1"])

    def test_sections_alone_and_from_the_inputs(self):
        for number in (1, 2):
            alone = self.split.section(number)(self.expected[number - 1], training=False)
            self.assertAllClose(alone, self.expected[number], rtol=1e-5, atol=1e-6)
            whole = self.split.section(number, from_inputs=True)(self.x, training=False)
            self.assertAllClose(whole, self.expected[number], rtol=1e-5, atol=1e-6)

    def test_sections_have_the_models_own_layers(self):
        own = {id(weight) for weight in self.model.weights}
        for number in (1, 2):
            weights = self.split.section(number).weights
            self.assertNotEmpty(weights)
            self.assertEqual({id(weight) for weight in weights} - own, set())

    def test_taps(self):
        taps, outputs = self.split.taps([0, 2])(self.x, training=False)
        self.assertAllClose(taps[0], self.expected[0], rtol=1e-5, atol=1e-6)
        self.assertAllClose(taps[1], self.expected[2], rtol=1e-5, atol=1e-6)
        self.assertAllClose(outputs, self.model(self.x, training=False), rtol=1e-5, atol=1e-6)
        _, nothing = self.split.taps([1], with_outputs=False)(self.x, training=False)
        self.assertEmpty(nothing)

    def test_without_outputs_the_head_is_not_run(self):
        taps = self.split.taps([0, 1], with_outputs=False)
        head, later = (self.model.get_layer(name) for name in ("head", "section2_block1_conv1"))
        with teachers.calls_of(head) as head, teachers.calls_of(later) as later:
            taps(self.x, training=False)
        self.assertEqual((head.call_count, later.call_count), (0, 0))

    def test_points_inside_a_long_skip(self):
        """What the skip carries past the last point is in the head."""
        x = keras.Input((8, 3))
        stem = layers.Dense(4, name="stem")(x)
        first = layers.Dense(4, name="first")(stem)
        second = layers.Add(name="second")([first, layers.Dense(4, name="inside")(first)])
        end = layers.Add(name="end")([layers.Dense(4, name="aside")(stem), layers.Dense(4, name="last")(second)])
        model = keras.Model(x, end)
        split = SplitModel(model, ("stem", "first", "second"))
        parts = {name: {layer.name for layer in found} for name, found in split.layers.items()}
        self.assertEqual(parts["section1"], {"first"})
        self.assertEqual(parts["section2"], {"inside", "second"})
        self.assertEqual(parts["head"], {"aside", "last", "end"})
        inputs = np.random.default_rng(0).normal(size=(2, 8, 3)).astype("float32")
        at_first, at_second = keras.Model(x, [first, second])(inputs)
        self.assertAllClose(split.section(2)(at_first), at_second)
        self.assertAllClose(split.section(2, from_inputs=True)(inputs), at_second)
        with self.assertRaisesRegex(ValueError, "'last'.*some path to 'end' bypasses"):
            SplitModel(model, ("last", "end"))

    def test_refused_points(self):
        first, middle, last = self.points
        for points, message in (
            ((first, "no_such", last), "no_such"),
            ((first, "section1_block2_conv1", last), "section1_block2_conv1"),  # the shortcut goes round it
            ((first,), "at least two|two or more"),
            ((middle, first), "stem_relu"),
            ((first, first), "stem_relu"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                SplitModel(self.model, points)


class FrozenTest(tf.test.TestCase):
    def test_weights_and_statistics_stay_and_settings_come_back(self):
        model = teachers.classifier(blocks=(1, 1))
        held = [layer for layer in model.layers if layer.name.startswith(("stem", "section1"))]
        held[0].trainable = False
        before = {layer.name: layer.trainable for layer in model.layers}
        x = small_tasks.pictures(8)[0]
        names = {weight.path for layer in held for weight in layer.weights}
        values = teachers.weights_of(model)
        with frozen(held):
            self.assertEqual({weight.path for weight in model.trainable_weights} & names, set())
            model(x, training=True)
            moved = teachers.moved(values, model)
        self.assertEqual(moved & names, set())
        self.assertIn("section2_block1_conv1_bn/moving_mean", moved)
        self.assertEqual({layer.name: layer.trainable for layer in model.layers}, before)
        model(x, training=True)
        self.assertIn("stem_bn/moving_mean", teachers.moved(values, model))

    def test_settings_come_back_after_an_error(self):
        layer = layers.Dense(2)
        with self.assertRaises(KeyError), frozen([layer]):
            self.assertFalse(layer.trainable)
            raise KeyError
        self.assertTrue(layer.trainable)


class ComputingInTest(tf.test.TestCase):
    def test_bfloat16_inside_float32_after(self):
        model = teachers.classifier(blocks=(1, 1))
        model.get_layer("pool").dtype_policy = "float64"
        before = {layer.name: layer.dtype_policy.name for layer in model.layers}
        with self.assertRaises(KeyError), computing_in("mixed_bfloat16", [model]):
            self.assertEqual(model.get_layer("stem").compute_dtype, "bfloat16")
            self.assertEqual({weight.dtype for weight in model.weights}, {"float32"})
            self.assertEqual(model.get_layer("pool").compute_dtype, "float64")
            raise KeyError
        self.assertEqual({layer.name: layer.dtype_policy.name for layer in model.layers}, before)

    def test_none_changes_nothing(self):
        model = apply(teachers.classifier(blocks=(1, 1)), Plan())
        with computing_in(None, [model]):
            self.assertEqual(model.get_layer("stem").compute_dtype, "float32")
