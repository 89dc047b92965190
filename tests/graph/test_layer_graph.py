"""A Keras model is read as nodes and edges: names, order, arguments, shapes, nested models, shared calls."""

import keras
import numpy as np
import tensorflow as tf
import topologies
from keras import layers, ops

from tfcompress.costs import cost
from tfcompress.graph import LayerGraph, TensorRef
from tfcompress.plan import Plan
from tfcompress.rewrite import apply


def described(graph):
    """`(name, layer name, class, names of the nodes read)` of every node."""
    return [
        (node.name, node.layer_name, node.type_name, [ref.node for ref in node.inputs]) for node in graph.nodes.values()
    ]


class ReadingTest(tf.test.TestCase):
    def test_a_nested_model_that_is_handed_a_mask(self):
        inner = keras.Sequential([keras.Input((5, 4)), layers.LSTM(3, name="lstm")], name="inner")
        x = keras.Input((5, 4))
        model = keras.Model(x, inner(layers.Masking(name="masking")(x)))
        self.assertIn("mask", inner._inbound_nodes[-1].arguments.kwargs)
        graph = LayerGraph.from_keras(model)
        self.assertEqual([ref.node for ref in graph.nodes["lstm"].inputs][:1], ["masking"])
        steps = np.random.default_rng(0).random((3, 5, 4), "float32")
        steps[:, 3:] = 0
        lstm = inner.get_layer("lstm")
        self.assertAllClose(apply(model, Plan())(steps), lstm(steps[:, :3]), atol=1e-6)

    def test_sizes_that_a_layer_does_not_say_of_itself(self):
        x = keras.Input((6, 4))
        scores = layers.EinsumDense("abc,cd->abd", output_shape=(None, 8), name="scores")(x)
        self.assertEqual(scores.shape, (None, None, 8))
        model = keras.Model(x, layers.Dense(2, name="dense")(scores))
        self.assertEqual(LayerGraph.from_keras(model).shape(TensorRef("dense")), (None, 6, 2))
        self.assertEqual(cost(model).macs, 6 * (4 * 8 + 8 * 2))

    def test_chain(self):
        x = keras.Input((6, 5, 3), name="image")
        y = layers.Conv2D(5, 3, name="conv")(x)
        y = layers.Flatten(name="flat")(y)
        model = keras.Model(x, layers.Dense(2, name="dense")(y), name="chain")
        graph = LayerGraph.from_keras(model)
        self.assertEqual(graph.name, "chain")
        self.assertEqual(
            described(graph),
            [
                ("image", "image", "InputLayer", []),
                ("conv", "conv", "Conv2D", ["image"]),
                ("flat", "flat", "Flatten", ["conv"]),
                ("dense", "dense", "Dense", ["flat"]),
            ],
        )
        self.assertEqual(graph.inputs, TensorRef("image"))
        self.assertEqual(graph.outputs, TensorRef("dense"))
        self.assertEqual((graph.input_refs, graph.output_refs), ((TensorRef("image"),), (TensorRef("dense"),)))
        self.assertEqual([node.is_input for node in graph.nodes.values()], [True, False, False, False])
        self.assertEqual(graph.shape(TensorRef("conv")), (None, 4, 3, 5))
        self.assertEqual(graph.nodes["flat"].input_shapes, ((None, 4, 3, 5),))
        self.assertEqual(graph.nodes["flat"].output_shapes, ((None, 60),))
        self.assertEqual(graph.readers[TensorRef("conv")], ("flat",))
        self.assertNotIn(TensorRef("dense"), graph.readers)
        self.assertIs(graph.nodes["conv"].operation, model.get_layer("conv"))
        self.assertIs(graph.operations["dense"], model.get_layer("dense"))

    def test_a_diamond_has_one_node_for_each_call(self):
        x = keras.Input((3,), name="x")
        y = layers.Dense(4, name="stem")(x)
        left, right = layers.Dense(4, name="left")(y), layers.Dense(4, name="right")(y)
        graph = LayerGraph.from_keras(keras.Model(x, layers.Add(name="sum")([left, right])))
        self.assertEqual(
            described(graph)[1:],
            [
                ("stem", "stem", "Dense", ["x"]),
                ("left", "left", "Dense", ["stem"]),
                ("right", "right", "Dense", ["stem"]),
                ("sum", "sum", "Add", ["left", "right"]),
            ],
        )
        self.assertEqual(graph.readers[TensorRef("stem")], ("left", "right"))

    def test_arguments_keep_what_is_no_tensor(self):
        x = keras.Input((6, 5, 3), name="x")
        y = ops.pad(x[:, ::2, 1:], [[0, 0], [0, 0], [1, 0], [0, 2]])
        y = layers.Dropout(0.5, name="drop")(y, training=True)
        graph = LayerGraph.from_keras(keras.Model(x, y))
        _, take, pad, drop = graph.nodes.values()
        self.assertEqual(take.args, (TensorRef("x"), (slice(None), slice(None, None, 2), slice(1, None))))
        self.assertEqual((take.type_name, pad.type_name), ("GetItem", "Pad"))
        self.assertEqual(pad.inputs, (TensorRef(take.name),))
        self.assertEqual(pad.output_shapes, ((None, 3, 5, 5),))
        self.assertEqual(drop.kwargs["training"], True)

    def test_an_operation_with_several_outputs(self):
        x = keras.Input((6,), name="x")
        first, second, _ = ops.split(x, 3, axis=-1)
        graph = LayerGraph.from_keras(keras.Model(x, layers.Add(name="sum")([second, first])))
        split = list(graph.nodes)[1]
        self.assertEqual(graph.nodes[split].outputs, tuple(TensorRef(split, i) for i in range(3)))
        self.assertEqual(graph.nodes["sum"].inputs, (TensorRef(split, 1), TensorRef(split, 0)))
        self.assertEqual(graph.readers[TensorRef(split, 1)], ("sum",))
        self.assertNotIn(TensorRef(split, 2), graph.readers)

    def test_layers_that_do_not_lead_to_an_output_are_left_out(self):
        x = keras.Input((3,), name="x")
        y = layers.Dense(4, name="kept")(x)
        layers.Dense(5, name="dangling")(y)
        self.assertEqual(list(LayerGraph.from_keras(keras.Model(x, y)).nodes), ["x", "kept"])

    def test_a_part_of_a_larger_model(self):
        x = keras.Input((3,), name="x")
        middle = layers.Dense(4, name="middle")(layers.Dense(5, name="before")(x))
        keras.Model(x, layers.Dense(2, name="after")(middle))
        self.assertEqual(list(LayerGraph.from_keras(keras.Model(x, middle)).nodes), ["x", "before", "middle"])

    def test_structure_of_inputs_and_outputs(self):
        graph = topologies.build("dict_inputs_and_outputs").groups.graph
        self.assertEqual(graph.inputs, {"photo": TensorRef("photo"), "facts": TensorRef("facts")})
        self.assertEqual(graph.outputs, {"scores": TensorRef("scores"), "more": {"vector": TensorRef("vector")}})
        self.assertEqual(set(graph.input_refs), {TensorRef("photo"), TensorRef("facts")})

    def test_sequential_models_built_early_and_late(self):
        early = keras.Sequential([keras.Input((3,)), layers.Dense(5, name="a"), layers.Dense(2, name="b")], name="two")
        late = keras.Sequential([layers.Dense(5, name="a"), layers.Dense(2, name="b")], name="two")
        late.build((None, 3))
        for model in (early, late):
            graph = LayerGraph.from_keras(model)
            self.assertEqual(graph.name, "two")
            self.assertEqual(list(graph.nodes)[1:], ["a", "b"])
            self.assertEqual(graph.shape(graph.input_refs[0]), (None, 3))


class NestedAndSharedTest(tf.test.TestCase):
    def test_nested_models_are_flattened(self):
        inner_input = keras.Input((4,))
        inner = keras.Model(inner_input, layers.ReLU(name="relu")(layers.Dense(5, name="hidden")(inner_input)))
        middle = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="last")], name="middle")
        x = keras.Input((3,), name="x")
        y = middle(layers.Dense(4, name="first")(x))
        graph = LayerGraph.from_keras(keras.Model(x, y))
        self.assertEqual(
            described(graph),
            [
                ("x", "x", "InputLayer", []),
                ("first", "first", "Dense", ["x"]),
                ("hidden", "hidden", "Dense", ["first"]),
                ("relu", "relu", "ReLU", ["hidden"]),
                ("last", "last", "Dense", ["relu"]),
            ],
        )

    def test_a_layer_called_twice_is_one_operation_with_two_nodes(self):
        shared = layers.Dense(4, name="shared")
        x = keras.Input((4,), name="x")
        graph = LayerGraph.from_keras(keras.Model(x, shared(shared(x))))
        self.assertEqual(
            described(graph)[1:],
            [("shared", "shared", "Dense", ["x"]), ("shared@2", "shared", "Dense", ["shared"])],
        )
        self.assertEqual(list(graph.operations), ["x", "shared"])
        self.assertIs(graph.nodes["shared"].operation, graph.nodes["shared@2"].operation)

    def test_a_nested_model_called_twice(self):
        left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
        tower_input = keras.Input((3,))
        tower = keras.Model(tower_input, layers.ReLU(name="relu")(layers.Dense(5, name="dense")(tower_input)))
        graph = LayerGraph.from_keras(
            keras.Model([left, right], layers.Subtract(name="difference")([tower(right), tower(left)]))
        )
        self.assertEqual(graph.inputs, [TensorRef("left"), TensorRef("right")])
        self.assertEqual(
            described(graph)[2:],
            [
                ("dense", "dense", "Dense", ["right"]),
                ("relu", "relu", "ReLU", ["dense"]),
                ("dense@2", "dense", "Dense", ["left"]),
                ("relu@2", "relu", "ReLU", ["dense@2"]),
                ("difference", "difference", "Subtract", ["relu", "relu@2"]),
            ],
        )

    def test_a_nested_model_with_dict_inputs_and_two_outputs(self):
        inner_inputs = {"b": keras.Input((3,), name="b"), "a": keras.Input((4,), name="a")}
        inner_outputs = [layers.Dense(5, name="from_b")(inner_inputs["b"]), inner_inputs["a"]]
        inner = keras.Model(inner_inputs, inner_outputs)
        p, q = keras.Input((4,), name="p"), keras.Input((3,), name="q")
        first, second = inner({"a": p, "b": q})
        graph = LayerGraph.from_keras(keras.Model([p, q], layers.Concatenate(name="join")([second, first])))
        self.assertEqual(graph.nodes["from_b"].inputs, (TensorRef("q"),))
        self.assertEqual(graph.nodes["join"].inputs, (TensorRef("p"), TensorRef("from_b")))

    def test_names_that_collide_are_prefixed_and_the_models_own_layers_keep_theirs(self):
        model, groups, _ = topologies.build("names_that_collide")
        operations = groups.graph.operations
        self.assertIs(operations["conv"], model.get_layer("conv"))
        self.assertIs(operations["first_conv"], model.get_layer("first").get_layer("conv"))
        second = model.get_layer("second")
        self.assertIs(operations["second_conv"], second.get_layer("conv"))
        self.assertIs(operations["deep_conv"], second.get_layer("deep").get_layer("conv"))

    def test_training_mode_of_a_nested_call_reaches_its_layers(self):
        inner_input = keras.Input((4,))
        y = layers.Dropout(0.5, name="drop")(layers.BatchNormalization(name="norm")(inner_input))
        inner = keras.Model(inner_input, layers.ReLU(name="relu")(y))
        x = keras.Input((4,), name="x")
        for training in (True, False):
            graph = LayerGraph.from_keras(keras.Model(x, inner(x, training=training)))
            self.assertEqual([graph.nodes[n].kwargs["training"] for n in ("norm", "drop")], [training] * 2)
            self.assertNotIn("training", graph.nodes["relu"].kwargs)

    def test_shapes_inside_a_model_for_any_size_follow_from_those_outside(self):
        """The way out that the message names: a model for images of any size, put behind one size."""
        any_size = keras.Input((None, None, 3))
        y = layers.MaxPooling2D(2, name="pool")(layers.Conv2D(5, 3, name="first")(any_size))
        inner = keras.Model(any_size, ops.relu(layers.Conv2D(7, 1, name="second")(y)), name="inner")
        deep = keras.Sequential([keras.Input((None, None, 3)), inner], name="deep")
        with self.assertRaisesRegex(ValueError, r"static shapes.*input_shape=\(height, width, channels\)"):
            cost(inner)
        x = keras.Input((8, 6, 3))
        model = keras.Model(x, layers.GlobalAveragePooling2D()(deep(x)))
        nodes = LayerGraph.from_keras(model).nodes
        shapes = {name: nodes[name].output_shapes[0][1:] for name in ("first", "pool", "second")}
        self.assertEqual(shapes, {"first": (6, 4, 5), "pool": (3, 2, 5), "second": (3, 2, 7)})
        self.assertEqual(cost(model).macs, 24 * 9 * 3 * 5 + 6 * 5 * 7)

    def test_reading_adds_no_calls_to_the_model(self):
        model, _, inputs = topologies.build("siamese")
        before = [(layer.name, len(layer._inbound_nodes)) for layer in model.layers]
        LayerGraph.from_keras(model)
        self.assertEqual([(layer.name, len(layer._inbound_nodes)) for layer in model.layers], before)
        self.assertEqual(np.shape(inputs[0]), (3, 6, 5, 3))


class RefusalTest(tf.test.TestCase):
    def test_no_model(self):
        for value in (None, "model.keras", layers.Dense(3), np.zeros(3)):
            with self.assertRaisesRegex(TypeError, f"Expected a keras.Model. Received: {type(value).__name__}"):
                LayerGraph.from_keras(value)

    def test_subclassed_model(self):
        class Own(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = layers.Dense(3)

            def call(self, inputs):
                return self.dense(inputs)

        model = Own()
        model(np.zeros((2, 3), "float32"))
        with self.assertRaisesRegex(TypeError, r"subclassed model 'Own'.*keras\.Model\(inputs, outputs\)"):
            LayerGraph.from_keras(model)

    def test_subclassed_model_inside(self):
        class Own(keras.Model):
            def call(self, inputs):
                return inputs * 2.0

        x = keras.Input((3,), name="x")
        graph = LayerGraph.from_keras(keras.Model(x, Own(name="own")(layers.Dense(4, name="dense")(x))))
        self.assertEqual(described(graph)[-1], ("own", "own", "Own", ["dense"]))

    def test_sequential_without_an_input_shape(self):
        with self.assertRaisesRegex(ValueError, r"Sequential model 'unbuilt'.*keras\.Input\(shape\)"):
            LayerGraph.from_keras(keras.Sequential([layers.Dense(3)], name="unbuilt"))


if __name__ == "__main__":
    tf.test.main()
