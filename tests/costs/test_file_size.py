"""The size of a file: predicted for plans, beside the file that is made of each."""

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

from tfcompress import Budget
from tfcompress.costs import CostModel, FileSize
from tfcompress.costs.file_size import FILE
from tfcompress.costs.metrics import planned_by, registered_metrics
from tfcompress.export import convert
from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite import apply


def mobile():
    """An inverted residual with folded normalizations, one normalization that nothing folds, and a separable layer."""
    inputs = keras.Input((16, 16, 3))
    x = layers.BatchNormalization()(layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem")(inputs))
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(96, 1, use_bias=False, name="expand")(x)))
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y))
    y = layers.BatchNormalization()(layers.Conv2D(32, 1, name="project")(layers.ReLU(6.0)(y)))
    x = layers.ReLU()(layers.BatchNormalization(name="unfolded")(layers.Add()([x, y])))
    x = layers.SeparableConv2D(48, 3, activation="relu", name="separable")(x)
    x = layers.Dense(64, name="wide")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(10, name="head")(layers.PReLU()(x)))


def with_random_numbers(model):
    """The model with weights of which no two are alike, as after training."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    return model


def plan_of(groups, kept):
    orders = {group.name: np.arange(group.size) for group in groups}
    widths = zip(groups, kept.tolist(), strict=True)
    return Plan.keeping_first(orders, {group.name: width for group, width in widths if width < group.size})


class FileSizeTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.fresh, cls.small = Network(mobile()), Network(small_tasks.residual_network())
        cls.of_fresh, cls.of_small = (
            FileSize.of(apply(network.model, Plan(), network.groups), network.groups)
            for network in (cls.fresh, cls.small)
        )

    def assertPredicted(self, model, seeds, delta=0.01):
        network = Network(model)
        size = FileSize.of(apply(model, Plan(), network.groups), network.groups)
        with planned_by({FILE: size.terms}):
            costs = CostModel(network.groups)
        for seed in seeds:
            share = np.random.default_rng(seed).uniform(0.2, 0.9, len(costs.sizes))
            kept = np.maximum(1, (costs.sizes * share).astype(int))
            file = len(convert(apply(model, plan_of(network.groups, kept), network.groups)))
            predicted = int(costs.count(FILE, kept))
            self.assertAllClose(predicted, file, rtol=delta, atol=0)
            self.assertLessEqual(file, predicted + size.reserve)
            self.assertEqual(costs.of_kept(kept)[FILE], predicted)
        return size, costs

    def test_files_of_plans_are_predicted_within_a_hundredth(self):
        size, costs = self.assertPredicted(with_random_numbers(mobile()), (0, 1))
        self.assertEqual(costs.total[FILE], size.measured)
        self.assertEqual(
            sum(part.of(costs.sizes[None, list(part.groups)])[0] for part in costs.parts(FILE)), size.measured
        )

    def test_weights_of_the_file_by_hand(self):
        """Kernels, and an offset a channel where a normalization is folded, two where it is not, none where the
        convolution has its own; depthwise kernels have no offset beside that of the normalization."""
        network, size = self.fresh, self.of_fresh
        with planned_by({FILE: size.terms}):
            costs = CostModel(network.groups)
        names = list(network.groups.groups)
        numbers = {  # of a channel of each group
            "stem": 27
            + 1
            + 96
            + 96
            + 1
            + 2
            + 9
            + 48,  # kernels, folded offset, project's own bias, unfolded, separable
            "expand": 32 + 1 + 9 + 1 + 32,
            "separable": 32 + 1 + 64,
            "wide": 48 + 1 + 1 + 10,  # and the slope of PReLU
        }
        for name, each in numbers.items():
            fewer = costs.sizes.copy()
            fewer[names.index(name)] -= 1
            self.assertEqual(costs.total[FILE] - int(costs.count(FILE, fewer)), 4 * each, name)

    def test_vectors_of_zeros_that_a_file_holds_once(self):
        """The folded offsets of a fresh network are one tensor of its file; they differ in a student that is trained."""
        network, size = self.fresh, self.of_fresh
        self.assertEqual(size.measured, len(convert(apply(network.model, Plan(), network.groups))))
        with planned_by({FILE: size.terms}):
            costs = CostModel(network.groups)
        trained = len(convert(with_random_numbers(apply(network.model, Plan(), network.groups))))
        self.assertGreater(trained, size.measured)
        self.assertAllClose(costs.total[FILE], trained, rtol=0.002, atol=0)
        self.assertLessEqual(trained - size.measured, size.reserve)

    def test_the_column_is_there_only_while_its_terms_are(self):
        network, size = self.small, self.of_small
        with planned_by({FILE: size.terms}):
            inside = CostModel(network.groups)
            self.assertIn(FILE, inside.after(Plan()).total.others)
        self.assertNotIn(FILE, CostModel(network.groups).total.others)
        self.assertIn(FILE, registered_metrics())

    def test_limits_and_what_is_reserved(self):
        network, size = self.small, self.of_small
        with planned_by({FILE: size.terms}):
            total = CostModel(network.groups).total
        budget = Budget(size=0.5)
        self.assertEqual((budget.planned, budget.measured, budget.only_measured), ((FILE,), (FILE,), ()))
        self.assertEqual(budget.limits(total), {FILE: total[FILE] // 2})
        less = budget.reserving({FILE: 100}).reserving({FILE: 11})
        self.assertEqual(less.limits(total), {FILE: total[FILE] // 2 - 111})
        self.assertEqual(less, budget)
        self.assertEqual(Budget(size=1.0).reserving({FILE: 100}).limits(total), {FILE: total[FILE]})
        self.assertEqual(less.measured_limits({FILE: 1000.0}), {FILE: 500.0})
        with self.assertRaisesRegex(
            ValueError, r"size_budget that can be reached.*bytes of the TFLite file.*size_budget=0.5"
        ):
            less.check_reachable(total, total)
