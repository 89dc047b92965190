"""The model that runs on Keras 2 is trained by `fit` exactly as the model in whose place it stands."""

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

from tfcompress.graph import LayerGraph
from tfcompress.tfmot_bridge import Bridged, legacy_of, load_tfmot
from tfcompress.training import Objective, WeightDecay, fit


def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, 2, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.01), name="conv")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Dropout(0.2, seed=1)(layers.Flatten()(x + 0.5))
    return keras.Model(inputs, layers.Dense(4, name="head", kernel_constraint=keras.constraints.MaxNorm(0.8))(x))


class BridgeTest(tf.test.TestCase):
    def test_training_in_its_place_gives_the_same_weights(self):
        x, y = small_tasks.pictures(64)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        objective = Objective(loss=loss, metric=keras.metrics.SparseCategoricalAccuracy)
        trained, histories = [], []
        for on_keras_2 in (False, True):
            model = network()
            graph = LayerGraph.from_keras(model)
            side = Bridged(model, graph, legacy_of(graph)) if on_keras_2 else model
            histories.append(
                fit(
                    side,
                    data,
                    objective,
                    optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
                    epochs=3,
                    validation=data,
                    penalties=[WeightDecay(0.01)],
                )
            )
            trained.append(side.learner if on_keras_2 else model)
            if on_keras_2:
                self.assertIs(trained[-1], model)
        before = network().get_weights()
        for first, second, start in zip(*(model.get_weights() for model in trained), before, strict=True):
            self.assertNotAllClose(first, start, atol=1e-4)
            self.assertAllClose(first, second, rtol=1e-4, atol=1e-5)
        for name in histories[0]:
            self.assertAllClose(histories[0][name], histories[1][name], rtol=1e-4)

    def test_nothing_is_changed_until_weights_are_carried_back(self):
        model = network()
        graph = LayerGraph.from_keras(model)
        legacy = legacy_of(graph)
        kernel = model.get_layer("head").kernel.numpy()
        legacy.layers["head"].kernel.assign(kernel + 1)
        self.assertAllEqual(model.get_layer("head").kernel, kernel)
        legacy.carry_back()
        self.assertAllEqual(model.get_layer("head").kernel, kernel + 1)

    def test_structures_of_inputs_and_outputs(self):
        inputs = {"b": keras.Input((2,), name="b"), "a": keras.Input((2,), name="a", dtype="int32")}
        x = layers.Dense(3, name="d")(inputs["b"]) + keras.ops.cast(inputs["a"][:, :1], "float32")
        model = keras.Model(inputs, {"sum": x, "twice": [x, x * 2.0]})
        graph = LayerGraph.from_keras(model)
        given = {"a": np.array([[1, 2]]), "b": np.array([[0.5, -1.0]])}
        expected, actual = model(given), Bridged(model, graph, legacy_of(graph))(given)
        keras.tree.assert_same_structure(expected, actual)
        self.assertAllEqual(expected["twice"][1], actual["twice"][1])

    def test_a_list_of_inputs_may_come_by_name(self):
        first, second = keras.Input((2,), name="first"), keras.Input((2,), name="second")
        model = keras.Model([first, second], first - 2.0 * second)
        graph = LayerGraph.from_keras(model)
        x = {"second": np.ones((1, 2), "float32"), "first": np.zeros((1, 2), "float32")}
        self.assertAllEqual(Bridged(model, graph, legacy_of(graph))(x), [[-2.0, -2.0]])

    def test_the_users_keras_stays_keras_3(self):
        lib = load_tfmot()
        self.assertIs(load_tfmot(), lib)
        self.assertIs(tf.keras.layers.Layer, keras.layers.Layer)
        self.assertFalse(issubclass(lib.keras.layers.Layer, keras.layers.Layer))


if __name__ == "__main__":
    tf.test.main()
