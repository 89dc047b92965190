"""Latency as a budget that methods plan by, on a device of tiles whose latencies are known."""

import json
import pathlib
from unittest import mock

import keras
import numpy as np
import pytest
import small_tasks
import tensorflow as tf
import tiled
from converted_once import converted_once
from keras import layers

import tfcompress
from tfcompress.export import MissingOperatorError
from tfcompress.methods import Random, TaylorPruning, Uniform
from tfcompress.network import Network
from tfcompress.operators import LatencyPrediction, OperatorTable
from tfcompress.run_contents import check_same_table
from tfcompress.training import RunFolder, RunFolderError

CLASSES = small_tasks.CLASSES


def network():
    """Two residual blocks on the pictures of `small_tasks`, with groups of several tiles."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="stem")(image)
    for name in ("first", "second"):
        y = layers.Conv2D(48, 3, padding="same", activation="relu", name=f"{name}_conv1")(x)
        x = layers.ReLU(name=f"{name}_out")(
            layers.Add(name=f"{name}_sum")([x, layers.Conv2D(24, 3, padding="same", name=f"{name}_conv2")(y)])
        )
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(CLASSES, "softmax", name="head")(x), name="net")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class TestPlannedLatency(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model, cls.data = network(), small_tasks.pictures(32)
        cls.table = OperatorTable()

    def setUp(self):
        super().setUp()
        self.enterContext(tiled.tiled_device())
        self.enterContext(converted_once())

    def compress(self, method="uniform", **settings):
        x, y = self.data
        settings = {"validation_data": (x, y), "epochs": 0, "verbose": 0, "latency_table": self.table} | settings
        return tfcompress.compress(self.model, method, (x, y), **settings)

    def share(self, result):
        return result.after.measurements["latency_ms"] / result.before.measurements["latency_ms"]

    def test_latency_alone_is_a_budget(self):
        for settings, least in (({}, 0.4), ({"round_to": "auto"}, 0.3)):  # whole tiles are large steps here
            result = self.compress(latency_budget=0.5, **settings)
            self.assertBetween(self.share(result), least, 0.5)
            self.assertTrue(any("predicted" in note and "measured" in note for note in result.notes))

    def test_shares_are_of_one_measurement_of_the_original_in_all_calls_of_a_run(self):
        run = pathlib.Path(self.get_temp_dir()) / "begun"
        network = Network(self.model)
        whole = tiled.milliseconds(LatencyPrediction(network, self.table).file.content(network.costs.sizes))
        killed = mock.patch("tfcompress.workflow.run_stage", side_effect=KeyboardInterrupt)
        with killed, self.assertRaises(KeyboardInterrupt):
            self.compress(latency_budget=0.6, run_dir=run)
        # The machine is half as fast when the run goes on, all of it.
        measured = tiled.milliseconds
        with mock.patch.object(tiled, "milliseconds", lambda *a, **k: 2 * measured(*a, **k)), tiled.tiled_device():
            result = self.compress(latency_budget=0.6, run_dir=run)
        self.assertAllClose(result.before.measurements["latency_ms"], whole)
        self.assertBetween(result.after.measurements["latency_ms"], 0.4 * whole, 0.6 * whole)

    def test_with_flops_both_hold(self):
        result = self.compress(latency_budget=0.9, flops_budget=0.3)
        self.assertLessEqual(result.after.macs, 0.3 * result.before.macs)
        self.assertLessEqual(self.share(result), 0.9)

    def test_widths_that_pay_are_ends_of_tiles(self):
        result = self.compress(flops_budget=0.6, round_to="auto")
        self.assertEqual({len(edit.indices) % 16 for edit in result.trail.last.channels} - {0, 8}, set())
        self.assertEqual(result.control, {"round_to": "auto"})
        self.assertNotIn("latency_ms", result.before.measurements)

    @pytest.mark.slow
    def test_other_methods(self):
        for method in (
            Random(tries=2, epochs=0, recalibrate_batches=0),
            Uniform(scope="global", epochs=0),
            TaylorPruning(runs=1, filters=0.2, updates=0, epochs=0),
        ):
            result = self.compress(method, latency_budget=0.6, epochs=None)
            self.assertLessEqual(self.share(result), 0.6)

    def test_a_budget_below_the_fixed_part_is_refused_with_the_floor(self):
        with self.assertRaisesRegex(
            ValueError,
            r"Expected a latency_budget that can be reached: at least 0\.\d{4} of the original \(0\.\d{3} of",
        ):
            self.compress(latency_budget=0.01)

    def test_a_device_that_takes_longer_than_its_table_says_is_planned_for_again(self):
        whole = tiled.milliseconds
        prediction = LatencyPrediction(Network(self.model), self.table)
        full = whole(prediction.file.content(Network(self.model).costs.sizes))

        def slower(content, *args, **limits):
            """All but the original take a tenth longer than the table says."""
            ms = whole(content)
            return ms if ms > 0.9 * full else 1.1 * ms

        with mock.patch.object(tiled, "milliseconds", slower), tiled.tiled_device():
            result = self.compress(latency_budget=0.6)
        self.assertBetween(self.share(result), 0.5, 0.6)
        predicted = result.after.on_device.get("predicted_ms", 0.55 * full)
        self.assertLess(predicted, 0.6 * full / 1.05)

    def test_a_table_of_another_device_plans_for_it_and_nothing_is_measured_here(self):
        path = pathlib.Path(self.get_temp_dir()) / "phone.json"
        LatencyPrediction(Network(self.model), self.table)  # measures what the table lacks
        self.table.save(path)
        content = json.loads(path.read_text())
        content["device"]["cpu"] = "a phone"
        path.write_text(json.dumps(content))
        run = pathlib.Path(self.get_temp_dir()) / "run"
        result = self.compress(latency_budget=0.5, latency_table=str(path), run_dir=run)
        self.assertNotIn("latency_ms", result.after.measurements)
        self.assertTrue(any("a phone" in note for note in result.notes))
        self.assertEqual(json.loads((run / "operators.json").read_text())["device"]["cpu"], "a phone")

        # The run is of that table: another is refused before anything is measured, none is that of the folder.
        with self.assertRaisesRegex(RunFolderError, r"the latency_table of the run in .* cpu is '.*', not 'a phone'"):
            self.compress(latency_budget=0.5, latency_table=self.table, run_dir=run)
        content["operators"][0]["ns"] = np.add(content["operators"][0]["ns"], 1.0).tolist()
        path.write_text(json.dumps(content))
        with self.assertRaisesRegex(RunFolderError, "the same device with other latencies"):
            self.compress(latency_budget=0.5, latency_table=str(path), run_dir=run)
        del content["operators"][0]  # what is gone says nothing else
        path.write_text(json.dumps(content))
        check_same_table(RunFolder(run), OperatorTable(path))
        check_same_table(RunFolder(run), None)

    def test_a_table_without_use_is_refused(self):
        with self.assertRaisesRegex(ValueError, "Expected `latency_budget` or round_to='auto' together with"):
            self.compress(flops_budget=0.5)
        with self.assertRaisesRegex(TypeError, "Expected `latency_table` to be an OperatorTable, or the path"):
            self.compress(latency_budget=0.5, latency_table=3)

    def test_an_operator_that_litert_lacks_is_named_with_its_layer(self):
        image = keras.Input((8, 8, 1))
        x = keras.ops.erfinv(layers.Conv2D(8, 3, activation="tanh", name="conv")(image))
        model = keras.Model(image, layers.Dense(CLASSES, "softmax", name="head")(layers.Flatten()(x)))
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        x, y = self.data
        with self.assertRaisesRegex(MissingOperatorError, r"layer '.*erfinv.*'.*an operator that LiteRT lacks"):
            tfcompress.compress(model, "uniform", (x, y), latency_budget=0.5, verbose=0)
