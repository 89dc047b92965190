"""The methods of a call: one, or those of a flow, with the settings of the call's short forms."""

import flow_methods
import tensorflow as tf

from tfcompress.flow.stages import label_of, methods_of, name_of
from tfcompress.methods import LIT, RLAL, Uniform


class MethodsTest(tf.test.TestCase):
    def test_a_single_method(self):
        self.assertEqual(methods_of("uniform", "fast", 3), (Uniform.with_preset("fast", epochs=3),))
        self.assertEqual(methods_of(["uniform"], "fast", 3), methods_of("uniform", "fast", 3))

    def test_names_and_instances(self):
        self.assertEqual(methods_of(["lit", Uniform(epochs=2)]), (LIT(), Uniform(epochs=2)))
        self.assertEqual(methods_of(("lit", "rlal")), (LIT(), RLAL()))

    def test_a_preset_is_for_names(self):
        """The instance has settings of its own, and rounding has no preset."""
        made = methods_of(["lit", Uniform(epochs=2), flow_methods.Rounds()], "fast")
        self.assertEqual(made, (LIT.with_preset("fast"), Uniform(epochs=2), flow_methods.Rounds()))

    def test_short_forms_are_for_all_that_have_them(self):
        made = methods_of(["lit", Uniform(), flow_methods.Rounds()], epochs=4, learning_rate=0.02, optimizer="adam")
        given = {"epochs": 4, "learning_rate": 0.02, "optimizer": "adam"}
        self.assertEqual(made, (LIT(**given), Uniform(**given), flow_methods.Rounds()))

    def test_refused(self):
        cases = (
            (([],), "method=[]"),
            ((["lit", "magic"],), "'magic'"),
            ((["lit", 5],), "method=5"),
            ((["uniform", "lit"],), "The right order is method=['lit', 'uniform']"),
            ((["lit", "uniform"], "quick"), "preset='quick'"),
            (([LIT(), Uniform()], "fast"), "None beside an instance"),
        )
        for arguments, words in cases:
            with self.subTest(arguments), self.assertRaises((TypeError, ValueError)) as caught:
                methods_of(*arguments)
            self.assertIn(words, str(caught.exception))
            self.assertRegex(str(caught.exception), "^Expected ")

    def test_names(self):
        methods = methods_of(["lit", "uniform"])
        self.assertEqual(name_of(methods), "lit+uniform")
        self.assertEqual(label_of(2, methods[1]), "2-uniform")
