"""RLAL's soft regularization, Equation (10), by hand on a block of two 1x1 convolutions."""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress import Plan
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods import Training
from tfcompress.methods.rlal.alignment import Alignment, beta_for

WRITES = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, -2.0, 5.0, 1.0]])  # [2 inputs, 4 channels]
READS = np.array([[1.0, 1.0], [3.0, 0.0], [7.0, 7.0], [-1.0, 2.0]])  # [4 channels, 2 outputs]
# Without channels 1 and 3: columns (2, -2) and (4, 1), rows (3, 0) and (-1, 2).
WRITE_NORM = math.sqrt(4 + 4 + 16 + 1)  # 5
READ_NORM = math.sqrt(9 + 0 + 1 + 4)  # 3.7417
ONE_AND_THREE_GO = Plan.keeping({"inner": (0, 2)})


class AlignmentTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        inputs = keras.Input((3, 3, 2))
        y = layers.Conv2D(4, 1, name="inner")(inputs)  # with a bias, which is no part of a filter's norm
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(2, 1, use_bias=False, name="outer")(y)
        x = layers.Add()([inputs, y])
        x = layers.Dense(3, activation="relu", name="hidden")(layers.GlobalAveragePooling2D()(x))
        self.model = keras.Model(inputs, layers.Dense(2, name="head")(x))
        self.groups = ChannelGroups.of(LayerGraph.from_keras(self.model))
        self.inner, self.outer = (self.model.get_layer(name) for name in ("inner", "outer"))
        self.inner.set_weights([WRITES.reshape(1, 1, 2, 4), np.full(4, 50.0)])
        self.outer.set_weights([READS.reshape(1, 1, 4, 2)])

    def alignment(self, plan=None, strength=1.0, prunable=("inner",)):
        term = Alignment(strength, self.groups, prunable)
        term.build(self.model)
        if plan is not None:
            term.set_plan(plan)
        return term

    def gradients(self, term):
        with tf.GradientTape() as tape:
            value = term()
        found = tape.gradient(value, [variable.value for variable in self.model.trainable_variables])
        return {v.path: g for v, g in zip(self.model.trainable_variables, found, strict=True)}

    def test_sum_over_the_kernels_of_the_norm_of_what_is_removed(self):
        """Equation (10): the kernel that writes the removed channels and the one that reads them, each its own norm."""
        self.assertAllClose(self.alignment(ONE_AND_THREE_GO)(), WRITE_NORM + READ_NORM, rtol=1e-6)

    def test_strength(self):
        """Equation (11)."""
        expected = 1e-4 * (WRITE_NORM + READ_NORM)
        self.assertAllClose(self.alignment(ONE_AND_THREE_GO, 1e-4)(), expected, rtol=1e-6, atol=0)
        self.assertEqual(float(self.alignment(ONE_AND_THREE_GO, 0.0)()), 0.0)

    def test_the_norm_of_what_is_removed_has_no_strength(self):
        for strength in (0.0, 1e-4, 3.0):
            term = self.alignment(ONE_AND_THREE_GO, strength)
            self.assertAllClose(term.removed_norm(), WRITE_NORM + READ_NORM, rtol=1e-6)
        self.assertEqual(self.alignment(ONE_AND_THREE_GO).followed, ONE_AND_THREE_GO)
        self.assertIsNone(self.alignment().followed)

    def test_gradient_is_the_weight_over_its_norm_and_nothing_elsewhere(self):
        gradients = self.gradients(self.alignment(ONE_AND_THREE_GO, 0.5))
        removed = np.array([0, 1, 0, 1])
        self.assertAllClose(gradients.pop("inner/kernel")[0, 0], 0.5 * WRITES * removed / WRITE_NORM)
        self.assertAllClose(gradients.pop("outer/kernel")[0, 0], 0.5 * READS * removed[:, None] / READ_NORM)
        self.assertEqual({g is None for g in gradients.values()}, {True})

    def test_before_any_plan_and_with_nothing_removed_all_is_zero(self):
        for plan in (None, Plan(), Plan.keeping({"inner": (0, 1, 2, 3)})):
            term = self.alignment(plan)
            self.assertEqual(float(term()), 0.0)
            for path in ("inner/kernel", "outer/kernel"):
                self.assertAllEqual(self.gradients(term)[path], np.zeros_like(self.gradients(term)[path]))

    def test_where_all_removed_weights_are_zero_the_gradient_is_zero_and_not_nan(self):
        self.inner.set_weights([(WRITES * [1, 0, 1, 0]).reshape(1, 1, 2, 4), np.zeros(4)])
        self.outer.set_weights([(READS * [[1], [0], [1], [0]]).reshape(1, 1, 4, 2)])
        term = self.alignment(ONE_AND_THREE_GO)
        self.assertEqual(float(term()), 0.0)
        for path in ("inner/kernel", "outer/kernel"):
            self.assertAllEqual(self.gradients(term)[path], np.zeros_like(self.gradients(term)[path]))

    def test_where_some_removed_weights_are_zero(self):
        """The reading kernel's removed rows are zero; the writing one's removed columns are (2, -2) and (0, 0)."""
        self.inner.set_weights([(WRITES * [1, 1, 1, 0]).reshape(1, 1, 2, 4), np.zeros(4)])
        self.outer.set_weights([(READS * [[1], [0], [1], [0]]).reshape(1, 1, 4, 2)])
        term = self.alignment(ONE_AND_THREE_GO)
        self.assertAllClose(term(), math.sqrt(8), rtol=1e-6)
        gradients = self.gradients(term)
        self.assertAllClose(
            gradients["inner/kernel"][0, 0], [[0, 2 / math.sqrt(8), 0, 0], [0, -2 / math.sqrt(8), 0, 0]]
        )
        self.assertAllEqual(gradients["outer/kernel"], np.zeros((1, 1, 4, 2)))

    def test_removed_weights_so_small_that_their_squares_vanish(self):
        self.inner.set_weights([np.full((1, 1, 2, 4), 1e-30), np.zeros(4)])
        self.outer.set_weights([np.full((1, 1, 4, 2), 1e-20)])
        term = self.alignment(ONE_AND_THREE_GO)
        self.assertAllInRange([float(term())], 0.0, 1e-15)
        for path in ("inner/kernel", "outer/kernel"):
            self.assertAllInRange(self.gradients(term)[path].numpy(), 0.0, 1.0)

    def test_a_kernel_between_two_pruned_groups_counts_each_weight_once(self):
        """`head` reads `hidden`; `hidden` reads what no plan speaks of."""
        hidden, head = self.model.get_layer("hidden"), self.model.get_layer("head")
        hidden.set_weights([np.array([[1.0, 2.0, 2.0], [0.0, 4.0, 1.0]]), np.zeros(3)])
        head.set_weights([np.array([[1.0, 1.0], [3.0, 4.0], [0.0, 2.0]]), np.zeros(2)])
        plan = Plan.keeping({"hidden": (0, 2)})
        expected = math.sqrt(4 + 16) + math.sqrt(9 + 16)
        self.assertAllClose(self.alignment(plan, prunable=("inner", "hidden"))(), expected, rtol=1e-6)

    def test_a_kernel_that_reads_one_pruned_group_and_writes_another(self):
        inputs = keras.Input((2,))
        x = layers.Dense(2, activation="relu", name="one")(inputs)
        x = layers.Dense(3, activation="relu", name="two")(x)
        model = keras.Model(inputs, layers.Dense(1, name="end")(x))
        for name, kernel in (("one", [[3, 1], [4, 1]]), ("two", [[1, 2, 3], [4, 5, 6]]), ("end", [[2], [6], [0]])):
            layer = model.get_layer(name)
            layer.set_weights([np.array(kernel, "float32"), np.zeros(len(kernel[0]))])
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        term = Alignment(1.0, groups, ("one", "two"))
        term.set_plan(Plan.keeping({"one": (1,), "two": (0, 2)}))
        # "one" loses its column 0; "two" loses row 0 and column 1 (1, 2, 3 and 5); "end" loses row 1.
        self.assertAllClose(term(), 5 + math.sqrt(1 + 4 + 9 + 25) + 6, rtol=1e-6)

    def test_a_new_plan_needs_no_new_trace(self):
        term, traces = self.alignment(ONE_AND_THREE_GO), []

        @tf.function
        def step():
            traces.append(1)
            return term()

        self.assertAllClose(step(), WRITE_NORM + READ_NORM, rtol=1e-6)
        term.set_plan(Plan.keeping({"inner": (1, 2, 3)}))  # column (1, 0), row (1, 1)
        self.assertAllClose(step(), 1 + math.sqrt(2), rtol=1e-6)
        term.set_plan(Plan())
        self.assertAllClose(step(), 0.0)
        self.assertLen(traces, 1)

    def test_the_weights_of_now_count(self):
        term = self.alignment(ONE_AND_THREE_GO)
        term()
        self.inner.set_weights([np.zeros((1, 1, 2, 4)), np.zeros(4)])
        self.assertAllClose(term(), READ_NORM, rtol=1e-6)


class BetaTest(tf.test.TestCase):
    """The published run takes 352 steps an epoch, of 45,000 images in batches of 128, at the rates 0.1, 0.01, 0.001."""

    PUBLISHED = 352 * (100 * 0.1 + 50 * 0.01 + 50 * 0.001)  # 3,713.6

    def test_steps(self):
        training = Training(
            epochs=4, schedule="step", milestones=(2, 3), reference_epochs=4, learning_rate=0.2
        )  # 0.2, 0.2, 0.02, 0.002: 0.422 in all
        self.assertAllClose(beta_for(1e-4, training, 10, False), 1e-4 * self.PUBLISHED / 4.22, rtol=1e-6)

    def test_a_cosine(self):
        """Of 0.2: 0.2, and at half of the way 0.1."""
        training = Training(epochs=2, schedule="cosine", learning_rate=0.2)
        self.assertAllClose(beta_for(1e-4, training, 10, True), 1e-4 * self.PUBLISHED / 3, rtol=1e-6)

    def test_the_published_run_has_the_published_beta(self):
        training = Training(epochs=200, schedule="step")
        self.assertAllClose(beta_for(1e-4, training, 352, False), 1e-4, rtol=1e-6)
        self.assertAllClose(beta_for(1e-4, training, 352, True), 1e-3, rtol=1e-6)  # its rates begin at 0.01

    def test_adam(self):
        self.assertEqual(beta_for(1e-4, Training(epochs=2, optimizer="adam"), 10, False), 1e-4)
