"""A part of the coverage sweep: four applications that have little in common, and the script around it."""

import importlib.util
import json
import pathlib
import unittest
from unittest import mock

import coverage_checks
import coverage_models
import coverage_table
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcompress.graph import find_sections

SCRIPT = pathlib.Path(__file__).with_name("coverage.py")


def setUpModule():
    # No test looks at the times, for which memory is cleared away first: seconds where much was tested before.
    unittest.enterModuleContext(mock.patch.object(coverage_checks, "timed", lambda function: (function(), 0.0)))


class ApplicationsTest(tf.test.TestCase):
    """Depthwise convolutions with squeeze-and-excite; concatenations; streams that LayerNormalization fixes."""

    def check(self, name, tflite=False):
        row = coverage_checks.row(coverage_models.APPLICATION, name, tflite=tflite)
        self.assertEqual(row["failures"], [])
        # `failures` speaks of what was measured: that it was is checked here.
        self.assertLessEqual(row["macs_after"], row["macs_before"] / 2)
        self.assertGreater(row["macs_after"], 0.47 * row["macs_before"])
        self.assertLessEqual(row["masked"], 1e-5)
        self.assertGreater(row["changed"], 1e-3)
        self.assertTrue(row["cost"])
        self.assertLessEqual(row["loaded"], 1e-6)
        self.assertLessEqual(row["rewards"], 1e-4)
        return row

    def test_mobilenet_v3(self):
        row = self.check("MobileNetV3Small", tflite=True)
        self.assertLessEqual(row["tflite"], 1e-4)
        self.assertEqual(row["whole"], {"output of the model": [1, 1000]})

    @pytest.mark.slow
    def test_convnext(self):
        row = self.check("ConvNeXtTiny")
        self.assertIn("LayerNormalization normalises over the channels", row["whole"])
        # Each of the 3, 3, 9 and 3 blocks has one group: what its MLP holds inside.
        self.assertEqual(row["groups"], 18)


class MethodsTest(tf.test.TestCase):
    """Where the last axis has its number, as in keras.applications, rewards are those of the cut model as well."""

    @pytest.mark.slow
    def test_resnet50(self):
        subject = coverage_models.subject(coverage_models.APPLICATION, "ResNet50")
        pruned = coverage_checks.prune(subject)
        self.assertLessEqual(coverage_checks.rewards_compared(subject, pruned)["rewards"], 1e-4)
        self.assertNotEmpty(find_sections(pruned.task.groups.graph).sections)  # what LIT's search looks for


class ModelsTest(tf.test.TestCase):
    def test_every_constructor_is_found(self):
        """Without a list of names: everything in keras.applications that is no module."""
        found = {name for name, value in vars(keras.applications).items() if callable(value)}
        self.assertEqual(set(coverage_models.names(coverage_models.APPLICATION)), found)
        self.assertGreaterEqual(len(found), 38)

    def test_the_smallest_image_is_the_smallest(self):
        model = coverage_models.smallest_application("MobileNetV2")
        self.assertEqual(model.input_shape, (None, 32, 32, 3))
        with self.assertRaisesRegex(ValueError, "at least 32x32"):
            keras.applications.MobileNetV2(input_shape=(31, 31, 3), weights=None)

    def test_settled_statistics_are_near_those_of_the_inputs_but_not_equal(self):
        x = keras.Input((4, 4, 3))
        model = keras.Model(x, keras.layers.BatchNormalization(momentum=0.75)(x))
        inputs = np.random.default_rng(0).normal(3.0, 2.0, (64, 4, 4, 3)).astype("float32")
        coverage_models.settle(model, inputs, np.random.default_rng(1))
        norm = model.layers[1]
        self.assertEqual(norm.momentum, 0.75)
        self.assertAllClose(norm.moving_mean, [3.0] * 3, atol=2.0)
        self.assertAllClose(norm.moving_variance, [4.0] * 3, atol=2.5)
        self.assertNotAllClose(norm.moving_variance, inputs.var((0, 1, 2)), rtol=1e-3)


class FailuresTest(tf.test.TestCase):
    """Each oracle can fail: a row that is good in all but one thing has one failure."""

    def setUp(self):
        super().setUp()
        self.good = {"macs_before": 100, "macs_after": 50, "limit": 50, "tolerance": 1e-5, "masked": 1e-6}
        self.good |= {"changed": 0.5, "spread": 0.1, "largest": 3.0, "cost": True, "costs": ["a", "b", "c"]}
        self.good |= {"loaded": 0.0, "tflite": 1e-6}

    def test_nothing_is_wrong(self):
        self.assertEqual(coverage_checks.failures(self.good), [])
        self.assertEqual(coverage_checks.failures({**self.good, "tflite": "no such operator"}), [])

    def test_each_can_fail(self):
        nan = float("nan")
        for key, bad in (
            ("macs_after", 51),
            ("masked", 2e-5),
            ("masked", nan),
            ("changed", 1e-5),
            ("spread", 0.0),
            ("largest", float("inf")),
            ("cost", False),
            ("loaded", 1e-4),
            ("tflite", 2e-4),
            ("tflite", nan),
        ):
            with self.subTest(key=key, bad=bad):
                self.assertLen(coverage_checks.failures({**self.good, key: bad}), 1)

    def test_a_wrong_cut_is_found(self):
        """A student with one weight from another channel."""
        subject = coverage_models.subject(coverage_models.TOPOLOGY, "conv_chain")
        pruned = coverage_checks.prune(subject)
        kernel = pruned.student.get_layer("second").kernel
        kernel.assign(np.roll(kernel, 1, axis=2))
        row = {"tolerance": 1e-5, **coverage_checks.outputs_compared(subject, pruned)}
        found = coverage_checks.failures({**self.good, **row})
        self.assertLen(found, 1)
        self.assertRegex(found[0], "^masked and cut differ by")


def load_script():
    """The script as a module, under a name that nothing else has."""
    spec = importlib.util.spec_from_file_location("coverage_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ScriptTest(tf.test.TestCase):
    def test_writes_a_table_and_takes_up_what_is_there(self):
        script, folder = load_script(), pathlib.Path(self.get_temp_dir())
        arguments = ["--work", str(folder / "rows"), "--only", "topology/flatten", "--out", str(folder / "table.md")]
        self.assertEqual(script.main(arguments), 0)
        text = (folder / "table.md").read_text()
        self.assertIn("2 of 2 models pass every check", text)
        self.assertRegex(text, r"(?m)^\| flatten_dense \| 6 x 5 x 3 \|.* equal \| 0 \| \S+ \| nothing \|$")
        paths = sorted((folder / "rows").glob("*.json"))
        self.assertLen(paths, 2)
        # One row was there before the run was killed, and is taken as it is. The other is made now, and fails.
        first = json.loads(paths[0].read_text())
        paths[0].write_text(json.dumps({**first, "groups": 12345}))
        paths[1].unlink()
        with mock.patch.object(script, "run") as run:
            self.assertEqual(script.main(arguments), 1)
        run.assert_called_once_with(folder / "rows", [("topology", "flatten_of_the_other_data_format")])
        text = (folder / "table.md").read_text()
        self.assertIn("| 12345 |", text)
        self.assertIn("1 of 2 models pass every check", text)
        self.assertIn("**its process ended**", text)

    def test_the_table_names_what_failed_and_what_is_missing(self):
        row = {"kind": "topology", "name": "one", "failures": ["ValueError: no\nway"]}
        text = coverage_table.markdown([row], ["topology/one", "topology/two"], "3.11")
        self.assertIn("0 of 1 models pass every check. Not run yet: topology/two.", text)
        self.assertRegex(text, r"\| one \|.*\*\*ValueError: no way\*\* \|")


if __name__ == "__main__":
    tf.test.main()
