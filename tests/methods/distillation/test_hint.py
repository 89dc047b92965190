"""Hint training: up to one section first, through a regressor where widths differ."""

import numpy as np
import teachers
import tensorflow as tf

from tfcompress.methods import Hint

SHORT = {"epochs": 1, "hint_epochs": 1, "learning_rate": 0.05}


class HintTest(tf.test.TestCase):
    def test_a_narrower_student_with_a_regressor_that_is_dropped(self):
        student = teachers.classifier(blocks=(1, 1), widths=(3, 5), seed=7)
        before = teachers.weights_of(student)
        result, (hint, whole) = teachers.observed(teachers.classifier(blocks=(2, 2)), Hint(**SHORT, student=student))
        self.assertEqual(teachers.moved(before, student), set())
        own = set(before)
        regressor = {path: value for path, value in hint.before.items() if path not in own and path.endswith("kernel")}
        ((path, kernel),) = regressor.items()
        # The middle one of two sections is the first: 3 channels to 6.
        self.assertEqual(kernel.shape[-2:], (3, 6))
        self.assertEqual(kernel.size, 18)
        self.assertIn(path, hint.moved)
        self.assertGreater(np.abs(hint.gradients[path]).max(), 0)
        self.assertNotIn(path, whole.before)
        self.assertEqual([layer.name for layer in result.model.layers], [layer.name for layer in student.layers])
        self.assertEqual({weight.path for weight in result.model.weights}, own)

    def test_what_stands_before_the_hint_learns_first(self):
        teacher = teachers.classifier(blocks=(2, 2))
        for number, learning, waiting in (
            (1, ("stem", "section1"), ("section2", "head")),
            (2, ("stem", "section"), ("head",)),
        ):
            _, (hint, whole) = teachers.observed(teacher, Hint(**SHORT, blocks=(1, 1), hint=number))
            # What follows the hint stays: weight decay alone would take it to zero.
            self.assertEqual({path for path in hint.moved if path.startswith(waiting)}, set())
            first = {path for path in whole.trainable if path.startswith(learning)}
            self.assertContainsSubset(first, hint.moved)
            self.assertEqual(hint.trainable, first)
            for path in first:
                self.assertGreater(np.abs(hint.gradients[path]).max(), 0, path)
            self.assertContainsSubset(whole.trainable, whole.moved)
            self.assertEqual({p for p in hint.before if "regressor" in p}, set())

    def test_no_such_section(self):
        with self.assertRaisesRegex(ValueError, "hint.*9"):
            teachers.compress(teachers.classifier(blocks=(2, 2)), Hint(**SHORT, blocks=(1, 1), hint=9))
        for wrong in ({"hint": 0}, {"hint_epochs": -1}, {"loss": "l3"}):
            ((name, value),) = wrong.items()
            with self.assertRaisesRegex(ValueError, f"`{name}`.*{value}"):
                Hint(**wrong)
