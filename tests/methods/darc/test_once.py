"""DARC does once what need not be done twice: traces, units, and the pass that replacements are worked out from."""

from unittest import mock

import few_steps
import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.methods import DARC
from tfcompress.methods.darc import relaxation, units
from tfcompress.methods.darc.relaxation import Penalized, first_weights, relax
from tfcompress.network import Network
from tfcompress.replacements import by_name
from tfcompress.training import PenalizedModel


class OnceTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(few_steps, "STEPS", 0))

    def test_a_run_traces_one_train_function_a_phase_and_finds_units_once_a_model(self):
        steps, train_step = [], PenalizedModel.train_step

        def traced(model, *args, **kwargs):
            steps.append(model.inner.name)
            return train_step(model, *args, **kwargs)

        x, y = small_tasks.pictures(150, seed=1)  # whose last batch is a smaller one
        method = DARC(batch_size=32, blocks=2, block_epochs=2, epochs=1, mixup=0, alpha_rate=1)
        with (
            mock.patch.object(PenalizedModel, "train_step", traced),
            mock.patch.object(units, "find_units", wraps=units.find_units) as finding,
        ):
            model = small_tasks.three_convolutions()
            result = tfcompress.compress(model, method, (x, y), flops_budget=0.5, verbose=0)
        blocks = sum(name.startswith("block") and name.endswith(": loss") for name in result.history["search"])
        self.assertEqual(blocks, 2)
        self.assertEqual(steps, ["small_imitation", *["small"] * (blocks + len(result.candidates))])
        self.assertEqual(finding.call_count, 2)  # of the model as it was given, and of the working copy

    def test_units_are_found_anew_for_other_settings(self):
        model = small_tasks.residual_network(activation="softmax")
        costs, free = Network(model).costs, {"stem", "block1_conv1"}
        replacements = [by_name("1x1FC"), by_name("3x3+1x1")]
        first = units.known_units(costs, replacements, "layer", free)
        self.assertTrue(units.known_units(costs, list(replacements), "layer", set(free)) is first)
        self.assertEqual([unit.name for unit in units.known_units(costs, replacements, ("stem",), free)], ["stem"])
        self.assertLen(units.known_units(costs, replacements[:1], "layer", free)[0].replacements, 1)
        self.assertLen(units.known_units(costs, replacements, "layer", {"stem"}), 1)

    def test_what_units_read_is_worked_out_in_one_pass_where_it_is_small(self):
        """And in as many as are needed where it is not, with the same weights."""
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8,))
        x = layers.Dense(6, "relu", name="first")(inputs)
        x = layers.Dense(5, "relu", name="second")(x)
        network = Network(keras.Model(inputs, layers.Dense(3, name="third")(x)))
        all_units = units.find_units(
            network.costs, [by_name("low_rank_dense_pca")], "layer", set(network.groups.layers)
        )
        self.assertLen(all_units, 3)
        costs = {unit.name: dict.fromkeys(unit.alternatives, 0.0) for unit in all_units}
        data = np.random.default_rng(0).normal(size=(40, 8)).astype("float32")
        given, passes = [], []
        for most in (10**6, 40 * 15, 1):  # all; the inputs of two of them, 8 + 6 numbers; each alone
            relaxed = relax(network, all_units, {unit.name: unit.alternatives for unit in all_units}, Penalized(costs))
            predict = keras.Model.predict
            with (
                mock.patch.object(relaxation, "_NUMBERS_READ", most),
                mock.patch.object(keras.Model, "predict", autospec=True, side_effect=predict) as passing,
            ):
                first_weights(network, relaxed, data, np.random.default_rng(0))
            given.append(relaxed.network.model.get_weights())
            passes.append(passing.call_count)
        self.assertEqual(passes, [1, 2, 3])
        for weights in given[1:]:
            self.assertAllEqual([w.shape for w in given[0]], [w.shape for w in weights])
            for expected, weight in zip(given[0], weights, strict=True):
                self.assertAllClose(expected, weight, atol=1e-5)
