"""A flow that is killed in any of its stages goes on in that stage, and ends as if nothing had been."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile

import pytest
import tensorflow as tf

SCRIPT = pathlib.Path(__file__).with_name("killed_flow.py")
ROOT = SCRIPT.parents[2]
# Two epochs of two steps each in the first two stages; the second result to be saved in the last is the flow's own.
# Killed are a stage between its training and its result, one within its training, and one when all is reported.
KILLS = ("1 of 3: drops: save 1", "2 of 3: uniform: step 3", "3 of 3: rounds: report 1")


class KilledFlowTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.root = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        cls.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        cls.addClassCleanup(cls.process.communicate)
        cls.addClassCleanup(cls.process.kill)
        if cls.process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{SCRIPT.name} did not start")
        cls.expected = cls.outcome(cls.root / "whole")
        cls.passed = (cls.root / "whole" / "places").read_text().splitlines()

    @classmethod
    def start(cls, folder, kill_at=None):
        """Runs until the end or until it is killed; returns the exit code."""
        cls.process.stdin.write(f"{json.dumps({'folder': str(folder), 'kill_at': kill_at})}\n")
        cls.process.stdin.flush()
        return int(cls.process.stdout.readline())

    @classmethod
    def outcome(cls, folder):
        if code := cls.start(folder):
            raise RuntimeError(f"the run ended with {code}:\n{(folder / 'printed').read_text()}")
        return json.loads((folder / "outcome.json").read_text())

    def check(self, folder, kills):
        begun = 1
        for place in kills:
            with self.subTest(place=place):
                self.assertEqual(self.start(folder, place), -signal.SIGKILL, (folder / "printed").read_text())
                places = (folder / "places").read_text().splitlines()
                stages = [int(name[0]) for name in places if name.endswith(": begin 1")]
                self.assertEqual(stages[0] if stages else begun, begun)  # no finished stage is begun again
                if stages:
                    begun = stages[-1]
        self.assertEqual(self.outcome(folder), self.expected)
        return begun

    def test_killed_in_each_stage(self):
        folder = self.root / "killed"
        self.check(folder, KILLS)
        printed = (folder / "printed").read_text()
        for said in ("stage 1 of 3, drops: finished before", "stage 2 of 3, uniform: finished before"):
            self.assertIn(said, printed)
        self.assertNotIn("epoch 1", printed)

    @pytest.mark.slow
    def test_killed_at_twelve_moments(self):
        """Set TFCOMPRESS_TEST_SEED to repeat those of an earlier test run."""
        seed = int(os.environ.get("TFCOMPRESS_TEST_SEED", random.SystemRandom().randrange(10**6)))
        rng = random.Random(seed)
        moments = sorted(rng.sample(range(len(self.passed)), 12))
        print(f"TFCOMPRESS_TEST_SEED={seed}")
        for moment in moments:  # each in a folder of its own: what was written before is not written again
            place = self.passed[moment]
            folder = self.root / f"at {moment}"
            with self.subTest(seed=seed, place=place):
                self.assertEqual(self.start(folder, place), -signal.SIGKILL)
                self.assertEqual(self.outcome(folder), self.expected)
