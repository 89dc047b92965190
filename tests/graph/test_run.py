import pathlib

import keras
import numpy as np
import tensorflow as tf

import tfcompress
from tfcompress.graph import LayerGraph, TensorRef
from tfcompress.graph.run import call, outputs_of, run

SOURCES = pathlib.Path(tfcompress.__file__).parent


def times(factor, name):
    """Multiplies one number a sample by a factor."""
    return keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(factor), name=name)


def two_inputs():
    """{"sum": 2 a + 3 (2 b), "last": 5 (2 a + 6 b)}: `double` is called twice, `triple` lies in a nested model."""
    a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
    double = times(2, "double")
    nested_input = keras.Input((1,), name="nested_input")
    nested = keras.Model(nested_input, times(3, "triple")(nested_input), name="nested")
    total = keras.layers.Add(name="total")([double(a), nested(double(b))])
    return keras.Model({"a": a, "b": b}, {"sum": total, "last": times(5, "five")(total)})


class RunTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.graph = LayerGraph.from_keras(two_inputs())
        numbers = {"a": np.full((1, 1), 7.0, "float32"), "b": np.full((1, 1), 11.0, "float32")}
        self.inputs = [numbers[ref.node] for ref in self.graph.input_refs]

    def outputs(self, **settings):
        return outputs_of(self.graph, run(self.graph, self.inputs, **settings))

    def test_every_tensor_and_the_outputs_in_their_structure(self):
        values = run(self.graph, self.inputs)
        self.assertEqual(set(values), {ref for node in self.graph.nodes.values() for ref in node.outputs})
        self.assertAllClose(values[TensorRef("double")], [[14.0]])
        self.assertAllClose(values[TensorRef("double@2")], [[22.0]])
        self.assertAllClose(values[TensorRef("triple")], [[66.0]])
        self.assertAllClose(outputs_of(self.graph, values), {"sum": [[80.0]], "last": [[400.0]]})

    def test_nodes_passed_over_give_what_they_read(self):
        self.assertAllClose(self.outputs(without=["triple"]), {"sum": [[36.0]], "last": [[180.0]]})
        self.assertAllClose(self.outputs(without=["triple", "five"]), {"sum": [[36.0]], "last": [[36.0]]})

    def test_a_step_of_ones_own(self):
        def step(node, tensor):
            return [2 * value for value in call(node, tensor)] if node.name == "triple" else call(node, tensor)

        self.assertAllClose(self.outputs(step=step), {"sum": [[146.0]], "last": [[730.0]]})  # 14 + 2 * 66

    def test_settings_of_a_call_take_precedence(self):
        inputs = keras.Input((1,))
        model = keras.Model(inputs, keras.layers.BatchNormalization(epsilon=0.0, name="bn")(inputs, training=True))
        node = LayerGraph.from_keras(model).nodes["bn"]
        batch = np.array([[1.0], [3.0]], "float32")
        self.assertAllClose(call(node, lambda ref: batch)[0], [[-1.0], [1.0]])
        node.operation.set_weights([np.ones(1), np.zeros(1), np.zeros(1), np.ones(1)])
        self.assertAllClose(call(node, lambda ref: batch, training=False)[0], batch)

    def test_no_other_module_walks_a_graph_and_calls_it(self):
        calling = {path.stem for path in SOURCES.rglob("*.py") if ".operation(*" in path.read_text()}
        self.assertEqual(calling, {"run"})
