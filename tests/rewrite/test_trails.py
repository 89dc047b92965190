"""Trails replayed: the architecture again, with the run folder the weights, and clear words where that cannot be."""

import json
import math
import pathlib
import re
import tempfile

import keras
import numpy as np
import small_tasks
import teachers
import tensorflow as tf
from keras.src.applications import convnext

import tfcompress
from tests.helpers.trained_students import TrainedStudents
from tfcompress import KeepChannels, Plan, Trail
from tfcompress.manifest import write_manifest
from tfcompress.methods import LIT, Uniform
from tfcompress.report import changes, plot_changes, plot_spectrum
from tfcompress.rewrite import replay
from tfcompress.rewrite.trails import check_end

SHORT = {"batch_size": 32, "learning_rate": 0.05}
TWICE = Trail((Plan.keeping({"stem": (1, 3, 4), "block1_conv1": (0, 2)}), Plan.keeping({"stem": (0, 2)})))


def shapes(model):
    return [(weight.path, tuple(weight.shape)) for weight in model.weights]


class ReplayTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.model = small_tasks.residual_network()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_positions_are_those_of_what_is_left(self):
        """Of stem channels 1, 3, 4 the first and last: 1 and 4."""
        student = replay(self.model, TWICE)
        kernel = self.model.get_layer("block1_conv1").kernel.numpy()
        self.assertAllEqual(student.get_layer("block1_conv1").kernel, kernel[:, :, [1, 4]][..., [0, 2]])
        self.assertAllEqual(student.get_layer("stem").kernel, self.model.get_layer("stem").kernel.numpy()[..., [1, 4]])
        self.assertEqual(replay(self.model, Trail((Plan(),))).count_params(), self.model.count_params())

    def test_a_file_gives_the_weights_of_its_plan_and_later_plans_inherit_them(self):
        first = replay(self.model, Trail(TWICE.plans[:1]))
        first.set_weights([np.full_like(weight, number) for number, weight in enumerate(first.get_weights())])
        first.save(self.folder / "first.keras")
        trail = Trail((TWICE.plans[0],)).ending_with("first.keras").then(TWICE.last)
        student = replay(self.model, trail, self.folder)
        self.assertEqual([float(np.ptp(weight)) for weight in student.get_weights()], [0.0] * len(student.weights))
        self.assertEqual([weight.flat[0] for weight in student.get_weights()], list(range(len(student.weights))))
        self.assertEqual(shapes(replay(self.model, trail)), shapes(student))

    def test_without_a_folder_there_is_the_architecture_alone(self):
        student = replay(self.model, Trail((Plan(weights="model.keras"),)))
        self.assertEqual(shapes(student), shapes(self.model))
        for name in ("stem", "head"):
            self.assertNotAllClose(student.get_layer(name).kernel, self.model.get_layer(name).kernel)

    def test_through_norms_as_in_the_run(self):
        x = keras.Input((4, 3))
        y = keras.layers.LayerNormalization()(keras.layers.Dense(6, name="stream")(x))
        model, trail = keras.Model(x, keras.layers.Dense(2)(y)), Trail((Plan.keeping({"stream": (0, 2)}),))
        student = replay(model, trail, through_norms=True)
        self.assertEqual(student.get_layer("stream").kernel.shape, (3, 2))
        check_end(model, trail, student, through_norms=True)
        with self.assertRaisesRegex(ValueError, "does not fit plan 1 of 1"):
            replay(model, trail)

    def test_weights_that_have_no_name_of_their_own(self):
        """Keras numbers them anew in each copy; what they belong to and their shapes are compared."""
        x = keras.Input((3,))
        y = convnext.LayerScale(0.5, 6)(keras.layers.Dense(6, name="stream")(x))
        model = keras.Model(x, keras.layers.Dense(2)(y))
        trails = [Trail((Plan.keeping({"stream": indices}),)) for indices in ((0, 2), (0, 2, 3))]
        student = replay(model, trails[0])
        check_end(model, trails[0], student)
        with self.assertRaisesRegex(RuntimeError, "that matches its trail"):
            check_end(model, trails[1], student)

    def test_what_cannot_be_is_refused(self):
        for trail in (TWICE.last, None, [TWICE.last]):
            with self.assertRaisesRegex(TypeError, "Expected `trail` to be a Trail.*Write Trail"):
                replay(self.model, trail)
        with self.assertRaisesRegex(FileNotFoundError, "Expected a folder with model.keras.*no folder for"):
            replay(self.model, TWICE.ending_with("model.keras"), self.folder)
        for last in (Plan.keeping({"stem": (0, 3)}), Plan.keeping({"missing": (0,)})):
            with self.assertRaisesRegex(ValueError, "the trail starts from. Received: model 'small'.* plan 2 of 2: .*"):
                replay(self.model, Trail((TWICE.plans[0], last)))
        replay(self.model, TWICE).save(self.folder / "model.keras")
        with self.assertRaisesRegex(ValueError, "which does not fit plan 1 of 1"):
            replay(self.model, Trail((Plan(weights="model.keras"),)), self.folder)
        write_manifest(self.folder)
        (self.folder / "model.keras").write_bytes(b"")
        with self.assertRaisesRegex(ValueError, "a damaged file"):
            replay(self.model, TWICE.ending_with("model.keras"), self.folder)


class RunsTest(tf.test.TestCase):
    """The trail of a run: as JSON and back, replayed on the model that was given."""

    def check(self, model, method, steps, **budget):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "run"
        result = teachers.compress(model, method, run_dir=folder, **budget)
        trail = Trail.from_json(result.trail.to_json())
        self.assertLen(trail, steps)
        self.assertEqual(trail, Trail.from_json((folder / "result" / "trail.json").read_text()))
        for student in (replay(model, trail, folder), replay(model, trail, folder / "result")):
            self.assertEqual(shapes(student), shapes(result.model))
            for one, two in zip(student.weights, result.model.weights, strict=True):
                self.assertAllEqual(one, two)
        self.assertEqual(shapes(replay(model, trail)), shapes(result.model))
        loaded = tfcompress.Result.load(folder, model=model)
        self.assertEqual(loaded.trail, result.trail)
        self.assertEqual(loaded.candidates, result.candidates)
        for one, two in zip(loaded.model.weights, result.model.weights, strict=True):
            self.assertAllEqual(one, two)
        return result, loaded, folder

    def test_uniform(self):
        self.check(small_tasks.trained_network(), Uniform(epochs=1, **SHORT), 1, flops_budget=0.5)

    def test_uniform_in_steps(self):
        method = Uniform(epochs=0, steps=3, step_epochs=1, **SHORT)
        result, _, _ = self.check(small_tasks.trained_network(), method, 3, flops_budget=0.4)
        self.assertEqual([plan.weights for plan in result.trail], ["inherited", "inherited", "model.keras"])

    def test_lit(self):
        self.check(teachers.trained_teacher(), LIT(epochs=0, finetune_epochs=0, **SHORT), 1, flops_budget=0.5)

    def test_a_sequence_whose_students_are_candidates_with_weights(self):
        model = teachers.trained_teacher()
        method = LIT(epochs=0, finetune_epochs=0, blocks=((2, 2), (1, 1)), **SHORT)
        result, loaded, folder = self.check(model, method, 2)
        first, last = result.candidates
        self.assertEqual(first.trail.plans[0].edits, result.trail.plans[0].edits)
        self.assertEqual(first.trail.files, ("candidate-1.keras",))
        self.assertIsNone(last.model)
        removed = [plan.removed for plan in result.trail]
        self.assertEmpty(set(removed[0]) & set(removed[1]))
        for student in (loaded.candidates[0].model, replay(model, first.trail, folder)):
            for one, two in zip(student.weights, first.model.weights, strict=True):
                self.assertAllEqual(one, two)
        # Another answer without training again: what costs as much as the first student.
        picked = loaded.pick(params_budget=first.cost.params)
        scores = [first.score, result.after.validation_accuracy]
        self.assertIn(picked.after.validation_accuracy, scores)
        self.assertEqual(picked.after.validation_accuracy, max(scores))


class PickTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.model = small_tasks.trained_network()
        method = TrainedStudents(epochs=0, shares=(0.75, 0.4), **SHORT)
        validation = {"validation_data": small_tasks.pictures(64, seed=3)}
        cls.validation = validation["validation_data"]
        cls.result = teachers.compress(cls.model, method, flops_budget=0.7, run_dir=cls.folder / "run", **validation)

    def test_a_candidate_within_the_budget_with_its_weights(self):
        large, small = self.result.candidates
        self.assertLess(small.cost.macs, large.cost.macs)
        self.assertEqual(self.result.pick(budget={"params": small.cost.params}).after.params, small.cost.params)
        share = small.cost.macs / self.result.before.macs + 0.01
        for result in (self.result, tfcompress.Result.load(self.folder / "run")):
            picked = result.pick(flops_budget=share)
            self.assertEqual(picked.after.macs, small.cost.macs)
            self.assertEqual(tfcompress.cost(picked.model).macs, small.cost.macs)
            self.assertEqual((picked.after.validation_accuracy, picked.after.split), (small.score, "validation"))
            x, y = self.validation
            self.assertAllClose((picked.model(x).numpy().argmax(-1) == y).mean(), small.score, atol=1e-6)
            self.assertIn("student 2", " ".join(picked.notes))
            picked.save(self.folder / "picked")
            again = replay(self.model, picked.trail, self.folder / "picked")
            for one, two, three in zip(again.weights, small.model.weights, picked.model.weights, strict=True):
                self.assertAllEqual(one, two)
                self.assertAllEqual(one, three)

    def test_the_student_of_a_search_that_trained_it_and_what_it_was_trained_to(self):
        best = max(self.result.candidates, key=lambda candidate: candidate.score)
        self.assertEqual([plan.edits for plan in self.result.trail], [plan.edits for plan in best.trail])
        for one, two in zip(self.result.model.weights, best.model.weights, strict=True):  # as no epoch follows
            self.assertAllEqual(one, two)
            self.assertIsNot(one, two)
        self.assertEqual(self.result.pick(flops_budget=1.0).after.validation_accuracy, best.score)

    def test_refused(self):
        with self.assertRaisesRegex(ValueError, "student trained by .*: .*FLOPs.* 2 have weights. Call compress again"):
            self.result.pick(flops_budget=0.001)
        with self.assertRaisesRegex(ValueError, r"Received: budget\['bytes'\]=8"):
            self.result.pick(budget={"bytes": 8})
        small, before = self.result.candidates[1].cost, self.result.before
        shares = [f"{math.ceil(1e4 * small[m] / before.cost[m]) / 1e4:.4f}" for m in ("macs", "params")]
        expected = f"at least {2 * small.macs:,} FLOPs ({shares[0]} of the original)"
        with self.assertRaisesRegex(ValueError, re.escape(expected) + r"\. Received: flops_budget=0.001;"):
            tfcompress.Result.load(self.folder / "run").pick(flops_budget=0.001)
        expected += f" and {small.params:,} parameters ({shares[1]} of the original)"
        with self.assertRaisesRegex(ValueError, re.escape(expected) + r"\. Received: flops_budget=0.001, params"):
            self.result.pick(flops_budget=0.001, params_budget=0.9)
        with self.assertRaisesRegex(ValueError, "Expected `?flops_budget"):
            self.result.pick(flops_budget=-1)
        plain = teachers.compress(self.model, Uniform(epochs=0), flops_budget=0.7)
        self.assertIs(plain.pick(flops_budget=0.7), plain)
        with self.assertRaisesRegex(ValueError, "of 1 candidates 0 have weights. Call compress again"):
            plain.pick(flops_budget=0.3)

    def test_the_candidates_are_drawn_from_a_loaded_result_as_well(self):
        loaded = tfcompress.Result.load(self.folder / "run")
        for result in (self.result, loaded, loaded.pick(flops_budget=0.6)):
            for plot in (plot_spectrum, plot_changes):
                plot(result, self.folder / "plot.png")
                self.assertGreater((self.folder / "plot.png").stat().st_size, 5000)
                (self.folder / "plot.png").unlink()
        groups = set(changes(self.result.candidates[0].trail))
        self.assertEqual(groups, {edit.group for plan in self.result.candidates[0].trail for edit in plan})

    def test_a_student_that_its_trail_does_not_lead_to(self):
        class Wrong(TrainedStudents):
            def trail(self, task, share):
                return Trail((*super().trail(task, share).plans, Plan((KeepChannels("stem", (0,)),))))

            def search(self, task):
                search = super().search(task)
                return tfcompress.methods.Search(task.model, Trail(search.trail.plans[:-1]), student=search.student)

        with self.assertRaisesRegex(RuntimeError, "that matches its trail, with .*stem.*Received: student"):
            teachers.compress(self.model, Wrong(epochs=0, student_epochs=0, shares=(0.75,)), flops_budget=0.9)

    def test_a_source_that_the_plans_before_the_last_were_not_applied_to(self):
        class Wrong(Uniform):
            def search(self, task):
                return tfcompress.methods.Search(task.model, TWICE)

        with self.assertRaisesRegex(RuntimeError, "the source that the first 1 of 2 plans lead to"):
            teachers.compress(self.model, Wrong(epochs=0), flops_budget=0.9)


class OlderLayoutTest(tf.test.TestCase):
    def test_a_saved_result(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "result.json").write_text(json.dumps({"format": 2, "seed": 0}))
        write_manifest(folder)
        with self.assertRaisesRegex(ValueError, "format 5. Received: format=2 .*an earlier version.*compress again"):
            tfcompress.Result.load(folder)


if __name__ == "__main__":
    tf.test.main()
