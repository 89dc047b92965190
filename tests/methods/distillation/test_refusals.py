"""Bad input: refused before anything is trained, in words that name what came."""

import re
from unittest import mock

import keras
import small_tasks
import teachers
import tensorflow as tf
from keras import layers

from tfcompress import data
from tfcompress.methods import KD, LIT, BornAgain, Hint, Scratch, Tuning, phases


class RefusalTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        # Nothing is trained in any of these tests.
        self.enterContext(mock.patch.object(phases, "train_phase", side_effect=AssertionError("trained")))
        self.teacher = teachers.classifier(blocks=(2, 2))

    def refused(self, message, method, teacher=None, data=None, error=ValueError, **settings):
        with self.assertRaisesRegex(error, f"(?s){message}"):  # sections are shown in lines of their own
            teachers.compress(teacher or self.teacher, method, data, **settings)


class ModelsTest(RefusalTest):
    def test_no_repeated_blocks(self):
        inputs = keras.Input((8, 8, 1))
        x = layers.Conv2D(4, 3, activation="relu")(inputs)
        plain = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)), name="plain")
        for method in ("lit", "kd", "scratch", "hint"):
            self.refused("repeated blocks.*'plain'", method, plain, flops_budget=0.5)

    def test_no_budget_and_one_below_the_shallowest_student(self):
        self.refused("flops_budget", "lit")
        self.refused(r"0\.01", "lit", flops_budget=0.01)
        self.refused("at least 1.0000 .*0.6", LIT(blocks=(2, 2)), flops_budget=0.6)

    def test_born_again_gets_nothing_smaller(self):
        self.refused("1.0", "born_again", flops_budget=0.5)

    def test_blocks_of_the_wrong_length_or_number(self):
        self.refused(r"2 sections.*\(1, 1, 1\)", LIT(blocks=(1, 1, 1)))
        self.refused("2 blocks for section2.*3", LIT(blocks=(1, 3)))

    def test_sections_that_there_are_not(self):
        self.refused(r"sections.*3", LIT(sections=(3,)), flops_budget=0.5)
        for hints in ((9,), (0,), (1, 3)):
            self.refused(rf"hints.*{max(hints)}", LIT(hints=hints), flops_budget=0.6)
        self.refused(r"copy.*neck|neck.*copy", LIT(copy=("neck",)), flops_budget=0.6)
        self.refused(r"freeze.*neck|neck.*freeze", LIT(freeze=("neck",)), flops_budget=0.6)

    def test_a_teacher_at_chance_is_a_warning(self):
        method = Scratch(epochs=0, blocks=(1, 1))
        with mock.patch.object(phases, "train_phase", return_value={}):
            result = teachers.compress(self.teacher, method)
        (note,) = [note for note in result.notes if note.startswith("Warning")]
        self.assertRegex(note, "chance level on the validation split")

    def test_what_channels_are_pruned_by_is_not_lits(self):
        for settings in ({"exclude": "stem"}, {"only": "section*"}, {"round_to": 4}, {"ratio_limits": {"*": 0.5}}):
            self.refused(next(iter(settings)), "lit", flops_budget=0.6, **settings)


class StudentsTest(RefusalTest):
    def test_other_classes_and_other_inputs(self):
        self.refused("4.*10|10.*4", LIT(student=teachers.classifier(blocks=(1, 1), classes=10)))
        self.refused("classes|gives", KD(student=teachers.classifier(blocks=(1, 1), classes=10)))

    def test_shapes_that_do_not_match_name_both_layers_and_shapes(self):
        student = teachers.classifier(blocks=(1, 1), widths=(6, 7))
        points = ("stem_relu", "section1_block1_relu", "section2_block1_relu")
        method = LIT(student=student, student_split_points=points)
        self.refused(
            r"section2_block1_relu.*4, 4, 7.*section2_block2_relu.*4, 4, 8|"
            r"section2_block2_relu.*4, 4, 8.*section2_block1_relu.*4, 4, 7",
            method,
        )
        self.refused("4, 4, 8", LIT(student=student))

    def test_another_number_of_split_points_and_unknown_ones(self):
        student = teachers.classifier(blocks=(1, 1))
        self.refused(
            "section1_block1_relu", LIT(student=student, student_split_points=("stem_relu", "section1_block1_relu"))
        )
        self.refused(
            "nowhere", LIT(student=student, student_split_points=("stem_relu", "nowhere", "section2_block1_relu"))
        )
        self.refused("nowhere", LIT(split_points=("stem_relu", "nowhere")), flops_budget=0.6)
        self.refused(
            "section1_block1_conv1", LIT(split_points=("stem_relu", "section1_block1_conv1")), flops_budget=0.6
        )

    def test_a_student_above_the_budget(self):
        self.refused("budget|limit|within", LIT(student=teachers.classifier(blocks=(2, 2))), flops_budget=0.5)

    def test_probabilities_where_the_other_gives_logits(self):
        for one, other in (("softmax", None), (None, "softmax")):
            teacher = teachers.classifier(blocks=(2, 2), activation=one)
            student = teachers.classifier(blocks=(1, 1), activation=other)
            self.refused("softmax.*linear|linear.*softmax", KD(student=student), teacher)

    def test_a_last_activation_that_gives_neither(self):
        teacher = teachers.classifier(blocks=(2, 2), activation="relu")
        teacher.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        for method in (LIT(), KD()):
            self.refused("logits.*'relu'", method, teacher, flops_budget=0.6)

    def test_labels_may_be_absent_for_no_classifier(self):
        images = small_tasks.pictures(20)[0]
        teacher = teachers.classifier(blocks=(2, 2))
        teacher.compile("sgd", "sparse_categorical_crossentropy")
        self.refused("labels.*4 classes", LIT(beta=0.0), teacher, (images, None), flops_budget=0.6)

    def test_no_model(self):
        with self.assertRaisesRegex((TypeError, ValueError), "student"):
            teachers.compress(self.teacher, LIT(student="resnet20"))


class GeneratorsTest(RefusalTest):
    def setUp(self):
        super().setUp()
        self.teacher = teachers.generator()
        self.images = small_tasks.pictures(20)[0]

    def test_generators_are_not_distilled(self):
        for method in (LIT(), KD(), Hint()):
            self.refused(r"LIT\(beta=0\)|beta", method, data=(self.images, self.images), flops_budget=0.6)

    def test_discriminators(self):
        critic = teachers.discriminator()
        for settings, message in (
            ({"discriminator": critic, "beta": 0.5}, "beta"),
            ({"discriminator": teachers.discriminator(size=12), "beta": 0.0}, "12"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                teachers.compress(self.teacher, LIT(**settings), (self.images, None), flops_budget=0.8)

    def test_a_discriminator_of_a_classifier(self):
        method = LIT(beta=0.0, discriminator=teachers.discriminator())
        self.refused("discriminator.*8, 8, 1", method, teachers.classifier(blocks=(2, 2)), flops_budget=0.8)

    def test_inputs_to_shuffle_that_there_are_not(self):
        self.refused(
            "shuffled_inputs.*1", LIT(beta=0.0, shuffled_inputs=(1,)), data=(self.images, None), flops_budget=0.8
        )

    def test_nothing_to_tune_by(self):
        with self.assertRaisesRegex(ValueError, "tune.*beta|beta.*tune"):
            teachers.compress(self.teacher, LIT(beta=0.0, tune=True), (self.images, None), flops_budget=0.8)


class CacheTest(RefusalTest):
    def test_augmented_data(self):
        teacher = teachers.classifier(blocks=(2, 2), classes=10)
        augmented = data.load("digits", augment=lambda images, rng: images, images=60)
        self.refused("augment", LIT(cache_gb=1.0), teacher, augmented, flops_budget=0.6)

    def test_above_the_limit(self):
        self.refused("cache_gb.*1e-06|1e-06.*cache_gb", LIT(cache_gb=1e-6), flops_budget=0.6)


class SettingsTest(tf.test.TestCase):
    def test_out_of_range(self):
        for kind, wrong in (
            (LIT, {"beta": 1.0}),
            (LIT, {"beta": -0.1}),
            (LIT, {"alpha": 2}),
            (LIT, {"tau": 0}),
            (LIT, {"loss": "l3"}),
            (LIT, {"finetune_epochs": -1}),
            (LIT, {"epochs": 1.5}),
            (LIT, {"cache_gb": 0}),
            (LIT, {"cardinality": 0}),
            (LIT, {"hints": ()}),
            (LIT, {"sections": ()}),
            (LIT, {"optimizer": "lamb"}),
            (LIT, {"mixed_precision": "float8"}),
            (LIT, {"blocks": (0, 1)}),
            (KD, {"soft": "kl"}),
            (KD, {"alpha": -1}),
            (KD, {"decay": 0}),
            (Hint, {"loss": "mse"}),
            (BornAgain, {"generations": 0}),
        ):
            ((name, value),) = wrong.items()
            with self.assertRaisesRegex(ValueError, f"`{name}`.*{re.escape(str(value))}"):
                kind(**wrong)

    def test_blocks_and_a_student_at_once(self):
        student = teachers.classifier(blocks=(1, 1))
        for settings in ({"blocks": (1, 1)}, {"cardinality": 2}, {"sections": (1,)}):
            with self.assertRaisesRegex(ValueError, f"student.*{next(iter(settings))}|{next(iter(settings))}.*student"):
                KD(student=student, **settings)

    def test_scratch_has_no_teacher(self):
        for settings in ({"alpha": 0.3}, {"tau": 2.0}, {"soft": "logits"}):
            with self.assertRaisesRegex(ValueError, next(iter(settings))):
                Scratch(**settings)

    def test_tuning(self):
        for wrong in ({"epochs": 0}, {"taus": ()}, {"taus": (0.0,)}, {"alphas": (2.0,)}, {"betas": (1.0,)}):
            with self.assertRaisesRegex(ValueError, next(iter(wrong))):
                Tuning(**wrong)
