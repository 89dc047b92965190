"""`inspect`: its numbers by hand on a small network."""

import contextlib
import io
import json
import re

import keras
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress import zoo
from tfcompress.report import describe
from tfcompress.report.names import grouped
from tfcompress.report.table import fitted, shortened, wrapped


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


def unwrapped(text):
    """The text with each line whole that was continued on further ones."""
    return re.sub(r"\n {4,}(?=\S)", " ", text)


def quietly(model, **control):
    return tfcompress.inspect(model, print_fn=lambda text: None, **control)


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
        lines = unwrapped(describe(keras.Model(inputs, layers.Dense(7)(x)))).splitlines()
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
        lines = unwrapped(describe(keras.Model(inputs, x))).splitlines()
        line = next(line for line in lines if "students by blocks" in line)
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

    def test_the_smallest_shares_of_other_costs(self):
        """One channel of each group: 18 + 9 + 2 + 9 + 14 parameters, and the norm's two running statistics.

        In a file the norm is an offset of `inner`: 3 numbers, or one.
        """
        params, whole = 18 + 9 + 2 + 9 + 14, 329
        file, whole_file = params - 1, 329 - 3
        least = quietly(self.model).to_dict()["feasibility"]["least"]
        self.assertEqual(list(least), ["params", "bytes", "file"])
        shares = {"params": params / whole, "bytes": (params + 2) / (whole + 6), "file": file / whole_file}
        for metric, share in shares.items():
            self.assertAlmostEqual(least[metric]["all groups"], share)
            self.assertRegex(self.text, rf"smallest {metric} +{share:.4f} ")
        # One channel of inner alone: 36 + 2 + 36 of 222 stay beside 107.
        self.assertAlmostEqual(least["params"]["inside blocks"], (107 + 74) / whole)
        self.assertIn("compress(..., latency_budget=) makes a table", unwrapped(self.text))

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
        self.assertRegex(unwrapped(text), "conv: 4 channels stay: .*Odd.* \\(at odd\\)")
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


def deep_stage(blocks=10):
    """Blocks of three layers, 3x3 from 4 to 4 channels at 5x5 places: 25 * 9 * 4 * 4 = 3,600 MACs, 144 parameters each."""
    x = inputs = keras.Input((5, 5, 4), name="image")
    for number in range(1, blocks + 1):
        y = layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        x = layers.ReLU(name=f"block{number}_relu")(layers.Add(name=f"block{number}_sum")([x, y]))
    return keras.Model(inputs, layers.Dense(2, name="head")(layers.Flatten(name="flat")(x)))


class WidthTest(tf.test.TestCase):
    def test_no_line_is_wider_than_100_columns(self):
        backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
        long = "a_head" + 30 * "_that_goes_on"
        nested = keras.Sequential([backbone, layers.GlobalAveragePooling2D(), layers.Dense(5, name=long)])
        controls = {"exclude": "conv_*", "only": "block_*", "ratio_limits": {"block_1_*": 0.5}, "round_to": 16}
        for model, control in (
            (zoo.resnet20(), {}),
            (keras.applications.MobileNetV2(weights=None), {}),
            (nested, {}),
            (nested, controls | {"exclude": "Conv_1", "only": ["block_*", "Conv_1"]}),
            (zoo.vdcnn9(length=64), {}),
        ):
            text = str(quietly(model, **control))
            self.assertEqual([line for line in text.splitlines() if len(line) > 100], [])
        self.assertNotIn(long, text)

    def test_blocks_that_are_alike_are_one_line_with_their_count(self):
        lines = describe(deep_stage()).splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith("image "))
        rows = [re.split(r" {2,}", line) for line in lines[start : lines.index("", start)]]
        self.assertEqual([row[0] for row in rows[:4]], ["image", "block1_conv", "block1_sum", "block1_relu"])
        # nine of ten are left, with 9 * 3,600 MACs and 9 * 144 parameters
        self.assertEqual(rows[4], ["", "9 more, to block10_relu", "27 layers", "(5, 5, 4)", "32,400", "1,296"])
        self.assertEqual([row[0] for row in rows[5:]], ["flat", "head"])

    def test_groups_that_are_alike_are_one_line_with_their_count(self):
        text = unwrapped(describe(zoo.resnet20()))
        self.assertIn(
            "  section1_block*_conv1: 16 channels, written by section1_block*_conv1, through section1_block*_bn1, "
            "read by section1_block*_conv2 (3 groups alike)\n",
            text,
        )
        self.assertIn("Channel groups (12)", text)

    def test_all_of_it_as_plain_data(self):
        model = deep_stage()
        inspection = quietly(model, exclude="block1_conv")
        facts = json.loads(inspection.to_json())
        self.assertEqual(facts, inspection.to_dict())
        self.assertEqual(facts["total"], {"macs": 36000 + 200, "params": 1440 + 202, "bytes": 4 * (1440 + 202)})
        self.assertEqual([layer["name"] for layer in facts["layers"]], [layer.name for layer in model.layers])
        self.assertEqual(
            facts["layers"][1],
            {"name": "block1_conv", "type": "Conv2D", "output_shape": [None, 5, 5, 4]}
            | {"macs": 3600, "params": 144, "bytes": 576},
        )
        self.assertEqual(facts["fixed"][-1]["layer"], "head")
        self.assertEqual((facts["fixed"][-1]["channels"], facts["fixed"][-1]["node"]), (2, "head"))
        self.assertEqual(facts["lit"]["sections"][0]["blocks"], 10)
        self.assertEqual(facts["lit"]["students"][-1], {"blocks": [1], "macs": 3800, "flops_budget": 0.105})
        self.assertIn("block10_conv", facts["n2n"]["removable"])
        feasibility = facts["feasibility"]
        self.assertEqual(list(feasibility["reached"]), ["all groups", "inside blocks", "round_to=8", "exclude"])
        self.assertEqual(feasibility["shares"][0], 0.9)
        self.assertTrue(all(set(least) == set(feasibility["reached"]) for least in feasibility["least"].values()))
        for name, shares in feasibility["reached"].items():
            self.assertLen(shares, 9)
            for limit, share in zip(feasibility["shares"], shares, strict=True):
                self.assertTrue(share is None or feasibility["smallest"][name] <= share <= limit)

    def test_groups_as_plain_data(self):
        groups = {group["name"]: group for group in quietly(small()).to_dict()["groups"]}
        self.assertEqual(
            groups["inner"],
            {"name": "inner", "channels": 3, "written_by": ["inner"], "through": ["norm"], "read_by": ["outer"]},
        )

    def test_in_short(self):
        self.assertEqual(repr(quietly(small())), "<Inspection of net: 7,228 MACs, 2 channel groups>")

    def test_names_lack_their_middle(self):
        self.assertEqual(shortened("abcdefghij", 10), "abcdefghij")
        self.assertEqual(shortened("abcdefghijk", 10), "abcd…ghijk")

    def test_tables_that_do_not_fit_are_continued_below(self):
        rows = [["name", "a" * 8, "b" * 8, "c" * 8], ["n" * 30, "1", "2", "3"]]
        self.assertEqual(
            fitted(rows, left=1, width=45),
            [
                f"name{'a' * 8:>31}{'b' * 8:>10}",
                f"{'n' * 12}…{'n' * 12}{1:>10}{2:>10}",
                "",
                f"name{'c' * 8:>36}",
                f"{'n' * 30}{3:>10}",
            ],
        )

    def test_lines_are_continued_further_in(self):
        self.assertEqual(wrapped("  a b c", 5), ["  a b", "      c"])
