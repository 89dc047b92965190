"""Predicted latency: sizes of files of any widths against the converter's, sums against whole files, the table."""

import json
import math
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
import tiled
from keras import layers

from tfcompress.costs.file_size import vary_vectors
from tfcompress.costs.latency import file_for_latency
from tfcompress.network import Network
from tfcompress.operators import FileOfWidths, LatencyPrediction, MissingFromTable, OperatorTable, prediction
from tfcompress.operators.lite_file import LiteFile
from tfcompress.plan import Plan
from tfcompress.rewrite import apply


def network():
    """A residual network with a depthwise convolution, branches that are joined, and a flattened map."""
    image = x = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(40, 3, padding="same", name="stem")(x)
    x = stream = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_bn")(x))
    x = layers.Conv2D(37, 1, activation="relu", name="inner")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Add(name="sum")([stream, layers.Conv2D(40, 1, name="back")(x)])
    left = layers.Conv2D(20, 3, strides=2, padding="same", name="left")(x)
    right = layers.Conv2D(18, 1, strides=2, name="right")(x)
    x = layers.Flatten(name="flat")(layers.Concatenate(name="joined")([left, right]))
    return keras.Model(image, layers.Dense(5, name="classes")(x), name="net")


def shapes_of(content):
    return [
        (operator.kind, [operand.shape for operand in operator.operands if operand.tensor >= 0])
        for operator in LiteFile(content).operators
    ]


class TestPrediction(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        keras.utils.clear_session()
        keras.utils.set_random_seed(0)
        cls.network = Network(network())
        with tiled.tiled_device():
            cls.table = OperatorTable()
            cls.prediction = LatencyPrediction(cls.network, cls.table)
        cls.sizes = cls.network.costs.sizes

    def drawn(self, seed):
        return np.random.default_rng(seed).integers(1, self.sizes + 1)

    def test_a_file_of_other_widths_has_the_converters_shapes(self):
        kept = self.drawn(1)
        widths = zip(self.network.groups, kept.tolist(), strict=True)
        plan = Plan.keeping({group.name: tuple(range(width)) for group, width in widths if width < group.size})
        student = apply(self.network.model, plan, self.network.groups)
        vary_vectors(student)  # the converter leaves out an offset of zeros
        self.assertEqual(shapes_of(self.prediction.file.content(kept)), shapes_of(file_for_latency(student)))

    def test_a_file_of_other_widths_runs_in_litert(self):
        self.assertGreater(self.prediction.measured_ms(self.drawn(2), seconds=0.01), 0)

    def test_the_sum_over_operators_is_the_whole(self):
        # The device is a sum itself, so that only what lies between measured widths may differ.
        for seed in range(5):
            kept = self.drawn(seed)
            whole = tiled.milliseconds(self.prediction.file.content(kept))
            self.assertAllClose(self.prediction.predicted_ms(kept), whole, rtol=0.02)

    def test_the_factors_of_a_device_that_is_a_sum_are_one(self):
        correction = self.prediction.correction
        self.assertAllClose(correction.factors["CONV_2D"], 1, atol=0.02)
        self.assertLess(max(map(abs, correction.errors)), 0.02)
        self.assertEqual((correction.plans, len(correction.errors)), (32, 8))

    def test_a_device_that_slows_down_with_the_bytes_of_all_weights_is_found(self):
        def slower(content, threads=1, **limits):
            constants = (operand for each in LiteFile(content).operators for operand in each.inputs if operand.constant)
            weights = sum(4 * math.prod(operand.shape) for operand in constants if operand.integers is None)
            return tiled.milliseconds(content) * (1 + 1e-5 * weights)

        def share_of(content, whole, threads=1, **limits):
            return slower(content) / slower(whole)

        table = OperatorTable()
        with tiled.tiled_device():
            LatencyPrediction(self.network, table)  # its operators, each as fast alone as everywhere
        table._networks.clear()  # as if they had been measured for another network
        with (
            mock.patch.object(prediction, "milliseconds", slower),
            mock.patch.object(prediction, "share_of", share_of),
        ):
            slow = LatencyPrediction(self.network, table)
            kept = np.maximum(1, self.sizes // 3)
            self.assertAllClose(slow.predicted_ms(kept), slower(slow.file.content(kept)), rtol=0.03)
        self.assertAllClose(slow.correction.per_byte, 1e-5, rtol=0.2)
        costs = Network(self.network.model).costs
        costs.look_up("latency_ns", slow.lookups)
        self.assertAllClose(
            int(costs.count("latency_ns", kept)), 1e6 * slow.predicted_ms(kept), atol=len(table.entries)
        )

    def test_each_operator_belongs_to_its_layer(self):
        nodes = {(each.operator.kind, each.node) for each in self.prediction.file.operators}
        for kind, node in (
            ("CONV_2D", "stem"),
            ("CONV_2D", "inner"),
            ("DEPTHWISE_CONV_2D", "depthwise"),
            ("ADD", "sum"),
            ("CONCATENATION", "joined"),
            ("FULLY_CONNECTED", "classes"),
        ):
            self.assertIn((kind, node), nodes)

    def test_a_column_of_costs(self):
        costs = Network(self.network.model).costs
        costs.look_up("latency_ns", self.prediction.lookups)
        kept = self.drawn(3)
        total = int(costs.count("latency_ns", kept))
        self.assertEqual(costs.of_kept(kept)["latency_ns"], total)
        self.assertAllClose(total, 1e6 * self.prediction.predicted_ms(kept))
        parts = [int(part.of(kept[None, list(part.groups)])[0]) for part in costs.parts("latency_ns")]
        self.assertEqual(sum(parts), total)
        by_node = costs.by_node("latency_ns", kept)
        self.assertEqual(sum(sum(each.values()) for each in by_node.values()), total)
        # 8 x 8 places, 27 numbers read, and 40 channels in three tiles of 16.
        self.assertAllClose(costs.by_node("latency_ns")["stem"]["stem"], 100 + 0.01 * 64 * 27 * 48, rtol=0.02)
        self.assertEqual(sum(row.others["latency_ns"] for row in costs.by_layer()), costs.total["latency_ns"])

    def test_a_table_from_its_file_predicts_the_same_and_measures_nothing(self):
        path = f"{self.get_temp_dir()}/table.json"
        self.table.save(path)
        again = OperatorTable.from_file(path)
        self.assertEqual(len(again.entries), len(self.table.entries))
        predicted = LatencyPrediction(self.network, again)  # LiteRT would give other numbers
        kept = self.drawn(4)
        self.assertEqual(predicted.predicted_ms(kept), self.prediction.predicted_ms(kept))

    def test_a_table_of_another_device_is_read_only(self):
        path = f"{self.get_temp_dir()}/phone.json"
        self.table.save(path)
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        content["device"]["cpu"] = "a phone"
        depthwise = [each for each in content["operators"] if each["operator"] == "DEPTHWISE_CONV_2D"]
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file)
        phone = OperatorTable.from_file(path)
        self.assertFalse(phone.is_of_this_device)
        self.assertEqual(
            LatencyPrediction(self.network, phone).predicted_ms(self.sizes), self.prediction.predicted_ms(self.sizes)
        )
        content["operators"].remove(*depthwise)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file)
        with self.assertRaisesRegex(MissingFromTable, r"one of a phone without DEPTHWISE_CONV_2D of layer 'depthwise'"):
            LatencyPrediction(self.network, OperatorTable(path))


class TestFiles(tf.test.TestCase):
    def test_files_that_are_no_table(self):
        path = f"{self.get_temp_dir()}/no_table.json"
        entry = {"operator": "ADD", "settings": {}, "inputs": [["a"]], "outputs": [["a"]], "integers": [None]}
        good = {"format": 2, "device": {}, "batch": 1, "threads": 1, "operators": [], "networks": {}}
        for content in (
            "{",
            "[]",
            json.dumps(good | {"format": 1}),
            json.dumps(good | {"operators": [entry | {"widths": [[4, 2]], "ns": [1, 2]}]}),
            json.dumps(good | {"operators": [entry | {"widths": [[2, 4]], "ns": [1, -2]}]}),
            json.dumps(good | {"operators": [entry | {"widths": [[2, 4]], "ns": [1]}]}),
        ):
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
            with self.assertRaisesRegex(ValueError, "Expected a table of operators of format 2"):
                OperatorTable(path)
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), content)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(good | {"operators": [entry | {"widths": [[2, 4]], "ns": [1, 2]}]}, file)
        self.assertEqual(OperatorTable(path).threads, 1)
        with self.assertRaisesRegex(ValueError, "Expected `threads` to be that of .*, 1. Received: threads=4"):
            OperatorTable(path, threads=4)
        with self.assertRaises(FileNotFoundError):
            OperatorTable.from_file(f"{path}.missing")

    def test_two_layers_that_share_a_width_are_one_operator_of_the_table(self):
        image = keras.Input((4, 4, 6))
        x = layers.Conv2D(6, 1, activation="relu", name="first")(image)
        x = layers.Conv2D(6, 1, activation="relu", name="second")(x)
        x = layers.Conv2D(6, 1, activation="relu", name="third")(x)
        model = keras.Model(image, layers.GlobalAveragePooling2D(name="mean")(x))
        file = FileOfWidths(Network(model))
        self.assertEqual([len(each.letters) for each in file.operators[:3]], [1, 2, 1])
