import keras
import tensorflow as tf
from keras import layers

from tfcompress.graph import LayerGraph, cut_points
from tfcompress.graph.regions import between, dominates, immediate_dominators, segments_of


def diamond():
    """in -> a -> (b -> c, d) -> sum -> e."""
    a = layers.Dense(3, name="a")(keras.Input((3,), name="in"))
    c = layers.Dense(3, name="c")(layers.Dense(3, name="b")(a))
    total = layers.Add(name="sum")([c, layers.Dense(3, name="d")(a)])
    e = layers.Dense(3, name="e")(total)
    return LayerGraph.from_keras(keras.Model(a._keras_history.operation.input, e))


class RegionsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.graph = diamond()
        self.dominators = immediate_dominators(self.graph)

    def test_dominators(self):
        expected = {"in": None, "a": "in", "b": "a", "c": "b", "d": "a", "sum": "a", "e": "sum"}
        self.assertEqual(self.dominators, expected)
        self.assertTrue(dominates("a", "e", self.dominators))
        self.assertTrue(dominates("e", "e", self.dominators))
        self.assertFalse(dominates("d", "e", self.dominators))

    def test_between(self):
        self.assertEqual(set(between(self.graph, "sum", "a")), {"b", "c", "d", "sum"})
        self.assertEqual(between(self.graph, "c", "a"), ("b", "c"))
        self.assertEqual(set(between(self.graph, "c")), {"in", "a", "b", "c"})
        order = list(self.graph.nodes)
        names = between(self.graph, "e")
        self.assertEqual(sorted(names, key=order.index), list(names))

    def test_cut_points_and_the_segments_between_them(self):
        self.assertEqual(cut_points(self.graph), ("in", "a", "sum", "e"))
        segments = segments_of(self.graph)
        self.assertEqual(
            [(segment.entry, segment.exit) for segment in segments], [("in", "a"), ("a", "sum"), ("sum", "e")]
        )
        self.assertEqual({node.name for node in segments[1].nodes}, {"b", "c", "d", "sum"})
        self.assertFalse(segments[1].is_residual)  # both branches have layers
