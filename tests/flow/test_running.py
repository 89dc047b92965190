"""A flow in whole calls: what its stages do, what it refuses, and what its result says."""

import functools
import itertools
import pathlib
import tempfile
from unittest import mock

import flow_methods
import keras
import numpy as np
import perceptrons
import small_tasks
import tensorflow as tf

import tfcompress
from tfcompress import costs, workflow
from tfcompress.flow import running
from tfcompress.methods import Teaching, Uniform
from tfcompress.training import PenalizedModel, RunFolderError, StepTime

X, Y = small_tasks.pictures(96)
TRAIN, VALIDATION, TEST = (X[:64], Y[:64]), (X[64:80], Y[64:80]), (X[80:], Y[80:])
DROPS = flow_methods.Drops(epochs=1, batch_size=32, teach="kd")
CUTS = Uniform(epochs=1, batch_size=32, teach="kd")
ROUNDS = flow_methods.Rounds()
STAGES = (DROPS, CUTS, ROUNDS)
MACS = 64 * 6 + 6 * 6 + 6 * 4  # of the whole: 444; 408 without the second layer


def compress(model, method=STAGES, data=TRAIN, **changes):
    given = {"validation_data": VALIDATION, "test_data": TEST, "flops_budget": 0.5, "verbose": 0, "seed": 3, **changes}
    return tfcompress.compress(model, method, data, **given)


def chain(name="chain"):
    """Two hidden layers of 6 units, of which the second can be removed."""
    made = perceptrons.perceptron(6, 6)
    model = keras.Model(made.inputs, made.outputs, name=name)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def weights_of(model):
    return [np.asarray(weight) for weight in model.weights]


class FlowTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.model = chain()
        cls.result = compress(cls.model, run_dir=cls.folder / "run")

    @classmethod
    @functools.cache
    def first_alone(cls):
        """The first stage as a call of its own."""
        return compress(cls.model, DROPS, flops_budget=2 * cls.result.stages[0].limits["macs"])

    def assert_equal_weights(self, one, two):
        for first, second in zip(weights_of(one), weights_of(two), strict=True):
            np.testing.assert_array_equal(first, second)

    def test_each_stage_begins_with_what_the_one_before_left(self):
        """The same by hand: single calls, of which the second is taught by the model of the first."""
        first = self.first_alone()
        by_hand = Uniform(epochs=1, batch_size=32, teach=Teaching(teacher=self.model))
        second = compress(first.model, by_hand, flops_budget=2 * (MACS // 2))
        third = [np.round(weight * 16) / 16 for weight in weights_of(second.model)]
        for given, expected in zip(weights_of(self.result.model), third, strict=True):
            np.testing.assert_array_equal(given, expected)
        self.assertEqual(self.result.stages[1].history, second.history)
        self.assertEqual(self.result.stages[0].after, first.after)

    def test_the_first_model_teaches_later_stages(self):
        """By the model that the first stage left, the second would have come out otherwise."""
        first = self.first_alone()
        second = compress(first.model, CUTS, flops_budget=2 * (MACS // 2))
        self.assertNotEqual(second.history, self.result.stages[1].history)

    def test_costs(self):
        """sqrt(0.5) of 444 is 313.9, which `drops` cannot reach: it leaves 408, and the rest to `uniform`."""
        stages = self.result.stages
        self.assertEqual([stage.limits for stage in stages], [{"macs": 408}, {"macs": 222}, {}])
        self.assertEqual([stages[0].before.macs, stages[0].after.macs, self.result.before.macs], [444, 408, 444])
        self.assertLessEqual(self.result.after.macs, 222)
        for earlier, later in itertools.pairwise(stages):
            self.assertEqual(later.before, earlier.after)
        self.assertEqual(self.result.after, stages[-1].after)
        self.assertEqual(self.result.budget, {"macs": 0.5})

    def test_what_the_result_says(self):
        result = self.result
        self.assertEqual(
            (result.method, [stage.method for stage in result.stages]),
            ("drops+uniform+rounds", ["drops", "uniform", "rounds"]),
        )
        self.assertEqual(list(result.settings), ["1-drops", "2-uniform", "3-rounds"])
        self.assertEqual(result.settings["3-rounds"], {"steps": 16})
        self.assertIn(
            "stages: drops to 91.9% of the MACs, then uniform to 50.0% of the MACs, then rounds", result.notes
        )
        self.assertEqual(sum("training: 64 images" in note for note in result.notes), 1)
        self.assertIn("1-drops: the layer second is removed", result.notes)
        self.assertEqual(result.history["recover"]["2-uniform: loss"], result.stages[1].history["recover"]["loss"])
        self.assertGreater(min(stage.seconds for stage in result.stages), 0)
        starts = [line.split()[:2] for line in result.table().splitlines() if line[:2] in ("1 ", "2 ", "3 ")]
        self.assertEqual(starts, [["1", "drops"], ["2", "uniform"], ["3", "rounds"]])
        for what in ("stages", "history", "structure"):
            result.plot(what)
        self.assertEqual(result._repr_html_().count("<table>"), 2)

    def test_the_trail_leads_from_the_first_model_to_the_last(self):
        trail = self.result.trail
        self.assertLen(trail, 3)
        self.assertEqual([stage.plans for stage in self.result.stages], [1, 1, 1])
        self.assertEqual((trail.plans[0].removed, trail.last.weights), (("second",), "model.keras"))
        again = tfcompress.rewrite.replay(self.model, trail, self.folder / "run")
        self.assert_equal_weights(again, self.result.model)
        other = chain()
        for layer in other.layers:
            layer.name = f"another_{layer.name}"
        renamed = tfcompress.rewrite.replay(keras.models.clone_model(other), trail, self.folder / "run")
        self.assert_equal_weights(renamed, self.result.model)

    def test_a_loaded_result_is_the_same(self):
        for source in (None, self.model):
            loaded = tfcompress.Result.load(self.folder / "run", source)
            self.assertEqual(loaded.stages, self.result.stages)
            self.assertEqual((loaded.table(), loaded.settings), (self.result.table(), self.result.settings))
            self.assert_equal_weights(loaded.model, self.result.model)
        with self.assertRaisesRegex(ValueError, "Expected the result of a flow .* one of 'uniform' alone"):
            compress(self.model, Uniform(epochs=0)).plot("stages")

    def test_a_page_and_a_call_that_repeats_it(self):
        page = self.folder / "page.html"
        self.result.report(page)
        text = page.read_text()
        self.assertIn('<section id="stages">', text)
        self.assertIn("tfcompress.methods.Uniform(epochs=1, batch_size=32, teach=&#x27;kd&#x27;),", text)
        self.assertEqual(str(tfcompress.compare([self.result])).splitlines()[-1].split()[0], "drops+uniform+rounds")

    def test_a_finished_stage_is_not_done_again(self):
        run_one, turns = workflow._run_one, []

        def counted(call, *arguments):
            turns.append(call.turn)
            return run_one(call, *arguments)

        with mock.patch.object(workflow, "_run_one", counted), mock.patch.object(PenalizedModel, "fit") as fit:
            again = compress(chain(), run_dir=self.folder / "run")
        self.assertEqual(turns, ["3 of 3: rounds"])
        fit.assert_not_called()
        self.assert_equal_weights(again.model, self.result.model)
        self.assertEqual(
            (again.stages, again.trail, again.notes), (self.result.stages, self.result.trail, self.result.notes)
        )
        self.assertEqual([stage.seconds for stage in again.stages], [stage.seconds for stage in self.result.stages])

    def test_another_call_is_refused_in_its_folder(self):
        for changes, words in (
            (
                {"method": (DROPS, Uniform(epochs=2, batch_size=32, teach="kd"), ROUNDS)},
                "stages.2-uniform.epochs: 1 in the folder, 2",
            ),
            ({"method": CUTS}, "method.name|stages"),
            ({"flops_budget": 0.6}, "flops_budget: 0.5 in the folder, 0.6 now"),
            ({"split": {"drops": 0.95}}, "split"),
            ({"data": (X[:64] + 1, Y[:64])}, "samples.training.inputs"),
        ):
            with self.subTest(words), self.assertRaisesRegex(RunFolderError, words):
                compress(self.model, run_dir=self.folder / "run", **changes)

    def test_one_method_in_a_list_is_that_method(self):
        plain = compress(self.model, CUTS)
        listed = compress(self.model, [CUTS])
        self.assert_equal_weights(listed.model, plain.model)
        self.assertEqual((listed.history, listed.notes, listed.stages), (plain.history, plain.notes, ()))


class BudgetsAndControlTest(tf.test.TestCase):
    """No stage trains."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = chain()
        cls.drops, cls.cuts = flow_methods.Drops(epochs=0), Uniform(epochs=0)

    def test_named_layers_that_are_gone(self):
        result = compress(self.model, [self.drops, self.cuts], exclude="sec*", flops_budget=0.6)
        self.assertEqual(result.control, {"exclude": ["sec*"]})
        self.assertLessEqual(result.after.macs, 0.6 * MACS)

    def test_a_split_of_ones_own(self):
        result = compress(self.model, [self.cuts, self.cuts], split={1: 0.8}, flops_budget=0.5)
        self.assertEqual([stage.limits["macs"] for stage in result.stages], [int(0.8 * MACS), MACS // 2])
        self.assertLessEqual(result.stages[0].after.macs, 0.8 * MACS)
        self.assertGreater(result.stages[0].after.macs, 0.5 * MACS)
        self.assertEqual(result.settings["split"], [0.8, None])

    def test_a_limit_that_is_measured_holds_for_the_last_stage_that_can_lower_it(self):
        """The number of weights that are not zero, as if a file were measured."""

        def kept(model):
            return int(sum(np.count_nonzero(weight) for weight in model.get_weights()))

        name = "kept_weights"
        costs.register_metric(name, unit="weights", measure=kept)
        self.addCleanup(costs.unregister_metric, name)
        whole = kept(self.model)
        result = compress(self.model, [self.drops, self.cuts], budget={name: 0.9}, flops_budget=0.5)
        self.assertEqual(result.before.measurements, {name: whole})
        self.assertLessEqual(result.after.measurements[name], 0.9 * whole)
        with self.assertRaisesRegex(costs.LimitMissed, rf"budget\['{name}'\]=0.01"):
            compress(self.model, [self.drops, self.cuts], budget={name: 0.01}, flops_budget=0.9)

    def test_the_time_is_for_all_stages(self):
        """Epochs of 0.919 s and 0.5 s by the limits: 18.4 s and 5 s in all, 0.9 s and 0.5 s at least."""
        stages = [flow_methods.Drops(epochs=20, teach=None), Uniform(epochs=10, teach=None)]
        fitted = []

        def finished(flow, *_):
            fitted.append(flow._methods)
            raise InterruptedError

        self.enterContext(mock.patch.object(running._Flow, "_finished", finished))
        self.enterContext(mock.patch.object(running, "measured_step", return_value=StepTime(1.0, 0.0)))
        with self.assertRaises(InterruptedError):
            compress(self.model, stages, time_budget=12)
        ((first, second),) = fitted
        seconds = first.epochs * 408 / MACS + second.epochs * 0.5
        self.assertBetween(seconds, 10, 12)
        self.assertTrue(1 < first.epochs < 20 and 1 < second.epochs < 10)
        with self.assertRaisesRegex(ValueError, "long enough for all stages, which is at least 1.4 s here"):
            compress(self.model, stages, time_budget=1)


class RefusedTest(tf.test.TestCase):
    """Before the first stage: nothing is trained, no folder is left."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = chain()

    def refused(self, *words, error=ValueError, model=None, **changes):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "run"
        with mock.patch.object(workflow, "_run_one") as run_one, self.assertRaises(error) as caught:
            compress(model or self.model, run_dir=folder, **changes)
        run_one.assert_not_called()
        self.assertFalse(folder.exists())
        for part in ("Expected", "Received", *words):
            self.assertIn(part, str(caught.exception))

    def test_orders_and_splits(self):
        self.refused("The right order is method=['drops', 'uniform', 'rounds']", method=[CUTS, ROUNDS, DROPS])
        self.refused("`split`", split={"lit": 0.5})
        self.refused("below flops_budget=0.5", split=(0.1,))
        with mock.patch.object(flow_methods.Drops, "lowers", ("params",)):
            self.refused("a stage that can lower 'macs'", "flops_budget=0.5", method=[DROPS, ROUNDS])

    def test_budgets(self):
        self.refused("Expected a budget", "Said by stage 1 of 3, 'drops'.", flops_budget=None)
        self.refused("can be reached", "Said by stage 1 of 2, 'drops'.", method=[DROPS, ROUNDS], flops_budget=0.5)
        self.refused("Expected a flops_budget that can be reached", split={"drops": 0.6}, flops_budget=0.5)

    def test_what_a_later_stage_refuses(self):
        words = "Said by stage 3 of 3, 'rounds', which begins with what 'uniform' leaves."
        self.refused(words, model=chain("odd"))
        hints = Uniform(epochs=1, teach=Teaching(hints=("nowhere",)))
        self.refused("'nowhere'", "Said by stage 2 of 2, 'uniform'", method=[DROPS, hints])

    def test_what_only_the_first_search_finds_out_leaves_no_trace(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "runs" / "x"
        words = "normalisation|BatchNormalization.* Said by stage 1 of 2, 'uniform'"
        with self.assertRaisesRegex(ValueError, words):
            compress(self.model, [Uniform(epochs=0, criterion="bn_scale"), ROUNDS], run_dir=folder)
        self.assertFalse(folder.parent.exists())

    def test_control_that_no_stage_obeys(self):
        self.refused("round_to=4", "Leave them out", method=[DROPS, ROUNDS], round_to=4)
        self.refused("Expected `exclude` to match", "Said by stage 2 of 3", exclude="nothing")

    def test_a_later_stage_that_cannot_reach_the_rest_says_so_at_its_turn(self):
        """With 8 channels at least in every group, and no group of so many, nothing can be removed."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "run"
        stages = [flow_methods.Drops(epochs=0), Uniform(epochs=0)]
        with self.assertRaisesRegex(ValueError, r"can be reached: .* Said by stage 2 of 2, 'uniform', which begins"):
            compress(self.model, stages, ratio_limits={"first": 0.1}, flops_budget=0.5, run_dir=folder)
