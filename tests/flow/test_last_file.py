"""A size budget of a flow that ends in an int8 file: predicted, planned for by the stages before, and refused early."""

import json
import types
from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.costs import Budget, CostModel
from tfcompress.costs.file_size import INT8_FILE
from tfcompress.costs.metrics import planned_by
from tfcompress.export import convert
from tfcompress.flow.last_file import LastFile, last_file
from tfcompress.methods import QAT, Uniform
from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite import apply

CUTS, ROUNDS = Uniform(epochs=0), QAT(epochs=0, calibration_samples=8)


def network():
    """Two inverted residuals with depthwise convolutions, trained as it were: no two weights are alike."""
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(24, 3, padding="same", use_bias=False, name="stem")(inputs)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    for name in ("first", "second"):
        y = layers.Conv2D(64, 1, use_bias=False, name=f"{name}_wide")(x)
        y = layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_norm")(y))
        y = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise")(y)
        x = layers.Add(name=f"{name}_sum")([x, layers.Conv2D(24, 1, name=f"{name}_narrow")(y)])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="head")(x), name="mobile")
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class LastFileTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = network()
        cls.network = Network(cls.model)
        cls.size = ROUNDS.file_left(cls.network)
        cls.whole = len(convert(cls.model))

    def compress(self, method, data=None, **budgets):
        with mock.patch.object(QAT, "file_left", return_value=self.size):  # made once
            return tfcompress.compress(self.model, method, data or small_tasks.pictures(32), verbose=0, **budgets)

    def costs(self):
        with planned_by({INT8_FILE: self.size.terms}):
            return CostModel(self.network.groups)

    def test_int8_files_of_plans_are_predicted_within_a_fiftieth(self):
        costs = self.costs()
        self.assertEqual(costs.total[INT8_FILE], self.size.measured)
        orders = {group.name: np.arange(group.size) for group in self.network.groups}
        plan = Plan.keeping_first(orders, {group.name: group.size // 3 for group in self.network.groups})
        made = ROUNDS.file_left(Network(apply(self.model, plan, self.network.groups))).measured
        self.assertAllClose(costs.of(plan)[INT8_FILE], made, rtol=0.02, atol=0)

    def test_a_channel_of_the_int8_file_by_hand(self):
        """Each writes a byte for each number that it reads, an offset of 4 and twice a scale of 4 and a point of 8.

        A channel of "first_wide" is written from 24, weighted by 9 numbers, and read by 24; it has two writers.
        """
        costs = self.costs()
        names = list(self.network.groups.groups)
        fewer = costs.sizes.copy()
        fewer[names.index("first_wide")] -= 1
        written = (24 + 4 + 24) + (9 + 4 + 24)
        self.assertEqual(costs.total[INT8_FILE] - int(costs.count(INT8_FILE, fewer)), written + 24)

    def test_the_stages_before_are_planned_by_it(self):
        limit = int(0.75 * self.size.measured)
        self.assertLess(limit, self.whole / 2)  # of the float32 file
        result = self.compress([CUTS, ROUNDS], size_budget=limit)
        self.assertLessEqual(len(result.files["qat"]), limit)
        self.assertEqual(result.after.measurements, {"file_bytes": len(result.files["qat"])})
        self.assertGreater(len(result.files["qat"]), 0.93 * limit)
        # A float32 file of so many bytes would have far fewer weights.
        self.assertGreater(len(convert(result.model)), 1.15 * limit)
        held = limit - self.size.reserve
        self.assertEqual([stage.limits for stage in result.stages], [{INT8_FILE: held}, {}])
        self.assertEqual(result.after.others, {})
        said = f"stages: uniform to {held / self.size.measured:.1%} of the int8 file, then qat"
        self.assertIn(said, result.notes)

    def test_refused_before_anything_is_read(self):
        nowhere = "no_such_data"
        share = rf"{self.size.measured:,} bytes, 0\.\d+ of the float32 file. Received: size_budget=0.1"
        with self.assertRaisesRegex(ValueError, rf"int8 file of 'mobile' can meet, which has {share}"):
            self.compress(ROUNDS, nowhere, size_budget=0.1)
        floor = r"can be reached: at least 0\.\d+ of the original .*Said by stage 2 of 3, 'uniform', .*"
        with self.assertRaisesRegex(ValueError, floor + "the file that 'qat' leaves, by size_budget=0.01"):
            self.compress([CUTS, CUTS, ROUNDS], nowhere, size_budget=0.01)
        with self.assertRaisesRegex(
            ValueError, "no stage that removes layers or channels.*Said by stage 2 of 2, 'qat'"
        ):
            self.compress(["magnitude", ROUNDS], nowhere, size_budget=0.1)
        with self.assertRaisesRegex(ValueError, "Expected `budget` to be metrics, of .* Received: .*int8_bytes"):
            self.compress(CUTS, nowhere, budget={INT8_FILE: 0.5})

    def test_another_call_plans_by_the_same_file(self):
        """Names in a file differ between processes, and with them its size: it is not made again."""
        call = types.SimpleNamespace(original=self.network, progress=mock.Mock())
        kept = json.loads(json.dumps(LastFile(self.size, 12_000, 37_456.0).kept()))
        run = mock.Mock(recall=lambda name, note: kept)
        again = last_file(call, [CUTS, ROUNDS], None, Budget(size=0.3), run)
        self.assertEqual((again.limit, again.whole, again.size.reserve), (12_000, 37_456.0, self.size.reserve))
        with planned_by({INT8_FILE: again.size.terms}):
            costs = CostModel(self.network.groups)
        self.assertEqual(costs.smallest[INT8_FILE], self.costs().smallest[INT8_FILE])

    def test_a_single_method_is_held_by_its_int8_file(self):
        result = self.compress(ROUNDS, size_budget=0.7)
        self.assertEqual(result.after.measurements, {"file_bytes": len(result.files["qat"])})
        self.assertLess(len(result.files["qat"]), 0.7 * self.whole)
