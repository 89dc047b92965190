"""A compression that is killed at any moment goes on after its last finished epoch and ends as if nothing had been.

Set TFCOMPRESS_TEST_SEED to repeat the moments of an earlier test run; a failure says which seed it had.
"""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest
import tensorflow as tf

from tfcompress.training import Checkpoints

SCRIPT = pathlib.Path(__file__).with_name("killed_run.py")
ROOT = SCRIPT.parents[2]

# Stages of RLAL's run: how many kills, in which of its parts, at which kind of place.
STAGES = (
    ("preparation", 1, r"write run|write before|joint training, start", ".*"),
    ("weights only", 1, r"joint training, epoch 1", ".*"),
    ("filling the buffer", 1, r"joint training, epoch 2", ".*"),
    ("learning", 2, r"joint training, epoch [34]", ".*"),
    ("alignment, writing a checkpoint", 1, r"joint training, epoch [56]", "sync|remove"),
    ("from search to recovery", 1, r"joint-training, finish|save source|write search|verify|fine-tuning, start", ".*"),
    ("fine-tuning", 2, r"fine-tuning, epoch .", ".*"),
    ("result", 1, r"fine-tuning, finish|report|result|calibration, finish", ".*"),
)
# One kill for each; the two in which the agent does not learn yet have one together.
SHORTER = (
    STAGES[0],
    ("weights only, or filling the buffer", 1, r"joint training, epoch [12]", ".*"),
    *((name, 1, which, kinds) for name, _, which, kinds in STAGES[3:]),
)
JOINT_EPOCHS, FINETUNE_EPOCHS = 6, 3


class Processes:
    """Starts `killed_run.py`, which forks a process for each job."""

    def __init__(self):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{SCRIPT.name} did not start")

    def run(self, **job):
        self._process.stdin.write(f"{json.dumps(job)}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self):
        self._process.kill()
        self._process.communicate()


_processes = None


def setUpModule():
    global _processes
    _processes = Processes()


def tearDownModule():
    _processes.end()


class Run:
    """A run in a folder, by one process after the other."""

    def __init__(self, folder, method):
        self.folder, self.method = folder, method
        searches = {
            "rlal": {"joint training": JOINT_EPOCHS},
            "rlal on fixed weights": {"search": 2},
            "amc": {"search": 2},
            "uniform": {"training after step 1": 2},
            "taylor": {"run 1 of pruning": 2, "run 2 of pruning": 2},
            "lit": {"training of sections": 3},
            "trained_students": {"student 1": 2, "student 2": 2},
        }
        self._phases = {**searches.get(method, {}), "fine-tuning": 2 if method == "uniform" else FINETUNE_EPOCHS}
        if method == "darc":
            self._phases = {"imitation": 1, "block 1": 2, "block 2": 2}
            self._phases |= {f"fine-tuning of snapshot {number}": 1 for number in (1, 2)}
        if method == "n2n":  # students have no checkpoints, each is scored whole
            self._phases = {"training of the winner": 3}

    def start(self, kill_at=None, copy_at=None):
        """Runs until the end or until it is killed; returns the exit code."""
        return _processes.run(method=self.method, folder=str(self.folder), kill_at=kill_at, copy_at=copy_at)

    @property
    def printed(self):
        return (self.folder / "printed").read_text()

    @property
    def places(self):
        """Where the last process came by: pairs of the part of the run and the place."""
        return [(line.split(":")[0], line) for line in (self.folder / "places").read_text().splitlines()]

    @property
    def begun(self):
        """The epochs that the last process began, counted from 1 through all phases."""
        begun = [part.split(", epoch ") for part, place in self.places if place.endswith(": begin 1")]
        return [self._count(phase, epoch) for phase, epoch in begun if phase in self._phases]

    def _count(self, phase, epoch):
        names = list(self._phases)
        return sum(self._phases[name] for name in names[: names.index(phase)]) + int(epoch)

    @property
    def finished(self):
        """How many epochs are finished by what the run folder says."""
        total = 0
        for phase, epochs in self._phases.items():
            names = [path.name for path in self.checkpoints(phase).folder.glob("*")]
            stored = [int(name[6:]) for name in names if re.fullmatch(r"epoch-\d+", name)]
            total += epochs if "finished" in names else max(stored, default=0)
        return total

    def checkpoints(self, phase):
        return Checkpoints(self.folder / "run" / "checkpoints" / phase.replace(" ", "-"))

    def outcome(self):
        """Everything that came out: what `compress` returned, what it saved, and the last state of each phase."""
        result = self.folder / "run" / "result"
        outcome = json.loads((self.folder / "outcome.json").read_text())
        outcome["saved"] = json.loads((result / "result.json").read_text())
        outcome["saved"]["history"]["search"].pop("students: seconds", None)
        outcome["saved trail"] = (result / "trail.json").read_text()
        for phase in self._phases:
            last = self.checkpoints(phase).latest()
            assert last.finished
            outcome |= {f"{phase}: {name}": tensor.tobytes() for name, tensor in last.tensors.items()}
        return outcome


class KilledRunTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.seed = int(os.environ.get("TFCOMPRESS_TEST_SEED", random.SystemRandom().randrange(10**6)))
        cls.root = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    @classmethod
    def new_run(cls, name, method):
        return Run(cls.root / name, method)

    def finish(self, run, **job):
        self.assertEqual(run.start(**job), 0, run.printed)
        return run.outcome()

    def kill(self, run, place):
        """Kills the run at a place, and checks that it had gone on where it had to, and lost one epoch at most."""
        before = run.finished
        self.assertEqual(run.start(kill_at=place), -signal.SIGKILL, f"{place} was not reached:\n{run.printed}")
        self.assertEqual(run.places[-1][1], place)
        self.assert_continued(run, before)
        self.assertGreaterEqual(run.finished, max([before, *(epoch - 1 for epoch in run.begun)]))

    def assert_continued(self, run, before):
        """The last process began with the epoch after the `before` finished ones, and left none out."""
        self.assertEqual(run.begun, list(range(before + 1, before + 1 + len(run.begun))))

    def assert_same(self, outcome, expected):
        self.assertEqual(set(outcome), set(expected))
        differing = [name for name in expected if outcome[name] != expected[name]]
        self.assertEmpty(differing)


class RLALTest(KilledRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.whole = cls.new_run("whole", "rlal")
        # Two checkpoints are there at this place, and the agent has learned.
        code = cls.whole.start(copy_at="joint training, epoch 4: learn 2")
        if code:
            raise RuntimeError(f"the uninterrupted run ended with {code}:\n{cls.whole.printed}")
        cls.expected = cls.whole.outcome()

    def moments(self, stages):
        """Places over all stages of the run, in their order."""
        rng = random.Random(self.seed)
        parts = {}
        for part, place in self.whole.places:
            parts.setdefault(part, []).append(place)
        moments = []
        for _, count, which, kinds in stages:
            names = [part for part in parts if re.fullmatch(which, part)]
            # No two of one part: what was written before the first kill would not be written again.
            for part in sorted(rng.sample(names, count), key=names.index):
                moments.append(rng.choice([p for p in parts[part] if re.fullmatch(rf"{part}: ({kinds}) \d+", p)]))
        return moments

    def test_the_uninterrupted_run_has_all_phases(self):
        self.assertEqual(self.whole.begun, list(range(1, JOINT_EPOCHS + FINETUNE_EPOCHS + 1)))
        history = self.expected["history"]["search"]
        episodes, learning = [1, 2, 3], [2, 3]
        self.assertEqual([i for i, reward in enumerate(history["reward"]) if reward is not None], episodes)
        self.assertEqual([i for i, loss in enumerate(history["critic_loss"]) if loss is not None], learning)
        self.assertGreater(history["alignment"][-1], 0)
        self.assertGreater(len(set(history["reward_best"][1:4])), 1)
        self.assertLen(self.expected["history"]["recover"]["loss"], FINETUNE_EPOCHS)
        self.assertLen(self.moments(STAGES), 10)

    def test_killed_in_each_stage(self):
        self.check_killed(self.moments(SHORTER))

    @pytest.mark.slow
    def test_killed_at_ten_moments(self):
        self.check_killed(self.moments(STAGES))

    def check_killed(self, moments):
        run = self.new_run(f"killed {len(moments)} times", "rlal")
        print(f"TFCOMPRESS_TEST_SEED={self.seed} kills at: {'; '.join(moments)}")
        for place in moments:
            with self.subTest(seed=self.seed, place=place):
                self.kill(run, place)
        with self.subTest(seed=self.seed):
            before = run.finished
            outcome = self.finish(run)
            self.assert_continued(run, before)
            self.assertEqual(run.finished, JOINT_EPOCHS + FINETUNE_EPOCHS)
            self.assert_same(outcome, self.expected)

    @pytest.mark.slow
    def test_a_damaged_checkpoint_costs_one_more_epoch_and_is_said(self):
        run = self.new_run("damaged", "rlal")
        shutil.copytree(self.whole.folder / "copy", run.folder / "run")
        self.assertEqual(run.finished, 3)
        (file,) = (run.checkpoints("joint training").folder / "epoch-00003").glob("tensors.data*")
        content = bytearray(file.read_bytes())
        for position in range(0, len(content), 1000):
            content[position] ^= 1
        file.write_bytes(content)
        outcome = self.finish(run)
        self.assert_continued(run, 2)
        self.assertRegex(run.printed, "epoch-00003 is damaged .* epoch-00002, is used instead")
        self.assertIn("joint training: going on with epoch 3 of 6", run.printed)
        self.assert_same(outcome, self.expected)

    def test_a_finished_run_returns_at_once(self):
        run = self.new_run("again", "rlal")
        shutil.copytree(self.whole.folder / "run", run.folder / "run")
        outcome = self.finish(run)
        self.assertEmpty([place for _, place in run.places if re.search(": (begin|step|act|learn) ", place)])
        self.assertIn("the search was finished before", run.printed)
        self.assertIn("fine-tuning: finished before", run.printed)
        self.assert_same(outcome, self.expected)


class BaselinesTest(KilledRunTest):
    def check(self, method, during_search=(), last=3, between=True):
        """Kills a run in its search, between search and recovery (as RLAL's own test does too), and in fine-tuning."""
        expected = self.finish(self.new_run(f"{method} whole", method))
        run, rng = self.new_run(method, method), random.Random(self.seed)
        moments = [
            *during_search,
            *([rng.choice(["save source: save 1", "save source: sync 2", "write search: sync 1"])] * between),
            f"fine-tuning, epoch {rng.choice([2, last])}: {rng.choice(['begin 1', 'step 3', 'end 1', 'sync 2'])}",
        ]
        self.assert_same_though_killed(run, moments, expected)
        return expected

    def assert_same_though_killed(self, run, moments, expected):
        """A run that is killed at one place after the other goes on each time, and ends as the uninterrupted one."""
        with self.subTest(seed=self.seed, places=moments):
            for place in moments:
                self.kill(run, place)
            before = run.finished
            outcome = self.finish(run)
            self.assert_continued(run, before)
            self.assert_same(outcome, expected)

    def test_uniform_in_two_steps(self):
        """The source of the last step is smaller than the model, and so are its checkpoints."""
        history = self.check("uniform", ["training after step 1, epoch 2: step 2"], last=2, between=False)["history"]
        self.assertLen(history["search"]["loss"], 2)

    @pytest.mark.slow
    def test_a_search_that_returns_candidates_with_weights(self):
        """The best of them is the student; the others are there too, each with the weights that it was trained to."""
        moments = ["student 2, epoch 2: step 2", "save candidate-2: save 1"]
        expected = self.check("trained_students", moments)
        self.assertLen({weights for _, _, weights in expected["candidates"]} - {None}, 2)

    @pytest.mark.slow  # its places are those of the test of uniform, its search is part of no epoch
    def test_random(self):
        rewards = self.check("random")["history"]["search"]["reward"]
        self.assertLen(rewards, 3)
        self.assertGreater(len(set(rewards)), 1)

    @pytest.mark.slow
    def test_amc_in_its_search(self):
        """Killed in the first round, in the second, and when its agent is written at the end."""
        moments = ["search of an agent: episode 7", "search of an agent: episode 15", "search, finish: sync 2"]
        history = self.check("amc", moments)["history"]["search"]
        self.assertLen(history["reward"], 20)
        self.assertGreater(len(set(history["reward"])), 1)

    def test_rlal_on_fixed_weights(self):
        """Killed in the second round of its search, and before channels move."""
        moments = ["search of an agent: episode 15", "moves of channels: move 1"]
        history = self.check("rlal on fixed weights", moments)["history"]["search"]
        self.assertLen(history["reward"], 20)
        self.assertGreater(len(set(history["reward"])), 1)
        self.assertEqual([loss is None for loss in history["critic_loss"]], [True] * 2 + [False] * 18)
        self.assertLen(history["local_search"], 3)

    @pytest.mark.slow
    def test_taylor_in_both_of_its_runs(self):
        """Killed between the updates of a step, when a step is written, and when a run is; it goes on with that step."""
        moments = [
            "run 1 of pruning, epoch 2: begin 1",
            "updates, epoch 1: step 3",
            "run-1-of-pruning, finish: sync 2",
            "run 2 of pruning, epoch 2: begin 1",
        ]
        history = self.check("taylor", moments)["history"]["search"]
        self.assertEqual((history["run"], history["step"]), ([1, 1, 2, 2], [1, 2, 1, 2]))

    @pytest.mark.slow
    def test_n2n_in_both_stages_and_in_the_training_of_the_winner(self):
        """What was scored is not scored again, a student that was being trained is; policies learn anew."""
        expected = self.finish(self.new_run("n2n whole", "n2n"))
        run, rng = self.new_run("n2n", "n2n"), random.Random(self.seed)
        moments = [
            f"removal, epoch 1: {rng.choice(['begin 1', 'step 3', 'end 1'])}",
            "record of a student: record 1",
            f"shrinkage, epoch 1: {rng.choice(['begin 1', 'step 3', 'end 1'])}",
            f"training of the winner, epoch {rng.choice([1, 2, 3])}: {rng.choice(['step 3', 'end 1', 'sync 2'])}",
        ]
        self.assert_same_though_killed(run, moments, expected)
        search = expected["history"]["search"]
        self.assertEqual(search["students: stage"], ["removal"] * 2 + ["shrinkage"] * 2)
        self.assertGreater(len(set(search["students: reward"])), 2)

    @pytest.mark.slow
    def test_darc_in_all_phases(self):
        """Relaxed networks and snapshots are built anew from the stored weights of each phase, those of two blocks too."""
        expected = self.finish(self.new_run("darc whole", "darc"))
        run, rng = self.new_run("darc", "darc"), random.Random(self.seed)
        moments = [
            f"{part}: {rng.choice(['begin 1', 'step 3', 'end 1', 'sync 2'])}"
            for part in (
                "imitation, epoch 1",
                f"block 2, epoch {rng.choice([1, 2])}",
                f"fine-tuning of snapshot {rng.choice([1, 2])}, epoch 1",
            )
        ]
        self.assert_same_though_killed(run, moments, expected)
        self.assertEqual(run.finished, 7)
        search = expected["history"]["search"]
        self.assertLess(search["block 2: alternatives"][-1], search["block 1: alternatives"][-1])
        weights = [digest for _, _, digest in expected["candidates"]]
        self.assertLen({*weights, None}, 3)  # of both snapshots
        self.assertIn(expected["weights"], weights)

    def test_lit_in_both_phases(self):
        """Its source is never stored: the student is made anew, and what it begins with with it."""
        expected = self.finish(self.new_run("lit whole", "lit"))
        run, rng = self.new_run("lit", "lit"), random.Random(self.seed)
        moments = [
            f"{phase}, epoch {rng.choice([1, 2, 3])}: {rng.choice(['begin 1', 'step 3', 'end 1', 'sync 2'])}"
            for phase in ("training of sections", "fine-tuning")
        ]
        with self.subTest(seed=self.seed, places=moments):
            for place in moments:
                self.kill(run, place)
            before = run.finished
            self.assertGreaterEqual(before, 3)
            outcome = self.finish(run)
            self.assert_continued(run, before)
            self.assertEqual(run.finished, 6)
            self.assert_same(outcome, expected)
        self.assertLen(expected["history"]["recover"]["loss_hints"], 3)


if __name__ == "__main__":
    tf.test.main()
