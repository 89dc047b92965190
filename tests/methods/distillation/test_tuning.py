"""Settings tuned one after the other on the validation split."""

from unittest import mock

import teachers
import tensorflow as tf

from tfcompress.methods import LIT, Tuning
from tfcompress.methods.distillation import lit
from tfcompress.methods.distillation.tuning import one_after_the_other


class OneAfterTheOtherTest(tf.test.TestCase):
    def test_the_best_of_each_with_the_best_of_those_before(self):
        """A score with its top at tau 4, alpha 0.3 and beta 0.5, where tau's best depends on no other."""
        tuning = Tuning(epochs=1, taus=(2.0, 4.0, 6.0), alphas=(0.1, 0.3), betas=(0.25, 0.5))
        asked, notes = [], []

        def score(name, settings):
            asked.append((name, dict(settings)))
            tops = {"tau": 4.0, "alpha": 0.3, "beta": 0.5}
            return -sum(abs(settings[key] - top) for key, top in tops.items() if key in settings)

        best, scores = one_after_the_other(tuning, score, notes.append)
        self.assertEqual(best, {"tau": 4.0, "alpha": 0.3, "beta": 0.5})
        self.assertEqual([name for name, _ in asked], ["tau"] * 3 + ["alpha"] * 2 + ["beta"] * 2)
        self.assertEqual([settings["tau"] for _, settings in asked], [2.0, 4.0, 6.0, 4.0, 4.0, 4.0, 4.0])
        self.assertEqual([settings["alpha"] for _, settings in asked[5:]], [0.3, 0.3])
        self.assertAllClose(scores, {"tau": [-2.0, 0.0, -2.0], "alpha": [-0.2, 0.0], "beta": [-0.25, 0.0]})
        self.assertLen(notes, 3)
        trainings = [
            ("tau", 2.0),
            ("tau", 4.0),
            ("tau", 6.0),
            ("alpha", 0.1),
            ("alpha", 0.3),
            ("beta", 0.25),
            ("beta", 0.5),
        ]
        self.assertEqual(list(tuning.trainings), trainings)


class TuneTest(tf.test.TestCase):
    def test_the_best_of_all_is_what_trains(self):
        """Scores are put in place of the validation split's: tau 4, alpha 0.5 and beta 0.25 shall win."""
        tuning = Tuning(epochs=1, taus=(2.0, 4.0), alphas=(0.5, 0.9), betas=(0.25, 0.5))
        method = LIT(epochs=1, finetune_epochs=1, blocks=(1, 1), tune=True, tuning=tuning)
        teacher = teachers.classifier(blocks=(1, 2))
        before = teachers.weights_of(teacher)
        used = []
        sections, outputs = LIT.train_sections, lit.train_on_outputs

        def watched_sections(self, *args, **kwargs):
            used.append(("sections", self.tau, self.alpha, self.beta))
            return sections(self, *args, **kwargs)

        def watched_outputs(student, teacher, task, training, phase, lesson, **kwargs):
            used.append(("outputs", lesson.tau, lesson.alpha))
            return outputs(student, teacher, task, training, phase, lesson, **kwargs)

        with (
            mock.patch.object(LIT, "train_sections", watched_sections),
            mock.patch.object(lit, "train_on_outputs", watched_outputs),
            mock.patch.object(lit.phases, "score_of", side_effect=[0.3, 0.4, 0.7, 0.6, 0.9, 0.8]),
        ):
            result, phases = teachers.observed(teacher, method)
        self.assertEqual(used[:2], [("outputs", 2.0, method.alpha), ("outputs", 4.0, method.alpha)])
        self.assertEqual(used[2:4], [("outputs", 4.0, 0.5), ("outputs", 4.0, 0.9)])
        self.assertEqual(used[4:6], [("sections", 4.0, 0.5, 0.25), ("sections", 4.0, 0.5, 0.5)])
        self.assertEqual(used[6:], [("sections", 4.0, 0.5, 0.25), ("outputs", 4.0, 0.5)])
        # Each from the same start, and the last two as if nothing had been before.
        self.assertLen(phases, 8)
        self.assertLen({phase.name for phase in phases}, 8)
        for one, other in ((0, 1), (0, 2), (4, 5), (4, 6)):
            path = "section1_block1_conv1/kernel"
            self.assertAllEqual(phases[one].before[path], phases[other].before[path])
        self.assertEqual(teachers.moved(before, teacher), set())
        history = result.history["recover"]
        self.assertEqual(history["tuned tau"], [4.0])
        self.assertEqual(history["tuned beta"], [0.25])
        self.assertEqual(history["tuning of alpha"], [0.7, 0.6])
