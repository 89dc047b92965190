"""A part of the random graphs: `random_graphs_in_full.py` builds as many as one likes.

Each is cut by a random plan, and the masked original, the predicted cost and the saved file are compared with it.
"""

import re
import sys
from unittest import mock

import keras
import random_graphs
import tensorflow as tf
from random_graphs import Draft, runs
from random_graphs.checks import floats
from random_graphs.programs import Step

_INPUTS = ("image", "sequence", "vector", "volume", "text")


class RandomGraphsTest(tf.test.TestCase):
    def test_random_graphs(self):
        seen = random_graphs.Seen()
        for seed in range(2):
            with self.subTest(seed=seed):
                random_graphs.run_batch(seed, seen)
        # Most of them have something to cut, and cutting is felt.
        self.assertGreater(seen.felt, seen.graphs / 3)

    def test_with_structural_edits(self):
        seen = random_graphs.Seen()
        for seed in range(2):
            with self.subTest(seed=seed):
                random_graphs.run_batch(seed, seen, structural=True)
        self.assertGreaterEqual(seen.structural, 16)
        self.assertGreater(seen.both, seen.graphs / 4)
        self.assertGreater(seen.compared, seen.graphs / 4)
        for kind in ("RemoveLayers", "ReplaceLayers", "Reconfigure", "KeepChannels", "fresh"):
            self.assertGreater(seen.edits[kind], 0, kind)

    def test_every_operation_can_occur(self):
        for name in random_graphs.OPERATIONS:
            with self.subTest(name):
                inner = (Step("dense"),) if name == "nested" else ()
                # Some need 4 channels, or something to call again.
                before = {"again": (Step("dense"),), "merge_of_ranks": (Step("global_pooling"),)}.get(name, ())
                steps = (*before, Step(name, 0, (0,) * 7, inner))
                inputs = (((kind, 2),) for kind in _INPUTS)
                self.assertTrue(any(name in random_graphs.write(Draft(i, steps)).used for i in inputs))


class ProgramTest(tf.test.TestCase):
    draft = Draft(
        (("image", 3),),
        (Step("conv2d", 0, (3,)), Step("squeeze_excite"), Step("split"), Step("again", 3), Step("nested", 1)),
        cuts=(2, 5),
        through_norms=True,
    )

    def test_a_program_builds_the_model_and_the_plan_again(self):
        written = random_graphs.write(self.draft)
        self.assertEqual(keras.layers.Dense(1).dtype, "float32")  # as before
        config, path = written.model.get_config(), list(sys.path)
        space = {}
        with mock.patch.object(random_graphs, "check") as check, floats():
            keras.backend.clear_session(free_memory=False)
            exec(written.program, space)
        sys.path[:] = path
        (model, plan), options = check.call_args
        self.assertEqual(model.get_config(), config)
        self.assertEqual(plan, written.plan)
        self.assertEqual(options, {"through_norms": True})
        self.assertGreater(len(plan), 0)

    def test_a_failure_comes_with_the_smallest_program(self):
        """A check that fails where a recurrent layer is cut: what is left is that layer, and what must be around it."""

        def check(model, plan, through_norms):
            kinds = {layer.name: type(layer).__name__ for layer in model.layers}
            cut = [kinds.get(edit.group) for edit in plan]
            assert not {"LSTM", "GRU", "SimpleRNN"}.intersection(cut), f"cut {len(cut)}"

        with mock.patch.object(runs, "check", check), self.assertRaises(random_graphs.Failure) as caught:
            for seed in range(10):
                random_graphs.run_batch(seed)
        program = str(caught.exception).split("set_floatx")[1]
        # 2 units or, where the last cut that went was the first to be lowered, a few more. (Which graph fails first depends
        # on the modules that are loaded: hypothesis draws constants that it finds in them.)
        self.assertRegex(program, r"layers\.(LSTM|GRU|SimpleRNN)\([2-5],")
        tensors = re.findall(r"^t\d+.* = ", program, re.MULTILINE)
        self.assertLessEqual(len(tensors), 4, program)
        (kept,) = re.findall(r"Plan.keeping\((.*)\)", program)
        self.assertEqual(kept.count(":"), 1)


if __name__ == "__main__":
    tf.test.main()
