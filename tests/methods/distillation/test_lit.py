"""LIT whole: what each phase trains and leaves, budgets, students, sequences, precision."""

import functools
import itertools
import math
from unittest import mock

import few_steps
import numpy as np
import small_tasks
import teachers
import tensorflow as tf

from tfcompress import cost
from tfcompress.methods import LIT
from tfcompress.rewrite import apply, replay

SHORT = {"epochs": 1, "finetune_epochs": 1, "learning_rate": 0.05, "finetune_learning_rate": 0.05}
FRESH = {**SHORT, "start": "fresh"}


def trained_teacher():
    return teachers.trained_teacher(blocks=(2, 2))


@functools.cache
def ordinary_run():
    """Six tenths of the MACs, sections from fresh weights; two phases of an epoch."""
    teacher = trained_teacher()
    before = teachers.weights_of(teacher)
    result, phases = teachers.observed(teacher, LIT(**FRESH), flops_budget=0.6, seed=3)
    return result, phases, teachers.moved(before, teacher)


class PhasesTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.teacher = trained_teacher()
        self.result, (self.sections, self.finetuning), self.moved_of_users = ordinary_run()
        self.of_teacher = teachers.weights_of(self.teacher)

    @staticmethod
    def of(weights, *starts):
        found = {path: value for path, value in weights.items() if path.startswith(starts)}
        assert found
        return found

    def test_the_teacher_and_the_users_model_stay(self):
        self.assertEqual(self.moved_of_users, set())
        for phase in (self.sections, self.finetuning):
            self.assertEqual(phase.teacher_moved, set())
            self.assertAllEqual(phase.teacher.get_layer("stem").kernel, self.teacher.get_layer("stem").kernel)

    def test_stem_and_head_are_the_teachers_until_fine_tuning(self):
        for path, value in self.of(self.sections.after, "stem", "head").items():
            self.assertAllEqual(value, self.of_teacher[path], path)
        self.assertContainsSubset(self.of(self.sections.after, "stem", "head").keys(), self.finetuning.moved)

    def test_sections_begin_afresh_and_are_all_that_is_trained_first(self):
        weights = self.of(self.sections.before, "section")
        for path, value in weights.items():
            if path.endswith("kernel"):
                self.assertNotAllClose(value, self.of_teacher[path], msg=path)
            elif path.endswith(("moving_variance", "gamma")):
                self.assertAllEqual(value, np.ones_like(value), path)
        learned = {path for path in weights if "moving" not in path}
        self.assertEqual(self.sections.trainable, learned)
        self.assertContainsSubset(weights.keys(), self.sections.moved)

    def test_then_everything(self):
        every = {path for path in self.of(self.finetuning.before, "stem", "section", "head") if "moving" not in path}
        self.assertEqual(self.finetuning.trainable, every)
        self.assertContainsSubset(every, self.finetuning.moved)

    def test_every_gradient_is_finite_and_not_zero(self):
        for phase in (self.sections, self.finetuning):
            self.assertEqual(phase.gradients.keys(), phase.trainable)
            for path, gradient in phase.gradients.items():
                self.assertIsNotNone(gradient, path)
                self.assertTrue(np.isfinite(gradient).all(), path)
                self.assertGreater(np.abs(gradient).max(), 0, path)

    def test_the_budget_and_what_is_left(self):
        self.assertLessEqual(self.result.after.macs, 0.6 * self.result.before.macs)
        self.assertEqual(cost(self.result.model).macs, self.result.after.macs)
        self.assertLess(len(self.result.model.layers), len(self.teacher.layers))
        self.assertEqual(self.result.model.get_layer("section2_block1_shortcut").kernel.shape, (1, 1, 6, 8))

    def test_history_and_settings(self):
        history = self.result.history["recover"]
        self.assertContainsSubset({"loss", "loss_hints", "loss_outputs", "fine-tuning loss"}, history)
        self.assertNotIn("fine-tuning loss_hints", history)
        mean = 0.75 * history["loss_outputs"][0] + 0.25 * history["loss_hints"][0] + history["weight_decay"][0]
        self.assertAllClose(history["loss"][0], mean, rtol=0.05)  # weight decay is that of the end of the epoch
        self.assertEqual(self.result.settings["beta"], 0.75)
        self.assertEqual(self.result.method, "lit")


class TrainingTest(tf.test.TestCase):
    def test_everything_copied_keeps_its_accuracy(self):
        """Compiled, not eagerly: what `fit` does by default."""
        self.enterContext(mock.patch.object(few_steps, "STEPS", 0))
        teacher = trained_teacher()
        parts = ("stem", "section1", "section2", "head")
        method = LIT(
            epochs=1,
            finetune_epochs=1,
            learning_rate=1e-4,
            finetune_learning_rate=1e-4,
            blocks=(2, 2),
            start="fresh",
            copy=parts,
            freeze=(),
        )
        validation = small_tasks.pictures(200, seed=8)
        result = teachers.compress(teacher, method, validation_data=validation)
        self.assertGreater(result.before.accuracy, 0.85)
        self.assertGreaterEqual(result.after.accuracy, result.before.accuracy - 0.03)
        kernel = result.model.get_layer("section2_block2_conv1").kernel
        self.assertAllClose(kernel, teacher.get_layer("section2_block2_conv1").kernel, atol=0.02)
        self.assertNotAllEqual(kernel, teacher.get_layer("section2_block2_conv1").kernel)

    def test_what_is_copied_and_held_can_be_chosen(self):
        teacher = teachers.classifier(blocks=(2, 2))
        method = LIT(**FRESH, blocks=(1, 1), copy=("head",), freeze=("section2",))
        _, (sections, _) = teachers.observed(teacher, method)
        before = teachers.weights_of(teacher)
        self.assertAllEqual(sections.before["head/kernel"], before["head/kernel"])
        self.assertNotAllClose(sections.before["stem/kernel"], before["stem/kernel"])
        self.assertContainsSubset({"head/kernel", "stem/kernel", "section1_block1_conv1/kernel"}, sections.moved)
        self.assertEmpty([path for path in sections.moved if path.startswith("section2")])

    def test_one_section_of_two_the_other_copied_bit_for_bit(self):
        teacher = teachers.classifier(blocks=(2, 3))
        before = teachers.weights_of(teacher)
        result, (sections, finetuning) = teachers.observed(teacher, LIT(**FRESH, sections=(2,)), flops_budget=0.8)
        self.assertLess(len(result.model.layers), len(teacher.layers))
        self.assertIn("section1_block2_conv1", [layer.name for layer in result.model.layers])
        copied = [path for path in sections.after if path.startswith(("stem", "section1", "head"))]
        self.assertLen(copied, 5 + 4 * 5 + 2)
        for path in copied:
            self.assertAllEqual(sections.after[path], before[path], path)
        self.assertNotAllClose(sections.before["section2_block1_conv1/kernel"], before["section2_block1_conv1/kernel"])
        self.assertContainsSubset(copied, finetuning.moved)

    def test_hints_and_teacher_input_are_settings(self):
        """One hint in the end without teacher input trains all before it; a hint with it one section alone (beta 0).

        The others stay, as weight decay alone would take them to zero.
        """
        teacher = teachers.classifier(blocks=(2, 2))
        settings = {**SHORT, "blocks": (1, 1), "beta": 0.0, "freeze": ()}
        for teacher_input, silent in ((True, ("stem", "section1", "head")), (False, ("head",))):
            method = LIT(**settings, hints=(2,), teacher_input=teacher_input)
            _, (sections, finetuning) = teachers.observed(teacher, method)
            self.assertEqual(sections.trainable, {p for p in finetuning.trainable if not p.startswith(silent)})
            self.assertEmpty([path for path in sections.moved if path.startswith(silent)])
            self.assertContainsSubset(sections.trainable, sections.moved)
            for path, gradient in sections.gradients.items():
                self.assertIsNotNone(gradient, path)

    def test_bfloat16_leaves_float32_behind(self):
        teacher = teachers.classifier(blocks=(1, 2))
        method = LIT(**SHORT, blocks=(1, 1), mixed_precision="mixed_bfloat16")
        result, phases = teachers.observed(teacher, method)
        for phase in phases:
            self.assertIn("bfloat16", phase.dtypes)
            self.assertEqual({value.dtype.name for value in phase.after.values()}, {"float32"})
        for model in (result.model, teacher):
            self.assertEqual({weight.dtype for weight in model.weights}, {"float32"})
            self.assertEqual({layer.dtype_policy.name for layer in model.layers}, {"float32"})
        self.assertTrue(np.isfinite(result.history["recover"]["loss"]).all())


@functools.cache
def cost_of(blocks):
    return cost(teachers.classifier(blocks=blocks))


class BudgetTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.teacher = teachers.classifier(blocks=(4, 3))

    def search(self, method=None, teacher=None, **budget):
        task = small_tasks.task_for(teacher or self.teacher, **budget)
        method = method or LIT()
        method.check_model(task)
        method.check(task)
        return task, method.search(task)

    def left(self, model):
        names = {layer.name.rpartition("_")[0] for layer in model.layers if layer.name.endswith("_add")}
        return tuple(sum(name.startswith(f"section{i}") for name in names) for i in (1, 2))

    def test_every_budget_is_held_and_used(self):
        found = {}
        for budget in ({"flops": 0.9}, {"flops": 0.7}, {"flops": 0.5}, {"flops": 0.4}, {"params": 0.6}, {"flops": 1.0}):
            task, search = self.search(**budget)
            student = apply(search.source, search.plan)
            counted = cost(student)
            self.assertTrue(task.fits(counted), budget)
            self.assertEqual(task.costs.of(search.plan), counted)
            blocks = self.left(student)
            found[str(budget)] = blocks
            for more in itertools.product(*(range(b, n + 1) for b, n in zip(blocks, (4, 3), strict=True))):
                if all(m > b or b == n for m, b, n in zip(more, blocks, (4, 3), strict=True)) and more != blocks:
                    self.assertFalse(task.fits(cost_of(more)), (budget, blocks, more))
        self.assertEqual(found["{'flops': 1.0}"], (4, 3))
        self.assertGreaterEqual(len(set(found.values())), 4)
        self.assertEqual(min(found.values()), found["{'flops': 0.4}"])

    def test_a_budget_that_lacks_next_to_nothing_of_a_block_is_told_what_to_ask_for(self):
        whole, more, less = (cost_of(blocks).macs for blocks in ((4, 3), (4, 2), (3, 2)))
        block = more - less
        for lacking, near in ((1, True), (block // 10, True), (block // 10 + 1, False), (block - 1, False)):
            task, _ = self.search(flops=2 * (more - lacking))
            notes = [note for note in task.said if "hardly more" in note]
            self.assertEqual(bool(notes), near, lacking)
            if near:
                self.assertStartsWith(notes[0], f"flops_budget={2 * (more - lacking)} leaves (3, 2) blocks")
                self.assertIn(f"with flops_budget={2 * more} there would be (4, 2)", notes[0])
        share = math.floor(1e4 * more / whole) / 1e4
        task, _ = self.search(flops=share)
        self.assertIn(f"with flops_budget={share + 1e-4:.4f} there would be (4, 2)", task.said[-1])
        task, search = self.search(flops=round(share + 1e-4, 4))
        self.assertEqual(self.left(apply(search.source, search.plan)), (4, 2))
        self.assertEqual([note for note in task.said if "hardly more" in note], [])

    def test_blocks_in_words_need_no_budget(self):
        _, search = self.search(LIT(blocks=(2, 1)), flops=1.0)
        student = apply(search.source, search.plan)
        self.assertEqual(self.left(student), (2, 1))
        self.assertEqual(cost(student), cost_of((2, 1)))
        self.assertIn("section2_block1_shortcut", [layer.name for layer in student.layers])

    def test_half_the_cardinality_leaves_the_width_of_blocks(self):
        """12 channels in 4 groups of 3: 2 groups leave 6, each still reading 3."""
        teacher = teachers.classifier(blocks=(2, 2), inner=12, groups=4)
        _, search = self.search(LIT(blocks=(2, 1), cardinality=2), teacher, flops=1.0)
        student = apply(search.source, search.plan)
        expected = teachers.classifier(blocks=(2, 1), inner=6, groups=2)
        shapes = {path: value.shape for path, value in teachers.weights_of(student).items()}
        self.assertEqual(shapes, {path: value.shape for path, value in teachers.weights_of(expected).items()})
        self.assertEqual(student.get_layer("section1_block1_grouped").groups, 2)
        self.assertEqual(student.get_layer("section1_block1_grouped").kernel.shape, (3, 3, 3, 6))
        self.assertEqual(cost(student), cost(expected))

    def test_cardinality_within_a_budget(self):
        teacher = teachers.classifier(blocks=(3, 3), inner=12, groups=4)
        task, search = self.search(LIT(cardinality=2), teacher, flops=0.5)
        student = apply(search.source, search.plan)
        self.assertTrue(task.fits(cost(student)))
        self.assertEqual(student.get_layer("section1_block1_grouped").groups, 2)


class StudentsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.teacher = teachers.classifier(blocks=(2, 2))

    def test_a_model_of_ones_own(self):
        """Wider inside and with other names of layers; where it is split is found by shape or given by name."""
        student = teachers.classifier(blocks=(1, 1), inner=5, seed=9)
        points = ("stem_relu", "section1_block1_relu", "section2_block1_relu")
        before = teachers.weights_of(student)
        outcomes = []
        for names in (None, points):
            method = LIT(**SHORT, student=student, student_split_points=names)
            result, (sections, _) = teachers.observed(self.teacher, method)
            self.assertEqual(teachers.moved(before, student), set())
            self.assertEqual([layer.name for layer in result.model.layers], [layer.name for layer in student.layers])
            # Sections begin with the weights that it came with, stem and head with the teacher's.
            path = "section1_block1_grouped/kernel"
            self.assertAllEqual(sections.before[path], before[path])
            self.assertAllEqual(sections.before["stem/kernel"], self.teacher.get_layer("stem").kernel)
            self.assertContainsSubset([path, "section2_block1_shortcut/kernel"], sections.moved)
            self.assertNotIn("stem/kernel", sections.moved)
            outcomes.append(result.model.get_weights())
        for one, other in zip(*outcomes, strict=True):
            self.assertAllClose(one, other, rtol=1e-4, atol=1e-5)

    def test_split_points_of_the_teacher_by_name(self):
        """One section of both."""
        names = ("stem_relu", "section2_block2_relu")
        method = LIT(**SHORT, split_points=names, blocks=(1, 2))
        result, (sections, _) = teachers.observed(self.teacher, method)
        self.assertContainsSubset({"section1_block1_conv1/kernel", "section2_block1_conv1/kernel"}, sections.moved)
        self.assertNotIn("stem/kernel", sections.moved)
        self.assertEqual(result.model.output_shape, (None, 4))

    def test_a_sequence_each_learning_from_the_one_before(self):
        result, phases = teachers.observed(self.teacher, LIT(**SHORT, blocks=((1, 2), (1, 1))))
        self.assertLen(phases, 4)
        counts = [len(phase.teacher.layers) for phase in phases]
        self.assertEqual(counts[0], len(self.teacher.layers))
        self.assertEqual(counts[:2], 2 * [counts[0]])
        self.assertEqual(counts[2], counts[3])
        self.assertBetween(counts[2], len(result.model.layers) + 1, counts[0] - 1)
        self.assertLen({phase.name for phase in phases}, 4)
        # The second student's stem is that of the first as it was trained, not the first teacher's.
        trained = phases[1].after["stem/kernel"]
        self.assertAllEqual(phases[2].before["stem/kernel"], trained)
        self.assertNotAllClose(trained, self.teacher.get_layer("stem").kernel)
        for phase in phases:
            self.assertEqual(phase.teacher_moved, set())
        (first,) = [c for c in result.candidates if c.cost.macs > result.after.macs]
        self.assertEqual(first.cost, cost(teachers.classifier(blocks=(1, 2))))
        self.assertEqual(cost(replay(self.teacher, first.trail)), first.cost)
        self.assertEqual(cost(replay(self.teacher, result.trail)).macs, result.after.macs)
