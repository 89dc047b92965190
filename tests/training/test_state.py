"""State of models and optimizers as arrays."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress import training


def network(units=3):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(units),
            layers.Dropout(0.5),
            layers.BatchNormalization(),
            keras.Sequential([layers.Dense(2), layers.GaussianNoise(1.0)]),
        ]
    )


class StateTest(tf.test.TestCase):
    def test_all_variables_and_seed_generators_come_back(self):
        model, other = network(), network()
        model(np.ones((5, 4), "float32"), training=True)  # moves statistics and seed generators
        state = training.model_state(model)
        # 4 weights of two Dense, 4 of BatchNormalization, 2 seed generators
        self.assertLen(state, 10)
        self.assertLen([tensor for tensor in state.values() if tensor.dtype == np.int64], 2)
        training.load_model_state(other, state)
        x = np.ones((5, 4), "float32")
        self.assertAllEqual(model(x, training=True), other(x, training=True))
        self.assertAllEqual(model(x), other(x))

    def test_state_is_a_copy(self):
        model = network()
        state = training.model_state(model)
        before = {name: tensor.copy() for name, tensor in state.items()}
        model.set_weights([np.full(w.shape, 9, "float32") for w in model.weights])
        self.assertAllEqual(list(state), list(before))
        for name in state:
            self.assertAllEqual(state[name], before[name])

    def test_seed_layers_makes_draws_a_function_of_the_seed(self):
        x = np.ones((50, 4), "float32")
        models = [network() for _ in range(3)]
        for model, seed in zip(models, ((7, 1), (7, 1), (7, 2)), strict=True):
            model.set_weights(models[0].get_weights())
            training.seed_layers(model, *seed)
        first, same, other = (model(x, training=True) for model in models)
        self.assertAllEqual(first, same)
        self.assertNotAllClose(first, other)

    def test_optimizer_state_holds_iterations_rate_and_slots(self):
        variable = keras.Variable(np.array([1.0, 2.0], "float32"))
        first, second = (keras.optimizers.SGD(0.5, momentum=0.9) for _ in range(2))
        first.build([variable])
        first.apply([np.array([1.0, 1.0], "float32")])
        first.learning_rate = 0.25
        second.build([variable])
        training.load_optimizer_state(second, training.optimizer_state(first))
        self.assertAllEqual(second.iterations, 1)
        self.assertAllEqual(second.learning_rate, 0.25)
        self.assertAllClose(second.momentums[0], [-0.5, -0.5])

    def test_state_of_another_architecture_is_refused_and_changes_nothing(self):
        model = network()
        before = model.get_weights()
        with self.assertRaisesRegex(ValueError, r"Expected variable 0 .*\(4, 3\).*Received: \(\(4, 5\)"):
            training.load_model_state(model, training.model_state(network(units=5)))
        state = training.model_state(model)
        del state["9"]
        with self.assertRaisesRegex(ValueError, "has 10 variables. Received: 9 tensors"):
            training.load_model_state(model, state)
        for weight, old in zip(model.get_weights(), before, strict=True):
            self.assertAllEqual(weight, old)
