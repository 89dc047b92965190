"""DARC: a network in which one layer is separable and another is not; snapshots, weights, and what is refused."""

import functools
import json
import pathlib
from unittest import mock

import keras
import numpy as np
import pytest
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.costs import Latency, LatencyTable
from tfcompress.methods import DARC, Replaced
from tfcompress.methods.darc.imitation import Imitation
from tfcompress.methods.darc.latency import with_latency
from tfcompress.methods.darc.relaxation import Penalized, Weights, chosen_student, first_weights, relax
from tfcompress.methods.darc.units import ORIGINAL, CostTable, find_units
from tfcompress.network import Network
from tfcompress.replacements import Replacement, by_name
from tfcompress.rewrite import replay

PAPER = ("3x3DS", "1x1FC", "3x3+1x1")
SHORT = {"batch_size": 32, "epochs": 1, "blocks": 2, "block_epochs": 1}
QUICK = SHORT | {"epochs": 0, "blocks": 1, "imitation_epochs": 0}


def one_separable(seed):
    """Two 3x3 convolutions, the first a depthwise one followed by a 1x1; outputs of variance 1 for normal inputs."""
    rng = np.random.default_rng(seed)
    inputs = keras.Input((6, 6, 4))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="separable")(inputs)
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="full")(layers.ReLU()(x))
    model = keras.Model(inputs, x)
    depthwise, pointwise = rng.normal(size=(3, 3, 4, 1)), rng.normal(size=(1, 1, 4, 4)) / 2
    model.get_layer("separable").set_weights([depthwise * pointwise / 3])
    model.get_layer("full").set_weights([rng.normal(size=(3, 3, 4, 4)) / 4])
    model.compile("sgd", "mse", metrics=["mse"])
    x = rng.normal(size=(160, 6, 6, 4)).astype("float32")
    return model, (x, model.predict(x, verbose=0))


class Wider(Replacement):
    """One channel too many."""

    name = "wider"

    def layers(self, part):
        return [layers.Conv2D(part.channels_out + 1, 1, part.strides)] if part.convolves else None


def by_macs(model, *, batch=1, threads=1):
    """A latency that is no measurement."""
    return Latency(1e-6 * (1 + tfcompress.cost(model).macs), 0.0, 1, batch, threads, True)


def relaxed_of(model, alternatives=None, unit="layer"):
    network = Network(model)
    units = find_units(
        network.costs, [by_name(name) for name in alternatives or PAPER], unit, set(network.groups.layers)
    )
    costs = {u.name: dict.fromkeys(u.alternatives, 1.0) for u in units}
    relaxed = relax(network, units, {u.name: u.alternatives for u in units}, Penalized(costs))
    return network, units, relaxed, costs


class RelaxationTest(tf.test.TestCase):
    def test_alpha_one_is_the_student_with_that_alternative(self):
        """The relaxed network, the rewritten student, and the student given weights from the store: equal to 1e-5."""
        model = small_tasks.trained_block()
        network, units, relaxed, _ = relaxed_of(model)
        x = small_tasks.pictures(8)[0]
        weights = first_weights(network, relaxed, x, np.random.default_rng(0))
        for number in range(3):
            choice = {unit.name: unit.alternatives[number % len(unit.alternatives)] for unit in units}
            for unit in units:
                ((alpha, value),) = relaxed.mixtures[unit.name].alone(choice[unit.name])
                alpha.assign(value)
            expected = relaxed.network.model.predict(x, verbose=0)
            student = chosen_student(network, units, choice, weights)
            self.assertAllClose(student.predict(x, verbose=0), expected, atol=1e-5)
            if number == 0:
                self.assertAllClose(model.predict(x, verbose=0), expected, atol=1e-5)
        self.assertTrue(all(type(layer).__module__.startswith("keras.") for layer in student.layers))

    def test_weights_go_from_form_to_form(self):
        model = small_tasks.trained_block()
        network, units, relaxed, costs = relaxed_of(model)
        weights = first_weights(network, relaxed, None, np.random.default_rng(0))
        shares = {}
        for number, unit in enumerate(units):
            left = len(unit.alternatives) - number % 2  # of some the last alternative has alpha 0
            value = np.zeros(len(unit.alternatives), "float32")
            value[:left] = np.arange(1, left + 1) / (left * (left + 1) / 2)
            relaxed.mixtures[unit.name].alpha.assign(value)
            shares[unit.name] = dict(zip(unit.alternatives, value.tolist(), strict=True))
        relaxed.store(weights)
        remaining = {unit: [name for name, share in of.items() if share > 0] for unit, of in shares.items()}
        smaller = relax(network, units, remaining, Penalized(costs))
        smaller.load(weights)
        x = small_tasks.pictures(8)[0]
        before, after = (form.network.model.predict(x, verbose=0) for form in (relaxed, smaller))
        self.assertAllClose(before, after, atol=1e-5)
        self.assertLess(smaller.network.costs.total.macs, relaxed.network.costs.total.macs)
        for unit in units:
            self.assertAllClose(
                [smaller.alpha()[unit.name][name] for name in remaining[unit.name]],
                [shares[unit.name][name] for name in remaining[unit.name]],
            )

    def test_imitation_is_the_squared_difference_of_each(self):
        model, (x, _) = one_separable(0)
        network, _, relaxed, _ = relaxed_of(model)
        first_weights(network, relaxed, None, np.random.default_rng(0))
        losses = Imitation(network, relaxed.learners())(x[:4])
        middle = keras.Model(model.input, model.get_layer("separable").output)
        expected = []
        for unit, _, of in relaxed.learners():
            read = x[:4] if unit.name == "separable" else np.maximum(middle.predict(x[:4], verbose=0), 0)
            wanted = model.get_layer(unit.name)(read)
            given = read
            for layer in of:
                given = layer(given)
            expected.append(float(keras.ops.mean(keras.ops.square(wanted - given))))
        self.assertAllClose(losses, expected, rtol=1e-4)


class DarcTest(tf.test.TestCase):
    def test_it_replaces_the_layer_that_is_separable(self):
        self.check_the_separable_one(seed=0)

    @pytest.mark.slow  # the way of the test above, with other weights and data
    def test_it_replaces_the_layer_that_is_separable_whatever_the_seed(self):
        self.check_the_separable_one(seed=1)

    def check_the_separable_one(self, seed):
        model, data = one_separable(seed)
        method = DARC(
            replacements=("3x3+1x1",),
            batch_size=8,
            imitation_epochs=8,
            learning_rate=0.03,
            blocks=4,
            block_epochs=4,
            epochs=0,
            strength=0.2,
            mixup=0,
            weight_decay=0,
        )
        result = tfcompress.compress(model, method, data, flops_budget=0.75, seed=seed, verbose=0)
        names = {layer.name for layer in result.model.layers}
        self.assertIn("full", names, f"seed {seed}")
        self.assertIn("separable_depthwise", names, f"seed {seed}")
        self.assertNotIn("no snapshot is within", " ".join(result.notes))  # a snapshot, no last resort

    def test_alpha_has_a_learning_rate_of_its_own(self):
        """At next to none it stays where it began, at a third or a quarter each; the weights learn all the same."""
        model, data = one_separable(0)
        for rate, stays in ((1e-9, True), (1.0, False)):
            method = DARC(**QUICK, alpha_rate=rate, replacements=("3x3DS", "1x1FC"))
            history = tfcompress.compress(model, method, data, flops_budget=0.9, seed=0, verbose=0).history["search"]
            self.assertEqual(np.isclose(history["block 1: original"][-1], 1 / 3, atol=1e-6), stays)

    def test_snapshots_are_candidates_with_cost_score_and_weights(self):
        """And what the run folder holds is what came out: the student and all candidates, by their trails."""
        model, folder = small_tasks.three_convolutions(), pathlib.Path(self.get_temp_dir()) / "run"
        data = small_tasks.pictures(64, seed=1)
        result = tfcompress.compress(model, DARC(**SHORT), data, flops_budget=0.5, run_dir=folder, verbose=0)
        self.assertLessEqual(result.after.macs, 0.5 * result.before.macs)
        replayed = [(replay(model, result.trail, folder), result.model)]
        self.assertNotEmpty(result.candidates)
        for candidate in result.candidates:
            self.assertEqual(candidate.cost, tfcompress.cost(candidate.model))
            (plan,) = candidate.trail
            self.assertTrue(plan.weights.startswith("candidate-"))
            replayed.append((replay(model, candidate.trail, folder), candidate.model))
        for again, student in replayed:
            for ours, theirs in zip(again.get_weights(), student.get_weights(), strict=True):
                self.assertAllEqual(ours, theirs)
            np.testing.assert_array_equal(again(data[0][:8]), student(data[0][:8]))
        self.assertTrue(all(type(layer).__module__.startswith("keras.") for layer in result.model.layers))
        self.assertIn("block 1: alternatives", result.history["search"])
        json.dumps(result.settings)

    def test_softmax_chooses_within_the_budget(self):
        data = small_tasks.pictures(64, seed=1)
        method = DARC(**QUICK, weighting="softmax", minimize="macs")
        result = tfcompress.compress(small_tasks.three_convolutions(), method, data, params_budget=0.6, verbose=0)
        self.assertLessEqual(result.after.params, 0.6 * result.before.params)

    def test_baselines(self):
        data, model = small_tasks.pictures(64, seed=1), small_tasks.three_convolutions()
        for method, budget in (
            (Replaced(choice="all", replacements=("3x3+1x1",), epochs=0, batch_size=32), {}),
            (Replaced(choice="random", epochs=0, batch_size=32, imitation_epochs=0), {"flops_budget": 0.5}),
            (Replaced(choice="knapsack", epochs=0, batch_size=32, imitation_epochs=0), {"flops_budget": 0.5}),
        ):
            result = tfcompress.compress(model, method, data, verbose=0, **budget)
            share = result.after.macs / result.before.macs
            self.assertLess(share, 0.5 if budget else 0.4)
            names = [layer.name for layer in result.model.layers]
            if method.choice == "all":
                self.assertIn("block1_conv1_depthwise", names)
                self.assertFalse({"stem", "block1_conv1", "block1_conv2"} & set(names))
            elif method.choice == "random":
                self.assertGreater(share, 0.2)

    def measure_by_macs(self):
        self.enterContext(mock.patch("tfcompress.costs.latency.measure_latency", by_macs))
        self.enterContext(mock.patch("tfcompress.methods.darc.latency.measure_latency", by_macs))
        table = functools.partial(LatencyTable, measure=by_macs)
        self.enterContext(mock.patch("tfcompress.methods.darc.latency.LatencyTable", table))

    def test_what_the_search_said_is_said_where_the_run_goes_on(self):
        """Also where the search is not repeated, but taken from the run folder."""
        model, data = one_separable(0)
        folder = pathlib.Path(self.get_temp_dir()) / "run"
        call = {"flops_budget": 0.9, "verbose": 0, "run_dir": folder}
        interrupted = mock.patch.object(DARC, "recover", side_effect=KeyboardInterrupt)
        with interrupted, self.assertRaises(KeyboardInterrupt):
            tfcompress.compress(model, DARC(**QUICK), data, **call)
        with mock.patch.object(DARC, "search", side_effect=AssertionError("searched again")):
            result = tfcompress.compress(model, DARC(**QUICK), data, **call)
        self.assertLen([note for note in result.notes if note.startswith("initial lambda ")], 1)

    def test_latency_is_planned_by_a_table_and_measured(self):
        """With a clock that says a microsecond for each thousand multiply-adds, as two measurements of so small a model
        differ by more than what is asked for.
        """
        self.measure_by_macs()
        x, y = small_tasks.pictures(160, seed=1)
        folder = pathlib.Path(self.get_temp_dir()) / "run"
        method = DARC(**SHORT | {"blocks": 1}, minimize="latency_ms")
        result = tfcompress.compress(
            small_tasks.trained_block(), method, (x, y), latency_budget=0.9, verbose=0, run_dir=folder
        )
        self.assertLessEqual(result.after["latency_ms"], 0.9 * result.before["latency_ms"])
        search = result.history["search"]
        self.assertLen(search["snapshots: latency_ms measured"], len(result.candidates))
        self.assertLen(search["snapshots: latency_ms by the table"], len(result.candidates))
        table, measured = (search[f"snapshots: latency_ms {how}"][0] for how in ("by the table", "measured"))
        share = 100 * (table - measured) / measured
        said = f"by the table and measured: {table:.3f} and {measured:.3f} ms ({share:+.1f}%)"
        self.assertIn(said, " ".join(result.notes))
        self.assertTrue((folder / "latency.json").exists())
        with self.assertRaisesRegex(
            ValueError, "Expected a latency that can be reached: at least 0..* of the original"
        ):
            tfcompress.compress(small_tasks.trained_block(), method, (x, y), latency_budget=0.01, verbose=0)

    def test_a_limit_of_latency_that_only_the_table_holds_is_refused_after_some_tries(self):
        """The pieces are measured right; of every whole student it is said that it takes as long as the original."""
        x, y = small_tasks.pictures(40)
        model = small_tasks.trained_block()
        self.measure_by_macs()
        as_before = mock.Mock(side_effect=lambda *_: 1e-6 * (1 + tfcompress.cost(model).macs))
        self.enterContext(mock.patch("tfcompress.methods.darc.method.latency_of", as_before))
        with self.assertRaisesRegex(ValueError, "some combination of replacements can meet.*which no combination met"):
            tfcompress.compress(model, DARC(**SHORT | {"blocks": 1}), (x, y), latency_budget=0.9, verbose=0)
        self.assertBetween(as_before.call_count, 2, 6)

    def test_pieces_that_take_longer_than_the_whole_count_by_their_shares(self):
        model = small_tasks.trained_block()
        network = Network(model)
        units = find_units(network.costs, [by_name(name) for name in PAPER], "layer", set(network.groups.layers))
        task = small_tasks.task_for(model, latency=0.5)
        self.measure_by_macs()
        self.enterContext(mock.patch("tfcompress.methods.darc.latency.latency_of", lambda *_: 0.001))
        table = with_latency(CostTable.of(units, network.costs.total), units, task, 1, 1)
        originals = [of_unit[ORIGINAL]["latency_ms"] for of_unit in table.parts.values()]
        self.assertAllClose(sum(originals), 0.001)
        macs = [of_unit[ORIGINAL]["macs"] for of_unit in table.parts.values()]
        self.assertAllClose(np.array(originals) / 0.001, np.array(macs) / sum(macs), rtol=0.01)
        self.assertGreater(table.lowest("latency_ms"), 0)

    def test_adam_trains_where_sgd_would_have_nesterovs_momentum(self):
        for method in (DARC, Replaced):
            training = method(optimizer="adam", learning_rate=0.002).training
            self.assertEqual(training.words(is_trained=True), "Adam with learning rate 0.002")

    def test_what_is_refused(self):
        self.measure_by_macs()
        x, y = small_tasks.pictures(40)
        model = small_tasks.residual_network(activation="softmax")

        def run(method, model=model, **budget):
            tfcompress.compress(model, method, (x, y), verbose=0, **budget or {"flops_budget": 0.5})

        with self.assertRaisesRegex(
            ValueError, "at least 0.1151 of the original.*cheapest combination of replacements"
        ):
            run("darc", flops_budget=0.01)
        with self.assertRaisesRegex(ValueError, r"Expected no ratio_limits, round_to or through_norms.*round_to.: 8"):
            tfcompress.compress(model, "darc", (x, y), flops_budget=0.5, round_to=8, verbose=0)
        inputs = keras.Input((8, 8, 1))
        dense = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(inputs)))
        with self.assertRaisesRegex(
            ValueError, r"Expected a model with layers that one of \['3x3DS', '1x1FC', '3x3\+1x1'\]"
        ):
            run("darc", dense)
        with self.assertRaisesRegex(ValueError, "Expected `minimize` to be"):
            run(DARC(minimize="energy"))
        with self.assertRaisesRegex(ValueError, "Expected `unit` to name layers"):
            run(DARC(unit=("conv9",)))
        with self.assertRaisesRegex(ValueError, r"of one region.*\['stem', 'block1_conv1'\]"):
            run(DARC(unit=(("stem", "block1_conv1"),)))
        with self.assertRaisesRegex(ValueError, r"`unit` to name each layer once.*\['stem'\]"):
            run(DARC(unit=("stem", "block1_conv1", ("stem", "stem_bn"))))
        with self.assertRaisesRegex(
            ValueError, r"output shape \(None, 4, 4, 6\).*\(None, 4, 4, 7\).*'wider' of 'stem'"
        ):
            run(DARC(replacements=(Wider(),)))
        with self.assertRaisesRegex(ValueError, "latency that can be reached: at least 0"):
            run("darc", latency_budget=1e-6)
        with self.assertRaisesRegex(ValueError, "Expected a budget that .* can meet"):
            run(Replaced(choice="all", replacements=("3x3+1x1", "1x1FC")), flops_budget=0.15)
        for settings in (
            {"blocks": 0},
            {"mixup": -1},
            {"weighting": "max"},
            {"replacements": ()},
            {"growth": 0.5},
            {"alpha_rate": 0},
        ):
            with self.assertRaisesRegex(ValueError, f"`{next(iter(settings))}`"):
                DARC(**settings)

    def test_adam_takes_no_rate_for_alpha(self):
        with self.assertRaisesRegex(ValueError, "alpha_rate.*adam"):
            DARC(optimizer="adam", alpha_rate=4.0)


class WeightsTest(tf.test.TestCase):
    def test_a_copy_goes_its_own_way(self):
        weights = Weights()
        weights.alpha = {"u": {ORIGINAL: 1.0}}
        copy = weights.copy()
        copy.alpha["u"][ORIGINAL] = 0.5
        self.assertEqual(weights.alpha, {"u": {ORIGINAL: 1.0}})


if __name__ == "__main__":
    tf.test.main()
