import ast
import pathlib

import tensorflow as tf

import tfcompress
from tfcompress.streams import Stream

SOURCES = sorted(pathlib.Path(tfcompress.__file__).parent.rglob("*.py"))
DRAWING = ("rng", "seed_layers")  # the calls that take a stream of a run's seed


def streams_in_numbers(tree):
    """The calls that draw from a stream of a run which stands there as a number."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [call for call in calls if getattr(call.func, "attr", getattr(call.func, "id", "")) in DRAWING]
    return [call for call in named if any(isinstance(arg, ast.Constant) for arg in call.args)]


class StreamTest(tf.test.TestCase):
    def test_the_numbers_that_seeded_runs_were_made_with(self):
        numbers = {"RATES": 1, "WORKING_COPY": 101, "STUDENT": 102, "STEP": 103, "FRESH_WEIGHTS": 104}
        numbers |= {"REGRESSOR": 106, "FRESH_LAYERS": 107, "STUDENTS": 108, "MOVES": 109}
        self.assertEqual({name: int(stream) for name, stream in Stream.__members__.items()}, numbers)

    def test_streams_are_named(self):
        self.assertLen(streams_in_numbers(ast.parse("task.rng(1)\nseed_layers(model, seed, 7)\ntask.rng(A)")), 2)
        for path in SOURCES:
            with self.subTest(path=path.name):
                self.assertEmpty(streams_in_numbers(ast.parse(path.read_text())))
