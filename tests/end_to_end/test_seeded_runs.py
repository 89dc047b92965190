"""Seeded runs of every method give what `seeded_runs.json` says: to the digit where the last digits of a float32 are
those of the machine that wrote it, and within a tolerance elsewhere."""

import copy
import json
import pathlib
import subprocess
import sys
import unittest

import numpy as np
import pytest

_SCRIPT = pathlib.Path(__file__).with_name("seeded_runs.py")
_PACKAGE = pathlib.Path(__file__).resolve().parents[2]

# Other last digits grow in a training. Other convolutions (TF_ENABLE_ONEDNN_OPTS=0, or ONEDNN_MAX_CPU_ISA=SSE41) took
# norms of weights off by at most 2e-7 of the whole, losses by 3e-7, and no plan and no accuracy. An activation that they
# take over zero is worth more, so that a few hundred times as much is no difference.
_NORM = 1e-4
_LOSS = 1e-3
_METRIC = 0.1  # one sample of 12, or six of 60
_COUNTED = ("accuracy", "reward", "metric")
# Searches that compare accuracies of plans: other last digits may prefer another plan.
_BY_REWARD = ("rlal", "amc", "random", "taylor")


def differences(recorded, new):
    """In words, how a new record differs: to the digit if both were made on the same, else within the tolerance."""
    if recorded["runs"].keys() != new["runs"].keys():
        return [f"other runs: {sorted(new['runs'])}"]
    compare = _by_digit if recorded["made_on"] == new["made_on"] else _within_tolerance
    return [
        f"{name}: {words}" for name, run in recorded["runs"].items() for words in compare(name, run, new["runs"][name])
    ]


def _by_digit(name, recorded, new):
    return [f"{key} is {new[key]}, was {recorded[key]}" for key in recorded if recorded[key] != new[key]]


def _within_tolerance(name, recorded, new):
    if recorded["plan"] != new["plan"] and name not in _BY_REWARD:
        return [f"the plan is {new['plan']}, was {recorded['plan']}"]
    words = []
    if recorded["plan"] == new["plan"]:
        words += [
            f"{key} is another" for key in ("macs", "params", "bytes") if recorded["after"][key] != new["after"][key]
        ]
        shapes = [[shape for shape, _, _ in run["weights"]["each"]] for run in (recorded, new)]
        if shapes[0] != shapes[1]:
            return [*words, "weights of other shapes"]
        norms = np.array([[each[2] for each in run["weights"]["each"]] for run in (recorded, new)])
        sums = np.array([[each[1] for each in run["weights"]["each"]] for run in (recorded, new)])
        sizes = np.array([np.prod(shape) for shape in shapes[0]])
        scale = np.sqrt((norms[0] ** 2).sum())
        # A sum of n weights of norm r is at most sqrt(n) r.
        for what, off in (("norms", norms[1] - norms[0]), ("sums", (sums[1] - sums[0]) / np.sqrt(sizes))):
            if np.abs(off).max() > _NORM * scale:
                words.append(f"{what} of weights are off by {np.abs(off).max() / scale:.2g} of the whole")
        for key in ("accuracy", "validation_accuracy"):
            words += _far(key, recorded["after"][key], new["after"][key], _METRIC)
    for stage, logs in recorded["history"].items():
        if logs.keys() != new["history"][stage].keys():
            words.append(f"the history of {stage} has {sorted(new['history'][stage])}, had {sorted(logs)}")
            continue
        for key, values in logs.items():
            if recorded["plan"] == new["plan"]:
                tolerance = _METRIC if any(name in key for name in _COUNTED) else _LOSS
                words += _far(f"{stage}, {key}", values, new["history"][stage][key], tolerance)
            elif np.shape(values) != np.shape(new["history"][stage][key]):
                words.append(f"{stage}, {key} is of another length")
    return words


def _far(what, recorded, new, tolerance):
    if recorded is None or new is None:
        return [] if recorded is new else [f"{what} is {new}, was {recorded}"]
    if np.shape(recorded) != np.shape(new):
        return [f"{what} is {new}, was {recorded}"]
    recorded, new = np.asarray(recorded, "float64"), np.asarray(new, "float64")
    close = np.isclose(new, recorded, rtol=tolerance, atol=tolerance, equal_nan=True)
    return [] if close.all() else [f"{what} is {new}, was {recorded}"]


def recorded_runs():
    return json.loads(_SCRIPT.with_suffix(".json").read_text(encoding="utf-8"))


class SeededRunsTest(unittest.TestCase):
    @pytest.mark.slow
    def test_every_method_gives_what_was_recorded(self):
        # In a process of its own: one thread, and kernels that give the same digits each time.
        code = f"import sys; sys.path[:0] = {[str(_PACKAGE), str(_SCRIPT.parent)]}; import seeded_runs; seeded_runs.main('print')"
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        self.assertEqual(answer.returncode, 0, answer.stderr[-3000:])
        new = json.loads(answer.stdout.splitlines()[-1])
        self.assertEqual(differences(recorded_runs(), new), [])


class ComparisonTest(unittest.TestCase):
    """The comparison notices a record that is another."""

    def setUp(self):
        self.recorded = recorded_runs()
        self.new = copy.deepcopy(self.recorded)

    def elsewhere(self):
        self.new["made_on"]["cache"] = "of another processor"

    def test_a_digit_here(self):
        self.new["runs"]["kd"]["weights"]["sha256"] = "0" * 64
        self.assertRegex(differences(self.recorded, self.new)[0], "kd: weights is")

    def test_a_digit_elsewhere_is_no_difference(self):
        for run in self.new["runs"].values():
            run["weights"]["sha256"] = "0" * 64
            run["weights"]["each"] = [[shape, x * 1.00001, norm * 1.00001] for shape, x, norm in run["weights"]["each"]]
            for logs in run["history"].values():
                for name, values in logs.items():
                    logs[name] = [value if value is None else value * 1.0001 for value in values]
        self.elsewhere()
        self.assertEqual(differences(self.recorded, self.new), [])

    def test_another_plan_elsewhere(self):
        self.new["runs"]["uniform"]["plan"]["kept"].popitem()
        self.elsewhere()
        self.assertRegex(differences(self.recorded, self.new)[0], "uniform: the plan is")

    def test_other_weights_elsewhere(self):
        for which, what in ((1, "sums"), (2, "norms")):
            self.setUp()
            for each in self.new["runs"]["lit"]["weights"]["each"]:
                each[which] += 0.01 * each[2]
            self.elsewhere()
            self.assertRegex(differences(self.recorded, self.new)[0], f"lit: {what} of weights")

    def test_weights_of_other_shapes_elsewhere(self):
        self.new["runs"]["lit"]["weights"]["each"][0][0][0] += 1
        self.elsewhere()
        self.assertEqual(differences(self.recorded, self.new), ["lit: weights of other shapes"])

    def test_another_cost_elsewhere(self):
        self.new["runs"]["uniform"]["after"]["macs"] += 1
        self.elsewhere()
        self.assertEqual(differences(self.recorded, self.new), ["uniform: macs is another"])

    def test_another_history_elsewhere(self):
        for name, more in (("hint loss", 0.01), ("weight_decay", 0.01), ("val_accuracy", 0.3)):
            self.setUp()
            logs = self.new["runs"]["hint"]["history"]["recover"]
            logs[name] = [value + more for value in logs[name]]
            self.elsewhere()
            self.assertRegex(differences(self.recorded, self.new)[0], f"hint: recover, {name} is")

    def test_a_history_that_is_missing_elsewhere(self):
        del self.new["runs"]["lit"]["history"]["recover"]["fine-tuning loss"]
        self.elsewhere()
        self.assertRegex(differences(self.recorded, self.new)[0], "lit: the history of recover has")

    def test_a_run_that_is_missing(self):
        del self.new["runs"]["scratch"]
        self.assertRegex(differences(self.recorded, self.new)[0], "other runs")


if __name__ == "__main__":
    unittest.main()
