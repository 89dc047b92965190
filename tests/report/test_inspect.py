"""`inspect`: its numbers by hand on a small network."""

import contextlib
import io

import keras
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.report import describe
from tfcompress.report.structure import grouped


def small():
    """Every number of it is worked out in the tests.

    stem   5x5 positions, 3x3 kernel, 2 -> 4:   25 * 9 * 2 * 4 = 1,800 MACs,  72 parameters
    inner  the same, 4 -> 3:                    25 * 9 * 4 * 3 = 2,700 MACs, 108 parameters
    norm   3 channels:                                                         6 parameters
    outer  the same, 3 -> 4:                                     2,700 MACs, 108 parameters
    head   4 -> 7 and 7 biases:                                     28 MACs,  35 parameters
    """
    inputs = keras.Input((5, 5, 2))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(inputs)
    y = layers.Conv2D(3, 3, padding="same", use_bias=False, name="inner")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Conv2D(4, 3, padding="same", use_bias=False, name="outer")(layers.ReLU()(y))
    x = layers.GlobalAveragePooling2D()(layers.Add(name="sum")([x, y]))
    return keras.Model(inputs, layers.Dense(7, name="head")(x), name="net")


class Odd(layers.Layer):
    """A layer that nothing is known of."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],))

    def call(self, x):
        return x * self.scale


class InspectTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = small()
        cls.text = describe(cls.model)
        cls.lines = cls.text.splitlines()

    def row(self, name):
        return next(line.split() for line in self.lines if line.split()[:1] == [name])

    def test_totals(self):
        macs, params = 1800 + 2700 + 2700 + 28, 72 + 108 + 6 + 108 + 35
        self.assertEqual((macs, params), (7228, 329))
        # 4 bytes a weight, and the norm's 6 running statistics
        self.assertIn(
            f"net: 7,228 MACs (one multiply-add = 1; FLOPs = 2 x MACs), 329 parameters, {4 * (329 + 6):,} bytes",
            self.text,
        )

    def test_layers(self):
        self.assertEqual(self.row("stem"), ["stem", "Conv2D", "(5,", "5,", "4)", "1,800", "72"])
        self.assertEqual(self.row("inner"), ["inner", "Conv2D", "(5,", "5,", "3)", "2,700", "108"])
        self.assertEqual(self.row("norm"), ["norm", "BatchNormalization", "(5,", "5,", "3)", "0", "6"])
        self.assertEqual(self.row("outer"), ["outer", "Conv2D", "(5,", "5,", "4)", "2,700", "108"])
        self.assertEqual(self.row("head"), ["head", "Dense", "(7,)", "28", "35"])

    def test_groups(self):
        self.assertIn("Channel groups (2)", self.text)
        self.assertIn("stem: 4 channels, written by stem, outer, read by inner, head", self.text)
        self.assertIn("inner: 3 channels, written by inner, through norm, read by outer", self.text)

    def test_what_cannot_be_pruned_and_why(self):
        self.assertRegex(
            self.text, "What cannot be pruned, and why\n(.*\n)*  head: 7 channels stay: output of the model"
        )

    def test_which_layers_may_go_and_what_may_be_smaller(self):
        """inner may: outer reads what it read. outer may not, as a sum reads 4 channels; stem and head stay."""
        start = self.lines.index('What method="n2n" decides on (docs/methods/n2n.md)')
        removable, *smaller = self.lines[start + 1 : start + 5]
        self.assertRegex(removable, r"  layers that may be removed, 3 of 8: inner, norm, re_lu(_\d+)?$")
        expected = [
            "  kernel sizes that may be smaller, 3: stem, inner, outer",
            "  paddings that may be smaller, 1: stem",  # inside the block the sum would not fit any more
            "  outputs that may be smaller, 1: inner",
        ]
        self.assertEqual(smaller, expected)

    def test_sections_and_what_each_student_costs(self):
        """Blocks of 25 * 9 * 4 * 4 = 3,600 MACs beside 1,800 + 28: three are 12,628, two 9,028 and one 5,428."""
        inputs = keras.Input((5, 5, 2))
        x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(inputs)
        for number in range(3):
            x = layers.Add(name=f"sum{number}")([x, layers.Conv2D(4, 3, padding="same", use_bias=False)(x)])
        x = layers.GlobalAveragePooling2D()(x)
        lines = describe(keras.Model(inputs, layers.Dense(7)(x))).splitlines()
        start = lines.index('What method="lit", "kd", "hint" and "scratch" can leave (docs/methods/distillation.md)')
        expected = [
            "  stem: up to stem",
            "  section1: 3 blocks, to sum2 (None, 5, 5, 4)",
            "  head: the rest",
            "  students by blocks in each section, and the flops_budget that reaches them, 3: "
            "3 (1.0000), 2 (0.7150), 1 (0.4299)",
        ]
        self.assertEqual(lines[start + 1 : start + 5], expected)

    def test_of_many_students_some_are_shown_and_without_sections_the_way_out(self):
        inputs = x = keras.Input((4,))
        for _ in range(30):
            x = layers.Add()([x, layers.Dense(4, use_bias=False)(x)])
        line = next(line for line in describe(keras.Model(inputs, x)).splitlines() if "students by blocks" in line)
        self.assertRegex(line, r"reaches them, 11 of 30: 30 \(1.0000\), 27 \(0.9000\), .*, 3 \(0.1000\), 1 \(0.0334\)$")
        plain = keras.Model(inputs, layers.Dense(2)(inputs))
        self.assertIn("  no sections, as no blocks that keep the shape", describe(plain))

    def test_many_names_are_grouped(self):
        names = [f"section{section}_block{block}_conv1" for section in (1, 2) for block in (1, 2, 3, 4)]
        self.assertEqual(grouped(names), ", ".join(names))
        self.assertEqual(grouped([*names, "head"]), "section*_block*_conv1 (8), head")
        self.assertEqual(grouped([*names[:4], "a", "b", "c", "d", "e"]), "section1_block*_conv1 (4), a, b, c, d, e")
        self.assertEqual(grouped([]), "none")

    def test_the_smallest_share(self):
        """One channel of each group: 25 * 9 * (2 + 1 + 1) + 7 = 907 MACs."""
        self.assertIn(f"Smallest share of the MACs that can be reached: {907 / 7228:.4f} (all groups)", self.text)
        # one channel of inner alone: 1,800 + 900 + 900 + 28
        self.assertRegex(self.text, f"smallest +{907 / 7228:.4f} +{3628 / 7228:.4f} ")

    def test_printed_or_given_to_a_function(self):
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            tfcompress.inspect(self.model)
        self.assertEqual(shown.getvalue(), self.text + "\n")
        found = []
        tfcompress.inspect(self.model, print_fn=found.append)
        self.assertEqual(found, [self.text])

    def test_a_layer_that_nothing_is_known_of(self):
        inputs = keras.Input((5, 5, 2))
        x = layers.Conv2D(4, 3, name="conv")(inputs)
        x = layers.Conv2D(3, 1, name="after")(Odd(name="odd")(x))
        text = describe(keras.Model(inputs, layers.Dense(2, name="head")(layers.Flatten()(x))))
        self.assertRegex(text, "conv: 4 channels stay: .*Odd.* \\(at odd\\)")
        self.assertIn("MACs of these layers are not known, and not counted: odd", text)
        self.assertIn("after: 3 channels", text)

    def test_nothing_to_count_or_to_prune(self):
        inputs = keras.Input((4,))
        text = describe(keras.Model(inputs, layers.ReLU()(inputs)))
        self.assertIn("no MACs counted", text)
        text = describe(keras.Model(inputs, layers.Dense(2, name="head")(inputs)))
        self.assertIn("Channel groups (0)", text)
        self.assertIn("can be reached: 1.0000", text)

    def test_a_subclassed_model_is_refused(self):
        class Mine(keras.Model):
            def call(self, x):
                return x

        with self.assertRaisesRegex(TypeError, "Expected.*Functional or Sequential.*Received"):
            tfcompress.inspect(Mine())
